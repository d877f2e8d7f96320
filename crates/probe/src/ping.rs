//! The echo measurement: requests at an interval, replies matched, duplicates and errors counted.
//!
//! Every probe ends in exactly one [`Fate`]. The measurement is over as soon as each probe has one, or when
//! enough replies are in; nothing is waited for that cannot change the result. Each request carries a keyed
//! cookie, so that a reply nobody's request caused is told apart.
//!
//! Begin with [`Spec`], then [`Ping`]; the records are in [`Sample`].

mod sample;
mod spec;

use crate::{
    cookie::Key,
    machine::{Input, Machine, Output},
    packet::{Body, Message, Packet, Probe, ProbeId, SendFailure},
    time::{Instant, Nanos, Stamp},
};

pub use sample::{Fate, IcmpReport, Reply, Sample, Unasked};
pub use spec::{MAX_COUNT, MAX_PAYLOAD_BYTES, Spec, SpecError};

/// The octets of a request's payload that carry its cookie; a shorter payload carries as much as it can.
pub const COOKIE_BYTES: usize = 8;

/// An echo measurement under way; see the module's head.
#[derive(Debug)]
pub struct Ping {
    spec: Spec,
    key: Key,
    probes: Vec<Entry>,
    unasked: Unasked,
    replied: u32,
    /// The slot of the next request on the schedule; nothing before the first poll.
    next_slot: Option<Instant>,
    /// The request that the driver was given and has not yet reported on.
    handed_out: Option<ProbeId>,
    /// Every entry before this one is settled.
    settled: usize,
    cancelled: bool,
    done: bool,
}

#[derive(Debug)]
struct Entry {
    sent: Option<Stamp>,
    deadline: Option<Instant>,
    fate: Option<Fate>,
    duplicates: u32,
    clock_stepped: bool,
}

impl Ping {
    /// A measurement that begins at its first poll. The key must be random and secret.
    pub fn new(spec: Spec, key: Key) -> Result<Self, SpecError> {
        spec.check()?;
        Ok(Self {
            spec,
            key,
            probes: Vec::new(),
            unasked: Unasked::default(),
            replied: 0,
            next_slot: None,
            handed_out: None,
            settled: 0,
            cancelled: false,
            done: false,
        })
    }

    /// What was asked.
    pub const fn spec(&self) -> &Spec {
        &self.spec
    }

    /// Whether the measurement is over.
    pub const fn is_done(&self) -> bool {
        self.done
    }

