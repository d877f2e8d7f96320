//! One connection to NATS, as a handle that can be cloned.
//!
//! What it adds to the client library, and why:
//! - the credentials file is read again at each connect, so that renewing it is writing it;
//! - inboxes are below the user's own key, where its permissions let it read and nobody else;
//! - [`Bus::barrier`] is a round trip through the server: `flush` only empties a socket buffer,
//!   and a message of another connection may overtake a subscription that was merely flushed;
//! - a connection that is thrown out soon after it was accepted (an expired JWT, say) is held off,
//!   where the library would reconnect in a hot loop;
//! - a server that has gone silent is noticed within 15 s;
//! - refused publishes are visible at all: they succeed in the library, and only an event tells
//!   ([`BusEvent::PermissionViolation`]).

mod backoff;
mod events;
mod tls;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_nats::{Auth, AuthError, Client, ConnectOptions, jetstream};
use bytes::Bytes;
use futures::StreamExt;
use mmn_schema::subject::Prefix;
use tokio::sync::{Semaphore, broadcast, watch};

pub use events::{BusEvent, Link};
pub use tls::Tls;

use crate::identity::{Creds, CredsError, PublicKey, inbox_prefix};
use backoff::Backoff;
use events::Events;

/// Three missed pings, 15 s, and a silent server counts as gone.
const PING_INTERVAL: Duration = Duration::from_secs(5);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const BARRIER_TIMEOUT: Duration = Duration::from_secs(5);
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);
/// What waits for a receiver of one subscription; beyond it messages are dropped, and an event
/// says so.
const SUBSCRIPTION_CAPACITY: usize = 64 * 1024;
/// Publishes under way to JetStream, of one connection.
const KEPT_IN_FLIGHT: usize = 64;

/// What to connect to, and as whom.
#[derive(Debug, Clone)]
pub struct Connect {
    /// `nats://host:port` or `tls://host:port`, one or several of one cluster.
    pub urls: Vec<String>,
    /// The `.creds` file, read again at each connect.
    pub creds: PathBuf,
    /// Certificates.
    pub tls: Tls,
    /// The name that the server shows for this connection.
    pub name: String,
    /// The first token of the network's subjects.
    pub prefix: Prefix,
    /// Keep trying when the first attempt fails, instead of returning the error.
    pub wait_for_server: bool,
}

impl Connect {
    /// A connection without certificates, in the network `mmn`, whose first failure is an error.
    pub fn new(url: impl Into<String>, creds: impl Into<PathBuf>, name: impl Into<String>) -> Self {
        Self {
            urls: vec![url.into()],
            creds: creds.into(),
            tls: Tls::default(),
            name: name.into(),
            prefix: Prefix::default(),
            wait_for_server: false,
        }
    }

    /// Opens the connection.
    ///
    /// With [`wait_for_server`](Self::wait_for_server) it returns at once, and
    /// [`Bus::link`] tells when the connection is there.
    pub async fn open(self) -> Result<Bus, ConnectError> {
        let creds = Creds::read(&self.creds)
            .map_err(|source| ConnectError::Creds { path: self.creds.clone(), source })?;
        let user = creds.seed.public_key().clone();
        drop(creds);
        let events = Events::new();
        let backoff = Arc::new(Backoff::new());
        let mut options = authenticated(self.creds, user.clone(), Arc::clone(&backoff))
            .name(&self.name)
            .custom_inbox_prefix(inbox_prefix(&user))
            .ping_interval(PING_INTERVAL)
            .connection_timeout(CONNECT_TIMEOUT)
            .subscription_capacity(SUBSCRIPTION_CAPACITY)
            .reconnect_delay_callback(move |attempt| backoff.delay(attempt))
            .event_callback({
                let events = events.clone();
                move |event| {
                    events.receive(event);
                    std::future::ready(())
                }
            });
        options = self.tls.apply(options);
        if self.wait_for_server {
            options = options.retry_on_initial_connect();
        }
        let client = options.connect(self.urls).await.map_err(ConnectError::Server)?;
        Ok(Bus {
            jetstream: jetstream::new(client.clone()),
            client,
            prefix: self.prefix,
            user,
            events,
            kept: Arc::new(Semaphore::new(KEPT_IN_FLIGHT)),
        })
    }
}

