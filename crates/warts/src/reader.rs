//! Reading a file, record by record.

use std::collections::HashMap;
use std::io::{self, BufRead, BufReader, Read};

use crate::error::{Problem, ReadError};
use crate::record::{Record, Unknown};
use crate::records::list::{Cycle, List};
use crate::values::{Address, CycleId, Data, ListId};
use crate::wire::{Input, Scratch};

/// What begins a record.
pub(crate) const MAGIC: u16 = 0x1205;

/// Reads records from a source, plain: [`crate::Unpack`] is for one that may be compressed.
///
/// A record that is broken is an error, after which the next can be read. A header that is none, a file that ends within
/// a record and a source that fails are errors after which nothing comes ([`ReadError::is_last`]).
#[derive(Debug)]
pub struct Reader<R> {
    source: BufReader<R>,
    offset: u64,
    limit: u32,
    ended: bool,
    octets: Vec<u8>,
    tables: Tables,
    scratch: Scratch,
}

/// What a file has said so far that its records refer to.
#[derive(Debug, Default)]
pub struct Tables {
    lists: HashMap<ListId, List>,
    cycles: HashMap<CycleId, Cycle>,
    addresses: Vec<Address>,
}

impl Tables {
    /// The list of a number.
    pub fn list(&self, id: ListId) -> Option<&List> {
        self.lists.get(&id)
    }

    /// The cycle of a number, with its end once that has been read.
    pub fn cycle(&self, id: CycleId) -> Option<&Cycle> {
        self.cycles.get(&id)
    }

    /// Keeps what later records refer to. An address of the file's table may be out of order.
    pub fn learn(&mut self, record: &Record) -> Result<(), Problem> {
        match record {
            Record::List(list) => {
                self.lists.insert(list.id, list.clone());
            }
            Record::CycleStart(cycle) | Record::CycleDef(cycle) => {
                self.cycles.insert(cycle.id, cycle.clone());
            }
            Record::CycleStop(stop) => {
                if let Some(cycle) = self.cycles.get_mut(&stop.id) {
                    cycle.about.stop = Some(stop.stop);
                }
            }
            Record::Address(global) => {
                let wanted = u8::try_from((self.addresses.len() + 1) % 255).unwrap_or(0);
                if global.id != wanted {
                    return Err(Problem::AddressOrder { wanted, found: global.id });
                }
                self.addresses.push(global.address.clone());
            }
            _ => {}
        }
        Ok(())
    }
}

impl<R: Read> Reader<R> {
    /// A reader that takes records of up to 64 MiB.
    pub fn new(source: R) -> Self {
        Self {
            source: BufReader::with_capacity(64 << 10, source),
            offset: 0,
            limit: 64 << 20,
            ended: false,
            octets: Vec::new(),
            tables: Tables::default(),
            scratch: Scratch::default(),
        }
    }

    /// With another limit on a record's length, in octets. Longer ones are errors, and are passed over.
    #[must_use]
    pub fn with_limit(self, limit: u32) -> Self {
        Self { limit, ..self }
    }

    /// Where the next record begins, in octets of the file.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// What the file has said so far that its records refer to.
    pub fn tables(&self) -> &Tables {
        &self.tables
    }

    /// Reads the next record; `None` at the end of the file.
    pub fn read(&mut self) -> Result<Option<Record>, ReadError> {
        if self.ended {
            return Ok(None);
        }
        let read = self.next_record();
        self.ended = match &read {
            Ok(record) => record.is_none(),
            Err(error) => error.is_last(),
        };
        read
    }

    fn next_record(&mut self) -> Result<Option<Record>, ReadError> {
        let offset = self.offset;
        let io = |source| ReadError::Io { offset, source };
        let mut header = [0; 8];
        let mut filled = 0;
        while let Some(rest) = header.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            match self.source.read(rest) {
                Ok(0) => break,
                Ok(more) => filled += more,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(io(error)),
            }
        }
        if filled == 0 {
            return Ok(None);
        }
        let [m1, m0, k1, k0, length @ ..] = header;
        let (magic, kind, length) =
            (u16::from_be_bytes([m1, m0]), u16::from_be_bytes([k1, k0]), u32::from_be_bytes(length));
        if filled >= 2 && magic != MAGIC {
            return Err(ReadError::Magic { offset, found: magic });
        }
        if filled < header.len() {
            return Err(ReadError::Truncated { offset, wanted: 8, found: filled as u64 });
        }
        let truncated = |found| ReadError::Truncated { offset, wanted: length.into(), found };
        self.offset += 8 + u64::from(length);
        if length > self.limit {
            let passed =
                io::copy(&mut self.source.by_ref().take(length.into()), &mut io::sink()).map_err(io)?;
            if passed < length.into() {
                return Err(truncated(passed));
            }
            return Err(ReadError::TooLong { offset, kind, length, limit: self.limit });
        }
        let len = usize::try_from(length).unwrap_or(usize::MAX);
        let done = if let Some(whole) = self.source.buffer().get(..len) {
            // What is in the buffer already needs no copy.
            let done = decode(kind, whole, &mut self.tables, &mut self.scratch);
            self.source.consume(len);
            done
        } else {
            self.octets.clear();
            // The memory grows with what comes, not with what was promised.
            let found = self.source.by_ref().take(length.into()).read_to_end(&mut self.octets).map_err(io)?;
            if found < len {
                return Err(truncated(found as u64));
            }
            let done = decode(kind, &self.octets, &mut self.tables, &mut self.scratch);
            // One long record is no reason to hold its memory for ever.
            if self.octets.capacity() > KEPT {
                self.octets = Vec::new();
            }
            done
        };
        done.map(Some).map_err(|(within, problem)| ReadError::Record { offset, kind, within, problem })
    }
}

/// How much memory for a record is kept for the next, in octets.
const KEPT: usize = 4 << 20;

fn decode(
    kind: u16,
    octets: &[u8],
    tables: &mut Tables,
    scratch: &mut Scratch,
) -> Result<Record, (usize, Problem)> {
    let mut input = Input::new(octets, &tables.addresses, scratch);
    let record = match Record::read(kind, &mut input) {
        Ok(record) => record,
        Err(Problem::Method(_)) => Record::Unknown(Unknown { kind, octets: Data(octets.to_vec()) }),
        Err(problem) => return Err((input.at(), problem)),
    };
    tables.learn(&record).map_err(|problem| (0, problem))?;
    Ok(record)
}

/// Reads the records of a row of octets that were sent without a file around them, one record with its header. What it
/// refers to by number in a file's tables is not known.
impl Record {
    /// Reads one record, with its header, and nothing after it.
    pub fn from_octets(octets: &[u8]) -> Result<Self, ReadError> {
        let mut reader = Reader::new(octets).with_limit(u32::MAX);
        let truncated = ReadError::Truncated { offset: 0, wanted: 8, found: 0 };
        let record = reader.read()?.ok_or(truncated)?;
        match octets.len().checked_sub(usize::try_from(reader.offset).unwrap_or(usize::MAX)) {
            Some(0) => Ok(record),
            _ => Err(ReadError::Magic { offset: reader.offset, found: 0 }),
        }
    }
}

impl<R: Read> Iterator for Reader<R> {
    type Item = Result<Record, ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.read().transpose()
    }
}
