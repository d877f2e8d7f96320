//! The desk of a module: what it has taken, what it may take, and what it still owes to whom.
//!
//! A pure state machine. Time is an argument, messages come and go as values; [`super::work`] connects it to the
//! bus. It never drops what it has accepted: each attempt ends in exactly one final record, and each result message
//! stays until its anchor says that it has kept it. The one exception is the protocol's own: when an anchor begins a
//! new term ([`Sync::fresh`]), what is queued from former terms goes without a record, since the anchor sends it
//! again.
//!
//! Begin with [`Desk::offer`], [`Desk::start`], [`Desk::finish`] and [`Desk::next_out`].

mod at_work;
mod held;
mod lanes;
mod ledger;
mod pace;
#[cfg(test)]
mod simulation;
mod slab;
#[cfg(test)]
mod tests;

use std::cell::Cell;
use std::collections::{BTreeMap, VecDeque};
use std::rc::{Rc, Weak};

use mmn_kit::Failure;
use mmn_probe::time::{Instant, Nanos};
use mmn_schema::body::Body;
use mmn_schema::dispatch::{Input, Receipt, Record, Sync, TaskBatch};
use mmn_schema::encoding::Encoding;
use mmn_schema::id::{AnchorId, BootId, Epoch, InstanceId, KindName, MeasurementId, VpId};
use mmn_schema::outcome::{Outcome, Reason, Summary, code};
use mmn_schema::time::Timestamp;

pub(crate) use at_work::Ticket;
use at_work::{AtWork, Begun};
use held::AllHeld;
use lanes::{Lanes, Waiting};
pub(crate) use ledger::Outgoing;
use ledger::{Ledgers, Place};
use pace::Pace;
pub(crate) use slab::Key;

/// Who the desk's owner is.
#[derive(Debug, Clone)]
pub(crate) struct Identity {
    pub(crate) vp: VpId,
    pub(crate) instance: InstanceId,
    pub(crate) boot: BootId,
}

/// How much the desk takes.
#[derive(Debug, Clone)]
pub(crate) struct Room {
    /// Tasks at a time, for each kind.
    pub(crate) concurrency: BTreeMap<KindName, u32>,
    /// Tasks held over all kinds, running or queued, before anything is known of how fast they go.
    pub(crate) credits: u32,
    /// Bytes of results that anchors have not kept yet; beyond it nothing new is taken.
    pub(crate) max_owed_bytes: usize,
}

impl Room {
    /// Room for `concurrency` tasks at a time, with a queue that keeps them busy while the next message travels.
    pub(crate) fn new(concurrency: BTreeMap<KindName, u32>) -> Self {
        let total = total(&concurrency);
        Self { credits: total.saturating_add(pace::first(total)), concurrency, max_owed_bytes: 32 << 20 }
    }
}

fn total(concurrency: &BTreeMap<KindName, u32>) -> u32 {
    concurrency.values().fold(0, |sum, n| sum.saturating_add(*n))
}

/// How a batch came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// On the instance's own subject.
    Addressed,
    /// On a pool subject.
    Pool,
}

/// What all tasks of a batch share. `M` is the kind's reading of the parameters.
#[derive(Debug)]
pub(crate) struct Origin<M> {
    pub(crate) anchor: AnchorId,
    pub(crate) epoch: Epoch,
    pub(crate) measurement: MeasurementId,
    pub(crate) kind: KindName,
    pub(crate) encoding: Encoding,
    pub(crate) deadline: Instant,
    pub(crate) measure: M,
    /// When it was taken.
    since: Instant,
    lane: usize,
    place: Cell<Option<Place>>,
}

/// An attempt to be performed now.
#[derive(Debug)]
pub(crate) struct Started<M> {
    pub(crate) ticket: Ticket,
    pub(crate) origin: Rc<Origin<M>>,
    pub(crate) input: Input,
}

/// What came of an attempt.
#[derive(Debug, Clone)]
pub(crate) struct Ended {
    pub(crate) outcome: Outcome,
    pub(crate) reason: Option<Reason>,
    pub(crate) answered: Option<bool>,
    pub(crate) summary: Summary,
    pub(crate) body: Body,
}

