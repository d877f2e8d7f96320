//! Results come in: each final record is offered to its task, and the first one is on its way to be kept.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use mmn_schema::id::{KindName, MeasurementId, VpId};
use mmn_schema::skim::{Skim, Skimmed};
use mmn_schema::time::Timestamp;

use super::Actor;
use super::group::Groups;
use super::keep::message_bytes;
use super::retry::broken;
use crate::clock;
use crate::command::Live;
use crate::dispatch::lane::SlotId;
use crate::ledger::account::Offer;
use crate::measurement::{Dispatches, Running};
use crate::registry::Registry;
use crate::registry::instance::Instance;
use crate::store::parcel::{Final, Parcel};
use crate::store::record::{Dispatched, Entry, Note, Section, result_of};

impl Actor {
    pub(super) fn on_results(&mut self, vp: &VpId, kind: &KindName, id: MeasurementId, mut batch: Skimmed) {
        let (now, at) = (clock::now(), clock::wall());
        let slot = self.registry.find(vp, &batch.instance);
        let source = match self.hear_results(slot, &batch, now, at) {
            Heard::Before => return,
            Heard::Counted(slot, seq) => Some((slot, seq)),
            Heard::Uncounted => None,
        };
        let broke = self.retry_broken(vp, kind, id, slot, &mut batch);
        let Some(running) = self.running.get_mut(&id) else {
            // Where a task is held is where it ends, even so.
            for record in batch.records.iter().filter(|record| record.last) {
                self.counters.superseded_total += 1;
                end_out(&mut self.registry, slot, vp, kind, id, record.index, at);
            }
            return;
        };
        if running.meta.kind != *kind {
            self.drop_garbage("res", kind.as_str(), &"the measurement is of another kind");
            return;
        }
        let point = self.registry.vps.get(vp).map(|vp| (vp.point.name.clone(), vp.point.simulated));
        let (name, simulated) = point.unzip();
        let mut incoming = Incoming {
            parcel: Parcel {
                head: Section {
                    vp: Some(vp.clone()),
                    vp_name: name,
                    simulated: simulated.unwrap_or_default(),
                    instance: Some(batch.instance.clone()),
                    received_at: at,
                    dispatches: Vec::new(),
                    entries: Vec::new(),
                },
                payload: batch.payload.clone(),
                finals: Vec::with_capacity(batch.records.len()),
                bytes: 0,
                source,
            },
            dispatches: Dispatches::default(),
            parcels: 0,
            bytes: 0,
        };
        let most = message_bytes(self.config.results.max_bytes) / 4 * 3;
        let (mut parts, mut strangers, mut unasked) = (Vec::new(), 0_u64, 0_u64);
        // Where the record before this one belonged to: most come from one assignment.
        let mut theirs = None;
        for skim in batch.records {
            let index = skim.index;
            let out = || end_out(&mut self.registry, slot, vp, kind, id, index, at);
            let sent = skim.last.then(out).flatten().or_else(|| broke.get(&index).copied());
            unasked += u64::from(skim.last && sent.is_none());
            let (input, line) = running.place(index);
            if theirs.is_none_or(|(known, _)| known != line) {
                let assigned = running.meta.assignments.get(line);
                theirs = Some((line, assigned.is_some_and(|assigned| assigned.vps.contains(vp))));
            }
            if !theirs.is_some_and(|(_, theirs)| theirs) || index >= running.account.len() {
                strangers += 1;
                continue;
            }
            if !skim.last {
                parts.extend(part(running, &incoming.parcel, &skim));
                continue;
            }
            match running.account.offer(index) {
                Offer::First => {
                    let dispatch = sent.map(|(seq, sent)| incoming.dispatches.position(seq, sent));
                    let record = Final { skim, dispatch };
                    incoming.parcel.bytes += record.weight(&running.inputs, input);
                    incoming.parcel.finals.push(record);
                }
                Offer::Superseded => {
                    self.counters.superseded_total += 1;
                    running.note(Note {
                        index,
                        attempt: skim.attempt,
                        vp: vp.clone(),
                        instance: Some(batch.instance.clone()),
                        dispatched: sent.map(|(_, sent)| sent),
                        at,
                        detail: format!("superseded: the task had ended when {} came", skim.outcome),
                    });
                }
                Offer::Unknown => {}
            }
            if incoming.parcel.bytes >= most {
                incoming.full(running);
            }
        }
        incoming.full(running);
        self.unkept_bytes += incoming.bytes;
        tell_parts(running, &mut self.groups, parts);
        let instance = slot.and_then(|slot| self.registry.instances.get_mut(&slot));
        if let (Some(instance), Some((_, seq))) = (instance, source) {
            instance.inbound.writes(seq, incoming.parcels);
            // What former terms asked for is not in anybody's hands any more.
            if batch.epoch == self.epoch {
                instance.unasked.add(now, unasked);
            }
        }
        self.drop_strangers(vp, kind, &batch.instance, strangers);
        self.flush(id);
    }
}

