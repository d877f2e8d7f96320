//! The one file of this crate that reads a clock.

use std::time::Instant;

#[expect(clippy::disallowed_methods, reason = "this is the clock the rest of the crate is pointed to")]
pub(crate) fn now() -> Instant {
    Instant::now()
}
