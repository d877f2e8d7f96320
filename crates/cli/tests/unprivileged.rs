//! `mmn up` as an ordinary user of a system that forbids ping sockets: what needs none is measured all the same; of the
//! rest it says so, names the command that mends it, and measures once that has been done.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test that fails may panic"
)]

use std::fs::Permissions;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use mmn_bus::server::Binary;

const MMN: &str = env!("CARGO_BIN_EXE_mmn");
/// *nobody* and *nogroup* of Debian.
const NOBODY: u32 = 65_534;
/// How often something is asked before the test is given up.
const PATIENCE: usize = 2000;

/// `mmn up` of *nobody* in a network namespace of its own, whose loopback is up.
struct Up {
    child: Child,
    dir: tempfile::TempDir,
    told: Vec<String>,
}

impl Up {
    fn start() -> Self {
        // The programs may lie where nobody else may look.
        let dir = tempfile::tempdir().unwrap();
        std::fs::set_permissions(dir.path(), Permissions::from_mode(0o755)).unwrap();
        place(Path::new(MMN), &dir.path().join("mmn"));
        place(&Binary::find(&cached()).unwrap().path, &dir.path().join("nats-server"));
        let data = dir.path().join("data");
        std::fs::create_dir(&data).unwrap();
        chown(&data, Some(NOBODY), Some(NOBODY)).unwrap();

        let mut up = Command::new("unshare");
        up.args(["--net", "--", "sh", "-c", "ip link set lo up && exec \"$@\"", "sh"]);
        up.args(as_nobody(dir.path(), &["up", "--listen", "127.0.0.1:0"]));
        up.stdin(Stdio::null()).stdout(Stdio::piped()).env_clear().env("PATH", SYSTEM_PATH);
        let mut child = up.spawn().expect("unshare, of util-linux");
        let lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        let mut told = Vec::new();
        for line in lines {
            let last = line.starts_with("try ");
            told.push(line);
            if last {
                break;
            }
        }
        Self { child, dir, told }
    }

    /// Runs something in the namespace.
    fn inside(&self, command: impl IntoIterator<Item = String>) -> Output {
        let net = format!("--net=/proc/{}/ns/net", self.child.id());
        let mut inside = Command::new("nsenter");
        inside.args([&net, "--"]).args(command).env_clear().env("PATH", SYSTEM_PATH);
        inside.output().expect("nsenter, of util-linux")
    }

    fn mmn(&self, args: &[&str]) -> Output {
        self.inside(as_nobody(self.dir.path(), args))
    }

    /// The value behind a word at the beginning of a line.
    fn told(&self, name: &str) -> &str {
        let value = self.told.iter().find_map(|line| line.trim_start().strip_prefix(name));
        value.unwrap_or_else(|| panic!("{name}: {:?}", self.told)).trim()
    }
}

impl Drop for Up {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

const SYSTEM_PATH: &str = "/usr/sbin:/usr/bin:/sbin:/bin";

fn as_nobody(dir: &Path, args: &[&str]) -> Vec<String> {
    let id = NOBODY.to_string();
    let mut words = vec!["setpriv".to_owned(), format!("--reuid={id}"), format!("--regid={id}")];
    words.extend(["--clear-groups".into(), dir.join("mmn").to_str().unwrap().into()]);
    words.extend(args.iter().map(ToString::to_string));
    words.extend(["--data".into(), dir.join("data").to_str().unwrap().into()]);
    words
}

/// Where this tree keeps the nats-server that it fetched.
fn cached() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap();
    let versions = std::fs::read_dir(root.join(".cache/nats-server")).into_iter().flatten().flatten();
    versions.map(|version| version.path().join("nats-server")).collect()
}