impl Actor {
    /// Takes out the records that say that the module broke, of tasks that get another attempt. Gives when the others of
    /// them went out.
    fn retry_broken(
        &mut self,
        vp: &VpId,
        kind: &KindName,
        id: MeasurementId,
        slot: Option<SlotId>,
        batch: &mut Skimmed,
    ) -> HashMap<u64, (u64, Dispatched)> {
        let mut last = HashMap::new();
        let broke = |skim: &Skim| skim.last && broken(skim.outcome, skim.reason.as_deref()).is_some();
        if !batch.records.iter().any(broke) || !self.running.contains_key(&id) {
            return last;
        }
        let (at, instance) = (clock::wall(), batch.instance.clone());
        batch.records.retain(|skim| {
            let reason = broken(skim.outcome, skim.reason.as_deref()).filter(|_| skim.last);
            let Some(reason) = reason else { return true };
            let sent = end_out(&mut self.registry, slot, vp, kind, id, skim.index, at);
            let again = self.may_retry(id, (skim.index, skim.attempt), reason, vp, &instance, sent);
            if let Some(sent) = sent.filter(|_| !again) {
                last.insert(skim.index, sent);
            }
            !again
        });
        last
    }

    /// Notes that a message has come.
    fn hear_results(&mut self, slot: Option<SlotId>, batch: &Skimmed, now: Instant, at: Timestamp) -> Heard {
        let known = slot.and_then(|slot| Some((slot, self.registry.instances.get_mut(&slot)?)));
        let Some((slot, instance)) = known.filter(|(_, instance)| instance.boot == batch.boot) else {
            return Heard::Uncounted;
        };
        instance.hear(now, at);
        self.dirty.extend(instance.lanes.iter().copied());
        // One without credits is never asked to send anything again, and need not count its messages.
        if batch.anchor != self.id || instance.credits.is_none() {
            return Heard::Uncounted;
        }
        if !instance.inbound.receive(batch.seq) {
            return Heard::Before;
        }
        if instance.inbound.has_gap() {
            self.sync_soon(slot, now);
        }
        Heard::Counted(slot, batch.seq)
    }
}

/// How a message counts.
enum Heard {
    /// It has come before.
    Before,
    /// The instance is told once its records are kept.
    Counted(SlotId, u64),
    /// The instance is told nothing.
    Uncounted,
}

/// The records of one message, on their way into parcels.
struct Incoming {
    parcel: Parcel,
    dispatches: Dispatches,
    parcels: u32,
    bytes: usize,
}

impl Incoming {
    /// A parcel is large enough, or the last one.
    fn full(&mut self, running: &mut Running) {
        if self.parcel.finals.is_empty() {
            return;
        }
        let finals = std::mem::take(&mut self.parcel.finals);
        let mut parcel = Parcel { finals, ..self.parcel.clone() };
        parcel.head.dispatches = std::mem::take(&mut self.dispatches).all;
        self.bytes += parcel.bytes;
        self.parcels += 1;
        self.parcel.bytes = 0;
        running.keep.waiting.push_back(parcel);
    }
}

fn tell_parts(running: &mut Running, groups: &mut Groups, parts: Vec<mmn_schema::api::ResultRecord>) {
    if !parts.is_empty() {
        // Who follows parts as they come is told of the acceptance first.
        if running.held.is_some() {
            groups.accept(running.meta.id);
        }
        running.follow_after_all();
        running.tell(|| Live::Parts(Arc::new(parts)));
    }
}

/// A part of a task's result, for those who follow.
fn part(running: &Running, parcel: &Parcel, skim: &Skim) -> Option<mmn_schema::api::ResultRecord> {
    if !running.has_readers() {
        return None;
    }
    // It was skimmed, hence it can be read.
    let record = skim.decode(&parcel.payload).ok()?;
    let entry = Entry { input: running.input_of(skim.index), dispatch: None, record };
    Some(result_of(running.meta.id, &running.meta.kind, &parcel.head, &entry))
}

/// A task is no longer out. Gives when it went out, and in which batch.
fn end_out(
    registry: &mut Registry,
    slot: Option<SlotId>,
    vp: &VpId,
    kind: &KindName,
    id: MeasurementId,
    index: u64,
    at: Timestamp,
) -> Option<(u64, Dispatched)> {
    let instance: &mut Instance = slot.and_then(|slot| registry.instances.get_mut(&slot))?;
    if let Some(ended) = instance.slot.holding.end(id, index, at) {
        return Some(ended);
    }
    if instance.credits.is_some() {
        return None;
    }
    let lane = registry.lanes.find(vp, kind)?;
    registry.pools.get_mut(&lane)?.slot.holding.end(id, index, at)
}
