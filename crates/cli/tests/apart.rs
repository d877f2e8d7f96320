//! The roles as processes of their own, joined by NATS over TLS alone, with what `mmn creds` made.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that fails may panic")]

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use mmn_bus::server::Binary;
use serde_json::Value;

const MMN: &str = env!("CARGO_BIN_EXE_mmn");

/// A process that ends with the test.
struct Role(Child);

impl Drop for Role {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What is shared by all roles: the directory and the URL of the server.
struct World {
    dir: tempfile::TempDir,
    nats: String,
    _server: Role,
}

impl World {
    fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        let key = rcgen::KeyPair::generate().unwrap();
        let mut params = rcgen::CertificateParams::new(vec!["localhost".into()]).unwrap();
        params.is_ca = rcgen::IsCa::ExplicitNoCa;
        std::fs::write(at("cert.pem"), params.self_signed(&key).unwrap().pem()).unwrap();
        std::fs::write(at("key.pem"), key.serialize_pem()).unwrap();
        let made = mmn(dir.path(), &["creds", "server", "--out", at("mmn.conf").to_str().unwrap()]);
        assert!(made.status.success(), "{made:?}");
        let conf = format!(
            "listen: \"127.0.0.1:-1\"\nports_file_dir: \"{dir}\"\njetstream {{ store_dir: \"{}\" }}\n\
             tls {{ cert_file: \"{}\", key_file: \"{}\" }}\ninclude ./mmn.conf\n",
            at("js").display(),
            at("cert.pem").display(),
            at("key.pem").display(),
            dir = dir.path().display(),
        );
        std::fs::write(at("nats.conf"), conf).unwrap();
        let binary = Binary::find(&cached()).unwrap();
        let mut server = Command::new(binary.path);
        server.arg("-c").arg(at("nats.conf")).stderr(Stdio::null()).stdout(Stdio::null());
        let server = Role(server.spawn().unwrap());
        let nats = format!("tls://localhost:{}", port(dir.path()));
        Self { dir, nats, _server: server }
    }

    fn at(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn creds(&self, role: &str, more: &[&str]) -> PathBuf {
        let out = self.at("creds").join(more[0]).join(role);
        let mut args = vec!["creds", "new", role];
        args.extend(more);
        args.extend(["--out", out.to_str().unwrap()]);
        let made = mmn(self.dir.path(), &args);
        assert!(made.status.success(), "{made:?}");
        out
    }

    /// Starts a role and gives the line of JSON that it says once it is ready.
    fn role(&self, args: &[&str], creds: &Path) -> (Role, Value) {
        let mut command = Command::new(MMN);
        // Relative paths: what they start works in directories of its own.
        command.args(args).args(["--supervised", "--nats", &self.nats, "--nats-ca", "cert.pem", "--creds"]);
        command.arg(creds.strip_prefix(self.dir.path()).unwrap()).current_dir(self.dir.path());
        command.env("MMN_DATA", self.dir.path()).env_remove("MMN_API");
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        (Role(child), serde_json::from_str(&line).unwrap())
    }
}

fn mmn(data: &Path, args: &[&str]) -> Output {
    Command::new(MMN).args(args).env("MMN_DATA", data).env_remove("MMN_API").output().unwrap()
}

/// Where this tree keeps the nats-server that it fetched.
fn cached() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap();
    let versions = std::fs::read_dir(root.join(".cache/nats-server")).into_iter().flatten().flatten();
    versions.map(|version| version.path().join("nats-server")).collect()
}

/// The port that the server writes into a file once it listens.
fn port(dir: &Path) -> u16 {
    loop {
        let files = std::fs::read_dir(dir).unwrap().flatten().map(|file| file.path());
        let ports = files.filter(|path| path.extension().is_some_and(|end| end == "ports"));
        let read = ports.filter_map(|path| serde_json::from_slice::<Value>(&std::fs::read(path).ok()?).ok());
        let urls: Vec<_> = read.filter_map(|ports| ports["nats"][0].as_str().map(str::to_owned)).collect();
        match urls.first() {
            Some(url) => return url.rsplit_once(':').unwrap().1.parse().unwrap(),
            None => std::thread::yield_now(),
        }
    }
}

