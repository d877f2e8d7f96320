//! HTTP: record type 15. A table, what was sent and received, and parts, each with a type (8 bits) and a length (32 bits).

use super::body;
use crate::error::{Problem, WriteError};
use crate::values::{CycleId, Data, InFull, List8, ListId, Micros, Text, Time};
use crate::wire::table::table;
use crate::wire::{Input, Output, Wire, count};

table! {
    /// A request by HTTP and its response.
    pub struct Http {
        /// The list that it belongs to.
        1 => list: ListId,
        /// The cycle that it belongs to.
        2 => cycle: CycleId,
        /// A number that its user gave it.
        3 => userid: u32,
        /// Where it came from.
        4 => src: InFull,
        /// Where it went.
        5 => dst: InFull,
        /// The source port.
        6 => sport: u16,
        /// The destination port; absent means that of the scheme.
        7 => dport: u16,
        /// When it began.
        8 => start: Time,
        /// Why it ended: [`crate::names::http_stop`].
        9 => stop: u8,
        /// The scheme: 0 https, 1 http.
        10 => scheme: u8,
        /// The host of the URL.
        11 => host: Text,
        /// The path of the URL, and what follows it.
        12 => file: Text,
        /// Header lines that its user gave it.
        13 => headers: List8<Text>,
        /// How long the TCP handshake took.
        15 => hsrtt: Micros,
        /// [`crate::names::HTTP_FLAGS`].
        16 => flags: u32,
        /// How long it might take.
        17 => maxtime: Time,
        /// Why it failed.
        18 => errmsg: Text,
        /// What became of the encrypted client hello.
        19 => ech_status: u8,
        /// The outer name of the server, with an encrypted client hello.
        20 => ech_outer_sni: Text,
    }
    counts { 14 => bufs: u32, absent 0 }
    then {
        /// What was sent and received, in order.
        pub bufs: Vec<Buffer>,
        /// The parts: 1 the ECH configurations, 2 those to try again with.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        pub parts: Vec<Part>,
        /// What stands after that.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        pub trailing: Vec<u8>,
    }
}

body!(Http, |http, input| http.read_parts(input), |http, output| output.items(&http.parts));

impl Http {
    fn read_parts(&mut self, input: &mut Input<'_>) -> Result<(), Problem> {
        // Fewer octets are no part.
        while input.left() >= 5 {
            self.parts.push(Part::read(input)?);
        }
        Ok(())
    }
}

table! {
    /// Octets sent or received.
    pub struct Buffer {
        /// What they are: the highest bit is the direction (0 received, 1 sent), the others the layer
        /// ([`crate::names::http_buffer`]).
        1 => content: u8,
        /// When.
        2 => time: Time,
        /// The octets.
        3 | 4 => data: Data,
    }
}

/// A part.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, serde::Serialize)]
pub struct Part {
    /// Its type.
    pub kind: u8,
    /// What it holds.
    pub data: Data,
}

impl Wire for Part {
    fn read(input: &mut Input<'_>) -> Result<Self, Problem> {
        let kind = u8::read(input)?;
        let len = u32::read(input)?;
        let octets = input.take(usize::try_from(len).unwrap_or(usize::MAX))?;
        Ok(Self { kind, data: Data(octets.to_vec()) })
    }
    fn write(&self, output: &mut Output) -> Result<(), WriteError> {
        self.kind.write(output)?;
        count::<u32>("a part", self.data.0.len())?.write(output)?;
        output.put(&self.data.0);
        Ok(())
    }
}
