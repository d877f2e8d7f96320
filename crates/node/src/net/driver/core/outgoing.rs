//! From the machines to the carriers: the page's limits, the queues of those it holds back, and what waits for room.

use std::cmp::Reverse;

use mmn_probe::{
    packet::{Probe, SendFailure},
    time::{Instant, Nanos},
    wire::probe::packet_bytes,
};

use super::{Core, RETRY_AFTER};
use crate::{
    clock,
    net::{
        carrier::{JobKey, Order, Refusal, Ticket},
        driver::{
            job::{Hold, Outbox},
            waiting::{PLACE_IS_FOR, Rank, Spot},
        },
        page::{Held, Limit},
    },
};

impl Core {
    /// Sends a probe, or has it wait behind others of its machine.
    pub(super) fn dispatch(&mut self, key: JobKey, probe: Probe) {
        let waiting = self.jobs.find(key).and_then(|job| job.outbox.as_mut());
        if let Some(outbox) = waiting {
            outbox.queue.push_back(probe);
            return;
        }
        let mut outbox = Outbox::default();
        self.attempt(key, probe, &mut outbox);
        if !outbox.queue.is_empty()
            && let Some(job) = self.jobs.find(key)
        {
            job.outbox = Some(Box::new(outbox));
        }
    }

    /// Sends what a job has to send, until something holds it back.
    pub(super) fn flush(&mut self, key: JobKey) {
        let free = |outbox: &mut Box<Outbox>| outbox.hold.is_none();
        let outbox = self.jobs.running_job(key).and_then(|job| job.outbox.take_if(free));
        let Some(mut outbox) = outbox else { return };
        while outbox.hold.is_none()
            && let Some(probe) = outbox.queue.pop_front()
        {
            self.attempt(key, probe, &mut outbox);
        }
        if !outbox.queue.is_empty()
            && let Some(job) = self.jobs.find(key)
        {
            job.outbox = Some(outbox);
        }
    }

    /// Gives a probe to its carrier; or puts it back to the head of the outbox, with what it waits for.
    fn attempt(&mut self, key: JobKey, probe: Probe, outbox: &mut Outbox) {
        let now = clock::monotonic();
        if !outbox.paid {
            let rank = self.rank(key, &probe);
            let cap = || self.page.cap_of(probe.destination);
            if let Some(spot) = self.waiting.behind(cap, rank) {
                self.waiting.enter(spot, key, now);
                outbox.hold = Some(Hold::Limits(spot));
                outbox.queue.push_front(probe);
                return;
            }
            match self.pay(&probe, now) {
                Ok(()) => outbox.paid = true,
                Err(held) if held.wait == Nanos::MAX => {
                    self.jobs.refuse(key, probe.id, SendFailure::Forbidden);
                    return;
                }
                Err(held) => {
                    let spot = match held.by {
                        Limit::Site => Spot::Site(rank),
                        Limit::Target => Spot::Line(self.page.cap_of(probe.destination), rank),
                    };
                    self.waiting.enter(spot, key, until(held, now));
                    outbox.hold = Some(Hold::Limits(spot));
                    outbox.queue.push_front(probe);
                    return;
                }
            }
        }
        let again = match self.put(key, &probe, now) {
            Ok(()) => None,
            Err(Refusal::Failed(reason)) => {
                self.jobs.refuse(key, probe.id, reason);
                None
            }
            Err(Refusal::NoKey) => Some(KEYS_AFTER),
            Err(Refusal::Busy) if outbox.tries >= MAX_TRIES => {
                self.jobs.refuse(key, probe.id, SendFailure::Overrun);
                None
            }
            Err(Refusal::Busy) => {
                outbox.tries += 1;
                Some(RETRY_AFTER)
            }
        };
        if let Some(after) = again {
            let until = now + after;
            self.alarms.push(Reverse((until, key)));
            outbox.hold = Some(Hold::Until(until));
            outbox.queue.push_front(probe);
        } else {
            outbox.paid = false;
            outbox.tries = 0;
        }
    }

