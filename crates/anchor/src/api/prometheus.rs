//! Metrics in Prometheus' text format (version 0.0.4). Every label has a fixed set of values, or a bound:
//! [`crate::metrics::MAX_KINDS`] for kinds, [`crate::metrics::MAX_ROWS`] for vantage points and for modules.

use std::fmt::{Display, Write};
use std::sync::atomic::{AtomicU64, Ordering};

use mmn_schema::announce::ModuleState;
use mmn_schema::api::Health;
use mmn_schema::outcome::{Outcome, code};

use crate::gauge::Gauge;
use crate::metrics::{Histogram, Metrics, ModuleRow, Standing, health_label};
use crate::process::Process;

/// What went through the API.
#[derive(Debug, Default)]
pub(crate) struct Traffic {
    /// Answers by class of status, 1xx to 5xx.
    answers: [AtomicU64; 5],
    /// Requests that were refused because their caller had made too many.
    pub(crate) rate_limited: AtomicU64,
    pub(crate) connections: Gauge,
    pub(crate) sockets: Gauge,
    /// When the certificate ends, in seconds since 1970 UTC; 0 without TLS.
    pub(crate) certificate_ends_s: AtomicU64,
}

impl Traffic {
    pub(crate) fn answered(&self, status: u16) {
        if let Some(count) = self.answers.get(usize::from(status / 100).saturating_sub(1)) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// All metrics as text.
pub(crate) fn text(metrics: &Metrics, traffic: &Traffic, process: &Process) -> String {
    let mut page = Page(String::with_capacity(16 * 1024));
    page.many("mmn_build_info", GAUGE, "The program.", [([("version", env!("CARGO_PKG_VERSION"))], 1)]);
    standing(&mut page, metrics, &metrics.standing);
    work(&mut page, metrics);
    registry(&mut page, metrics);
    modules(&mut page, &metrics.module_rows);
    storage(&mut page, metrics);
    api(&mut page, metrics, traffic);
    about_process(&mut page, process);
    page.0
}

fn standing(page: &mut Page, metrics: &Metrics, standing: &Standing) {
    page.one("mmn_anchor_active", GAUGE, "Whether this anchor is active.", u8::from(metrics.active));
    page.one("mmn_anchor_ready", GAUGE, "Whether this anchor can take work.", u8::from(standing.ready));
    page.one("mmn_anchor_epoch", GAUGE, "The term of this anchor; 0 while it stands by.", metrics.epoch);
    let connected = u8::from(standing.nats_connected);
    page.one("mmn_nats_connected", GAUGE, "Whether there is a connection to NATS.", connected);
    let help = "How often a connection to NATS was made.";
    page.one("mmn_nats_connections_total", COUNTER, help, standing.nats_connections_total);
}

fn work(page: &mut Page, metrics: &Metrics) {
    page.one("mmn_measurements_total", COUNTER, "Measurements accepted.", metrics.measurements_total);
    let help = "Measurements that are open or run.";
    page.one("mmn_measurements_open", GAUGE, help, metrics.measurements_open);
    let help = "From the acceptance of a measurement to its end.";
    page.histogram("mmn_measurement_duration_seconds", help, &metrics.measurement_duration);
    let help = "From the acceptance of a measurement to the acknowledged write of each of its results.";
    page.histogram("mmn_result_latency_seconds", help, &metrics.result_latency);
    page.one("mmn_tasks_accepted_total", COUNTER, "Tasks accepted.", metrics.tasks_accepted_total);
    let mut ended = metrics.tasks_ended_reasons.clone();
    for key in EXPECTED {
        ended.entry(key).or_default();
    }
    let ended = ended.into_iter();
    let ended =
        ended.map(|((outcome, reason), count)| ([("outcome", outcome.as_str()), ("reason", reason)], count));
    page.many("mmn_tasks_ended_total", COUNTER, "Tasks that ended; ok has no reason.", ended);
    page.one("mmn_tasks_pending", GAUGE, "Tasks that are pending.", metrics.tasks_pending);
    page.one("mmn_tasks_out", GAUGE, "Tasks that instances hold.", metrics.tasks_out);
    let kinds = || metrics.kinds.iter();
    let pending = kinds().map(|(kind, work)| ([("kind", kind.as_str())], work.pending));
    page.many("mmn_kind_tasks_pending", GAUGE, "Tasks of a kind that are pending.", pending);
    let ended = kinds().map(|(kind, work)| ([("kind", kind.as_str())], work.ended_total));
    page.many("mmn_kind_tasks_ended_total", COUNTER, "Tasks of a kind that ended.", ended);
    page.one("mmn_batches_total", COUNTER, "Batches sent to instances.", metrics.batches_total);
    let stalled = u8::from(metrics.dispatch_stalled);
    page.one("mmn_dispatch_stalled", GAUGE, "Whether dispatch waits for writes.", stalled);
    let help = "Attempts that came to nothing.";
    page.one("mmn_attempts_failed_total", COUNTER, help, metrics.attempts_failed_total);
    let help = "Attempts that came to nothing, by why.";
    let why = metrics.retries_total.iter().map(|(why, count)| ([("why", *why)], *count));
    page.many("mmn_retries_total", COUNTER, help, why);
    let help = "Tasks that wait for their next attempt.";
    page.one("mmn_retries_waiting", GAUGE, help, metrics.retries_waiting);
    let help = "Tasks of silent instances that went elsewhere before those were lost.";
    page.one("mmn_withdrawn_total", COUNTER, help, metrics.withdrawn_total);
    let circuits = ["instance", "kind"].iter().flat_map(|of| {
        ["open", "half-open"].iter().map(move |state| {
            let count = metrics.breakers.get(&(*of, *state)).copied().unwrap_or_default();
            ([("of", *of), ("state", *state)], count)
        })
    });
    page.many("mmn_breakers", GAUGE, "Circuits that are not closed.", circuits);
    let each = |map: &std::collections::BTreeMap<&'static str, u64>, words: &[&'static str]| {
        let count = |word: &str| map.get(word).copied().unwrap_or_default();
        words.iter().map(|&word| (word, count(word))).collect::<Vec<_>>()
    };
    let opened = each(&metrics.breakers_opened_total, &["instance", "kind"]);
    let opened = opened.into_iter().map(|(of, count)| ([("of", of)], count));
    page.many("mmn_breakers_opened_total", COUNTER, "How often circuits opened.", opened);
    let help = "Messages that were left unread, because their sender sends too many.";
    let floods = each(&metrics.flood_total, &["announce", "hb", "res"]);
    page.many(
        "mmn_flood_total",
        COUNTER,
        help,
        floods.into_iter().map(|(of, count)| ([("subject", of)], count)),
    );
    let help = "Requests for work that were refused because a kind has more than it can do.";
    let refused = each(&metrics.overload_total, &["lane", "kind"]);
    page.many(
        "mmn_overload_total",
        COUNTER,
        help,
        refused.into_iter().map(|(of, count)| ([("of", of)], count)),
    );
    let help = "The most tasks that wait for one kind at one vantage point.";
    page.one("mmn_lane_waiting_most", GAUGE, help, metrics.lane_waiting_most);
    let help = "Final records that came after their task had ended.";
    page.one("mmn_superseded_total", COUNTER, help, metrics.superseded_total);
    let help = "Requests for work that were refused for reasons of the anchor's own.";
    let refused = metrics.standing.work_refused_total.iter().filter(|(reason, _)| !reason.is_empty());
    let refused = refused.map(|(reason, count)| ([("reason", *reason)], *count));
    page.many("mmn_work_refused_total", COUNTER, help, refused);
}

fn registry(page: &mut Page, metrics: &Metrics) {
    let by_health = |counts: &std::collections::BTreeMap<&'static str, u64>| {
        // All of them, so that a count that falls to nothing is seen to.
        HEALTHS.map(|health| {
            let label = health_label(health);
            ([("health", label)], counts.get(label).copied().unwrap_or_default())
        })
    };
    page.many("mmn_instances", GAUGE, "Instances of modules.", by_health(&metrics.instances));
    page.many("mmn_vantage_points", GAUGE, "Vantage points.", by_health(&metrics.vps));
    let ups = metrics.vp_rows.iter().filter(|row| row.health != Health::Stopped);
    let ups = ups.map(|row| {
        let up = u64::from(row.health != Health::Lost);
        let simulated = if row.simulated { "true" } else { "false" };
        ([("vp", row.name.as_str()), ("vp_id", row.id.as_str()), ("simulated", simulated)], up)
    });
    let help = "Whether anything of a vantage point is heard; absent once it has left in order.";
    page.many("mmn_vantage_point_up", GAUGE, help, ups);
    let help = "Vantage points and modules that are left out of this page because there are too many.";
    page.one("mmn_rows_left_out", GAUGE, help, metrics.rows_left_out);
    let mut garbage = metrics.garbage_total.clone();
    for subject in SUBJECTS {
        garbage.entry(subject).or_default();
    }
    let garbage = garbage.into_iter().map(|(subject, count)| ([("subject", subject)], count));
    let help = "Messages that could not be read or believed.";
    page.many("mmn_garbage_total", COUNTER, help, garbage);
}

