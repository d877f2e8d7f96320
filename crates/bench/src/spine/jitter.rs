//! A bad network: half a second of jitter with stalled writes, for five minutes; and none at all, for an hour.

use std::time::Duration;

use super::Bench;
use super::apart::Apart;
use super::death::{account, load};
use super::network::Module;
use super::proxy::Mode;
use super::watch::Watch;
use crate::clock;
use crate::report::{Report, ms};

/// 500 ms of jitter, and a tenth of the writes stalled for 1 s: never lost.
pub(super) fn run(bench: &Bench, report: &mut Report) -> anyhow::Result<()> {
    let apart = Apart::start(bench, 1, &[Module::noop(2, 16)])?;
    let host = apart.hosts().swap_remove(0);
    let load = load(apart.hosts(), &apart.token, 4)?;
    load.wait_for(Duration::from_secs(10), "results", |log| log.done.get(100).map(drop))?;
    let begin = clock::now();
    let watch = Watch::start(&host, &apart.token);
    apart.proxy.set(Mode::Jitter);
    std::thread::sleep(Duration::from_secs(if bench.quick { 60 } else { 300 }));
    apart.proxy.set(Mode::Through);
    let changes = watch.changes();
    let count = |health: &str| {
        let changes = changes.iter().filter(|change| change.health == health && change.at > begin);
        changes.count()
    };
    let mut boots: Vec<_> = changes.iter().map(|change| (&change.instance, &change.boot)).collect();
    boots.sort_unstable();
    boots.dedup();
    let instances = 2;
    report.note(
        "the whole vantage point behind it, node and two instances; yardstick: a fixed bound of four missed \
                 heartbeats, 2 s, which each stalled burst exceeds",
    );
    report.yardstick(
        "500 ms of jitter, a tenth of writes stalled 1 s: suspect",
        "times",
        f64::from(u32::try_from(count("suspect"))?),
    );
    let gone = count("lost") + count("stopped");
    report.exactly("  lost", "times", f64::from(u32::try_from(gone)?), 0.0);
    let restarts = boots.len().saturating_sub(instances);
    report.exactly("  started again by the node", "times", f64::from(u32::try_from(restarts)?), 0.0);
    for change in changes.iter().filter(|change| change.health == "lost").take(5) {
        let at = (change.at - begin).as_secs_f64();
        report.note(&format!("{} lost after {at:.0} s: {}", change.instance, change.evidence));
    }
    drop(watch);
    account(report, load)
}

/// A vantage point is cut off for an hour with tasks in its hands.
pub(super) fn hour(bench: &Bench, report: &mut Report) -> anyhow::Result<()> {
    let apart = Apart::start(bench, 1, &[Module::noop(2, 16)])?;
    let host = apart.hosts().swap_remove(0);
    let load = load(apart.hosts(), &apart.token, 24)?;
    load.wait_for(Duration::from_secs(10), "results", |log| log.done.get(1000).map(drop))?;
    let watch = Watch::start(&host, &apart.token);
    apart.proxy.set(Mode::Cut);
    std::thread::sleep(Duration::from_secs(if bench.quick { 60 } else { 3600 }));
    apart.proxy.set(Mode::Through);
    let (healed, wall_ns) = (clock::now(), i128::try_from(clock::wall().as_nanos())?);
    let works = load.wait_for(Duration::from_secs(60), "result afterwards", |log| {
        let new = log.done.iter().rev().take_while(|done| done.at > healed);
        new.filter(|done| done.started_ns > wall_ns).map(|done| done.at).min()
    })?;
    report.note("yardstick: the longest pause of the connection between its attempts");
    report.at_most("after an hour without a network: works again", "ms", ms(works - healed), 15_000.0);
    drop(watch);
    account(report, load)
}
