//! `make bench-lab`: the simulated Internet. One line of the table is one file. Namespaces want root, or a user who may make
//! user namespaces; nothing leaves the machine.
//!
//! `mmn-bench lab [--mmn MMN] [--quick] [LINE…]`. What is measured is the built `mmn`, but for the virtual driver, which
//! is a library. Worlds are generated from the table of `examples/lab`.

mod aliases;
mod events;
mod late;
mod namespaces;
mod ready;
mod saturated;
mod truth;
pub(crate) mod world;

use std::ffi::OsString;

use crate::lines::{Line, line};
use crate::report::Report;

const LINES: &[Line] = &[
    line("events", "the virtual driver: 24 vantage points, 200 targets, 17 TTLs", events::run),
    line("late", "namespaces: how late packets are brought, 1,000 a second", late::run),
    line("saturated", "namespaces: 24 vantage points, packets of 64 octets, saturated", saturated::run),
    line("ready", "`mmn up --lab` to 24 ready vantage points, and to 1,000", ready::run),
    line("truth", "measurement against truth, 24 vantage points, 200 targets", truth::run),
];

/// Runs the lines that the arguments name.
pub(crate) fn run(arguments: &[OsString]) -> anyhow::Result<Report> {
    crate::lines::run(LINES, arguments)
}
