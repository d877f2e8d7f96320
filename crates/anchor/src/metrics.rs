//! The anchor's counters, gauges and histograms, as plain numbers: the HTTP side writes them as Prometheus text.
//!
//! Everything in here is bounded: by fixed sets of words, by [`MAX_KINDS`] or by [`MAX_ROWS`]. Nothing is counted per
//! measurement, tenant or target.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use mmn_schema::announce::ModuleState;
use mmn_schema::api::{Health, Ledger};
use mmn_schema::id::{KindName, VpId};
use mmn_schema::outcome::{Outcome, code};

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
    /// Tasks that ended, by outcome and the code of the reason: one of [`code::ALL`] or `other`, and nothing for *ok*.
    pub tasks_ended_reasons: BTreeMap<(Outcome, &'static str), u64>,
    /// The work of each kind, at most [`MAX_KINDS`]; further ones together as `other`.
    pub kinds: BTreeMap<String, KindWork>,
    /// Tasks that are pending now.
    pub tasks_pending: u64,
    /// Tasks that instances hold now.
    pub tasks_out: u64,
    /// Batches sent to instances.
    pub batches_total: u64,
    /// Attempts that came to nothing, and were made again or given up.
    pub attempts_failed_total: u64,
    /// The same, by why.
    pub retries_total: BTreeMap<&'static str, u64>,
    /// Tasks that wait for their next attempt now.
    pub retries_waiting: u64,
    /// Circuits that are not closed now: of instances and of kinds (`instance`, `kind`), by state.
    pub breakers: BTreeMap<(&'static str, &'static str), u64>,
    /// How often circuits opened, of instances and of kinds.
    pub breakers_opened_total: BTreeMap<&'static str, u64>,
    /// Tasks of instances that fell silent, which went elsewhere before those were lost.
    pub withdrawn_total: u64,
    /// Announcements, heartbeats and results that were left unread, because their sender sends too many.
    pub flood_total: BTreeMap<&'static str, u64>,
    /// Requests for work that were refused because the kind has more than it can do, by where: one of `lane`, `kind`.
    pub overload_total: BTreeMap<&'static str, u64>,
    /// The most tasks that wait for one kind at one vantage point now.
    pub lane_waiting_most: u64,
    /// Final records that came after their task had ended.
    pub superseded_total: u64,
    /// Instances now, by health.
    pub instances: BTreeMap<&'static str, u64>,
    /// Vantage points now, by health.
    pub vps: BTreeMap<&'static str, u64>,
    /// Vantage points, the worst first, at most [`MAX_ROWS`].
    pub vp_rows: Vec<VpRow>,
    /// Modules, by vantage point, the worst first, at most [`MAX_ROWS`].
    pub module_rows: Vec<ModuleRow>,
    /// Vantage points and modules that found no place in the rows.
    pub rows_left_out: u64,
    /// Messages that could not be read or believed, by class of subject.
    pub garbage_total: BTreeMap<&'static str, u64>,
    /// Messages written to JetStream and acknowledged.
    pub kept_messages_total: u64,
    /// Bytes written to JetStream and acknowledged.
    pub kept_bytes_total: u64,
    /// Writes that wait for their acknowledgement now.
    pub writes_unacknowledged: u64,
    /// Whether dispatch waits for writes.
    pub dispatch_stalled: bool,
    /// From the acceptance of a measurement to the acknowledged write of each of its results.
    pub result_latency: Histogram,
    /// From the acceptance of a measurement to its end.
    pub measurement_duration: Histogram,
    /// From the sending of a write to JetStream to its acknowledgement.
    pub write_latency: Histogram,
    /// Writes that were refused because the storage was full.
    pub storage_full_total: u64,
    /// Whether the storage for results or the ledger is full now.
    pub storage_full: bool,
    /// Bytes of kept results now.
    pub results_bytes: u64,
    /// How many there may be.
    pub results_max_bytes: u64,
    /// Bytes of kept acceptances and sums now.
    pub ledger_bytes: u64,
    /// How many there may be.
    pub ledger_max_bytes: u64,
    /// The term of this anchor.
    pub epoch: u64,
    /// Whether this anchor is active (a standby is not).
    pub active: bool,
    /// What is known of an anchor that stands by as well.
    pub standing: Standing,
}

/// What an anchor knows of itself whether it is active or stands by.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Standing {
    /// Whether it can take work.
    pub ready: bool,
    /// Whether there is a connection to NATS.
    pub nats_connected: bool,
    /// How often it was connected to NATS.
    pub nats_connections_total: u64,
    /// Requests for work that were refused for reasons of the anchor's own, by the reason of the problem.
    pub work_refused_total: [(&'static str, u64); REFUSALS.len()],
    /// Readers of results that have fallen behind and catch up from the store now.
    pub readers_behind: u64,
    /// How often a reader of results has fallen behind.
    pub readers_lagged_total: u64,
}

/// The work of a kind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct KindWork {
    /// Tasks that are pending now.
    pub pending: u64,
    /// Tasks that ended.
    pub ended_total: u64,
}

