//! Tracelb, a trace of all paths to a target: record type 8. A table, the nodes and the links.

use super::body;
use crate::values::{Address, CycleId, Extensions, IcmpType, InFull, ListId, Text, Time};
use crate::wire::table::{NEVER, table};

table! {
    /// A trace of all paths to a target.
    pub struct Tracelb {
        /// The list that it belongs to.
        1 => list: ListId,
        /// The cycle that it belongs to.
        2 => cycle: CycleId,
        /// When it began.
        5 => start: Time,
        /// The source port, or the ICMP identifier.
        6 => sport: u16,
        /// The destination port, or the ICMP checksum.
        7 => dport: u16,
        /// The size of a probe in octets, with its IP header.
        8 => probe_size: u16,
        /// How it probed: [`crate::names::tracelb_type`].
        9 => probe_type: u8,
        /// The first TTL.
        10 => firsthop: u8,
        /// How long a reply was waited for, in seconds.
        11 => wait_timeout: u8,
        /// Between probes, in hundredths of a second.
        12 => wait_probe: u8,
        /// How often a probe was sent before it was given up.
        13 => attempts: u8,
        /// The confidence in percent that all next hops are seen: 95 or 99.
        14 => confidence: u8,
        /// The traffic class of probes.
        15 => tos: u8,
        /// How many probes were sent.
        18 => probec: u32,
        /// How many might have been.
        19 => probec_max: u32,
        /// How many silent hops in a row end a path.
        20 => gaplimit: u8,
        /// Where probes came from.
        21 => src: Address,
        /// Where they went.
        22 => dst: Address,
        /// A number that its user gave it.
        23 => userid: u32,
        /// [`crate::names::TRACELB_FLAGS`].
        24 => flags: u8,
        /// The router that probes were sent by.
        25 => rtr: InFull,
        /// Why it failed.
        26 => errmsg: Text,
    }
    old { 3 => src, 4 => dst }
    counts {
        16 => nodes: u16, absent NEVER;
        17 => links: u16, absent NEVER
    }
    then {
        /// What replied.
        pub nodes: Vec<Node>,
        /// What follows what.
        pub links: Vec<Link>,
        /// What stands after that.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        pub trailing: Vec<u8>,
    }
}

body!(Tracelb);

table! {
    /// A node: something that replied.
    pub struct Node {
        /// [`crate::names::TRACELB_NODE_FLAGS`].
        2 => flags: u8,
        /// How many links begin here.
        3 => linkc: u16,
        /// The TTL in the quoted IP header.
        4 => q_ttl: u8,
        /// Its address; absent, when it was silent.
        5 => addr: Address,
        /// Its name.
        6 => name: Text,
    }
    old { 1 => addr }
}

table! {
    /// A link from a node to the next that replied, over as many hops as there are sets of probes.
    pub struct Link {
        /// Where it begins: a place among the nodes.
        1 => from: u16,
        /// Where it ends; absent, when nothing more replied.
        2 => to: u16,
    }
    counts { 3 => sets: u8, absent NEVER }
    then {
        /// The probes, by hop.
        pub sets: Vec<ProbeSet>,
    }
}

table! {
    /// The probes of a hop.
    pub struct ProbeSet {}
    counts { 1 => probes: u16, absent NEVER }
    then {
        /// The probes.
        pub probes: Vec<Probe>,
    }
}

table! {
    /// A probe.
    pub struct Probe {
        /// When it was sent.
        1 => tx: Time,
        /// The flow that it belongs to.
        2 => flowid: u16,
        /// Its TTL.
        3 => ttl: u8,
        /// Which attempt it was, from 0.
        4 => attempt: u8,
    }
    counts { 5 => replies: u16, absent NEVER }
    then {
        /// The replies.
        pub replies: Vec<Reply>,
    }
}

table! {
    /// A reply to a probe.
    pub struct Reply {
        /// When it came.
        1 => rx: Time,
        /// Its IPv4 identification.
        2 => ipid: u16,
        /// Its TTL, or hop limit.
        3 => ttl: u8,
        /// [`crate::names::TRACELB_REPLY_FLAGS`].
        4 => flags: u8,
        /// Its ICMP type and code.
        5 => icmp: IcmpType,
        /// Its TCP flags.
        6 => tcp_flags: u8,
        /// Its ICMP extension objects.
        7 => icmp_ext: Extensions,
        /// The TTL in the quoted IP header.
        8 => icmp_q_ttl: u8,
        /// The traffic class in the quoted IP header.
        9 => icmp_q_tos: u8,
        /// Where it came from.
        11 => from: Address,
    }
    old { 10 => from }
}
