//! One anchor is active: it holds a lease in a key-value bucket, and renews it. Another one stands by, and takes the
//! lease when it has not been renewed for a while, by its own clock, or was given back. The term (epoch) grows with
//! each taking; modules refuse older ones.
//!
//! The same anchor started again takes its lease back at once: its former process finds it taken and ends.

use std::time::{Duration, Instant};

use async_nats::jetstream::kv::{self, UpdateErrorKind};
use mmn_bus::connect::{Bus, Link};
use mmn_bus::jetstream::{Bucket, EnsureError};
use mmn_schema::id::{AnchorId, Epoch};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::clock;
use crate::config::{LeaseConfig, ms};

const KEY: &str = "active";

/// The lease, held.
#[derive(Debug)]
pub(crate) struct Lease {
    bucket: kv::Store,
    config: LeaseConfig,
    holder: Holder,
    revision: u64,
    /// Until when it is certainly this anchor's.
    until: Instant,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Holder {
    anchor: AnchorId,
    epoch: Epoch,
    /// Tells two processes of one anchor apart.
    life: u64,
    /// Counts renewals: a value that does not change makes no revision that differs.
    renewed: u64,
    released: bool,
}

/// Opens the bucket.
pub(crate) async fn open(bus: &Bus, replicas: usize) -> Result<kv::Store, EnsureError> {
    let bucket = Bucket { replicas, ..Bucket::new(format!("{}_anchor", bus.prefix())) };
    bus.ensure_bucket(&bucket).await
}

impl Lease {
    /// Takes the lease as soon as it is free. `waiting` is told, in words, what it waits for. `None` at `shutdown`.
    pub(crate) async fn take(
        bucket: kv::Store,
        config: &LeaseConfig,
        anchor: &AnchorId,
        shutdown: &CancellationToken,
        waiting: impl Fn(&str),
    ) -> Option<Self> {
        let life: u64 = rand::random();
        let mut seen: Option<(u64, Instant)> = None;
        loop {
            let asked = clock::now();
            let answer = bucket.entry(KEY).await;
            let now = clock::now();
            if now.saturating_duration_since(asked) >= ms(config.renew_ms) {
                // The way to the bucket was cut, perhaps for its holder too. That gets a whole term from now on.
                seen = None;
            }
            match answer {
                Ok(entry) => {
                    let entry = entry.filter(|entry| entry.operation == kv::Operation::Put);
                    let revision = entry.as_ref().map_or(0, |entry| entry.revision);
                    let former = entry.and_then(|entry| serde_json::from_slice::<Holder>(&entry.value).ok());
                    if seen.is_none_or(|(known, _)| known != revision) {
                        seen = Some((revision, now));
                    }
                    let stale =
                        seen.is_some_and(|(_, at)| now.saturating_duration_since(at) >= ms(config.term_ms));
                    let free = former
                        .as_ref()
                        .is_none_or(|former| former.released || former.anchor == *anchor || stale);
                    if free {
                        let epoch = Epoch(former.map_or(0, |former| former.epoch.0) + 1);
                        let holder =
                            Holder { anchor: anchor.clone(), epoch, life, renewed: 0, released: false };
                        let config = config.clone();
                        let until = now + ms(config.term_ms);
                        let mut lease = Self { bucket: bucket.clone(), config, holder, revision, until };
                        match lease.put().await {
                            Ok(()) => return Some(lease),
                            Err(error) if error.kind() == UpdateErrorKind::WrongLastRevision => {
                                tracing::debug!("the lease was taken by another anchor");
                            }
                            Err(error) => waiting(&format!("storage: the lease can't be written: {error}")),
                        }
                    } else if let Some(Holder { anchor, .. }) = former {
                        waiting(&format!("standing by: anchor {anchor} holds the lease"));
                    }
                }
                Err(error) => {
                    seen = None;
                    tracing::warn!(%error, "the lease can't be read");
                    waiting(&format!("storage: the lease can't be read: {error}"));
                }
            }
            tokio::select! {
                () = shutdown.cancelled() => return None,
                () = tokio::time::sleep(ms(config.look_ms)) => {}
            }
        }
    }

    /// Until when it is certainly this anchor's.
    pub(crate) fn until(&self) -> Instant {
        self.until
    }

    /// The term.
    pub(crate) fn epoch(&self) -> Epoch {
        self.holder.epoch
    }

    /// Renews the lease until `shutdown`, then gives it back. Returns before that when it is lost: whether it was.
    /// `sure` is told until when it is certainly this anchor's.
    /// A connection that comes back is used at once.
    pub(crate) async fn hold(
        mut self,
        shutdown: CancellationToken,
        mut link: watch::Receiver<Link>,
        sure: impl Fn(Instant),
    ) -> bool {
        let (renew, term) = (ms(self.config.renew_ms), ms(self.config.term_ms));
        let mut renewed = clock::now();
        let mut pause = renew;
        loop {
            tokio::select! {
                () = shutdown.cancelled() => {
                    self.holder.released = true;
                    if let Err(error) = self.put().await {
                        tracing::debug!(%error, "the lease was not given back");
                    }
                    return false;
                }
                () = tokio::time::sleep(pause) => {}
                Ok(()) = link.changed() => {}
            }
            pause = renew;
            self.holder.renewed += 1;
            let asked = clock::now();
            // An answer that is lost must not cost the term.
            match tokio::time::timeout(renew, self.put()).await {
                Ok(Ok(())) => {
                    renewed = clock::now();
                    sure(asked + term);
                }
                Ok(Err(error)) if error.kind() == UpdateErrorKind::WrongLastRevision => {
                    match self.bucket.entry(KEY).await {
                        // An earlier attempt of this very process arrived and its answer did not.
                        Ok(Some(entry)) if self.is_own(&entry.value) => {
                            self.revision = entry.revision;
                            renewed = clock::now();
                            // Since when is not known: it is renewed for certain at once.
                            pause = Duration::ZERO;
                        }
                        Ok(Some(_)) => return true,
                        _ => {}
                    }
                }
                // Nobody else can take it either while JetStream is away.
                failed => {
                    let error = match failed {
                        Ok(Err(error)) => error.to_string(),
                        _ => "no answer in time".to_owned(),
                    };
                    let for_ms = clock::now().saturating_duration_since(renewed).as_millis();
                    tracing::warn!(error, for_ms, "the lease was not renewed");
                    pause = ms(self.config.look_ms);
                }
            }
        }
    }

    fn is_own(&self, value: &[u8]) -> bool {
        serde_json::from_slice::<Holder>(value).is_ok_and(|holder| holder.life == self.holder.life)
    }

    async fn put(&mut self) -> Result<(), kv::UpdateError> {
        let value = serde_json::to_vec(&self.holder).unwrap_or_default();
        self.revision = self.bucket.update(KEY, value.into(), self.revision).await?;
        Ok(())
    }
}
