//! Putting the records of several files into one.

use std::collections::HashMap;
use std::io::Write;

use crate::error::WriteError;
use crate::record::Record;
use crate::values::{CycleId, ListId};
use crate::writer::Writer;

/// Gives the lists and cycles of other files new numbers, and their records with them. Lists that are the same become one.
///
/// Records of a file's address table are left out: what refers to them has the address in full. Records of unknown types
/// are written as they are, whatever numbers are in them.
#[derive(Debug, Default)]
pub struct Merge {
    lists: HashMap<ListId, ListId>,
    cycles: HashMap<CycleId, CycleId>,
}

impl Merge {
    /// The numbers of one file: a new one for each.
    pub fn new() -> Self {
        Self::default()
    }

    /// Writes a record of the file. A number that the file has not explained becomes none.
    pub fn write<W: Write>(&mut self, mut record: Record, writer: &mut Writer<W>) -> Result<(), WriteError> {
        match &mut record {
            Record::List(list) => {
                let id = writer.list(list.user_id, &list.name, &list.about)?;
                self.lists.insert(list.id, id);
                return Ok(());
            }
            Record::CycleStart(cycle) | Record::CycleDef(cycle) => {
                let id = writer.next_cycle();
                self.cycles.insert(cycle.id, id);
                cycle.id = id;
                cycle.list = self.lists.get(&cycle.list).copied().unwrap_or_default();
            }
            Record::CycleStop(stop) => match self.cycles.get(&stop.id) {
                Some(id) => stop.id = *id,
                None => return Ok(()),
            },
            Record::Address(_) => return Ok(()),
            _ => {
                if let Some((list, cycle)) = record.membership() {
                    *list = list.and_then(|id| self.lists.get(&id).copied());
                    *cycle = cycle.and_then(|id| self.cycles.get(&id).copied());
                }
            }
        }
        writer.write(&record)
    }
}
