//! How long to wait before the next attempt to connect.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use rand::RngExt;

use crate::clock;

/// A connection that ends sooner was not a good one: who is not wanted is thrown out at once. One that lasted longer ended for
/// the server's sake, and a server that is back should not be kept waiting.
const SHORT_LIFE: Duration = Duration::from_secs(1);
const FIRST_HOLD_OFF: Duration = Duration::from_millis(250);
const LONGEST_HOLD_OFF: Duration = Duration::from_secs(5);
const FIRST_DELAY: Duration = Duration::from_millis(20);
const LONGEST_DELAY: Duration = Duration::from_secs(2);

/// Remembers how the last connection went.
///
/// The client library counts attempts since the last success, so it forgets a success that was
/// followed by an expulsion; the hold-off here does not.
#[derive(Debug)]
pub(super) struct Backoff {
    state: Mutex<State>,
}

#[derive(Debug, Default, Clone, Copy)]
struct State {
    last_attempt: Option<Instant>,
    short_lives: u32,
}

impl Backoff {
    pub(super) fn new() -> Self {
        Self { state: Mutex::default() }
    }

    /// A server was reached and credentials are being shown to it.
    pub(super) fn attempted(&self) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.last_attempt = Some(clock::now());
    }

    /// The wait before attempt number `attempt`, which is 1 again after each success.
    pub(super) fn delay(&self, attempt: usize) -> Duration {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let delay = state.delay(attempt, clock::now());
        if delay.is_zero() {
            return delay;
        }
        // Half of it at random, so that a thousand nodes do not come back in one moment.
        delay.mul_f64(rand::rng().random_range(0.5..=1.0))
    }
}

impl State {
    fn delay(&mut self, attempt: usize, now: Instant) -> Duration {
        let Some(last_attempt) = self.last_attempt else {
            // Nothing was reached yet: the very first attempt is made at once.
            return doubled(FIRST_DELAY, attempt.saturating_sub(2), LONGEST_DELAY)
                .saturating_sub(if attempt <= 1 { FIRST_DELAY } else { Duration::ZERO });
        };
        if attempt <= 1 {
            if now.saturating_duration_since(last_attempt) < SHORT_LIFE + self.hold_off() {
                self.short_lives = self.short_lives.saturating_add(1);
            } else {
                self.short_lives = 0;
            }
        }
        doubled(FIRST_DELAY, attempt.saturating_sub(1), LONGEST_DELAY).max(self.hold_off())
    }

    fn hold_off(self) -> Duration {
        match usize::try_from(self.short_lives) {
            Ok(0) | Err(_) => Duration::ZERO,
            Ok(lives) => doubled(FIRST_HOLD_OFF, lives - 1, LONGEST_HOLD_OFF),
        }
    }
}

fn doubled(first: Duration, times: usize, longest: Duration) -> Duration {
    let times = u32::try_from(times.min(16)).unwrap_or(16);
    first.saturating_mul(1 << times).min(longest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_that_is_thrown_out_at_once_is_held_off_ever_longer() {
        let mut now = clock::now();
        let mut state = State::default();
        assert_eq!(state.delay(1, now), Duration::ZERO);
        let mut waited = Vec::new();
        for _ in 0..7 {
            state.last_attempt = Some(now);
            let delay = state.delay(1, now);
            waited.push(delay.as_millis());
            now += delay;
        }
        assert_eq!(waited, [250, 500, 1000, 2000, 4000, 5000, 5000]);
        state.last_attempt = Some(now);
        assert_eq!(state.delay(1, now + Duration::from_secs(60)), FIRST_DELAY);
    }

    #[test]
    fn a_server_that_is_away_is_tried_every_two_seconds_at_most() {
        let now = clock::now();
        let mut state = State::default();
        let delays: Vec<_> = (1..=10).map(|attempt| state.delay(attempt, now).as_millis()).collect();
        assert_eq!(delays, [0, 20, 40, 80, 160, 320, 640, 1280, 2000, 2000]);
    }
}
