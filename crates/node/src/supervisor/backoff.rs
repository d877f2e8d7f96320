//! When to start again what died. Pure.

use std::time::Duration;

/// The pauses of one instance.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Backoff {
    in_a_row: u32,
}

const FIRST: Duration = Duration::from_millis(500);
const LONGEST: Duration = Duration::from_secs(60);
/// What ran so long was well.
const STEADY: Duration = Duration::from_secs(60);

impl Backoff {
    /// It died after `lived`; how long to wait.
    pub(super) fn died(&mut self, lived: Duration) -> Duration {
        self.in_a_row = if lived >= STEADY { 1 } else { self.in_a_row.saturating_add(1) };
        FIRST.saturating_mul(1 << (self.in_a_row - 1).min(10)).min(LONGEST)
    }

    /// How often it died without a steady life between.
    pub(super) const fn in_a_row(self) -> u32 {
        self.in_a_row
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_a_minute_and_start_over_after_a_steady_life() {
        let mut backoff = Backoff::default();
        let pauses: Vec<u64> =
            (0..9).map(|_| u64::try_from(backoff.died(Duration::ZERO).as_millis()).unwrap()).collect();
        assert_eq!(pauses, [500, 1000, 2000, 4000, 8000, 16_000, 32_000, 60_000, 60_000]);
        assert_eq!(backoff.died(STEADY), FIRST);
        assert_eq!(backoff.in_a_row(), 1);
    }
}
