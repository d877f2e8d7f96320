//! Memory of what is outstanding: 50,000 traces in one module, and probes of the bulk and the precise lane, one to a task:
//! that is when one takes most.
//!
//! Nobody answers, so that all of them are outstanding at the same time; that they are is the instance's own word
//! (tasks at work, of its heartbeat), and what is divided by. A lane's memory is what the process of the packet module
//! holds besides files and shared memory (`RssAnon`), less what it held before: everything that a task takes, not the probe
//! alone. It is the most of all looks while so many were outstanding, but for the first seconds, in which the allocator
//! gives back what their arrival took, and the last one, whose heartbeat may be older than their ends. The ring of received
//! packets and the page of the site's limits are shared memory of a fixed size. Of the traces it is all that is resident,
//! at any time while all of them were at work.

use std::time::Duration;

use anyhow::Context;
use serde_json::{Value, json};

use super::cpu::FIRST;
use super::measured::{Measured, address};
use super::place;
use crate::http::Connection;
use crate::lines::Bench;
use crate::processes::Resident;
use crate::report::Report;
use crate::{clock, measurement, processes};

/// Addresses behind the host that it does not answer for.
const SILENT: &str = "10.64.0.0/12";
const FIRST_SILENT: u32 = 64 << 16;
/// The most inputs of one measurement.
const INPUTS: usize = 100_000;
/// How often it is looked at what is at work.
const LOOKS_EVERY: Duration = Duration::from_millis(100);
/// How long it takes until what arrived is only what is held, and how old a heartbeat may be.
const SETTLES: Duration = Duration::from_secs(4);
const AGED: Duration = Duration::from_secs(1);
/// How long tasks may take to their ends.
const PATIENCE: Duration = Duration::from_secs(60);
/// So many tasks of a kind at a time: by default it is fewer.
const MANIFEST: &str = "builtin = \"packet\"\nconcurrency = { ping = 50000, trace = 50000 }\n";

/// What is asked for.
struct Asked {
    name: &'static str,
    kind: &'static str,
    params: Value,
    tasks: u32,
    /// Probes of one task.
    probes: u32,
    figure: Figure,
}

/// What the figure is of.
enum Figure {
    /// All that is resident, and its bound in MB.
    All(f64),
    /// A probe, and its bound in bytes.
    Probe(f64),
    /// A probe, beside the others.
    Yardstick,
}

/// What was seen while the most tasks were at work.
#[derive(Debug, Default)]
struct Flight {
    /// How many.
    tasks: u64,
    /// When, and what was resident then.
    looks: Vec<(Duration, Resident)>,
    /// All that was resident, at any time.
    most_mb: f64,
}

impl Flight {
    /// The most of `what` while so many tasks were at work, from so long after the first such look on.
    fn most_mb(&self, after: Duration, what: fn(&Resident) -> f64) -> anyhow::Result<f64> {
        let (first, last) = self.looks.first().zip(self.looks.last()).context("nothing was at work")?;
        let counted = first.0 + after..last.0.saturating_sub(AGED);
        let looks =
            self.looks.iter().filter(|(at, _)| counted.contains(at)).map(|(_, resident)| what(resident));
        looks.max_by(f64::total_cmp).context("it was over too soon")
    }
}

pub(super) fn run(bench: &Bench, report: &mut Report) -> anyhow::Result<()> {
    let host = place::target(&bench.mmn)?;
    place::ip(&["route", "add", SILENT, "via", "10.200.0.2"])?;
    host.ip(&["route", "add", "blackhole", SILENT])?;
    let ping = |lane: &str| json!({"count": 1, "timeout": "14s", "size": 8, "lane": lane});
    let asked = [
        Asked {
            name: "50,000 traces at work: the module's RSS",
            kind: "trace",
            params: json!({"timeout": "8s"}),
            tasks: 50_000,
            probes: 1,
            figure: Figure::All(100.0),
        },
        Asked {
            name: "bulk lane, memory per outstanding probe",
            kind: "ping",
            params: ping("bulk"),
            tasks: 131_072,
            probes: 1,
            figure: Figure::Probe(48.0),
        },
        Asked {
            name: "precise lane, memory per outstanding probe",
            kind: "ping",
            params: ping("precise"),
            tasks: 50_000,
            probes: 1,
            figure: Figure::Probe(400.0),
        },
        Asked {
            name: "  the same, four probes to a task",
            kind: "ping",
            params: json!({"count": 4, "interval": "10ms", "timeout": "12s", "size": 8, "lane": "precise"}),
            tasks: 20_000,
            probes: 4,
            figure: Figure::Yardstick,
        },
    ];
    for asked in asked {
        one(bench, &asked, report)?;
        report.print();
    }
    Ok(())
}

