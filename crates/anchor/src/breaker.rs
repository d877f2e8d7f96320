//! A circuit breaker: who fails again and again is given nothing for a while, then one trial, and work again when that
//! goes well. A state machine that is given the time, and what is drawn.

use std::time::{Duration, Instant};

use mmn_schema::api::CircuitState;

/// When a circuit opens, and for how long.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rules {
    /// It opens after so many failures without a success between them.
    pub(crate) failures: u32,
    /// It opens when more than half of the recent ends are failures, of so many at least.
    pub(crate) recent: u32,
    /// The first pause; each further one is twice as long.
    pub(crate) pause: Duration,
    /// The longest.
    pub(crate) pause_most: Duration,
}

/// The circuit to one instance, or of one kind at a vantage point.
#[derive(Debug, Clone, Default)]
pub(crate) struct Breaker {
    state: State,
    /// Failures since the last success.
    consecutive: u32,
    /// The last ends, the newest in the lowest bit: 1 is a failure.
    recent: u64,
    /// How many ends `recent` holds.
    known: u32,
    last: Option<Instant>,
    /// How often it was opened since it was last well for long.
    openings: u32,
    closed: Option<Instant>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum State {
    #[default]
    Closed,
    Open {
        until: Instant,
    },
    HalfOpen {
        trial: Option<Instant>,
    },
}

/// What may go there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Gate {
    /// As much as there is room for.
    Free,
    /// One task.
    Trial,
    /// Nothing.
    Shut,
}

/// What happened to a circuit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Change {
    Opened(Duration),
    HalfOpened,
    Closed,
}

/// How many ends are remembered.
const RECENT: u32 = 64;
/// Ends that lie before a silence of so long are no longer recent, and openings before so long a health are forgotten.
const FORGET: Duration = Duration::from_secs(60);
/// A trial of which nothing was heard for so long may be followed by another one.
const TRIAL: Duration = Duration::from_secs(5);

impl Breaker {
    /// What may go there now.
    pub(crate) fn gate(&self, now: Instant) -> Gate {
        match self.state {
            State::Closed => Gate::Free,
            State::Open { .. } => Gate::Shut,
            State::HalfOpen { trial: Some(at) } if now.saturating_duration_since(at) < TRIAL => Gate::Shut,
            State::HalfOpen { .. } => Gate::Trial,
        }
    }

    /// Whether another trial may follow one of which nothing was heard.
    pub(crate) fn is_unheard(&self, now: Instant) -> bool {
        matches!(self.state, State::HalfOpen { trial: Some(at) } if now.saturating_duration_since(at) >= TRIAL)
    }

    /// Something was sent there: if it is the trial, nothing more goes until its end is known.
    pub(crate) fn sent(&mut self, now: Instant) {
        if let State::HalfOpen { trial } = &mut self.state {
            *trial = Some(now);
        }
    }

    /// So many attempts ended as they should, whatever the network answered.
    pub(crate) fn success(&mut self, now: Instant, count: u32) -> Option<Change> {
        if count == 0 {
            return None;
        }
        self.remember(now, count, 0);
        self.consecutive = 0;
        // What ends while it is open was sent before: the trial decides.
        if !matches!(self.state, State::HalfOpen { trial: Some(_) }) {
            return None;
        }
        self.state = State::Closed;
        self.closed = Some(now);
        self.known = 0;
        Some(Change::Closed)
    }

