//! Verifies users: which keys are trusted to sign for which role.

use std::path::Path;

use mmn_schema::subject::Prefix;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::issuer::vps_of;
use super::jwt::{self, JwtError};
use super::nkey::PublicKey;
use super::permissions::Role;

/// The public keys of a network, kept as `trust.json` in an anchor's directory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Trust {
    /// The first token of the network's subjects.
    pub prefix: Prefix,
    /// The account of the network.
    pub account: PublicKey,
    /// The key that signs anchors.
    pub anchor: PublicKey,
    /// The key that signs nodes.
    pub node: PublicKey,
    /// The key that signs modules.
    pub module: PublicKey,
}

/// What a trusted key says of a user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claims {
    /// What the user is: it follows from the key that signed.
    pub role: Role,
    /// Its public key.
    pub subject: PublicKey,
    /// Its name: an instance's id, a node's name, an anchor's id.
    pub name: String,
    /// The ids of the VPs it acts for.
    pub vps: Vec<String>,
    /// The key that signed.
    pub issuer: PublicKey,
    /// When it ends, in seconds since 1970 UTC; `None` is never.
    pub expires_at_s: Option<u64>,
}

impl Trust {
    /// The key trusted for `role`.
    pub fn key(&self, role: Role) -> &PublicKey {
        match role {
            Role::Anchor => &self.anchor,
            Role::Node => &self.node,
            Role::Module => &self.module,
        }
    }

    /// What `jwt` says, when one of this network's signing keys signed it and it has not ended by
    /// `now_s` (seconds since 1970 UTC).
    ///
    /// That it was *presented* by its owner is another question: ask for a signature of the
    /// subject's key ([`verify_signature`](super::verify_signature)).
    pub fn verify_user(&self, jwt: &str, now_s: u64) -> Result<Claims, TrustError> {
        let (issuer, claims) = jwt::decode(jwt.trim())?;
        let role =
            Role::ALL.into_iter().find(|role| *self.key(*role) == issuer).ok_or(TrustError::UnknownIssuer)?;
        let nats = claims.get("nats").ok_or(JwtError::Claim("nats"))?;
        if nats.get("type").and_then(Value::as_str) != Some("user") {
            return Err(JwtError::Claim("type").into());
        }
        let account = nats.get("issuer_account").and_then(Value::as_str);
        if account != Some(self.account.as_str()) {
            return Err(TrustError::OtherAccount);
        }
        let text = |claim| claims.get(claim).and_then(Value::as_str);
        let subject: PublicKey = text("sub")
            .and_then(|text| text.parse().ok())
            .filter(PublicKey::is_user)
            .ok_or(JwtError::Claim("sub"))?;
        let name = text("name").ok_or(JwtError::Claim("name"))?.to_owned();
        let expires_at_s = match claims.get("exp") {
            None => None,
            Some(value) => Some(value.as_u64().ok_or(JwtError::Claim("exp"))?),
        };
        if expires_at_s.is_some_and(|end| end <= now_s) {
            return Err(TrustError::Expired);
        }
        Ok(Claims { role, subject, name, vps: vps_of(nats.get("tags")), issuer, expires_at_s })
    }

    /// Reads `trust.json`.
    pub fn read(path: &Path) -> std::io::Result<Self> {
        let bytes = std::fs::read(path)?;
        serde_json::from_slice(&bytes)
            .map_err(|error| std::io::Error::new(std::io::ErrorKind::InvalidData, error))
    }
}

/// Why a user is not trusted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TrustError {
    /// The text is no sound JWT.
    #[error(transparent)]
    Jwt(#[from] JwtError),
    /// Signed by a key of another network, or of nobody.
    #[error("signed by a key that this network does not know")]
    UnknownIssuer,
    /// Made for another account.
    #[error("made for another account")]
    OtherAccount,
    /// Its time is over.
    #[error("expired")]
    Expired,
}
