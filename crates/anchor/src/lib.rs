//! The anchor: the management plane of one network of vantage points.
//!
//! One actor owns the registry, the ledger and the dispatch, on a current-thread runtime; the HTTP side holds a
//! cloneable [`Anchor`] whose methods are its only way in. What must survive is in JetStream: acceptances and sums
//! in the stream LEDGER, results in RES; whatever is in memory is rebuilt from there.
//!
//! It never measures, never opens a body of a kind, never lets a client speak to NATS, and answers nothing as
//! accepted or as a result that JetStream has not acknowledged.
//!
//! Begin at [`run`], then [`handle`] (the way in), `actor` (what happens to a command or a message), `admission`,
//! `dispatch`, `ledger` and `store`.

pub mod api;
pub mod config;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
pub mod handle;
pub mod metrics;
pub mod reader;

mod actor;
mod admission;
mod availability;
mod breaker;
mod clock;
mod command;
mod dispatch;
mod events;
mod garbage;
mod gauge;
mod health;
mod history;
mod lease;
mod ledger;
mod list;
mod measurement;
mod meter;
mod problems;
mod process;
mod quote;
mod recovery;
mod registry;
mod rise;
mod run;
mod shared;
mod sketch;
mod status;
mod store;
mod trace;
mod usage;

#[cfg(feature = "testing")]
pub use clock::shifted::advance;
pub use config::Config;
pub use handle::{Accepted, Anchor, Appended, InputCredits, PageRequest, Readiness, Viewer};
pub use history::answer::{Interval, RollupAsk};
pub use list::Filter;
pub use metrics::Metrics;
pub use reader::{Next, ResultReader};
pub use run::{Ready, RunError, run};
