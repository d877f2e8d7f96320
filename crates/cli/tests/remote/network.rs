//! An `mmn up` and an `mmn remote` beside it, and what one asks them.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::Value;

const MMN: &str = env!("CARGO_BIN_EXE_mmn");

/// A process that is ended with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Both.
pub(crate) struct Network {
    // Ended in this order.
    _remote: Running,
    _up: Running,
    /// Where daemons connect.
    pub(crate) listens: SocketAddr,
    data: tempfile::TempDir,
}

impl Network {
    pub(crate) fn start(args: &[&str]) -> Self {
        let data = tempfile::tempdir().unwrap();
        let (up, _) = started(&["up", "--listen", "127.0.0.1:0"], data.path(), "try ");
        let args = [&["remote", "--listen", "127.0.0.1:0"], args].concat();
        let (remote, line) = started(&args, data.path(), "scamper -M NAME -R ");
        let listens = line.trim().rsplit(' ').next().unwrap().parse().unwrap();
        Self { _remote: remote, _up: up, listens, data }
    }

    /// Begins a measurement.
    pub(crate) fn measure(&self, args: &[&str]) -> Child {
        command(args, self.data.path()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    }

    /// What the network says of a vantage point.
    pub(crate) fn vp(&self, name: &str) -> Value {
        let vps = shown(self.measure(&["vps", "--json"]));
        vps.into_iter().find(|vp| vp["vantage_point"]["name"] == name).unwrap_or_default()
    }

    /// Waits until a vantage point is as it should be.
    pub(crate) fn vp_is(&self, name: &str, health: &str) {
        while self.vp(name)["health"] != health
            || (health == "healthy" && self.vp(name)["kinds"].as_array().is_none_or(Vec::is_empty))
        {}
    }
}

/// The lines of JSON that a command prints to its end.
pub(crate) fn shown(child: Child) -> Vec<Value> {
    let output = child.wait_with_output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let found: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(!found.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    found
}

fn command(args: &[&str], data: &Path) -> Command {
    let mut command = Command::new(MMN);
    command
        .args(args)
        .env("MMN_DATA", data)
        .env_remove("MMN_NATS_URL")
        .env_remove("MMN_API")
        .stdin(Stdio::null());
    command
}

/// Starts a role and waits for a line that has `word` in it.
fn started(args: &[&str], data: &Path, word: &str) -> (Running, String) {
    let mut child = command(args, data).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let (out, err) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
    let running = Running(child);
    let mut lines: Box<dyn BufRead + Send> =
        if word == "try " { Box::new(BufReader::new(out)) } else { Box::new(BufReader::new(err)) };
    let mut told = String::new();
    loop {
        let mut line = String::new();
        assert!(lines.read_line(&mut line).unwrap() > 0, "{told}");
        told.push_str(&line);
        if line.contains(word) {
            // Whoever writes to a pipe that nobody reads would end.
            std::thread::spawn(move || std::io::copy(&mut lines, &mut std::io::sink()));
            return (running, line);
        }
    }
}
