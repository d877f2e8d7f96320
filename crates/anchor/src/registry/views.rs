//! What clients are shown of the registry.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use mmn_schema::api::{Cause, Circuit, CircuitState, KindView, ModuleView, UnavailableKind, VpView};
use mmn_schema::id::{KindName, VpId};
use mmn_schema::vp::VantagePoint;

use super::Registry;
use super::instance::Instance;
use crate::health::Evidence;
use crate::metrics::{Metrics, health_label};

/// Of a vantage point what a selection looks at.
#[derive(Debug, Clone)]
pub(crate) struct Choosable {
    /// The place.
    pub(crate) vp: Arc<VantagePoint>,
    /// The kinds that can be measured from there now.
    pub(crate) kinds: Arc<[KindName]>,
}

impl Registry {
    /// All vantage points, by id. Nothing is copied: ten thousand are asked for at each key that somebody types.
    pub(crate) fn choosable(&self) -> Vec<Choosable> {
        self.vps.values().map(|vp| Choosable { vp: vp.point.clone(), kinds: vp.kinds.clone() }).collect()
    }

    /// These vantage points, in this order; those that are not known are left out.
    pub(crate) fn vp_views(&self, ids: &[VpId], now: Instant) -> Vec<VpView> {
        ids.iter()
            .filter_map(|id| self.vps.get(id))
            .map(|vp| {
                let instances = vp.slots.iter().filter_map(|slot| self.instances.get(slot));
                let there = instances.filter(|instance| instance.is_there(now, self.bounds));
                let mut unavailable: Vec<UnavailableKind> = there
                    .flat_map(|instance| &instance.kinds)
                    .filter(|kind| !vp.kinds.contains(&kind.name))
                    .filter_map(|kind| {
                        let why = kind.unavailable.clone()?;
                        Some(UnavailableKind { kind: kind.name.clone(), reason: why.reason, mend: why.mend })
                    })
                    .collect();
                unavailable.sort_by(|left, right| left.kind.cmp(&right.kind));
                unavailable.dedup_by(|left, right| left.kind == right.kind);
                VpView {
                    vantage_point: (*vp.point).clone(),
                    health: vp.health,
                    policy: vp.node.as_ref().map(|node| node.info.policy.clone()),
                    kinds: vp.kinds.to_vec(),
                    unavailable,
                    modules: vp.node.as_ref().map(|node| node.info.modules.clone()).unwrap_or_default(),
                    usage: vp.node.as_ref().and_then(|node| node.meter.usage()),
                    last_seen_at: vp.seen_at,
                }
            })
            .collect()
    }

    /// All instances, or those of a vantage point, by vantage point and name.
    pub(crate) fn module_views(&self, of: Option<&VpId>, now: Instant) -> Vec<ModuleView> {
        let instances: Vec<&Instance> = match of {
            None => self.instances.values().collect(),
            Some(id) => {
                let slots = self.vps.get(id).map(|vp| vp.slots.as_slice()).unwrap_or_default();
                slots.iter().filter_map(|slot| self.instances.get(slot)).collect()
            }
        };
        let mut views: Vec<ModuleView> = instances
            .into_iter()
            .map(|instance| {
                let (health, evidence) = instance.judge(&self.lanes, now, self.bounds);
                let cause = self.cause(instance, evidence, now);
                ModuleView {
                    instance: instance.id.clone(),
                    boot: instance.boot,
                    module: instance.module.clone(),
                    version: instance.version.clone(),
                    vp: instance.vp.clone(),
                    vp_name: self.vps.get(&instance.vp).map(|vp| vp.point.name.clone()),
                    simulated: self.vps.get(&instance.vp).is_some_and(|vp| vp.point.simulated),
                    kinds: instance.kinds.iter().map(|kind| kind.name.clone()).collect(),
                    health,
                    // One that has just changed is taken down at the next tick.
                    since: (health == instance.health).then_some(instance.since),
                    evidence: told(evidence, cause, instance.probed.is_some()),
                    cause,
                    circuits: self.circuits(instance),
                    credits: instance.credits,
                    out: instance.slot.holding.len() as u64,
                    heartbeat: instance.heartbeat.clone(),
                    usage: instance.meter.usage(),
                    last_seen_at: instance.seen_at,
                }
            })
            .collect();
        views.sort_by(|left, right| (&left.vp, &left.instance).cmp(&(&right.vp, &right.instance)));
        views
    }

