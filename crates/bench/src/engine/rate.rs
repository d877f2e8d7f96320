//! Matched echoes a second on one core: the bulk lane against a bare loop over the same kind of socket.
//!
//! Everything of both runs on one processor, the answering kernel included.

use std::ffi::OsString;
use std::process::Command;
use std::time::Duration;

use anyhow::Context;
use mmn_node::net::bulk::{PacketSockets, bare};
use mmn_node::net::icmp::IdRange;
use serde_json::json;

use super::cpu::FIRST;
use super::measured::{Measured, address};
use super::place;
use crate::lines::Bench;
use crate::processes;
use crate::report::Report;

/// The first argument of the program that is the bare loop.
pub(crate) const BARE: &str = "--bare-loop";

pub(super) fn run(bench: &Bench, report: &mut Report) -> anyhow::Result<()> {
    let _host = place::target(&bench.mmn)?;
    let probes: u32 = if bench.quick { 200_000 } else { 1_000_000 };
    let mut measured = Measured::start(bench, 10_000_000)?;
    let params = json!({"count": 1, "timeout": "1s", "size": 8, "lane": "bulk"});
    let patience = Duration::from_secs(120);
    measured.measure("ping", &params, FIRST, 50_000, patience)?;
    processes::pin(measured.packet, 0)?;
    let (sums, _) = measured.measure("ping", &params, FIRST, probes, patience)?;
    measured.up.stop()?;
    let bare = loop_alone(probes)?;
    // The module's process does its work on one processor: what it does in a second of that.
    #[expect(clippy::cast_precision_loss, reason = "a count of answers")]
    let own = sums.answered as f64 / sums.cpu_s;
    report.note(&format!(
        "{} of {} answered in {:.2} s, {:.2} s of processor time",
        sums.answered, sums.accepted, sums.wall_s, sums.cpu_s
    ));
    report.yardstick("bare loop of sending and receiving, one core", "/s", bare);
    report.yardstick("bulk lane, matched probes per second of one core", "/s", own);
    report.at_least("  against the bare loop", "x", own / bare, 0.9);
    Ok(())
}

fn loop_alone(probes: u32) -> anyhow::Result<f64> {
    let output = Command::new("taskset")
        .args(["-c", "0"])
        .arg(std::env::current_exe()?)
        .args([BARE, &address(FIRST), &probes.to_string()])
        .output()
        .context("taskset (util-linux)")?;
    anyhow::ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8_lossy(&output.stdout).trim().parse()?)
}

/// The bare loop, as a program: prints the echoes a second.
#[expect(clippy::print_stdout, reason = "its line is what it is for")]
#[expect(clippy::cast_precision_loss, reason = "counts of packets")]
pub(crate) fn bare_loop(arguments: &[OsString]) -> anyhow::Result<()> {
    let word = |at: usize| arguments.get(at).and_then(|word| word.to_str()).context("ADDRESS COUNT");
    let (target, count) = (word(0)?.parse()?, word(1)?.parse()?);
    let sockets = || PacketSockets::open(IdRange::new(1, 16)?).map_err(anyhow::Error::from);
    // Once to warm up.
    bare(sockets()?, target, count / 10)?;
    let done = bare(sockets()?, target, count)?;
    println!("{}", done.received as f64 / (done.took.0 as f64 / 1e9));
    Ok(())
}