/// A connection to NATS. Clones share it; it closes when the last one is dropped.
#[derive(Debug, Clone)]
pub struct Bus {
    client: Client,
    jetstream: jetstream::Context,
    prefix: Prefix,
    user: PublicKey,
    events: Events,
    pub(crate) kept: Arc<Semaphore>,
}

impl Bus {
    /// The client library's own handle: subscribe, publish, request.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// The client library's handle on JetStream (anchors only).
    pub fn jetstream(&self) -> &jetstream::Context {
        &self.jetstream
    }

    /// The first token of the network's subjects.
    pub fn prefix(&self) -> &Prefix {
        &self.prefix
    }

    /// The public key this connection was opened with.
    pub fn user(&self) -> &PublicKey {
        &self.user
    }

    /// Waits until the server has handled all that this connection sent before: subscriptions
    /// stand, publishes are on their way. It takes about 0.1 ms, and 5 s at most.
    pub async fn barrier(&self) -> Result<(), BarrierError> {
        let inbox = self.client.new_inbox();
        let mut answers = self.client.subscribe(inbox.clone()).await.map_err(|_| BarrierError::Closed)?;
        self.client.publish(inbox, Bytes::new()).await.map_err(|_| BarrierError::Closed)?;
        match tokio::time::timeout(BARRIER_TIMEOUT, answers.next()).await {
            Ok(Some(_)) => Ok(()),
            Ok(None) => Err(BarrierError::Closed),
            Err(_) => Err(BarrierError::Timeout),
        }
    }

    /// What happens to the connection from now on. A receiver that falls 256 events behind is told
    /// how many it missed.
    pub fn events(&self) -> broadcast::Receiver<BusEvent> {
        self.events.subscribe()
    }

    /// Whether the connection is there; changes are seen at once.
    pub fn link(&self) -> watch::Receiver<Link> {
        self.events.link()
    }

    /// Reconnects, reading the credentials file again: for renewing them ahead of their end.
    pub async fn reconnect(&self) {
        if self.client.force_reconnect().await.is_err() {
            tracing::debug!("no reconnect: the connection is closed");
        }
    }

    /// Delivers what is under way and closes the connection, for all its clones; returns when it is closed,
    /// after 5 s at most.
    pub async fn close(&self) {
        let mut link = self.link();
        if self.client.drain().await.is_err() {
            return;
        }
        let closed = link.wait_for(|link| *link == Link::Closed);
        if tokio::time::timeout(CLOSE_TIMEOUT, closed).await.is_err() {
            tracing::warn!("the connection to NATS did not close in time");
        }
    }
}

fn authenticated(creds: PathBuf, user: PublicKey, backoff: Arc<Backoff>) -> ConnectOptions {
    ConnectOptions::with_auth_callback(move |nonce| {
        backoff.attempted();
        std::future::ready(authenticate(&creds, &user, &nonce))
    })
}

fn authenticate(path: &Path, user: &PublicKey, nonce: &[u8]) -> Result<Auth, AuthError> {
    let creds = Creds::read(path).map_err(AuthError::new)?;
    if creds.seed.public_key() != user {
        // Subscriptions and inboxes belong to the key the connection was opened with.
        return Err(AuthError::new(ConnectError::OtherUser));
    }
    let mut auth = Auth::new();
    auth.signature = Some(creds.seed.sign(nonce).map_err(AuthError::new)?);
    auth.jwt = Some(creds.jwt.as_str().to_owned());
    Ok(auth)
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The credentials file is unusable.
    #[error("the credentials in {}", path.display())]
    Creds {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: CredsError,
    },
    /// The server was not reached, or refused.
    #[error("no connection to NATS")]
    Server(#[source] async_nats::ConnectError),
    /// The credentials file now holds those of somebody else.
    #[error("the credentials file holds another user than at first")]
    OtherUser,
}

/// Why a barrier was not passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BarrierError {
    /// The server did not answer within 5 s.
    #[error("the server did not answer")]
    Timeout,
    /// The connection is closed.
    #[error("the connection is closed")]
    Closed,
}
