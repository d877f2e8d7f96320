//! `mmn lab draw FILE`: a picture.

use std::path::PathBuf;

use clap::Args as ClapArgs;

use super::read;
use crate::args::absolute;
use crate::failure::{Exit, Failure};
use crate::session::Session;

/// `mmn lab draw`
#[derive(Debug, ClapArgs)]
pub(super) struct Args {
    /// The lab's file
    #[arg(value_name = "FILE", value_parser = absolute())]
    file: PathBuf,
    /// Where the picture goes [default: stdout]
    #[arg(long, short, value_name = "SVG", value_parser = absolute())]
    output: Option<PathBuf>,
}

pub(super) fn run(session: &mut Session, args: &Args) -> Result<Exit, Failure> {
    let plan = read(session, &args.file)?;
    let svg = mmn_lab::draw::svg(&plan);
    match &args.output {
        Some(path) => {
            std::fs::write(path, svg)
                .map_err(|error| Failure::new(format!("{}: {error}", path.display())))?;
        }
        None => session.printer.raw(svg.as_bytes())?,
    }
    Ok(Exit::Good)
}
