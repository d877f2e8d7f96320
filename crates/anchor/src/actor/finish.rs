//! A measurement ends: its sums are written behind, and whoever waits is told. All its records are kept by then.

use std::sync::Arc;

use bytes::Bytes;
use mmn_schema::api::Measurement;
use mmn_schema::body::Body;
use mmn_schema::id::MeasurementId;
use mmn_schema::subject::{Log, Subject};
use mmn_schema::time::Timestamp;

use super::keep::message_bytes;
use super::{Actor, Tag};
use crate::clock;
use crate::command::{Live, Once};
use crate::history::History;
use crate::store::record::{Done, Roll};

/// How many ends wait for the next tick at most.
const MAX_DONES: usize = 2048;
/// A history of so few bytes is told with the end of its measurement, where that is a small part of a message.
const SMALL_HISTORY: usize = 16 * 1024;

impl Actor {
    pub(super) fn finish_if_over(&mut self, id: MeasurementId) {
        if !self.running.get(&id).is_some_and(crate::measurement::Running::is_over) {
            return;
        }
        let Some(mut running) = self.running.remove(&id) else {
            return;
        };
        Self::leave_waiting(&mut self.registry.lanes, &running);
        let done_at = clock::wall();
        let done = Arc::new(Done {
            history: self.write_history(id, &running.history, done_at),
            meta: Arc::clone(&running.meta),
            given: Some(running.given()),
            ledger: running.account.ledger().clone(),
            cancelled: running.cancelled.is_some(),
            done_at,
        });
        self.ends.add(&done.meta.kind, &done.ledger);
        if let Some(took) = done.done_at.since_ns(done.meta.accepted_at) {
            self.counters.measurement_duration.observe(std::time::Duration::from_nanos(took), 1);
        }
        running.tell(|| Live::Done(Arc::new(done.ledger.clone())));
        let mut collected = running.collected.take();
        if let Some(once) = running.once.take() {
            let records = if running.done_waiters.is_empty() { collected.take() } else { collected.clone() };
            let _ = once.send(Once::Whole(records.unwrap_or_default(), done.ledger.clone()));
        }
        // Who was not told of the acceptance is told of it now: all at once.
        let askers = std::mem::take(&mut running.askers);
        self.answers.extend(askers.into_iter().map(|asker| asker.entered(done.view())));
        // Whoever does not wait any more reads it from the store.
        let mut waiters = running.done_waiters.drain(..).peekable();
        while let Some(waiter) = waiters.next() {
            let results = if waiters.peek().is_some() { collected.clone() } else { collected.take() };
            let _ = waiter.send(Measurement { results, ..done.view() });
        }
        let (ok, accepted) = (done.ledger.ok, done.ledger.accepted);
        self.dones.push(Arc::clone(&done));
        self.ended.insert(done);
        self.event_of("measurement-done", id, || format!("{ok} ok of {accepted}"));
        if self.dones.len() >= MAX_DONES {
            self.write_dones();
        }
    }

    /// Writes the ends of measurements, several to a message. An anchor that dies before finds them over at its next
    /// start.
    pub(super) fn write_dones(&mut self) {
        let most = message_bytes(self.config.ledger.max_bytes);
        let (mut parts, mut bytes) = (Vec::new(), 0);
        let mut dones = std::mem::take(&mut self.dones);
        dones.sort_by_key(|done| done.meta.id.unix_s());
        for done in dones {
            let id = done.meta.id;
            let mut written = Vec::with_capacity(1024);
            if let Err(error) = done.put(&mut written) {
                tracing::error!(%error, %id, "the end of a measurement can't be written");
                continue;
            }
            let written = Bytes::from(written);
            let of_another =
                parts.first().is_some_and(|(first, _): &(MeasurementId, _)| first.unix_s() != id.unix_s());
            if of_another || !parts.is_empty() && bytes + written.len() > most {
                self.push_dones(&std::mem::take(&mut parts));
                bytes = 0;
            }
            bytes += written.len();
            parts.push((id, written));
        }
        self.push_dones(&parts);
    }

    fn push_dones(&mut self, parts: &[(MeasurementId, Bytes)]) {
        let ids = parts.iter().map(|(id, _)| *id).collect();
        self.push_group(Tag::Dones(ids), Log::Done, parts, false);
    }

    /// Writes a history in messages of its own, unless it is small enough to be told with the end. Gives what is told there.
    fn write_history(&mut self, id: MeasurementId, history: &History, done_at: Timestamp) -> Body {
        let written = match history.write() {
            Ok(written) => Bytes::from(written),
            Err(error) => {
                tracing::error!(%error, %id, "a history can't be written");
                return Body::null();
            }
        };
        let most = message_bytes(self.config.ledger.max_bytes);
        if written.len() <= SMALL_HISTORY.min(most / 4) {
            return Body::from_cbor(written);
        }
        let of = done_at.unix_ns();
        let parts = written.len().div_ceil(most);
        for part in 0..parts {
            let bytes = written.slice(part * most..written.len().min((part + 1) * most));
            let roll = Roll { of, part, parts, bytes: Body::from_cbor(bytes) };
            self.write(Tag::Roll, &Subject::Log(Log::Roll, id), format!("{id}-o-{of}-{part}"), &roll);
        }
        self.ended.remember(id, written);
        Body::null()
    }
}
