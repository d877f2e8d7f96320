//! How the network is doing: sampled each second, put together when somebody asks.

use std::collections::{BTreeMap, HashSet};
use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

use mmn_schema::announce::Load;
use mmn_schema::api::{Health, Ledger};
use mmn_schema::outcome::Outcome;
use mmn_schema::status::{KindStatus, NetworkStatus, Process, ProcessRole};
use mmn_schema::time::Timestamp;

use super::Actor;
use crate::clock;
use crate::handle::Viewer;
use crate::list::Filter;
use crate::metrics::Metrics;
use crate::status::{processes, public, truncate};
use crate::usage::{self, Meter, Rates};

/// The most public measurements that are told.
const MAX_PUBLIC: usize = 20;

/// What is watched for it.
#[derive(Debug)]
pub(super) struct Watch {
    since: Timestamp,
    own: Meter,
    server: Meter,
    results: Rates<1>,
    kinds: BTreeMap<String, Rates<1>>,
}

impl Default for Watch {
    fn default() -> Self {
        Self {
            since: clock::wall(),
            own: Meter::default(),
            server: Meter::default(),
            results: Rates::default(),
            kinds: BTreeMap::new(),
        }
    }
}

impl Actor {
    /// What this process and its server use, and how fast tasks end.
    pub(super) fn look_at_processes(&mut self, now: Instant) {
        let statistics = self.shared.bus.client().statistics();
        let own = Load {
            nats_received_bytes: Some(statistics.in_bytes.load(Relaxed)),
            nats_sent_bytes: Some(statistics.out_bytes.load(Relaxed)),
            ..usage::own()
        };
        self.watch.own.beat(&own, now);
        if let Some(pid_file) = &self.config.bus.pid_file {
            self.watch.server.beat(&usage::server(pid_file), now);
        }
        let ended = self.counters.tasks_ended_total.values().sum();
        self.watch.results.sample(now, [Some(ended)]);
    }

    pub(super) fn status(&mut self, now: Instant) -> NetworkStatus {
        let sums = self.sums();
        let kinds = self.kinds_now(&sums, now);
        let ends = [(ProcessRole::Anchor, &self.watch.own), (ProcessRole::NatsServer, &self.watch.server)];
        let mut all: Vec<_> = ends
            .into_iter()
            .filter_map(|(role, meter)| {
                let usage = meter.usage()?;
                let (module, vp, vp_name, health) = (None, None, None, None);
                Some(Process {
                    role,
                    module,
                    vp,
                    vp_name,
                    instances: Vec::new(),
                    simulated: false,
                    health,
                    usage,
                })
            })
            .collect();
        all.extend(processes(&self.registry, now));
        let processes_left_out = truncate(&mut all);
        let (mut vps, mut instances) = (BTreeMap::<Health, u64>::new(), BTreeMap::<Health, u64>::new());
        let (mut countries, mut ases) = (HashSet::new(), HashSet::new());
        for vp in self.registry.vps.values() {
            *vps.entry(vp.health).or_default() += 1;
            countries.extend(vp.point.location.country.as_ref());
            ases.extend(vp.point.asn);
        }
        for instance in self.registry.instances.values() {
            let health = instance.judge(&self.registry.lanes, now, self.registry.bounds).0;
            *instances.entry(health).or_default() += 1;
        }
        NetworkStatus {
            at: clock::wall(),
            since: self.watch.since,
            public_page: self.config.api.public_page,
            operator: self.config.api.operator(),
            processes: all,
            processes_left_out,
            vps,
            instances,
            countries: countries.len() as u64,
            ases: ases.len() as u64,
            kinds,
            measurements_total: sums.measurements_total,
            measurements_open: sums.measurements_open,
            ledger: account(&sums),
            results_per_s: self.watch.results.per_s(0),
            public: self
                .list(&Viewer::Public, &Filter::default(), None, MAX_PUBLIC)
                .items
                .into_iter()
                .map(public)
                .collect(),
        }
    }

    fn kinds_now(&mut self, sums: &Metrics, now: Instant) -> Vec<KindStatus> {
        let views = self.registry.kind_views();
        self.watch.kinds.retain(|name, _| sums.kinds.contains_key(name));
        for (name, work) in &sums.kinds {
            self.watch.kinds.entry(name.clone()).or_default().sample(now, [Some(work.ended_total)]);
        }
        let rate = |name: &str| self.watch.kinds.get(name).and_then(|rates| rates.per_s(0));
        let told = views.into_iter().map(|view| KindStatus {
            results_per_s: rate(view.info.name.as_str()),
            kind: view.info.name,
            vps: view.vps,
        });
        told.collect()
    }
}

/// The account of all tasks since this anchor took over.
fn account(sums: &Metrics) -> Ledger {
    let count = |outcome| sums.tasks_ended_total.get(&outcome).copied().unwrap_or_default();
    let mut ledger = Ledger {
        ok: count(Outcome::Ok),
        failed: count(Outcome::Failed),
        refused: count(Outcome::Refused),
        lost: count(Outcome::Lost),
        cancelled: count(Outcome::Cancelled),
        pending: sums.tasks_pending,
        superseded: sums.superseded_total,
        ..Ledger::default()
    };
    // What was found pending is accepted, too.
    ledger.accepted = sums.tasks_ended_total.values().sum::<u64>() + ledger.pending;
    for ((outcome, reason), count) in &sums.tasks_ended_reasons {
        if *outcome != Outcome::Ok {
            ledger.reasons.entry(*outcome).or_default().insert((*reason).to_owned(), *count);
        }
    }
    ledger
}
