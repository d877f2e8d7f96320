//! The values, both ways.

use super::{Counted, Input, Output, Wire, count};
use crate::error::{Problem, WriteError};
use crate::values::{
    Address, CycleId, Data, Data8, Extension, Extensions, IcmpType, InFull, Interface, List8, List16, List32,
    ListId, Micros, Text, Time, TimestampReply, Timestamps,
};

macro_rules! numbers {
    ($($number:ty),*) => { $(
        impl Wire for $number {
            fn read(input: &mut Input<'_>) -> Result<Self, Problem> {
                input.array().map(<$number>::from_be_bytes)
            }
            fn write(&self, output: &mut Output) -> Result<(), WriteError> {
                output.put(&self.to_be_bytes());
                Ok(())
            }
        }
    )* };
}

numbers!(u8, u16, u32, i32);

/// Structs that are their fields, one after the other.
macro_rules! rows {
    ($($name:ident { $($field:tt),* }),* $(,)?) => { $(
        impl Wire for $name {
            fn read(input: &mut Input<'_>) -> Result<Self, Problem> {
                Ok(Self { $($field: Wire::read(input)?),* })
            }
            fn write(&self, output: &mut Output) -> Result<(), WriteError> {
                $(self.$field.write(output)?;)*
                Ok(())
            }
        }
    )* };
}

rows! {
    ListId { 0 },
    CycleId { 0 },
    Micros { 0 },
    Time { sec, usec },
    IcmpType { kind, code },
    TimestampReply { originate, receive, transmit },
}

impl Wire for Address {
    fn read(input: &mut Input<'_>) -> Result<Self, Problem> {
        input.address()
    }
    fn write(&self, output: &mut Output) -> Result<(), WriteError> {
        output.address(self)
    }
}

impl Wire for InFull {
    fn read(input: &mut Input<'_>) -> Result<Self, Problem> {
        let [len] = input.array()?;
        if len == 0 {
            return Err(Problem::Short { wanted: 1, left: 0 });
        }
        input.address_of(len).map(Self)
    }
    fn write(&self, output: &mut Output) -> Result<(), WriteError> {
        output.address_in_full(&self.0)
    }
}

impl Wire for Text {
    fn read(input: &mut Input<'_>) -> Result<Self, Problem> {
        input.text()
    }
    fn write(&self, output: &mut Output) -> Result<(), WriteError> {
        output.text(self)
    }
}

impl Wire for Interface {
    fn read(input: &mut Input<'_>) -> Result<Self, Problem> {
        input.interface().map(Self)
    }
    fn write(&self, output: &mut Output) -> Result<(), WriteError> {
        output.interface(&self.0)
    }
}

impl Counted for Data {
    fn read(count: usize, input: &mut Input<'_>) -> Result<Self, Problem> {
        input.take(count).map(|octets| Self(octets.to_vec()))
    }
    fn write(&self, output: &mut Output) -> Result<(), WriteError> {
        output.put(&self.0);
        Ok(())
    }
    fn len(&self) -> usize {
        self.0.len()
    }
}

impl<T: Wire> Counted for Vec<T> {
    fn read(count: usize, input: &mut Input<'_>) -> Result<Self, Problem> {
        input.items(count)
    }
    fn write(&self, output: &mut Output) -> Result<(), WriteError> {
        output.items(self)
    }
    fn len(&self) -> usize {
        Vec::len(self)
    }
}

impl Wire for Data8 {
    fn read(input: &mut Input<'_>) -> Result<Self, Problem> {
        let len = u8::read(input)?;
        input.take(usize::from(len)).map(|octets| Self(octets.to_vec()))
    }
    fn write(&self, output: &mut Output) -> Result<(), WriteError> {
        output.put(&[count::<u8>("octets", self.0.len())?]);
        output.put(&self.0);
        Ok(())
    }
}

macro_rules! lists {
    ($($list:ident of $count:ty),*) => { $(
        impl<T: Wire> Wire for $list<T> {
            fn read(input: &mut Input<'_>) -> Result<Self, Problem> {
                let len = <$count>::read(input)?;
                input.items(usize::try_from(len).unwrap_or(usize::MAX)).map(Self)
            }
            fn write(&self, output: &mut Output) -> Result<(), WriteError> {
                count::<$count>("list", self.0.len())?.write(output)?;
                output.items(&self.0)
            }
        }
    )* };
}

lists!(List8 of u8, List16 of u16, List32 of u32);

impl Wire for Extension {
    fn read(input: &mut Input<'_>) -> Result<Self, Problem> {
        let len = u16::read(input)?;
        let [class, kind] = input.array()?;
        Ok(Self { class, kind, data: Counted::read(usize::from(len), input)? })
    }
    fn write(&self, output: &mut Output) -> Result<(), WriteError> {
        count::<u16>("extension", self.data.0.len())?.write(output)?;
        output.put(&[self.class, self.kind]);
        output.put(&self.data.0);
        Ok(())
    }
}

/// A length in octets, then the objects.
impl Wire for Extensions {
    fn read(input: &mut Input<'_>) -> Result<Self, Problem> {
        let len = u16::read(input)?;
        input.within(usize::from(len), |input| {
            let mut objects = Vec::new();
            while input.left() > 0 {
                objects.push(Extension::read(input)?);
            }
            Ok(Self(objects))
        })
    }
    fn write(&self, output: &mut Output) -> Result<(), WriteError> {
        let at = output.len();
        output.put(&[0; 2]);
        output.items(&self.0)?;
        let len = count::<u16>("extensions", output.len() - at - 2)?;
        output.patch(at, &len.to_be_bytes());
        Ok(())
    }
}

/// How many stamps, how many addresses; the stamps, the addresses.
impl Wire for Timestamps {
    fn read(input: &mut Input<'_>) -> Result<Self, Problem> {
        let [stamps, addresses] = input.array()?;
        Ok(Self { stamps: input.items(stamps.into())?, addresses: input.items(addresses.into())? })
    }
    fn write(&self, output: &mut Output) -> Result<(), WriteError> {
        let stamps = count::<u8>("timestamps", self.stamps.len())?;
        output.put(&[stamps, count::<u8>("timestamps", self.addresses.len())?]);
        output.items(&self.stamps)?;
        output.items(&self.addresses)
    }
}
