//! Final records on their way into the stream, as they came: their bytes are copied, and not built.
//!
//! What [`Parcel`]s become is what serde would write of a [`KeptBatch`]: whoever reads it needs to know nothing of this.

use std::ops::Range;

use bytes::Bytes;
use mmn_schema::api::ResultRecord;
use mmn_schema::cbor::{put_array, put_map, put_null, put_text, put_unsigned};
use mmn_schema::dispatch::Record;
use mmn_schema::encoding::{DecodeError, EncodeError, Encoding};
use mmn_schema::skim::Skim;

use super::record::{Accept, Done, Entry, KeptBatch, Meta, Section, Step, result};
use crate::dispatch::lane::SlotId;
use crate::ledger::inputs::Inputs;
use crate::measurement::Running;

/// Records that came together, of a size that fits a message.
#[derive(Debug, Clone)]
pub(crate) struct Parcel {
    /// What they have in common. It has no entries.
    pub(crate) head: Section,
    /// Where the records stand.
    pub(crate) payload: Bytes,
    pub(crate) finals: Vec<Final>,
    /// About how many bytes they take in a message.
    pub(crate) bytes: usize,
    /// The result message that they came with.
    pub(crate) source: Option<(SlotId, u64)>,
}

/// One final record.
#[derive(Debug, Clone)]
pub(crate) struct Final {
    pub(crate) skim: Skim,
    /// Which of the section's dispatches led to it.
    pub(crate) dispatch: Option<u32>,
}

/// The most bytes of what is fixed about a measurement that are remembered as they are written.
const MAX_REMEMBERED: usize = 2048;
/// What a record's place takes beside the record and its input.
const ENTRY_BYTES: usize = 40;

impl Final {
    /// About how many bytes it takes in a message.
    pub(crate) fn weight(&self, inputs: &Inputs, position: u64) -> usize {
        let Range { start, end } = self.skim.record;
        (end - start) as usize + inputs.size(position) + ENTRY_BYTES
    }
}

impl Parcel {
    /// Records that the anchor makes itself.
    pub(crate) fn made(mut section: Section) -> Self {
        let (mut payload, mut finals) = (Vec::new(), Vec::new());
        let mut bytes = 0;
        for Entry { input, dispatch, record } in std::mem::take(&mut section.entries) {
            let before = payload.len();
            match Skim::write(&record, &mut payload) {
                Ok(skim) => finals.push(Final { skim, dispatch }),
                Err(error) => tracing::error!(%error, "a record can't be written"),
            }
            bytes += payload.len() - before + crate::measurement::size(&input) + ENTRY_BYTES;
        }
        Self { head: section, payload: payload.into(), finals, bytes, source: None }
    }

    /// The records themselves, in a payload of their own.
    pub(crate) fn with_records(
        &self,
        mut change: impl FnMut(&mut Record),
    ) -> Result<(Bytes, Vec<Final>), DecodeError> {
        let (mut payload, mut finals) = (Vec::new(), Vec::new());
        for Final { skim, dispatch } in &self.finals {
            let mut record = skim.decode(&self.payload)?;
            change(&mut record);
            finals.push(Final { skim: Skim::write(&record, &mut payload)?, dispatch: *dispatch });
        }
        Ok((payload.into(), finals))
    }
}

impl KeptBatch {
    /// Writes this batch, which has no sections, with those of `parcels`.
    pub(crate) fn with(
        &self,
        parcels: &[Parcel],
        inputs: &Inputs,
        width: u64,
    ) -> Result<Vec<u8>, EncodeError> {
        let bytes: usize = parcels.iter().map(|parcel| parcel.bytes).sum();
        let mut to = Vec::with_capacity(bytes + 512);
        let optional = usize::from(self.accept.is_some()) + usize::from(!self.notes.is_empty());
        put_map(&mut to, 6 + optional);
        put_text(&mut to, "anchor");
        put_text(&mut to, self.anchor.as_str());
        put_text(&mut to, "epoch");
        put_unsigned(&mut to, self.epoch.0);
        put_text(&mut to, "kind");
        put_text(&mut to, self.kind.as_str());
        put_text(&mut to, "before");
        put_unsigned(&mut to, self.before);
        if let Some(accept) = &self.accept {
            put_text(&mut to, "accept");
            accept.put(&mut to)?;
        }
        put_text(&mut to, "accepts_from");
        put_unsigned(&mut to, self.accepts_from);
        put_text(&mut to, "sections");
        put_array(&mut to, parcels.len());
        for parcel in parcels {
            parcel.put(&mut to, inputs, width)?;
        }
        if !self.notes.is_empty() {
            put_text(&mut to, "notes");
            put(&mut to, &self.notes)?;
        }
        Ok(to)
    }
}

