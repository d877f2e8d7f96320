//! What a module or node says when it appears, and what it says to show that it is alive.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::ops::Deref;
use std::str::FromStr;
use std::sync::Arc;

use schemars::{JsonSchema, Schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use sha2::{Digest as _, Sha256};

use crate::encoding::Encoding;
use crate::id::{BootId, InstanceId, KindName, VpId};
use crate::outcome::Reason;
use crate::time::{self, Timestamp};
use crate::vp::{PolicySummary, VantagePoint};

/// The header of an announcement that carries the announcer's user JWT: proof that its key was registered.
pub const JWT_HEADER: &str = "Mmn-Jwt";
/// The header of an announcement that carries the signature over its payload: Ed25519 by the announcer's NKEY, in
/// base64url without padding.
pub const SIGNATURE_HEADER: &str = "Mmn-Signature";

/// A version of the contract, `major.minor`. Within a major version nothing changes its meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SchemaVersion {
    /// Readers refuse another one.
    pub major: u16,
    /// Grows with what is added.
    pub minor: u16,
}

impl SchemaVersion {
    /// Whether a reader of this version understands messages of `other`.
    pub const fn reads(self, other: Self) -> bool {
        self.major == other.major
    }
}

impl fmt::Display for SchemaVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

impl FromStr for SchemaVersion {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is no version such as \"1.0\"");
        let (major, minor) = text.split_once('.').ok_or_else(wrong)?;
        Ok(Self { major: major.parse().map_err(|_| wrong())?, minor: minor.parse().map_err(|_| wrong())? })
    }
}

impl Serialize for SchemaVersion {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for SchemaVersion {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

impl JsonSchema for SchemaVersion {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "SchemaVersion".into()
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> Schema {
        schemars::json_schema!({ "type": "string", "pattern": "^[0-9]+\\.[0-9]+$" })
    }
}

/// What is published on `mmn.modules.announce`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Announcement {
    /// The version of the contract that the announcer speaks.
    pub schema: SchemaVersion,
    /// Which vantage point.
    pub vp: VpId,
    /// Which instance.
    pub instance: InstanceId,
    /// Which life of it.
    pub boot: BootId,
    /// The program's version.
    pub version: String,
    /// Since when this life lasts, by the announcer's clock.
    #[serde(with = "time::compact")]
    #[schemars(with = "Timestamp")]
    pub started_at: Timestamp,
    /// What the announcer is.
    pub role: Role,
}

/// What an announcer is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// An instance of a module: it performs measurements.
    Module(ModuleInfo),
    /// The same, told to an anchor that knows the kinds by their digest.
    Known(KnownModule),
    /// The node of a vantage point: it speaks for the place.
    Node(Box<NodeInfo>),
    /// The announcer is going away of its own will.
    Bye,
}

/// An instance of a module.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ModuleInfo {
    /// The module's name: `packet`, `dns`, `http`.
    pub module: String,
    /// The kinds that it performs.
    pub kinds: Vec<KindInfo>,
    /// How many tasks it can hold over all its kinds. Absent: it grants no credits, and gets its work through the
    /// pool subjects, one task a message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credits: Option<u32>,
    /// Whether its network is part of a simulated Internet. Its vantage point says so, too, but may be heard of later.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub simulated: bool,
    /// What stands for the kinds when it announces itself again. Absent: it always describes them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<KindsDigest>,
}

/// An instance of a module whose kinds need no description: it is large, and the same wherever the module runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct KnownModule {
    /// The module's name.
    pub module: String,
    /// The kinds that it performs.
    pub kinds: KindsDigest,
    /// Those that it can't perform at present, and why.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub unavailable: BTreeMap<KindName, Unavailable>,
    /// As in [`ModuleInfo`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credits: Option<u32>,
    /// As in [`ModuleInfo`].
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub simulated: bool,
}

/// What is published on `mmn.modules.discover`. An empty payload, or one that can't be read, is a question to everybody
/// by one who knows nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Discover {
    /// The kinds that the anchor knows: whose they are need not describe them.
    #[serde(default)]
    pub known: Vec<KindsDigest>,
    /// Who need answer; absent: everybody.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub only: Option<Vec<InstanceId>>,
}

/// Stands for a list of kinds: SHA-256 of its CBOR with nothing unavailable, in hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub struct KindsDigest(String);

impl KindsDigest {
    /// The digest of these.
    pub fn of(kinds: &[KindInfo]) -> Self {
        let kinds: Vec<_> = kinds.iter().map(|kind| KindInfo { unavailable: None, ..kind.clone() }).collect();
        // What can't be written stands for itself alone.
        let bytes = Encoding::Cbor.encode(&kinds).unwrap_or_default();
        Self(data_encoding::HEXLOWER.encode(&Sha256::digest(bytes)))
    }
}

/// A kind as an instance offers it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct KindInfo {
    /// Its name.
    pub name: KindName,
    /// The version of its parameters and results, `major.minor`.
    pub version: SchemaVersion,
    /// What it measures, in a sentence.
    pub description: String,
    /// What one input of it is.
    pub input: InputShape,
    /// The JSON Schema of its parameters.
    pub params: SharedSchema,
    /// The JSON Schema of its results' bodies.
    pub result: SharedSchema,
    /// The numbers of its summaries.
    #[serde(default)]
    pub summary: Vec<SummaryField>,
    /// Why the instance can't perform it at present; absent when its self-test has passed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unavailable: Option<Unavailable>,
}

/// A JSON Schema. It is large, and the same wherever a kind is offered: copies share it.
#[derive(Debug, Clone)]
pub struct SharedSchema(Arc<Schema>);

