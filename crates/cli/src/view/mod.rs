//! How the results of a kind look in a table. A kind that has no file here is shown by the numbers of its summaries.

mod dns;
mod generic;
mod http;
mod multipath;
mod ping;
mod tcp;
mod trace;
mod udp;

use mmn_schema::announce::SummaryField;
use mmn_schema::api::ResultRecord;
use mmn_schema::outcome::Outcome;

use crate::style::{Style, Tone};
use crate::table::{self, Cell, Column, Row};

/// How the results of a kind look.
pub(crate) trait View: std::fmt::Debug + Send {
    /// The columns after target and vantage point.
    fn columns(&self) -> Vec<Column>;

    /// The cells of an *ok* record in those columns.
    fn cells(&self, record: &ResultRecord) -> Vec<Cell>;

    /// Whether a record says more than fits a row, so that each of a few has a page of its own.
    fn is_paged(&self) -> bool {
        false
    }

    /// The page of an *ok* record.
    fn page(&self, _: &ResultRecord) -> Option<Page> {
        None
    }
}

/// A record in full.
#[derive(Debug)]
pub(crate) struct Page {
    /// What it is, and what came of it.
    pub(crate) heading: String,
    pub(crate) columns: Vec<Column>,
    pub(crate) rows: Vec<Row>,
}

impl Page {
    /// Its lines, with the vantage point in the heading.
    pub(crate) fn lines(&self, record: &ResultRecord, width: Option<usize>, style: Style) -> Vec<String> {
        let vp = place(record).map_or(String::new(), |vp| format!("{vp} to "));
        let heading = Cell::new(format!("{vp}{}", self.heading)).tone(Tone::Head);
        let mut lines = vec![style.paint(&heading.text, heading.tone)];
        if !self.rows.is_empty() {
            lines.extend(table::lines(self.columns.clone(), &self.rows, width, style));
        }
        lines
    }
}

