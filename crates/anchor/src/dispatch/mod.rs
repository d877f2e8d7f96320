//! Work on its way to instances: what each holds, what each has sent back, and whose turn it is.
//!
//! All of it is pure: messages are built and read by the actor. Begin with [`holding`], then [`inbound`] and
//! [`lane`].

pub(crate) mod holding;
pub(crate) mod inbound;
pub(crate) mod lane;
