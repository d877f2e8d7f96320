//! Time as an argument: instants of a monotonic clock, durations, and stamps that say who took them.
//!
//! Nothing here reads a clock. An [`Instant`] counts from an arbitrary fixed point that the driver chose (on
//! Linux the origin of `CLOCK_MONOTONIC`, so that instants of all processes of a host compare).

use std::{fmt, ops};

/// A duration in nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Nanos(pub u64);

impl Nanos {
    /// No time at all.
    pub const ZERO: Self = Self(0);
    /// The longest duration that can be said, about 584 years.
    pub const MAX: Self = Self(u64::MAX);

    /// So many whole milliseconds.
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis.saturating_mul(1_000_000))
    }

    /// So many whole seconds.
    pub const fn from_secs(secs: u64) -> Self {
        Self(secs.saturating_mul(1_000_000_000))
    }
}

impl From<std::time::Duration> for Nanos {
    fn from(duration: std::time::Duration) -> Self {
        Self(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX))
    }
}

impl From<Nanos> for std::time::Duration {
    fn from(nanos: Nanos) -> Self {
        Self::from_nanos(nanos.0)
    }
}

impl fmt::Display for Nanos {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ns", self.0)
    }
}

/// A point on the driver's monotonic clock, in nanoseconds since that clock's origin.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instant(pub u64);

impl Instant {
    /// The time from `earlier` to `self`, or nothing when `earlier` is the later of the two.
    pub fn checked_since(self, earlier: Self) -> Option<Nanos> {
        self.0.checked_sub(earlier.0).map(Nanos)
    }

    /// The time from `earlier` to `self`, or zero when `earlier` is the later of the two.
    pub fn saturating_since(self, earlier: Self) -> Nanos {
        Nanos(self.0.saturating_sub(earlier.0))
    }
}

impl ops::Add<Nanos> for Instant {
    type Output = Self;

    /// Saturates at the end of the clock, which no host reaches.
    fn add(self, rhs: Nanos) -> Self {
        Self(self.0.saturating_add(rhs.0))
    }
}

/// A point of civil time: nanoseconds since 1970-01-01T00:00:00Z.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Utc(pub i64);

/// Who took a stamp, and with it how far it may be from the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum StampSource {
    /// The kernel, when it handed the packet to the device or took it from there.
    Kernel,
    /// The process, just before the system call that sends or just after the one that receives.
    User,
    /// A simulated network, when the packet really left or came there.
    Simulated,
}

/// When a packet left or came, on both clocks.
///
/// Both values tell the same moment. A driver that has a kernel stamp (civil time) converts it with the
/// distance between the two clocks at the moment of reading, so that round trips are differences of one
/// monotonic clock, whatever happens to civil time meanwhile.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Stamp {
    /// The moment on the monotonic clock: for differences.
    pub at: Instant,
    /// The moment in civil time: for records.
    pub utc: Utc,
    /// Who took it.
    pub source: StampSource,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_saturate() {
        assert_eq!(Nanos::from_secs(u64::MAX), Nanos::MAX);
        assert_eq!(Instant(5) + Nanos::MAX, Instant(u64::MAX));
        assert_eq!(Instant(5).checked_since(Instant(7)), None);
        assert_eq!(Instant(5).saturating_since(Instant(7)), Nanos::ZERO);
    }
}
