//! `mmn results MSM --format …` against an API that answers as it is told, read by those who read such files.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that fails may panic")]

// The other commands' tests use all of it.
#[allow(dead_code, reason = "shared with commands.rs")]
mod common;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use common::{Fake, Script, ledger, msm, record};
use serde_json::{Value, json};

/// Five pings: answered, lost, simulated, failed, and one that was never begun.
fn pings() -> Script {
    let body = |rtt: Option<u64>| {
        let status = if rtt.is_some() { "replied" } else { "timed_out" };
        json!({
            "target": "192.0.2.1", "address": "192.0.2.1", "family": "ipv4", "source": "198.51.100.1", "icmp_id": 7,
            "end": "completed", "sent": 1, "received": u32::from(rtt.is_some()), "duplicates": 0, "late": 0,
            "errors": 0, "loss": if rtt.is_some() { 0.0 } else { 1.0 },
            "rtt": rtt.map(|rtt| json!({ "min_ns": rtt, "mean_ns": rtt, "max_ns": rtt, "stddev_ns": 0 })),
            "replies": [{ "seq": 0, "status": status, "sent_at": "2026-11-22T00:00:00.000001Z", "rtt_ns": rtt }],
        })
    };
    let ping = |index: u64, more: Value| {
        let mut ping = record(
            index,
            "192.0.2.1",
            &json!({
                "kind": "ping", "started_at": "2026-11-22T00:00:00.000000001Z", "duration_ns": 1_000_000,
                "summary": { "sent": 1, "received": 1, "loss": 0.0, "rtt_min_ns": 1_234_567 }, "body": body(Some(1_234_567)),
            }),
        );
        for (name, value) in more.as_object().unwrap() {
            ping[name] = value.clone();
        }
        ping
    };
    let silent = json!({ "answered": false, "summary": { "sent": 1, "received": 0, "loss": 1.0 }, "body": body(None) });
    let failed = json!({
        "outcome": "failed", "answered": null, "reason": { "code": "no-route", "detail": "a, \"b\"" }, "summary": {},
        "body": null,
    });
    let lost = json!({
        "outcome": "lost", "answered": null, "reason": { "code": "deadline" }, "summary": {}, "body": null,
        "started_at": null, "duration_ns": null, "vp": null, "vp_name": null,
    });
    Script {
        records: vec![
            ping(0, json!({})),
            ping(1, silent),
            ping(2, json!({ "simulated": true })),
            ping(3, failed),
            ping(4, lost),
        ],
        ledger: ledger(5, &json!({ "ok": 3, "failed": 1, "lost": 1, "answered": 2 })),
        kind: Some("ping"),
        ..Script::default()
    }
}

async fn export(fake: &Fake, more: &[&str]) -> Output {
    let id = msm().to_string();
    fake.run(&[&["results", &id][..], more].concat()).await
}

/// Exports to a file of this name, which must go well.
async fn exported(fake: &Fake, place: &Path, name: &str, more: &[&str]) -> PathBuf {
    let path = place.join(name);
    let output = export(fake, &[&["-o", path.to_str().unwrap()][..], more].concat()).await;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(output.stdout.is_empty());
    path
}

