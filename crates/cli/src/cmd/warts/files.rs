//! The files that a command reads, one after the other.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use clap::Args as ClapArgs;
use mmn_warts::{ReadError, Reader, Record, Tables, Unpack};

use crate::failure::{Exit, Failure, chain};
use crate::session::Session;

/// Which files.
#[derive(Debug, ClapArgs)]
pub(super) struct Files {
    /// Files of warts, plain or compressed by gzip, bzip2 or xz; `-` is standard input
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
}

/// What is done with the records of a file.
pub(super) trait Visit {
    /// A file begins.
    fn file(&mut self, _path: &Path) {}
    /// A record of it. `tables` is what the file has said so far.
    fn record(&mut self, session: &mut Session, record: Record, tables: &Tables) -> Result<(), Failure>;
}

impl Files {
    /// Visits every record. What can't be read is said, with its place, and passed over where that is possible; then the
    /// command does not end well.
    pub(super) fn visit(&self, session: &mut Session, visit: &mut impl Visit) -> Result<Exit, Failure> {
        let mut good = true;
        for path in &self.files {
            visit.file(path);
            let name =
                if path.as_os_str() == "-" { "standard input".into() } else { path.display().to_string() };
            let mut reader = match open(path) {
                Ok(reader) => reader,
                Err(error) => {
                    session.printer.error(&format!("{name}: {error}"), None);
                    good = false;
                    continue;
                }
            };
            loop {
                match reader.read() {
                    Ok(Some(record)) => visit.record(session, record, reader.tables())?,
                    Ok(None) => break,
                    Err(error) => {
                        good = false;
                        say(session, &name, &error);
                        if error.is_last() {
                            break;
                        }
                    }
                }
            }
        }
        Ok(Exit::of(good))
    }
}

fn open(path: &Path) -> io::Result<Reader<Unpack<Box<dyn Read>>>> {
    let source: Box<dyn Read> =
        if path.as_os_str() == "-" { Box::new(io::stdin().lock()) } else { Box::new(File::open(path)?) };
    Ok(Reader::new(Unpack::new(source)?))
}

fn say(session: &mut Session, name: &str, error: &ReadError) {
    let hint = match error {
        ReadError::Magic { offset: 0, .. } => Some("is it a warts file? JSON and text can't be read back"),
        ReadError::Truncated { .. } => {
            Some("was whatever wrote it interrupted? all before that place has been read")
        }
        _ => None,
    };
    session.printer.error(&format!("{name}: {}", chain(error)), hint);
}
