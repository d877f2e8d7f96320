//! When to start again what died: a circuit breaker. Pure.
//!
//! Closed, it starts again at once, then after short pauses: whoever was killed is back in a blink. Too many deaths
//! within a minute open it: a long pause, then one trial (half-open). A trial that dies opens it again for twice as
//! long, one that lives a steady life closes it.

use std::collections::VecDeque;
use std::time::Duration;

use mmn_probe::time::Instant;

/// So many deaths within so long a time open it.
const DEATHS: usize = 5;
const WITHIN: Duration = Duration::from_secs(60);
/// The pauses after the first deaths.
const SHORT: [Duration; DEATHS - 1] =
    [Duration::ZERO, Duration::from_millis(100), Duration::from_millis(300), Duration::from_secs(1)];
/// The pause when it opens, and the longest.
const OPEN: Duration = Duration::from_secs(5);
const LONGEST: Duration = Duration::from_secs(300);
/// What runs so long is well.
pub(super) const STEADY: Duration = Duration::from_secs(60);

/// The breaker of one instance.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Breaker {
    state: State,
    /// When it died of late.
    deaths: VecDeque<Instant>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum State {
    #[default]
    Closed,
    /// So many times since it was closed.
    Open(u32),
    HalfOpen(u32),
}

impl Breaker {
    /// It died at `now` after `lived`; how long to wait.
    pub(super) fn died(&mut self, now: Instant, lived: Duration) -> Duration {
        if lived >= STEADY {
            *self = Self::default();
        }
        self.deaths.retain(|death| Duration::from(now.saturating_since(*death)) < WITHIN);
        if self.deaths.len() >= DEATHS {
            self.deaths.pop_front();
        }
        self.deaths.push_back(now);
        let opened = match self.state {
            State::Open(times) | State::HalfOpen(times) => times,
            State::Closed if self.deaths.len() >= DEATHS => 0,
            State::Closed => {
                return SHORT.get(self.deaths.len() - 1).copied().unwrap_or(OPEN);
            }
        };
        self.state = State::Open(opened.saturating_add(1));
        OPEN.saturating_mul(1 << opened.min(10)).min(LONGEST)
    }

    /// It is started. Gives whether that is a trial.
    pub(super) const fn started(&mut self) -> bool {
        if let State::Open(times) = self.state {
            self.state = State::HalfOpen(times);
        }
        matches!(self.state, State::HalfOpen(_))
    }

    /// It has lived a steady life, or somebody has mended it.
    pub(super) fn close(&mut self) {
        *self = Self::default();
    }

    /// Whether it waits for a trial.
    pub(super) const fn is_open(&self) -> bool {
        matches!(self.state, State::Open(_))
    }

    /// How often it died within a minute, five at most.
    pub(super) fn deaths(&self) -> usize {
        self.deaths.len()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(ms: u64) -> Instant {
        Instant(ms * 1_000_000)
    }

    #[test]
    fn what_keeps_dying_waits_ever_longer_and_is_tried_once_each_time() {
        let (mut breaker, mut now, mut pauses) = (Breaker::default(), 0, Vec::new());
        for death in 1..=12 {
            let pause = breaker.died(at(now), Duration::from_millis(1));
            assert_eq!(breaker.is_open(), death >= 5);
            pauses.push(u64::try_from(pause.as_millis()).unwrap());
            now += pauses.last().unwrap() + 1;
            assert_eq!(breaker.started(), death >= 5);
        }
        let seconds = [5, 10, 20, 40, 80, 160, 300, 300].map(|s| s * 1_000);
        assert_eq!(pauses, [[0, 100, 300, 1_000].as_slice(), &seconds].concat());
    }

    #[test]
    fn a_steady_life_and_an_order_close_it() {
        let mut breaker = Breaker::default();
        let open = |breaker: &mut Breaker| {
            for death in 0..5 {
                breaker.died(at(death), Duration::ZERO);
            }
            assert!(breaker.is_open() && breaker.started());
        };
        open(&mut breaker);
        breaker.close();
        assert_eq!(breaker, Breaker::default());
        open(&mut breaker);
        assert_eq!(breaker.died(at(61_000), STEADY), Duration::ZERO);
    }

    #[test]
    fn rare_deaths_never_open_it() {
        let mut breaker = Breaker::default();
        for death in 0..100 {
            let pause = breaker.died(at(death * 16_000), Duration::from_secs(15));
            assert!(!breaker.is_open() && pause <= Duration::from_secs(1));
        }
    }

    proptest! {
        #[test]
        fn there_is_never_a_hot_loop(lives in prop::collection::vec(0..90_000_u64, 1..60)) {
            let (mut breaker, mut now, mut starts) = (Breaker::default(), 0, Vec::new());
            for lived in lives {
                starts.push(now);
                breaker.started();
                now += lived;
                now += u64::try_from(breaker.died(at(now), Duration::from_millis(lived)).as_millis()).unwrap();
                let within = starts.iter().filter(|start| **start + 5_000 > now).count();
                prop_assert!(within <= DEATHS + 1, "{within} starts within five seconds");
            }
        }
    }
}