fn python(script: &str, path: &Path) -> Value {
    let python = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.cache/venv/bin/python");
    assert!(python.exists(), "{} is not there: scripts/python-env.sh makes it", python.display());
    let output = Command::new(python).args(["-c", script]).arg(path).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn parquet_is_read_by_pyarrow() {
    let fake = Fake::start(pings()).await;
    let place = tempfile::tempdir().unwrap();
    let path = exported(&fake, place.path(), "results.parquet", &[]).await;
    let script = r#"
import json, sys
import pyarrow.parquet as parquet
table = parquet.read_table(sys.argv[1])
types = {field.name: str(field.type) for field in table.schema}
names = ("outcome", "reason", "detail", "vp_country", "vp_asn", "address", "simulated", "rtt_min_ns", "loss")
rows = table.select(names).to_pydict()
starts = table.column("started_at").cast("int64").to_pylist()
print(json.dumps({"types": types, "starts": starts, **rows}))
"#;
    let read = python(script, &path);
    let types = &read["types"];
    assert_eq!(types["started_at"], json!("timestamp[ns, tz=UTC]"), "{types}");
    assert_eq!((&types["rtt_min_ns"], &types["loss"]), (&json!("int64"), &json!("double")));
    assert_eq!((&types["task"], &types["answered"]), (&json!("string"), &json!("bool")));
    assert_eq!(read["outcome"], json!(["ok", "ok", "ok", "failed", "lost"]));
    assert_eq!(read["detail"], json!([null, null, null, "a, \"b\"", null]));
    assert_eq!(read["rtt_min_ns"], json!([1_234_567, null, 1_234_567, null, null]));
    assert_eq!(read["loss"], json!([0.0, 1.0, 0.0, null, null]));
    assert_eq!(read["simulated"], json!([false, false, true, false, false]));
    assert_eq!(read["vp_asn"], json!([64496, 64496, 64496, 64496, null]));
    assert_eq!(read["address"], json!(["192.0.2.1", "192.0.2.1", "192.0.2.1", null, null]));
    assert_eq!(read["starts"][0], json!(1_795_305_600_000_000_001_i64));

    let path = exported(&fake, place.path(), "replies.parquet", &["--rows", "replies"]).await;
    let script = "import json, sys, pyarrow.parquet as p; print(json.dumps(p.read_table(sys.argv[1], columns=['seq', 'status', 'rtt_ns']).to_pydict()))";
    assert_eq!(
        python(script, &path),
        json!({
            "seq": [0, 0, 0], "status": ["replied", "timed_out", "replied"], "rtt_ns": [1_234_567, null, 1_234_567],
        })
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn csv_is_read_by_python() {
    let fake = Fake::start(pings()).await;
    let place = tempfile::tempdir().unwrap();
    let path = exported(&fake, place.path(), "results.csv.gz", &[]).await;
    let script = "import csv, gzip, json, sys; print(json.dumps(list(csv.DictReader(gzip.open(sys.argv[1], 'rt', newline='')))))";
    let read = python(script, &path);
    assert_eq!(read.as_array().unwrap().len(), 5);
    assert_eq!((&read[3]["detail"], &read[3]["outcome"]), (&json!("a, \"b\""), &json!("failed")));
    assert_eq!((&read[0]["rtt_min_ns"], &read[1]["rtt_min_ns"]), (&json!("1234567"), &json!("")));
    assert_eq!(read[0]["started_at"], json!("2026-11-22T00:00:00.000000001Z"));
}

#[tokio::test(flavor = "multi_thread")]
async fn warts_is_read_by_our_own_commands() {
    let fake = Fake::start(pings()).await;
    let place = tempfile::tempdir().unwrap();
    let path = exported(&fake, place.path(), "results.warts.xz", &[]).await;
    let run = |command: &str| {
        let output =
            Command::new(env!("CARGO_BIN_EXE_mmn")).args(["warts", command]).arg(&path).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let objects: Vec<Value> = run("json").lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let of = |kind: &str| objects.iter().filter(|object| object["type"] == *kind).collect::<Vec<_>>();
    let pings = of("ping");
    assert_eq!(pings.len(), 4);
    assert_eq!(pings[0]["responses"][0]["rtt"], json!(1.235));
    assert_eq!(pings[1]["statistics"]["loss"], json!(1));
    assert_eq!(
        (&pings[3]["stop_reason"], &pings[3]["errmsg"]),
        (&json!("error"), &json!("no-route: a, \"b\""))
    );
    assert_eq!((of("cycle-start").len(), of("cycle-stop").len()), (2, 2));
    let lists = Command::new(env!("CARGO_BIN_EXE_mmn"))
        .args(["warts", "json", "--fields"])
        .arg(&path)
        .output()
        .unwrap();
    let lists = String::from_utf8(lists.stdout).unwrap();
    assert_eq!(lists.matches("simulated: mmn ping of measurement").count(), 1, "{lists}");
    assert!(run("text").contains("192.0.2.1"));
}

#[tokio::test(flavor = "multi_thread")]
async fn atlas_and_json_are_an_object_a_line() {
    let script = pings();
    let sent = script.records.clone();
    let fake = Fake::start(script).await;
    let output = export(&fake, &["--format", "atlas"]).await;
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("1 of 5 results measured nothing"), "{said}");
    let text = String::from_utf8(output.stdout).unwrap();
    let results: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(results.len(), 4);
    assert_eq!((&results[0]["from"], &results[0]["min"]), (&json!("203.0.113.7"), &json!(1.234_567)));
    assert_eq!(results[2]["mmn"]["simulated"], json!(true));

    let place = tempfile::tempdir().unwrap();
    let path = exported(&fake, place.path(), "all.ndjson", &[]).await;
    let text = std::fs::read_to_string(path).unwrap();
    let read: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((read.len(), &read[0]["task"]), (5, &sent[0]["task"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_form_says_which_kinds_it_is_for() {
    let fake = Fake::start(Script { ledger: ledger(0, &json!({})), ..Script::default() }).await;
    let place = tempfile::tempdir().unwrap();
    for (form, kinds) in
        [("warts", "ping, trace, multipath, dns, http and udp"), ("atlas", "ping, trace, dns and http")]
    {
        let path = place.path().join(form);
        let output = export(&fake, &["--format", form, "-o", path.to_str().unwrap()]).await;
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(
            said.contains(&format!("no place for results of the kind echo: it is for {kinds}")),
            "{said}"
        );
        assert!(!path.exists());
    }
    // Rows have a place for every kind.
    let output = export(&fake, &["--format", "csv"]).await;
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.starts_with("measurement,task,kind,") && text.ends_with(",size_bytes\r\n"), "{text}");
}
