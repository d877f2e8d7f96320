//! The lab: a simulated Internet, exact and seeded, to prove the engine in and to develop scripts on.
//!
//! A [`plan::Plan`] is what a TOML file says: routers, links, vantage points, hosts and their services. A
//! [`world::World`] is that plan at work: packets go in at a port, and come out where and when the plan has it. It keeps
//! the [`truth`] of each. Drivers bring time and packets to a world: [`simulated`] a virtual clock and machines of the
//! probing engine, [`namespaces`] real time and real programs, in a process of its own ([`host`]). What hosts serve is in
//! [`service`].
//!
//! A world never reads a clock, opens a socket or draws from anything but its seed: the same packets at the same
//! instants come to the same ends, to the bit.
//!
//! Begin with [`plan`] for what can be said, then [`world`].

#[cfg(feature = "namespaces")]
pub mod able;
#[cfg(feature = "namespaces")]
pub mod clock;
pub mod draw;
pub mod generate;
#[cfg(feature = "namespaces")]
pub mod host;
pub mod ids;
#[cfg(feature = "namespaces")]
pub mod namespaces;
pub mod plan;
pub mod service;
pub mod simulated;
#[cfg(feature = "namespaces")]
mod sys;
pub mod truth;
pub mod world;
