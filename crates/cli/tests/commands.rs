//! The program against an API that answers as it is told: exit statuses, stdout, stderr.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that fails may panic")]

mod common;

use std::process::Output;

use common::{Fake, Script, ledger, msm, record};
use serde_json::{Value, json};

const ECHO: [&str; 4] = ["run", "echo", "--set", "text=hello"];

fn echo<'a>(more: &[&'a str]) -> Vec<&'a str> {
    ECHO.iter().chain(more).copied().collect()
}

fn text(output: &Output) -> (i32, String, String) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (output.status.code().unwrap(), text(&output.stdout), text(&output.stderr))
}

fn good() -> Script {
    Script {
        records: vec![
            record(0, "a.example", &json!({})),
            record(1, "b.example", &json!({ "body": "hello b" })),
        ],
        ledger: ledger(2, &json!({ "ok": 2, "answered": 2 })),
        ..Script::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn all_ok_and_answered_is_0() {
    let fake = Fake::start(good()).await;
    let (code, out, err) = text(&fake.run(&echo(&["a.example", "b.example"])).await);
    assert_eq!(code, 0, "{err}");
    insta::assert_snapshot!("plain_lines", format!("{out}--- stderr\n{err}"));
    let asked = fake.asked.lock().unwrap();
    assert_eq!(asked[0]["params"], json!({ "text": "hello" }));
    assert_eq!(asked[0]["inputs"], json!(["a.example", "b.example"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn json_is_the_wire_type() {
    let script = good();
    let sent = script.records.clone();
    let fake = Fake::start(script).await;
    let (code, out, _) = text(&fake.run(&echo(&["--json", "a.example", "b.example"])).await);
    let printed: Vec<Value> = out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((code, printed), (0, sent));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_ok_or_not_answered_is_1() {
    let silent = Script {
        records: vec![record(0, "a.example", &json!({ "answered": false }))],
        ledger: ledger(1, &json!({ "ok": 1 })),
        ..Script::default()
    };
    let (code, _, _) = text(&Fake::start(silent).await.run(&echo(&["a.example"])).await);
    assert_eq!(code, 1);

    let refused = Script {
        records: vec![
            record(0, "a.example", &json!({})),
            record(
                1,
                "10.0.0.1",
                &json!({
                    "outcome": "refused", "reason": { "code": "policy", "detail": "10.0.0.0/8 is private" },
                }),
            ),
        ],
        ledger: ledger(2, &json!({ "ok": 1, "answered": 1, "refused": 1 })),
        ..Script::default()
    };
    let (code, out, err) = text(&Fake::start(refused).await.run(&echo(&["a.example", "10.0.0.1"])).await);
    assert_eq!(code, 1);
    insta::assert_snapshot!("a_refusal", format!("{out}--- stderr\n{err}"));
}

#[tokio::test(flavor = "multi_thread")]
async fn misuse_is_2() {
    let fake = Fake::start(good()).await;
    for (args, needle) in [
        (&["run", "echo", "a.example"][..], "echo wants --set text="),
        (&["run", "echo", "--set", "txt=x", "a"], "no parameter txt"),
        (&["run", "echo", "--set", "text=x", "--set", "times=0", "a"], "times: 0 is not at least 1"),
        (&echo(&[]), "echo wants a target"),
        (&echo(&["a", "--from", "germany+"]), "--from"),
        (&echo(&["a", "--file", "/nonexistent"]), "/nonexistent"),
        (&["ping", "--count", "0", "192.0.2.1"], "count"),
        (&["ping", "--nonsense"], "--nonsense"),
        (&["why", "nonsense"], "not a task id"),
        (&["results", "nonsense"], "not a measurement id"),
        (&["results", "last", "-o", "a.txt"], "does not say in which form"),
        (&["results", "last", "--rows", "replies"], "--rows is for csv and parquet"),
        (&["schema", "Nonsense"], "neither a kind nor a type"),
    ] {
        let (code, out, err) = text(&fake.run(args).await);
        let expected = if args.contains(&"/nonexistent") { 1 } else { 2 };
        assert_eq!((code, out.as_str()), (expected, ""), "{args:?}: {err}");
        assert!(err.contains(needle) && err.starts_with("error:"), "{args:?}: {err}");
    }
    let problem = json!({
        "type": "/problems/no-vantage-point", "title": "nothing matches", "status": 422,
        "reason": "no-vantage-point", "hint": "mmn vps lists them",
    });
    let fake = Fake::start(Script { problem: Some(problem), ..Script::default() }).await;
    let (code, _, err) = text(&fake.run(&echo(&["a"])).await);
    assert_eq!((code, err.as_str()), (2, "error: nothing matches\nhint: mmn vps lists them\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_is_shown_and_nothing_measured() {
    let fake = Fake::start(good()).await;
    let (code, out, err) = text(&fake.run(&echo(&["a.example", "10.0.0.1", "--dry-run"])).await);
    assert_eq!(code, 0, "{err}");
    insta::assert_snapshot!("a_plan", format!("{out}--- stderr\n{err}"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupt_calls_the_measurement_off() {
    let script = Script {
        records: vec![record(0, "a.example", &json!({}))],
        ledger: ledger(2, &json!({ "ok": 1, "answered": 1, "cancelled": 1 })),
        hangs: true,
        ..Script::default()
    };
    let fake = Fake::start(script).await;
    let mut child = fake.command(&echo(&["a.example", "b.example"])).spawn().unwrap();
    // Once a line is out, the program listens for signals.
    let mut lines = tokio::io::BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    for _ in 0..2 {
        tokio::io::AsyncBufReadExt::read_line(&mut lines, &mut line).await.unwrap();
    }
    assert!(line.contains("a.example"), "{line}");
    let pid = rustix::process::Pid::from_raw(i32::try_from(child.id().unwrap()).unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    let output = child.wait_with_output().await.unwrap();
    let err = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{err}");
    assert!(err.contains("2 tasks: 1 ok, 1 cancelled"), "{err}");
    assert_eq!(fake.asked.lock().unwrap().last(), Some(&json!("cancel")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_closed_stdout_ends_quietly_and_calls_off() {
    let script = Script { hangs: true, ..good() };
    let fake = Fake::start(script).await;
    let mut child = fake.command(&echo(&["--json", "a.example", "b.example"])).spawn().unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().await.unwrap();
    assert_eq!(output.status.code(), Some(141));
    assert!(!String::from_utf8(output.stderr).unwrap().contains("error"));
    assert_eq!(fake.asked.lock().unwrap().last(), Some(&json!("cancel")));
}

#[tokio::test(flavor = "multi_thread")]
async fn long_lists_are_appended_as_they_are_read() {
    let count = 12_000;
    let script = Script {
        records: (0..count).map(|index| record(index, "x", &json!({}))).collect(),
        ledger: ledger(count, &json!({ "ok": count, "answered": count })),
        ..Script::default()
    };
    let fake = Fake::start(script).await;
    let list = tempfile::NamedTempFile::new().unwrap();
    let lines: Vec<_> = (0..count).map(|n| format!("# {n}\nhost{n}.example\n")).collect();
    std::fs::write(list.path(), lines.concat()).unwrap();
    let (code, out, err) = text(&fake.run(&echo(&["--json", "--file", list.path().to_str().unwrap()])).await);
    assert_eq!(code, 0, "{err}");
    assert_eq!(u64::try_from(out.lines().count()).unwrap(), count);
    let asked = fake.asked.lock().unwrap();
    let appended: u64 = asked.iter().filter_map(Value::as_u64).sum();
    assert!(appended <= count && asked[0]["open"] == json!(true), "{appended}");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_waiting_the_id_is_the_answer() {
    let fake = Fake::start(good()).await;
    let (code, out, _) = text(&fake.run(&echo(&["a", "--no-wait"])).await);
    assert_eq!((code, out), (0, format!("{}\n", msm())));
}

#[tokio::test(flavor = "multi_thread")]
async fn without_an_api_a_hint_says_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let output = tokio::process::Command::new(env!("CARGO_BIN_EXE_mmn"))
        .args(["vps", "--data"])
        .arg(dir.path())
        .env_remove("MMN_API")
        .output()
        .await
        .unwrap();
    let (code, out, err) = text(&output);
    assert_eq!((code, out.as_str()), (1, ""));
    assert!(err.contains("error: no mmn is running on") && err.contains("hint: `mmn up` starts it"), "{err}");
}

#[test]
fn help_is_as_it_was() {
    for args in [
        &["--help"][..],
        &["ping", "--help"],
        &["results", "--help"],
        &["run", "--help"],
        &["top", "--help"],
        &["up", "--help"],
        &["creds", "--help"],
        &["lab", "--help"],
        &["lab", "exec", "--help"],
        &["warts", "--help"],
        &["warts", "cat", "--help"],
        &["mux", "--help"],
    ] {
        let output =
            std::process::Command::new(env!("CARGO_BIN_EXE_mmn")).args(args).env("COLUMNS", "100").output();
        let (code, out, err) = text(&output.unwrap());
        assert_eq!((code, err.as_str()), (0, ""), "{args:?}");
        insta::assert_snapshot!(args.join("_").replace('-', ""), out);
    }
}

#[test]
fn completions_know_the_kinds() {
    let output =
        std::process::Command::new(env!("CARGO_BIN_EXE_mmn")).args(["completions", "bash"]).output().unwrap();
    assert!(String::from_utf8(output.stdout).unwrap().contains("--stop-after"));
}