impl SharedSchema {
    /// Holds the same as `other` from now on, where that is equal.
    pub fn share(&mut self, other: &Self) {
        if self == other {
            self.0 = Arc::clone(&other.0);
        }
    }
}

impl From<Schema> for SharedSchema {
    fn from(schema: Schema) -> Self {
        Self(Arc::new(schema))
    }
}

impl From<bool> for SharedSchema {
    fn from(anything: bool) -> Self {
        Schema::from(anything).into()
    }
}

impl TryFrom<serde_json::Value> for SharedSchema {
    type Error = <Schema as TryFrom<serde_json::Value>>::Error;

    fn try_from(value: serde_json::Value) -> Result<Self, Self::Error> {
        Schema::try_from(value).map(Self::from)
    }
}

impl Deref for SharedSchema {
    type Target = Schema;

    fn deref(&self) -> &Schema {
        &self.0
    }
}

impl PartialEq for SharedSchema {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || self.0 == other.0
    }
}

impl Serialize for SharedSchema {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for SharedSchema {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Schema::deserialize(deserializer).map(Self::from)
    }
}

impl JsonSchema for SharedSchema {
    fn schema_name() -> Cow<'static, str> {
        Schema::schema_name()
    }

    fn schema_id() -> Cow<'static, str> {
        Schema::schema_id()
    }

    fn inline_schema() -> bool {
        Schema::inline_schema()
    }

    fn json_schema(generator: &mut schemars::SchemaGenerator) -> Schema {
        Schema::json_schema(generator)
    }
}

/// What one input of a kind is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum InputShape {
    /// Nothing: one task a vantage point.
    Nothing,
    /// One target.
    Target,
    /// A set of targets.
    Targets,
    /// A vantage point as the far end.
    Peer,
}

/// A number of a kind's summaries.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SummaryField {
    /// Its name, with the unit: `rtt_min_ns`.
    pub name: String,
    /// Its unit: `ns`, `1` (a count), `ratio`, `bytes`.
    pub unit: String,
    /// What it says.
    pub description: String,
}

/// Why a kind can't be performed, and the one command that mends it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Unavailable {
    /// What is missing.
    pub reason: Reason,
    /// A command that mends it, as one types it in a shell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mend: Option<String>,
}

/// A node and its vantage point.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct NodeInfo {
    /// The place.
    pub vantage_point: VantagePoint,
    /// What its site allows.
    pub policy: PolicySummary,
    /// The modules that the node supervises.
    pub modules: Vec<ModuleStatus>,
}

/// A module as its node sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ModuleStatus {
    /// Its name.
    pub module: String,
    /// The instances that run.
    pub instances: Vec<InstanceId>,
    /// What it is doing.
    pub state: ModuleState,
    /// How often it was started again since it was put there.
    pub restarts: u32,
    /// Why it is in this state, where that needs a word.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

/// What a supervised module is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ModuleState {
    /// On its way up.
    Starting,
    /// At work.
    Running,
    /// Finishing what it holds; takes nothing new.
    Draining,
    /// Died, and waits to be started again.
    Backoff,
    /// Not to run.
    Stopped,
    /// Its manifest or its command is wrong.
    Invalid,
}

/// The state of an instance as it sees itself. It is whole: an observer needs no other message.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Heartbeat {
    /// Which life of the instance.
    pub boot: BootId,
    /// Counts this life's heartbeats.
    pub seq: u64,
    /// When it was sent, by the sender's clock.
    #[serde(with = "time::compact")]
    #[schemars(with = "Timestamp")]
    pub sent_at: Timestamp,
    /// In how many milliseconds the next one is due.
    pub interval_ms: u32,
    /// Whether it takes new work.
    pub state: InstanceState,
    /// Its load.
    pub load: Load,
    /// The state of its clock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clock: Option<ClockState>,
}

/// Whether an instance takes new work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum InstanceState {
    /// Not yet: its self-test has not passed.
    Starting,
    /// Yes.
    Ready,
    /// No: it finishes what it holds.
    Draining,
}

/// How much an instance is doing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Load {
    /// Tasks that it performs.
    pub running: u32,
    /// Tasks that it holds and has not begun.
    pub queued: u32,
    /// Tasks that it could take besides.
    pub free: u32,
    /// Tasks that it finished in this life.
    pub done: u64,
    /// Tasks that it refused in this life.
    pub refused: u64,
    /// Messages that it could not read in this life.
    pub garbage: u64,
    /// Resident memory in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rss_bytes: Option<u64>,
    /// Processor time used in this life, in nanoseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_ns: Option<u64>,
    /// Which process says so: several instances may share one. A number drawn at its start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub process: Option<u64>,
    /// Bytes that the process has got from NATS, the protocol's own left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nats_received_bytes: Option<u64>,
    /// Bytes that it has sent there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nats_sent_bytes: Option<u64>,
    /// A node: bytes that the interfaces of its network have got, loopback left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interface_received_bytes: Option<u64>,
    /// A node: bytes that they have sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interface_sent_bytes: Option<u64>,
    /// A node: bytes of probes that it has let its modules send, with their IP headers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub probe_sent_bytes: Option<u64>,
}

/// What the kernel says of the clock (adjtimex).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ClockState {
    /// Whether the clock is kept in step by something outside the machine.
    pub synchronised: bool,
    /// The estimated offset in nanoseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub offset_ns: Option<i64>,
    /// The greatest error that the kernel allows for, in nanoseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_error_ns: Option<u64>,
}
