//! Makes users of one role.

use std::fmt;

use serde_json::{Map, Value, json};

use super::jwt::{self, Jwt};
use super::nkey::{NkeyError, PublicKey, Seed};
use super::permissions::Role;

/// The longest name or tag value, in bytes.
const MAX_TOKEN: usize = 128;

/// Holds the signing key of one role, and makes users with it.
///
/// An anchor has the one of [`Role::Module`]: it signs the keys of modules that nodes send it
/// ("enrolment"), and can make neither nodes nor anchors.
#[derive(Clone)]
pub struct Issuer {
    role: Role,
    account: PublicKey,
    signer: Seed,
}

/// The user that is asked for. Its secret key stays with whoever asked.
#[derive(Debug, Clone, Copy)]
pub struct UserRequest<'a> {
    /// The user's name: an instance's id, a node's name, an anchor's id; `[A-Za-z0-9_-]`.
    pub name: &'a str,
    /// The ids of the VPs it acts for (its `vp:` tags); `[A-Za-z0-9_-]` each.
    pub vps: &'a [&'a str],
    /// Its public key.
    pub public_key: &'a PublicKey,
    /// The present, in seconds since 1970 UTC.
    pub issued_at_s: u64,
    /// When it ends, in seconds since 1970 UTC; never, when absent.
    pub expires_at_s: Option<u64>,
}

impl Issuer {
    pub(super) fn new(role: Role, account: PublicKey, signer: Seed) -> Self {
        Self { role, account, signer }
    }

    /// The role of the users it makes.
    pub fn role(&self) -> Role {
        self.role
    }

    /// The public half of the signing key.
    pub fn public_key(&self) -> &PublicKey {
        self.signer.public_key()
    }

    /// Signs a user.
    ///
    /// Name and VPs become parts of subjects, so anything but an id is refused: a user named `*`
    /// would read what belongs to all.
    pub fn user(&self, request: &UserRequest<'_>) -> Result<Jwt, IssueError> {
        check_token(request.name)?;
        for vp in request.vps {
            check_token(vp)?;
        }
        if !request.public_key.is_user() {
            return Err(IssueError::NotAUserKey);
        }
        if self.role == Role::Anchor && !request.vps.is_empty() {
            return Err(IssueError::AnchorWithVps);
        }
        let tags: Vec<_> = request.vps.iter().map(|vp| format!("vp:{vp}")).collect();
        // Limits and permissions are absent on purpose: the server refuses a user of a scoped key
        // that brings its own.
        let nats = json!({
            "issuer_account": self.account,
            "tags": tags,
            "type": "user",
            "version": 2,
        });
        let mut claims = Map::new();
        claims.insert("iat".into(), request.issued_at_s.into());
        if let Some(expires_at_s) = request.expires_at_s {
            claims.insert("exp".into(), expires_at_s.into());
        }
        claims.insert("name".into(), request.name.into());
        claims.insert("sub".into(), request.public_key.as_str().into());
        claims.insert("nats".into(), nats);
        Ok(jwt::encode(claims, &self.signer)?)
    }

    pub(super) fn signer(&self) -> &Seed {
        &self.signer
    }
}

impl fmt::Debug for Issuer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Issuer")
            .field("role", &self.role)
            .field("account", &self.account)
            .field("signer", self.signer.public_key())
            .finish()
    }
}

/// The tags of a user's claims that name VPs.
pub(super) fn vps_of(tags: Option<&Value>) -> Vec<String> {
    tags.and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .filter_map(|tag| tag.strip_prefix("vp:"))
        .map(str::to_owned)
        .collect()
}

fn check_token(token: &str) -> Result<(), IssueError> {
    let fits = (1..=MAX_TOKEN).contains(&token.len())
        && token.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'));
    if fits { Ok(()) } else { Err(IssueError::Token) }
}

/// Why no user was made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum IssueError {
    /// A name or a VP's id is not a token of a subject.
    #[error("a name or VP id must be 1 to 128 characters of [A-Za-z0-9_-]")]
    Token,
    /// The public key is not that of a user.
    #[error("the key is not that of a user")]
    NotAUserKey,
    /// An anchor acts for no VP.
    #[error("an anchor has no VPs")]
    AnchorWithVps,
    /// The signing key is unusable.
    #[error(transparent)]
    Key(#[from] NkeyError),
}
