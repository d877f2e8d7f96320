//! A layout, written down once: the struct, its reading and its writing.
//!
//! Most of a record is tables. A table begins with flags, seven to an octet, the lowest first; the eighth bit says that
//! another octet follows. A flag that is set announces the parameter of its number (from 1). If any is, a length of 16
//! bits follows, and then the parameters in the order of their numbers. Parameters that a reader doesn't know are passed
//! over by that length.
//!
//! ```text
//! table! {
//!     /// What the struct is.
//!     pub struct Name {
//!         /// A parameter: its number, name and type. Its field is an `Option`.
//!         1 => start: Time,
//!         /// A length, which has a number of its own, and what it is the length of.
//!         8 | 9 => payload: Data,
//!     }
//!     // Parameters that old files have in place of a field: addresses of the file's table. Never written.
//!     old { 3 => src }
//!     // Lists that follow the table, each behind its length of 16 bits.
//!     behind { hops }
//!     // How many items follow then, for each list of `then` in turn; absent when there are so many.
//!     counts { 6 => probes: u32 absent 0 }
//!     // How many items follow after something that is no list: the record reads and writes them itself, after
//!     // `Input::later` of them.
//!     later { 7 => others: u8, absent 0 }
//!     // A count as old files have it.
//!     old_counts { 5 => probes: u16 }
//!     // What follows the table.
//!     then { pub hops: Vec<Hop>, pub probes: Vec<Probe> }
//! }
//! ```

/// The number of items at which no count is absent.
pub(crate) const NEVER: usize = usize::MAX;