fn modules(page: &mut Page, rows: &[ModuleRow]) {
    let named = |row: &ModuleRow| -> [(&'static str, String); 4] {
        let [vp, id, module] = [row.vp_name.clone(), row.vp.to_string(), row.module.clone()];
        [("vp", vp), ("vp_id", id), ("simulated", row.simulated.to_string()), ("module", module)]
    };
    let with = |row: &ModuleRow, label: &'static str, value: &str| {
        let [vp, id, simulated, module] = named(row);
        [vp, id, simulated, module, (label, value.to_owned())]
    };
    let instances = rows.iter().flat_map(|row| {
        row.instances.iter().map(move |(health, count)| (with(row, "health", health), *count))
    });
    let help = "Instances of a module at a vantage point; healths without any are absent.";
    page.many("mmn_module_instances", GAUGE, help, instances);
    let states = rows.iter().filter_map(|row| Some((with(row, "state", word(row.state?)), 1)));
    page.many("mmn_module_state", GAUGE, "What a node does with a module.", states);
    let supervised = rows.iter().filter(|row| row.state.is_some());
    let restarts = supervised.map(|row| (named(row), row.restarts));
    page.many("mmn_module_restarts_total", COUNTER, "How often a node started a module again.", restarts);
    let memory = rows.iter().map(|row| (named(row), row.rss_bytes));
    let help = "Resident memory of a module's instances.";
    page.many("mmn_module_resident_memory_bytes", GAUGE, help, memory);
    let out = rows.iter().map(|row| (named(row), row.out));
    page.many("mmn_module_tasks_out", GAUGE, "Tasks that a module's instances hold.", out);
    let garbage = rows.iter().map(|row| (named(row), row.garbage));
    let help = "Messages of a module's instances in the last seconds that could not be read or believed.";
    page.many("mmn_module_recent_garbage", GAUGE, help, garbage);
}

