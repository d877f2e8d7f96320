//! A real nats-server for one test, with keys and credentials of its own.
//!
//! ```no_run
//! # async fn test() {
//! use mmn_bus::testing::TestServer;
//!
//! let server = TestServer::start().await;
//! let anchor = server.anchor("a1").await;
//! let module = server.module("ping-1", &["vp1"]).await;
//! # }
//! ```
//!
//! Failures panic, as a test's do. The server is killed when the value is dropped, or when the
//! test's process dies.
#![expect(
    clippy::expect_used,
    clippy::missing_panics_doc,
    clippy::panic,
    reason = "this is a test's set-up: what fails here fails the test, with its reason"
)]

use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use mmn_schema::subject::Prefix;
use tempfile::TempDir;

use crate::connect::{Bus, Connect};
use crate::identity::{self, Creds, Keyset, Role, Seed, UserRequest};
use crate::launch::Launcher;
use crate::server::{Binary, Server, ServerOptions};

/// A running server that belongs to one test.
#[derive(Debug)]
pub struct TestServer {
    // Dropped first: the server lives in the directory.
    server: Server,
    keys: Keyset,
    dir: TempDir,
}

impl TestServer {
    /// Starts a server in a directory of its own, with new keys for the prefix `mmn`.
    pub async fn start() -> Self {
        Self::start_with(|_| {}).await
    }

    /// Starts a server with other options.
    pub async fn start_with(change: impl FnOnce(&mut ServerOptions)) -> Self {
        let dir = tempfile::tempdir().expect("a directory for the test");
        let keys = Keyset::generate(&Prefix::default());
        let trust = keys.server_trust(now_s()).expect("new keys sign");
        let mut options = ServerOptions::new(binary(), dir.path().join("nats"), trust);
        options.launcher = launcher();
        change(&mut options);
        let server = match Server::start(options).await {
            Ok(server) => server,
            Err(error) => panic!("{error}"),
        };
        Self { server, keys, dir }
    }

    /// Where clients connect.
    pub fn url(&self) -> String {
        self.server.url()
    }

    /// The keys of this network.
    pub fn keys(&self) -> &Keyset {
        &self.keys
    }

    /// A directory that ends with the test, with the server's data in `nats`.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// The server itself: `kill` and `restart` are what a crash is.
    pub fn server(&mut self) -> &mut Server {
        &mut self.server
    }

    /// The directory of an anchor (`nats.creds`, `enrol.seed`, `trust.json`).
    pub fn anchor_dir(&self, name: &str) -> PathBuf {
        let dir = self.dir.path().join(format!("anchor-{name}"));
        identity::write_anchor(&dir, &self.keys, name, now_s()).expect("an anchor's directory");
        dir
    }

    /// The directory of a node (`nats.creds`, `vps.json`) with a new key.
    pub fn node_dir(&self, name: &str, vps: &[&str]) -> PathBuf {
        let dir = self.dir.path().join(format!("node-{name}"));
        identity::write_node(&dir, &self.keys, name, Seed::new_user(), vps, now_s())
            .expect("a node's directory");
        dir
    }

    /// The directory of a module (`nats.creds`) with a new key, as if an anchor had enrolled it.
    pub fn module_dir(&self, instance: &str, vps: &[&str]) -> PathBuf {
        let dir = self.dir.path().join(format!("module-{instance}"));
        let creds = self.creds(Role::Module, instance, vps, None);
        identity::write_module(&dir, &creds).expect("a module's directory");
        dir
    }

    /// Credentials with a new key, for `lifetime_s` seconds from now or for ever.
    pub fn creds(&self, role: Role, name: &str, vps: &[&str], lifetime_s: Option<u64>) -> Creds {
        self.creds_of(Seed::new_user(), role, name, vps, lifetime_s)
    }

    /// Credentials with a given key.
    pub fn creds_of(
        &self,
        seed: Seed,
        role: Role,
        name: &str,
        vps: &[&str],
        lifetime_s: Option<u64>,
    ) -> Creds {
        let now_s = now_s();
        let request = UserRequest {
            name,
            vps,
            public_key: seed.public_key(),
            issued_at_s: now_s,
            expires_at_s: lifetime_s.map(|lifetime_s| now_s + lifetime_s),
        };
        let jwt = self.keys.issuer(role).user(&request).expect("a user");
        Creds { jwt, seed }
    }

    /// A connection as an anchor.
    pub async fn anchor(&self, name: &str) -> Bus {
        self.connect(&self.anchor_dir(name), name).await
    }

    /// A connection as a node.
    pub async fn node(&self, name: &str, vps: &[&str]) -> Bus {
        self.connect(&self.node_dir(name, vps), name).await
    }

    /// A connection as an instance of a module.
    pub async fn module(&self, instance: &str, vps: &[&str]) -> Bus {
        self.connect(&self.module_dir(instance, vps), instance).await
    }

    async fn connect(&self, dir: &Path, name: &str) -> Bus {
        let connect = Connect::new(self.url(), dir.join(identity::CREDS), name);
        match connect.open().await {
            Ok(bus) => bus,
            Err(error) => panic!("{error}: {:?}", std::error::Error::source(&error)),
        }
    }
}

/// The server's program: `$MMN_NATS_SERVER`, `PATH`, `/usr/sbin`, or the project's cache.
pub fn binary() -> Binary {
    let cache = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.cache/nats-server");
    let cached: Vec<_> = std::fs::read_dir(cache)
        .into_iter()
        .flatten()
        .flatten()
        .map(|version| version.path().join("nats-server"))
        .collect();
    match Binary::find(&cached) {
        Ok(binary) => binary,
        Err(error) => panic!("{error}; this mends it: make setup"),
    }
}

/// Lets a test's server die with the test's process, where util-linux is there to say so.
fn launcher() -> Launcher {
    let setpriv = Path::new("/usr/bin/setpriv");
    if setpriv.exists() {
        Launcher::wrapping([setpriv.as_os_str(), "--pdeathsig".as_ref(), "KILL".as_ref()])
    } else {
        Launcher::direct()
    }
}

/// The present, in seconds since 1970 UTC.
#[expect(
    clippy::disallowed_methods,
    reason = "the server judges expiry by the real clock, so a test's users are made by it too"
)]
pub fn now_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
