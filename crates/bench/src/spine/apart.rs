//! A network whose roles are processes of this program's, not of `mmn up`: nothing is started again, and a proxy stands
//! between a vantage point and nats-server.

use std::ffi::OsStr;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::Context;
use mmn_bus::server::Binary;

use super::Bench;
use super::network::{self, Module};
use super::proxy::Proxy;
use crate::http::Connection;
use crate::started::{Dir, Started};
use crate::{clock, nats, up};

/// The roles.
#[derive(Debug)]
pub(super) struct Apart {
    // In the order in which they end.
    _node: Started,
    pub(super) anchors: Vec<Anchor>,
    pub(super) proxy: Proxy,
    pub(super) token: String,
    _server: Started,
    _dir: Dir,
}

/// One of several anchors.
#[derive(Debug)]
pub(super) struct Anchor {
    /// `host:port` of its API.
    pub(super) host: String,
    pub(super) process: Started,
}

impl Apart {
    /// Starts them, with so many anchors, of which the first is the active one.
    pub(super) fn start(bench: &Bench, anchors: usize, modules: &[Module]) -> anyhow::Result<Self> {
        let dir = Dir::new()?;
        let at = |name: &str| dir.path().join(name).display().to_string();
        let setup = network::setup(modules)?;
        std::fs::write(at("anchor.toml"), &setup.anchor)?;
        up::prepare_node(&dir.path().join("node"), &setup)?;
        creds(bench, dir.path(), &["server", "--out", &at("mmn.conf")])?;
        creds(bench, dir.path(), &["new", "node", "one", "--out", &at("creds-node")])?;
        creds(bench, dir.path(), &["new", "client", "bench", "--out", &at("token")])?;
        let token = std::fs::read_to_string(at("token"))?.trim().to_owned();
        let server = server(bench, dir.path())?;
        let url = url(dir.path())?;
        let proxy = Proxy::start(url.rsplit('/').next().unwrap_or_default())?;
        let role = |words: &[&str], nats: &str, creds: &str| {
            let data = at("");
            let words = [words, &["--data", &data, "--nats", nats, "--creds", creds]].concat();
            Started::mmn(&bench.mmn, &words.into_iter().map(OsStr::new).collect::<Vec<_>>())
        };
        let mut running = Vec::new();
        for number in 0..anchors {
            let host = free_address()?;
            let (name, own) = (format!("anchor-{number}"), at(&format!("creds-anchor-{number}")));
            creds(bench, dir.path(), &["new", "anchor", &name, "--out", &own])?;
            let words = ["anchor", "--listen", &host, "--config", &at("anchor.toml")];
            let process = role(&words, &url, &own)?;
            wait_for(Duration::from_secs(20), "an anchor's API", || {
                Connection::open(&host, &token)?.request("GET", "/healthz", None).map(drop)
            })?;
            running.push(Anchor { host, process });
        }
        let through = format!("nats://{}", proxy.address);
        let node = role(&["node", "--dir", &at("node")], &through, &at("creds-node"))?;
        let first = running.first().context("no anchor")?;
        up::wait_for_instances(&first.host, &token, setup.instances)?;
        Ok(Self { anchors: running, _node: node, proxy, token, _server: server, _dir: dir })
    }

    /// Where the APIs are, the active one's first.
    pub(super) fn hosts(&self) -> Vec<String> {
        self.anchors.iter().map(|anchor| anchor.host.clone()).collect()
    }
}

fn creds(bench: &Bench, data: &Path, words: &[&str]) -> anyhow::Result<()> {
    let made = Command::new(&bench.mmn).arg("creds").args(words).arg("--data").arg(data).output()?;
    anyhow::ensure!(made.status.success(), "mmn creds: {}", String::from_utf8_lossy(&made.stderr));
    Ok(())
}

/// A nats-server with the network's keys, found as `mmn` finds it.
fn server(bench: &Bench, dir: &Path) -> anyhow::Result<Started> {
    let (store, ports) = (dir.join("jetstream"), dir.join("ports"));
    std::fs::create_dir(&ports)?;
    let conf = format!(
        "listen: \"127.0.0.1:-1\"\nports_file_dir: \"{}\"\njetstream {{ store_dir: \"{}\" }}\ninclude ./mmn.conf\n",
        ports.display(),
        store.display()
    );
    let file = dir.join("nats.conf");
    std::fs::write(&file, conf)?;
    let binary = Binary::find(&[])?;
    let mut command = Started::command(&bench.mmn, binary.path.as_os_str());
    command.arg("-c").arg(file).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    Started::spawn(command)
}

fn url(dir: &Path) -> anyhow::Result<String> {
    wait_for(Duration::from_secs(10), "nats-server", || nats::url_in(&dir.join("ports")))
}

/// An address of this machine that nobody listens on.
fn free_address() -> anyhow::Result<String> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.to_string())
}

/// Tries until it goes well.
fn wait_for<T>(
    patience: Duration,
    what: &str,
    mut tried: impl FnMut() -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    let begin = clock::now();
    loop {
        match tried() {
            Ok(got) => return Ok(got),
            Err(error) if clock::now() - begin > patience => {
                return Err(error).with_context(|| format!("{what} was not there within {patience:?}"));
            }
            Err(_) => std::thread::sleep(Duration::from_millis(10)),
        }
    }
}
