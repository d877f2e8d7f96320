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
pub(crate) mod network;
mod proxy;
mod restart;
mod saturated;
mod singles;
mod stopped;
mod watch;

use std::ffi::OsString;

use crate::lines::{Bench, Line, line};
use crate::report::Report;

/// Runs the lines that the arguments name.
pub(crate) fn run(arguments: &[OsString]) -> anyhow::Result<Report> {
    crate::lines::run(LINES, arguments)
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
