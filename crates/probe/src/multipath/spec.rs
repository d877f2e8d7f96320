//! What a multipath trace is asked to do.

use std::net::IpAddr;

use crate::packet::Ttl;
use crate::time::Nanos;
use crate::trace::shape::{Method, Shape};
use crate::trace::{MAX_ATTEMPTS, MAX_PARALLEL, MAX_PAYLOAD_BYTES};

/// What to send, how far, and how sure to be.
#[derive(Clone, Debug, PartialEq)]
pub struct Spec {
    /// Where to.
    pub target: IpAddr,
    /// The fields that all probes share.
    pub shape: Shape,
    /// What differs from flow to flow.
    pub varies: Varies,
    /// The source port or ICMP identifier of the first flow; the driver's choice where absent.
    pub selector: Option<u16>,
    /// The destination port (UDP, TCP) of the first flow.
    pub port: u16,
    /// Octets of payload; at least 2 but for TCP.
    pub payload_bytes: u16,
    /// The probability, between 0 and 1, of finding every next hop of a node that chooses evenly.
    pub confidence: f64,
    /// The number of branch points for which all together the confidence shall hold; of each by itself where absent.
    pub branch_points: Option<u16>,
    /// The first TTL, at least 1.
    pub first_hop: Ttl,
    /// The last TTL, not below the first.
    pub max_ttl: Ttl,
    /// Follow a branch no further after so many silent hops in a row; always where 0.
    pub gap_limit: u8,
    /// Probes of one flow for a hop that stays silent: 1 to [`MAX_ATTEMPTS`].
    pub attempts: u8,
    /// How long after its probe an answer counts as received.
    pub timeout: Nanos,
    /// The least time from one probe to the next.
    pub wait: Nanos,
    /// The most probes that may be under way.
    pub parallel: u16,
    /// The most probes in all.
    pub max_probes: u32,
}

/// What differs from flow to flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Varies {
    /// The source port (UDP, TCP).
    SourcePort,
    /// The destination port (UDP).
    DestinationPort,
    /// The checksum (ICMP).
    Checksum,
}

impl Spec {
    /// A multipath trace over UDP with varying destination ports, 95 % sure at each node.
    pub const fn new(target: IpAddr) -> Self {
        Self {
            target,
            shape: Shape {
                method: Method::Udp,
                source: None,
                tos: 0,
                dont_fragment: false,
                fragment_offset: 0,
                router: None,
            },
            varies: Varies::DestinationPort,
            selector: None,
            port: 33_434,
            payload_bytes: 32,
            confidence: 0.95,
            branch_points: None,
            first_hop: Ttl(1),
            max_ttl: Ttl(30),
            gap_limit: 3,
            attempts: 2,
            timeout: Nanos::from_secs(2),
            wait: Nanos::ZERO,
            parallel: 16,
            max_probes: 3_000,
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
        if self.max_probes == 0 {
            return Err(SpecError::Probes);
        }
        let is_tcp = matches!(self.shape.method, Method::Tcp | Method::TcpAck);
        let least = if is_tcp { 0 } else { 2 };
        if !(least..=MAX_PAYLOAD_BYTES).contains(&self.payload_bytes) {
            return Err(SpecError::Payload(self.payload_bytes));
        }
        let fits = match self.varies {
            Varies::SourcePort => self.shape.method != Method::Icmp,
            Varies::DestinationPort => self.shape.method == Method::Udp,
            Varies::Checksum => self.shape.method == Method::Icmp,
        };
        if !fits {
            return Err(SpecError::Varies);
        }
        if self.selector == Some(0) || (self.shape.method != Method::Icmp && self.port == 0) {
            return Err(SpecError::Port);
        }
        Ok(())
    }
}

/// Why a [`Spec`] cannot be performed.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum SpecError {
    /// The TTLs are no range.
    #[error("TTLs from {0} to {1} are no range from 1 to 255")]
    Ttl(u8, u8),
    /// Too many probes for a silent hop, or none.
    #[error("{0} attempts, not between 1 and {MAX_ATTEMPTS}")]
    Attempts(u8),
    /// Too many probes at a time, or none.
    #[error("{0} probes at a time, not between 1 and {MAX_PARALLEL}")]
    Parallel(u16),
    /// No probes at all.
    #[error("no probes at all")]
    Probes,
    /// A payload that is too long, or too short for its checksum.
    #[error("payload of {0} octets, not between 2 and {MAX_PAYLOAD_BYTES}")]
    Payload(u16),
    /// A field that such probes don't have, or that tells them apart already.
    #[error("the flows of such probes can't differ in this field")]
    Varies,
    /// Port 0 is no port.
    #[error("port or identifier 0")]
    Port,
    /// A confidence that is none.
    #[error("confidence {0}, not between 0 and 1")]
    Confidence(f64),
}
