//! What time brings: deadlines, missing receipts, silence, rollups of intervals that are over.

use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::sync::Arc;

use mmn_schema::api::Health;

use super::retry::Nothing;
use super::{About, Actor, Deadline, Sweep, What};
use crate::clock;
use crate::config::ms;
use crate::dispatch::lane::SlotId;
use crate::health::Evidence;
use crate::ledger::account::State;

/// Ticks between looks at what changes slowly: 1 s.
const SLOW: u64 = 20;
/// How many deadlines of measurements that ended may lie about.
const MAX_STALE: usize = 16_384;
/// Ticks between looks at the store: 2 s.
const STORE: u64 = 40;

impl Actor {
    pub(super) fn on_tick(&mut self) {
        let now = clock::now();
        self.ticks += 1;
        self.send_late();
        while self.deadlines.peek().is_some_and(|Reverse(deadline)| deadline.at <= now) {
            let Some(Reverse(deadline)) = self.deadlines.pop() else { break };
            if self.running.contains_key(&deadline.measurement) {
                let Deadline { measurement, first, end, what, at } = deadline;
                if what == What::Queued {
                    // What is out has some grace: its result may be on the way.
                    let at = at + ms(self.config.dispatch.grace_ms);
                    self.deadlines.push(Reverse(Deadline { at, measurement, first, end, what: What::All }));
                }
                self.sweeps.push_back(Sweep { measurement, next: first, end, what });
            }
        }
        self.take_back_unacknowledged();
        self.retry(now);
        self.sync_all(now);
        self.judge();
        if self.ticks.is_multiple_of(SLOW) {
            let at = clock::wall();
            let over: Vec<_> = self
                .running
                .iter()
                .filter(|(_, running)| running.rollups.is_over(at))
                .map(|(&id, _)| id)
                .collect();
            for id in over {
                self.write_rollups(id);
            }
            self.keys.prune(at);
            let running = &self.running;
            self.retries.prune(|id, index| {
                let state = running.get(&id).and_then(|running| running.account.state(index));
                matches!(state, Some(State::Queued | State::Out))
            });
            if self.deadlines.len() > 4 * self.running.len() + MAX_STALE {
                self.deadlines.retain(|Reverse(deadline)| self.running.contains_key(&deadline.measurement));
                self.deadlines.shrink_to(2 * self.deadlines.len());
            }
            self.registry.forget(now, ms(self.config.liveness.forget_ms));
            let full = self.refusal().is_some();
            self.shared.say(!full, if full { "storage is full" } else { "ready" });
        }
        if self.ticks.is_multiple_of(STORE) {
            self.look_at_store();
        }
    }

    /// Batches without a receipt go elsewhere.
    fn take_back_unacknowledged(&mut self) {
        let (now, limit) = (clock::now(), ms(self.config.dispatch.receipt_ms));
        let mut returned = Vec::new();
        for instance in self.registry.instances.values_mut() {
            for seq in instance.slot.holding.overdue(now, limit) {
                instance.liveness.no_receipt();
                returned.push((Some(instance.id.clone()), instance.slot.holding.take_back(seq)));
            }
        }
        for pool in self.registry.pools.values_mut() {
            for seq in pool.slot.holding.overdue(now, limit) {
                let tasks = pool.slot.holding.take_back(seq);
                returned.push((None, tasks));
            }
        }
        for (name, tasks) in returned {
            self.give_back(tasks, name.as_ref(), Nothing::Lost("not acknowledged in time"));
        }
    }

    /// Looks who has fallen silent.
    fn judge(&mut self) {
        let (now, bounds) = (clock::now(), self.registry.bounds);
        let mut changed = Vec::new();
        for (&slot, instance) in &mut self.registry.instances {
            // One that said it is full, and says nothing more, is tried again.
            if instance.full {
                instance.full = false;
                self.dirty.extend(instance.lanes.iter().copied());
            }
            if instance.hold_until.is_some_and(|until| now >= until) {
                instance.hold_until = None;
                self.dirty.extend(instance.lanes.iter().copied());
            }
            let (health, evidence) = instance.liveness.judge(now, bounds);
            if health != instance.health {
                changed.push((slot, instance.health, health, evidence));
                instance.health = health;
            }
        }
        let mut touched = BTreeSet::new();
        for (slot, before, after, evidence) in changed {
            let Some((vp, name)) =
                self.registry.instances.get(&slot).map(|it| (it.vp.clone(), it.id.clone()))
            else {
                continue;
            };
            touched.insert(vp.clone());
            if after == Health::Lost {
                self.lose(slot, evidence);
            } else if after == Health::Suspect || matches!(before, Health::Suspect | Health::Lost) {
                let kind = if after == Health::Suspect { "module-suspect" } else { "module-healthy" };
                let about = About { vp: Some(&vp), instance: Some(&name), measurement: None };
                self.event(kind, about, evidence.to_string());
            }
        }
        if self.ticks.is_multiple_of(SLOW) {
            // Nodes fall silent too.
            touched.extend(self.registry.vps.keys().cloned());
        }
        for vp in touched {
            if let Some((_, health)) = self.registry.refresh(&vp, now)
                && matches!(health, Health::Lost | Health::Stopped)
            {
                let about = About { vp: Some(&vp), ..About::default() };
                self.event("vp-lost", about, "nothing of it is heard any more".to_owned());
            }
        }
    }

    /// An instance is found dead at once.
    pub(super) fn give_up(&mut self, slot: SlotId) {
        let (now, bounds) = (clock::now(), self.registry.bounds);
        if let Some(instance) = self.registry.instances.get_mut(&slot) {
            let (health, evidence) = instance.liveness.judge(now, bounds);
            let before = std::mem::replace(&mut instance.health, health);
            if before != Health::Lost {
                self.lose(slot, evidence);
            }
        }
    }

    /// An instance counts as gone: what it held goes elsewhere.
    fn lose(&mut self, slot: SlotId, evidence: Evidence) {
        let Some((vp, name)) = self.registry.instances.get(&slot).map(|it| (it.vp.clone(), it.id.clone()))
        else {
            return;
        };
        let returned = self.registry.part(slot);
        self.give_back(returned, Some(&name), Nothing::Lost("the instance was lost"));
        let about = About { vp: Some(&vp), instance: Some(&name), measurement: None };
        self.event("module-lost", about, evidence.to_string());
    }

    /// Asks how many bytes LEDGER and RES take.
    pub(super) fn look_at_store(&mut self) {
        if self.infos.is_empty() {
            let (ledger, results) = (Arc::clone(&self.store.ledger), Arc::clone(&self.store.results));
            self.infos.push(Box::pin(async move {
                let (ledger, results) = tokio::join!(ledger.get_info(), results.get_info());
                Some([ledger.ok()?.state.bytes, results.ok()?.state.bytes])
            }));
        }
    }

    pub(super) fn on_info(&mut self, bytes: Option<[u64; 2]>) {
        if let Some([ledger, results]) = bytes {
            self.fills.ledger.set_bytes(ledger);
            self.fills.results.set_bytes(results);
        }
    }
}
