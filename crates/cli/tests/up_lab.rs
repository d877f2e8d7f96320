//! `mmn up --lab` on network namespaces, as root and as an ordinary user: what is measured is what the lab says happened,
//! and nothing is left behind. Where namespaces are refused the world runs in the node's process, and that is said.
//!
//! It needs root: it runs as *nobody*, too.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test that fails may panic"
)]

use std::collections::BTreeSet;
use std::fs::Permissions;
use std::io::{BufRead, BufReader};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use mmn_bus::server::Binary;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open};
use serde_json::Value;

const MMN: &str = env!("CARGO_BIN_EXE_mmn");
/// *nobody* and *nogroup* of Debian.
const NOBODY: u32 = 65_534;
const PATH: &str = "/usr/sbin:/usr/bin:/sbin:/bin";
/// How long anything may take before the test is given up.
const PATIENCE_S: i64 = 30;
/// How often something is asked before that.
const PATIENCE: usize = 500;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum As {
    Root,
    Nobody,
}

/// A directory with the programs and a lab's file, in which *nobody* has one for data.
struct Place {
    dir: tempfile::TempDir,
    user: As,
}

impl Place {
    fn new(file: &Path, user: As) -> Self {
        assert!(rustix::process::getuid().is_root(), "this test needs root: it runs as others, too");
        let dir = tempfile::tempdir().unwrap();
        std::fs::set_permissions(dir.path(), Permissions::from_mode(0o755)).unwrap();
        let data = dir.path().join("data");
        std::fs::create_dir(&data).unwrap();
        if user == As::Nobody {
            chown(&data, Some(NOBODY), Some(NOBODY)).unwrap();
        }
        put(Path::new(MMN), &dir.path().join("mmn"));
        put(&Binary::find(&cached()).unwrap().path, &dir.path().join("nats-server"));
        let lab = dir.path().join("lab.toml");
        std::fs::copy(file, &lab).unwrap();
        std::fs::set_permissions(&lab, Permissions::from_mode(0o644)).unwrap();
        Self { dir, user }
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.env_clear().env("PATH", PATH).env("MMN_DATA", self.dir.path().join("data"));
        command.current_dir(self.dir.path()).stdin(Stdio::null());
        if self.user == As::Nobody {
            command.uid(NOBODY).gid(NOBODY);
        }
        command
    }

    fn up(self, args: &[&str]) -> Up {
        let mut command = self.command("./mmn");
        command.args(["up", "--listen", "127.0.0.1:0", "--lab", "lab.toml"]).args(args);
        Up::of(self, command)
    }
}

/// A running `mmn up`.
struct Up {
    child: Child,
    place: Place,
    told: Vec<String>,
}

impl Up {
    fn of(place: Place, mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        let mut told: Vec<String> = Vec::new();
        while told.last().is_none_or(|line| !line.starts_with("try ")) {
            let line = lines.next();
            told.push(line.unwrap_or_else(|| panic!("it ended: {told:?}, {:?}", child.wait())));
        }
        Self { child, place, told }
    }

    fn start(file: &Path, user: As) -> Self {
        Place::new(file, user).up(&[])
    }

    /// The value behind a word at the beginning of a line.
    fn told(&self, name: &str) -> &str {
        let value = self.told.iter().find_map(|line| line.trim_start().strip_prefix(name));
        value.unwrap_or_else(|| panic!("{name}: {:?}", self.told)).trim()
    }

    fn mmn(&self, args: &[&str]) -> Output {
        self.place.command("./mmn").args(args).output().unwrap()
    }

    /// The lines of JSON that a command prints, however it ends.
    fn json(&self, args: &[&str]) -> Vec<Value> {
        let output = self.mmn(&[args, &["--json"]].concat());
        let text = String::from_utf8(output.stdout.clone()).unwrap();
        let read = |line| serde_json::from_str(line).unwrap_or_else(|_| panic!("{args:?}: {output:?}"));
        text.lines().map(read).collect()
    }

    /// The only result of a measurement.
    fn result(&self, args: &[&str]) -> Value {
        let results = self.json(args);
        let [result] = &results[..] else { panic!("{args:?}: {results:?}") };
        assert_eq!(result["simulated"], true, "{result}");
        result.clone()
    }

    /// What really happened to the packets from a vantage point to an address, the oldest first.
    fn truth(&self, vp: &str, to: &str) -> Vec<Value> {
        self.json(&["lab", "truth", "--last", "100", "--vp", vp, "--to", to])
    }

