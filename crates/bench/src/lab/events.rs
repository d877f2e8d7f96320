//! How fast a world runs on the virtual clock, alone and with the engine's traces, and whether it does so twice alike.

use std::net::Ipv4Addr;
use std::sync::Arc;

use mmn_lab::ids::VpId;
use mmn_lab::plan::{NodeKind, Plan};
use mmn_lab::simulated::{JobId, Simulation, utc};
use mmn_lab::truth::Query;
use mmn_lab::world::{Delivery, Port, World};
use mmn_probe::cookie::Key;
use mmn_probe::packet::{Body, Identity, Probe, ProbeId, Ttl};
use mmn_probe::time::{Instant, Nanos};
use mmn_probe::trace::{Fate, Spec, Trace};
use mmn_probe::wire::probe::encode;

use super::world;
use crate::clock;
use crate::lines::Bench;
use crate::report::Report;

const TTLS: u8 = 17;
const RUNS: usize = 5;
const VPS: usize = 24;
/// As many as one lab has at most.
const MANY: usize = 1_000;

pub(super) fn run(bench: &Bench, report: &mut Report) -> anyhow::Result<()> {
    let plan = Arc::new(world::plan(VPS)?);
    let (alone, same) = repeat(|| probes(&plan, usize::MAX))?;
    report.note(&format!(
        "echo requests, a microsecond apart; medians of {RUNS} runs, events by processor time of one core"
    ));
    report.at_least("events of a world", "/s", alone.events / alone.processor_s, 2_000_000.0);
    report.at_most("  24 × 200 × 17 echo requests", "s", alone.took_s, 0.6);
    report.exactly("  runs that were not the same to the bit", "", same, 0.0);

    let (traces, same) = repeat(|| traces(&plan))?;
    report.note("the engine's traces of 17 TTLs, all at once, each packet encoded, matched and kept");
    report.yardstick("  events of a world with the engine on it", "/s", traces.events / traces.processor_s);
    report.at_most("  24 × 200 traces", "s", traces.took_s, 0.6);
    report.exactly("  runs that were not the same to the bit", "", same, 0.0);
    report.exactly("  probes measured otherwise than the truth is", "", traces.wrong, 0.0);

    if !bench.quick {
        let many = Arc::new(world::plan(MANY)?);
        let ran = probes(&many, 20)?;
        report.yardstick("events of a world of 1,000 vantage points", "/s", ran.events / ran.processor_s);
    }
    Ok(())
}

/// What came of a run.
#[derive(Debug, Clone, Copy)]
struct Ran {
    took_s: f64,
    /// Of that the processor's.
    processor_s: f64,
    events: f64,
    digest: u64,
    /// Probes measured otherwise than they happened.
    wrong: f64,
}

/// The run of median length, and how many were not like the first.
fn repeat(run: impl Fn() -> anyhow::Result<Ran>) -> anyhow::Result<(Ran, f64)> {
    let mut runs = (0..RUNS).map(|_| run()).collect::<anyhow::Result<Vec<_>>>()?;
    let first = runs.first().map(|ran| (ran.digest, ran.events.to_bits()));
    let others = runs.iter().filter(|ran| Some((ran.digest, ran.events.to_bits())) != first).count();
    runs.sort_by(|one, other| one.took_s.total_cmp(&other.took_s));
    let median = runs.get(RUNS / 2).copied();
    let wrong = runs.iter().map(|ran| ran.wrong).fold(0.0, f64::max);
    let median = median.ok_or_else(|| anyhow::anyhow!("no runs"))?;
    Ok((Ran { wrong, ..median }, count(others)))
}

#[expect(clippy::cast_precision_loss, reason = "counts of some millions")]
fn count(number: usize) -> f64 {
    number as f64
}

fn targets(plan: &Plan) -> Vec<Ipv4Addr> {
    let hosts = plan.nodes.iter().filter(|node| matches!(node.kind, NodeKind::Host(_)));
    hosts.filter(|node| node.name.starts_with("target")).filter_map(|node| node.addresses.v4).collect()
}

