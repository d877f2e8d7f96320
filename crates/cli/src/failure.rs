//! How a command ends: well, not so well, or with a failure that says what to do.

use std::fmt;
use std::io;

use mmn_client::ClientError;

/// What to do where a token is wanted.
const TOKEN: &str = "`mmn creds new client NAME` on the anchor's machine makes a token; --token-file FILE shows it; the token \
                     of this machine's own `mmn up` is shown to that one alone";

/// The exit status of a command that did its work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Every task is ok and something answered.
    Good,
    /// The command worked; what it was asked about is not well.
    Bad,
    /// As the program ended that the command ran.
    Program(u8),
}

/// Why a command could not do its work.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) kind: Kind,
    pub(crate) text: String,
    pub(crate) hint: Option<String>,
}

/// Which exit status a failure has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// 1.
    Failed,
    /// 2.
    Misused,
    /// The reader of stdout has gone: 141, as of a process that SIGPIPE ends, and no word.
    Closed,
    /// A second Ctrl-C: 130, as of a process that SIGINT ends, and no word.
    Interrupted,
}

impl Exit {
    pub(crate) const fn of(good: bool) -> Self {
        if good { Self::Good } else { Self::Bad }
    }

    pub(crate) const fn code(self) -> u8 {
        match self {
            Self::Good => 0,
            Self::Bad => 1,
            Self::Program(code) => code,
        }
    }
}

impl Failure {
    pub(crate) fn new(text: impl fmt::Display) -> Self {
        Self { kind: Kind::Failed, text: text.to_string(), hint: None }
    }

    pub(crate) fn misused(text: impl fmt::Display) -> Self {
        Self { kind: Kind::Misused, ..Self::new(text) }
    }

    pub(crate) fn interrupted() -> Self {
        Self { kind: Kind::Interrupted, ..Self::new("interrupted") }
    }

    pub(crate) fn hint(mut self, hint: impl fmt::Display) -> Self {
        self.hint = Some(hint.to_string());
        self
    }

    pub(crate) const fn code(&self) -> u8 {
        match self.kind {
            Kind::Failed => 1,
            Kind::Misused => 2,
            Kind::Closed => 141,
            Kind::Interrupted => 130,
        }
    }

    pub(crate) const fn is_silent(&self) -> bool {
        matches!(self.kind, Kind::Closed | Kind::Interrupted)
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        match error.downcast::<ClientError>() {
            Ok(error) => error.into(),
            Err(error) => match error.downcast::<io::Error>() {
                Ok(error) => error.into(),
                Err(error) => Self::new(format!("{error:#}")),
            },
        }
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            return Self { kind: Kind::Closed, ..Self::new("stdout is closed") };
        }
        Self::new(error)
    }
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        let text = chain(&error);
        match error {
            ClientError::NotRunning { .. } => Self::new(text)
                .hint("`mmn up` starts it; --data DIR names another directory, --api URL another machine"),
            ClientError::Connect { .. } => {
                Self::new(text).hint("is `mmn up` running there? `mmn doctor` looks for the cause")
            }
            ClientError::Url { .. } => Self::misused(text),
            ClientError::Problem(problem) => {
                let kind = if matches!(problem.status, 400 | 422) { Kind::Misused } else { Kind::Failed };
                // What the API itself says speaks of header fields.
                let hint = if problem.status == 401 { Some(TOKEN.to_owned()) } else { problem.hint };
                Self { kind, text, hint }
            }
            _ => Self::new(text),
        }
    }
}

/// An error and what caused it, in one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.ends_with(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    text
}
