//! What is kept in JetStream, as CBOR. Only anchors read and write these messages.
//!
//! LEDGER holds [`Accept`] messages (inputs in groups of chunks; a group with chunks missing was never answered),
//! one [`Done`] for each measurement that ended, and [`Roll`] messages with the histories that are too large for it. RES holds [`KeptBatch`] messages: a kept
//! batch is at once the results and the ledger's delta, and the acceptance where it is the whole of a measurement.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use mmn_schema::api::{Coverage, Cursor, Ledger, Measurement, MeasurementState, ResultRecord, Visibility};
use mmn_schema::body::Body;
use mmn_schema::dispatch::{Input, Record};
use mmn_schema::id::{AnchorId, Epoch, InstanceId, KindName, MeasurementId, TaskId, Tenant, VpId};
use mmn_schema::outcome::Reason;
use mmn_schema::select::Selection;
use mmn_schema::time::{Timestamp, compact};
use serde::{Deserialize, Serialize};

/// What is fixed about a measurement when it is accepted.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Meta {
    pub(crate) id: MeasurementId,
    pub(crate) number: u64,
    pub(crate) tenant: Tenant,
    pub(crate) visibility: Visibility,
    pub(crate) kind: KindName,
    pub(crate) params: Body,
    pub(crate) from: Selection,
    pub(crate) label: Option<String>,
    pub(crate) deadline_ns: u64,
    pub(crate) open: bool,
    pub(crate) max_tasks: Option<u64>,
    pub(crate) assignments: Vec<Assigned>,
    pub(crate) coverage: Coverage,
    #[serde(with = "compact")]
    pub(crate) accepted_at: Timestamp,
    /// The idempotency key, and a hash of the request that came with it.
    pub(crate) key: Option<(String, u64)>,
    /// All of that as it is written, once somebody has asked for it: it is written twice at least.
    #[serde(skip)]
    pub(crate) written: OnceLock<Bytes>,
}

/// Where one of each input's tasks goes.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Assigned {
    /// One vantage point, or several of which one is taken at dispatch.
    pub(crate) vps: Vec<VpId>,
    /// Why its tasks are refused at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) refused: Option<Reason>,
}

/// A step in a measurement's acceptance.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Accept {
    pub(crate) anchor: AnchorId,
    pub(crate) epoch: Epoch,
    #[serde(with = "compact")]
    pub(crate) at: Timestamp,
    pub(crate) step: Step,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum Step {
    /// A chunk of a group of inputs.
    Inputs(Chunk),
    /// No more inputs will come.
    Close,
    /// It was called off.
    Cancel,
}

/// At most [`CHUNK_INPUTS`] inputs of a group that is accepted as a whole.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Chunk {
    /// On the first chunk of the first group.
    #[serde(with = "shared_if_any")]
    pub(crate) meta: Option<Arc<Meta>>,
    /// The position of the group's first input in the measurement.
    pub(crate) group: u64,
    /// How many inputs the group has.
    pub(crate) total: u64,
    /// The position of this chunk's first input in the measurement.
    pub(crate) first: u64,
    pub(crate) inputs: Vec<Input>,
}

/// The most inputs of a chunk.
pub(crate) const CHUNK_INPUTS: usize = 8192;
/// The most bytes of inputs in a chunk: the server takes messages of 1 MiB, and the first chunk has the parameters and
/// the vantage points besides.
pub(crate) const CHUNK_BYTES: usize = 384 * 1024;

/// A measurement that ended.
#[expect(clippy::struct_field_names, reason = "when it was done")]
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Done {
    #[serde(with = "shared")]
    pub(crate) meta: Arc<Meta>,
    /// Absent where an anchor before this field wrote it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) given: Option<Given>,
    pub(crate) ledger: Ledger,
    pub(crate) cancelled: bool,
    #[serde(with = "compact")]
    pub(crate) done_at: Timestamp,
    /// Its history as it is written down, where that is small; absent: in messages of its own.
    #[serde(default)]
    pub(crate) history: Body,
}

