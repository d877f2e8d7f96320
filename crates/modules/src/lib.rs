//! mmn-modules.
