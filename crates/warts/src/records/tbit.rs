//! Tbit, how a TCP server behaves: record type 11. A table, the packets, and parts: each a type (16 bits), a length (32 bits)
//! and a table. A type of zero ends them.

use super::body;
use crate::error::{Problem, WriteError};
use crate::values::{Address, CycleId, Data, Data8, ListId, Text, Time};
use crate::wire::table::{NEVER, table};
use crate::wire::{Input, Output, Wire, count};

table! {
    /// A test of a TCP server.
    pub struct Tbit {
        /// The list that it belongs to.
        1 => list: ListId,
        /// The cycle that it belongs to.
        2 => cycle: CycleId,
        /// A number that its user gave it.
        3 => userid: u32,
        /// Where packets came from.
        4 => src: Address,
        /// Where they went.
        5 => dst: Address,
        /// The source port.
        6 => sport: u16,
        /// The destination port.
        7 => dport: u16,
        /// When it began.
        8 => start: Time,
        /// What was found: [`crate::names::tbit_result`].
        9 => result: u16,
        /// What was tested: [`crate::names::tbit_type`]. It says what part 1 holds.
        10 => test: u8,
        /// The application: 1 HTTP, 5 BGP. It says what part 2 holds.
        11 => app_proto: u8,
        /// The client's MSS.
        12 => client_mss: u16,
        /// The server's MSS.
        13 => server_mss: u16,
        /// How often a SYN was sent again.
        14 => syn_retx: u8,
        /// How often data was sent again.
        15 => dat_retx: u8,
        /// The cookie of TCP Fast Open.
        18 => fo_cookie: Data8,
        /// The client's window scale.
        19 => wscale: u8,
        /// Options: 1 TCP timestamps, 2 SACK.
        20 => options: u32,
        /// The TTL of packets; absent means 255.
        21 => ttl: u8,
        /// Why it failed.
        22 => errmsg: Text,
    }
    counts { 17 => pkts: u32, absent NEVER }
    old_counts { 16 => pkts: u16 }
    then {
        /// The packets.
        pub pkts: Vec<Packet>,
        /// The parts.
        pub parts: Vec<Part>,
        /// What stands after that.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        pub trailing: Vec<u8>,
    }
}

body!(Tbit, |tbit, input| tbit.read_parts(input), |tbit, output| tbit.write_parts(output));

table! {
    /// A packet.
    pub struct Packet {
        /// Its direction: 1 sent, 2 received.
        1 => dir: u8,
        /// When it was sent or came.
        2 => time: Time,
        /// The packet, from its IP header.
        3 | 4 => data: Data,
    }
}

/// A part.
#[derive(Debug, Clone, PartialEq, Eq, Hash, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Part {
    /// Part 1 of path MTU discovery (test 1).
    Pmtud(Pmtud),
    /// Part 1 of the null test (test 3).
    Null(Null),
    /// Part 1 of the initial window (test 5).
    Icw(Icw),
    /// Part 1 of the blind tests (7 to 10).
    Blind(Blind),
    /// Part 2 of HTTP.
    Http(Http),
    /// Part 2 of BGP.
    Bgp(Bgp),
    /// Something else.
    Other {
        /// Its type: not zero.
        kind: u16,
        /// What it holds.
        data: Data,
    },
}

table! {
    /// Path MTU discovery.
    pub struct Pmtud {
        /// The MTU that packets too big said.
        1 => mtu: u16,
        /// How many of them were sent.
        2 => ptb_retx: u8,
        /// Options: 1 a black hole.
        3 => options: u8,
        /// Where they seemed to come from.
        4 => ptbsrc: Address,
    }
    then {
        /// What stands after that.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        pub rest: Vec<u8>,
    }
}

table! {
    /// The null test.
    pub struct Null {
        /// Which options were offered.
        1 => options: u16,
        /// Which were taken.
        2 => results: u16,
    }
    then {
        /// What stands after that.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        pub rest: Vec<u8>,
    }
}

table! {
    /// The initial window.
    pub struct Icw {
        /// The sequence number of the first octet.
        1 => start_seq: u32,
    }
    then {
        /// What stands after that.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        pub rest: Vec<u8>,
    }
}

table! {
    /// Blind attacks.
    pub struct Blind {
        /// How far from the expected number.
        1 => off: i32,
        /// How often the packet was sent.
        2 => retx: u8,
    }
    then {
        /// What stands after that.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        pub rest: Vec<u8>,
    }
}

table! {
    /// HTTP.
    pub struct Http {
        /// The host.
        1 => host: Text,
        /// The path.
        2 => file: Text,
        /// The scheme: 0 http, 1 https.
        3 => scheme: u8,
    }
    then {
        /// What stands after that.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        pub rest: Vec<u8>,
    }
}

table! {
    /// BGP.
    pub struct Bgp {
        /// The client's AS.
        1 => asn: u32,
    }
    then {
        /// What stands after that.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        pub rest: Vec<u8>,
    }
}

impl Tbit {
    fn read_parts(&mut self, input: &mut Input<'_>) -> Result<(), Problem> {
        loop {
            let kind = u16::read(input)?;
            if kind == 0 {
                return Ok(());
            }
            let len = usize::try_from(u32::read(input)?).unwrap_or(usize::MAX);
            self.parts.push(input.within(len, |input| self.part(kind, input))?);
        }
    }

    fn part(&self, kind: u16, input: &mut Input<'_>) -> Result<Part, Problem> {
        macro_rules! known {
            ($part:ident) => {{
                let mut table = $part::read(input)?;
                table.rest = input.rest().to_vec();
                Part::$part(table)
            }};
        }
        Ok(match (kind, self.test, self.app_proto) {
            (1, Some(1), _) => known!(Pmtud),
            (1, Some(3), _) => known!(Null),
            (1, Some(5), _) => known!(Icw),
            (1, Some(7..=10), _) => known!(Blind),
            (2, _, Some(1)) => known!(Http),
            (2, _, Some(5)) => known!(Bgp),
            _ => Part::Other { kind, data: Data(input.rest().to_vec()) },
        })
    }

    fn write_parts(&self, output: &mut Output) -> Result<(), WriteError> {
        for part in &self.parts {
            let kind = match part {
                Part::Pmtud(_) | Part::Null(_) | Part::Icw(_) | Part::Blind(_) => 1,
                Part::Http(_) | Part::Bgp(_) => 2,
                Part::Other { kind, .. } => *kind,
            };
            kind.write(output)?;
            let at = output.len();
            output.put(&[0; 4]);
            macro_rules! known {
                ($table:ident) => {{
                    $table.write(output)?;
                    output.put(&$table.rest);
                }};
            }
            match part {
                Part::Pmtud(table) => known!(table),
                Part::Null(table) => known!(table),
                Part::Icw(table) => known!(table),
                Part::Blind(table) => known!(table),
                Part::Http(table) => known!(table),
                Part::Bgp(table) => known!(table),
                Part::Other { data, .. } => output.put(&data.0),
            }
            let len = count::<u32>("a part", output.len() - at - 4)?;
            output.patch(at, &len.to_be_bytes());
        }
        0u16.write(output)
    }
}
