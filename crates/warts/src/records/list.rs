//! Lists, cycles and the file's address table: what measurements refer to.

use crate::error::{Problem, WriteError};
use crate::values::{Address, CycleId, ListId, Text};
use crate::wire::table::table;
use crate::wire::{Input, Output, Wire};

/// A list of targets, to which measurements belong.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, serde::Serialize)]
pub struct List {
    /// Its number in the file, by which records refer to it: from 1.
    pub id: ListId,
    /// The number that its user gave it.
    pub user_id: u32,
    /// Its name.
    pub name: Text,
    /// What else is known of it.
    #[serde(flatten)]
    pub about: AboutList,
    /// What stands after that.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub trailing: Vec<u8>,
}

table! {
    /// What a list may say of itself.
    pub struct AboutList {
        /// What it is.
        1 => descr: Text,
        /// The vantage point that measured.
        2 => monitor: Text,
    }
}

/// The beginning of a pass over a list, or the definition of one that began in another file.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, serde::Serialize)]
pub struct Cycle {
    /// Its number in the file, by which records refer to it: from 1.
    pub id: CycleId,
    /// The list, by its number in the file.
    pub list: ListId,
    /// The number that its user gave it.
    pub user_id: u32,
    /// When it began, in seconds since 1970.
    pub start: u32,
    /// What else is known of it.
    #[serde(flatten)]
    pub about: AboutCycle,
    /// What stands after that.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub trailing: Vec<u8>,
}

table! {
    /// What a cycle may say of itself.
    pub struct AboutCycle {
        /// When it ended, in seconds since 1970.
        1 => stop: u32,
        /// The host that measured.
        2 => hostname: Text,
    }
}

/// The end of a cycle.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, serde::Serialize)]
pub struct CycleStop {
    /// The cycle.
    pub id: CycleId,
    /// When it ended, in seconds since 1970.
    pub stop: u32,
    /// What else is known: nothing so far.
    #[serde(flatten)]
    pub about: AboutStop,
    /// What stands after that.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub trailing: Vec<u8>,
}

table! {
    /// What the end of a cycle may say: nothing so far.
    pub struct AboutStop {}
}

/// An address of the file's table, as old files have it. Records that refer to it have it in full once read.
#[derive(Debug, Clone, PartialEq, Eq, Hash, serde::Serialize)]
pub struct GlobalAddress {
    /// Its number in the file, from 1, modulo 255.
    pub id: u8,
    /// The address.
    pub address: Address,
}

macro_rules! rows {
    ($($name:ident { $($field:ident),* }),*) => { $(
        impl Wire for $name {
            fn read(input: &mut Input<'_>) -> Result<Self, Problem> {
                Ok(Self { $($field: Wire::read(input)?,)* trailing: input.rest().to_vec() })
            }
            fn write(&self, output: &mut Output) -> Result<(), WriteError> {
                $(self.$field.write(output)?;)*
                output.put(&self.trailing);
                Ok(())
            }
        }

        #[cfg(test)]
        impl crate::sample::Sample for $name {
            fn sample(source: &mut crate::sample::Source) -> Self {
                Self { $($field: crate::sample::Sample::sample(source),)* trailing: Vec::new() }
            }
        }
    )* };
}

rows! {
    List { id, user_id, name, about },
    Cycle { id, list, user_id, start, about },
    CycleStop { id, stop, about }
}

/// A number, a type, and the octets up to the record's end.
impl Wire for GlobalAddress {
    fn read(input: &mut Input<'_>) -> Result<Self, Problem> {
        let [id, kind] = input.array()?;
        let octets = input.rest();
        if octets.is_empty() {
            return Err(Problem::Short { wanted: 1, left: 0 });
        }
        Ok(Self { id, address: Address::new(kind, octets) })
    }
    fn write(&self, output: &mut Output) -> Result<(), WriteError> {
        output.put(&[self.id, self.address.kind()]);
        output.put(&self.address.octets());
        Ok(())
    }
}
