//! `make bench-spine`: the spine under fault and under load. One line of the table is one file; each starts a network
//! of its own, with kinds that do nothing, so that what is measured is everything around a measurement.
//!
//! `mmn-bench spine` runs all lines that belong to one run, `mmn-bench spine LINE…` those that are named. `--quick`
//! shortens what lasts, while one works on it.

mod apart;
mod bulk;
mod death;
mod fair;
mod jitter;
mod load;
mod makespan;
mod network;
mod proxy;
mod restart;
mod saturated;
mod singles;
mod socket;
mod stopped;
mod watch;

use std::ffi::OsString;
use std::path::PathBuf;

use anyhow::Context;

use crate::clock;
use crate::report::Report;

/// What every line gets.
#[derive(Debug)]
struct Bench {
    /// The program that is measured.
    mmn: PathBuf,
    /// Whether what lasts is shortened.
    quick: bool,
}

/// A line of the table.
struct Line {
    name: &'static str,
    what: &'static str,
    /// Whether it belongs to the one run.
    always: bool,
    run: fn(&Bench, &mut Report) -> anyhow::Result<()>,
}

const LINES: &[Line] = &[
    line("bulk", "1,000,000 inputs, ten times", bulk::run),
    line("socket", "single inputs over one WebSocket", singles::socket),
    line("http", "single inputs over 64 HTTP connections", singles::http),
    line("fair", "10,000 tasks over 4 equal instances", fair::run),
    line("makespan", "one of four instances is 20 times slower", makespan::run),
    line("stopped", "one of four instances is stopped with work in its hands", stopped::run),
    line("saturated", "10 x the capacity of a kind", saturated::run),
    line("killed", "kill -9 of instances", death::killed),
    line("hung", "SIGSTOP of an instance", death::hung),
    line("cut", "a vantage point is cut off", death::cut),
    line("nats", "kill -9 of nats-server", restart::nats),
    line("anchor", "kill -9 of the anchor", restart::anchor),
    line("standby", "kill -9 of the active of two anchors", restart::standby),
    line("jitter", "500 ms of jitter, and a tenth of the writes stalled for 1 s", jitter::run),
    Line { always: false, ..line("hour", "a vantage point is cut off for an hour", jitter::hour) },
];

const fn line(
    name: &'static str,
    what: &'static str,
    run: fn(&Bench, &mut Report) -> anyhow::Result<()>,
) -> Line {
    Line { name, what, always: true, run }
}

/// Runs the lines that the arguments name.
pub(crate) fn run(arguments: &[OsString]) -> anyhow::Result<Report> {
    let mut mmn = std::env::current_exe()?.with_file_name("mmn");
    let mut quick = false;
    let mut names = Vec::new();
    let mut arguments = arguments.iter();
    while let Some(argument) = arguments.next() {
        match argument.to_str() {
            Some("--mmn") => mmn = arguments.next().context("--mmn wants a path")?.into(),
            Some("--quick") => quick = true,
            Some(name) if LINES.iter().any(|line| line.name == name) => names.push(name.to_owned()),
            _ => {
                let known: Vec<_> = LINES.iter().map(|line| line.name).collect();
                anyhow::bail!("{} is no line; there are: {}", argument.display(), known.join(", "));
            }
        }
    }
    let mmn = std::path::absolute(mmn)?;
    anyhow::ensure!(mmn.is_file(), "{} is not there: cargo build --release", mmn.display());
    let bench = Bench { mmn, quick };
    let mut report = Report::new();
    let cpus = std::thread::available_parallelism()?;
    report.note(&format!("{} on {cpus} processors, everything on them", bench.mmn.display()));
    let begin = clock::now();
    for line in LINES {
        let asked = if names.is_empty() { line.always } else { names.iter().any(|name| name == line.name) };
        if !asked {
            continue;
        }
        report.note(&format!("-- {}: {}", line.name, line.what));
        report.print();
        if let Err(error) = (line.run)(&bench, &mut report) {
            report.broken(line.name, &error);
        }
        report.print();
    }
    report.note(&format!("{:.0} s in all", (clock::now() - begin).as_secs_f64()));
    report.print();
    Ok(report)
}
