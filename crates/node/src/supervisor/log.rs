//! The output of a child: into a file that never grows beyond its bound, with its last words kept for those who ask why
//! it died. Of a flood a mebibyte a second is read; the pipe is full meanwhile, and the child waits for itself.

use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::io::{self, PipeReader, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use mmn_probe::time::Instant;
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe;
use tokio::sync::Notify;

use crate::clock;

/// A file is turned over at this size; the former one stays beside it.
const MAX_BYTES: u64 = 1 << 20;
/// The last words.
const LAST_BYTES: usize = 400;
/// How many lines of them are told of who died.
const LAST_LINES: usize = 3;
/// Bytes a second, and how many may come at once.
const BYTES_PER_S: i64 = 1 << 20;
const BURST: i64 = 1 << 20;

/// What a child said last.
#[derive(Debug, Clone, Default)]
pub(super) struct LastWords(Arc<Words>);

#[derive(Debug, Default)]
struct Words {
    kept: Mutex<VecDeque<u8>>,
    flooded: Notify,
}

impl LastWords {
    /// The last line that is not empty.
    pub(super) fn line(&self) -> Option<String> {
        self.last(1).pop()
    }

    /// The last lines, in their order.
    pub(super) fn lines(&self) -> Option<String> {
        let mut lines = self.last(LAST_LINES);
        lines.reverse();
        (!lines.is_empty()).then(|| lines.join(" / "))
    }

    /// Waits until the child says more than is let through.
    pub(super) async fn flooded(&self) {
        self.0.flooded.notified().await;
    }

    fn last(&self, count: usize) -> Vec<String> {
        let bytes: Vec<u8> = {
            let kept = self.0.kept.lock().unwrap_or_else(PoisonError::into_inner);
            kept.iter().copied().collect()
        };
        let text = String::from_utf8_lossy(&bytes);
        let lines = text.lines().rev().map(str::trim).filter(|line| !line.is_empty());
        lines.take(count).map(str::to_owned).collect()
    }

    fn push(&self, bytes: &[u8]) {
        let mut kept = self.0.kept.lock().unwrap_or_else(PoisonError::into_inner);
        // Of much only the end is looked at.
        kept.extend(bytes.get(bytes.len().saturating_sub(LAST_BYTES)..).unwrap_or_default());
        let surplus = kept.len().saturating_sub(LAST_BYTES);
        kept.drain(..surplus);
    }
}

/// How much may be read: a bucket that fills with time, and may be overdrawn by one reading.
struct Bucket {
    left: i64,
    since: Instant,
}

impl Bucket {
    const fn full(now: Instant) -> Self {
        Self { left: BURST, since: now }
    }

    /// Takes `bytes` that were read; gives how long to wait before more is read.
    fn take(&mut self, now: Instant, bytes: usize) -> Duration {
        let passed_us = i64::try_from(now.saturating_since(self.since).0 / 1_000).unwrap_or(i64::MAX);
        self.since = now;
        let filled = self.left.saturating_add(passed_us.saturating_mul(BYTES_PER_S) / 1_000_000).min(BURST);
        self.left = filled.saturating_sub(i64::try_from(bytes).unwrap_or(i64::MAX));
        let owed = u64::try_from(-self.left).unwrap_or(0);
        Duration::from_micros(owed.saturating_mul(1_000_000) / BYTES_PER_S.unsigned_abs())
    }
}

/// Copies what comes through the pipe until its other ends are closed. A disk that is full costs the log, not the
/// child.
pub(super) async fn copy(from: PipeReader, path: PathBuf, words: LastWords) -> io::Result<()> {
    let mut from = pipe::Receiver::from_owned_fd(OwnedFd::from(from))?;
    let mut log = Log::open(path)?;
    let mut buffer = vec![0; 16 * 1024];
    let mut bucket = Bucket::full(clock::monotonic());
    let mut told = false;
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
        let wait = bucket.take(clock::monotonic(), read);
        if wait > Duration::ZERO {
            if !std::mem::replace(&mut told, true) {
                words.0.flooded.notify_one();
            }
            tokio::time::sleep(wait).await;
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

    #[tokio::test(start_paused = true)]
    async fn the_log_is_bounded_and_the_last_words_stay() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("module.log");
        let (reader, mut writer) = io::pipe().unwrap();
        let words = LastWords::default();
        let copying = tokio::spawn(copy(reader, path.clone(), words.clone()));
        // The paused clock does not go on while the runtime waits for a task of its own.
        let writing = std::thread::spawn(move || {
            for _ in 0..3000 {
                writer.write_all(&[b'x'; 1024]).unwrap();
            }
            writer.write_all(b"\none\ntwo\nthe end\n\n").unwrap();
        });
        copying.await.unwrap().unwrap();
        writing.join().unwrap();
        assert_eq!(words.line().as_deref(), Some("the end"));
        assert!(words.lines().unwrap().ends_with("one / two / the end"));
        let sizes: u64 =
            std::fs::read_dir(dir.path()).unwrap().map(|file| file.unwrap().metadata().unwrap().len()).sum();
        assert!(sizes <= 2 * MAX_BYTES + 2 * 16 * 1024, "{sizes}");
        // It was more than is let through at once.
        words.flooded().await;
    }

    #[test]
    fn a_flood_is_let_through_at_its_rate() {
        let second = |seconds: u64| Instant(seconds * 1_000_000_000);
        let mebibyte = 1 << 20;
        let mut bucket = Bucket::full(second(0));
        assert_eq!(bucket.take(second(0), mebibyte), Duration::ZERO);
        let (mut at, mut read) = (second(0), 0);
        while at < second(10) {
            let wait = bucket.take(at, 16 * 1024);
            read += 16 * 1024;
            at = Instant(at.0 + u64::try_from(wait.as_nanos()).unwrap().max(1_000));
        }
        assert!((9 * mebibyte..=11 * mebibyte).contains(&read), "{read} bytes in ten seconds");
        // Calm again, it is let through at once.
        assert_eq!(bucket.take(second(20), mebibyte), Duration::ZERO);
    }
}
