//! Attempts that came to nothing: when each of their tasks goes out again, whom it had better avoid, and how it ends
//! when there is no further attempt.
//!
//! A task waits for a time drawn from `0..=first × 2^n`, where n counts its attempts that came to nothing ("full
//! jitter"): tasks that came back together don't go out together. What was lost with an instance goes to another one at
//! once, the first time. The heap holds an entry for each task that waits so.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::time::{Duration, Instant};

use mmn_schema::id::MeasurementId;
use mmn_schema::outcome::{Outcome, Reason};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::dispatch::lane::SlotId;

/// All tasks of which an attempt came to nothing.
#[derive(Debug)]
pub(crate) struct Retries {
    due: BinaryHeap<Reverse<Due>>,
    tries: HashMap<MeasurementId, HashMap<u64, Tries>>,
    /// How many tasks are in `tries`, and were after it was last looked through.
    known: usize,
    pruned: usize,
    pauses: Pauses,
    random: StdRng,
}

/// How long a task waits.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pauses {
    /// At most so long the first time.
    pub(crate) first: Duration,
    /// And never longer than that.
    pub(crate) most: Duration,
}

/// What is known of a task's attempts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Tries {
    /// Attempts that came to nothing.
    pub(crate) nothing: u32,
    /// Those of them that count: the task was not merely declined.
    pub(crate) counted: u32,
    /// Whose attempt came to nothing last.
    pub(crate) avoid: Option<SlotId>,
    /// How often it was due and those who could take it were full.
    pub(crate) passed: u32,
    /// How the task ends if that was the last attempt.
    pub(crate) end: (Outcome, Reason),
}

/// A task that waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Due {
    at: Instant,
    measurement: MeasurementId,
    index: u64,
}

/// As many tasks may be known beyond those that still run, before it is looked which do.
const MAX_STALE: usize = 16_384;

impl Retries {
    pub(crate) fn new(pauses: Pauses, seed: u64) -> Self {
        Self {
            due: BinaryHeap::new(),
            tries: HashMap::new(),
            known: 0,
            pruned: 0,
            pauses,
            random: StdRng::seed_from_u64(seed),
        }
    }

    /// An attempt came to nothing. `counts`: it was more than declined.
    pub(crate) fn enter(
        &mut self,
        measurement: MeasurementId,
        index: u64,
        counts: bool,
        avoid: Option<SlotId>,
        end: (Outcome, Reason),
    ) -> &Tries {
        let tries = self.tries.entry(measurement).or_default();
        let known = &mut self.known;
        let task = tries.entry(index).or_insert_with(|| {
            *known += 1;
            Tries { nothing: 0, counted: 0, avoid: None, passed: 0, end: (end.0, end.1.clone()) }
        });
        task.nothing += 1;
        task.counted += u32::from(counts);
        task.avoid = avoid;
        task.passed = 0;
        task.end = end;
        task
    }

    /// A task goes out again after its pause, and never after `until`. Whether there is time for it.
    pub(crate) fn wait(
        &mut self,
        measurement: MeasurementId,
        index: u64,
        now: Instant,
        until: Instant,
    ) -> bool {
        let nothing = self.of(measurement, index).map_or(1, |task| task.nothing);
        let most = self
            .pauses
            .first
            .saturating_mul(1u32.checked_shl(nothing.saturating_sub(1)).unwrap_or(u32::MAX))
            .min(self.pauses.most);
        let at = now + most.mul_f64(self.random.random());
        let in_time = at < until;
        if in_time {
            self.due.push(Reverse(Due { at, measurement, index }));
        }
        in_time
    }

    /// A task goes out again with the next look, if that was the first time that it came back; else after its pause.
    pub(crate) fn wait_little(
        &mut self,
        measurement: MeasurementId,
        index: u64,
        now: Instant,
        until: Instant,
    ) -> bool {
        if self.of(measurement, index).is_some_and(|task| task.nothing > 1) {
            return self.wait(measurement, index, now, until);
        }
        self.due.push(Reverse(Due { at: now, measurement, index }));
        true
    }

    /// A task was due, and those who could take it were full: it waits once more.
    pub(crate) fn pass(&mut self, measurement: MeasurementId, index: u64, now: Instant) {
        if let Some(task) = self.tries.get_mut(&measurement).and_then(|tries| tries.get_mut(&index)) {
            task.passed += 1;
        }
        let at = now + self.pauses.first.mul_f64(self.random.random());
        self.due.push(Reverse(Due { at, measurement, index }));
    }