impl Ended {
    /// It failed, or was refused.
    pub(crate) fn of_failure(failure: Failure) -> Self {
        Self::without(failure.outcome, failure.reason)
    }

    /// It was called off, and has found nothing.
    pub(crate) fn called_off() -> Self {
        Self::without(Outcome::Cancelled, Reason::new(code::BY_CLIENT))
    }

    /// It ended without a result.
    pub(crate) fn without(outcome: Outcome, reason: Reason) -> Self {
        Self { outcome, reason: Some(reason), answered: None, summary: Summary::new(), body: Body::null() }
    }
}

/// A moment on both clocks.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Now {
    pub(crate) at: Instant,
    pub(crate) utc: Timestamp,
}

/// What the desk has done in this life.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) done: u64,
    pub(crate) refused: u64,
}

/// The desk.
#[derive(Debug)]
pub(crate) struct Desk<M> {
    room: Room,
    draining: bool,
    epoch: Epoch,
    /// Whose business what former terms sent is now.
    heir: Option<Heir>,
    lanes: Lanes<M>,
    at_work: AtWork<M>,
    pace: Pace,
    cancelled: VecDeque<MeasurementId>,
    ledgers: Ledgers,
    identity: Identity,
    counts: Counts,
    /// Whether a batch goes in bulk, and how many tasks do at a time; absent while none can.
    bulk: Option<InBulk<M>>,
}

/// Which tasks go in bulk, and how many at a time.
type InBulk<M> = (fn(&M) -> bool, u32);

/// The newest term, and whose business former ones are.
type Heir = (Epoch, AnchorId);

/// How many whole measurements that were called off are remembered: their tasks may still be on the way, since
/// orders and work travel on different subjects.
const REMEMBERED_CANCELS: usize = 256;

impl<M> Desk<M> {
    /// A desk that holds nothing.
    pub(crate) fn new(identity: Identity, room: Room) -> Self {
        Self {
            pace: Pace::new(total(&room.concurrency), room.credits),
            room,
            draining: false,
            epoch: Epoch::default(),
            heir: None,
            lanes: Lanes::default(),
            at_work: AtWork::default(),
            cancelled: VecDeque::new(),
            ledgers: Ledgers::default(),
            identity,
            counts: Counts::default(),
            bulk: None,
        }
    }

    /// From now on tasks that `which` says so of go in bulk: so many of them at a time, besides the others.
    pub(crate) fn allow_bulk(&mut self, which: fn(&M) -> bool, limit: u32) {
        if self.bulk.is_none() {
            self.pace.grow(limit);
        }
        self.bulk = Some((which, limit));
    }

    /// What a running attempt has in common with the others of its batch.
    pub(crate) fn origin(&self, ticket: Ticket) -> Option<&Rc<Origin<M>>> {
        self.at_work.origin(ticket)
    }

    /// How many tasks it could take now.
    pub(crate) fn free(&self) -> u32 {
        self.room_for(self.pace.credits())
    }

    /// How many tasks it can hold, as far as it was told.
    pub(crate) const fn credits(&self) -> u32 {
        self.pace.credits()
    }

    /// How many it can hold from now on, where that has changed: tell it.
    pub(crate) fn new_credits(&mut self, now: Instant) -> Option<u32> {
        self.pace.change(now, self.held() == 0)
    }

    /// Tasks that are being performed.
    pub(crate) fn running(&self) -> u32 {
        self.at_work.len()
    }

    /// Those that are performed by themselves and whose time is over, and when that of the next of them will be.
    pub(crate) fn overdue(
        &self,
        now: Instant,
        which: impl Fn(Ticket) -> bool,
    ) -> (Vec<Ticket>, Option<Instant>) {
        let (mut overdue, mut next) = (Vec::new(), None);
        for (ticket, origin, _) in self.at_work.alone().filter(|(ticket, _, _)| which(*ticket)) {
            if origin.deadline <= now {
                overdue.push(ticket);
            } else {
                next = Some(next.map_or(origin.deadline, |next: Instant| next.min(origin.deadline)));
            }
        }
        (overdue, next)
    }

