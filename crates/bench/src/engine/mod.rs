//! `make bench-engine`: the packets. One line of the table is one file. It wants root, for network namespaces of its
//! own, from which nothing leaves the machine; they are gone with the processes in them.
//!
//! `mmn-bench engine [--mmn MMN] [--quick] [LINE…]`. Yardsticks are fping, scamper and iputils' ping, from the
//! distribution, and loops over the same sockets without an engine, each of the same run.

mod cpu;
mod flight;
mod mda;
mod measured;
mod peers;
pub(crate) mod place;
pub(crate) mod rate;
mod replies;
pub(crate) mod rtt;
mod trace;

use std::ffi::OsString;

use anyhow::Context;

use crate::lines::{Line, line};
use crate::report::Report;

const LINES: &[Line] = &[
    line("cpu", "processor time per matched echo, 1,000,000 probes, bulk lane", cpu::run),
    line("rate", "matched echoes a second on one core, bulk lane", rate::run),
    line("replies", "replies recorded of 20,000 targets at 50,000 packets/s, five runs", replies::paced),
    line("full", "replies recorded of 1,000,000 at full speed", replies::full),
    line("memory", "memory of what is outstanding", flight::run),
    line("rtt", "the error of round trips of 10 ms", rtt::run),
    line("trace", "20,000 traces of 3 hops at 50,000 packets/s", trace::run),
    line("mda", "the stopping rule of multipath", mda::run),
];

/// Runs the lines that the arguments name, in a network namespace of their own.
pub(crate) fn run(arguments: &[OsString]) -> anyhow::Result<Report> {
    anyhow::ensure!(rustix::process::geteuid().is_root(), "network namespaces want root");
    if arguments.first().is_some_and(|first| first == place::INSIDE) {
        place::settle()?;
        return crate::lines::run(LINES, arguments.get(1..).unwrap_or_default());
    }
    let status = std::process::Command::new("unshare")
        .arg("--net")
        .arg(std::env::current_exe()?)
        .arg("engine")
        .arg(place::INSIDE)
        .args(arguments)
        .status()
        .context("unshare (util-linux)")?;
    std::process::exit(status.code().unwrap_or(1));
}
