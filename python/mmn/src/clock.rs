//! The one place of this crate where a clock is read.

use std::time::Duration;

/// An instant of the monotonic clock.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Instant(std::time::Instant);

impl Instant {
    /// Now.
    #[expect(clippy::disallowed_methods, reason = "the clock of this crate is read here")]
    pub(crate) fn now() -> Self {
        Self(std::time::Instant::now())
    }

    /// The instant after so long; absent beyond what the clock can tell.
    pub(crate) fn after(self, time: Duration) -> Option<Self> {
        self.0.checked_add(time).map(Self)
    }

    /// The time since `earlier`; zero where it is later.
    pub(crate) fn since(self, earlier: Self) -> Duration {
        self.0.saturating_duration_since(earlier.0)
    }
}
