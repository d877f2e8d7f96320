//! The warts file format, in which scamper keeps what it measured: every record type, both ways, plain and compressed.
//!
//! A file is a row of records ([`Record`]), each with a type and a length. A measurement is a struct whose fields are the
//! format's parameters, each an `Option`: what is not in the file is absent. A record type, a parameter or a byte that
//! this crate doesn't know is kept, and written again where it was.
//!
//! This crate never opens a file, never reads a clock and never panics, whatever it is given; a length that lies costs no
//! memory. It knows nothing of measurements beyond their layout.
//!
//! Begin with [`Reader`] and [`Writer`]; then `wire/table.rs`, by which a layout is written down once for both ways, and
//! `records/ping.rs`, a record that is. The layouts are facts of scamper's format, found by reading what it writes.
//!
//! ```
//! use mmn_warts::{Reader, Record, Writer};
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let file = include_bytes!("../tests/data/ping.warts").as_slice();
//! let mut copy = Writer::new(Vec::new());
//! let mut pings = 0;
//! for record in Reader::new(file) {
//!     let record = record?;
//!     pings += usize::from(matches!(record, Record::Ping(_)));
//!     copy.write(&record)?;
//! }
//! assert!(pings > 0);
//! assert_eq!(copy.into_inner()?, file);
//! # Ok(())
//! # }
//! ```

mod about;
mod compress;
mod error;
pub mod json;
mod merge;
pub mod names;
mod reader;
mod record;
pub mod records;
#[cfg(test)]
mod sample;
#[cfg(test)]
mod tests;
pub mod values;
mod wire;
mod writer;

pub use about::About;
pub use compress::{Compression, Pack, Unpack};
pub use error::{Problem, ReadError, WriteError};
pub use merge::Merge;
pub use reader::{Reader, Tables};
pub use record::{Kind, Record, Unknown};
pub use values::Address;
pub use wire::Extra;
pub use writer::Writer;
