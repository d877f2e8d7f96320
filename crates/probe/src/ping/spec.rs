//! What an echo measurement is asked to do.

use std::net::IpAddr;

use crate::{packet::Ttl, time::Nanos};

/// The most requests that one measurement may send.
pub const MAX_COUNT: u32 = 65_535;

/// The longest payload: what an IPv4 packet of 65,535 octets leaves after its header and ICMP's.
pub const MAX_PAYLOAD_BYTES: u16 = 65_507;

/// What to send, how often, and how long to wait.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spec {
    /// Where to.
    pub target: IpAddr,
    /// How many requests: 1 to [`MAX_COUNT`].
    pub count: u32,
    /// The time from one request to the next. The schedule is fixed by the first request; a slot that was
    /// missed is left out.
    pub interval: Nanos,
    /// How long after its request a reply counts as received.
    pub timeout: Nanos,
    /// Octets after the ICMP header: at most [`MAX_PAYLOAD_BYTES`].
    pub payload_bytes: u16,
    /// The TTL of the requests; the system's own where absent. At least 1.
    pub ttl: Option<Ttl>,
    /// What the payload repeats after the cookie; zeros where empty.
    pub fill: Vec<u8>,
    /// Be done as soon as so many requests have been answered in time. At least 1.
    pub stop_after: Option<u32>,
}

impl Spec {
    /// Three requests of 56 octets, a second apart, with a second to answer each.
    pub const fn new(target: IpAddr) -> Self {
        Self {
            target,
            count: 3,
            interval: Nanos::from_secs(1),
            timeout: Nanos::from_secs(1),
            payload_bytes: 56,
            ttl: None,
            fill: Vec::new(),
            stop_after: None,
        }
    }

    pub(super) fn check(&self) -> Result<(), SpecError> {
        if self.count == 0 || self.count > MAX_COUNT {
            return Err(SpecError::Count(self.count));
        }
        if self.payload_bytes > MAX_PAYLOAD_BYTES {
            return Err(SpecError::Payload(self.payload_bytes));
        }
        if self.ttl.is_some_and(|ttl| ttl.0 == 0) {
            return Err(SpecError::Ttl);
        }
        if self.stop_after == Some(0) {
            return Err(SpecError::StopAfter);
        }
        Ok(())
    }
}

/// Why a [`Spec`] cannot be performed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SpecError {
    /// The count is out of range.
    #[error("count is {0}, not between 1 and {MAX_COUNT}")]
    Count(u32),
    /// The payload is too long.
    #[error("payload of {0} octets, more than {MAX_PAYLOAD_BYTES}")]
    Payload(u16),
    /// A TTL of 0 goes nowhere.
    #[error("TTL is 0, not between 1 and 255")]
    Ttl,
    /// Stopping after no replies means not to begin.
    #[error("stop_after is 0; leave it out to wait for every reply")]
    StopAfter,
}
