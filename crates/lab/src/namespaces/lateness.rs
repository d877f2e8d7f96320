//! How late packets were brought: by how much after the instant at which the world had them arrive.

use serde::{Deserialize, Serialize};

/// Counts of durations in buckets, each an eighth of its power of two wide: quantiles are right to 12 %, and to 16 ns
/// below 128 ns.
#[derive(Clone, Debug)]
pub struct Lateness {
    buckets: Box<[u64; BUCKETS]>,
    count: u64,
    most_ns: u64,
}

/// Quantiles of lateness.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Late {
    /// Of how many packets.
    pub packets: u64,
    /// Half of them were at most so late, in nanoseconds; absent where there were none.
    pub p50_ns: Option<u64>,
    /// Nine of ten.
    pub p90_ns: Option<u64>,
    /// 99 of a hundred.
    pub p99_ns: Option<u64>,
    /// All.
    pub most_ns: Option<u64>,
}

impl Default for Lateness {
    fn default() -> Self {
        Self { buckets: Box::new([0; BUCKETS]), count: 0, most_ns: 0 }
    }
}

impl Lateness {
    /// Counts one.
    pub fn add(&mut self, late_ns: u64) {
        if let Some(bucket) = self.buckets.get_mut(bucket_of(late_ns)) {
            *bucket += 1;
        }
        self.count += 1;
        self.most_ns = self.most_ns.max(late_ns);
    }

    /// Forgets all.
    pub fn clear(&mut self) {
        self.buckets.fill(0);
        self.count = 0;
        self.most_ns = 0;
    }

    /// Counts those of another, too.
    pub fn join(&mut self, other: &Self) {
        for (bucket, more) in self.buckets.iter_mut().zip(other.buckets.iter()) {
            *bucket += more;
        }
        self.count += other.count;
        self.most_ns = self.most_ns.max(other.most_ns);
    }

    /// What they come to.
    pub fn sum(&self) -> Late {
        Late {
            packets: self.count,
            p50_ns: self.quantile(50),
            p90_ns: self.quantile(90),
            p99_ns: self.quantile(99),
            most_ns: (self.count > 0).then_some(self.most_ns),
        }
    }

    fn quantile(&self, percent: u64) -> Option<u64> {
        let wanted = (self.count * percent).div_ceil(100).max(1);
        let mut seen = 0;
        let at = self.buckets.iter().position(|bucket| {
            seen += bucket;
            seen >= wanted
        })?;
        Some(end_of(at).min(self.most_ns))
    }
}

const BUCKETS: usize = 512;
/// Eight buckets to a power of two.
const STEPS: u64 = 8;

fn bucket_of(late_ns: u64) -> usize {
    let units = late_ns / UNIT_NS;
    if units < STEPS {
        return usize::try_from(units).unwrap_or(0);
    }
    let power = u64::from(units.ilog2());
    let step = (units >> (power - 3)) & (STEPS - 1);
    usize::try_from((power - 2) * STEPS + step).unwrap_or(BUCKETS).min(BUCKETS - 1)
}

/// The end of a bucket.
fn end_of(bucket: usize) -> u64 {
    let bucket = u64::try_from(bucket).unwrap_or(0);
    let units = if bucket < STEPS {
        bucket + 1
    } else {
        let power = bucket / STEPS + 2;
        (STEPS + bucket % STEPS + 1).checked_shl(u32::try_from(power - 3).unwrap_or(0)).unwrap_or(u64::MAX)
    };
    units.saturating_mul(UNIT_NS)
}

const UNIT_NS: u64 = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_near() {
        let mut late = Lateness::default();
        assert_eq!(late.sum(), Late::default());
        for ns in 1..=100_000 {
            late.add(ns);
        }
        let sum = late.sum();
        for (is, should) in [(sum.p50_ns, 50_000), (sum.p90_ns, 90_000), (sum.p99_ns, 99_000)] {
            let is = is.unwrap();
            assert!(is >= should && is * 100 <= should * 113, "{is} {should}");
        }
        assert_eq!((sum.packets, sum.most_ns), (100_000, Some(100_000)));
        late.add(u64::MAX);
        assert_eq!(late.sum().most_ns, Some(u64::MAX));
        late.clear();
        assert_eq!(late.sum(), Late::default());
    }

    #[test]
    fn buckets_are_in_order() {
        let mut last = 0;
        for power in 0..60 {
            for step in 0..8_u64 {
                let ns = (8 + step) << power;
                assert!(bucket_of(ns) >= last, "{ns}");
                last = bucket_of(ns);
                assert!(last == BUCKETS - 1 || end_of(last) > ns, "{ns} {}", end_of(last));
            }
        }
    }
}
