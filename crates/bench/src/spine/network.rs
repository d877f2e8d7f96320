//! An `mmn up` with modules of this program.

use std::time::Duration;

use mmn_schema::api::ResultRecord;
use mmn_schema::stream::{FromAnchor, FromClient};
use serde_json::Value;

use super::Bench;
use super::socket::Socket;
use crate::http::Connection;
use crate::up::{Setup, Up};
use crate::{clock, processes};

/// A module of this program, as its manifest says.
#[derive(Debug, Clone)]
pub(super) struct Module {
    pub(super) name: &'static str,
    pub(super) kind: &'static str,
    pub(super) instances: usize,
    pub(super) concurrency: u32,
    /// How long each task takes; absent: as the task's parameters say.
    pub(super) sleep_ms: Option<u64>,
}

impl Module {
    /// Instances of the kind `noop`.
    pub(super) const fn noop(instances: usize, concurrency: u32) -> Self {
        Self { name: "noop", kind: "noop", instances, concurrency, sleep_ms: None }
    }

    pub(super) fn named(self, name: &'static str) -> Self {
        Self { name, ..self }
    }

    pub(super) fn sleeping(self, ms: u64) -> Self {
        Self { sleep_ms: Some(ms), ..self }
    }

    /// The text of `modules.d/NAME.toml`.
    pub(super) fn manifest(&self) -> anyhow::Result<String> {
        let program = std::env::current_exe()?;
        let mut words = vec![program.display().to_string(), crate::noop::ROLE.to_owned()];
        words.extend(["--kind".to_owned(), self.kind.to_owned()]);
        if let Some(ms) = self.sleep_ms {
            words.extend(["--sleep-ms".to_owned(), ms.to_string()]);
        }
        Ok(format!(
            "command = {words:?}\ninstances = {}\nconcurrency = {{ {} = {} }}\n",
            self.instances, self.kind, self.concurrency
        ))
    }
}

/// Modules of this program and no others, with room for as many requests as a machine can make.
pub(super) fn setup(modules: &[Module]) -> anyhow::Result<Setup> {
    let manifests = modules.iter().map(|module| Ok((module.name.to_owned(), module.manifest()?)));
    Ok(Setup {
        modules: manifests.collect::<anyhow::Result<_>>()?,
        bare: true,
        anchor: "[api]\nmax_requests_per_s = 1000000\n".to_owned(),
        instances: modules.iter().map(|module| module.instances).sum(),
    })
}

/// Starts a network of these modules.
pub(super) fn start(bench: &Bench, modules: &[Module]) -> anyhow::Result<Up> {
    Up::start_with(&bench.mmn, &setup(modules)?)
}

/// The processes of a network, by role.
#[derive(Debug)]
pub(super) struct Roles {
    pub(super) nats: u32,
    pub(super) anchor: u32,
    pub(super) modules: Vec<u32>,
}

impl Roles {
    pub(super) fn of(up: &Up) -> anyhow::Result<Self> {
        let node = processes::role(up.pid(), "node")?;
        Ok(Self {
            nats: processes::nats_server(up.pid())?,
            anchor: processes::role(up.pid(), "anchor")?,
            modules: processes::descendants(node)?,
        })
    }

    /// Seconds of processor time so far.
    pub(super) fn cpu(&self) -> Cpu {
        Cpu {
            nats: processes::cpu_s(&[self.nats]),
            anchor: processes::cpu_s(&[self.anchor]),
            modules: processes::cpu_s(&self.modules),
            own: processes::cpu_s(&[std::process::id()]),
        }
    }
}

/// Seconds of processor time.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cpu {
    nats: f64,
    anchor: f64,
    modules: f64,
    own: f64,
}

impl Cpu {
    /// What was used since, in words.
    pub(super) fn since(self, before: Self) -> String {
        format!(
            "CPU s: nats-server {:.2}, anchor {:.2}, modules {:.2}, this program {:.2}",
            self.nats - before.nats,
            self.anchor - before.anchor,
            self.modules - before.modules,
            self.own - before.own
        )
    }
}

