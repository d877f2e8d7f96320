//! The connection of a remote daemon (`scamper -R`) to the one that commands it.
//!
//! A frame is a sequence number (u32), a channel (u32), a length (u16, never 0) and so many octets, all big-endian. Channel
//! 0 carries control messages; every other carries the lines of an attached [`control`](crate::control) connection. Data
//! and the messages that open and end channels are numbered, kept until they are acknowledged, and sent again when the
//! daemon comes back after a broken connection.
//!
//! [`Greeting`] reads what a new connection begins with: a daemon that is new, or one that comes back; [`Session`] is one
//! side of what then is said, over any number of connections. Instants are arguments, counted from any origin that stays.

mod greeting;
mod session;
#[cfg(test)]
mod tests;
mod wire;

pub use greeting::{Greeted, Greeting, accept, greet, reject, resume};
pub use session::{Heard, Role, Session};
pub use wire::{Magic, MonitorName, Resume};

use std::time::Duration;

/// After so long without sending, a side sends a keepalive.
pub const KEEPALIVE: Duration = Duration::from_secs(30);
/// After so long without hearing anything, a side gives the connection up.
pub const SILENCE: Duration = Duration::from_secs(60);
/// How long a new connection may take until its first frame is there.
pub const GREETING: Duration = Duration::from_secs(30);

/// Why a connection can't go on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RemoteError {
    /// A frame without content.
    #[error("a frame without content")]
    Empty,
    /// A number out of the order.
    #[error("a frame numbered {found} where {wanted} should be")]
    Sequence {
        /// The number that should come.
        wanted: u32,
        /// The number that came.
        found: u32,
    },
    /// An acknowledgement of something else than the oldest message that waits for one.
    #[error("an acknowledgement of {0}, which is not the oldest message that waits")]
    Acknowledgement(u32),
    /// A control message that is too short or too long.
    #[error("a control message of type {kind} with {length} octets")]
    Length {
        /// Its type.
        kind: u8,
        /// Its length, with its type.
        length: usize,
    },
    /// A control message that has no place here.
    #[error("a control message of type {0} has no place here")]
    Kind(u8),
    /// A name that is none: letters, digits, dots and hyphens, up to 254.
    #[error("a monitor name that is none")]
    Name,
    /// Channel 0, or one that is open already, is opened.
    #[error("channel {0} can not be opened")]
    Channel(u32),
    /// Data on a channel that is not open.
    #[error("channel {0} is not open")]
    NotOpen(u32),
    /// The other side speaks of messages that this one knows nothing of: they have to begin anew.
    #[error("a session that can not be resumed")]
    Resume,
    /// Nothing was heard for [`SILENCE`].
    #[error("nothing was heard for 60 s")]
    Silent,
}
