//! The control socket: lines of text, and records as blocks of [`uu`](crate::uu) between them.
//!
//! A connection begins interactive (`get`, `set`, `attach` …), or attached where it is reached through a mux, a remote
//! daemon's folder or after `attach`. Attached, every line is a measurement, `halt N` or `done`; each gets one answer, in the
//! order of the lines. `MORE` says that there is room for more, `DATA` brings a record.

mod attach;
mod client;
mod lines;
mod request;
mod server;
#[cfg(test)]
mod tests;

pub use attach::{Attach, Format};
pub use client::{Client, Said, Ticket};
pub use lines::{LineError, Lines};
pub use request::{Request, Shutdown, Variable};
pub use server::Server;

/// Why a control connection can't go on: the peer is out of step.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ControlError {
    /// A line that can't be one.
    #[error(transparent)]
    Line(#[from] LineError),
    /// A line that is no answer.
    #[error("{0:?} is no answer")]
    NoAnswer(String),
    /// An answer to nothing.
    #[error("{0:?} answers nothing")]
    Unasked(String),
    /// A block that is longer than this side reads.
    #[error("a record of {length} characters, of which {limit} are allowed")]
    TooLong {
        /// What its header says.
        length: usize,
        /// What is allowed.
        limit: usize,
    },
    /// A block that is no record in its encoding.
    #[error("a record that can not be read")]
    Record(#[from] crate::uu::UuError),
}
