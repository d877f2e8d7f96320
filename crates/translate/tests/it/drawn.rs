//! Values that a schema allows, drawn by a number: what a kind may say, and more than it ever does.

use mmn_schema::api::{Measurement, ResultRecord};
use mmn_schema::body::Body;
use mmn_translate::results::Asked;
use serde_json::{Map, Value, json};

pub(crate) struct Source(u64);

impl Source {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// `SplitMix64`.
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % u64::try_from(bound.max(1)).unwrap()).unwrap()
    }
}

/// A value of a schema; `root` has its definitions.
pub(crate) fn value(root: &Value, schema: &Value, source: &mut Source, depth: usize) -> Value {
    if let Some(name) = schema["$ref"].as_str() {
        let definition = &root["$defs"][name.trim_start_matches("#/$defs/")];
        return value(root, definition, source, depth);
    }
    for choice in ["oneOf", "anyOf"] {
        if let Some(list) = schema[choice].as_array() {
            return value(root, &list[source.below(list.len())], source, depth);
        }
    }
    if let Some(only) = schema.get("const") {
        return only.clone();
    }
    let kind = match &schema["type"] {
        Value::Array(list) => list[source.below(list.len())].as_str().unwrap(),
        kind => kind.as_str().unwrap_or("null"),
    };
    match kind {
        "object" => object(root, schema, source, depth),
        "array" => {
            let count = if depth == 0 { 0 } else { source.below(4) };
            (0..count).map(|_| value(root, &schema["items"], source, depth - 1)).collect()
        }
        "string" => text(schema, source),
        "integer" => integer(schema["format"].as_str().unwrap_or(""), source),
        "number" => json!(f64::from(u32::try_from(source.below(1000)).unwrap()) / 10.0),
        "boolean" => json!(source.below(2) == 1),
        _ => Value::Null,
    }
}

fn object(root: &Value, schema: &Value, source: &mut Source, depth: usize) -> Value {
    let required: Vec<_> =
        schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let mut object = Map::new();
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        if required.contains(&name.as_str()) || source.below(3) > 0 {
            object.insert(name.clone(), value(root, property, source, depth.saturating_sub(1)));
        }
    }
    Value::Object(object)
}

fn text(schema: &Value, source: &mut Source) -> Value {
    let words = [
        "",
        "eth0",
        "a.example.",
        "SRA",
        "ttl_exceeded",
        "echo_reply",
        "tcp",
        "A",
        "TXT",
        "IN",
        "nul\0l",
        "ü,\"\n",
    ];
    let addresses = ["192.0.2.1", "192.0.2.200", "2001:db8::1", "::"];
    json!(match (schema["format"].as_str(), schema["contentEncoding"].as_str()) {
        (Some("ip"), _) => addresses[source.below(addresses.len())].to_owned(),
        (Some("date-time"), _) =>
            format!("20{:02}-11-22T00:00:{:02}.123456789Z", source.below(90), source.below(60)),
        (Some("duration-text"), _) => format!("{}us", source.below(900_000_000)),
        (_, Some(_)) => ["", "AA", "_-8", "aGVsbG8"][source.below(4)].to_owned(),
        _ => words[source.below(words.len())].to_owned(),
    })
}

fn integer(format: &str, source: &mut Source) -> Value {
    let bits = format.trim_start_matches(|c: char| c.is_alphabetic()).parse::<u32>().unwrap_or(8);
    let most = if format.starts_with("uint") { u64::MAX >> (64 - bits) } else { u64::MAX >> (65 - bits) };
    let number = source.next();
    json!(match source.below(4) {
        0 => 0,
        1 => most,
        2 => number & most,
        _ => number & most & 0xff,
    })
}

/// What a kind was asked and what it found, as the schemas of the kind allow.
pub(crate) fn result(kind: &str, seed: u64) -> (Asked, ResultRecord) {
    let mut source = Source::new(seed);
    let known = mmn_modules::CATALOGUE.iter().find(|known| known.name == kind).unwrap();
    let info = (known.info)();
    let drawn = |schema: &Value, source: &mut Source| value(schema, schema, source, 8);
    let params = drawn(info.params.as_value(), &mut source);
    let body = drawn(info.result.as_value(), &mut source);
    let asked = Asked::of(&info.name, &Body::from_json(params).unwrap()).unwrap();
    let record = record(
        kind,
        &json!({ "body": body, "started_at": "2026-11-22T00:00:00.5Z", "duration_ns": 1_500_000_000 }),
    );
    (asked, record)
}

/// A result of a kind, with more fields.
pub(crate) fn record(kind: &str, more: &Value) -> ResultRecord {
    let mut record = json!({
        "cursor": "1.0", "task": format!("{}-0", "0".repeat(26)), "kind": kind, "vp": "abcdefghij234567",
        "vp_name": "laptop", "input": "a.example", "attempt": 0, "final": true, "outcome": "ok", "answered": true,
        "summary": {}, "body": null,
    });
    for (name, value) in more.as_object().unwrap() {
        record[name] = value.clone();
    }
    serde_json::from_value(record).unwrap()
}

/// A measurement of a kind.
pub(crate) fn measurement(kind: &str) -> Measurement {
    serde_json::from_value(json!({
        "id": "0".repeat(26), "number": 1_000_042, "kind": kind, "params": {}, "from": "all", "vps": [],
        "tenant": "default", "visibility": "private", "label": "weekly", "state": "done",
        "accepted_at": "2026-11-22T00:00:00Z",
        "ledger": {
            "accepted": 1, "ok": 1, "failed": 0, "refused": 0, "lost": 0, "cancelled": 0, "pending": 0,
        },
    }))
    .unwrap()
}
