//! The lab's process, and how others speak with it.
//!
//! [`launch`] is the process: it makes the networks of a plan, drives its world, and listens on a socket in a directory of
//! its own. A [`Client`] asks for sockets that live in a vantage point's network (they come as descriptors), for the
//! networks themselves (so that a program can be started there), for the truth, and how the lab is doing. Messages are
//! in [`message`]; what is none of them is refused and harms nothing.
//!
//! A world that another program drives by itself has the same socket, for its truth and its state alone ([`offer`]).
//!
//! The socket is for the user of the process alone.

mod beside;
mod client;
pub mod message;
mod process;
mod serve;
mod wire;

pub use self::beside::{Lent, Offered, offer};
pub use self::client::{Client, ClientError, Inside, first};
pub use self::process::{Lab, LabError, SOCKET, launch};
