//! The HTTP side against a real anchor, a real nats-server, and a module that echoes.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "what fails here fails the test"
)]

#[path = "api/client.rs"]
mod client;
#[path = "api/conventions.rs"]
mod conventions;
#[path = "api/events.rs"]
mod events;
#[path = "api/network.rs"]
mod network;
#[path = "api/reading.rs"]
mod reading;
#[path = "api/rest.rs"]
mod rest;
#[path = "api/session.rs"]
mod session;
#[path = "api/socket.rs"]
mod socket;
#[path = "api/status.rs"]
mod status;
#[path = "api/tls.rs"]
mod tls;
