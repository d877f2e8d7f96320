//! Ten times as much work as a kind can do, and what becomes of it and of another kind.

use std::time::{Duration, Instant};

use super::Bench;
use super::load::{Load, Plan};
use super::network::{self, Module, Roles};
use super::singles::BODY;
use crate::http::Connection;
use crate::report::{Report, ms, quantile};
use crate::up::Up;
use crate::{clock, measurement, processes};

const AT_A_TIME: u32 = 16;
/// Tasks of a request.
const TASKS: u32 = 10;
const CONNECTIONS: u32 = 4;
/// The most measurements under way on a connection: an anchor takes no more subscriptions.
const UNDER_WAY: usize = 1000;
/// Between two requests for the other kind.
const PAUSE: Duration = Duration::from_millis(5);

/// What a phase showed.
#[derive(Debug, Default)]
struct Phase {
    /// Of the other kind, from request to result.
    other: Vec<Duration>,
    /// The most resident memory of the anchor in MB.
    most_mb: f64,
    /// Over HTTP: answers 202, answers 429 `saturated` with `Retry-After`, any others.
    taken: Vec<String>,
    declined: u32,
    strange: Vec<String>,
}

pub(super) fn run(bench: &Bench, report: &mut Report) -> anyhow::Result<()> {
    let limited = Module { kind: "limited", ..Module::noop(1, AT_A_TIME).named("limited").sleeping(20) };
    let up = network::start(bench, &[Module::noop(1, 64), limited])?;
    let capacity = capacity(&up)?;
    report.note(&format!("the limited kind does {capacity:.0} tasks/s: {AT_A_TIME} at a time, 20 ms each"));
    let anchor = Roles::of(&up)?.anchor;
    let (once, ten_times) = if bench.quick { (5, 10) } else { (15, 30) };

    let loads = offer(&up, capacity * 0.9)?;
    let mut usual = phase(&up, anchor, Duration::from_secs(once))?;
    let (_, _) = ended(&up, loads, &usual)?;
    let loads = offer(&up, capacity * 10.0)?;
    let mut flood = phase(&up, anchor, Duration::from_secs(ten_times))?;
    let (sums, open) = ended(&up, loads, &flood)?;

    report.note(&format!("offered for {ten_times} s: {:.0} tasks/s; {sums}", capacity * 10.0));
    report.at_most("10 x the capacity of a kind: the anchor's RSS, at most", "MB", flood.most_mb, 100.0);
    report.yardstick("  the same at 1 x", "MB", usual.most_mb);
    report.exactly("  of all accepted, never closed or miscounted", "", f64::from(u32::try_from(open)?), 0.0);
    report.note(&format!(
        "one more asked by HTTP every 100 ms: {} accepted, {} declined with 429, `saturated` and Retry-After",
        flood.taken.len(),
        flood.declined
    ));
    report.at_least("  declined so", "", f64::from(flood.declined), 1.0);
    let strange = u32::try_from(flood.strange.len())?;
    report.exactly("  answered otherwise", "", f64::from(strange), 0.0);
    for words in flood.strange.iter().take(3) {
        report.note(words);
    }
    let (before, after) = (ms(quantile(&mut usual.other, 0.99)), ms(quantile(&mut flood.other, 0.99)));
    report.yardstick("  p99 of another kind at 1 x", "ms", before);
    report.at_most("  the same at 10 x", "ms", after, before * 2.0);
    up.stop()
}

fn plan(up: &Up, tasks: u32, under_way: usize, per_s: Option<f64>) -> Plan {
    Plan {
        hosts: vec![up.api.clone()],
        token: up.token.clone(),
        bodies: vec![network::body("limited", "{}", "10s", tasks)],
        tasks,
        under_way,
        per_s,
    }
}

/// Tasks per second when there is always one more.
fn capacity(up: &Up) -> anyhow::Result<f64> {
    let load = Load::start(plan(up, 1, 2 * AT_A_TIME as usize, None))?;
    std::thread::sleep(Duration::from_secs(1));
    let before = load.look(|log| log.done.len());
    std::thread::sleep(Duration::from_secs(3));
    let done = load.look(|log| log.done.len()) - before;
    load.end();
    Ok(f64::from(u32::try_from(done)?) / 3.0)
}

fn offer(up: &Up, tasks_per_s: f64) -> anyhow::Result<Vec<Load>> {
    let each = tasks_per_s / f64::from(TASKS) / f64::from(CONNECTIONS);
    (0..CONNECTIONS).map(|_| Load::start(plan(up, TASKS, UNDER_WAY, Some(each)))).collect()
}

/// What became of the load: in words, and how many were not accounted for.
fn ended(up: &Up, loads: Vec<Load>, phase: &Phase) -> anyhow::Result<(String, u64)> {
    let (mut done, mut not_ok, mut open, mut most) = (0, 0, 0, 0);
    let mut problems = std::collections::BTreeMap::<_, u64>::new();
    loads.iter().for_each(Load::halt);
    for load in loads {
        let (log, unclosed) = load.end();
        done += log.done.len();
        let ok = |done: &&super::load::Done| done.outcome == mmn_schema::outcome::Outcome::Ok;
        not_ok += log.done.len() - log.done.iter().filter(ok).count();
        open += unclosed + log.miscounted;
        most = most.max(log.most_under_way);
        for (problem, count) in log.problems {
            *problems.entry(problem).or_default() += count;
        }
    }
    let mut api = Connection::open(&up.api, &up.token)?;
    for id in &phase.taken {
        measurement::closed(&mut api, id, Duration::from_secs(20))?;
    }
    let declined: Vec<_> =
        problems.iter().map(|((status, reason), count)| format!("{count} x {status} {reason}")).collect();
    let words = format!(
        "{done} measurements of {TASKS} accepted and closed ({not_ok} not ok), at most {most} under way on a \
         connection; declined: {}",
        if declined.is_empty() { "none".to_owned() } else { declined.join(", ") }
    );
    Ok((words, open))
}

/// Watches the other kind and the anchor for so long.
fn phase(up: &Up, anchor: u32, length: Duration) -> anyhow::Result<Phase> {
    let mut api = Connection::open(&up.api, &up.token)?;
    let mut phase = Phase::default();
    let begin = clock::now();
    let mut next: Instant = begin;
    while clock::now() - begin < length {
        let asked = clock::now();
        let (status, answer) = api.request("POST", "/api/v1/measurements?wait=10s", Some(BODY))?;
        anyhow::ensure!(status == 200, "the other kind: {status} {}", String::from_utf8_lossy(&answer));
        phase.other.push(clock::now() - asked);
        if clock::now() >= next {
            next += Duration::from_millis(100);
            phase.most_mb = phase.most_mb.max(processes::resident(anchor)?.all_mb);
            phase.ask(&mut api)?;
        }
        std::thread::sleep(PAUSE);
    }
    Ok(phase)
}

impl Phase {
    /// Asks for the limited kind over HTTP.
    fn ask(&mut self, api: &mut Connection) -> anyhow::Result<()> {
        let body = network::body("limited", "{}", "10s", TASKS);
        let (status, answer) = api.request("POST", "/api/v1/measurements", Some(&body))?;
        let told: serde_json::Value = serde_json::from_slice(&answer)?;
        let waits = api.fields.iter().any(|field| field.to_ascii_lowercase().starts_with("retry-after:"));
        match (status, told["id"].as_str()) {
            (202, Some(id)) => self.taken.push(id.to_owned()),
            (429, _) if waits && told["reason"] == "saturated" => self.declined += 1,
            _ => self.strange.push(format!("{status} {told}")),
        }
        Ok(())
    }
}