    /// The supervisor and all that came of it, as handles that stay theirs.
    fn family(&self) -> Vec<(Pid, OwnedFd)> {
        let mut pids = vec![Pid::from_child(&self.child)];
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
        assert_eq!(count, 1, "still there: {:?}", command_line(*pid));
    }
}

fn command_line(pid: Pid) -> String {
    std::fs::read_to_string(format!("/proc/{}/cmdline", pid.as_raw_nonzero())).unwrap_or_default()
}

fn put(program: &Path, at: &Path) {
    // A link is enough where both lie on one file system.
    if std::fs::hard_link(program, at).is_err() {
        std::fs::copy(program, at).unwrap();
        std::fs::set_permissions(at, Permissions::from_mode(0o755)).unwrap();
    }
}

/// Where this tree keeps the nats-server that it fetched.
fn cached() -> Vec<PathBuf> {
    let versions = std::fs::read_dir(root().join(".cache/nats-server")).into_iter().flatten().flatten();
    versions.map(|version| version.path().join("nats-server")).collect()
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn example(name: &str) -> PathBuf {
    root().join("examples/lab").join(name)
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or_else(|| panic!("no number: {value}"))
}

/// What came back to the vantage point of a packet, the first of it.
fn came<'v>(truth: &'v Value, vp: &str) -> Option<&'v Value> {
    let came = truth["came"].as_array().into_iter().flatten();
    came.filter(|row| row["fate"]["what"] == "delivered" && row["fate"]["at"] == vp)
        .min_by_key(|row| row["written_ns"].as_u64())
}

/// Holds each reply of a ping against the truth: whether it came, from whom, with which number, and how long it took.
fn ping_is_true(up: &Up, vp: &str, ping: &Value) {
    let body = &ping["body"];
    let error_ns = number(&body["conditions"]["rtt_error_ns"]);
    let truth = up.truth(vp, body["address"].as_str().unwrap());
    let replies = body["replies"].as_array().unwrap();
    // IPv6 has no numbers: the packets are in the order of sending.
    let packets: Vec<&Value> = truth.iter().filter(|found| found["packet"]["protocol"] == "icmp").collect();
    assert_eq!(packets.len(), replies.len(), "{ping} {truth:?}");
    let mut least_off = u64::MAX;
    for (place, reply) in replies.iter().enumerate() {
        let id = &reply["request_ip_id"];
        let numbered = packets.iter().find(|found| !id.is_null() && found["packet"]["ip_id"] == *id);
        let packet = *numbered.unwrap_or(&packets[place]);
        let Some(came) = came(packet, vp) else {
            assert_eq!(reply["status"], "timed_out", "{reply} {packet}");
            continue;
        };
        // Who is the target is not told again.
        let from = reply.get("from").unwrap_or(&body["address"]);
        assert_eq!((from, &reply["ip_id"]), (&came["source"], &came["ip_id"]), "{reply} {packet}");
        let rtt_ns = number(&reply["rtt_ns"]);
        let since = |name: &str| number(&came[name]) - number(&packet["packet"]["born_ns"]);
        // Never sooner than programmed. How much later the machine brought it the lab knows.
        assert!(rtt_ns + error_ns >= since("ended_ns"), "{reply} {packet}");
        least_off = least_off.min(rtt_ns.abs_diff(since("written_ns")));
    }
    assert!(least_off <= error_ns, "{least_off} ns off at least: {ping} {truth:?}");
}

/// The names of the hops of a trace.
fn names(trace: &Value) -> Vec<Option<&str>> {
    let hops = trace["body"]["hops"].as_array().unwrap_or_else(|| panic!("no hops: {trace}"));
    hops.iter().map(|hop| hop["probes"][0]["reply"]["from_name"].as_str()).collect()
}

/// Those of the chain: the third router says nothing, and the end has none.
const CHAIN: [Option<&str>; 6] =
    [Some("r1.lab.test"), Some("r2.lab.test"), None, Some("r4.lab.test"), Some("r5.lab.test"), None];