    /// The record of each probe that was begun, in the order of sending. A measurement that ran to its end
    /// has as many as were asked for; one that was cancelled, or stopped after enough replies, may have fewer.
    pub fn samples(&self) -> impl ExactSizeIterator<Item = Sample> + '_ {
        self.probes
            .iter()
            .enumerate()
            .map(|(seq, entry)| entry.sample(u32::try_from(seq).unwrap_or(u32::MAX)))
    }

    /// What came that no probe had asked for.
    pub const fn unasked(&self) -> &Unasked {
        &self.unasked
    }

    /// The payload of a probe: its cookie, then the fill.
    pub fn payload(&self, probe: ProbeId) -> Vec<u8> {
        let length = usize::from(self.spec.payload_bytes);
        let fill = self.spec.fill.iter().copied().cycle();
        let cookie = self.key.cookie(u64::from(probe.0));
        if self.spec.fill.is_empty() {
            return cookie.into_iter().chain(std::iter::repeat(0)).take(length).collect();
        }
        cookie.into_iter().chain(fill).take(length).collect()
    }

    fn packet(&mut self, packet: &Packet<'_>) {
        let Some(index) = self.index_of(packet.probe) else {
            self.unasked.unknown += 1;
            return;
        };
        match packet.message {
            Message::EchoReply { payload } => self.reply(index, packet, payload),
            Message::Error(error) => {
                let Some(verified) = self.quote_is_ours(packet.probe, error.quote.payload) else {
                    self.unasked.foreign += 1;
                    return;
                };
                let report =
                    IcmpReport { from: packet.from, kind: error.kind, received: packet.stamp, verified };
                self.error(index, report);
            }
            _ => self.unasked.foreign += 1,
        }
    }

    fn reply(&mut self, index: usize, packet: &Packet<'_>, payload: &[u8]) {
        if !self.cookie_is_ours(packet.probe, payload) {
            self.unasked.foreign += 1;
            return;
        }
        let timeout = self.spec.timeout;
        let Some(entry) = self.probes.get_mut(index) else { return };
        let reply = Reply { from: packet.from, received: packet.stamp, ttl: packet.ttl, bytes: packet.bytes };
        match entry.fate {
            Some(Fate::Replied(_) | Fate::Late(_)) => {
                entry.duplicates = entry.duplicates.saturating_add(1);
            }
            // A reply outdoes silence, and an error: the target did answer.
            None | Some(Fate::TimedOut | Fate::Error(_)) => {
                if entry.is_late(packet.stamp, timeout) {
                    entry.fate = Some(Fate::Late(reply));
                } else {
                    entry.fate = Some(Fate::Replied(reply));
                    self.replied += 1;
                }
            }
            Some(Fate::NotSent(_) | Fate::Cancelled) => self.unasked.unknown += 1,
        }
    }

    fn error(&mut self, index: usize, report: IcmpReport) {
        let Some(entry) = self.probes.get_mut(index) else { return };
        match entry.fate {
            // Silence with a reason is worth more than silence.
            None | Some(Fate::TimedOut) => entry.fate = Some(Fate::Error(report)),
            Some(Fate::Error(_) | Fate::Replied(_) | Fate::Late(_)) => {
                entry.duplicates = entry.duplicates.saturating_add(1);
            }
            Some(Fate::NotSent(_) | Fate::Cancelled) => self.unasked.unknown += 1,
        }
    }

    fn cookie_is_ours(&self, probe: ProbeId, payload: &[u8]) -> bool {
        let length = usize::from(self.spec.payload_bytes).min(COOKIE_BYTES);
        self.key.cookie(u64::from(probe.0)).get(..length) == payload.get(..length)
    }

    /// Whether a quoted payload is ours: yes and proven, yes as far as one can tell, or no (nothing).
    fn quote_is_ours(&self, probe: ProbeId, quoted: &[u8]) -> Option<bool> {
        let full = usize::from(self.spec.payload_bytes).min(COOKIE_BYTES);
        let length = quoted.len().min(full);
        let same = self.key.cookie(u64::from(probe.0)).get(..length) == quoted.get(..length);
        same.then_some(length == full && full > 0)
    }

    fn index_of(&self, probe: ProbeId) -> Option<usize> {
        let index = usize::try_from(probe.0).ok()?;
        (index < self.probes.len()).then_some(index)
    }

    fn send_failed(&mut self, probe: ProbeId, reason: SendFailure) {
        if self.handed_out == Some(probe) {
            self.handed_out = None;
        }
        if let Some(entry) = self.index_of(probe).and_then(|index| self.probes.get_mut(index)) {
            entry.fate.get_or_insert(Fate::NotSent(reason));
        }
    }

    fn sent(&mut self, probe: ProbeId, stamp: Stamp) {
        if self.handed_out == Some(probe) {
            self.handed_out = None;
        }
        let timeout = self.spec.timeout;
        if let Some(entry) = self.index_of(probe).and_then(|index| self.probes.get_mut(index)) {
            entry.sent = Some(stamp);
            entry.deadline = Some(stamp.at + timeout);
        }
    }

    /// Times out what is overdue; returns the earliest deadline that is still to come.
    fn expire(&mut self, now: Instant) -> Option<Instant> {
        let mut earliest: Option<Instant> = None;
        for entry in self.probes.iter_mut().skip(self.settled) {
            if entry.fate.is_some() {
                continue;
            }
            match entry.deadline {
                Some(deadline) if deadline <= now => entry.fate = Some(Fate::TimedOut),
                Some(deadline) => {
                    earliest = Some(earliest.map_or(deadline, |other| other.min(deadline)));
                }
                None => {}
            }
        }
        let open = self.probes.iter().skip(self.settled).position(|entry| entry.fate.is_none());
        self.settled = open.map_or(self.probes.len(), |open| self.settled + open);
        earliest
    }

    fn all_begun(&self) -> bool {
        self.probes.len() >= usize::try_from(self.spec.count).unwrap_or(usize::MAX)
    }

    fn has_enough(&self) -> bool {
        self.spec.stop_after.is_some_and(|enough| self.replied >= enough)
    }

    fn finish(&mut self) -> Output {
        for entry in self.probes.iter_mut().skip(self.settled) {
            entry.fate.get_or_insert(Fate::Cancelled);
        }
        self.done = true;
        Output::Done
    }

    fn next_probe(&mut self, now: Instant, slot: Instant) -> Output {
        let id = ProbeId(u32::try_from(self.probes.len()).unwrap_or(u32::MAX));
        self.next_slot = Some(following_slot(slot, self.spec.interval, now));
        self.probes.push(Entry {
            sent: None,
            deadline: None,
            fate: None,
            duplicates: 0,
            clock_stepped: false,
        });
        self.handed_out = Some(id);
        let body = Body::Echo { payload: self.payload(id), checksum: None };
        Output::Send(Probe { ttl: self.spec.ttl, ..Probe::new(id, self.spec.target, body) })
    }
}

