//! Where the logs of the roles go: a file of bounded size, or stderr.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

use crate::failure::Failure;
use crate::up::data_dir::private_dir;

/// A log of this length is put aside as `.1` and begun anew, in bytes.
const MAX_BYTES: u64 = 16 << 20;
const DEFAULT_FILTER: &str = "info,async_nats=warn";

/// Sends what is logged to `file`, else to stderr. `RUST_LOG` says what is logged.
pub(crate) fn begin(file: Option<&Path>) -> Result<(), Failure> {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(DEFAULT_FILTER));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_target(true);
    match file {
        None => builder.with_writer(io::stderr).with_ansi(false).init(),
        Some(path) => {
            let log = BoundedFile::open(path)
                .map_err(|error| Failure::new(format!("{}: {error}", path.display())))?;
            builder.with_writer(log).with_ansi(false).init();
        }
    }
    Ok(())
}

/// A file that is put aside when it is long: two of them take twice its length at most.
#[derive(Debug)]
struct BoundedFile {
    path: PathBuf,
    open: Mutex<(File, u64)>,
}

impl BoundedFile {
    fn open(path: &Path) -> io::Result<Self> {
        if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            private_dir(parent)?;
        }
        Ok(Self { path: path.to_owned(), open: Mutex::new(append(path)?) })
    }

    fn write_line(&self, line: &[u8]) -> io::Result<()> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if open.1 >= MAX_BYTES {
            let mut aside = self.path.clone().into_os_string();
            aside.push(".1");
            std::fs::rename(&self.path, aside)?;
            *open = append(&self.path)?;
        }
        open.1 += u64::try_from(line.len()).unwrap_or(0);
        open.0.write_all(line)
    }
}

fn append(path: &Path) -> io::Result<(File, u64)> {
    let file = OpenOptions::new().append(true).create(true).mode(0o600).open(path)?;
    let length = file.metadata()?.len();
    Ok((file, length))
}

/// A borrowed [`BoundedFile`] to write one line to.
#[derive(Debug)]
struct Line<'a>(&'a BoundedFile);

impl Write for Line<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write_line(bytes).map(|()| bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for BoundedFile {
    type Writer = Line<'a>;
    fn make_writer(&'a self) -> Line<'a> {
        Line(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logs_are_bounded() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log/x.log");
        let log = BoundedFile::open(&path).unwrap();
        let line = vec![b'x'; 1 << 20];
        for _ in 0..40 {
            log.write_line(&line).unwrap();
        }
        let length = |path: &Path| std::fs::metadata(path).unwrap().len();
        assert!(
            length(&path) <= MAX_BYTES && length(&dir.path().join("log/x.log.1")) <= MAX_BYTES + (1 << 20)
        );
        assert_eq!(std::fs::read_dir(dir.path().join("log")).unwrap().count(), 2);
    }
}
