//! The driver's state and every step on it. Nothing here waits.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, VecDeque},
    io,
    net::IpAddr,
    os::fd::{AsFd, OwnedFd},
    sync::Arc,
};

use mmn_probe::{
    machine::{Body, Input, Message, Output, Packet, Probe, SendFailure},
    time::{Instant, Nanos, Stamp, StampSource, Utc},
    wire::icmp::{Echo, Family},
};
use rustix::time::{Itimerspec, TimerfdTimerFlags, Timespec, timerfd_settime};
use tokio::io::unix::AsyncFd;

use super::{
    Config, DriveError,
    job::{Hold, Job, JobKey, Task},
    keys::Owner,
    link::{Link, Refusal},
};
use crate::{
    clock::{self, Reading},
    net::{
        icmp::{Arrival, Buffer, Content, EchoSocket, Received},
        page::{Held, Limit, Page},
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
    /// Jobs to be polled.
    dirty: Vec<JobKey>,
    /// Room to read into; taken while it is being read into.
    buffer: Option<Buffer>,
    /// How far civil time was ahead of the monotonic clock when last looked at.
    distance_ns: i64,
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
            dirty: Vec::new(),
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
        for index in 0..self.links.len() {
            self.drain(index);
        }
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
            self.dirty.push(key);
        }
    }

    fn tell(&mut self, key: JobKey, now: Instant, input: Input<'_>) {
        if let Some(job) = self.job(key) {
            job.task.machine().handle(now, input);
            self.mark(key);
        }
    }

    /// Polls every job that something happened to, then sets the timer.
    fn settle(&mut self) {
        while let Some(key) = self.dirty.pop() {
            if let Some(job) = self.job(key) {
                job.dirty = false;
                self.advance(key);
            }
        }
        self.arm();
    }

    /// Asks a machine what to do until it has nothing to do now.
    fn advance(&mut self, key: JobKey) {
        loop {
            self.flush(key);
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
                        job.task.finish();
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

    /// Sends what a job has to send, until something holds it back.
    fn flush(&mut self, key: JobKey) {
        loop {
            let Some(job) = self.job(key) else { return };
            if job.hold.is_some() {
                return;
            }
            let Some(probe) = job.outbox.front().cloned() else { return };
            let (paid, tries) = (job.paid, job.tries);
            let now = clock::monotonic();
            if !paid {
                if !self.site_queue.is_empty() {
                    self.queue(key);
                    return;
                }
                match self.pay(&probe, now) {
                    Ok(()) => self.set_paid(key),
                    Err(held) if held.wait == Nanos::MAX => {
                        self.conclude(key, &probe, Err(SendFailure::Forbidden));
                        continue;
                    }
                    Err(held) => {
                        self.hold(key, held, now);
                        return;
                    }
                }
            }
            match self.send(key, &probe) {
                Ok(stamp) => self.conclude(key, &probe, Ok(stamp)),
                Err(Refusal::Failed(reason)) => self.conclude(key, &probe, Err(reason)),
                Err(Refusal::Busy) if tries >= MAX_TRIES => {
                    self.conclude(key, &probe, Err(SendFailure::Overrun));
                }
                Err(Refusal::Busy) => {
                    self.hold_until(key, now + RETRY_AFTER);
                    if let Some(job) = self.job(key) {
                        job.tries += 1;
                    }
                    return;
                }
            }
        }
    }

    fn set_paid(&mut self, key: JobKey) {
        if let Some(job) = self.job(key) {
            job.paid = true;
        }
    }

    /// The first probe of a job's outbox is gone, one way or the other.
    fn conclude(&mut self, key: JobKey, probe: &Probe, outcome: Result<Stamp, SendFailure>) {
        if let Some(job) = self.job(key) {
            job.outbox.pop_front();
            job.paid = false;
            job.tries = 0;
        }
        let now = clock::monotonic();
        match outcome {
            Ok(stamp) => {
                self.counters.sent += 1;
                self.tell(key, now, Input::Sent { probe: probe.id, stamp });
            }
            Err(reason) => {
                self.counters.refused += 1;
                self.tell(key, now, Input::SendFailed { probe: probe.id, reason });
            }
        }
    }

    fn pay(&self, probe: &Probe, now: Instant) -> Result<(), Held> {
        let header = match probe.destination {
            IpAddr::V4(_) => 20,
            IpAddr::V6(_) => 40,
        };
        let Body::Echo { payload } = &probe.body else { return Ok(()) };
        let bytes = u64::try_from(header + 8 + payload.len()).unwrap_or(u64::MAX);
        self.page.take(now, probe.destination, 1, bytes)
    }

    fn hold(&mut self, key: JobKey, held: Held, now: Instant) {
        // The limits may change meanwhile: never wait long on an old answer.
        let until = now + held.wait.min(LONGEST_HOLD);
        match held.by {
            Limit::Target => self.hold_until(key, until),
            Limit::Site => {
                self.site_opens = until;
                self.queue(key);
            }
        }
    }

    fn hold_until(&mut self, key: JobKey, until: Instant) {
        if let Some(job) = self.job(key) {
            job.hold = Some(Hold::Until(until));
            self.alarms.push(Reverse((until, key)));
        }
    }

    fn queue(&mut self, key: JobKey) {
        if let Some(job) = self.job(key) {
            job.hold = Some(Hold::Site);
            self.site_queue.push_back(key);
        }
    }

    /// Lets those go whom the site's limit lets go now, in the order in which they came.
    fn serve_site_queue(&mut self, now: Instant) {
        if now < self.site_opens {
            return;
        }
        while let Some(key) = self.site_queue.front().copied() {
            let Some(job) = self.job(key) else {
                self.site_queue.pop_front();
                continue;
            };
            let Some(probe) = job.outbox.front().cloned() else {
                job.hold = None;
                self.site_queue.pop_front();
                continue;
            };
            match self.pay(&probe, now) {
                Err(held) if held.by == Limit::Site && held.wait != Nanos::MAX => {
                    self.site_opens = now + held.wait.min(LONGEST_HOLD);
                    return;
                }
                outcome => {
                    self.site_queue.pop_front();
                    if let Some(job) = self.job(key) {
                        job.hold = None;
                        job.paid = outcome.is_ok();
                    }
                    match outcome {
                        Ok(()) => self.mark(key),
                        Err(held) if held.wait == Nanos::MAX => {
                            self.conclude(key, &probe, Err(SendFailure::Forbidden));
                        }
                        Err(held) => self.hold(key, held, now),
                    }
                }
            }
        }
    }

    fn send(&mut self, key: JobKey, probe: &Probe) -> Result<Stamp, Refusal> {
        let Body::Echo { payload } = &probe.body else {
            return Err(Refusal::Failed(SendFailure::NoSocket));
        };
        let family = Family::of(probe.destination);
        let owner = Owner { job: key, probe: probe.id, since: clock::monotonic() };
        let mut room = None;
        let mut any = false;
        for (index, link) in self.links.iter_mut().enumerate().filter(|(_, link)| link.family() == family) {
            any = true;
            room = link.keys.give(owner).map(|given| (index, given));
            if room.is_some() {
                break;
            }
        }
        let Some((index, (used, id, seq))) = room else {
            return Err(if any { Refusal::Busy } else { Refusal::Failed(SendFailure::NoSocket) });
        };
        let outcome = self.send_on(index, key, probe, &Echo { id, seq, payload });
        match (&outcome, self.job(key)) {
            (Ok(_), Some(job)) => job.keys.push((index, used)),
            _ => {
                if let Some(link) = self.links.get_mut(index) {
                    link.keys.take_back(used, key);
                }
            }
        }
        outcome
    }

    fn send_on(
        &mut self,
        index: usize,
        key: JobKey,
        probe: &Probe,
        echo: &Echo<'_>,
    ) -> Result<Stamp, Refusal> {
        let mut refusal = Refusal::Failed(SendFailure::NoSocket);
        // A datagram socket reports an error about an earlier packet by failing the next call. So the error
        // queue is read, which clears it, and the packet is tried again.
        for _ in 0..SEND_ATTEMPTS {
            let Some(link) = self.links.get_mut(index) else { break };
            let socket = link.socket.clone();
            let before = clock::both();
            match socket.get_ref().send(probe.destination, probe.ttl, echo) {
                Ok(()) => {
                    link.sent(key, probe.id, before.at);
                    return Ok(user_stamp(before));
                }
                Err(error) => refusal = link.refused(&error),
            }
            if refusal == Refusal::Busy {
                break;
            }
            self.drain_errors(index);
            let _ = socket.get_ref().take_error();
        }
        Err(refusal)
    }

    fn drain(&mut self, index: usize) -> bool {
        self.drain_errors(index);
        let Some(socket) = self.links.get(index).map(|link| link.socket.clone()) else { return true };
        let mut buffer = self.buffer.take().unwrap_or_default();
        let mut drained = false;
        for _ in 0..MAX_BATCH {
            match socket.get_ref().receive(&mut buffer) {
                Ok(Some(Received::Packet(arrival))) => self.arrived(index, &arrival),
                Ok(Some(_)) => self.counters.unmatched += 1,
                Ok(None) => {
                    drained = true;
                    break;
                }
                // An error about an earlier packet, which the error queue tells better; reading cleared it.
                Err(_) => {}
            }
        }
        self.buffer = Some(buffer);
        drained
    }

    fn drain_errors(&mut self, index: usize) {
        let Some(socket) = self.links.get(index).map(|link| link.socket.clone()) else { return };
        let mut buffer = self.buffer.take().unwrap_or_default();
        for _ in 0..MAX_BATCH {
            match socket.get_ref().receive_error(&mut buffer) {
                Ok(Some(Received::Packet(arrival))) => self.arrived(index, &arrival),
                Ok(Some(Received::Transmitted { number, stamp })) => self.transmitted(index, number, stamp),
                Ok(Some(Received::Foreign)) => {}
                Ok(None) | Err(_) => break,
            }
        }
        self.buffer = Some(buffer);
    }

    fn arrived(&mut self, index: usize, arrival: &Arrival<'_>) {
        let (now, stepped) = self.read_clock();
        let Some(link) = self.links.get_mut(index) else { return };
        if let Some(dropped) = arrival.dropped {
            self.counters.overrun += u64::from(dropped.wrapping_sub(link.dropped));
            link.dropped = dropped;
        }
        let Some(owner) = link.keys.owner(arrival.id, arrival.seq) else {
            self.counters.unmatched += 1;
            return;
        };
        self.counters.received += 1;
        let message = match arrival.content {
            Content::EchoReply { payload } => Message::EchoReply { payload },
            Content::Error { kind, quoted_payload } => Message::Error { kind, quoted_payload },
        };
        let stamp = arrival.stamp.filter(|_| !stepped).and_then(|utc| kernel_stamp(now, utc));
        let packet = Packet {
            probe: owner.probe,
            from: arrival.from,
            stamp: stamp.unwrap_or(user_stamp(now)),
            ttl: arrival.ttl,
            bytes: arrival.bytes,
            message,
        };
        self.tell(owner.job, now.at, Input::Packet(packet));
    }

    fn transmitted(&mut self, index: usize, number: u32, stamp: Utc) {
        let (now, stepped) = self.read_clock();
        let Some(sent) = self.links.get_mut(index).and_then(|link| link.transmitted(number)) else { return };
        let Some(stamp) = kernel_stamp(now, stamp).filter(|_| !stepped) else { return };
        // A stamp from before the packet was handed over belongs to another packet.
        if stamp.at + STAMP_SLACK >= sent.handed {
            self.tell(sent.job, now.at, Input::Sent { probe: sent.probe, stamp });
        }
    }

    /// Reads both clocks; returns whether civil time was set since they were last read, and tells everybody.
    fn read_clock(&mut self) -> (Reading, bool) {
        let now = clock::both();
        let distance_ns = now.distance_ns();
        let stepped = distance_ns.abs_diff(self.distance_ns) > STEP_NS;
        self.distance_ns = distance_ns;
        if stepped {
            self.counters.clock_steps += 1;
            let keys: Vec<JobKey> = self
                .jobs
                .iter()
                .enumerate()
                .filter_map(|(index, job)| Some(JobKey { index, generation: job.as_ref()?.generation }))
                .collect();
            for key in keys {
                self.tell(key, now.at, Input::ClockStepped);
            }
        }
        (now, stepped)
    }

    /// Sets the timer to what is due next, unless it will ring before that anyway.
    fn arm(&mut self) {
        self.tidy_alarms();
        let alarm = self.alarms.peek().map(|Reverse((at, _))| *at);
        let site = (!self.site_queue.is_empty()).then_some(self.site_opens);
        let Some(next) = alarm.into_iter().chain(site).min() else { return };
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

    /// Alarms that nobody waits for any more are skipped when they ring; here they go when they are many.
    fn tidy_alarms(&mut self) {
        if self.alarms.len() <= 1024 + 4 * self.running {
            return;
        }
        let mut alarms = std::mem::take(&mut self.alarms);
        alarms.retain(|Reverse((at, key))| {
            self.job(*key).is_some_and(|job| job.wake == Some(*at) || job.hold == Some(Hold::Until(*at)))
        });
        self.alarms = alarms;
    }
}

fn user_stamp(now: Reading) -> Stamp {
    Stamp { at: now.at, utc: now.wall, source: StampSource::User }
}

/// A kernel's stamp in civil time, on both clocks. Nothing when it is too far away to be believed.
fn kernel_stamp(now: Reading, utc: Utc) -> Option<Stamp> {
    let age = now.wall.0.checked_sub(utc.0)?;
    if !(-STAMP_FUTURE_NS..=STAMP_PAST_NS).contains(&age) {
        return None;
    }
    let at = Instant(now.at.0.checked_add_signed(-age)?);
    Some(Stamp { at, utc, source: StampSource::Kernel })
}

/// How many probes of one machine may wait to be sent; it is not asked for more meanwhile.
const MAX_OUTBOX: usize = 16;
/// How many packets are read from a socket before others get their turn.
const MAX_BATCH: usize = 256;
/// How often a packet is tried against errors that may be another packet's.
const SEND_ATTEMPTS: usize = 3;
/// How often, and how long apart, a packet is tried while the system has no room.
const MAX_TRIES: u32 = 50;
const RETRY_AFTER: Nanos = Nanos::from_millis(1);
/// The longest time to trust an answer of the page that says to wait.
const LONGEST_HOLD: Nanos = Nanos::from_millis(250);
/// Civil time that moves by more than this against the monotonic clock was set.
const STEP_NS: u64 = 1_000_000;
/// How much earlier than its packet a transmit stamp may seem, for the inaccuracy of reading two clocks.
const STAMP_SLACK: Nanos = Nanos(20_000);
const STAMP_FUTURE_NS: i64 = 1_000_000;
const STAMP_PAST_NS: i64 = 10_000_000_000;
