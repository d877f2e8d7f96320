//! Where the API listens, and how much it takes on.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Settings of the API. Every field has a default.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ApiConfig {
    /// Where to listen. Port 0 lets the system choose. Anything but loopback needs `tls`.
    pub listen: SocketAddr,
    /// The certificate to show; absent: plain HTTP.
    pub tls: Option<ApiTls>,
    /// Names, besides `localhost` and the loopback addresses, under which a listener on loopback is asked for: a
    /// proxy's, say. Requests for any other host are refused (DNS rebinding).
    pub hosts: Vec<String>,
    /// The longest body of a request, in bytes.
    pub max_body_bytes: usize,
    /// The most requests per second and token, or address where there is no token. A burst may take those of one
    /// second at once.
    pub max_requests_per_s: u32,
    /// The most connections; further ones wait to be taken.
    pub max_connections: usize,
    /// The longest message of a client on the WebSocket, in bytes.
    pub max_frame_bytes: usize,
}

/// The certificate of the API.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ApiTls {
    /// The certificate chain, the API's own first: a PEM file.
    pub cert: PathBuf,
    /// Its private key: a PEM file.
    pub key: PathBuf,
}

/// Why settings can't be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// Tokens would travel in the clear.
    #[error("{0} is not a loopback address: tokens would travel in the clear, so listening there needs api.tls")]
    ClearText(SocketAddr),
    /// A limit would let nothing through.
    #[error("api.{0} is 0, which would let nothing through")]
    Zero(&'static str),
}

/// The longest that a request may ask to wait for results.
pub(crate) const MAX_WAIT: Duration = Duration::from_secs(300);
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

impl Default for ApiConfig {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 8677)),
            tls: None,
            hosts: Vec::new(),
            max_body_bytes: 32 << 20,
            max_requests_per_s: 50_000,
            max_connections: 4096,
            max_frame_bytes: 4 << 20,
        }
    }
}

impl ApiConfig {
    /// Refuses settings that are unsafe or make no sense.
    pub fn check(&self) -> Result<(), ConfigError> {
        if self.tls.is_none() && !self.listen.ip().is_loopback() {
            return Err(ConfigError::ClearText(self.listen));
        }
        let limits = [
            ("max_body_bytes", self.max_body_bytes == 0),
            ("max_requests_per_s", self.max_requests_per_s == 0),
            ("max_connections", self.max_connections == 0),
            ("max_frame_bytes", self.max_frame_bytes == 0),
        ];
        match limits.iter().find(|(_, zero)| *zero) {
            Some((name, _)) => Err(ConfigError::Zero(name)),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_listens_in_the_clear_on_loopback_only() {
        let mut config = ApiConfig::default();
        assert_eq!(config.check(), Ok(()));
        for listen in ["0.0.0.0:8677", "[::]:0", "192.0.2.1:80"] {
            config.listen = listen.parse().unwrap();
            assert_eq!(config.check(), Err(ConfigError::ClearText(config.listen)));
        }
        config.tls = Some(ApiTls { cert: "cert.pem".into(), key: "key.pem".into() });
        assert_eq!(config.check(), Ok(()));
        config.max_body_bytes = 0;
        assert_eq!(config.check(), Err(ConfigError::Zero("max_body_bytes")));
    }

    #[test]
    fn unknown_settings_are_refused() {
        assert_eq!(serde_json::from_str::<ApiConfig>("{}").unwrap(), ApiConfig::default());
        assert!(serde_json::from_str::<ApiConfig>(r#"{"listne": "127.0.0.1:1"}"#).is_err());
    }
}
