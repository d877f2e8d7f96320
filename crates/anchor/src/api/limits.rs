//! What the API refuses to begin with, and the bounds that nobody needs to change.

use std::net::SocketAddr;
use std::time::Duration;

use crate::config::ApiConfig;

/// How long a body may take to arrive.
pub(crate) const BODY_TIMEOUT: Duration = Duration::from_secs(30);
/// How long an answer may take beyond what the request asks to wait.
pub(crate) const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);
/// How long the head of a request may take, and how long a connection may idle before it is closed.
pub(crate) const HEAD_TIMEOUT: Duration = Duration::from_secs(90);
/// How long a TLS handshake may take.
pub(crate) const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// How often a stream that has nothing to say shows that it is alive.
pub(crate) const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// How long connections may take to end once the anchor stops.
pub(crate) const STOP_TIMEOUT: Duration = Duration::from_secs(2);
/// The most connections; further ones wait to be taken.
pub(crate) const MAX_CONNECTIONS: usize = 4096;
/// The longest message of a client on the WebSocket, in bytes.
pub(crate) const MAX_FRAME_BYTES: usize = 4 << 20;
/// The most records that are read at once for a client.
pub(crate) const MAX_RECORDS: usize = 256;

/// Why settings can't be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// Tokens would travel in the clear.
    #[error("{0} is not a loopback address: tokens would travel in the clear, so listening there needs TLS")]
    ClearText(SocketAddr),
    /// A certificate is of no use without its key, nor a key without its certificate.
    #[error("api.tls_cert and api.tls_key are needed both or not at all")]
    HalfTls,
    /// The public page has room for so much.
    #[error("api.{name} has {found} characters, and may have {most}")]
    Long {
        /// Which text.
        name: &'static str,
        /// How long it is.
        found: usize,
        /// How long it may be.
        most: usize,
    },
    /// A limit would let nothing through.
    #[error("api.{0} is 0, which would let nothing through")]
    Zero(&'static str),
}

/// Refuses settings that are unsafe or make no sense.
pub fn check(config: &ApiConfig) -> Result<(), ConfigError> {
    if config.tls_cert.is_some() != config.tls_key.is_some() {
        return Err(ConfigError::HalfTls);
    }
    if config.tls_cert.is_none() && !config.listen.ip().is_loopback() {
        return Err(ConfigError::ClearText(config.listen));
    }
    for (name, text, most) in [
        ("public_title", &config.public_title, 120),
        ("public_about", &config.public_about, 2000),
        ("public_contact", &config.public_contact, 200),
    ] {
        let found = text.as_ref().map_or(0, |text| text.chars().count());
        if found > most {
            return Err(ConfigError::Long { name, found, most });
        }
    }
    match (config.max_requests_per_s, config.max_body_bytes) {
        (0, _) => Err(ConfigError::Zero("max_requests_per_s")),
        (_, 0) => Err(ConfigError::Zero("max_body_bytes")),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_listens_in_the_clear_on_loopback_only() {
        let mut config = ApiConfig::default();
        assert_eq!(check(&config), Ok(()));
        for listen in ["0.0.0.0:8677", "[::]:0", "192.0.2.1:80"] {
            config.listen = listen.parse().unwrap();
            assert_eq!(check(&config), Err(ConfigError::ClearText(config.listen)));
        }
        config.tls_cert = Some("cert.pem".into());
        assert_eq!(check(&config), Err(ConfigError::HalfTls));
        config.tls_key = Some("key.pem".into());
        assert_eq!(check(&config), Ok(()));
        config.public_title = Some("ä".repeat(120));
        assert_eq!(check(&config), Ok(()));
        config.public_title = Some("ä".repeat(121));
        assert_eq!(check(&config), Err(ConfigError::Long { name: "public_title", found: 121, most: 120 }));
        config.public_title = None;
        config.max_body_bytes = 0;
        assert_eq!(check(&config), Err(ConfigError::Zero("max_body_bytes")));
    }
}