fn the_chain_is_measured(user: As) {
    let up = Up::start(&example("chain.toml"), user);
    let driver = up.told("driver");
    assert!(driver.starts_with("namespaces: "), "{driver}");
    assert_eq!(driver.contains("user namespace"), user == As::Nobody, "{driver}");
    assert_eq!(up.told("ready"), "dns http multipath ping tcp trace udp");
    assert!(up.told("vantage points").starts_with("1 of 1 ready"), "{:?}", up.told);

    let vps = up.json(&["vps"]);
    let point = &vps[0]["vantage_point"];
    assert_eq!((&point["simulated"], &point["name"]), (&true.into(), &"home".into()));
    assert_eq!(point["addresses"], serde_json::json!(["198.18.0.1", "2001:db8::1"]));

    for (target, lane) in [("www", "precise"), ("2001:db8:1::1", "precise"), ("198.19.0.1", "raw")] {
        let ping = up.result(&["ping", target, "--count", "3", "--interval", "20ms", "--lane", lane]);
        let body = &ping["body"];
        assert_eq!((&body["received"], &body["conditions"]["lane"]), (&3.into(), &lane.into()), "{ping}");
        assert_eq!(body["conditions"]["stamps"]["received"], "kernel", "{ping}");
        assert_eq!(body["conditions"]["interface"]["name"], "eth0", "{ping}");
        ping_is_true(&up, "home", &ping);
    }

    let trace = up.result(&["trace", "www"]);
    let hops = trace["body"]["hops"].as_array().unwrap();
    let from = |hop: &Value| hop["probes"][0]["reply"]["from"].as_str().map(str::to_owned);
    let told: Vec<_> = hops.iter().map(|hop| from(hop).unwrap_or_default()).collect();
    assert_eq!(told, ["198.19.0.1", "198.19.1.2", "", "198.19.3.2", "198.19.4.2", "198.18.1.1"]);
    let truth = up.truth("home", "198.18.1.1");
    for hop in hops {
        let probe = &hop["probes"][0];
        let of = |found: &&Value| found["packet"]["ip_id"] == probe["request_ip_id"];
        let packet = truth.iter().find(of).unwrap_or_else(|| panic!("{probe} {truth:?}"));
        assert_eq!(packet["packet"]["ttl"], hop["ttl"]);
        let source = came(packet, "home").and_then(|came| came["source"].as_str().map(str::to_owned));
        assert_eq!(source, from(hop), "{probe} {packet}");
    }

    let dns = up.result(&["dns", "www.lab.test", "--type", "AAAA", "--server", "198.18.1.1"]);
    assert!(dns["body"].to_string().contains("2001:db8:1::1"), "{dns}");
    let page = up.result(&["http", "https://www.lab.test/"]);
    let hop = &page["body"]["hops"][0];
    assert_eq!((&hop["status"], &hop["tls"]["verified"]), (&200.into(), &true.into()), "{page}");
    for (port, state) in [("22", "open"), ("23", "closed")] {
        let tcp = up.result(&["tcp", "www", "--port", port]);
        assert_eq!(tcp["body"]["state"], state, "{tcp}");
    }

    let trace = up.result(&["trace", "198.18.1.1", "--names"]);
    assert_eq!(names(&trace), CHAIN, "{trace}");
    let page = up.mmn(&["trace", "www", "--names"]);
    assert!(String::from_utf8_lossy(&page.stdout).contains("r1.lab.test (198.19.0.1)"), "{page:?}");

    // Programs live in the same network, and the lab tells how it is.
    let inside = up.mmn(&["lab", "exec", "home", "--", "cat", "/proc/net/dev"]);
    assert!(String::from_utf8_lossy(&inside.stdout).contains("eth0:"), "{inside:?}");
    let status = &up.json(&["lab", "status"])[0];
    assert_eq!(status["lab"]["driver"], "namespaces");
    assert_eq!((&status["status"]["dropped_in"], &status["status"]["dropped_out"]), (&0.into(), &0.into()));
}

#[test]
fn root_measures_the_chain() {
    the_chain_is_measured(As::Root);
}

#[test]
fn nobody_measures_the_chain() {
    the_chain_is_measured(As::Nobody);
}

