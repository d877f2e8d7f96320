//! The driver's state: which machines there are, when each wants to be asked, and whose turn it is. Nothing
//! here waits. What leaves is in [`outgoing`], what comes in [`incoming`].

mod incoming;
mod lanes;
mod outgoing;

use std::{
    cmp::Reverse,
    collections::BinaryHeap,
    net::IpAddr,
    os::fd::{AsFd, OwnedFd},
    sync::{Arc, Mutex},
    task::{Context, Poll},
};

use mmn_kit::Driven;
use mmn_probe::{
    conditions::{Clock, Wish},
    machine::{Input, Output},
    time::{Instant, Nanos},
};
use rustix::time::{Itimerspec, TimerfdTimerFlags, Timespec, timerfd_settime};
use tokio::io::unix::AsyncFd;

use self::lanes::Rate;
use super::{
    Config, Counters, Done, DriveError,
    job::{End, Hold, Job, NEVER},
    jobs::Jobs,
    waiting::Waiting,
};
use crate::{
    clock,
    net::{
        bulk::Detour,
        carrier::{Carrier, JobKey, Progress},
        page::Page,
    },
};

#[derive(Debug)]
pub(super) struct Core {
    config: Config,
    page: Arc<Page>,
    timer: Arc<AsyncFd<OwnedFd>>,
    /// What the timer is set to.
    armed: Option<Instant>,
    carriers: Vec<Box<dyn Carrier>>,
    detour: Option<Arc<Mutex<Detour>>>,
    pub(super) jobs: Jobs,
    alarms: BinaryHeap<Reverse<(Instant, JobKey)>>,
    /// Those whom the site's limits hold back.
    waiting: Waiting,
    /// When to try again to send what the system had no room for.
    retry: Option<Instant>,
    /// How many probes may still be sent before others than this driver get their turn.
    budget: usize,
    rate: Rate,
    /// What the kernel has said of the civil clock, and how long that is good.
    clock: Option<(Instant, Option<Clock>)>,
}

impl Core {
    pub(super) fn new(page: Arc<Page>, timer: Arc<AsyncFd<OwnedFd>>, config: Config) -> Self {
        Self {
            config,
            page,
            timer,
            armed: None,
            carriers: Vec::new(),
            detour: None,
            jobs: Jobs::new(),
            alarms: BinaryHeap::new(),
            waiting: Waiting::default(),
            retry: None,
            budget: 0,
            rate: Rate::default(),
            clock: None,
        }
    }

    /// Adds a carrier. Returns its number.
    pub(super) fn add_carrier(&mut self, mut carrier: Box<dyn Carrier>) -> usize {
        carrier.set_detour(self.detour.as_ref());
        self.carriers.push(carrier);
        self.carriers.len() - 1
    }

    /// Probes that name a router leave by this, or not at all.
    pub(super) fn set_detour(&mut self, detour: Option<Arc<Mutex<Detour>>>) {
        self.detour = detour;
        for carrier in &mut self.carriers {
            carrier.set_detour(self.detour.as_ref());
        }
    }

    pub(super) const fn counters(&self) -> Counters {
        self.jobs.counters
    }

    pub(super) const fn running(&self) -> usize {
        self.jobs.running()
    }

    /// Whether one that begins now could send to a target by then.
    pub(super) fn has_time(&self, target: IpAddr, deadline: Instant) -> Result<(), DriveError> {
        let Some(gap) = self.page.target_gap() else { return Ok(()) };
        let now = clock::monotonic();
        match self.waiting.earliest(|| self.page.cap_of(target), now, gap) {
            Some(earliest) if earliest > deadline => {
                let (after, late) = (earliest.saturating_since(now), earliest.saturating_since(deadline));
                Err(DriveError::NoTime { after, late })
            }
            _ => Ok(()),
        }
    }

    pub(super) fn start(&mut self, machine: Box<dyn Driven>, wish: Wish) -> Result<JobKey, DriveError> {
        self.begin(machine, wish, End::Open)
    }

    pub(super) fn start_for(
        &mut self,
        owner: u64,
        machine: Box<dyn Driven>,
        wish: Wish,
    ) -> Result<(), DriveError> {
        self.begin(machine, wish, End::Owned(owner)).map(|_| ())
    }

    /// Takes a machine out that was started for an owner and has ended.
    pub(super) fn take_ended(&mut self) -> Option<(u64, Done)> {
        while let Some(key) = self.jobs.ended.pop_front() {
            let conditions = self.conditions(key);
            if let Some(Job { machine, end: End::Ended(owner), .. }) = self.jobs.remove(key) {
                return Some((owner, (machine, conditions)));
            }
        }
        None
    }

