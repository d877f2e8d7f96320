//! What the registry promises: names, descriptions, defaults; and the schemas, by snapshot.

use mmn_modules::{CATALOGUE, KINDS};
use mmn_schema::id::KindName;
use serde_json::{Value, json};

use crate::world::prepare;

#[test]
fn both_lists_say_the_same() {
    let names: Vec<&str> = KINDS.iter().map(|kind| kind.name()).collect();
    assert_eq!(names, ["ping", "trace", "multipath", "udp", "tcp", "dns", "http"]);
    for (kind, described) in KINDS.iter().zip(CATALOGUE) {
        assert_eq!((kind.name(), kind.module()), (described.name, described.module));
        assert_eq!(kind.info(), (described.info)());
        assert!(kind.name().parse::<KindName>().is_ok());
    }
    assert_eq!(KINDS.len(), CATALOGUE.len());
}

#[test]
fn every_parameter_has_a_description_and_a_default() {
    for described in CATALOGUE {
        let schema = serde_json::to_value((described.info)().params).unwrap();
        assert_eq!(schema["additionalProperties"], json!(false), "{}", described.name);
        assert_eq!(schema.get("required"), None, "{}", described.name);
        for (name, parameter) in schema["properties"].as_object().unwrap() {
            let of = format!("{} of {}", name, described.name);
            assert!(parameter["description"].as_str().is_some_and(|text| text.len() > 5), "{of}");
            assert!(parameter.get("default").is_some(), "{of}");
        }
    }
}

#[test]
fn every_field_of_a_result_has_a_description() {
    fn walk(schema: &Value, path: &str) {
        for (name, field) in schema["properties"].as_object().into_iter().flatten() {
            let described = field.get("description").is_some() || field.get("$ref").is_some();
            assert!(described, "{path}.{name}");
        }
        for (name, definition) in schema["$defs"].as_object().into_iter().flatten() {
            walk(definition, &format!("{path}/{name}"));
        }
    }
    for described in CATALOGUE {
        walk(&serde_json::to_value((described.info)().result).unwrap(), described.name);
    }
}

#[test]
fn summaries_name_their_units() {
    for described in CATALOGUE {
        for field in (described.info)().summary {
            assert_eq!(field.name.ends_with("_ns"), field.unit == "ns", "{}", field.name);
            assert_eq!(field.name.ends_with("_bytes"), field.unit == "bytes", "{}", field.name);
        }
    }
}

#[test]
fn unknown_parameters_are_refused_and_none_means_defaults() {
    for described in CATALOGUE {
        assert!(prepare(described.name, Value::Null).is_ok());
        assert!(prepare(described.name, json!({})).is_ok());
        let failure = prepare(described.name, json!({ "no_such": 1 })).err().unwrap();
        assert_eq!(failure.reason.code, "parameters");
        assert!(failure.reason.detail.unwrap().contains("no_such"));
    }
}

#[test]
fn parameters_out_of_range_are_refused_by_name() {
    for (kind, name, value) in [
        ("ping", "count", json!(0)),
        ("ping", "count", json!(4097)),
        ("ping", "interval", json!("9ms")),
        ("ping", "timeout", json!("0s")),
        ("ping", "ttl", json!(0)),
        ("ping", "pattern", json!("abc")),
        ("ping", "pattern", json!("zz")),
        ("ping", "size", json!(65_508)),
        ("ping", "stop_after", json!(0)),
        ("ping", "dscp", json!(64)),
        ("ping", "seed", json!(1)),
        ("ping", "payload", json!("0")),
        ("ping", "port", json!(80)),
        ("ping", "source_port", json!(80)),
        ("ping", "tcp_seq", json!(1)),
        ("ping", "mss", json!(1)),
        ("ping", "ip_timestamp", json!("tsprespec=")),
        ("ping", "ip_timestamp", json!("tsprespec=192.0.2.1,192.0.2.2,192.0.2.3,192.0.2.4,192.0.2.5")),
        ("trace", "payload", json!("0")),
        ("trace", "fragment_offset", json!(0)),
        ("trace", "fragment_offset", json!(8_192)),
        ("ping", "pseudo_mtu", json!(67)),
        ("trace", "confidence", json!(100)),
        ("trace", "wait_hop", json!("2m")),
        ("trace", "constant_payload", json!(true)),
        ("trace", "global_stop_set", json!(["192.0.2.1"])),
        ("trace", "local_stop_set", json!("a")),
        ("trace", "no_backward", json!(true)),
        ("trace", "local_stop_set_epoch", json!(1)),
        ("trace", "local_stop_set_age", json!("0s")),
        ("udp", "port", json!(0)),
        ("udp", "payload", json!("xy")),
        ("udp", "count", json!(1025)),
        ("udp", "source_port", json!(0)),
        ("udp", "interval", json!("1ms")),
        ("tcp", "port", json!(0)),
        ("tcp", "retries", json!(11)),
        ("tcp", "rto", json!("0s")),
        ("tcp", "dscp", json!(200)),
        ("trace", "first_hop", json!(0)),
        ("trace", "max_ttl", json!(0)),
        ("trace", "attempts", json!(21)),
        ("trace", "parallel", json!(0)),
        ("trace", "timeout", json!("0s")),
        ("trace", "wait", json!("2m")),
        ("trace", "size", json!(1)),
        ("trace", "port", json!(80)),
        ("trace", "source_port", json!(0)),
        ("trace", "dscp", json!(64)),
        ("trace", "pmtud_size", json!(67)),
        ("multipath", "confidence", json!(100)),
        ("multipath", "confidence", json!(0)),
        ("multipath", "branch_points", json!(0)),
        ("multipath", "max_probes", json!(4097)),
        ("multipath", "icmp_id", json!(7)),
        ("multipath", "size", json!(65_001)),
        ("dns", "type", json!("NOSUCH")),
        ("dns", "type", json!("AXFR")),
        ("dns", "class", json!("XX")),
        ("dns", "bufsize", json!(511)),
        ("dns", "retries", json!(11)),
        ("dns", "subnet", json!("192.0.2.0/33")),
        ("dns", "port", json!(0)),
        ("dns", "server", json!(" ")),
        ("http", "method", json!("GET /")),
        ("http", "method", json!("CONNECT")),
        ("http", "max_redirects", json!(11)),
        ("http", "headers", json!(["no colon"])),
        ("http", "headers", json!(["A: b\r\nC: d"])),
        ("http", "headers", json!(["Content-Length: 5"])),
        ("http", "user_agent", json!("a\nb")),
        ("http", "resolve", json!(["a:80"])),
        ("http", "max_body", json!(1_u64 << 31)),
        ("http", "timeout", json!("1h")),
    ] {
        let failure =
            prepare(kind, json!({ name: value })).err().unwrap_or_else(|| panic!("{kind} {name} {value}"));
        let detail = failure.reason.detail.unwrap();
        assert!(
            failure.reason.code == "parameters" && detail.to_lowercase().contains(&name.to_lowercase()),
            "{detail}"
        );
    }
    for confidence in [json!(99), json!(99.5)] {
        assert!(prepare("multipath", json!({ "confidence": confidence })).is_ok());
    }
    let failure = prepare("dns", json!({ "edns": false, "do": true })).err().unwrap();
    assert_eq!(failure.reason.detail.as_deref(), Some("do needs edns"));
}

