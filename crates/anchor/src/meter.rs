//! How much of something comes: a count of the last seconds, and a bucket of tokens. Both are given the time.

use std::time::{Duration, Instant};

/// Counts what came in the last ten seconds or so: in two halves, of which the older one is forgotten as a whole.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Recent {
    since: Option<Instant>,
    before: u64,
    now: u64,
}

/// How long a half is.
const HALF: Duration = Duration::from_secs(5);

impl Recent {
    pub(crate) fn add(&mut self, now: Instant, count: u64) {
        let (before, current) = self.halves(now);
        if self.since.is_none_or(|since| now.saturating_duration_since(since) >= HALF) {
            self.since = Some(now);
        }
        (self.before, self.now) = (before, current + count);
    }

    /// How many came.
    pub(crate) fn count(&self, now: Instant) -> u64 {
        let (before, current) = self.halves(now);
        before + current
    }

    fn halves(&self, now: Instant) -> (u64, u64) {
        let age = self.since.map_or(Duration::ZERO, |since| now.saturating_duration_since(since));
        if age < HALF {
            (self.before, self.now)
        } else if age < 2 * HALF {
            (self.now, 0)
        } else {
            (0, 0)
        }
    }
}

/// A bucket of tokens.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tokens {
    left: f64,
    at: Instant,
}

impl Tokens {
    /// A full one.
    pub(crate) fn full(now: Instant, burst: f64) -> Self {
        Self { left: burst, at: now }
    }

    /// Takes one, of a bucket that holds `burst` and gets `per_s` in a second. Whether there was one.
    pub(crate) fn take(&mut self, now: Instant, per_s: f64, burst: f64) -> bool {
        let since = now.saturating_duration_since(self.at).as_secs_f64();
        self.left = (self.left + since * per_s).min(burst);
        self.at = self.at.max(now);
        let there = self.left >= 1.0;
        if there {
            self.left -= 1.0;
        }
        there
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_old_is_forgotten() {
        let start = crate::clock::now();
        let at = |s| start + Duration::from_secs(s);
        let mut recent = Recent::default();
        recent.add(at(0), 3);
        recent.add(at(4), 2);
        assert_eq!((recent.count(at(4)), recent.count(at(9)), recent.count(at(10))), (5, 5, 0));
        recent.add(at(6), 1);
        assert_eq!((recent.count(at(6)), recent.count(at(12)), recent.count(at(16))), (6, 1, 0));
    }

    #[test]
    fn tokens_come_back() {
        let start = crate::clock::now();
        let mut tokens = Tokens::full(start, 3.0);
        let mut take = |ms| tokens.take(start + Duration::from_millis(ms), 10.0, 3.0);
        assert_eq!(
            [take(0), take(0), take(0), take(0), take(50), take(150)],
            [true, true, true, false, false, true]
        );
        assert_eq!((0..10).filter(|_| take(10_000)).count(), 3);
    }
}
