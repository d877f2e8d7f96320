//! How the API listens: one task per connection, HTTP/1.1 and HTTP/2, with TLS where a certificate is configured.
//!
//! It has a thread of its own. What clients ask is read there, and what they are answered is written there, so that a large
//! answer holds up neither dispatch nor the lease.

use std::fs::File;
use std::io::{self, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Builder;
use tokio::sync::{Semaphore, oneshot};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::limits::{ConfigError, HANDSHAKE_TIMEOUT, HEAD_TIMEOUT, MAX_CONNECTIONS, STOP_TIMEOUT, check};
use super::service::Service;
use super::token::TokenKey;
use super::{Api, ended, guesses, host, openapi, prometheus, rate, session, status};
use crate::config::ApiConfig;
use crate::handle::Anchor;

/// A listener that is bound and does not answer yet.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
    tls: Option<Tls>,
    config: ApiConfig,
    key: TokenKey,
}

/// Why the API can't listen.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The settings are unsafe or make no sense.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The address can't be had.
    #[error("can't listen on {address}")]
    Listen {
        /// Which address.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// The certificate or its key can't be used.
    #[error("the certificate or key in {} can't be used: {why}", path.display())]
    Certificate {
        /// The file.
        path: PathBuf,
        /// Why.
        why: String,
    },
}

#[derive(Clone)]
struct Tls {
    acceptor: TlsAcceptor,
    /// When the certificate ends, in seconds since 1970 UTC; 0 when it does not say.
    ends_s: u64,
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Tls")
    }
}