/// Echo requests alone, to so many targets.
fn probes(plan: &Arc<Plan>, most_targets: usize) -> anyhow::Result<Ran> {
    let sources: Vec<(VpId, Ipv4Addr)> =
        plan.vps.ids().filter_map(|vp| Some((vp, plan.vp_node(vp).addresses.v4?))).collect();
    let targets = targets(plan);
    let mut world = World::new(Arc::clone(plan));
    world.set_vps_answer(true);
    let (mut now, mut packet, mut out) = (Instant(0), Vec::new(), Vec::new());
    let mut digest = Digest(0);
    let (began, processor) = (clock::now(), clock::processor());
    for ttl in 1..=TTLS {
        for target in targets.iter().take(most_targets) {
            for (vp, source) in &sources {
                let body = Body::Echo { payload: vec![0; 32], checksum: None };
                let mut probe = Probe::new(ProbeId(0), (*target).into(), body);
                probe.ttl = Some(Ttl(ttl));
                packet.clear();
                let identity = Identity { selector: 7, tag: u16::from(ttl) };
                encode(&probe, identity, (*source).into(), utc(now), &mut packet)?;
                world.inject(now, Port::Vp(*vp), &packet);
                now = now + Nanos(1_000);
            }
        }
        world.poll(now, &mut out);
        digest.take(&world, &mut out);
    }
    while let Some(next) = world.next_at() {
        world.poll(next + Nanos::from_millis(1), &mut out);
        digest.take(&world, &mut out);
    }
    let took_s = (clock::now() - began).as_secs_f64();
    let processor_s = clock::processor().saturating_sub(processor).as_secs_f64();
    let events = count(usize::try_from(world.events())?);
    Ok(Ran { took_s, processor_s, events, digest: digest.0, wrong: 0.0 })
}

/// Of all octets that came out, and when.
struct Digest(u64);

impl Digest {
    fn take(&mut self, world: &World, out: &mut Vec<Delivery>) {
        for delivery in out.drain(..) {
            let (words, _) = world.bytes(&delivery).as_chunks::<8>();
            for word in words {
                self.0 = (self.0 ^ u64::from_le_bytes(*word)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            }
            self.0 = self.0.rotate_left(13) ^ delivery.due.0;
        }
    }
}

/// The engine's traces of all targets.
fn traces(plan: &Arc<Plan>) -> anyhow::Result<Ran> {
    let targets = targets(plan);
    let mut simulation = Simulation::new(Arc::clone(plan));
    let (began, processor, mut jobs) = (clock::now(), clock::processor(), Vec::new());
    for (number, target) in targets.iter().enumerate() {
        for vp in plan.vps.ids() {
            let spec = Spec { attempts: 1, max_ttl: Ttl(TTLS), gap_limit: 0, ..Spec::new((*target).into()) };
            let at = Instant(0) + Nanos::from_millis(u64::try_from(number)?);
            jobs.push(simulation.start(vp, at, Trace::new(spec, Key::new([7; 16]))?));
        }
    }
    anyhow::ensure!(simulation.run(Instant(u64::MAX)), "the traces did not end");
    let took_s = (clock::now() - began).as_secs_f64();
    let processor_s = clock::processor().saturating_sub(processor).as_secs_f64();
    let events = count(usize::try_from(simulation.world().events())?);
    let wrong = count(wrong(&simulation, &jobs));
    Ok(Ran { took_s, processor_s, events, digest: simulation.digest(), wrong })
}

/// How many probes were not answered by whom and when the truth says.
fn wrong(simulation: &Simulation<Trace>, jobs: &[JobId]) -> usize {
    let truth = simulation.world().truth();
    let traces = jobs.iter().filter_map(|job| simulation.machine(*job));
    let probes = traces.flat_map(|trace| trace.samples().map(move |sample| (trace, sample)));
    let is_wrong = |(trace, sample): &(&Trace, mmn_probe::trace::Sample)| {
        let Some(sent) = sample.sent else { return false };
        let query = Query {
            source: trace.source(),
            destination: Some(trace.target()),
            ip_id: sample.ip_id,
            selector: sample.identity.map(|identity| identity.selector),
            from: Some(sent.at),
            until: Some(sent.at + Nanos(1)),
            ..Query::default()
        };
        let injected = truth.find(&query).find(|record| record.cause.is_none());
        let first = injected.and_then(|record| truth.returns(record.id).first().copied());
        // What comes when its trace is over was not awaited.
        let came = first.map(|record| (record.ended, record.look.source));
        let seen = sample.reply.as_ref().map(|reply| (reply.received.at, reply.from));
        injected.is_none() || (seen != came && sample.fate != Fate::Cancelled)
    };
    probes.filter(is_wrong).count()
}
