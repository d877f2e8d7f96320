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
        driver::job::{Hold, Outbox},
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
            let paid = if self.site_queue.is_empty() { self.pay(&probe, now) } else { Err(BEHIND_OTHERS) };
            match paid {
                Ok(()) => outbox.paid = true,
                Err(held) if held.wait == Nanos::MAX => {
                    self.jobs.refuse(key, probe.id, SendFailure::Forbidden);
                    return;
                }
                Err(held) => {
                    outbox.hold = Some(self.hold(key, held, now));
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
            outbox.hold = Some(self.hold_until(key, now + after));
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

    fn hold(&mut self, key: JobKey, held: Held, now: Instant) -> Hold {
        // The limits may change meanwhile: never wait long on an old answer.
        let until = now + held.wait.min(LONGEST_HOLD);
        match held.by {
            Limit::Target => self.hold_until(key, until),
            Limit::Site => {
                if self.site_queue.is_empty() {
                    self.site_opens = until;
                }
                self.site_queue.push_back(key);
                Hold::Site
            }
        }
    }

    fn hold_until(&mut self, key: JobKey, until: Instant) -> Hold {
        self.alarms.push(Reverse((until, key)));
        Hold::Until(until)
    }

    /// Lets those go whom the site's limit lets go now, in the order in which they came.
    pub(super) fn serve_site_queue(&mut self, now: Instant) {
        if now < self.site_opens {
            return;
        }
        while let Some(key) = self.site_queue.front().copied() {
            let waiting = self.jobs.running_job(key).and_then(|job| job.outbox.as_mut());
            let Some(outbox) = waiting.filter(|outbox| outbox.hold == Some(Hold::Site)) else {
                self.site_queue.pop_front();
                continue;
            };
            let Some(probe) = outbox.queue.front() else {
                self.site_queue.pop_front();
                continue;
            };
            let bytes = u64::try_from(packet_bytes(probe)).unwrap_or(u64::MAX);
            match self.page.take(now, probe.destination, 1, bytes) {
                Ok(()) => {
                    outbox.hold = None;
                    outbox.paid = true;
                    self.site_queue.pop_front();
                    self.jobs.mark(key);
                }
                Err(held) if held.wait == Nanos::MAX => {
                    outbox.hold = None;
                    let refused = outbox.queue.pop_front().map(|probe| probe.id);
                    self.site_queue.pop_front();
                    if let Some(probe) = refused {
                        self.jobs.refuse(key, probe, SendFailure::Forbidden);
                    }
                }
                Err(held) if held.by == Limit::Site => {
                    // Where many wait, a few may go together: the bucket has kept what they are due.
                    let together = held.wait.max(self.gathering());
                    self.site_opens = now + together.min(LONGEST_HOLD);
                    return;
                }
                Err(held) => {
                    self.site_queue.pop_front();
                    let until = self.hold_until(key, now + held.wait.min(LONGEST_HOLD));
                    if let Some(outbox) = self.jobs.find(key).and_then(|job| job.outbox.as_mut()) {
                        outbox.hold = Some(until);
                    }
                }
            }
        }
    }

    /// How long to let those gather whom the site's limit holds back, so that one call sends several: the time that so
    /// many take at the site's rate, and never longer than the bucket holds.
    fn gathering(&self) -> Nanos {
        let together = u64::try_from(self.site_queue.len()).unwrap_or(0).min(GATHERED);
        if together < 2 {
            return Nanos::ZERO;
        }
        let rate = self.page.limits().packets_per_s.max(1);
        Nanos(together.saturating_mul(1_000_000_000) / rate).min(LONGEST_GATHERING)
    }
}

/// How often a packet is tried while the system has no room.
const MAX_TRIES: u32 = 50;
/// How long to wait for a key when all are in use.
const KEYS_AFTER: Nanos = Nanos::from_millis(10);
/// The longest time to trust an answer of the page that says to wait.
const LONGEST_HOLD: Nanos = Nanos::from_millis(250);
/// Who comes while others wait for the site's limit waits behind them.
const BEHIND_OTHERS: Held = Held { wait: Nanos::ZERO, by: Limit::Site };
/// How many probes to let gather, and how long: a tenth of what the bucket holds.
const GATHERED: u64 = 16;
const LONGEST_GATHERING: Nanos = Nanos::from_millis(1);
