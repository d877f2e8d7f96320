//! mmn-schema.
