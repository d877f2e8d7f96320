//! The TLS handshake, and what the server showed in it.
//!
//! The certificate is judged by the time that the context gives, so that nothing here reads a clock.

use std::error::Error as _;
use std::io;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use mmn_kit::{ByteStream, Context, Failure, Octets, code};
use mmn_probe::time::Instant;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{EchStatus as Became, Resumption, WebPkiServerVerifier};
use rustls::crypto::{
    CryptoProvider, WebPkiSupportedAlgorithms, ring, verify_tls12_signature, verify_tls13_signature,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::time_provider::TimeProvider;
use rustls::{
    CertificateError, ClientConfig, ClientConnection, DigitallySignedStruct, RootCertStore, SignatureScheme,
};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_util::compat::{Compat, FuturesAsyncReadCompatExt, TokioAsyncReadCompatExt};

use super::certificate::describe;
use super::ech::{Offer, rejection};
use super::result::{Certificate, EchStatus, Tls};
use super::{Params, Version};
use crate::session::{code_of, within};

/// The most certificates of a chain that are described.
const MAX_CHAIN: usize = 10;

/// A stream within TLS.
pub(super) type Secured = Compat<TlsStream<Compat<Box<dyn ByteStream>>>>;

/// What a task's connections have in common.
#[derive(Debug)]
pub(super) struct Trust {
    roots: Arc<RootCertStore>,
    provider: Arc<CryptoProvider>,
}

impl Trust {
    /// Mozilla's roots, that of the place where it runs, and those of the parameters.
    pub(super) fn new(params: &Params, authority: Option<&str>) -> Result<Self, Failure> {
        static MOZILLA: OnceLock<Arc<RootCertStore>> = OnceLock::new();
        let mozilla = MOZILLA
            .get_or_init(|| Arc::new(RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() }));
        let provider = Arc::new(ring::default_provider());
        if params.ca.is_none() && authority.is_none() {
            return Ok(Self { roots: Arc::clone(mozilla), provider });
        }
        let mut roots = RootCertStore::clone(mozilla);
        let own = authority.into_iter().flat_map(|pem| CertificateDer::pem_slice_iter(pem.as_bytes()));
        roots.add_parsable_certificates(own.flatten());
        let Some(pem) = &params.ca else { return Ok(Self { roots: Arc::new(roots), provider }) };
        let refuse =
            |error: &dyn std::fmt::Display| Failure::refused(code::PARAMETERS, format_args!("ca: {error}"));
        let mut given = 0;
        for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
            roots.add(certificate.map_err(|error| refuse(&error))?).map_err(|error| refuse(&error))?;
            given += 1;
        }
        if given == 0 {
            return Err(refuse(&"it holds no certificate"));
        }
        Ok(Self { roots: Arc::new(roots), provider })
    }
}

