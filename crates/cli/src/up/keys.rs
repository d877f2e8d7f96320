//! What `mmn up` makes at its first start: the network's keys, and the credentials of this machine's roles.

use std::path::{Path, PathBuf};

use mmn_anchor::api::token::{self, Claims, TokenKey};
use mmn_bus::identity::{CREDS, Keyset, Seed, write_anchor, write_node};
use mmn_schema::id::{Tenant, VpId};
use mmn_schema::subject::Prefix;

use super::data_dir::{self, DataDir};
use crate::clock;
use crate::failure::{Failure, chain};

/// The key of API tokens, in the directory of an anchor's credentials.
pub(crate) const API_KEY: &str = "api.key";

/// The network's keys, made when they are not there.
pub(crate) fn keyset(dir: &Path) -> Result<Keyset, Failure> {
    Keyset::open_or_create(dir, &Prefix::default()).map_err(failure)
}

/// The credentials of the anchor and of the node on this machine, made when they are not there.
pub(crate) fn roles(dir: &DataDir, keys: &Keyset) -> Result<(), Failure> {
    let anchor = dir.creds("anchor");
    if !anchor.join(CREDS).exists() {
        data_dir::private_dir(&anchor)?;
        write_anchor(&anchor, keys, &format!("anchor-{}", word()), clock::wall_s()).map_err(failure)?;
    }
    let node = dir.creds("node");
    if !node.join(CREDS).exists() {
        data_dir::private_dir(&node)?;
        new_node(&node, keys, &format!("node-{}", word()))?;
    }
    Ok(())
}

/// The credentials of a simulated world's vantage points, each made when it is not there.
pub(crate) fn lab<'a>(
    dir: &DataDir,
    keys: &Keyset,
    names: impl Iterator<Item = &'a str>,
) -> Result<(), Failure> {
    for name in names {
        let node = dir.creds("lab").join(name);
        if !node.join(CREDS).exists() {
            data_dir::private_dir(&node)?;
            new_node(&node, keys, &format!("node-{}", word()))?;
        }
    }
    Ok(())
}

/// The token of this machine's clients, made when it is not there. An anchor that is elsewhere has a key of its own:
/// then there is none to sign with, and none is made.
pub(crate) fn client_token(dir: &DataDir, anchor_creds: &Path) -> Result<(), Failure> {
    let path = dir.token();
    let key = TokenKey::load_or_create(&anchor_creds.join(API_KEY)).map_err(failure)?;
    let holds = std::fs::read_to_string(&path)
        .is_ok_and(|token| token::verify(&key, token.trim(), clock::wall()).is_ok());
    if !holds {
        let token = client(&key, "local", Tenant::default(), None)?;
        if let Some(parent) = path.parent() {
            data_dir::private_dir(parent)?;
        }
        data_dir::write_private(&path, format!("{token}\n").as_bytes())?;
    }
    Ok(())
}

/// A token for a client; it ends after `lifetime_s`, when given.
pub(crate) fn client(
    key: &TokenKey,
    name: &str,
    tenant: Tenant,
    lifetime_s: Option<i64>,
) -> Result<String, Failure> {
    let now = i64::try_from(clock::wall_s()).unwrap_or(i64::MAX);
    let claims = Claims {
        sub: name.to_owned(),
        tenant,
        iat: now,
        exp: lifetime_s.map(|lifetime| now.saturating_add(lifetime)),
        jti: word() + &word(),
    };
    token::mint(key, &claims).map_err(failure)
}

/// The credentials of a new node; returns the id of its vantage point.
pub(crate) fn new_node(dir: &Path, keys: &Keyset, name: &str) -> Result<VpId, Failure> {
    let seed = Seed::new_user();
    let vp = VpId::derive(seed.public_key().as_str(), mmn_node::DEFAULT_LOCAL_KEY);
    write_node(dir, keys, name, seed, &[vp.as_str()], clock::wall_s()).map_err(failure)?;
    Ok(vp)
}

/// Eight characters that nobody else has.
pub(crate) fn word() -> String {
    let mut text = data_encoding::BASE32_NOPAD.encode(&rand::random::<[u8; 5]>());
    text.make_ascii_lowercase();
    text
}

/// The role credentials that somebody issued for this machine.
pub(crate) fn issued(dir: &Path, role: &str) -> Result<PathBuf, Failure> {
    let of_role = dir.join(role);
    if !of_role.join(CREDS).is_file() {
        return Err(Failure::misused(format!("{} holds no {role}/{CREDS}", dir.display()))
            .hint(format!("`mmn creds new {role} NAME --out {}` makes it", of_role.display())));
    }
    of_role.canonicalize().map_err(Failure::from)
}

fn failure(error: impl std::error::Error) -> Failure {
    Failure::new(chain(&error))
}
