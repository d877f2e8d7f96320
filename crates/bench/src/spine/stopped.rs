//! One of four instances is stopped with work in its hands: when do its tasks go elsewhere?

use std::time::Duration;

use mmn_schema::api::TaskTrace;
use mmn_schema::time::Timestamp;
use rustix::process::Signal;

use super::Bench;
use super::load::{Load, Plan};
use super::network::{self, Module};
use crate::http::Connection;
use crate::report::Report;
use crate::started::signal_to;
use crate::up::Up;
use crate::{clock, processes};

/// How long it stays stopped.
const STOPPED: Duration = Duration::from_secs(8);

/// When a task that was in the stopped one's hands was sent elsewhere.
#[derive(Debug, Default)]
struct Moved {
    /// After their dispatch, in milliseconds: those that it never acknowledged.
    unacknowledged: Vec<f64>,
    /// After the stop: those that it had acknowledged.
    acknowledged: Vec<f64>,
}

pub(super) fn run(bench: &Bench, report: &mut Report) -> anyhow::Result<()> {
    let up = network::start(bench, &[Module::noop(4, 16)])?;
    let load = Load::start(Plan {
        hosts: vec![up.api.clone()],
        token: up.token.clone(),
        // Of two lengths, so that they don't come and go in step.
        bodies: [300, 40]
            .map(|ms| network::body("noop", &format!(r#"{{"sleep_ms":{ms}}}"#), "30s", 1))
            .into(),
        tasks: 1,
        // Each has room left when it is stopped, so that it is sent more.
        under_way: 44,
        per_s: None,
    })?;
    let instance = load.wait_for(Duration::from_secs(10), "result", |log| {
        log.done.get(200).and_then(|done| done.instance.clone())
    })?;
    let pid = processes::instance(up.pid(), &instance)?;
    std::thread::sleep(Duration::from_millis(1130));
    let stopped_ns = i128::try_from(clock::wall().as_nanos())?;
    let stopped = clock::now();
    signal_to(pid, Signal::STOP)?;
    std::thread::sleep(STOPPED);
    let again: Vec<String> = load.look(|log| {
        let moved = log.done.iter().filter(|done| done.at > stopped && done.attempt > 0);
        moved.map(|done| done.measurement.clone()).collect()
    });
    let moved = trace(&up, &again, &instance, stopped_ns)?;
    signal_to(pid, Signal::CONT)?;
    std::thread::sleep(Duration::from_secs(1));
    let (log, open) = load.end();

    let worst = |moved: &[f64]| moved.iter().copied().fold(f64::NAN, f64::max);
    report.note(&format!(
        "{instance} was stopped with {} tasks acknowledged; {} more were sent to it before that was noticed",
        moved.acknowledged.len(),
        moved.unacknowledged.len()
    ));
    report.note(
        "yardstick: the deadline for receipts is 500 ms, and a bare queue group never sends anything again",
    );
    report.at_most(
        "SIGSTOP of one of four: unacknowledged elsewhere, worst",
        "ms",
        worst(&moved.unacknowledged),
        500.0,
    );
    report.at_most(
        "  acknowledged elsewhere after the stop, worst",
        "ms",
        worst(&moved.acknowledged),
        2000.0,
    );
    let ok = log.done.iter().filter(|done| done.outcome == mmn_schema::outcome::Outcome::Ok).count();
    report.exactly("  of all accepted, not ok", "", f64::from(u32::try_from(log.done.len() - ok)?), 0.0);
    report.exactly(
        "  never closed, or not exactly one result",
        "",
        f64::from(u32::try_from(open + log.miscounted)?),
        0.0,
    );
    up.stop()
}

/// Reads when each task left the stopped instance's hands.
fn trace(up: &Up, measurements: &[String], stopped: &str, stopped_ns: i128) -> anyhow::Result<Moved> {
    let mut api = Connection::open(&up.api, &up.token)?;
    let mut moved = Moved::default();
    let ms = |from: i128, to: &Timestamp| {
        let ns = i64::try_from(i128::from(to.unix_ns()) - from).unwrap_or(i64::MAX);
        Duration::from_nanos(u64::try_from(ns).unwrap_or(0)).as_secs_f64() * 1e3
    };
    for measurement in measurements {
        let (status, body) = api.request("GET", &format!("/api/v1/tasks/{measurement}-0"), None)?;
        anyhow::ensure!(status == 200, "the trace of {measurement}: {status}");
        let trace: TaskTrace = serde_json::from_slice(&body)?;
        let is_stopped = |hop: &&mmn_schema::api::Hop| {
            hop.instance.as_ref().is_some_and(|instance| instance.as_str() == stopped)
        };
        let Some(first) = trace.hops.iter().filter(is_stopped).find(|hop| hop.hop == "dispatched") else {
            continue;
        };
        let Some(next) = trace.hops.iter().find(|hop| hop.hop == "dispatched" && hop.attempt > first.attempt)
        else {
            continue;
        };
        let acknowledged =
            trace.hops.iter().any(|hop| hop.hop == "acknowledged" && hop.attempt == first.attempt);
        if acknowledged {
            moved.acknowledged.push(ms(stopped_ns, &next.at));
        } else {
            moved.unacknowledged.push(ms(i128::from(first.at.unix_ns()), &next.at));
        }
    }
    Ok(moved)
}
