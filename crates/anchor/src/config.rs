//! The anchor's configuration: one TOML table, unknown fields refused, every field with a default.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use mmn_schema::status::OperatorWords;
use mmn_schema::subject::Prefix;
use serde::{Deserialize, Serialize};

/// All of it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The connection to NATS.
    pub bus: BusConfig,
    /// The HTTP side.
    pub api: ApiConfig,
    /// How results are kept.
    pub results: ResultsConfig,
    /// How acceptances and sums are kept.
    pub ledger: LedgerConfig,
    /// What is accepted.
    pub limits: LimitsConfig,
    /// When somebody counts as gone.
    pub liveness: LivenessConfig,
    /// How work goes out.
    pub dispatch: DispatchConfig,
    /// When those who fail again and again are given a rest.
    pub breaker: BreakerConfig,
    /// Which of several anchors is active.
    pub lease: LeaseConfig,
}

/// The connection to NATS.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BusConfig {
    /// Servers of one cluster.
    pub urls: Vec<String>,
    /// The directory with `nats.creds`, `enrol.seed`, `trust.json` and `api.key`.
    pub creds: PathBuf,
    /// The first token of the network's subjects.
    pub prefix: Prefix,
    /// A PEM file of authorities to trust besides the system's.
    pub ca: Option<PathBuf>,
    /// A PEM file with the client's certificate.
    pub cert: Option<PathBuf>,
    /// A PEM file with its key.
    pub key: Option<PathBuf>,
    /// How many servers of a cluster keep each stream.
    pub replicas: usize,
    /// A file with the process id of a server on this machine; absent: what it uses is not known.
    pub pid_file: Option<PathBuf>,
}

impl Default for BusConfig {
    fn default() -> Self {
        Self {
            urls: vec!["nats://127.0.0.1:4222".to_owned()],
            creds: PathBuf::from("creds/anchor"),
            prefix: Prefix::default(),
            ca: None,
            cert: None,
            key: None,
            replicas: 1,
            pid_file: None,
        }
    }
}

/// The HTTP side.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ApiConfig {
    /// Where it listens. An address that is not loopback wants TLS.
    pub listen: SocketAddr,
    /// The certificate chain as PEM.
    pub tls_cert: Option<PathBuf>,
    /// Its key as PEM.
    pub tls_key: Option<PathBuf>,
    /// The key that signs the API's tokens; absent: `api.key` in the directory of credentials.
    pub token_key: Option<PathBuf>,
    /// Names, besides `localhost`, under which a listener on loopback is asked for: a proxy's, say. Requests for any
    /// other host are refused there (DNS rebinding).
    pub hosts: Vec<String>,
    /// The most requests per second and token.
    pub max_requests_per_s: u64,
    /// The longest `?wait=` in milliseconds.
    pub max_wait_ms: u64,
    /// The largest body of a request in bytes.
    pub max_body_bytes: usize,
    /// Whether anybody may see how the network is doing, without names: what the public page shows.
    pub public_page: bool,
    /// What the public page calls the network: at most 120 characters of plain text, as the next two.
    pub public_title: Option<String>,
    /// What it says the network is for: at most 2,000 characters.
    pub public_about: Option<String>,
    /// Whom it names to be asked: at most 200 characters.
    pub public_contact: Option<String>,
}

impl ApiConfig {
    /// What the operator says of the network.
    pub(crate) fn operator(&self) -> Option<OperatorWords> {
        let words = OperatorWords {
            title: self.public_title.clone(),
            about: self.public_about.clone(),
            contact: self.public_contact.clone(),
        };
        (words != OperatorWords::default()).then_some(words)
    }
}

impl Default for ApiConfig {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 8677)),
            tls_cert: None,
            tls_key: None,
            token_key: None,
            hosts: Vec::new(),
            max_requests_per_s: 20_000,
            max_wait_ms: 300_000,
            max_body_bytes: 32 * 1024 * 1024,
            public_page: false,
            public_title: None,
            public_about: None,
            public_contact: None,
        }
    }
}

/// How results are kept.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ResultsConfig {
    /// For how many seconds; 0: until the room is used up.
    pub max_age_s: u64,
    /// In how many bytes at most; of a server with less room about three quarters are taken. When they are used up,
    /// new work is refused. Streams that are there keep their size until this changes.
    pub max_bytes: u64,
}

impl Default for ResultsConfig {
    fn default() -> Self {
        Self { max_age_s: 30 * 24 * 3600, max_bytes: 16 * 1024 * 1024 * 1024 }
    }
}

/// How acceptances and sums are kept.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LedgerConfig {
    /// For how many seconds; 0: for ever.
    pub max_age_s: u64,
    /// In how many bytes at most; of a server with less room about a fifth is taken. Streams that are there keep their
    /// size until this changes.
    pub max_bytes: u64,
    /// How many measurements that ended stay in memory; older ones are read from the stream when asked for.
    pub closed_in_memory: usize,
    /// For how many seconds an idempotency key leads to its measurement.
    pub idempotency_s: u64,
}