/// What a measurement was given, in short: enough to know it again in a list.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Given {
    /// How many inputs.
    pub(crate) count: u64,
    /// The first of them, where it is short.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) first: Option<Input>,
}

/// What is shared in memory is written as what it is.
mod shared {
    use std::sync::Arc;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use super::Meta;

    pub(super) fn serialize<S: Serializer>(meta: &Arc<Meta>, serializer: S) -> Result<S::Ok, S::Error> {
        Meta::serialize(meta, serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Arc<Meta>, D::Error> {
        Meta::deserialize(deserializer).map(Arc::new)
    }
}

mod shared_if_any {
    use std::sync::Arc;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use super::Meta;

    #[expect(clippy::ref_option, reason = "as serde calls it")]
    pub(super) fn serialize<S: Serializer>(
        meta: &Option<Arc<Meta>>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        meta.as_deref().serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Arc<Meta>>, D::Error> {
        Option::<Meta>::deserialize(deserializer).map(|meta| meta.map(Arc::new))
    }
}

/// A part of the history of a measurement that ended.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Roll {
    /// When it ended, which tells one writing from another: an anchor that died may have begun one.
    #[serde(default)]
    pub(crate) of: i64,
    /// Which part, from 0, and of how many.
    #[serde(default)]
    pub(crate) part: usize,
    #[serde(default)]
    pub(crate) parts: usize,
    /// The bytes themselves.
    #[serde(default)]
    pub(crate) bytes: Body,
}

/// One message of RES.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct KeptBatch {
    pub(crate) anchor: AnchorId,
    pub(crate) epoch: Epoch,
    pub(crate) kind: KindName,
    /// How many of the measurement's tasks were closed by the messages before this one.
    pub(crate) before: u64,
    /// The measurement's acceptance, when all of it is in this message: LEDGER gets its end alone, soon after.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) accept: Option<Box<Accept>>,
    /// From this message of RES on there may be acceptances whose measurements have no end in LEDGER.
    #[serde(default)]
    pub(crate) accepts_from: u64,
    pub(crate) sections: Vec<Section>,
    /// Attempts that came to nothing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) notes: Vec<Note>,
}

/// Final records that arrived together.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Section {
    pub(crate) vp: Option<VpId>,
    pub(crate) vp_name: Option<String>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) simulated: bool,
    /// Absent: the anchor itself ended these tasks.
    pub(crate) instance: Option<InstanceId>,
    #[serde(with = "compact")]
    pub(crate) received_at: Timestamp,
    pub(crate) dispatches: Vec<Dispatched>,
    pub(crate) entries: Vec<Entry>,
}

/// A batch that went out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Dispatched {
    #[serde(with = "compact")]
    pub(crate) at: Timestamp,
    pub(crate) acknowledged_at: Option<i64>,
}

/// One final record and what it answers.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Entry {
    pub(crate) input: Input,
    /// Which of the section's dispatches led to it.
    pub(crate) dispatch: Option<u32>,
    pub(crate) record: Record,
}

/// An attempt that came to nothing.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Note {
    pub(crate) index: u64,
    pub(crate) attempt: u32,
    pub(crate) vp: VpId,
    pub(crate) instance: Option<InstanceId>,
    pub(crate) dispatched: Option<Dispatched>,
    #[serde(with = "compact")]
    pub(crate) at: Timestamp,
    pub(crate) detail: String,
}

/// A message of RES with its place.
#[derive(Debug)]
pub(crate) struct Kept {
    pub(crate) measurement: MeasurementId,
    pub(crate) seq: u64,
    pub(crate) batch: KeptBatch,
}

#[cfg(feature = "fuzzing")]
impl KeptBatch {
    /// How many tasks it closes.
    pub(crate) fn len(&self) -> u64 {
        self.sections.iter().map(|section| section.entries.len() as u64).sum()
    }
}

