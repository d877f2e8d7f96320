//! What clients and anchors say to each other over REST, under `/api/v1`.
//!
//! The stream of results is in [`crate::stream`], errors are in [`crate::problem`].

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::announce::{Heartbeat, KindInfo, ModuleStatus};
use crate::body::Body;
use crate::dispatch::Input;
use crate::id::{BootId, InstanceId, KindName, MeasurementId, TaskId, Tenant, VpId};
use crate::outcome::{Outcome, Reason, Summary};
use crate::select::Selection;
use crate::status::Usage;
use crate::time::{Span, Timestamp};
use crate::vp::{PolicySummary, VantagePoint};

/// What a client asks for: the body of `POST /api/v1/measurements`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MeasurementRequest {
    /// What to measure.
    pub kind: KindName,
    /// The kind's parameters; absent fields take the kind's defaults.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub params: Option<BTreeMap<String, Value>>,
    /// What to measure it on. Each input becomes one task at each vantage point chosen. May be empty when `open` is
    /// set, or when the kind's input is nothing.
    #[serde(default)]
    pub inputs: Vec<Input>,
    /// From where; absent: from one vantage point of the anchor's choice (`any(kind:…)`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Selection>,
    /// How long each task may take from its acceptance, retries included. Default 30 s, at most 1 h; for open
    /// measurements it counts from the input's arrival.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline: Option<Span>,
    /// Whether more inputs will be appended over the WebSocket.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub open: bool,
    /// Who may see it.
    #[serde(default)]
    pub visibility: Visibility,
    /// What it may cost at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub budget: Option<Budget>,
    /// A word of the client's own, kept with the measurement.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 200))]
    pub label: Option<String>,
}

/// Who may see a measurement and its results.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Visibility {
    /// Its tenant.
    #[default]
    Private,
    /// Everybody, without a token.
    Public,
}

/// What a measurement may cost at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Budget {
    /// The most tasks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_tasks: Option<u64>,
    /// The most packets, by the quotes of the vantage points.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_packets: Option<u64>,
}

/// What a request would do: the answer to `?dry_run=1`, and part of the answer to a real one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Plan {
    /// The vantage points that were chosen.
    pub vps: Vec<PlannedVp>,
    /// How many tasks there would be.
    pub tasks: u64,
    /// How many of them would be refused, by the quotes of the vantage points.
    pub refused: u64,
    /// The most packets that would be sent; absent where a vantage point gave no quote.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub packets: Option<u64>,
    /// The most bytes that would be sent, IP headers included.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    /// How the choice covers ASes and countries.
    pub coverage: Coverage,
}

/// A vantage point of a plan.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PlannedVp {
    /// Which one; for a pool, each of its members has an entry.
    pub vp: VpId,
    /// Its name.
    pub name: String,
    /// Whether it is one of a pool of which one is taken at dispatch.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub pooled: bool,
    /// Whether it is part of a simulated Internet.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub simulated: bool,
    /// The most packets that it would send; absent when it gave no quote.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub packets: Option<u64>,
    /// The most bytes that it would send.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    /// What it would refuse, and why.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub refusals: Vec<Refusal>,
}

/// What a vantage point would refuse.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Refusal {
    /// The input; absent: all of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input: Option<Input>,
    /// Why.
    pub reason: Reason,
}

/// How a choice of vantage points covers the network.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Coverage {
    /// How many vantage points matched before any sampling.
    pub matched: u64,
    /// How many were chosen.
    pub chosen: u64,
    /// How many different ASes are among the matched, and among the chosen.
    pub ases: Share,
    /// How many different countries are among the matched, and among the chosen.
    pub countries: Share,
    /// The seed of the sample, given or drawn; absent when nothing was drawn.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
    /// Terms that matched no vantage point.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unmatched: Vec<String>,
}

/// A part of a whole.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Share {
    /// Of so many,
    pub matched: u64,
    /// so many were chosen.
    pub chosen: u64,
}

