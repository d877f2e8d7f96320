//! How much of the disk a server may take.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use serde::Deserialize;

use super::config::{CONFIG, STORE};

/// Zero would mean to the server that it may choose.
const LEAST: u64 = 1 << 20;
/// The unit of `st_blocks`, in bytes.
const BLOCK: u64 = 512;

/// A fit [`max_file_bytes`](super::ServerOptions::max_file_bytes) for a server in `data_dir`: three quarters of the
/// disk's free space together with what the server's store takes already, and `most` at most.
///
/// It is never less than what the last start allowed: a server does not open streams that it could not reserve.
pub fn disk_share(data_dir: &Path, most: u64) -> io::Result<u64> {
    let there = data_dir.ancestors().find(|dir| dir.exists()).unwrap_or(Path::new("."));
    let space = rustix::fs::statvfs(there)?;
    let free = space.f_bavail.saturating_mul(space.f_frsize);
    let used = taken(&data_dir.join(STORE));
    Ok(share(free.saturating_add(used), most).max(allowed_before(data_dir).unwrap_or_default()))
}

fn share(bytes: u64, most: u64) -> u64 {
    (bytes / 4 * 3).clamp(LEAST, most.max(LEAST))
}

/// The bytes that the files below a directory take. What can't be read counts as nothing.
fn taken(dir: &Path) -> u64 {
    let (mut bytes, mut dirs) = (0_u64, vec![dir.to_owned()]);
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
            match entry.metadata() {
                Ok(meta) if meta.is_dir() => dirs.push(entry.path()),
                Ok(meta) => bytes = bytes.saturating_add(meta.blocks().saturating_mul(BLOCK)),
                Err(_) => {}
            }
        }
    }
    bytes
}

/// What the configuration of the last start says.
fn allowed_before(data_dir: &Path) -> Option<u64> {
    #[derive(Deserialize)]
    struct Config {
        jetstream: JetStream,
    }
    #[derive(Deserialize)]
    struct JetStream {
        max_file_store: u64,
    }
    let text = fs::read(data_dir.join(CONFIG)).ok()?;
    Some(serde_json::from_slice::<Config>(&text).ok()?.jetstream.max_file_store)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_bounded_on_both_sides() {
        assert_eq!(share(200 << 20, 64 << 30), 150 << 20);
        assert_eq!(share(1 << 40, 64 << 30), 64 << 30);
        assert_eq!(share(0, 64 << 30), LEAST);
    }

    #[test]
    fn a_share_never_becomes_smaller() {
        let dir = tempfile::tempdir().unwrap();
        let share = disk_share(&dir.path().join("not/there/yet"), 8 << 20).unwrap();
        assert!((LEAST..=8 << 20).contains(&share));
        fs::write(dir.path().join(CONFIG), r#"{"jetstream": {"max_file_store": 9000000000}}"#).unwrap();
        assert_eq!(disk_share(dir.path(), 8 << 20).unwrap(), 9_000_000_000);
        fs::write(dir.path().join(CONFIG), "no configuration").unwrap();
        assert!(disk_share(dir.path(), 8 << 20).unwrap() <= 8 << 20);
    }

    #[test]
    fn what_is_stored_counts() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("a/b")).unwrap();
        fs::write(dir.path().join("a/b/c"), vec![1; 100_000]).unwrap();
        assert!(taken(dir.path()) >= 100_000);
    }
}
