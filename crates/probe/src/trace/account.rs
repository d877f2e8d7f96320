//! What a trace remembers of each probe and each hop: little, for there may be very many traces.

use std::num::NonZeroU16;

use super::record::{Fate, Reply};
use crate::packet::{Identity, Ttl};
use crate::time::{Nanos, Stamp};

/// A probe.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) sent: Option<Stamp>,
    pub(super) fate: Option<Fate>,
    pub(super) bytes: u32,
    pub(super) identity: Option<Identity>,
    pub(super) ip_id: Option<u16>,
    /// The number of its first reply among the trace's, from 1.
    pub(super) reply: Option<NonZeroU16>,
    pub(super) duplicates: u16,
    pub(super) payload_bytes: u16,
    pub(super) ttl: Ttl,
    pub(super) attempt: u8,
    pub(super) errand: Errand,
    pub(super) overrun: bool,
    pub(super) clock_stepped: bool,
}

impl Entry {
    pub(super) const fn new(ttl: Ttl, attempt: u8, payload_bytes: u16) -> Self {
        Self {
            sent: None,
            fate: None,
            bytes: 0,
            identity: None,
            ip_id: None,
            reply: None,
            duplicates: 0,
            payload_bytes,
            ttl,
            attempt,
            errand: Errand::Path,
            overrun: false,
            clock_stepped: false,
        }
    }

    pub(super) fn rtt(&self, reply: Option<&Reply>) -> Option<Nanos> {
        reply?.received.at.checked_since(self.sent?.at)
    }
}

/// What a probe is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Errand {
    /// To find who is on the path.
    Path,
    /// To find the path's MTU.
    Mtu,
    /// To find whether the destination answers at all, behind a gap.
    LastDitch,
}

/// What was asked at one TTL.
#[derive(Debug, Default)]
pub(super) struct Hop {
    /// Probes that were begun.
    pub(super) tries: u8,
    /// Those that don't count, for the receiver was overrun.
    pub(super) forgiven: u8,
    /// Those that are not settled.
    pub(super) open: u8,
    /// The number of the first reply among the trace's, from 1; 0 where there was none.
    pub(super) reply: u16,
}
