//! The node of mmn: everything that runs at a vantage point.
//!
//! Two kinds of process. The *node* ([`run`]) supervises the modules of one vantage point: it watches `modules.d/`,
//! starts each module as a child without privileges, opens sockets for it, gets its credentials from an anchor, and
//! speaks for the place. A *module* ([`module::run`]) is such a child: it has its own connection to NATS, takes tasks
//! within its credits, performs them, and keeps its results until an anchor has kept them.
//!
//! Neither knows the anchor beyond the contract (`mmn-schema`), and neither decides what to measure. The site's
//! [`policy`] is enforced in the modules' processes, wins over any anchor, and is published. Sockets and everything
//! `unsafe` are in [`net`]; time is read in [`clock`] alone.
//!
//! Both are written for a current-thread runtime: kinds' futures are not `Send`. In a simulated world a node and its modules
//! share one process with those of many other vantage points, and so do those of programs of others ([`Elsewhere`]).
//!
//! Begin with [`module`], then `module/desk` (the rules of taking and owing as a pure state machine), then
//! [`supervisor`](run).

pub mod clock;
mod config;
mod context;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod herald;
mod host;
pub mod module;
pub mod net;
pub mod policy;
mod supervisor;

pub use config::{
    Builtin, Config, ConfigError, DEFAULT_LOCAL_KEY, DEFAULT_SILENCE, Elsewhere, Place, Remote, Whereabouts,
};
pub use supervisor::{NodeError, Ready, run};