    /// Tasks that wait.
    pub(crate) const fn queued(&self) -> u32 {
        self.lanes.queued()
    }

    /// Whether something waits that could be begun.
    pub(crate) fn can_start(&self) -> bool {
        self.lanes.can_start()
    }

    /// What it has done in this life.
    pub(crate) const fn counts(&self) -> Counts {
        self.counts
    }

    /// From now on it takes nothing new.
    pub(crate) const fn drain(&mut self) {
        self.draining = true;
    }

    /// Whether it takes nothing new.
    pub(crate) const fn is_draining(&self) -> bool {
        self.draining
    }

    /// Whether every attempt has ended and everything was handed out. Anchors may still have to acknowledge it.
    pub(crate) fn is_idle(&self) -> bool {
        self.held() == 0 && !self.ledgers.has_out()
    }

    /// Whether anchors have kept everything, as far as they say so at all: nothing is lost if it ends now.
    pub(crate) fn is_acknowledged(&self) -> bool {
        self.ledgers.is_acknowledged()
    }

    /// Whether there is something to send.
    pub(crate) fn has_out(&self) -> bool {
        self.ledgers.has_out()
    }

    /// Takes a batch whole, or declines it whole. `prepare` reads the parameters. Gives the receipt, and what lives as
    /// long as a task of the batch has no final record.
    pub(crate) fn offer(
        &mut self,
        now: Now,
        batch: TaskBatch,
        way: Way,
        encoding: Encoding,
        prepare: impl FnOnce(&KindName, &Body) -> Result<M, Reason>,
    ) -> (Receipt, Weak<Origin<M>>) {
        if let Err(reason) = self.check_term(&batch, way) {
            return (self.refuse(&batch, reason), Weak::new());
        }
        self.ledgers.heard(&batch.anchor, batch.epoch, now.at);
        if way == Way::Addressed {
            self.ledgers.acknowledge(&batch.anchor, batch.ack);
        }
        if self.draining {
            return (self.refuse(&batch, Reason::new(code::DRAINING)), Weak::new());
        }
        if batch.tasks.is_empty() {
            let reason = Reason::with(code::PARAMETERS, "the batch has no tasks");
            return (self.refuse(&batch, reason), Weak::new());
        }
        let count = u32::try_from(batch.tasks.len()).unwrap_or(u32::MAX);
        if self.ledgers.owed_bytes() >= self.room.max_owed_bytes {
            self.ledgers.forget_silent(now.at);
        }
        let free = self.free();
        // What was told a moment ago still holds, though it be less now.
        if count > self.room_for(self.pace.most(now.at)) {
            return (Receipt::Busy { instance: self.identity.instance.clone(), free }, Weak::new());
        }
        let measure = match prepare(&batch.kind, &batch.params) {
            Ok(measure) => measure,
            Err(reason) => return (self.refuse(&batch, reason), Weak::new()),
        };
        let work = self.take(now, batch, encoding, measure);
        let accepted = Receipt::Accepted {
            instance: self.identity.instance.clone(),
            boot: self.identity.boot,
            free: self.free(),
        };
        (accepted, work)
    }

    /// Calls off tasks of a measurement. Returns how many it concerned, and which running attempts are to be stopped and
    /// [finished](Self::finish) now.
    pub(crate) fn cancel(
        &mut self,
        now: Now,
        epoch: Epoch,
        measurement: MeasurementId,
        indices: Option<&[u64]>,
    ) -> Result<(u64, Vec<Ticket>), Reason> {
        if epoch < self.epoch {
            return Err(self.stale(epoch));
        }
        let meant = |index: u64| indices.is_none_or(|indices| indices.contains(&index));
        if indices.is_none() && !self.cancelled.contains(&measurement) {
            if self.cancelled.len() >= REMEMBERED_CANCELS {
                self.cancelled.pop_front();
            }
            self.cancelled.push_back(measurement);
        }
        let waiting =
            self.lanes.remove(|origin, task| origin.measurement == measurement && meant(task.index));
        let stopped: Vec<Ticket> = self
            .at_work
            .iter()
            .filter(|(_, origin, index)| origin.measurement == measurement && meant(*index))
            .map(|(ticket, _, _)| ticket)
            .collect();
        let count = waiting.len() + stopped.len();
        for waiting in waiting {
            self.end_waiting(now, &waiting, Outcome::Cancelled, Reason::new(code::BY_CLIENT));
        }
        Ok((u64::try_from(count).unwrap_or(u64::MAX), stopped))
    }

