//! How long a TCP connection takes to come about, from SYN to SYN and ACK, without making one.
//!
//! A SYN that nothing answers is sent again after a time that begins with RFC 6298's and doubles with each attempt
//! (section 5.5). Each attempt has a source port of its own, so that it is known which one was answered, and a late
//! answer to an early attempt still counts as that one's. The first answer ends the measurement.

use std::net::IpAddr;

use crate::{
    machine::{Input, Machine, Output},
    packet::{Body, Departure, Flow, Message, Packet, Probe, ProbeId, Segment, SendFailure, Ttl, tcp_flags},
    ping::{Arrival, IcmpReport, Unasked},
    time::{Instant, Nanos, Stamp},
};

/// The most attempts after the first.
pub const MAX_RETRIES: u8 = 10;

/// What to send, and how long to wait.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spec {
    /// Where to.
    pub target: IpAddr,
    /// To which port; at least 1.
    pub port: u16,
    /// How often a SYN is sent again at most, up to [`MAX_RETRIES`].
    pub retries: u8,
    /// How long the first attempt waits for an answer; each further one waits twice as long as the one before.
    pub rto: Nanos,
    /// The source port of the first attempt, one more for each that follows; the driver's choice where absent.
    pub source_port: Option<u16>,
    /// The source address; the system's choice where absent.
    pub source: Option<IpAddr>,
    /// The TTL; the system's own where absent.
    pub ttl: Option<Ttl>,
    /// The octet of DSCP and ECN.
    pub tos: u8,
    /// The maximum segment size that the SYN announces; the usual one of an Ethernet where absent.
    pub mss: Option<u16>,
}

impl Spec {
    /// One SYN, a second, and no further attempt.
    pub const fn new(target: IpAddr, port: u16) -> Self {
        let rto = Nanos::from_secs(1);
        Self { target, port, retries: 0, rto, source_port: None, source: None, ttl: None, tos: 0, mss: None }
    }
}

/// The record of one attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// When it left; absent when it never did.
    pub sent: Option<Stamp>,
    /// How it looked on the wire; absent when it never left.
    pub departure: Option<Departure>,
    /// What became of it.
    pub fate: Fate,
    /// The time from its leaving to what answered it; absent when nothing did.
    pub rtt: Option<Nanos>,
    /// Civil time was set while it was under way.
    pub clock_stepped: bool,
}

/// The end of an attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fate {
    /// The port is open: SYN and ACK.
    Open(Handshake),
    /// The port is closed: a reset.
    Closed(Handshake),
    /// An ICMP error came.
    Unreachable(IcmpReport),
    /// Nothing came.
    TimedOut,
    /// Nothing came, but the receiver was overrun meanwhile.
    Overrun,
    /// It never left.
    NotSent(SendFailure),
    /// Another attempt was answered, or the measurement stopped, before its time was over.
    Cancelled,
}

/// The segment that answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Handshake {
    /// Its headers.
    pub arrival: Arrival,
    /// Its flags.
    pub flags: u8,
    /// Its window, where the system tells.
    pub window: Option<u16>,
    /// Its options as they stand in the header; [`crate::wire::tcp`] reads them.
    pub options: Box<[u8]>,
}

/// An attempt to connect; see the module's head.
#[derive(Debug)]
pub struct Tcp {
    spec: Spec,
    attempts: Vec<Entry>,
    unasked: Unasked,
    handed_out: bool,
    cancelled: bool,
    done: bool,
}

#[derive(Debug)]
struct Entry {
    sent: Option<(Stamp, Departure)>,
    fate: Option<Fate>,
    missed: bool,
    clock_stepped: bool,
}

impl Tcp {
    /// A measurement that begins at its first poll. Attempts beyond [`MAX_RETRIES`] are not made.
    pub const fn new(spec: Spec) -> Self {
        let unasked = Unasked { foreign: 0, unknown: 0 };
        Self { spec, attempts: Vec::new(), unasked, handed_out: false, cancelled: false, done: false }
    }

    /// Where its attempts go.
    pub const fn target(&self) -> IpAddr {
        self.spec.target
    }

