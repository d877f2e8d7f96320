//! The contract of mmn: what travels between its parts, and nothing else.
//!
//! Every message, identifier and subject that crosses a process boundary is a type of this crate. It does no
//! I/O, reads no clock and knows no measurement: parameters and results of a kind are opaque [`body::Body`]
//! values here, so that a new module needs no new anchor.
//!
//! Begin with [`subject`] (where messages travel), then [`announce`], [`dispatch`] and [`control`] (what anchors
//! and modules say to each other), then [`api`] and [`stream`] (what clients see).
//!
//! Enums are externally tagged: an internally tagged or flattened one would hide from its fields whether the
//! encoding is binary.
//!
//! Types never change their meaning within [`VERSION`]. A reader ignores fields that it does not know and
//! refuses another major version.

pub mod announce;
pub mod api;
pub mod body;
pub mod cbor;
pub mod control;
pub mod dispatch;
pub mod encoding;
pub mod enrol;
pub mod event;
pub mod id;
pub mod outcome;
pub mod problem;
pub mod rest;
pub mod select;
pub mod skim;
pub mod status;
pub mod stream;
pub mod subject;
pub mod time;
pub mod vp;

/// The version of the contract that this build speaks.
pub const VERSION: announce::SchemaVersion = announce::SchemaVersion { major: 1, minor: 0 };
