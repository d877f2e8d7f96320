//! Writing a file, record by record.

use std::collections::HashMap;
use std::io::Write;

use crate::error::WriteError;
use crate::reader::MAGIC;
use crate::record::Record;
use crate::records::list::{AboutCycle, AboutList, Cycle, CycleStop, List};
use crate::values::{CycleId, ListId, Text};
use crate::wire::{Output, count};

/// Writes records to a destination, plain: [`crate::Pack`] compresses.
///
/// Records are written as they are. Numbers of lists and cycles are the file's: [`Writer::list`] and
/// [`Writer::cycle`] give them, and [`crate::Merge`] gives new ones to the records of other files.
#[derive(Debug)]
pub struct Writer<W> {
    destination: W,
    output: Output,
    lists: HashMap<(u32, Text, AboutList), ListId>,
    last_list: u32,
    last_cycle: u32,
}

impl<W: Write> Writer<W> {
    /// A writer to an empty destination.
    pub fn new(destination: W) -> Self {
        Self { destination, output: Output::default(), lists: HashMap::new(), last_list: 0, last_cycle: 0 }
    }

    /// Writes a record as it is. One that can't be written leaves nothing behind.
    pub fn write(&mut self, record: &Record) -> Result<(), WriteError> {
        encode(record, &mut self.output)?;
        self.destination.write_all(self.output.octets())?;
        match record {
            Record::List(list) => {
                self.last_list = self.last_list.max(list.id.0);
                self.lists.entry((list.user_id, list.name.clone(), list.about.clone())).or_insert(list.id);
            }
            Record::CycleStart(cycle) | Record::CycleDef(cycle) => {
                self.last_cycle = self.last_cycle.max(cycle.id.0);
            }
            _ => {}
        }
        Ok(())
    }

    /// The number of a list in this file; one that is not in it yet is written.
    pub fn list(&mut self, user_id: u32, name: &Text, about: &AboutList) -> Result<ListId, WriteError> {
        let key = (user_id, name.clone(), about.clone());
        if let Some(id) = self.lists.get(&key) {
            return Ok(*id);
        }
        let id = ListId(self.last_list.saturating_add(1));
        let (user_id, name, about) = key;
        self.write(&Record::List(List { id, user_id, name, about, trailing: Vec::new() }))?;
        Ok(id)
    }

    /// Begins a cycle of a list of this file, and says its number. `start` is in seconds since 1970.
    pub fn cycle(
        &mut self,
        list: ListId,
        user_id: u32,
        start: u32,
        about: AboutCycle,
    ) -> Result<CycleId, WriteError> {
        let id = self.next_cycle();
        self.write(&Record::CycleStart(Cycle { id, list, user_id, start, about, trailing: Vec::new() }))?;
        Ok(id)
    }

    /// Ends a cycle. `stop` is in seconds since 1970.
    pub fn end_cycle(&mut self, id: CycleId, stop: u32) -> Result<(), WriteError> {
        self.write(&Record::CycleStop(CycleStop { id, stop, ..CycleStop::default() }))
    }

    pub(crate) fn next_cycle(&self) -> CycleId {
        CycleId(self.last_cycle.saturating_add(1))
    }

    /// Sends what is buffered on its way.
    pub fn flush(&mut self) -> Result<(), WriteError> {
        Ok(self.destination.flush()?)
    }

    /// Ends the writing and gives the destination back.
    pub fn into_inner(mut self) -> Result<W, WriteError> {
        self.flush()?;
        Ok(self.destination)
    }
}

impl Record {
    /// The record with its header, as it stands in a file.
    pub fn to_octets(&self) -> Result<Vec<u8>, WriteError> {
        let mut output = Output::default();
        encode(self, &mut output)?;
        Ok(output.octets().to_vec())
    }
}

fn encode(record: &Record, output: &mut Output) -> Result<(), WriteError> {
    output.clear();
    output.put(&MAGIC.to_be_bytes());
    output.put(&record.kind().number().to_be_bytes());
    output.put(&[0; 4]);
    record.write(output)?;
    let length = count::<u32>("a record", output.len() - 8)?;
    output.patch(4, &length.to_be_bytes());
    Ok(())
}