/// The view of a kind whose summaries have these numbers.
pub(crate) fn of_kind(kind: &str, fields: &[SummaryField]) -> Box<dyn View> {
    match kind {
        "ping" => Box::new(ping::Ping),
        "udp" => Box::new(udp::Udp),
        "tcp" => Box::new(tcp::Tcp),
        "dns" => Box::new(dns::Dns),
        "http" => Box::new(http::Http),
        "trace" => Box::new(trace::Trace),
        "multipath" => Box::new(multipath::Multipath),
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

/// Where a record comes from, by name; what is simulated says so wherever it stands.
fn place(record: &ResultRecord) -> Option<String> {
    record.vp_name.as_deref().map(|name| named(name, record.simulated))
}

/// An address as it is shown, with its name where it has one.
fn address(address: impl std::fmt::Display, name: Option<&str>) -> String {
    name.map_or_else(|| address.to_string(), |name| format!("{name} ({address})"))
}

/// The name of a vantage point as it is shown.
pub(crate) fn named(name: &str, simulated: bool) -> String {
    if simulated { format!("{name}{}", crate::table::SIMULATED) } else { name.to_owned() }
}

/// The row of a record.
pub(crate) fn row(view: &dyn View, record: &ResultRecord) -> Row {
    let vp = place(record).or_else(|| record.vp.as_ref().map(ToString::to_string));
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
    fn record(kind: &str, input: &str, body: &Value, summary: &Value) -> ResultRecord {
        let id = mmn_schema::id::MeasurementId::new(1_800_000_000_000, &[3; 10]);
        serde_json::from_value(json!({
            "task": format!("{id}-0"), "kind": kind, "vp_name": "berlin", "input": input, "attempt": 0,
            "final": true, "outcome": "ok", "answered": true, "summary": summary, "body": body,
        }))
        .unwrap()
    }

    fn shown(kind: &str, input: &str, body: &Value, summary: &Value) -> String {
        let record = record(kind, input, body, summary);
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
    fn http_shows_what_became_of_ech() {
        let rejected = json!({
            "url": "https://example.org/", "total_ns": 33_000_000, "redirects": 0, "hops": [],
            "ech_rejected": {
                "url": "https://example.org/", "address": "192.0.2.1", "family": "ipv4", "port": 443,
                "started_at": "2026-11-22T00:00:00Z", "resolve_ns": 1_200_000, "connect_ns": 10_000_000,
                "tls_ns": 22_000_000, "ech_status": "rejected", "ech_outer_name": "public.example",
                "verified": true, "certificates": [], "ech_retry_configs": "AAA",
            },
        });
        let accepted = json!({
            "url": "https://example.org/", "total_ns": 123_456_789, "redirects": 0,
            "hops": [{
                "url": "https://example.org/", "method": "GET", "address": "192.0.2.1", "family": "ipv4",
                "port": 443, "started_at": "2026-11-22T00:00:00Z",
                "phases": {
                    "connect_ns": 10_000_000, "tls_ns": 22_000_000, "first_byte_ns": 50_000_000,
                    "transfer_ns": 900_000, "total_ns": 84_100_000,
                },
                "tls": {
                    "version": "TLSv1.3", "cipher": "TLS_AES_128_GCM_SHA256", "sni": "example.org",
                    "verified": true, "certificates": [], "ech_status": "accepted",
                    "ech_outer_name": "public.example",
                },
                "version": "2", "status": 200, "headers": [], "body": { "bytes": 1256, "sha256": "" },
                "sent_bytes": 1, "received_bytes": 1,
            }],
        });
        let shown = [rejected, accepted].map(|body| shown("http", "example.org", &body, &json!({})));
        insta::assert_snapshot!(shown.join("\n\n"));
    }

    fn page(kind: &str, body: &Value) -> String {
        let record =
            record(kind, "example.org", body, &json!({ "hops": 4, "silent": 1, "rtt_ns": 34_000_000 }));
        let view = of_kind(kind, &[]);
        let row =
            table::lines(columns(view.as_ref(), true), &[row(view.as_ref(), &record)], None, Style::plain());
        let page = view.page(&record).unwrap().lines(&record, Some(110), Style::plain());
        format!("{}\n\n{}", row.join("\n"), page.join("\n"))
    }

    const CONDITIONS: &str = r#"{"lane": "raw", "stamps": {"sent": "user", "received": "kernel"}}"#;

    fn conditions() -> Value {
        serde_json::from_str(CONDITIONS).unwrap()
    }

    #[test]
    fn trace_shows_its_hops() {
        let reply = |from: &str, ms: u64, name: &str| json!({ "from": from, "rtt_ns": ms * 1_000_000, "bytes": 36, "name": name });
        let probe = |attempt: u8, reply: Option<Value>| {
            let status = if reply.is_some() { "replied" } else { "timed_out" };
            let mut probe = json!({ "attempt": attempt, "status": status, "bytes": 60 });
            if let Some(reply) = reply {
                probe["reply"] = reply;
            }
            probe
        };
        let mut labelled = reply("203.0.113.3", 21, "ttl_exceeded");
        labelled["extensions"] = json!([{
            "class": 1, "c_type": 1,
            "mpls": [{ "label": 24_001, "traffic_class": 0, "ttl": 1, "bottom": true }],
        }]);
        labelled["quote"] = json!({ "ttl": 1, "altered": ["source", "source_port", "ip_id"] });
        let body = json!({
            "target": "example.org", "address": "198.51.100.9", "family": "ipv4", "method": "icmp", "paris": true,
            "stop": { "reason": "completed", "ttl": 4 }, "sent": 7, "replied": 5,
            "hops": [
                { "ttl": 1, "probes": [probe(0, Some(reply("203.0.113.1", 1, "ttl_exceeded")))] },
                { "ttl": 2, "probes": [probe(0, None), probe(1, None)] },
                { "ttl": 3, "probes": [
                    probe(0, Some(labelled)), probe(1, Some(reply("203.0.113.33", 22, "ttl_exceeded"))),
                ] },
                { "ttl": 4, "probes": [probe(0, None), probe(1, Some(reply("198.51.100.9", 34, "echo_reply")))] },
            ],
            "mtu": {
                "mtu": 1480, "ttl": 4, "probes": [],
                "notes": [{ "kind": "too_big", "bytes": 1500, "from": "203.0.113.3", "mtu": 1480 }],
            },
            "conditions": conditions(),
        });
        insta::assert_snapshot!(page("trace", &body));
        let mut named = body.clone();
        named["hops"][0]["probes"][0]["reply"]["from_name"] = json!("r1.example.net");
        named["hops"][2]["probes"][1]["reply"]["from_name"] = json!("r3.example.net\u{1b}[2J");
        insta::assert_snapshot!("trace_shows_names", page("trace", &named));
        let mut many = body;
        let probes: Vec<Value> = (0..10)
            .map(|n| probe(n, (n != 3).then(|| reply("203.0.113.1", 10 + u64::from(n), "ttl_exceeded"))))
            .collect();
        many["hops"][0]["probes"] = json!(probes);
        many["stop"] = json!({ "reason": "unreachable", "ttl": 4, "error": "host_unreachable", "code": 1 });
        insta::assert_snapshot!("trace_shows_numbers_of_many_probes", page("trace", &many));
    }

    #[test]
    fn multipath_shows_its_graph() {
        let node = |id: u32, ttl: u8, kind: &str, address: Option<&str>| {
            let mut node = json!({ "id": id, "ttl": ttl, "kind": kind, "flows": 6 });
            if let Some(address) = address {
                node["address"] = json!(address);
            }
            node
        };
        let link = |from: u32, to: u32, address: Option<&str>, ms: u64| {
            let reply =
                json!({ "from": address, "rtt_ns": ms * 1_000_000, "bytes": 36, "name": "ttl_exceeded" });
            let replies = if address.is_some() { json!([reply]) } else { json!([]) };
            let probe = json!({ "ttl": 1, "flow": 0, "attempt": 0, "status": "replied", "replies": replies });
            json!({ "from": from, "to": to, "probes": [probe] })
        };
        let mut first = node(1, 1, "router", Some("203.0.113.1"));
        first["balancer"] = json!("per_flow");
        let mut second = node(2, 2, "router", Some("203.0.113.2"));
        second["name"] = json!("r2.example.net");
        let body = json!({
            "target": "198.51.100.9", "address": "198.51.100.9", "family": "ipv4", "method": "udp_dport",
            "confidence": 95.0, "stop": { "reason": "completed" }, "sent": 40, "replied": 30,
            "nodes": [
                node(0, 0, "source", None), first, second,
                node(3, 2, "silent", None), node(4, 3, "destination", Some("198.51.100.9")),
            ],
            "links": [
                link(0, 1, Some("203.0.113.1"), 1), link(1, 2, Some("203.0.113.2"), 2), link(1, 3, None, 0),
                link(2, 4, Some("198.51.100.9"), 9), link(3, 4, Some("198.51.100.9"), 8),
            ],
            "diamonds": [{ "from_ttl": 1, "to_ttl": 3, "width": 2 }], "conditions": conditions(),
        });
        insta::assert_snapshot!(page("multipath", &body));
    }

    #[test]
    fn udp_shows_the_first_reply() {
        let body = json!({
            "target": "192.0.2.1", "address": "192.0.2.1", "family": "ipv4", "port": 7, "payload_bytes": 2,
            "timeout_ns": 2, "sent": 3, "received": 1, "replies": 2, "errors": 1, "loss": 0.666,
            "rtt": { "min_ns": 9_871_000, "median_ns": null, "mean_ns": 1, "max_ns": 1, "stddev_ns": 1 },
            "conditions": conditions(),
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
        let body = json!({
            "target": "192.0.2.1", "address": "192.0.2.1", "family": "ipv4", "port": 443, "state": "open",
            "connect_ns": 9_871_000, "rtt_ns": 9_871_000, "conditions": conditions(),
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
        insta::assert_snapshot!(shown("other", "192.0.2.1", &json!({ "end": "reached" }), &summary));
    }

    #[test]
    fn a_body_of_another_version_is_no_crash() {
        for kind in ["ping", "trace", "multipath", "udp", "tcp", "dns", "http"] {
            let text = shown(kind, "x", &json!({ "what": [1, 2] }), &json!({}));
            assert!(text.contains("berlin") && text.contains('-'), "{text}");
        }
    }
}
