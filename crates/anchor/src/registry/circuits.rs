//! Who is given work: instances that take it and whose circuits let it through, the least loaded first.
//!
//! A failure is an instance's own. It counts against its kind at the vantage point too when nobody else there could have
//! done better.

use std::time::Instant;

use mmn_schema::id::{InstanceId, KindName, VpId};

use super::{Registry, Sink};
use crate::breaker::{Change, Gate, Rules};
use crate::dispatch::lane::{LaneId, SlotId};

/// A circuit that has changed.
#[derive(Debug)]
pub(crate) struct Tripped {
    pub(crate) vp: VpId,
    /// Of this instance, or of a kind.
    pub(crate) instance: Option<InstanceId>,
    pub(crate) kind: Option<KindName>,
    pub(crate) change: Change,
    /// The lanes that it concerns.
    pub(crate) lanes: Vec<LaneId>,
}

impl Registry {
    /// The instance with the largest free share on a lane, other than `but`.
    pub(crate) fn least_loaded(
        &self,
        id: LaneId,
        now: Instant,
        but: Option<SlotId>,
    ) -> Option<(Sink, usize)> {
        let lane = self.lanes.get(id)?;
        let of_kind = lane.breaker.gate(now);
        if of_kind == Gate::Shut {
            return None;
        }
        let mut best: Option<(Sink, usize, f64)> = None;
        let mut poolable = 0;
        for &slot in &lane.slots {
            let Some(instance) = self.instances.get(&slot) else { continue };
            if Some(slot) == but || !instance.takes_work(now, self.bounds) {
                continue;
            }
            let gate = instance.breaker.gate(now);
            if gate == Gate::Shut {
                continue;
            }
            let Some(credits) = instance.credits else {
                poolable += self.pool_tasks as usize;
                continue;
            };
            let trial = gate == Gate::Trial || of_kind == Gate::Trial;
            let room = instance.room(credits);
            #[expect(clippy::cast_precision_loss, reason = "shares are compared, not counted")]
            let share = room as f64 / f64::from(credits.max(1));
            if room > 0 && best.as_ref().is_none_or(|&(.., most)| share > most) {
                best = Some((Sink::Instance(slot), if trial { 1 } else { room }, share));
            }
        }
        if best.is_none() && poolable > 0 {
            let out = self.pools.get(&id).map_or(0, |pool| pool.slot.holding.len());
            if out < poolable {
                return Some((Sink::Pool(id), 1));
            }
        }
        best.map(|(sink, room, _)| (sink, room))
    }

    /// The part of an instance's room that one of its kinds may take now: others may be waited for too.
    pub(crate) fn share(&self, sink: Sink, id: LaneId, room: usize) -> usize {
        let Sink::Instance(slot) = sink else { return room };
        let Some(instance) = self.instances.get(&slot).filter(|it| it.lanes.len() > 1) else { return room };
        let others = instance.lanes.iter().filter(|&&lane| lane != id && self.lanes.has_turns(lane)).count();
        room.div_ceil(others + 1)
    }

    /// Whether anybody other than `but` takes work on a lane, be it full or not.
    pub(crate) fn is_worked(&self, id: LaneId, now: Instant, but: Option<SlotId>) -> bool {
        let Some(lane) = self.lanes.get(id) else { return false };
        let others = lane.slots.iter().filter(|&&slot| Some(slot) != but);
        lane.breaker.gate(now) != Gate::Shut
            && others.filter_map(|slot| self.instances.get(slot)).any(|instance| {
                instance.takes_work(now, self.bounds) && instance.breaker.gate(now) != Gate::Shut
            })
    }

    /// Whether those who perform the lane's kind are there, and circuits keep work from all of them.
    pub(crate) fn is_barred(&self, id: LaneId, now: Instant) -> bool {
        let Some(lane) = self.lanes.get(id) else { return false };
        let mut there = lane
            .slots
            .iter()
            .filter_map(|slot| self.instances.get(slot))
            .filter(|it| it.is_there(now, self.bounds));
        if !lane.breaker.is_closed() {
            return true;
        }
        let first = there.next();
        first.is_some_and(|it| !it.breaker.is_closed()) && there.all(|it| !it.breaker.is_closed())
    }

