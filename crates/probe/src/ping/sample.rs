//! What became of each probe of an echo measurement.

use std::net::IpAddr;

use crate::{
    packet::{SendFailure, Ttl},
    time::{Nanos, Stamp},
    wire::icmp::IcmpErrorKind,
};

/// The record of one probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sample {
    /// Its number within the measurement, from 0.
    pub seq: u32,
    /// When it left; absent when it never did.
    pub sent: Option<Stamp>,
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

/// The one end of a probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fate {
    /// Answered in time.
    Replied(Reply),
    /// Answered, but after the timeout: lost by the definition of RFC 2681, and yet not silent.
    Late(Reply),
    /// Nothing came.
    TimedOut,
    /// An ICMP error came.
    Error(IcmpReport),
    /// It never left.
    NotSent(SendFailure),
    /// The measurement was stopped before its end was known.
    Cancelled,
}

impl Fate {
    /// When the answer came, if one did.
    pub const fn received(&self) -> Option<Stamp> {
        match self {
            Self::Replied(reply) | Self::Late(reply) => Some(reply.received),
            Self::Error(report) => Some(report.received),
            Self::TimedOut | Self::NotSent(_) | Self::Cancelled => None,
        }
    }
}

/// An echo reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reply {
    /// Who answered: the target, unless it prefers another of its addresses.
    pub from: IpAddr,
    /// When it came.
    pub received: Stamp,
    /// The TTL with which it arrived, where the system tells.
    pub ttl: Option<Ttl>,
    /// The length of its ICMP message with the 8-octet header, in octets.
    pub bytes: usize,
}

/// An ICMP error about a probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IcmpReport {
    /// Who reported it.
    pub from: IpAddr,
    /// What it says.
    pub kind: IcmpErrorKind,
    /// When it came.
    pub received: Stamp,
    /// Whether it quotes the probe's whole cookie. Many routers quote too little to tell.
    pub verified: bool,
}

/// What came that no probe had asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Unasked {
    /// Packets with a wrong cookie: forged, damaged, or meant for another measurement.
    pub foreign: u64,
    /// Packets for a probe that was never sent.
    pub unknown: u64,
}
