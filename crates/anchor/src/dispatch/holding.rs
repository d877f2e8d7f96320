//! What the anchor has out to one instance, or to the instances of one pool.

use std::collections::{BTreeMap, HashSet};
use std::time::{Duration, Instant};

use mmn_schema::id::{InstanceId, MeasurementId, VpId};
use mmn_schema::time::Timestamp;
use rustc_hash::FxHashMap;

use crate::store::record::Dispatched;

/// Tasks that are out, in the batches in which they went.
#[derive(Debug)]
pub(crate) struct Holding {
    tasks: FxHashMap<(MeasurementId, u64), u64>,
    batches: BTreeMap<u64, Batch>,
    last: u64,
}

/// A batch of which some tasks are out.
#[derive(Debug)]
struct Batch {
    measurement: MeasurementId,
    vp: VpId,
    tasks: Vec<u64>,
    open: usize,
    sent: Instant,
    dispatched: Dispatched,
    taker: Option<InstanceId>,
}

/// A task that comes back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Returned {
    pub(crate) measurement: MeasurementId,
    pub(crate) index: u64,
    pub(crate) vp: VpId,
    pub(crate) dispatched: Dispatched,
}

impl Holding {
    /// Nothing is out; the next batch has the number after `last`.
    pub(crate) fn new(last: u64) -> Self {
        Self { tasks: FxHashMap::default(), batches: BTreeMap::new(), last }
    }

    /// How many tasks are out.
    pub(crate) fn len(&self) -> usize {
        self.tasks.len()
    }

    /// The number of the last batch.
    pub(crate) fn last(&self) -> u64 {
        self.last
    }

    /// A batch goes out; gives its number.
    pub(crate) fn send(
        &mut self,
        measurement: MeasurementId,
        vp: &VpId,
        tasks: Vec<u64>,
        now: Instant,
        at: Timestamp,
    ) -> u64 {
        self.last += 1;
        for &index in &tasks {
            self.tasks.insert((measurement, index), self.last);
        }
        let dispatched = Dispatched { at, acknowledged_at: None };
        let open = tasks.len();
        let batch = Batch { measurement, vp: vp.clone(), tasks, open, sent: now, dispatched, taker: None };
        self.batches.insert(self.last, batch);
        self.last
    }

    /// Tasks turn out to be out to this instance since a former term.
    pub(crate) fn adopt(
        &mut self,
        measurement: MeasurementId,
        vp: &VpId,
        tasks: Vec<u64>,
        now: Instant,
        at: Timestamp,
    ) {
        let seq = self.send(measurement, vp, tasks, now, at);
        self.acknowledge(seq, None, at);
    }

    /// A batch was acknowledged, by this instance of a pool.
    pub(crate) fn acknowledge(&mut self, seq: u64, by: Option<&InstanceId>, at: Timestamp) {
        if let Some(batch) = self.batches.get_mut(&seq)
            && batch.dispatched.acknowledged_at.is_none()
        {
            batch.dispatched.acknowledged_at = Some(at.unix_ns());
            batch.taker = by.cloned();
        }
    }

    /// A task's final record has come. Gives when it went out, and its batch; absent when it was not out here.
    pub(crate) fn end(
        &mut self,
        measurement: MeasurementId,
        index: u64,
        at: Timestamp,
    ) -> Option<(u64, Dispatched)> {
        let seq = self.tasks.remove(&(measurement, index))?;
        let batch = self.batches.get_mut(&seq)?;
        // Who sends the result has had the batch.
        batch.dispatched.acknowledged_at.get_or_insert(at.unix_ns());
        batch.open -= 1;
        let dispatched = batch.dispatched;
        if batch.open == 0 {
            self.batches.remove(&seq);
        }
        Some((seq, dispatched))
    }

    /// When a task went out; absent when it is not out here.
    pub(crate) fn dispatched(
        &self,
        measurement: MeasurementId,
        index: u64,
    ) -> Option<(Dispatched, Option<InstanceId>)> {
        let seq = self.tasks.get(&(measurement, index))?;
        self.batches.get(seq).map(|batch| (batch.dispatched, batch.taker.clone()))
    }

    /// The indices of a measurement's tasks that are out.
    pub(crate) fn of(&self, measurement: MeasurementId) -> Vec<u64> {
        let mine = self.tasks.keys().filter(|(other, _)| *other == measurement);
        mine.map(|&(_, index)| index).collect()
    }

    /// The batches that were not acknowledged within `limit`.
    pub(crate) fn overdue(&self, now: Instant, limit: Duration) -> Vec<u64> {
        let late = |batch: &Batch| {
            batch.dispatched.acknowledged_at.is_none() && now.saturating_duration_since(batch.sent) >= limit
        };
        self.batches.iter().filter(|(_, batch)| late(batch)).map(|(&seq, _)| seq).collect()
    }

    /// A batch comes back.
    pub(crate) fn take_back(&mut self, seq: u64) -> Vec<Returned> {
        let Some(batch) = self.batches.remove(&seq) else {
            return Vec::new();
        };
        let Batch { measurement, vp, tasks, dispatched, .. } = batch;
        let mut returned = Vec::new();
        for index in tasks {
            // What has ended, or went out again meanwhile, is no longer under this number.
            if self.tasks.get(&(measurement, index)) == Some(&seq) {
                self.tasks.remove(&(measurement, index));
                returned.push(Returned { measurement, index, vp: vp.clone(), dispatched });
            }
        }
        returned
    }

