//! RIPE's own parser of Atlas results reads ours, and reads in them what we meant.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use mmn_translate::results::{Untranslated, atlas};
use serde_json::{Value, json};

use crate::drawn::{measurement, record, result};
use crate::said::{asked, dns, http, ping, point, trace};

/// Reads results, one a line, with every malformation an error, and says what it read.
const SCRIPT: &str = r#"
import json, sys
from ripe.atlas.sagan import Result
for line in sys.stdin:
    got = Result.get(line, on_error=Result.ACTION_IGNORE, on_malformation=Result.ACTION_FAIL)
    said = {"type": got.type, "msm": got.measurement_id, "prb": got.probe_id, "error": got.error_message}
    if got.type == "ping":
        said |= {"sent": got.packets_sent, "received": got.packets_received, "min": got.rtt_min,
                 "median": got.rtt_median, "rtts": [p.rtt for p in got.packets], "sync": got.seconds_since_sync}
    elif got.type == "traceroute":
        said |= {"path": got.ip_path, "responded": got.destination_ip_responded, "success": got.is_success,
                 "hops": got.total_hops}
    elif got.type == "dns":
        if line.find('"raw":') < 0 and len(sys.argv) > 1:
            said |= {"rts": [r.response_time for r in got.responses],
                     "answers": [a.data for r in got.responses for a in r.abuf.answers]}
    elif got.type == "http":
        said |= {"codes": [r.code for r in got.responses], "head": [r.head_size for r in got.responses],
                 "body": [r.body_size for r in got.responses], "method": got.method}
    print(json.dumps(said))
"#;

fn read(results: &[Value], in_full: bool) -> Vec<Value> {
    let python = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.cache/venv/bin/python");
    assert!(python.exists(), "{} is not there: scripts/python-env.sh makes it", python.display());
    let mut command = Command::new(python);
    command.args(["-c", SCRIPT]).args(in_full.then_some("full"));
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let lines = results.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
    let mut stdin = child.stdin.take().unwrap();
    let writer = std::thread::spawn(move || stdin.write_all(lines.as_bytes()));
    let output = child.wait_with_output().unwrap();
    let _ = writer.join().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[test]
fn it_reads_what_we_meant() {
    let result = |kind: &str, body: Value| {
        let record = record(kind, &json!({ "body": body, "started_at": "2026-11-22T00:00:00Z" }));
        atlas::result(&asked(kind, &json!({})), &measurement(kind), Some(&point()), &record).unwrap()
    };
    let results =
        [result("ping", ping()), result("trace", trace()), result("dns", dns()), result("http", http())];
    let read = read(&results, true);
    let [ping, trace, dns, http] = read.as_slice() else { panic!("{read:?}") };
    assert_eq!((&ping["type"], &ping["msm"]), (&json!("ping"), &json!(1_000_042)));
    assert_eq!((&ping["sent"], &ping["received"], &ping["min"]), (&json!(3), &json!(1), &json!(1.234_567)));
    assert_eq!((&ping["rtts"], &ping["median"]), (&json!([1.235, 2.0, null, null]), &json!(1.235)));
    assert_eq!(ping["sync"], json!(0));
    assert_eq!(trace["path"], json!([["192.0.2.254"], [null, null], ["192.0.2.9"]]));
    assert_eq!(
        (&trace["responded"], &trace["success"], &trace["hops"]),
        (&json!(true), &json!(true), &json!(3))
    );
    assert_eq!((&dns["rts"], &dns["answers"]), (&json!([3.0]), &json!([["hello"]])));
    assert_eq!((&http["codes"], &http["method"]), (&json!([200]), &json!("GET")));
    assert_eq!((&http["head"], &http["body"]), (&json!([35]), &json!([5])));
}

#[test]
fn it_finds_nothing_malformed_whatever_a_kind_says() {
    let mut results = Vec::new();
    for kind in ["ping", "trace", "dns", "http"] {
        for seed in 0..100 {
            let (asked, record) = result(kind, seed);
            let result = atlas::result(&asked, &measurement(kind), Some(&point()), &record).unwrap();
            // A status code of zero is none that an answer has.
            let codes = result["result"].as_array().into_iter().flatten().map(|hop| &hop["res"]);
            if codes.into_iter().all(|code| *code != json!(0)) {
                results.push(result);
            }
        }
        let failed = record(kind, &json!({ "outcome": "failed", "reason": { "code": "unresolvable" } }));
        results.push(atlas::result(&asked(kind, &json!({})), &measurement(kind), None, &failed).unwrap());
        let refused = record(kind, &json!({ "outcome": "refused", "reason": { "code": "policy" } }));
        let nothing = atlas::result(&asked(kind, &json!({})), &measurement(kind), None, &refused);
        assert!(matches!(nothing, Err(Untranslated::Nothing(_))));
    }
    assert_eq!(read(&results, false).len(), results.len());
}
