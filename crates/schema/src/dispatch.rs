//! Work on its way to an instance, and results on their way back.
//!
//! A [`TaskBatch`] carries 1..n tasks of one measurement; a [`ResultBatch`] 1..n records of one measurement, vantage
//! point and kind. Batches grow where work queues up and never wait where it does not.
//!
//! On the task subject of one instance an anchor sends [`ToInstance`] messages. Batches are numbered per anchor and
//! instance, from the anchor's start time in microseconds, so that numbers of two lives never meet. The reply to a
//! batch is a [`Receipt`]. A [`Sync`] is answered by a [`Synced`] in line with the results: what an anchor has out
//! with a number up to the sync's, and does not find among `held`, is lost.

use schemars::JsonSchema;
use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer};
use serde::de::{self, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use crate::body::Body;
use crate::id::{AnchorId, BootId, Epoch, InstanceId, KindName, MeasurementId, VpId};
use crate::outcome::{Outcome, Reason, Summary};
use crate::time::{self, Timestamp};

/// What stands on the subject of one instance.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ToInstance {
    /// Work.
    Tasks(TaskBatch),
    /// The anchor compares notes.
    Sync(Sync),
}

/// Tasks of one measurement for one instance, or for one of a pool.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TaskBatch {
    /// Who sends it.
    pub anchor: AnchorId,
    /// The sender's term. An instance refuses an older one than the newest that it has seen.
    pub epoch: Epoch,
    /// The batch's number among those of this anchor to this instance. 0 on a pool subject.
    pub seq: u64,
    /// The number of the last result message of this boot that the anchor has kept. The instance forgets those.
    pub ack: u64,
    /// The measurement.
    pub measurement: MeasurementId,
    /// The kind.
    pub kind: KindName,
    /// The kind's parameters.
    #[serde(default)]
    pub params: Body,
    /// How much time remains for the whole batch, in nanoseconds from receipt.
    pub deadline_ns: u64,
    /// The tasks.
    pub tasks: Vec<Task>,
}

/// One task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Task {
    /// Its position in the measurement.
    pub index: u64,
    /// Which attempt this is, from 0.
    #[serde(default)]
    pub attempt: u32,
    /// Its input.
    #[serde(default)]
    pub input: Input,
}

/// What a task is about; which form it takes is the kind's.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, JsonSchema)]
#[schemars(untagged)]
pub enum Input {
    /// Nothing.
    #[default]
    Nothing,
    /// One target: an address, a name, a URL.
    Target(String),
    /// A set of targets.
    Targets(Vec<String>),
    /// A vantage point as the far end.
    Peer {
        /// Which one.
        vp: VpId,
    },
}

/// By hand, because the CBOR library writes serde's unit as an empty array, which would be read as no targets.
impl Serialize for Input {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Peer<'a> {
            vp: &'a VpId,
        }
        match self {
            Self::Nothing => serializer.serialize_none(),
            Self::Target(target) => serializer.serialize_str(target),
            Self::Targets(targets) => targets.serialize(serializer),
            Self::Peer { vp } => Peer { vp }.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Input {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AnyInput)
    }
}

/// The form of an input tells what it is.
struct AnyInput;

impl<'de> Visitor<'de> for AnyInput {
    type Value = Input;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("an input: null, a text, a list of texts, or {\"vp\": …}")
    }

    fn visit_unit<E: de::Error>(self) -> Result<Input, E> {
        Ok(Input::Nothing)
    }

    fn visit_none<E: de::Error>(self) -> Result<Input, E> {
        Ok(Input::Nothing)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Input, D::Error> {
        Input::deserialize(deserializer)
    }

    fn visit_str<E: de::Error>(self, target: &str) -> Result<Input, E> {
        Ok(Input::Target(target.to_owned()))
    }

    fn visit_string<E: de::Error>(self, target: String) -> Result<Input, E> {
        Ok(Input::Target(target))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, targets: A) -> Result<Input, A::Error> {
        Vec::deserialize(SeqAccessDeserializer::new(targets)).map(Input::Targets)
    }

    fn visit_map<A: MapAccess<'de>>(self, peer: A) -> Result<Input, A::Error> {
        #[derive(Deserialize)]
        struct Peer {
            vp: VpId,
        }
        Peer::deserialize(MapAccessDeserializer::new(peer)).map(|Peer { vp }| Input::Peer { vp })
    }
}

