//! Our JSON beside that of scamper's own converter (release 20211212) of the same file.

use mmn_warts::{Reader, json};
use serde_json::Value;

/// Fields that newer releases have another way.
const CHANGED: [&str; 1] = ["wait_probe"];

/// Whether all that is in `theirs` is in `ours`.
fn check(theirs: &Value, ours: &Value, place: &str, wrong: &mut Vec<String>) {
    match (theirs, ours) {
        (Value::Object(theirs), Value::Object(ours)) => {
            for (name, theirs) in theirs.iter().filter(|(name, _)| !CHANGED.contains(&name.as_str())) {
                match ours.get(name) {
                    Some(ours) => check(theirs, ours, &format!("{place}.{name}"), wrong),
                    None => wrong.push(format!("{place} has no {name}")),
                }
            }
        }
        (Value::Array(theirs), Value::Array(ours)) if theirs.len() == ours.len() => {
            for (at, (theirs, ours)) in theirs.iter().zip(ours).enumerate() {
                check(theirs, ours, &format!("{place}[{at}]"), wrong);
            }
        }
        (Value::Number(theirs), Value::Number(ours)) if theirs.as_f64() == ours.as_f64() => {}
        (theirs, ours) if theirs == ours => {}
        (theirs, ours) => wrong.push(format!("{place}: {theirs} and {ours}")),
    }
}

#[test]
fn all_that_scamper_says_is_said() {
    let lines = include_str!("data/release-20211212.json").lines();
    let theirs: Vec<Value> = lines.map(|line| serde_json::from_str(line).unwrap()).collect();
    let mut reader = Reader::new(&include_bytes!("data/release-20211212.warts")[..]);
    let mut ours = Vec::new();
    while let Some(record) = reader.read().unwrap() {
        ours.extend(json::value(&record, reader.tables()));
    }
    // Its converter leaves host and sniff out.
    let known: Vec<_> = theirs.iter().map(|line| line["type"].clone()).collect();
    ours.retain(|line| known.contains(&line["type"]));
    assert_eq!(theirs.len(), ours.len());
    let mut wrong = Vec::new();
    for (at, (theirs, ours)) in theirs.iter().zip(&ours).enumerate() {
        check(theirs, ours, &format!("{at} ({})", theirs["type"]), &mut wrong);
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn what_newer_releases_say_is_said() {
    let json = |file: &[u8], wanted: &str| {
        let mut reader = Reader::new(file);
        let mut found = Vec::new();
        while let Some(record) = reader.read().unwrap() {
            found.extend(json::value(&record, reader.tables()).filter(|value| value["type"] == wanted));
        }
        assert!(!found.is_empty(), "{wanted}");
        found
    };
    for ping in json(include_bytes!("data/ping.warts"), "ping") {
        assert_eq!(ping["no_responses"], Value::Array(Vec::new()));
    }
    let traces = json(include_bytes!("data/trace.warts"), "trace");
    let searches: Vec<_> = traces.iter().filter(|trace| !trace["pmtud"].is_null()).collect();
    assert!(!searches.is_empty());
    for trace in searches {
        let (probes, replies) =
            (&trace["pmtud"]["probec"], trace["pmtud"]["hops"].as_array().map_or(0, Vec::len));
        assert!(probes.as_u64().is_some_and(|probes| probes <= replies as u64), "{trace}");
    }
    let flags = traces.iter().filter_map(|trace| trace["hops"].as_array()).flatten().map(|hop| &hop["flags"]);
    assert!(flags.filter_map(Value::as_array).all(|flags| flags.iter().all(Value::is_string)));
}
