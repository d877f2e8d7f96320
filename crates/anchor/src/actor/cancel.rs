//! Closing, calling off, and ending tasks that nobody will answer: sweeps, a few tasks at a time.

use std::collections::BTreeMap;
use std::time::Duration;

use mmn_schema::control::Control;
use mmn_schema::id::{MeasurementId, Tenant};
use mmn_schema::outcome::{Outcome, Reason, code};
use mmn_schema::subject::{Log, Subject};

use super::keep::message_bytes;
use super::{Actor, Deadline, Sweep, Tag, What};
use crate::clock;
use crate::command::Reply;
use crate::dispatch::lane::LaneId;
use crate::ledger::account::{Offer, State};
use crate::measurement::{Running, ended_by_anchor, size};
use crate::problems;
use crate::registry::instance::Instance;
use crate::store::parcel::Parcel;
use crate::store::record::{Accept, Section, Step};

/// How many tasks a sweep ends at a time.
const SWEEP: u64 = 2048;
/// About how many bytes a record of the anchor's own takes beside its input.
const ENDED_BYTES: usize = 256;
/// How long instances may take to end what is called off.
const CANCEL_GRACE: Duration = Duration::from_secs(3);

impl Actor {
    pub(super) fn close(
        &mut self,
        tenant: &Tenant,
        id: MeasurementId,
        reply: Reply<mmn_schema::api::Measurement>,
    ) {
        let Some(running) = self.running.get_mut(&id).filter(|running| running.meta.tenant == *tenant) else {
            let _ = reply.send(Err(Self::hidden(id)));
            return;
        };
        if !running.meta.open {
            let _ = reply.send(Err(problems::conflict("it was never open")));
            return;
        }
        if !running.open {
            running.answer_step(reply);
            return;
        }
        running.open = false;
        running.credits = None;
        self.step(id, Step::Close, reply);
    }

    pub(super) fn cancel(
        &mut self,
        tenant: &Tenant,
        id: MeasurementId,
        reply: Reply<mmn_schema::api::Measurement>,
    ) {
        let Some(running) = self.running.get_mut(&id).filter(|running| running.meta.tenant == *tenant) else {
            let _ = reply.send(Err(Self::hidden(id)));
            return;
        };
        if running.cancelled.is_some() {
            running.answer_step(reply);
            return;
        }
        // No task ends as cancelled before the order is kept: an anchor that takes over must know why it ended.
        self.step(id, Step::Cancel, reply);
    }

    /// Ends what waits, and calls back what is out.
    pub(super) fn call_off(&mut self, id: MeasurementId) {
        let Some(running) = self.running.get_mut(&id) else {
            return;
        };
        Self::leave_waiting(&mut self.registry.lanes, running);
        running.cancelled = Some(Reason::new(code::BY_CLIENT));
        running.open = false;
        running.credits = None;
        // Also what is not released yet.
        let released = running.inputs.len();
        for line in &mut running.lines {
            line.queue.clear(released);
        }
        let end = running.account.len();
        let deadline =
            Deadline { at: clock::now() + CANCEL_GRACE, measurement: id, first: 0, end, what: What::All };
        self.deadlines.push(std::cmp::Reverse(deadline));
        self.sweeps.push_back(Sweep { measurement: id, next: 0, end, what: What::Queued });
        let order = Control::Cancel { epoch: self.epoch, measurement: id, indices: None };
        let registry = &self.registry;
        let pooled =
            |lane: &LaneId| registry.pools.get(lane).is_some_and(|pool| !pool.slot.holding.of(id).is_empty());
        let holds = |instance: &Instance| {
            let pooled = instance.credits.is_none() && instance.lanes.iter().any(pooled);
            pooled || !instance.slot.holding.of(id).is_empty()
        };
        let holders: Vec<_> = registry
            .instances
            .iter()
            .filter(|(_, instance)| holds(instance))
            .map(|(slot, instance)| (*slot, instance.vp.clone(), instance.id.clone(), instance.encoding))
            .collect();
        for (slot, vp, instance, encoding) in holders {
            let subject = Subject::Ctl(vp, instance).on(&self.shared.prefix);
            let reply = format!("{}.c{}.0", self.inbox, slot.0);
            self.send(subject, Some(reply), encoding, &order);
        }
    }

    fn step(&mut self, id: MeasurementId, step: Step, reply: Reply<mmn_schema::api::Measurement>) {
        let cancels = matches!(step, Step::Cancel);
        let name = if cancels { format!("{id}-cancel") } else { format!("{id}-close") };
        if let Some(running) = self.running.get_mut(&id) {
            running.steps += 1;
        }
        self.group_accept(id);
        let accept = Accept { anchor: self.id.clone(), epoch: self.epoch, at: clock::wall(), step };
        self.write(Tag::Step { id, cancels, reply }, &Subject::Log(Log::Accept, id), name, &accept);
    }

