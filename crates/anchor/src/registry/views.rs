//! What clients are shown of the registry.

use std::collections::BTreeMap;
use std::time::Instant;

use mmn_schema::api::{KindView, ModuleView, UnavailableKind, VpView};

use super::Registry;
use crate::metrics::{Metrics, health_label};

impl Registry {
    /// All vantage points, by name.
    pub(crate) fn vp_views(&self, now: Instant) -> Vec<VpView> {
        let mut views: Vec<VpView> = self
            .vps
            .values()
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
                    vantage_point: vp.point.clone(),
                    health: vp.health,
                    policy: vp.node.as_ref().map(|node| node.info.policy.clone()),
                    kinds: vp.kinds.clone(),
                    unavailable,
                    modules: vp.node.as_ref().map(|node| node.info.modules.clone()).unwrap_or_default(),
                    last_seen_at: vp.seen_at,
                }
            })
            .collect();
        views.sort_by(|left, right| {
            let name = |view: &VpView| (view.vantage_point.name.clone(), view.vantage_point.id.clone());
            name(left).cmp(&name(right))
        });
        views
    }

    /// All instances, by vantage point and name.
    pub(crate) fn module_views(&self, now: Instant) -> Vec<ModuleView> {
        let mut views: Vec<ModuleView> = self
            .instances
            .values()
            .map(|instance| {
                let (health, evidence) = instance.liveness.judge(now, self.bounds);
                ModuleView {
                    instance: instance.id.clone(),
                    boot: instance.boot,
                    module: instance.module.clone(),
                    version: instance.version.clone(),
                    vp: instance.vp.clone(),
                    vp_name: self.vps.get(&instance.vp).map(|vp| vp.point.name.clone()),
                    kinds: instance.kinds.iter().map(|kind| kind.name.clone()).collect(),
                    health,
                    evidence: evidence.to_string(),
                    credits: instance.credits,
                    out: instance.slot.holding.len() as u64,
                    heartbeat: instance.heartbeat.clone(),
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
        for kind in self.vps.values().flat_map(|vp| &vp.kinds) {
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
            let health = instance.liveness.judge(now, self.bounds).0;
            *metrics.instances.entry(health_label(health)).or_default() += 1;
            metrics.tasks_out += instance.slot.holding.len() as u64;
        }
        for vp in self.vps.values() {
            *metrics.vps.entry(health_label(vp.health)).or_default() += 1;
        }
        metrics.tasks_out += self.pools.values().map(|pool| pool.slot.holding.len() as u64).sum::<u64>();
    }
}
