//! The multipath trace: all ways to a target that load balancers offer, found by the multipath detection algorithm.
//!
//! Probes differ in their flow, which is what load balancers choose by. Through each node as many flows are sent as the
//! stopping rule asks for ([`crate::mda`]) to know its next hops. That takes *node control*: flows that are known to reach
//! the node. The machine remembers which flow reaches which node at each TTL, and where more are needed it draws new ones
//! and follows them hop by hop from the last TTL that all flows pass. A node with several next hops has one flow repeated,
//! which tells whether it chooses by flow or for each packet anew.
//!
//! A node that does not answer is a node of its own for each one before it. Every probe ends in exactly one
//! [`Fate`].
//!
//! Begin with [`Spec`], then [`Multipath`]; [`Node`] and [`Sample`] are what it finds.

mod graph;
mod spec;

use std::net::IpAddr;

use crate::cookie::Key;
use crate::machine::{Input, Machine, Output};
use crate::mda::StoppingRule;
use crate::packet::{Departure, Flow, Identity, Packet, ProbeId, SendFailure, Ttl};
use crate::time::{Instant, Nanos, Stamp};
use crate::trace::shape::{Checksum, Look, Method, SentAs, Verdict};
use crate::trace::{Fate, Meaning, Reply, Unasked, flow_checksum, number};
use graph::{Arrival, Check, Graph, Purpose, Question};

pub use graph::{Balancer, NodeKind};
pub use spec::{Spec, SpecError, Varies};

/// The most replies to one probe that are kept.
const MAX_REPLIES: usize = 4;

/// A multipath trace under way; see the module's head.
#[derive(Debug)]
pub struct Multipath {
    spec: Spec,
    key: Key,
    graph: Graph,
    entries: Vec<Entry>,
    /// Questions to be asked again, for nothing came.
    again: Vec<Question>,
    source: Option<IpAddr>,
    handed_out: Option<ProbeId>,
    /// Every entry before this one is settled.
    settled: usize,
    open: u16,
    hunting: u32,
    last_left: Option<Instant>,
    reached: bool,
    barred: bool,
    failure: Option<SendFailure>,
    cancelled: bool,
    unasked: Unasked,
    stop: Option<Stop>,
}

#[derive(Debug)]
struct Entry {
    question: Question,
    ttl: Ttl,
    flow: u16,
    sent: Option<Stamp>,
    identity: Option<Identity>,
    ip_id: Option<u16>,
    bytes: u32,
    fate: Option<Fate>,
    replies: Vec<Reply>,
    to: Option<usize>,
    duplicates: u16,
    overrun: bool,
    clock_stepped: bool,
}

/// A node of the graph.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Node {
    /// Its number; the source is 0.
    pub number: usize,
    /// The TTL at which it answers. The same address at different TTLs is different nodes.
    pub ttl: Ttl,
    /// Its address; absent where it is silent, and of the source.
    pub address: Option<IpAddr>,
    /// What it is.
    pub kind: NodeKind,
    /// How it chooses among its next hops; absent where it has but one, or it could not be told.
    pub balancer: Option<Balancer>,
    /// Whether as many flows passed through it as the stopping rule asks for.
    pub complete: bool,
    /// Flows that are known to reach it.
    pub flows: usize,
}

/// The record of one probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sample<'a> {
    /// Its number, from 0.
    pub id: u32,
    /// The TTL with which it was sent.
    pub ttl: Ttl,
    /// Its flow, from 0.
    pub flow: u16,
    /// Which probe of its flow and TTL it is, from 0; of a repetition, 0.
    pub attempt: u8,
    /// Whether it repeats a flow to find out how a node chooses.
    pub is_repetition: bool,
    /// The node through which it went, by number.
    pub from: usize,
    /// The node that it reached, by number: a silent one where nothing came, and absent as long as that is not known.
    pub to: Option<usize>,
    /// When it left; absent when it never did.
    pub sent: Option<Stamp>,
    /// What told it from others on the wire.
    pub identity: Option<Identity>,
    /// The identification of its IPv4 header, where that is known.
    pub ip_id: Option<u16>,
    /// Its length, IP header included.
    pub bytes: u32,
    /// What became of it.
    pub fate: Fate,
    /// What came back, in the order of coming.
    pub replies: &'a [Reply],
    /// The time to the first reply.
    pub rtt: Option<Nanos>,
    /// What came beyond the replies that are kept.
    pub duplicates: u16,
    /// Civil time was set while it was under way.
    pub clock_stepped: bool,
}

