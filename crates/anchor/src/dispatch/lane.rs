//! Whose turn it is: for each vantage point and kind the measurements that have tasks waiting there, in turn, so that
//! a small one does not wait behind a large one.

use std::collections::{HashMap, VecDeque};
use std::time::Instant;

use mmn_schema::id::{KindName, MeasurementId, VpId};

use crate::breaker::Breaker;
use crate::dispatch::load::Load;

/// The number of an instance, or of a pool of instances, in this anchor's memory. Never used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct SlotId(pub(crate) u64);

/// The number of a vantage point and kind in this anchor's memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct LaneId(u32);

impl LaneId {
    /// The number itself.
    pub(crate) const fn number(self) -> u32 {
        self.0
    }

    /// The lane of this number.
    pub(crate) const fn of(number: u32) -> Self {
        Self(number)
    }
}

/// An assignment of a measurement that has tasks waiting.
pub(crate) type Turn = (MeasurementId, usize);

/// One vantage point and kind.
#[derive(Debug)]
pub(crate) struct Lane {
    pub(crate) vp: VpId,
    pub(crate) kind: KindName,
    /// The instances that perform the kind there.
    pub(crate) slots: Vec<SlotId>,
    /// The circuit of the kind there.
    pub(crate) breaker: Breaker,
    /// How fast work is done there, and how much waits.
    pub(crate) load: Load,
    turns: VecDeque<Turn>,
    /// Pools and the lane's own turns alternate.
    pools_next: bool,
}

/// All of them.
#[derive(Debug, Default)]
pub(crate) struct Lanes {
    all: Vec<Lane>,
    by_name: HashMap<(VpId, KindName), LaneId>,
    /// Assignments to one of several vantage points, which nobody had room for.
    pools: VecDeque<(Turn, Box<[LaneId]>)>,
    /// How many tasks wait, by kind: all, and those of assignments to one of several vantage points.
    waiting: HashMap<KindName, [u64; 2]>,
}

/// How many waiting pools are looked at for a lane that has room.
const POOLS_LOOKED_AT: usize = 64;

impl Lanes {
    /// The lane of a vantage point and kind; it is made when it is first asked for.
    pub(crate) fn lane(&mut self, vp: &VpId, kind: &KindName) -> LaneId {
        let name = (vp.clone(), kind.clone());
        *self.by_name.entry(name).or_insert_with(|| {
            let (vp, kind) = (vp.clone(), kind.clone());
            self.all.push(Lane {
                vp,
                kind,
                slots: Vec::new(),
                breaker: Breaker::default(),
                load: Load::default(),
                turns: VecDeque::new(),
                pools_next: false,
            });
            LaneId(u32::try_from(self.all.len() - 1).unwrap_or(u32::MAX))
        })
    }

    pub(crate) fn find(&self, vp: &VpId, kind: &KindName) -> Option<LaneId> {
        self.by_name.get(&(vp.clone(), kind.clone())).copied()
    }

    pub(crate) fn get(&self, id: LaneId) -> Option<&Lane> {
        self.all.get(id.0 as usize)
    }

    pub(crate) fn get_mut(&mut self, id: LaneId) -> Option<&mut Lane> {
        self.all.get_mut(id.0 as usize)
    }

    /// An assignment waits for one of `lanes`, which are in order.
    pub(crate) fn wait(&mut self, turn: Turn, lanes: &[LaneId]) {
        match lanes {
            [lane] => {
                if let Some(lane) = self.get_mut(*lane) {
                    lane.turns.push_back(turn);
                }
            }
            _ => self.pools.push_back((turn, lanes.into())),
        }
    }

    /// Whose turn it is on a lane that has room.
    pub(crate) fn next(&mut self, id: LaneId) -> Option<Turn> {
        let lane = self.get_mut(id)?;
        lane.pools_next = !lane.pools_next;
        if lane.pools_next {
            self.own(id).or_else(|| self.pool(id))
        } else {
            self.pool(id).or_else(|| self.own(id))
        }
    }

    fn own(&mut self, id: LaneId) -> Option<Turn> {
        self.get_mut(id)?.turns.pop_front()
    }

    fn pool(&mut self, id: LaneId) -> Option<Turn> {
        let mut waiting = self.pools.iter().take(POOLS_LOOKED_AT);
        let at = waiting.position(|(_, lanes)| lanes.binary_search(&id).is_ok())?;
        self.pools.remove(at).map(|(turn, _)| turn)
    }

    /// Whether something may wait for this lane.
    pub(crate) fn is_waited_for(&self, id: LaneId) -> bool {
        !self.pools.is_empty() || self.get(id).is_some_and(|lane| !lane.turns.is_empty())
    }

    /// Whether something waits for this lane alone.
    pub(crate) fn has_turns(&self, id: LaneId) -> bool {
        self.get(id).is_some_and(|lane| !lane.turns.is_empty())
    }

    /// Tasks of an assignment wait: so many more, or fewer.
    pub(crate) fn count(&mut self, kind: &KindName, lanes: &[LaneId], more: u64, fewer: u64) {
        let step = |count: &mut u64| *count = count.saturating_add(more).saturating_sub(fewer);
        let [all, pooled] = self.waiting.entry(kind.clone()).or_default();
        step(all);
        if let [lane] = lanes {
            if let Some(lane) = self.get_mut(*lane) {
                lane.load.wait(more);
                lane.load.unwait(fewer);
            }
        } else {
            step(pooled);
        }
    }

    /// How many tasks of a kind wait.
    pub(crate) fn waiting_of(&self, kind: &KindName) -> u64 {
        self.waiting.get(kind).map_or(0, |[all, _]| *all)
    }

    /// How many of them wait for one of several vantage points.
    pub(crate) fn pooled_of(&self, kind: &KindName) -> u64 {
        self.waiting.get(kind).map_or(0, |[_, pooled]| *pooled)
    }

    /// Looks at how fast work is done. Gives the most that waits on one lane.
    pub(crate) fn look(&mut self, now: Instant) -> u64 {
        let mut most = 0;
        for lane in &mut self.all {
            let pooled = self.waiting.get(&lane.kind).is_some_and(|[_, pooled]| *pooled > 0);
            lane.load.look(now, pooled);
            most = most.max(lane.load.waiting());
        }
        most
    }

    /// All lanes.
    pub(crate) fn ids(&self) -> impl Iterator<Item = LaneId> + use<> {
        (0..u32::try_from(self.all.len()).unwrap_or(u32::MAX)).map(LaneId)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn measurements_take_turns_and_pools_wait_for_any_of_theirs() {
        let mut lanes = Lanes::default();
        let kind: KindName = "ping".parse().unwrap();
        let [a, b, c] = ["a", "b", "c"].map(|name| lanes.lane(&VpId::derive("U", name), &kind));
        let msm = |n| MeasurementId::new(n, &[0; 10]);
        lanes.wait((msm(1), 0), &[a]);
        lanes.wait((msm(2), 0), &[a]);
        lanes.wait((msm(3), 0), &[b, c]);
        let first = lanes.next(a).unwrap();
        lanes.wait(first, &[a]);
        assert_eq!(lanes.next(a), Some((msm(2), 0)));
        assert_eq!(lanes.next(a), Some((msm(1), 0)));
        assert_eq!(lanes.next(a), None);
        assert_eq!(lanes.next(c), Some((msm(3), 0)));
        assert_eq!(lanes.next(b), None);
    }
}
