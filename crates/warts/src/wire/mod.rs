//! How values stand in a record: numbers big-endian, texts ended by a zero, addresses in full once and by number after.

mod input;
mod output;
pub(crate) mod table;
mod value;

pub(crate) use input::{Input, Scratch};
pub(crate) use output::{Output, count};

use crate::error::{Problem, WriteError};

/// Something that can be read from a record and written to one.
pub(crate) trait Wire: Sized {
    fn read(input: &mut Input<'_>) -> Result<Self, Problem>;
    fn write(&self, output: &mut Output) -> Result<(), WriteError>;
}

/// A list whose length is a parameter of its own, right before it.
pub(crate) trait Counted: Default {
    fn read(count: usize, input: &mut Input<'_>) -> Result<Self, Problem>;
    fn write(&self, output: &mut Output) -> Result<(), WriteError>;
    fn len(&self) -> usize;
}

/// Parameters that this crate doesn't know: they stand after all that it knows.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, serde::Serialize)]
pub struct Extra {
    /// Their numbers, in order; all above those of the table.
    pub ids: Vec<u32>,
    /// Their octets, without bounds between them.
    pub octets: crate::values::Data,
}

impl Extra {
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.ids.is_empty() && self.octets.0.is_empty()
    }
}
