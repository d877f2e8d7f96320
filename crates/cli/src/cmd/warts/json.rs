//! `mmn warts json FILE…`: an object a line.

use clap::Args as ClapArgs;
use mmn_warts::{Record, Tables, json};

use super::files::{Files, Visit};
use crate::failure::{Exit, Failure};
use crate::session::Session;

/// `mmn warts json`
#[derive(Debug, ClapArgs)]
pub(super) struct Args {
    /// All fields of all records, by the names and in the units of the format
    #[arg(long)]
    fields: bool,
    #[command(flatten)]
    files: Files,
}

pub(super) fn run(session: &mut Session, args: &Args) -> Result<Exit, Failure> {
    args.files.visit(session, &mut Lines { fields: args.fields })
}

struct Lines {
    fields: bool,
}

impl Visit for Lines {
    fn record(&mut self, session: &mut Session, record: Record, tables: &Tables) -> Result<(), Failure> {
        let value = if self.fields { Some(json::fields(&record)) } else { json::value(&record, tables) };
        if let Some(value) = value {
            session.printer.json(&value)?;
        }
        Ok(())
    }
}
