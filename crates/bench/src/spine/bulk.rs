//! A million inputs through one anchor, ledger and results kept, ten times in one life of it.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::time::Duration;

use super::Bench;
use super::network::{self, Module, Roles};
use crate::http::Connection;
use crate::ping::RawNats;
use crate::report::Report;
use crate::{clock, measurement, processes};

const MEASUREMENTS: u32 = 10;
const INPUTS: u32 = 100_000;
const RUNS: usize = 10;
/// As many as the prototype's yardstick was taken with.
const INSTANCES: usize = 2;
/// The most that resident memory may grow from the third run to the last, when it is to be called flat.
const FLAT: f64 = 1.1;

pub(super) fn run(bench: &Bench, report: &mut Report) -> anyhow::Result<()> {
    let up = network::start(bench, &[Module::noop(INSTANCES, 1024)])?;
    let roles = Roles::of(&up)?;
    let mut api = Connection::open(&up.api, &up.token)?;
    let bodies: Vec<_> = (0..MEASUREMENTS).map(body).collect();
    let runs = if bench.quick { 3 } else { RUNS };
    let (mut rates, mut resident) = (Vec::new(), Vec::new());
    let (mut most, mut lost, mut first) = (0.0_f64, 0, None);
    for run in 1..=runs {
        let (cpu, begin) = (roles.cpu(), clock::now());
        let mut ids = Vec::new();
        for body in &bodies {
            ids.push(measurement::submit(&mut api, body)?);
        }
        let submitted = clock::now() - begin;
        first = first.or_else(|| ids.first().cloned());
        for id in &ids {
            lost += finish(&mut api, id)?;
        }
        let took = clock::now() - begin;
        let processes::Resident { all_mb: now_mb, most_mb, .. } = processes::resident(roles.anchor)?;
        let rate = f64::from(MEASUREMENTS * INPUTS) / took.as_secs_f64();
        report.note(&format!(
            "run {run}: {rate:.0} tasks/s ({:.2} s, of which {:.2} s until all was accepted); anchor {now_mb:.0} MB, \
             at most {most_mb:.0} MB; {}",
            took.as_secs_f64(),
            submitted.as_secs_f64(),
            roles.cpu().since(cpu)
        ));
        report.print();
        rates.push(rate);
        resident.push(now_mb);
        most = most.max(most_mb);
    }
    rates.sort_unstable_by(f64::total_cmp);
    // The lower of the two in the middle.
    let median = rates.get((runs - 1) / 2).copied().unwrap_or_default();
    // The results of 256 tasks have so many bytes.
    let bare = RawNats::start(&up)?.pipelined(256 * 134, 16, 1_000_000 / 256)? * 256.0;
    report.yardstick("bare NATS requests of 256 tasks each, nothing kept", "/s", bare);
    report.note("yardstick: the prototype, with less to keep, 1,059,000/s");
    report.at_least("1,000,000 inputs, accepted, kept and closed: median", "/s", median, 400_000.0);
    report.exactly("  tasks of all runs that did not end ok", "", f64::from(lost), 0.0);
    report.at_most("  the anchor's RSS, the most in ten runs", "MB", most, 100.0);
    let kept = measurement::results(&up, &first.unwrap_or_default())?;
    let tasks: BTreeSet<_> = kept.iter().map(|result| result.task.index).collect();
    report.exactly(
        "  kept results of the very first measurement",
        "",
        f64::from(u32::try_from(kept.len())?),
        f64::from(INPUTS),
    );
    report.exactly("  tasks that they are of", "", f64::from(u32::try_from(tasks.len())?), f64::from(INPUTS));
    let third = resident.get(2).copied().unwrap_or(f64::NAN);
    let grown = resident.last().copied().unwrap_or(f64::NAN) / third;
    report.at_most("  the same after the last run against the third", "x", grown, FLAT);
    up.stop()
}

/// A request for a hundred thousand targets, no two alike.
fn body(number: u32) -> String {
    let mut body = String::from(r#"{"kind":"noop","deadline":"10m","inputs":["#);
    for input in 0..INPUTS {
        let target = number * INPUTS + input;
        let [_, a, b, c] = target.to_be_bytes();
        let _ = write!(body, "{}\"10.{a}.{b}.{c}\"", if input == 0 { "" } else { "," });
    }
    body + "]}"
}

/// Waits until a measurement is done; how many of its tasks did not end ok.
fn finish(api: &mut Connection, id: &str) -> anyhow::Result<u32> {
    let begin = clock::now();
    loop {
        let ledger = measurement::ledger(api, id)?;
        let count = |name: &str| ledger[name].as_u64().unwrap_or(u64::MAX);
        if count("pending") == 0 {
            anyhow::ensure!(count("accepted") == u64::from(INPUTS), "{id} has other sums: {ledger}");
            return Ok(u32::try_from(u64::from(INPUTS).saturating_sub(count("ok")))?);
        }
        if clock::now() - begin > Duration::from_secs(60) {
            anyhow::bail!("{id} does not end: {ledger}; {}", measurement::state(api)?);
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}
