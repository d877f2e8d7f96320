//! Idle memory: the sum of PSS (proportional set size, Linux `smaps_rollup`) of each role's processes.

use std::fs;
use std::time::Duration;

use anyhow::Context;

use crate::processes;
use crate::report::Report;
use crate::up::Up;

pub(crate) fn idle(up: &Up, report: &mut Report) -> anyhow::Result<()> {
    std::thread::sleep(Duration::from_secs(5));
    let anchor = processes::role(up.pid(), "anchor")?;
    let node = processes::role(up.pid(), "node")?;
    let nats = processes::nats_server(up.pid())?;
    report.yardstick("idle nats-server, PSS", "MB", pss_mb(&[nats])?);
    report.at_most("idle anchor, PSS", "MB", pss_mb(&[anchor])?, 50.0);
    let mut roles = processes::descendants(node)?;
    roles.push(node);
    report.at_most("idle node and built-in modules, sum of PSS", "MB", pss_mb(&roles)?, 60.0);
    report.note(&format!("{} processes in the node's sum", roles.len()));
    Ok(())
}

/// The sum of the PSS of processes.
pub(crate) fn pss_mb(pids: &[u32]) -> anyhow::Result<f64> {
    let mut sum_kb = 0.0;
    for pid in pids {
        let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
        let line = rollup.lines().find_map(|line| line.strip_prefix("Pss:")).context("no Pss line")?;
        sum_kb += line.trim().trim_end_matches("kB").trim().parse::<f64>()?;
    }
    Ok(sum_kb / 1e3)
}
