//! Ping: record type 7. A table, how many replies there are (16 bits), and a table for each.

use super::body;
use crate::values::{
    Address, CycleId, Data, IcmpType, InFull, Interface, List8, ListId, Micros, Text, Time, TimestampReply,
    Timestamps,
};
use crate::wire::table::table;

table! {
    /// A ping.
    pub struct Ping {
        /// The list that it belongs to.
        1 => list: ListId,
        /// The cycle that it belongs to.
        2 => cycle: CycleId,
        /// When it began.
        5 => start: Time,
        /// Why it ended: [`crate::names::ping_stop`].
        6 => stop_reason: u8,
        /// More about that.
        7 => stop_data: u8,
        /// What probes carried; of a pattern, one repetition.
        8 | 9 => data: Data,
        /// How many probes were to be sent.
        10 => probe_count: u16,
        /// The size of a probe in octets, with its IP header.
        11 => probe_size: u16,
        /// Between probes, in seconds.
        12 => probe_wait: u8,
        /// The TTL, or hop limit, of probes.
        13 => probe_ttl: u8,
        /// How many replies end it; zero and absent mean that all probes are sent.
        14 => stop_count: u16,
        /// How many probes were sent.
        15 => ping_sent: u16,
        /// How it probed: [`crate::names::ping_method`].
        16 => probe_method: u8,
        /// The source port, or the ICMP identifier.
        17 => probe_sport: u16,
        /// The destination port, or the first ICMP sequence number.
        18 => probe_dport: u16,
        /// A number that its user gave it.
        19 => userid: u32,
        /// Where probes came from.
        20 => src: Address,
        /// Where they went.
        21 => dst: Address,
        /// The lower eight bits of `flags`.
        22 => flags8: u8,
        /// The traffic class of probes.
        23 => probe_tos: u8,
        /// The addresses in the timestamp option of probes.
        24 => probe_tsps: List8<Address>,
        /// The ICMP checksum that probes were made to have.
        25 => probe_icmpsum: u16,
        /// The MTU that the packet too big said with which large replies were answered.
        26 => reply_pmtu: u16,
        /// How long a reply was waited for, in seconds; when absent, as long as between probes.
        27 => probe_timeout: u8,
        /// Between probes: microseconds beyond the seconds.
        28 => probe_wait_us: u32,
        /// The acknowledgement number of TCP probes.
        29 => probe_tcpack: u32,
        /// [`crate::names::PING_FLAGS`].
        30 => flags: u32,
        /// The sequence number of TCP probes.
        31 => probe_tcpseq: u32,
        /// The router that probes were sent by.
        32 => rtr: InFull,
        /// How long a reply was waited for: microseconds beyond the seconds.
        33 => probe_timeout_us: u32,
        /// Why it failed.
        34 => errmsg: Text,
    }
    old { 3 => src, 4 => dst }
    behind { replies }
    then {
        /// The replies, by probe.
        pub replies: Vec<Reply>,
        /// What stands after that.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        pub trailing: Vec<u8>,
    }
}

body!(Ping);

table! {
    /// A reply.
    pub struct Reply {
        /// [`crate::names::PING_REPLY_FLAGS`].
        2 => flags: u8,
        /// Its TTL, or hop limit.
        3 => reply_ttl: u8,
        /// Its size in octets, with its IP header.
        4 => reply_size: u16,
        /// Its ICMP type and code.
        5 => icmp: IcmpType,
        /// How long after the probe it came.
        6 => rtt: Micros,
        /// The probe that it answers, from 0.
        7 => probe_id: u16,
        /// Its IPv4 identification.
        8 => reply_ipid: u16,
        /// The probe's IPv4 identification.
        9 => probe_ipid: u16,
        /// Its IP protocol; absent means ICMP.
        10 => reply_proto: u8,
        /// Its TCP flags.
        11 => tcp_flags: u8,
        /// Where it came from.
        12 => addr: Address,
        /// The addresses of its record route option.
        13 => v4rr: List8<Address>,
        /// Its timestamp option.
        14 => v4ts: Timestamps,
        /// The identification of its IPv6 fragment header.
        15 => reply_ipid32: u32,
        /// When the probe was sent.
        16 => tx: Time,
        /// Its ICMP timestamps.
        17 => tsreply: TimestampReply,
        /// The source port of the probe.
        18 => probe_sport: u16,
        /// Its traffic class.
        19 => reply_iptos: u8,
        /// The interface that it came in by.
        20 => ifname: Interface,
        /// The MTU that it says, when it is a packet too big.
        21 => icmp_nhmtu: u16,
    }
    old { 1 => addr }
}
