//! The ping: probes on a schedule, replies matched, duplicates and errors counted.
//!
//! Probes are ICMP echo or timestamp requests, UDP datagrams or TCP segments ([`Method`]). Every probe ends in exactly
//! one [`Fate`]. The measurement is over as soon as each probe has one, or when enough replies are in; nothing is waited
//! for that cannot change the result, unless duplicates are asked for. Each payload carries a keyed cookie, so that a
//! reply nobody's probe caused is told apart; what has no payload is judged by its numbers (`judge`).
//!
//! Begin with [`Spec`], then [`Ping`]; the records are in [`Sample`].

mod judge;
pub mod options;
mod sample;
mod spec;
mod too_big;

use std::{collections::VecDeque, net::IpAddr, sync::Arc};

use crate::{
    cookie::Key,
    machine::{Input, Machine, Output},
    packet::{Body, Departure, Flow, Identity, Message, Packet, Probe, ProbeId, Report, SendFailure, UdpTag},
    schedule::Slots,
    time::{Instant, Nanos, Stamp, StampSource, Utc},
};

use judge::Verdict;
pub use sample::{Answer, Arrival, End, Fate, IcmpReport, Repeat, Reply, Sample, Unasked};
pub use spec::{MAX_COUNT, MAX_PAYLOAD_BYTES, Method, Spec, SpecError, TcpFields};

/// The octets of a probe's payload that carry its cookie; a shorter payload carries as much as it can.
pub const COOKIE_BYTES: usize = 8;

/// The most duplicates that are kept with their time; further ones are counted.
pub const MAX_REPEATS: usize = 256;

/// A ping under way; see the module's head. Very many may be: it is kept small.
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own, and machines are kept small")]
#[derive(Debug)]
pub struct Ping {
    spec: Arc<Spec>,
    target: IpAddr,
    key: Key,
    probes: Vec<Entry>,
    /// What few pings have.
    rare: Option<Box<Rare>>,
    replied: u32,
    slots: Slots,
    /// Whether the driver has not yet reported on the last probe.
    handed_out: bool,
    /// Every entry before this one is settled.
    settled: usize,
    /// The source of the probes, once it is known.
    source: Option<IpAddr>,
    /// Whether an unreachable port is an answer of the host to a datagram, or an error.
    unreachable_answers: bool,
    /// Datagrams come back that don't say which probe they answer.
    anonymous: bool,
    cancelled: bool,
    end: Option<End>,
}

#[derive(Debug, Default)]
struct Rare {
    repeats: Vec<Repeat>,
    extensions: Vec<(u32, Box<[u8]>)>,
    unasked: Unasked,
    /// The messages that replies were too big, and whether the driver has one that it has not yet reported on.
    too_big: VecDeque<Probe>,
    too_big_handed_out: bool,
    too_big_sent: u32,
    too_big_failed: Option<SendFailure>,
}

#[derive(Debug)]
struct Entry {
    /// When it left, on both clocks, and who says so: nobody before it has.
    left_at: Instant,
    left_utc: Utc,
    stamped_by: Option<StampSource>,
    identity: Identity,
    ip_id: Option<u16>,
    bytes: u32,
    duplicates: u32,
    fate: Option<Box<Fate>>,
    /// The receiver was overrun while it was under way.
    missed: bool,
    clock_stepped: bool,
}

impl Ping {
    /// A measurement that begins at its first poll. The key must be random and secret.
    pub fn new(spec: Spec, key: Key) -> Result<Self, SpecError> {
        let target = spec.target;
        Self::of_many(Arc::new(spec), target, key)
    }

    /// The same, for one of many targets that are asked alike: of this specification, but to this target.
    pub fn of_many(spec: Arc<Spec>, target: IpAddr, key: Key) -> Result<Self, SpecError> {
        spec.check(target)?;
        Ok(Self {
            target,
            key,
            probes: Vec::new(),
            rare: None,
            replied: 0,
            slots: Slots::new(spec.schedule),
            handed_out: false,
            settled: 0,
            source: None,
            unreachable_answers: true,
            anonymous: false,
            cancelled: false,
            end: None,
            spec,
        })
    }

