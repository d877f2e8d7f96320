//! Results are kept: one write at a time for each measurement, and whatever comes meanwhile goes as the next one.
//! Once JetStream has acknowledged it the tasks close, and readers are told.

use std::sync::Arc;

use mmn_schema::encoding::Encoding;
use mmn_schema::id::MeasurementId;
use mmn_schema::outcome::{Outcome, Reason, code};
use mmn_schema::subject::{Log, Subject};

use super::{Actor, Tag, Written};
use crate::clock;
use crate::command::Live;
use crate::measurement::{MAX_COLLECTED, Parcel, Writing};
use crate::problems;
use crate::store::record::{Kept, KeptBatch, Section};
use crate::store::write::{self, Write};

/// About how many bytes of records go into one message.
const MAX_BYTES: u64 = 256 * 1024;
/// How many attempts that came to nothing are told in one message.
const MAX_NOTES: usize = 1000;

impl Actor {
    /// Writes what waits, unless a write is under way.
    pub(super) fn flush(&mut self, id: MeasurementId) {
        let Some(running) = self.running.get_mut(&id) else {
            return;
        };
        if running.keep.writing.is_some() || running.keep.waiting.is_empty() {
            return;
        }
        let most = message_bytes(self.config.results.max_bytes);
        let (mut sections, mut sources, mut bytes) = (Vec::new(), Vec::new(), 0);
        while let Some(parcel) = running.keep.waiting.front() {
            if !sections.is_empty() && bytes + parcel.bytes > most {
                break;
            }
            let Some(parcel) = running.keep.waiting.pop_front() else { break };
            bytes += parcel.bytes;
            sources.extend(parcel.source);
            sections.push(parcel.section);
        }
        let notes = running.notes.drain(..running.notes.len().min(MAX_NOTES)).collect();
        let records = sections.iter().map(|section: &Section| section.entries.len()).sum();
        let whole = running.is_whole(records);
        let held = running.held.take_if(|_| whole).map(|(_, accept)| Box::new(accept));
        if !whole {
            self.write_held(id);
        }
        let Some(running) = self.running.get_mut(&id) else {
            return;
        };
        let newest = self.results_last + 1;
        let accepts_from = self.brief.first_key_value().map_or(newest, |(&seq, _)| seq.min(newest));
        self.told_from = self.told_from.max(accepts_from);
        let ledger = running.account.ledger();
        let batch = KeptBatch {
            accept: held,
            accepts_from,
            anchor: self.id.clone(),
            epoch: self.epoch,
            kind: running.meta.kind.clone(),
            before: ledger.accepted - ledger.pending,
            sections,
            notes,
        };
        let payload = match Encoding::Cbor.encode(&batch) {
            Ok(payload) => payload.into(),
            Err(error) => {
                tracing::error!(%error, measurement = %id, "results can't be written");
                return;
            }
        };
        running.keep.next += 1;
        let write = Write {
            subject: Subject::Log(Log::Res, id).on(&self.shared.prefix),
            payload,
            id: format!("{id}-r-{}-{}", self.epoch.0, running.keep.next),
        };
        running.keep.writing = Some(Writing { batch, sources, bytes });
        self.push_write(Tag::Kept(id), write, false);
    }

    /// A write came to an end.
    pub(super) fn on_written(&mut self, written: Written) {
        let Written { tag, write, outcome, .. } = written;
        match outcome {
            write::Outcome::Kept(seq) => {
                self.counters.kept_messages_total += 1;
                self.counters.kept_bytes_total += write.payload.len() as u64;
                self.found_room(&tag, write.payload.len());
                match tag {
                    Tag::Accept(id, first) => self.on_accept_kept(id, first),
                    Tag::Step(id, reply) => self.on_step_kept(id, reply),
                    Tag::Kept(id) => self.on_results_kept(id, seq),
                    Tag::Roll => {}
                    Tag::Done(id) => {
                        self.brief.retain(|_, brief| *brief != id);
                        self.ended.kept(seq, id);
                    }
                }
            }
            write::Outcome::Full => {
                self.found_none(&tag);
                let again = match tag {
                    Tag::Accept(id, first) => self.on_accept_full(id, first),
                    Tag::Kept(id) => self.on_results_full(id),
                    _ => true,
                };
                if again {
                    self.push_write(tag, write, true);
                }
            }
            write::Outcome::Never(why) => match tag {
                Tag::Kept(id) => self.on_too_large(id, &why),
                Tag::Accept(id, 0) => {
                    self.unaccept(id, &problems::invalid().detail("it is too large to be kept"));
                }
                _ => tracing::error!(id = write.id, why, "a record can't be kept"),
            },
            write::Outcome::Closed => {}
        }
    }

    /// There was no room for results. Whether they are to be tried again: not when they are the acceptance too.
    fn on_results_full(&mut self, id: MeasurementId) -> bool {
        let running = self.running.get_mut(&id);
        let writing =
            running.and_then(|running| running.keep.writing.take_if(|it| it.batch.accept.is_some()));
        let Some(Writing { sources, bytes, .. }) = writing else {
            return true;
        };
        self.unkept_bytes = self.unkept_bytes.saturating_sub(bytes);
        for (slot, source) in sources {
            if let Some(instance) = self.registry.instances.get_mut(&slot) {
                instance.inbound.kept(source);
            }
        }
        self.unaccept(id, &problems::storage_full("results"));
        false
    }

