//! A measurement ends: its sums are written behind, and whoever waits is told. All its records are kept by then.

use std::sync::Arc;

use mmn_schema::id::MeasurementId;
use mmn_schema::subject::{Log, Subject};

use super::{About, Actor, MAX_LATE, Tag};
use crate::clock;
use crate::command::Live;
use crate::store::record::{Done, Roll};

/// How many rollups go into one message.
const MAX_ROLLUPS: usize = 500;

impl Actor {
    pub(super) fn finish_if_over(&mut self, id: MeasurementId) {
        if !self.running.get(&id).is_some_and(crate::measurement::Running::is_over) {
            return;
        }
        let small = self.running.get(&id).is_some_and(|running| running.rollups.len() <= MAX_ROLLUPS);
        if !small {
            self.write_rollups(id);
        }
        let Some(mut running) = self.running.remove(&id) else {
            return;
        };
        Self::leave_waiting(&mut self.registry.lanes, &running);
        let done = Arc::new(Done {
            rollups: running.rollups.take(id),
            meta: Arc::clone(&running.meta),
            ledger: running.account.ledger().clone(),
            cancelled: running.cancelled.is_some(),
            done_at: clock::wall(),
        });
        self.ends.add(&done.meta.kind, &done.ledger);
        if let Some(took) = done.done_at.since_ns(done.meta.accepted_at) {
            self.counters.measurement_duration.observe(std::time::Duration::from_nanos(took), 1);
        }
        running.tell(|| Live::Done(Arc::new(done.ledger.clone())));
        let mut view = done.view();
        view.results = running.collected.take();
        // Whoever does not wait any more reads it from the store.
        if let Some(last) = running.done_waiters.pop() {
            for waiter in running.done_waiters.drain(..) {
                let _ = waiter.send(view.clone());
            }
            let _ = last.send(view);
        }
        let text = format!("{} ok of {}", done.ledger.ok, done.ledger.accepted);
        self.dones.push(Arc::clone(&done));
        self.ended.insert(done);
        if self.dones.len() >= MAX_LATE {
            self.write_dones();
        }
        self.event("measurement-done", About { measurement: Some(id), ..About::default() }, text);
    }

    /// Writes the ends of measurements. An anchor that dies before finds them over at its next start.
    pub(super) fn write_dones(&mut self) {
        for done in std::mem::take(&mut self.dones) {
            let id = done.meta.id;
            self.write(Tag::Done(id), &Subject::Log(Log::Done, id), format!("{id}-done"), &*done);
        }
    }

    /// Writes the rollups of an interval that is over, or of a measurement that is.
    pub(super) fn write_rollups(&mut self, id: MeasurementId) {
        let Some(running) = self.running.get_mut(&id) else {
            return;
        };
        let through = running.keep.last;
        let rollups = running.rollups.take(id);
        for (number, part) in rollups.chunks(MAX_ROLLUPS).enumerate() {
            let start = part.first().map(|rollup| rollup.start.unix_ns()).unwrap_or_default();
            let roll = Roll { rollups: part.to_vec(), through };
            let name = format!("{id}-o-{start}-{through}-{number}");
            self.write(Tag::Roll, &Subject::Log(Log::Roll, id), name, &roll);
        }
    }
}
