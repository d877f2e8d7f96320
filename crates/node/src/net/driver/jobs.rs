//! All machines of a driver: where they are found, who of them is to be polled, and what they are told.

use std::{
    collections::VecDeque,
    mem,
    task::{Context, Poll, Waker},
};

use mmn_kit::Driven;
use mmn_probe::{
    conditions::{Conditions, Wish},
    machine::Input,
    packet::{Departure, Packet, ProbeId, SendFailure},
    time::{Instant, Stamp},
};

use super::{
    Counters, Done, DriveError,
    job::{End, Job, NEVER},
};
use crate::{
    clock,
    net::carrier::{JobKey, Moment, Sink, Ticket},
};

#[derive(Debug)]
pub(super) struct Jobs {
    slots: Vec<Option<Job>>,
    vacant: Vec<u32>,
    /// How many are not done.
    running: usize,
    /// How many there ever were.
    added: u64,
    /// Those of owners that have ended, in turn; one that is not there any more is passed by.
    pub(super) ended: VecDeque<JobKey>,
    /// Who waits for those.
    ended_waker: Option<Waker>,
    /// Those to be polled, in turn.
    pub(super) dirty: VecDeque<JobKey>,
    /// How far civil time was ahead of the monotonic clock when last looked at.
    pub(super) distance_ns: i64,
    pub(super) counters: Counters,
}

impl Jobs {
    pub(super) fn new() -> Self {
        Self {
            slots: Vec::new(),
            vacant: Vec::new(),
            running: 0,
            added: 0,
            ended: VecDeque::new(),
            ended_waker: None,
            dirty: VecDeque::new(),
            distance_ns: clock::both().distance_ns(),
            counters: Counters::default(),
        }
    }

    pub(super) const fn running(&self) -> usize {
        self.running
    }

    pub(super) fn add(
        &mut self,
        machine: Box<dyn Driven>,
        wish: Wish,
        end: End,
    ) -> Result<JobKey, DriveError> {
        let full = DriveError::Full(self.running);
        self.added += 1;
        let generation = generation(self.added);
        let job = Job::new(machine, wish, end, generation);
        let index = match self.vacant.pop() {
            Some(index) => index,
            None => u32::try_from(self.slots.len()).map_err(|_| full)?,
        };
        match usize::try_from(index).ok().and_then(|index| self.slots.get_mut(index)) {
            Some(slot) => *slot = Some(job),
            None => self.slots.push(Some(job)),
        }
        self.running += 1;
        let key = JobKey { index, generation };
        self.mark(key);
        Ok(key)
    }

    /// The number of the newest one.
    pub(super) const fn newest(&self) -> u64 {
        self.added
    }

    /// The number of one, in the order in which they came: its generation says by how many the newest one came later.
    pub(super) fn number(&self, key: JobKey) -> u64 {
        self.added - u64::from(generation(self.added).wrapping_sub(key.generation))
    }

    pub(super) fn find(&mut self, key: JobKey) -> Option<&mut Job> {
        let slot = self.slots.get_mut(usize::try_from(key.index).ok()?)?;
        slot.as_mut().filter(|job| job.generation == key.generation)
    }

    /// The same, if the machine is not done.
    pub(super) fn running_job(&mut self, key: JobKey) -> Option<&mut Job> {
        self.find(key).filter(|job| !job.is_done())
    }

    pub(super) fn remove(&mut self, key: JobKey) -> Option<Job> {
        let slot = self.slots.get_mut(usize::try_from(key.index).ok()?)?;
        let job = slot.take_if(|job| job.generation == key.generation)?;
        self.vacant.push(key.index);
        if !job.is_done() {
            self.running -= 1;
        }
        Some(job)
    }

    /// The machine is done; its keys are given back already.
    pub(super) fn end(&mut self, key: JobKey, conditions: Conditions) {
        let Some(job) = self.running_job(key) else { return };
        job.wake = NEVER;
        job.outbox = None;
        if let End::Awaited(waker) = mem::replace(&mut job.end, End::Done(Box::new(conditions))) {
            waker.wake();
        }
        self.running -= 1;
    }

    /// The machine of an owner is done, where it is one; its keys are given back already.
    pub(super) fn end_owned(&mut self, key: JobKey) -> bool {
        let Some(job) = self.running_job(key) else { return false };
        let End::Owned(owner) = job.end else { return false };
        job.wake = NEVER;
        job.outbox = None;
        job.end = End::Ended(owner);
        self.running -= 1;
        self.ended.push_back(key);
        if let Some(waker) = self.ended_waker.take() {
            waker.wake();
        }
        true
    }

