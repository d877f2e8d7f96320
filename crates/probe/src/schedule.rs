//! When probes leave: at a fixed interval, or at the random times of a Poisson process.
//!
//! A schedule is absolute: each slot follows from the slot before it, never from the moment at which a probe left, so
//! that what delays one probe shifts no other. Slots that have passed by are left out rather than made up for in a
//! burst. Chance comes from a seed: the same seed gives the same schedule.

use crate::time::{Instant, Nanos};

/// How slots follow one another.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Schedule {
    /// One each interval, the first at once.
    #[default]
    Periodic,
    /// One each interval, the first after a random part of one (RFC 3432, section 4): many that begin together don't
    /// stay together.
    PeriodicFromRandomStart {
        /// What decides the start.
        seed: u64,
    },
    /// Gaps that are independent and exponentially distributed with the interval as their mean, before the first one
    /// too (RFC 2330, section 11.1.1): nothing that is periodic in the network can keep in step with them.
    Poisson {
        /// What decides the gaps.
        seed: u64,
    },
    /// One each interval, but none before the one before it has been answered or given up: *send on receive* (RFC 8912,
    /// section 9.3.2). Who asks must see to the waiting; an interval is counted from the moment at which a slot was used.
    SendOnReceive,
}

impl Schedule {
    /// What decides its random times, where there are any.
    pub const fn seed(self) -> Option<u64> {
        match self {
            Self::Periodic | Self::SendOnReceive => None,
            Self::PeriodicFromRandomStart { seed } | Self::Poisson { seed } => Some(seed),
        }
    }
}

/// The slots of a schedule, one after the other. It stands beside the schedule, and is told it at each call.
#[derive(Clone, Debug)]
pub struct Slots {
    chance: Chance,
    /// [`NOT_BEGUN`] before the first call.
    next: Instant,
}

const NOT_BEGUN: Instant = Instant(u64::MAX);

impl Slots {
    /// Slots of a schedule that has not begun.
    pub fn new(schedule: Schedule) -> Self {
        Self { chance: Chance::new(schedule.seed().unwrap_or(0)), next: NOT_BEGUN }
    }

    /// The next slot. The first call begins the schedule.
    pub fn next(&mut self, schedule: Schedule, interval: Nanos, now: Instant) -> Instant {
        if self.next != NOT_BEGUN {
            return self.next;
        }
        let first = match schedule {
            Schedule::Periodic | Schedule::SendOnReceive => now,
            Schedule::PeriodicFromRandomStart { .. } => now + self.chance.below(interval),
            Schedule::Poisson { .. } => now + self.chance.exponential(interval),
        };
        self.next = first;
        first
    }

    /// Uses the next slot up, at `now`.
    pub fn take(&mut self, schedule: Schedule, interval: Nanos, now: Instant) {
        let slot = self.next(schedule, interval, now);
        let next = match schedule {
            Schedule::Periodic | Schedule::PeriodicFromRandomStart { .. } => following(slot, interval, now),
            Schedule::SendOnReceive => now.max(slot) + interval,
            Schedule::Poisson { .. } => {
                let next = slot + self.chance.exponential(interval);
                // Two slots may lie closer together than a probe takes, and both count. But from a long delay it goes
                // on from now: a Poisson process has no memory.
                if now.saturating_since(next) > interval {
                    now + self.chance.exponential(interval)
                } else {
                    next
                }
            }
        };
        self.next = next;
    }
}

/// The slot after `slot` on a grid, and after now; those to come stay on the grid.
fn following(slot: Instant, interval: Nanos, now: Instant) -> Instant {
    let next = slot + interval;
    match (now.checked_since(next), interval.0) {
        (None, _) => next,
        (Some(_), 0) => now,
        (Some(behind), interval) => next + Nanos((behind.0 / interval + 1).saturating_mul(interval)),
    }
}

/// Pseudo-random numbers: `SplitMix64` (Steele, Lea and Flood, 2014). Good enough for schedules, and no secret.
#[derive(Clone, Debug)]
pub struct Chance(u64);

impl Chance {
    /// The numbers of a seed.
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number.
    pub const fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A duration from zero to less than `end`, each as likely (as far as 64 bits go).
    pub fn below(&mut self, end: Nanos) -> Nanos {
        let scaled = (u128::from(self.draw()) * u128::from(end.0)) >> 64;
        Nanos(u64::try_from(scaled).unwrap_or(u64::MAX))
    }

