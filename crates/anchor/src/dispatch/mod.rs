//! Work on its way to instances: what each holds, what each has sent back, whose turn it is, and what goes out
//! once more.
//!
//! All of it is pure: messages are built and read by the actor. Begin with [`holding`], then [`inbound`],
//! [`lane`] and [`retry`].

pub(crate) mod holding;
pub(crate) mod inbound;
pub(crate) mod lane;
pub(crate) mod load;
pub(crate) mod retry;
