//! `ping`: probes on a schedule (ICMP, UDP or TCP), and what came back for each.
//!
//! The machine is [`mmn_probe::ping`]; here are its parameters and its result. A target that is silent or unreachable
//! is a result (*ok*, not answered); a request that could not leave at all is a failure.
//!
//! Begin with [`Params`] and [`Body`].

use std::net::SocketAddr;

use mmn_kit::{Cost, Family, FarEnd, Kind, SelfTest, Span};
use mmn_schema::announce::{SchemaVersion, SummaryField};
use mmn_schema::dispatch::Input;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::shared::{Address, LaneWish, field};

#[cfg(feature = "run")]
mod bulk;
mod check;
#[cfg(feature = "run")]
mod measured;
#[cfg(feature = "run")]
mod mould;
mod result;
#[cfg(feature = "run")]
mod run;

#[cfg(feature = "run")]
pub(crate) use measured::{icmp_error, nothing_left, send_error, tcp_flags};
#[cfg(feature = "run")]
pub use measured::{of_samples, rtt};
pub use result::{
    Body, End, Error, IcmpTimestamps, IpStamp, IpTimestamps, Ipdv, Pdv, Protocol, PseudoMtu, Registered,
    Reordering, Repeat, Reply, Rtt, Status,
};
#[cfg(feature = "run")]
pub use run::Plan;

/// The most requests of one task: their records fit one message.
pub const MAX_COUNT: u32 = 4_096;
/// The shortest interval.
pub const MIN_INTERVAL: Span = Span::from_millis(10);
/// The longest payload in bytes: what an IPv4 packet of 65,535 bytes leaves after its header and ICMP's.
pub const MAX_SIZE: u16 = 65_507;
/// The longest pattern in bytes, as in iputils.
pub const MAX_PATTERN: usize = 16;

/// The kind `ping`.
#[derive(Debug)]
pub struct Ping;

/// Sends probes to a target and records each reply.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[expect(clippy::struct_excessive_bools, reason = "each is a choice of its own, with a flag of its own")]
pub struct Params {
    /// What is sent: ICMP echo requests, or another method.
    pub method: Method,
    /// Requests to send, 1 to 4096.
    pub count: u32,
    /// Time from one request to the next, at least 10ms; the mean of it on a Poisson schedule.
    pub interval: Span,
    /// How requests follow one another.
    pub schedule: Schedule,
    /// What decides a random schedule; drawn where absent, and told in the result.
    pub seed: Option<u64>,
    /// Begin after a random part of the interval (RFC 3432), that many pings don't keep in step.
    pub random_start: bool,
    /// How long after its request a reply counts as received.
    pub timeout: Span,
    /// Payload in bytes of echo requests and UDP datagrams, at most 65507. The first 8 carry a cookie against forged replies.
    pub size: u16,
    /// Up to 16 bytes in hexadecimal that fill the payload after the cookie; zeros where absent.
    pub pattern: Option<String>,
    /// The whole payload in hexadecimal, without a cookie: of TCP segments too. Methods that need a word of it (`udp`, or
    /// `icmp_checksum`) change the last two bytes.
    pub payload: Option<String>,
    /// Time to live (hop limit) of the requests, 1 to 255; the system's own where absent.
    pub ttl: Option<u8>,
    /// Differentiated services code point of the requests, 0 to 63.
    pub dscp: Option<u8>,
    /// Type of service (traffic class) of the requests: the whole octet of DSCP and ECN, instead of `dscp`.
    pub tos: Option<u8>,
    /// Don't fragment: routers may not, and neither may the vantage point.
    pub df: bool,
    /// Destination port of UDP (33435 where absent) and TCP (80 where absent); of `udp_dport` the first one.
    pub port: Option<u16>,
    /// Source port of UDP and TCP, where the vantage point allows it; of `udp_sport`, `tcp_syn_sport` and `tcp_ack_sport` the first one.
    pub source_port: Option<u16>,
    /// Identifier of ICMP requests, where the vantage point allows it.
    pub icmp_id: Option<u16>,
    /// Checksum that every echo request has: load balancers then send all of them one way.
    pub icmp_checksum: Option<u16>,
    /// Sequence number of TCP segments. Methods that then can't tell two requests apart send one at a time.
    pub tcp_seq: Option<u32>,
    /// Acknowledgement number of TCP segments, likewise.
    pub tcp_ack: Option<u32>,
    /// Maximum segment size that a SYN announces; none where absent.
    pub mss: Option<u16>,
    /// An MTU that no link has: who sends an echo reply of more bytes, IP header included, is told that it was too big, and
    /// sends what follows in fragments. At least 68, and 1280 over IPv6.
    pub pseudo_mtu: Option<u16>,
    /// Address of the router that requests leave by, on a link of the vantage point, whatever its routes say. It takes packet
    /// sockets, which the site's policy must allow.
    pub router: Option<Address>,
    /// Source address, one of the vantage point's own; the system's choice where absent.
    pub source: Option<Address>,
    /// Ask routers for their addresses by the IPv4 option record route.
    pub record_route: bool,
    /// Ask routers for their time by the IPv4 option timestamp: `tsonly`, `tsandaddr`, or `tsprespec=A,B,C,D`.
    pub ip_timestamp: Option<String>,
    /// Address family of the target.
    pub family: Family,
    /// End as soon as so many replies are in; absent: wait for all.
    pub stop_after: Option<u32>,
    /// Wait for duplicates until the last timeout, though every request is answered.
    pub wait_duplicates: bool,
    /// The way that packets take through the vantage point's host.
    pub lane: LaneWish,
}