    /// All kinds, by name.
    pub(crate) fn kind_views(&self) -> Vec<KindView> {
        let mut offered: BTreeMap<_, u64> = BTreeMap::new();
        for kind in self.vps.values().flat_map(|vp| &*vp.kinds) {
            *offered.entry(kind).or_default() += 1;
        }
        let view = |kind: &super::kinds::Kind| KindView {
            info: kind.info.clone(),
            vps: offered.get(&kind.info.name).copied().unwrap_or_default(),
        };
        self.kinds.iter().map(view).collect()
    }

    /// Enters the gauges.
    pub(crate) fn gauge(&self, metrics: &mut Metrics, now: Instant) {
        for instance in self.instances.values() {
            let health = instance.judge(&self.lanes, now, self.bounds).0;
            *metrics.instances.entry(health_label(health)).or_default() += 1;
            metrics.tasks_out += instance.slot.holding.len() as u64;
        }
        for vp in self.vps.values() {
            *metrics.vps.entry(health_label(vp.health)).or_default() += 1;
        }
        self.gauge_circuits(metrics);
        metrics.tasks_out += self.pools.values().map(|pool| pool.slot.holding.len() as u64).sum::<u64>();
    }

    /// What seems to have happened to an instance: as much as can be told from here.
    pub(crate) fn cause(&self, instance: &Instance, evidence: Evidence, now: Instant) -> Option<Cause> {
        let node = self.vps.get(&instance.vp).and_then(|vp| vp.node.as_ref());
        let node = node.map(|node| node.liveness.takes_work(now, self.bounds));
        match (evidence, node) {
            (Evidence::Dead, _) | (Evidence::Deaf, Some(true)) => Some(Cause::Crash),
            (Evidence::Deaf | Evidence::Silent(..), Some(false)) => Some(Cause::Cut),
            // Had it no listener, the question would have come back at once.
            (Evidence::Silent(..), _) if instance.probed.is_some() => Some(Cause::Hang),
            (Evidence::Mute, _) => Some(Cause::Hang),
            // Deaf without a node: nobody can say whether the process or the way to it is gone.
            _ => None,
        }
    }

    fn circuits(&self, instance: &Instance) -> Vec<Circuit> {
        let own = Some((None, instance.breaker.state()));
        let lanes = instance.lanes.iter().filter_map(|&lane| self.lanes.get(lane));
        let kinds = lanes.map(|lane| (Some(lane.kind.clone()), lane.breaker.state()));
        own.into_iter()
            .chain(kinds)
            .filter(|(_, state)| *state != CircuitState::Closed)
            .map(|(kind, state)| Circuit { kind, state })
            .collect()
    }

    /// How many circuits are in which state, of instances and of kinds.
    fn gauge_circuits(&self, metrics: &mut Metrics) {
        let instances = self.instances.values().map(|instance| ("instance", instance.breaker.state()));
        let lanes = self.lanes.ids().filter_map(|lane| self.lanes.get(lane));
        for (of, state) in instances.chain(lanes.map(|lane| ("kind", lane.breaker.state()))) {
            let state = match state {
                CircuitState::Closed => continue,
                CircuitState::Open => "open",
                CircuitState::HalfOpen => "half-open",
            };
            *metrics.breakers.entry((of, state)).or_default() += 1;
        }
    }
}

/// The evidence and what it is taken for, in words.
pub(crate) fn told(evidence: Evidence, cause: Option<Cause>, probed: bool) -> String {
    let besides = match (cause, evidence) {
        (Some(Cause::Crash), Evidence::Dead) | (None, _) => "",
        (Some(Cause::Crash), _) => "; its node is there: it crashed",
        (Some(Cause::Cut), _) => "; its node is not heard either",
        (Some(Cause::Hang), _) if probed => "; its subject has a listener, and a question went unanswered",
        (Some(Cause::Hang), _) => "; it is connected",
    };
    format!("{evidence}{besides}")
}
