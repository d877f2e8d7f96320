//! The arithmetic of a token bucket in one 64-bit word, so that it can live in an atomic one.
//!
//! This is the generic cell rate algorithm (ITU-T I.371, the virtual scheduling form): the state is the
//! *theoretical arrival time*, the instant in nanoseconds at which the bucket will be full again. Nothing
//! here touches an atomic or a clock; a caller reads the word, asks, and writes the answer with
//! compare-and-exchange.
//!
//! The guarantee: in any interval of `t` seconds, no more than `rate × t + max(burst, largest cost)` units
//! pass.

use crate::time::Nanos;

/// The state of a bucket that is full: nothing was taken yet.
pub const FULL: u64 = 0;

/// Takes `cost` units from a bucket that refills at `rate_per_s` units a second and holds `burst` units.
///
/// `state` and `now_ns` are nanoseconds of the same monotonic clock. Returns the new state, or how long to
/// wait before the same question can be answered with yes. A cost larger than the burst passes when the
/// bucket is full. A rate of 0 lets nothing pass: the wait is [`Nanos::MAX`].
pub fn next_allowed(state: u64, now_ns: u64, cost: u64, rate_per_s: u64, burst: u64) -> Result<u64, Nanos> {
    Step::of(cost, rate_per_s, burst).ok_or(Nanos::MAX)?.next(state, now_ns)
}

/// Takes as many of `most` portions of `each` units as may pass at once, as [`next_allowed`] takes one. Returns how many
/// these are, at least one, and the new state; or how long to wait for the first. Beyond the burst they pass one by one.
pub fn most_allowed(
    state: u64,
    now_ns: u64,
    (each, most): (u64, u64),
    rate_per_s: u64,
    burst: u64,
) -> Result<(u64, u64), Nanos> {
    let of = |count: u64| next_allowed(state, now_ns, each.saturating_mul(count), rate_per_s, burst);
    let most = most.min(burst / each.max(1)).max(1);
    if let Ok(next) = of(most) {
        return Ok((most, next));
    }
    let one = of(1)?;
    let taken_ns = state.max(now_ns) - now_ns;
    let room_ns = span_floor_ns(burst, rate_per_s).saturating_sub(taken_ns);
    let room = u128::from(room_ns) * u128::from(rate_per_s) / NANOS_PER_SECOND / u128::from(each.max(1));
    // Rounded down twice, so there may be one more.
    let guess = u64::try_from(room).unwrap_or(u64::MAX).saturating_add(1);
    let found = (2..=guess.min(most)).rev().take(3).find_map(|count| Some((count, of(count).ok()?)));
    Ok(found.unwrap_or((1, one)))
}

/// What taking the same cost from buckets of the same rate and burst comes to, worked out beforehand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    increment: u64,
    tolerance: u64,
}

impl Step {
    /// As the arguments of [`next_allowed`] say; nothing for a rate of 0.
    pub fn of(cost: u64, rate_per_s: u64, burst: u64) -> Option<Self> {
        if rate_per_s == 0 {
            return None;
        }
        let increment = span_ns(cost, rate_per_s);
        Some(Self { increment, tolerance: span_floor_ns(burst, rate_per_s).max(increment) })
    }

    /// Takes it: the new state, or how long to wait.
    pub fn next(self, state: u64, now_ns: u64) -> Result<u64, Nanos> {
        let next = state.max(now_ns).saturating_add(self.increment);
        match next.saturating_sub(now_ns).checked_sub(self.tolerance) {
            None | Some(0) => Ok(next),
            Some(wait) => Err(Nanos(wait)),
        }
    }
}

/// The time that `units` take at `rate_per_s`, rounded up so that rounding never lets more pass.
fn span_ns(units: u64, rate_per_s: u64) -> u64 {
    // Divisions of 128 bits take ten times as long, and this is done several times for each packet.
    if let Some(nanos) = units.checked_mul(1_000_000_000) {
        return nanos.div_ceil(rate_per_s);
    }
    let nanos = (u128::from(units) * NANOS_PER_SECOND).div_ceil(u128::from(rate_per_s));
    u64::try_from(nanos).unwrap_or(u64::MAX)
}

