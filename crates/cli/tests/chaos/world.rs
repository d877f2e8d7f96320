//! A network of processes: nats-server, two anchors, two nodes with their modules, each with a way to the server that
//! can be cut.

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use mmn_anchor::api::token::{Claims, TokenKey, mint};
use mmn_bus::connect::{Bus, Connect};
use mmn_bus::identity::{CREDS, Keyset, Seed, write_anchor, write_node};
use mmn_bus::server::Binary;
use mmn_schema::id::VpId;
use mmn_schema::subject::Prefix;

use crate::MMN;
use crate::kind;
use crate::net::Net;
use crate::process::{Process, Recipe};
use crate::proxy::Proxy;

/// The names of the vantage points, and how many instances each has.
pub(crate) const PLACES: [(&str, usize); 2] = [("left", 2), ("right", 1)];
/// The names of the anchors.
const ANCHORS: [&str; 2] = ["first", "second"];
/// How long a network may take to come about.
const START: Duration = Duration::from_secs(60);

/// What all runs share: keys, credentials, programs.
#[derive(Debug)]
pub(crate) struct Common {
    dir: tempfile::TempDir,
    trust: String,
    token: String,
    server: PathBuf,
}

impl Common {
    pub(crate) fn make() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let now_s = mmn_bus::testing::now_s();
        let keys = Keyset::generate(&Prefix::default());
        let trust = keys.server_trust(now_s).unwrap();
        let ((system, system_jwt), (account, account_jwt)) = (&trust.system, &trust.account);
        let (system_jwt, account_jwt) = (system_jwt.as_str(), account_jwt.as_str());
        let trust = format!(
            "operator: {}\nsystem_account: {system}\nresolver: MEMORY\n\
             resolver_preload: {{\n  {system}: {system_jwt}\n  {account}: {account_jwt}\n}}\n",
            trust.operator.as_str(),
        );
        let api_key = dir.path().join("api.key");
        let key = TokenKey::load_or_create(&api_key).unwrap();
        for name in ANCHORS.into_iter().chain(["looks"]) {
            let to = dir.path().join(name);
            write_anchor(&to, &keys, name, now_s).unwrap();
            std::fs::copy(&api_key, to.join("api.key")).unwrap();
        }
        for (name, _) in PLACES {
            let seed = Seed::new_user();
            let vp = VpId::derive(seed.public_key().as_str(), mmn_node::DEFAULT_LOCAL_KEY);
            write_node(&dir.path().join(name), &keys, name, seed, &[vp.as_str()], now_s).unwrap();
        }
        let claims = Claims {
            sub: "test".to_owned(),
            tenant: mmn_schema::id::Tenant::default(),
            iat: i64::try_from(now_s).unwrap(),
            exp: None,
            jti: "test".to_owned(),
        };
        let token = mint(&key, &claims).unwrap();
        let server = Binary::find(&cached()).unwrap().path;
        Self { dir, trust, token, server }
    }
}

impl Common {
    /// The credentials of a role, copied for one network.
    fn credentials(&self, name: &str, network: &Path) -> PathBuf {
        let to = network.join("creds").join(name);
        std::fs::create_dir_all(&to).unwrap();
        for file in std::fs::read_dir(self.dir.path().join(name)).unwrap().flatten() {
            std::fs::copy(file.path(), to.join(file.file_name())).unwrap();
        }
        to
    }
}

/// Where this tree keeps the nats-server that it fetched.
fn cached() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap();
    let versions = std::fs::read_dir(root.join(".cache/nats-server")).into_iter().flatten().flatten();
    versions.map(|version| version.path().join("nats-server")).collect()
}

/// One network.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) server: Process,
    pub(crate) anchors: Vec<Process>,
    pub(crate) nodes: Vec<Process>,
    pub(crate) anchor_ways: Vec<Proxy>,
    pub(crate) node_ways: Vec<Proxy>,
    pub(crate) net: Net,
    pub(crate) token: String,
    server_url: String,
    looks: PathBuf,
    /// What was wrong on the way.
    complaints: Arc<Mutex<Vec<String>>>,
    over: Arc<AtomicBool>,
    pub(crate) dir: Option<tempfile::TempDir>,
}

/// A wrong clock.
#[derive(Debug)]
pub(crate) struct Skew {
    /// Whose.
    pub(crate) whose: &'static [&'static str],
    pub(crate) library: String,
    /// By how much: `+365d`.
    pub(crate) by: &'static str,
}