#[test]
fn both_branches_of_a_diamond_are_found_and_no_others() {
    let up = Up::start(&example("diamond.toml"), As::Nobody);
    let paths = up.result(&["multipath", "target"]);
    let nodes = paths["body"]["nodes"].as_array().unwrap();
    let at = |ttl: u64| -> BTreeSet<&str> {
        let of = nodes.iter().filter(|node| node["ttl"] == ttl);
        of.filter_map(|node| node["address"].as_str()).collect()
    };
    assert_eq!(at(1), ["198.19.0.1"].into());
    assert_eq!(at(2), ["198.19.1.2", "198.19.2.2"].into());
    assert_eq!(at(3), ["198.19.3.2", "198.19.4.2"].into());
    assert_eq!(at(4), ["198.18.1.1"].into());
    // Each probe met the router that the result says it met.
    let truth = up.truth("home", "198.18.1.1");
    let links = paths["body"]["links"].as_array().unwrap();
    let probes: Vec<&Value> = links.iter().flat_map(|link| link["probes"].as_array().unwrap()).collect();
    assert!(probes.len() > 20, "{paths}");
    for probe in probes {
        let reply = &probe["replies"][0];
        let quoted = &reply["quote"]["ip_id"];
        let Some(packet) = truth.iter().find(|found| found["packet"]["ip_id"] == *quoted) else { continue };
        let came = came(packet, "home").unwrap();
        assert_eq!((&came["source"], &came["ip_id"]), (&reply["from"], &reply["ip_id"]), "{probe} {packet}");
    }
}

#[test]
fn the_numbers_of_aliases_are_those_of_the_world() {
    let up = Up::start(&example("aliases.toml"), As::Root);
    let mut of_shared = Vec::new();
    for router in 1..=4 {
        for interface in [1, 5, 9, 1, 5] {
            let target = format!("198.19.{router}.{interface}");
            let ping = up.result(&["ping", &target, "--from", "home", "--count", "1"]);
            let id = number(&ping["body"]["replies"][0]["ip_id"]);
            let truth = up.truth("home", &target);
            let newest = came(truth.last().unwrap(), "home").unwrap();
            assert_eq!((number(&newest["ip_id"]), &newest["source"]), (id, &target.as_str().into()));
            if router == 1 {
                of_shared.push(id);
            }
            assert!(router != 4 || id == 0, "{ping}");
        }
    }
    // One counter for all of them, which runs on by itself some 40 times a second.
    let steps: Vec<u64> = of_shared.windows(2).map(|pair| pair[1].wrapping_sub(pair[0]) & 0xffff).collect();
    assert!(steps.iter().all(|step| (1..4_000).contains(step)), "{of_shared:?}");
}

#[test]
fn what_a_bad_line_loses_is_what_is_told_as_lost() {
    let text = std::fs::read_to_string(example("lossy.toml")).unwrap();
    let bad = text.replace("loss = 0.04", "loss = 0.3");
    assert_ne!(text, bad);
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), bad).unwrap();
    let up = Up::start(file.path(), As::Nobody);
    let ping = up.result(&["ping", "tokyo", "--count", "40", "--interval", "10ms", "--timeout", "1s"]);
    let lost = number(&ping["body"]["sent"]) - number(&ping["body"]["received"]);
    assert!(lost > 0, "{ping}");
    ping_is_true(&up, "lisbon", &ping);
}

#[test]
fn services_answer_to_dns_and_http() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/lab/services.toml");
    let up = Up::start(&file, As::Nobody);
    for (vp, site) in [("w", "west"), ("e", "east")] {
        let dns = up.result(&[
            "dns",
            "hostname.bind",
            "--type",
            "TXT",
            "--class",
            "CH",
            "--server",
            "198.18.250.1",
            "--from",
            vp,
        ]);
        assert!(dns["body"].to_string().contains(site), "{dns}");
        let page = up.mmn(&["http", "http://198.18.250.1/", "--from", vp]);
        assert!(page.status.success(), "{page:?}");
        let told = up.result(&["http", "http://198.18.250.1/", "--from", vp]);
        assert_eq!(told["body"]["hops"][0]["body"]["bytes"], 5, "{told}");
    }
    // Names by the recursive server of the file, here over TCP, and by it for a page.
    let dns = up.result(&["dns", "wide.lab.test", "--protocol", "tcp", "--from", "e"]);
    assert!(dns["body"].to_string().contains("198.18.16.1"), "{dns}");
    for (vp, expected) in
        [("w", [Some("west.lab.test"), Some("east.lab.test")]), ("e", [Some("east.lab.test"), None])]
    {
        let trace = up.result(&["trace", "198.18.16.1", "--names", "--from", vp]);
        assert_eq!(names(&trace)[..2], expected, "{trace}");
    }
    let paths = up.result(&["multipath", "198.18.16.1", "--names", "--from", "w"]);
    assert_eq!(paths["body"]["nodes"][1]["name"], "west.lab.test", "{paths}");
    let page = up.result(&["http", "https://wide.lab.test/", "--from", "w"]);
    let hop = &page["body"]["hops"][0];
    assert_eq!((&hop["status"], &hop["tls"]["verified"]), (&200.into(), &true.into()), "{page}");
    assert!(number(&hop["phases"]["resolve_ns"]) > 0, "{page}");
    for (url, reason) in
        [("http://198.18.16.1/reset", "connection-reset"), ("http://198.18.16.1:81/", "connection-refused")]
    {
        let page = up.result(&["http", url, "--from", "w"]);
        assert_eq!((&page["outcome"], &page["reason"]["code"]), (&"failed".into(), &reason.into()), "{page}");
    }
}

