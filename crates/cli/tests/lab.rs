//! Labs in network namespaces, as real programs see them: ping, traceroute, mtr and fping find what the files say, as
//! root and as an ordinary user, and nothing is left behind.
//!
//! It needs root (for the tests as root, and to become *nobody*), and Debian's iputils-ping, traceroute, mtr-tiny, fping
//! and python3: `scripts/setup.sh --test` installs them.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test that fails may panic"
)]

use std::fs::Permissions;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Output, Stdio};

use mmn_lab::host::Client;
use mmn_lab::host::message::{Family, SocketAsk, SocketKind};
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketAddrUnix, SocketFlags, SocketType, socket_with,
};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

const MMN: &str = env!("CARGO_BIN_EXE_mmn");
/// *nobody* and *nogroup* of Debian.
const NOBODY: u32 = 65_534;
/// Of these tests everything but the programs' own places is theirs.
const PATH: &str = "/usr/sbin:/usr/bin:/sbin:/bin";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum As {
    Root,
    Nobody,
}

/// A running lab.
struct Lab {
    child: Child,
    said: Vec<String>,
    _stdout: BufReader<ChildStdout>,
    /// The program, the lab's file and its directory.
    dir: tempfile::TempDir,
    user: As,
}

impl Lab {
    fn run(file: &str, user: As) -> Self {
        let dir = place(file);
        let mut command = mmn(dir.path(), user);
        command.args(["lab", "run"]).arg(dir.path().join(file)).arg("--dir").arg(dir.path().join("data/lab"));
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut said = Vec::new();
        let mut line = String::new();
        while !line.starts_with("try ") {
            line.clear();
            let read = stdout.read_line(&mut line).unwrap();
            assert!(read > 0, "the lab ended: {said:?}, {:?}", child.wait());
            said.push(line.trim_end().to_owned());
        }
        Self { child, said, _stdout: stdout, dir, user }
    }

    fn mmn(&self, words: &[&str]) -> Output {
        let (command, rest) = words.split_first().unwrap();
        let mut mmn = mmn(self.dir.path(), self.user);
        mmn.args(["lab", command, "--dir"]).arg(self.dir.path().join("data/lab")).args(rest);
        mmn.output().unwrap()
    }

    /// Runs a program at a vantage point.
    fn at(&self, vp: &str, program: &[&str]) -> Output {
        self.mmn(&[&["exec", vp, "--"], program].concat())
    }

    /// What it prints, where it must end well.
    fn told(&self, vp: &str, program: &[&str]) -> String {
        let out = self.at(vp, program);
        assert!(out.status.success(), "{program:?}: {out:?}");
        String::from_utf8(out.stdout).unwrap()
    }

