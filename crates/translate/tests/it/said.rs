//! Each form of results that are given in full: what is said where, in which unit.

use mmn_schema::body::Body;
use mmn_schema::vp::VantagePoint;
use mmn_translate::results::{Asked, atlas, warts};
use mmn_warts::values::{Address, IcmpType, Micros, Time};
use mmn_warts::{Record, Tables, json as warts_json};
use serde_json::{Value, json};

use crate::drawn::{measurement, record};

pub(crate) fn asked(kind: &str, params: &Value) -> Asked {
    Asked::of(&kind.parse().unwrap(), &Body::from_json(params.clone()).unwrap()).unwrap()
}

pub(crate) fn point() -> VantagePoint {
    serde_json::from_value(json!({
        "id": "abcdefghij234567", "name": "laptop", "location": { "country": "DE" }, "asn": 64496,
        "addresses": ["203.0.113.7", "2001:db8:7::7"],
    }))
    .unwrap()
}

const CONDITIONS: &str = r#"{
    "lane": "precise", "stamps": { "sent": "kernel", "received": "kernel" },
    "clock": { "synchronised": true, "offset_ns": 12, "max_error_ns": 99 },
    "interface": { "name": "eth0", "mtu": 1500 }
}"#;

fn conditions() -> Value {
    serde_json::from_str(CONDITIONS).unwrap()
}

pub(crate) fn ping() -> Value {
    json!({
        "target": "a.example", "address": "192.0.2.1", "family": "ipv4", "method": "icmp", "source": "198.51.100.1",
        "icmp_id": 77, "request_bytes": 84, "timeout_ns": 2_500_000_000_u64, "end": "completed", "sent": 3,
        "received": 1, "duplicates": 1, "late": 0, "errors": 1, "loss": 0.667,
        "rtt": { "min_ns": 1_234_567, "mean_ns": 1_234_567, "max_ns": 1_234_567, "stddev_ns": 0 },
        "conditions": conditions(),
        "replies": [
            {
                "seq": 0, "status": "replied", "sent_at": "2026-11-22T00:00:01.000001999Z", "rtt_ns": 1_234_567,
                "ttl": 57, "tos": 0, "ip_id": 4711, "request_ip_id": 5, "bytes": 64, "duplicates": 1,
                "repeats": [{ "rtt_ns": 2_000_400, "ttl": 57 }],
            },
            {
                "seq": 1, "status": "error", "sent_at": "2026-11-22T00:00:02Z", "rtt_ns": 900_000,
                "from": "192.0.2.254", "ttl": 60, "bytes": 36,
                "error": { "name": "host_unreachable", "icmp_type": 3, "icmp_code": 1 },
            },
            { "seq": 2, "status": "timed_out", "sent_at": "2026-11-22T00:00:03Z" },
        ],
    })
}

#[test]
fn a_ping_in_warts() {
    let params =
        json!({ "count": 3, "interval": "1500ms", "ttl": 64, "pattern": "beef", "stop_after": 2, "tos": 8 });
    let record = record("ping", &json!({ "body": ping(), "input": "a.example" }));
    let records = warts::records(&asked("ping", &params), &record).unwrap();
    let [Record::Ping(ping)] = records.as_slice() else { panic!("{records:?}") };
    assert_eq!(ping.start, Some(Time { sec: 1_795_305_601, usec: 1 }));
    assert_eq!(
        (ping.stop_reason, ping.ping_sent, ping.probe_count, ping.stop_count),
        (Some(1), Some(3), Some(3), Some(2))
    );
    assert_eq!((ping.probe_wait, ping.probe_wait_us), (Some(1), Some(500_000)));
    assert_eq!((ping.probe_timeout, ping.probe_timeout_us), (Some(2), Some(500_000)));
    assert_eq!(
        (ping.probe_sport, ping.probe_ttl, ping.probe_tos, ping.probe_size),
        (Some(77), Some(64), Some(8), Some(84))
    );
    assert_eq!(ping.data.as_ref().unwrap().0, [0xbe, 0xef]);
    let [first, again, error] = ping.replies.as_slice() else { panic!("{ping:?}") };
    assert_eq!((first.rtt, first.reply_size, first.reply_ttl), (Some(Micros(1_235)), Some(84), Some(57)));
    assert_eq!((first.icmp, first.flags), (Some(IcmpType { kind: 0, code: 0 }), Some(0x27)));
    assert_eq!((again.probe_id, again.rtt), (Some(0), Some(Micros(2_000))));
    assert_eq!(error.icmp, Some(IcmpType { kind: 3, code: 1 }));
    assert_eq!(error.addr, Some(Address::V4("192.0.2.254".parse().unwrap())));
    let text = warts_json::value(&records[0], &Tables::default()).unwrap();
    assert_eq!(text["statistics"]["replies"], json!(1), "{text}");
}