    /// Whether one of an owner has ended.
    pub(super) fn poll_ended(&mut self, context: &Context<'_>) -> Poll<()> {
        if !self.ended.is_empty() {
            return Poll::Ready(());
        }
        match &mut self.ended_waker {
            Some(waker) => waker.clone_from(context.waker()),
            none => *none = Some(context.waker().clone()),
        }
        Poll::Pending
    }

    /// All of these owners.
    pub(super) fn of_owners(&self, which: impl Fn(u64) -> bool) -> Vec<JobKey> {
        let of = |(index, job): (usize, &Option<Job>)| {
            let job = job.as_ref()?;
            let (End::Owned(owner) | End::Ended(owner)) = job.end else { return None };
            which(owner).then_some(())?;
            Some(JobKey { index: u32::try_from(index).ok()?, generation: job.generation })
        };
        self.slots.iter().enumerate().filter_map(of).collect()
    }

    /// Takes a machine that is done.
    pub(super) fn collect(&mut self, key: JobKey, context: &Context<'_>) -> Poll<Result<Done, DriveError>> {
        match self.find(key).map(|job| &mut job.end) {
            None => return Poll::Ready(Err(DriveError::Closed)),
            Some(end @ (End::Open | End::Awaited(_))) => {
                *end = End::Awaited(Box::new(context.waker().clone()));
                return Poll::Pending;
            }
            Some(End::Done(_) | End::Owned(_) | End::Ended(_)) => {}
        }
        match self.remove(key) {
            Some(Job { machine, end: End::Done(conditions), .. }) => Poll::Ready(Ok((machine, *conditions))),
            _ => Poll::Ready(Err(DriveError::Closed)),
        }
    }

    /// Has a machine polled.
    pub(super) fn mark(&mut self, key: JobKey) {
        if let Some(job) = self.running_job(key)
            && !job.dirty
        {
            job.dirty = true;
            self.dirty.push_back(key);
        }
    }

    /// Tells a machine, and has it polled.
    pub(super) fn tell(&mut self, key: JobKey, now: Instant, input: Input<'_>) {
        if let Some(job) = self.running_job(key) {
            job.machine.handle(now, input);
            if !job.dirty {
                job.dirty = true;
                self.dirty.push_back(key);
            }
        }
    }

    /// All machines that are not done and of which this is true.
    pub(super) fn all(&self, wanted: impl Fn(&Job) -> bool) -> Vec<JobKey> {
        let of = |(index, job): (usize, &Option<Job>)| {
            let job = job.as_ref().filter(|job| !job.is_done() && wanted(job))?;
            Some(JobKey { index: u32::try_from(index).ok()?, generation: job.generation })
        };
        self.slots.iter().enumerate().filter_map(of).collect()
    }

    /// A probe will not be sent.
    pub(super) fn refuse(&mut self, key: JobKey, probe: ProbeId, reason: SendFailure) {
        self.failed(Ticket { job: key, probe }, clock::monotonic(), reason);
    }
}

impl Sink for Jobs {
    /// Reads both clocks, and tells everybody if civil time was set since they were last read.
    fn moment(&mut self) -> Moment {
        let reading = clock::both();
        let distance_ns = reading.distance_ns();
        let stepped = distance_ns.abs_diff(self.distance_ns) > STEP_NS;
        self.distance_ns = distance_ns;
        if stepped {
            self.counters.clock_steps += 1;
            for key in self.all(|_| true) {
                self.tell(key, reading.at, Input::ClockStepped);
            }
        }
        Moment { reading, stepped }
    }

    fn sent(&mut self, ticket: Ticket, now: Instant, stamp: Stamp, departure: Departure) {
        self.counters.sent += 1;
        self.tell(ticket.job, now, Input::Sent { probe: ticket.probe, stamp, departure });
    }

    fn stamped(&mut self, ticket: Ticket, now: Instant, stamp: Stamp) {
        self.tell(ticket.job, now, Input::Stamped { probe: ticket.probe, stamp });
    }

    fn failed(&mut self, ticket: Ticket, now: Instant, reason: SendFailure) {
        self.counters.refused += 1;
        self.tell(ticket.job, now, Input::SendFailed { probe: ticket.probe, reason });
    }

    fn packet(&mut self, job: JobKey, now: Instant, packet: Packet<'_>) {
        self.counters.received += 1;
        self.tell(job, now, Input::Packet(packet));
    }

    fn unmatched(&mut self) {
        self.counters.unmatched += 1;
    }
}

/// The generation of the one with this number: what a key has room for.
fn generation(number: u64) -> u32 {
    u32::try_from(number & u64::from(u32::MAX)).unwrap_or(0)
}

/// Civil time that moves by more than this against the monotonic clock was set.
const STEP_NS: u64 = 1_000_000;
