//! `mmn`: every role of the network and its command line in one program.
//!
//! This crate parses, prints and supervises; the roles themselves are library functions of other crates. It decides
//! nothing about measurements: their flags come from their schemas, their tables from the numbers of their summaries.
//!
//! Begin with `args.rs` (what can be typed), then `cmd/` (a file per command), `measure/` (a measurement from the
//! command line to the table) and `up/` (the supervisor of `mmn up`). Nothing prints but `printer.rs`.

mod args;
mod clock;
mod cmd;
mod failure;
mod kinds;
mod lab;
mod logs;
mod measure;
mod output;
mod params;
mod printer;
mod session;
mod style;
mod table;
mod targets;
mod top;
mod units;
mod up;
mod view;

use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches};

use args::Cli;
use failure::{Exit, Failure};
use printer::Printer;
use session::Session;

/// An anchor under load makes and drops many small things of short life: this allocator takes a fifth less time for all of
/// its work than the system's ([why](../../../docs/decisions/0014-an-allocator-of-its-own.md)).
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    let mut args = std::env::args_os();
    if args.nth(1).is_some_and(|arg| arg == LAUNCH) {
        return launch(args);
    }
    let command = command();
    let matches = match command.try_get_matches() {
        Ok(matches) => matches,
        Err(error) => return misused(&error),
    };
    let mut session = Session::new(Printer::of_process(), matches.get_one("data").cloned());
    let done = dispatch(&mut session, &matches);
    let done = done.and_then(|exit| session.printer.flush().map(|()| exit).map_err(Failure::from));
    match done {
        Ok(exit) => exit.code().into(),
        Err(failure) => {
            if !failure.is_silent() {
                session.printer.error(&failure.text, failure.hint.as_deref());
            }
            failure.code().into()
        }
    }
}

/// The hidden subcommand that starts a child: see `mmn_bus::launch`.
pub(crate) const LAUNCH: &str = "launch";

/// The whole command line, the kinds' own subcommands among it.
pub(crate) fn command() -> clap::Command {
    let built_in = kinds::built_in();
    let measured = |name: &str| built_in.iter().any(|kind| kind.name.as_str() == name);
    let command = built_in.iter().fold(Cli::command(), |cli, kind| cli.subcommand(kinds::command(kind)));
    // What is measured stands first in the help, after `up`.
    let mut place = 1;
    command.mut_subcommands(|sub| {
        place += 1;
        let order = if measured(sub.get_name()) { 1 } else { place };
        sub.display_order(if order == 2 { 0 } else { order })
    })
}

fn dispatch(session: &mut Session, matches: &clap::ArgMatches) -> Result<Exit, Failure> {
    if let Some((name, of_kind)) = matches.subcommand()
        && let Some(kind) = kinds::built_in().into_iter().find(|kind| kind.name.as_str() == name)
    {
        return cmd::kind::run(session, &kind, of_kind);
    }
    let cli = Cli::from_arg_matches(matches).map_err(Failure::misused)?;
    cmd::run_command(session, cli.command)
}

/// No threads yet, and no runtime: what `launch` sets belongs to this thread.
fn launch(args: impl Iterator<Item = std::ffi::OsString>) -> ExitCode {
    let Err(error) = mmn_bus::launch::exec(args);
    Printer::of_process().error(&failure::chain(&error), None);
    // What shells answer when they can't execute something.
    ExitCode::from(126)
}

fn misused(error: &clap::Error) -> ExitCode {
    // Help that was asked for goes to stdout and is no misuse; a closed stdout is nobody's concern here.
    let _ = error.print();
    if error.use_stderr() { ExitCode::from(2) } else { ExitCode::SUCCESS }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_command_line_is_sound() {
        super::command().debug_assert();
    }
}
