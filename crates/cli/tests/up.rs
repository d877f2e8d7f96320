//! `mmn up` as a person uses it: a network in a directory of its own, measurements from a shell, and its end.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that fails may panic")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, UdpSocket};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use serde_json::Value;

const MMN: &str = env!("CARGO_BIN_EXE_mmn");
/// How long anything may take before the test is given up.
const PATIENCE_S: i64 = 30;

/// A running `mmn up`.
struct Up {
    child: Child,
    data: tempfile::TempDir,
    /// What it said.
    told: Vec<String>,
}

impl Up {
    fn start() -> Self {
        let data = tempfile::tempdir().unwrap();
        let mut child = up(data.path()).stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut told = Vec::new();
        while told.last().is_none_or(|line: &String| !line.starts_with("try ")) {
            told.push(lines.next().unwrap().unwrap());
        }
        Self { child, data, told }
    }

    fn mmn(&self, args: &[&str]) -> Output {
        Command::new(MMN).args(args).env("MMN_DATA", self.data.path()).output().unwrap()
    }

    /// Runs a measurement that must be good, and gives its records.
    fn measure(&self, args: &[&str]) -> Vec<Value> {
        let output = self.mmn(args);
        assert_eq!(output.status.code(), Some(0), "{args:?}: {output:?}");
        let text = String::from_utf8(output.stdout).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// The supervisor and all that came of it, as handles that stay theirs.
    fn family(&self) -> Vec<(Pid, OwnedFd)> {
        let mut pids = vec![self.pid()];
        let mut at = 0;
        while let Some(parent) = pids.get(at).copied() {
            pids.extend(children(parent));
            at += 1;
        }
        pids.into_iter().map(|pid| (pid, pidfd_open(pid, PidfdFlags::empty()).unwrap())).collect()
    }
}

impl Drop for Up {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn up(data: &Path) -> Command {
    let mut command = Command::new(MMN);
    command.args(["up", "--listen", "127.0.0.1:0", "--data"]).arg(data).stdin(Stdio::null());
    command.env_remove("MMN_DATA").env_remove("MMN_NATS_URL");
    command
}

/// The children of all threads of a process.
fn children(parent: Pid) -> Vec<Pid> {
    let tasks = format!("/proc/{}/task", parent.as_raw_nonzero());
    let mut found = Vec::new();
    for task in std::fs::read_dir(tasks).into_iter().flatten().flatten() {
        let list = std::fs::read_to_string(task.path().join("children")).unwrap_or_default();
        found.extend(list.split_whitespace().filter_map(|pid| Pid::from_raw(pid.parse().ok()?)));
    }
    found
}

/// Waits until every one of them has ended.
fn wait_for_all(family: &[(Pid, OwnedFd)]) {
    for (pid, handle) in family {
        let mut ended = [PollFd::new(handle, PollFlags::IN)];
        let patience = Timespec { tv_sec: PATIENCE_S, tv_nsec: 0 };
        let count = poll(&mut ended, Some(&patience)).unwrap();
        let name = std::fs::read_to_string(format!("/proc/{}/cmdline", pid.as_raw_nonzero()));
        assert_eq!(count, 1, "still there: {name:?}");
    }
}

/// Answers every HTTP request with the same page.
fn web() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let _ = stream.read(&mut [0; 4096]);
            let _ =
                stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\nconnection: close\r\n\r\nhello");
        }
    });
    url
}

/// Answers every DNS query with 192.0.2.7.
fn name_server() -> u16 {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let port = socket.local_addr().unwrap().port();
    std::thread::spawn(move || {
        let mut buffer = [0; 1500];
        while let Ok((length, peer)) = socket.recv_from(&mut buffer) {
            let query = &buffer[..length];
            // The question ends four bytes after the root label.
            let end = 12 + query[12..].iter().position(|byte| *byte == 0).unwrap() + 5;
            let mut answer = query[..2].to_vec();
            answer.extend([0x84, 0, 0, 1, 0, 1, 0, 0, 0, 0]);
            answer.extend(&query[12..end]);
            answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 192, 0, 2, 7]);
            let _ = socket.send_to(&answer, peer);
        }
    });
    port
}