/// A vantage point.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VpRow {
    /// Its name.
    pub name: String,
    /// Which.
    pub id: VpId,
    /// How it is.
    pub health: Health,
    /// Whether it is part of a simulated Internet.
    pub simulated: bool,
}

/// The instances of a module at a vantage point.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModuleRow {
    /// The vantage point's name.
    pub vp_name: String,
    /// Which.
    pub vp: VpId,
    /// Whether that is part of a simulated Internet.
    pub simulated: bool,
    /// The module's name.
    pub module: String,
    /// Its instances, by health. A lost one that its node has given up does not count.
    pub instances: BTreeMap<&'static str, u64>,
    /// What the node does with it; absent when no node speaks for it.
    pub state: Option<ModuleState>,
    /// How often the node has started it again.
    pub restarts: u64,
    /// Resident memory of its instances together, by their last heartbeats.
    pub rss_bytes: u64,
    /// Tasks that they hold.
    pub out: u64,
    /// Messages of theirs in the last seconds that could not be read or believed.
    pub garbage: u64,
}

/// How many kinds are counted apart.
pub const MAX_KINDS: usize = 64;
/// How many rows for vantage points, and for modules, there are at most.
pub const MAX_ROWS: usize = 1000;
/// Reasons of problems for which the anchor refuses work that it might take at another time.
pub const REFUSALS: [&str; 4] = ["saturated", "storage-full", "storage-unavailable", "not-ready"];

/// How long things took, in buckets.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Histogram {
    /// How many took at most so long, and longer than the bucket before; the last has no bound.
    counts: [u64; BOUNDS_US.len() + 1],
    sum_ns: u128,
}

/// Upper bounds of the buckets in microseconds.
const BOUNDS_US: [u64; 19] = [
    250,
    500,
    1_000,
    2_500,
    5_000,
    10_000,
    25_000,
    50_000,
    100_000,
    250_000,
    500_000,
    1_000_000,
    2_500_000,
    5_000_000,
    10_000_000,
    30_000_000,
    60_000_000,
    300_000_000,
    3_600_000_000,
];

impl Histogram {
    /// So many took so long. It allocates nothing.
    pub(crate) fn observe(&mut self, took: Duration, count: u64) {
        let bucket = BOUNDS_US.partition_point(|&bound| Duration::from_micros(bound) < took);
        if let Some(bucket) = self.counts.get_mut(bucket) {
            *bucket += count;
        }
        self.sum_ns += took.as_nanos() * u128::from(count);
    }

    /// How many there are.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// The sum of all.
    pub fn sum(&self) -> Duration {
        let whole = u64::try_from(self.sum_ns / 1_000_000_000).unwrap_or(u64::MAX);
        let nanos = u32::try_from(self.sum_ns % 1_000_000_000).unwrap_or_default();
        Duration::new(whole, nanos)
    }

    /// Each bound, and how many took at most so long.
    pub fn buckets(&self) -> impl Iterator<Item = (Duration, u64)> {
        BOUNDS_US.iter().zip(&self.counts).scan(0, |sum, (&bound, count)| {
            *sum += count;
            Some((Duration::from_micros(bound), *sum))
        })
    }
}

/// How tasks ended: the sums of measurements that are over, less what had ended before this anchor took over.
#[derive(Debug, Default)]
pub(crate) struct Ends {
    reasons: BTreeMap<(Outcome, &'static str), i64>,
    kinds: HashMap<KindName, i64>,
    other_kinds: i64,
}

impl Ends {
    /// A measurement is over. It allocates nothing but for a kind or a reason that is new.
    pub(crate) fn add(&mut self, kind: &KindName, ledger: &Ledger) {
        self.count(kind, ledger, 1);
    }

    /// A measurement was found running: what has ended of it was counted by the anchor before.
    pub(crate) fn found(&mut self, kind: &KindName, ledger: &Ledger) {
        self.count(kind, ledger, -1);
    }

    /// Enters the sums, with those of the measurements that run.
    pub(crate) fn enter<'a>(
        &self,
        metrics: &mut Metrics,
        running: impl Iterator<Item = (&'a KindName, &'a Ledger)>,
    ) {
        let mut all = Self { reasons: self.reasons.clone(), kinds: self.kinds.clone(), ..*self };
        for (kind, ledger) in running {
            all.add(kind, ledger);
            metrics.kind(kind).pending += ledger.pending;
        }
        let whole = |count: i64| u64::try_from(count).unwrap_or_default();
        for (kind, count) in &all.kinds {
            metrics.kind(kind).ended_total += whole(*count);
        }
        if all.other_kinds > 0 {
            metrics.kinds.entry(OTHER.to_owned()).or_default().ended_total += whole(all.other_kinds);
        }
        metrics.tasks_ended_reasons =
            all.reasons.into_iter().map(|(key, count)| (key, whole(count))).collect();
    }