/// Why a multipath trace ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Stop {
    /// Every branch was followed to its end, and the destination answered.
    Completed,
    /// No branch got to the destination: a router said that it can't be reached.
    Unreachable,
    /// No branch got to the destination: so many hops in a row were silent.
    GapLimit,
    /// No branch got to the destination before the last TTL.
    HopLimit,
    /// No branch got to the destination: each came back to a router.
    Loop,
    /// So many probes were allowed.
    ProbeLimit,
    /// It was called off.
    Halted,
    /// A probe could not be sent.
    NotSent(SendFailure),
}

impl Multipath {
    /// A multipath trace that begins at its first poll. The key must be random and secret.
    pub fn new(spec: Spec, key: Key) -> Result<Self, SpecError> {
        spec.check()?;
        let rule = StoppingRule::for_path(1.0 - spec.confidence, spec.branch_points.unwrap_or(1))
            .map_err(|_| SpecError::Confidence(spec.confidence))?;
        let graph = Graph::new(rule, Ttl(spec.first_hop.0 - 1), spec.max_ttl, spec.gap_limit);
        Ok(Self {
            spec,
            key,
            graph,
            entries: Vec::new(),
            again: Vec::new(),
            source: None,
            handed_out: None,
            settled: 0,
            open: 0,
            hunting: 0,
            last_left: None,
            reached: false,
            barred: false,
            failure: None,
            cancelled: false,
            unasked: Unasked::default(),
            stop: None,
        })
    }

    /// What was asked.
    pub const fn spec(&self) -> &Spec {
        &self.spec
    }

    /// Why it ended; absent as long as it is under way.
    pub const fn stop(&self) -> Option<Stop> {
        self.stop
    }

    /// Whether the destination answered.
    pub const fn is_reached(&self) -> bool {
        self.reached
    }

    /// The source of the probes, where the driver told.
    pub const fn source(&self) -> Option<IpAddr> {
        self.source
    }

    /// What came that no probe had asked for.
    pub const fn unasked(&self) -> Unasked {
        self.unasked
    }

    /// The nodes, in the order of finding; the source is the first.
    pub fn nodes(&self) -> impl ExactSizeIterator<Item = Node> {
        self.graph.vertices.iter().enumerate().map(|(number, vertex)| Node {
            number,
            ttl: vertex.ttl,
            address: vertex.address,
            kind: vertex.kind,
            balancer: match vertex.check {
                Check::Found(balancer) => Some(balancer),
                _ => None,
            },
            complete: !vertex.is_followed || self.graph.is_complete(number),
            flows: vertex.through.len(),
        })
    }

