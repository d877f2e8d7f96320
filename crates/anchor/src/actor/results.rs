//! Results come in: each final record is offered to its task, and the first one is on its way to be kept.

use std::sync::Arc;

use mmn_schema::dispatch::ResultBatch;
use mmn_schema::id::{KindName, MeasurementId, VpId};
use mmn_schema::time::Timestamp;

use super::Actor;
use super::keep::message_bytes;
use super::retry::broken;
use crate::clock;
use crate::command::Live;
use crate::dispatch::lane::SlotId;
use crate::ledger::account::Offer;
use crate::measurement::{Dispatches, Parcel, weight};
use crate::store::record::{Dispatched, Entry, Note, Section, result_of};

impl Actor {
    #[expect(clippy::too_many_lines, reason = "one pass over the records of a message")]
    pub(super) fn on_results(&mut self, vp: &VpId, kind: &KindName, id: MeasurementId, batch: ResultBatch) {
        let (now, at) = (clock::now(), clock::wall());
        let slot = self.registry.find(vp, &batch.instance);
        let mut source = None;
        if let Some(slot) = slot
            && let Some(instance) = self.registry.instances.get_mut(&slot)
            && instance.boot == batch.boot
        {
            instance.hear(now, at);
            self.dirty.extend(instance.lanes.iter().copied());
            // One without credits is never asked to send anything again, and need not count its messages.
            if batch.anchor == self.id && instance.credits.is_some() {
                if !instance.inbound.receive(batch.seq) {
                    return;
                }
                source = Some((slot, batch.seq));
                if instance.inbound.has_gap() {
                    self.sync_soon(slot, now);
                }
            }
        }
        let right = self.running.get(&id).is_none_or(|running| running.meta.kind == *kind);
        if !right {
            self.drop_garbage("res", kind.as_str(), &"the measurement is of another kind");
            return;
        }
        let point = self.registry.vps.get(vp).map(|vp| (vp.point.name.clone(), vp.point.simulated));
        let (name, simulated) = point.unzip();
        let mut section = Section {
            vp: Some(vp.clone()),
            vp_name: name,
            simulated: simulated.unwrap_or_default(),
            instance: Some(batch.instance.clone()),
            received_at: at,
            dispatches: Vec::new(),
            entries: Vec::new(),
        };
        let most = message_bytes(self.config.results.max_bytes) / 4 * 3;
        let (mut dispatches, mut bytes, mut parts, mut parcels) = (Dispatches::default(), 0, Vec::new(), 0);
        for record in batch.records {
            let index = record.index;
            let sent = record.last.then(|| self.end_out(slot, vp, kind, id, index, at)).flatten();
            if let Some(reason) = broken(record.outcome, record.reason.as_ref()).filter(|_| record.last)
                && self.may_retry(id, (index, record.attempt), reason, vp, &batch.instance, sent)
            {
                continue;
            }
            let Some(running) = self.running.get_mut(&id) else {
                self.counters.superseded_total += u64::from(record.last);
                continue;
            };
            let (_, line) = running.place(index);
            let assigned = running.meta.assignments.get(line);
            let theirs = assigned.is_some_and(|assigned| assigned.vps.contains(vp));
            if !theirs || index >= running.account.len() {
                self.drop_garbage("res", vp.as_str(), &"a record of a task that is not this vantage point's");
                self.blame(vp, Some(kind), Some(&batch.instance), 1);
                continue;
            }
            if !record.last {
                if running.has_readers() {
                    let entry = Entry { input: running.input_of(index), dispatch: None, record };
                    parts.push(result_of(id, kind, &section, &entry));
                }
                continue;
            }
            match running.account.offer(index) {
                Offer::First => {
                    let dispatch = sent.map(|(seq, sent)| dispatches.position(seq, sent));
                    let entry = Entry { input: running.input_of(index), dispatch, record };
                    bytes += weight(&entry);
                    section.entries.push(entry);
                }
                Offer::Superseded => {
                    self.counters.superseded_total += 1;
                    running.note(Note {
                        index,
                        attempt: record.attempt,
                        vp: vp.clone(),
                        instance: Some(batch.instance.clone()),
                        dispatched: sent.map(|(_, sent)| sent),
                        at,
                        detail: format!("superseded: the task had ended when {} came", record.outcome),
                    });
                }
                Offer::Unknown => {}
            }
            if bytes >= most {
                let full = Section { entries: std::mem::take(&mut section.entries), ..section.clone() };
                parcels += self.parcel(id, full, &mut dispatches, bytes, source);
                bytes = 0;
            }
        }
        parcels += self.parcel(id, section, &mut dispatches, bytes, source);
        if let Some((slot, seq)) = source
            && let Some(instance) = self.registry.instances.get_mut(&slot)
        {
            instance.inbound.writes(seq, parcels);
        }
        if !parts.is_empty()
            && let Some(running) = self.running.get_mut(&id)
        {
            running.tell(|| Live::Parts(Arc::new(parts)));
        }
        self.flush(id);
    }

    /// Puts records on their way to be kept. How many parcels they made.
    fn parcel(
        &mut self,
        id: MeasurementId,
        mut section: Section,
        dispatches: &mut Dispatches,
        bytes: usize,
        source: Option<(SlotId, u64)>,
    ) -> u32 {
        let Some(running) = self.running.get_mut(&id).filter(|_| !section.entries.is_empty()) else {
            return 0;
        };
        section.dispatches = std::mem::take(dispatches).all;
        self.unkept_bytes += bytes;
        running.keep.waiting.push_back(Parcel { section, bytes, source });
        1
    }

    /// A task is no longer out. Gives when it went out, and in which batch.
    fn end_out(
        &mut self,
        slot: Option<SlotId>,
        vp: &VpId,
        kind: &KindName,
        id: MeasurementId,
        index: u64,
        at: Timestamp,
    ) -> Option<(u64, Dispatched)> {
        let instance = slot.and_then(|slot| self.registry.instances.get_mut(&slot))?;
        if let Some(ended) = instance.slot.holding.end(id, index, at) {
            return Some(ended);
        }
        if instance.credits.is_some() {
            return None;
        }
        let lane = self.registry.lanes.find(vp, kind)?;
        self.registry.pools.get_mut(&lane)?.slot.holding.end(id, index, at)
    }
}