    /// Compares notes with an anchor. The answer comes out of [`Self::next_out`] after the results that it concerns.
    pub(crate) fn sync(&mut self, now: Now, sync: &Sync, encoding: Encoding) {
        if sync.epoch < self.epoch {
            tracing::debug!(anchor = %sync.anchor, "a sync of a term that is over");
            return;
        }
        self.epoch = sync.epoch;
        self.ledgers.heard(&sync.anchor, sync.epoch, now.at);
        self.ledgers.acknowledge(&sync.anchor, sync.ack);
        if sync.fresh {
            let dropped = self.lanes.remove(|origin, _| origin.epoch < sync.epoch).len();
            if dropped > 0 {
                tracing::info!(dropped, anchor = %sync.anchor, "a new term: tasks of former terms go");
            }
            self.pack_all();
            self.ledgers.adopt(&sync.anchor, sync.epoch);
            self.heir = Some((sync.epoch, sync.anchor.clone()));
        }
        self.pack_all();
        self.ledgers.answer(sync, encoding);
    }

    /// The next attempt to perform, as far as concurrency goes. Kinds take turns.
    pub(crate) fn start(&mut self, now: Now) -> Option<Started<M>> {
        loop {
            let waiting = self.lanes.next()?;
            if waiting.origin.deadline <= now.at {
                self.end_waiting(now, &waiting, Outcome::Lost, too_late());
                continue;
            }
            let Waiting { origin, task } = waiting;
            self.lanes.begun(origin.lane);
            let attempt =
                Begun { origin: Rc::clone(&origin), index: task.index, attempt: task.attempt, began: now };
            let ticket = if self.bulk.is_some_and(|(in_bulk, _)| in_bulk(&origin.measure)) {
                self.at_work.begin_in_flock(attempt)
            } else {
                self.at_work.begin(attempt)
            };
            return Some(Started { ticket, origin, input: task.input });
        }
    }

    /// Writes the final record of an attempt. An attempt that was ended already stays as it is.
    pub(crate) fn finish(&mut self, ticket: Ticket, now: Now, ended: Ended) {
        let Some(Begun { origin, index, attempt, began }) = self.at_work.end(ticket) else { return };
        self.lanes.ended(origin.lane);
        self.pace.ended(now.at, self.held());
        let record = Record {
            index,
            attempt,
            part: 0,
            last: true,
            outcome: ended.outcome,
            reason: ended.reason,
            answered: ended.answered,
            started_at: began.utc,
            duration_ns: now.at.saturating_since(began.at).0,
            queued_ns: began.at.saturating_since(origin.since).0,
            summary: ended.summary,
            body: ended.body,
        };
        self.record(&origin, &record);
    }

    /// Ends what waits beyond its deadline.
    pub(crate) fn expire(&mut self, now: Now) {
        for waiting in self.lanes.remove(|origin, _| origin.deadline <= now.at) {
            self.end_waiting(now, &waiting, Outcome::Lost, too_late());
        }
    }

    /// The next message to send, as long as there is one. Call it when the connection takes messages: what was
    /// handed out counts as sent.
    pub(crate) fn next_out(&mut self, now: Instant) -> Option<Outgoing> {
        self.pack_all();
        let free = self.free();
        let Self { ledgers, identity, at_work, lanes, heir, .. } = self;
        let out =
            ledgers.next_out(identity, free, |anchor| AllHeld::of(anchor, heir.as_ref(), at_work, lanes));
        if out.is_some() {
            self.pace.told(now, free);
        }
        out
    }

