//! The result of a ping.

use mmn_kit::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Method;
use crate::shared::{Address, AddressFamily, Conditions, Stamps, is_false, is_no_octet, is_nothing, is_zero};
use crate::trace::Extension;

/// What became of the requests.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Body {
    /// The target as it was asked for.
    pub target: String,
    /// The address that was pinged.
    pub address: Address,
    /// Its family.
    pub family: AddressFamily,
    /// What was sent.
    #[serde(default)]
    pub method: Method,
    /// The source address of the requests, where the system tells.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<Address>,
    /// The source port of UDP and TCP, where all requests have the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_port: Option<u16>,
    /// The destination port of UDP and TCP, where all requests have the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// The identifier of ICMP requests, where all have the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub icmp_id: Option<u16>,
    /// The length of each request in bytes, IP header included.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_bytes: Option<u32>,
    /// How long a reply was waited for, in nanoseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_ns: Option<u64>,
    /// What decided a random schedule.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
    /// The router that requests left by, where one was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub router: Option<Address>,
    /// What hosts were told of an MTU that no link has, where that was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pseudo_mtu: Option<PseudoMtu>,
    /// How it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end: Option<End>,
    /// Requests that left.
    pub sent: u32,
    /// Requests that were answered in time.
    pub received: u32,
    /// Further replies to answered requests.
    pub duplicates: u32,
    /// Requests that were answered after the timeout; they count as lost (RFC 2681).
    pub late: u32,
    /// Requests that an ICMP error answered; they count as lost.
    pub errors: u32,
    /// Requests whose reply may have been missed, because the vantage point could not read all that came. They are not
    /// lost.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub overrun: u32,
    /// Requests whose end is not known, because the measurement ended before.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub cancelled: u32,
    /// Lost share of the requests that left and whose end is known, 0 to 1 (RFC 6673): neither those overrun nor those
    /// cancelled.
    pub loss: f64,
    /// The round trips; absent when there was none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rtt: Option<Rtt>,
    /// How far round trips differ from one request to the next; absent where no two neighbours were answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ipdv: Option<Ipdv>,
    /// How far round trips differ from the smallest; absent where fewer than two were answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pdv: Option<Pdv>,
    /// Whether replies came in the order of the requests; absent where fewer than two came.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reordering: Option<Reordering>,
    /// Metrics of IANA's registry that this measurement is, where its parameters are exactly those of an entry.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub registered: Vec<Registered>,
    /// Who took the stamps of the round trips, the weaker where they differ; absent when there was none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stamps: Option<Stamps>,
    /// Civil time was set meanwhile: `sent_at` is in doubt, round trips are not.
    #[serde(default, skip_serializing_if = "is_false")]
    pub clock_stepped: bool,
    /// How the packets went through the vantage point's host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub conditions: Option<Conditions>,
    /// Packets that claimed to be replies and were not: wrong cookie, or for no request of this task.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub unasked: u32,
    /// Each request, in the order of sending.
    pub replies: Vec<Reply>,
}

/// An MTU that no link has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PseudoMtu {
    /// It, in bytes.
    pub mtu: u16,
    /// How many replies were larger, and answered by a message that says so.
    pub messages: u32,
    /// Why such a message could not be sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// The round trips in nanoseconds.
///
/// In quartiles and percentiles a lost request counts as infinite (RFC 2681, section 4.1): one that falls among the lost is absent.
/// Minimum, mean, maximum and deviation are of those that came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Rtt {
    /// The smallest.
    pub min_ns: u64,
    /// The first quartile.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub q1_ns: Option<u64>,
    /// The median.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub median_ns: Option<u64>,
    /// The third quartile.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub q3_ns: Option<u64>,
    /// The 95th percentile, of 20 requests or more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub p95_ns: Option<u64>,
    /// The 99th percentile, of 100 requests or more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub p99_ns: Option<u64>,
    /// The arithmetic mean.
    pub mean_ns: u64,
    /// The largest.
    pub max_ns: u64,
    /// The standard deviation of the population.
    pub stddev_ns: u64,
}

/// What became of one request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Reply {
    /// Its number, from 0.
    pub seq: u32,
    /// How it ended.
    pub status: Status,
    /// When it left; absent when it did not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sent_at: Option<Timestamp>,
    /// The time to the reply, late reply or ICMP error, in nanoseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rtt_ns: Option<u64>,
    /// The source port of the request, where each has its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_port: Option<u16>,
    /// The destination port of the request, where each has its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// The identification in the request's IPv4 header, where it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_ip_id: Option<u16>,
    /// The TTL with which the reply or error arrived, where the system tells.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl: Option<u8>,
    /// The type of service (traffic class) with which it arrived, where the system tells.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tos: Option<u8>,
    /// The identification in its IPv4 header, where the system tells.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ip_id: Option<u16>,
    /// The identification of its IPv6 fragment header, of an echo reply that came in fragments; on the raw and the precise
    /// lane, where nothing on the host puts fragments together before its sockets see them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fragment_id: Option<u32>,
    /// The length of the reply or error in bytes, its ICMP, UDP or TCP header included, its IP header not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u32>,
    /// The protocol of the reply to UDP and TCP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub protocol: Option<Protocol>,
    /// The flags of the TCP segment that replied, a letter each: F, S, R, P, A, U, E, C.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tcp_flags: Option<String>,
    /// Its window, as it stands in the header.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tcp_window: Option<u16>,
    /// The maximum segment size that it announces; absent where it does not, or the system does not show it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tcp_mss: Option<u16>,
    /// The type of the ICMP message that replied to UDP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub icmp_type: Option<u8>,
    /// Its code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub icmp_code: Option<u8>,
    /// The times of an ICMP timestamp reply.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timestamps: Option<IcmpTimestamps>,
    /// The addresses that routers left in the option record route.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub record_route: Vec<Address>,
    /// What routers left in the option timestamp.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ip_timestamps: Option<IpTimestamps>,
    /// Who answered, where it was not the target's address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Address>,
    /// Further replies and errors.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub duplicates: u32,
    /// These, the first 256 of all requests.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub repeats: Vec<Repeat>,
    /// What was said instead of a reply, by a router or by the system.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<Error>,
}

