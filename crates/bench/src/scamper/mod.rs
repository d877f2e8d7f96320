//! `make bench-scamper`: what speaks with scamper's world. One line of the table is one file.
//!
//! `mmn-bench scamper [--mmn MMN] [--python PYTHON] [--quick] [LINE…]`; the Python has the module `scamper` installed.

mod mux;
mod python;
mod script;
mod warts;

use std::ffi::OsString;

use crate::lines::{Line, line};
use crate::report::Report;

const LINES: &[Line] = &[
    line("warts", "reading a file of 1,000,000 pings, of a packet each and answered", warts::run),
    line("python", "reading such a file by the Python module", python::run),
    line("mux", "pings of this host by the Python module, through the mux", mux::run),
];

/// Runs the lines that the arguments name.
pub(crate) fn run(arguments: &[OsString]) -> anyhow::Result<Report> {
    crate::lines::run(LINES, arguments)
}