/// A measurement as clients see it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Measurement {
    /// Its id.
    pub id: MeasurementId,
    /// Its number, for clients that want one.
    pub number: u64,
    /// What is measured.
    pub kind: KindName,
    /// With which parameters.
    pub params: Body,
    /// From where, as asked.
    pub from: Selection,
    /// From where, as chosen.
    pub vps: Vec<VpId>,
    /// How many inputs it has, so far.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inputs: Option<u64>,
    /// The first of them, where it is short.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_input: Option<Input>,
    /// Whose it is; `public` to whoever sees it only because everybody does.
    pub tenant: Tenant,
    /// Who may see it.
    pub visibility: Visibility,
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
    /// The account of its tasks.
    pub ledger: Ledger,
    /// What was planned when it was accepted; given in the answer to its creation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan: Option<Plan>,
    /// Results, given in the answer to a creation with `?wait=`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub results: Option<Vec<ResultRecord>>,
}

/// What a measurement is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum MeasurementState {
    /// More inputs may be appended.
    Open,
    /// Tasks are pending.
    Running,
    /// Every task has ended.
    Done,
    /// It was called off, and every task has ended.
    Cancelled,
}

/// The account of a measurement's tasks: `accepted = ok + failed + refused + lost + cancelled + pending`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Ledger {
    /// All tasks.
    pub accepted: u64,
    /// Performed as asked.
    pub ok: u64,
    /// Could not be performed.
    pub failed: u64,
    /// Declined.
    pub refused: u64,
    /// Nothing came back.
    pub lost: u64,
    /// Called off.
    pub cancelled: u64,
    /// Not ended yet.
    pub pending: u64,
    /// Why tasks ended other than *ok*: outcome, code of the reason, count.
    #[serde(default)]
    pub reasons: BTreeMap<Outcome, BTreeMap<String, u64>>,
    /// Of the ok tasks, those that the network answered.
    #[serde(default)]
    pub answered: u64,
    /// Final records that came after their task had ended, and were dropped.
    #[serde(default)]
    pub superseded: u64,
    /// Tasks whose kept result has expired.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub expired: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
const fn is_zero(count: &u64) -> bool {
    *count == 0
}

impl Ledger {
    /// Whether the sum closes.
    pub const fn closes(&self) -> bool {
        self.accepted == self.ok + self.failed + self.refused + self.lost + self.cancelled + self.pending
    }

    /// The count of an outcome.
    pub const fn count(&self, outcome: Outcome) -> u64 {
        match outcome {
            Outcome::Ok => self.ok,
            Outcome::Failed => self.failed,
            Outcome::Refused => self.refused,
            Outcome::Lost => self.lost,
            Outcome::Cancelled => self.cancelled,
        }
    }
}

/// A result as clients see it: the wire type of `--json`, NDJSON, SSE and the WebSocket.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ResultRecord {
    /// Its place in the kept results: the token to resume after. Absent for parts, which are not kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<Cursor>,
    /// Which task.
    pub task: TaskId,
    /// What was measured.
    pub kind: KindName,
    /// From where; absent when the task was never sent to one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vp: Option<VpId>,
    /// The name of that vantage point.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vp_name: Option<String>,
    /// By which instance.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance: Option<InstanceId>,
    /// On what.
    pub input: Input,
    /// Which attempt, from 0.
    pub attempt: u32,
    /// Which part, for kinds that stream.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub part: Option<u32>,
    /// Whether it ends the task.
    #[serde(rename = "final")]
    pub last: bool,
    /// How it ended.
    pub outcome: Outcome,
    /// Why, unless it is *ok*.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Reason>,
    /// Whether the network answered at all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answered: Option<bool>,
    /// When it began, by the vantage point's clock; absent when it never did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Timestamp>,
    /// How long it took, in nanoseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration_ns: Option<u64>,
    /// The kind's numbers.
    #[serde(default)]
    pub summary: Summary,
    /// The kind's result.
    #[serde(default)]
    pub body: Body,
    /// Whether it comes from a simulated Internet.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub simulated: bool,
}

