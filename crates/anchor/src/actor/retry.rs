//! Attempts that came to nothing: their tasks come back, and go out again a little later, to somebody else where there
//! is somebody. Each such attempt is taken down. A task that has used up its attempts ends with the last one's reason.

use std::collections::{BTreeMap, HashSet};
use std::time::Instant;

use mmn_schema::id::{InstanceId, MeasurementId, VpId};
use mmn_schema::outcome::{Outcome, Reason, code};
use mmn_schema::time::Timestamp;

use super::Actor;
use crate::clock;
use crate::dispatch::holding::Returned;
use crate::dispatch::lane::{LaneId, SlotId};
use crate::ledger::account::{Offer, State};
use crate::measurement::ended_by_anchor;
use crate::registry::Sink;
use crate::store::parcel::Parcel;
use crate::store::record::{Dispatched, Entry, Note, Section};

/// Why an attempt came to nothing.
#[derive(Debug, Clone, Copy)]
pub(super) enum Nothing<'a> {
    /// The instance was full: no attempt at all.
    Busy,
    /// The batch never reached anybody.
    Undelivered(&'a str),
    /// The instance declined it, and another one may take it.
    Declined(&'a Reason),
    /// Who has it does not say so, or says nothing at all: its result may be on its way.
    Doubted(&'a str),
    /// Who had it is gone, or does not have it any more.
    Lost(&'a str),
    /// The module broke, and said so.
    Broke(&'a Reason),
}

impl Nothing<'_> {
    /// Whether it is one of the attempts that a task has.
    const fn counts(self) -> bool {
        matches!(self, Self::Doubted(_) | Self::Lost(_) | Self::Broke(_))
    }

    /// How the task ends if there is no further attempt.
    fn end(self) -> (Outcome, Reason) {
        match self {
            Self::Busy => (Outcome::Refused, Reason::new(code::SATURATED)),
            Self::Declined(reason) => (Outcome::Refused, reason.clone()),
            Self::Doubted(why) => (Outcome::Lost, Reason::with(code::DEADLINE, why)),
            Self::Undelivered(why) | Self::Lost(why) => {
                (Outcome::Lost, Reason::with(code::INSTANCE_LOST, why))
            }
            Self::Broke(reason) => (Outcome::Failed, reason.clone()),
        }
    }

    fn detail(self) -> String {
        match self {
            Self::Busy => "busy".to_owned(),
            Self::Declined(reason) => format!("declined: {reason}"),
            Self::Undelivered(why) | Self::Doubted(why) | Self::Lost(why) => why.to_owned(),
            Self::Broke(reason) => format!("failed: {reason}"),
        }
    }

    /// The word for it in metrics.
    const fn label(self) -> &'static str {
        match self {
            Self::Busy => "busy",
            Self::Undelivered(_) => "undelivered",
            Self::Declined(_) => "declined",
            Self::Doubted(_) => "doubted",
            Self::Lost(_) => "lost",
            Self::Broke(_) => "broke",
        }
    }
}

/// How many tasks that are due are looked at in one tick.
const MAX_DUE: usize = 16_384;
/// How often a task that is due waits for somebody else to have room, before it goes to whoever has.
const MAX_PASSES: u32 = 20;
/// How many vantage points of a pool are looked at.
const POOL_LOOK: usize = 64;

/// Who could make the next attempt.
enum Elsewhere {
    At(LaneId, Sink, usize),
    /// Somebody else is there, and full.
    Full,
    /// There is nobody else.
    Nobody,
}

impl Actor {
    /// Tasks come back. Those that were tried go out again after a pause, unless that was their last attempt.
    pub(super) fn give_back(
        &mut self,
        returned: Vec<Returned>,
        instance: Option<&InstanceId>,
        nothing: Nothing<'_>,
    ) {
        if returned.is_empty() {
            return;
        }
        let (now, at): (Instant, Timestamp) = (clock::now(), clock::wall());
        let mut stand = HashSet::new();
        let mut over = Vec::new();
        for task in returned {
            let id = task.measurement;
            let Some(running) = self.running.get_mut(&id) else {
                continue;
            };
            if running.account.state(task.index) != Some(State::Out) {
                continue;
            }
            let (input, line) = running.place(task.index);
            if matches!(nothing, Nothing::Busy) {
                running.account.give_back(task.index);
                if running.cancelled.is_none()
                    && let Some(line) = running.lines.get_mut(line)
                {
                    line.queue.put_back(input);
                    self.registry.lanes.count(&running.meta.kind, &line.lanes, 1, 0);
                }
                stand.insert((id, line));
                continue;
            }
            let attempt = running.attempt(task.index);
            self.counters.attempts_failed_total += 1;
            *self.counters.retries_total.entry(nothing.label()).or_default() += 1;
            running.note(Note {
                index: task.index,
                attempt,
                vp: task.vp.clone(),
                instance: instance.cloned(),
                dispatched: Some(task.dispatched),
                at,
                detail: nothing.detail(),
            });
            let avoid = instance.and_then(|name| self.registry.find(&task.vp, name));
            let tries = self.retries.enter(id, task.index, nothing.counts(), avoid, nothing.end());
            if tries.counted >= self.config.dispatch.max_attempts.max(1) && running.cancelled.is_none() {
                // No further attempt; but what may be on its way is waited for until the deadline.
                if !matches!(nothing, Nothing::Doubted(_)) {
                    over.push(task);
                }
                continue;
            }
            running.account.give_back(task.index);
            running.attempts.insert(task.index, attempt + 1);
            // The sweep of the cancellation ends it otherwise; the sweep at its deadline, when there is no time left.
            if running.cancelled.is_none()
                && let Some(until) = running.until(task.index)
            {
                // Whose instance was lost need not wait: nothing says that another one would fail too.
                match nothing {
                    Nothing::Doubted(_) | Nothing::Lost(_) | Nothing::Undelivered(_) => {
                        self.retries.wait_little(id, task.index, now, until)
                    }
                    _ => self.retries.wait(id, task.index, now, until),
                };
            }
        }
        for (id, line) in stand {
            self.stand(id, line);
        }
        if !over.is_empty() {
            let (outcome, reason) = nothing.end();
            let tried = self.config.dispatch.max_attempts.max(1);
            let reason = match reason.detail {
                Some(detail) => {
                    Reason { detail: Some(format!("{detail}; attempt {tried} of {tried}")), ..reason }
                }
                None => Reason { detail: Some(format!("attempt {tried} of {tried}")), ..reason },
            };
            self.end_returned(over, outcome, &reason);
        }
    }

    /// A final record says that the module broke. Whether the task gets another attempt, and the record is dropped.
    pub(super) fn may_retry(
        &mut self,
        id: MeasurementId,
        (index, attempted): (u64, u32),
        reason: &Reason,
        vp: &VpId,
        instance: &InstanceId,
        sent: Option<(u64, Dispatched)>,
    ) -> bool {
        let Some(running) = self.running.get_mut(&id) else {
            return false;
        };
        let at = clock::wall();
        let state = running.account.state(index);
        let attempt = running.attempt(index);
        if attempted < attempt && matches!(state, Some(State::Queued | State::Out)) {
            // It was given up before, and has another attempt already.
            running.note(Note {
                index,
                attempt: attempted,
                vp: vp.clone(),
                instance: Some(instance.clone()),
                dispatched: sent.map(|(_, dispatched)| dispatched),
                at,
                detail: format!("came late: failed: {reason}"),
            });
            return true;
        }
        let counted = self.retries.of(id, index).map_or(0, |tries| tries.counted) + 1;
        let running = self.running.get(&id);
        let in_time = running.and_then(|it| it.until(index)).is_some_and(|until| clock::now() < until);
        let cancelled = running.is_none_or(|it| it.cancelled.is_some());
        let last = counted >= self.config.dispatch.max_attempts.max(1);
        // What was not out to this instance is none of its attempts.
        let Some((_, dispatched)) = sent.filter(|_| state == Some(State::Out)) else {
            return false;
        };
        if !in_time || cancelled || last {
            return false;
        }
        let back = Returned { measurement: id, index, vp: vp.clone(), dispatched };
        self.give_back(vec![back], Some(instance), Nothing::Broke(reason));
        true
    }

    /// Sends the tasks that are due.
    pub(super) fn retry(&mut self, now: Instant) {
        if !self.may_dispatch() {
            return;
        }
        let mut groups: BTreeMap<(MeasurementId, usize, Option<SlotId>), Vec<u64>> = BTreeMap::new();
        for _ in 0..MAX_DUE {
            let Some((id, index)) = self.retries.pop(now) else { break };
            let Some(running) = self.running.get(&id) else { continue };
            if running.account.state(index) == Some(State::Queued) && running.cancelled.is_none() {
                let tries = self.retries.of(id, index);
                // Whoever has waited for others for long takes whom it gets.
                let avoid = tries.filter(|tries| tries.passed < MAX_PASSES).and_then(|tries| tries.avoid);
                groups.entry((id, running.place(index).1, avoid)).or_default().push(index);
            }
        }
        for ((id, line, avoid), indices) in groups {
            self.again(id, line, avoid, indices, now);
        }
    }

    fn again(
        &mut self,
        id: MeasurementId,
        line: usize,
        avoid: Option<SlotId>,
        indices: Vec<u64>,
        now: Instant,
    ) {
        let mut left = indices;
        while !left.is_empty() {
            let to = match avoid {
                Some(avoid) => self.elsewhere(id, line, avoid, now),
                None => Elsewhere::Nobody,
            };
            match to {
                Elsewhere::At(at, sink, room) => {
                    let most = room.min(self.config.dispatch.max_batch).max(1).min(left.len());
                    let rest = left.split_off(most);
                    self.send_tasks(id, at, sink, left, now);
                    left = rest;
                }
                Elsewhere::Full => {
                    for index in std::mem::take(&mut left) {
                        self.retries.pass(id, index, now);
                    }
                }
                Elsewhere::Nobody => {
                    if let Some(running) = self.running.get_mut(&id) {
                        for index in std::mem::take(&mut left) {
                            let (input, _) = running.place(index);
                            if let Some(line) = running.lines.get_mut(line) {
                                line.queue.put_back(input);
                                self.registry.lanes.count(&running.meta.kind, &line.lanes, 1, 0);
                            }
                        }
                    }
                    self.stand(id, line);
                    return;
                }
            }
        }
    }

    /// Who else could take the tasks of an assignment.
    fn elsewhere(&self, id: MeasurementId, line: usize, avoid: SlotId, now: Instant) -> Elsewhere {
        let lanes =
            self.running.get(&id).and_then(|running| running.lines.get(line)).map(|line| &*line.lanes);
        let lanes = lanes.unwrap_or_default();
        let from = rand::random_range(0..lanes.len().max(1));
        let (after, before) = lanes.split_at(from.min(lanes.len()));
        let mut found = Elsewhere::Nobody;
        for &lane in before.iter().chain(after).take(POOL_LOOK) {
            if let Some((sink, room)) = self.registry.least_loaded(lane, now, Some(avoid)) {
                return Elsewhere::At(lane, sink, room);
            }
            if self.registry.is_worked(lane, now, Some(avoid)) {
                found = Elsewhere::Full;
            }
        }
        found
    }

    /// Tasks that came back end, all for the same reason.
    pub(super) fn end_returned(&mut self, returned: Vec<Returned>, outcome: Outcome, reason: &Reason) {
        let at = clock::wall();
        for task in returned {
            let Some(running) = self.running.get_mut(&task.measurement) else { continue };
            if running.account.offer(task.index) != Offer::First {
                continue;
            }
            let entry = ended_by_anchor(running, task.index, outcome, reason.clone(), at);
            let point = self.registry.vps.get(&task.vp).map(|vp| &vp.point);
            let section = Section {
                vp_name: point.map(|point| point.name.clone()),
                simulated: point.is_some_and(|point| point.simulated),
                vp: Some(task.vp),
                instance: None,
                received_at: at,
                dispatches: vec![task.dispatched],
                entries: vec![Entry { dispatch: Some(0), ..entry }],
            };
            let parcel = Parcel::made(section);
            self.unkept_bytes += parcel.bytes;
            running.keep.waiting.push_back(parcel);
            self.flush(task.measurement);
        }
    }
}

/// Why a module broke, if that is what a final record says.
pub(super) fn broken(outcome: Outcome, reason: Option<&Reason>) -> Option<&Reason> {
    reason.filter(|reason| outcome == Outcome::Failed && reason.code == code::INTERNAL)
}