/// What is sent, and with it what answers it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Method {
    /// ICMP echo requests.
    #[default]
    Icmp,
    /// ICMP timestamp requests, of IPv4 alone.
    IcmpTimestamp,
    /// UDP datagrams between the same two ports. Datagrams and ICMP port unreachable answer them. Where datagrams come
    /// back that do not repeat the payload, requests go one at a time; `udp_sport` tells better whose they are.
    Udp,
    /// UDP datagrams to a destination port that grows by one each time.
    UdpDport,
    /// UDP datagrams from a source port that grows by one each time.
    UdpSport,
    /// TCP SYN between the same two ports. SYN and ACK, or a reset, answer it.
    TcpSyn,
    /// TCP SYN from a source port that grows by one each time.
    TcpSynSport,
    /// TCP ACK between the same two ports. A reset answers it.
    TcpAck,
    /// TCP ACK from a source port that grows by one each time.
    TcpAckSport,
    /// TCP SYN and ACK. A reset answers it.
    TcpSynack,
    /// TCP reset. Hosts are silent to it.
    TcpRst,
}

/// How requests follow one another.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Schedule {
    /// One each interval (RFC 3432).
    #[default]
    Periodic,
    /// After independent, exponentially distributed gaps whose mean is the interval (RFC 2330): nothing periodic in the
    /// network can keep in step with them.
    Poisson,
    /// One each interval, but none before the one before it is answered or timed out (RFC 8912, section 9.3.2).
    SendOnReceive,
}

impl Default for Params {
    fn default() -> Self {
        Self {
            method: Method::Icmp,
            count: 3,
            interval: Span::from_millis(1_000),
            schedule: Schedule::Periodic,
            seed: None,
            random_start: false,
            timeout: Span::from_millis(2_000),
            size: 56,
            pattern: None,
            payload: None,
            ttl: None,
            dscp: None,
            tos: None,
            df: false,
            port: None,
            source_port: None,
            icmp_id: None,
            icmp_checksum: None,
            tcp_seq: None,
            tcp_ack: None,
            mss: None,
            pseudo_mtu: None,
            router: None,
            source: None,
            record_route: false,
            ip_timestamp: None,
            family: Family::Any,
            stop_after: None,
            wait_duplicates: false,
            lane: LaneWish::Any,
        }
    }
}

impl Kind for Ping {
    const NAME: &'static str = "ping";
    const VERSION: SchemaVersion = SchemaVersion { major: 1, minor: 2 };
    const DESCRIPTION: &'static str =
        "Ping by ICMP, UDP or TCP: round-trip times, loss, duplicates, reordering and errors of one target.";
    const MODULE: &'static str = "packet";

    type Params = Params;
    type Body = Body;

    fn summary_fields() -> Vec<SummaryField> {
        vec![
            field("sent", "1", "requests that left"),
            field("received", "1", "requests answered in time"),
            field("duplicates", "1", "further replies"),
            field(
                "overrun",
                "1",
                "requests whose reply may have been missed by the vantage point, where there are any",
            ),
            field("loss", "ratio", "lost share of the requests whose end is known"),
            field("rtt_min_ns", "ns", "smallest round trip"),
            field("rtt_median_ns", "ns", "median round trip, lost requests counted as infinite"),
            field("rtt_mean_ns", "ns", "mean round trip"),
            field("rtt_max_ns", "ns", "largest round trip"),
        ]
    }

    fn check(params: &Params) -> Result<(), String> {
        check::all(params)
    }

    fn cost(params: &Params) -> Cost {
        // Each reply may be answered.
        let told = if params.pseudo_mtu.is_some() { u64::from(params.count) } else { 0 };
        let packets = u64::from(params.count);
        // One that is not answered holds the next one back.
        let gap = match params.schedule {
            Schedule::SendOnReceive => params.interval.max(params.timeout),
            Schedule::Periodic | Schedule::Poisson => params.interval,
        };
        let last = gap.as_ns().saturating_mul(check::gaps(params));
        Cost {
            packets: packets + told,
            bytes: packets * check::packet_bytes(params) + told * 1_280,
            duration_ns: last.saturating_add(params.timeout.as_ns()),
        }
    }

    fn self_test() -> Option<SelfTest<Params>> {
        let task = |host: SocketAddr| {
            let params = Params { count: 1, timeout: Span::from_millis(1_000), ..Params::default() };
            (params, Input::Target(host.ip().to_string()))
        };
        Some(SelfTest { far_end: FarEnd::Host, task })
    }
}