    fn room_for(&self, credits: u32) -> u32 {
        if self.draining || self.ledgers.owed_bytes() >= self.room.max_owed_bytes {
            return 0;
        }
        credits.saturating_sub(self.held())
    }

    fn held(&self) -> u32 {
        self.running().saturating_add(self.queued())
    }

    fn pack_all(&mut self) {
        let free = self.free();
        self.ledgers.pack(&self.identity, free);
    }

    /// Orders of a term that is over are declined. Pool subjects are also for callers without a term, so there only
    /// the sender's own former terms count.
    fn check_term(&mut self, batch: &TaskBatch, way: Way) -> Result<(), Reason> {
        let newest = match way {
            Way::Addressed => self.epoch,
            Way::Pool => self.ledgers.epoch_of(&batch.anchor),
        };
        if batch.epoch < newest {
            return Err(Reason::with(
                code::STALE_EPOCH,
                format_args!("epoch {} is over, the newest is {}", batch.epoch.0, newest.0),
            ));
        }
        if way == Way::Addressed {
            self.epoch = batch.epoch;
        }
        Ok(())
    }

    fn stale(&self, epoch: Epoch) -> Reason {
        Reason::with(
            code::STALE_EPOCH,
            format_args!("epoch {} is over, the newest is {}", epoch.0, self.epoch.0),
        )
    }

    fn refuse(&mut self, batch: &TaskBatch, reason: Reason) -> Receipt {
        self.counts.refused += u64::try_from(batch.tasks.len()).unwrap_or(u64::MAX);
        Receipt::Refused { instance: self.identity.instance.clone(), reason }
    }

    fn take(&mut self, now: Now, batch: TaskBatch, encoding: Encoding, measure: M) -> Weak<Origin<M>> {
        let called_off = self.cancelled.contains(&batch.measurement);
        let bulk = self.bulk.and_then(|(which, limit)| which(&measure).then_some(limit));
        let origin = Rc::new(Origin {
            anchor: batch.anchor,
            epoch: batch.epoch,
            measurement: batch.measurement,
            lane: self.lanes.of(&batch.kind, bulk, &self.room.concurrency),
            kind: batch.kind,
            encoding,
            deadline: now.at + Nanos(batch.deadline_ns),
            measure,
            since: now.at,
            place: Cell::new(None),
        });
        let work = Rc::downgrade(&origin);
        if called_off {
            for task in batch.tasks {
                let waiting = Waiting { origin: Rc::clone(&origin), task };
                self.end_waiting(now, &waiting, Outcome::Cancelled, Reason::new(code::BY_CLIENT));
            }
        } else {
            self.pace.takes(now.at, self.held());
            self.lanes.push(origin, batch.tasks);
            self.pace.took(self.held());
        }
        work
    }

    fn end_waiting(&mut self, now: Now, waiting: &Waiting<M>, outcome: Outcome, reason: Reason) {
        let record = Record {
            index: waiting.task.index,
            attempt: waiting.task.attempt,
            part: 0,
            last: true,
            outcome,
            reason: Some(reason),
            answered: None,
            started_at: now.utc,
            duration_ns: 0,
            queued_ns: now.at.saturating_since(waiting.origin.since).0,
            summary: Summary::new(),
            body: Body::null(),
        };
        self.record(&waiting.origin, &record);
    }

    fn record(&mut self, origin: &Origin<M>, record: &Record) {
        self.counts.done += 1;
        self.ledgers.record(origin, owed_to(self.heir.as_ref(), origin), record);
    }
}

fn too_late() -> Reason {
    Reason::with(code::DEADLINE, "the deadline passed before the instance could begin")
}

/// To whom the record of an attempt is owed.
fn owed_to<'a, M>(heir: Option<&'a Heir>, origin: &'a Origin<M>) -> &'a AnchorId {
    match heir {
        Some((epoch, heir)) if origin.epoch < *epoch => heir,
        _ => &origin.anchor,
    }
}
