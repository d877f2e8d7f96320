//! The node's clocks: the one place of this crate that reads time.

use std::time::{SystemTime, UNIX_EPOCH};

use mmn_probe::time::{Instant, Utc};
use mmn_schema::announce::ClockState;
use rustix::time::{ClockId, Timespec, clock_gettime};

use crate::net::timex::clock_report;

/// Now on `CLOCK_MONOTONIC`, which all processes of a host share.
pub fn monotonic() -> Instant {
    Instant(u64::try_from(nanos(clock_gettime(ClockId::Monotonic))).unwrap_or(0))
}

/// Now in civil time.
#[expect(clippy::disallowed_methods, reason = "this is the clock the rest of the crate is pointed to")]
pub fn wall() -> Utc {
    // Through the C library: what a test puts in its place is heard.
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Utc(i64::try_from(since.as_nanos()).unwrap_or(i64::MAX))
}

/// What the kernel says of its civil clock; nothing where it says nothing.
pub fn state() -> Option<ClockState> {
    clock_report().map(|report| ClockState {
        synchronised: report.synchronised,
        offset_ns: Some(report.offset_ns),
        max_error_ns: Some(report.max_error_ns),
    })
}

/// Both clocks at one moment: `wall` is the civil time at the monotonic instant `at`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reading {
    /// The moment on the monotonic clock.
    pub at: Instant,
    /// The same moment in civil time.
    pub wall: Utc,
}

impl Reading {
    /// How far civil time is ahead of the monotonic clock, in nanoseconds. It changes only when somebody sets
    /// the clock: the kernel slews both alike.
    pub fn distance_ns(&self) -> i64 {
        self.wall.0.saturating_sub(i64::try_from(self.at.0).unwrap_or(i64::MAX))
    }
}

/// Reads both clocks as close together as they can be read.
pub fn both() -> Reading {
    let mut best = pair();
    for _ in 0..3 {
        if best.1 <= CLOSE_NS {
            break;
        }
        let again = pair();
        if again.1 < best.1 {
            best = again;
        }
    }
    best.0
}

/// A pair of readings that took longer than this was interrupted.
const CLOSE_NS: u64 = 2_000;

fn pair() -> (Reading, u64) {
    let before = monotonic();
    let wall = wall();
    let width = monotonic().saturating_since(before).0;
    (Reading { at: Instant(before.0 + width / 2), wall }, width)
}

fn nanos(time: Timespec) -> i64 {
    time.tv_sec.saturating_mul(1_000_000_000).saturating_add(time.tv_nsec)
}
