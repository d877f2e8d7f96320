//! From a machine's outbox to the wire: the page's limits, the queues of those it holds back, and sending.

use std::{cmp::Reverse, net::IpAddr};

use mmn_probe::{
    machine::Input,
    packet::{Body, Departure, Identity, Probe, SendFailure},
    time::{Instant, Nanos, Stamp},
    wire::icmp::{Echo, Family},
};

use super::Core;
use crate::{
    clock,
    net::{
        driver::{
            job::{Hold, JobKey},
            keys::Owner,
            link::Refusal,
        },
        page::{Held, Limit},
        stamps::user_stamp,
    },
};

impl Core {
    /// Sends what a job has to send, until something holds it back.
    pub(super) fn flush(&mut self, key: JobKey) {
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
                Ok(stamp) => {
                    self.conclude(key, &probe, Ok(stamp));
                    if self.unread >= SENDS_PER_READ {
                        // Replies to a burst must not wait in a socket until its buffer is full.
                        self.drain_all();
                    }
                }
                Err(Refusal::Failed(reason)) => self.conclude(key, &probe, Err(reason)),
                Err(Refusal::NoKey) => {
                    self.hold_until(key, now + KEYS_AFTER);
                    return;
                }
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
                let identity = Identity { selector: 0, tag: 1 };
                let departure = Departure { source: None, identity, ip_id: None, bytes: 0 };
                self.tell(key, now, Input::Sent { probe: probe.id, stamp, departure });
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
        let Body::Echo { payload, .. } = &probe.body else { return Ok(()) };
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
    pub(super) fn serve_site_queue(&mut self, now: Instant) {
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
        let Body::Echo { payload, .. } = &probe.body else {
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
            return Err(if any { Refusal::NoKey } else { Refusal::Failed(SendFailure::NoSocket) });
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
                    self.budget = self.budget.saturating_sub(1);
                    self.unread += 1;
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
}

/// After how many probes the sockets are read.
const SENDS_PER_READ: usize = 32;
/// How often a packet is tried against errors that may be another packet's.
const SEND_ATTEMPTS: usize = 3;
/// How often, and how long apart, a packet is tried while the system has no room.
const MAX_TRIES: u32 = 50;
const RETRY_AFTER: Nanos = Nanos::from_millis(1);
/// How long to wait for a key when all are in use.
const KEYS_AFTER: Nanos = Nanos::from_millis(10);
/// The longest time to trust an answer of the page that says to wait.
const LONGEST_HOLD: Nanos = Nanos::from_millis(250);