/// A place in the kept results: the sequence in JetStream and the record's position in its message, `seq.pos`.
/// Cursors of one measurement only grow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Cursor {
    /// The sequence of the kept message.
    pub seq: u64,
    /// The record's position in it.
    pub pos: u32,
}

impl std::fmt::Display for Cursor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.seq, self.pos)
    }
}

impl std::str::FromStr for Cursor {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is no cursor such as \"17.0\"");
        let (seq, pos) = text.split_once('.').ok_or_else(wrong)?;
        Ok(Self { seq: seq.parse().map_err(|_| wrong())?, pos: pos.parse().map_err(|_| wrong())? })
    }
}

impl Serialize for Cursor {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Cursor {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

impl JsonSchema for Cursor {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Cursor".into()
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "string", "pattern": "^[0-9]+\\.[0-9]+$" })
    }
}

/// A page of a list.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Page<T> {
    /// The items.
    pub items: Vec<T>,
    /// What to give as `after` for the next page; absent on the last one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// One task, hop by hop: the answer to `GET /api/v1/tasks/{task}`. The times of a batch are its tasks' times.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TaskTrace {
    /// Which task.
    pub task: TaskId,
    /// What is measured.
    pub kind: KindName,
    /// On what.
    pub input: Input,
    /// Where it was assigned to: one vantage point, or several of which one was taken.
    pub assigned: Vec<VpId>,
    /// How it ended; absent while it is pending.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<Outcome>,
    /// Why, unless it is *ok*.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Reason>,
    /// Its hops in order, over all attempts.
    pub hops: Vec<Hop>,
    /// Whether its result was kept and has expired since.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub expired: bool,
}

/// One hop of a task.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Hop {
    /// When, by the anchor's clock where the anchor saw it, else by the vantage point's.
    pub at: Timestamp,
    /// Whose clock says so.
    pub clock: Clock,
    /// Which attempt; absent for hops of the task as a whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempt: Option<u32>,
    /// What happened: `accepted`, `dispatched`, `acknowledged`, `started`, `ended`, `received`, `kept`, `closed`,
    /// `given-up`.
    pub hop: String,
    /// By which vantage point.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vp: Option<VpId>,
    /// By which instance.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance: Option<InstanceId>,
    /// In words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

/// Whose clock an instant was read from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Clock {
    /// The anchor's.
    Anchor,
    /// The vantage point's.
    Vp,
}

/// A vantage point as clients see it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct VpView {
    /// The place.
    pub vantage_point: VantagePoint,
    /// Whether anything of it is alive.
    pub health: Health,
    /// What its site allows; absent until its node has spoken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<PolicySummary>,
    /// The kinds that can be measured from there now.
    pub kinds: Vec<KindName>,
    /// The kinds that it knows and can't perform at present.
    pub unavailable: Vec<UnavailableKind>,
    /// The modules that its node supervises.
    pub modules: Vec<ModuleStatus>,
    /// What its node uses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usage: Option<Usage>,
    /// When anything was last heard from it, by the anchor's clock.
    pub last_seen_at: Timestamp,
}

/// A kind that can't be performed at present.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct UnavailableKind {
    /// Which one.
    pub kind: KindName,
    /// Why.
    pub reason: Reason,
    /// A command that mends it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mend: Option<String>,
}

/// An instance of a module as clients see it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ModuleView {
    /// Which instance.
    pub instance: InstanceId,
    /// Which life of it.
    pub boot: BootId,
    /// Of which module.
    pub module: String,
    /// Its program's version.
    pub version: String,
    /// Where.
    pub vp: VpId,
    /// The name of that vantage point.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vp_name: Option<String>,
    /// Whether that is part of a simulated Internet.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub simulated: bool,
    /// The kinds that it performs.
    pub kinds: Vec<KindName>,
    /// How it is.
    pub health: Health,
    /// Since when it is so, by the anchor's clock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
    /// Why it is thought to be so.
    pub evidence: String,
    /// What seems to have happened to it, when it is suspect or lost and that can be told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<Cause>,
    /// The circuits to it, and of its kinds there, that are not closed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub circuits: Vec<Circuit>,
    /// How many tasks it can hold; absent when it grants no credits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credits: Option<u32>,
    /// How many tasks the anchor has out to it.
    pub out: u64,
    /// Its last heartbeat.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub heartbeat: Option<Heartbeat>,
    /// What its process uses; in a lab several instances may share one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usage: Option<Usage>,
    /// When it was last heard, by the anchor's clock.
    pub last_seen_at: Timestamp,
}

