//! `http` over TLS, against servers with certificates made for the test.

use std::sync::Arc;
use std::time::Duration;

use mmn_kit::{Failure, Measured, Number};
use mmn_modules::http::Body;
use mmn_schema::outcome::Outcome;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, date_time_ymd};
use rustls::ServerConfig;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_rustls::TlsAcceptor;

use crate::world::{End, World, run};

const AT: &str = "192.0.2.43:443";

/// An authority, and a certificate of its making.
pub(crate) struct Pki {
    pub(crate) ca_pem: String,
    leaf: CertificateDer<'static>,
    key: Vec<u8>,
}

impl Pki {
    /// A server that shows the certificate.
    pub(crate) fn server(&self, provider: CryptoProvider) -> ServerConfig {
        let key = PrivateKeyDer::try_from(self.key.clone()).unwrap();
        ServerConfig::builder_with_provider(Arc::new(provider))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![self.leaf.clone()], key)
            .unwrap()
    }
}

pub(crate) fn pki(name: &str, until_year: i32) -> Pki {
    let mut authority = CertificateParams::new(Vec::new()).unwrap();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let issuer = CertifiedIssuer::self_signed(authority, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
    params.not_before = date_time_ymd(2020, 1, 1);
    params.not_after = date_time_ymd(until_year, 11, 25);
    let leaf = params.signed_by(&key, &issuer).unwrap();
    Pki { ca_pem: issuer.pem(), leaf: leaf.der().clone(), key: key.serialize_der() }
}

pub(crate) fn acceptor(pki: &Pki, alpn: &[&str]) -> TlsAcceptor {
    let mut config = pki.server(rustls::crypto::ring::default_provider());
    config.alpn_protocols = alpn.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
    TlsAcceptor::from(Arc::new(config))
}

fn world(pki: &Pki, alpn: &[&str]) -> World {
    let acceptor = acceptor(pki, alpn);
    World::new().name("www.example", &["192.0.2.43"]).tcp(AT, move |end| {
        let acceptor = acceptor.clone();
        async move {
            tokio::time::sleep(Duration::from_millis(15)).await;
            let Ok(mut stream) = acceptor.accept(end.stream).await else { return };
            if stream.get_ref().1.alpn_protocol() == Some(b"h2") {
                crate::http::serve_http2(stream).await;
                return;
            }
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                request.push(stream.read_u8().await.unwrap());
            }
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
            let _ = stream.shutdown().await;
        }
    })
}

pub(crate) fn get(world: World, params: Value, url: &str) -> Result<Measured<Body>, Failure> {
    let url = url.to_owned();
    run(async move { world.perform("http", params, &url).await })
}

#[test]
fn a_certificate_that_holds() {
    let pki = pki("www.example", 2026);
    let params = json!({ "ca": pki.ca_pem, "keep_certificates": true });
    let measured = get(world(&pki, &["http/1.1"]), params, "https://www.example/").unwrap();
    let hop = &measured.body.hops[0];
    assert_eq!((hop.status, hop.port, hop.phases.tls_ns), (200, 443, Some(15_000_000)));
    let tls = hop.tls.as_ref().unwrap();
    assert!(tls.verified && tls.error.is_none());
    assert_eq!((tls.version.as_str(), tls.sni.as_deref()), ("TLSv1.3", Some("www.example")));
    assert!(tls.cipher.starts_with("TLS_") && !tls.cipher.contains("13_"), "{}", tls.cipher);
    assert_eq!((tls.alpn.as_deref(), tls.group.as_deref()), (Some("http/1.1"), Some("X25519")));
    let leaf = &tls.certificates[0];
    assert_eq!(leaf.sans, ["www.example"]);
    assert_eq!(leaf.sha256.0, Sha256::digest(&pki.leaf).to_vec());
    assert_eq!(leaf.der.as_ref().unwrap().0, pki.leaf.to_vec());
    // The tests begin on 22 November 2026; two days and most of a third are left.
    assert_eq!(measured.summary["tls_days_left"], Number::Integer(2));
    assert_eq!(measured.summary["tls_ns"], Number::Integer(15_000_000));
}

