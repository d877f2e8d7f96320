//! Bearer tokens: JSON Web Tokens (RFC 7519) signed with HMAC-SHA-256 (`HS256`, RFC 7518, section 3.2).
//!
//! A token is read only where its header names exactly that algorithm, so that nobody talks the anchor into another
//! one. Tokens and keys have no `Display`, and their `Debug` shows nothing of them.
//!
//! Begin at [`mint`] and [`verify`].

use std::fmt;
use std::fs::{File, OpenOptions, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

use data_encoding::BASE64URL_NOPAD;
use mmn_schema::id::Tenant;
use mmn_schema::time::Timestamp;
use ring::hmac;
use ring::rand::SecureRandom;
use serde::{Deserialize, Serialize};

/// The longest token that is looked at, in bytes.
pub(super) const MAX_LEN: usize = 4096;
/// The length of a key, in bytes: that of the digest (RFC 7518, section 3.2).
const KEY_LEN: usize = 32;

/// The key that signs the tokens of an anchor.
#[derive(Clone)]
pub struct TokenKey(hmac::Key);

/// What a token says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claims {
    /// Who holds it.
    pub sub: String,
    /// On whose behalf its holder asks.
    pub tenant: Tenant,
    /// When it was made, in seconds since 1970 UTC.
    pub iat: i64,
    /// From when on it is no longer taken, in seconds since 1970 UTC; absent: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exp: Option<i64>,
    /// Its own name, by which it is counted and can be told from others.
    pub jti: String,
}

impl Claims {
    /// From when on the token is no longer taken; absent: never.
    pub fn expires_at(&self) -> Option<Timestamp> {
        self.exp.map(|exp| Timestamp::from_unix_ns(exp.saturating_mul(1_000_000_000)))
    }
}

/// Why a token is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// It is no token of this kind at all.
    #[error("it is no token of this API")]
    Malformed,
    /// Another key signed it, or it was changed.
    #[error("its signature does not hold")]
    Signature,
    /// Its time is over.
    #[error("it has expired")]
    Expired,
}

/// Why there is no key.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The file can't be read or written.
    #[error("the key of the API's tokens can't be read or written")]
    File(#[from] io::Error),
    /// The file holds something else.
    #[error("the file holds {0} bytes, and a key has {KEY_LEN}")]
    Length(usize),
    /// The system gives no random bytes.
    #[error("the system gives no random bytes")]
    Random,
}

/// Makes a token.
pub fn mint(key: &TokenKey, claims: &Claims) -> Result<String, serde_json::Error> {
    let mut token = BASE64URL_NOPAD.encode(br#"{"alg":"HS256","typ":"JWT"}"#);
    token.push('.');
    BASE64URL_NOPAD.encode_append(&serde_json::to_vec(claims)?, &mut token);
    Ok(signed(key, token))
}

/// The text with its tag behind it.
pub(super) fn signed(key: &TokenKey, mut text: String) -> String {
    let tag = hmac::sign(&key.0, text.as_bytes());
    text.push('.');
    BASE64URL_NOPAD.encode_append(tag.as_ref(), &mut text);
    text
}

/// Reads a token. The signature is compared in constant time, before anything else of it is looked at.
pub fn verify(key: &TokenKey, token: &str, now: Timestamp) -> Result<Claims, TokenError> {
    #[derive(Deserialize)]
    struct Header {
        alg: String,
        /// Extensions that a reader must understand (RFC 7515, section 4.1.11): there are none here.
        #[serde(default)]
        crit: Option<serde_json::Value>,
    }

    if token.len() > MAX_LEN {
        return Err(TokenError::Malformed);
    }
    let (signed, tag) = token.rsplit_once('.').ok_or(TokenError::Malformed)?;
    let tag = BASE64URL_NOPAD.decode(tag.as_bytes()).map_err(|_| TokenError::Malformed)?;
    hmac::verify(&key.0, signed.as_bytes(), &tag).map_err(|_| TokenError::Signature)?;
    let (header, claims) = signed.split_once('.').ok_or(TokenError::Malformed)?;
    let header: Header = part(header)?;
    if header.alg != "HS256" || header.crit.is_some() {
        return Err(TokenError::Malformed);
    }
    let claims: Claims = part(claims)?;
    if claims.expires_at().is_some_and(|expires_at| now >= expires_at) {
        return Err(TokenError::Expired);
    }
    Ok(claims)
}

fn part<T: serde::de::DeserializeOwned>(text: &str) -> Result<T, TokenError> {
    let bytes = BASE64URL_NOPAD.decode(text.as_bytes()).map_err(|_| TokenError::Malformed)?;
    serde_json::from_slice(&bytes).map_err(|_| TokenError::Malformed)
}

impl TokenKey {
    /// The key of the given bytes.
    pub fn new(bytes: &[u8; KEY_LEN]) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, bytes))
    }

    /// The key that lies at `path`. Where there is none, a new one is put there, for this user alone.
    pub fn load_or_create(path: &Path) -> Result<Self, KeyError> {
        match Self::load(path) {
            Err(KeyError::File(error)) if error.kind() == io::ErrorKind::NotFound => {}
            other => return other,
        }
        let mut bytes = [0; KEY_LEN];
        ring::rand::SystemRandom::new().fill(&mut bytes).map_err(|_| KeyError::Random)?;
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let beside = path.with_file_name(format!("{name}.{}.new", std::process::id()));
        let mut file =
            OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&beside)?;
        file.set_permissions(Permissions::from_mode(0o600))?;
        file.write_all(&bytes)?;
        file.sync_all()?;
        // A link refuses to replace: of two who make a key at the same time, the first has made it.
        let linked = std::fs::hard_link(&beside, path);
        std::fs::remove_file(&beside)?;
        match linked {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error.into()),
            _ => Self::load(path),
        }
    }

    /// The key that lies at `path`.
    pub fn load(path: &Path) -> Result<Self, KeyError> {
        let mut bytes = Vec::with_capacity(KEY_LEN);
        File::open(path)?.take(KEY_LEN as u64 + 1).read_to_end(&mut bytes)?;
        let key: [u8; KEY_LEN] = bytes.as_slice().try_into().map_err(|_| KeyError::Length(bytes.len()))?;
        Ok(Self::new(&key))
    }
}

