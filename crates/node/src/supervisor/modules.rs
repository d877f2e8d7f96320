//! The modules that a node supervises: brings what runs in line with what is wanted, and says how each one is.

use std::collections::BTreeMap;
use std::sync::Arc;

use mmn_schema::announce::{ModuleState, ModuleStatus};
use mmn_schema::id::InstanceId;
use mmn_schema::outcome::{Reason, code};

use super::Shared;
use super::instance::{Order, Report, Slot};
use super::manifest::{Manifest, instance_id};
use super::roster::Wanted;

/// All modules of a node.
#[derive(Debug)]
pub(super) struct Modules {
    shared: Arc<Shared>,
    by_name: BTreeMap<String, Module>,
}

#[derive(Debug, Default)]
struct Module {
    /// What runs, or is to run.
    manifest: Option<Arc<Manifest>>,
    /// What is wrong with its file. What ran before runs on.
    wrong: Option<String>,
    slots: Vec<Slot>,
    /// Instances that were told to end, with what they were started from gone or changed.
    leaving: Vec<Slot>,
    /// Whether its manifest is gone.
    gone: bool,
}

impl Modules {
    pub(super) const fn new(shared: Arc<Shared>) -> Self {
        Self { shared, by_name: BTreeMap::new() }
    }

    /// Starts what is new, ends what is gone, replaces what has changed, and touches nothing else.
    pub(super) fn reconcile(&mut self, wanted: &Wanted) {
        for (name, module) in &mut self.by_name {
            if !wanted.contains_key(name) && !module.gone {
                tracing::info!(module = name, "its manifest is gone");
                module.gone = true;
                module.manifest = None;
                module.wrong = None;
                module.leave();
            }
        }
        for (name, manifest) in wanted {
            let module = self.by_name.entry(name.clone()).or_default();
            module.gone = false;
            match manifest {
                Err(wrong) => {
                    if module.wrong.as_ref() != Some(wrong) {
                        tracing::warn!(module = name, wrong, "its manifest is wrong");
                    }
                    module.wrong = Some(wrong.clone());
                }
                Ok(manifest) => {
                    module.wrong = None;
                    if module.manifest.as_ref() != Some(manifest) {
                        tracing::info!(module = name, enabled = manifest.enabled, "a new manifest");
                        module.leave();
                        module.manifest = Some(Arc::clone(manifest));
                        module.fill(&self.shared, name);
                    }
                }
            }
        }
        self.forget();
    }

    /// An instance has changed.
    pub(super) fn reported(&mut self, report: &Report) {
        for module in self.by_name.values_mut() {
            let slots = module.slots.iter_mut().chain(&mut module.leaving);
            for slot in slots.filter(|slot| slot.instance == report.instance) {
                slot.status = report.status.clone();
            }
            module.leaving.retain(|slot| slot.status.state != ModuleState::Stopped);
        }
        self.forget();
    }

    /// An instance has been heard on the bus.
    pub(super) fn heard(&self, instance: &str) {
        let slots = self.by_name.values().flat_map(|module| &module.slots);
        for slot in slots.filter(|slot| slot.instance.as_str() == instance) {
            slot.heard.notify_one();
        }
    }

    /// Gives an order to all instances of a module, or to one.
    pub(super) fn order(
        &mut self,
        name: &str,
        instance: Option<&InstanceId>,
        order: Order,
    ) -> Result<(), Reason> {
        let module = self.by_name.get(name).filter(|module| !module.gone).ok_or_else(|| unknown(name))?;
        let mut meant =
            module.slots.iter().filter(|slot| instance.is_none_or(|id| slot.instance == *id)).peekable();
        if meant.peek().is_none() {
            let what = match instance {
                Some(instance) => format!("{name} has no instance {instance}"),
                None => format!("{name} does not run"),
            };
            return Err(Reason::with(code::PARAMETERS, what));
        }
        for slot in meant {
            // A full queue holds orders enough.
            let _ = slot.orders.try_send(order);
        }
        Ok(())
    }

    /// All modules as they are now.
    pub(super) fn statuses(&self) -> Vec<ModuleStatus> {
        self.by_name.iter().map(|(name, module)| module.status(name)).collect()
    }

    /// How many processes are there.
    pub(super) fn running(&self) -> u32 {
        let running = self
            .by_name
            .values()
            .flat_map(|module| module.slots.iter().chain(&module.leaving))
            .filter(|slot| matches!(slot.status.state, ModuleState::Running | ModuleState::Draining))
            .count();
        u32::try_from(running).unwrap_or(u32::MAX)
    }

    /// Tells all to drain, in parallel; the handles end when they are gone.
    pub(super) fn leave(&mut self) -> Vec<tokio::task::JoinHandle<()>> {
        std::mem::take(&mut self.by_name)
            .into_values()
            .flat_map(|module| module.slots.into_iter().chain(module.leaving))
            .map(|slot| slot.task)
            .collect()
    }

    fn forget(&mut self) {
        self.by_name.retain(|_, module| !module.gone || !module.leaving.is_empty());
    }
}

impl Module {
    /// Ends what runs: without a sender of orders an instance drains and ends.
    fn leave(&mut self) {
        for mut slot in self.slots.drain(..) {
            let (closed, _) = tokio::sync::mpsc::channel(1);
            slot.orders = closed;
            self.leaving.push(slot);
        }
    }

    fn fill(&mut self, shared: &Arc<Shared>, name: &str) {
        let Some(manifest) = self.manifest.as_ref().filter(|manifest| manifest.enabled) else { return };
        for _ in 0..manifest.instances {
            if let Some(instance) = instance_id(name, rand::random()) {
                let slot = Slot::new(Arc::clone(shared), name.to_owned(), Arc::clone(manifest), instance);
                self.slots.push(slot);
            }
        }
    }

    fn status(&self, name: &str) -> ModuleStatus {
        let all = || self.slots.iter().chain(&self.leaving);
        let alive = |slot: &&Slot| slot.status.state != ModuleState::Stopped;
        let restarts = self.slots.iter().map(|slot| slot.status.restarts).sum();
        // The best of its instances says what it does, the worst what is to be said.
        let best = self.slots.iter().map(|slot| slot.status.state).min_by_key(|state| rank(*state));
        let worst = self.slots.iter().max_by_key(|slot| rank(slot.status.state));
        let (state, detail) = match (&self.wrong, best) {
            (Some(wrong), None) => (ModuleState::Invalid, Some(wrong.clone())),
            (Some(wrong), Some(_)) => {
                (ModuleState::Invalid, Some(format!("{wrong}; what was in force before still runs")))
            }
            (None, Some(best)) => (best, worst.and_then(|slot| slot.status.detail.clone())),
            (None, None) if self.leaving.is_empty() => {
                (ModuleState::Stopped, Some("turned off by its manifest".to_owned()))
            }
            (None, None) => (ModuleState::Draining, None),
        };
        let instances = all().filter(alive).map(|slot| slot.instance.clone()).collect();
        ModuleStatus { module: name.to_owned(), instances, state, restarts, detail }
    }
}

const fn rank(state: ModuleState) -> u8 {
    match state {
        ModuleState::Running => 0,
        ModuleState::Starting => 1,
        ModuleState::Draining => 2,
        ModuleState::Backoff => 3,
        ModuleState::Stopped => 4,
        ModuleState::Invalid => 5,
    }
}

pub(super) fn unknown(name: &str) -> Reason {
    Reason::with(code::PARAMETERS, format_args!("there is no module {name}"))
}
