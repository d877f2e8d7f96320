//! The built-in measurements, one file each; [`KINDS`] lists them.
//!
//! A measurement's parameters, result and logic live in its file. To add one: write the file, add its line to
//! [`KINDS`].

use mmn_kit::Registered;

/// Every built-in kind.
pub const KINDS: &[&dyn Registered] = &[];