#[test]
fn a_network_measures_and_ends_in_order() {
    let mut up = Up::start();
    let told = up.told.join("\n");
    for word in [
        "API             http://127.0.0.1:",
        "vantage point   ",
        "ready           dns http multipath ping tcp trace udp",
    ] {
        assert!(told.contains(word), "{told}");
    }

    // The line to try works as typed.
    let line = up.told.last().unwrap().strip_prefix("try").unwrap().trim().to_owned();
    let output = Command::new("sh").args(["-c", &format!("{line} --count 1")]).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{line}: {output:?}");

    let ping = up.measure(&["ping", "127.0.0.1", "::1", "--count", "2", "--interval", "10ms", "--json"]);
    assert_eq!(ping.len(), 2);
    assert!(ping.iter().all(|record| record["body"]["received"] == 2), "{ping:?}");

    let http = up.measure(&["http", &web(), "--json"]);
    assert_eq!(http[0]["body"]["hops"][0]["status"], 200, "{http:?}");

    let port = name_server().to_string();
    let dns = up.measure(&["dns", "host.example", "--server", "127.0.0.1", "--port", &port, "--json"]);
    assert_eq!(dns[0]["body"]["response"]["answer"][0]["rdata"], "192.0.2.7", "{dns:?}");

    // What the site does not allow is refused with its reason, and the account says so.
    let refused = up.mmn(&["ping", "10.0.0.1", "127.0.0.1", "--count", "1"]);
    assert_eq!(refused.status.code(), Some(1), "{refused:?}");
    let ledger: Value = serde_json::from_slice(&up.mmn(&["ledger", "last", "--json"]).stdout).unwrap();
    assert_eq!((&ledger["accepted"], &ledger["ok"], &ledger["refused"]), (&2.into(), &1.into(), &1.into()));
    assert_eq!(ledger["reasons"]["refused"]["policy"], 1, "{ledger}");

    // Each record is where its cursor says, and its task tells its hops.
    let all = up.mmn(&["results", "last", "--json"]);
    let records: Vec<Value> =
        String::from_utf8(all.stdout).unwrap().lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    let after =
        up.mmn(&["results", "last", "--json", "--follow", "--after", records[0]["cursor"].as_str().unwrap()]);
    assert_eq!(String::from_utf8(after.stdout).unwrap().lines().count(), 1);
    let why = up.mmn(&["why", records[1]["task"].as_str().unwrap()]);
    let why = String::from_utf8(why.stdout).unwrap();
    assert!(["accepted", "dispatched", "kept", "closed"].iter().all(|hop| why.contains(hop)), "{why}");

    // A list from a file, with a plan before.
    let list = up.data.path().join("targets");
    std::fs::write(&list, "127.0.0.1 # here\n\n127.0.0.2\n").unwrap();
    let list = list.to_str().unwrap();
    let plan = up.mmn(&["ping", "--file", list, "--count", "1", "--dry-run", "--json"]);
    let plan: Value = serde_json::from_slice(&plan.stdout).unwrap();
    assert_eq!((&plan["tasks"], &plan["packets"]), (&2.into(), &2.into()), "{plan}");
    assert_eq!(up.measure(&["ping", "--file", list, "--count", "1", "--json"]).len(), 2);

    // A second one is told who holds the directory.
    let second = up.mmn(&["up"]);
    let said = String::from_utf8(second.stderr).unwrap();
    assert_eq!(second.status.code(), Some(1));
    for part in [format!("process {}", up.child.id()), "http://127.0.0.1:".into()] {
        assert!(said.contains(&part), "{said}");
    }

    let family = up.family();
    assert!(family.len() >= 7, "a supervisor, nats-server, an anchor, a node and three modules: {family:?}");
    pidfd_send_signal(&family[0].1, Signal::INT).unwrap();
    assert_eq!(up.child.wait().unwrap().code(), Some(0));
    wait_for_all(&family);
    assert!(!up.data.path().join("api.json").exists());
}

