//! What is measured in a world, compared with what happened in it: pings and traces from every vantage point to every target,
//! packet by packet, and the aliases of its routers.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::process::Command;
use std::time::Duration;

use anyhow::Context;
use mmn_lab::host::Client;
use mmn_lab::namespaces::{Found, What};
use mmn_lab::plan::{NodeKind, Owner, Plan};
use serde::Deserialize;
use serde_json::json;

use super::{aliases, ready, world};
use crate::http::Connection;
use crate::lines::Bench;
use crate::report::Report;
use crate::started::Dir;
use crate::up::Up;
use crate::{clock, measurement};

const VPS: usize = 24;
/// How many targets one measurement has: the lab knows of the newest packets.
const AT_ONCE: usize = 50;
/// How many mismatches are printed.
const PRINTED: usize = 10;

pub(super) fn run(bench: &Bench, report: &mut Report) -> anyhow::Result<()> {
    let drivers = ready::drivers(&bench.mmn)?;
    for driver in drivers {
        one(bench, report, driver)?;
    }
    Ok(())
}

fn one(bench: &Bench, report: &mut Report, driver: Option<&'static str>) -> anyhow::Result<()> {
    let plan = world::plan(VPS)?;
    let dir = Dir::new()?;
    let file = world::file(&dir, VPS)?;
    let up = Up::lab(&bench.mmn, &file, &ready::wish(driver))?;
    ready::wait(&up, VPS, clock::now())?;
    let driver = Client::connect(&up.data().join("lab"))?.about()?.driver;
    report.note(&format!("world.toml, driver {driver}"));
    let mut api = Connection::open(&up.api, &up.token)?;
    let mut seen = Seen::default();
    let targets: Vec<_> = targets(&plan);
    let begin = clock::now();
    for some in targets.chunks(if bench.quick { 10 } else { AT_ONCE }) {
        let ping = json!({"count": 3, "interval": "200ms", "wait_duplicates": true});
        let trace = json!({"attempts": 2, "all_attempts": true, "timeout": "1s"});
        for (kind, params) in [("ping", ping), ("trace", trace)] {
            let body =
                json!({"kind": kind, "params": params, "inputs": some, "from": "all", "deadline": "2m"});
            let id = measurement::submit(&mut api, &body.to_string())?;
            let ledger = measurement::closed(&mut api, &id, Duration::from_secs(120))?;
            seen.tasks += some.len() * VPS;
            let ok = usize::try_from(ledger["ok"].as_u64().unwrap_or(0))?;
            seen.ok += ok;
            if ok < some.len() * VPS {
                report.note(&format!("{kind} {id}: {ledger}"));
            }
            seen.compare(bench, &up, &plan, &id)?;
        }
        if bench.quick {
            break;
        }
    }
    let took = (clock::now() - begin).as_secs_f64();
    seen.tell(report, took);
    aliases::run(bench, &up, &plan, report)?;
    up.stop()
}

/// The addresses of the targets.
fn targets(plan: &Plan) -> Vec<IpAddr> {
    let hosts = plan.nodes.iter().filter(|node| matches!(node.kind, NodeKind::Host(_)));
    let targets = hosts.filter(|node| node.name.starts_with("target"));
    targets.filter_map(|node| node.addresses.v4.map(IpAddr::V4)).collect()
}

/// A line of `mmn lab truth MSM --json`.
#[derive(Debug, Deserialize)]
struct Beside {
    vp: String,
    target: IpAddr,
    measured: Option<Measured>,
    truth: Option<Found>,
    differs: Vec<String>,
}

#[derive(Debug, Deserialize)]
struct Measured {
    status: String,
    rtt_ns: Option<u64>,
    from: Option<IpAddr>,
}

/// What was compared.
#[derive(Debug, Default)]
struct Seen {
    tasks: usize,
    ok: usize,
    packets: usize,
    answered: usize,
    hops: usize,
    /// Of unanswered packets, why.
    why: BTreeMap<String, usize>,
    /// The largest difference of a round trip, in nanoseconds.
    apart_ns: u64,
    mismatches: Vec<String>,
}

