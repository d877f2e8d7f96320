//! Credentials: NKEYs, the JWTs of NATS, and the files that hold them.

use std::sync::LazyLock;

use data_encoding::BASE64URL_NOPAD;
use mmn_bus::identity::{Creds, Jwt, NodeVps, PublicKey, Seed, Trust, verify_signature};
use mmn_bus::server::Version;
use nkeys::{KeyPair, KeyPairType};
use serde::Serialize;
use serde::de::DeserializeOwned;

const NOW_S: u64 = 1_800_000_000;

/// A key that signs for every role of the network below, and opens nothing else.
static SIGNER: LazyLock<Seed> = LazyLock::new(|| {
    let pair = KeyPair::new_from_raw(KeyPairType::Account, [7; 32]);
    let seed = pair.and_then(|pair| pair.seed()).ok().and_then(|seed| seed.parse().ok());
    seed.unwrap_or_else(|| panic!("thirty-two octets are a key"))
});

/// A JWT; then the same bytes as the claims of one that a trusted key signed.
pub(crate) fn jwt(bytes: &[u8]) {
    let trust = trust_of(SIGNER.public_key());
    if let Ok(text) = std::str::from_utf8(bytes) {
        if let Ok(jwt) = text.parse::<Jwt>() {
            assert_eq!(jwt.as_str().parse().as_ref(), Ok(&jwt));
        }
        let _ = trust.verify_user(text, NOW_S);
    }
    let Ok(mut claims) = serde_json::from_slice::<serde_json::Map<_, _>>(bytes) else { return };
    claims.insert("iss".to_owned(), SIGNER.public_key().as_str().into());
    let claims = BASE64URL_NOPAD.encode(serde_json::Value::Object(claims).to_string().as_bytes());
    let header = BASE64URL_NOPAD.encode(br#"{"typ":"JWT","alg":"ed25519-nkey"}"#);
    let signed = format!("{header}.{claims}");
    let Ok(signature) = SIGNER.sign(signed.as_bytes()) else { panic!("the key does not sign") };
    let jwt = format!("{signed}.{}", BASE64URL_NOPAD.encode(&signature));
    match jwt.parse::<Jwt>() {
        Ok(read) => assert_eq!(read.as_str(), jwt),
        Err(error) => assert!(jwt.len() > 64 * 1024, "what was signed is refused: {error}"),
    }
    if let Ok(claims) = trust.verify_user(&jwt, NOW_S) {
        assert!(claims.subject.is_user() && claims.expires_at_s.is_none_or(|end| end > NOW_S), "{claims:?}");
        assert_eq!(&claims.issuer, SIGNER.public_key());
    }
}

fn trust_of(key: &PublicKey) -> Trust {
    let key = key.clone();
    Trust {
        prefix: mmn_schema::subject::Prefix::default(),
        account: key.clone(),
        anchor: key.clone(),
        node: key.clone(),
        module: key,
    }
}

/// A file of credentials, and the same text as a key alone. Nothing that is read shows its secret.
pub(crate) fn creds(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let debugged = text.parse::<Creds>().map(|creds| (format!("{creds:?}"), creds.seed));
    if let Ok((debugged, seed)) = debugged {
        assert!(!debugged.contains(seed.reveal()), "the secret is shown");
    }
    if let Ok(seed) = text.parse::<Seed>() {
        assert!(!format!("{seed:?}").contains(seed.reveal()), "the secret is shown");
        let Ok(signature) = seed.sign(b"payload") else { panic!("a seed that was read does not sign") };
        assert_eq!(verify_signature(seed.public_key(), b"payload", &signature), Ok(()));
        assert_eq!(seed.public_key().as_str().parse().as_ref(), Ok(seed.public_key()));
    }
    if let Ok(key) = text.parse::<PublicKey>() {
        assert!(verify_signature(&key, b"payload", bytes).is_err());
    }
}

/// `trust.json` and `vps.json`, and the version of a server.
pub(crate) fn files(bytes: &[u8]) {
    json::<Trust>(bytes);
    json::<NodeVps>(bytes);
    if let Ok(version) = String::from_utf8_lossy(bytes).parse::<Version>() {
        assert_eq!(version.to_string().parse(), Ok(version));
    }
}

fn json<T: DeserializeOwned + Serialize + PartialEq + std::fmt::Debug>(bytes: &[u8]) {
    let Ok(value) = serde_json::from_slice::<T>(bytes) else { return };
    let again = serde_json::to_vec(&value).and_then(|written| serde_json::from_slice::<T>(&written));
    assert!(again.is_ok_and(|again| again == value), "{value:?} reads as another");
}