impl Skew {
    /// What makes the clock of `name` wrong, if it is to be.
    fn of(&self, name: &str) -> Vec<(&'static str, String)> {
        if !self.whose.contains(&name) {
            return Vec::new();
        }
        let by = self.by.to_owned();
        let monotonic =
            ["DONT_FAKE_MONOTONIC", "FAKETIME_DONT_FAKE_MONOTONIC"].map(|name| (name, "1".to_owned()));
        [("LD_PRELOAD", self.library.clone()), ("FAKETIME", by)].into_iter().chain(monotonic).collect()
    }
}

/// Each run has an address of the loopback of its own, so that a port that a dead process leaves is taken by nobody else.
pub(crate) fn address(number: usize) -> Ipv4Addr {
    let process = std::process::id();
    let [high, low] = u16::try_from(number).unwrap().to_be_bytes();
    // 127.0 is everybody's; the rest tells this process's runs from those of others.
    let net = u8::try_from(64 + process % 128).unwrap();
    let third = high.wrapping_add(u8::try_from(process / 128 % 128).unwrap() * 2);
    Ipv4Addr::new(127, net, third, low.max(1))
}

impl World {
    /// Starts it and waits until both vantage points offer the kind.
    pub(crate) async fn start(common: &Common, number: usize) -> Self {
        Self::start_with(common, number, ANCHOR, None).await
    }

    /// The same with another configuration of its anchors, and with a wrong clock.
    pub(crate) async fn start_with(
        common: &Common,
        number: usize,
        anchor: &str,
        skew: Option<&Skew>,
    ) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        let ip = IpAddr::V4(address(number));
        let server_address = SocketAddr::new(ip, 4222);
        std::fs::write(at("nats.conf"), server_conf(common, server_address, dir.path())).unwrap();
        let server = Process::new(Recipe {
            name: "nats-server".to_owned(),
            program: common.server.clone().into(),
            args: vec!["-c".into(), at("nats.conf").into()],
            env: Vec::new(),
            log: at("nats.err"),
        });
        let server_url = format!("nats://{server_address}");
        let mut world = Self {
            server,
            anchors: Vec::new(),
            nodes: Vec::new(),
            anchor_ways: Vec::new(),
            node_ways: Vec::new(),
            net: Net::new([8677, 8678].map(|port| format!("http://{ip}:{port}")), &common.token),
            token: common.token.clone(),
            server_url,
            looks: common.dir.path().join("looks"),
            complaints: Arc::default(),
            over: Arc::default(),
            dir: None,
        };
        for (name, port) in ANCHORS.into_iter().zip(8677..) {
            let way = Proxy::start(SocketAddr::new(ip, 0), server_address).await;
            std::fs::write(at(&format!("{name}.toml")), anchor).unwrap();
            let args = [
                "anchor".into(),
                "--config".into(),
                at(&format!("{name}.toml")).into(),
                "--listen".into(),
                format!("{ip}:{port}").into(),
                "--nats".into(),
                format!("nats://{}", way.address).into(),
                "--creds".into(),
                common.credentials(name, dir.path()).into(),
            ];
            world.anchors.push(role(dir.path(), name, args.into(), skew));
            world.anchor_ways.push(way);
        }
        for (name, instances) in PLACES {
            let way = Proxy::start(SocketAddr::new(ip, 0), server_address).await;
            node_dir(&at(name), name, instances, skew);
            let args = [
                "node".into(),
                "--dir".into(),
                at(name).into(),
                "--nats".into(),
                format!("nats://{}", way.address).into(),
                "--creds".into(),
                common.credentials(name, dir.path()).into(),
            ];
            world.nodes.push(role(dir.path(), name, args.into(), skew));
            world.node_ways.push(way);
        }
        world.dir = Some(dir);
        for process in world.all() {
            process.start();
            tokio::task::spawn_local(keep(
                process.clone(),
                Arc::clone(&world.complaints),
                Arc::clone(&world.over),
            ));
        }
        let all = world.net.instances(PLACES.iter().map(|(_, count)| count).sum());
        tokio::time::timeout(START, all).await.expect("the network comes about");
        world
    }

    fn all(&self) -> impl Iterator<Item = &Process> {
        std::iter::once(&self.server).chain(&self.anchors).chain(&self.nodes)
    }

    pub(crate) fn complain(&self, what: String) {
        self.complaints.lock().unwrap().push(what);
    }

    /// What was wrong: said on the way, and in the logs.
    pub(crate) fn complaints(&self) -> Vec<String> {
        let mut all = self.complaints.lock().unwrap().clone();
        for process in self.all() {
            let log = std::fs::read_to_string(&process.recipe.log).unwrap_or_default();
            let bad = log.lines().filter(|line| line.contains("panicked at"));
            all.extend(bad.map(|line| format!("{}: {line}", process.recipe.name)));
        }
        all
    }

    /// A connection of the test's own, past all that can be cut.
    pub(crate) async fn look(&self) -> Bus {
        let connect = Connect::new(self.server_url.clone(), self.looks.join(CREDS), "looks");
        connect.open().await.unwrap()
    }

    /// Ends it all.
    pub(crate) async fn stop(&self) {
        self.over.store(true, Ordering::SeqCst);
        for process in self.all() {
            process.signal(rustix::process::Signal::KILL);
        }
        for process in self.all() {
            process.kill().await;
        }
    }
}

