//! The one file of this crate that reads a clock.

use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// The time since some moment of this process, which stays the same.
#[expect(clippy::disallowed_methods, reason = "this is the clock the rest of the crate is pointed to")]
pub(crate) fn now() -> Duration {
    static ORIGIN: OnceLock<Instant> = OnceLock::new();
    let now = Instant::now();
    now.saturating_duration_since(*ORIGIN.get_or_init(|| now))
}