fn storage(page: &mut Page, metrics: &Metrics) {
    let help = "Messages written to JetStream and acknowledged.";
    page.one("mmn_kept_messages_total", COUNTER, help, metrics.kept_messages_total);
    let help = "Bytes written to JetStream and acknowledged.";
    page.one("mmn_kept_bytes_total", COUNTER, help, metrics.kept_bytes_total);
    let help = "Writes that wait for their acknowledgement.";
    page.one("mmn_writes_unacknowledged", GAUGE, help, metrics.writes_unacknowledged);
    let help = "From the sending of a write to JetStream to its acknowledgement.";
    page.histogram("mmn_write_latency_seconds", help, &metrics.write_latency);
    let help = "Writes that were refused because the storage was full.";
    page.one("mmn_storage_full_total", COUNTER, help, metrics.storage_full_total);
    let help = "Whether the storage for results or the ledger is full.";
    page.one("mmn_storage_full", GAUGE, help, u8::from(metrics.storage_full));
    let streams = |ledger, results| [([("stream", "ledger")], ledger), ([("stream", "results")], results)];
    let bytes = streams(metrics.ledger_bytes, metrics.results_bytes);
    page.many("mmn_stream_bytes", GAUGE, "Bytes in a stream.", bytes);
    let most = streams(metrics.ledger_max_bytes, metrics.results_max_bytes);
    page.many("mmn_stream_max_bytes", GAUGE, "Bytes that a stream may hold.", most);
}

