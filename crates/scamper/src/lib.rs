//! The protocols that scamper and its companions speak: the mux socket, the control socket, the connection of a remote
//! daemon, and the text of commands. Both sides of each, as machines without I/O and without a clock.
//!
//! Bytes go in as they come, in whatever pieces; events and bytes come out. What a peer can send is bounded in what it
//! costs, and nothing it sends makes this crate panic. Where time matters ([`remote`]) it is an argument. The crate knows
//! nothing of what is measured: records are octets to it, a command is what its text says.
//!
//! Begin with [`mux::Server`] and [`mux::Client`], then [`control`], whose lines travel within; [`Command`] reads and
//! writes the text of a measurement. The layouts are facts of scamper's protocols, found by talking to it.
//!
//! ```
//! use mmn_scamper::Command;
//! # fn main() -> Result<(), mmn_scamper::command::CommandError> {
//! let Command::Ping(ping) = Command::parse("ping -c 3 -i 0.5s 192.0.2.1")? else { unreachable!() };
//! assert_eq!(ping.count, Some(3));
//! assert_eq!(ping.to_string(), "ping -c 3 -i 0.5s 192.0.2.1");
//! # Ok(())
//! # }
//! ```

pub mod command;
pub mod control;
pub mod mux;
pub mod remote;
pub mod uu;

pub use command::Command;
