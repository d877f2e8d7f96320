//! The data directory of `mmn up`: who holds it, which version wrote it, where things lie in it.

use std::fs::{DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use mmn_client::{API_FILE, ApiFile, TOKEN_FILE};
use mmn_schema::time::Timestamp;
use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};

use crate::clock;
use crate::failure::Failure;

/// The version of the layout that this program writes, and the newest that it reads.
const LAYOUT: u32 = 1;

/// A data directory that this process holds. It is free again when this is dropped, or the process ends.
#[derive(Debug)]
pub(crate) struct DataDir {
    path: PathBuf,
    /// Locked as long as it is open.
    _lock: File,
}

/// Who holds a directory: the contents of `lock`.
#[derive(Debug, Serialize, Deserialize)]
struct Holder {
    pid: u32,
    since: Timestamp,
}

impl DataDir {
    /// Takes hold of `path`, which is made when it is not there.
    pub(crate) fn hold(path: &Path) -> Result<Self, Failure> {
        let refused = |error: io::Error| {
            Failure::new(format!("{}: {error}", path.display())).hint("--data DIR names another directory")
        };
        private_dir(path).map_err(refused)?;
        // Children start in other directories.
        let path = &path.canonicalize().map_err(refused)?;
        let mut lock = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(path.join("lock"))
            .map_err(refused)?;
        if flock(&lock, FlockOperation::NonBlockingLockExclusive).is_err() {
            return Err(held(path, &mut lock));
        }
        check_version(path)?;
        let holder = Holder { pid: std::process::id(), since: clock::wall() };
        lock.set_len(0).map_err(refused)?;
        serde_json::to_writer(&mut lock, &holder).map_err(|error| refused(error.into()))?;
        lock.flush().map_err(refused)?;
        // What a holder left that was killed.
        let _ = std::fs::remove_file(path.join(API_FILE));
        Ok(Self { path: path.clone(), _lock: lock })
    }

    /// Where it is, from the root.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The keys of the network.
    pub(crate) fn keys(&self) -> PathBuf {
        self.path.join("keys")
    }

    /// The credentials of a role: `anchor`, `node`.
    pub(crate) fn creds(&self, role: &str) -> PathBuf {
        self.path.join("creds").join(role)
    }

    /// The store, configuration and log of nats-server.
    pub(crate) fn nats(&self) -> PathBuf {
        self.path.join("nats")
    }

    /// The node's own files.
    pub(crate) fn node(&self) -> PathBuf {
        self.path.join("node")
    }

    /// The same of the nodes of a simulated world, a directory for each vantage point.
    pub(crate) fn vps(&self) -> PathBuf {
        self.path.join("vps")
    }

    /// The directory of a lab's process: that in which `mmn lab exec` and its like look for it.
    pub(crate) fn lab(&self) -> PathBuf {
        self.path.join("lab")
    }

    /// The socket of scamper's clients.
    pub(crate) fn mux(&self) -> PathBuf {
        self.path.join("mux").join("mux.sock")
    }

    /// The log of a role.
    pub(crate) fn log(&self, role: &str) -> PathBuf {
        self.path.join("log").join(format!("{role}.log"))
    }

    /// The token of this machine's clients.
    pub(crate) fn token(&self) -> PathBuf {
        self.path.join(TOKEN_FILE)
    }

    /// Tells clients where the API is.
    pub(crate) fn publish(&self, api: &ApiFile) -> io::Result<()> {
        let text = serde_json::to_vec(api)?;
        write_private(&self.path.join(API_FILE), &text)
    }

    /// Clients find no API any more.
    pub(crate) fn unpublish(&self) {
        // Whoever holds the directory next removes it too.
        let _ = std::fs::remove_file(self.path.join(API_FILE));
    }
}

/// Makes a directory, and what leads to it, for this user alone.
pub(crate) fn private_dir(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// Writes a file for this user alone, whole or not at all.
pub(crate) fn write_private(path: &Path, contents: &[u8]) -> io::Result<()> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(format!(".{}.new", std::process::id()));
    let beside = PathBuf::from(beside);
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&beside)?;
    file.set_permissions(Permissions::from_mode(0o600))?;
    file.write_all(contents)?;
    file.sync_all()?;
    std::fs::rename(&beside, path)
}

fn check_version(path: &Path) -> Result<(), Failure> {
    let stamp = path.join("version");
    let text = match std::fs::read_to_string(&stamp) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return write_private(&stamp, format!("{LAYOUT}\n").as_bytes()).map_err(Failure::from);
        }
        Err(error) => return Err(Failure::new(format!("{}: {error}", stamp.display()))),
    };
    match text.trim().parse::<u32>() {
        Ok(version) if version <= LAYOUT => Ok(()),
        Ok(version) => Err(Failure::new(format!(
            "{} was written by a newer mmn (layout {version}); this one reads up to {LAYOUT}",
            path.display()
        ))
        .hint("use the newer mmn, or another directory with --data DIR")),
        Err(_) => Err(Failure::new(format!("{} holds no version", stamp.display()))),
    }
}

/// What the directory says of its holder.
fn held(path: &Path, lock: &mut File) -> Failure {
    let mut text = String::new();
    let _ = lock.rewind();
    let _ = lock.take(4096).read_to_string(&mut text);
    let holder = match serde_json::from_str::<Holder>(&text) {
        Ok(holder) => {
            let since: String = holder.since.to_string().chars().take(19).collect();
            format!("process {}, since {} UTC", holder.pid, since.replace('T', " "))
        }
        Err(_) => "another process".to_owned(),
    };
    let api = std::fs::read(path.join(API_FILE)).ok();
    let api = api.and_then(|bytes| serde_json::from_slice::<ApiFile>(&bytes).ok());
    let url = api.map_or_else(String::new, |api| format!(", with its API at {}", api.url));
    Failure::new(format!("{} is held by another `mmn up`: {holder}{url}", path.display()))
        .hint("use that one, or another directory with --data DIR")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_at_a_time_holds_a_directory() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("mmn");
        let first = DataDir::hold(&path).unwrap();
        first
            .publish(&ApiFile { url: "http://127.0.0.1:1".into(), pid: 1, tls_ca: None, nats: None })
            .unwrap();
        let failure = DataDir::hold(&path).unwrap_err();
        for part in [&format!("process {},", std::process::id()), "since 2", "http://127.0.0.1:1"] {
            assert!(failure.text.contains(part), "{}", failure.text);
        }
        assert_eq!(failure.code(), 1);
        drop(first);
        let again = DataDir::hold(&path).unwrap();
        assert!(!again.path().join(API_FILE).exists());
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o700);
    }

    #[test]
    fn a_newer_directory_is_left_alone() {
        let temp = tempfile::tempdir().unwrap();
        std::fs::write(temp.path().join("version"), "2\n").unwrap();
        let failure = DataDir::hold(temp.path()).unwrap_err();
        assert!(failure.text.contains("newer mmn (layout 2)"), "{}", failure.text);
        std::fs::write(temp.path().join("version"), "what\n").unwrap();
        assert!(DataDir::hold(temp.path()).unwrap_err().text.contains("holds no version"));
    }
}