#[test]
fn a_ping_in_atlas() {
    let more = json!({
        "body": ping(), "started_at": "2026-11-22T00:00:00.9Z", "duration_ns": 3_000_000_000_u64, "simulated": true,
    });
    let asked = asked("ping", &json!({}));
    let result = atlas::result(&asked, &measurement("ping"), Some(&point()), &record("ping", &more)).unwrap();
    assert_eq!(
        result,
        json!({
            "fw": 5000, "lts": 0, "dst_name": "a.example", "af": 4, "dst_addr": "192.0.2.1",
            "src_addr": "198.51.100.1", "proto": "ICMP", "ttl": 57, "size": 56,
            "result": [
                { "rtt": 1.234_567 },
                { "dup": 1, "rtt": 2.000_4 },
                { "error": "host unreachable", "src_addr": "192.0.2.254" },
                { "x": "*" },
            ],
            "dup": 1, "rcvd": 1, "sent": 3, "min": 1.234_567, "max": 1.234_567, "avg": 1.234_567,
            "msm_id": 1_000_042, "prb_id": 1_171_591_994_633_u64, "timestamp": 1_795_305_600, "msm_name": "Ping",
            "from": "203.0.113.7", "type": "ping",
            "mmn": {
                "task": format!("{}-0", "0".repeat(26)), "vp": "abcdefghij234567", "vp_name": "laptop",
                "simulated": true,
            },
        })
    );
}

pub(crate) fn trace() -> Value {
    json!({
        "target": "192.0.2.9", "address": "192.0.2.9", "family": "ipv4", "method": "udp", "paris": true,
        "source": "198.51.100.1", "source_port": 40_000, "port": 33_434, "started_at": "2026-11-22T00:00:00Z",
        "stop": { "reason": "completed", "ttl": 3 }, "sent": 4, "replied": 2, "conditions": conditions(),
        "hops": [
            { "ttl": 1, "probes": [{
                "attempt": 0, "status": "replied", "sent_at": "2026-11-22T00:00:00Z", "bytes": 60,
                "reply": {
                    "from": "192.0.2.254", "rtt_ns": 500_500, "ttl": 64, "tos": 192, "ip_id": 9, "bytes": 96,
                    "name": "ttl_exceeded", "icmp_type": 11, "icmp_code": 0,
                    "quote": { "ttl": 1, "tos": 0, "ip_bytes": 60 },
                    "extensions": [{
                        "class": 1, "c_type": 1,
                        "mpls": [{ "label": 16, "traffic_class": 0, "ttl": 1, "bottom": true }],
                    }],
                },
            }] },
            { "ttl": 2, "probes": [
                { "attempt": 0, "status": "timed_out", "sent_at": "2026-11-22T00:00:01Z", "bytes": 60 },
                { "attempt": 1, "status": "timed_out", "sent_at": "2026-11-22T00:00:02Z", "bytes": 60 },
            ] },
            { "ttl": 3, "probes": [{
                "attempt": 0, "status": "replied", "sent_at": "2026-11-22T00:00:03Z", "bytes": 60,
                "reply": {
                    "from": "192.0.2.9", "rtt_ns": 9_000_000, "ttl": 61, "bytes": 68, "name": "port_unreachable",
                    "icmp_type": 3, "icmp_code": 3,
                },
            }] },
        ],
    })
}