/// Asks for a measurement, and gives its id. One that is declined for now is asked for again when the anchor says.
pub(super) fn submit(api: &mut Connection, body: &str) -> anyhow::Result<String> {
    let (status, answer) = loop {
        let answered = api.request("POST", "/api/v1/measurements", Some(body))?;
        let wait = api.fields.iter().find_map(|field| {
            let (name, seconds) = field.split_once(':')?;
            name.eq_ignore_ascii_case("retry-after").then(|| seconds.trim().parse().ok())?
        });
        match wait {
            Some(seconds) if answered.0 == 429 => std::thread::sleep(Duration::from_secs(seconds)),
            _ => break answered,
        }
    };
    anyhow::ensure!(
        status == 202,
        "a measurement was answered {status} {}",
        String::from_utf8_lossy(&answer)
    );
    let answer: Value = serde_json::from_slice(&answer)?;
    answer["id"].as_str().map(str::to_owned).ok_or_else(|| anyhow::anyhow!("a measurement without id"))
}

/// Asks for a kind's measurement of so many inputs that are not alike.
pub(super) fn body(kind: &str, params: &str, deadline: &str, inputs: u32) -> String {
    let inputs: Vec<_> = (0..inputs)
        .map(|input| {
            let [_, a, b, c] = input.to_be_bytes();
            format!("\"10.{a}.{b}.{c}\"")
        })
        .collect();
    let inputs = inputs.join(",");
    format!(r#"{{"kind":"{kind}","params":{params},"deadline":"{deadline}","inputs":[{inputs}]}}"#)
}

/// Waits until a measurement is done, and gives its ledger.
pub(super) fn closed(api: &mut Connection, id: &str, patience: Duration) -> anyhow::Result<Value> {
    let begin = clock::now();
    loop {
        let ledger = ledger(api, id)?;
        if ledger["pending"] == 0 {
            return Ok(ledger);
        }
        anyhow::ensure!(clock::now() - begin < patience, "{id} is not done within {patience:?}: {ledger}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// The results of a measurement that is done.
pub(super) fn results(up: &Up, id: &str) -> anyhow::Result<Vec<ResultRecord>> {
    let mut socket = Socket::open(&up.api, &up.token)?;
    socket.say(&FromClient::Subscribe { id: 1, measurement: id.parse()?, after: None, credits: u32::MAX })?;
    socket.flush()?;
    let (mut results, mut done) = (Vec::new(), false);
    while !done {
        let came = socket.read(|answer| match answer.decode() {
            Some(FromAnchor::Results { records, .. }) => results.extend(records),
            Some(FromAnchor::Done { .. } | FromAnchor::Problem { .. }) => done = true,
            _ => {}
        })?;
        anyhow::ensure!(came, "the results of {id} don't come");
    }
    Ok(results)
}

/// How each instance is and what it holds, in words: for whoever looks for what went wrong.
pub(super) fn state(api: &mut Connection) -> anyhow::Result<String> {
    let (_, body) = api.request("GET", "/api/v1/modules", None)?;
    let modules: Value = serde_json::from_slice(&body)?;
    let items = modules["items"].as_array().map_or(&[][..], Vec::as_slice);
    let words = items.iter().map(|module| {
        let load = &module["heartbeat"]["load"];
        let [instance, health, out, credits] =
            ["instance", "health", "out", "credits"].map(|name| &module[name]);
        format!("{instance} {health}, {out} out of {credits}, it says {load}")
    });
    Ok(words.collect::<Vec<_>>().join("; "))
}

/// The ledger of a measurement.
pub(super) fn ledger(api: &mut Connection, id: &str) -> anyhow::Result<Value> {
    let (status, answer) = api.request("GET", &format!("/api/v1/measurements/{id}/ledger"), None)?;
    anyhow::ensure!(status == 200, "the ledger of {id}: {status}");
    Ok(serde_json::from_slice(&answer)?)
}
