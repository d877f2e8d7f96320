//! Whose certificates the client takes.
#![expect(clippy::unwrap_used, reason = "a test that fails may panic")]

use std::future::IntoFuture as _;
use std::sync::Arc;

use mmn_client::{Client, ClientError, Trust};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// Serves TLS with a certificate, and answers anything with an empty object.
async fn serve(certificate: CertificateDer<'static>, key: &KeyPair) -> u16 {
    let key = PrivatePkcs8KeyDer::from(key.serialize_der());
    let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key.into())
        .unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((tcp, _)) = listener.accept().await {
            let Ok(mut tls) = acceptor.accept(tcp).await else { continue };
            let _ = tls.read(&mut [0; 4096]).await;
            let answer = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}";
            let _ = tls.write_all(answer.as_bytes()).await;
        }
    });
    port
}

fn written(pem: &str) -> (tempfile::NamedTempFile, Trust) {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), pem).unwrap();
    let trust = Trust::File(file.path().to_owned());
    (file, trust)
}

async fn ready(host: &str, port: u16, trust: &Trust) -> Result<(), ClientError> {
    Client::new(&format!("https://{host}:{port}"), None, trust).unwrap().ready().await
}

#[tokio::test]
async fn a_certificate_that_is_known_is_taken_by_any_name() {
    let key = KeyPair::generate().unwrap();
    // Self-signed certificates are often marked as an authority's, and name no loopback address.
    let mut params = CertificateParams::new(vec!["mmn.example".into()]).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let own = params.self_signed(&key).unwrap();
    let port = serve(own.der().clone(), &key).await;
    let (_file, trust) = written(&own.pem());
    ready("127.0.0.1", port, &trust).await.unwrap();
    assert!(matches!(ready("127.0.0.1", port, &Trust::System).await, Err(ClientError::Connect { .. })));

    let another = KeyPair::generate().unwrap();
    let (_file, trust) = written(&params.self_signed(&another).unwrap().pem());
    assert!(matches!(ready("127.0.0.1", port, &trust).await, Err(ClientError::Connect { .. })));
}

#[tokio::test]
async fn a_certificate_of_an_authority_must_be_for_the_host() {
    let ca_key = KeyPair::generate().unwrap();
    let mut ca = CertificateParams::new(Vec::new()).unwrap();
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let (_file, trust) = written(&ca.self_signed(&ca_key).unwrap().pem());
    let issuer = Issuer::new(ca, ca_key);

    let key = KeyPair::generate().unwrap();
    let leaf = CertificateParams::new(vec!["127.0.0.1".into()]).unwrap().signed_by(&key, &issuer).unwrap();
    let port = serve(leaf.der().clone(), &key).await;
    ready("127.0.0.1", port, &trust).await.unwrap();
    assert!(matches!(ready("localhost", port, &trust).await, Err(ClientError::Connect { .. })));
}

#[tokio::test]
async fn the_other_scheme_is_told() {
    let key = KeyPair::generate().unwrap();
    let own = CertificateParams::new(vec!["127.0.0.1".into()]).unwrap().self_signed(&key).unwrap();
    let (_file, trust) = written(&own.pem());
    let port = serve(own.der().clone(), &key).await;
    let error =
        Client::new(&format!("http://127.0.0.1:{port}"), None, &trust).unwrap().ready().await.unwrap_err();
    assert!(
        error.to_string().ends_with(&format!("no HTTP: does it speak https://127.0.0.1:{port}?")),
        "{error}"
    );

    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(axum::serve(listener, axum::Router::new()).into_future());
    let error = ready("127.0.0.1", port, &trust).await.unwrap_err();
    assert!(
        error.to_string().ends_with(&format!("no TLS: does it speak http://127.0.0.1:{port}?")),
        "{error}"
    );
}

#[test]
fn a_file_without_certificates_is_refused() {
    let (_file, trust) = written("no PEM\n");
    let error = Client::new("https://127.0.0.1", None, &trust).unwrap_err();
    assert!(matches!(error, ClientError::Trust(_)), "{error}");
}