    /// The record of each attempt that was begun, in the order of sending.
    pub fn attempts(&self) -> impl ExactSizeIterator<Item = Attempt> + '_ {
        self.attempts.iter().map(|entry| {
            let fate = entry.fate.clone().unwrap_or(Fate::Cancelled);
            let received = fate.arrival().map(|arrival| arrival.received.at);
            let sent = entry.sent.map(|(stamp, _)| stamp);
            Attempt {
                sent,
                departure: entry.sent.map(|(_, departure)| departure),
                rtt: received.zip(sent).and_then(|(received, sent)| received.checked_since(sent.at)),
                fate,
                clock_stepped: entry.clock_stepped,
            }
        })
    }

    /// What came that no attempt had asked for, and further answers.
    pub const fn unasked(&self) -> Unasked {
        self.unasked
    }

    /// Whether it was told to stop.
    pub const fn is_cancelled(&self) -> bool {
        self.cancelled
    }

    fn packet(&mut self, packet: &Packet<'_>) {
        let fate = match packet.message {
            Message::Tcp(segment) => self.segment(packet, &segment),
            Message::Error(report) => Some(Fate::Unreachable(IcmpReport {
                arrival: packet.into(),
                kind: report.kind,
                icmp_type: report.icmp_type,
                code: report.code,
                verified: false,
            })),
            _ => None,
        };
        let Some(fate) = fate else {
            self.unasked.foreign += 1;
            return;
        };
        match self.entry(packet.probe) {
            Some(entry) if entry.sent.is_some() && entry.fate.is_none() => entry.fate = Some(fate),
            _ => self.unasked.unknown += 1,
        }
    }

    fn segment(&mut self, packet: &Packet<'_>, segment: &Segment<'_>) -> Option<Fate> {
        use tcp_flags::{ACK, RST, SYN};
        let &Segment { source_port, flags, ack, window, options, .. } = segment;
        let port = self.spec.port;
        let (_, departure) = self.entry(packet.probe)?.sent?;
        let tag = u32::from(departure.identity.tag);
        let acknowledged = ack.is_none_or(|ack| ack.wrapping_sub(1) >> 16 == tag);
        if source_port != port || flags & ACK == 0 || !acknowledged {
            return None;
        }
        let handshake = Handshake { arrival: packet.into(), flags, window, options: options.into() };
        match flags & (SYN | RST) {
            SYN => Some(Fate::Open(handshake)),
            RST => Some(Fate::Closed(handshake)),
            _ => None,
        }
    }

    fn entry(&mut self, probe: ProbeId) -> Option<&mut Entry> {
        self.attempts.get_mut(usize::try_from(probe.0).ok()?)
    }

    /// When the time of the last attempt is over.
    fn deadline(&self) -> Option<Instant> {
        let (stamp, _) = self.attempts.last()?.sent?;
        let doublings = u32::try_from(self.attempts.len() - 1).unwrap_or(u32::MAX);
        Some(
            stamp.at
                + Nanos(self.spec.rto.0.saturating_mul(1_u64.checked_shl(doublings).unwrap_or(u64::MAX))),
        )
    }

    fn may_try_again(&self) -> bool {
        self.attempts.len() <= usize::from(self.spec.retries.min(MAX_RETRIES))
    }

    fn attempt(&mut self) -> Output {
        let number = u16::try_from(self.attempts.len()).unwrap_or(u16::MAX);
        self.attempts.push(Entry { sent: None, fate: None, missed: false, clock_stepped: false });
        self.handed_out = true;
        let spec = &self.spec;
        let (seq, ack) = (None, None);
        let (flags, payload) = (tcp_flags::SYN, Vec::new());
        let body = Body::Tcp { port: spec.port, flags, seq, ack, mss: spec.mss, payload };
        Output::Send(Probe {
            source: spec.source,
            ttl: spec.ttl,
            tos: spec.tos,
            tcp_offer: true,
            flow: Flow { number, selector: spec.source_port.map(|first| first.wrapping_add(number)) },
            ..Probe::new(ProbeId(number.into()), spec.target, body)
        })
    }

    /// Settles what is open: an attempt whose time is over has timed out.
    fn finish(&mut self, now: Instant) -> Output {
        let over = self.deadline().is_some_and(|deadline| deadline <= now);
        let count = self.attempts.len();
        for (entry, number) in self.attempts.iter_mut().zip(1..) {
            let in_time = number == count && !over;
            entry.fate.get_or_insert(match (entry.missed, in_time || entry.sent.is_none()) {
                (_, true) => Fate::Cancelled,
                (true, false) => Fate::Overrun,
                (false, false) => Fate::TimedOut,
            });
        }
        self.done = true;
        Output::Done
    }
}

impl Machine for Tcp {
    fn handle(&mut self, _now: Instant, input: Input<'_>) {
        if self.done {
            return;
        }
        match input {
            Input::Sent { probe, stamp, departure } => {
                self.handed_out = false;
                if let Some(entry) = self.entry(probe) {
                    entry.sent = Some((stamp, departure));
                }
            }
            Input::Stamped { probe, stamp } => {
                if let Some((sent, _)) = self.entry(probe).and_then(|entry| entry.sent.as_mut()) {
                    *sent = stamp;
                }
            }
            Input::SendFailed { probe, reason } => {
                self.handed_out = false;
                if let Some(entry) = self.entry(probe) {
                    entry.fate.get_or_insert(Fate::NotSent(reason));
                }
            }
            Input::Packet(packet) => self.packet(&packet),
            Input::Overrun => {
                let under_way = self.attempts.iter_mut().filter(|entry| entry.sent.is_some());
                under_way.for_each(|entry| entry.missed = true);
            }
            Input::ClockStepped => self.attempts.iter_mut().for_each(|entry| entry.clock_stepped = true),
            Input::Cancel => self.cancelled = true,
        }
    }

    fn poll(&mut self, now: Instant) -> Output {
        if self.done {
            return Output::Done;
        }
        if self.cancelled || self.attempts.iter().any(|entry| entry.fate.is_some()) {
            return self.finish(now);
        }
        if self.attempts.is_empty() {
            return self.attempt();
        }
        if self.handed_out {
            return Output::Wait;
        }
        match self.deadline() {
            Some(deadline) if deadline > now => Output::WaitUntil(deadline),
            _ if self.may_try_again() => self.attempt(),
            _ => self.finish(now),
        }
    }
}

impl Fate {
    /// What answered, if anything did.
    pub const fn arrival(&self) -> Option<&Arrival> {
        match self {
            Self::Open(handshake) | Self::Closed(handshake) => Some(&handshake.arrival),
            Self::Unreachable(report) => Some(&report.arrival),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests;
