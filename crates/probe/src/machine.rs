//! The contract between a measurement and whoever drives it.
//!
//! A driver owns sockets, a clock and the pacing of the site. A machine owns the logic. They talk like this:
//!
//! 1. Call [`Machine::poll`]. On [`Output::Send`], send the probe (now, or as soon as the site's limits let
//!    it go) and call `poll` again at once, until it answers anything else.
//! 2. On [`Output::WaitUntil`], call `poll` again at that instant, or after the next input, whichever is
//!    first. On [`Output::Wait`], call `poll` again after the next input. On [`Output::Done`], take the
//!    result; further inputs change nothing.
//! 3. For each probe that `poll` gave out, report exactly one of [`Input::Sent`] and [`Input::SendFailed`].
//!    A second [`Input::Sent`] for the same probe replaces the stamp by a better one (the kernel's).
//! 4. Whatever arrives for a probe is an [`Input::Packet`]. The driver matches packets to probes by what the
//!    wire shows (ICMP identifier and sequence number, ports); the machine judges whether to believe them.
//! 5. `now` never runs backwards. Read packets before calling `poll` for a timer, so that a reply that was
//!    in the socket in time is not taken for a late one.

use std::net::IpAddr;

use crate::{
    time::{Instant, Stamp},
    wire::icmp::IcmpErrorKind,
};

/// A measurement as a state machine over packets and time; the module's head says how to drive it.
pub trait Machine {
    /// Tells the machine what happened. Call [`Machine::poll`] afterwards.
    fn handle(&mut self, now: Instant, input: Input<'_>);

    /// Asks the machine what to do next. Call again at once after [`Output::Send`], otherwise as the answer
    /// says.
    fn poll(&mut self, now: Instant) -> Output;
}

/// A probe's number within its machine, counted from 0 in the order of sending.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProbeId(pub u32);

/// A time to live (IPv4) or hop limit (IPv6).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ttl(pub u8);

/// What the driver tells a machine.
#[derive(Clone, Debug)]
pub enum Input<'a> {
    /// The probe has left, at this moment.
    Sent {
        /// Which probe.
        probe: ProbeId,
        /// When; a later input for the same probe replaces it.
        stamp: Stamp,
    },
    /// The probe could not be sent and will not be tried again.
    SendFailed {
        /// Which probe.
        probe: ProbeId,
        /// Why.
        reason: SendFailure,
    },
    /// Something arrived that the wire attributes to a probe of this machine.
    Packet(Packet<'a>),
    /// Civil time was set while probes were under way: their stamps in civil time are in doubt.
    ClockStepped,
    /// Stop: send nothing more and be done at the next poll.
    Cancel,
}

/// What a machine wants of its driver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Send this, then poll again at once.
    Send(Probe),
    /// Nothing to do before this instant, unless an input comes.
    WaitUntil(Instant),
    /// Nothing to do until an input comes.
    Wait,
    /// The measurement is over.
    Done,
}

/// A packet that a machine wants to be sent. The driver chooses what identifies it on the wire.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probe {
    /// The number by which all inputs about it refer to it.
    pub id: ProbeId,
    /// Where it goes.
    pub destination: IpAddr,
    /// The TTL to send it with; the system's own where absent.
    pub ttl: Option<Ttl>,
    /// What it is.
    pub body: Body,
}

/// The kinds of probe.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Body {
    /// An ICMP or `ICMPv6` echo request with this payload; the driver adds identifier and sequence number.
    Echo {
        /// The bytes after the 8 octets of the ICMP header.
        payload: Vec<u8>,
    },
}

/// Something that arrived for a probe.
#[derive(Clone, Debug)]
pub struct Packet<'a> {
    /// The probe to which the wire attributes it.
    pub probe: ProbeId,
    /// Who sent it: the target, or the router that reports an error.
    pub from: IpAddr,
    /// When it came.
    pub stamp: Stamp,
    /// The TTL with which it arrived, where the system tells.
    pub ttl: Option<Ttl>,
    /// The length of the ICMP message, its 8-octet header included, in octets.
    pub bytes: usize,
    /// What it is.
    pub message: Message<'a>,
}

/// What a packet that came in is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Message<'a> {
    /// An echo reply with this payload.
    EchoReply {
        /// The bytes after the 8 octets of the ICMP header.
        payload: &'a [u8],
    },
    /// An ICMP error about the probe.
    Error {
        /// What it says.
        kind: IcmpErrorKind,
        /// As much of the probe's own payload as the error quotes; often nothing.
        quoted_payload: &'a [u8],
    },
}

/// Why a probe did not leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum SendFailure {
    /// The system has no route to the destination.
    #[error("no route to the destination")]
    NoRoute,
    /// The system forbids it: a firewall, a broadcast address, a missing privilege.
    #[error("the system does not permit it")]
    NotPermitted,
    /// The packet is larger than the path's first link takes, and may not be fragmented.
    #[error("the packet is too big")]
    TooBig,
    /// No socket for this address family.
    #[error("no socket for this address family")]
    NoSocket,
    /// The system's buffers stayed full.
    #[error("the system's buffers are full")]
    Overrun,
    /// The site's limits allow no such packet at all.
    #[error("the site's limits do not allow it")]
    Forbidden,
    /// Any other refusal of the system, with its `errno`.
    #[error("the system refused it (errno {0})")]
    System(i32),
}