#[test]
fn a_trace_in_warts() {
    let record = record("trace", &json!({ "body": trace() }));
    let records =
        warts::records(&asked("trace", &json!({ "method": "udp", "timeout": "2500ms" })), &record).unwrap();
    let [Record::Trace(trace)] = records.as_slice() else { panic!("{records:?}") };
    assert_eq!((trace.stop_reason, trace.probe_type, trace.wait), (Some(1), Some(5), Some(3)));
    assert_eq!((trace.hop_count, trace.probec, trace.stop_hop), (Some(3), Some(4), None));
    assert_eq!((trace.sport, trace.dport, trace.probe_size), (Some(40_000), Some(33_434), Some(60)));
    let [first, last] = trace.hops.as_slice() else { panic!("{trace:?}") };
    assert_eq!((first.probe_ttl, first.rtt, first.reply_size), (Some(1), Some(Micros(501)), Some(116)));
    assert_eq!((first.flags, first.q_ipttl, first.q_iplen), (Some(0x11), None, None));
    let stack = first.icmpext.as_ref().unwrap().0[0].mpls().unwrap();
    assert_eq!((stack[0].label, stack[0].bottom, stack[0].ttl), (16, true, 1));
    assert_eq!((last.probe_ttl, last.icmp), (Some(3), Some(IcmpType { kind: 3, code: 3 })));
}

#[test]
fn a_trace_in_atlas() {
    let record = record("trace", &json!({ "body": trace() }));
    let result = atlas::result(&asked("trace", &json!({})), &measurement("trace"), None, &record).unwrap();
    assert_eq!(
        result["result"],
        json!([
            { "hop": 1, "result": [{
                "from": "192.0.2.254", "ttl": 64, "size": 96, "rtt": 0.5005,
                "icmpext": { "version": 2, "rfc4884": 1, "obj": [{
                    "class": 1, "type": 1, "mpls": [{ "label": 16, "exp": 0, "s": 1, "ttl": 1 }],
                }] },
            }] },
            { "hop": 2, "result": [{ "x": "*" }, { "x": "*" }] },
            { "hop": 3, "result": [{ "from": "192.0.2.9", "ttl": 61, "size": 68, "rtt": 9.0 }] },
        ])
    );
    assert_eq!((&result["proto"], &result["paris_id"]), (&json!("UDP"), &json!(1)));
    assert_eq!(result["size"], json!(32));
}

#[test]
fn a_silent_hop_of_a_graph_is_a_set_of_its_link() {
    let node = |id: u32, ttl: u8, address: Option<&str>, kind: &str| json!({ "id": id, "ttl": ttl, "address": address, "kind": kind, "flows": 1 });
    let link = |from: u32, to: u32, ttl: u8| {
        let sent = "2026-11-22T00:00:00Z";
        json!({ "from": from, "to": to, "probes": [
            { "ttl": ttl, "flow": 0, "attempt": 0, "status": "timed_out", "sent_at": sent, "bytes": 60 },
        ] })
    };
    let body = json!({
        "target": "192.0.2.9", "address": "192.0.2.9", "family": "ipv4", "method": "udp_dport", "confidence": 95.0,
        "stop": { "reason": "completed" }, "sent": 3, "replied": 2, "conditions": conditions(), "diamonds": [],
        "nodes": [
            node(0, 0, None, "source"), node(1, 1, Some("192.0.2.254"), "router"), node(2, 2, None, "silent"),
            node(3, 3, Some("192.0.2.9"), "destination"),
        ],
        "links": [link(0, 1, 1), link(1, 2, 2), link(2, 3, 3)],
    });
    let records =
        warts::records(&asked("multipath", &json!({})), &record("multipath", &json!({ "body": body })))
            .unwrap();
    let [Record::Tracelb(trace)] = records.as_slice() else { panic!("{records:?}") };
    assert_eq!((trace.confidence, trace.probec, trace.nodes.len()), (Some(95), Some(3), 2));
    let [link] = trace.links.as_slice() else { panic!("{trace:?}") };
    assert_eq!((link.from, link.to, link.sets.len()), (Some(0), Some(1), 2));
    assert_eq!(link.sets[1].probes[0].ttl, Some(3));
}

/// The answer to a question for TXT of a.example: one record, and an OPT record with NSID.
fn answer() -> Vec<u8> {
    let mut octets = b"\x12\x34\x84\x00\0\x01\0\x01\0\0\0\x01\x01a\x07example\0\0\x10\0\x01".to_vec();
    octets.extend(b"\xc0\x0c\0\x10\0\x01\0\0\x0e\x10\0\x06\x05hello");
    octets.extend(b"\0\0\x29\x04\xd0\0\0\0\0\0\x06\0\x03\0\x02ns");
    octets
}

