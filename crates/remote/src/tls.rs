//! TLS as scamper does it: it begins with the connection, the daemon checks the server's certificate, and shows one of its own
//! where authorities for such are given.

use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use tokio_rustls::TlsAcceptor;
use x509_parser::extensions::GeneralName;

/// PEM files.
#[derive(Debug, Clone)]
pub struct TlsFiles {
    /// The certificate that daemons are shown, with those that lead to it.
    pub cert: PathBuf,
    /// Its key.
    pub key: PathBuf,
    /// Authorities one of which must have signed the certificate that a daemon shows. Absent: none is asked for.
    pub client_ca: Option<PathBuf>,
}

/// A file that is of no use.
#[derive(Debug, thiserror::Error)]
#[error("{}: {why}", path.display())]
pub struct TlsError {
    path: PathBuf,
    why: String,
}

impl TlsFiles {
    /// What daemons shake hands with.
    pub(crate) fn acceptor(&self) -> Result<TlsAcceptor, TlsError> {
        let chain = certificates(&self.cert)?;
        let key =
            PrivateKeyDer::from_pem_reader(open(&self.key)?).map_err(|error| wrong(&self.key, error))?;
        let unusable = |error: rustls::Error| wrong(&self.cert, error);
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = rustls::ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(unusable)?;
        let builder = match &self.client_ca {
            None => builder.with_no_client_auth(),
            Some(path) => {
                let mut roots = RootCertStore::empty();
                for authority in certificates(path)? {
                    roots.add(authority).map_err(|error| wrong(path, error))?;
                }
                let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
                builder.with_client_cert_verifier(verifier.build().map_err(|error| wrong(path, error))?)
            }
        };
        let config = builder.with_single_cert(chain, key).map_err(unusable)?;
        Ok(TlsAcceptor::from(Arc::new(config)))
    }
}

/// The names that a certificate is for (RFC 5280, section 4.2.1.6), and its subject's common names.
pub(crate) fn names(certificate: &CertificateDer<'_>) -> Vec<String> {
    let Ok((_, parsed)) = x509_parser::parse_x509_certificate(certificate) else { return Vec::new() };
    let alternative = parsed.subject_alternative_name().ok().flatten();
    let alternative = alternative.into_iter().flat_map(|names| &names.value.general_names);
    let names = alternative.filter_map(|name| match name {
        GeneralName::DNSName(name) => Some((*name).to_owned()),
        _ => None,
    });
    let common = parsed.subject().iter_common_name().filter_map(|name| name.as_str().ok().map(str::to_owned));
    names.chain(common).collect()
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    CertificateDer::pem_reader_iter(open(path)?)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| wrong(path, error))
}

fn open(path: &Path) -> Result<BufReader<File>, TlsError> {
    File::open(path).map(BufReader::new).map_err(|error| wrong(path, error))
}

fn wrong(path: &Path, why: impl std::fmt::Display) -> TlsError {
    TlsError { path: path.to_owned(), why: why.to_string() }
}
