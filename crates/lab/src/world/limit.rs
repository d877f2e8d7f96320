//! How much ICMP a node makes: a token bucket, kept as the instant at which it is full again.

use mmn_probe::time::Instant;

use crate::plan::IcmpLimit;

#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Bucket {
    full_at: u64,
}

impl Bucket {
    /// Takes a token, if there is one.
    pub(super) fn take(&mut self, limit: &IcmpLimit, now: Instant) -> bool {
        let room = limit.every.0.saturating_mul(u64::from(limit.burst.saturating_sub(1)));
        if self.full_at > now.0.saturating_add(room) {
            return false;
        }
        self.full_at = self.full_at.max(now.0).saturating_add(limit.every.0);
        true
    }
}

#[cfg(test)]
mod tests {
    use mmn_probe::time::Nanos;

    use super::*;

    #[test]
    fn a_burst_and_then_the_rate() {
        let limit = IcmpLimit { every: Nanos(100), burst: 3 };
        let mut bucket = Bucket::default();
        let taken: Vec<_> = (0..100).filter(|n| bucket.take(&limit, Instant(n * 10))).collect();
        assert_eq!(taken, [0, 1, 2, 10, 20, 30, 40, 50, 60, 70, 80, 90]);
    }
}
