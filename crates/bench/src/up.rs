//! An `mmn up` of its own in a temporary directory.

use std::ffi::OsStr;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, bail};
use serde_json::Value;

use crate::clock;
use crate::http::Connection;
use crate::report::{Report, ms, quantile};
use crate::started::{Dir, Started};

/// A running `mmn up`.
#[derive(Debug)]
pub(crate) struct Up {
    child: Started,
    data: Dir,
    /// `host:port` of the API.
    pub(crate) api: String,
    /// The token of its default tenant.
    pub(crate) token: String,
}

/// How an `mmn up` differs from one that has just been unpacked.
#[derive(Debug, Default)]
pub(crate) struct Setup {
    /// Manifests of `modules.d/`: name and text.
    pub(crate) modules: Vec<(String, String)>,
    /// Whether the built-in modules don't run.
    pub(crate) bare: bool,
    /// The anchor's configuration.
    pub(crate) anchor: String,
    /// How many instances of modules are waited for.
    pub(crate) instances: usize,
    /// The site's policy; absent: its limits are lifted.
    pub(crate) policy: Option<String>,
}

impl Up {
    /// Starts it, with the site's limits lifted, and waits until the API says that it is ready to measure.
    pub(crate) fn start(mmn: &Path) -> anyhow::Result<Self> {
        Self::start_with(mmn, &Setup { instances: 3, ..Setup::default() })
    }

    /// Starts it with modules of this program.
    pub(crate) fn start_with(mmn: &Path, setup: &Setup) -> anyhow::Result<Self> {
        let data = Dir::new()?;
        prepare_node(&data.path().join("node"), setup)?;
        let config = data.path().join("anchor.toml");
        std::fs::write(&config, &setup.anchor)?;
        let child = spawn(mmn, data.path(), &["--anchor-config".as_ref(), config.as_os_str()])?;
        let (api, token) = wait_for_api(&child, data.path())?;
        let up = Self { child, data, api, token };
        wait_for_instances(&up.api, &up.token, setup.instances)?;
        Ok(up)
    }

    /// Starts the network of a world in a file, with more arguments, and waits until the API answers.
    pub(crate) fn lab(mmn: &Path, file: &Path, more: &[&OsStr]) -> anyhow::Result<Self> {
        let data = Dir::new()?;
        let mut arguments = vec![OsStr::new("--lab"), file.as_os_str()];
        arguments.extend(more);
        let child = spawn(mmn, data.path(), &arguments)?;
        let (api, token) = wait_for_api(&child, data.path())?;
        Ok(Self { child, data, api, token })
    }

    /// The data directory.
    pub(crate) fn data(&self) -> &Path {
        self.data.path()
    }

    /// The process that supervises the others.
    pub(crate) fn pid(&self) -> u32 {
        self.child.pid()
    }

    /// A GET of the API.
    pub(crate) fn get(&self, path: &str) -> anyhow::Result<Value> {
        let mut connection = Connection::open(&self.api, &self.token)?;
        let (status, body) = connection.request("GET", path, None)?;
        anyhow::ensure!(status == 200, "GET {path}: {status} {}", String::from_utf8_lossy(&body));
        Ok(serde_json::from_slice(&body)?)
    }

    /// Stops it as Ctrl-C does.
    pub(crate) fn stop(self) -> anyhow::Result<()> {
        self.child.interrupt()
    }
}

