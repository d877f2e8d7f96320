//! mmn-bus.