fn api(page: &mut Page, metrics: &Metrics, traffic: &Traffic) {
    let classes = ["1xx", "2xx", "3xx", "4xx", "5xx"];
    let answers = classes.into_iter().zip(traffic.answers.iter().map(load));
    let answers = answers.map(|(class, count)| ([("status", class)], count));
    page.many("mmn_http_answers_total", COUNTER, "Answers of the API.", answers);
    let help = "Requests that were refused because their caller had made too many.";
    page.one("mmn_http_rate_limited_total", COUNTER, help, load(&traffic.rate_limited));
    page.one("mmn_http_connections", GAUGE, "Open connections.", traffic.connections.value());
    page.one("mmn_websockets", GAUGE, "Open WebSockets.", traffic.sockets.value());
    let help = "Readers of results that have fallen behind and catch up from the store.";
    page.one("mmn_readers_behind", GAUGE, help, metrics.standing.readers_behind);
    let help = "How often a reader of results has fallen behind.";
    page.one("mmn_readers_lagged_total", COUNTER, help, metrics.standing.readers_lagged_total);
    let ends = Some(load(&traffic.certificate_ends_s)).filter(|&ends| ends > 0);
    let help = "When the API's certificate ends, in seconds since 1970; absent without TLS.";
    page.some("mmn_api_certificate_expiry_timestamp_seconds", GAUGE, help, ends);
}

fn about_process(page: &mut Page, process: &Process) {
    let help = "Processor time of the user and of the system.";
    page.some("process_cpu_seconds_total", COUNTER, help, process.cpu_s);
    page.some("process_resident_memory_bytes", GAUGE, "Resident memory.", process.rss_bytes);
    let help = "When the process was started, in seconds since 1970.";
    page.some("process_start_time_seconds", GAUGE, help, process.started_s);
    page.some("process_open_fds", GAUGE, "Open file descriptors.", process.open_fds);
}

const COUNTER: &str = "counter";
const GAUGE: &str = "gauge";
const HEALTHS: [Health; 7] = [
    Health::Starting,
    Health::Healthy,
    Health::Degraded,
    Health::Suspect,
    Health::Lost,
    Health::Draining,
    Health::Stopped,
];
/// Ends that alerts look at: there from the beginning, so that the first is seen to come.
const EXPECTED: [(Outcome, &str); 7] = [
    (Outcome::Ok, ""),
    (Outcome::Failed, code::INTERNAL),
    (Outcome::Refused, code::SATURATED),
    (Outcome::Lost, code::NO_INSTANCE),
    (Outcome::Lost, code::INSTANCE_LOST),
    (Outcome::Lost, code::CIRCUIT_OPEN),
    (Outcome::Lost, code::DEADLINE),
];
/// The classes of subjects that garbage is counted by: there from the beginning, so that the first is seen to come.
const SUBJECTS: [&str; 5] = ["announce", "enrol", "hb", "receipt", "res"];

fn load(count: &AtomicU64) -> u64 {
    count.load(Ordering::Relaxed)
}

const fn word(state: ModuleState) -> &'static str {
    match state {
        ModuleState::Starting => "starting",
        ModuleState::Running => "running",
        ModuleState::Draining => "draining",
        ModuleState::Backoff => "backoff",
        ModuleState::Stopped => "stopped",
        ModuleState::Invalid => "invalid",
    }
}

/// A page in the making. Writing to a String does not fail.
struct Page(String);

impl Page {
    fn one(&mut self, name: &str, kind: &str, help: &str, value: impl Display) {
        self.some(name, kind, help, Some(value));
    }

    /// One that may be unknown.
    fn some(&mut self, name: &str, kind: &str, help: &str, value: Option<impl Display>) {
        self.head(name, kind, help);
        if let Some(value) = value {
            let _ = writeln!(self.0, "{name} {value}");
        }
    }