    /// Drops the jobs of these owners.
    pub(super) fn forget_for(&mut self, which: impl Fn(u64) -> bool) -> Vec<Job> {
        let keys = self.jobs.of_owners(which);
        keys.into_iter().filter_map(|key| self.forget(key)).collect()
    }

    /// Tells the machines of these owners to stop, and takes out those that are done with what they have; the others are
    /// to be dropped.
    pub(super) fn stop_for(&mut self, which: impl Fn(u64) -> bool) -> (Vec<(u64, Done)>, Vec<Job>) {
        let (mut done, mut dropped) = (Vec::new(), Vec::new());
        let now = clock::monotonic();
        for key in self.jobs.of_owners(which) {
            let stopped = self.jobs.running_job(key).is_none_or(|job| {
                job.machine.handle(now, Input::Cancel);
                job.machine.poll(now) == Output::Done
            });
            self.release(key);
            let conditions = self.conditions(key);
            match self.jobs.remove(key) {
                Some(Job { machine, end: End::Owned(owner) | End::Ended(owner), .. }) if stopped => {
                    done.push((owner, (machine, conditions)));
                }
                job => dropped.extend(job),
            }
        }
        (done, dropped)
    }

    fn begin(&mut self, machine: Box<dyn Driven>, wish: Wish, end: End) -> Result<JobKey, DriveError> {
        if self.jobs.running() >= self.config.max_machines {
            return Err(DriveError::Full(self.jobs.running()));
        }
        self.check_wish(wish)?;
        let key = self.jobs.add(machine, wish, end)?;
        if self.rate.is_fast(clock::monotonic()) && self.jobs.dirty.len() < GATHERED {
            // Where very many are started their first probes share system calls.
            self.arm();
        } else {
            self.settle();
        }
        Ok(key)
    }

    pub(super) fn cancel(&mut self, key: JobKey) {
        self.jobs.tell(key, clock::monotonic(), Input::Cancel);
        self.settle();
    }

    pub(super) fn collect(&mut self, key: JobKey, context: &Context<'_>) -> Poll<Result<Done, DriveError>> {
        self.jobs.collect(key, context)
    }

    /// Drops a job, if it is still there.
    pub(super) fn forget(&mut self, key: JobKey) -> Option<Job> {
        self.release(key);
        self.jobs.remove(key)
    }

    /// Reads what a socket has. Returns whether it has no more.
    pub(super) fn read(&mut self, carrier: usize, index: usize) -> bool {
        let drained =
            self.carriers.get_mut(carrier).is_none_or(|carrier| carrier.read(index, &mut self.jobs));
        self.tell_overruns(false);
        self.settle();
        drained
    }

    /// The timer has run out: what is due is done.
    pub(super) fn tick(&mut self) {
        self.armed = None;
        // First what came in time, then what is overdue.
        self.catch_up();
        self.tell_overruns(true);
        let now = clock::monotonic();
        self.retry = self.retry.filter(|retry| *retry > now);
        while let Some(Reverse((at, key))) = self.alarms.peek().copied() {
            if at > now {
                break;
            }
            self.alarms.pop();
            let Some(job) = self.jobs.running_job(key) else { continue };
            if job.hold() == Some(Hold::Until(at)) {
                if let Some(outbox) = &mut job.outbox {
                    outbox.hold = None;
                }
                self.jobs.mark(key);
            } else if job.wake == at {
                job.wake = NEVER;
                self.jobs.mark(key);
            }
        }
        self.serve_waiting(now);
        self.settle();
    }

    /// Polls every job that something happened to, sends what they want sent, and reads what comes of it at once; then
    /// sets the timer. What is left of them when the budget is spent goes on as soon as the runtime has let others do
    /// their work.
    fn settle(&mut self) {
        self.budget = SENDS_AT_A_TIME;
        loop {
            self.advance_all();
            if self.send_all() {
                // The stamps of what left are there by now, and from nearby the replies: the runtime need not wake for
                // them.
                self.catch_up();
                self.tell_overruns(false);
            }
            if self.jobs.dirty.is_empty() || self.budget == 0 {
                break;
            }
        }
        self.arm();
    }

    fn advance_all(&mut self) {
        while self.budget > 0
            && let Some(key) = self.jobs.dirty.pop_front()
        {
            if let Some(job) = self.jobs.running_job(key) {
                job.dirty = false;
                self.advance(key);
            }
        }
    }

