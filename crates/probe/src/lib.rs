//! The probing engine of mmn without its sockets: packets and time go in, packets and results come out.
//!
//! A measurement is a [`machine::Machine`]. Its driver tells it what happened ([`machine::Input`]) and asks
//! what to do next ([`machine::Output`]); the machine decides what to send, matches what comes back, and says
//! when it is done. The same machine runs over real sockets and over a virtual clock.
//!
//! This crate never opens a socket, reads a clock, draws a random number, spawns anything or logs. Whatever
//! it needs of the world is an argument.
//!
//! Begin with [`machine`] for the contract, then [`ping`] for the smallest machine that keeps it. [`packet`] says what
//! probes and answers are, [`conditions`] how they were sent; [`wire`] holds the codecs, [`bucket`] the arithmetic of pacing, [`stats`] the numbers made of samples.

pub mod bucket;
pub mod bulk;
pub mod conditions;
pub mod cookie;
pub mod machine;
pub mod mda;
pub mod multipath;
pub mod packet;
pub mod ping;
pub mod schedule;
pub mod stats;
pub mod tcp;
#[cfg(test)]
mod testing;
pub mod time;
pub mod trace;
pub mod udp;
pub mod wire;
