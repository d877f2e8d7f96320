//! Neighbour discovery, by ARP or ICMPv6: record type 10. A table and the probes.

use super::body;
use crate::values::{Address, CycleId, ListId, Text, Time};
use crate::wire::table::table;

table! {
    /// The discovery of a neighbour.
    pub struct Neighbourdisc {
        /// The list that it belongs to.
        1 => list: ListId,
        /// The cycle that it belongs to.
        2 => cycle: CycleId,
        /// A number that its user gave it.
        3 => userid: u32,
        /// The interface.
        4 => ifname: Text,
        /// When it began.
        5 => start: Time,
        /// How it asked: 1 ARP, 2 ICMPv6 neighbour solicitation.
        6 => method: u8,
        /// How long a reply was waited for, in milliseconds.
        7 => wait: u16,
        /// Flags: 1 all attempts, 2 the first reply ends it.
        8 => flags: u8,
        /// How many probes were to be sent.
        9 => attempts: u16,
        /// How many replies end it.
        10 => replyc: u16,
        /// The address of the interface.
        11 => src_ip: Address,
        /// Its link-layer address.
        12 => src_mac: Address,
        /// The neighbour.
        13 => dst_ip: Address,
        /// Its link-layer address.
        14 => dst_mac: Address,
        /// Why it failed.
        16 => errmsg: Text,
    }
    counts { 15 => probes: u16, absent 0 }
    then {
        /// The probes.
        pub probes: Vec<Probe>,
        /// What stands after that.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        pub trailing: Vec<u8>,
    }
}

body!(Neighbourdisc);

table! {
    /// A probe.
    pub struct Probe {
        /// When it was sent.
        1 => tx: Time,
    }
    counts { 2 => replies: u16, absent 0 }
    then {
        /// The replies.
        pub replies: Vec<Reply>,
    }
}

table! {
    /// A reply.
    pub struct Reply {
        /// When it came.
        1 => rx: Time,
        /// The link-layer address that it says.
        2 => mac: Address,
    }
}
