//! The anchor's counters and gauges, as plain numbers: the HTTP side writes them as Prometheus text.

use std::collections::BTreeMap;

use mmn_schema::api::Health;
use mmn_schema::outcome::Outcome;

/// All counters and gauges at one moment. Counters count since the process took over.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Metrics {
    /// Measurements accepted.
    pub measurements_total: u64,
    /// Measurements that are open or run now.
    pub measurements_open: u64,
    /// Tasks accepted.
    pub tasks_accepted_total: u64,
    /// Tasks that ended, by outcome.
    pub tasks_ended_total: BTreeMap<Outcome, u64>,
    /// Tasks that are pending now.
    pub tasks_pending: u64,
    /// Tasks that instances hold now.
    pub tasks_out: u64,
    /// Batches sent to instances.
    pub batches_total: u64,
    /// Attempts that came to nothing, and were made again or given up.
    pub attempts_failed_total: u64,
    /// Final records that came after their task had ended.
    pub superseded_total: u64,
    /// Instances now, by health.
    pub instances: BTreeMap<&'static str, u64>,
    /// Vantage points now, by health.
    pub vps: BTreeMap<&'static str, u64>,
    /// Messages that could not be read or believed, by class of subject.
    pub garbage_total: BTreeMap<&'static str, u64>,
    /// Messages written to JetStream and acknowledged.
    pub kept_messages_total: u64,
    /// Bytes written to JetStream and acknowledged.
    pub kept_bytes_total: u64,
    /// Writes that wait for their acknowledgement now.
    pub writes_unacknowledged: u64,
    /// Writes that were refused because the storage was full.
    pub storage_full_total: u64,
    /// Whether the storage for results or the ledger is full now.
    pub storage_full: bool,
    /// Bytes of kept results now.
    pub results_bytes: u64,
    /// Bytes of kept acceptances and sums now.
    pub ledger_bytes: u64,
    /// The term of this anchor.
    pub epoch: u64,
    /// Whether this anchor is active (a standby is not).
    pub active: bool,
}

/// The word for a health in labels.
pub(crate) const fn health_label(health: Health) -> &'static str {
    match health {
        Health::Starting => "starting",
        Health::Healthy => "healthy",
        Health::Degraded => "degraded",
        Health::Suspect => "suspect",
        Health::Lost => "lost",
        Health::Draining => "draining",
        Health::Stopped => "stopped",
    }
}
