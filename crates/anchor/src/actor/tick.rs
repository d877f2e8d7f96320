//! What time brings: deadlines, missing receipts, silence, histories that take too much.

use std::cmp::Reverse;
use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use mmn_schema::api::Health;
use mmn_schema::id::{KindName, MeasurementId};

use super::retry::Nothing;
use super::{About, Actor, Deadline, Sweep, TICK, What};
use crate::clock;
use crate::config::ms;
use crate::dispatch::lane::SlotId;
use crate::health::Evidence;
use crate::ledger::account::State;
use crate::registry::instance::Instance;
use crate::registry::views::told;

/// Ticks between looks at what changes slowly: 1 s.
const SLOW: u64 = 20;
/// A tick that comes so late says that the anchor itself stood still.
const STALL: Duration = Duration::from_millis(200);
/// When no announcement was left unread for so long, all are asked for again.
const UNHEARD: Duration = Duration::from_secs(1);
/// Ticks between looks at how fast work is done: 250 ms.
const LOOK: u64 = 5;
/// About how many bytes the histories of all measurements that run may take.
const MAX_HISTORIES: usize = 256 << 20;
/// How many deadlines of measurements that ended may lie about.
const MAX_STALE: usize = 16_384;
/// How many times longer the receipt of one that is heard is waited for.
const PATIENCE: u32 = 10;
/// Ticks between looks at the store: 2 s.
const STORE: u64 = 40;

impl Actor {
    pub(super) fn on_tick(&mut self) {
        let now = clock::now();
        self.ticks += 1;
        self.stood_still(now);
        self.release_held();
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
        if self.shared.is_connected() {
            self.take_back_unacknowledged();
        }
        self.half_open(now);
        self.sync_all(now);
        if self.shared.is_connected() {
            self.judge();
        }
        self.retry(now);
        if self.ticks.is_multiple_of(LOOK) {
            self.look_at_loads(now);
        }
        if self.ticks.is_multiple_of(SLOW) {
            let at = clock::wall();
            self.bound_histories();
            self.look_at_processes(now);
            self.write_up_availability(now);
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
            self.fail_for_garbage(now);
            // Who was not listened to may have had something to say.
            if self.unheard.is_some_and(|at| now.saturating_duration_since(at) >= UNHEARD) {
                self.unheard = None;
                self.discover();
            }
            self.registry.forget(now, ms(self.config.liveness.forget_ms));
            let full = self.refusal().is_some();
            self.shared.say(!full, if full { "storage is full" } else { "ready" });
        }
        if self.ticks.is_multiple_of(STORE) {
            self.look_at_store();
        }
    }

    /// All histories together take no more than they may: the largest ones give up half of theirs.
    fn bound_histories(&mut self) {
        let mut weight: usize = self.running.values().map(|running| running.history.weight()).sum();
        while weight > MAX_HISTORIES {
            let largest = self.running.values_mut().max_by_key(|running| running.history.weight());
            let Some(history) = largest.map(|running| &mut running.history) else { return };
            let before = history.weight();
            if !history.shrink() {
                return;
            }
            weight -= before - history.weight();
        }
    }

    /// An anchor that was stopped, or got no processor, heard nobody meanwhile: what they said waits to be read.
    fn stood_still(&mut self, now: Instant) {
        let timer = clock::of_timers();
        let stood = timer.saturating_duration_since(self.ticked).saturating_sub(TICK);
        self.ticked = timer;
        if stood < STALL {
            return;
        }
        self.receipts_from = now + stood.min(ms(self.config.dispatch.receipt_ms));
        for instance in self.registry.instances.values_mut() {
            instance.liveness.excuse_for(stood, now);
        }
        for vp in self.registry.vps.values_mut() {
            if let Some(node) = &mut vp.node {
                node.liveness.excuse_for(stood, now);
            }
        }
    }

    /// Batches without a receipt go elsewhere.
    fn take_back_unacknowledged(&mut self) {
        let now = clock::now();
        // They go elsewhere within the limit, not after it.
        let limit = ms(self.config.dispatch.receipt_ms) / 10 * 7;
        // What went out before the connection was made anew may never have arrived: comparing notes tells.
        if now < self.receipts_from || now.saturating_duration_since(self.linked) < 2 * limit {
            return;
        }
        let (mut returned, mut failed) = (Vec::new(), Vec::new());
        for (slot, overdue) in self.overdue(now, limit) {
            let Some(instance) = self.registry.instances.get_mut(&slot) else { continue };
            failed.push(slot);
            for seq in overdue {
                instance.liveness.no_receipt();
                returned.push((Some(instance.id.clone()), instance.slot.holding.take_back(seq)));
            }
        }
        for slot in failed {
            self.fail_at_all(slot, now);
        }
        for pool in self.registry.pools.values_mut() {
            for seq in pool.slot.holding.overdue(now, limit) {
                let tasks = pool.slot.holding.take_back(seq);
                returned.push((None, tasks));
            }
        }
        for (name, tasks) in returned {
            self.give_back(tasks, name.as_ref(), Nothing::Doubted("not acknowledged in time"));
        }
    }

