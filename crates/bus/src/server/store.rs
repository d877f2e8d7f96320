//! The stamp of the version that last wrote a store.
//!
//! An older server may misread, or lose, what a newer one wrote. The format belongs to the minor
//! version, so a lower patch of the same minor is let through.

use std::io;
use std::path::{Path, PathBuf};

use super::binary::Version;
use crate::files;

const STAMP: &str = "nats-server.version";

/// Refuses a store that a newer server than `version` has written.
pub(super) fn check(data_dir: &Path, version: Version) -> Result<(), StoreError> {
    let path = data_dir.join(STAMP);
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(source) => return Err(StoreError::Io { path, source }),
    };
    let written: Version = text.parse().map_err(|_| StoreError::Unreadable(path.clone()))?;
    if (written.major, written.minor) > (version.major, version.minor) {
        return Err(StoreError::Newer { data_dir: data_dir.to_owned(), written, version });
    }
    Ok(())
}

/// Marks the store as written by `version`: before the server starts, since it writes at once.
pub(super) fn stamp(data_dir: &Path, version: Version) -> Result<(), StoreError> {
    let path = data_dir.join(STAMP);
    files::write_private(&path, format!("{version}\n").as_bytes())
        .map_err(|source| StoreError::Io { path, source })
}

/// Why a store is not opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// A newer server has written it.
    #[error(
        "{} was written by nats-server {written}; version {version} is older and might lose data",
        data_dir.display()
    )]
    Newer {
        /// The directory.
        data_dir: PathBuf,
        /// Who wrote it.
        written: Version,
        /// Who would open it.
        version: Version,
    },
    /// The stamp is no version.
    #[error("{} does not hold a version", .0.display())]
    Unreadable(PathBuf),
    /// The stamp can not be read or written.
    #[error("{} can not be read or written", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}
