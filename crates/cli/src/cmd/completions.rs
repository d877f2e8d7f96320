//! `mmn completions SHELL`.

use clap::Args as ClapArgs;
use clap_complete::Shell;

use crate::failure::{Exit, Failure};
use crate::session::Session;

/// `mmn completions`
#[derive(Debug, ClapArgs)]
pub(crate) struct Args {
    /// For which shell
    #[arg(value_name = "SHELL")]
    shell: Shell,
}

pub(crate) fn run(session: &mut Session, args: &Args) -> Result<Exit, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut crate::command(), "mmn", &mut script);
    session.printer.raw(&script)?;
    Ok(Exit::Good)
}
