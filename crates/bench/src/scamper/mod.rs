//! `make bench-scamper`: what speaks with scamper's world. One line of the table is one file.
//!
//! `mmn-bench scamper [--mmn MMN] [--quick] [LINE…]`.

mod warts;

use std::ffi::OsString;

use crate::lines::{Line, line};
use crate::report::Report;

const LINES: &[Line] =
    &[line("warts", "reading a file of 1,000,000 pings, of a packet each and answered", warts::run)];

/// Runs the lines that the arguments name.
pub(crate) fn run(arguments: &[OsString]) -> anyhow::Result<Report> {
    crate::lines::run(LINES, arguments)
}
