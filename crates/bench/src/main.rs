//! `make bench`: runs the built `mmn` as a person would and prints each figure beside its yardstick of the same run.
//!
//! It measures from outside (processes, HTTP, NATS), changes nothing, and stops what it started. A figure that falls
//! short is printed as such and makes the exit code 1.

#![expect(
    clippy::indexing_slicing,
    reason = "a JSON value that lacks a name is null there, and no index is anything else"
)]

mod clock;
mod http;
mod listed;
mod memory;
mod nats;
mod ping;
mod report;
mod up;

use std::path::PathBuf;

use anyhow::Context;
use report::Report;
use up::Up;

fn main() -> anyhow::Result<()> {
    let arguments: Vec<_> = std::env::args_os().skip(1).collect();
    if let [role, data] = arguments.as_slice()
        && role == ping::RESPONDER
    {
        return ping::respond(data.as_ref());
    }
    let mmn = arguments.first().map_or_else(|| PathBuf::from("target/release/mmn"), PathBuf::from);
    anyhow::ensure!(mmn.is_file(), "{} is not there: cargo build --release", mmn.display());
    let mut report = Report::new();
    report.note(&format!("{} on {} processors", mmn.display(), std::thread::available_parallelism()?));

    up::first_results(&mmn, &mut report).context("from `mmn up` to a first result")?;
    let up = Up::start(&mmn)?;
    memory::idle(&up, &mut report).context("idle memory")?;
    listed::modules(&up, &mut report).context("from connected to listed")?;
    ping::through_rest(&up, &mut report).context("one ping through REST")?;
    up.stop()?;

    report.print();
    if report.falls_short() {
        std::process::exit(1);
    }
    Ok(())
}
