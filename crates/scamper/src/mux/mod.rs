//! The mux protocol: one connection, many vantage points, a channel to each that is in use.
//!
//! A frame is a channel (u32), a length (u32) and so many octets, all big-endian. Channel 0 carries [`Message`]s; every
//! other channel carries the lines of [`control`](crate::control), cut anywhere. The server tells of vantage points as they
//! come and go, by [`Vp`]s; the client opens a channel to one, by a number of its own choosing.

mod client;
mod frames;
mod server;
mod vp;
mod wire;

pub use client::{Client, Heard};
pub use frames::{Frames, Piece};
pub use server::{Asked, Server};
pub use vp::{Attribute, Vp};
pub use wire::Message;

/// Why a mux connection can't go on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MuxError {
    /// A message on channel 0 that is longer than this side reads.
    #[error("a control message of {length} octets, of which {limit} are allowed")]
    TooLong {
        /// What its header says.
        length: u32,
        /// What is allowed.
        limit: u32,
    },
    /// A message on channel 0 that ends too early, or has more to it than it should.
    #[error("a control message of type {kind} with {length} octets")]
    Length {
        /// Its type.
        kind: u16,
        /// Its length.
        length: usize,
    },
    /// A message too short for its type, which takes two octets.
    #[error("a control message of {0} octets")]
    NoType(usize),
    /// A text of an attribute has no end.
    #[error("an attribute {0} without an end")]
    NoEnd(u16),
    /// The client opens channel 0, or one that it has open.
    #[error("channel {0} can not be opened")]
    Channel(u32),
}
