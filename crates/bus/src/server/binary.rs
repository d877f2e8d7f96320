//! Finds a `nats-server` that is new enough.

use std::ffi::OsStr;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::str::FromStr;

/// The oldest server that will do: older ones ignore parts of what they are asked for.
pub const MINIMUM: Version = Version { major: 2, minor: 10, patch: 8 };

/// A version of nats-server; what follows a dash is left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version {
    /// Changes of the protocol.
    pub major: u32,
    /// Features, and the format of the store.
    pub minor: u32,
    /// Corrections.
    pub patch: u32,
}

impl FromStr for Version {
    type Err = NotAVersion;

    fn from_str(text: &str) -> Result<Self, NotAVersion> {
        let text = text.trim().trim_start_matches('v');
        let text = text.split_once('-').map_or(text, |(release, _)| release);
        let mut parts = text.split('.').map(str::parse);
        let mut next = || parts.next().and_then(Result::ok).ok_or(NotAVersion);
        let version = Self { major: next()?, minor: next()?, patch: next()? };
        if parts.next().is_some() {
            return Err(NotAVersion);
        }
        Ok(version)
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.patch)
    }
}

/// Not of the form `2.10.8`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a version of the form 2.10.8")]
pub struct NotAVersion;

/// A program that said it is a nats-server, and which.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Binary {
    /// Where it is.
    pub path: PathBuf,
    /// What `--version` answered.
    pub version: Version,
}

impl Binary {
    /// The first that is new enough of: `$MMN_NATS_SERVER` (which must do when it is set), `PATH`,
    /// `/usr/sbin`, and the `cached` places given.
    pub fn find(cached: &[PathBuf]) -> Result<Self, BinaryError> {
        if let Some(path) = std::env::var_os("MMN_NATS_SERVER").filter(|path| !path.is_empty()) {
            return Self::check(Path::new(&path));
        }
        let path = std::env::var_os("PATH").unwrap_or_default();
        let directories = std::env::split_paths(&path).chain([PathBuf::from("/usr/sbin")]);
        let places = directories.map(|directory| directory.join("nats-server")).chain(cached.iter().cloned());
        let mut nearest = BinaryError::Nowhere;
        for place in places.filter(|place| place.is_file()) {
            match Self::check(&place) {
                Ok(binary) => return Ok(binary),
                Err(error) => nearest = error,
            }
        }
        Err(nearest)
    }

    /// Asks the program at `path` for its version.
    pub fn check(path: &Path) -> Result<Self, BinaryError> {
        let output = Command::new(path)
            .arg("--version")
            .output()
            .map_err(|source| BinaryError::NotRun { path: path.to_owned(), source })?;
        let text = String::from_utf8_lossy(&output.stdout);
        let version = text
            .split_once("nats-server:")
            .and_then(|(_, version)| version.parse::<Version>().ok())
            .ok_or_else(|| BinaryError::NoServer(path.to_owned()))?;
        if version < MINIMUM {
            return Err(BinaryError::TooOld { path: path.to_owned(), version });
        }
        Ok(Self { path: path.to_owned(), version })
    }

    pub(super) fn program(&self) -> &OsStr {
        self.path.as_os_str()
    }
}

/// Why there is no server to start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BinaryError {
    /// It is in none of the places.
    #[error("no nats-server in PATH or /usr/sbin (or set MMN_NATS_SERVER to its path)")]
    Nowhere,
    /// It is there but can not be executed.
    #[error("{} can not be executed", path.display())]
    NotRun {
        /// The program.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It is something else.
    #[error("{} is not a nats-server", .0.display())]
    NoServer(PathBuf),
    /// It is too old.
    #[error("{} is version {version}, older than {MINIMUM}", path.display())]
    TooOld {
        /// The program.
        path: PathBuf,
        /// Its version.
        version: Version,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_ordered_by_number() {
        let version = |text: &str| text.parse::<Version>().unwrap();
        assert!(version("2.9.22") < MINIMUM);
        assert!(version("v2.10.8\n") >= MINIMUM);
        assert!(version("2.12.0-preview.1") > version("2.10.27"));
        for text in ["", "2", "2.10", "2.10.8.1", "2.x.1", "two"] {
            assert_eq!(text.parse::<Version>(), Err(NotAVersion), "{text}");
        }
    }

    #[test]
    fn another_program_is_no_server() {
        assert!(matches!(Binary::check(Path::new("/bin/true")), Err(BinaryError::NoServer(_))));
        assert!(matches!(Binary::check(Path::new("/nonexistent")), Err(BinaryError::NotRun { .. })));
    }
}
