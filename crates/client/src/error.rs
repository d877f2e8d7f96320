use std::error::Error;
use std::io;
use std::path::PathBuf;

use mmn_schema::problem::Problem;

/// Why a call gave no answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// The URL is none that a client can use.
    #[error("{url:?} is no URL of an API: {why}")]
    Url {
        /// The URL as given.
        url: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// The certificates to trust can not be read.
    #[error("the certificates to trust can not be read: {0}")]
    Trust(String),
    /// Nobody answers there.
    #[error("no connection to {url}")]
    Connect {
        /// Where.
        url: String,
        /// Why.
        source: io::Error,
    },
    /// What answers there does not speak as the URL's scheme says.
    #[error("what answers at {url} speaks no {what}: does it speak {other}?")]
    Scheme {
        /// Where.
        url: String,
        /// What was expected: `HTTP` or `TLS`.
        what: &'static str,
        /// The same with the other scheme.
        other: String,
    },
    /// The connection broke, or the answer took too long.
    #[error("the connection to the API broke: {0}")]
    Broken(String, #[source] Option<Box<dyn Error + Send + Sync>>),
    /// The API declined, and says why.
    #[error(transparent)]
    Problem(Box<Problem>),
    /// The answer has a status of failure and no problem in it.
    #[error("the API answered {status}: {text}")]
    Status {
        /// The HTTP status.
        status: u16,
        /// The beginning of the answer.
        text: String,
    },
    /// The answer is not what it should be.
    #[error("the answer of the API can not be read: {0}")]
    Answer(String),
    /// No `mmn up` runs on that data directory.
    #[error("no mmn is running on {}", data_dir.display())]
    NotRunning {
        /// The directory.
        data_dir: PathBuf,
    },
    /// A file of the data directory can not be read.
    #[error("{} can not be read", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl ClientError {
    /// The problem that the API answered with.
    pub fn problem(&self) -> Option<&Problem> {
        match self {
            Self::Problem(problem) => Some(problem),
            _ => None,
        }
    }

    /// Whether the same call might succeed a moment later: the way to the API failed, or the API is on its way up.
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Connect { .. } | Self::Broken(..) => true,
            Self::Problem(problem) => matches!(problem.reason.as_str(), "not-ready" | "storage-unavailable"),
            _ => false,
        }
    }

    pub(crate) fn broken(error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        let error = error.into();
        Self::Broken(error.to_string(), error.source().map(|source| source.to_string().into()))
    }

    /// What an answer of failure says.
    pub(crate) fn of_answer(status: u16, body: &[u8]) -> Self {
        match serde_json::from_slice::<Problem>(body) {
            Ok(problem) => Self::Problem(Box::new(problem)),
            Err(_) => {
                Self::Status { status, text: String::from_utf8_lossy(body).chars().take(200).collect() }
            }
        }
    }
}