/// The records of a message that is kept, as clients see them.
#[derive(Debug)]
pub(crate) struct Fresh {
    pub(crate) seq: u64,
    /// How many of the measurement's tasks were closed by the messages before this one.
    pub(crate) before: u64,
    /// In the order of their cursors.
    pub(crate) records: Vec<ResultRecord>,
}

impl From<Kept> for Fresh {
    fn from(kept: Kept) -> Self {
        Self { seq: kept.seq, before: kept.batch.before, records: kept.results().collect() }
    }
}

impl Kept {
    /// Its records as clients see them, in the order of their cursors.
    pub(crate) fn results(&self) -> impl Iterator<Item = ResultRecord> + '_ {
        let entries = self.batch.sections.iter().flat_map(|s| s.entries.iter().map(move |entry| (s, entry)));
        entries.zip(0..).map(|((section, entry), pos)| {
            let mut result = result_of(self.measurement, &self.batch.kind, section, entry);
            result.cursor = Some(Cursor { seq: self.seq, pos });
            result
        })
    }
}

/// A record as clients see it, without cursor.
pub(crate) fn result_of(
    measurement: MeasurementId,
    kind: &KindName,
    section: &Section,
    entry: &Entry,
) -> ResultRecord {
    result(measurement, kind, section, entry.input.clone(), entry.record.clone())
}

/// The same of a record that nobody else needs.
pub(crate) fn result(
    measurement: MeasurementId,
    kind: &KindName,
    section: &Section,
    input: Input,
    record: Record,
) -> ResultRecord {
    let began = section.instance.is_some();
    ResultRecord {
        cursor: None,
        task: TaskId { measurement, index: record.index },
        kind: kind.clone(),
        vp: section.vp.clone(),
        vp_name: section.vp_name.clone(),
        instance: section.instance.clone(),
        input,
        attempt: record.attempt,
        part: (!record.last).then_some(record.part),
        last: record.last,
        outcome: record.outcome,
        reason: record.reason,
        answered: record.answered,
        started_at: began.then_some(record.started_at),
        duration_ns: began.then_some(record.duration_ns),
        summary: record.summary,
        body: record.body,
        simulated: section.simulated,
    }
}

impl Meta {
    /// The measurement as clients see it.
    pub(crate) fn view(
        &self,
        state: MeasurementState,
        done_at: Option<Timestamp>,
        ledger: Ledger,
        given: Option<Given>,
    ) -> Measurement {
        let mut vps: Vec<VpId> = self.assignments.iter().flat_map(|a| a.vps.iter().cloned()).collect();
        vps.sort_unstable();
        vps.dedup();
        Measurement {
            id: self.id,
            number: self.number,
            kind: self.kind.clone(),
            params: self.params.clone(),
            from: self.from.clone(),
            vps,
            inputs: given.as_ref().map(|given| given.count),
            first_input: given.and_then(|given| given.first),
            tenant: self.tenant.clone(),
            visibility: self.visibility,
            label: self.label.clone(),
            state,
            accepted_at: self.accepted_at,
            done_at,
            ledger,
            plan: None,
            results: None,
        }
    }
}

impl Done {
    /// About how many bytes it takes in memory.
    pub(crate) fn weight(&self) -> usize {
        1024 + self.meta.params.cbor().len() + self.meta.assignments.len() * 96 + self.history.cbor().len()
    }

    /// Its history, where that is with it.
    pub(crate) fn own_history(&self) -> Option<&Bytes> {
        Some(self.history.cbor()).filter(|_| self.history != Body::null())
    }

    /// How it ended.
    pub(crate) const fn state(&self) -> MeasurementState {
        if self.cancelled { MeasurementState::Cancelled } else { MeasurementState::Done }
    }

    /// The measurement as clients see it.
    pub(crate) fn view(&self) -> Measurement {
        self.meta.view(self.state(), Some(self.done_at), self.ledger.clone(), self.given.clone())
    }
}
