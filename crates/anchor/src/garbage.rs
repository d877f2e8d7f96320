//! Messages that can't be read or believed: counted by class of subject, logged at a bounded rate, dropped.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::time::{Duration, Instant};

/// The counters, and when a line was last logged.
#[derive(Debug, Default)]
pub(crate) struct Garbage {
    counts: BTreeMap<&'static str, u64>,
    logged: Option<Instant>,
    unlogged: u64,
}

/// At most one line in this time.
const LOG_INTERVAL: Duration = Duration::from_secs(1);
/// How much of a subject or an error is logged.
const MAX_TEXT: usize = 200;

impl Garbage {
    /// Counts a message of `class`. Whether a line was logged.
    pub(crate) fn count(
        &mut self,
        now: Instant,
        class: &'static str,
        subject: &str,
        why: &dyn Display,
    ) -> bool {
        *self.counts.entry(class).or_default() += 1;
        if self.logged.is_some_and(|at| now.saturating_duration_since(at) < LOG_INTERVAL) {
            self.unlogged += 1;
            return false;
        }
        self.logged = Some(now);
        let subject: String = subject.chars().take(MAX_TEXT).collect();
        let why: String = why.to_string().chars().take(MAX_TEXT).collect();
        tracing::warn!(class, subject, why, others = self.unlogged, "a message was dropped");
        self.unlogged = 0;
        true
    }

    /// How many there were, by class.
    pub(crate) fn counts(&self) -> &BTreeMap<&'static str, u64> {
        &self.counts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_counted_and_logged_once_a_second() {
        let (mut garbage, start) = (Garbage::default(), crate::clock::now());
        let lines = (0..3000u64)
            .filter(|&ms| garbage.count(start + Duration::from_millis(ms), "res", "x", &"no CBOR"))
            .count();
        assert_eq!((lines, garbage.counts()["res"]), (3, 3000));
    }
}