#[expect(clippy::cast_precision_loss, reason = "counts of tasks")]
fn one(bench: &Bench, asked: &Asked, report: &mut Report) -> anyhow::Result<()> {
    let mut measured = Measured::start_with(bench, 1_000_000, Some(MANIFEST))?;
    // Neighbours, sockets, connections.
    let warm = json!({"count": 1, "lane": asked.params["lane"].as_str().unwrap_or("precise")});
    measured.measure("ping", &warm, FIRST, 100, Duration::from_secs(20))?;
    let before = processes::resident(measured.packet)?;
    let begin = clock::now();
    let flight = in_flight(&mut measured, asked)?;
    let wall_s = (clock::now() - begin).as_secs_f64();
    let anonymous_mb = flight.most_mb(SETTLES, |resident| resident.anonymous_mb)?;
    let all_mb = flight.most_mb(Duration::ZERO, |resident| resident.all_mb)?;
    report.note(&format!(
        "{} of {} {} tasks at work at a time, all ended after {wall_s:.1} s",
        flight.tasks, asked.tasks, asked.kind
    ));
    report.note(&format!(
        "anonymous memory {:.1} MB before and {anonymous_mb:.1} MB then; resident {all_mb:.1} MB, with arrival and results \
         {:.1} MB at most",
        before.anonymous_mb, flight.most_mb
    ));
    let probes = flight.tasks as f64 * f64::from(asked.probes);
    let bytes = (anonymous_mb - before.anonymous_mb) * 1e6 / probes;
    match asked.figure {
        Figure::All(bound) => report.at_most(asked.name, "MB", all_mb, bound),
        Figure::Probe(bound) => report.at_most(asked.name, "bytes", bytes, bound),
        Figure::Yardstick => report.yardstick(asked.name, "bytes", bytes),
    }
    report.at_least("  tasks at work at that time", "", flight.tasks as f64, f64::from(asked.tasks));
    measured.up.stop()
}

/// Has the tasks performed, and looks at the module meanwhile.
fn in_flight(measured: &mut Measured, asked: &Asked) -> anyhow::Result<Flight> {
    let mut api = Connection::open(&measured.up.api, &measured.up.token)?;
    let inputs: Vec<_> = (0..asked.tasks).map(|number| address(FIRST_SILENT + number)).collect();
    let mut ids = Vec::new();
    for inputs in inputs.chunks(INPUTS) {
        let body = json!({"kind": asked.kind, "params": asked.params, "deadline": "5m", "inputs": inputs})
            .to_string();
        ids.push(measurement::submit(&mut api, &body)?);
    }
    let (mut flight, begin) = (Flight::default(), clock::now());
    loop {
        let tasks = at_work(&mut api)?;
        let resident = processes::resident(measured.packet)?;
        flight.most_mb = resident.most_mb;
        if tasks > flight.tasks {
            (flight.tasks, flight.looks) = (tasks, Vec::new());
        }
        if tasks > 0 && tasks == flight.tasks {
            flight.looks.push((clock::now() - begin, resident));
        }
        let mut pending = 0;
        for id in &ids {
            pending += measurement::ledger(&mut api, id)?["pending"].as_u64().unwrap_or(0);
        }
        if pending == 0 {
            return Ok(flight);
        }
        anyhow::ensure!(
            clock::now() - begin < PATIENCE,
            "{pending} tasks have not ended within {PATIENCE:?}"
        );
        std::thread::sleep(LOOKS_EVERY);
    }
}

/// How many tasks the packet module performs, by its last heartbeat.
fn at_work(api: &mut Connection) -> anyhow::Result<u64> {
    let (_, body) = api.request("GET", "/api/v1/modules", None)?;
    let modules: Value = serde_json::from_slice(&body)?;
    let items = modules["items"].as_array().map_or(&[][..], Vec::as_slice);
    let packet =
        items.iter().find(|item| item["instance"].as_str().is_some_and(|name| name.starts_with("packet")));
    // Before its first heartbeat it has said nothing.
    Ok(packet.context("no packet module")?["heartbeat"]["load"]["running"].as_u64().unwrap_or(0))
}
