//! Trace: record type 6. A table, how many replies there are (16 bits), a table for each, and parts.
//!
//! A part has a header of 16 bits: four for its type, twelve for its length. A header of zero ends them.

use super::body;
use crate::error::{Problem, WriteError};
use crate::values::{Address, CycleId, Data, Extensions, IcmpType, InFull, ListId, Micros, Text, Time};
use crate::wire::table::table;
use crate::wire::{Input, Output, Wire, count};

table! {
    /// A trace.
    pub struct Trace {
        /// The list that it belongs to.
        1 => list: ListId,
        /// The cycle that it belongs to.
        2 => cycle: CycleId,
        /// When it began.
        5 => start: Time,
        /// Why it ended: [`crate::names::trace_stop`].
        6 => stop_reason: u8,
        /// More about that: the ICMP type, when that was why.
        7 => stop_data: u8,
        /// The lower eight bits of `flags`.
        8 => flags8: u8,
        /// How often a hop was probed before it was given up.
        9 => attempts: u8,
        /// The highest TTL to be probed; zero is 255.
        10 => hoplimit: u8,
        /// How it probed: [`crate::names::trace_type`].
        11 => probe_type: u8,
        /// The size of a probe in octets, with its IP header.
        12 => probe_size: u16,
        /// The source port, or the ICMP identifier.
        13 => sport: u16,
        /// The destination port, or the ICMP checksum.
        14 => dport: u16,
        /// The first TTL.
        15 => firsthop: u8,
        /// The traffic class of probes.
        16 => tos: u8,
        /// How long a reply was waited for, in seconds.
        17 => wait: u8,
        /// How many loops end it.
        18 => loops: u8,
        /// The length of the path: the last hop that was probed or replied.
        19 => hop_count: u16,
        /// How many silent hops in a row end it.
        20 => gaplimit: u8,
        /// What was done then: 1 stop, 2 last-ditch probes.
        21 => gapaction: u8,
        /// What was done at a loop.
        22 => loopaction: u8,
        /// How many probes were sent.
        23 => probec: u16,
        /// Between probes, in hundredths of a second.
        24 => wait_probe: u8,
        /// The confidence in percent that all replies of a hop are seen.
        25 => confidence: u8,
        /// Where probes came from.
        26 => src: Address,
        /// Where they went.
        27 => dst: Address,
        /// A number that its user gave it.
        28 => userid: u32,
        /// The fragment offset of probes.
        29 => offset: u16,
        /// The router that probes were sent by.
        30 => rtr: InFull,
        /// How many hops were probed at a time.
        31 => squeries: u8,
        /// [`crate::names::trace_flag`].
        32 => flags: u32,
        /// The hop that ended it, when others beyond were probed.
        33 => stop_hop: u8,
        /// Why it failed.
        34 => errmsg: Text,
    }
    old { 3 => src, 4 => dst }
    behind { hops }
    then {
        /// The replies, by hop.
        pub hops: Vec<Hop>,
        /// The discovery of the path's MTU.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub pmtud: Option<Pmtud>,
        /// The last-ditch probes.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub lastditch: Option<LastDitch>,
        /// Doubletree.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub dtree: Option<Doubletree>,
        /// Parts that are not known here.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        pub parts: Vec<Part>,
        /// What stands after that.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        pub trailing: Vec<u8>,
    }
}

table! {
    /// A reply to a probe of a trace.
    pub struct Hop {
        /// The TTL of the probe.
        2 => probe_ttl: u8,
        /// Its own TTL, or hop limit.
        3 => reply_ttl: u8,
        /// [`crate::names::TRACE_REPLY_FLAGS`].
        4 => flags: u8,
        /// Which probe of this TTL it answers, from 0.
        5 => probe_id: u8,
        /// How long after the probe it came.
        6 => rtt: Micros,
        /// Its ICMP type and code.
        7 => icmp: IcmpType,
        /// The size of the probe in octets.
        8 => probe_size: u16,
        /// Its own size in octets.
        9 => reply_size: u16,
        /// Its IPv4 identification.
        10 => reply_ipid: u16,
        /// Its traffic class.
        11 => reply_iptos: u8,
        /// The MTU that it says, when it is a packet too big.
        12 => nhmtu: u16,
        /// The length in the quoted IP header; when absent, the size of the probe.
        13 => q_iplen: u16,
        /// The TTL in the quoted IP header; when absent, 1.
        14 => q_ipttl: u8,
        /// Its TCP flags.
        15 => tcp_flags: u8,
        /// The traffic class in the quoted IP header.
        16 => q_iptos: u8,
        /// Its ICMP extension objects.
        17 => icmpext: Extensions,
        /// Where it came from.
        18 => addr: Address,
        /// When the probe was sent.
        19 => tx: Time,
        /// The name of where it came from.
        20 => name: Text,
    }
    old { 1 => addr }
}

