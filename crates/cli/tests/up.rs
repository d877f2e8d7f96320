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
        Self::start_with(&[])
    }

    fn start_with(args: &[&str]) -> Self {
        let data = tempfile::tempdir().unwrap();
        let mut child = up(data.path()).args(args).stdout(Stdio::piped()).spawn().unwrap();
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

    /// What the API answers to a GET.
    fn get(&self, path: &str) -> String {
        let api = std::fs::read(self.data.path().join("api.json")).unwrap();
        let api: Value = serde_json::from_slice(&api).unwrap();
        let host =
            api["url"].as_str().unwrap().trim_start_matches("http://").trim_end_matches('/').to_owned();
        let token = std::fs::read_to_string(self.data.path().join("creds/client.token")).unwrap();
        let mut stream = std::net::TcpStream::connect(&host).unwrap();
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {}\r\nConnection: close\r\n\r\n",
            token.trim()
        );
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 200"), "{head}");
        body.to_owned()
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
        "/#code=",
        "vantage point   ",
        "ready           dns http multipath ping tcp trace udp",
    ] {
        assert!(told.contains(word), "{told}");
    }

    let opened = up.mmn(&["open", "--print"]);
    assert!(String::from_utf8_lossy(&opened.stdout).contains("/#code="), "{opened:?}");

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

/// Two vantage points on either side of a link of 10 ms, and a host behind it.
const WORLD: &str = r#"
[city]
ams = { lat = 52.37, lon = 4.90, country = "NL", continent = "EU" }
[[router]]
name = "near"
addr = "198.19.0.1"
city = "ams"
asn = 65101
[[router]]
name = "far"
addr = "198.19.0.2"
[[link]]
a = "near"
b = "far"
delay_ms = 10.0
[[vp]]
name = "one"
addr = "198.18.0.1"
at = "near"
delay_ms = 3.0
[[vp]]
name = "two"
addr = "198.18.0.2"
at = "far"
delay_ms = 1.0
[[host]]
name = "www"
addr = "198.18.16.1"
at = "far"
delay_ms = 2.0
"#;

#[test]
fn a_simulated_world_is_up_and_what_comes_of_it_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("world.toml");
    std::fs::write(&file, WORLD).unwrap();
    let up = Up::start_with(&["--lab", file.to_str().unwrap(), "--lab-driver", "in-process"]);
    assert!(up.told.iter().any(|line| line.contains("2 of 2 ready")), "{:?}", up.told);

    let vps = up.measure(&["vps", "--json"]);
    assert_eq!(vps.len(), 2);
    assert!(vps.iter().all(|vp| vp["vantage_point"]["simulated"] == true), "{vps:?}");

    let ping =
        up.measure(&["ping", "www", "--from", "one,two", "--count", "2", "--interval", "10ms", "--json"]);
    for (vp, rtt_ns) in [("one", 30_000_000), ("two", 6_000_000)] {
        let record = ping.iter().find(|record| record["vp_name"] == vp).unwrap();
        assert_eq!(record["simulated"], true);
        assert_eq!(record["summary"]["rtt_min_ns"], rtt_ns, "{record}");
        assert_eq!(record["body"]["conditions"]["lane"], "simulated");
    }

    let trace = up.measure(&["trace", "198.18.16.1", "--from", "one", "--json"]);
    let hops = trace[0]["body"]["hops"].as_array().unwrap();
    assert_eq!(hops.len(), 3, "{hops:?}");

    let table = up.mmn(&["ping", "www", "--from", "one", "--count", "1"]);
    assert!(String::from_utf8(table.stdout).unwrap().contains("one (simulated)"));
}

#[test]
fn whatever_shows_a_simulated_world_marks_it() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("world.toml");
    std::fs::write(&file, WORLD).unwrap();
    let up = Up::start_with(&["--lab", file.to_str().unwrap(), "--lab-driver", "in-process"]);
    up.measure(&["ping", "www", "--from", "one", "--count", "2", "--interval", "10ms", "--json"]);

    // Tables and pages.
    for args in [
        &["vps"][..],
        &["modules"],
        &["select", "one"],
        &["ping", "www", "--from", "one", "--dry-run"],
        &["ping", "www", "--from", "one", "--count", "1"],
        &["trace", "www", "--from", "one"],
        &["results", "last"],
        &["watch", "last"],
        &["why", "last"],
        &["lab", "truth", "last"],
    ] {
        let output = up.mmn(args);
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(text.contains("one (simulated)"), "{args:?}: {text}");
    }
    let page = up.mmn(&["vps", "one"]);
    assert!(String::from_utf8(page.stdout).unwrap().contains("simulated"));

    // What the API says, over REST and over its WebSocket.
    for args in [&["results", "last", "--json"][..], &["watch", "last", "--json"], &["modules", "--json"]] {
        let items = up.measure(args);
        assert!(!items.is_empty() && items.iter().all(|item| item["simulated"] == true), "{items:?}");
    }
    let of_vps = [&["select", "one", "--json"][..], &["ping", "www", "--from", "one", "--dry-run", "--json"]];
    for args in of_vps {
        let answer = up.measure(args);
        assert_eq!(answer[0]["vps"][0]["simulated"], true, "{answer:?}");
    }
    let metrics = up.get("/metrics");
    for name in ["mmn_vantage_point_up", "mmn_module_instances"] {
        let line = metrics.lines().find(|line| line.starts_with(&format!("{name}{{"))).unwrap();
        assert!(line.contains("simulated=\"true\""), "{line}");
    }
    let newest = serde_json::from_str::<Value>(&up.get("/api/v1/measurements?limit=1")).unwrap();
    let id = newest["items"][0]["id"].as_str().unwrap().to_owned();
    let rollups =
        serde_json::from_str::<Value>(&up.get(&format!("/api/v1/measurements/{id}/rollups"))).unwrap();
    assert_eq!(rollups["items"][0]["simulated"], true, "{rollups}");

    // What was measured is what happened.
    for kind in ["ping", "trace", "multipath", "tcp", "udp"] {
        up.mmn(&[kind, "www", "--from", "all"]);
        let truth = up.mmn(&["lab", "truth", "last", "--json"]);
        assert_eq!(truth.status.code(), Some(0), "{kind}: {truth:?}");
        let text = String::from_utf8(truth.stdout).unwrap();
        let first: Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
        assert!(
            first["truth"]["packet"]["id"].is_u64() && first["measured"]["sent_at"].is_string(),
            "{first}"
        );
    }
    let status = up.mmn(&["lab", "status"]);
    assert_eq!(status.status.code(), Some(0), "{status:?}");
    let socket = std::fs::metadata(up.data.path().join("lab/lab.sock")).unwrap();
    assert_eq!(std::os::unix::fs::PermissionsExt::mode(&socket.permissions()) & 0o777, 0o600);
}

#[test]
fn a_world_that_makes_no_sense_is_refused_with_its_line() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("world.toml");
    std::fs::write(&file, WORLD.replace("at = \"near\"", "at = \"nowhere\"")).unwrap();
    let output = up(&dir.path().join("data")).arg("--lab").arg(&file).output().unwrap();
    let words = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{words}");
    assert!(words.contains("world.toml:") && words.contains("nowhere"), "{words}");
}
