//! The keys of one network, kept in a directory: 0700, each file 0600, made once.

use std::io;
use std::path::{Path, PathBuf};

use mmn_schema::subject::Prefix;
use serde_json::{Map, Value, json};

use super::creds::Creds;
use super::issuer::Issuer;
use super::jwt::{self, Jwt};
use super::nkey::{NkeyError, PublicKey, Seed};
use super::permissions::{self, Role};
use super::trust::Trust;
use crate::files;

const OPERATOR: &str = "operator.seed";
const SYSTEM: &str = "system-account.seed";
const ACCOUNT: &str = "account.seed";

/// All secrets of a network: the operator, the system account, the account that everyone is in,
/// and a signing key per role.
///
/// Who holds it can make any user, so it stays where the server is set up. Only the seeds are
/// kept: the JWTs of the server are made anew at each start, so that the permissions are those of
/// the running version.
#[derive(Debug, Clone)]
pub struct Keyset {
    prefix: Prefix,
    operator: Seed,
    system: Seed,
    account: Seed,
    scopes: [Seed; 3],
}

/// What the server is given: the operator, and the accounts it preloads.
#[derive(Debug, Clone)]
pub struct ServerTrust {
    /// The operator's own JWT.
    pub operator: Jwt,
    /// The system account.
    pub system: (PublicKey, Jwt),
    /// The account of the network.
    pub account: (PublicKey, Jwt),
}

impl Keyset {
    /// Makes new keys, in memory alone.
    pub fn generate(prefix: &Prefix) -> Self {
        Self {
            prefix: prefix.clone(),
            operator: Seed::new_operator(),
            system: Seed::new_account(),
            account: Seed::new_account(),
            scopes: std::array::from_fn(|_| Seed::new_account()),
        }
    }

    /// Reads the keys in `dir`, or makes them there when the directory does not exist.
    ///
    /// Two that make them at once end with the same keys.
    pub fn open_or_create(dir: &Path, prefix: &Prefix) -> Result<Self, KeysetError> {
        if !dir.exists() {
            let made = Self::generate(prefix);
            if made.publish(dir).map_err(|source| unwritable(dir, source))? {
                return Ok(made);
            }
        }
        Self::open(dir, prefix)
    }

    /// Reads the keys in `dir`.
    pub fn open(dir: &Path, prefix: &Prefix) -> Result<Self, KeysetError> {
        let [anchor, node, module] = Role::ALL.map(|role| read_seed(&dir.join(scope_file(role))));
        Ok(Self {
            prefix: prefix.clone(),
            operator: read_seed(&dir.join(OPERATOR))?,
            system: read_seed(&dir.join(SYSTEM))?,
            account: read_seed(&dir.join(ACCOUNT))?,
            scopes: [anchor?, node?, module?],
        })
    }

    /// The first token of the network's subjects.
    pub fn prefix(&self) -> &Prefix {
        &self.prefix
    }

    /// Makes users of `role`.
    pub fn issuer(&self, role: Role) -> Issuer {
        Issuer::new(role, self.account.public_key().clone(), self.scope(role).clone())
    }

    /// The public half: what an anchor verifies users with.
    pub fn trust(&self) -> Trust {
        let key = |role| self.scope(role).public_key().clone();
        Trust {
            prefix: self.prefix.clone(),
            account: self.account.public_key().clone(),
            anchor: key(Role::Anchor),
            node: key(Role::Node),
            module: key(Role::Module),
        }
    }

    /// What the server is configured with; `now_s` in seconds since 1970 UTC.
    pub fn server_trust(&self, now_s: u64) -> Result<ServerTrust, NkeyError> {
        let operator = self.sign(
            &self.operator,
            "mmn",
            json!({
                "system_account": self.system.public_key(),
                "type": "operator",
                "version": 2,
            }),
            now_s,
        )?;
        let system = self.sign(&self.system, "SYS", account_claim(0, &[]), now_s)?;
        let scopes: Vec<_> = Role::ALL
            .iter()
            .map(|role| {
                json!({
                    "kind": "user_scope",
                    "key": self.scope(*role).public_key(),
                    "role": role.as_str(),
                    "template": permissions::template(*role, &self.prefix).to_claim(),
                })
            })
            .collect();
        let account = self.sign(&self.account, "mmn", account_claim(-1, &scopes), now_s)?;
        Ok(ServerTrust {
            operator,
            system: (self.system.public_key().clone(), system),
            account: (self.account.public_key().clone(), account),
        })
    }

    /// A user of the system account, for administration of the server: a new key at each call.
    pub fn system_creds(&self, now_s: u64) -> Result<Creds, NkeyError> {
        let seed = Seed::new_user();
        let mut claims = claims("system", seed.public_key(), now_s);
        claims.insert(
            "nats".into(),
            json!({ "subs": -1, "data": -1, "payload": -1, "type": "user", "version": 2 }),
        );
        Ok(Creds { jwt: jwt::encode(claims, &self.system)?, seed })
    }

    fn scope(&self, role: Role) -> &Seed {
        let [anchor, node, module] = &self.scopes;
        match role {
            Role::Anchor => anchor,
            Role::Node => node,
            Role::Module => module,
        }
    }

    /// The operator signs for itself and for the accounts.
    fn sign(&self, of: &Seed, name: &str, nats: Value, now_s: u64) -> Result<Jwt, NkeyError> {
        let mut claims = claims(name, of.public_key(), now_s);
        claims.insert("nats".into(), nats);
        jwt::encode(claims, &self.operator)
    }

