//! How the results of a kind look in a table. A kind that has no file here is shown by the numbers of its summaries.

mod dns;
mod generic;
mod http;
mod ping;
mod tcp;
mod udp;

use mmn_schema::announce::SummaryField;
use mmn_schema::api::ResultRecord;
use mmn_schema::outcome::Outcome;

use crate::style::Tone;
use crate::table::{Cell, Column, Row};

/// How the results of a kind look.
pub(crate) trait View: std::fmt::Debug + Send {
    /// The columns after target and vantage point.
    fn columns(&self) -> Vec<Column>;

    /// The cells of an *ok* record in those columns.
    fn cells(&self, record: &ResultRecord) -> Vec<Cell>;
}

/// The view of a kind whose summaries have these numbers.
pub(crate) fn of_kind(kind: &str, fields: &[SummaryField]) -> Box<dyn View> {
    match kind {
        "ping" => Box::new(ping::Ping),
        "udp" => Box::new(udp::Udp),
        "tcp" => Box::new(tcp::Tcp),
        "dns" => Box::new(dns::Dns),
        "http" => Box::new(http::Http),
        _ => Box::new(generic::Generic::new(fields)),
    }
}

/// All columns of a table of results. That of targets vanishes where no input has any.
pub(crate) fn columns(view: &dyn View, targets: bool) -> Vec<Column> {
    let target = if targets { "TARGET" } else { "" };
    let mut columns = vec![Column::left(target).shrinks_to(12), Column::left("VP").shrinks_to(6)];
    columns.extend(view.columns());
    columns
}

/// The row of a record.
pub(crate) fn row(view: &dyn View, record: &ResultRecord) -> Row {
    let vp = record.vp_name.clone().or_else(|| record.vp.as_ref().map(ToString::to_string));
    let mut cells: Vec<Cell> =
        vec![record.input.to_string().into(), Cell::new(vp.unwrap_or_else(|| "-".into())).tone(Tone::Faint)];
    if record.outcome == Outcome::Ok {
        cells.extend(view.cells(record));
        return Row { cells, tail: None };
    }
    let why = record.reason.as_ref().map_or(String::new(), |reason| format!(" ({reason})"));
    let tail = Cell::new(format!("{}{why}", record.outcome)).tone(tone(record.outcome));
    Row { cells, tail: Some(tail) }
}

/// The row of a task that has not ended.
pub(crate) fn pending(target: &str, vp: &str) -> Row {
    let tail = Some(Cell::new("…").tone(Tone::Faint));
    Row { cells: vec![target.into(), Cell::new(vp).tone(Tone::Faint)], tail }
}

