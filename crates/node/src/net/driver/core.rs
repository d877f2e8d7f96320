//! The driver's state: which machines there are, when each wants to be asked, and whose turn it is. Nothing
//! here waits. What leaves is in [`outgoing`], what comes in [`incoming`].

mod incoming;
mod outgoing;

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, VecDeque},
    io,
    os::fd::{AsFd, OwnedFd},
    sync::Arc,
};

use mmn_probe::{
    conditions::{Conditions, Lane},
    machine::{Input, Output},
    time::{Instant, StampSource},
};
use rustix::time::{Itimerspec, TimerfdTimerFlags, Timespec, timerfd_settime};
use tokio::io::unix::AsyncFd;

use super::{
    Config, DriveError,
    job::{Hold, Job, JobKey, Task},
    link::Link,
};
use crate::{
    clock,
    net::{
        icmp::{Buffer, EchoSocket, Mode},
        page::Page,
    },
};

/// What a driver has counted since it was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counters {
    /// Probes that left.
    pub sent: u64,
    /// Probes that the system refused.
    pub refused: u64,
    /// Packets given to a machine.
    pub received: u64,
    /// Packets that belong to no probe under way.
    pub unmatched: u64,
    /// Packets that the kernel dropped because a socket's buffer was full: losses here, not in the network.
    /// As the kernel counts them, and as far as it tells: some versions count a raw socket's twice, and a
    /// datagram socket's not at all.
    pub overrun: u64,
    /// How often civil time was set.
    pub clock_steps: u64,
}

#[derive(Debug)]
pub(super) struct Core {
    config: Config,
    page: Arc<Page>,
    timer: Arc<AsyncFd<OwnedFd>>,
    /// What the timer is set to.
    armed: Option<Instant>,
    links: Vec<Link>,
    jobs: Vec<Option<Job>>,
    vacant: Vec<usize>,
    running: usize,
    generation: u64,
    alarms: BinaryHeap<Reverse<(Instant, JobKey)>>,
    /// Those whom the site's limit holds back, in order, and when the first may try again.
    site_queue: VecDeque<JobKey>,
    site_opens: Instant,
    /// Jobs to be polled, in turn.
    dirty: VecDeque<JobKey>,
    /// How many probes may still be sent before others than this driver get their turn.
    budget: usize,
    /// How many probes were sent since their socket was read.
    unread: usize,
    /// Room to read into; taken while it is being read into.
    buffer: Option<Buffer>,
    /// How far civil time was ahead of the monotonic clock when last looked at.
    pub(super) distance_ns: i64,
    counters: Counters,
}

impl Core {
    pub(super) fn new(page: Arc<Page>, timer: Arc<AsyncFd<OwnedFd>>, config: Config) -> Self {
        Self {
            config,
            page,
            timer,
            armed: None,
            links: Vec::new(),
            jobs: Vec::new(),
            vacant: Vec::new(),
            running: 0,
            generation: 0,
            alarms: BinaryHeap::new(),
            site_queue: VecDeque::new(),
            site_opens: Instant(0),
            dirty: VecDeque::new(),
            budget: 0,
            unread: 0,
            buffer: None,
            distance_ns: clock::both().distance_ns(),
            counters: Counters::default(),
        }
    }

    pub(super) fn add_socket(&mut self, socket: Arc<AsyncFd<EchoSocket>>) -> io::Result<usize> {
        self.links.push(Link::new(socket, self.config.transmit_stamps)?);
        Ok(self.links.len() - 1)
    }

    pub(super) const fn counters(&self) -> Counters {
        self.counters
    }

    pub(super) const fn running(&self) -> usize {
        self.running
    }

    pub(super) fn start(&mut self, task: Box<dyn Task>) -> Result<JobKey, DriveError> {
        if self.running >= self.config.max_machines {
            return Err(DriveError::Full(self.running));
        }
        self.generation += 1;
        let job = Job::new(task, self.generation);
        let index = self.vacant.pop().unwrap_or(self.jobs.len());
        match self.jobs.get_mut(index) {
            Some(slot) => *slot = Some(job),
            None => self.jobs.push(Some(job)),
        }
        self.running += 1;
        let key = JobKey { index, generation: self.generation };
        self.mark(key);
        self.settle();
        Ok(key)
    }

    pub(super) fn cancel(&mut self, key: JobKey) {
        self.tell(key, clock::monotonic(), Input::Cancel);
        self.settle();
    }

    /// Drops a job, if it is still there.
    pub(super) fn forget(&mut self, key: JobKey) {
        drop(self.remove(key));
    }

    /// Reads what a socket has. Returns whether it has no more.
    pub(super) fn read(&mut self, index: usize) -> bool {
        let drained = self.drain(index);
        self.settle();
        drained
    }

