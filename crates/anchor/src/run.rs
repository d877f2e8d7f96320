//! An anchor's life: connect, listen, take the lease, recover, serve.

use std::fs::{File, TryLockError};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use mmn_bus::connect::{Connect, ConnectError, Tls};
use mmn_bus::identity::{CREDS, Creds, CredsError, Issuer, KeysetError, Role, TrustError};
use mmn_bus::jetstream::{EnsureError, KeptError};
use mmn_schema::id::AnchorId;
use mmn_schema::problem::Problem;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use crate::actor::{Actor, Birth};
use crate::api::token::TokenKey;
use crate::api::{self, ServeError};
use crate::clock;
use crate::config::Config;
use crate::handle::Anchor;
use crate::rise;
use crate::shared::Shared;

/// What an anchor says when it listens.
#[derive(Debug, Clone)]
pub struct Ready {
    /// The URL of the API, without a path.
    pub url: String,
    /// The handle that the API holds.
    pub anchor: Anchor,
}

/// Why an anchor ended otherwise than asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// There is no connection to NATS.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The credentials can't be read.
    #[error("the anchor's credentials")]
    Creds(#[from] CredsError),
    /// The credentials are not an anchor's, or its name is no id.
    #[error("the credentials are not those of an anchor of this network: {0}")]
    NotAnAnchor(String),
    /// The keys can't be read.
    #[error("the anchor's keys")]
    Keys(#[from] KeysetError),
    /// The API can't listen.
    #[error("the API")]
    Api(#[from] ServeError),
    /// The key of the API's tokens can't be read.
    #[error("the key of the API's tokens: {0}")]
    TokenKey(String),
    /// JetStream is not as it should be.
    #[error("JetStream")]
    Store(#[from] EnsureError),
    /// The mark of its term can't be set.
    #[error("the mark of this term can't be set")]
    Mark(#[from] KeptError),
    /// The credentials can't be opened.
    #[error("the credentials can't be opened")]
    Lock(#[from] std::io::Error),
    /// What is kept can't be read.
    #[error("what is kept can't be read: {0}")]
    Recover(Problem),
    /// The connection was closed.
    #[error("the connection to NATS was closed")]
    Closed,
    /// Another anchor took the lease.
    #[error("another anchor has taken over")]
    Lost,
}

/// Runs an anchor until `shutdown`. It belongs on a current-thread runtime. `ready` is told once the API listens;
/// whether the anchor is active is another question (`GET /readyz`).
pub async fn run(
    mut config: Config,
    ready: oneshot::Sender<Ready>,
    shutdown: CancellationToken,
) -> Result<(), RunError> {
    let dir = config.bus.creds.clone();
    let (issuer, trust) = Issuer::open_anchor(&dir)?;
    let creds = Creds::read(&dir.join(CREDS))?;
    let now_s = u64::try_from(clock::wall().unix_ns() / 1_000_000_000).unwrap_or_default();
    let refuse = |error: TrustError| RunError::NotAnAnchor(error.to_string());
    let claims = trust.verify_user(creds.jwt.as_str(), now_s).map_err(refuse)?;
    if claims.role != Role::Anchor {
        return Err(RunError::NotAnAnchor(format!("they are a {}'s", claims.role)));
    }
    let id: AnchorId = claims.name.parse().map_err(|error| RunError::NotAnAnchor(format!("{error}")))?;
    drop(creds);

    let key_path = config.api.token_key.clone().unwrap_or_else(|| dir.join("api.key"));
    let key = TokenKey::load_or_create(&key_path).map_err(|error| RunError::TokenKey(error.to_string()))?;
    let server = api::Server::bind(config.api.clone(), key).await?;
    let bus = Connect {
        urls: config.bus.urls.clone(),
        creds: dir.join(CREDS),
        tls: Tls {
            ca: config.bus.ca.clone(),
            identity: config.bus.cert.clone().zip(config.bus.key.clone()),
            required: false,
        },
        name: id.to_string(),
        prefix: config.bus.prefix.clone(),
        wait_for_server: true,
    };
    let bus = bus.open().await?;
    let (shared, commands) = Shared::new(bus.clone(), config.bus.prefix.clone(), &config.bus.urls);
    let url = server.url();
    let stop_api = shutdown.child_token();
    let anchor = Anchor::new(shared.clone());
    let api = server.start(anchor.clone(), stop_api.clone()).await?;
    // Its thread ends with this future, however that ends.
    let _stops = stop_api.clone().drop_guard();
    // Whoever started it may be gone; the anchor serves all the same.
    let _ = ready.send(Ready { url, anchor });

    let ended = async {
        let Some(_alone) = alone(&dir, &shared, &shutdown).await? else {
            return Ok(());
        };
        let Some(lease) = rise::lease(&shared, &config, &id, &shutdown).await? else {
            return Ok(());
        };
        let epoch = lease.epoch();
        let lost = CancellationToken::new();
        let stop = shutdown.child_token();
        // The lease is given back when nothing more is written.
        let release = CancellationToken::new();
        shared.hold_until(lease.until());
        let renewal = tokio::spawn({
            let sure = Arc::clone(&shared);
            let unsure = Arc::clone(&shared);
            let (lost, stop, release) = (lost.clone(), stop.clone(), release.clone());
            async move {
                let holding = lease.hold(release.clone(), sure.bus.link(), |until| sure.hold_until(until));
                tokio::pin!(holding);
                let taken = tokio::select! {
                    taken = &mut holding => taken,
                    () = lost.cancelled() => true,
                };
                if taken {
                    unsure.hold_until(clock::now());
                    lost.cancel();
                    stop.cancel();
                }
            }
        });
        let risen = Box::pin(rise::store(&shared, &mut config, (&id, epoch), &stop, &lost)).await;
        let result = match risen {
            Ok(Some((store, recovered))) => {
                tracing::info!(anchor = %id, epoch = epoch.0, running = recovered.running.len(), "active");
                let birth =
                    Birth { shared: shared.clone(), store, config, id, epoch, issuer, trust, recovered };
                Actor::new(birth).run(commands, stop.clone()).await.map_err(|_| RunError::Closed)
            }
            Ok(None) => Ok(()),
            Err(error) => Err(error),
        };
        stop.cancel();
        release.cancel();
        if renewal.await.is_err() {
            tracing::warn!("the lease was not given back");
        }
        if lost.is_cancelled() { Err(RunError::Lost) } else { result }
    }
    .await;
    shared.say_stopping();
    stop_api.cancel();
    if api.await.is_err() {
        tracing::warn!("the API did not end in order");
    }
    bus.close().await;
    ended
}

/// Waits until no other process runs with these credentials: the lease is taken back at once by an anchor of the same
/// name, and one that is merely stopped would not know. What it gives is to be kept. `None` at `shutdown`.
async fn alone(
    dir: &Path,
    shared: &Shared,
    shutdown: &CancellationToken,
) -> Result<Option<File>, std::io::Error> {
    let file = File::open(dir.join(CREDS))?;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(Some(file)),
            Err(TryLockError::WouldBlock) => {
                shared.say(false, "standing by: another process runs with the same credentials");
            }
            // Not every file system has locks.
            Err(TryLockError::Error(error)) => {
                tracing::warn!(%error, "whether another process runs with the same credentials is not known");
                return Ok(Some(file));
            }
        }
        tokio::select! {
            () = shutdown.cancelled() => return Ok(None),
            () = tokio::time::sleep(LOOK) => {}
        }
    }
}

/// How often one looks whether another process has ended.
const LOOK: Duration = Duration::from_millis(50);
