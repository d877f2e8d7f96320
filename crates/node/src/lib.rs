//! mmn-node.
