//! `make bench`, `make bench-spine`, `make bench-engine`, `make bench-lab`, `make bench-scamper` and `make bench-python`: run the built `mmn` as a
//! person would and print each figure beside its yardstick of the same run.
//!
//! It measures from outside (processes, HTTP, WebSocket, NATS), changes nothing, and stops what it started. A figure
//! that falls short is printed as such and makes the exit code 1.
//!
//! `mmn-bench [MMN]` is the first of them, `mmn-bench spine [--mmn MMN] [--quick] [LINE…]` the second (`spine/mod.rs`),
//! `mmn-bench engine …` the third (`engine/mod.rs`), `mmn-bench lab …` the fourth (`lab/mod.rs`),
//! `mmn-bench scamper …` the fifth (`scamper/mod.rs`), `mmn-bench python …` the sixth (`python/mod.rs`).

#![expect(
    clippy::indexing_slicing,
    reason = "a JSON value that lacks a name is null there, and no index is anything else"
)]

mod clock;
mod engine;
mod http;
mod lab;
mod lines;
mod listed;
mod measurement;
mod memory;
mod nats;
mod noop;
mod ping;
mod processes;
mod python;
mod report;
mod scamper;
mod socket;
mod spine;
mod started;
mod up;

use std::path::PathBuf;

use anyhow::Context;
use report::Report;
use up::Up;

fn main() -> anyhow::Result<()> {
    let arguments: Vec<_> = std::env::args_os().skip(1).collect();
    let report = match arguments.as_slice() {
        [role, data] if role == ping::RESPONDER => return ping::respond(data.as_ref()),
        [role, more @ ..] if role == noop::ROLE => return noop::run(more),
        [what, more @ ..] if what == "spine" => {
            started::clean_up_when_interrupted()?;
            spine::run(more)?
        }
        [role, more @ ..] if role == engine::rate::BARE => return engine::rate::bare_loop(more),
        [role, more @ ..] if role == engine::rate::LANE => return engine::rate::lane_loop(more),
        [role, more @ ..] if role == engine::rtt::REFLECTOR => return engine::rtt::reflector(more),
        [what, more @ ..] if what == "engine" => {
            started::clean_up_when_interrupted()?;
            engine::run(more)?
        }
        [what, more @ ..] if what == "lab" => {
            started::clean_up_when_interrupted()?;
            lab::run(more)?
        }
        [what, more @ ..] if what == "scamper" => {
            started::clean_up_when_interrupted()?;
            scamper::run(more)?
        }
        [what, more @ ..] if what == "python" => {
            started::clean_up_when_interrupted()?;
            python::run(more)?
        }
        more => {
            started::clean_up_when_interrupted()?;
            skeleton(more.first().map_or_else(|| PathBuf::from("target/release/mmn"), PathBuf::from))?
        }
    };
    if report.falls_short() {
        std::process::exit(1);
    }
    Ok(())
}

fn skeleton(mmn: PathBuf) -> anyhow::Result<Report> {
    let mmn = std::path::absolute(mmn)?;
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
    Ok(report)
}