table! {
    /// The discovery of the path's MTU.
    pub struct Pmtud {
        /// The MTU of the interface.
        1 => ifmtu: u16,
        /// The MTU of the path.
        2 => pmtu: u16,
        /// The MTU of the first hop, when it is not that of the interface.
        3 => outmtu: u16,
        /// The version of what follows: 1 when absent.
        4 => ver: u8,
    }
    behind { hops }
    counts { 5 => notes: u8, absent 0 }
    then {
        /// The replies.
        pub hops: Vec<Hop>,
        /// What was concluded from them.
        pub notes: Vec<PmtudNote>,
        /// What stands after that.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        pub rest: Vec<u8>,
    }
}

table! {
    /// What was concluded about the path's MTU.
    pub struct PmtudNote {
        /// What it is: [`crate::names::pmtud_note`].
        1 => note_type: u8,
        /// The MTU of the next hop.
        2 => nhmtu: u16,
        /// The reply that said so: its place among the replies.
        3 => reply: u16,
    }
}

table! {
    /// The last-ditch probes, sent with the highest TTL where the path fell silent.
    pub struct LastDitch {}
    behind { hops }
    then {
        /// The replies.
        pub hops: Vec<Hop>,
        /// What stands after that.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        pub rest: Vec<u8>,
    }
}

table! {
    /// Where a trace stopped that others had gone before.
    pub struct Doubletree {
        /// The TTL at which it began.
        3 => firsthop: u8,
        /// The address of the local stop set that ended it.
        4 => lss_stop: Address,
        /// The address of the global stop set that ended it.
        5 => gss_stop: Address,
        /// The name of the local stop set.
        6 => lss_name: Text,
        /// Flags.
        7 => flags: u8,
    }
    old { 1 => lss_stop, 2 => gss_stop }
    then {
        /// What stands after that.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        pub rest: Vec<u8>,
    }
}

/// A part of a trace that is not known here.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, serde::Serialize)]
pub struct Part {
    /// Its type: four bits.
    pub kind: u8,
    /// What it holds.
    pub data: Data,
}

const PMTUD: u8 = 1;
const LASTDITCH: u8 = 2;
const DTREE: u8 = 3;
const LENGTH: u16 = 0x0fff;

body!(Trace, |trace, input| trace.read_parts(input), |trace, output| trace.write_parts(output));

impl Trace {
    fn read_parts(&mut self, input: &mut Input<'_>) -> Result<(), Problem> {
        loop {
            let header = u16::read(input)?;
            if header == 0 {
                return Ok(());
            }
            let (kind, len) = ((header >> 12) as u8, header & LENGTH);
            let twice = |there: bool| if there { Err(Problem::Twice(kind.into())) } else { Ok(()) };
            match kind {
                PMTUD => {
                    twice(self.pmtud.is_some())?;
                    let (pmtud, rest) = part(input, len)?;
                    self.pmtud = Some(Pmtud { rest, ..pmtud });
                }
                LASTDITCH => {
                    twice(self.lastditch.is_some())?;
                    let (lastditch, rest) = part(input, len)?;
                    self.lastditch = Some(LastDitch { rest, ..lastditch });
                }
                DTREE => {
                    twice(self.dtree.is_some())?;
                    let (dtree, rest) = part(input, len)?;
                    self.dtree = Some(Doubletree { rest, ..dtree });
                }
                _ => self.parts.push(Part { kind, data: Data(input.take(len.into())?.to_vec()) }),
            }
        }
    }

    fn write_parts(&self, output: &mut Output) -> Result<(), WriteError> {
        if let Some(pmtud) = &self.pmtud {
            write_part(output, PMTUD, pmtud, &pmtud.rest)?;
        }
        if let Some(lastditch) = &self.lastditch {
            write_part(output, LASTDITCH, lastditch, &lastditch.rest)?;
        }
        if let Some(dtree) = &self.dtree {
            write_part(output, DTREE, dtree, &dtree.rest)?;
        }
        for part in &self.parts {
            let len = part.data.0.len();
            let len = u16::try_from(len)
                .ok()
                .filter(|len| *len <= LENGTH && part.kind < 16 && (part.kind, *len) != (0, 0));
            let len = len.ok_or(WriteError::TooLong { what: "a part", len: part.data.0.len() })?;
            (u16::from(part.kind) << 12 | len).write(output)?;
            output.put(&part.data.0);
        }
        0u16.write(output)
    }
}

/// Reads a part, and what of it is not known. Of a length that needs more than twelve bits, only those are written.
fn part<T: Wire>(input: &mut Input<'_>, len: u16) -> Result<(T, Vec<u8>), Problem> {
    let begin = input.at();
    let part = T::read(input)?;
    let (found, wanted) = (input.at() - begin, usize::from(len));
    if found & usize::from(LENGTH) == wanted {
        return Ok((part, Vec::new()));
    }
    let rest = wanted.checked_sub(found).ok_or(Problem::Length { wanted, found })?;
    Ok((part, input.take(rest)?.to_vec()))
}

fn write_part(output: &mut Output, kind: u8, part: &impl Wire, rest: &[u8]) -> Result<(), WriteError> {
    let at = output.len();
    output.put(&[0; 2]);
    part.write(output)?;
    output.put(rest);
    let len = (output.len() - at - 2) & usize::from(LENGTH);
    let header = u16::from(kind) << 12 | count::<u16>("a part", len)?;
    output.patch(at, &header.to_be_bytes());
    Ok(())
}