#[test]
fn costs_are_counted() {
    let cost = prepare("ping", json!({ "count": 5, "interval": "1s", "timeout": "2s", "size": 56 }))
        .unwrap()
        .cost()
        .unwrap();
    assert_eq!((cost.packets, cost.bytes, cost.duration_ns), (5, 5 * 104, 6_000_000_000));
    let of = |kind, params| {
        let cost = prepare(kind, params).unwrap().cost().unwrap();
        (cost.packets, cost.bytes)
    };
    assert_eq!(of("ping", json!({ "method": "icmp_timestamp", "count": 1 })), (1, 40));
    assert_eq!(of("ping", json!({ "method": "udp", "family": "ipv4", "size": 100 })), (3, 3 * 128));
    assert_eq!(of("ping", json!({ "method": "tcp_syn", "mss": 1400, "count": 2 })), (2, 2 * 64));
    assert_eq!(of("ping", json!({ "record_route": true, "count": 1 })), (1, 60 + 8 + 56));
    assert_eq!(of("udp", json!({ "text": "hello", "count": 2 })), (2, 2 * 53));
    assert_eq!(of("tcp", json!({ "retries": 0, "family": "ipv4" })), (2, 120));
    let cost = prepare("tcp", json!({})).unwrap().cost().unwrap();
    assert_eq!((cost.packets, cost.duration_ns), (4, 7_000_000_000));
    let cost = prepare("trace", json!({ "max_ttl": 10, "attempts": 3, "timeout": "1s", "size": 12 }))
        .unwrap()
        .cost()
        .unwrap();
    assert_eq!((cost.packets, cost.bytes, cost.duration_ns), (30, 30 * 60, 6_500_000_000));
    let back = json!({ "max_ttl": 10, "attempts": 1, "first_hop": 6, "doubletree": true, "size": 12 });
    assert_eq!(of("trace", back), (10, 10 * 60));
    assert_eq!(of("trace", json!({ "max_ttl": 10, "confidence": 95, "size": 12 })), (2_400, 2_400 * 60));
    assert_eq!(of("ping", json!({ "count": 2, "pseudo_mtu": 1_280 })), (4, 2 * 104 + 2 * 1_280));
    let cost = prepare("multipath", json!({ "max_probes": 100, "max_ttl": 5, "timeout": "1s" }))
        .unwrap()
        .cost()
        .unwrap();
    assert_eq!((cost.packets, cost.bytes, cost.duration_ns), (100, 100 * 80, 12_000_000_000));
    let cost = prepare("dns", json!({ "retries": 1, "no_fallback": true, "timeout": "1s" }))
        .unwrap()
        .cost()
        .unwrap();
    assert_eq!((cost.packets, cost.duration_ns), (2, 2_000_000_000));
    let cost = prepare("http", json!({ "follow_redirects": false, "max_body": 0 })).unwrap().cost().unwrap();
    assert_eq!((cost.packets, cost.duration_ns), (12, 30_000_000_000));
}

#[test]
fn schemas_of_parameters() {
    for described in CATALOGUE {
        insta::assert_json_snapshot!(format!("params_{}", described.name), (described.info)().params);
    }
}
