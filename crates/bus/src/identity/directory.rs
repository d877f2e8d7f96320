//! The directory of each role: what a process of that role needs to join the bus, and no more.
//!
//! | role | files |
//! |---|---|
//! | anchor | `nats.creds`, `enrol.seed` (signs modules), `trust.json` (verifies users) |
//! | node | `nats.creds`, `vps.json` |
//! | module | `nats.creds` |

use std::io;
use std::path::Path;

use mmn_schema::subject::Prefix;
use serde::{Deserialize, Serialize};

use super::creds::Creds;
use super::issuer::{IssueError, Issuer, UserRequest};
use super::keyset::{Keyset, KeysetError, read_seed};
use super::nkey::Seed;
use super::permissions::Role;
use super::trust::Trust;
use crate::files;

/// The credentials, in the directory of every role.
pub const CREDS: &str = "nats.creds";
const ENROL: &str = "enrol.seed";
const TRUST: &str = "trust.json";
const VPS: &str = "vps.json";

/// `vps.json`: the VPs that a node's credentials are for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NodeVps {
    /// The first token of the network's subjects.
    pub prefix: Prefix,
    /// Their ids.
    pub vps: Vec<String>,
}

/// Writes the directory of an anchor; `now_s` in seconds since 1970 UTC.
pub fn write_anchor(dir: &Path, keys: &Keyset, name: &str, now_s: u64) -> Result<(), WriteError> {
    let seed = Seed::new_user();
    let request =
        UserRequest { name, vps: &[], public_key: seed.public_key(), issued_at_s: now_s, expires_at_s: None };
    let jwt = keys.issuer(Role::Anchor).user(&request)?;
    files::private_dir(dir)?;
    let enrol = keys.issuer(Role::Module);
    let line = format!("{}\n", enrol.signer().reveal());
    files::write_private(&dir.join(ENROL), line.as_bytes())?;
    files::write_private(&dir.join(TRUST), &json_of(&keys.trust()))?;
    Creds { jwt, seed }.write(&dir.join(CREDS))?;
    Ok(files::sync_dir(dir)?)
}

/// Writes the directory of a node with the key `seed`, which the ids of its VPs are derived from.
pub fn write_node(
    dir: &Path,
    keys: &Keyset,
    name: &str,
    seed: Seed,
    vps: &[&str],
    now_s: u64,
) -> Result<(), WriteError> {
    let request =
        UserRequest { name, vps, public_key: seed.public_key(), issued_at_s: now_s, expires_at_s: None };
    let jwt = keys.issuer(Role::Node).user(&request)?;
    let list = NodeVps { prefix: keys.prefix().clone(), vps: vps.iter().map(|&vp| vp.to_owned()).collect() };
    files::private_dir(dir)?;
    files::write_private(&dir.join(VPS), &json_of(&list))?;
    Creds { jwt, seed }.write(&dir.join(CREDS))?;
    Ok(files::sync_dir(dir)?)
}

/// Writes the directory of a module: the credentials that an anchor enrolled it with.
pub fn write_module(dir: &Path, creds: &Creds) -> io::Result<()> {
    files::private_dir(dir)?;
    creds.write(&dir.join(CREDS))?;
    files::sync_dir(dir)
}

impl Issuer {
    /// The issuer of modules in an anchor's directory, with what it verifies users with.
    pub fn open_anchor(dir: &Path) -> Result<(Self, Trust), KeysetError> {
        let trust = dir.join(TRUST);
        let trust = Trust::read(&trust).map_err(|source| KeysetError::Unreadable { path: trust, source })?;
        let signer = read_seed(&dir.join(ENROL))?;
        Ok((Self::new(Role::Module, trust.account.clone(), signer), trust))
    }
}

impl NodeVps {
    /// Reads `vps.json` in a node's directory.
    pub fn read(dir: &Path) -> io::Result<Self> {
        let bytes = std::fs::read(dir.join(VPS))?;
        serde_json::from_slice(&bytes).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
    }
}

fn json_of(value: &impl Serialize) -> Vec<u8> {
    // Strings and lists of strings always have a JSON form.
    serde_json::to_vec_pretty(value).unwrap_or_default()
}

/// Why a directory was not written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WriteError {
    /// No user could be made.
    #[error(transparent)]
    Issue(#[from] IssueError),
    /// A file could not be written.
    #[error("the directory can not be written")]
    Io(#[from] io::Error),
}
