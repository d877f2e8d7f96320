//! How an anchor becomes active: the connection, the lease, the streams, what they keep. Each step is tried until it
//! works, and while it does not the readiness says why.

use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::stream::{self, DiscardPolicy, StorageType};
use mmn_bus::connect::{BusEvent, Link};
use mmn_bus::jetstream::EnsureError;
use mmn_schema::id::{AnchorId, Epoch};
use mmn_schema::subject::{Log, Prefix};
use tokio_util::sync::CancellationToken;

use crate::clock;
use crate::config::Config;
use crate::lease::{self, Lease};
use crate::recovery::{self, Recovered};
use crate::run::RunError;
use crate::shared::Shared;
use crate::store::Store;
use crate::store::fence::{self, Fence};
use crate::store::room::{self, RoomError};
use crate::store::write::DUPLICATE_WINDOW;

/// The name of the stream of acceptances and sums, below the prefix.
const LEDGER: &str = "LEDGER";
/// The name of the stream of results.
const RES: &str = "RES";
/// Between attempts while the storage is away.
const PAUSE: Duration = Duration::from_millis(250);
/// Between attempts while it is too small.
const ROOM_PAUSE: Duration = Duration::from_secs(5);

/// Takes the lease. `None` at shutdown.
pub(crate) async fn lease(
    shared: &Shared,
    config: &Config,
    id: &AnchorId,
    shutdown: &CancellationToken,
) -> Result<Option<Lease>, RunError> {
    let opened = insist(shared, shutdown, async || {
        lease::open(&shared.bus, config.bus.replicas).await.map_err(RoomError::from)
    });
    let Some(bucket) = opened.await? else { return Ok(None) };
    Ok(Lease::take(bucket, &config.lease, id, shutdown, |what| shared.say(false, what)).await)
}

/// Makes the streams and reads what they keep. The configuration gets the sizes that they have. `None` at shutdown.
pub(crate) async fn store(
    shared: &Shared,
    config: &mut Config,
    (id, epoch): (&AnchorId, Epoch),
    shutdown: &CancellationToken,
    lost: &CancellationToken,
) -> Result<Option<(Store, Recovered)>, RunError> {
    let [ledger, results] = streams(config);
    let made = insist(shared, shutdown, async || {
        let sizes = room::make(&shared.bus, ledger.clone(), results.clone()).await?;
        let ledger = shared.bus.open_stream(&ledger.name).await?;
        Ok((sizes, ledger, shared.bus.open_stream(&results.name).await?))
    });
    let Some((sizes, ledger, results)) = made.await? else { return Ok(None) };
    config.ledger.max_bytes = sizes.ledger;
    config.results.max_bytes = sizes.results;
    let (ledger, results) = (Arc::new(ledger), Arc::new(results));
    let fence = |stream: &str| {
        let subject = fence::subject(&config.bus.prefix, stream);
        Arc::new(Fence::new(subject, id.clone(), epoch, lost.clone()))
    };
    let (ledger_fence, results_fence) = (fence(LEDGER), fence(RES));
    shared.say(false, "recovering");
    let raised = async {
        ledger_fence.raise(&shared.bus, &ledger).await?;
        results_fence.raise(&shared.bus, &results).await
    };
    tokio::select! {
        raised = raised => raised?,
        () = shutdown.cancelled() => return Ok(None),
    }
    let store = Store { prefix: config.bus.prefix.clone(), ledger, results, ledger_fence, results_fence };
    let keys_for = Duration::from_secs(config.ledger.idempotency_s);
    let in_memory = config.ledger.closed_in_memory;
    loop {
        match recovery::recover(&store, in_memory, keys_for, clock::now(), clock::wall()).await {
            Ok(recovered) => return Ok(Some((store, recovered))),
            Err(problem) if shutdown.is_cancelled() => return Err(RunError::Recover(problem)),
            Err(problem) => {
                tracing::warn!(%problem, "recovery is tried again");
                shared.say(false, &format!("recovering: {problem}"));
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

/// Tries until it works, and says what stands in the way. `None` at shutdown.
async fn insist<T>(
    shared: &Shared,
    shutdown: &CancellationToken,
    mut attempt: impl AsyncFnMut() -> Result<T, RoomError>,
) -> Result<Option<T>, RunError> {
    let trying = async {
        let mut said = String::new();
        loop {
            connected(shared).await;
            let error = match attempt().await {
                Ok(done) => return Ok(done),
                Err(RoomError::Stream(error @ EnsureError::Different { .. })) => return Err(error.into()),
                Err(error) => error,
            };
            let words = in_words(&error, shared.nats());
            shared.say(false, &words);
            if words != said && shared.is_connected() {
                tracing::warn!(detail = words, "the anchor can't take work yet, and tries again");
                said = words;
            }
            let too_little = matches!(error, RoomError::TooLittle { .. });
            tokio::time::sleep(if too_little { ROOM_PAUSE } else { PAUSE }).await;
        }
    };
    tokio::select! {
        done = trying => done.map(Some),
        () = shutdown.cancelled() => Ok(None),
    }
}

/// Waits for the connection, and says why there is none.
async fn connected(shared: &Shared) {
    let (mut link, mut events) = (shared.bus.link(), shared.bus.events());
    loop {
        match *link.borrow_and_update() {
            Link::Up { .. } => return,
            Link::Down => {}
            // Whoever closed it ends the anchor too.
            Link::Closed => std::future::pending().await,
        }
        tokio::select! {
            changed = link.changed() => if changed.is_err() { std::future::pending().await },
            Ok(event) = events.recv() => match event {
                BusEvent::ClientError(why) | BusEvent::ServerError(why) => shared.say_unconnected(Some(&why)),
                _ => {}
            }
        }
    }
}

fn in_words(error: &RoomError, nats: &str) -> String {
    match error {
        RoomError::Stream(error) if error.is_without_jetstream() => {
            format!("JetStream is not enabled at {nats}, or not for this account")
        }
        error => {
            let mut words = format!("storage: {error}");
            let mut source = std::error::Error::source(error);
            while let Some(error) = source {
                words.push_str(": ");
                words.push_str(&error.to_string());
                source = error.source();
            }
            words
        }
    }
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
        subjects: subjects.iter().map(|log| log.all(prefix)).chain([fence::subject(prefix, name)]).collect(),
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
