//! Who is there: vantage points, their nodes, the instances of modules and the kinds that they perform.
//!
//! It is told what was announced and when, and reads no clock itself. Begin with [`Registry`]; [`proof`] says whom
//! to believe, [`instance`] what is known of one instance, [`circuits`] who is
//! given work, [`views`] what clients are shown.

pub(crate) mod circuits;
pub(crate) mod instance;
pub(crate) mod kinds;
pub(crate) mod proof;
pub(crate) mod views;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use mmn_schema::announce::{Announcement, ModuleInfo, NodeInfo};
use mmn_schema::api::Health;
use mmn_schema::encoding::Encoding;
use mmn_schema::id::{BootId, InstanceId, KindName, VpId};
use mmn_schema::select::Candidate;
use mmn_schema::time::Timestamp;
use mmn_schema::vp::VantagePoint;

use crate::dispatch::holding::Returned;
use crate::dispatch::lane::{LaneId, Lanes, SlotId};
use crate::health::{Bounds, Liveness};
use crate::usage::Meter;
use instance::{Instance, Pool};
use kinds::Kinds;

/// Everybody who has announced themselves.
#[derive(Debug)]
pub(crate) struct Registry {
    pub(crate) vps: BTreeMap<VpId, Vp>,
    pub(crate) instances: HashMap<SlotId, Instance>,
    pub(crate) pools: HashMap<LaneId, Pool>,
    pub(crate) kinds: Kinds,
    pub(crate) lanes: Lanes,
    pub(crate) bounds: Bounds,
    by_name: HashMap<(VpId, InstanceId), SlotId>,
    next: u64,
    /// Where batch numbers begin: the start of this anchor in microseconds.
    first_seq: u64,
    /// How many tasks are out to each instance without credits.
    pool_tasks: u32,
}

/// A vantage point.
#[derive(Debug)]
pub(crate) struct Vp {
    /// Shared with whoever asks for all of them.
    pub(crate) point: Arc<VantagePoint>,
    pub(crate) node: Option<Node>,
    pub(crate) slots: Vec<SlotId>,
    /// The kinds that some instance performs now, in order.
    pub(crate) kinds: Arc<[KindName]>,
    pub(crate) seen_at: Timestamp,
    pub(crate) health: Health,
}

/// The node of a vantage point.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) name: InstanceId,
    pub(crate) boot: BootId,
    pub(crate) info: NodeInfo,
    pub(crate) liveness: Liveness,
    pub(crate) meter: Meter,
}

/// What an announcement changed.
#[derive(Debug)]
pub(crate) struct Joined {
    pub(crate) slot: SlotId,
    /// Whether it is a new life, or one that was given up.
    pub(crate) anew: bool,
    /// What its former life held.
    pub(crate) returned: Vec<Returned>,
}

impl Registry {
    pub(crate) fn new(bounds: Bounds, first_seq: u64, pool_tasks: u32) -> Self {
        Self {
            vps: BTreeMap::new(),
            instances: HashMap::new(),
            pools: HashMap::new(),
            kinds: Kinds::default(),
            lanes: Lanes::default(),
            bounds,
            by_name: HashMap::new(),
            next: 0,
            first_seq,
            pool_tasks,
        }
    }

