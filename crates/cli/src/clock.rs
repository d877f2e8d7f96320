//! The one file of this crate that reads a clock.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use mmn_schema::time::Timestamp;

/// The monotonic clock.
#[expect(clippy::disallowed_methods, reason = "this is the clock the rest of the crate is pointed to")]
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// Civil time.
#[expect(clippy::disallowed_methods, reason = "this is the clock the rest of the crate is pointed to")]
pub(crate) fn wall() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_unix_ns(i64::try_from(since.as_nanos()).unwrap_or(i64::MAX))
}

/// Civil time in seconds since 1970 UTC.
pub(crate) fn wall_s() -> u64 {
    u64::try_from(wall().unix_ns() / 1_000_000_000).unwrap_or(0)
}