/// Waits until so many instances of modules are at work.
pub(crate) fn wait_for_instances(api: &str, token: &str, instances: usize) -> anyhow::Result<()> {
    let begin = clock::now();
    loop {
        let modules = Connection::open(api, token)
            .and_then(|mut api| api.request("GET", "/api/v1/modules", None))
            .and_then(|(_, body)| Ok(serde_json::from_slice::<Value>(&body)?))
            .unwrap_or_default();
        let items = modules["items"].as_array().map_or(&[][..], Vec::as_slice);
        let at_work = |item: &&Value| item["health"] == "healthy" && item["kinds"][0] != Value::Null;
        if items.iter().filter(at_work).count() >= instances {
            return Ok(());
        }
        anyhow::ensure!(
            clock::now() - begin < Duration::from_secs(20),
            "{instances} instances were not ready within 20 s: {modules}"
        );
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The directory of a node. The site's default limits, 1,000 packets/s and 100 to one target, shall not be what is
/// measured.
pub(crate) fn prepare_node(node: &Path, setup: &Setup) -> anyhow::Result<()> {
    let manifests = node.join("modules.d");
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&manifests)?;
    // Those that are named get the settings of their manifests, their concurrency among them.
    let names: Vec<_> = setup.modules.iter().map(|(name, _)| name).collect();
    let policy = format!(
        "max_pps = 1000000\nmax_bps = \"10Gbit/s\"\nmax_pps_per_target = 1000000\nallow_loopback = true\n\
         sockets_for = {names:?}\n"
    );
    std::fs::write(node.join("policy.toml"), setup.policy.as_ref().unwrap_or(&policy))?;
    for (name, manifest) in &setup.modules {
        std::fs::write(manifests.join(format!("{name}.toml")), manifest)?;
    }
    let off = if setup.bare { &["packet", "dns", "http"][..] } else { &[] };
    for name in off {
        std::fs::write(manifests.join(format!("{name}.toml")), "enabled = false\n")?;
    }
    Ok(())
}

fn spawn(mmn: &Path, data: &Path, more: &[&OsStr]) -> anyhow::Result<Started> {
    let mut arguments: Vec<&OsStr> = ["up", "--listen", "127.0.0.1:0", "--data"].map(OsStr::new).to_vec();
    arguments.push(data.as_os_str());
    arguments.extend(more);
    Started::mmn(mmn, &arguments).context("mmn up")
}

fn wait_for_api(child: &Started, data: &Path) -> anyhow::Result<(String, String)> {
    let begin = clock::now();
    loop {
        let api = std::fs::read(data.join("api.json")).ok();
        let token = std::fs::read_to_string(data.join("creds/client.token")).ok();
        if let (Some(api), Some(token)) = (api, token)
            && let Ok(api) = serde_json::from_slice::<Value>(&api)
            && let Some(url) = api["url"].as_str()
        {
            let host = url.trim_start_matches("http://").trim_end_matches('/').to_owned();
            return Ok((host, token.trim().to_owned()));
        }
        anyhow::ensure!(!child.has_ended(), "mmn up has ended: is there a nats-server? ($MMN_NATS_SERVER)");
        if clock::now() - begin > Duration::from_secs(20) {
            bail!("no api.json within 20 s");
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// From the start of `mmn up` in an empty directory to the first result of `mmn ping 127.0.0.1`, five times.
pub(crate) fn first_results(mmn: &Path, report: &mut Report) -> anyhow::Result<()> {
    let mut samples = Vec::new();
    for _ in 0..5 {
        let data = Dir::new()?;
        let begin = clock::now();
        let child = spawn(mmn, data.path(), &[])?;
        let result = first_result(mmn, data.path(), begin);
        child.interrupt()?;
        samples.push(result?);
    }
    report.at_most(
        "mmn up to first result of `mmn ping 127.0.0.1`, worst of 5",
        "s",
        ms(quantile(&mut samples, 1.0)) / 1e3,
        5.0,
    );
    Ok(())
}

fn first_result(mmn: &Path, data: &Path, begin: std::time::Instant) -> anyhow::Result<Duration> {
    loop {
        let output = Command::new(mmn)
            .args(["ping", "127.0.0.1", "--count", "1", "--json", "--data"])
            .arg(data)
            .stdin(Stdio::null())
            .output()?;
        if output.status.success() && output.stdout.starts_with(b"{") {
            return Ok(clock::now() - begin);
        }
        if clock::now() - begin > Duration::from_secs(30) {
            bail!("no result within 30 s: {}", String::from_utf8_lossy(&output.stderr));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}
