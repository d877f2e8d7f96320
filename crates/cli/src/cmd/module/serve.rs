//! `mmn module KIND…`.

use clap::Args as ClapArgs;

use crate::failure::{Exit, Failure};
use crate::session::Session;

/// `mmn module KIND…`
#[derive(Debug, ClapArgs)]
pub(super) struct Args {
    /// The modules or kinds to perform
    #[arg(value_name = "KIND")]
    kinds: Vec<String>,
}

pub(super) fn run(_session: &mut Session, _args: Args) -> Result<Exit, Failure> {
    Ok(Exit::Good)
}
