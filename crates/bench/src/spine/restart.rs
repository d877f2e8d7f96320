//! `kill -9` of nats-server and of the anchor under load: started again by `mmn up`, or replaced by a standby.

use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::Bench;
use super::apart::Apart;
use super::death::{account, load};
use super::load::Load;
use super::network::{self, Module};
use crate::report::{Report, ms};
use crate::started::signal_to;
use crate::{clock, processes};

const PATIENCE: Duration = Duration::from_secs(30);
const KILLS: usize = 3;

/// nats-server.
pub(super) fn nats(bench: &Bench, report: &mut Report) -> anyhow::Result<()> {
    report.note("yardstick: the prototype worked again within 280 ms of the server's restart");
    restarted(bench, report, "nats-server", processes::nats_server)
}

/// The anchor.
pub(super) fn anchor(bench: &Bench, report: &mut Report) -> anyhow::Result<()> {
    report.note("yardstick: the prototype's API was up 22 to 203 ms after the anchor's restart");
    restarted(bench, report, "the anchor", |root| processes::role(root, "anchor"))
}

fn restarted(
    bench: &Bench,
    report: &mut Report,
    what: &str,
    find: fn(u32) -> anyhow::Result<u32>,
) -> anyhow::Result<()> {
    let up = network::start(bench, &[Module::noop(2, 64)])?;
    let load = load(vec![up.api.clone()], &up.token, 100)?;
    let mut worst = Duration::ZERO;
    for _ in 0..KILLS {
        std::thread::sleep(Duration::from_secs(3));
        let old = find(up.pid())?;
        let killed = clock::now();
        signal_to(old, Signal::KILL)?;
        let (restarted, wall_ns) = loop {
            if find(up.pid()).is_ok_and(|new| new != old) {
                break (clock::now(), i128::try_from(clock::wall().as_nanos())?);
            }
            anyhow::ensure!(clock::now() - killed < PATIENCE, "{what} was not started again");
            std::thread::sleep(Duration::from_millis(1));
        };
        let works = goes_on(&load, restarted, wall_ns)?;
        report.note(&format!(
            "started again {:.0} ms after it was killed; work goes on {:.0} ms after that",
            ms(restarted - killed),
            ms(works - restarted)
        ));
        worst = worst.max(works - restarted);
    }
    let name = format!("kill -9 of {what} under load: work after the restart");
    report.at_most(&name, "ms", ms(worst), 1000.0);
    account(report, load)?;
    up.stop()
}

/// When the first measurement ended whose task began after an instant.
fn goes_on(load: &Load, after: Instant, wall_ns: i128) -> anyhow::Result<Instant> {
    load.wait_for(PATIENCE, "result afterwards", |log| {
        let new = log.done.iter().rev().take_while(|done| done.at > after);
        new.filter(|done| done.started_ns > wall_ns).map(|done| done.at).min()
    })
}

/// The active one of two anchors, which nobody starts again.
pub(super) fn standby(bench: &Bench, report: &mut Report) -> anyhow::Result<()> {
    let apart = Apart::start(bench, 2, &[Module::noop(2, 64)])?;
    let load = load(apart.hosts(), &apart.token, 100)?;
    load.wait_for(PATIENCE, "results", |log| log.done.get(1000).map(drop))?;
    std::thread::sleep(Duration::from_secs(3));
    let Some(active) = apart.anchors.first() else { return Ok(()) };
    let (killed, wall_ns) = (clock::now(), i128::try_from(clock::wall().as_nanos())?);
    signal_to(active.process.pid(), Signal::KILL)?;
    let works = goes_on(&load, killed + Duration::from_millis(20), wall_ns + 20_000_000)?;
    report.note("yardstick: the lease's own time; a restart by a supervisor would take less");
    report.at_most(
        "kill -9 of the active of two anchors: work through the other",
        "s",
        (works - killed).as_secs_f64(),
        5.0,
    );
    account(report, load)
}