impl Server {
    /// Checks the settings and binds the address. Connections wait until [`Self::serve`] takes them.
    pub async fn bind(config: ApiConfig, key: TokenKey) -> Result<Self, ServeError> {
        check(&config)?;
        let tls = match (&config.tls_cert, &config.tls_key) {
            (Some(cert), Some(key)) => Some(acceptor(cert, key)?),
            _ => None,
        };
        let address = config.listen;
        let refused = |source| ServeError::Listen { address, source };
        let listener = TcpListener::bind(address).await.map_err(refused)?;
        let address = listener.local_addr().map_err(refused)?;
        Ok(Self { listener, address, tls, config, key })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The URL of the API, without a path.
    pub fn url(&self) -> String {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        format!("{scheme}://{}", self.address)
    }

    /// Answers requests until `shutdown`, on a thread of its own. Then connections finish what they are at; what streams is
    /// ended; and what is left after 2 s is dropped. What is given comes when all that is done.
    pub async fn start(
        self,
        anchor: Anchor,
        shutdown: CancellationToken,
    ) -> Result<oneshot::Receiver<()>, ServeError> {
        let address = self.address;
        let refused = move |source| ServeError::Listen { address, source };
        let listener = self.listener.into_std().map_err(refused)?;
        let settings = (self.tls, self.config, self.key);
        let (started, has_started) = oneshot::channel();
        let (ended, has_ended) = oneshot::channel();
        let serve = move || {
            let runtime = match Builder::new_current_thread().enable_all().build() {
                Ok(runtime) => runtime,
                Err(error) => return drop(started.send(Err(error))),
            };
            runtime.block_on(async move {
                let listener = match TcpListener::from_std(listener) {
                    Ok(listener) => listener,
                    Err(error) => return drop(started.send(Err(error))),
                };
                // Whoever started it may be gone; then `shutdown` is on its way.
                let _ = started.send(Ok(()));
                serve(listener, address, settings, anchor, shutdown).await;
                let _ = ended.send(());
            });
        };
        std::thread::Builder::new().name("api".to_owned()).spawn(serve).map_err(refused)?;
        let gone = |_| io::Error::other("its thread is gone");
        has_started.await.map_err(gone).flatten().map_err(refused)?;
        Ok(has_ended)
    }
}

async fn serve(
    listener: TcpListener,
    address: SocketAddr,
    (tls, config, key): (Option<Tls>, ApiConfig, TokenKey),
    anchor: Anchor,
    shutdown: CancellationToken,
) {
    let loopback = address.ip().is_loopback();
    let tasks = TaskTracker::new();
    let traffic = prometheus::Traffic::default();
    traffic.certificate_ends_s.store(tls.as_ref().map_or(0, |tls| tls.ends_s), Ordering::Relaxed);
    let api = Arc::new(Api {
        anchor,
        key,
        hosts: if loopback && tls.is_none() {
            host::Hosts::Loopback(config.hosts.clone())
        } else {
            host::Hosts::Any
        },
        loopback,
        buckets: rate::Buckets::new(u32::try_from(config.max_requests_per_s).unwrap_or(u32::MAX)),
        traffic,
        sessions: session::Sessions::new(address.port(), tls.is_some()),
        ended: ended::Ended::new(),
        guesses: guesses::Guesses::default(),
        latest: status::Latest::default(),
        public_buckets: rate::Buckets::new(status::ANYBODY_PER_S),
        description: openapi::document(&super::routes()).to_string().into(),
        stop: shutdown.clone(),
        tasks: tasks.clone(),
        config,
    });
    let service = Service::new(api);
    let room = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let kill = CancellationToken::new();
    while let Some((stream, peer, permit)) = accept(&listener, &room, &shutdown).await {
        let (service, tls) = (service.clone(), tls.clone());
        let (stop, kill) = (shutdown.clone(), kill.clone());
        tasks.spawn(async move {
            let _permit = permit;
            let _counted = service.api().traffic.connections.count();
            tokio::select! {
                () = connection(stream, peer, tls, service, stop) => {}
                () = kill.cancelled() => {}
            }
        });
    }
    drop(listener);
    tasks.close();
    if tokio::time::timeout(STOP_TIMEOUT, tasks.wait()).await.is_err() {
        kill.cancel();
        tasks.wait().await;
    }
}

/// The next connection; `None` once the anchor stops.
async fn accept(
    listener: &TcpListener,
    room: &Arc<Semaphore>,
    shutdown: &CancellationToken,
) -> Option<(TcpStream, SocketAddr, tokio::sync::OwnedSemaphorePermit)> {
    loop {
        let permit = tokio::select! {
            permit = Arc::clone(room).acquire_owned() => permit.ok()?,
            () = shutdown.cancelled() => return None,
        };
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = shutdown.cancelled() => return None,
        };
        match accepted {
            Ok((stream, peer)) => return Some((stream, peer, permit)),
            Err(error) => {
                // Out of file descriptors, mostly: to ask again at once would only burn the processor.
                tracing::warn!(%error, "a connection can't be taken");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn connection(
    stream: TcpStream,
    peer: SocketAddr,
    tls: Option<Tls>,
    service: Service,
    stop: CancellationToken,
) {
    // An answer leaves when it is written; waiting for more to send would cost 40 ms.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%peer, %error, "a connection went away");
        return;
    }
    match tls {
        None => converse(stream, peer, service, stop).await,
        Some(tls) => match tokio::time::timeout(HANDSHAKE_TIMEOUT, tls.acceptor.accept(stream)).await {
            Ok(Ok(stream)) => converse(stream, peer, service, stop).await,
            Ok(Err(error)) => tracing::debug!(%peer, %error, "a TLS handshake failed"),
            Err(_) => tracing::debug!(%peer, "a TLS handshake took too long"),
        },
    }
}

async fn converse<S>(stream: S, peer: SocketAddr, service: Service, stop: CancellationToken)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let answer = service_fn(move |request| {
        let service = service.clone();
        async move { Ok::<_, std::convert::Infallible>(service.answer(request, peer).await) }
    });
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(256)
        .keep_alive_interval(HEAD_TIMEOUT)
        .keep_alive_timeout(HANDSHAKE_TIMEOUT);
    let mut connection = pin!(builder.serve_connection_with_upgrades(TokioIo::new(stream), answer));
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%peer, error, "a connection broke");
    }
}

fn acceptor(cert: &Path, key: &Path) -> Result<Tls, ServeError> {
    let wrong = |path: &Path| {
        let path = path.to_owned();
        move |why: String| ServeError::Certificate { path, why }
    };
    let open =
        |path: &Path| File::open(path).map(BufReader::new).map_err(|error| wrong(path)(error.to_string()));
    let chain = CertificateDer::pem_reader_iter(open(cert)?)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| wrong(cert)(error.to_string()))?;
    let private =
        PrivateKeyDer::from_pem_reader(open(key)?).map_err(|error| wrong(key)(error.to_string()))?;
    let ends_s = chain.first().map_or(0, |certificate| ends_s(certificate));
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let unusable = |error: rustls::Error| wrong(cert)(error.to_string());
    let builder = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(unusable)?;
    let mut config = builder.with_no_client_auth().with_single_cert(chain, private).map_err(unusable)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Tls { acceptor: TlsAcceptor::from(Arc::new(config)), ends_s })
}

/// When a certificate ends (RFC 5280, section 4.1.2.5), in seconds since 1970 UTC; 0 when it can't be read.
fn ends_s(der: &[u8]) -> u64 {
    let parsed = x509_parser::parse_x509_certificate(der).ok();
    let ends = parsed.map(|(_, certificate)| certificate.validity().not_after.timestamp());
    ends.and_then(|ends| u64::try_from(ends).ok()).unwrap_or_default()
}