fn place(program: &Path, at: &Path) {
    std::fs::copy(program, at).unwrap();
    std::fs::set_permissions(at, Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn what_is_closed_is_told_and_mended_without_a_restart() {
    assert!(rustix::process::getuid().is_root(), "this test needs root: it makes a network namespace");
    let up = Up::start();
    assert_eq!(up.told("ready"), "dns http multipath tcp trace udp");
    assert!(up.told("not ready").starts_with("ping: unprivileged"), "{:?}", up.told);
    assert!(up.told("try").contains("mmn http http://127.0.0.1:"), "{:?}", up.told);
    let refused = up.mmn(&["ping", "127.0.0.1", "--count", "1"]);
    assert_eq!(refused.status.code(), Some(1), "{refused:?}");
    let before = up.mmn(&["modules", "--json"]);
    datagrams_and_segments_need_no_ping_socket(&up);

    // What the command does; a minimal system has no sysctl(8).
    assert!(up.told("mend it with").starts_with("sudo sysctl -w net.ipv4.ping_group_range=\"0 2147483647\""));
    let mend = "echo 0 2147483647 >/proc/sys/net/ipv4/ping_group_range";
    let mended = up.inside(["sh", "-c", mend].map(str::to_owned));
    assert!(mended.status.success(), "{mended:?}");
    let mut ping = up.mmn(&["ping", "127.0.0.1", "--count", "1"]);
    for _ in 0..PATIENCE {
        if ping.status.success() {
            break;
        }
        ping = up.mmn(&["ping", "127.0.0.1", "--count", "1"]);
    }
    assert_eq!(ping.status.code(), Some(0), "{ping:?}");
    let six = up.mmn(&["ping", "::1", "--count", "1"]);
    assert_eq!(six.status.code(), Some(0), "{six:?}");

    // Nothing was started again for it.
    assert_eq!(instances(&before), instances(&up.mmn(&["modules", "--json"])));
}

/// What every process may open measures without the node's sockets: errors come by the sockets' error queues.
fn datagrams_and_segments_need_no_ping_socket(up: &Up) {
    let measured = |args: &[&str], code| {
        let out = up.mmn(args);
        assert_eq!(out.status.code(), Some(code), "{args:?}: {out:?}");
        let record: serde_json::Value = serde_json::from_slice(&out.stdout).unwrap();
        assert_eq!(record["body"]["conditions"]["lane"], "unprivileged", "{record}");
        assert_eq!(record["body"]["conditions"]["interface"]["name"], "lo", "{record}");
        record["body"].clone()
    };
    for target in ["127.0.0.1", "::1"] {
        for method in ["udp", "tcp"] {
            let path = measured(&["trace", target, "--method", method, "--json"], 0);
            assert_eq!(path["stop"]["reason"], "completed", "{path}");
            assert_eq!(path["hops"][0]["probes"][0]["reply"]["from"], target, "{path}");
        }
        assert_eq!(measured(&["tcp", target, "--port", "1", "--json"], 0)["state"], "closed");
        // Nobody answers a closed port, and that is told.
        let datagram = measured(&["udp", target, "--port", "1", "--json"], 1);
        assert_eq!(datagram["probes"][0]["error"]["name"], "port_unreachable", "{datagram}");
        let graph = measured(&["multipath", target, "--json"], 0);
        assert_eq!(graph["stop"]["reason"], "completed", "{graph}");
    }
    // What takes ICMP says what is missing.
    let refused = up.mmn(&["trace", "127.0.0.1"]);
    assert_eq!(refused.status.code(), Some(1), "{refused:?}");
    let told =
        String::from_utf8_lossy(&refused.stdout).into_owned() + &String::from_utf8_lossy(&refused.stderr);
    assert!(told.contains("net.ipv4.ping_group_range"), "{told}");
}

/// The instances with the boot of each.
fn instances(modules: &Output) -> Vec<(String, u64)> {
    let text = String::from_utf8(modules.stdout.clone()).unwrap();
    let mut found: Vec<_> = text
        .lines()
        .map(|line| {
            let module: serde_json::Value = serde_json::from_str(line).unwrap();
            (module["instance"].as_str().unwrap().to_owned(), module["boot"].as_u64().unwrap())
        })
        .collect();
    found.sort();
    assert_eq!(found.len(), 3, "{text}");
    found
}
