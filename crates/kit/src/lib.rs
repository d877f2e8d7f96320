//! mmn-kit.
