//! The sockets on which scamper's clients find the vantage points of mmn, as if each were one of its daemons.
//!
//! A client of the mux socket is told of every vantage point and opens channels to those it uses; a socket of a folder
//! is one vantage point. Commands become measurements over the anchor's API, results come back as records of warts. It
//! measures nothing, keeps nothing, and knows no NATS: it is a client of the API like any other, with the rights of its token.
//!
//! Every client has a connection to the anchor and a task of its own, so that none can starve another; what is under way for
//! one, and what waits to be read by it, is bounded.
//!
//! Begin with [`serve`]; `desk.rs` is what a client is to the mux, without I/O; `roster.rs` who is there.

mod clock;
mod desk;
mod pace;
mod record;
mod roster;
mod serve;

pub use serve::{Options, ServeError, serve};
