//! The client's side of TLS, as PEM files.

use std::path::PathBuf;

use async_nats::ConnectOptions;

/// Certificates for a connection. The empty one trusts the system's authorities, and uses TLS
/// when the URL or the server asks for it.
#[derive(Debug, Clone, Default)]
pub struct Tls {
    /// More authorities to trust.
    pub ca: Option<PathBuf>,
    /// The client's own certificate and key.
    pub identity: Option<(PathBuf, PathBuf)>,
    /// Never talk without TLS.
    pub required: bool,
}

impl Tls {
    pub(super) fn apply(self, mut options: ConnectOptions) -> ConnectOptions {
        if let Some(ca) = self.ca {
            options = options.add_root_certificates(ca);
        }
        if let Some((certificate, key)) = self.identity {
            options = options.add_client_certificate(certificate, key);
        }
        if self.required {
            options = options.require_tls(true);
        }
        options
    }
}