    /// The record of each probe that was begun, in the order of sending.
    pub fn samples(&self) -> impl ExactSizeIterator<Item = Sample<'_>> {
        self.entries.iter().enumerate().map(|(id, entry)| Sample {
            id: number(id),
            ttl: entry.ttl,
            flow: entry.flow,
            attempt: entry.question.attempt,
            is_repetition: entry.question.purpose == Purpose::Repeat,
            from: entry.question.from,
            to: entry.to,
            sent: entry.sent,
            identity: entry.identity,
            ip_id: entry.ip_id,
            bytes: entry.bytes,
            fate: entry.fate.unwrap_or(Fate::Cancelled),
            replies: &entry.replies,
            rtt: entry
                .replies
                .first()
                .zip(entry.sent)
                .and_then(|(reply, sent)| reply.received.at.checked_since(sent.at)),
            duplicates: entry.duplicates,
            clock_stepped: entry.clock_stepped,
        })
    }

    /// The destination port of a flow (UDP, TCP).
    pub fn port_of(&self, flow: u16) -> u16 {
        match self.spec.varies {
            Varies::DestinationPort => {
                let port = (u32::from(self.spec.port) - 1 + u32::from(flow)) % 0xffff + 1;
                u16::try_from(port).unwrap_or(1)
            }
            _ => self.spec.port,
        }
    }

    /// The checksum of a flow (ICMP).
    pub fn checksum_of(&self, flow: u16) -> Option<u16> {
        (self.spec.varies == Varies::Checksum).then(|| flow_checksum(&self.key, flow))
    }

    fn look(&self, id: ProbeId, ttl: Ttl, flow: u16) -> Look<'_> {
        let varies_source = self.spec.varies == Varies::SourcePort;
        let step = if varies_source { flow } else { 0 };
        let selector = self.spec.selector.map(|first| first.wrapping_add(step).max(1));
        let checksum = match self.spec.shape.method {
            Method::Icmp => self.checksum_of(flow).map_or(Checksum::Free, Checksum::Fixed),
            Method::Udp => Checksum::Tag,
            Method::Tcp | Method::TcpAck => Checksum::Free,
        };
        Look {
            id,
            ttl,
            flow: Flow { number: if varies_source { flow } else { 0 }, selector },
            port: self.port_of(flow),
            payload_bytes: self.spec.payload_bytes,
            payload: None,
            cookie_of: id.0,
            checksum,
        }
    }

    fn packet(&mut self, packet: &Packet<'_>) {
        let Some(index) = usize::try_from(packet.probe.0).ok() else { return };
        let sent_as = self.entries.get(index).and_then(|entry| {
            Some(SentAs {
                look: self.look(packet.probe, entry.ttl, entry.flow),
                source: self.source,
                identity: entry.sent.and(entry.identity)?,
                ip_id: entry.ip_id,
                bytes: entry.bytes,
            })
        });
        let Some(sent_as) = sent_as else {
            self.unasked.unknown = self.unasked.unknown.saturating_add(1);
            return;
        };
        let Verdict::Ours { verified, altered } =
            self.spec.shape.judge(&self.key, self.spec.target, &sent_as, packet)
        else {
            self.unasked.foreign = self.unasked.foreign.saturating_add(1);
            return;
        };
        let timeout = self.spec.timeout;
        let Some(entry) = self.entries.get_mut(index) else { return };
        let reply = Reply::new(packet, verified, altered);
        let kind = match reply.means(self.spec.target, self.spec.shape.method) {
            Meaning::Reached => NodeKind::Destination,
            Meaning::Hop => NodeKind::Router,
            Meaning::Unreachable | Meaning::TooBig | Meaning::Error => NodeKind::Barred,
        };
        let is_first = entry.replies.is_empty();
        if entry.replies.len() >= MAX_REPLIES {
            entry.duplicates = entry.duplicates.saturating_add(1);
            return;
        }
        entry.replies.push(reply);
        if !is_first {
            return;
        }
        let took = entry.sent.map_or(Nanos::ZERO, |sent| packet.stamp.at.saturating_since(sent.at));
        let was_open = entry.fate.is_none();
        entry.fate = Some(if took > timeout { Fate::Late } else { Fate::Answered });
        let question = entry.question;
        if was_open {
            self.close(question);
        }
        self.reached |= kind == NodeKind::Destination;
        self.barred |= kind == NodeKind::Barred;
        let arrival = Arrival { address: Some(packet.from), kind };
        if question.purpose == Purpose::Repeat {
            let before = self.answer_before(index);
            if was_open {
                self.graph.repeated(question.from, before.map(|before| (packet.from, before)));
            }
            if before.is_none() {
                // It was no repetition after all, and shows no link of its flow.
                return;
            }
        }
        let to = self.graph.arrived(question.from, question.flow, arrival);
        if let Some(entry) = self.entries.get_mut(index) {
            entry.to = to;
        }
    }

    /// Who answered the first probe of the flow that this one repeats; nothing where it left otherwise than that one, for
    /// some lanes can't keep a source port.
    fn answer_before(&self, index: usize) -> Option<IpAddr> {
        let repetition = self.entries.get(index)?;
        let selector = repetition.identity?.selector;
        self.entries
            .iter()
            .filter(|entry| entry.question.purpose != Purpose::Repeat)
            .filter(|entry| {
                let Question { from, flow, .. } = entry.question;
                (from, flow) == (repetition.question.from, repetition.question.flow)
            })
            .filter(|entry| entry.identity.is_some_and(|identity| identity.selector == selector))
            .find_map(|entry| entry.replies.first())
            .map(|reply| reply.from)
    }

    fn close(&mut self, question: Question) {
        self.open -= 1;
        if question.purpose == Purpose::Hunt {
            self.hunting -= 1;
        }
    }

    fn sent(&mut self, probe: ProbeId, stamp: Stamp, departure: Option<Departure>) {
        if self.handed_out == Some(probe) && departure.is_some() {
            self.handed_out = None;
            self.last_left = Some(stamp.at);
        }
        let Some(entry) = usize::try_from(probe.0).ok().and_then(|index| self.entries.get_mut(index)) else {
            return;
        };
        if departure.is_none() && entry.sent.is_none() {
            return;
        }
        entry.sent = Some(stamp);
        if let Some(Departure { source, identity, ip_id, bytes }) = departure {
            (entry.identity, entry.ip_id, entry.bytes) = (Some(identity), ip_id, bytes);
            self.source = self.source.or(source);
        }
    }

    fn send_failed(&mut self, probe: ProbeId, reason: SendFailure) {
        if self.handed_out == Some(probe) {
            self.handed_out = None;
        }
        let Some(index) = usize::try_from(probe.0).ok() else { return };
        let Some(entry) = self.entries.get_mut(index).filter(|entry| entry.fate.is_none()) else { return };
        entry.fate = Some(Fate::NotSent(reason));
        let question = entry.question;
        self.close(question);
        if reason == SendFailure::Overrun {
            self.went_silent(index, question, false);
        } else {
            self.failure.get_or_insert(reason);
        }
    }

    /// Nothing came of a probe: it is asked again, or the hop is silent.
    fn went_silent(&mut self, index: usize, question: Question, was_overrun: bool) {
        if question.purpose == Purpose::Repeat {
            self.graph.repeated(question.from, None);
            return;
        }
        let attempts = if was_overrun { self.spec.attempts.saturating_mul(2) } else { self.spec.attempts };
        if question.attempt.saturating_add(1) < attempts {
            if question.purpose == Purpose::Hunt {
                self.hunting += 1;
            }
            self.again.push(Question { attempt: question.attempt + 1, ..question });
            return;
        }
        let to = self.graph.arrived(
            question.from,
            question.flow,
            Arrival { address: None, kind: NodeKind::Silent },
        );
        if let Some(entry) = self.entries.get_mut(index) {
            entry.to = to;
        }
    }

    /// Times out what is overdue; returns the earliest deadline that is still to come.
    fn expire(&mut self, now: Instant) -> Option<Instant> {
        let mut earliest: Option<Instant> = None;
        for index in self.settled..self.entries.len() {
            let Some(entry) = self.entries.get_mut(index) else { continue };
            let (None, Some(sent)) = (entry.fate, entry.sent) else { continue };
            let deadline = sent.at + self.spec.timeout;
            if deadline > now {
                earliest = Some(earliest.map_or(deadline, |other| other.min(deadline)));
                continue;
            }
            let (overrun, question) = (entry.overrun, entry.question);
            entry.fate = Some(if overrun { Fate::Overrun } else { Fate::TimedOut });
            self.close(question);
            self.went_silent(index, question, overrun);
        }
        let open = self.entries.iter().skip(self.settled).position(|entry| entry.fate.is_none());
        self.settled = open.map_or(self.entries.len(), |open| self.settled + open);
        earliest
    }

    fn may_send(&self) -> bool {
        let has_budget = u32::try_from(self.entries.len()).is_ok_and(|sent| sent < self.spec.max_probes);
        has_budget && self.failure.is_none()
    }

    /// The next question: one that is to be asked again, unless its answer has come late meanwhile.
    fn next_question(&mut self) -> Option<Question> {
        while let Some(question) = self.again.pop() {
            if question.purpose == Purpose::Hunt {
                self.hunting -= 1;
            }
            let through = self.graph.vertices.get(question.from).map(|vertex| &vertex.through);
            if through.and_then(|through| through.get(question.flow)).is_some_and(|(_, known)| !known) {
                return Some(question);
            }
        }
        self.graph.next_question(self.hunting)
    }

    fn ask(&mut self, question: Question) -> Option<Output> {
        let flow = self.graph.flow_number(question.from, question.flow)?;
        let ttl = Ttl(self.graph.vertices.get(question.from)?.ttl.0.checked_add(1)?);
        let id = ProbeId(number(self.entries.len()));
        let probe = self.spec.shape.probe(&self.key, self.spec.target, &self.look(id, ttl, flow));
        self.entries.push(Entry {
            question,
            ttl,
            flow,
            sent: None,
            identity: None,
            ip_id: None,
            bytes: 0,
            fate: None,
            replies: Vec::new(),
            to: None,
            duplicates: 0,
            overrun: false,
            clock_stepped: false,
        });
        self.open += 1;
        if question.purpose == Purpose::Hunt {
            self.hunting += 1;
        }
        self.handed_out = Some(id);
        Some(Output::Send(probe))
    }

    fn finish(&mut self, stop: Stop) -> Output {
        for entry in self.entries.iter_mut().skip(self.settled) {
            entry.fate.get_or_insert(Fate::Cancelled);
        }
        self.stop = Some(stop);
        Output::Done
    }

    /// Why it is over, now that there is nothing more to ask.
    const fn ended(&self) -> Stop {
        if self.reached {
            Stop::Completed
        } else if self.barred {
            Stop::Unreachable
        } else if self.graph.met_gap {
            Stop::GapLimit
        } else if self.graph.met_max_ttl {
            Stop::HopLimit
        } else {
            Stop::Loop
        }
    }

    fn mark_open(&mut self, mark: impl Fn(&mut Entry)) {
        self.entries.iter_mut().skip(self.settled).filter(|entry| entry.fate.is_none()).for_each(mark);
    }
}

