//! An `mmn up` of its own in a temporary directory.

use std::io::{BufRead, BufReader};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, bail};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::clock;
use crate::report::{Report, ms, quantile};

/// A running `mmn up`.
#[derive(Debug)]
pub(crate) struct Up {
    child: Child,
    data: tempfile::TempDir,
    /// `host:port` of the API.
    pub(crate) api: String,
    /// The token of its default tenant.
    pub(crate) token: String,
}

impl Up {
    /// Starts it, with the site's limits lifted, and waits until the API says that it is ready to measure.
    pub(crate) fn start(mmn: &Path) -> anyhow::Result<Self> {
        let data = tempfile::tempdir()?;
        lift_limits(data.path())?;
        let child = spawn(mmn, data.path())?;
        let (api, token) = wait_for_api(data.path())?;
        let up = Self { child, data, api, token };
        let begin = clock::now();
        loop {
            if let Ok(kinds) = up.get("/api/v1/kinds") {
                let ready = kinds["items"].as_array().is_some_and(|items| items.len() >= 3);
                if ready {
                    return Ok(up);
                }
            }
            if clock::now() - begin > Duration::from_secs(20) {
                bail!("the kinds were not ready within 20 s");
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// The data directory.
    pub(crate) fn data(&self) -> &Path {
        self.data.path()
    }

    /// The process that supervises the others.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// A GET of the API.
    pub(crate) fn get(&self, path: &str) -> anyhow::Result<Value> {
        let mut connection = crate::http::Connection::open(&self.api, &self.token)?;
        let (status, body) = connection.request("GET", path, None)?;
        anyhow::ensure!(status == 200, "GET {path}: {status} {}", String::from_utf8_lossy(&body));
        Ok(serde_json::from_slice(&body)?)
    }

    /// Stops it as Ctrl-C does.
    pub(crate) fn stop(mut self) -> anyhow::Result<()> {
        interrupt(&self.child)?;
        self.child.wait()?;
        Ok(())
    }
}

impl Drop for Up {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The site's default limits, 1,000 packets/s and 100 to one target, shall not be what is measured.
fn lift_limits(data: &Path) -> anyhow::Result<()> {
    let node = data.join("node");
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&node)?;
    let policy =
        "max_pps = 1000000\nmax_bps = \"10Gbit/s\"\nmax_pps_per_target = 1000000\nallow_loopback = true\n";
    Ok(std::fs::write(node.join("policy.toml"), policy)?)
}

fn spawn(mmn: &Path, data: &Path) -> anyhow::Result<Child> {
    let mut child = Command::new(mmn)
        .args(["up", "--listen", "127.0.0.1:0", "--data"])
        .arg(data)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .context("mmn up")?;
    if let Some(stdout) = child.stdout.take() {
        std::thread::spawn(move || BufReader::new(stdout).lines().for_each(drop));
    }
    Ok(child)
}

fn interrupt(child: &Child) -> anyhow::Result<()> {
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw).context("a process id")?;
    Ok(kill_process(pid, Signal::INT)?)
}

fn wait_for_api(data: &Path) -> anyhow::Result<(String, String)> {
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
        let data = tempfile::tempdir()?;
        let begin = clock::now();
        let mut child = spawn(mmn, data.path())?;
        let result = first_result(mmn, &data.path().to_path_buf(), begin);
        interrupt(&child)?;
        child.wait()?;
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

fn first_result(mmn: &Path, data: &PathBuf, begin: std::time::Instant) -> anyhow::Result<Duration> {
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
