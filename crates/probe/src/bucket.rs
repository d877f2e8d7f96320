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
    if rate_per_s == 0 {
        return Err(Nanos::MAX);
    }
    let increment = span_ns(cost, rate_per_s);
    let tolerance = span_floor_ns(burst, rate_per_s).max(increment);
    let next = state.max(now_ns).saturating_add(increment);
    match next.saturating_sub(now_ns).checked_sub(tolerance) {
        None | Some(0) => Ok(next),
        Some(wait) => Err(Nanos(wait)),
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
        fn no_argument_panics(s: u64, n: u64, c: u64, r: u64, b: u64) {
            let _ = next_allowed(s, n, c, r, b);
        }
    }
}
