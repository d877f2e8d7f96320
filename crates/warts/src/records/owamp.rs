//! OWAMP, one-way delay (RFC 4656): record type 17. A table, the schedule and the packets.

use super::body;
use crate::values::{CycleId, InFull, ListId, Micros, Text, Time};
use crate::wire::table::table;

table! {
    /// A measurement of one-way delay.
    pub struct Owamp {
        /// The list that it belongs to.
        1 => list: ListId,
        /// The cycle that it belongs to.
        2 => cycle: CycleId,
        /// A number that its user gave it.
        3 => userid: u32,
        /// Where it was asked from.
        4 => src: InFull,
        /// The server.
        5 => dst: InFull,
        /// The server's port; absent means 861.
        6 => dport: u16,
        /// [`crate::names::OWAMP_FLAGS`].
        7 => flags: u16,
        /// When it began.
        8 => start: Time,
        /// When the first packet was to be sent.
        9 => startat: Time,
        /// How long a packet was waited for; absent means 2 s.
        10 => wait_timeout: Time,
        /// How many packets; absent means 10.
        12 => attempts: u32,
        /// The size of a packet in octets, with its IP header; absent means 42.
        13 => pktsize: u16,
        /// The direction: [`crate::names::owamp_dir`].
        14 => dir: u8,
        /// The DSCP of packets.
        15 => dscp: u8,
        /// The TTL of packets; absent means 255.
        16 => ttl: u8,
        /// How long the TCP handshake took.
        17 => hsrtt: Micros,
        /// How it ended: [`crate::names::owamp_result`].
        18 => result: u8,
        /// Why it failed.
        19 => errmsg: Text,
        /// The UDP port that packets came from.
        20 => udp_sport: u16,
        /// The UDP port that they went to.
        21 => udp_dport: u16,
    }
    counts {
        11 => sched: u32, absent 1;
        22 => txs: u32, absent 0
    }
    then {
        /// The schedule, repeated as often as is needed.
        pub sched: Vec<Slot>,
        /// The packets sent.
        pub txs: Vec<Sent>,
        /// What stands after that.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        pub trailing: Vec<u8>,
    }
}

body!(Owamp);

table! {
    /// A slot of the schedule.
    pub struct Slot {
        /// How long.
        1 => time: Time,
        /// How: 0 fixed, 1 exponentially distributed.
        2 => kind: u8,
    }
}

table! {
    /// A packet sent.
    pub struct Sent {
        /// When it was to be sent.
        1 => sched: Time,
        /// When it was sent.
        2 => stamp: Time,
        /// Its sequence number.
        3 => seq: u32,
        /// The error estimate of the stamp (RFC 4656, section 4.1.2).
        4 => errest: u16,
        /// Flags: 1 it was not sent, 2 the error estimate is there.
        5 => flags: u8,
    }
    counts { 6 => rxs: u8, absent 0 }
    then {
        /// How it was received, as often as it was.
        pub rxs: Vec<Received>,
    }
}

table! {
    /// The receipt of a packet.
    pub struct Received {
        /// When.
        1 => stamp: Time,
        /// The error estimate of the stamp (RFC 4656, section 4.1.2).
        2 => errest: u16,
        /// Flags.
        3 => flags: u8,
        /// Its DSCP.
        4 => dscp: u8,
        /// Its TTL.
        5 => ttl: u8,
    }
}