    /// A batch goes out on a lane.
    pub(crate) fn sent(&mut self, id: LaneId, sink: Sink, now: Instant) {
        if let Some(lane) = self.lanes.get_mut(id) {
            lane.breaker.sent(now);
        }
        if let Sink::Instance(slot) = sink
            && let Some(instance) = self.instances.get_mut(&slot)
        {
            instance.breaker.sent(now);
        }
    }

    /// Attempts ended as they should.
    pub(crate) fn succeeded(
        &mut self,
        slot: SlotId,
        id: Option<LaneId>,
        count: u32,
        now: Instant,
    ) -> Vec<Tripped> {
        let mut tripped = Vec::new();
        if let Some(instance) = self.instances.get_mut(&slot)
            && let Some(change) = instance.breaker.success(now, count)
        {
            tripped.extend(self.of_instance(slot, change));
        }
        if let Some(id) = id
            && let Some(change) = self.lanes.get_mut(id).and_then(|lane| lane.breaker.success(now, count))
        {
            tripped.extend(self.of_lane(id, change));
        }
        tripped
    }

    /// An attempt failed for a reason of the instance's own, at these kinds.
    pub(crate) fn failed(
        &mut self,
        slot: SlotId,
        lanes: &[LaneId],
        now: Instant,
        rules: &Rules,
        luck: f64,
    ) -> Vec<Tripped> {
        let mut tripped = Vec::new();
        if let Some(instance) = self.instances.get_mut(&slot)
            && let Some(change) = instance.breaker.failure(now, rules, luck)
        {
            tripped.extend(self.of_instance(slot, change));
        }
        for &id in lanes {
            if self.is_alone(id, slot, now)
                && let Some(change) =
                    self.lanes.get_mut(id).and_then(|lane| lane.breaker.failure(now, rules, luck))
            {
                tripped.extend(self.of_lane(id, change));
            }
        }
        tripped
    }

    /// Circuits whose pause is over.
    pub(crate) fn half_open(&mut self, now: Instant) -> Vec<Tripped> {
        let instances = self.instances.iter_mut();
        let slots: Vec<_> = instances.filter_map(|(&slot, it)| Some((slot, it.breaker.tick(now)?))).collect();
        let mut tripped: Vec<_> =
            slots.into_iter().filter_map(|(slot, change)| self.of_instance(slot, change)).collect();
        for id in self.lanes.ids() {
            if let Some(change) = self.lanes.get_mut(id).and_then(|lane| lane.breaker.tick(now)) {
                tripped.extend(self.of_lane(id, change));
            }
        }
        tripped
    }

    /// Lanes whose trial nothing was heard of: no event will say that another one may follow.
    pub(crate) fn unheard(&self, now: Instant) -> Vec<LaneId> {
        let instances = self.instances.values().filter(|it| it.breaker.is_unheard(now));
        let of_instances = instances.flat_map(|it| it.lanes.iter().copied());
        let of_kind = |id: &LaneId| self.lanes.get(*id).is_some_and(|lane| lane.breaker.is_unheard(now));
        of_instances.chain(self.lanes.ids().filter(of_kind)).collect()
    }

    /// Whether nobody else takes the work of a lane.
    fn is_alone(&self, id: LaneId, slot: SlotId, now: Instant) -> bool {
        let slots = self.lanes.get(id).map(|lane| lane.slots.as_slice()).unwrap_or_default();
        let others = slots.iter().filter(|&&other| other != slot);
        !others
            .filter_map(|other| self.instances.get(other))
            .any(|it| it.takes_work(now, self.bounds) && it.breaker.is_closed())
    }

    fn of_instance(&self, slot: SlotId, change: Change) -> Option<Tripped> {
        let instance = self.instances.get(&slot)?;
        Some(Tripped {
            vp: instance.vp.clone(),
            instance: Some(instance.id.clone()),
            kind: None,
            change,
            lanes: instance.lanes.clone(),
        })
    }

    fn of_lane(&self, id: LaneId, change: Change) -> Option<Tripped> {
        let lane = self.lanes.get(id)?;
        let (vp, kind) = (lane.vp.clone(), Some(lane.kind.clone()));
        Some(Tripped { vp, instance: None, kind, change, lanes: vec![id] })
    }
}