    /// Takes an unreachable port for an error, as who wants an answer from what listens there does.
    pub(crate) fn wants_datagrams(mut self) -> Self {
        self.unreachable_answers = false;
        self
    }

    /// What was asked; of whom says [`Self::target`].
    pub fn spec(&self) -> &Spec {
        &self.spec
    }

    /// Where its probes go.
    pub const fn target(&self) -> IpAddr {
        self.target
    }

    /// Whether the measurement is over.
    pub const fn is_done(&self) -> bool {
        self.end.is_some()
    }

    /// How it ended; absent before.
    pub const fn end(&self) -> Option<End> {
        self.end
    }

    /// The source address of the probes, where the driver told.
    pub const fn source(&self) -> Option<IpAddr> {
        self.source
    }

    /// The record of each probe that was begun, in the order of sending. A measurement that ran to its end
    /// has as many as were asked for; one that was cancelled, or stopped after enough replies, may have fewer.
    pub fn samples(&self) -> impl ExactSizeIterator<Item = Sample> + '_ {
        self.probes.iter().enumerate().map(|(seq, entry)| self.sample(number(seq), entry))
    }

    /// The duplicates with their times, in the order of coming; at most [`MAX_REPEATS`].
    pub fn repeats(&self) -> &[Repeat] {
        self.rare.as_ref().map_or(&[], |rare| &rare.repeats)
    }

    /// What routers added to the errors about probes (the objects as they stand on the wire,
    /// [`crate::wire::extension`]), each with the probe's number: the first error's, of [`MAX_REPEATS`] probes at most.
    pub fn extensions(&self) -> &[(u32, Box<[u8]>)] {
        self.rare.as_ref().map_or(&[], |rare| &rare.extensions)
    }

    /// What came that no probe had asked for.
    pub fn unasked(&self) -> Unasked {
        self.rare.as_ref().map_or_else(Unasked::default, |rare| rare.unasked)
    }

    /// How many replies were answered by a message that they were too big.
    pub fn too_big_sent(&self) -> u32 {
        self.rare.as_ref().map_or(0, |rare| rare.too_big_sent)
    }

    /// Why such a message could not be sent.
    pub fn too_big_failed(&self) -> Option<SendFailure> {
        self.rare.as_ref().and_then(|rare| rare.too_big_failed)
    }

    /// The payload of a probe as the machine gives it to its driver: its cookie, then the fill.
    pub fn payload(&self, probe: ProbeId) -> Vec<u8> {
        if let Some(payload) = &self.spec.payload {
            return payload.to_vec();
        }
        let length = self.spec.payload_length();
        if length == 0 {
            return Vec::new();
        }
        let fill = self.spec.fill.iter().copied().cycle();
        let cookie = self.key.cookie(u64::from(probe.0));
        let mut payload = Vec::with_capacity(length);
        payload.extend(cookie.into_iter().chain(fill).take(length));
        payload.resize(length, 0);
        payload
    }

    /// The destination port of a probe; absent where it has none.
    pub fn destination_port(&self, probe: ProbeId) -> Option<u16> {
        let method = self.spec.method;
        let has_ports = method.is_udp() || method.tcp_flags().is_some();
        let grown = if method == spec::Method::UdpDport { low(probe.0) } else { 0 };
        has_ports.then(|| self.spec.port.wrapping_add(grown))
    }

    fn probe(&self, id: ProbeId) -> Probe {
        let spec = &self.spec;
        let step = if spec.method.varies_source_port() { low(id.0) } else { 0 };
        let port = self.destination_port(id).unwrap_or(0);
        let payload = self.payload(id);
        let tcp = spec.tcp();
        let body = match spec.method {
            Method::Icmp => Body::Echo { payload, checksum: spec.icmp_checksum },
            Method::IcmpTimestamp => Body::Timestamp,
            Method::Udp => Body::Udp { port, payload, tag: UdpTag::Checksum },
            Method::UdpDport | Method::UdpSport => Body::Udp { port, payload, tag: UdpTag::Ports },
            method => Body::Tcp {
                port,
                flags: method.tcp_flags().unwrap_or(0),
                seq: tcp.seq,
                ack: if method == Method::TcpRst { tcp.ack.or(Some(0)) } else { tcp.ack },
                mss: tcp.mss,
                payload,
            },
        };
        Probe {
            source: spec.source,
            ttl: spec.ttl,
            tos: spec.tos,
            dont_fragment: spec.dont_fragment,
            router: spec.router,
            ip_options: spec.ip_option.as_ref().map_or(Vec::new(), |option| option.encode()),
            flow: Flow { number: step, selector: spec.selector.map(|first| first.wrapping_add(step)) },
            ..Probe::new(id, self.target, body)
        }
    }

    /// Takes a packet. Returns the number of the probe that it replies to, the first reply or a further one.
    pub(crate) fn packet(&mut self, packet: &Packet<'_>) -> Option<u32> {
        let Some(index) = self.owner(packet) else {
            self.rare().unasked.unknown += 1;
            return None;
        };
        match self.judge(index, packet) {
            Verdict::Reply(answer) => {
                self.anonymous |= self.is_anonymous(index, packet);
                self.weigh(index, packet);
                self.reply(index, Reply { arrival: packet.into(), answer });
                return Some(number(index));
            }
            Verdict::Error(report) => {
                let fate = self.probes.get(index).map(|entry| entry.fate.as_deref());
                let is_first = matches!(fate, Some(None | Some(Fate::TimedOut | Fate::Overrun)));
                if let Message::Error(Report { extensions, .. }) = packet.message
                    && is_first
                {
                    self.extended(number(index), extensions);
                }
                self.error(index, report);
            }
            Verdict::Foreign => self.rare().unasked.foreign += 1,
        }
        None
    }

    /// A reply that is larger than the pseudo-MTU is answered. No other host than the target is told anything.
    fn weigh(&mut self, index: usize, packet: &Packet<'_>) {
        let Some(mtu) = self.spec.pseudo_mtu else { return };
        let (Message::EchoReply { payload }, Some(entry), Some(source)) =
            (packet.message, self.probes.get(index), self.source)
        else {
            return;
        };
        if packet.from == self.target && too_big::ip_bytes(packet) > usize::from(mtu) {
            let message = too_big::about(packet, payload, entry.identity, source, mtu);
            let router = self.spec.router;
            self.rare().too_big.extend(message.map(|message| Probe { router, ..message }));
        }
    }

    fn reply(&mut self, index: usize, reply: Reply) {
        let timeout = self.spec.timeout;
        let Some(entry) = self.probes.get_mut(index) else { return };
        match entry.fate.as_deref() {
            Some(Fate::Replied(_) | Fate::Late(_)) => self.repeat(index, &reply.arrival),
            // A reply outdoes silence, and an error: the target did answer.
            None | Some(Fate::TimedOut | Fate::Overrun | Fate::Error(_)) => {
                if entry.is_late(reply.arrival.received, timeout) {
                    entry.settle(Fate::Late(reply));
                } else {
                    entry.settle(Fate::Replied(reply));
                    self.replied += 1;
                }
            }
            Some(Fate::NotSent(_) | Fate::Cancelled) => self.rare().unasked.unknown += 1,
        }
    }

    fn error(&mut self, index: usize, report: IcmpReport) {
        let Some(entry) = self.probes.get_mut(index) else { return };
        match entry.fate.as_deref() {
            // Silence with a reason is worth more than silence.
            None | Some(Fate::TimedOut | Fate::Overrun) => entry.settle(Fate::Error(report)),
            Some(Fate::Error(_) | Fate::Replied(_) | Fate::Late(_)) => self.repeat(index, &report.arrival),
            Some(Fate::NotSent(_) | Fate::Cancelled) => self.rare().unasked.unknown += 1,
        }
    }

    fn repeat(&mut self, index: usize, arrival: &Arrival) {
        let Some(entry) = self.probes.get_mut(index) else { return };
        entry.duplicates = entry.duplicates.saturating_add(1);
        let rtt = entry.sent().and_then(|sent| arrival.received.at.checked_since(sent.at));
        let &Arrival { from, received, ttl, .. } = arrival;
        let repeats = &mut self.rare().repeats;
        if repeats.len() < MAX_REPEATS {
            repeats.push(Repeat { seq: number(index), from, received, rtt, ttl });
        }
    }

    fn extended(&mut self, seq: u32, extensions: &[u8]) {
        if !extensions.is_empty() && self.extensions().len() < MAX_REPEATS {
            self.rare().extensions.push((seq, extensions.into()));
        }
    }

    fn rare(&mut self) -> &mut Rare {
        self.rare.get_or_insert_default()
    }

    fn entry(&mut self, probe: ProbeId) -> Option<&mut Entry> {
        self.probes.get_mut(usize::try_from(probe.0).ok()?)
    }

    fn send_failed(&mut self, probe: ProbeId, reason: SendFailure) {
        if probe == too_big::ID {
            let rare = self.rare();
            rare.too_big_handed_out = false;
            rare.too_big_failed = Some(reason);
            return;
        }
        self.taken(probe);
        if let Some(entry) = self.entry(probe) {
            entry.fate.get_or_insert_with(|| Box::new(Fate::NotSent(reason)));
        }
    }

    fn sent(&mut self, probe: ProbeId, stamp: Stamp, departure: Departure) {
        if probe == too_big::ID {
            let rare = self.rare();
            rare.too_big_handed_out = false;
            rare.too_big_sent += 1;
            return;
        }
        self.taken(probe);
        self.source = self.source.or(departure.source);
        if let Some(entry) = self.entry(probe) {
            entry.identity = departure.identity;
            entry.ip_id = departure.ip_id;
            entry.bytes = departure.bytes;
        }
        self.stamped(probe, stamp);
    }

    fn stamped(&mut self, probe: ProbeId, stamp: Stamp) {
        if let Some(entry) = self.entry(probe) {
            (entry.left_at, entry.left_utc, entry.stamped_by) = (stamp.at, stamp.utc, Some(stamp.source));
        }
    }

    fn taken(&mut self, probe: ProbeId) {
        let last = number(self.probes.len()).checked_sub(1);
        self.handed_out &= last != Some(probe.0);
    }

    /// Whatever is under way.
    fn under_way(&mut self) -> impl Iterator<Item = &mut Entry> {
        self.probes.iter_mut().skip(self.settled).filter(|entry| entry.fate.is_none())
    }

    /// Times out what is overdue; returns the earliest deadline that is still to come.
    fn expire(&mut self, now: Instant) -> Option<Instant> {
        let timeout = self.spec.timeout;
        let mut earliest: Option<Instant> = None;
        for entry in self.under_way() {
            let Some(sent) = entry.sent() else { continue };
            let deadline = sent.at + timeout;
            if deadline <= now {
                entry.settle(if entry.missed { Fate::Overrun } else { Fate::TimedOut });
            } else {
                earliest = Some(earliest.map_or(deadline, |other| other.min(deadline)));
            }
        }
        let open = self.probes.iter().skip(self.settled).position(|entry| entry.fate.is_none());
        self.settled = open.map_or(self.probes.len(), |open| self.settled + open);
        earliest
    }

    fn goes_one_by_one(&self) -> bool {
        self.anonymous || self.spec.goes_one_by_one()
    }

    fn all_begun(&self) -> bool {
        self.probes.len() >= usize::try_from(self.spec.count).unwrap_or(usize::MAX)
    }

    fn has_enough(&self) -> bool {
        self.spec.stop_after.is_some_and(|enough| self.replied >= enough)
    }

    fn finish(&mut self, end: End) -> Output {
        for entry in self.under_way() {
            entry.settle(Fate::Cancelled);
        }
        self.end = Some(end);
        Output::Done
    }

    fn next_probe(&mut self, now: Instant) -> Output {
        let id = ProbeId(number(self.probes.len()));
        self.slots.take(self.spec.schedule, self.spec.interval, now);
        if self.probes.is_empty() {
            // Most pings are short, and a vector that grows takes more than it needs.
            self.probes.reserve_exact(usize::try_from(self.spec.count.min(16)).unwrap_or(1));
        }
        self.probes.push(Entry {
            left_at: Instant(0),
            left_utc: Utc(0),
            stamped_by: None,
            identity: Identity { selector: 0, tag: 0 },
            ip_id: None,
            bytes: 0,
            duplicates: 0,
            fate: None,
            missed: false,
            clock_stepped: false,
        });
        self.handed_out = true;
        Output::Send(self.probe(id))
    }

    fn sample(&self, seq: u32, entry: &Entry) -> Sample {
        let fate = entry.fate.as_deref().cloned().unwrap_or(Fate::Cancelled);
        let sent = entry.sent();
        let &Entry { identity, ip_id, bytes, duplicates, clock_stepped, .. } = entry;
        Sample {
            seq,
            sent,
            departure: sent.map(|_| Departure { source: self.source, identity, ip_id, bytes }),
            rtt: fate.received().zip(sent).and_then(|(came, left)| came.at.checked_since(left.at)),
            fate,
            duplicates,
            clock_stepped,
        }
    }
}

