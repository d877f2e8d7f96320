//! Sniff, packets that came in: record type 13. A table and the packets.

use super::body;
use crate::values::{Address, CycleId, Data, ListId, Text, Time};
use crate::wire::table::{NEVER, table};

table! {
    /// A capture of packets.
    pub struct Sniff {
        /// The list that it belongs to.
        1 => list: ListId,
        /// The cycle that it belongs to.
        2 => cycle: CycleId,
        /// A number that its user gave it.
        3 => userid: u32,
        /// The address that packets were to be sent to.
        4 => src: Address,
        /// When it began.
        5 => start: Time,
        /// When it ended.
        6 => finish: Time,
        /// Why it ended: [`crate::names::sniff_stop`].
        7 => stop_reason: u8,
        /// How many packets end it.
        8 => limit_pktc: u32,
        /// How many seconds end it.
        9 => limit_time: u16,
        /// The ICMP identifier that packets were to have.
        11 => icmpid: u16,
        /// Why it failed.
        12 => errmsg: Text,
    }
    counts { 10 => pkts: u32, absent NEVER }
    then {
        /// The packets.
        pub pkts: Vec<Packet>,
        /// What stands after that.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        pub trailing: Vec<u8>,
    }
}

body!(Sniff);

table! {
    /// A packet.
    pub struct Packet {
        /// When it came.
        1 => time: Time,
        /// The packet, from its IP header.
        2 | 3 => data: Data,
    }
}