#[test]
fn a_killed_supervisor_leaves_nothing_behind_and_its_directory_usable() {
    let mut up = Up::start();
    let before = up.measure(&["ping", "127.0.0.1", "--count", "1", "--json"]);
    let family = up.family();
    assert!(family.len() >= 7, "{family:?}");
    up.child.kill().unwrap();
    up.child.wait().unwrap();
    wait_for_all(&family);

    // The next one on the same directory knows what the former measured, and takes the same token.
    let data = std::mem::replace(&mut up.data, tempfile::tempdir().unwrap());
    let mut child = self::up(data.path()).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let told: Vec<_> =
        lines.by_ref().map_while(Result::ok).take_while(|line| !line.starts_with("try ")).collect();
    let again = Up { child, data, told };
    let task = before[0]["task"].as_str().unwrap();
    let kept = again.mmn(&["results", task.split_once('-').unwrap().0, "--json"]);
    let kept: Value = serde_json::from_slice(&kept.stdout).unwrap();
    assert_eq!(kept["body"], before[0]["body"]);
}

#[test]
fn a_child_that_dies_is_replaced_and_nothing_else_notices() {
    let up = Up::start();
    let family = up.family();
    let role = |name: &str| {
        family.iter().find(|(pid, _)| {
            let cmdline = std::fs::read_to_string(format!("/proc/{}/cmdline", pid.as_raw_nonzero()));
            cmdline.is_ok_and(|text| text.split('\0').nth(1) == Some(name))
        })
    };
    // A measurement that is under way while the anchor dies: its client sees the end all the same.
    let mut waiting = Command::new(MMN);
    waiting.args(["ping", "127.0.0.1", "--count", "15", "--interval", "100ms", "--json"]);
    let waiting = waiting.env("MMN_DATA", up.data.path()).stdout(Stdio::piped()).spawn().unwrap();
    while up.mmn(&["measurements", "--json"]).stdout.is_empty() {}
    let kill = |name: &str| {
        let (pid, handle) = role(name).unwrap();
        pidfd_send_signal(handle, Signal::KILL).unwrap();
        wait_for_all(&[(*pid, handle.try_clone().unwrap())]);
    };
    kill("anchor");
    let waited = waiting.wait_with_output().unwrap();
    let record: Value = serde_json::from_slice(&waited.stdout).unwrap();
    assert_eq!((waited.status.code(), &record["body"]["received"]), (Some(0), &15.into()), "{waited:?}");
    kill("node");
    // Until its modules are there again, nothing can be measured.
    let mut output = up.mmn(&["ping", "127.0.0.1", "--count", "1"]);
    for _ in 0..2000 {
        if output.status.success() {
            break;
        }
        output = up.mmn(&["ping", "127.0.0.1", "--count", "1"]);
    }
    assert_eq!(output.status.code(), Some(0), "{output:?}");
}

#[test]
fn a_module_is_taken_through_the_protocol() {
    let check = |args: &[&str], command: &[&str]| {
        let mut check = Command::new(MMN);
        check
            .args(["module", "check", "--json"])
            .args(args)
            .arg("--")
            .args(command)
            .env_remove("MMN_NATS_URL");
        let output = check.output().unwrap();
        let verdicts: Vec<Value> = String::from_utf8(output.stdout)
            .unwrap()
            .lines()
            .map(|l| serde_json::from_str(l).unwrap())
            .collect();
        (output.status.code(), verdicts)
    };
    let (code, verdicts) = check(&["--name", "dns", "--set", "server=127.0.0.1"], &[MMN, "module", "dns"]);
    assert_eq!(code, Some(0), "{verdicts:?}");
    let rules: Vec<_> = verdicts.iter().map(|verdict| verdict["what"].as_str().unwrap()).collect();
    for rule in [
        "announce-signature",
        "refuse-params",
        "result",
        "quote",
        "credits",
        "sync",
        "resend",
        "stale-epoch",
        "cancel",
        "drain",
        "bye",
    ] {
        assert!(rules.contains(&rule), "{rules:?}");
    }
    // A program that is no module is told what it does not do.
    let (code, verdicts) = check(&[], &["sh", "-c", "exit 3"]);
    assert_eq!((code, verdicts.len()), (Some(1), 1));
    assert!(verdicts[0]["text"].as_str().unwrap().contains("exit status: 3"), "{verdicts:?}");
}

#[test]
fn a_directory_of_a_newer_version_is_refused() {
    let data = tempfile::tempdir().unwrap();
    std::fs::write(data.path().join("version"), "99\n").unwrap();
    let output = up(data.path()).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(said.contains("newer mmn (layout 99)") && said.contains("hint: "), "{said}");
}
