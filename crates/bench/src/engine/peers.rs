//! The yardsticks: other programs, run on the same networks.

use std::process::{Command, Stdio};

use anyhow::Context;

use crate::processes;

/// What a run of a program took.
#[derive(Debug, Clone, Copy)]
pub(super) struct Took {
    /// Seconds of processor time, user and system.
    pub(super) cpu_s: f64,
    /// Seconds on the wall.
    pub(super) wall_s: f64,
    /// Answers that it reports.
    pub(super) matched: u64,
}

/// The program, or why it is not there.
fn program(name: &str) -> String {
    std::env::var(format!("MMN_{}", name.to_uppercase())).unwrap_or_else(|_| name.to_owned())
}

/// fping, as fast as it goes: one echo to each of these addresses, `runs` times. A single run sends no more than 65,535
/// within 10 s.
pub(super) fn fping(targets: &[String], runs: u32) -> anyhow::Result<Took> {
    let list = list(targets)?;
    let mut all = Took { cpu_s: 0.0, wall_s: 0.0, matched: 0 };
    for _ in 0..runs {
        let mut command = pinned("fping");
        // -i and -p in milliseconds: no pause that it would keep; -q and -s: the sums alone.
        command.args(["-q", "-s", "-i", "0", "-p", "1", "-t", "1000", "-c", "1", "-f"]).arg(list.path());
        let took = fping_sum(command)?;
        all.matched += took.matched;
        all.cpu_s += took.cpu_s;
        all.wall_s += took.wall_s;
    }
    Ok(all)
}

/// A program that keeps to the first processor.
fn pinned(name: &str) -> Command {
    let mut command = Command::new("taskset");
    command.args(["-c", "0", &program(name)]);
    command
}

/// fping at 50,000 echoes a second, one to each of these addresses.
pub(super) fn fping_paced(targets: &[String]) -> anyhow::Result<Took> {
    let list = list(targets)?;
    let mut command = Command::new(program("fping"));
    command.args(["-q", "-s", "-i", "0.02", "-p", "1000", "-t", "2000", "-c", "1", "-f"]).arg(list.path());
    fping_sum(command)
}

fn fping_sum(command: Command) -> anyhow::Result<Took> {
    let (took, text) = time(command)?;
    let sum = text.lines().find_map(|line| line.trim().strip_suffix("ICMP Echo Replies received"));
    let matched = sum.with_context(|| format!("fping says no sum: {text:.200}"))?;
    Ok(Took { matched: matched.trim().parse()?, ..took })
}

/// scamper as fast as it lets itself be told (10,000 packets/s): one echo to each of these addresses.
pub(super) fn scamper(targets: &[String]) -> anyhow::Result<Took> {
    scamper_does("ping -c 1", targets, |line| line.contains("bytes from"))
}

/// The same: a Paris trace to each of these addresses. Counts the traces.
pub(super) fn scamper_traces(targets: &[String]) -> anyhow::Result<Took> {
    scamper_does("trace -P icmp-paris", targets, |line| line.starts_with("traceroute from"))
}

fn scamper_does(what: &str, targets: &[String], counts: fn(&&str) -> bool) -> anyhow::Result<Took> {
    let list = list(targets)?;
    let mut command = pinned("scamper");
    command.args(["-p", "10000", "-w", "10000", "-c", what, "-O", "text", "-f"]).arg(list.path());
    let (took, text) = time(command)?;
    let matched = text.lines().filter(counts).count();
    Ok(Took { matched: u64::try_from(matched)?, ..took })
}

fn list(targets: &[String]) -> anyhow::Result<tempfile::NamedTempFile> {
    let mut list = tempfile::NamedTempFile::new()?;
    std::io::Write::write_all(&mut list, targets.join("\n").as_bytes())?;
    Ok(list)
}

/// iputils' ping, 1,000 a second: each round trip that it says, in microseconds.
pub(super) fn ping(host: &str, count: u32) -> anyhow::Result<Vec<f64>> {
    let mut command = Command::new(program("ping"));
    command.args(["-n", "-i", "0.001", "-c", &count.to_string(), host]);
    let (_, text) = time(command)?;
    let rtt = |line: &str| line.split("time=").nth(1)?.split(' ').next()?.parse::<f64>().ok();
    let rtts: Vec<_> = text.lines().filter_map(rtt).map(|ms| ms * 1e3).collect();
    anyhow::ensure!(!rtts.is_empty(), "ping says nothing: {text}");
    Ok(rtts)
}

/// Runs it to its end, whatever it answers, and gives all that it said.
fn time(mut command: Command) -> anyhow::Result<(Took, String)> {
    let what = command.get_program().to_owned();
    let (before, begin) = (processes::children_cpu_s()?, crate::clock::now());
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("{} (Debian's package has it)", what.display()))?;
    let wall_s = (crate::clock::now() - begin).as_secs_f64();
    let cpu_s = processes::children_cpu_s()? - before;
    let text =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    Ok((Took { cpu_s, wall_s, matched: 0 }, text))
}