    /// Gives the carriers' batches to the system. Returns whether anything left.
    fn send_all(&mut self) -> bool {
        let mut sent = false;
        if self.retry.is_some() {
            return sent;
        }
        for carrier in &mut self.carriers {
            match carrier.send(&mut self.jobs) {
                Progress::Idle => {}
                Progress::Sent => sent = true,
                Progress::Blocked => {
                    sent = true;
                    self.retry = Some(clock::monotonic() + RETRY_AFTER);
                }
            }
        }
        sent
    }

    /// Asks a machine what to do until it has nothing to do now, or has had its turn.
    fn advance(&mut self, key: JobKey) {
        let mut turn = SENDS_PER_TURN;
        self.flush(key);
        loop {
            if turn == 0 || self.budget == 0 {
                self.jobs.mark(key);
                return;
            }
            let now = clock::monotonic();
            let Some(job) = self.jobs.running_job(key) else { return };
            if job.outbox.as_ref().is_some_and(|outbox| outbox.queue.len() >= MAX_OUTBOX) {
                return;
            }
            match job.machine.poll(now) {
                Output::Send(probe) => {
                    turn -= 1;
                    self.dispatch(key, probe);
                }
                Output::WaitUntil(at) => {
                    if job.wake != at {
                        job.wake = at;
                        self.alarms.push(Reverse((at, key)));
                    }
                    return;
                }
                Output::Wait => {
                    job.wake = NEVER;
                    return;
                }
                Output::Done => {
                    self.release(key);
                    if !self.jobs.end_owned(key) {
                        let conditions = self.conditions(key);
                        self.jobs.end(key, conditions);
                    }
                    return;
                }
            }
        }
    }

    /// Gives back the keys of a job, and its place among those that wait.
    fn release(&mut self, key: JobKey) {
        let Some(job) = self.jobs.find(key) else { return };
        if let Some(Hold::Limits(spot)) = job.hold() {
            self.waiting.leave(spot, key);
        }
        for (carrier, held) in std::mem::take(&mut job.keys).iter() {
            if let Some(carrier) = self.carriers.get_mut(usize::from(carrier)) {
                carrier.release(held, key);
            }
        }
    }

    /// Sets the timer to what is due next, unless it will ring before that anyway.
    fn arm(&mut self) {
        self.tidy_alarms();
        let alarm = self.alarms.peek().map(|Reverse((at, _))| *at);
        let waiting = self.waiting.due();
        let rest = (!self.jobs.dirty.is_empty()).then_some(Instant(0));
        let Some(next) = alarm.into_iter().chain(waiting).chain(rest).chain(self.retry).min() else { return };
        if self.armed.is_some_and(|armed| armed <= next) {
            return;
        }
        // Zero would stop the timer; an instant that has passed rings at once.
        let nanos = next.0.max(1);
        let it_value = Timespec {
            tv_sec: i64::try_from(nanos / 1_000_000_000).unwrap_or(i64::MAX),
            tv_nsec: i64::try_from(nanos % 1_000_000_000).unwrap_or(0),
        };
        let once = Itimerspec { it_interval: Timespec { tv_sec: 0, tv_nsec: 0 }, it_value };
        if timerfd_settime(self.timer.as_fd(), TimerfdTimerFlags::ABSTIME, &once).is_ok() {
            self.armed = Some(next);
        }
    }

    /// Alarms that nobody waits for any more: those that would ring next go at once, so that a measurement that ended
    /// early wakes nobody, and the others when they are many.
    fn tidy_alarms(&mut self) {
        while let Some(&Reverse((at, key))) = self.alarms.peek()
            && !is_awaited(&mut self.jobs, at, key)
        {
            self.alarms.pop();
        }
        if self.alarms.len() <= 1024 + 2 * self.jobs.running() {
            return;
        }
        let Self { alarms, jobs, .. } = self;
        alarms.retain(|Reverse((at, key))| is_awaited(jobs, *at, *key));
    }
}

fn is_awaited(jobs: &mut Jobs, at: Instant, key: JobKey) -> bool {
    jobs.running_job(key).is_some_and(|job| job.wake == at || job.hold() == Some(Hold::Until(at)))
}

/// How many probes of one machine may wait to be sent; it is not asked for more meanwhile.
const MAX_OUTBOX: usize = 16;
/// How many probes are sent before the runtime gets its turn, and how many of one machine before the next
/// machine gets its turn.
const SENDS_AT_A_TIME: usize = 128;
const SENDS_PER_TURN: usize = 16;
/// How many machines are started at a time while very many are.
const GATHERED: usize = 16;
/// How long to wait while the system has no room.
const RETRY_AFTER: Nanos = Nanos::from_millis(1);