#[test]
fn a_certificate_that_does_not_hold_is_a_failure_when_it_should() {
    let trusted = pki("www.example", 2030);
    let unknown = get(world(&trusted, &[]), json!({}), "https://www.example/").unwrap_err();
    assert_eq!((unknown.outcome, unknown.reason.code.as_ref()), (Outcome::Failed, "tls"));
    let detail = unknown.reason.detail.unwrap();
    assert!(detail.contains("UnknownIssuer") && detail.contains("until 2030-11-25"), "{detail}");

    let old = pki("www.example", 2025);
    let expired = get(world(&old, &[]), json!({ "ca": old.ca_pem }), "https://www.example/").unwrap_err();
    assert!(expired.reason.detail.unwrap().contains("expired"));

    let params = json!({ "ca": trusted.ca_pem, "server_name": "else.example" });
    let misnamed = get(world(&trusted, &[]), params, "https://www.example/").unwrap_err();
    assert_eq!(misnamed.reason.code, "tls");
    assert!(misnamed.reason.detail.unwrap().contains("else.example"));
}

#[test]
fn a_certificate_that_does_not_hold_is_recorded_when_it_may() {
    let old = pki("www.example", 2025);
    let measured =
        get(world(&old, &[]), json!({ "verify": false, "ca": old.ca_pem }), "https://www.example/").unwrap();
    let tls = measured.body.hops[0].tls.as_ref().unwrap();
    assert!(!tls.verified && tls.error.as_ref().unwrap().contains("expired"), "{:?}", tls.error);
    assert_eq!(tls.certificates[0].der, None);
    assert_eq!(measured.summary["tls_days_left"], Number::Integer(-363));
}

#[test]
fn alpn_chooses_the_version() {
    let pki = pki("www.example", 2030);
    let version = |version: &str, alpn: &[&str]| {
        let params = json!({ "ca": pki.ca_pem, "version": version });
        get(world(&pki, alpn), params, "https://www.example/x").map(|measured| {
            let hop = &measured.body.hops[0];
            (hop.version.clone(), hop.status)
        })
    };
    assert_eq!(version("auto", &["h2", "http/1.1"]).unwrap(), ("2".to_owned(), 418));
    assert_eq!(version("auto", &[]).unwrap(), ("1.1".to_owned(), 200));
    assert_eq!(version("1.1", &["h2", "http/1.1"]).unwrap(), ("1.1".to_owned(), 200));
    assert_eq!(version("2", &["h2"]).unwrap(), ("2".to_owned(), 418));
    assert_eq!(version("2", &[]).unwrap_err().reason.code, "protocol");
    assert_eq!(version("2", &["http/1.1"]).unwrap_err().reason.code, "tls");
}

#[test]
fn handshakes_that_fail_are_told_apart() {
    let serving = |world: World| {
        let params = json!({ "phase_timeout": "1s" });
        get(world.name("www.example", &["192.0.2.43"]), params, "https://www.example/").unwrap_err().reason
    };
    let plain = World::new().tcp(AT, |mut end| async move {
        end.send(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
    });
    assert_eq!(serving(plain).code, "tls");
    let silent = serving(World::new().tcp(AT, End::hold));
    assert_eq!(silent.code, "timeout");
    assert!(silent.detail.unwrap().starts_with("the TLS handshake took too long"));
    let gone = serving(World::new().tcp(AT, |end| async move { drop(end) }));
    assert_eq!(gone.code, "tls");
    let reset = serving(World::new().tcp(AT, |end| async move { end.reset() }));
    assert_eq!(reset.code, "connection-reset");
}

#[test]
fn authorities_must_be_certificates() {
    for ca in ["", "nonsense", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"] {
        let failure = get(World::new(), json!({ "ca": ca }), "https://www.example/").unwrap_err();
        assert_eq!((failure.outcome, failure.reason.code.as_ref()), (Outcome::Refused, "parameters"), "{ca}");
    }
}