pub(crate) fn dns() -> Value {
    let raw = answer();
    let message = mmn_modules::dns::decode(&raw);
    let octets = mmn_schema::body::Octets(raw.clone());
    json!({
        "server": "192.0.2.53", "address": "192.0.2.53", "family": "ipv4", "port": 53, "transport": "udp",
        "rtt_ns": 3_000_000, "total_ns": 2_003_000_000, "ignored": {}, "query": "EjQ", "query_bytes": 2,
        "response_bytes": raw.len(), "response": message, "raw": octets,
        "attempts": [
            {
                "transport": "udp", "sent_at": "2026-11-22T00:00:00Z", "source": "198.51.100.1", "id": 1,
                "error": { "code": "timeout" },
            },
            {
                "transport": "udp", "sent_at": "2026-11-22T00:00:02Z", "source": "198.51.100.1", "id": 4660,
                "rtt_ns": 3_000_000, "response_bytes": raw.len(),
            },
        ],
    })
}

#[test]
fn a_question_in_warts() {
    let params = json!({ "type": "TXT", "nsid": true, "timeout": "2s" });
    let record = record("dns", &json!({ "body": dns(), "input": "a.example." }));
    let records = warts::records(&asked("dns", &params), &record).unwrap();
    let [Record::Host(host)] = records.as_slice() else { panic!("{records:?}") };
    assert_eq!((host.stop, host.qtype, host.qclass, host.wait), (Some(1), Some(16), Some(1), Some(2_000)));
    assert_eq!((host.qname.as_ref().unwrap().to_str().as_ref(), host.flags), ("a.example", Some(4)));
    let [first, second] = host.queries.as_slice() else { panic!("{host:?}") };
    assert_eq!((first.rx, first.id, first.rcode), (None, Some(1), None));
    assert_eq!((second.rx, second.rcode), (Some(Time { sec: 1_795_305_602, usec: 3_000 }), Some(0)));
    assert_eq!(second.flags, Some(0x40));
    assert_eq!(second.an[0].name.as_ref().unwrap().to_str(), "a.example");
    assert_eq!(second.ar[0].rtype, Some(41));
}

pub(crate) fn http() -> Value {
    json!({
        "url": "https://a.example:8443/b?c=d", "total_ns": 50_000_000, "redirects": 0,
        "hops": [{
            "url": "https://a.example:8443/b?c=d", "method": "GET", "address": "192.0.2.80", "family": "ipv4",
            "port": 8443, "source": "198.51.100.1", "source_port": 40_001, "started_at": "2026-11-22T00:00:00Z",
            "phases": {
                "resolve_ns": 1_000_000, "connect_ns": 9_000_000, "tls_ns": 20_000_000, "first_byte_ns": 15_000_000,
                "transfer_ns": 5_000_000, "total_ns": 50_000_000,
            },
            "version": "1.1", "status": 200, "reason": "OK", "headers": [{ "name": "Server", "value": "x" }],
            "body": { "bytes": 5, "sha256": "AA", "content": "aGVsbG8" }, "sent_bytes": 60, "received_bytes": 40,
        }],
    })
}

#[test]
fn a_request_in_warts() {
    let record = record("http", &json!({ "body": http(), "input": "https://a.example:8443/b?c=d" }));
    let records = warts::records(&asked("http", &json!({ "verify": false })), &record).unwrap();
    let [Record::Http(http)] = records.as_slice() else { panic!("{records:?}") };
    assert_eq!((http.stop, http.scheme, http.dport, http.flags), (Some(3), Some(0), Some(8443), Some(1)));
    assert_eq!(http.host.as_ref().unwrap().to_str(), "a.example");
    assert_eq!(http.file.as_ref().unwrap().to_str(), "/b?c=d");
    assert_eq!((http.hsrtt, http.maxtime), (Some(Micros(9_000)), Some(Time { sec: 30, usec: 0 })));
    let [head, body] = http.bufs.as_slice() else { panic!("{http:?}") };
    assert_eq!((head.content, body.content), (Some(1), Some(0)));
    assert_eq!(head.data.as_ref().unwrap().0, b"HTTP/1.1 200 OK\r\nServer: x\r\n\r\n");
    assert_eq!(body.data.as_ref().unwrap().0, b"hello");
}

