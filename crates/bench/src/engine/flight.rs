//! Memory of what is outstanding: 50,000 traces in one module, and probes of the bulk and the precise lane.

use std::time::Duration;

use serde_json::{Value, json};

use super::cpu::FIRST;
use super::measured::{Measured, address};
use super::place;
use crate::http::Connection;
use crate::lines::Bench;
use crate::report::Report;
use crate::{measurement, processes};

/// Addresses behind the host that it does not answer for.
const SILENT: &str = "10.64.0.0/12";
const FIRST_SILENT: u32 = 64 << 16;

pub(super) fn run(bench: &Bench, report: &mut Report) -> anyhow::Result<()> {
    let host = place::target(&bench.mmn)?;
    place::ip(&["route", "add", SILENT, "via", "10.200.0.2"])?;
    host.ip(&["route", "add", "blackhole", SILENT])?;
    let traces = json!({"timeout": "5s", "max_ttl": 30});
    let bulk = json!({"count": 1, "timeout": "20s", "size": 8, "lane": "bulk"});
    let precise = json!({"count": 1, "timeout": "20s", "size": 8, "lane": "precise"});
    let lines = [
        ("50,000 traces in flight: the module's RSS", "trace", traces, 50_000, None),
        ("bulk lane, memory per outstanding probe", "ping", bulk, 500_000, Some(48.0)),
        ("precise lane, memory per outstanding probe", "ping", precise, 50_000, Some(400.0)),
    ];
    for (name, kind, params, count, bytes) in lines {
        let mut measured = Measured::start(bench, 1_000_000)?;
        measured.measure("ping", &json!({"count": 1}), FIRST, 1_000, Duration::from_secs(20))?;
        let (before, _) = processes::resident_mb(measured.packet)?;
        let most = in_flight(&mut measured, kind, &params, count)?;
        match bytes {
            None => report.at_most(name, "MB", most, 100.0),
            Some(bound) => {
                report.at_most(name, "bytes", (most - before) * 1e6 / f64::from(count), bound);
            }
        }
        measured.up.stop()?;
    }
    Ok(())
}

/// The most resident memory while so many tasks are under way.
fn in_flight(measured: &mut Measured, kind: &str, params: &Value, count: u32) -> anyhow::Result<f64> {
    let mut api = Connection::open(&measured.up.api, &measured.up.token)?;
    let inputs: Vec<_> = (0..count).map(|number| address(FIRST_SILENT + number)).collect();
    let mut ids = Vec::new();
    for inputs in inputs.chunks(100_000) {
        let body = json!({"kind": kind, "params": params, "deadline": "5m", "inputs": inputs}).to_string();
        ids.push(measurement::submit(&mut api, &body)?);
    }
    for id in &ids {
        measurement::closed(&mut api, id, Duration::from_secs(200))?;
    }
    let (_, most) = processes::resident_mb(measured.packet)?;
    Ok(most)
}