impl Machine for Ping {
    fn handle(&mut self, _now: Instant, input: Input<'_>) {
        if self.is_done() {
            return;
        }
        match input {
            Input::Sent { probe, stamp, departure } => self.sent(probe, stamp, departure),
            Input::Stamped { probe, stamp } => self.stamped(probe, stamp),
            Input::SendFailed { probe, reason } => self.send_failed(probe, reason),
            Input::Packet(packet) => {
                self.packet(&packet);
            }
            Input::ClockStepped => self.under_way().for_each(|entry| entry.clock_stepped = true),
            Input::Overrun => {
                self.under_way().filter(|entry| entry.sent().is_some()).for_each(|entry| entry.missed = true);
            }
            Input::Cancel => self.cancelled = true,
        }
    }

    fn poll(&mut self, now: Instant) -> Output {
        if self.is_done() {
            return Output::Done;
        }
        let deadline = self.expire(now);
        if self.cancelled {
            return self.finish(End::Cancelled);
        }
        if let Some(rare) = self.rare.as_mut().filter(|_| self.spec.pseudo_mtu.is_some()) {
            if rare.too_big_handed_out {
                return deadline.map_or(Output::Wait, Output::WaitUntil);
            }
            if let Some(message) = rare.too_big.pop_front() {
                rare.too_big_handed_out = true;
                return Output::Send(message);
            }
        }
        if self.has_enough() {
            return self.finish(End::Enough);
        }
        let idle = self.settled == self.probes.len();
        if self.all_begun() && idle {
            let sent = self.probes.iter().filter_map(Entry::sent).map(|sent| sent.at).max();
            if let Some(last) = sent.map(|sent| sent + self.spec.timeout)
                && self.spec.wait_duplicates
                && now < last
            {
                return Output::WaitUntil(last);
            }
            return self.finish(End::Completed);
        }
        // The site's limits may hold the last probe back: no further one until it has gone. And where they go one by one
        // each waits for the end of the one before it.
        if self.all_begun() || self.handed_out || self.goes_one_by_one() && !idle {
            return deadline.map_or(Output::Wait, Output::WaitUntil);
        }
        let slot = self.slots.next(self.spec.schedule, self.spec.interval, now);
        if slot <= now {
            return self.next_probe(now);
        }
        Output::WaitUntil(deadline.map_or(slot, |deadline| deadline.min(slot)))
    }
}

impl Entry {
    fn sent(&self) -> Option<Stamp> {
        self.stamped_by.map(|source| Stamp { at: self.left_at, utc: self.left_utc, source })
    }

    fn settle(&mut self, fate: Fate) {
        self.fate = Some(Box::new(fate));
    }

    fn is_late(&self, received: Stamp, timeout: Nanos) -> bool {
        let Some(sent) = self.sent() else { return false };
        received.at.saturating_since(sent.at) > timeout
    }
}

const _: () = assert!(size_of::<Ping>() <= 128, "a ping must not grow");
const _: () = assert!(size_of::<Entry>() <= 48, "nor what it keeps of a probe");

fn number(index: usize) -> u32 {
    u32::try_from(index).unwrap_or(u32::MAX)
}

/// The lower half.
#[expect(clippy::cast_possible_truncation, reason = "that is what it is for")]
const fn low(number: u32) -> u16 {
    number as u16
}

#[cfg(test)]
mod tests;
