//! `mmn module check` on modules that are wrong in one thing each: the module in Python, with one line changed.
#![allow(clippy::unwrap_used, reason = "what fails here fails the test, with its reason")]

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// What is changed, into what, and which rule it breaks.
const WRONG: &[(&str, &str, &str)] = &[
    ("key.sign(json.dumps(message).encode())", "key.sign(b'something else')", "announce-signature"),
    (
        "cb=self.announce)\n        await self.nc.flush()",
        "cb=self.beat)\n        await self.nc.flush()",
        "discover",
    ),
    ("self.beats += 1", "self.beats = 1", "heartbeat"),
    (r#"{"code": "parameters","#, r#"{"code": "odd","#, "refuse-params"),
    (
        r#"{"accepted": {"instance": INSTANCE, "boot": BOOT,"#,
        r#"{"accepted": {"instance": INSTANCE, "boot": 1,"#,
        "receipt",
    ),
    (r#""epoch": batch["epoch"]"#, r#""epoch": 1"#, "result"),
    (r#""index": task["index"]"#, r#""index": 0"#, "result"),
    (r#"elif "quote" in order:"#, r#"elif "quote" in order: return"#, "quote"),
    (r#"await self.announce(role="bye")"#, "pass", "bye"),
    (r#"("draining", 0) if"#, r#"("ready", 0) if"#, "drain-heartbeat"),
];

#[test]
fn each_mistake_is_found() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let python = root.join(".cache/venv/bin/python");
    assert!(python.exists(), "{} is not there: scripts/python-env.sh makes it", python.display());
    let source = std::fs::read_to_string(root.join("examples/echo-module-python/echo.py")).unwrap();
    let place = tempfile::tempdir().unwrap();
    std::thread::scope(|scope| {
        for (number, (before, after, rule)) in WRONG.iter().enumerate() {
            assert_eq!(source.matches(before).count(), 1, "{before}");
            let python = python.clone();
            let wrong = place.path().join(format!("wrong{number}.py"));
            let after = if *rule == "quote" {
                format!("{after}\n            elif False:")
            } else {
                (*after).to_owned()
            };
            std::fs::write(&wrong, source.replace(before, &after)).unwrap();
            scope.spawn(move || judge(&python, &wrong, rule));
        }
    });
}

fn judge(python: &Path, module: &PathBuf, rule: &str) {
    let output = Command::new(env!("CARGO_BIN_EXE_mmn"))
        .args(["module", "check", "--json", "--set", "text=hello", "--"])
        .arg(python)
        .arg(module)
        .env_remove("MMN_NATS_URL")
        .output()
        .unwrap();
    let verdicts = String::from_utf8(output.stdout).unwrap();
    let verdicts: Vec<Value> = verdicts.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let found = verdicts.iter().find(|verdict| verdict["what"] == rule);
    assert!(found.is_some_and(|verdict| verdict["kept"] == false), "{rule}: {verdicts:#?}");
    assert_eq!(output.status.code(), Some(1), "{rule}");
}