fn span_floor_ns(units: u64, rate_per_s: u64) -> u64 {
    if let Some(nanos) = units.checked_mul(1_000_000_000) {
        return nanos / rate_per_s;
    }
    let nanos = u128::from(units) * NANOS_PER_SECOND / u128::from(rate_per_s);
    u64::try_from(nanos).unwrap_or(u64::MAX)
}

const NANOS_PER_SECOND: u128 = 1_000_000_000;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_full_bucket_gives_its_burst_then_one_per_slot() {
        let mut state = FULL;
        let now = 5_000_000_000;
        for _ in 0..10 {
            state = next_allowed(state, now, 1, 1_000, 10).unwrap();
        }
        assert_eq!(next_allowed(state, now, 1, 1_000, 10), Err(Nanos(1_000_000)));
        assert!(next_allowed(state, now + 1_000_000, 1, 1_000, 10).is_ok());
    }

    #[test]
    fn a_cost_above_the_burst_passes_when_the_bucket_is_full() {
        let state = next_allowed(FULL, 1, 100, 10, 1).unwrap();
        assert_eq!(state, 10_000_000_001);
        assert!(next_allowed(state, 2, 100, 10, 1).is_err());
    }

    #[test]
    fn a_rate_of_zero_lets_nothing_pass() {
        assert_eq!(next_allowed(FULL, 1, 1, 0, 10), Err(Nanos::MAX));
    }

    proptest! {
        #[test]
        fn never_more_than_rate_times_time_and_burst(
            rate in 1_u64..2_000_000,
            burst in 0_u64..1_000,
            steps in prop::collection::vec((0_u64..3_000_000, 1_u64..50), 1..300),
        ) {
            let start = 1_000_000_u64;
            let (mut now, mut state, mut taken, mut largest) = (start, FULL, 0_u64, 0_u64);
            for (gap, cost) in steps {
                now += gap;
                largest = largest.max(cost);
                if let Ok(next) = next_allowed(state, now, cost, rate, burst) {
                    state = next;
                    taken += cost;
                }
                let allowed = u128::from(rate) * u128::from(now - start)
                    + u128::from(burst.max(largest)) * NANOS_PER_SECOND;
                prop_assert!(u128::from(taken) * NANOS_PER_SECOND <= allowed);
            }
        }

        #[test]
        fn the_wait_is_exact(
            rate in 1_u64..2_000_000, burst in 0_u64..100, cost in 1_u64..100, state in 0_u64..10_000_000_000,
        ) {
            let now = 1_000_000_000;
            if let Err(wait) = next_allowed(state, now, cost, rate, burst) {
                prop_assert!(next_allowed(state, now + wait.0, cost, rate, burst).is_ok());
                prop_assert!(next_allowed(state, now + wait.0 - 1, cost, rate, burst).is_err());
            }
        }

        #[test]
        fn many_at_once_are_as_many_as_one_by_one(
            rate in 1_u64..5_000_000, burst in 0_u64..20_000, each in 1_u64..500, most in 1_u64..64,
            ahead in 0_u64..20_000_000,
        ) {
            let now = 1_000_000_000;
            let start = now + ahead;
            let (mut state, mut passed) = (start, 0);
            while passed < most && let Ok(next) = next_allowed(state, now, each, rate, burst) {
                state = next;
                passed += 1;
            }
            match most_allowed(start, now, (each, most), rate, burst) {
                Ok((count, next)) => {
                    // One by one each is rounded up, so that it may be one less.
                    prop_assert!(count == passed || count == passed + 1, "{} and {}", count, passed);
                    prop_assert_eq!(Ok(next), next_allowed(start, now, each * count, rate, burst));
                    prop_assert!(count == 1 || each * count <= burst);
                }
                Err(wait) => {
                    prop_assert_eq!(passed, 0);
                    prop_assert_eq!(Err(wait), next_allowed(start, now, each, rate, burst));
                }
            }
        }

        #[test]
        fn no_argument_panics(s: u64, n: u64, c: u64, r: u64, b: u64) {
            let _ = next_allowed(s, n, c, r, b);
            let _ = most_allowed(s, n, (c, b), r, n);
        }
    }
}
