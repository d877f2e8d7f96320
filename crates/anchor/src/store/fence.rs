//! Keeps the writes of a former anchor out of a stream.
//!
//! An anchor that takes over puts a mark into each stream, on a subject of its own, before it reads what is kept. Each
//! write of its term names the sequence of that mark (`Nats-Expected-Last-Subject-Sequence` with
//! `Nats-Expected-Last-Subject-Sequence-Subject`), and the server refuses a write whose mark is not the newest: what a
//! former anchor still sends can't land after the new one has read the stream, and is never acknowledged. Servers older
//! than 2.11 don't know this; there the lease alone keeps terms apart.
//!
//! A mark that expires with the stream's messages is set again by the first write that misses it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_nats::jetstream::stream::{DirectGetErrorKind, Stream};
use async_nats::{HeaderMap, HeaderValue};
use bytes::Bytes;
use mmn_bus::connect::Bus;
use mmn_bus::jetstream::KeptError;
use mmn_bus::server::Version;
use mmn_schema::encoding::Encoding;
use mmn_schema::id::{AnchorId, Epoch};
use mmn_schema::subject::Prefix;
use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;

const EXPECTED: &str = "Nats-Expected-Last-Subject-Sequence";
const OF_SUBJECT: &str = "Nats-Expected-Last-Subject-Sequence-Subject";
/// JetStream's code for a sequence that is not the one expected.
const WRONG_LAST: u64 = 10_071;
/// The first server that compares the sequence of another subject.
const SINCE: Version = Version { major: 2, minor: 11, patch: 0 };
/// Between two attempts to read a mark.
const PAUSE: Duration = Duration::from_millis(50);

/// The mark of this anchor's term in one stream.
#[derive(Debug)]
pub(crate) struct Fence {
    subject: String,
    anchor: AnchorId,
    epoch: Epoch,
    /// The sequence of the newest mark; 0 for none.
    seq: AtomicU64,
    /// One at a time sets the mark again.
    setting: Mutex<()>,
    lost: CancellationToken,
}

/// What a mark says.
#[derive(Debug, Serialize, Deserialize)]
struct Mark {
    anchor: AnchorId,
    epoch: Epoch,
}

/// The subject of the marks in a stream of that name.
pub(crate) fn subject(prefix: &Prefix, stream: &str) -> String {
    format!("{prefix}.v1.log.term.{stream}")
}

impl Fence {
    /// `lost` is cancelled when another anchor's mark is found.
    pub(crate) fn new(subject: String, anchor: AnchorId, epoch: Epoch, lost: CancellationToken) -> Self {
        Self { subject, anchor, epoch, seq: AtomicU64::new(0), setting: Mutex::new(()), lost }
    }

    /// Whether a message on `subject` is a mark.
    pub(crate) fn is_mark(subject: &str) -> bool {
        subject.contains(".v1.log.term.")
    }

    /// Sets the mark. From then on no write of a former term is kept. Where a later term's is there this never returns.
    pub(crate) async fn raise(&self, bus: &Bus, stream: &Stream) -> Result<(), KeptError> {
        if !is_known(bus) {
            return Ok(());
        }
        let mark = Mark { anchor: self.anchor.clone(), epoch: self.epoch };
        let payload = Bytes::from(Encoding::Cbor.encode(&mark).unwrap_or_default());
        loop {
            let former = match self.newest(stream).await {
                Some((_, mark)) if mark.epoch > self.epoch => self.give_up(&mark).await,
                Some((seq, _)) => seq,
                None => 0,
            };
            let mut headers = HeaderMap::new();
            headers.insert(EXPECTED, HeaderValue::from(former));
            let id = format!("term-{}-{}-{:016x}", self.epoch.0, self.anchor, rand::random::<u64>());
            match bus.publish_kept(&self.subject, Some(headers), payload.clone(), &id).await {
                Ok(kept) => {
                    self.seq.store(kept.sequence, Ordering::Release);
                    return Ok(());
                }
                // A full stream takes nothing of anybody. The mark that is there serves.
                Err(KeptError::Full(_)) => {
                    tracing::warn!(subject = self.subject, "the stream is full: no mark of this term is set");
                    self.seq.store(former, Ordering::Release);
                    return Ok(());
                }
                Err(error) if is_wrong_last(&error) => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// What each write carries.
    pub(crate) fn headers(&self, bus: &Bus) -> Option<HeaderMap> {
        if !is_known(bus) {
            return None;
        }
        let mut headers = HeaderMap::new();
        headers.insert(EXPECTED, HeaderValue::from(self.seq.load(Ordering::Acquire)));
        headers.insert(OF_SUBJECT, self.subject.as_str());
        Some(headers)
    }

    /// A write was refused. Whether the mark was why; it is set again if it has expired. When it is another anchor's this
    /// never returns: nothing more is written in this term, and nothing more is answered.
    pub(crate) async fn refused(&self, bus: &Bus, stream: &Stream, error: &KeptError) -> bool {
        if !is_wrong_last(error) {
            return false;
        }
        let _setting = self.setting.lock().await;
        match self.newest(stream).await {
            Some((_, mark)) if mark.epoch > self.epoch => self.give_up(&mark).await,
            Some((seq, mark)) if mark.epoch == self.epoch => self.seq.store(seq, Ordering::Release),
            _ => {
                if let Err(error) = self.raise(bus, stream).await {
                    tracing::warn!(%error, "the mark of this term could not be set again");
                }
            }
        }
        true
    }

    /// Another anchor writes now: this one is at its end.
    async fn give_up<T>(&self, mark: &Mark) -> T {
        tracing::warn!(epoch = mark.epoch.0, anchor = %mark.anchor, "another anchor writes now");
        self.lost.cancel();
        std::future::pending().await
    }

    /// The newest mark.
    async fn newest(&self, stream: &Stream) -> Option<(u64, Mark)> {
        loop {
            match stream.direct_get_last_for_subject(self.subject.as_str()).await {
                Ok(message) => {
                    let mark = Encoding::Cbor.decode(&message.payload).ok()?;
                    return Some((message.sequence, mark));
                }
                Err(error) if error.kind() == DirectGetErrorKind::NotFound => return None,
                Err(error) => {
                    tracing::debug!(%error, "the mark can't be read, and is read again");
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }
}

fn is_wrong_last(error: &KeptError) -> bool {
    matches!(error, KeptError::Refused(error) if error.error_code().0 == WRONG_LAST)
}

fn is_known(bus: &Bus) -> bool {
    bus.client().server_info().version.parse::<Version>().is_ok_and(|version| version >= SINCE)
}
