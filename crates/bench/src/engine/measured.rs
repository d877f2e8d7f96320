//! An `mmn up` in the near namespace, and measurements of very many targets.

use std::fmt::Write as _;
use std::time::Duration;

use anyhow::Context;
use serde_json::Value;

use crate::http::Connection;
use crate::lines::Bench;
use crate::up::{Setup, Up};
use crate::{clock, measurement, processes};

/// The most inputs of one measurement.
const INPUTS: u32 = 100_000;

/// A network of one vantage point with the packet module.
#[derive(Debug)]
pub(super) struct Measured {
    pub(super) up: Up,
    /// The process of the packet module.
    pub(super) packet: u32,
    api: Connection,
}

/// What came of measurements.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Sums {
    /// Tasks that were accepted.
    pub(super) accepted: u64,
    /// Tasks that ended ok.
    pub(super) ok: u64,
    /// Tasks that were answered by the network.
    pub(super) answered: u64,
    /// Seconds from the first request to the last end.
    pub(super) wall_s: f64,
    /// Seconds of processor time of the module's process.
    pub(super) cpu_s: f64,
}

impl Measured {
    /// Starts it, with this rate as the site's limit.
    pub(super) fn start(bench: &Bench, packets_per_s: u64) -> anyhow::Result<Self> {
        Self::start_with(bench, packets_per_s, None)
    }

    /// The same, with a manifest for the packet module.
    pub(super) fn start_with(
        bench: &Bench,
        packets_per_s: u64,
        manifest: Option<&str>,
    ) -> anyhow::Result<Self> {
        let policy = format!(
            "max_pps = {packets_per_s}\nmax_bps = \"100Gbit/s\"\nmax_pps_per_target = 1000000\n\
             allow_loopback = true\nallow = [\"10.0.0.0/8\"]\nallow_packet_sockets = true\n"
        );
        let setup = Setup {
            anchor: "[api]\nmax_requests_per_s = 1000000\n".to_owned(),
            instances: 3,
            policy: Some(policy),
            modules: manifest.map(|text| ("packet".to_owned(), text.to_owned())).into_iter().collect(),
            ..Setup::default()
        };
        let up = Up::start_with(&bench.mmn, &setup)?;
        let node = processes::role(up.pid(), "node")?;
        let modules = up.get("/api/v1/modules")?;
        let names =
            modules["items"].as_array().into_iter().flatten().filter_map(|item| item["instance"].as_str());
        let packet = names.into_iter().find(|name| name.starts_with("packet")).context("no packet module")?;
        let packet = processes::instance(node, packet)?;
        let api = Connection::open(&up.api, &up.token)?;
        Ok(Self { up, packet, api })
    }

    /// Asks for a kind with these parameters of `count` targets from `first` on, several measurements where they are
    /// many, and waits for the ends.
    pub(super) fn measure(
        &mut self,
        kind: &str,
        params: &Value,
        first: u32,
        count: u32,
        patience: Duration,
    ) -> anyhow::Result<(Sums, Vec<String>)> {
        let (cpu, begin) = (processes::cpu_s(&[self.packet]), clock::now());
        let mut ids = Vec::new();
        for from in (first..first + count).step_by(INPUTS as usize) {
            let body = body(kind, params, from, INPUTS.min(first + count - from));
            ids.push(measurement::submit(&mut self.api, &body)?);
        }
        let mut sums = Sums::default();
        for id in &ids {
            let ledger = measurement::closed(&mut self.api, id, patience)?;
            let count = |name: &str| ledger[name].as_u64().unwrap_or(0);
            sums.accepted += count("accepted");
            sums.ok += count("ok");
            sums.answered += count("answered");
        }
        sums.wall_s = (clock::now() - begin).as_secs_f64();
        sums.cpu_s = processes::cpu_s(&[self.packet]) - cpu;
        Ok((sums, ids))
    }
}

/// The address with this number in 10.0.0.0/8.
pub(super) fn address(number: u32) -> String {
    let [_, a, b, c] = number.to_be_bytes();
    format!("10.{a}.{b}.{c}")
}

fn body(kind: &str, params: &Value, first: u32, count: u32) -> String {
    let mut body = format!(r#"{{"kind":"{kind}","params":{params},"deadline":"10m","inputs":["#);
    for number in first..first + count {
        let comma = if number == first { "" } else { "," };
        let _ = write!(body, "{comma}\"{}\"", address(number));
    }
    body + "]}"
}