#[test]
fn a_rejected_client_hello_in_warts() {
    let body = json!({
        "url": "https://a.example/", "total_ns": 30_000_000, "redirects": 0, "hops": [],
        "ech_rejected": {
            "url": "https://a.example/", "address": "192.0.2.80", "family": "ipv4", "port": 443,
            "started_at": "2026-11-22T00:00:00Z", "connect_ns": 9_000_000, "tls_ns": 20_000_000,
            "ech_status": "rejected", "ech_outer_name": "front.example", "verified": true, "certificates": [],
            "ech_retry_configs": "AQI",
        },
    });
    let record = record("http", &json!({ "body": body, "input": "https://a.example/" }));
    let asked = asked("http", &json!({ "ech_config_list": "AAEC" }));
    let records = warts::records(&asked, &record).unwrap();
    let [Record::Http(http)] = records.as_slice() else { panic!("{records:?}") };
    assert_eq!((http.stop, http.ech_status, http.dport), (Some(4), Some(11), Some(443)));
    assert_eq!(http.ech_outer_sni.as_ref().unwrap().to_str(), "front.example");
    let parts: Vec<_> = http.parts.iter().map(|part| (part.kind, part.data.0.as_slice())).collect();
    assert_eq!(parts, [(1, &[0, 1, 2][..]), (2, &[1, 2])]);
}

#[test]
fn what_is_called_off_has_what_it_found() {
    let mut body = ping();
    body["end"] = json!("cancelled");
    let called_off = json!({ "body": body, "outcome": "cancelled", "reason": { "code": "by-client" } });
    let records = warts::records(&asked("ping", &json!({})), &record("ping", &called_off)).unwrap();
    let [Record::Ping(ping)] = records.as_slice() else { panic!("{records:?}") };
    assert_eq!(ping.stop_reason, Some(3));
    assert!(!ping.replies.is_empty());
}

#[test]
fn datagrams_in_warts() {
    let body = json!({
        "target": "192.0.2.9", "address": "192.0.2.9", "family": "ipv4", "port": 7, "source": "198.51.100.1",
        "payload_bytes": 2, "timeout_ns": 2_000_000_000, "end": "enough", "sent": 2, "received": 1, "replies": 1,
        "errors": 0, "loss": 0.5, "conditions": conditions(),
        "probes": [
            { "seq": 0, "status": "timed_out", "sent_at": "2026-11-22T00:00:00Z", "source_port": 50_000 },
            {
                "seq": 1, "status": "replied", "sent_at": "2026-11-22T00:00:01Z", "source_port": 50_001,
                "replies": [{ "received_at": "2026-11-22T00:00:01.5Z", "bytes": 2, "payload": "aGk" }],
            },
        ],
    });
    let params = json!({ "count": 2, "text": "hi", "stop_after": 1 });
    let records = warts::records(&asked("udp", &params), &record("udp", &json!({ "body": body }))).unwrap();
    let [Record::Udpprobe(probe)] = records.as_slice() else { panic!("{records:?}") };
    assert_eq!((probe.p0_sport, probe.probe_sent, probe.probe_count), (Some(50_000), Some(2), Some(2)));
    assert_eq!((probe.stop, probe.stop_count, probe.replies.len()), (Some(1), Some(1), 0));
    let [other] = probe.others.as_slice() else { panic!("{probe:?}") };
    assert_eq!(other.about.sport, Some(50_001));
    assert_eq!(other.replies[0].data.as_ref().unwrap().0, b"hi");
    assert_eq!(other.replies[0].rx, Some(Time { sec: 1_795_305_601, usec: 500_000 }));
}

#[test]
fn what_failed_says_why() {
    let failed = |input: &str| {
        record(
            "ping",
            &json!({
                "input": input, "outcome": "failed", "started_at": "2026-11-22T00:00:00Z",
                "reason": { "code": "no-route", "detail": "network unreachable" },
            }),
        )
    };
    let asked = asked("ping", &json!({}));
    let records = warts::records(&asked, &failed("192.0.2.1")).unwrap();
    let [Record::Ping(ping)] = records.as_slice() else { panic!("{records:?}") };
    assert_eq!(
        (ping.stop_reason, ping.errmsg.as_ref().unwrap().to_str().as_ref()),
        (Some(2), "no-route: network unreachable")
    );
    // Without an address it has no place.
    assert!(warts::records(&asked, &failed("a.example")).is_err());
    let result = atlas::result(&asked, &measurement("ping"), None, &failed("a.example")).unwrap();
    assert_eq!(result["result"], json!([{ "error": "no-route: network unreachable" }]));
    assert_eq!((&result["sent"], &result["min"]), (&json!(0), &json!(-1)));
}
