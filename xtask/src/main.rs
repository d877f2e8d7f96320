//! Tasks of the workspace that need Rust. They read and write files of this repository and nothing else.
//!
//! - `xtask contract` writes `contract/` and `docs/reference/messages.md` from the types; `--check` compares.
//! - `xtask check` holds the tree against the house rules.
//!
//! Begin with [`contract`] and [`check`]. The tests of this crate run both, so that `cargo test` does.

mod check;
mod contract;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

const USAGE: &str = "\
Usage: xtask COMMAND

  contract              write contract/ and docs/reference/messages.md from the types
  contract --check      compare them instead
  contract --breaking   write them although a schema changes in a way that breaks others
  check                 hold the tree against the house rules";

#[expect(clippy::print_stderr, reason = "a command of the developers says what it found")]
fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let root = root();
    let outcome = match arguments.as_slice() {
        ["contract"] => contract::write(&root, false),
        ["contract", "--breaking"] => contract::write(&root, true),
        ["contract", "--check"] => contract::check(&root),
        ["check"] => check::run(&root),
        _ => {
            eprintln!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    match outcome {
        Ok(report) => {
            eprintln!("{report}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

/// The workspace's root.
fn root() -> PathBuf {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    own.parent().unwrap_or(own).to_owned()
}