impl Machine for Multipath {
    fn handle(&mut self, _now: Instant, input: Input<'_>) {
        if self.stop.is_some() {
            return;
        }
        match input {
            Input::Sent { probe, stamp, departure } => self.sent(probe, stamp, Some(departure)),
            Input::Stamped { probe, stamp } => self.sent(probe, stamp, None),
            Input::SendFailed { probe, reason } => self.send_failed(probe, reason),
            Input::Packet(packet) => self.packet(&packet),
            Input::Overrun => self.mark_open(|entry| entry.overrun |= entry.sent.is_some()),
            Input::ClockStepped => self.mark_open(|entry| entry.clock_stepped = true),
            Input::Cancel => self.cancelled = true,
        }
    }

    fn poll(&mut self, now: Instant) -> Output {
        if self.stop.is_some() {
            return Output::Done;
        }
        let deadline = self.expire(now);
        if self.cancelled {
            return self.finish(Stop::Halted);
        }
        let wait = |until: Option<Instant>| {
            let first = deadline.into_iter().chain(until).min();
            first.map_or(Output::Wait, Output::WaitUntil)
        };
        if self.handed_out.is_some() || self.open >= self.spec.parallel {
            return wait(None);
        }
        if self.may_send() {
            let earliest = self.last_left.map(|left| left + self.spec.wait);
            if let Some(earliest) = earliest.filter(|earliest| *earliest > now) {
                return wait(Some(earliest));
            }
            if let Some(question) = self.next_question() {
                return self.ask(question).unwrap_or(Output::Wait);
            }
        }
        if self.open > 0 {
            return wait(None);
        }
        match self.failure {
            Some(reason) => self.finish(Stop::NotSent(reason)),
            None if !self.may_send() => self.finish(Stop::ProbeLimit),
            None => self.finish(self.ended()),
        }
    }
}

#[cfg(test)]
mod tests;
