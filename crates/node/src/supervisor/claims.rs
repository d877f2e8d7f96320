//! What a user's JWT says of itself. Whoever holds its key needs no proof of it.

use data_encoding::BASE64URL_NOPAD;
use serde::Deserialize;

/// The claims that concern their holder.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(super) struct Claims {
    /// Its name.
    pub(super) name: String,
    /// When it was made, in seconds since 1970 UTC, by its maker's clock.
    #[serde(default)]
    pub(super) iat: Option<u64>,
    /// When it ends, in seconds since 1970 UTC.
    #[serde(default)]
    pub(super) exp: Option<u64>,
}

/// Reads them; none where the text is no JWT (RFC 7519).
pub(super) fn of(jwt: &str) -> Option<Claims> {
    let claims = jwt.split('.').nth(1)?;
    serde_json::from_slice(&BASE64URL_NOPAD.decode(claims.as_bytes()).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn claims_are_read() {
        let jwt =
            format!("x.{}.y", BASE64URL_NOPAD.encode(br#"{"name":"node-1","iat":3,"exp":7,"nats":{}}"#));
        assert_eq!(of(&jwt), Some(Claims { name: "node-1".to_owned(), iat: Some(3), exp: Some(7) }));
    }

    proptest! {
        #[test]
        fn garbage_never_panics(text in "\\PC{0,80}", bytes: Vec<u8>) {
            let _ = of(&text);
            let _ = of(&format!("a.{}.b", BASE64URL_NOPAD.encode(&bytes)));
        }
    }
}