    /// An instance has announced itself.
    pub(crate) fn join(
        &mut self,
        announcement: &Announcement,
        mut info: ModuleInfo,
        encoding: Encoding,
        now: Instant,
        at: Timestamp,
    ) -> Joined {
        let name = (announcement.vp.clone(), announcement.instance.clone());
        let known = self.by_name.get(&name).copied();
        let slot = known.unwrap_or_else(|| {
            self.next += 1;
            SlotId(self.next)
        });
        let former = self.instances.get_mut(&slot);
        let same = |it: &Instance| it.boot == announcement.boot && it.is_there(now, self.bounds);
        let anew = !former.as_deref().is_some_and(same);
        // An instance that was given up holds nothing that counts any more; a new life holds nothing.
        let mut returned = match former {
            Some(former) if anew => former.slot.holding.take_all(),
            _ => Vec::new(),
        };
        if anew && let Some(former) = known.and_then(|slot| self.instances.get(&slot)) {
            let lanes = former.lanes.clone();
            returned.extend(self.take_from_pools(&lanes, &announcement.instance));
        }
        let simulated = info.simulated;
        for kind in &mut info.kinds {
            self.kinds.learn(kind);
            self.kinds.share(kind);
        }
        self.kinds.keep(&info);
        self.leave_lanes(slot);
        let lanes: Vec<LaneId> = info
            .kinds
            .iter()
            .filter(|kind| kind.unavailable.is_none())
            .map(|kind| self.lanes.lane(&announcement.vp, &kind.name))
            .collect();
        for &lane in &lanes {
            if let Some(lane) = self.lanes.get_mut(lane) {
                lane.slots.push(slot);
            }
            if info.credits.is_none() {
                let first_seq = self.first_seq;
                self.pools.entry(lane).or_insert_with(|| Pool::new(first_seq));
            }
        }
        match self.instances.get_mut(&slot) {
            Some(instance) if !anew => instance.again(announcement, info, encoding, lanes, now, at),
            former => {
                let mut instance =
                    Instance::new(announcement, info, encoding, lanes, self.first_seq, now, at);
                // A new life does not wipe out why the former ones were given no work.
                if let Some(former) = former {
                    instance.breaker = former.breaker.clone();
                }
                self.instances.insert(slot, instance);
            }
        }
        self.by_name.insert(name, slot);
        let vp = self.vp_mut(&announcement.vp, at);
        vp.seen_at = at;
        // It is known of the place before its node is heard.
        if simulated && !vp.point.simulated {
            Arc::make_mut(&mut vp.point).simulated = true;
        }
        if !vp.slots.contains(&slot) {
            vp.slots.push(slot);
        }
        self.refresh(&announcement.vp, now);
        Joined { slot, anew, returned }
    }

    /// The node of a vantage point has announced itself. Whether it is new.
    pub(crate) fn node(
        &mut self,
        announcement: &Announcement,
        info: NodeInfo,
        now: Instant,
        at: Timestamp,
    ) -> bool {
        let vp = self.vp_mut(&announcement.vp, at);
        vp.point = Arc::new(info.vantage_point.clone());
        vp.seen_at = at;
        let before = vp.node.take().filter(|node| node.boot == announcement.boot);
        let anew = before.is_none();
        vp.node = Some(Node {
            name: announcement.instance.clone(),
            boot: announcement.boot,
            info,
            meter: before.as_ref().map(|node| node.meter.clone()).unwrap_or_default(),
            liveness: before
                .map_or_else(|| Liveness::announced(now), |node| node.liveness.announced_again(now)),
        });
        self.refresh(&announcement.vp, now);
        anew
    }

    /// The number of an instance.
    pub(crate) fn find(&self, vp: &VpId, instance: &InstanceId) -> Option<SlotId> {
        self.by_name.get(&(vp.clone(), instance.clone())).copied()
    }

    /// An instance has left or is lost: gives what it held.
    pub(crate) fn part(&mut self, slot: SlotId) -> Vec<Returned> {
        let Some(instance) = self.instances.get_mut(&slot) else {
            return Vec::new();
        };
        let mut returned = instance.slot.holding.take_all();
        let (lanes, name) = (instance.lanes.clone(), instance.id.clone());
        returned.extend(self.take_from_pools(&lanes, &name));
        returned
    }

    fn take_from_pools(&mut self, lanes: &[LaneId], name: &InstanceId) -> Vec<Returned> {
        let mut returned = Vec::new();
        for lane in lanes {
            if let Some(pool) = self.pools.get_mut(lane) {
                returned.extend(pool.slot.holding.take_from(name));
            }
        }
        returned
    }

