//! The account of one measurement, in memory: the state of each task in a byte, the inputs packed once, and for each
//! assignment the place up to which its tasks have gone out.
//!
//! Tasks are numbered by input, then by assignment: task `input * assignments + assignment`. Everything here is pure:
//! no I/O, no clock. Begin with [`account`].

pub(crate) mod account;
pub(crate) mod inputs;
pub(crate) mod queue;
