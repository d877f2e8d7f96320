//! How much waits on a lane, how fast it is worked off, and hence how long what comes now would wait.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// The work of a kind at a vantage point.
#[derive(Debug, Default)]
pub(crate) struct Load {
    /// Tasks that wait to go out.
    waiting: u64,
    /// Tasks that ended, ever.
    done: u64,
    /// When so many had ended, while something waited all the time.
    marks: VecDeque<(Instant, u64)>,
    /// The last rate that was known.
    known: Option<f64>,
}

/// How long looks lie apart.
#[cfg(test)]
const LOOK: Duration = Duration::from_millis(250);
/// The rate is that of the last so many looks.
const MARKS: usize = 40;
/// A rate is believed after so long.
const LEAST_TIME: Duration = Duration::from_millis(500);
/// And after so many ends.
const LEAST_DONE: u64 = 16;

impl Load {
    /// More tasks wait, or fewer.
    pub(crate) fn wait(&mut self, more: u64) {
        self.waiting = self.waiting.saturating_add(more);
    }

    pub(crate) fn unwait(&mut self, fewer: u64) {
        self.waiting = self.waiting.saturating_sub(fewer);
    }

    /// How many wait.
    pub(crate) const fn waiting(&self) -> u64 {
        self.waiting
    }

    /// So many ended.
    pub(crate) fn ended(&mut self, count: u64) {
        self.done += count;
    }

    /// Looks at how many have ended. What is done while nothing waits says how much was asked for, not how much can be
    /// done. `besides`: something waits that may be done elsewhere as well.
    pub(crate) fn look(&mut self, now: Instant, besides: bool) {
        if self.waiting == 0 && !besides {
            self.marks.clear();
            return;
        }
        if self.marks.len() > MARKS {
            self.marks.pop_front();
        }
        self.marks.push_back((now, self.done));
        self.known = self.seen().or(self.known);
    }

    /// How many tasks are done in a second when work waits, or were when it last did; absent while that is not known.
    pub(crate) const fn rate(&self) -> Option<f64> {
        self.known
    }

    fn seen(&self) -> Option<f64> {
        let (&(start, before), &(end, after)) = (self.marks.front()?, self.marks.back()?);
        let (time, done) = (end.saturating_duration_since(start), after - before);
        #[expect(clippy::cast_precision_loss, reason = "an estimate")]
        let rate = done as f64 / time.as_secs_f64();
        (time >= LEAST_TIME && done >= LEAST_DONE).then_some(rate)
    }
}

/// How long `waiting` tasks take at `rate` a second.
pub(crate) fn drain(waiting: u64, rate: f64) -> Duration {
    #[expect(clippy::cast_precision_loss, reason = "an estimate")]
    let seconds = waiting as f64 / rate.max(f64::MIN_POSITIVE);
    Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_known_once_there_is_enough_to_tell_from() {
        let (mut load, start) = (Load::default(), crate::clock::now());
        load.ended(1000);
        load.look(start, false);
        assert_eq!(load.rate(), None, "nothing waits");
        load.wait(500);
        for look in 0..8 {
            load.look(start + LOOK * look, false);
            assert_eq!(load.rate().is_some(), look >= 2, "{look}");
            load.ended(25);
            load.unwait(25);
        }
        let rate = load.rate().unwrap();
        assert!((99.0..101.0).contains(&rate), "{rate}");
        assert_eq!(load.waiting(), 300);
        assert_eq!(drain(300, 100.0), Duration::from_secs(3));
        assert_eq!(drain(1, 0.0), Duration::MAX);
        load.unwait(1000);
        load.look(start + LOOK * 8, false);
        assert_eq!((load.waiting(), load.rate()), (0, Some(rate)), "it is remembered");
    }

    #[test]
    fn slow_work_is_not_taken_for_none() {
        let (mut load, start) = (Load::default(), crate::clock::now());
        load.wait(100);
        for look in 0..100 {
            load.look(start + LOOK * look, false);
            load.ended(u64::from(look % 4 == 0));
            assert_eq!(load.rate(), None);
        }
    }
}