#[test]
fn where_namespaces_are_refused_the_world_runs_in_the_process_and_says_why() {
    // Within a user namespace its limits are its own: these machines have room for no more networks.
    let confined = |place: &Place, command: &str| {
        let script = format!("echo 0 >/proc/sys/user/max_net_namespaces && exec ./mmn {command}");
        let mut inside = place.command("unshare");
        inside.args(["--user", "--map-root-user", "sh", "-c", &script]);
        inside
    };
    let place = Place::new(&example("chain.toml"), As::Nobody);
    let forced = "up --listen 127.0.0.1:0 --lab lab.toml --lab-driver namespaces";
    let out = confined(&place, forced).output().unwrap();
    assert_eq!(out.status.code(), Some(1), "{out:?}");
    let told = String::from_utf8_lossy(&out.stderr);
    for part in
        ["unshare(CLONE_NEWNET)", "user.max_net_namespaces = 0", "mend it with  sysctl -w user.max_net"]
    {
        assert!(told.contains(part), "{part}: {told}");
    }
    let out = confined(&place, "doctor").output().unwrap();
    let told = String::from_utf8_lossy(&out.stdout);
    assert!(told.lines().any(|line| line.starts_with("odd  lab") && line.contains("in-process")), "{told}");

    let command = confined(&place, "up --listen 127.0.0.1:0 --lab lab.toml");
    let up = Up::of(place, command);
    assert!(
        up.told("driver").starts_with("in-process: the system refuses a network namespace"),
        "{:?}",
        up.told
    );
    assert!(up.told("mend it with").starts_with("sysctl -w user.max_net_namespaces"), "{:?}", up.told);
    assert!(up.told.iter().any(|line| line.trim() == "user.max_net_namespaces = 0"), "{:?}", up.told);
    assert!(up.told("not offered").starts_with("http, and dns but over UDP"), "{:?}", up.told);
    let dns = up.result(&["dns", "www.lab.test", "--server", "198.18.1.1"]);
    assert!(dns["body"].to_string().contains(r#""sent":"simulated""#), "{dns}");
    assert!(dns["body"].to_string().contains("198.18.1.1"), "{dns}");
    let dns = up.result(&["dns", "www.lab.test", "--server", "198.18.1.1", "--protocol", "tcp"]);
    assert!(dns.to_string().contains("unsupported"), "{dns}");
    let trace = up.result(&["trace", "www", "--names"]);
    assert_eq!(names(&trace), CHAIN, "{trace}");
    let ping = up.result(&["ping", "www", "--count", "1"]);
    assert_eq!(ping["body"]["conditions"]["lane"], "simulated", "{ping}");
    assert_eq!(ping["summary"]["rtt_min_ns"], 40_000_000, "{ping}");
}

#[test]
fn a_driver_is_as_asked() {
    let up = Place::new(&example("chain.toml"), As::Root).up(&["--lab-driver", "in-process"]);
    assert_eq!(up.told("driver"), "in-process: as asked");
    let socket = up.place.dir.path().join("data/lab/resolv.conf");
    assert!(!socket.exists());
}

#[test]
fn the_lab_comes_back_when_it_dies_and_goes_with_its_network() {
    let mut up = Up::start(&example("diamond.toml"), As::Nobody);
    let is_lab = |pid: &Pid| command_line(*pid).contains("lab\0run");
    let lab = up.family().into_iter().find(|(pid, _)| is_lab(pid)).unwrap();
    kill_process(lab.0, Signal::KILL).unwrap();
    wait_for_all(&[lab]);
    // The node goes with it; both are started again.
    let works = || up.mmn(&["ping", "target", "--count", "1", "--deadline", "1s"]).status.success();
    assert!((0..PATIENCE).any(|_| works()));
    let family = up.family();
    assert!(family.iter().any(|(pid, _)| is_lab(pid)));
    kill_process(Pid::from_child(&up.child), Signal::KILL).unwrap();
    up.child.wait().unwrap();
    wait_for_all(&family);
}