impl Seen {
    fn compare(&mut self, bench: &Bench, up: &Up, plan: &Plan, id: &str) -> anyhow::Result<()> {
        let output = Command::new(&bench.mmn)
            .args(["lab", "truth", id, "--json", "--data"])
            .arg(up.data())
            .output()
            .context("mmn lab truth")?;
        let text = String::from_utf8(output.stdout)?;
        anyhow::ensure!(!text.is_empty(), "mmn lab truth: {}", String::from_utf8_lossy(&output.stderr));
        for line in text.lines() {
            let one: Beside = serde_json::from_str(line).with_context(|| line.to_owned())?;
            self.packets += 1;
            let mut wrong = one.differs.clone();
            if let (Some(measured), Some(truth)) = (&one.measured, &one.truth) {
                wrong.extend(self.judge(plan, &one.vp, measured, truth).map(str::to_owned));
            }
            if !wrong.is_empty() {
                self.mismatches.push(format!("{} to {}: {}: {line}", one.vp, one.target, wrong.join(", ")));
            }
        }
        Ok(())
    }

    /// What is not as the plan has it.
    fn judge(&mut self, plan: &Plan, vp: &str, measured: &Measured, truth: &Found) -> Option<&'static str> {
        let back = |row: &&mmn_lab::namespaces::RecordRow| {
            row.fate.what == What::Delivered && row.fate.at.as_deref() == Some(vp)
        };
        let first = truth.came.iter().filter(back).min_by_key(|row| row.ended_ns);
        let Some(rtt_ns) = measured.rtt_ns else {
            let last = truth.came.last().unwrap_or(&truth.packet);
            let why = last.fate.silent.clone().unwrap_or_else(|| format!("{:?}", last.fate.what));
            *self.why.entry(format!("{} ({why})", measured.status)).or_default() += 1;
            return (first.is_none() && !programmed(plan, last)).then_some("nothing in the plan loses it");
        };
        self.answered += 1;
        if let Some(first) = first {
            self.apart_ns = self.apart_ns.max(rtt_ns.abs_diff(first.ended_ns - truth.packet.born_ns));
        }
        if truth.packet.fate.what != What::Expired {
            return None;
        }
        self.hops += 1;
        let at = truth.packet.fate.at.as_deref().and_then(|name| plan.node(name));
        let whose = measured.from.and_then(|from| match plan.owner(from)? {
            Owner::Node(node, _) => Some(node),
            Owner::Anycast(_) => None,
        });
        (at.is_none() || whose != at).then_some("the hop is of another router")
    }

    fn tell(&self, report: &mut Report, took: f64) {
        let count = |number: usize| f64::from(u32::try_from(number).unwrap_or(u32::MAX));
        report.note(&format!(
            "{} pings and traces in {took:.0} s: {} packets, {} answered, {} of them by hops",
            self.tasks, self.packets, self.answered, self.hops
        ));
        let why: Vec<_> = self.why.iter().map(|(why, count)| format!("{count} {why}")).collect();
        report.note(&format!("not answered: {}", why.join(", ")));
        for mismatch in self.mismatches.iter().take(PRINTED) {
            report.note(mismatch);
        }
        report.exactly("tasks that did not end ok", "", count(self.tasks - self.ok), 0.0);
        report.exactly(
            "packets measured otherwise than they happened",
            "",
            count(self.mismatches.len()),
            0.0,
        );
        let apart_us = Duration::from_nanos(self.apart_ns).as_secs_f64() * 1e6;
        report.yardstick("  the largest difference of a round trip", "us", apart_us);
    }
}

/// Whether the plan says that a packet may end here unheard.
fn programmed(plan: &Plan, last: &mmn_lab::namespaces::RecordRow) -> bool {
    let at = last.fate.at.as_deref().unwrap_or_default();
    let node = plan.node(at).map(|node| &plan.nodes[node]);
    match (last.fate.what, last.fate.silent.as_deref(), node) {
        (What::Lost, ..) => plan.ways.iter().any(|way| {
            !way.loss.is_never() && format!("{}>{}", plan.name(way.from), plan.name(way.to)) == at
        }),
        (What::QueueFull, ..) => plan.ways.iter().any(|way| {
            way.bits_per_s.is_some() && format!("{}>{}", plan.name(way.from), plan.name(way.to)) == at
        }),
        (_, Some("rate_limited"), Some(node)) => node.manners.icmp_limit.is_some(),
        (_, Some("silent"), Some(node)) => node.manners.silent || !node.manners.echo,
        (_, Some("filtered"), Some(node)) => {
            node.manners.ports.filtered_all || !node.manners.ports.filtered.is_empty()
        }
        _ => false,
    }
}