    fn put(&mut self, key: JobKey, probe: &Probe, now: Instant) -> Result<(), Refusal> {
        let (index, lane) = self.choose(key, probe, now).map_err(Refusal::Failed)?;
        let Some(job) = self.jobs.find(key) else { return Err(Refusal::Failed(SendFailure::NoSocket)) };
        let ticket = Ticket { job: key, probe: probe.id };
        let order = Order { ticket, lane, probe, base: job.base() };
        let Some(carrier) = self.carriers.get_mut(usize::from(index)) else {
            return Err(Refusal::Failed(SendFailure::NoSocket));
        };
        let holds = carrier.put(order, &mut self.jobs)?;
        if let Some(job) = self.jobs.find(key) {
            for held in holds.into_iter().flatten() {
                job.keys.push(index, held);
            }
        }
        self.rate.count(now);
        self.budget = self.budget.saturating_sub(1);
        Ok(())
    }

    fn pay(&self, probe: &Probe, now: Instant) -> Result<(), Held> {
        let bytes = u64::try_from(packet_bytes(probe)).unwrap_or(u64::MAX);
        self.page.take(now, probe.destination, 1, bytes)
    }

    /// Where a probe stands among those that wait.
    fn rank(&mut self, key: JobKey, probe: &Probe) -> Rank {
        if probe.id.0 < PLACE_IS_FOR {
            Rank::of_task(self.jobs.number(key))
        } else {
            self.waiting.anew(self.jobs.newest())
        }
    }

    /// Lets those go whom the site's limits let go now, in order.
    pub(super) fn serve_waiting(&mut self, now: Instant) {
        while let Some((spot, key)) = self.waiting.next(now) {
            let held = |outbox: &&mut Box<Outbox>| outbox.hold == Some(Hold::Limits(spot));
            let outbox = self.jobs.running_job(key).and_then(|job| job.outbox.as_mut());
            let Some(outbox) = outbox.filter(held) else {
                self.waiting.leave(spot, key);
                continue;
            };
            let Some(probe) = outbox.queue.front() else {
                self.waiting.leave(spot, key);
                outbox.hold = None;
                continue;
            };
            let target = probe.destination;
            if let Some(line) = self.waiting.line_instead(spot, || self.page.cap_of(target)) {
                // Others wait for its target already, perhaps some who came before.
                self.waiting.leave(spot, key);
                self.waiting.enter(line, key, now);
                outbox.hold = Some(Hold::Limits(line));
                continue;
            }
            let bytes = u64::try_from(packet_bytes(probe)).unwrap_or(u64::MAX);
            match self.page.take(now, target, 1, bytes) {
                Ok(()) => {
                    outbox.hold = None;
                    outbox.paid = true;
                    self.waiting.leave(spot, key);
                    self.jobs.mark(key);
                }
                Err(held) if held.wait == Nanos::MAX => {
                    outbox.hold = None;
                    let refused = outbox.queue.pop_front().map(|probe| probe.id);
                    self.waiting.leave(spot, key);
                    if let Some(probe) = refused {
                        self.jobs.refuse(key, probe, SendFailure::Forbidden);
                    }
                }
                Err(held) if held.by == Limit::Site => {
                    // Where many wait, a few may go together: the bucket has kept what they are due.
                    let together = held.wait.max(self.gathering());
                    self.waiting.close_site(until(Held { wait: together, ..held }, now));
                }
                Err(held) => {
                    let cap = self.page.cap_of(target);
                    let spot = self.waiting.close_line(spot, key, cap, until(held, now));
                    outbox.hold = Some(Hold::Limits(spot));
                }
            }
        }
    }

    /// How long to let those gather whom the site's limit holds back, so that one call sends several: the time that so
    /// many take at the site's rate, and never longer than the bucket holds.
    fn gathering(&self) -> Nanos {
        let together = u64::try_from(self.waiting.for_site()).unwrap_or(0).min(GATHERED);
        if together < 2 {
            return Nanos::ZERO;
        }
        let rate = self.page.limits().packets_per_s.max(1);
        Nanos(together.saturating_mul(1_000_000_000) / rate).min(LONGEST_GATHERING)
    }
}

/// When to ask the page again. The limits may change meanwhile: never wait long on an old answer.
fn until(held: Held, now: Instant) -> Instant {
    now + held.wait.min(LONGEST_HOLD)
}

/// How often a packet is tried while the system has no room.
const MAX_TRIES: u32 = 50;
/// How long to wait for a key when all are in use.
const KEYS_AFTER: Nanos = Nanos::from_millis(10);
/// The longest time to trust an answer of the page that says to wait.
const LONGEST_HOLD: Nanos = Nanos::from_millis(250);
/// How many probes to let gather, and how long: a tenth of what the bucket holds.
const GATHERED: u64 = 16;
const LONGEST_GATHERING: Nanos = Nanos::from_millis(1);
