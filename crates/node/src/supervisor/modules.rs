//! The modules that a node supervises: brings what runs in line with what is wanted, and says how each one is.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use mmn_schema::announce::{ModuleState, ModuleStatus};
use mmn_schema::id::{BootId, InstanceId};
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
    rolling: Rolling,
}

/// Instances that are started again one after another: the next goes when the former is back and ready.
#[derive(Debug, Default)]
struct Rolling {
    away: Option<Away>,
    next: VecDeque<InstanceId>,
}

/// Who was told to start again, and which life that ends.
#[derive(Debug)]
struct Away {
    instance: InstanceId,
    boot: Option<BootId>,
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

    /// An instance has been heard on the bus: in which life, and whether that is ready for work. Gives whether that
    /// changes what is to be said.
    pub(super) fn heard(&mut self, instance: &str, life: Option<(BootId, bool)>) -> bool {
        for module in self.by_name.values_mut() {
            let Some(slot) = module.slots.iter_mut().find(|slot| slot.instance.as_str() == instance) else {
                continue;
            };
            slot.heard.notify_one();
            let Some((boot, ready)) = life else { return false };
            slot.boot = Some(boot);
            return ready && module.is_back(instance, boot);
        }
        false
    }

    /// Gives an order to all instances of a module, or to one.
    pub(super) fn order(
        &mut self,
        name: &str,
        instance: Option<&InstanceId>,
        order: Order,
    ) -> Result<(), Reason> {
        let module = self.by_name.get_mut(name).filter(|module| !module.gone).ok_or_else(|| unknown(name))?;
        let meant: Vec<InstanceId> = module
            .slots
            .iter()
            .map(|slot| slot.instance.clone())
            .filter(|id| instance.is_none_or(|only| id == only))
            .collect();
        if meant.is_empty() {
            let what = match instance {
                Some(instance) => format!("{name} has no instance {instance}"),
                None => format!("{name} does not run"),
            };
            return Err(Reason::with(code::PARAMETERS, what));
        }
        if order == Order::Restart && meant.len() > 1 {
            module.rolling = Rolling { away: None, next: meant.into() };
            module.roll();
            return Ok(());
        }
        // Who is told to stay is not started by a former order.
        module.rolling.next.retain(|id| !meant.contains(id));
        module.rolling.away.take_if(|away| meant.contains(&away.instance));
        for slot in module.slots.iter().filter(|slot| meant.contains(&slot.instance)) {
            // A full queue holds orders enough.
            let _ = slot.orders.try_send(order);
        }
        module.roll();
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
    /// The next one is started again, unless the former is not back.
    fn roll(&mut self) {
        while self.rolling.away.is_none()
            && let Some(instance) = self.rolling.next.pop_front()
        {
            let slot = self.slots.iter().find(|slot| slot.instance == instance);
            if let Some(slot) = slot.filter(|slot| slot.orders.try_send(Order::Restart).is_ok()) {
                self.rolling.away = Some(Away { boot: slot.boot, instance });
            }
        }
    }

    /// An instance is ready in this life; gives whether the next one goes now.
    fn is_back(&mut self, instance: &str, boot: BootId) -> bool {
        let back =
            |away: &mut Away| away.instance.as_str() == instance && away.boot.is_none_or(|old| boot > old);
        let goes = self.rolling.away.take_if(back).is_some();
        if goes {
            self.roll();
        }
        goes
    }

    /// Ends what runs: without a sender of orders an instance drains and ends.
    fn leave(&mut self) {
        self.rolling = Rolling::default();
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
            (None, Some(best)) => {
                let detail = worst.and_then(|slot| slot.status.detail.clone());
                let waiting = self.rolling.next.len();
                let rolls = (waiting > 0).then(|| format!("restarting one after another, {waiting} to go"));
                (best, detail.or(rolls))
            }
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