impl Meta {
    /// As it is written. It is remembered unless it is large.
    fn cbor(&self) -> Result<Bytes, EncodeError> {
        if let Some(written) = self.written.get() {
            return Ok(written.clone());
        }
        let written = Bytes::from(Encoding::Cbor.encode(self)?);
        if written.len() <= MAX_REMEMBERED {
            self.written.get_or_init(|| written.clone());
        }
        Ok(written)
    }
}

impl Accept {
    /// Writes it.
    pub(crate) fn put(&self, to: &mut Vec<u8>) -> Result<(), EncodeError> {
        let Step::Inputs(chunk) = &self.step else {
            return put(to, self);
        };
        put_map(to, 4);
        put_text(to, "anchor");
        put_text(to, self.anchor.as_str());
        put_text(to, "epoch");
        put_unsigned(to, self.epoch.0);
        put_text(to, "at");
        put(to, &self.at.unix_ns())?;
        put_text(to, "step");
        put_map(to, 1);
        put_text(to, "Inputs");
        put_map(to, 5);
        put_text(to, "meta");
        match &chunk.meta {
            Some(meta) => to.extend_from_slice(&meta.cbor()?),
            None => put_null(to),
        }
        put_text(to, "group");
        put_unsigned(to, chunk.group);
        put_text(to, "total");
        put_unsigned(to, chunk.total);
        put_text(to, "first");
        put_unsigned(to, chunk.first);
        put_text(to, "inputs");
        put(to, &chunk.inputs)
    }
}

impl Done {
    /// Writes it.
    pub(crate) fn put(&self, to: &mut Vec<u8>) -> Result<(), EncodeError> {
        put_map(to, 5 + usize::from(self.given.is_some()));
        put_text(to, "meta");
        to.extend_from_slice(&self.meta.cbor()?);
        if let Some(given) = &self.given {
            put_text(to, "given");
            put(to, given)?;
        }
        put_text(to, "ledger");
        put(to, &self.ledger)?;
        put_text(to, "cancelled");
        put(to, &self.cancelled)?;
        put_text(to, "done_at");
        put(to, &self.done_at.unix_ns())?;
        put_text(to, "history");
        put(to, &self.history)
    }
}

impl Parcel {
    /// Its records as clients see them, without cursors.
    pub(crate) fn results<'a>(
        &'a self,
        running: &'a Running,
    ) -> impl Iterator<Item = ResultRecord> + use<'a> {
        let meta = &running.meta;
        self.finals.iter().filter_map(move |Final { skim, .. }| {
            // It was skimmed, hence it can be read.
            let record = skim.decode(&self.payload).ok()?;
            Some(result(meta.id, &meta.kind, &self.head, running.input_of(skim.index), record))
        })
    }

    fn put(&self, to: &mut Vec<u8>, inputs: &Inputs, width: u64) -> Result<(), EncodeError> {
        let head = &self.head;
        put_map(to, 6 + usize::from(head.simulated));
        put_text(to, "vp");
        put_text_if(to, head.vp.as_ref().map(mmn_schema::id::VpId::as_str));
        put_text(to, "vp_name");
        put_text_if(to, head.vp_name.as_deref());
        if head.simulated {
            put_text(to, "simulated");
            put(to, &true)?;
        }
        put_text(to, "instance");
        put_text_if(to, head.instance.as_ref().map(mmn_schema::id::InstanceId::as_str));
        put_text(to, "received_at");
        put(to, &head.received_at.unix_ns())?;
        put_text(to, "dispatches");
        put(to, &head.dispatches)?;
        put_text(to, "entries");
        put_array(to, self.finals.len());
        for Final { skim, dispatch } in &self.finals {
            put_map(to, 3);
            put_text(to, "input");
            inputs.put(skim.index / width.max(1), to);
            put_text(to, "dispatch");
            match dispatch {
                Some(at) => put_unsigned(to, u64::from(*at)),
                None => put_null(to),
            }
            put_text(to, "record");
            to.extend_from_slice(skim.bytes(&self.payload));
        }
        Ok(())
    }
}

fn put_text_if(to: &mut Vec<u8>, text: Option<&str>) {
    match text {
        Some(text) => put_text(to, text),
        None => put_null(to),
    }
}

fn put<T: serde::Serialize>(to: &mut Vec<u8>, value: &T) -> Result<(), EncodeError> {
    to.extend_from_slice(&Encoding::Cbor.encode(value)?);
    Ok(())
}

#[cfg(test)]
mod tests {
    use mmn_schema::body::Body;
    use mmn_schema::dispatch::Input;
    use mmn_schema::id::{Epoch, VpId};
    use mmn_schema::outcome::{Number, Outcome, Reason, code};
    use mmn_schema::time::Timestamp;

