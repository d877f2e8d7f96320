//! From the numbers that people write to those that worlds count with.

use mmn_probe::time::Nanos;

/// How likely something is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Odds(u64);

impl Odds {
    /// It never happens.
    pub const NEVER: Self = Self(0);

    /// A probability from 0 to 1.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "the cast saturates at both ends, which are certainties"
    )]
    pub fn new(probability: f64) -> Option<Self> {
        (0.0..=1.0).contains(&probability).then_some(Self((probability * u64::MAX as f64) as u64))
    }

    /// Whether it never happens.
    pub const fn is_never(self) -> bool {
        self.0 == 0
    }

    /// Whether it happens at this draw of 64 random bits.
    pub const fn happens(self, draw: u64) -> bool {
        self.0 != 0 && draw <= self.0
    }
}

/// A duration of so many milliseconds, to the nanosecond; nothing where it is negative, no number, or more than a day.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the range was checked, and the fraction of a nanosecond is rounded"
)]
pub(super) fn millis(ms: f64) -> Option<Nanos> {
    (0.0..=86_400_000.0).contains(&ms).then(|| Nanos((ms * 1e6).round() as u64))
}

/// A rate of so many million bits per second; nothing where it is not positive.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the range was checked, and a fraction of a bit per second is nothing"
)]
pub(super) fn megabits(mbps: f64) -> Option<u64> {
    (1e-6..=1e9).contains(&mbps).then_some((mbps * 1e6) as u64)
}

/// The time for one at so many per second; nothing where that is not positive.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the range was checked, and the fraction of a nanosecond is rounded"
)]
pub(super) fn every(per_s: f64) -> Option<Nanos> {
    (1e-6..=1e9).contains(&per_s).then(|| Nanos((1e9 / per_s).round() as u64))
}
