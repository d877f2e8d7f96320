//! mmn-client.