    use super::super::record::{Assigned, Chunk, Dispatched, Given};
    use super::*;

    #[test]
    #[expect(clippy::too_many_lines, reason = "each field has a value")]
    fn what_is_written_by_hand_is_what_serde_writes() {
        let mut inputs = Inputs::default();
        let all =
            [Input::Nothing, Input::Target("192.0.2.1".to_owned()), Input::Targets(vec!["a".to_owned()])];
        for input in &all {
            inputs.push(input);
        }
        let at = Timestamp::from_unix_ns(-5);
        let record = |index| Record {
            index,
            attempt: 1,
            part: 0,
            last: true,
            outcome: Outcome::Failed,
            reason: Some(Reason::with(code::INTERNAL, "x")),
            answered: None,
            started_at: at,
            duration_ns: 700,
            queued_ns: 3,
            summary: [("rtt_ns".into(), Number::Real(0.5))].into(),
            body: Body::of(&[1, 2]).unwrap(),
        };
        let entry = |index: u64, dispatch| Entry {
            input: all[usize::try_from(index / 2).unwrap()].clone(),
            dispatch,
            record: record(index),
        };
        let bare = Section {
            vp: None,
            vp_name: None,
            simulated: false,
            instance: None,
            received_at: at,
            dispatches: Vec::new(),
            entries: vec![entry(4, None)],
        };
        let full = Section {
            vp: Some(VpId::derive("U", "x")),
            vp_name: Some("berlin".to_owned()),
            simulated: true,
            instance: Some("a".parse().unwrap()),
            dispatches: vec![Dispatched { at, acknowledged_at: Some(7) }],
            entries: vec![entry(0, None), entry(3, Some(0))],
            ..bare.clone()
        };
        let batch = KeptBatch {
            anchor: "anchor-1".parse().unwrap(),
            epoch: Epoch(3),
            kind: "ping".parse().unwrap(),
            before: 300,
            accept: None,
            accepts_from: 70_000,
            sections: vec![bare, full],
            notes: Vec::new(),
        };
        let parcels: Vec<_> = batch.sections.iter().cloned().map(Parcel::made).collect();
        let empty = KeptBatch { sections: Vec::new(), ..batch.clone() };
        let by_hand = empty.with(&parcels, &inputs, 2).unwrap();
        assert_eq!(by_hand, Encoding::Cbor.encode(&batch).unwrap());
        let meta = Meta {
            id: mmn_schema::id::MeasurementId::new(5, &[1; 10]),
            number: 300,
            tenant: mmn_schema::id::Tenant::default(),
            visibility: mmn_schema::api::Visibility::default(),
            kind: "ping".parse().unwrap(),
            params: Body::null(),
            from: "all".parse().unwrap(),
            label: Some("x".to_owned()),
            deadline_ns: 1 << 40,
            open: false,
            max_tasks: None,
            assignments: vec![Assigned { vps: vec![VpId::derive("U", "x")], refused: None }],
            coverage: mmn_schema::api::Coverage::default(),
            accepted_at: at,
            key: Some(("k".to_owned(), 7)),
            written: std::sync::OnceLock::new(),
        };
        let meta = std::sync::Arc::new(meta);
        let chunk = Chunk { meta: Some(meta.clone()), group: 0, total: 3, first: 0, inputs: all.to_vec() };
        for step in [Step::Inputs(Chunk { meta: None, ..chunk.clone() }), Step::Inputs(chunk), Step::Close] {
            let accept = Accept { anchor: "anchor-1".parse().unwrap(), epoch: Epoch(300), at, step };
            let mut by_hand = Vec::new();
            accept.put(&mut by_hand).unwrap();
            assert_eq!(by_hand, Encoding::Cbor.encode(&accept).unwrap());
            let with = KeptBatch { accept: Some(Box::new(accept)), ..batch.clone() };
            let bare = KeptBatch { sections: Vec::new(), ..with.clone() };
            assert_eq!(bare.with(&parcels, &inputs, 2).unwrap(), Encoding::Cbor.encode(&with).unwrap());
        }
        let done = Done {
            meta,
            given: None,
            ledger: mmn_schema::api::Ledger::default(),
            cancelled: true,
            done_at: at,
            history: Body::null(),
        };
        let given = Given { count: 3, first: Some(Input::Target("a".to_owned())) };
        for done in [Done { given: Some(given), ..done.clone() }, done] {
            let mut by_hand = Vec::new();
            done.put(&mut by_hand).unwrap();
            assert_eq!(by_hand, Encoding::Cbor.encode(&done).unwrap());
        }
        let weight: usize = parcels.iter().map(|parcel| parcel.bytes).sum();
        assert!(by_hand.len() < weight + 512, "{} {weight}", by_hand.len());
    }
}
