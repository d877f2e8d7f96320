//! A node in the test's own process, with real children.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use mmn_bus::connect::Tls;
use mmn_bus::identity::{self, Seed};
use mmn_bus::launch::Launcher;
use mmn_bus::testing::{TestServer, now_s};
use mmn_node::policy::Policy;
use mmn_node::{Builtin, Config, DEFAULT_LOCAL_KEY, DEFAULT_SILENCE, NodeError, Place, Ready};
use mmn_schema::announce::{ModuleState, ModuleStatus, NodeInfo};
use mmn_schema::control::{NodeAnswer, NodeOrder};
use mmn_schema::id::VpId;
use mmn_schema::subject::{Prefix, Subject};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::kinds::KINDS;
use super::{Anchor, soon};

pub struct Node {
    pub dir: PathBuf,
    pub vp: VpId,
    pub shutdown: CancellationToken,
    pub task: JoinHandle<Result<(), NodeError>>,
}

pub fn children() -> OsString {
    let test = std::env::current_exe().unwrap();
    let target = test.ancestors().nth(2).unwrap();
    let path = target.join("examples/children");
    assert!(path.exists(), "{}: cargo build -p mmn-node --examples", path.display());
    path.into_os_string()
}

/// The directories of a node with credentials for its vantage point.
pub fn directories(server: &TestServer) -> (PathBuf, PathBuf, VpId) {
    let creds = server.dir().join("node-creds");
    let seed = Seed::new_user();
    let vp = VpId::derive(seed.public_key().as_str(), DEFAULT_LOCAL_KEY);
    identity::write_node(&creds, server.keys(), "node-1", seed, &[vp.as_str()], now_s()).unwrap();
    let dir = server.dir().join("node");
    std::fs::create_dir_all(dir.join("modules.d")).unwrap();
    std::fs::write(dir.join("node.toml"), "name = \"place\"\ncountry = \"DE\"\n").unwrap();
    (dir, creds, vp)
}

pub fn config(server: &TestServer, dir: &Path, creds: &Path) -> Config {
    Config {
        dir: dir.to_owned(),
        creds: creds.to_owned(),
        urls: vec![server.url()],
        tls: Tls::default(),
        prefix: Prefix::default(),
        launcher: Launcher::new([children(), "launch".into()]),
        module_command: vec![children(), "module".into()],
        module_env: Vec::new(),
        builtins: Builtin::all_of(KINDS),
        policy: Policy::default(),
        place: Place::default(),
        watch: true,
        silence: DEFAULT_SILENCE,
        elsewhere: None,
    }
}

pub async fn start(server: &TestServer) -> (Node, Ready) {
    start_with(server, |_| {}).await
}

pub async fn start_with(server: &TestServer, change: impl FnOnce(&mut Config)) -> (Node, Ready) {
    let (dir, creds, vp) = directories(server);
    let (ready, is_ready) = oneshot::channel();
    let shutdown = CancellationToken::new();
    let mut config = config(server, &dir, &creds);
    change(&mut config);
    let task = tokio::spawn(mmn_node::run(config, ready, shutdown.clone()));
    let ready = soon(is_ready).await.expect("the node is ready");
    (Node { dir, vp, shutdown, task }, ready)
}

impl Node {
    pub fn drop_manifest(&self, name: &str, text: &str) {
        let dir = self.dir.join("modules.d");
        std::fs::write(dir.join("new"), text).unwrap();
        std::fs::rename(dir.join("new"), dir.join(format!("{name}.toml"))).unwrap();
    }

    pub async fn order(&self, anchor: &Anchor, order: NodeOrder) -> NodeAnswer {
        anchor.request(Subject::Node(self.vp.clone()), &order).await
    }

    pub async fn end(self) {
        self.shutdown.cancel();
        soon(self.task).await.unwrap().unwrap();
    }
}

pub fn module<'a>(info: &'a NodeInfo, name: &str) -> Option<&'a ModuleStatus> {
    info.modules.iter().find(|module| module.module == name)
}

pub fn is(info: &NodeInfo, name: &str, state: ModuleState) -> bool {
    module(info, name).is_some_and(|module| module.state == state)
}
