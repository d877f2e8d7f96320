//! `make bench-python`: the Python module `mmn`, as a script uses it. One line of the table is one function of
//! `python/mmn/bench.py`, which prints its figures as JSON; here the network is started and the figures are judged.
//!
//! `mmn-bench python [--mmn MMN] [--quick] [LINE…]`. `MMN_BENCH_PYTHON` names the Python that has the wheel, which
//! `scripts/bench-python.sh` sees to. It wants root, for a network namespace of its own.

mod lines;

use std::ffi::OsString;
use std::process::Command;

use anyhow::Context;
use serde_json::Value;

use crate::engine::place;
use crate::lines::{Bench, Line, line};
use crate::report::Report;
use crate::started::Started;
use crate::up::Up;

const LINES: &[Line] = &[
    line("sync", "synchronous loopback pings of one reply", lines::sync),
    line("async", "10,000 asynchronous pings through one vantage point", lines::many),
    line("noop", "results of a no-op kind into a Python loop, in one open measurement", lines::noop),
    line("sweep", "pings of 65,536 addresses into a Python loop", lines::sweep),
    line("vps", "one target from 1,000 vantage points of a lab", lines::vps),
    line(
        "geolocation",
        "1,000,000 addresses located in a lab, by the example's own script",
        lines::geolocation,
    ),
    line("import", "what `import mmn` takes", lines::import),
];

/// Runs the lines that the arguments name, in a network namespace of their own.
pub(crate) fn run(arguments: &[OsString]) -> anyhow::Result<Report> {
    anyhow::ensure!(rustix::process::geteuid().is_root(), "network namespaces want root");
    if arguments.first().is_some_and(|first| first == place::INSIDE) {
        place::settle()?;
        return crate::lines::run(LINES, arguments.get(1..).unwrap_or_default());
    }
    let status = Command::new("unshare")
        .arg("--net")
        .arg(std::env::current_exe()?)
        .arg("python")
        .arg(place::INSIDE)
        .args(arguments)
        .status()
        .context("unshare (util-linux)")?;
    std::process::exit(status.code().unwrap_or(1));
}

/// What a function of `bench.py` found, on a network or on none.
fn measured(bench: &Bench, line: &str, up: Option<&Up>, count: u32) -> anyhow::Result<Value> {
    let python = std::env::var_os("MMN_BENCH_PYTHON")
        .context("MMN_BENCH_PYTHON names no Python with the module mmn: run scripts/bench-python.sh")?;
    let mut command = Started::command(&bench.mmn, &python);
    command.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/../../python/mmn/bench.py"));
    command.arg(line).arg(count.to_string());
    if let Some(up) = up {
        command.arg(up.data());
    }
    let output = command.output().context("the Python of MMN_BENCH_PYTHON")?;
    let said = String::from_utf8_lossy(&output.stderr);
    anyhow::ensure!(output.status.success(), "bench.py {line}: {said}");
    serde_json::from_slice(&output.stdout).with_context(|| format!("bench.py {line}: {said}"))
}
