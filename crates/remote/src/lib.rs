//! Daemons of scamper that connect (`scamper -R`), each as a vantage point of mmn.
//!
//! Each daemon has a node and a module in this process, as if it were a host: it announces itself, grants credits, and
//! takes tasks. A task becomes a command of scamper, the record that comes back an ordinary result of the kind; who asks sees
//! no difference. What scamper can't do is refused with a reason, and never passed over.
//!
//! It measures nothing itself and decides nothing of what is measured: the policy of a daemon's vantage point is judged here,
//! before a command leaves, and how fast packets leave is the daemon's own affair (its `-p`).
//!
//! Begin with [`serve`]: `listen.rs` has who connects, `place.rs` one vantage point over any number of connections, `desk.rs`
//! what a daemon is given and says, without I/O, and `kinds/` each kind as scamper does it.

mod ask;
mod clock;
mod desk;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod kinds;
mod listen;
mod place;
mod tls;

pub use listen::{Credentials, Options, ServeError, serve};
pub use tls::{TlsError, TlsFiles};
