//! Metrics in Prometheus' text format. Every label has a fixed set of values.

use std::fmt::{Display, Write};
use std::sync::atomic::{AtomicU64, Ordering};

use super::gauge::Gauge;
use crate::metrics::Metrics;

/// What went through the API.
#[derive(Debug, Default)]
pub(crate) struct Traffic {
    /// Answers by class of status, 1xx to 5xx.
    answers: [AtomicU64; 5],
    pub(crate) connections: Gauge,
    pub(crate) sockets: Gauge,
}

impl Traffic {
    pub(crate) fn answered(&self, status: u16) {
        if let Some(count) = self.answers.get(usize::from(status / 100).saturating_sub(1)) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// All metrics as text.
pub(crate) fn text(metrics: &Metrics, traffic: &Traffic) -> String {
    let mut page = Page(String::with_capacity(4096));
    page.one("mmn_measurements_total", "counter", "Measurements accepted.", metrics.measurements_total);
    page.one(
        "mmn_measurements_open",
        "gauge",
        "Measurements that are open or run.",
        metrics.measurements_open,
    );
    page.one("mmn_tasks_accepted_total", "counter", "Tasks accepted.", metrics.tasks_accepted_total);
    let ended = metrics.tasks_ended_total.iter().map(|(outcome, count)| (outcome.as_str(), *count));
    page.many("mmn_tasks_ended_total", "counter", "Tasks that ended.", "outcome", ended);
    page.one("mmn_tasks_pending", "gauge", "Tasks that are pending.", metrics.tasks_pending);
    page.one("mmn_tasks_out", "gauge", "Tasks that instances hold.", metrics.tasks_out);
    page.one("mmn_batches_total", "counter", "Batches sent to instances.", metrics.batches_total);
    let help = "Attempts that came to nothing.";
    page.one("mmn_attempts_failed_total", "counter", help, metrics.attempts_failed_total);
    let help = "Final records that came after their task had ended.";
    page.one("mmn_superseded_total", "counter", help, metrics.superseded_total);
    let by_label = |map: &std::collections::BTreeMap<&'static str, u64>| {
        map.iter().map(|(label, count)| (*label, *count)).collect::<Vec<_>>()
    };
    page.many("mmn_instances", "gauge", "Instances of modules.", "health", by_label(&metrics.instances));
    page.many("mmn_vantage_points", "gauge", "Vantage points.", "health", by_label(&metrics.vps));
    let help = "Messages that could not be read or believed.";
    page.many("mmn_garbage_total", "counter", help, "subject", by_label(&metrics.garbage_total));
    let help = "Messages written to JetStream and acknowledged.";
    page.one("mmn_kept_messages_total", "counter", help, metrics.kept_messages_total);
    let help = "Bytes written to JetStream and acknowledged.";
    page.one("mmn_kept_bytes_total", "counter", help, metrics.kept_bytes_total);
    let help = "Writes that wait for their acknowledgement.";
    page.one("mmn_writes_unacknowledged", "gauge", help, metrics.writes_unacknowledged);
    let help = "Writes that were refused because the storage was full.";
    page.one("mmn_storage_full_total", "counter", help, metrics.storage_full_total);
    let help = "Whether the storage for results or the ledger is full.";
    page.one("mmn_storage_full", "gauge", help, u8::from(metrics.storage_full));
    page.one("mmn_results_bytes", "gauge", "Bytes of kept results.", metrics.results_bytes);
    page.one("mmn_ledger_bytes", "gauge", "Bytes of kept acceptances and sums.", metrics.ledger_bytes);
    page.one("mmn_anchor_epoch", "gauge", "The term of this anchor.", metrics.epoch);
    page.one("mmn_anchor_active", "gauge", "Whether this anchor is active.", u8::from(metrics.active));

    let classes = ["1xx", "2xx", "3xx", "4xx", "5xx"];
    let load = |count: &AtomicU64| count.load(Ordering::Relaxed);
    let answers = classes.into_iter().zip(traffic.answers.iter().map(load));
    page.many("mmn_http_answers_total", "counter", "Answers of the API.", "status", answers);
    page.one("mmn_http_connections", "gauge", "Open connections.", traffic.connections.value());
    page.one("mmn_websockets", "gauge", "Open WebSockets.", traffic.sockets.value());
    page.0
}

struct Page(String);

impl Page {
    fn one(&mut self, name: &str, kind: &str, help: &str, value: impl Display) {
        // Writing to a String does not fail.
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}");
    }

    fn many<'a>(
        &mut self,
        name: &str,
        kind: &str,
        help: &str,
        label: &str,
        values: impl IntoIterator<Item = (&'a str, u64)>,
    ) {
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
        for (text, value) in values {
            let _ = writeln!(self.0, "{name}{{{label}=\"{}\"}} {value}", escaped(text));
        }
    }
}

/// A label's value with what the format wants escaped.
fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use mmn_schema::outcome::Outcome;

    #[test]
    fn the_text_is_prometheus() {
        let mut metrics = Metrics { measurements_total: 3, ..Metrics::default() };
        metrics.tasks_ended_total.insert(Outcome::Ok, 7);
        metrics.instances.insert("healthy", 2);
        metrics.garbage_total.insert("res", 1);
        let traffic = Traffic::default();
        traffic.answered(204);
        traffic.answered(99);
        traffic.answered(777);
        let text = text(&metrics, &traffic);
        let mut known = std::collections::BTreeSet::new();
        for line in text.lines() {
            if let Some(rest) = line.strip_prefix("# TYPE ") {
                let (name, kind) = rest.split_once(' ').unwrap();
                assert!(known.insert(name), "{name} twice");
                assert_eq!(kind == "counter", name.ends_with("_total"), "{line}");
            } else if !line.starts_with('#') {
                let (series, value) = line.rsplit_once(' ').unwrap();
                assert!(value.parse::<f64>().is_ok(), "{line}");
                let name = series.split('{').next().unwrap();
                assert!(name.starts_with("mmn_") && known.contains(name), "{line}");
            }
        }
        assert!(text.contains("mmn_tasks_ended_total{outcome=\"ok\"} 7\n"));
        assert!(text.contains("mmn_http_answers_total{status=\"2xx\"} 1\n"));
        assert_eq!(escaped("a\"b\\c\nd"), "a\\\"b\\\\c\\nd");
    }
}
