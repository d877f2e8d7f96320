//! What became of each probe of a path measurement, and how the measurement ended.

use std::net::IpAddr;

use super::shape::{Altered, Method};
use crate::packet::{Identity, Message, Packet, SendFailure, Ttl};
use crate::time::{Nanos, Stamp};
use crate::wire::icmp::IcmpErrorKind;

/// The record of one probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sample<'a> {
    /// Its number within the measurement, from 0.
    pub id: u32,
    /// The TTL with which it was sent.
    pub ttl: Ttl,
    /// Which probe of its hop it is, from 0.
    pub attempt: u8,
    /// Whether it belongs to the search for the path's MTU.
    pub of_mtu_search: bool,
    /// Whether it went to the destination itself, behind a gap.
    pub of_last_ditch: bool,
    /// When it left; absent when it never did.
    pub sent: Option<Stamp>,
    /// What told it from others on the wire; absent when it never left.
    pub identity: Option<Identity>,
    /// Its destination port, of UDP and TCP.
    pub port: u16,
    /// The identification of its IPv4 header, where that is known.
    pub ip_id: Option<u16>,
    /// Its length, IP header included; 0 when it never left.
    pub bytes: u32,
    /// What became of it.
    pub fate: Fate,
    /// What came back first.
    pub reply: Option<&'a Reply>,
    /// The time from its leaving to the reply; absent when the stamps do not allow the difference.
    pub rtt: Option<Nanos>,
    /// What came after the first reply.
    pub duplicates: u16,
    /// Civil time was set while it was under way: its stamps in civil time are in doubt.
    pub clock_stepped: bool,
}

/// The one end of a probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fate {
    /// Answered in time.
    Answered,
    /// Answered after the timeout.
    Late,
    /// Nothing came.
    TimedOut,
    /// Nothing came, but the receiver was overrun meanwhile: it may have come and been missed.
    Overrun,
    /// It never left.
    NotSent(SendFailure),
    /// The measurement ended before its end was known.
    Cancelled,
}

/// What came back for a probe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
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
    /// The length of what follows its IP header, in octets.
    pub bytes: u32,
    /// Whether it shows what nobody but us and the way there can know.
    pub verified: bool,
    /// What it is.
    pub said: Said,
    /// The objects of its extension structure as they stand on the wire ([`crate::wire::extension`]); empty where there
    /// are none.
    pub extensions: Box<[u8]>,
}

/// What a reply is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Said {
    /// An echo reply.
    Echo,
    /// A UDP datagram.
    Udp,
    /// A TCP segment with these flags.
    Tcp {
        /// As in octet 13 of the header.
        flags: u8,
    },
    /// An ICMP error.
    Error {
        /// What it says.
        kind: IcmpErrorKind,
        /// Its ICMP type.
        icmp_type: u8,
        /// Its ICMP code.
        code: u8,
        /// What it quotes.
        quote: Quoted,
    },
}

/// What an error quotes of its probe, as far as it does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Quoted {
    /// The TTL with which it arrived at whoever made the error.
    pub ttl: Option<Ttl>,
    /// Its octet of DSCP and ECN there.
    pub tos: Option<u8>,
    /// Its length there, IP header included.
    pub ip_bytes: Option<u32>,
    /// The identification of its IPv4 header there.
    pub ip_id: Option<u16>,
    /// What was otherwise than it had been sent.
    pub altered: Altered,
}

impl Reply {
    pub(crate) fn new(packet: &Packet<'_>, verified: bool, altered: Altered) -> Self {
        let (said, extensions) = match packet.message {
            Message::Udp { .. } => (Said::Udp, &[][..]),
            Message::Tcp(segment) => (Said::Tcp { flags: segment.flags }, &[][..]),
            Message::Error(report) => {
                let quote = Quoted {
                    ttl: report.quote.ttl,
                    tos: report.quote.tos,
                    ip_bytes: report.quote.ip_bytes,
                    ip_id: report.quote.ip_id,
                    altered,
                };
                let (kind, icmp_type, code) = (report.kind, report.icmp_type, report.code);
                (Said::Error { kind, icmp_type, code, quote }, report.extensions)
            }
            _ => (Said::Echo, &[][..]),
        };
        Self {
            from: packet.from,
            received: packet.stamp,
            ttl: packet.ttl,
            tos: packet.tos,
            ip_id: packet.ip_id,
            bytes: u32::try_from(packet.bytes).unwrap_or(u32::MAX),
            verified,
            said,
            extensions: extensions.into(),
        }
    }

    /// What it means for the path to `target`.
    pub(crate) fn means(&self, target: IpAddr, method: Method) -> Meaning {
        let kind = match self.said {
            Said::Echo | Said::Udp | Said::Tcp { .. } => return Meaning::Reached,
            Said::Error { kind, .. } => kind,
        };
        match kind {
            IcmpErrorKind::TtlExceeded => Meaning::Hop,
            IcmpErrorKind::TooBig { .. } => Meaning::TooBig,
            // So a host answers a datagram for a closed port, maybe from another of its addresses.
            IcmpErrorKind::PortUnreachable if method == Method::Udp => Meaning::Reached,
            IcmpErrorKind::ParameterProblem { .. } | IcmpErrorKind::ReassemblyTimeExceeded => Meaning::Error,
            _ if self.from == target => Meaning::Reached,
            _ => Meaning::Unreachable,
        }
    }
}

/// What a reply says about the path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Meaning {
    /// A router on the way.
    Hop,
    /// The destination.
    Reached,
    /// A router that does not let the probe pass.
    Unreachable,
    /// The probe is too big for what follows.
    TooBig,
    /// The probe made no sense to somebody.
    Error,
}

/// Why a trace ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Stop {
    /// The destination answered.
    Completed,
    /// A router said that it can't be reached.
    Unreachable {
        /// What it said.
        kind: IcmpErrorKind,
        /// The code of its message.
        code: u8,
    },
    /// Another ICMP error came.
    Icmp {
        /// What it said.
        kind: IcmpErrorKind,
        /// The code of its message.
        code: u8,
    },
    /// The path came back to a router.
    Loop,
    /// A router of the global stop set answered.
    GlobalStopSet,
    /// So many hops in a row were silent.
    GapLimit,
    /// The last TTL was reached.
    HopLimit,
    /// It was called off.
    Halted,
    /// A probe could not be sent.
    NotSent(SendFailure),
}

/// Packets that came and were not believed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Unasked {
    /// Forged, damaged, or meant for another measurement.
    pub foreign: u32,
    /// For a probe that was never sent.
    pub unknown: u32,
}