/// How a request ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Answered in time.
    Replied,
    /// Answered after the timeout.
    Late,
    /// Nothing came.
    TimedOut,
    /// Nothing came, but the vantage point could not read all that came meanwhile: a reply may have been missed.
    Overrun,
    /// An ICMP error came.
    Error,
    /// It never left.
    NotSent,
    /// The measurement ended before its end was known.
    Cancelled,
}

/// What was said instead of a reply.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Error {
    /// A word for it: `host_unreachable`, `ttl_exceeded`, `prohibited`, …; for a request that never left, why.
    pub name: String,
    /// The type of the ICMP message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub icmp_type: Option<u8>,
    /// The code of the ICMP message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub icmp_code: Option<u8>,
    /// The code of the ICMP message, where the name covers several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<u8>,
    /// The MTU of the next link in bytes, where the packet was too big and the router tells.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mtu: Option<u32>,
    /// Whether it quotes the request's whole cookie. Many routers quote too little to tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verified: Option<bool>,
    /// What the router added to it (RFC 4884): of the first 256 requests with such an error.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub extensions: Vec<Extension>,
}

/// How a ping ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum End {
    /// Each request has its end.
    Completed,
    /// As many replies came as were wanted.
    Enough,
    /// It was stopped.
    Cancelled,
}

/// The protocol of a reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// ICMP: the port is unreachable, and so the host is there.
    Icmp,
    /// A UDP datagram.
    Udp,
    /// A TCP segment.
    Tcp,
}

/// The times of an ICMP timestamp reply: milliseconds since midnight UT, or anything else with the top bit set
/// (RFC 792).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct IcmpTimestamps {
    /// When the request was sent, by the vantage point's clock.
    pub originate_ms: u32,
    /// When the target received it, by its own clock.
    pub receive_ms: u32,
    /// When the target sent the reply.
    pub transmit_ms: u32,
}

/// What routers left in the IPv4 option timestamp.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct IpTimestamps {
    /// Their stamps, in order.
    pub stamps: Vec<IpStamp>,
    /// How many found no room.
    #[serde(default, skip_serializing_if = "is_no_octet")]
    pub overflow: u8,
}

/// A router's stamp.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct IpStamp {
    /// Whose it is, where the option says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<Address>,
    /// Milliseconds since midnight UT, or anything else with the top bit set (RFC 791).
    pub ms: u32,
}

/// A further reply or error to a request that had one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Repeat {
    /// The time since the request, in nanoseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rtt_ns: Option<u64>,
    /// Who sent it, where it was not the target's address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Address>,
    /// The TTL with which it arrived, where the system tells.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl: Option<u8>,
}

/// Inter-packet delay variation (RFC 3393, RFC 5481): each round trip less that of the request before it, in
/// nanoseconds. Of neighbours that were both answered in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Ipdv {
    /// How many pairs of neighbours.
    pub pairs: u32,
    /// The smallest difference.
    pub min_ns: i64,
    /// The largest difference.
    pub max_ns: i64,
    /// The mean of the differences without their sign.
    pub mean_abs_ns: u64,
    /// The median of the differences without their sign.
    pub p50_abs_ns: u64,
    /// Their 95th percentile.
    pub p95_abs_ns: u64,
    /// Their 99th percentile.
    pub p99_abs_ns: u64,
}

/// Packet delay variation (RFC 5481): each round trip less the smallest, in nanoseconds. Of those that were answered in
/// time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Pdv {
    /// The median.
    pub p50_ns: u64,
    /// The 95th percentile.
    pub p95_ns: u64,
    /// The 99th percentile.
    pub p99_ns: u64,
    /// The percentile 99.9.
    pub p999_ns: u64,
    /// The largest.
    pub max_ns: u64,
}

/// Reordering of replies (RFC 4737), duplicates left out. On which way the order was lost a round trip does not tell.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Reordering {
    /// Replies that came after one to a later request.
    pub reordered: u32,
    /// Their share of the replies, 0 to 1.
    pub ratio: f64,
    /// How many places the latest came too late; absent where none did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_extent: Option<u32>,
    /// How long after the first reply that overtook it the latest came, in nanoseconds; absent where none did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_late_ns: Option<u64>,
    /// The most bytes of payload that a receiver would hold back until one that was overtaken came (byte offset, section
    /// 4.4); absent where none was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_offset_bytes: Option<u64>,
    /// Replies that are n-reordered (section 5.3), for n from 1 to 100 at most: all of the n replies that came just before them were to
    /// later requests. A TCP sender takes those that are 3-reordered for lost.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub n_reordered: Vec<u32>,
    /// Replies that overtook others first (reordering discontinuities, section 4.5).
    #[serde(default, skip_serializing_if = "is_zero")]
    pub discontinuities: u32,
    /// How many places lie between them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gaps: Vec<u32>,
    /// Of the runs of replies in order that reordered ones end, the sum of the squared lengths (section 4.6: q; x is
    /// `reordered`, and a what is not).
    #[serde(default, skip_serializing_if = "is_nothing")]
    pub run_squares: u64,
}

/// A metric of IANA's registry of performance metrics (RFC 8911, RFC 8912).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Registered {
    /// Its name there.
    pub name: String,
    /// Its value, in the unit that the name says.
    pub value: f64,
}