    /// An attempt failed for a reason of its own. `luck` is drawn from 0..1.
    pub(crate) fn failure(&mut self, now: Instant, rules: &Rules, luck: f64) -> Option<Change> {
        self.remember(now, 1, 1);
        self.consecutive = self.consecutive.saturating_add(1);
        let fails = match self.state {
            State::Closed => {
                let most = self.recent.count_ones() * 2 > self.known;
                self.consecutive >= rules.failures.max(1) || self.known >= rules.recent.max(1) && most
            }
            State::HalfOpen { trial } => trial.is_some(),
            State::Open { .. } => false,
        };
        if !fails {
            return None;
        }
        let well = self.closed.is_some_and(|at| now.saturating_duration_since(at) >= FORGET);
        if self.state == State::Closed && well {
            self.openings = 0;
        }
        let longest = rules
            .pause
            .saturating_mul(1u32.checked_shl(self.openings).unwrap_or(u32::MAX))
            .min(rules.pause_most);
        // Half of it is certain: who fails at once shall not be asked at once.
        let pause = longest.mul_f64(0.5 + 0.5 * luck.clamp(0.0, 1.0));
        self.openings = self.openings.saturating_add(1).min(31);
        self.state = State::Open { until: now + pause };
        Some(Change::Opened(pause))
    }

    /// Time has passed.
    pub(crate) fn tick(&mut self, now: Instant) -> Option<Change> {
        let State::Open { until } = self.state else {
            return None;
        };
        if now < until {
            return None;
        }
        self.state = State::HalfOpen { trial: None };
        Some(Change::HalfOpened)
    }

    /// Whether nothing is wrong.
    pub(crate) const fn is_closed(&self) -> bool {
        matches!(self.state, State::Closed)
    }

    pub(crate) const fn state(&self) -> CircuitState {
        match self.state {
            State::Closed => CircuitState::Closed,
            State::Open { .. } => CircuitState::Open,
            State::HalfOpen { .. } => CircuitState::HalfOpen,
        }
    }