impl fmt::Debug for TokenKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenKey(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NOW: Timestamp = Timestamp::from_unix_ns(1_800_000_000_000_000_000);

    fn claims(exp: Option<i64>) -> Claims {
        let (sub, jti) = ("anna".to_owned(), "t1".to_owned());
        Claims { sub, tenant: Tenant::default(), iat: 1_700_000_000, exp, jti }
    }

    #[test]
    fn a_token_says_what_was_put_into_it() {
        let key = TokenKey::new(&[7; 32]);
        for exp in [None, Some(1_800_000_001)] {
            let token = mint(&key, &claims(exp)).unwrap();
            assert_eq!(verify(&key, &token, NOW), Ok(claims(exp)));
        }
    }

    #[test]
    fn another_key_another_time_another_algorithm_are_refused() {
        let key = TokenKey::new(&[7; 32]);
        let token = mint(&key, &claims(None)).unwrap();
        assert_eq!(verify(&TokenKey::new(&[8; 32]), &token, NOW), Err(TokenError::Signature));
        let expired = mint(&key, &claims(Some(1_800_000_000))).unwrap();
        assert_eq!(verify(&key, &expired, NOW), Err(TokenError::Expired));

        let header = BASE64URL_NOPAD.encode(br#"{"alg":"none"}"#);
        let (_, rest) = token.split_once('.').unwrap();
        let (body, _) = rest.split_once('.').unwrap();
        assert_eq!(verify(&key, &format!("{header}.{body}."), NOW), Err(TokenError::Signature));
        let signed = format!("{header}.{body}");
        let tag = BASE64URL_NOPAD.encode(hmac::sign(&key.0, signed.as_bytes()).as_ref());
        assert_eq!(verify(&key, &format!("{signed}.{tag}"), NOW), Err(TokenError::Malformed));
    }

    #[test]
    fn a_key_is_made_once_and_for_its_owner_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("api.key");
        let first = TokenKey::load_or_create(&path).unwrap();
        let second = TokenKey::load_or_create(&path).unwrap();
        let token = mint(&first, &claims(None)).unwrap();
        assert!(verify(&second, &token, NOW).is_ok());
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
        std::fs::write(&path, b"short").unwrap();
        assert!(matches!(TokenKey::load_or_create(&path), Err(KeyError::Length(5))));
        assert!(!format!("{first:?}").contains('7'));
    }

    proptest! {
        #[test]
        fn garbage_is_refused_without_panic(text in "\\PC{0,300}") {
            prop_assert!(verify(&TokenKey::new(&[1; 32]), &text, NOW).is_err());
        }

        #[test]
        fn no_changed_byte_gets_through(at in 0usize..1000, with in "[A-Za-z0-9_-]") {
            let key = TokenKey::new(&[7; 32]);
            let token = mint(&key, &claims(None)).unwrap();
            let at = at % token.len();
            let changed = format!("{}{with}{}", &token[..at], &token[at + 1..]);
            prop_assume!(changed != token);
            prop_assert!(verify(&key, &changed, NOW).is_err());
        }
    }
}