    /// Writes all files beside `dir` and renames the directory into place; false when somebody
    /// else was first.
    fn publish(&self, dir: &Path) -> io::Result<bool> {
        let mut name = dir.file_name().unwrap_or_default().to_os_string();
        name.push(format!(".{}.new", std::process::id()));
        let beside = dir.with_file_name(name);
        files::private_dir(&beside)?;
        let write = |name: &str, seed: &Seed| {
            let line = format!("{}\n", seed.reveal());
            files::write_private(&beside.join(name), line.as_bytes())
        };
        write(OPERATOR, &self.operator)?;
        write(SYSTEM, &self.system)?;
        write(ACCOUNT, &self.account)?;
        for role in Role::ALL {
            write(scope_file(role), self.scope(role))?;
        }
        files::sync_dir(&beside)?;
        match std::fs::rename(&beside, dir) {
            Ok(()) => Ok(true),
            Err(error) if dir.join(OPERATOR).exists() => {
                tracing::debug!(%error, "another process made the keys first");
                std::fs::remove_dir_all(&beside)?;
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }
}

fn claims(name: &str, subject: &PublicKey, now_s: u64) -> Map<String, Value> {
    let mut claims = Map::new();
    claims.insert("iat".into(), now_s.into());
    claims.insert("name".into(), name.into());
    claims.insert("sub".into(), subject.as_str().into());
    claims
}

/// An account without limits; `storage` is -1 for unlimited JetStream, 0 for none.
fn account_claim(storage: i64, signing_keys: &[Value]) -> Value {
    json!({
        "limits": {
            "subs": -1,
            "data": -1,
            "payload": -1,
            "imports": -1,
            "exports": -1,
            "wildcards": true,
            "conn": -1,
            "leaf": -1,
            "mem_storage": storage,
            "disk_storage": storage,
            "streams": storage,
            "consumer": storage,
        },
        "signing_keys": signing_keys,
        "default_permissions": { "pub": {}, "sub": {} },
        "type": "account",
        "version": 2,
    })
}

fn scope_file(role: Role) -> &'static str {
    match role {
        Role::Anchor => "anchor-signing.seed",
        Role::Node => "node-signing.seed",
        Role::Module => "module-signing.seed",
    }
}

pub(super) fn read_seed(path: &Path) -> Result<Seed, KeysetError> {
    let text = std::fs::read_to_string(path)
        .map_err(|source| KeysetError::Unreadable { path: path.to_owned(), source })?;
    text.parse().map_err(|source| KeysetError::Unsound { path: path.to_owned(), source })
}

fn unwritable(path: &Path, source: io::Error) -> KeysetError {
    KeysetError::Unwritable { path: path.to_owned(), source }
}

/// Why there are no keys.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeysetError {
    /// A file can not be read.
    #[error("{} can not be read", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file holds no key.
    #[error("{} holds no sound key", path.display())]
    Unsound {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: NkeyError,
    },
    /// The directory can not be made.
    #[error("keys can not be made in {}", path.display())]
    Unwritable {
        /// The directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::super::{UserRequest, issuer::IssueError, trust::TrustError};
    use super::*;

    const NOW_S: u64 = 1_800_000_000;

    fn request<'a>(name: &'a str, vps: &'a [&'a str], seed: &'a Seed) -> UserRequest<'a> {
        UserRequest {
            name,
            vps,
            public_key: seed.public_key(),
            issued_at_s: NOW_S,
            expires_at_s: Some(NOW_S + 60),
        }
    }

    #[test]
    fn keys_are_made_once_and_for_their_owner_alone() {
        let temp = tempfile::tempdir().unwrap();
        let dir = temp.path().join("keys");
        let made = Keyset::open_or_create(&dir, &Prefix::default()).unwrap();
        let read = Keyset::open_or_create(&dir, &Prefix::default()).unwrap();
        assert_eq!(made.trust(), read.trust());
        let bits = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(bits(&dir), 0o700);
        let files: Vec<_> = std::fs::read_dir(&dir).unwrap().collect();
        assert_eq!(files.len(), 6);
        for file in files {
            assert_eq!(bits(&file.unwrap().path()), 0o600);
        }
        assert_eq!(std::fs::read_dir(temp.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_user_is_verified_with_its_role() {
        let keys = Keyset::generate(&Prefix::default());
        let seed = Seed::new_user();
        let jwt = keys.issuer(Role::Module).user(&request("ping-1", &["vp1", "vp2"], &seed)).unwrap();
        let claims = keys.trust().verify_user(jwt.as_str(), NOW_S).unwrap();
        assert_eq!(claims.role, Role::Module);
        assert_eq!(claims.name, "ping-1");
        assert_eq!(claims.vps, ["vp1", "vp2"]);
        assert_eq!(&claims.subject, seed.public_key());
        assert_eq!(claims.expires_at_s, Some(NOW_S + 60));
        assert_eq!(keys.trust().verify_user(jwt.as_str(), NOW_S + 60), Err(TrustError::Expired));
        assert_eq!(
            Keyset::generate(&Prefix::default()).trust().verify_user(jwt.as_str(), NOW_S),
            Err(TrustError::UnknownIssuer)
        );
    }

    #[test]
    fn a_name_that_would_widen_rights_is_refused() {
        let keys = Keyset::generate(&Prefix::default());
        let seed = Seed::new_user();
        let issuer = keys.issuer(Role::Module);
        for name in ["*", ">", "a.b", "", "a b", "{{name()}}", "ä", &"x".repeat(129)] {
            for request in [request(name, &["vp1"], &seed), request("x", &[name], &seed)] {
                assert_eq!(issuer.user(&request), Err(IssueError::Token), "{name:?}");
            }
        }
        let account = Seed::new_account();
        assert_eq!(issuer.user(&request("x", &[], &account)), Err(IssueError::NotAUserKey));
    }
}