    fn remember(&mut self, now: Instant, count: u32, bit: u64) {
        let last = self.last.replace(now);
        if last.is_some_and(|last| now.saturating_duration_since(last) >= FORGET) {
            self.known = 0;
        }
        let count = count.min(RECENT);
        self.recent = self.recent.checked_shl(count).unwrap_or_default() | bit;
        self.known = (self.known + count).min(RECENT);
        if self.known < RECENT {
            self.recent &= (1 << self.known) - 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const RULES: Rules =
        Rules { failures: 5, recent: 20, pause: Duration::from_secs(1), pause_most: Duration::from_secs(60) };

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn a_trial_that_is_not_heard_of_is_followed_by_another() {
        let (mut breaker, start) = (Breaker::default(), crate::clock::now());
        for _ in 0..5 {
            breaker.failure(start, &RULES, 0.0);
        }
        let open = start + ms(1_000);
        assert_eq!(breaker.tick(open), Some(Change::HalfOpened));
        assert_eq!((breaker.gate(open), breaker.is_unheard(open)), (Gate::Trial, false));
        breaker.sent(open);
        let (before, later) = (open + TRIAL.saturating_sub(ms(1)), open + TRIAL);
        assert_eq!((breaker.gate(before), breaker.is_unheard(before)), (Gate::Shut, false));
        assert_eq!((breaker.gate(later), breaker.is_unheard(later)), (Gate::Trial, true));
        breaker.sent(later);
        assert_eq!((breaker.gate(later), breaker.is_unheard(later)), (Gate::Shut, false));
        assert_eq!(breaker.success(later, 1), Some(Change::Closed));
    }

    #[test]
    fn it_opens_tries_once_and_closes() {
        let (mut breaker, start) = (Breaker::default(), crate::clock::now());
        for _ in 0..4 {
            assert_eq!(breaker.failure(start, &RULES, 1.0), None);
        }
        assert_eq!(breaker.failure(start, &RULES, 1.0), Some(Change::Opened(ms(1000))));
        assert_eq!((breaker.gate(start), breaker.tick(start + ms(999))), (Gate::Shut, None));
        // What was out before changes nothing.
        assert_eq!(breaker.success(start + ms(10), 3), None);
        assert_eq!(breaker.failure(start + ms(10), &RULES, 1.0), None);
        let then = start + ms(1000);
        assert_eq!((breaker.tick(then), breaker.gate(then)), (Some(Change::HalfOpened), Gate::Trial));
        breaker.sent(then);
        assert_eq!(breaker.gate(then), Gate::Shut);
        assert_eq!(breaker.gate(then + TRIAL), Gate::Trial, "nothing was heard of the trial");
        // The trial fails: the pause is longer.
        assert_eq!(breaker.failure(then, &RULES, 1.0), Some(Change::Opened(ms(2000))));
        let then = then + ms(2000);
        assert_eq!(breaker.tick(then), Some(Change::HalfOpened));
        breaker.sent(then);
        assert_eq!(breaker.success(then, 1), Some(Change::Closed));
        assert_eq!((breaker.gate(then), breaker.is_closed()), (Gate::Free, true));
    }

    #[test]
    fn it_opens_when_most_of_the_recent_ends_are_failures() {
        let (mut breaker, now) = (Breaker::default(), crate::clock::now());
        let mut opened = 0;
        for n in 0..60 {
            // Two of three fail, and never five in a row.
            let change = if n % 3 == 0 { breaker.success(now, 1) } else { breaker.failure(now, &RULES, 0.0) };
            if let Some(change) = change {
                assert_eq!(change, Change::Opened(ms(500)));
                opened = n + 1;
                break;
            }
        }
        assert_eq!(opened, 20);
        let mut breaker = Breaker::default();
        for n in 0..500 {
            // Half of them is not most of them.
            let change = if n % 2 == 0 { breaker.success(now, 1) } else { breaker.failure(now, &RULES, 0.0) };
            assert_eq!(change, None);
        }
    }

    #[derive(Debug, Clone)]
    enum Step {
        Success(u32),
        Failure(f64),
        Wait(u64),
        Send,
    }

    fn any_step() -> impl Strategy<Value = Step> {
        prop_oneof![
            (0..200u32).prop_map(Step::Success),
            (0.0..=1.0).prop_map(Step::Failure),
            (0.0..=1.0).prop_map(Step::Failure),
            (0..90_000u64).prop_map(Step::Wait),
            Just(Step::Send),
        ]
    }

    proptest! {
        #[test]
        fn pauses_are_bounded_and_a_success_of_the_trial_always_closes(
            steps in prop::collection::vec(any_step(), 0..200)
        ) {
            let (mut breaker, mut now) = (Breaker::default(), crate::clock::now());
            let mut without_success = 0;
            for step in steps {
                let before = breaker.state();
                match step {
                    Step::Success(count) => {
                        if count > 0 {
                            without_success = 0;
                        }
                        let change = breaker.success(now, count);
                        prop_assert!(change.is_none() || change == Some(Change::Closed));
                    }
                    Step::Failure(luck) => {
                        without_success += 1;
                        match breaker.failure(now, &RULES, luck) {
                            Some(Change::Opened(pause)) => {
                                prop_assert!(pause >= RULES.pause / 2 && pause <= RULES.pause_most);
                                prop_assert_eq!(breaker.gate(now), Gate::Shut);
                            }
                            other => prop_assert_eq!(other, None),
                        }
                        if without_success >= RULES.failures {
                            prop_assert!(!breaker.is_closed());
                        }
                    }
                    Step::Wait(wait) => {
                        now += ms(wait);
                        breaker.tick(now);
                        if wait > 60_000 {
                            prop_assert!(breaker.gate(now) != Gate::Shut, "no pause is longer");
                        }
                    }
                    Step::Send => breaker.sent(now),
                }
                if before == CircuitState::Open && breaker.state() != before {
                    prop_assert_eq!(breaker.state(), CircuitState::HalfOpen);
                }
            }
            // However it came to be, it closes when what is tried goes well.
            now += ms(61_000);
            breaker.tick(now);
            breaker.sent(now);
            breaker.success(now, 1);
            prop_assert!(breaker.is_closed());
        }
    }
}
