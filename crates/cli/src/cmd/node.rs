//! `mmn node`: the modules of a vantage point.
use clap::Args as ClapArgs;

use crate::failure::{Exit, Failure};
use crate::session::Session;
/// `mmn node`
#[derive(Debug, ClapArgs)]
pub(crate) struct Args {}
pub(crate) fn run(_session: &mut Session, _args: Args) -> Result<Exit, Failure> {
    Ok(Exit::Good)
}
