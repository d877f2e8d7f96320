//! `mmn warts cat FILE…`: decode, and encode again.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use clap::Args as ClapArgs;
use mmn_warts::{Compression, Merge, Pack, Record, Tables, WriteError, Writer};

use super::files::{Files, Visit};
use crate::failure::{Exit, Failure, chain};
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
    // The name stands for whole files alone: it is given when all is written.
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let of_path = |error: io::Error| Failure::new(format!("{}: {error}", path.display()));
    let unfinished = tempfile::Builder::new().prefix(".mmn-warts-").tempfile_in(folder).map_err(of_path)?;
    let file: File = unfinished.as_file().try_clone().map_err(of_path)?;
    let compression = Compression::of_name(&path.to_string_lossy());
    let mut cat = Cat::new(Box::new(file), compression)?;
    let exit = args.files.visit(session, &mut cat)?;
    cat.end()?;
    let kept = unfinished.persist(path).map_err(|error| of_path(error.error))?;
    readable(&kept).map_err(of_path)?;
    Ok(exit)
}

/// A temporary file is its owner's alone; what it becomes is as readable as other files of the user.
fn readable(file: &File) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    let mask = rustix::process::umask(rustix::fs::Mode::empty());
    rustix::process::umask(mask);
    file.set_permissions(std::fs::Permissions::from_mode(0o666 & !mask.bits()))
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
