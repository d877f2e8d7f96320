//! The one file of this crate that reads a clock.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use mmn_schema::time::Timestamp;

/// The monotonic clock: all that is decided by time is decided by it.
#[expect(clippy::disallowed_methods, reason = "this is the clock the rest of the crate is pointed to")]
pub(crate) fn now() -> Instant {
    Instant::now() + ahead()
}

/// The clock that timers go by: it says whether one came late.
#[expect(clippy::disallowed_methods, reason = "this is the clock the rest of the crate is pointed to")]
pub(crate) fn of_timers() -> Instant {
    Instant::now()
}

/// The time of day: what is written down.
#[expect(clippy::disallowed_methods, reason = "this is the clock the rest of the crate is pointed to")]
pub(crate) fn wall() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default() + ahead();
    Timestamp::from_unix_ns(i64::try_from(since.as_nanos()).unwrap_or(i64::MAX))
}

#[cfg(not(feature = "testing"))]
const fn ahead() -> std::time::Duration {
    std::time::Duration::ZERO
}

#[cfg(feature = "testing")]
use shifted::ahead;

/// Clocks that a test moves on, so that an hour passes in no time. Timers (the actor's tick, pauses) go on in real time.
#[cfg(feature = "testing")]
pub(crate) mod shifted {
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::time::Duration;

    static AHEAD_NS: AtomicU64 = AtomicU64::new(0);

    pub(super) fn ahead() -> Duration {
        Duration::from_nanos(AHEAD_NS.load(Ordering::Acquire))
    }

    /// Moves both clocks of every anchor in this process on.
    pub fn advance(by: Duration) {
        AHEAD_NS.fetch_add(u64::try_from(by.as_nanos()).unwrap_or(u64::MAX), Ordering::AcqRel);
    }
}
