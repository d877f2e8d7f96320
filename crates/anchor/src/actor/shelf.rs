//! When vantage points were there: looked at each second, kept in a bucket each minute, so that the next anchor goes on with
//! it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_nats::jetstream::kv;
use mmn_bus::jetstream::Bucket;
use tokio::task::JoinHandle;

use super::Actor;
use crate::availability::Book;
use crate::clock;
use crate::shared::Shared;

/// Where it is kept.
#[derive(Debug)]
pub(super) struct Shelf {
    pub(super) book: Book,
    /// Absent: it can't be kept.
    bucket: Option<kv::Store>,
    /// Up to when it was looked.
    seen: Instant,
    written: Instant,
    writing: Option<JoinHandle<()>>,
}

/// How often it is written down.
const EACH: Duration = Duration::from_secs(60);
/// An anchor that has not looked for so long has seen nothing meanwhile.
const LOOKED_AWAY: Duration = Duration::from_secs(10);
/// How long the bucket may take to answer: at the start, and at the end.
const PATIENCE: Duration = Duration::from_secs(2);
const GOODBYE: Duration = Duration::from_millis(500);
/// How long it is kept after an anchor wrote it.
const KEPT: Duration = Duration::from_secs(8 * 24 * 3600);

/// Under which key a part is kept.
fn key(part: usize) -> String {
    format!("p{part}")
}

impl Shelf {
    pub(super) fn new(now: Instant) -> Self {
        Self { book: Book::default(), bucket: None, seen: now, written: now, writing: None }
    }

    /// Takes what the anchor before has left.
    pub(super) async fn open(&mut self, shared: &Arc<Shared>, replicas: usize) {
        let opened = async {
            let name = format!("{}_availability", shared.prefix);
            let bucket = Bucket { replicas, max_age: Some(KEPT), ..Bucket::new(name) };
            let bucket = shared.bus.ensure_bucket(&bucket).await.map_err(|error| error.to_string())?;
            let mut pages = Vec::new();
            while let Some(page) = bucket.get(key(pages.len())).await.map_err(|error| error.to_string())? {
                pages.push(Vec::from(page));
            }
            Ok::<_, String>((bucket, pages))
        };
        match tokio::time::timeout(PATIENCE, opened).await {
            Ok(Ok((bucket, pages))) => {
                self.book = Book::restored(&pages);
                self.bucket = Some(bucket);
            }
            Ok(Err(error)) => tracing::warn!(error, "the vantage points' availability is not kept"),
            Err(_) => {
                tracing::warn!("the vantage points' availability is not kept: the storage does not answer");
            }
        }
        (self.seen, self.written) = (clock::now(), clock::now());
    }

    /// Writes all of it, unless that is under way.
    fn write(&mut self) {
        let under_way = self.writing.as_ref().is_some_and(|writing| !writing.is_finished());
        let Some(bucket) = self.bucket.clone().filter(|_| !under_way) else { return };
        let pages = self.book.pages();
        self.writing = Some(tokio::spawn(async move {
            for (number, page) in pages.into_iter().enumerate() {
                if let Err(error) = bucket.put(key(number), page.into()).await {
                    tracing::debug!(%error, "the vantage points' availability was not written");
                    return;
                }
            }
        }));
    }

    /// Writes it for the last time.
    pub(super) async fn close(&mut self) {
        self.write();
        if let Some(writing) = self.writing.take() {
            let _ = tokio::time::timeout(GOODBYE, writing).await;
        }
    }
}

impl Actor {
    pub(super) fn write_up_availability(&mut self, now: Instant) {
        let kept = &mut self.shelf;
        let time = now.saturating_duration_since(kept.seen);
        // Who is cut off sees nobody.
        if time > LOOKED_AWAY || !self.shared.is_connected() {
            kept.seen = now;
            return;
        }
        let seconds = u16::try_from(time.as_secs()).unwrap_or(u16::MAX);
        kept.seen += Duration::from_secs(seconds.into());
        let vps = self.registry.vps.iter().map(|(id, vp)| (id, vp.health));
        kept.book.watch(clock::wall(), seconds, vps);
        if now.saturating_duration_since(kept.written) >= EACH && self.shared.holds() {
            kept.written = now;
            kept.write();
        }
    }
}
