//! An anchor's life: connect, listen, take the lease, recover, serve.

use std::time::Duration;

use async_nats::jetstream::stream::{self, DiscardPolicy, StorageType};
use mmn_bus::connect::{Bus, Connect, ConnectError, Tls};
use mmn_bus::identity::{CREDS, Creds, CredsError, Issuer, KeysetError, Role, TrustError};
use mmn_bus::jetstream::EnsureError;
use mmn_schema::id::AnchorId;
use mmn_schema::problem::Problem;
use mmn_schema::subject::{Log, Prefix};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use crate::actor::{Actor, Birth};
use crate::api::token::TokenKey;
use crate::api::{self, ServeError};
use crate::clock;
use crate::config::Config;
use crate::handle::Anchor;
use crate::lease::{self, Lease};
use crate::recovery;
use crate::shared::Shared;
use crate::store::Store;
use crate::store::write::DUPLICATE_WINDOW;

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

/// The name of the stream of acceptances and sums, below the prefix.
const LEDGER: &str = "LEDGER";
/// The name of the stream of results.
const RES: &str = "RES";
/// Between attempts while the storage is away.
const PAUSE: Duration = Duration::from_millis(250);

/// Runs an anchor until `shutdown`. It belongs on a current-thread runtime. `ready` is told once the API listens;
/// whether the anchor is active is another question (`GET /readyz`).
pub async fn run(
    config: Config,
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
    let (shared, commands) = Shared::new(bus.clone(), config.bus.prefix.clone());
    let url = server.url();
    let stop_api = shutdown.child_token();
    let anchor = Anchor::new(shared.clone());
    let api = tokio::spawn(server.serve(anchor.clone(), stop_api.clone()));
    // Whoever started it may be gone; the anchor serves all the same.
    let _ = ready.send(Ready { url, anchor });

    let ended = async {
        let Some((store, lease)) = rise(&bus, &config, &id, &shared, &shutdown).await? else {
            return Ok(());
        };
        let epoch = lease.epoch();
        let lost = CancellationToken::new();
        let stop = shutdown.child_token();
        let renewal = tokio::spawn({
            let (lost, stop, hold) = (lost.clone(), stop.clone(), CancellationToken::new());
            let release = hold.clone();
            async move {
                let holding = lease.hold(hold);
                tokio::pin!(holding);
                tokio::select! {
                    taken = &mut holding => {
                        if taken {
                            lost.cancel();
                            stop.cancel();
                        }
                    }
                    () = stop.cancelled() => {
                        release.cancel();
                        holding.await;
                    }
                }
            }
        });
        shared.say(false, "recovering");
        let keys_for = Duration::from_secs(config.ledger.idempotency_s);
        let in_memory = config.ledger.closed_in_memory;
        let recovered = loop {
            match recovery::recover(&store, in_memory, keys_for, clock::now(), clock::wall()).await {
                Ok(recovered) => break recovered,
                Err(problem) if stop.is_cancelled() => return Err(RunError::Recover(problem)),
                Err(problem) => {
                    tracing::warn!(%problem, "recovery is tried again");
                    tokio::time::sleep(PAUSE).await;
                }
            }
        };
        tracing::info!(anchor = %id, epoch = epoch.0, running = recovered.running.len(), "active");
        let birth = Birth { shared: shared.clone(), store, config, id, epoch, issuer, trust, recovered };
        let result = Actor::new(birth).run(commands, stop.clone()).await.map_err(|_| RunError::Closed);
        stop.cancel();
        if renewal.await.is_err() {
            tracing::warn!("the lease was not given back");
        }
        if lost.is_cancelled() { Err(RunError::Lost) } else { result }
    }
    .await;
    shared.say(false, "stopping");
    stop_api.cancel();
    if api.await.is_err() {
        tracing::warn!("the API did not end in order");
    }
    bus.close().await;
    ended
}

/// Makes the streams and takes the lease. `None` at shutdown.
async fn rise(
    bus: &Bus,
    config: &Config,
    id: &AnchorId,
    shared: &Shared,
    shutdown: &CancellationToken,
) -> Result<Option<(Store, Lease)>, RunError> {
    let bucket = loop {
        let made = async {
            for stream in streams(config) {
                bus.ensure_stream(&stream).await?;
            }
            lease::open(bus, config.bus.replicas).await
        };
        let made = tokio::select! {
            made = made => made,
            () = shutdown.cancelled() => return Ok(None),
        };
        match made {
            Ok(bucket) => break bucket,
            Err(error @ EnsureError::Different { .. }) => return Err(error.into()),
            Err(error) => {
                tracing::info!(error = &error as &dyn std::error::Error, "the storage is not there yet");
                tokio::select! {
                    () = tokio::time::sleep(PAUSE) => {}
                    () = shutdown.cancelled() => return Ok(None),
                }
            }
        }
    };
    let Some(lease) = Lease::take(bucket, id, shutdown, || shared.say(false, "standing by")).await else {
        return Ok(None);
    };
    let prefix = &config.bus.prefix;
    let stream = async |name: &str| {
        bus.jetstream().get_stream(stream_name(prefix, name)).await.map_err(|_| RunError::Closed)
    };
    let (ledger, results) = (stream(LEDGER).await?, stream(RES).await?);
    Ok(Some((Store { prefix: prefix.clone(), ledger, results }, lease)))
}

/// Two networks may share an account's JetStream.
fn stream_name(prefix: &Prefix, name: &str) -> String {
    if *prefix == Prefix::default() { name.to_owned() } else { format!("{prefix}_{name}") }
}

/// The streams as they are to be.
fn streams(config: &Config) -> [stream::Config; 2] {
    let prefix = &config.bus.prefix;
    let stream = |name: &str, subjects: &[Log], max_bytes: u64, max_age_s: u64| stream::Config {
        name: stream_name(prefix, name),
        subjects: subjects.iter().map(|log| log.all(prefix)).collect(),
        storage: StorageType::File,
        discard: DiscardPolicy::New,
        max_bytes: i64::try_from(max_bytes).unwrap_or(i64::MAX),
        max_age: Duration::from_secs(max_age_s),
        num_replicas: config.bus.replicas,
        duplicate_window: match max_age_s {
            0 => DUPLICATE_WINDOW,
            age => DUPLICATE_WINDOW.min(Duration::from_secs(age)),
        },
        allow_direct: true,
        ..stream::Config::default()
    };
    let (ledger, results) = (&config.ledger, &config.results);
    [
        stream(LEDGER, &[Log::Accept, Log::Done, Log::Roll], ledger.max_bytes, ledger.max_age_s),
        stream(RES, &[Log::Res], results.max_bytes, results.max_age_s),
    ]
}
