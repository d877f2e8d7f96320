//! What a trace is asked to do.

use std::net::IpAddr;
use std::sync::Arc;

use super::census::Certainty;
use super::doubletree::Doubletree;
use super::shape::{Method, Shape};
use crate::packet::Ttl;
use crate::time::Nanos;

/// The most probes for one TTL.
pub const MAX_ATTEMPTS: u8 = 20;

/// The most probes that may be under way.
pub const MAX_PARALLEL: u16 = 255;

/// The longest payload, as of a ping.
pub const MAX_PAYLOAD_BYTES: u16 = 65_000;

/// What to send, how far, and how long to wait.
#[expect(clippy::struct_excessive_bools, reason = "each is a choice of its own")]
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spec {
    /// Where to, unless it is for many.
    pub target: IpAddr,
    /// The fields that all probes share.
    pub shape: Shape,
    /// Whether every probe belongs to one flow, so that per-flow load balancers send all one way.
    pub paris: bool,
    /// Which of the flows, where every probe belongs to one: it takes part in the choice of the source port, ICMP
    /// identifier and ICMP checksum.
    pub flow: u16,
    /// The source port or ICMP identifier; the driver's choice where absent.
    pub selector: Option<u16>,
    /// The destination port (UDP, TCP); of a classic trace over UDP that of the first probe.
    pub port: u16,
    /// The ICMP checksum of the flow; one that the flow's number gives where absent.
    pub checksum: Option<u16>,
    /// Octets of payload, at most [`MAX_PAYLOAD_BYTES`]. At least 2 where the checksum carries something.
    pub payload_bytes: u16,
    /// The payload itself, without a cookie: as many octets as said, cut off or filled up with zeros while the path's MTU
    /// is looked for. Its last whole 16-bit word is changed where the checksum carries something.
    pub payload: Option<Box<[u8]>>,
    /// All probes have the same payload, to the last octet. UDP datagrams of one flow then go one at a time: nothing else
    /// tells them apart everywhere. Not for a Paris trace by ICMP, whose payload makes up for the sequence number.
    pub constant_payload: bool,
    /// The first TTL, at least 1.
    pub first_hop: Ttl,
    /// The last TTL, not below the first.
    pub max_ttl: Ttl,
    /// Stop after so many silent hops in a row; never where 0.
    pub gap_limit: u8,
    /// After a gap ask the destination itself, with the largest TTL, up to as many times as a hop.
    pub last_ditch: bool,
    /// Probes for a hop that stays silent: 1 to [`MAX_ATTEMPTS`].
    pub attempts: u8,
    /// Send all of them, answered or not.
    pub all_attempts: bool,
    /// Ask each hop until it is this certain that nobody else answers there; then [`Self::attempts`] is the number of
    /// probes in a row that stay unanswered before it is left alone.
    pub certainty: Option<Arc<Certainty>>,
    /// How long after its probe an answer counts as received.
    pub timeout: Nanos,
    /// The least time from one probe to the next.
    pub wait: Nanos,
    /// The least time from one probe to the next to the same hop.
    pub wait_hop: Nanos,
    /// The most probes that may be under way: 1 to [`MAX_PARALLEL`].
    pub parallel: u16,
    /// Stop at the loop of this number; never where 0.
    pub loops: u8,
    /// Find the path's MTU, too.
    pub pmtud: Option<Pmtud>,
    /// Begin in the middle, and stop where others have been.
    pub doubletree: Option<Box<Doubletree>>,
}

/// How to look for the path's MTU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pmtud {
    /// The size to begin with, IP header included.
    pub size: u16,
}

impl Spec {
    /// A Paris trace over ICMP with the defaults of the field.
    pub const fn new(target: IpAddr) -> Self {
        Self {
            target,
            shape: Shape {
                method: Method::Icmp,
                source: None,
                tos: 0,
                dont_fragment: false,
                fragment_offset: 0,
                router: None,
            },
            paris: true,
            flow: 0,
            selector: None,
            port: 33_434,
            checksum: None,
            payload_bytes: 32,
            payload: None,
            constant_payload: false,
            first_hop: Ttl(1),
            max_ttl: Ttl(30),
            gap_limit: 5,
            last_ditch: false,
            attempts: 2,
            all_attempts: false,
            certainty: None,
            timeout: Nanos::from_secs(2),
            wait: Nanos::ZERO,
            wait_hop: Nanos::ZERO,
            parallel: 8,
            loops: 1,
            pmtud: None,
            doubletree: None,
        }
    }

    pub(super) fn check(&self) -> Result<(), SpecError> {
        if self.first_hop.0 == 0 || self.first_hop > self.max_ttl {
            return Err(SpecError::Ttl(self.first_hop.0, self.max_ttl.0));
        }
        if !(1..=MAX_ATTEMPTS).contains(&self.attempts) {
            return Err(SpecError::Attempts(self.attempts));
        }
        if !(1..=MAX_PARALLEL).contains(&self.parallel) {
            return Err(SpecError::Parallel(self.parallel));
        }
        let least = if self.tags_checksum() { 2 } else { 0 };
        if !(least..=MAX_PAYLOAD_BYTES).contains(&self.payload_bytes) {
            return Err(SpecError::Payload(self.payload_bytes));
        }
        let has_ports = self.shape.method != Method::Icmp;
        if (has_ports && self.port == 0) || self.selector == Some(0) {
            return Err(SpecError::Port);
        }
        if self.constant_payload && self.paris && !has_ports {
            return Err(SpecError::ConstantPayload);
        }
        Ok(())
    }

    /// Whether the last word of the payload is chosen for the checksum's sake.
    pub(super) fn tags_checksum(&self) -> bool {
        self.paris && !self.constant_payload && matches!(self.shape.method, Method::Icmp | Method::Udp)
    }

    /// Whether nothing tells one probe from the next while both are under way.
    pub(super) fn goes_one_by_one(&self) -> bool {
        self.constant_payload && self.paris && self.shape.method == Method::Udp
    }
}

/// Why a [`Spec`] cannot be performed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SpecError {
    /// The TTLs are no range.
    #[error("TTLs from {0} to {1} are no range from 1 to 255")]
    Ttl(u8, u8),
    /// Too many probes for a hop, or none.
    #[error("{0} attempts, not between 1 and {MAX_ATTEMPTS}")]
    Attempts(u8),
    /// Too many probes at a time, or none.
    #[error("{0} probes at a time, not between 1 and {MAX_PARALLEL}")]
    Parallel(u16),
    /// A payload that is too long, or too short for its checksum.
    #[error("payload of {0} octets, not between 2 and {MAX_PAYLOAD_BYTES}")]
    Payload(u16),
    /// Port 0 is no port.
    #[error("port or identifier 0")]
    Port,
    /// Of one flow over ICMP the payload makes up for what differs.
    #[error("a Paris trace by ICMP can't have one payload for all probes")]
    ConstantPayload,
}