/// Starts a process again that ended of its own, as a supervisor does, and says so: nothing ends of its own but an anchor
/// that finds another one in its place.
async fn keep(process: Process, complaints: Arc<Mutex<Vec<String>>>, over: Arc<AtomicBool>) {
    loop {
        let status = process.ended().await;
        if over.load(Ordering::SeqCst) {
            return;
        }
        // Whoever hurts it starts it again.
        let _busy = process.busy.lock().await;
        if process.is_running() || over.load(Ordering::SeqCst) {
            continue;
        }
        let log = std::fs::read_to_string(&process.recipe.log).unwrap_or_default();
        let last = log.lines().last().unwrap_or_default().to_owned();
        if !last.contains("another anchor has taken over") {
            let name = &process.recipe.name;
            complaints.lock().unwrap().push(format!("{name} ended of its own with {status}: {last}"));
        }
        process.start();
    }
}

fn role(dir: &Path, name: &str, args: Vec<std::ffi::OsString>, skew: Option<&Skew>) -> Process {
    let mut env: Vec<(&'static str, std::ffi::OsString)> = vec![
        ("MMN_DATA", dir.join("data").into()),
        ("RUST_LOG", "info,async_nats=off".into()),
        ("RUST_BACKTRACE", "1".into()),
    ];
    env.extend(skew.into_iter().flat_map(|skew| skew.of(name)).map(|(name, value)| (name, value.into())));
    Process::new(Recipe {
        name: name.to_owned(),
        program: MMN.into(),
        args,
        env,
        log: dir.join(format!("{name}.log")),
    })
}

fn node_dir(dir: &Path, name: &str, instances: usize, skew: Option<&Skew>) {
    let modules = dir.join("modules.d");
    std::fs::create_dir_all(&modules).unwrap();
    std::fs::write(dir.join("node.toml"), format!("name = {name:?}\n")).unwrap();
    for builtin in ["packet", "dns", "http"] {
        std::fs::write(modules.join(format!("{builtin}.toml")), "enabled = false\n").unwrap();
    }
    let own = std::env::current_exe().unwrap();
    let manifest = format!(
        "command = [\"{}\", \"--exact\", {:?}, \"--nocapture\", \"--test-threads=1\"]\ninstances = {instances}\n",
        own.display(),
        kind::PROCESS
    );
    let env =
        skew.into_iter().flat_map(|skew| skew.of(name)).map(|(name, value)| format!("{name} = {value:?}\n"));
    let manifest = format!("{manifest}[env]\n{}", env.collect::<String>());
    std::fs::write(modules.join(format!("{}.toml", kind::NAME)), manifest).unwrap();
}

fn server_conf(common: &Common, listen: SocketAddr, dir: &Path) -> String {
    let mut conf = format!(
        "listen: \"{listen}\"\nserver_name: chaos\nlog_file: \"{}\"\nping_interval: \"5s\"\nping_max: 2\n\
         write_deadline: \"5s\"\njetstream {{ store_dir: \"{}\", max_file_store: 300000000 }}\n",
        dir.join("nats.log").display(),
        dir.join("js").display(),
    );
    let _ = write!(conf, "{}", common.trust);
    conf
}

/// Shorter times than the defaults, so that a run is short: all of them by about the same factor.
pub(crate) const ANCHOR: &str = r"
[results]
max_bytes = 67108864
[ledger]
max_bytes = 67108864
[liveness]
suspect_ms = 1000
lost_ms = 2000
lost_most_ms = 4000
[dispatch]
receipt_ms = 300
sync_ms = 200
[lease]
renew_ms = 250
term_ms = 1000
look_ms = 150
";
