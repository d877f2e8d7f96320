//! The lab's clocks: the one place of this crate that reads time. Worlds don't: their drivers do.

use mmn_probe::time::{Instant, Nanos, Utc};
use rustix::time::{ClockId, Timespec, clock_gettime};

/// Now on `CLOCK_MONOTONIC`, which all processes of a host share.
pub fn monotonic() -> Instant {
    Instant(u64::try_from(nanos(clock_gettime(ClockId::Monotonic))).unwrap_or(0))
}

/// Both clocks at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reading {
    /// The moment on the monotonic clock.
    pub at: Instant,
    /// The same moment in civil time.
    pub wall: Utc,
    /// How far apart the two may have been read: a thread may lose its processor in between.
    pub width: Nanos,
}

/// Reads both clocks as close together as a few tries get them.
pub fn both() -> Reading {
    let mut best = pair();
    for _ in 0..3 {
        if best.width <= CLOSE {
            break;
        }
        let again = pair();
        if again.width < best.width {
            best = again;
        }
    }
    best
}

/// Two readings that took longer than this were interrupted.
const CLOSE: Nanos = Nanos(1_000);

fn pair() -> Reading {
    let before = monotonic();
    let wall = Utc(nanos(clock_gettime(ClockId::Realtime)));
    let width = monotonic().saturating_since(before);
    Reading { at: before + Nanos(width.0 / 2), wall, width }
}

fn nanos(time: Timespec) -> i64 {
    time.tv_sec.saturating_mul(1_000_000_000).saturating_add(time.tv_nsec)
}
