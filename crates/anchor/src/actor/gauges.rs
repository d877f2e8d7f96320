//! What operators see of the actor: its counters, and gauges that are read off its state when somebody asks.

use std::collections::BTreeMap;

use mmn_schema::api::Health;
use mmn_schema::id::{InstanceId, VpId};

use super::{Actor, Written};
use crate::clock;
use crate::metrics::{MAX_ROWS, Metrics, ModuleRow, VpRow, health_label, urgency};

impl Actor {
    /// All counters and gauges at this moment.
    pub(super) fn metrics(&self) -> Metrics {
        let mut metrics = self.sums();
        metrics.garbage_total.clone_from(self.garbage.counts());
        self.registry.gauge(&mut metrics, clock::now());
        self.rows(&mut metrics);
        metrics
    }

    /// The same without what is of single modules and vantage points.
    pub(super) fn sums(&self) -> Metrics {
        let mut metrics = self.counters.clone();
        metrics.measurements_open = self.running.len() as u64;
        metrics.tasks_pending = self.pending;
        metrics.retries_waiting = self.retries.len() as u64;
        metrics.writes_unacknowledged = self.writes.len() as u64;
        metrics.dispatch_stalled = self.stalled;
        metrics.storage_full = self.refusal().is_some();
        metrics.results_bytes = self.fills.results.bytes();
        metrics.results_max_bytes = self.config.results.max_bytes;
        metrics.ledger_bytes = self.fills.ledger.bytes();
        metrics.ledger_max_bytes = self.config.ledger.max_bytes;
        for kind in self.registry.kinds.iter() {
            metrics.kind(&kind.info.name);
        }
        let running = self.running.values().map(|running| (&running.meta.kind, running.account.ledger()));
        self.ends.enter(&mut metrics, running);
        metrics
    }

    /// A write came to an end: how long it took.
    pub(super) fn on_write_over(&mut self, written: Written) {
        self.counters.write_latency.observe(clock::now().saturating_duration_since(written.since), 1);
        self.on_written(written);
    }

    fn rows(&self, metrics: &mut Metrics) {
        let (now, bounds) = (clock::now(), self.registry.bounds);
        let mut vps: Vec<VpRow> = self
            .registry
            .vps
            .values()
            .map(|vp| VpRow {
                name: vp.point.name.clone(),
                id: vp.point.id.clone(),
                health: vp.health,
                simulated: vp.point.simulated,
            })
            .collect();
        let mut modules: BTreeMap<(&VpId, &str), (u8, ModuleRow)> = BTreeMap::new();
        let row = |vp: &VpId, module: &str| ModuleRow {
            vp_name: self.registry.vps.get(vp).map(|vp| vp.point.name.clone()).unwrap_or_default(),
            vp: vp.clone(),
            simulated: self.registry.vps.get(vp).is_some_and(|vp| vp.point.simulated),
            module: module.to_owned(),
            instances: BTreeMap::new(),
            state: None,
            restarts: 0,
            rss_bytes: 0,
            out: 0,
            garbage: 0,
        };
        for instance in self.registry.instances.values() {
            let health = match instance.judge(&self.registry.lanes, now, bounds).0 {
                Health::Lost if self.is_given_up(&instance.vp, &instance.id) => Health::Stopped,
                health => health,
            };
            let (worst, row) = modules
                .entry((&instance.vp, &instance.module))
                .or_insert_with(|| (u8::MAX, row(&instance.vp, &instance.module)));
            *worst = (*worst).min(urgency(health));
            *row.instances.entry(health_label(health)).or_default() += 1;
            row.out += instance.slot.holding.len() as u64;
            row.garbage += instance.garbage.count(now);
            if !matches!(health, Health::Lost | Health::Stopped) {
                let heartbeat = instance.heartbeat.as_ref();
                row.rss_bytes += heartbeat.and_then(|beat| beat.load.rss_bytes).unwrap_or_default();
            }
        }
        for (id, vp) in &self.registry.vps {
            for status in vp.node.iter().flat_map(|node| &node.info.modules) {
                let (worst, row) =
                    modules.entry((id, &status.module)).or_insert_with(|| (u8::MAX, row(id, &status.module)));
                if status.state == mmn_schema::announce::ModuleState::Backoff {
                    *worst = 0;
                }
                row.state = Some(status.state);
                row.restarts = status.restarts.into();
            }
        }
        let mut modules: Vec<_> = modules.into_values().collect();
        metrics.rows_left_out =
            (vps.len().saturating_sub(MAX_ROWS) + modules.len().saturating_sub(MAX_ROWS)) as u64;
        vps.sort_by(|left, right| (urgency(left.health), &left.id).cmp(&(urgency(right.health), &right.id)));
        vps.truncate(MAX_ROWS);
        modules.sort_by_key(|(worst, _)| *worst);
        modules.truncate(MAX_ROWS);
        metrics.vp_rows = vps;
        metrics.module_rows = modules.into_iter().map(|(_, row)| row).collect();
    }

    /// Whether the node of an instance that is lost is there and does not know it: it is of a former life of the node.
    fn is_given_up(&self, vp: &VpId, instance: &InstanceId) -> bool {
        let node = self.registry.vps.get(vp).and_then(|vp| vp.node.as_ref());
        node.is_some_and(|node| {
            let health = node.liveness.judge(clock::now(), self.registry.bounds).0;
            let knows = node.info.modules.iter().any(|module| module.instances.contains(instance));
            !knows && !matches!(health, Health::Lost | Health::Stopped)
        })
    }
}