impl Default for LedgerConfig {
    fn default() -> Self {
        Self {
            max_age_s: 90 * 24 * 3600,
            max_bytes: 4 * 1024 * 1024 * 1024,
            closed_in_memory: 2048,
            idempotency_s: 24 * 3600,
        }
    }
}

/// What is accepted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LimitsConfig {
    /// The most tasks that may be pending, over all tenants.
    pub max_pending_tasks: u64,
    /// The most inputs of one request.
    pub max_inputs: u64,
    /// The most vantage points of one measurement.
    pub max_vps: usize,
    /// How many inputs of an open measurement may be under way.
    pub open_inputs: u64,
    /// The most tasks that may wait for one kind at one vantage point.
    pub max_pending_per_lane: u64,
}

impl Default for LimitsConfig {
    fn default() -> Self {
        Self {
            max_pending_tasks: 5_000_000,
            max_inputs: 1_000_000,
            max_vps: 10_000,
            open_inputs: 16_384,
            max_pending_per_lane: 2_000_000,
        }
    }
}

/// When somebody counts as gone.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LivenessConfig {
    /// Silence in milliseconds after which an instance is suspected, and given no new work. One whose heartbeats come
    /// unevenly is borne longer.
    pub suspect_ms: u64,
    /// Silence in milliseconds after which it counts as gone, and its work goes elsewhere; longer for one whose
    /// heartbeats come unevenly.
    pub lost_ms: u64,
    /// Silence in milliseconds after which it counts as gone, however unevenly its heartbeats come.
    pub lost_most_ms: u64,
    /// For how many milliseconds one that is gone is still shown.
    pub forget_ms: u64,
}

impl Default for LivenessConfig {
    fn default() -> Self {
        Self { suspect_ms: 1500, lost_ms: 4000, lost_most_ms: 9000, forget_ms: 600_000 }
    }
}

/// How work goes out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DispatchConfig {
    /// The most tasks of a batch.
    pub max_batch: usize,
    /// In how many milliseconds a batch must be acknowledged, or it goes elsewhere. An instance with credits has ten times as
    /// long while it is heard, or where nobody else could take it.
    pub receipt_ms: u64,
    /// How often notes are compared with an instance that holds tasks, in milliseconds.
    pub sync_ms: u64,
    /// For how many milliseconds after its deadline a task's result is still waited for.
    pub grace_ms: u64,
    /// How many tasks are out to each instance that grants no credits.
    pub pool_tasks: u32,
    /// After how many attempts that came to nothing a task ends; those that were merely declined don't count.
    pub max_attempts: u32,
    /// A task of which an attempt came to nothing waits at most so many milliseconds before the next one, twice as long
    /// each time.
    pub retry_ms: u64,
    /// At most so many milliseconds lie between two attempts.
    pub retry_most_ms: u64,
}

impl Default for DispatchConfig {
    fn default() -> Self {
        Self {
            max_batch: 256,
            receipt_ms: 500,
            sync_ms: 250,
            grace_ms: 500,
            pool_tasks: 4,
            max_attempts: 5,
            retry_ms: 50,
            retry_most_ms: 2000,
        }
    }
}

/// Which of several anchors is active. All anchors of a network want the same values here.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LeaseConfig {
    /// How often the active anchor renews its lease, in milliseconds: at least three times a term.
    pub renew_ms: u64,
    /// After how many milliseconds without renewal another anchor takes over.
    pub term_ms: u64,
    /// How often one that stands by looks, in milliseconds.
    pub look_ms: u64,
}

impl Default for LeaseConfig {
    fn default() -> Self {
        Self { renew_ms: 1000, term_ms: 3500, look_ms: 250 }
    }
}

/// When those who fail again and again are given a rest: an instance, or a kind at a vantage point.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BreakerConfig {
    /// After how many failures without a success between them.
    pub failures: u32,
    /// Or when more than half of the recent attempts failed, of so many at least.
    pub recent: u32,
    /// For how many milliseconds at first; about twice as long each further time.
    pub pause_ms: u64,
    /// For how many milliseconds at most.
    pub pause_most_ms: u64,
}

impl Default for BreakerConfig {
    fn default() -> Self {
        Self { failures: 5, recent: 20, pause_ms: 1000, pause_most_ms: 60_000 }
    }
}

/// A duration from a field in milliseconds.
pub(crate) const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_file_is_the_defaults_and_an_unknown_field_is_refused() {
        assert_eq!(serde_json::from_str::<Config>("{}").unwrap(), Config::default());
        assert!(serde_json::from_str::<Config>(r#"{"resluts": {}}"#).is_err());
    }
}