    /// The next task that is due.
    pub(crate) fn pop(&mut self, now: Instant) -> Option<(MeasurementId, u64)> {
        let Reverse(due) = self.due.peek().copied()?;
        if due.at > now {
            return None;
        }
        self.due.pop();
        Some((due.measurement, due.index))
    }

    /// What is known of a task's attempts.
    pub(crate) fn of(&self, measurement: MeasurementId, index: u64) -> Option<&Tries> {
        self.tries.get(&measurement)?.get(&index)
    }

    /// Draws from 0..1.
    pub(crate) fn luck(&mut self) -> f64 {
        self.random.random()
    }

    /// How many tasks wait.
    pub(crate) fn len(&self) -> usize {
        self.due.len()
    }

    /// Forgets tasks that have ended, once there may be many of them.
    pub(crate) fn prune(&mut self, pending: impl Fn(MeasurementId, u64) -> bool) {
        if self.known > 2 * self.pruned + MAX_STALE {
            self.tries.retain(|&measurement, tries| {
                tries.retain(|&index, _| pending(measurement, index));
                !tries.is_empty()
            });
            self.known = self.tries.values().map(HashMap::len).sum();
            self.pruned = self.known;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PAUSES: Pauses = Pauses { first: Duration::from_millis(50), most: Duration::from_secs(2) };

    fn msm(n: u8) -> MeasurementId {
        MeasurementId::new(n.into(), &[0; 10])
    }

    fn end() -> (Outcome, Reason) {
        (Outcome::Lost, Reason::new(mmn_schema::outcome::code::INSTANCE_LOST))
    }

    #[test]
    fn pauses_grow_are_bounded_and_never_pass_the_deadline() {
        let (mut retries, now) = (Retries::new(PAUSES, 7), crate::clock::now());
        let far = now + Duration::from_secs(100);
        let mut longest = Duration::ZERO;
        for n in 0..40 {
            retries.enter(msm(1), 0, n % 2 == 0, None, end());
            assert!(retries.wait(msm(1), 0, now, far));
            let most = Duration::from_millis((50 << n.min(10)).min(2000));
            let due = retries.due.peek().unwrap().0.at - now;
            assert!(due <= most, "{due:?} is more than {most:?}");
            longest = longest.max(due);
            assert_eq!(retries.pop(far), Some((msm(1), 0)));
        }
        assert!(longest > Duration::from_millis(500));
        let tries = retries.of(msm(1), 0).unwrap();
        assert_eq!((tries.nothing, tries.counted), (40, 20));
        assert!(!retries.wait(msm(1), 0, now, now), "there is no time left");
        assert_eq!(retries.pop(far), None);
    }

    #[test]
    fn tasks_that_came_back_together_do_not_go_together() {
        let (mut retries, now) = (Retries::new(PAUSES, 7), crate::clock::now());
        let far = now + Duration::from_secs(100);
        for index in 0..1000 {
            retries.enter(msm(1), index, true, None, end());
            retries.wait(msm(1), index, now, far);
        }
        for ms in [10, 20, 30, 40] {
            let due = std::iter::from_fn(|| retries.pop(now + Duration::from_millis(ms))).count();
            assert!((100..300).contains(&due), "{due} at {ms} ms");
        }
        retries.pruned = 0;
        retries.known += MAX_STALE;
        retries.prune(|_, index| index < 10);
        assert_eq!((retries.known, retries.of(msm(1), 9).is_some()), (10, true));
    }

    proptest! {
        #[test]
        fn the_earliest_goes_first(seed: u64, waits in prop::collection::vec(0..100u64, 1..60)) {
            let (mut retries, start) = (Retries::new(PAUSES, seed), crate::clock::now());
            let far = start + Duration::from_secs(100);
            for (index, ms) in (0..).zip(&waits) {
                retries.wait(msm(1), index, start + Duration::from_millis(*ms), far);
            }
            let mut seen = vec![false; waits.len()];
            let mut last = start;
            while let Some(Reverse(due)) = retries.due.peek().copied() {
                prop_assert!(due.at >= last);
                last = due.at;
                let (_, index) = retries.pop(last).unwrap();
                prop_assert!(!std::mem::replace(&mut seen[usize::try_from(index).unwrap()], true));
            }
            prop_assert!(seen.into_iter().all(|seen| seen) && retries.len() == 0);
        }
    }
}