    /// Looks again which kinds a vantage point offers and how it is. Gives the change of its health, if any.
    pub(crate) fn refresh(&mut self, id: &VpId, now: Instant) -> Option<(Health, Health)> {
        let bounds = self.bounds;
        let vp = self.vps.get_mut(id)?;
        let mut kinds = Vec::new();
        let mut best = vp.node.as_ref().map(|node| node.liveness.judge(now, bounds).0);
        for instance in vp.slots.iter().filter_map(|slot| self.instances.get(slot)) {
            let health = instance.judge(&self.lanes, now, bounds).0;
            best = Some(best.map_or(health, |best| better(best, health)));
            if health != Health::Stopped {
                kinds.extend(
                    instance.kinds.iter().filter(|k| k.unavailable.is_none()).map(|k| k.name.clone()),
                );
            }
        }
        kinds.sort_unstable();
        kinds.dedup();
        if *vp.kinds != *kinds {
            vp.kinds = kinds.into();
        }
        let (before, after) = (vp.health, best.unwrap_or(Health::Stopped));
        vp.health = after;
        (before != after).then_some((before, after))
    }

    /// The vantage points that can be chosen. One that is lost can: its tasks wait for it, and end as lost.
    pub(crate) fn candidates(&self) -> Vec<Candidate<'_>> {
        let there = self.vps.values().filter(|vp| vp.health != Health::Stopped);
        there.map(|vp| Candidate { vp: &vp.point, kinds: &vp.kinds }).collect()
    }

    /// Whether anybody who is not gone performs the lane's kind.
    pub(crate) fn is_served(&self, lane: LaneId, now: Instant) -> bool {
        self.lanes.get(lane).is_some_and(|lane| {
            lane.slots
                .iter()
                .filter_map(|slot| self.instances.get(slot))
                .any(|i| i.is_there(now, self.bounds))
        })
    }

    /// Forgets who has been gone for long.
    pub(crate) fn forget(&mut self, now: Instant, after: Duration) {
        let bounds = self.bounds;
        let gone = |liveness: &Liveness| {
            now.saturating_duration_since(liveness.heard()) > after && !liveness.takes_work(now, bounds)
        };
        let old: Vec<SlotId> = self
            .instances
            .iter()
            .filter(|(_, instance)| gone(&instance.liveness))
            .map(|(&slot, _)| slot)
            .collect();
        for slot in old {
            self.leave_lanes(slot);
            if let Some(instance) = self.instances.remove(&slot) {
                self.by_name.remove(&(instance.vp.clone(), instance.id.clone()));
                if let Some(vp) = self.vps.get_mut(&instance.vp) {
                    vp.slots.retain(|&other| other != slot);
                }
            }
        }
        self.vps.retain(|_, vp| {
            !vp.slots.is_empty() || vp.node.as_ref().is_some_and(|node| !gone(&node.liveness))
        });
    }

    fn leave_lanes(&mut self, slot: SlotId) {
        let lanes = self.instances.get(&slot).map(|instance| instance.lanes.clone()).unwrap_or_default();
        for lane in lanes {
            if let Some(lane) = self.lanes.get_mut(lane) {
                lane.slots.retain(|&other| other != slot);
            }
        }
    }

    fn vp_mut(&mut self, id: &VpId, at: Timestamp) -> &mut Vp {
        self.vps.entry(id.clone()).or_insert_with(|| Vp {
            // What a module says of its place is its id; the rest is the node's to tell.
            point: Arc::new(VantagePoint {
                id: id.clone(),
                name: id.to_string(),
                location: mmn_schema::vp::Location::default(),
                asn: None,
                as_name: None,
                addresses: Vec::new(),
                tags: Vec::new(),
                simulated: false,
            }),
            node: None,
            slots: Vec::new(),
            kinds: Arc::default(),
            seen_at: at,
            health: Health::Starting,
        })
    }
}

/// Who takes a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sink {
    Instance(SlotId),
    Pool(LaneId),
}

fn better(left: Health, right: Health) -> Health {
    let rank = |health| match health {
        Health::Healthy => 0,
        Health::Degraded => 1,
        Health::Starting => 2,
        Health::Draining => 3,
        Health::Suspect => 4,
        Health::Lost => 5,
        Health::Stopped => 6,
    };
    if rank(left) <= rank(right) { left } else { right }
}
