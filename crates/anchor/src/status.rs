//! How the network is doing, for those who only look.

use std::collections::BTreeMap;

use mmn_schema::api::{Health, Measurement};
use mmn_schema::id::{InstanceId, VpId};
use mmn_schema::status::{NetworkStatus, Process, ProcessRole, PublicMeasurement, Usage};
use std::time::Instant;

use crate::registry::Registry;
use crate::usage::{Meter, sum};

/// The most processes that are told.
const MAX_PROCESSES: usize = 100;
/// The most instances that are told of one process.
const MAX_INSTANCES: usize = 16;

/// Which process somebody is in.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Which<'a> {
    /// As it says itself.
    Told(u64),
    /// It does not say: it is taken for one of its own.
    Own(&'a VpId, &'a InstanceId),
}

/// All processes of nodes and modules that are there, those that use the most processor time first.
pub(crate) fn processes(registry: &Registry, now: Instant) -> Vec<Process> {
    let mut all: BTreeMap<Which<'_>, Process> = BTreeMap::new();
    for vp in registry.vps.values() {
        let point = &vp.point;
        let mut enter = |meter: &Meter, instance, module: Option<&str>, health| {
            if matches!(health, Health::Lost | Health::Stopped) {
                return;
            }
            let Some(usage) = meter.usage() else { return };
            let which = meter.process().map_or(Which::Own(&point.id, instance), Which::Told);
            let process = Process {
                role: if module.is_some() { ProcessRole::Module } else { ProcessRole::Node },
                module: module.map(str::to_owned),
                vp: Some(point.id.clone()),
                vp_name: Some(point.name.clone()),
                instances: vec![instance.clone()],
                simulated: point.simulated,
                health: Some(health),
                usage,
            };
            match all.get_mut(&which) {
                Some(known) => known.join(process),
                None => drop(all.insert(which, process)),
            }
        };
        if let Some(node) = &vp.node {
            let health = node.liveness.judge(now, registry.bounds).0;
            enter(&node.meter, &node.name, None, health);
        }
        for instance in vp.slots.iter().filter_map(|slot| registry.instances.get(slot)) {
            let health = instance.judge(&registry.lanes, now, registry.bounds).0;
            enter(&instance.meter, &instance.id, Some(&instance.module), health);
        }
    }
    let mut all: Vec<_> = all.into_values().collect();
    let cpu = |process: &Process| process.usage.cpu_percent.unwrap_or_default();
    all.sort_by(|one, other| {
        cpu(other).total_cmp(&cpu(one)).then_with(|| one.instances.cmp(&other.instances))
    });
    all
}

/// Keeps as many as are told. Gives how many are not.
pub(crate) fn truncate(processes: &mut Vec<Process>) -> u64 {
    let left_out = processes.len().saturating_sub(MAX_PROCESSES);
    processes.truncate(MAX_PROCESSES);
    left_out as u64
}

trait Join {
    /// The same process speaks for another instance.
    fn join(&mut self, other: Self);
}

impl Join for Process {
    fn join(&mut self, other: Self) {
        if other.role == ProcessRole::Node {
            self.role = ProcessRole::Node;
        }
        if self.vp != other.vp {
            (self.vp, self.vp_name) = (None, None);
        }
        // One that performs several modules' work is none of them.
        if self.module != other.module {
            self.module = None;
        }
        if self.instances.len() < MAX_INSTANCES {
            self.instances.extend(other.instances);
        }
        self.simulated |= other.simulated;
        self.health = self.health.min(other.health);
        let most = |one: Option<f64>, other: Option<f64>| match (one, other) {
            (Some(one), Some(other)) => Some(one.max(other)),
            (one, other) => one.or(other),
        };
        let (own, others) = (self.usage, other.usage);
        self.usage = Usage {
            // All of them tell the same, not quite at the same time.
            cpu_percent: most(own.cpu_percent, others.cpu_percent),
            rss_bytes: own.rss_bytes.max(others.rss_bytes),
            nats_received_bytes_per_s: most(own.nats_received_bytes_per_s, others.nats_received_bytes_per_s),
            nats_sent_bytes_per_s: most(own.nats_sent_bytes_per_s, others.nats_sent_bytes_per_s),
            interface_received_bytes_per_s: most(
                own.interface_received_bytes_per_s,
                others.interface_received_bytes_per_s,
            ),
            interface_sent_bytes_per_s: most(
                own.interface_sent_bytes_per_s,
                others.interface_sent_bytes_per_s,
            ),
            // Each vantage point has probes of its own.
            probe_sent_bytes_per_s: sum(own.probe_sent_bytes_per_s, others.probe_sent_bytes_per_s),
        };
    }
}

/// What everybody may know of a measurement that is public.
pub(crate) fn public(measurement: Measurement) -> PublicMeasurement {
    let Measurement { id, kind, label, state, accepted_at, done_at, vps, ledger, .. } = measurement;
    PublicMeasurement { id, kind, label, state, accepted_at, done_at, vps: vps.len() as u64, ledger }
}

/// The same without what is not everybody's business.
pub(crate) fn without_names(mut status: NetworkStatus) -> NetworkStatus {
    for process in &mut status.processes {
        (process.vp, process.vp_name) = (None, None);
        process.instances.clear();
    }
    // Reasons are of all tenants' tasks.
    status.ledger.reasons.clear();
    status
}
