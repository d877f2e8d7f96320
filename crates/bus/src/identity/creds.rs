//! The `.creds` file of NATS: a user's JWT and the seed of its key, each between lines of dashes.
//! Any NATS client reads it.

use std::fmt;
use std::io;
use std::path::Path;
use std::str::FromStr;

use super::jwt::{Jwt, JwtError};
use super::nkey::{NkeyError, Seed};
use crate::files;

/// The most that is read of a file.
const MAX_BYTES: u64 = 128 * 1024;

/// A user's JWT and its secret key.
#[derive(Clone)]
pub struct Creds {
    /// What the server is shown.
    pub jwt: Jwt,
    /// What proves that it is ours.
    pub seed: Seed,
}

impl Creds {
    /// Reads a `.creds` file.
    pub fn read(path: &Path) -> Result<Self, CredsError> {
        if std::fs::metadata(path)?.len() > MAX_BYTES {
            return Err(CredsError::TooLong);
        }
        std::fs::read_to_string(path)?.parse()
    }

    /// Writes it with mode 0600, whole or not at all.
    pub fn write(&self, path: &Path) -> io::Result<()> {
        files::write_private(path, self.to_text().as_bytes())
    }

    fn to_text(&self) -> String {
        format!(
            "-----BEGIN NATS USER JWT-----\n{}\n------END NATS USER JWT------\n\n\
             ************************* IMPORTANT *************************\n\
             The seed below is a secret: whoever has it is this user.\n\n\
             -----BEGIN USER NKEY SEED-----\n{}\n------END USER NKEY SEED------\n",
            self.jwt,
            self.seed.reveal()
        )
    }
}

impl FromStr for Creds {
    type Err = CredsError;

    fn from_str(text: &str) -> Result<Self, CredsError> {
        let mut parts = Parts { lines: text.lines() };
        let jwt = parts.next().ok_or(CredsError::Form)?.parse::<Jwt>()?;
        let seed = parts.next().ok_or(CredsError::Form)?.parse::<Seed>()?;
        if !seed.public_key().is_user() {
            return Err(CredsError::Form);
        }
        Ok(Self { jwt, seed })
    }
}

impl fmt::Debug for Creds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Creds").field("jwt", &self.jwt).field("seed", &self.seed).finish()
    }
}

/// The first line after each line of dashes that begins a part, in order.
struct Parts<'a> {
    lines: std::str::Lines<'a>,
}

impl<'a> Iterator for Parts<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        self.lines.by_ref().find(|line| line.starts_with("---") && line.contains("BEGIN"))?;
        self.lines.next().map(str::trim)
    }
}

/// Why a file gave no credentials. It never shows what stood there.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CredsError {
    /// The file could not be read.
    #[error("can not be read")]
    Read(#[from] io::Error),
    /// More than 128 KiB.
    #[error("longer than credentials can be")]
    TooLong,
    /// The two parts are not there.
    #[error("not of the form of a NATS .creds file")]
    Form,
    /// Its JWT is not sound.
    #[error("its JWT is not sound")]
    Jwt(#[from] JwtError),
    /// Its seed is not sound.
    #[error("its seed is not sound")]
    Seed(#[from] NkeyError),
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn garbage_is_refused(text in any::<String>()) {
            prop_assert!(text.parse::<Creds>().is_err());
        }

        #[test]
        fn garbage_in_the_right_form_is_refused(jwt in "\\PC*", seed in "[A-Z2-7]{0,60}") {
            let text = format!(
                "-----BEGIN NATS USER JWT-----\n{jwt}\n------END NATS USER JWT------\n\
                 -----BEGIN USER NKEY SEED-----\n{seed}\n------END USER NKEY SEED------\n"
            );
            prop_assert!(text.parse::<Creds>().is_err());
            prop_assert!(seed.parse::<Seed>().is_err());
        }
    }
}
