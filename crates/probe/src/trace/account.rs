//! What a trace remembers of each probe and each hop: little, for there may be very many traces.

use std::num::NonZeroU16;

use super::record::{Fate, Reply};
use crate::packet::{Identity, Ttl};
use crate::time::{Instant, Nanos, Stamp, StampSource, Utc};

/// A probe.
#[derive(Debug)]
pub(super) struct Entry {
    /// When it left, on both clocks, and who says so: nobody before it has.
    left_at: Instant,
    left_utc: Utc,
    stamped_by: Option<StampSource>,
    identity: Identity,
    pub(super) fate: Option<Fate>,
    pub(super) bytes: u32,
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
            left_at: Instant(0),
            left_utc: Utc(0),
            stamped_by: None,
            identity: Identity { selector: 0, tag: 0 },
            fate: None,
            bytes: 0,
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

    /// When it left; absent before.
    pub(super) fn sent(&self) -> Option<Stamp> {
        self.stamped_by.map(|source| Stamp { at: self.left_at, utc: self.left_utc, source })
    }

    /// What told it from others on the wire; absent before it left.
    pub(super) fn identity(&self) -> Option<Identity> {
        self.stamped_by.map(|_| self.identity)
    }

    /// It left at this moment.
    pub(super) const fn stamp(&mut self, stamp: Stamp) {
        (self.left_at, self.left_utc, self.stamped_by) = (stamp.at, stamp.utc, Some(stamp.source));
    }

    /// It left like this; the stamp comes with it.
    pub(super) const fn departed(&mut self, identity: Identity, ip_id: Option<u16>, bytes: u32) {
        (self.identity, self.ip_id, self.bytes) = (identity, ip_id, bytes);
    }

    pub(super) fn rtt(&self, reply: Option<&Reply>) -> Option<Nanos> {
        reply?.received.at.checked_since(self.sent()?.at)
    }
}

const _: () = assert!(size_of::<Entry>() <= 48, "what is kept of a probe must not grow");

/// What a probe is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Errand {
    /// To find who is on the path.
    Path,
    /// To find the path's MTU.
    Mtu,
    /// To find whether the destination answers at all, behind a gap.
    LastDitch,
    /// To find who is on the path before the first hop.
    Backward,
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
