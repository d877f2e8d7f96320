//! mmn-anchor.