    fn many<const N: usize, L: AsRef<str>>(
        &mut self,
        name: &str,
        kind: &str,
        help: &str,
        values: impl IntoIterator<Item = ([(&'static str, L); N], u64)>,
    ) {
        self.head(name, kind, help);
        for (labels, value) in values {
            let _ = write!(self.0, "{name}");
            for (at, (label, text)) in labels.iter().enumerate() {
                let before = if at == 0 { '{' } else { ',' };
                let _ = write!(self.0, "{before}{label}=\"{}\"", escaped(text.as_ref()));
            }
            let _ = writeln!(self.0, "}} {value}");
        }
    }

    fn histogram(&mut self, name: &str, help: &str, histogram: &Histogram) {
        self.head(name, "histogram", help);
        for (bound, count) in histogram.buckets() {
            let _ = writeln!(self.0, "{name}_bucket{{le=\"{}\"}} {count}", bound.as_secs_f64());
        }
        let (count, sum) = (histogram.count(), histogram.sum().as_secs_f64());
        let _ =
            writeln!(self.0, "{name}_bucket{{le=\"+Inf\"}} {count}\n{name}_sum {sum}\n{name}_count {count}");
    }

    fn head(&mut self, name: &str, kind: &str, help: &str) {
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }
}

/// A label's value with what the format wants escaped.
fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_is_prometheus() {
        let mut metrics = Metrics { measurements_total: 3, ..Metrics::default() };
        metrics.tasks_ended_reasons.insert((Outcome::Ok, ""), 7);
        metrics.instances.insert("healthy", 2);
        metrics.garbage_total.insert("res", 1);
        metrics.write_latency.observe(std::time::Duration::from_millis(3), 2);
        metrics.kinds.entry("ping".to_owned()).or_default().pending = 5;
        metrics.module_rows.push(ModuleRow {
            vp_name: "a \"b\"".to_owned(),
            vp: mmn_schema::id::VpId::derive("U", "v"),
            simulated: true,
            module: "packet".to_owned(),
            instances: std::collections::BTreeMap::from([("lost", 1)]),
            state: Some(ModuleState::Backoff),
            restarts: 4,
            rss_bytes: 1024,
            out: 2,
            garbage: 0,
        });
        let traffic = Traffic::default();
        traffic.answered(204);
        traffic.answered(99);
        traffic.answered(777);
        let text = text(&metrics, &traffic, &crate::process::read());
        let mut known = std::collections::BTreeMap::new();
        for line in text.lines() {
            if let Some(rest) = line.strip_prefix("# TYPE ") {
                let (name, kind) = rest.split_once(' ').unwrap();
                assert!(known.insert(name, kind).is_none(), "{name} twice");
                assert_eq!(kind == "counter", name.ends_with("_total"), "{line}");
            } else if !line.starts_with('#') {
                let (series, value) = line.rsplit_once(' ').unwrap();
                assert!(value.parse::<f64>().is_ok(), "{line}");
                let name = series.split('{').next().unwrap();
                let family = ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end));
                let family = family.filter(|family| known.get(family) == Some(&"histogram"));
                assert!(name.starts_with("mmn_") || name.starts_with("process_"), "{line}");
                assert!(family.is_some() || known.contains_key(name), "{line}");
            }
        }
        for line in [
            "mmn_tasks_ended_total{outcome=\"ok\",reason=\"\"} 7",
            "mmn_tasks_ended_total{outcome=\"lost\",reason=\"deadline\"} 0",
            "mmn_http_answers_total{status=\"2xx\"} 1",
            "mmn_instances{health=\"lost\"} 0",
            "mmn_kind_tasks_pending{kind=\"ping\"} 5",
            "mmn_write_latency_seconds_bucket{le=\"0.0025\"} 0",
            "mmn_write_latency_seconds_bucket{le=\"0.005\"} 2",
            "mmn_write_latency_seconds_sum 0.006",
        ] {
            assert!(text.lines().any(|other| other == line), "{line} is missing in {text}");
        }
        assert!(text.contains("{vp=\"a \\\"b\\\"\",vp_id="), "{text}");
        assert!(text.contains(",simulated=\"true\",module=\"packet\""), "{text}");
        assert_eq!(escaped("a\"b\\c\nd"), "a\\\"b\\\\c\\nd");
    }
}
