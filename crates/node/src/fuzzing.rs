//! The private decoders of this crate, for the fuzz targets. Nothing else uses them.

pub use crate::context::fuzzing::{resolv_conf, stub_reply};
pub use crate::module::fuzzing::{from_node, literal};
pub use crate::net::fuzzing::{bulk_ring, control_messages, parcels, rtnetlink};
pub use crate::supervisor::fuzzing::{manifest, own_claims};
