//! NATS for mmn: the connection, the credentials, and the server as a child process.
//!
//! - [`connect`] opens a [`Bus`](connect::Bus): a cloneable handle on one NATS connection that
//!   re-reads its credentials, stays calm when it is thrown out, and has a true
//!   [`barrier`](connect::Bus::barrier).
//! - [`jetstream`] makes streams and buckets that are what was asked for, and publishes what must
//!   be kept.
//! - [`identity`] issues and verifies what NATS calls JWTs: an operator, an account, a signing key
//!   per role, users.
//! - [`server`] runs `nats-server` as a supervised child.
//! - [`launch`] starts any child so that it dies with its parent and holds no privilege.
//!
//! It never implements a broker, never decides what travels on which subject beyond the
//! permissions of each role, and never writes a secret to a log, an environment or a command line.
//!
//! Begin reading at [`connect`]; the permissions of each role are in [`identity::permissions`].

pub mod connect;
pub mod identity;
pub mod jetstream;
pub mod launch;
pub mod server;
#[cfg(feature = "testing")]
pub mod testing;

mod clock;
mod files;

pub use async_nats;