    pub(super) fn on_step_kept(
        &mut self,
        id: MeasurementId,
        cancels: bool,
        reply: Reply<mmn_schema::api::Measurement>,
    ) {
        if cancels && self.running.get(&id).is_some_and(|running| running.cancelled.is_none()) {
            self.call_off(id);
        }
        if let Some(running) = self.running.get_mut(&id) {
            running.steps -= 1;
            let _ = reply.send(Ok(running.view()));
            for reply in std::mem::take(&mut running.step_waiters) {
                running.answer_step(reply);
            }
        }
        self.finish_if_over(id);
    }

    /// Whether a sweep may go on: what it ended before must be on its way first.
    pub(super) fn may_sweep(&self) -> bool {
        self.sweeps.front().is_some_and(|sweep| {
            self.running.get(&sweep.measurement).is_none_or(|running| running.keep.waiting.is_empty())
        })
    }

    /// Ends some tasks of the first sweep.
    pub(super) fn sweep(&mut self) {
        let Some(mut sweep) = self.sweeps.pop_front() else {
            return;
        };
        let at = clock::wall();
        let now = clock::now();
        let id = sweep.measurement;
        let Some(running) = self.running.get_mut(&id) else {
            return;
        };
        let most = message_bytes(self.config.results.max_bytes) / 4 * 3;
        let mut sections: BTreeMap<usize, Vec<(Vec<_>, usize)>> = BTreeMap::new();
        let mut ended = 0;
        let mut looked = 0;
        while sweep.next < sweep.end && ended < SWEEP && looked < SWEEP * 64 {
            let index = sweep.next;
            sweep.next += 1;
            looked += 1;
            let (_, line) = running.place(index);
            let state = running.account.state(index);
            let due = match (sweep.what, state) {
                (What::Queued, Some(State::Queued)) | (What::All, Some(State::Queued | State::Out)) => true,
                (What::Line(of), Some(State::Queued)) => of == line,
                _ => false,
            };
            if !due {
                continue;
            }
            let Some(assigned) = running.meta.assignments.get(line) else { continue };
            let (outcome, reason) = if let Some(refused) = &assigned.refused {
                (Outcome::Refused, refused.clone())
            } else if let Some(cancelled) = &running.cancelled {
                (Outcome::Cancelled, cancelled.clone())
            } else if state == Some(State::Out) {
                (Outcome::Lost, Reason::new(code::DEADLINE))
            } else {
                let lanes = running.lines.get(line).map(|line| &*line.lanes).unwrap_or_default();
                let served = lanes.iter().any(|&lane| self.registry.is_served(lane, now));
                let barred = served && lanes.iter().all(|&lane| self.registry.is_barred(lane, now));
                match self.retries.of(id, index) {
                    _ if barred => (Outcome::Lost, Reason::new(code::CIRCUIT_OPEN)),
                    // Its attempts came to nothing, and the last one says why.
                    Some(tries) => tries.end.clone(),
                    None => unanswered(running, index, served),
                }
            };
            if running.account.offer(index) == Offer::First {
                ended += 1;
                let entry = ended_by_anchor(running, index, outcome, reason, at);
                let parts: &mut Vec<(Vec<_>, usize)> = sections.entry(line).or_default();
                if parts.last().is_none_or(|(_, bytes)| *bytes >= most) {
                    parts.push((Vec::new(), 0));
                }
                if let Some((entries, bytes)) = parts.last_mut() {
                    *bytes += ENDED_BYTES + size(&entry.input);
                    entries.push(entry);
                }
            }
        }
        for (line, parts) in sections {
            let vps = running.meta.assignments.get(line).map(|assigned| assigned.vps.as_slice());
            // A pool that nobody of took it has no vantage point.
            let vp = vps.and_then(|vps| if let [vp] = vps { Some(vp.clone()) } else { None });
            let point = vp.as_ref().and_then(|vp| self.registry.vps.get(vp)).map(|vp| &vp.point);
            let empty = Section {
                vp_name: point.map(|point| point.name.clone()),
                simulated: point.is_some_and(|point| point.simulated),
                vp,
                instance: None,
                received_at: at,
                dispatches: Vec::new(),
                entries: Vec::new(),
            };
            for (entries, _) in parts {
                let parcel = Parcel::made(Section { entries, ..empty.clone() });
                self.unkept_bytes += parcel.bytes;
                running.keep.waiting.push_back(parcel);
            }
        }
        if sweep.next < sweep.end {
            self.sweeps.push_back(sweep);
        }
        self.flush(id);
    }
}

/// Why a task that waited until its deadline was not answered.
fn unanswered(running: &Running, index: u64, served: bool) -> (Outcome, Reason) {
    if running.attempt(index) > 0 {
        (Outcome::Lost, Reason::new(code::INSTANCE_LOST))
    } else if served {
        (Outcome::Refused, Reason::new(code::SATURATED))
    } else {
        (Outcome::Lost, Reason::new(code::NO_INSTANCE))
    }
}
