//! Processes, as `/proc` shows them.

use std::collections::BTreeMap;
use std::fs;

use anyhow::Context;

/// The processes below one, and below those.
pub(crate) fn descendants(root: u32) -> anyhow::Result<Vec<u32>> {
    let parents = parents()?;
    let mut found = Vec::new();
    let mut open = vec![root];
    while let Some(parent) = open.pop() {
        let children = parents.iter().filter(|(_, of)| **of == parent).map(|(pid, _)| *pid);
        for child in children {
            found.push(child);
            open.push(child);
        }
    }
    Ok(found)
}

/// The process `mmn ROLE` below `root`.
pub(crate) fn role(root: u32, role: &str) -> anyhow::Result<u32> {
    descendants(root)?
        .into_iter()
        .find(|pid| command(*pid).split('\0').nth(1) == Some(role))
        .with_context(|| format!("no process `mmn {role}`"))
}

/// The nats-server below `root`.
pub(crate) fn nats_server(root: u32) -> anyhow::Result<u32> {
    descendants(root)?
        .into_iter()
        .find(|pid| command(*pid).split('\0').next().is_some_and(|program| program.ends_with("nats-server")))
        .context("no nats-server")
}

/// The process of an instance of a module.
pub(crate) fn instance(root: u32, instance: &str) -> anyhow::Result<u32> {
    let word = format!("MMN_INSTANCE={instance}");
    let is_it = |pid: &u32| {
        let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        environment.split(|byte| *byte == 0).any(|variable| variable == word.as_bytes())
    };
    descendants(root)?.into_iter().find(is_it).with_context(|| format!("no process of {instance}"))
}

/// The command line of a process; its words end in NUL.
pub(crate) fn command(pid: u32) -> String {
    fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default()
}

/// Seconds of processor time that processes have used, to the kernel's tick of 10 ms.
pub(crate) fn cpu_s(pids: &[u32]) -> f64 {
    let of = |pid: &u32| -> Option<f64> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // Behind the command's name stand state and parent; user and system time are the 12th and 13th.
        let fields: Vec<_> = stat.rsplit(')').next()?.split_whitespace().collect();
        let ticks = |at: usize| fields.get(at)?.parse::<f64>().ok();
        Some((ticks(11)? + ticks(12)?) / 100.0)
    };
    pids.iter().filter_map(of).sum()
}

/// Resident memory of a process, in MB.
#[derive(Debug, Clone, Copy)]
#[expect(clippy::struct_field_names, reason = "units stand in names")]
pub(crate) struct Resident {
    /// All of it.
    pub(crate) all_mb: f64,
    /// The most that it was so far.
    pub(crate) most_mb: f64,
    /// What is no file and not shared.
    pub(crate) anonymous_mb: f64,
}

/// Resident memory of a process.
pub(crate) fn resident(pid: u32) -> anyhow::Result<Resident> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let field = |name: &str| -> anyhow::Result<f64> {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).context("no such line")?;
        // What is called kB there are 1,024 bytes.
        Ok(line.trim().trim_end_matches("kB").trim().parse::<f64>()? * 1.024e-3)
    };
    Ok(Resident { all_mb: field("VmRSS:")?, most_mb: field("VmHWM:")?, anonymous_mb: field("RssAnon:")? })
}

/// The parent of each process.
fn parents() -> anyhow::Result<BTreeMap<u32, u32>> {
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

/// Seconds of processor time of this process's children that have ended and were waited for.
pub(crate) fn children_cpu_s() -> anyhow::Result<f64> {
    let stat = fs::read_to_string("/proc/self/stat")?;
    let fields: Vec<_> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |at: usize| fields.get(at).and_then(|field| field.parse::<f64>().ok());
    Ok((ticks(13).context("no cutime")? + ticks(14).context("no cstime")?) / 100.0)
}

/// Keeps a process on one processor, with all its threads.
pub(crate) fn pin(pid: u32, processor: u32) -> anyhow::Result<()> {
    keep_on(pid, &processor.to_string())
}

/// Lets a process go to all of so many processors again.
pub(crate) fn unpin(pid: u32, processors: usize) -> anyhow::Result<()> {
    keep_on(pid, &format!("0-{}", processors.saturating_sub(1)))
}

fn keep_on(pid: u32, processors: &str) -> anyhow::Result<()> {
    let words = ["-a", "-p", "-c", processors, &pid.to_string()];
    let output =
        std::process::Command::new("taskset").args(words).output().context("taskset (util-linux)")?;
    anyhow::ensure!(output.status.success(), "taskset -p {pid}");
    Ok(())
}
