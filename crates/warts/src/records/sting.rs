//! Sting, loss in each direction by TCP: record type 12. A table and the packets.

use super::body;
use crate::values::{Address, CycleId, Data, ListId, Text, Time};
use crate::wire::table::{NEVER, table};

table! {
    /// A measurement of loss by TCP.
    pub struct Sting {
        /// The list that it belongs to.
        1 => list: ListId,
        /// The cycle that it belongs to.
        2 => cycle: CycleId,
        /// A number that its user gave it.
        3 => userid: u32,
        /// Where probes came from.
        4 => src: Address,
        /// Where they went.
        5 => dst: Address,
        /// The source port.
        6 => sport: u16,
        /// The destination port.
        7 => dport: u16,
        /// How many probes were to be sent.
        8 => count: u16,
        /// The mean time between probes, in milliseconds.
        9 => mean: u16,
        /// Between the phases, in milliseconds.
        10 => inter: u16,
        /// How the times between probes are distributed: 1 exponential, 2 periodic, 3 uniform.
        11 => dist: u8,
        /// How often the SYN was sent again at most.
        12 => synretx: u8,
        /// How often data was sent again at most.
        13 => dataretx: u8,
        /// How many sequence numbers the first hole has.
        14 => seqskip: u8,
        /// The data sent.
        15 | 16 => data: Data,
        /// When it began.
        17 => start: Time,
        /// How long the handshake took.
        18 => hsrtt: Time,
        /// How many data packets were acknowledged.
        19 => dataackc: u16,
        /// How many holes were filled.
        20 => holec: u16,
        /// How it ended: 0 none, 1 completed, 2 no connection.
        22 => result: u8,
        /// Why it failed.
        23 => errmsg: Text,
    }
    counts { 21 => pkts: u32, absent NEVER }
    then {
        /// The packets.
        pub pkts: Vec<Packet>,
        /// What stands after that.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        pub trailing: Vec<u8>,
    }
}

body!(Sting);

table! {
    /// A packet.
    pub struct Packet {
        /// What it is: 1 sent, 2 received, 4 data, 8 hole.
        1 => flags: u8,
        /// When it was sent or came.
        2 => time: Time,
        /// The packet, from its IP header.
        3 | 4 => data: Data,
    }
}
