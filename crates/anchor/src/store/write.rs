//! Writes to JetStream, each tried until it is acknowledged, under an id that makes it count once.

use std::time::{Duration, Instant};

use async_nats::jetstream::stream::{DirectGetErrorKind, Stream};
use bytes::Bytes;
use mmn_bus::connect::Bus;
use mmn_bus::jetstream::KeptError;

use crate::clock;
use crate::store::fence::Fence;

/// For how long JetStream recognises an id.
pub(crate) const DUPLICATE_WINDOW: Duration = Duration::from_secs(120);
/// After how long without an answer the stream itself is asked whether it has the message.
const LOOK_AFTER: Duration = Duration::from_secs(45);
/// Between attempts while the store is full.
const FULL_PAUSE: Duration = Duration::from_millis(200);

/// A message to be kept.
#[derive(Debug, Clone)]
pub(crate) struct Write {
    pub(crate) subject: String,
    pub(crate) payload: Bytes,
    pub(crate) id: String,
}

/// What came of it.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// It is kept, as this message of its stream.
    Kept(u64),
    /// There is no room.
    Full,
    /// It can never be kept as it is.
    Never(String),
    /// The connection is closed.
    Closed,
}

/// Writes until the message is kept, or can't be for a reason that the caller decides on.
pub(crate) async fn write(bus: &Bus, stream: &Stream, fence: &Fence, write: &Write) -> Outcome {
    let mut since: Option<Instant> = None;
    loop {
        let attempt = bus.publish_kept(&write.subject, fence.headers(bus), write.payload.clone(), &write.id);
        match tokio::time::timeout(LOOK_AFTER, attempt).await {
            Ok(Ok(kept)) => return Outcome::Kept(kept.sequence),
            Ok(Err(KeptError::Full(_))) => return Outcome::Full,
            Ok(Err(KeptError::Unsendable(error))) => return Outcome::Never(error.to_string()),
            Ok(Err(KeptError::Closed)) => return Outcome::Closed,
            Ok(Err(error)) if fence.refused(bus, stream, &error).await => {}
            Ok(Err(error)) => {
                tracing::warn!(%error, subject = write.subject, "a write was refused and is tried again");
                tokio::time::sleep(FULL_PAUSE).await;
            }
            Err(_) => {}
        }
        // The window in which JetStream would recognise the id may pass while the server is away.
        let first = *since.get_or_insert_with(clock::now);
        if clock::now().saturating_duration_since(first) >= LOOK_AFTER
            && let Some(seq) = find(stream, write).await
        {
            return Outcome::Kept(seq);
        }
    }
}

/// The same after a pause, for a message that found no room.
pub(crate) async fn write_later(bus: &Bus, stream: &Stream, fence: &Fence, message: &Write) -> Outcome {
    tokio::time::sleep(FULL_PAUSE).await;
    write(bus, stream, fence, message).await
}

/// Looks for the message among those of its subject.
async fn find(stream: &Stream, write: &Write) -> Option<u64> {
    let mut from = 1;
    loop {
        match stream.direct_get_next_for_subject(write.subject.as_str(), Some(from)).await {
            Ok(message) => {
                let id = message.headers.get(async_nats::header::NATS_MESSAGE_ID);
                if id.is_some_and(|id| id.as_str() == write.id) {
                    return Some(message.sequence);
                }
                from = message.sequence + 1;
            }
            Err(error) if error.kind() == DirectGetErrorKind::NotFound => return None,
            Err(_) => return None,
        }
    }
}
