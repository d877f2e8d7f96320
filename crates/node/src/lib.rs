//! mmn-node.

pub mod clock;
pub mod net;
