//! Idle memory: the sum of PSS (proportional set size, Linux `smaps_rollup`) of each role's processes.

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use anyhow::Context;

use crate::report::Report;
use crate::up::Up;

pub(crate) fn idle(up: &Up, report: &mut Report) -> anyhow::Result<()> {
    std::thread::sleep(Duration::from_secs(5));
    let processes = processes()?;
    let below = |root: u32| descendants(&processes, root);
    let anchor = find(&processes, up.pid(), "anchor")?;
    let node = find(&processes, up.pid(), "node")?;
    let nats = below(up.pid())
        .into_iter()
        .find(|pid| command(*pid).contains("nats-server"))
        .context("nats-server")?;
    report.yardstick("idle nats-server, PSS", "MB", pss_mb(&[nats])?);
    report.at_most("idle anchor, PSS", "MB", pss_mb(&[anchor])?, 50.0);
    let mut roles = below(node);
    roles.push(node);
    report.at_most("idle node and built-in modules, sum of PSS", "MB", pss_mb(&roles)?, 60.0);
    report.note(&format!("{} processes in the node's sum", roles.len()));
    Ok(())
}

fn find(processes: &BTreeMap<u32, u32>, root: u32, role: &str) -> anyhow::Result<u32> {
    descendants(processes, root)
        .into_iter()
        .find(|pid| command(*pid).split('\0').nth(1) == Some(role))
        .with_context(|| format!("no process `mmn {role}`"))
}

/// The parent of each process.
fn processes() -> anyhow::Result<BTreeMap<u32, u32>> {
    let mut parents = BTreeMap::new();
    for entry in fs::read_dir("/proc")? {
        let Some(pid) = entry?.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else {
            continue;
        };
        // The command's name stands in brackets and may hold anything: what counts comes after the last one.
        let Ok(stat) = fs::read_to_string(format!("/proc/{pid}/stat")) else { continue };
        if let Some(parent) = stat.rsplit(')').next().and_then(|rest| rest.split_whitespace().nth(1)) {
            parents.insert(pid, parent.parse()?);
        }
    }
    Ok(parents)
}

fn descendants(parents: &BTreeMap<u32, u32>, root: u32) -> Vec<u32> {
    let mut found = Vec::new();
    let mut open = vec![root];
    while let Some(parent) = open.pop() {
        let children = parents.iter().filter(|(_, of)| **of == parent).map(|(pid, _)| *pid);
        for child in children {
            found.push(child);
            open.push(child);
        }
    }
    found
}

fn command(pid: u32) -> String {
    fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default()
}

fn pss_mb(pids: &[u32]) -> anyhow::Result<f64> {
    let mut sum_kb = 0.0;
    for pid in pids {
        let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
        let line = rollup.lines().find_map(|line| line.strip_prefix("Pss:")).context("no Pss line")?;
        sum_kb += line.trim().trim_end_matches("kB").trim().parse::<f64>()?;
    }
    Ok(sum_kb / 1e3)
}
