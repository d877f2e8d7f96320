//! What mmn asks and what it finds, in the forms of other systems.
//!
//! It knows the kinds by their types alone and performs none; it never opens a file or a socket, never reads a clock,
//! and makes nothing up: what a result does not say is absent in every form, or the form's own word for unknown.
//!
//! Begin with [`results`], where a result record becomes something else, and [`request`], where a command of scamper becomes
//! a request.

pub mod request;
pub mod results;