    /// Everything comes back.
    pub(crate) fn take_all(&mut self) -> Vec<Returned> {
        let all: Vec<u64> = self.batches.keys().copied().collect();
        all.into_iter().flat_map(|seq| self.take_back(seq)).collect()
    }

    /// What one instance of a pool has taken comes back.
    pub(crate) fn take_from(&mut self, instance: &InstanceId) -> Vec<Returned> {
        let theirs = self.batches.iter().filter(|(_, batch)| batch.taker.as_ref() == Some(instance));
        let theirs: Vec<u64> = theirs.map(|(&seq, _)| seq).collect();
        theirs.into_iter().flat_map(|seq| self.take_back(seq)).collect()
    }

    /// The instance says that it holds `held`, having read batches up to `seq`, and all its results have come: what
    /// else is out up to there is lost, and comes back. What it holds it has acknowledged by that.
    pub(crate) fn compare(
        &mut self,
        seq: u64,
        held: &HashSet<(MeasurementId, u64)>,
        at: Timestamp,
    ) -> Vec<Returned> {
        let returned = self.take_but(seq, held);
        for batch in self.batches.range_mut(..=seq).map(|(_, batch)| batch) {
            batch.dispatched.acknowledged_at.get_or_insert(at.unix_ns());
        }
        returned
    }

    /// Tasks of batches up to `seq` come back, but for those to be kept.
    pub(crate) fn take_but(&mut self, seq: u64, held: &HashSet<(MeasurementId, u64)>) -> Vec<Returned> {
        let lost = self.tasks.iter().filter(|&(task, &batch)| batch <= seq && !held.contains(task));
        let lost: Vec<_> = lost.map(|(&task, &batch)| (task, batch)).collect();
        let mut returned = Vec::new();
        for ((measurement, index), batch) in lost {
            self.tasks.remove(&(measurement, index));
            let Some(entry) = self.batches.get_mut(&batch) else { continue };
            entry.open -= 1;
            let (vp, dispatched) = (entry.vp.clone(), entry.dispatched);
            returned.push(Returned { measurement, index, vp, dispatched });
            if entry.open == 0 {
                self.batches.remove(&batch);
            }
        }
        returned
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn msm(n: u8) -> MeasurementId {
        MeasurementId::new(n.into(), &[0; 10])
    }

    fn vp() -> VpId {
        VpId::derive("U", "x")
    }

    proptest! {
        #[test]
        fn what_went_out_comes_back_once(steps in prop::collection::vec((0..6u8, 0..20u64), 0..120)) {
            let (mut holding, now, at) = (Holding::new(7), crate::clock::now(), Timestamp::default());
            let (mut out, mut next) = (HashSet::new(), 0);
            for (step, n) in steps {
                let back = match step {
                    0 | 1 => {
                        let tasks: Vec<u64> = (next..=next + n % 4).collect();
                        next += n % 4 + 1;
                        out.extend(tasks.iter().copied());
                        holding.send(msm(1), &vp(), tasks, now, at);
                        continue;
                    }
                    2 => {
                        prop_assert_eq!(holding.end(msm(1), n, at).is_some(), out.remove(&n));
                        continue;
                    }
                    3 => holding.take_back(7 + n),
                    4 => holding.take_but(7 + n, &out.iter().filter(|i| *i % 2 == 0).map(|&i| (msm(1), i)).collect()),
                    _ => holding.take_all(),
                };
                for returned in back {
                    prop_assert!(out.remove(&returned.index), "{returned:?} came back and was not out");
                }
                prop_assert_eq!(holding.len(), out.len());
            }
            prop_assert_eq!(holding.take_all().len(), out.len());
            prop_assert!(holding.batches.is_empty());
        }
    }

    #[test]
    fn only_what_is_unacknowledged_is_overdue() {
        let (mut holding, now, at) = (Holding::new(0), crate::clock::now(), Timestamp::default());
        let first = holding.send(msm(1), &vp(), vec![0, 1], now, at);
        let second = holding.send(msm(1), &vp(), vec![2], now, at);
        holding.acknowledge(first, None, at);
        let later = now + Duration::from_millis(500);
        assert_eq!(holding.overdue(later, Duration::from_millis(500)), [second]);
        assert_eq!(holding.overdue(later, Duration::from_millis(501)), [] as [u64; 0]);
    }

    #[test]
    fn who_says_that_he_holds_a_batch_has_acknowledged_it() {
        let (mut holding, now, at) = (Holding::new(0), crate::clock::now(), Timestamp::default());
        let first = holding.send(msm(1), &vp(), vec![0, 1], now, at);
        let second = holding.send(msm(1), &vp(), vec![2], now, at);
        let third = holding.send(msm(1), &vp(), vec![3], now, at);
        let back = holding.compare(second, &HashSet::from([(msm(1), 1)]), Timestamp::default());
        let unacknowledged = |task: &Returned| (task.index, task.dispatched.acknowledged_at);
        let mut back: Vec<_> = back.iter().map(unacknowledged).collect();
        back.sort_unstable();
        assert_eq!(back, [(0, None), (2, None)], "never acknowledged: they may not have arrived");
        assert!(holding.dispatched(msm(1), 1).unwrap().0.acknowledged_at.is_some());
        assert_eq!(holding.overdue(now, Duration::ZERO), [third]);
        assert_eq!(first, 1);
    }
}