/// The colour of an outcome.
pub(crate) const fn tone(outcome: Outcome) -> Tone {
    match outcome {
        Outcome::Ok => Tone::Good,
        Outcome::Failed | Outcome::Lost => Tone::Bad,
        Outcome::Refused | Outcome::Cancelled => Tone::Warn,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::style::Style;
    use crate::table;

    fn shown(kind: &str, input: &str, body: &Value, summary: &Value) -> String {
        let id = mmn_schema::id::MeasurementId::new(1_800_000_000_000, &[3; 10]);
        let record: ResultRecord = serde_json::from_value(json!({
            "task": format!("{id}-0"), "kind": kind, "vp_name": "berlin", "input": input, "attempt": 0,
            "final": true, "outcome": "ok", "answered": true, "summary": summary, "body": body,
        }))
        .unwrap();
        let field = |name: &str, unit: &str| SummaryField {
            name: name.into(),
            unit: unit.into(),
            description: String::new(),
        };
        let fields = [field("rtt_min_ns", "ns"), field("loss_ratio", "ratio"), field("hops", "1")];
        let view = of_kind(kind, &fields);
        table::lines(columns(view.as_ref(), true), &[row(view.as_ref(), &record)], None, Style::plain())
            .join("\n")
    }

    #[test]
    fn dns_shows_its_answers() {
        let rr = |kind: &str, rdata: &str| json!({ "name": "www.example.", "type": kind, "class": "IN", "ttl": 60, "rdata": rdata });
        let flags = json!({
            "qr": true, "aa": false, "tc": false, "rd": true, "ra": true, "ad": false, "cd": false,
        });
        let body = json!({
            "address": "9.9.9.9", "family": "ipv4", "port": 53, "transport": "udp", "rtt_ns": 12_345_678,
            "total_ns": 12_400_000, "attempts": [], "ignored": {}, "query": "AAAA", "query_bytes": 3,
            "response": {
                "id": 1, "opcode": "QUERY", "rcode": "NOERROR", "rcode_number": 0, "flags": flags,
                "question": [{ "name": "www.example.", "type": "A", "class": "IN" }],
                "answer": [rr("CNAME", "example."), rr("A", "192.0.2.7"), rr("A", "192.0.2.8")],
                "authority": [], "additional": [],
            },
        });
        insta::assert_snapshot!(shown("dns", "www.example", &body, &json!({})));
    }

    #[test]
    fn http_shows_its_phases() {
        let body = json!({
            "url": "https://example.org/", "total_ns": 123_456_789, "redirects": 1,
            "hops": [{
                "url": "https://www.example.org/", "method": "GET", "address": "192.0.2.1", "family": "ipv4",
                "port": 443, "started_at": "2026-11-22T00:00:00Z",
                "phases": {
                    "resolve_ns": 1_200_000, "connect_ns": 10_000_000, "tls_ns": 22_000_000,
                    "first_byte_ns": 50_000_000, "transfer_ns": 900_000, "total_ns": 84_100_000,
                },
                "version": "2", "status": 404, "headers": [], "body": { "bytes": 1256, "sha256": "" },
                "sent_bytes": 1, "received_bytes": 1,
            }],
        });
        insta::assert_snapshot!(shown("http", "example.org", &body, &json!({})));
    }

    #[test]
    fn udp_shows_the_first_reply() {
        let conditions = json!({ "lane": "raw", "stamps": { "sent": "user", "received": "kernel" } });
        let body = json!({
            "target": "192.0.2.1", "address": "192.0.2.1", "family": "ipv4", "port": 7, "payload_bytes": 2,
            "timeout_ns": 2, "sent": 3, "received": 1, "replies": 2, "errors": 1, "loss": 0.666,
            "rtt": { "min_ns": 9_871_000, "median_ns": null, "mean_ns": 1, "max_ns": 1, "stddev_ns": 1 },
            "conditions": conditions,
            "probes": [
                { "seq": 0, "status": "replied", "replies": [
                    { "received_at": "2026-11-22T00:00:00Z", "bytes": 5, "payload": "aGVsbG8" },
                ] },
                { "seq": 1, "status": "error", "error": { "name": "port_unreachable" } },
                { "seq": 2, "status": "late" },
            ],
        });
        insta::assert_snapshot!(shown("udp", "192.0.2.1", &body, &json!({})));
    }

    #[test]
    fn tcp_shows_the_state_of_the_port() {
        let conditions = json!({ "lane": "raw", "stamps": { "sent": "user", "received": "kernel" } });
        let body = json!({
            "target": "192.0.2.1", "address": "192.0.2.1", "family": "ipv4", "port": 443, "state": "open",
            "connect_ns": 9_871_000, "rtt_ns": 9_871_000, "conditions": conditions,
            "attempts": [
                { "state": "timed_out" },
                { "state": "open", "rtt_ns": 9_871_000, "ttl": 57, "offer": { "mss": 1400, "sack_permitted": true } },
            ],
        });
        insta::assert_snapshot!(shown("tcp", "192.0.2.1", &body, &json!({})));
    }

    #[test]
    fn other_kinds_show_their_numbers() {
        let summary = json!({ "rtt_min_ns": 1_500_000, "loss_ratio": 0.5 });
        insta::assert_snapshot!(shown("trace", "192.0.2.1", &json!({ "end": "reached" }), &summary));
    }

    #[test]
    fn a_body_of_another_version_is_no_crash() {
        for kind in ["ping", "udp", "tcp", "dns", "http"] {
            let text = shown(kind, "x", &json!({ "what": [1, 2] }), &json!({}));
            assert!(text.contains("berlin") && text.contains('-'), "{text}");
        }
    }
}