    /// A duration of an exponential distribution: -ln(U) × mean, with U in (0, 1].
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "53 bits of chance are what a double holds; the product is not negative, and saturates"
    )]
    pub fn exponential(&mut self, mean: Nanos) -> Nanos {
        const BITS: u32 = f64::MANTISSA_DIGITS;
        let u = ((self.draw() >> (u64::BITS - BITS)) + 1) as f64 / (1_u64 << BITS) as f64;
        Nanos((-u.ln() * mean.0 as f64).round() as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    fn slots(schedule: Schedule, count: usize) -> Vec<u64> {
        let (mut slots, interval) = (Slots::new(schedule), Nanos(10 * MS));
        let mut now = Instant(5);
        (0..count)
            .map(|_| {
                now = slots.next(schedule, interval, now);
                slots.take(schedule, interval, now);
                now.0
            })
            .collect()
    }

    /// The first outputs of the reference implementation (Vigna, `splitmix64.c`) for the seed 1234567.
    #[test]
    fn chance_agrees_with_the_reference() {
        let mut chance = Chance::new(1_234_567);
        let drawn = [chance.draw(), chance.draw(), chance.draw()];
        assert_eq!(drawn, [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423]);
    }

    #[test]
    fn a_grid_is_a_grid() {
        assert_eq!(slots(Schedule::Periodic, 3), [5, 5 + 10 * MS, 5 + 20 * MS]);
        let shifted = slots(Schedule::PeriodicFromRandomStart { seed: 3 }, 3);
        assert!((5..5 + 10 * MS).contains(&shifted[0]) && shifted[0] != 5);
        assert_eq!(shifted[2] - shifted[0], 20 * MS);
        assert_ne!(shifted, slots(Schedule::PeriodicFromRandomStart { seed: 4 }, 3));
    }

    #[test]
    fn missed_slots_are_left_out() {
        let after = |schedule, late: u64| {
            let mut slots = Slots::new(schedule);
            let first = slots.next(schedule, Nanos(10), Instant(100));
            let now = first + Nanos(late);
            slots.take(schedule, Nanos(10), now);
            slots.next(schedule, Nanos(10), now).0 - first.0
        };
        assert_eq!((after(Schedule::Periodic, 0), after(Schedule::Periodic, 35)), (10, 40));
        assert_eq!((after(Schedule::Periodic, 9), after(Schedule::Periodic, 10)), (10, 20));
        assert!(after(Schedule::Poisson { seed: 1 }, 1_000_000) >= 1_000_000, "no burst");
        assert_eq!((after(Schedule::SendOnReceive, 0), after(Schedule::SendOnReceive, 35)), (10, 45));
    }

    #[test]
    fn a_seed_is_a_schedule() {
        let poisson = Schedule::Poisson { seed: 7 };
        assert_eq!(slots(poisson, 50), slots(poisson, 50));
        assert_ne!(slots(poisson, 50), slots(Schedule::Poisson { seed: 8 }, 50));
        // Recorded: a seed in an old result gives its schedule for ever.
        assert_eq!(slots(poisson, 3), RECORDED);
    }
    const RECORDED: [u64; 3] = [9_420_457, 50_291_191, 51_336_348];

    fn real(number: u64) -> f64 {
        f64::from(u32::try_from(number).unwrap_or(u32::MAX))
    }

    /// The Anderson-Darling statistic of gaps against an exponential distribution whose mean is known (RFC 2330,
    /// section 11.4, and the table for that case in D'Agostino and Stephens, 1986: 2.492 at 5 %, 3.857 at 1 %).
    fn anderson_darling(gaps: &[u64], mean: f64) -> f64 {
        let mut at: Vec<f64> = gaps.iter().map(|gap| 1.0 - (-real(*gap) / mean).exp()).collect();
        at.sort_by(f64::total_cmp);
        let weights = (0..).map(|i| real(2 * i + 1));
        let ends = at.iter().zip(at.iter().rev());
        let sum: f64 = weights.zip(ends).map(|(w, (low, high))| w * (low.ln() + (1.0 - high).ln())).sum();
        let n = real(u64::try_from(at.len()).unwrap());
        -n - sum / n
    }

    #[test]
    fn gaps_are_exponential() {
        let statistics: Vec<f64> = (0..400)
            .map(|seed| {
                let slots = slots(Schedule::Poisson { seed }, 200);
                let gaps: Vec<u64> = slots.windows(2).map(|pair| pair[1] - pair[0]).collect();
                anderson_darling(&gaps, real(10 * MS))
            })
            .collect();
        let beyond = |limit: f64| statistics.iter().filter(|statistic| **statistic > limit).count();
        // Of 400, 5 % are 20 and 1 % are 4; four standard deviations are 18 and 8.
        assert!((2..=38).contains(&beyond(2.492)), "{}", beyond(2.492));
        assert!(beyond(3.857) <= 12, "{}", beyond(3.857));
        let even: Vec<u64> = vec![10 * MS; 200];
        assert!(anderson_darling(&even, real(10 * MS)) > 10.0, "the test tells a grid from chance");
    }
}