macro_rules! table {
    (
        $(#[$meta:meta])*
        pub struct $name:ident {
            $( $(#[$field_meta:meta])* $id:literal $(| $data:literal)? => $field:ident : $type:ty ),* $(,)?
        }
        $( old { $( $old_id:literal => $old:ident ),* $(,)? } )?
        $( behind { $( $behind:ident ),* $(,)? } )?
        $( counts { $( $count_id:literal => $count:ident : $count_type:ty, absent $absent:expr );* $(;)? } )?
        $( later { $( $later_id:literal => $later:ident : $later_type:ty, absent $later_absent:expr ),* $(,)? } )?
        $( old_counts { $( $old_count_id:literal => $old_count:ident : $old_count_type:ty ),* $(,)? } )?
        $( then { $( $(#[$then_meta:meta])* pub $then:ident : $then_type:ty ),* $(,)? } )?
    ) => {
        $(#[$meta])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash, Default, serde::Serialize)]
        pub struct $name {
            $(
                $(#[$field_meta])*
                #[serde(skip_serializing_if = "Option::is_none")]
                pub $field: Option<$type>,
            )*
            $($(
                $(#[$then_meta])*
                pub $then: $then_type,
            )*)?
            /// Parameters that are not known here.
            #[serde(skip_serializing_if = "crate::wire::Extra::is_empty")]
            pub extra: crate::wire::Extra,
        }

        impl crate::wire::Wire for $name {
            #[allow(unused_assignments, unused_mut, unused_variables, reason = "not every table has lists")]
            fn read(input: &mut crate::wire::Input<'_>) -> Result<Self, crate::error::Problem> {
                let mut table = Self::default();
                $($( let mut $count: usize = if $absent == crate::wire::table::NEVER { 0 } else { $absent }; )*)?
                crate::wire::table::read(input, |id, pending, input| {
                    let mut known = true;
                    match id {
                        $( $id => table!(@read table $field $type, pending input $(| $data)?), )*
                        $($( $data => {
                            let count = pending.take().unwrap_or(0);
                            table.$field = Some(crate::wire::Counted::read(count, input)?);
                        } )?)*
                        $($( $old_id => table.$old = input.global()?.or(table.$old.take()), )*)?
                        $($( $count_id => $count = crate::wire::table::length(<$count_type as crate::wire::Wire>::read(input)?), )*)?
                        $($( $later_id => {
                            let count = <$later_type as crate::wire::Wire>::read(input)?;
                            input.later = crate::wire::table::length(count);
                        } )*)?
                        $($( $old_count_id => {
                            $old_count = crate::wire::table::length(<$old_count_type as crate::wire::Wire>::read(input)?);
                        } )*)?
                        _ => known = false,
                    }
                    Ok(known)
                }).map(|extra| table.extra = extra)?;
                $($(
                    let count = <u16 as crate::wire::Wire>::read(input)?;
                    table.$behind = input.items(count.into())?;
                )*)?
                $($( table.$count = input.items($count)?; )*)?
                Ok(table)
            }

            #[allow(unused_variables, reason = "not every table has parameters")]
            fn write(&self, output: &mut crate::wire::Output) -> Result<(), crate::error::WriteError> {
                const LAST: u32 = crate::wire::table::last(&[$($id, $($data,)?)* $($($count_id,)*)? $($($later_id,)*)?]);
                let set = |id: u32| match id {
                    $( $id => self.$field.is_some(), )*
                    $($( $data => {
                        self.$field.as_ref().is_some_and(|field| crate::wire::Counted::len(field) > 0)
                    } )?)*
                    $($( $count_id => self.$count.len() != $absent, )*)?
                    $($( $later_id => self.$later.len() != $later_absent, )*)?
                    _ => false,
                };
                crate::wire::table::write(output, LAST, set, &self.extra, |id, output| {
                    match id {
                        $( $id => if let Some(field) = &self.$field {
                            table!(@write field output $(| $data)?);
                        } )*
                        $($( $data => if let Some(field) = &self.$field {
                            crate::wire::Counted::write(field, output)?;
                        } )?)*
                        $($( $count_id => {
                            let count = crate::wire::count::<$count_type>(stringify!($count), self.$count.len())?;
                            crate::wire::Wire::write(&count, output)?;
                        } )*)?
                        $($( $later_id => {
                            let count = crate::wire::count::<$later_type>(stringify!($later), self.$later.len())?;
                            crate::wire::Wire::write(&count, output)?;
                        } )*)?
                        _ => {}
                    }
                    Ok(())
                })?;
                $($(
                    let count = crate::wire::count::<u16>(stringify!($behind), self.$behind.len())?;
                    crate::wire::Wire::write(&count, output)?;
                    output.items(&self.$behind)?;
                )*)?
                $($( output.items(&self.$count)?; )*)?
                Ok(())
            }
        }

        #[cfg(test)]
        impl crate::sample::Sample for $name {
            #[allow(clippy::needless_update, reason = "not every table has lists")]
            fn sample(source: &mut crate::sample::Source) -> Self {
                Self {
                    $( $field: crate::sample::Sample::sample(source), )*
                    $($( $behind: crate::sample::Sample::sample(source), )*)?
                    $($( $count: crate::sample::Sample::sample(source), )*)?
                    extra: crate::sample::Sample::sample(source),
                    ..Self::default()
                }
            }
        }
    };
    (@read $table:ident $field:ident $type:ty, $pending:ident $input:ident) => {
        $table.$field = Some(<$type as crate::wire::Wire>::read($input)?)
    };
    (@read $table:ident $field:ident $type:ty, $pending:ident $input:ident | $data:literal) => {{
        *$pending = Some(usize::from(<u16 as crate::wire::Wire>::read($input)?));
        $table.$field = Some(<$type>::default());
    }};
    (@write $field:ident $output:ident) => {
        crate::wire::Wire::write($field, $output)?
    };
    (@write $field:ident $output:ident | $data:literal) => {{
        let count = crate::wire::count::<u16>(stringify!($field), crate::wire::Counted::len($field))?;
        crate::wire::Wire::write(&count, $output)?;
    }};
}

pub(crate) use table;

use super::{Extra, Input, Output, Wire};
use crate::error::{Problem, WriteError};
use crate::values::Data;

/// Reads the flags and the parameters, each by `read`, which says whether it knows the number. It keeps the length of
/// what follows in the place that it is given.
pub(crate) fn read(
    input: &mut Input<'_>,
    mut read: impl FnMut(u32, &mut Option<usize>, &mut Input<'_>) -> Result<bool, Problem>,
) -> Result<Extra, Problem> {
    let [first] = input.array()?;
    if first == 0 {
        return Ok(Extra::default());
    }
    let mut flags = Flags::new(first);
    while flags.more() {
        flags.push(input.array::<1>()?);
    }
    let len = u16::read(input)?;
    input.within(usize::from(len), |input| {
        let mut extra = Extra::default();
        let mut pending = None;
        let mut ids = flags.ids();
        for id in ids.by_ref() {
            if !read(id, &mut pending, input)? {
                extra.ids.push(id);
                break;
            }
        }
        if let Some(len) = pending.filter(|len| *len > 0) {
            return Err(Problem::NoData(len));
        }
        extra.ids.extend(ids);
        if !(input.lengths_lie && extra.ids.is_empty()) {
            extra.octets = Data(input.rest().to_vec());
        }
        Ok(extra)
    })
}

/// Writes the flags and the parameters, each by `write`.
pub(crate) fn write(
    output: &mut Output,
    last: u32,
    set: impl Fn(u32) -> bool,
    extra: &Extra,
    mut write: impl FnMut(u32, &mut Output) -> Result<(), WriteError>,
) -> Result<(), WriteError> {
    let known = || (1..=last).filter(|id| set(*id));
    let mut flags = match known().next_back().max(extra.ids.iter().copied().max()) {
        Some(highest) => vec![0x80u8; usize::try_from(highest.div_ceil(7)).unwrap_or(0)],
        None if extra.octets.0.is_empty() => {
            output.put(&[0]);
            return Ok(());
        }
        // A single octet of no flags has no length after it, and so no octets.
        None => vec![0x80u8; 2],
    };
    for id in known().chain(extra.ids.iter().copied()) {
        let place = id.checked_sub(1).and_then(|at| flags.get_mut(usize::try_from(at / 7).ok()?));
        if let Some(octet) = place {
            *octet |= 1 << ((id - 1) % 7);
        }
    }
    if let Some(octet) = flags.last_mut() {
        *octet &= 0x7f;
    }
    output.put(&flags);
    let at = output.len();
    output.put(&[0; 2]);
    for id in known() {
        write(id, output)?;
    }
    output.put(&extra.octets.0);
    let len = output.len() - at - 2;
    let len = u16::try_from(len).map_err(|_| WriteError::TooLong { what: "a table", len })?;
    output.patch(at, &len.to_be_bytes());
    Ok(())
}

/// How a count of any width becomes a length.
pub(crate) fn length<T: TryInto<usize>>(count: T) -> usize {
    count.try_into().unwrap_or(usize::MAX)
}

/// The highest number of a table.
pub(crate) const fn last(ids: &[u32]) -> u32 {
    let (mut last, mut rest) = (0, ids);
    while let [id, after @ ..] = rest {
        if *id > last {
            last = *id;
        }
        rest = after;
    }
    last
}

/// The flags of a table: the first 56 without a place of their own in memory.
struct Flags {
    first: [u8; 8],
    len: usize,
    others: Vec<u8>,
}

impl Flags {
    fn new(first: u8) -> Self {
        Self { first: [first, 0, 0, 0, 0, 0, 0, 0], len: 1, others: Vec::new() }
    }

    fn more(&self) -> bool {
        let last = self.others.last().or_else(|| self.first.get(self.len - 1));
        last.is_some_and(|octet| octet & 0x80 != 0)
    }

    fn push(&mut self, [octet]: [u8; 1]) {
        if let Some(place) = self.first.get_mut(self.len) {
            *place = octet;
            self.len += 1;
        } else {
            self.others.push(octet);
        }
    }

    /// The numbers of those that are set, in order.
    fn ids(&self) -> impl Iterator<Item = u32> + '_ {
        let octets = self.first.iter().take(self.len).chain(&self.others);
        octets.zip(0u32..).flat_map(|(octet, at)| {
            (0..7u32).filter(move |bit| octet >> bit & 1 == 1).map(move |bit| at * 7 + bit + 1)
        })
    }
}
