//! An `mmn up` with modules of this program.

use super::Bench;
use crate::processes;
use crate::up::{Setup, Up};

/// A module of this program, as its manifest says.
#[derive(Debug, Clone)]
pub(crate) struct Module {
    pub(super) name: &'static str,
    pub(super) kind: &'static str,
    pub(super) instances: usize,
    pub(super) concurrency: u32,
    /// How long each task takes; absent: as the task's parameters say.
    pub(super) sleep_ms: Option<u64>,
}

impl Module {
    /// Instances of the kind `noop`.
    pub(crate) const fn noop(instances: usize, concurrency: u32) -> Self {
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
pub(crate) fn setup(modules: &[Module]) -> anyhow::Result<Setup> {
    let manifests = modules.iter().map(|module| Ok((module.name.to_owned(), module.manifest()?)));
    Ok(Setup {
        modules: manifests.collect::<anyhow::Result<_>>()?,
        bare: true,
        anchor: "[api]\nmax_requests_per_s = 1000000\n".to_owned(),
        instances: modules.iter().map(|module| module.instances).sum(),
        policy: None,
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
