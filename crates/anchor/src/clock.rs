//! The one file of this crate that reads a clock.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use mmn_schema::time::Timestamp;

/// The monotonic clock: all that is decided by time is decided by it.
#[expect(clippy::disallowed_methods, reason = "this is the clock the rest of the crate is pointed to")]
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// The time of day: what is written down.
#[expect(clippy::disallowed_methods, reason = "this is the clock the rest of the crate is pointed to")]
pub(crate) fn wall() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_unix_ns(i64::try_from(since.as_nanos()).unwrap_or(i64::MAX))
}