#[test]
fn roles_meet_over_nats_alone() {
    let world = World::start();
    let anchor_creds = world.creds("anchor", &["first"]);
    let (_anchor, ready) = world.role(&["anchor", "--listen", "127.0.0.1:0"], &anchor_creds);
    let url = ready["url"].as_str().unwrap().to_owned();

    // A node with all modules, and one that runs those that were asked for.
    let node_args = ["node", "--name", "one", "--allow-loopback", "--dir", "node-one"];
    let (_node, _) = world.role(&node_args, &world.creds("node", &["one"]));
    let (_module, ready) = world.role(&["module", "http"], &world.creds("node", &["two"]));
    let second = ready["vp"].as_str().unwrap().to_owned();

    let token = world.creds("client", &["anna", "--tenant", "lab", "--expires", "1h"]);
    let token = token.to_str().unwrap();
    let client = |args: &[&str]| {
        let common = ["--api", &url, "--token-file", token];
        mmn(world.dir.path(), &args.iter().chain(&common).copied().collect::<Vec<_>>())
    };
    let vps = loop {
        let output = client(&["vps", "--json"]);
        let text = String::from_utf8(output.stdout).unwrap();
        let vps: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let kinds = |vp: &Value| vp["kinds"].as_array().map_or(0, Vec::len);
        if vps.len() == 2 && vps.iter().map(kinds).sum::<usize>() == 8 {
            break vps;
        }
    };
    let only = vps.iter().find(|vp| vp["vantage_point"]["id"] == *second).unwrap();
    assert_eq!(only["kinds"], serde_json::json!(["http"]));

    let ping = client(&["ping", "127.0.0.1", "--from", "one", "--count", "1", "--json"]);
    assert_eq!(ping.status.code(), Some(0), "{ping:?}");
    let ledger = client(&["measurements", "last", "--json"]);
    let measurement: Value = serde_json::from_slice(&ledger.stdout).unwrap();
    assert_eq!(measurement["tenant"], "lab");

    // Another tenant does not see it, and whoever has no token is told so.
    let other = world.creds("client", &["bert", "--tenant", "field"]);
    let id = measurement["id"].as_str().unwrap();
    let foreign =
        mmn(world.dir.path(), &["ledger", id, "--api", &url, "--token-file", other.to_str().unwrap()]);
    assert_eq!(foreign.status.code(), Some(1), "{foreign:?}");
    std::fs::write(world.at("wrong"), "x.y.z\n").unwrap();
    let wrong = world.at("wrong");
    let refused = mmn(world.dir.path(), &["vps", "--api", &url, "--token-file", wrong.to_str().unwrap()]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(String::from_utf8(refused.stderr).unwrap().contains("hint: "));
}

#[test]
fn up_uses_a_server_that_is_there() {
    let world = World::start();
    let all = world.at("issued");
    for role in ["anchor", "node"] {
        let out = all.join(role);
        let made = mmn(world.dir.path(), &["creds", "new", role, "home", "--out", out.to_str().unwrap()]);
        assert!(made.status.success(), "{made:?}");
    }
    let data = world.at("data");
    let mut up = Command::new(MMN);
    up.args(["up", "--listen", "127.0.0.1:0", "--nats", &world.nats, "--nats-ca"]).arg("cert.pem");
    up.current_dir(world.dir.path())
        .args(["--creds", "issued", "--data"])
        .arg(&data)
        .stdin(Stdio::null())
        .stdout(Stdio::piped());
    let mut up = Role(up.spawn().unwrap());
    let lines = BufReader::new(up.0.stdout.take().unwrap()).lines();
    let told: Vec<_> = lines.map_while(Result::ok).take_while(|line| !line.starts_with("try ")).collect();
    assert!(told.iter().any(|line| line.contains("dns http multipath ping tcp trace udp")), "{told:?}");
    let ping = mmn(&data, &["ping", "127.0.0.1", "--count", "1"]);
    assert_eq!(ping.status.code(), Some(0), "{ping:?}");
    assert!(!data.join("nats").exists(), "it started a server of its own");

    let without = mmn(&world.at("other"), &["up", "--nats", &world.nats]);
    assert_eq!(without.status.code(), Some(2));
    assert!(String::from_utf8(without.stderr).unwrap().contains("--creds"));
}