    fn count(&mut self, kind: &KindName, ledger: &Ledger, sign: i64) {
        let signed = |count: u64| i64::try_from(count).unwrap_or(i64::MAX) * sign;
        let ended = signed(ledger.accepted - ledger.pending);
        if let Some(sum) = self.kinds.get_mut(kind) {
            *sum += ended;
        } else if self.kinds.len() < MAX_KINDS {
            self.kinds.insert(kind.clone(), ended);
        } else {
            self.other_kinds += ended;
        }
        *self.reasons.entry((Outcome::Ok, "")).or_default() += signed(ledger.ok);
        for (outcome, reasons) in &ledger.reasons {
            for (reason, count) in reasons {
                *self.reasons.entry((*outcome, known(reason))).or_default() += signed(*count);
            }
        }
    }
}

impl Metrics {
    /// The work of a kind, or of all beyond the bound together.
    pub(crate) fn kind(&mut self, kind: &KindName) -> &mut KindWork {
        let room = self.kinds.len() < MAX_KINDS || self.kinds.contains_key(kind.as_str());
        self.kinds.entry(if room { kind.as_str() } else { OTHER }.to_owned()).or_default()
    }
}

/// Stands for what is not counted apart.
const OTHER: &str = "other";

/// A code of a reason as a label: modules may make up codes of their own.
fn known(reason: &str) -> &'static str {
    code::ALL.iter().copied().find(|known| *known == reason).unwrap_or(OTHER)
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

/// How bad a health is, the worst first: what is not well must not be left out of a list that is cut.
pub(crate) const fn urgency(health: Health) -> u8 {
    match health {
        Health::Lost => 0,
        Health::Suspect => 1,
        Health::Degraded => 2,
        Health::Starting => 3,
        Health::Draining => 4,
        Health::Healthy => 5,
        Health::Stopped => 6,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ledger(accepted: u64, ok: u64, lost: &[(&str, u64)]) -> Ledger {
        let count = lost.iter().map(|(_, count)| count).sum();
        let reasons = lost.iter().map(|(code, count)| ((*code).to_owned(), *count)).collect();
        Ledger {
            accepted,
            ok,
            lost: count,
            pending: accepted - ok - count,
            reasons: BTreeMap::from([(Outcome::Lost, reasons)]),
            ..Ledger::default()
        }
    }

    #[test]
    fn a_take_over_counts_nothing_twice() {
        let kind: KindName = "ping".parse().unwrap();
        let mut ends = Ends::default();
        let before = ledger(10, 3, &[("deadline", 1)]);
        ends.found(&kind, &before);
        let seen = |ends: &Ends, running: Option<&Ledger>| {
            let mut metrics = Metrics::default();
            ends.enter(&mut metrics, running.into_iter().map(|ledger| (&kind, ledger)));
            (metrics.kinds["ping"], metrics.tasks_ended_reasons)
        };
        let (work, reasons) = seen(&ends, Some(&before));
        assert_eq!(work, KindWork { pending: 6, ended_total: 0 });
        assert_eq!(reasons.values().sum::<u64>(), 0);
        let after = ledger(10, 7, &[("deadline", 2), ("made-up", 1)]);
        let running = seen(&ends, Some(&after));
        ends.add(&kind, &after);
        let over = seen(&ends, None);
        assert_eq!((running.0.ended_total, over.0.ended_total), (6, 6));
        assert_eq!(running.1, over.1);
        assert_eq!(over.1[&(Outcome::Ok, "")], 4);
        assert_eq!((over.1[&(Outcome::Lost, "deadline")], over.1[&(Outcome::Lost, "other")]), (1, 1));
    }

    #[test]
    fn kinds_are_bounded() {
        let (mut ends, mut metrics) = (Ends::default(), Metrics::default());
        for number in 0..2 * MAX_KINDS {
            ends.add(&format!("kind-{number}").parse().unwrap(), &ledger(1, 1, &[]));
        }
        ends.enter(&mut metrics, std::iter::empty());
        assert_eq!(metrics.kinds.len(), MAX_KINDS + 1);
        assert_eq!(metrics.kinds.values().map(|kind| kind.ended_total).sum::<u64>(), 2 * MAX_KINDS as u64);
    }

    #[test]
    fn buckets_are_cumulative_and_bounds_are_inside() {
        let mut histogram = Histogram::default();
        for (us, count) in [(250, 1), (251, 2), (5_000_000_000, 4)] {
            histogram.observe(Duration::from_micros(us), count);
        }
        let buckets: Vec<u64> = histogram.buckets().map(|(_, count)| count).collect();
        assert_eq!((buckets[0], buckets[1], buckets.last().copied()), (1, 3, Some(3)));
        assert_eq!((histogram.count(), histogram.sum().as_secs()), (7, 20_000));
    }
}