    fn on_results_kept(&mut self, id: MeasurementId, seq: u64) {
        let at = clock::wall();
        if self.running.get(&id).is_some_and(|running| running.rollups.is_over(at)) {
            self.write_rollups(id);
        }
        let Some(running) = self.running.get_mut(&id) else {
            return;
        };
        let Some(Writing { batch, sources, bytes }) = running.keep.writing.take() else {
            return;
        };
        running.keep.last = seq;
        self.unkept_bytes = self.unkept_bytes.saturating_sub(bytes);
        self.results_last = self.results_last.max(seq);
        if let Some(accept) = &batch.accept {
            if seq >= self.told_from {
                self.brief.insert(seq, id);
                self.on_accept_kept(id, 0);
            } else {
                // Its acknowledgement was long in coming: an anchor that takes over would not look so far back.
                self.write(Tag::Accept(id, 0), &Subject::Log(Log::Accept, id), format!("{id}-a"), accept);
            }
        }
        let Some(running) = self.running.get_mut(&id) else {
            return;
        };
        for section in &batch.sections {
            for entry in &section.entries {
                let record = &entry.record;
                let (outcome, reason) = (record.outcome, record.reason.as_ref());
                if running.account.close(record.index, outcome, reason, record.answered) {
                    self.pending -= 1;
                    *self.counters.tasks_ended_total.entry(outcome).or_default() += 1;
                    running.attempts.remove(&record.index);
                    running.rollups.add(at, section.vp.as_ref(), record);
                }
            }
        }
        for (slot, source) in sources {
            if let Some(instance) = self.registry.instances.get_mut(&slot) {
                instance.inbound.kept(source);
            }
        }
        let kept = Kept { measurement: id, seq, batch };
        if let Some(collected) = &mut running.collected {
            collected.extend(kept.results());
            if collected.len() as u64 > MAX_COLLECTED {
                running.collected = None;
            }
        }
        if running.has_readers() {
            running.tell(|| Live::Kept(Arc::new(kept)));
        }
        if let Some(credits) = &running.credits {
            let granted = running.granted(self.config.limits.open_inputs);
            let step = self.config.limits.open_inputs / 8;
            let told = *credits.borrow();
            if granted >= told + step || running.account.is_closed() && granted > told {
                credits.send_replace(granted);
            }
        }
        self.flush(id);
        self.finish_if_over(id);
    }

    /// A message is larger than the server takes: it goes in halves, and a single record goes without its body.
    fn on_too_large(&mut self, id: MeasurementId, why: &str) {
        let Some(running) = self.running.get_mut(&id) else {
            return;
        };
        let Some(Writing { mut batch, sources, bytes }) = running.keep.writing.take() else {
            return;
        };
        if let Some(accept) = batch.accept.take() {
            running.held = Some((format!("{id}-a"), *accept));
        }
        tracing::warn!(why, measurement = %id, bytes, "a message of results is too large and is divided");
        let count: usize = batch.sections.iter().map(|section| section.entries.len()).sum();
        let mut parcels: Vec<Parcel> = Vec::new();
        let most = message_bytes(self.config.results.max_bytes);
        for mut section in batch.sections {
            if count == 1 {
                for entry in &mut section.entries {
                    let record = &mut entry.record;
                    record.body = mmn_schema::body::Body::null();
                    record.summary.clear();
                    record.outcome = Outcome::Failed;
                    record.reason = Some(Reason::with(code::INTERNAL, "its result is larger than a message"));
                }
            }
            let half = section.entries.len().div_ceil(2).max(1);
            let mut rest = section.entries.split_off(half.min(section.entries.len()));
            for entries in [std::mem::take(&mut section.entries), std::mem::take(&mut rest)] {
                if !entries.is_empty() {
                    let section = crate::store::record::Section { entries, ..section.clone() };
                    // Each goes alone: together they were too large.
                    parcels.push(Parcel { section, bytes: most, source: None });
                }
            }
        }
        let extra = parcels.len().saturating_mul(most).saturating_sub(bytes);
        self.unkept_bytes += extra;
        // Their instance may forget these records now. Should the anchor die before they are kept, the tasks run
        // again: the price of a message that nobody should send.
        for (slot, source) in sources {
            if let Some(instance) = self.registry.instances.get_mut(&slot) {
                instance.inbound.kept(source);
            }
        }
        for parcel in parcels.into_iter().rev() {
            running.keep.waiting.push_front(parcel);
        }
        self.flush(id);
    }
}

/// About how many bytes of records go into one message, of a stream that holds `max_bytes`: a small part of it, so that
/// there is room for a message as soon as a few others have expired.
pub(super) fn message_bytes(max_bytes: u64) -> usize {
    usize::try_from((max_bytes / 16).clamp(1024, MAX_BYTES)).unwrap_or(usize::MAX)
}
