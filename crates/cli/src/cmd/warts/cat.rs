//! `mmn warts cat FILE…`: decode, and encode again.

use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use clap::Args as ClapArgs;
use mmn_warts::{Compression, Merge, Pack, Record, Tables, WriteError, Writer};

use super::files::{Files, Visit};
use crate::failure::{Exit, Failure, chain};
use crate::output::Whole;
use crate::session::Session;

/// `mmn warts cat`
#[derive(Debug, ClapArgs)]
pub(super) struct Args {
    /// Write to this file; `.gz`, `.bz2` and `.xz` compress it [default: standard output, plain]
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    #[command(flatten)]
    files: Files,
}

pub(super) fn run(session: &mut Session, args: &Args) -> Result<Exit, Failure> {
    let Some(path) = &args.output else {
        let mut cat = Cat::new(Box::new(io::stdout().lock()), Compression::Plain)?;
        let exit = args.files.visit(session, &mut cat)?;
        cat.end()?;
        return Ok(exit);
    };
    let whole = Whole::begin(path)?;
    let compression = Compression::of_name(&path.to_string_lossy());
    let mut cat = Cat::new(Box::new(whole.file()?), compression)?;
    let exit = args.files.visit(session, &mut cat)?;
    cat.end()?;
    whole.keep()?;
    Ok(exit)
}

type Output = BufWriter<Pack<Box<dyn Write>>>;

struct Cat {
    writer: Writer<Output>,
    merge: Merge,
}

impl Cat {
    fn new(destination: Box<dyn Write>, compression: Compression) -> io::Result<Self> {
        let pack = BufWriter::with_capacity(64 << 10, Pack::new(destination, compression)?);
        Ok(Self { writer: Writer::new(pack), merge: Merge::new() })
    }

    fn end(self) -> Result<(), Failure> {
        let pack = self.writer.into_inner().map_err(failed)?;
        pack.into_inner().map_err(io::IntoInnerError::into_error)?.finish()?;
        Ok(())
    }
}

impl Visit for Cat {
    fn file(&mut self, _path: &Path) {
        self.merge = Merge::new();
    }

    fn record(&mut self, _session: &mut Session, record: Record, _tables: &Tables) -> Result<(), Failure> {
        self.merge.write(record, &mut self.writer).map_err(failed)
    }
}

fn failed(error: WriteError) -> Failure {
    match error {
        WriteError::Io(error) => error.into(),
        other => Failure::new(chain(&other)),
    }
}
