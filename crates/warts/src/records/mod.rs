//! The record types, a file each.
//!
//! A field has the name that the field has in scamper's interfaces, and is in the unit in which it is written, so that
//! nothing is lost between reading and writing. `names` has words for those that are numbers of a list.

pub mod dealias;
pub mod host;
pub mod http;
pub mod list;
pub mod neighbourdisc;
pub mod owamp;
pub mod ping;
pub mod sniff;
pub mod sting;
pub mod tbit;
pub mod trace;
pub mod tracelb;
pub mod udpprobe;

use crate::error::{Problem, WriteError};
use crate::values::{CycleId, ListId};
use crate::wire::{Input, Output};

/// What a measurement's record has beside a table.
pub(crate) trait Body: Sized {
    fn read_body(input: &mut Input<'_>) -> Result<Self, Problem>;
    fn write_body(&self, output: &mut Output) -> Result<(), WriteError>;
    /// Which list and cycle it belongs to.
    fn membership(&mut self) -> (&mut Option<ListId>, &mut Option<CycleId>);
}

/// A record that is a table, or a table and what `read` and `write` add to it.
macro_rules! body {
    ($name:ident) => {
        body!($name, |_table, _input| Ok(()), |_table, _output| Ok(()));
    };
    ($name:ident, |$table:ident, $input:ident| $read:expr, |$written:ident, $output:ident| $write:expr) => {
        impl crate::records::Body for $name {
            fn read_body($input: &mut crate::wire::Input<'_>) -> Result<Self, crate::error::Problem> {
                #[allow(unused_mut, reason = "not every record is more than its table")]
                let mut $table = <Self as crate::wire::Wire>::read($input)?;
                let more: Result<(), crate::error::Problem> = $read;
                more?;
                $table.trailing = $input.rest().to_vec();
                Ok($table)
            }
            fn write_body(&self, $output: &mut crate::wire::Output) -> Result<(), crate::error::WriteError> {
                let $written = self;
                crate::wire::Wire::write($written, $output)?;
                let more: Result<(), crate::error::WriteError> = $write;
                more?;
                $output.put(&self.trailing);
                Ok(())
            }
            fn membership(
                &mut self,
            ) -> (&mut Option<crate::values::ListId>, &mut Option<crate::values::CycleId>) {
                (&mut self.list, &mut self.cycle)
            }
        }
    };
}

pub(crate) use body;