/// How an instance is, as the anchor sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Health {
    /// It has announced itself and is not ready yet.
    Starting,
    /// At work.
    Healthy,
    /// At work, with something wrong.
    Degraded,
    /// Not heard of for longer than it should be.
    Suspect,
    /// Taken for gone.
    Lost,
    /// Finishing what it holds.
    Draining,
    /// Gone of its own will.
    Stopped,
}

/// What seems to have happened to an instance that is not heard of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Cause {
    /// Its process ended: its node says so, or its connection is gone while its node is there.
    Crash,
    /// It is connected and does nothing.
    Hang,
    /// Nothing of its vantage point is heard: the way there is cut, or the whole place is down.
    Cut,
}

/// A circuit breaker that is not closed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Circuit {
    /// Of this kind at the vantage point; absent: of the instance as a whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<KindName>,
    /// What it lets through.
    pub state: CircuitState,
}

/// What a circuit breaker lets through.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum CircuitState {
    /// All work.
    Closed,
    /// None, for a while: too much of it failed.
    Open,
    /// One task, as a trial.
    HalfOpen,
}

/// A kind as clients see it, over all vantage points.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct KindView {
    /// The kind as its newest instance describes it.
    pub info: KindInfo,
    /// How many vantage points offer it now.
    pub vps: u64,
}

/// Sums of a measurement's summaries over an interval: per vantage point, or over all of them where that was asked for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Rollup {
    /// Which measurement.
    pub measurement: MeasurementId,
    /// Which vantage point; absent for tasks that were never sent to one, and in sums over all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vp: Option<VpId>,
    /// The start of the interval, by the anchor's clock: results are in the one in which they were kept.
    pub start: Timestamp,
    /// Its length in nanoseconds.
    pub interval_ns: u64,
    /// How many tasks ended, by outcome.
    pub outcomes: BTreeMap<Outcome, u64>,
    /// Of the ok tasks, those that the network answered.
    pub answered: u64,
    /// Each number of the summaries, and `duration_ns`: how long the tasks took.
    pub numbers: BTreeMap<String, RollupNumber>,
    /// Whether it comes from a simulated Internet.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub simulated: bool,
}

/// A number of the summaries over an interval. Quantiles are exact up to a relative error of 1 %.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RollupNumber {
    /// In how many records it stood.
    pub count: u64,
    /// Their sum.
    pub sum: f64,
    /// The least.
    pub min: f64,
    /// The lower quartile.
    pub q1: f64,
    /// The median.
    pub median: f64,
    /// The upper quartile.
    pub q3: f64,
    /// The greatest.
    pub max: f64,
    /// Where they were asked for: the numbers at equal steps of the way from the least to the greatest, both included.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub quantiles: Vec<f64>,
}

/// The anchor's limits: `GET /api/v1/limits`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Limits {
    /// The most tasks that may be pending at a time, over all tenants.
    pub max_pending_tasks: u64,
    /// How many are pending now.
    pub pending_tasks: u64,
    /// The most inputs of one request.
    pub max_inputs: u64,
    /// The most requests per second and token.
    pub max_requests_per_s: u64,
    /// The bytes that kept results may take.
    pub results_max_bytes: u64,
    /// The bytes that they take.
    pub results_bytes: u64,
    /// For how long results are kept, in seconds; absent: without end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub results_max_age_s: Option<u64>,
}
