//! How a network is doing: its processes, its counts, and since when its vantage points have been there.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::api::{Health, Ledger, MeasurementState};
use crate::id::{InstanceId, KindName, MeasurementId, VpId};
use crate::time::Timestamp;

/// How the network is doing: the answer to `GET /api/v1/status`. It is made once a second at most. Where the public page is
/// on, those who are not signed in are told it, too, without the names of vantage points and instances.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct NetworkStatus {
    /// When it was made, by the anchor's clock.
    pub at: Timestamp,
    /// Since when this anchor counts.
    pub since: Timestamp,
    /// Whether anybody may see it.
    pub public_page: bool,
    /// What the operator says of the network; absent: nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operator: Option<OperatorWords>,
    /// The processes that say what they use, at most 100: the anchor and the server first, then those that use the most
    /// processor time.
    pub processes: Vec<Process>,
    /// How many more there are.
    pub processes_left_out: u64,
    /// How many vantage points there are, by health.
    pub vps: BTreeMap<Health, u64>,
    /// How many instances of modules there are, by health.
    pub instances: BTreeMap<Health, u64>,
    /// In how many countries vantage points are.
    pub countries: u64,
    /// In how many autonomous systems.
    pub ases: u64,
    /// The kinds that can be measured.
    pub kinds: Vec<KindStatus>,
    /// Measurements that were accepted.
    pub measurements_total: u64,
    /// Measurements that are open or run.
    pub measurements_open: u64,
    /// The account of all tasks.
    pub ledger: Ledger,
    /// Tasks that ended in a second, over the last ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub results_per_s: Option<f64>,
    /// The newest of the measurements that everybody may see, at most 20.
    pub public: Vec<PublicMeasurement>,
}

/// A process of the network.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Process {
    /// What it is.
    pub role: ProcessRole,
    /// The module that it runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub module: Option<String>,
    /// Its vantage point; absent where it serves several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vp: Option<VpId>,
    /// The name of that vantage point.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vp_name: Option<String>,
    /// The instances that it runs, at most 16.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub instances: Vec<InstanceId>,
    /// Whether it is part of a simulated Internet.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub simulated: bool,
    /// How it is, where others judge that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health: Option<Health>,
    /// What it uses.
    pub usage: Usage,
}

/// What an operator says of the network, as plain text.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct OperatorWords {
    /// What it is called.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// What it is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub about: Option<String>,
    /// Whom to ask, or to complain to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub contact: Option<String>,
}

/// What a process is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ProcessRole {
    /// The anchor that answers.
    Anchor,
    /// The server of NATS, where the anchor's machine has it.
    NatsServer,
    /// A node.
    Node,
    /// A module.
    Module,
}

/// What a process uses. Rates are means over the last five seconds or so; what is not measured is absent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Usage {
    /// Processor time, in percent of one processor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_percent: Option<f64>,
    /// Resident memory in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rss_bytes: Option<u64>,
    /// What it gets from NATS, the protocol's own bytes left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nats_received_bytes_per_s: Option<f64>,
    /// What it sends there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nats_sent_bytes_per_s: Option<f64>,
    /// What the interfaces of a node's network get, loopback left out, whoever it is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interface_received_bytes_per_s: Option<f64>,
    /// What they send.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interface_sent_bytes_per_s: Option<f64>,
    /// Probes that a node has let its modules send, with their IP headers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub probe_sent_bytes_per_s: Option<f64>,
}

/// A kind, as far as everybody may know.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct KindStatus {
    /// Its name.
    pub kind: KindName,
    /// How many vantage points offer it now.
    pub vps: u64,
    /// Tasks of it that ended in a second, since somebody last asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub results_per_s: Option<f64>,
}

/// A measurement that everybody may see.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PublicMeasurement {
    /// Its id.
    pub id: MeasurementId,
    /// What is measured.
    pub kind: KindName,
    /// The client's own word for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// What it is doing.
    pub state: MeasurementState,
    /// When it was accepted.
    pub accepted_at: Timestamp,
    /// When its last task ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub done_at: Option<Timestamp>,
    /// From how many vantage points.
    pub vps: u64,
    /// The account of its tasks.
    pub ledger: Ledger,
}

/// When a vantage point was there: the answer to `GET /api/v1/vps/{id}/availability`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Availability {
    /// Which one.
    pub vp: VpId,
    /// When the first slice begins, by the anchor's clock.
    pub start: Timestamp,
    /// How long a slice is, in nanoseconds.
    pub slice_ns: u64,
    /// The slices in order; the last one is not over.
    pub slices: Vec<AvailabilitySlice>,
}

/// How many seconds of a slice a vantage point was how. What is left of the slice nobody has seen: no anchor was there, or it
/// was not known yet.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AvailabilitySlice {
    /// At work.
    pub up_s: u32,
    /// Heard of, with something wrong; or not heard of for longer than it should be.
    pub degraded_s: u32,
    /// Taken for gone.
    pub lost_s: u32,
    /// Gone of its own will.
    pub stopped_s: u32,
}

/// When all vantage points were there: the answer to `GET /api/v1/availability`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct AvailabilityTable {
    /// When the first slice begins, by the anchor's clock.
    pub start: Timestamp,
    /// How long a slice is, in nanoseconds.
    pub slice_ns: u64,
    /// The vantage points, by id.
    pub vps: Vec<AvailabilityStrip>,
}

/// When a vantage point was there, in a word.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct AvailabilityStrip {
    /// Which one.
    pub vp: VpId,
    /// A letter for each slice, the worst that was seen in it: `u` up, `d` degraded, `l` lost, `s` stopped, `-` nobody saw.
    pub strip: String,
    /// For which part of the time that was seen it was up or degraded; absent when nothing was seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub up_ratio: Option<f64>,
}
