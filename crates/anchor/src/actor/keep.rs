//! Results are kept: one write at a time for each measurement, and whatever comes meanwhile goes as the next one. Those
//! of small measurements share messages. Once JetStream has acknowledged it the tasks close, and readers are told.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use mmn_schema::api::Cursor;
use mmn_schema::id::MeasurementId;
use mmn_schema::outcome::{Outcome, Reason, code};
use mmn_schema::subject::{Log, Subject};

use super::{Actor, Tag, Written};
use crate::clock;
use crate::command::Live;
use crate::measurement::{MAX_COLLECTED, Writing};
use crate::problems;
use crate::store::parcel::{Final, Parcel};
use crate::store::record::{Fresh, KeptBatch};
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
        let (mut parcels, mut bytes, mut records) = (Vec::new(), 0, 0);
        while let Some(parcel) = running.keep.waiting.front() {
            if !parcels.is_empty() && bytes + parcel.bytes > most {
                break;
            }
            let Some(parcel) = running.keep.waiting.pop_front() else { break };
            bytes += parcel.bytes;
            records += parcel.finals.len();
            parcels.push(parcel);
        }
        let notes = running.notes.drain(..running.notes.len().min(MAX_NOTES)).collect();
        let whole = running.is_whole(records);
        let accept = running.held.take_if(|_| whole).map(Box::new);
        if running.held.is_some() {
            self.group_accept(id);
        }
        let Some(running) = self.running.get_mut(&id) else {
            return;
        };
        let newest = self.results_last + 1;
        let accepts_from = self.brief.first().map_or(newest, |seq| seq.min(newest));
        self.told_from = self.told_from.max(accepts_from);
        let ledger = running.account.ledger();
        let batch = KeptBatch {
            accept,
            accepts_from,
            anchor: self.id.clone(),
            epoch: self.epoch,
            kind: running.meta.kind.clone(),
            before: ledger.accepted - ledger.pending,
            sections: Vec::new(),
            notes,
        };
        let written = match batch.with(&parcels, &running.inputs, running.width()) {
            Ok(written) => Bytes::from(written),
            Err(error) => {
                tracing::error!(%error, measurement = %id, "results can't be written");
                return;
            }
        };
        let KeptBatch { accept, before, .. } = batch;
        running.keep.writing = Some(Writing { parcels, accept, before, batch: written.clone(), bytes });
        if running.is_small() {
            self.group_results(id, written);
            return;
        }
        running.keep.next += 1;
        let write = Write {
            subject: Subject::Log(Log::Res, id).on(&self.shared.prefix),
            payload: written,
            id: format!("{id}-r-{}-{}", self.epoch.0, running.keep.next),
        };
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
                self.group_written(&tag);
                self.on_kept(tag, seq);
            }
            write::Outcome::Full => {
                self.found_none(&tag);
                self.on_full(tag, write);
            }
            write::Outcome::Never(why) => {
                self.group_written(&tag);
                self.on_never(tag, &write, &why);
            }
            write::Outcome::Closed => {}
        }
    }

    fn on_kept(&mut self, tag: Tag, seq: u64) {
        match tag {
            Tag::Accept(id, first) => self.on_accept_kept(id, first),
            Tag::Accepts(ids) => ids.into_iter().for_each(|id| self.on_accept_kept(id, 0)),
            Tag::Step { id, cancels, reply } => self.on_step_kept(id, cancels, reply),
            Tag::Kept(id) => self.on_results_kept(id, seq),
            Tag::Results(ids) => ids.into_iter().for_each(|id| self.on_results_kept(id, seq)),
            Tag::Roll => {}
            Tag::Dones(ids) => {
                for &id in &ids {
                    self.brief.remove(id);
                }
                self.ended.kept(seq, &ids);
            }
        }
    }

    /// There was no room. What nobody was told of is given up; the rest is tried again.
    fn on_full(&mut self, tag: Tag, write: Write) {
        match tag {
            Tag::Accept(id, first) => {
                if self.on_accept_full(id, first) {
                    self.push_write(Tag::Accept(id, first), write, true);
                }
            }
            Tag::Accepts(ids) => {
                self.group_written(&Tag::Accepts(Vec::new()));
                for id in ids {
                    self.on_accept_full(id, 0);
                }
            }
            Tag::Results(ids) => {
                let kept: Vec<_> = ids.into_iter().filter(|&id| self.on_results_full(id)).collect();
                let batch = |id: &MeasurementId| {
                    let writing = self.running.get(id)?.keep.writing.as_ref()?;
                    Some((*id, writing.batch.clone()))
                };
                let parts: Vec<_> = kept.iter().filter_map(batch).collect();
                if parts.is_empty() {
                    self.group_written(&Tag::Results(Vec::new()));
                } else {
                    let kept = parts.iter().map(|(id, _)| *id).collect();
                    self.push_group(Tag::Results(kept), Log::Res, &parts, true);
                }
            }
            again => self.push_write(again, write, true),
        }
    }

    fn on_never(&mut self, tag: Tag, write: &Write, why: &str) {
        let too_large = || problems::invalid().detail("it is too large to be kept");
        match tag {
            Tag::Kept(id) => self.on_too_large(id, why),
            Tag::Results(ids) => ids.into_iter().for_each(|id| self.on_too_large(id, why)),
            Tag::Accept(id, 0) => self.unaccept(id, &too_large()),
            Tag::Accepts(ids) => ids.into_iter().for_each(|id| self.unaccept(id, &too_large())),
            _ => tracing::error!(id = write.id, why, "a record can't be kept"),
        }
    }

    /// There was no room for results. Whether they are to be tried again: not when they are the acceptance too.
    fn on_results_full(&mut self, id: MeasurementId) -> bool {
        let running = self.running.get_mut(&id);
        let writing = running.and_then(|running| running.keep.writing.take_if(|it| it.accept.is_some()));
        let Some(writing) = writing else {
            return true;
        };
        self.unkept_bytes = self.unkept_bytes.saturating_sub(writing.bytes);
        self.is_kept(&writing);
        self.unaccept(id, &problems::storage_full("results"));
        false
    }

    /// The instances may forget what is kept.
    fn is_kept(&mut self, writing: &Writing) {
        for (slot, source) in writing.parcels.iter().filter_map(|parcel| parcel.source) {
            if let Some(instance) = self.registry.instances.get_mut(&slot) {
                instance.inbound.kept(source);
            }
        }
    }

    fn on_results_kept(&mut self, id: MeasurementId, seq: u64) {
        let at = clock::wall();
        let Some(running) = self.running.get_mut(&id) else {
            return;
        };
        let Some(mut writing) = running.keep.writing.take() else {
            return;
        };
        running.keep.last = seq;
        self.unkept_bytes = self.unkept_bytes.saturating_sub(writing.bytes);
        self.results_last = self.results_last.max(seq);
        self.is_kept(&writing);
        let accept = writing.accept.take();
        let accepted = accept.is_some() && seq >= self.told_from;
        if accepted {
            self.brief.insert(seq, id);
        } else if let (Some(accept), Some(running)) = (accept, self.running.get_mut(&id)) {
            // Its acknowledgement was long in coming: an anchor that takes over would not look so far back.
            running.held = Some(*accept);
            self.group_accept(id);
        }
        let Some(running) = self.running.get_mut(&id) else {
            return;
        };
        let mut closed = 0;
        for parcel in &writing.parcels {
            let performed = parcel.head.instance.is_some();
            let mut sums = running.history.at(at, parcel.head.vp.as_ref(), parcel.head.simulated);
            for Final { skim, .. } in &parcel.finals {
                let (outcome, answered) = (skim.outcome, skim.answered);
                if running.account.close(skim.index, outcome, skim.reason.as_deref(), answered) {
                    closed += 1;
                    *self.counters.tasks_ended_total.entry(outcome).or_default() += 1;
                    if !running.attempts.is_empty() {
                        running.attempts.remove(&skim.index);
                    }
                    let took = performed.then_some(skim.duration_ns);
                    sums.add(outcome, answered, took, skim.numbers(&parcel.payload));
                }
            }
        }
        running.history.bound();
        self.pending -= closed;
        if let Some(took) = at.since_ns(running.meta.accepted_at) {
            self.counters.result_latency.observe(Duration::from_nanos(took), closed);
        }
        if running.collected.is_some() || running.has_readers() {
            let mut records: Vec<_> =
                writing.parcels.iter().flat_map(|parcel| parcel.results(running)).collect();
            for (record, pos) in records.iter_mut().zip(0..) {
                record.cursor = Some(Cursor { seq, pos });
            }
            if let Some(collected) = &mut running.collected {
                collected.extend(records.iter().cloned());
                if collected.len() as u64 > MAX_COLLECTED {
                    running.collected = None;
                }
            }
            running.tell(|| Live::Kept(Arc::new(Fresh { seq, before: writing.before, records })));
        }
        if let Some(credits) = &running.credits {
            let granted = running.granted(self.config.limits.open_inputs);
            let step = self.config.limits.open_inputs / 8;
            let told = *credits.borrow();
            if granted >= told + step || running.account.is_closed() && granted > told {
                credits.send_replace(granted);
            }
        }
        if accepted {
            self.on_accept_kept(id, 0);
        }
        self.flush(id);
        self.finish_if_over(id);
    }

    /// A message is larger than the server takes: it goes in halves, and a single record goes without its body.
    fn on_too_large(&mut self, id: MeasurementId, why: &str) {
        let Some(running) = self.running.get_mut(&id) else {
            return;
        };
        let Some(writing) = running.keep.writing.take() else {
            return;
        };
        let bytes = writing.bytes;
        tracing::warn!(why, measurement = %id, bytes, "a message of results is too large and is divided");
        let count: usize = writing.parcels.iter().map(|parcel| parcel.finals.len()).sum();
        let most = message_bytes(self.config.results.max_bytes);
        let mut parts: Vec<Parcel> = Vec::new();
        for parcel in &writing.parcels {
            // Each goes alone: together they were too large.
            let alone = Parcel { bytes: most, source: None, finals: Vec::new(), ..parcel.clone() };
            if count == 1 {
                let without = parcel.with_records(|record| {
                    record.body = mmn_schema::body::Body::null();
                    record.summary.clear();
                    record.outcome = Outcome::Failed;
                    record.reason = Some(Reason::with(code::INTERNAL, "its result is larger than a message"));
                });
                match without {
                    Ok((payload, finals)) => parts.push(Parcel { payload, finals, ..alone }),
                    Err(error) => tracing::error!(%error, "a record that was skimmed can't be read"),
                }
                continue;
            }
            let half = parcel.finals.len().div_ceil(2).max(1);
            let halves = parcel.finals.chunks(half);
            parts.extend(halves.map(|finals| Parcel { finals: finals.to_vec(), ..alone.clone() }));
        }
        let extra = parts.len().saturating_mul(most).saturating_sub(bytes);
        self.unkept_bytes += extra;
        for part in parts.into_iter().rev() {
            running.keep.waiting.push_front(part);
        }
        running.held = writing.accept.as_deref().cloned().or(running.held.take());
        // Their instance may forget these records now. Should the anchor die before they are kept, the tasks run
        // again: the price of a message that nobody should send.
        self.is_kept(&writing);
        self.flush(id);
    }
}

/// About how many bytes of records go into one message, of a stream that holds `max_bytes`: a small part of it, so that
/// there is room for a message as soon as a few others have expired.
pub(super) fn message_bytes(max_bytes: u64) -> usize {
    usize::try_from((max_bytes / 16).clamp(1024, MAX_BYTES)).unwrap_or(usize::MAX)
}