/// What came of a handshake.
pub(super) enum Handshake {
    /// A stream within TLS, what was agreed on, and the certificates.
    Agreed(Box<Secured>, Tls, Vec<CertificateDer<'static>>),
    /// The server did not take the ECH that was offered.
    EchRejected(Rejected),
}

/// What a server showed that did not take ECH.
pub(super) struct Rejected {
    /// The name that was asked for in clear.
    pub(super) outer_name: String,
    /// Why the certificate does not hold for it.
    pub(super) error: Option<String>,
    /// Its certificates.
    pub(super) certificates: Vec<Certificate>,
    /// The configurations that it gave to try again with.
    pub(super) retry_configs: Option<Octets>,
}

/// Agrees on TLS with the server at the other end.
pub(super) async fn handshake(
    context: &dyn Context,
    until: Instant,
    trust: &Trust,
    params: &Params,
    offer: Option<&Offer>,
    host: &str,
    stream: Box<dyn ByteStream>,
) -> Result<Handshake, Failure> {
    let host = params.server_name.as_deref().unwrap_or(host);
    let name = ServerName::try_from(host.to_owned())
        .map_err(|_| Failure::refused(code::PARAMETERS, format_args!("{host:?} is no name for TLS")))?;
    let recorder = Arc::new(Recorder {
        judge: WebPkiServerVerifier::builder_with_provider(
            Arc::clone(&trust.roots),
            Arc::clone(&trust.provider),
        )
        .build()
        .map_err(|error| Failure::failed(code::INTERNAL, error))?,
        algorithms: trust.provider.signature_verification_algorithms,
        strict: params.verify,
        seen: Mutex::default(),
    });
    let config = config(context, trust, params, offer, &recorder)?;
    let sni = matches!(name, ServerName::DnsName(_)).then(|| host.to_owned());
    let outer_name = offer.and_then(|offer| offer.outer_name.as_deref());
    let connecting = TlsConnector::from(Arc::new(config)).connect(name, stream.compat());
    let stream = match within(context, until, connecting).await {
        None => return Err(Failure::failed(code::TIMEOUT, "the TLS handshake took too long")),
        Some(Err(error)) => {
            if let (Some(outer_name), Some(rejection)) = (outer_name, spoken(&error).and_then(rejection)) {
                let seen = recorder.seen();
                return Ok(Handshake::EchRejected(Rejected {
                    outer_name: outer_name.to_owned(),
                    certificates: seen
                        .chain
                        .iter()
                        .map(|der| describe(der, params.keep_certificates))
                        .collect(),
                    error: seen.error,
                    retry_configs: rejection.retry_configs,
                }));
            }
            let rejected = outer_name.filter(|outer_name| *outer_name != host);
            return Err(failed(&error, &recorder, rejected));
        }
        Some(Ok(stream)) => stream,
    };
    let (_, connection) = stream.get_ref();
    let seen = recorder.seen();
    let tls = described(connection, sni, outer_name, &seen);
    Ok(Handshake::Agreed(Box::new(stream.compat()), tls, seen.chain))
}

fn config(
    context: &dyn Context,
    trust: &Trust,
    params: &Params,
    offer: Option<&Offer>,
    recorder: &Arc<Recorder>,
) -> Result<ClientConfig, Failure> {
    let seconds = context.utc().unix_ns().div_euclid(1_000_000_000);
    let seconds = u64::try_from(seconds).unwrap_or(0);
    let now = Arc::new(Now(UnixTime::since_unix_epoch(std::time::Duration::from_secs(seconds))));
    let verifier: Arc<dyn ServerCertVerifier> = Arc::<Recorder>::clone(recorder);
    let builder = ClientConfig::builder_with_details(Arc::clone(&trust.provider), now);
    let builder = match offer {
        // It offers TLS 1.3 alone then.
        Some(offer) => builder.with_ech(offer.mode.clone()),
        None => builder.with_safe_default_protocol_versions(),
    };
    let mut config = builder
        .map_err(|error| Failure::failed(code::INTERNAL, error))?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth();
    config.resumption = Resumption::disabled();
    let protocols: &[&[u8]] = match params.version {
        Version::Auto => &[b"h2", b"http/1.1"],
        Version::Http11 => &[b"http/1.1"],
        Version::Http2 => &[b"h2"],
    };
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
    Ok(config)
}

fn described(
    connection: &ClientConnection,
    sni: Option<String>,
    outer_name: Option<&str>,
    seen: &Seen,
) -> Tls {
    let ech_status = match connection.ech_status() {
        Became::Grease => Some(EchStatus::Grease),
        Became::Accepted => Some(EchStatus::Accepted),
        // A rejection has ended the handshake.
        Became::NotOffered | Became::Offered | Became::Rejected => None,
    };
    let version = connection.protocol_version().and_then(|version| version.as_str());
    let cipher = connection.negotiated_cipher_suite().and_then(|suite| suite.suite().as_str());
    let group = connection.negotiated_key_exchange_group().and_then(|group| group.name().as_str());
    Tls {
        version: version.unwrap_or_default().replace('_', "."),
        // IANA's names of the suites of TLS 1.3 carry no version.
        cipher: cipher.unwrap_or_default().replacen("TLS13_", "TLS_", 1),
        group: group.map(str::to_owned),
        alpn: connection.alpn_protocol().map(|protocol| String::from_utf8_lossy(protocol).into_owned()),
        sni,
        verified: seen.error.is_none(),
        error: seen.error.clone(),
        certificates: seen.chain.iter().map(|der| describe(der, false)).collect(),
        ech_status,
        ech_outer_name: outer_name.map(str::to_owned),
    }
}

/// The error of TLS that ended a handshake, where that is why it ended.
fn spoken(error: &io::Error) -> Option<&rustls::Error> {
    error.get_ref()?.downcast_ref()
}

/// Why there is no TLS: a certificate that does not hold is named with whose it is and until when. A certificate that
/// was judged by the outer name tells that ECH was rejected.
fn failed(error: &io::Error, recorder: &Recorder, outer_name: Option<&str>) -> Failure {
    let seen = recorder.seen();
    if let Some(verdict) = &seen.error {
        let leaf = seen.chain.first().map(|der| describe(der, false));
        let of = leaf.map_or_else(String::new, |leaf| {
            let until = leaf.not_after.map(|until| until.to_string()).unwrap_or_default();
            let (subject, issuer) = (leaf.subject.unwrap_or_default(), leaf.issuer.unwrap_or_default());
            format!(" (certificate of {subject}, issued by {issuer}, until {until})")
        });
        let rejected = outer_name.filter(|outer_name| seen.name.as_deref() == Some(*outer_name));
        let rejected = rejected.map_or_else(String::new, |outer_name| {
            format!("the server rejected ECH and does not prove to be {outer_name}: ")
        });
        return Failure::failed(code::TLS, format_args!("{rejected}{verdict}{of}"));
    }
    match error.kind() {
        _ if spoken(error).is_some() => Failure::failed(code::TLS, error),
        io::ErrorKind::UnexpectedEof => {
            Failure::failed(code::TLS, "the server closed the connection in the TLS handshake")
        }
        _ => {
            let cause = error.source().map(ToString::to_string).unwrap_or_default();
            Failure::failed(
                code_of(error),
                format_args!("in the TLS handshake: {error} {cause}").to_string().trim_end(),
            )
        }
    }
}

/// A verdict in words; what the library has no words for is named.
fn told(error: &rustls::Error) -> String {
    match error {
        rustls::Error::InvalidCertificate(CertificateError::Other(other)) => {
            format!("invalid peer certificate: {}", other.0)
        }
        other => other.to_string(),
    }
}

/// Judges certificates and remembers what it saw and said.
#[derive(Debug)]
struct Recorder {
    judge: Arc<WebPkiServerVerifier>,
    algorithms: WebPkiSupportedAlgorithms,
    /// Whether a certificate that does not hold ends the handshake.
    strict: bool,
    seen: Mutex<Seen>,
}

#[derive(Debug, Clone, Default)]
struct Seen {
    /// The name that the certificate was judged by.
    name: Option<String>,
    chain: Vec<CertificateDer<'static>>,
    error: Option<String>,
}

impl Recorder {
    fn seen(&self) -> Seen {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl ServerCertVerifier for Recorder {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let verdict =
            self.judge.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now);
        let chain = std::iter::once(end_entity).chain(intermediates).take(MAX_CHAIN);
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = Seen {
            name: Some(server_name.to_str().into_owned()),
            chain: chain.map(|der| der.clone().into_owned()).collect(),
            error: verdict.as_ref().err().map(told),
        };
        if self.strict { verdict } else { Ok(ServerCertVerified::assertion()) }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, dss, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

/// The time at which a handshake began.
#[derive(Debug)]
struct Now(UnixTime);

impl TimeProvider for Now {
    fn current_time(&self) -> Option<UnixTime> {
        Some(self.0)
    }
}
