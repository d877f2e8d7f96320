//! The output of a child: into a file that never grows beyond its bound, with its last words kept for those who ask why
//! it died.

use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::io::{self, PipeReader, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe;

/// A file is turned over at this size; the former one stays beside it.
const MAX_BYTES: u64 = 1 << 20;
/// The last words.
const LAST_BYTES: usize = 400;

/// What a child said last.
#[derive(Debug, Clone, Default)]
pub(super) struct LastWords(Arc<Mutex<VecDeque<u8>>>);

impl LastWords {
    /// The last line that is not empty.
    pub(super) fn line(&self) -> Option<String> {
        let bytes: Vec<u8> = {
            let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            kept.iter().copied().collect()
        };
        let text = String::from_utf8_lossy(&bytes);
        text.lines().rev().map(str::trim).find(|line| !line.is_empty()).map(str::to_owned)
    }

    fn push(&self, bytes: &[u8]) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.extend(bytes);
        let surplus = kept.len().saturating_sub(LAST_BYTES);
        kept.drain(..surplus);
    }
}

/// Copies what comes through the pipe until its other ends are closed. A disk that is full costs the log, not the
/// child.
pub(super) async fn copy(from: PipeReader, path: PathBuf, words: LastWords) -> io::Result<()> {
    let mut from = pipe::Receiver::from_owned_fd(OwnedFd::from(from))?;
    let mut log = Log::open(path)?;
    let mut buffer = vec![0; 16 * 1024];
    loop {
        let read = from.read(&mut buffer).await?;
        if read == 0 {
            return Ok(());
        }
        let bytes = buffer.get(..read).unwrap_or_default();
        words.push(bytes);
        if let Err(error) = log.write(bytes) {
            tracing::debug!(%error, path = %log.path.display(), "a line of a module's log is lost");
        }
    }
}

struct Log {
    path: PathBuf,
    file: File,
    bytes: u64,
}

impl Log {
    fn open(path: PathBuf) -> io::Result<Self> {
        let file = create(&path)?;
        let bytes = file.metadata()?.len();
        Ok(Self { path, file, bytes })
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.bytes >= MAX_BYTES {
            std::fs::rename(&self.path, self.path.with_extension("log.1"))?;
            self.file = create(&self.path)?;
            self.bytes = 0;
        }
        self.file.write_all(bytes)?;
        self.bytes += u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        Ok(())
    }
}

fn create(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).mode(0o600).open(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_log_is_bounded_and_the_last_words_stay() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("module.log");
        let (reader, mut writer) = io::pipe().unwrap();
        let words = LastWords::default();
        let copying = tokio::spawn(copy(reader, path.clone(), words.clone()));
        let writing = tokio::task::spawn_blocking(move || {
            for _ in 0..3000 {
                writer.write_all(&[b'x'; 1024]).unwrap();
            }
            writer.write_all(b"\nthe end\n\n").unwrap();
        });
        writing.await.unwrap();
        copying.await.unwrap().unwrap();
        assert_eq!(words.line().as_deref(), Some("the end"));
        let sizes: u64 =
            std::fs::read_dir(dir.path()).unwrap().map(|file| file.unwrap().metadata().unwrap().len()).sum();
        assert!(sizes <= 2 * MAX_BYTES + 2 * 16 * 1024, "{sizes}");
    }
}
