//! A record as it is read.

use super::Wire;
use crate::error::Problem;
use crate::values::{Address, Text};

/// What may be allocated for any record, in octets, and how often its own length beyond that.
const FREE: usize = 64 << 20;
const PER_OCTET: usize = 16;

/// A record's octets, how far they are read, and what was given earlier in it.
#[derive(Debug)]
pub(crate) struct Input<'a> {
    octets: &'a [u8],
    at: usize,
    end: usize,
    budget: usize,
    /// The file's address table; its numbers begin with 1.
    globals: &'a [Address],
    scratch: &'a mut Scratch,
    /// How many items are to follow what comes next, by the last table that says so.
    pub(crate) later: usize,
    /// The lengths of tables may be too long: what all announced parameters leave belongs to what follows.
    pub(crate) lengths_lie: bool,
}

/// What a record has given so far, to be referred to. Kept from record to record for its memory.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    addresses: Vec<Address>,
    interfaces: Vec<Text>,
}

impl<'a> Input<'a> {
    pub(crate) fn new(octets: &'a [u8], globals: &'a [Address], scratch: &'a mut Scratch) -> Self {
        scratch.addresses.clear();
        scratch.interfaces.clear();
        let budget = octets.len().saturating_mul(PER_OCTET).saturating_add(FREE);
        Self { octets, at: 0, end: octets.len(), budget, globals, scratch, later: 0, lengths_lie: false }
    }

    /// How many octets are read.
    pub(crate) fn at(&self) -> usize {
        self.at
    }

    /// How many octets are left.
    pub(crate) fn left(&self) -> usize {
        self.end.saturating_sub(self.at)
    }

    pub(crate) fn take(&mut self, len: usize) -> Result<&'a [u8], Problem> {
        let left = self.left();
        let taken = (len <= left).then(|| self.octets.get(self.at..self.at + len)).flatten();
        let taken = taken.ok_or(Problem::Short { wanted: len, left })?;
        self.at += len;
        Ok(taken)
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], Problem> {
        let octets = self.take(N)?;
        octets.try_into().map_err(|_| Problem::Short { wanted: N, left: octets.len() })
    }

    /// All that is left.
    pub(crate) fn rest(&mut self) -> &'a [u8] {
        self.take(self.left()).unwrap_or_default()
    }

    /// Reads a part of `len` octets by `read`, which may leave some of them.
    pub(crate) fn within<T>(
        &mut self,
        len: usize,
        read: impl FnOnce(&mut Self) -> Result<T, Problem>,
    ) -> Result<T, Problem> {
        let left = self.left();
        if len > left {
            return Err(Problem::Short { wanted: len, left });
        }
        let outer = std::mem::replace(&mut self.end, self.at + len);
        let done = read(self);
        self.end = outer;
        done
    }

    /// Reads `count` items, each of which takes an octet or more.
    pub(crate) fn items<T: Wire>(&mut self, count: usize) -> Result<Vec<T>, Problem> {
        if count > self.left() {
            return Err(Problem::Short { wanted: count, left: self.left() });
        }
        let size = count.saturating_mul(size_of::<T>());
        self.budget = self.budget.checked_sub(size).ok_or(Problem::TooMuch)?;
        let mut items = Vec::with_capacity(count);
        for _ in 0..count {
            items.push(T::read(self)?);
        }
        Ok(items)
    }

    /// A text up to its zero.
    pub(crate) fn text(&mut self) -> Result<Text, Problem> {
        let left = self.octets.get(self.at..self.end).unwrap_or_default();
        let len = left.iter().position(|octet| *octet == 0).ok_or(Problem::NoEnd)?;
        let text = Text(self.take(len)?.to_vec());
        self.take(1)?;
        Ok(text)
    }

    /// An address in full, or one of this record by its number.
    pub(crate) fn address(&mut self) -> Result<Address, Problem> {
        let [len] = self.array()?;
        if len == 0 {
            let id = u32::from_be_bytes(self.array()?);
            let known = usize::try_from(id).ok().and_then(|id| self.scratch.addresses.get(id));
            return known.cloned().ok_or(Problem::Address(id));
        }
        let address = self.address_of(len)?;
        self.scratch.addresses.push(address.clone());
        Ok(address)
    }

    /// An address in full, of which the length has been read.
    pub(crate) fn address_of(&mut self, len: u8) -> Result<Address, Problem> {
        let [kind] = self.array()?;
        Ok(Address::new(kind, self.take(usize::from(len))?))
    }

    /// An address of the file's table, by its number. Zero is none.
    pub(crate) fn global(&mut self) -> Result<Option<Address>, Problem> {
        let id = u32::from_be_bytes(self.array()?);
        let Some(at) = id.checked_sub(1) else { return Ok(None) };
        let known = usize::try_from(at).ok().and_then(|at| self.globals.get(at));
        known.cloned().map(Some).ok_or(Problem::GlobalAddress(id))
    }

    /// The name of an interface, with a number or by it. Number zero can't be referred to.
    pub(crate) fn interface(&mut self) -> Result<Text, Problem> {
        let [id] = self.array()?;
        let Some(at) = id.checked_sub(1) else { return self.text() };
        let at = usize::from(at);
        if let Some(known) = self.scratch.interfaces.get(at) {
            return Ok(known.clone());
        }
        if at != self.scratch.interfaces.len() {
            return Err(Problem::Interface(id));
        }
        let name = self.text()?;
        self.scratch.interfaces.push(name.clone());
        Ok(name)
    }
}
