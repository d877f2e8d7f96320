//! `mmn warts`: files of scamper's, read and written.

mod cat;
mod files;
mod json;
mod stat;
mod text;

use clap::{Args as ClapArgs, Subcommand};

use crate::failure::{Exit, Failure};
use crate::session::Session;

/// `mmn warts`
#[derive(Debug, ClapArgs)]
#[command(arg_required_else_help = true)]
pub(crate) struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Print each record as JSON, one object a line, with the names that scamper's own output has
    Json(json::Args),
    /// Print each record for people to read
    Text(text::Args),
    /// Decode files and encode them again, as one
    Cat(cat::Args),
    /// Count what is in files: records, targets, replies, and the time they span
    Stat(stat::Args),
}

pub(crate) fn run(session: &mut Session, args: Args) -> Result<Exit, Failure> {
    match args.what {
        What::Json(args) => json::run(session, &args),
        What::Text(args) => text::run(session, &args),
        What::Cat(args) => cat::run(session, &args),
        What::Stat(args) => stat::run(session, &args),
    }
}
