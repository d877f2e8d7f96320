//! The byte stream to the API: TCP, with TLS around it for `https`.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use hyper::Uri;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::ClientError;

/// How long a connection may take to come about.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Whose certificates a client takes for `https`.
#[derive(Debug, Clone, Default)]
pub enum Trust {
    /// Those of the system's certificate authorities.
    #[default]
    System,
    /// Those signed by a certificate in this PEM file, and no others. A server's own certificate in it is taken for
    /// that very server, whatever name it is called by.
    File(PathBuf),
}

/// Where an API is and how it is reached.
#[derive(Clone)]
pub(crate) struct Endpoint {
    /// Scheme and authority, without a slash at the end.
    pub(crate) url: String,
    /// What the `Host` header says.
    pub(crate) authority: String,
    origin: Origin,
    tls: Option<(TlsConnector, ServerName<'static>)>,
}

/// Scheme, host and port (RFC 6454): two URLs with the same are of the same API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Origin {
    secure: bool,
    host: String,
    port: u16,
}

/// Bytes both ways.
pub(crate) trait Io: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

impl Endpoint {
    pub(crate) fn new(url: &str, trust: &Trust) -> Result<Self, ClientError> {
        let (origin, authority) = Origin::read(url)?;
        let tls = if origin.secure {
            let why = "its host is no name";
            let wrong = |_| ClientError::Url { url: url.to_owned(), why };
            let name = ServerName::try_from(origin.host.clone()).map_err(wrong)?;
            Some((TlsConnector::from(Arc::new(tls_config(trust)?)), name))
        } else {
            None
        };
        Ok(Self { url: format!("{}://{authority}", origin.scheme()), authority, origin, tls })
    }

    /// Opens a connection.
    pub(crate) async fn connect(&self) -> Result<Box<dyn Io>, ClientError> {
        let connecting = async {
            let tcp = TcpStream::connect((self.origin.host.as_str(), self.origin.port)).await?;
            tcp.set_nodelay(true)?;
            Ok::<Box<dyn Io>, io::Error>(match &self.tls {
                None => Box::new(tcp),
                Some((connector, name)) => Box::new(connector.connect(name.clone(), tcp).await?),
            })
        };
        let connected = tokio::time::timeout(CONNECT_TIMEOUT, connecting).await;
        connected.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())).map_err(|source| {
            if is_no_tls(&source) {
                return self.other_scheme();
            }
            ClientError::Connect { url: self.url.clone(), source }
        })
    }

    /// What answers there does not speak the scheme of the URL.
    pub(crate) fn other_scheme(&self) -> ClientError {
        let (what, other) = if self.origin.secure { ("TLS", "http") } else { ("HTTP", "https") };
        ClientError::Scheme { url: self.url.clone(), what, other: format!("{other}://{}", self.authority) }
    }

    /// Whether the connection is encrypted.
    pub(crate) fn secure(&self) -> bool {
        self.tls.is_some()
    }
}

impl Origin {
    /// That of a URL, and its authority as it is written.
    pub(crate) fn read(url: &str) -> Result<(Self, String), ClientError> {
        let wrong = |why| ClientError::Url { url: url.to_owned(), why };
        let uri: Uri = url.trim().parse().map_err(|_| wrong("it can not be read"))?;
        let secure = match uri.scheme_str() {
            Some("http") => false,
            Some("https") => true,
            _ => return Err(wrong("it begins with http:// or https://")),
        };
        if uri.path_and_query().is_some_and(|rest| rest.as_str() != "/") {
            return Err(wrong("it has no path"));
        }
        let authority = uri.authority().ok_or_else(|| wrong("it names no host"))?;
        if authority.as_str().contains('@') {
            return Err(wrong("it holds no user name"));
        }
        let host = authority.host().trim_matches(['[', ']']).to_ascii_lowercase();
        let port = authority.port_u16().unwrap_or(if secure { 443 } else { 80 });
        Ok((Self { secure, host, port }, authority.to_string()))
    }

    const fn scheme(&self) -> &'static str {
        if self.secure { "https" } else { "http" }
    }
}

/// Whether a handshake failed because what came back was no TLS at all.
fn is_no_tls(error: &io::Error) -> bool {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    matches!(inner, Some(rustls::Error::InvalidMessage(_)))
}

impl std::fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Endpoint").field("url", &self.url).finish_non_exhaustive()
    }
}

fn tls_config(trust: &Trust) -> Result<ClientConfig, ClientError> {
    let mut roots = RootCertStore::empty();
    let mut own = Vec::new();
    match trust {
        Trust::System => {
            // A system may hold certificates that nobody can read; the rest is as good as ever.
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
        Trust::File(path) => {
            let unreadable = |why: String| ClientError::Trust(format!("{}: {why}", path.display()));
            let certificates = CertificateDer::pem_file_iter(path).map_err(|e| unreadable(e.to_string()))?;
            for certificate in certificates {
                let certificate = certificate.map_err(|error| unreadable(error.to_string()))?;
                own.push(certificate.clone());
                roots.add(certificate).map_err(|error| unreadable(error.to_string()))?;
            }
        }
    }
    if roots.is_empty() {
        return Err(ClientError::Trust("there are none".into()));
    }
    let broken = |error: &dyn std::fmt::Display| ClientError::Trust(error.to_string());
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let signed = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
        .build()
        .map_err(|error| broken(&error))?;
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| broken(&error))?;
    Ok(config
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(OwnOrSigned { own, signed }))
        .with_no_client_auth())
}

/// Takes a certificate that is one of `own`, bit for bit; any other must be signed and named as usual.
///
/// The `mmn up` of this machine says which certificate its API shows, and is called by a loopback address that the
/// certificate need not name. A self-signed one is often marked as an authority's, which nobody else takes.
#[derive(Debug)]
struct OwnOrSigned {
    own: Vec<CertificateDer<'static>>,
    signed: Arc<WebPkiServerVerifier>,
}

impl ServerCertVerifier for OwnOrSigned {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        if self.own.iter().any(|own| own.as_ref() == certificate.as_ref()) {
            return Ok(ServerCertVerified::assertion());
        }
        self.signed.verify_server_cert(certificate, intermediates, name, ocsp, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.signed.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.signed.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.signed.supported_verify_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_read_as_people_write_them() {
        for (url, host, port) in [
            ("http://127.0.0.1:8677", "127.0.0.1", 8677),
            ("http://127.0.0.1:8677/", "127.0.0.1", 8677),
            ("http://[::1]:8677", "::1", 8677),
            ("http://localhost", "localhost", 80),
        ] {
            let endpoint = Endpoint::new(url, &Trust::System).unwrap();
            assert_eq!((endpoint.origin.host.as_str(), endpoint.origin.port), (host, port), "{url}");
        }
        for url in ["", "127.0.0.1:8677", "nats://x", "http://x/api", "http://me@x", "http://"] {
            assert!(Endpoint::new(url, &Trust::System).is_err(), "{url}");
        }
    }
}
