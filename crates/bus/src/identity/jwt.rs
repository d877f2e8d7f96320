//! The JWTs of NATS (its ADR-14): a header that never changes, claims as JSON, and an Ed25519
//! signature over both, each in unpadded base64url, with a dot between.

use std::fmt;
use std::str::FromStr;

use data_encoding::{BASE32_NOPAD, BASE64URL_NOPAD};
use serde_json::{Map, Value};
use sha2::{Digest, Sha512_256};

use super::nkey::{NkeyError, PublicKey, Seed, verify_signature};

const HEADER: &str = r#"{"typ":"JWT","alg":"ed25519-nkey"}"#;

/// The most that is read: a user's JWT has about 600 bytes, an account's with three roles 4,000.
const MAX_BYTES: usize = 64 * 1024;

/// A signed JWT in its text form. Whether it is to be trusted is another question:
/// [`Trust::verify_user`](super::Trust::verify_user).
#[derive(Clone, PartialEq, Eq)]
pub struct Jwt(String);

impl Jwt {
    /// The text form, as it stands in a `.creds` file.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Jwt {
    type Err = JwtError;

    /// Takes the text when it has the form of a JWT and its signature is that of its own issuer.
    fn from_str(text: &str) -> Result<Self, JwtError> {
        let text = text.trim();
        decode(text)?;
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for Jwt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Jwt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Jwt({} bytes)", self.0.len())
    }
}

/// Signs `claims`; `iss` and `jti` are set here.
pub(super) fn encode(mut claims: Map<String, Value>, key: &Seed) -> Result<Jwt, NkeyError> {
    claims.insert("iss".into(), key.public_key().as_str().into());
    claims.remove("jti");
    let digest = Sha512_256::digest(Value::Object(claims.clone()).to_string());
    claims.insert("jti".into(), BASE32_NOPAD.encode(&digest).into());
    let signed = format!(
        "{}.{}",
        BASE64URL_NOPAD.encode(HEADER.as_bytes()),
        BASE64URL_NOPAD.encode(Value::Object(claims).to_string().as_bytes())
    );
    let signature = key.sign(signed.as_bytes())?;
    Ok(Jwt(format!("{signed}.{}", BASE64URL_NOPAD.encode(&signature))))
}

/// The claims of `text`, once its signature is seen to be that of the issuer it names.
pub(super) fn decode(text: &str) -> Result<(PublicKey, Map<String, Value>), JwtError> {
    if text.len() > MAX_BYTES {
        return Err(JwtError::TooLong);
    }
    let (signed, signature) = text.rsplit_once('.').ok_or(JwtError::Form)?;
    let (header, claims) = signed.split_once('.').ok_or(JwtError::Form)?;
    let header: Map<String, Value> = json_part(header)?;
    if header.get("alg").and_then(Value::as_str) != Some("ed25519-nkey") {
        return Err(JwtError::Algorithm);
    }
    let claims: Map<String, Value> = json_part(claims)?;
    let issuer: PublicKey = claims
        .get("iss")
        .and_then(Value::as_str)
        .ok_or(JwtError::Claim("iss"))?
        .parse()
        .map_err(|_| JwtError::Claim("iss"))?;
    let signature = base64url(signature)?;
    verify_signature(&issuer, signed.as_bytes(), &signature).map_err(|_| JwtError::Signature)?;
    Ok((issuer, claims))
}

fn json_part(part: &str) -> Result<Map<String, Value>, JwtError> {
    serde_json::from_slice(&base64url(part)?).map_err(|_| JwtError::Form)
}

fn base64url(part: &str) -> Result<Vec<u8>, JwtError> {
    BASE64URL_NOPAD.decode(part.as_bytes()).map_err(|_| JwtError::Form)
}

/// Why a text is no JWT of NATS.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum JwtError {
    /// More than 64 KiB.
    #[error("longer than a JWT of NATS can be")]
    TooLong,
    /// Not three parts of base64url with JSON in the first two.
    #[error("not of the form of a JWT")]
    Form,
    /// Signed with something other than an NKEY.
    #[error("not signed with an NKEY")]
    Algorithm,
    /// A claim is missing or of the wrong type.
    #[error("its claim {0:?} is missing or wrong")]
    Claim(&'static str),
    /// The signature is not that of the issuer it names.
    #[error("its signature does not match")]
    Signature,
}

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use proptest::prelude::*;

    use super::*;

    fn sample() -> (Seed, Jwt) {
        let seed = Seed::new_account();
        let mut claims = Map::new();
        claims.insert("name".into(), "x".into());
        let jwt = encode(claims, &seed).unwrap();
        (seed, jwt)
    }

    #[test]
    fn what_is_encoded_is_decoded() {
        let (seed, jwt) = sample();
        let (issuer, claims) = decode(jwt.as_str()).unwrap();
        assert_eq!(&issuer, seed.public_key());
        assert_eq!(claims["name"], "x");
        assert_eq!(claims["jti"].as_str().unwrap().len(), 52);
    }

    proptest! {
        // A signature takes milliseconds in a debug build.
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn garbage_is_refused(text in any::<String>()) {
            prop_assert!(text.parse::<Jwt>().is_err());
        }

        #[test]
        fn parts_of_garbage_are_refused(parts in prop::collection::vec(any::<Vec<u8>>(), 0..5)) {
            let text = parts.iter().map(|part| BASE64URL_NOPAD.encode(part)).collect::<Vec<_>>();
            prop_assert!(text.join(".").parse::<Jwt>().is_err());
        }

        #[test]
        fn a_changed_character_is_noticed(at in any::<prop::sample::Index>(), to in "[A-Za-z0-9_-]") {
            static SAMPLE: LazyLock<Jwt> = LazyLock::new(|| sample().1);
            let jwt = &*SAMPLE;
            let mut text = jwt.as_str().to_owned();
            let at = at.index(text.len());
            text.replace_range(at..=at, &to);
            prop_assert!(text == jwt.as_str() || text.parse::<Jwt>().is_err());
        }
    }
}