    /// The timer has run out: what is due is done.
    pub(super) fn tick(&mut self) {
        self.armed = None;
        // First what came in time, then what is overdue.
        self.drain_all();
        let now = clock::monotonic();
        while let Some(Reverse((at, key))) = self.alarms.peek().copied() {
            if at > now {
                break;
            }
            self.alarms.pop();
            let Some(job) = self.job(key) else { continue };
            if job.hold == Some(Hold::Until(at)) {
                job.hold = None;
                self.mark(key);
            } else if job.wake == Some(at) {
                job.wake = None;
                self.mark(key);
            }
        }
        self.serve_site_queue(now);
        self.settle();
    }

    fn job(&mut self, key: JobKey) -> Option<&mut Job> {
        self.jobs.get_mut(key.index)?.as_mut().filter(|job| job.generation == key.generation)
    }

    fn mark(&mut self, key: JobKey) {
        if let Some(job) = self.job(key)
            && !job.dirty
        {
            job.dirty = true;
            self.dirty.push_back(key);
        }
    }

    fn tell(&mut self, key: JobKey, now: Instant, input: Input<'_>) {
        if let Some(job) = self.job(key) {
            job.task.machine().handle(now, input);
            self.mark(key);
        }
    }

    /// Polls every job that something happened to, then sets the timer. What is left of them when the budget
    /// is spent goes on as soon as the runtime has let others do their work.
    fn settle(&mut self) {
        self.budget = SENDS_AT_A_TIME;
        self.advance_all();
        if self.unread > 0 {
            // The stamps of what left are there by now, and from nearby the replies: the runtime need not wake for them.
            self.drain_sent();
            self.advance_all();
        }
        self.arm();
    }

    fn advance_all(&mut self) {
        while self.budget > 0
            && let Some(key) = self.dirty.pop_front()
        {
            if let Some(job) = self.job(key) {
                job.dirty = false;
                self.advance(key);
            }
        }
    }

    /// Asks a machine what to do until it has nothing to do now, or has had its turn.
    fn advance(&mut self, key: JobKey) {
        let mut turn = SENDS_PER_TURN;
        loop {
            self.flush(key);
            if turn == 0 || self.budget == 0 {
                self.mark(key);
                return;
            }
            turn -= 1;
            let now = clock::monotonic();
            let Some(job) = self.job(key) else { return };
            if job.outbox.len() >= MAX_OUTBOX {
                return;
            }
            match job.task.machine().poll(now) {
                Output::Send(probe) => job.outbox.push_back(probe),
                Output::WaitUntil(at) => {
                    if job.wake != Some(at) {
                        job.wake = Some(at);
                        self.alarms.push(Reverse((at, key)));
                    }
                    return;
                }
                Output::Wait => {
                    job.wake = None;
                    return;
                }
                Output::Done => {
                    if let Some(job) = self.remove(key) {
                        job.task.finish(self.conditions());
                    }
                    return;
                }
            }
        }
    }

    fn remove(&mut self, key: JobKey) -> Option<Job> {
        let slot = self.jobs.get_mut(key.index)?;
        let job = slot.take_if(|job| job.generation == key.generation)?;
        self.vacant.push(key.index);
        self.running -= 1;
        for (link, used) in &job.keys {
            if let Some(link) = self.links.get_mut(*link) {
                link.keys.take_back(*used, key);
            }
        }
        Some(job)
    }

    fn conditions(&self) -> Conditions {
        let raw = self.links.iter().any(|link| link.socket.get_ref().mode() == Mode::Raw);
        let sent_by = if self.config.transmit_stamps { StampSource::Kernel } else { StampSource::User };
        Conditions {
            lane: if raw { Lane::Precise } else { Lane::Unprivileged },
            sent_by,
            received_by: StampSource::Kernel,
            rtt_error_ns: None,
            clock: None,
        }
    }

    /// Sets the timer to what is due next, unless it will ring before that anyway.
    fn arm(&mut self) {
        self.tidy_alarms();
        let alarm = self.alarms.peek().map(|Reverse((at, _))| *at);
        let site = (!self.site_queue.is_empty()).then_some(self.site_opens);
        let rest = (!self.dirty.is_empty()).then_some(Instant(0));
        let Some(next) = alarm.into_iter().chain(site).chain(rest).min() else { return };
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
            && !self.is_awaited(at, key)
        {
            self.alarms.pop();
        }
        if self.alarms.len() <= 1024 + 4 * self.running {
            return;
        }
        let mut alarms = std::mem::take(&mut self.alarms);
        alarms.retain(|Reverse((at, key))| self.is_awaited(*at, *key));
        self.alarms = alarms;
    }

    fn is_awaited(&mut self, at: Instant, key: JobKey) -> bool {
        self.job(key).is_some_and(|job| job.wake == Some(at) || job.hold == Some(Hold::Until(at)))
    }
}

/// How many probes of one machine may wait to be sent; it is not asked for more meanwhile.
const MAX_OUTBOX: usize = 16;
/// How many probes are sent before the runtime gets its turn, and how many of one machine before the next
/// machine gets its turn.
const SENDS_AT_A_TIME: usize = 128;
const SENDS_PER_TURN: usize = 16;
