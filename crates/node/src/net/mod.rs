//! Sockets, shared memory and privileges: the only place of the workspace's packet path that is unsafe.
//!
//! The node opens sockets ([`icmp`], [`carrier::raw`]) and the page of the site's limits ([`page`]), passes both to the modules'
//! processes ([`pass`]), and keeps no privilege but the one it opens sockets with ([`privilege`]). A module's
//! process drives its machines ([`driver`]) over what it was passed: each lane is a file in [`carrier`]. [`availability`] says what this host lets
//! us open and, where it does not, the command that mends it.
//!
//! Nothing here decides what to measure or whom to refuse: it sends what it is given, no faster than the page
//! allows.

pub mod availability;
pub mod bulk;
pub mod carrier;
mod control;
pub mod driver;
mod filter;
#[cfg(feature = "fuzzing")]
pub(crate) mod fuzzing;
pub mod icmp;
pub(crate) mod interfaces;
pub mod network;
pub mod page;
pub mod pass;
pub mod privilege;
pub mod reflector;
pub mod simulated;
mod stamps;
mod sys;
#[cfg(test)]
mod testing;
pub mod timex;
pub mod udp;

pub use mmn_probe::wire::icmp::Family;