    /// What really happened to the packets from `vp` to an address.
    fn truth(&self, vp: &str, to: &str) -> Vec<Value> {
        let out = self.mmn(&["truth", "--json", "--last", "100", "--vp", vp, "--to", to]);
        assert!(out.status.success(), "{out:?}");
        String::from_utf8(out.stdout)
            .unwrap()
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A directory with the program and a lab's file, where everybody may read and *nobody* owns `data`.
fn place(file: &str) -> tempfile::TempDir {
    assert!(rustix::process::getuid().is_root(), "this test needs root: it runs as others, too");
    let dir = tempfile::tempdir().unwrap();
    std::fs::set_permissions(dir.path(), Permissions::from_mode(0o755)).unwrap();
    let data = dir.path().join("data");
    std::fs::create_dir(&data).unwrap();
    chown(&data, Some(NOBODY), Some(NOBODY)).unwrap();
    // A link to the program is enough where both lie on one file system.
    let program = dir.path().join("mmn");
    if std::fs::hard_link(MMN, &program).is_err() {
        std::fs::copy(MMN, &program).unwrap();
        std::fs::set_permissions(&program, Permissions::from_mode(0o755)).unwrap();
    }
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/lab").join(file);
    std::fs::copy(source, dir.path().join(file)).unwrap();
    dir
}

fn mmn(dir: &Path, user: As) -> Command {
    let mut command = Command::new(dir.join("mmn"));
    command.env_clear().env("PATH", PATH).env("HOME", dir.join("data")).stdin(Stdio::null()).current_dir(dir);
    if user == As::Nobody {
        command.uid(NOBODY).gid(NOBODY);
    }
    command
}

/// The numbers between slashes of the line with the round trips, in milliseconds: least, mean, most.
fn round_trips(ping: &str) -> Vec<f64> {
    let line = ping.lines().find(|line| line.starts_with("rtt")).unwrap_or_else(|| panic!("{ping}"));
    let numbers = line.split(" = ").nth(1).unwrap().split(' ').next().unwrap();
    numbers.split('/').map(|number| number.parse().unwrap()).collect()
}

fn the_chain_is_seen(user: As) {
    let lab = Lab::run("chain.toml", user);
    assert!(lab.said[1].starts_with("driver   namespaces"), "{:?}", lab.said);
    assert_eq!(lab.said[1].contains("user namespace"), user == As::Nobody, "{:?}", lab.said);

    for target in ["198.18.16.1", "2001:db8:16::1"] {
        let ping = lab.told("vp", &["ping", "-n", "-c", "3", "-i", "0.2", target]);
        assert!(ping.contains("3 received, 0% packet loss"), "{ping}");
        // 2 × (1 + 5 + 10 + 1) ms: never sooner.
        assert!(round_trips(&ping)[0] >= 34.0, "{ping}");
    }
    let fping =
        lab.at("vp", &["fping", "-c", "3", "-p", "50", "-t", "500", "-q", "198.18.16.1", "198.19.0.2"]);
    let summary = String::from_utf8(fping.stderr).unwrap();
    assert_eq!(summary.matches("xmt/rcv/%loss = 3/3/0%").count(), 2, "{summary}");

    // The interface by which a packet came answers for a router, and the last of them is the host's own.
    for method in ["-I", "-U", "-T"] {
        let traced = lab.told("vp", &["traceroute", "-n", "-q", "1", "-w", "1", method, "198.18.16.1"]);
        for (line, hop) in
            traced.lines().skip(1).zip(["198.19.0.1", "198.18.1.2", "198.18.1.6", "198.18.16.1"])
        {
            assert!(line.contains(&format!(" {hop} ")), "{method}: {traced}");
        }
    }
    let six = lab.told("vp", &["traceroute", "-6", "-n", "-q", "1", "-w", "1", "2001:db8:16::1"]);
    assert!(six.contains("2001:db8:ffff::2") && six.contains(" 4  2001:db8:16::1"), "{six}");
    let mtr =
        lab.told("vp", &["mtr", "--report", "--no-dns", "--report-cycles", "2", "-i", "1", "198.18.16.1"]);
    for hop in ["198.19.0.1", "198.18.1.2", "198.18.1.6", "198.18.16.1"] {
        assert!(mtr.contains(hop), "{mtr}");
    }

    // From one vantage point to another, whose own kernel answers, and the limit of its link on the way.
    let ping = lab.told("vp", &["ping", "-n", "-c", "2", "-i", "0.2", "198.18.0.2"]);
    assert!(ping.contains("2 received") && round_trips(&ping)[0] >= 34.0, "{ping}");
    let big = lab.at("vp", &["ping", "-n", "-c", "1", "-W", "1", "-M", "do", "-s", "1400", "198.18.0.2"]);
    let told = String::from_utf8(big.stdout).unwrap() + &String::from_utf8(big.stderr).unwrap();
    assert!(told.contains("mtu = 1400") || told.contains("mtu=1400"), "{told}");

    the_truth_is_told(&lab);
}

fn the_truth_is_told(lab: &Lab) {
    let packets = lab.truth("vp", "198.18.16.1");
    let echo = packets.iter().find(|found| found["packet"]["protocol"] == "icmp").expect("an echo request");
    assert_eq!(echo["packet"]["fate"]["what"], "answered", "{echo}");
    assert_eq!(echo["packet"]["fate"]["at"], "host", "{echo}");
    let reply = &echo["came"][0];
    assert_eq!((reply["by"].as_str(), reply["fate"]["at"].as_str()), (Some("host"), Some("vp")), "{echo}");
    // The reply was due when it was programmed to be, to the nanosecond, and was brought afterwards.
    let ns = |value: &Value| value.as_u64().unwrap();
    assert_eq!(ns(&reply["ended_ns"]) - ns(&echo["packet"]["born_ns"]), 34_000_000, "{echo}");
    assert!(ns(&reply["written_ns"]) >= ns(&reply["ended_ns"]), "{echo}");
    let expired = packets.iter().find(|found| found["packet"]["fate"]["what"] == "expired");
    assert_eq!(expired.expect("a probe of a trace")["came"][0]["fate"]["at"], "vp");

    let status = lab.mmn(&["status", "--json"]);
    let status: Value = serde_json::from_slice(&status.stdout).unwrap();
    assert_eq!((&status["status"]["dropped_in"], &status["status"]["dropped_out"]), (&0.into(), &0.into()));
    assert!(ns(&status["status"]["packets_in"]) > 20, "{status}");
    let nowhere = lab.mmn(&["truth", "--vp", "nowhere"]);
    assert!(String::from_utf8(nowhere.stderr).unwrap().contains("no vantage point nowhere"));
}

#[test]
fn root_sees_the_chain() {
    the_chain_is_seen(As::Root);
}

#[test]
fn nobody_sees_the_chain() {
    the_chain_is_seen(As::Nobody);
}

#[test]
fn a_diamond_has_two_branches() {
    let lab = Lab::run("diamond.toml", As::Nobody);
    // Ports are part of what chooses the branch: thirty probes with as many ports see both.
    let traced =
        lab.told("vp", &["traceroute", "-n", "-q", "10", "-f", "2", "-m", "4", "-w", "1", "198.18.16.1"]);
    for hop in ["198.18.2.2", "198.18.2.6", "198.18.16.1"] {
        assert!(traced.contains(hop), "{traced}");
    }
    // One flow sees one.
    let probes: Vec<_> = (0..5)
        .map(|_| {
            lab.told(
                "vp",
                &[
                    "traceroute",
                    "-n",
                    "-q",
                    "1",
                    "-f",
                    "2",
                    "-m",
                    "2",
                    "-w",
                    "1",
                    "-U",
                    "-p",
                    "33434",
                    "--sport=40000",
                    "198.18.16.1",
                ],
            )
        })
        .collect();
    let hops: std::collections::BTreeSet<_> = probes
        .iter()
        .map(|traced| traced.lines().nth(1).unwrap().split_whitespace().nth(1).unwrap())
        .collect();
    assert_eq!(hops.len(), 1, "{probes:?}");
}

#[test]
fn addresses_of_one_router_count_together() {
    let lab = Lab::run("alias.toml", As::Root);
    for target in [
        "198.18.3.1",
        "198.18.3.5",
        "198.18.3.2",
        "198.18.3.6",
        "198.18.3.1",
        "198.18.3.5",
        "198.18.3.2",
        "198.18.3.6",
    ] {
        lab.told("vp", &["ping", "-n", "-c", "1", "-W", "1", target]);
    }
    let numbers = |to: &str| -> Vec<u64> {
        let of = |found: &Value| found["came"][0]["ip_id"].as_u64().unwrap_or_else(|| panic!("{found}"));
        lab.truth("vp", to).iter().map(of).collect()
    };
    let (one, other) = (numbers("198.18.3.1"), numbers("198.18.3.5"));
    assert_eq!(
        [other[0], one[1], other[1]].map(|id| id.wrapping_sub(one[0]) & 0xffff),
        [1, 2, 3],
        "{one:?} {other:?}"
    );
    let (one, other) = (numbers("198.18.3.2"), numbers("198.18.3.6"));
    assert_eq!(one[1].wrapping_sub(one[0]) & 0xffff, 1, "{one:?}");
    assert_ne!(other[0].wrapping_sub(one[0]) & 0xffff, 1, "{one:?} {other:?}");

    // What is lost is lost as programmed, and the truth says where.
    let out = lab.at("vp", &["ping", "-n", "-c", "2", "-i", "0.2", "-W", "1", "198.18.16.2"]);
    assert_eq!(out.status.code(), Some(1), "{out:?}");
    let lost = lab.truth("vp", "198.18.16.2");
    assert_eq!(lost.len(), 2);
    assert!(lost.iter().all(|found| found["packet"]["fate"]["what"] == "lost"), "{lost:?}");
    assert_eq!(lost[0]["packet"]["fate"]["at"], "r2>far");
}

#[test]
fn a_lab_for_one_command_ends_with_it() {
    for user in [As::Root, As::Nobody] {
        let dir = place("chain.toml");
        let exec = |program: &[&str]| {
            let mut command = mmn(dir.path(), user);
            command.args(["lab", "exec", "--lab", "chain.toml", "vp", "--"]).args(program);
            // Its own directory for what is for a time.
            command.env("TMPDIR", dir.path().join("data")).output().unwrap()
        };
        let out = exec(&["sh", "-c", "cat; id -u; ping -n -c 1 -W 1 198.18.16.1 >/dev/null && exit 7"]);
        assert_eq!(out.status.code(), Some(7), "{out:?}");
        let id = if user == As::Root { "0\n" } else { "65534\n" };
        assert_eq!(String::from_utf8(out.stdout).unwrap(), id);
        let out = exec(&["sh", "-c", "kill -TERM $$"]);
        assert_eq!(out.status.code(), Some(128 + 15), "{out:?}");
        let out = exec(&["no-such-program"]);
        assert!(String::from_utf8(out.stderr).unwrap().contains("is it installed?"));
        let left: Vec<PathBuf> =
            std::fs::read_dir(dir.path().join("data")).unwrap().map(|entry| entry.unwrap().path()).collect();
        assert!(left.is_empty(), "{left:?}");
    }
}

#[test]
fn a_lab_that_ends_takes_its_programs_with_it() {
    for signal in [Signal::INT, Signal::KILL] {
        let mut lab = Lab::run("chain.toml", As::Nobody);
        let mut exec = mmn(lab.dir.path(), As::Nobody);
        exec.args(["lab", "exec", "--dir"]).arg(lab.dir.path().join("data/lab"));
        // A program may start others, and may be one whose file has capabilities: a death signal does not reach those.
        let script = "(ping -i 0.5 198.18.16.1 & sleep 1000 & wait) | cat & echo started; sleep 1000";
        exec.args(["vp", "--", "sh", "-c", script]);
        let mut exec = exec.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut stdout = BufReader::new(exec.stdout.take().unwrap());
        let mut line = String::new();
        stdout.read_line(&mut line).unwrap();
        assert_eq!(line, "started\n");
        kill_process(Pid::from_child(&lab.child), signal).unwrap();
        let ended = lab.child.wait().unwrap();
        assert_eq!(ended.success(), signal == Signal::INT, "{ended:?}");
        let out = exec.wait_with_output().unwrap();
        assert_eq!(out.status.code(), Some(1), "{out:?}");
        assert!(String::from_utf8(out.stderr).unwrap().contains("the lab has ended"));
        // The end of its output: all that the program started has gone, too.
        stdout.read_to_end(&mut Vec::new()).unwrap();
        let socket = lab.dir.path().join("data/lab/lab.sock");
        assert_eq!(socket.exists(), signal == Signal::KILL);
        if signal == Signal::KILL {
            // What a lab leaves that is killed is in nobody's way.
            let mut again = mmn(lab.dir.path(), As::Nobody);
            again.args(["lab", "run", "chain.toml", "--dir"]).arg(lab.dir.path().join("data/lab"));
            let mut again = again.stdout(Stdio::piped()).spawn().unwrap();
            let first = BufReader::new(again.stdout.take().unwrap()).lines().next().unwrap().unwrap();
            assert!(first.starts_with("lab "), "{first}");
            again.kill().unwrap();
            again.wait().unwrap();
        }
    }
}

/// Sends a request to an address from a vantage point, over a socket that the lab hands out, and answers what comes.
fn fetch(lab: &mut Client, vp: &str, to: &str, request: &str) -> std::io::Result<String> {
    let to: SocketAddr = to.parse().unwrap();
    let family = if to.is_ipv4() { Family::Inet } else { Family::Inet6 };
    let ask = SocketAsk { vp: vp.to_owned(), family, kind: SocketKind::Stream, protocol: 0 };
    let socket = lab.socket(&ask).unwrap();
    rustix::net::connect(&socket, &to)?;
    let mut stream = TcpStream::from(socket);
    stream.write_all(request.as_bytes())?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

const GET: &str = "GET / HTTP/1.1\r\nHost: 198.18.16.7\r\nConnection: close\r\n\r\n";

#[test]
fn servers_know_which_address_was_asked_and_where() {
    let lab = Lab::run("services.toml", As::Nobody);
    let mut client = Client::connect(&lab.dir.path().join("data/lab")).unwrap();
    assert!(client.about().unwrap().user_namespace);
    // This process is in no namespace of the lab's, and its sockets are.
    for (vp, to, page) in [
        ("w", "198.18.250.1:80", "west\n"),
        ("e", "198.18.250.1:80", "east\n"),
        ("w", "198.18.16.7:80", "wide\n"),
        ("w", "[2001:db8:16::1]:80", "wide\n"),
    ] {
        let answer = fetch(&mut client, vp, to, GET).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with(page), "{vp} {to}: {answer}");
    }
    let reset = GET.replace("GET /", "GET /reset");
    let error = fetch(&mut client, "e", "198.18.16.1:80", &reset).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
    let large = fetch(&mut client, "w", "198.18.16.1:80", &GET.replace("GET /", "GET /large")).unwrap();
    assert!(large.len() > 300_000);
    let refused = fetch(&mut client, "w", "198.18.16.1:8080", GET).unwrap_err();
    assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);

    // TLS, and names, as programs in the lab have them.
    let script =
        "import ssl, urllib.request as r; print(r.urlopen('https://wide.lab.test/').read().decode(), end='')";
    assert_eq!(lab.told("w", &["python3", "-c", script]), "wide\n");
    let resolver = lab.told("w", &["cat", "/etc/resolv.conf"]);
    assert_eq!(resolver, "nameserver 198.18.250.1\n");
}

#[test]
fn garbage_harms_no_lab() {
    let lab = Lab::run("chain.toml", As::Root);
    let path = lab.dir.path().join("data/lab/lab.sock");
    let socket = || {
        let socket =
            socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None).unwrap();
        rustix::net::connect(&socket, &SocketAddrUnix::new(&path).unwrap()).unwrap();
        socket
    };
    let mut room = vec![0; 4096];
    let one = socket();
    for (message, part) in [
        (vec![0xff; 100], "garbled"),
        (vec![b'['; 10_000], "garbled"),
        (vec![b' '; 100_000], "garbled"),
        (br#"{"version":2,"ask":{"dance":{}}}"#.to_vec(), "version"),
        (br#"{"version":1,"ask":"dance"}"#.to_vec(), "garbled"),
        (br#"{"version":1,"ask":{"network":{"vp":"nobody"}}}"#.to_vec(), "no_vp"),
        (
            br#"{"version":1,"ask":{"socket":{"vp":"vp","family":"inet","type":"stream","protocol":1}}}"#
                .to_vec(),
            "system",
        ),
        (br#"{"version":1,"ask":"about"}"#.to_vec(), "namespaces"),
    ] {
        rustix::net::send(&one, &message, SendFlags::empty()).unwrap();
        let (length, _) = rustix::net::recv(&one, &mut room, RecvFlags::empty()).unwrap();
        let reply = String::from_utf8_lossy(&room[..length]);
        assert!(reply.contains(part), "{reply}");
    }
    // More clients than it takes are told so; the others go on.
    let many: Vec<_> = (0..80).map(|_| socket()).collect();
    let refused = many.iter().filter(|client| {
        let _ = rustix::net::send(client, br#"{"version":1,"ask":"about"}"#, SendFlags::NOSIGNAL);
        let mut room = vec![0; 4096];
        // Who speaks after it was refused hears of the end alone.
        rustix::net::recv(client, &mut room, RecvFlags::empty())
            .map_or(true, |(length, _)| String::from_utf8_lossy(&room[..length]).contains("full"))
    });
    assert_eq!(refused.count(), 80 - 63);
    drop(many);
    let mode = std::fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert!(lab.told("vp", &["ping", "-n", "-c", "1", "198.18.16.1"]).contains("1 received"));
}

#[test]
fn what_stands_in_the_way_is_named_and_how_it_is_mended() {
    let dir = place("chain.toml");
    // Within a user namespace its limits are its own: these machines have room for no more namespaces.
    for (limit, drop, call) in [
        (
            "max_user_namespaces",
            "--inh-caps=-all --ambient-caps=-all --bounding-set=-all",
            "unshare(CLONE_NEWUSER)",
        ),
        ("max_net_namespaces", "", "unshare(CLONE_NEWNET)"),
    ] {
        for command in [&["run", "--dir", "data/lab"][..], &["check"]] {
            let script = format!(
                "echo 0 >/proc/sys/user/{limit} && exec setpriv {drop} ./mmn lab {} chain.toml",
                command.join(" ")
            );
            let mut inside = Command::new("unshare");
            inside.args(["--user", "--map-root-user", "sh", "-c", &script]).env_clear().env("PATH", PATH);
            let out = inside.current_dir(dir.path()).uid(NOBODY).gid(NOBODY).output().unwrap();
            assert_eq!(out.status.code(), Some(i32::from(command.len() > 1)), "{out:?}");
            let told = String::from_utf8(out.stderr).unwrap();
            for part in
                [call, &format!("user.{limit} = 0"), &format!("mend it with  sysctl -w user.{limit}=10000")]
            {
                assert!(told.contains(part), "{part}: {told}");
            }
        }
    }
}

#[test]
fn the_examples_have_nothing_odd() {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/lab");
    for file in ["aliases", "chain", "diamond", "lossy", "wide", "world"] {
        let path = examples.join(file).with_extension("toml");
        let out = mmn(Path::new(MMN).parent().unwrap(), As::Root)
            .args(["lab", "check"])
            .arg(path)
            .output()
            .unwrap();
        assert!(out.status.success(), "{out:?}");
        assert_eq!(String::from_utf8_lossy(&out.stderr), "this user may run it in network namespaces\n");
    }
}

#[test]
fn files_are_checked() {
    let dir = place("diamond.toml");
    let check = |file: &str| mmn(dir.path(), As::Root).args(["lab", "check", file]).output().unwrap();
    let out = check("diamond.toml");
    let told = String::from_utf8(out.stdout.clone()).unwrap();
    assert!(told.starts_with("4 routers and 4 links between them\n1 vantage point, 1 host\n"), "{told}");
    assert_eq!(String::from_utf8_lossy(&out.stderr), "this user may run it in network namespaces\n");
    let text = std::fs::read_to_string(dir.path().join("diamond.toml")).unwrap();
    std::fs::write(dir.path().join("wrong.toml"), text.replace("at = \"r4\"", "at = \"r5\"")).unwrap();
    let out = check("wrong.toml");
    assert_eq!(out.status.code(), Some(2), "{out:?}");
    let told = String::from_utf8(out.stderr).unwrap();
    assert!(told.contains("wrong.toml:") && told.contains("r5"), "{told}");
    let odd = text.replace("198.18.16.1", "8.8.8.8")
        + "[[router]]\nname = \"island\"\n[[host]]\nname = \"h\"\naddr = \"198.18.16.9\"\nat = \"island\"\nloss = 1.0\n";
    std::fs::write(dir.path().join("odd.toml"), odd).unwrap();
    let told = String::from_utf8(check("odd.toml").stderr).unwrap();
    for part in ["8.8.8.8 of host", "no way leads from vp to h", "nothing ever passes"] {
        assert!(told.contains(part), "{told}");
    }
}