    /// The batches that are given up for want of a receipt. Who is heard has them and is slow, or his receipt lies unread
    /// here: to send them again would make that worse. Notes are compared with him meanwhile, which tells what has not
    /// arrived; so he is waited for far longer, and so is who is silent where nobody else could take them.
    fn overdue(&self, now: Instant, limit: Duration) -> Vec<(SlotId, Vec<u64>)> {
        // Who is at work was asked in that time, and has answered.
        let silent = limit.max(ms(self.config.dispatch.sync_ms) * 3 / 2);
        let given_up = |(&slot, instance): (&SlotId, &Instance)| {
            let overdue = instance.slot.holding.overdue(now, limit);
            let elsewhere =
                || instance.lanes.iter().all(|&lane| self.registry.is_worked(lane, now, Some(slot)));
            let few = overdue.is_empty() || instance.credits.is_none();
            if few || instance.liveness.silence(now) >= silent && elsewhere() {
                return (slot, overdue);
            }
            (slot, instance.slot.holding.overdue(now, limit * PATIENCE))
        };
        self.registry.instances.iter().map(given_up).filter(|(_, overdue)| !overdue.is_empty()).collect()
    }

    /// Looks who has fallen silent.
    fn judge(&mut self) {
        let (now, bounds) = (clock::now(), self.registry.bounds);
        let at = clock::wall();
        let (mut changed, mut silent) = (Vec::new(), Vec::new());
        let lanes = &self.registry.lanes;
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
            let (health, evidence) = instance.judge(lanes, now, bounds);
            if health == Health::Suspect {
                silent.push((slot, matches!(evidence, Evidence::Silent(..))));
            }
            if health != instance.health {
                changed.push((slot, instance.turn(health, at), health, evidence));
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
                continue;
            }
            let kind = match (before, after) {
                (_, Health::Suspect) => "module-suspect",
                (_, Health::Degraded) => "module-degraded",
                (Health::Suspect | Health::Lost | Health::Degraded, Health::Healthy) => "module-healthy",
                _ => continue,
            };
            let about = About { vp: Some(&vp), instance: Some(&name), measurement: None };
            self.event(kind, about, evidence.to_string());
        }
        for (slot, silent) in silent {
            self.probe(slot, now);
            if silent {
                self.withdraw(slot, now);
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
            let (health, evidence) = instance.judge(&self.registry.lanes, now, bounds);
            if instance.turn(health, clock::wall()) != Health::Lost {
                self.lose(slot, evidence);
            }
        }
    }

    /// An instance counts as gone: what it held goes elsewhere.
    fn lose(&mut self, slot: SlotId, evidence: Evidence) {
        let now = clock::now();
        let Some(instance) = self.registry.instances.get(&slot) else {
            return;
        };
        let (vp, name) = (instance.vp.clone(), instance.id.clone());
        let cause = self.registry.cause(instance, evidence, now);
        let text = told(evidence, cause, instance.probed.is_some());
        let lanes = instance.lanes.clone();
        let returned = self.registry.part(slot);
        if !returned.is_empty() {
            self.fail_at_all(slot, now);
        }
        self.give_back(returned, Some(&name), Nothing::Lost("the instance was lost"));
        self.dirty.extend(lanes);
        let about = About { vp: Some(&vp), instance: Some(&name), measurement: None };
        self.event("module-lost", about, text);
    }

    /// An instance has fallen silent: what it has acknowledged waits for it no longer, where others can take it.
    fn withdraw(&mut self, slot: SlotId, now: Instant) {
        let Some(instance) = self.registry.instances.get(&slot).filter(|it| !it.withdrawn) else {
            return;
        };
        let (name, lanes) = (instance.id.clone(), instance.lanes.clone());
        let held = instance.slot.holding.len();
        let stuck: Vec<KindName> = lanes
            .iter()
            .filter(|&&lane| !self.registry.is_worked(lane, now, Some(slot)))
            .filter_map(|&lane| self.registry.lanes.get(lane).map(|lane| lane.kind.clone()))
            .collect();
        if held == 0 || stuck.len() == lanes.len() {
            // It is looked at again at the next tick: others may come.
            return;
        }
        // What nobody else can take stays where it is.
        let kept: HashSet<(MeasurementId, u64)> = self
            .running
            .iter()
            .filter(|(_, running)| stuck.contains(&running.meta.kind))
            .flat_map(|(&id, _)| instance.slot.holding.of(id).into_iter().map(move |index| (id, index)))
            .collect();
        let Some(instance) = self.registry.instances.get_mut(&slot) else {
            return;
        };
        instance.withdrawn = stuck.is_empty();
        let returned = instance.slot.holding.take_but(u64::MAX, &kept);
        if returned.is_empty() {
            return;
        }
        self.counters.withdrawn_total += returned.len() as u64;
        self.fail_at_all(slot, now);
        self.give_back(returned, Some(&name), Nothing::Doubted("the instance fell silent"));
    }

    /// Asks how many bytes LEDGER and RES take.
    pub(super) fn look_at_store(&mut self) {
        if self.infos.is_empty() {
            self.fills.ask();
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