impl std::fmt::Display for Input {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Nothing => Ok(()),
            Self::Target(target) => f.pad(target),
            Self::Targets(targets) => f.pad(&targets.join(",")),
            Self::Peer { vp } => f.pad(vp.as_str()),
        }
    }
}

/// The reply to a batch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Receipt {
    /// All tasks are taken; each will have a final record.
    Accepted {
        /// Who took them.
        instance: InstanceId,
        /// In which life.
        boot: BootId,
        /// How many more it could hold.
        free: u32,
    },
    /// None is taken: the instance holds as many as it can.
    Busy {
        /// Who says so.
        instance: InstanceId,
        /// How many it could hold.
        free: u32,
    },
    /// None is taken, and the same batch would be declined again.
    Refused {
        /// Who says so.
        instance: InstanceId,
        /// Why.
        reason: Reason,
    },
}

/// Records of one measurement, vantage point and kind, from one instance.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ResultBatch {
    /// Who performed them.
    pub instance: InstanceId,
    /// In which life.
    pub boot: BootId,
    /// For which anchor.
    pub anchor: AnchorId,
    /// The epoch under which they were dispatched.
    pub epoch: Epoch,
    /// Counts this life's result messages to that anchor, from 1.
    pub seq: u64,
    /// How many more tasks the instance could hold.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub free: Option<u32>,
    /// The records.
    pub records: Vec<Record>,
}

/// What came of one attempt at a task, or a part of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Record {
    /// The task's position in its measurement.
    pub index: u64,
    /// Which attempt.
    #[serde(default)]
    pub attempt: u32,
    /// Counts the parts of kinds that stream, from 0.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub part: u32,
    /// Whether this record ends the task.
    #[serde(rename = "final", default = "yes")]
    pub last: bool,
    /// How it ended.
    pub outcome: Outcome,
    /// Why, unless it is *ok*.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Reason>,
    /// Whether the network answered at all; absent where the kind has no such notion.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answered: Option<bool>,
    /// When it began, by the vantage point's clock.
    #[serde(with = "time::compact")]
    #[schemars(with = "Timestamp")]
    pub started_at: Timestamp,
    /// How long it took, in nanoseconds.
    pub duration_ns: u64,
    /// How long the instance held the task before it began, in nanoseconds.
    #[serde(default)]
    pub queued_ns: u64,
    /// Its numbers.
    #[serde(default)]
    pub summary: Summary,
    /// The kind's result; null where there is none.
    #[serde(default)]
    pub body: Body,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
const fn is_zero(part: &u32) -> bool {
    *part == 0
}

const fn yes() -> bool {
    true
}

/// An anchor compares notes with an instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Sync {
    /// Who asks.
    pub anchor: AnchorId,
    /// Its term.
    pub epoch: Epoch,
    /// The number of the last batch that was sent.
    pub seq: u64,
    /// The number of the last result message of this boot that the anchor has kept.
    pub ack: u64,
    /// Whether the instance shall send again all result messages above `ack`.
    #[serde(default)]
    pub resend: bool,
    /// Whether the anchor has just begun: the instance drops what it has queued from former terms.
    #[serde(default)]
    pub fresh: bool,
}

/// An instance's answer to a [`Sync`], sent after the results that it concerns.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Synced {
    /// Who answers.
    pub instance: InstanceId,
    /// In which life.
    pub boot: BootId,
    /// Whom.
    pub anchor: AnchorId,
    /// The `seq` of the sync that is answered.
    pub seq: u64,
    /// The number of the newest result message to that anchor.
    pub high: u64,
    /// How many more tasks it could hold.
    pub free: u32,
    /// What it holds: attempts taken whose final record has not been sent.
    pub held: Vec<Held>,
}

/// Attempts that an instance holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Held {
    /// Of which measurement.
    pub measurement: MeasurementId,
    /// The tasks' positions.
    pub indices: Vec<u64>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encoding::Encoding;

    #[test]
    fn inputs_keep_their_form_in_both_encodings() {
        let inputs = [
            Input::Nothing,
            Input::Target("192.0.2.1".to_owned()),
            Input::Targets(Vec::new()),
            Input::Targets(vec!["a".to_owned(), "b".to_owned()]),
            Input::Peer { vp: VpId::derive("U", "main") },
        ];
        for encoding in [Encoding::Json, Encoding::Cbor] {
            for input in &inputs {
                let bytes = encoding.encode(input).unwrap();
                assert_eq!(&encoding.decode::<Input>(&bytes).unwrap(), input, "{encoding:?}");
            }
        }
    }
}
