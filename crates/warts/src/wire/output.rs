//! A record as it is written.

use std::collections::HashMap;

use super::Wire;
use crate::error::WriteError;
use crate::values::{Address, Text};

/// A record's octets, and what was given earlier in it. Kept from record to record for its memory.
#[derive(Debug, Default)]
pub(crate) struct Output {
    octets: Vec<u8>,
    addresses: HashMap<Address, u32>,
    interfaces: Vec<Text>,
}

impl Output {
    /// Begins a record.
    pub(crate) fn clear(&mut self) {
        self.octets.clear();
        self.addresses.clear();
        self.interfaces.clear();
    }

    pub(crate) fn octets(&self) -> &[u8] {
        &self.octets
    }

    pub(crate) fn len(&self) -> usize {
        self.octets.len()
    }

    pub(crate) fn put(&mut self, octets: &[u8]) {
        self.octets.extend_from_slice(octets);
    }

    /// Writes octets over those at a place that has been written.
    pub(crate) fn patch(&mut self, at: usize, octets: &[u8]) {
        if let Some(place) = self.octets.get_mut(at..at + octets.len()) {
            place.copy_from_slice(octets);
        }
    }

    pub(crate) fn items<T: Wire>(&mut self, items: &[T]) -> Result<(), WriteError> {
        items.iter().try_for_each(|item| item.write(self))
    }

    pub(crate) fn text(&mut self, text: &Text) -> Result<(), WriteError> {
        if text.0.contains(&0) {
            return Err(WriteError::ZeroInText);
        }
        self.put(&text.0);
        self.put(&[0]);
        Ok(())
    }

    /// An address: in full the first time, by its number after.
    pub(crate) fn address(&mut self, address: &Address) -> Result<(), WriteError> {
        if let Some(id) = self.addresses.get(address) {
            let id = id.to_be_bytes();
            self.put(&[0]);
            self.put(&id);
            return Ok(());
        }
        let next = count::<u32>("addresses", self.addresses.len())?;
        self.addresses.insert(address.clone(), next);
        self.address_in_full(address)
    }

    pub(crate) fn address_in_full(&mut self, address: &Address) -> Result<(), WriteError> {
        let octets = address.octets();
        // A length of zero would be read as a reference.
        let len = Some(octets.len())
            .filter(|len| *len > 0)
            .ok_or(WriteError::TooLong { what: "address", len: 0 })?;
        self.put(&[count::<u8>("address", len)?, address.kind()]);
        self.put(&octets);
        Ok(())
    }

    pub(crate) fn interface(&mut self, name: &Text) -> Result<(), WriteError> {
        let known = self.interfaces.iter().position(|known| known == name);
        let id = u8::try_from(known.unwrap_or(self.interfaces.len()) + 1).unwrap_or(0);
        self.put(&[id]);
        if known.is_some() && id != 0 {
            return Ok(());
        }
        if id != 0 {
            self.interfaces.push(name.clone());
        }
        self.text(name)
    }
}

/// A length, if the format has room for it.
pub(crate) fn count<T: TryFrom<usize>>(what: &'static str, len: usize) -> Result<T, WriteError> {
    T::try_from(len).map_err(|_| WriteError::TooLong { what, len })
}
