//! What became of each probe of a ping.

use std::net::IpAddr;

use crate::{
    packet::{Departure, Packet, SendFailure, Ttl},
    time::{Nanos, Stamp},
    wire::icmp::IcmpErrorKind,
};

/// The record of one probe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sample {
    /// Its number within the measurement, from 0.
    pub seq: u32,
    /// When it left; absent when it never did.
    pub sent: Option<Stamp>,
    /// How it looked on the wire; absent when it never left.
    pub departure: Option<Departure>,
    /// What became of it.
    pub fate: Fate,
    /// The time from its leaving to the reply or error; absent when nothing came, or when the stamps do not
    /// allow the difference.
    pub rtt: Option<Nanos>,
    /// Further replies and errors after the first.
    pub duplicates: u32,
    /// Civil time was set while it was under way: its stamps in civil time are in doubt, its RTT is not.
    pub clock_stepped: bool,
}

impl Sample {
    /// The record of a probe of which nothing more is known.
    pub const fn new(seq: u32, fate: Fate) -> Self {
        Self { seq, sent: None, departure: None, fate, rtt: None, duplicates: 0, clock_stepped: false }
    }
}

/// The one end of a probe.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fate {
    /// Answered in time.
    Replied(Reply),
    /// Answered, but after the timeout: lost by the definition of RFC 2681, and yet not silent.
    Late(Reply),
    /// Nothing came.
    TimedOut,
    /// Nothing came, but the receiver was overrun meanwhile: an answer may have been missed. It is not lost.
    Overrun,
    /// An ICMP error came.
    Error(IcmpReport),
    /// It never left.
    NotSent(SendFailure),
    /// The measurement was stopped before its end was known.
    Cancelled,
}

impl Fate {
    /// What came for it, if anything did.
    pub const fn arrival(&self) -> Option<&Arrival> {
        match self {
            Self::Replied(reply) | Self::Late(reply) => Some(&reply.arrival),
            Self::Error(report) => Some(&report.arrival),
            Self::TimedOut | Self::Overrun | Self::NotSent(_) | Self::Cancelled => None,
        }
    }

    /// When the answer came, if one did.
    pub fn received(&self) -> Option<Stamp> {
        self.arrival().map(|arrival| arrival.received)
    }
}

/// What the headers of a packet that came say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arrival {
    /// Who sent it.
    pub from: IpAddr,
    /// When it came.
    pub received: Stamp,
    /// The TTL with which it arrived, where the system tells.
    pub ttl: Option<Ttl>,
    /// Its octet of DSCP and ECN, where the system tells.
    pub tos: Option<u8>,
    /// The identification of its IPv4 header, where the system tells.
    pub ip_id: Option<u16>,
    /// The identification of its IPv6 fragment header, where it came in fragments and the driver saw them.
    pub fragment_id: Option<u32>,
    /// The length of what follows its IP header, in octets: of an ICMP message with its header.
    pub bytes: u32,
    /// Its IPv4 options, where there are any and the system tells; [`super::options`] reads them.
    pub ip_options: Option<Box<[u8]>>,
}

impl Arrival {
    /// Of what came from somebody at some time; all else unknown.
    pub const fn new(from: IpAddr, received: Stamp, bytes: u32) -> Self {
        Self { from, received, ttl: None, tos: None, ip_id: None, fragment_id: None, bytes, ip_options: None }
    }
}

impl From<&Packet<'_>> for Arrival {
    fn from(packet: &Packet<'_>) -> Self {
        Self {
            ttl: packet.ttl,
            tos: packet.tos,
            ip_id: packet.ip_id,
            fragment_id: packet.fragment_id,
            ip_options: (!packet.ip_options.is_empty()).then(|| packet.ip_options.into()),
            ..Self::new(packet.from, packet.stamp, u32::try_from(packet.bytes).unwrap_or(u32::MAX))
        }
    }
}

/// A reply: usually of the target, unless it prefers another of its addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// Its headers.
    pub arrival: Arrival,
    /// What it is.
    pub answer: Answer,
}

/// What a reply is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Answer {
    /// An ICMP echo reply.
    Echo,
    /// An ICMP timestamp reply: milliseconds since midnight UT, or anything else with the top bit set (RFC 792).
    Timestamp {
        /// When the request was sent, by its sender's clock.
        originate: u32,
        /// When it was received.
        receive: u32,
        /// When the reply was sent.
        transmit: u32,
    },
    /// A UDP datagram.
    Udp,
    /// A TCP segment.
    Tcp {
        /// Its flags.
        flags: u8,
        /// Its window, where the system tells.
        window: Option<u16>,
        /// The maximum segment size that it announces, where it does and the system shows it.
        mss: Option<u16>,
    },
    /// ICMP says that nobody listens on the port, and so that the host is there.
    PortUnreachable {
        /// The type of the ICMP message.
        icmp_type: u8,
        /// Its code.
        code: u8,
        /// Whether it quotes the probe's whole cookie.
        verified: bool,
    },
}

/// An ICMP error about a probe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IcmpReport {
    /// Its headers.
    pub arrival: Arrival,
    /// What it says.
    pub kind: IcmpErrorKind,
    /// Its type.
    pub icmp_type: u8,
    /// Its code.
    pub code: u8,
    /// Whether it quotes the probe's whole cookie. Many routers quote too little to tell.
    pub verified: bool,
}

/// A further reply, or error, to a probe that had its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Repeat {
    /// The probe's number.
    pub seq: u32,
    /// Who sent it.
    pub from: IpAddr,
    /// When it came.
    pub received: Stamp,
    /// The time since the probe left.
    pub rtt: Option<Nanos>,
    /// The TTL with which it arrived, where the system tells.
    pub ttl: Option<Ttl>,
}

/// How a measurement ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum End {
    /// Each probe that was asked for has its end.
    Completed,
    /// As many probes were answered as were wanted.
    Enough,
    /// It was told to stop.
    Cancelled,
}

/// What came that no probe had asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Unasked {
    /// Packets that are no answer: forged, damaged, or meant for another measurement.
    pub foreign: u64,
    /// Packets for a probe that was never sent.
    pub unknown: u64,
}