impl Machine for Ping {
    fn handle(&mut self, _now: Instant, input: Input<'_>) {
        if self.done {
            return;
        }
        match input {
            Input::Sent { probe, stamp, .. } | Input::Stamped { probe, stamp } => self.sent(probe, stamp),
            Input::SendFailed { probe, reason } => self.send_failed(probe, reason),
            Input::Packet(packet) => self.packet(&packet),
            Input::ClockStepped => {
                for entry in self.probes.iter_mut().skip(self.settled).filter(|entry| entry.fate.is_none()) {
                    entry.clock_stepped = true;
                }
            }
            Input::Overrun => {}
            Input::Cancel => self.cancelled = true,
        }
    }

    fn poll(&mut self, now: Instant) -> Output {
        if self.done {
            return Output::Done;
        }
        let deadline = self.expire(now);
        if self.cancelled || self.has_enough() {
            return self.finish();
        }
        if self.all_begun() {
            if self.settled == self.probes.len() {
                return self.finish();
            }
            return deadline.map_or(Output::Wait, Output::WaitUntil);
        }
        if self.handed_out.is_some() {
            // The site's limits hold the last request back: no further one until it has gone.
            return deadline.map_or(Output::Wait, Output::WaitUntil);
        }
        let slot = self.next_slot.unwrap_or(now);
        if slot <= now {
            return self.next_probe(now, slot);
        }
        Output::WaitUntil(deadline.map_or(slot, |deadline| deadline.min(slot)))
    }
}

impl Entry {
    fn is_late(&self, received: Stamp, timeout: Nanos) -> bool {
        let Some(sent) = self.sent else { return false };
        received.at.saturating_since(sent.at) > timeout
    }

    fn sample(&self, seq: u32) -> Sample {
        let fate = match self.fate {
            Some(fate) => fate,
            None => Fate::Cancelled,
        };
        Sample {
            seq,
            sent: self.sent,
            fate,
            rtt: fate.received().zip(self.sent).and_then(|(came, left)| came.at.checked_since(left.at)),
            duplicates: self.duplicates,
            clock_stepped: self.clock_stepped,
        }
    }
}

/// The slot after `slot` on the schedule. Slots that have passed by are left out rather than made up for in a
/// burst; those to come stay on the grid.
fn following_slot(slot: Instant, interval: Nanos, now: Instant) -> Instant {
    let next = slot + interval;
    match (now.checked_since(next), interval.0) {
        (None, _) => next,
        (Some(_), 0) => now,
        (Some(behind), interval) => next + Nanos(behind.0.div_ceil(interval).saturating_mul(interval)),
    }
}

#[cfg(test)]
mod tests;
