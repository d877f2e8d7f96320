//! An instance is killed, stopped, and cut off, under load: when is that noticed, and when does it work again?

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::Bench;
use super::apart::Apart;
use super::load::{Load, Plan};
use super::network::{self, Module};
use super::proxy::Mode;
use super::watch::Watch;
use crate::report::{Report, ms};
use crate::started::signal_to;
use crate::up::Up;
use crate::{clock, processes};

const PATIENCE: Duration = Duration::from_secs(30);
const INSTANCES: usize = 4;

/// Load of so many at a time, 10 ms each.
pub(super) fn load(hosts: Vec<String>, token: &str, under_way: usize) -> anyhow::Result<Load> {
    Load::start(Plan {
        hosts,
        token: token.to_owned(),
        bodies: vec![network::body("noop", r#"{"sleep_ms":10}"#, "30s", 1)],
        tasks: 1,
        under_way,
        per_s: None,
    })
}

/// Says that everything that was accepted came to its end, once.
pub(super) fn account(report: &mut Report, load: Load) -> anyhow::Result<()> {
    let (log, open) = load.end();
    let mut ends = BTreeMap::<_, u64>::new();
    for done in &log.done {
        let end = (done.outcome.to_string(), done.reason.clone().unwrap_or_default());
        *ends.entry(end).or_default() += 1;
    }
    let ends: Vec<_> =
        ends.iter().map(|((outcome, reason), count)| format!("{count} {outcome} {reason}")).collect();
    let declined: Vec<_> =
        log.problems.iter().map(|((status, reason), count)| format!("{count} x {status} {reason}")).collect();
    report.note(&format!(
        "{}; {} more seen to their end after a break; declined: {}",
        ends.join(", ").replace(" ,", ","),
        log.unseen.len(),
        if declined.is_empty() { "none".to_owned() } else { declined.join(", ") }
    ));
    let wrong = f64::from(u32::try_from(open + log.miscounted)?);
    report.exactly("  of all accepted, never closed or not exactly one result", "", wrong, 0.0);
    Ok(())
}

/// `kill -9`, of each of four instances once.
pub(super) fn killed(bench: &Bench, report: &mut Report) -> anyhow::Result<()> {
    let up = network::start(bench, &[Module::noop(INSTANCES, 16)])?;
    let load = load(vec![up.api.clone()], &up.token, 48)?;
    let watch = Watch::start(&up.api, &up.token);
    let instances = instances(&load, INSTANCES)?;
    let (mut noticed, mut again, mut altogether) = (Duration::ZERO, Duration::ZERO, Duration::ZERO);
    for instance in &instances {
        let pid = processes::instance(up.pid(), instance)?;
        let (killed, killed_ns) = (clock::now(), i128::try_from(clock::wall().as_nanos())?);
        signal_to(pid, Signal::KILL)?;
        let (after, change) = watch.wait_for(killed, PATIENCE, "its death", |change| {
            change.instance == *instance && change.health != "degraded"
        })?;
        let works = load.wait_for(PATIENCE, "result of its new life", |log| {
            let new = log.done.iter().rev().take_while(|done| done.at > killed);
            new.filter(|done| done.instance.as_ref() == Some(instance) && done.started_ns > killed_ns)
                .map(|done| done.at)
                .min()
        })?;
        report.note(&format!(
            "{instance}: {} after {:.0} ms ({}), works again {:.0} ms after it was killed",
            change.health,
            ms(after),
            change.evidence,
            ms(works - killed)
        ));
        noticed = noticed.max(after);
        again = again.max((works - killed).saturating_sub(after));
        altogether = altogether.max(works - killed);
        std::thread::sleep(Duration::from_millis(500));
    }
    report.note(
        "yardstick: the prototype knew after 93 ms, and worked again 44 to 48 ms after a restart at once",
    );
    report.at_most("kill -9 of an instance under load: noticed, worst of 4", "ms", ms(noticed), 250.0);
    report.at_most("  working again after that", "ms", ms(again), 500.0);
    report.yardstick("  working again after the kill", "ms", ms(altogether));
    account(report, load)?;
    drop(watch);
    up.stop()
}

/// SIGSTOP, then SIGCONT.
pub(super) fn hung(bench: &Bench, report: &mut Report) -> anyhow::Result<()> {
    let up = network::start(bench, &[Module::noop(INSTANCES, 16)])?;
    let load = load(vec![up.api.clone()], &up.token, 48)?;
    let watch = Watch::start(&up.api, &up.token);
    let instance = instances(&load, INSTANCES)?.swap_remove(0);
    // Long enough for its rhythm to be known.
    std::thread::sleep(Duration::from_secs(4));
    let stopped = clock::now();
    let pid = processes::instance(up.pid(), &instance)?;
    signal_to(pid, Signal::STOP)?;
    let suspect = watch.wait_for(stopped, PATIENCE, "suspicion", is(&instance, &["suspect", "lost"]))?;
    let lost = watch.wait_for(stopped, PATIENCE, "its loss", is(&instance, &["lost"]))?;
    report.note(&format!("evidence: {}; then: {}", suspect.1.evidence, lost.1.evidence));
    report.at_most("SIGSTOP of an instance under load: suspect", "s", suspect.0.as_secs_f64(), 2.0);
    report.at_most("  lost", "s", lost.0.as_secs_f64(), 5.0);
    back(report, &up, &watch, &instance, pid)?;
    account(report, load)?;
    drop(watch);
    up.stop()
}

fn back(report: &mut Report, up: &Up, watch: &Watch, instance: &str, pid: u32) -> anyhow::Result<()> {
    let resumed = clock::now();
    // The node may have replaced it meanwhile.
    if processes::instance(up.pid(), instance).is_ok_and(|now| now == pid) {
        signal_to(pid, Signal::CONT)?;
    }
    let (after, _) = watch.wait_for(resumed, PATIENCE, "its return", is(instance, &["healthy"]))?;
    report.yardstick("  healthy again after SIGCONT", "ms", ms(after));
    Ok(())
}

/// A vantage point's connection passes nothing any more, and is not closed either.
pub(super) fn cut(bench: &Bench, report: &mut Report) -> anyhow::Result<()> {
    let apart = Apart::start(bench, 1, &[Module::noop(2, 16)])?;
    let host = apart.hosts().swap_remove(0);
    let load = load(apart.hosts(), &apart.token, 24)?;
    let watch = Watch::start(&host, &apart.token);
    let instances = instances(&load, 2)?;
    std::thread::sleep(Duration::from_secs(4));
    apart.proxy.set(Mode::Cut);
    let cut = clock::now();
    let (suspect, lost) = worst(&watch, cut, &instances)?;
    report.yardstick("a vantage point is cut off under load: suspect, the last", "s", suspect.as_secs_f64());
    report.at_most("  lost, the last of its instances", "s", lost.as_secs_f64(), 10.0);
    apart.proxy.set(Mode::Through);
    let healed = clock::now();
    let mut back = Duration::ZERO;
    for instance in &instances {
        back = back.max(watch.wait_for(healed, PATIENCE, "its return", is(instance, &["healthy"]))?.0);
    }
    report.yardstick("  healthy again once the way is open, the last", "ms", ms(back));
    account(report, load)
}

fn worst(watch: &Watch, since: Instant, instances: &[String]) -> anyhow::Result<(Duration, Duration)> {
    let (mut suspect, mut lost) = (Duration::ZERO, Duration::ZERO);
    for instance in instances {
        let gone = &["suspect", "lost"][..];
        suspect = suspect.max(watch.wait_for(since, PATIENCE, "suspicion", is(instance, gone))?.0);
        lost = lost.max(watch.wait_for(since, PATIENCE, "its loss", is(instance, &["lost"]))?.0);
    }
    Ok((suspect, lost))
}

fn is<'a>(instance: &'a str, healths: &'a [&'a str]) -> impl Fn(&super::watch::Change) -> bool + 'a {
    move |change| change.instance == instance && healths.contains(&change.health.as_str())
}

/// Those that have given results, once so many have.
fn instances(load: &Load, count: usize) -> anyhow::Result<Vec<String>> {
    load.wait_for(PATIENCE, "results of all instances", |log| {
        let names = log.done.iter().filter_map(|done| done.instance.clone());
        let names: BTreeSet<_> = names.collect();
        (names.len() >= count && log.done.len() > 500).then(|| names.into_iter().collect())
    })
}
