//! The one file of this crate that reads a clock.

use std::time::{SystemTime, UNIX_EPOCH};

/// Civil time in seconds since 1970 UTC, as records count them.
#[expect(clippy::disallowed_methods, reason = "this is the clock the rest of the crate is pointed to")]
pub(crate) fn wall_s() -> u32 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u32::try_from(since.as_secs()).unwrap_or(u32::MAX)
}
