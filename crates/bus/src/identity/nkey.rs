//! NKEYs: Ed25519 keys in the text form of NATS, a letter for their use and a checksum.

use std::fmt;
use std::str::FromStr;

use nkeys::{KeyPair, KeyPairType};
use serde::{Deserialize, Serialize};

/// A public NKEY, checked: its checksum is right and its bytes are a point of the curve.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PublicKey(String);

impl PublicKey {
    /// The text form, 56 characters of base32.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Is it the key of a user (`U…`)?
    pub fn is_user(&self) -> bool {
        self.0.starts_with('U')
    }

    /// Is it the key of an account, or one that signs for it (`A…`)?
    pub fn is_account(&self) -> bool {
        self.0.starts_with('A')
    }
}

impl FromStr for PublicKey {
    type Err = NkeyError;

    fn from_str(text: &str) -> Result<Self, NkeyError> {
        KeyPair::from_public_key(text).map_err(|_| NkeyError::Public)?;
        Ok(Self(text.to_owned()))
    }
}

impl TryFrom<String> for PublicKey {
    type Error = NkeyError;

    fn try_from(text: String) -> Result<Self, NkeyError> {
        text.parse()
    }
}

impl From<PublicKey> for String {
    fn from(key: PublicKey) -> Self {
        key.0
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A secret NKEY. Its `Debug` shows the public half alone, and it has no `Display`.
#[derive(Clone)]
pub struct Seed {
    text: String,
    public: PublicKey,
}

impl Seed {
    /// A new user key, from the system's random source.
    pub fn new_user() -> Self {
        Self::new(KeyPairType::User)
    }

    pub(crate) fn new_account() -> Self {
        Self::new(KeyPairType::Account)
    }

    pub(crate) fn new_operator() -> Self {
        Self::new(KeyPairType::Operator)
    }

    /// The public half.
    pub fn public_key(&self) -> &PublicKey {
        &self.public
    }

    /// Signs `payload`: 64 bytes of Ed25519.
    pub fn sign(&self, payload: &[u8]) -> Result<Vec<u8>, NkeyError> {
        KeyPair::from_seed(&self.text).and_then(|pair| pair.sign(payload)).map_err(|_| NkeyError::Seed)
    }

    /// The secret itself, for a file of mode 0600 and nothing else.
    pub fn reveal(&self) -> &str {
        &self.text
    }

    fn new(kind: KeyPairType) -> Self {
        let pair = KeyPair::new(kind);
        Self {
            public: PublicKey(pair.public_key()),
            // Only a pair without its secret half has no seed, and this one was just made.
            text: pair.seed().unwrap_or_default(),
        }
    }
}

impl FromStr for Seed {
    type Err = NkeyError;

    fn from_str(text: &str) -> Result<Self, NkeyError> {
        let text = text.trim();
        let pair = KeyPair::from_seed(text).map_err(|_| NkeyError::Seed)?;
        Ok(Self { text: text.to_owned(), public: PublicKey(pair.public_key()) })
    }
}

impl fmt::Debug for Seed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Seed(of {})", self.public)
    }
}

/// Did the holder of `key` sign `payload`?
pub fn verify_signature(key: &PublicKey, payload: &[u8], signature: &[u8]) -> Result<(), NkeyError> {
    KeyPair::from_public_key(key.as_str())
        .and_then(|pair| pair.verify(payload, signature))
        .map_err(|_| NkeyError::Signature)
}

/// What is wrong with a key or a signature. It never shows the secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NkeyError {
    /// Not a public NKEY.
    #[error("not a public NKEY")]
    Public,
    /// Not the seed of an NKEY.
    #[error("not the seed of an NKEY")]
    Seed,
    /// The signature was not made by that key over that payload.
    #[error("the signature does not match")]
    Signature,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_is_bound_to_key_and_payload() {
        let (seed, other) = (Seed::new_user(), Seed::new_user());
        let signature = seed.sign(b"payload").unwrap();
        assert_eq!(verify_signature(seed.public_key(), b"payload", &signature), Ok(()));
        for (key, payload, signature) in [
            (other.public_key(), &b"payload"[..], &signature[..]),
            (seed.public_key(), b"payloae", &signature),
            (seed.public_key(), b"payload", &signature[..63]),
            (seed.public_key(), b"payload", &[]),
        ] {
            assert_eq!(verify_signature(key, payload, signature), Err(NkeyError::Signature));
        }
    }

    #[test]
    fn a_seed_is_never_shown() {
        let seed = Seed::new_user();
        assert!(!format!("{seed:?}").contains(seed.reveal()));
        let again: Seed = format!("{}\n", seed.reveal()).parse().unwrap();
        assert_eq!(again.public_key(), seed.public_key());
    }
}
