//! The module development kit: what a measurement is made of.
//!
//! A measurement is a type that implements [`Kind`] (its name, parameters and results) and one style of performing
//! it: [`PacketKind`] is a machine of `mmn-probe`, [`SessionKind`] an async function over a [`Context`]. One line
//! registers it ([`packet`] or [`session`]); command-line flags, REST schema and reference follow from its types.
//!
//! The kit has no runtime, no clock and no socket: a [`Context`] hands them in, so that a measurement runs against
//! real sockets, a virtual clock or a simulated Internet without knowing which. It never decides what a site allows:
//! every address passes through the context, which refuses on the site's behalf.
//!
//! Begin with [`Kind`].

mod context;
mod erased;
mod kind;
mod outcome;
mod self_test;

pub use context::{ByteStream, Context, Datagrams, Driven, Family, Performed, Received, Resolution};
pub use erased::{InterfaceOf, Measurement, Registered, info, packet, session};
pub use futures::future::LocalBoxFuture;
pub use kind::{BulkTask, Cost, Kind, PacketKind, SessionKind};
pub use mmn_probe::conditions::{Clock, Conditions, Lane, Wish};
pub use mmn_schema::body::{Body, Octets};
pub use mmn_schema::outcome::{Number, Reason, Summary, code};
pub use mmn_schema::time::{Span, Timestamp};
pub use outcome::{Failure, Measured, summary};
pub use self_test::{Attempt, FarEnd, SelfTest, Trial};
