//! `multipath`: all ways to a target that load balancers offer, by the multipath detection algorithm (MDA).
//!
//! The machine is [`mmn_probe::multipath`]; here are its parameters and its result, a graph of nodes and links. A graph
//! that does not reach its target is a result (*ok*, not answered); a probe that could not leave at all is a failure.
//!
//! Begin with [`Params`] and [`Body`].

use mmn_kit::{Cost, Family, FarEnd, Kind, SelfTest, Span, Timestamp};
use mmn_schema::announce::{SchemaVersion, SummaryField};
use mmn_schema::dispatch::Input;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;

use crate::shared::{
    Address, AddressFamily, Conditions, LaneWish, NAMES_WITHIN_NS, field, is_false, is_zero, real,
};
use crate::trace::{MAX_ATTEMPTS, MAX_SIZE, Reply, SELF_TEST_PORT, Status};

#[cfg(feature = "run")]
mod run;

#[cfg(feature = "run")]
pub use run::{diamonds, levels};

/// The most probes of one task: their records fit one message.
pub const MAX_PROBES: u32 = 4_096;

/// The kind `multipath`.
#[derive(Debug)]
pub struct Multipath;

/// Finds all ways to a target that load balancers offer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Params {
    /// What the probes are, and what differs from flow to flow.
    pub method: Method,
    /// Percentage of certainty, above 0 and below 100, with which all next hops of a node that chooses evenly are found.
    #[serde(deserialize_with = "real")]
    pub confidence: f64,
    /// Number of branch points for which all together the confidence shall hold; for each by itself where absent.
    pub branch_points: Option<u16>,
    /// TTL of the first hop, 1 to 255.
    pub first_hop: u8,
    /// TTL of the last hop, 1 to 255.
    pub max_ttl: u8,
    /// Follow a branch no further after so many silent hops in a row; 0: always.
    pub gap_limit: u8,
    /// Probes of one flow for a hop that stays silent, 1 to 20.
    pub attempts: u8,
    /// Most probes in all, at most 4096.
    pub max_probes: u32,
    /// How long after its probe a reply counts as received.
    pub timeout: Span,
    /// Least time from one probe to the next.
    pub wait: Span,
    /// Probes that may be under way at a time, 1 to 255.
    pub parallel: u16,
    /// Destination port of UDP and TCP, of the first flow where it differs; 33434 and 80 where absent.
    pub port: Option<u16>,
    /// Source port of UDP and TCP, of the first flow where it differs; the vantage point's choice where absent.
    pub source_port: Option<u16>,
    /// ICMP identifier; the vantage point's choice where absent.
    pub icmp_id: Option<u16>,
    /// Payload in bytes after the ICMP, UDP or TCP header; 32 where absent, and 0 for TCP.
    pub size: Option<u16>,
    /// DSCP of the probes, 0 to 63.
    pub dscp: Option<u8>,
    /// Octet of DSCP and ECN of the probes (type of service, traffic class).
    pub tos: Option<u8>,
    /// Forbid routers to fragment the probes.
    pub dont_fragment: bool,
    /// Ask the vantage point's resolver for the names of the addresses that answered (their PTR records), when the path is
    /// known. It takes 5 s at most; names that have not come by then are absent.
    pub names: bool,
    /// Address of the router that probes leave by, on a link of the vantage point, whatever its routes say. It takes packet
    /// sockets, which the site's policy must allow.
    pub router: Option<Address>,
    /// Source address, one of the vantage point's.
    pub source: Option<Address>,
    /// Address family of the target.
    pub family: Family,
    /// Which way packets take through the vantage point's host.
    pub lane: LaneWish,
}

impl Default for Params {
    fn default() -> Self {
        Self {
            method: Method::UdpDport,
            confidence: 95.0,
            branch_points: None,
            first_hop: 1,
            max_ttl: 30,
            gap_limit: 3,
            attempts: 2,
            max_probes: 3_000,
            timeout: Span::from_millis(2_000),
            wait: Span::from_millis(0),
            parallel: 16,
            port: None,
            source_port: None,
            icmp_id: None,
            size: None,
            dscp: None,
            tos: None,
            dont_fragment: false,
            names: false,
            router: None,
            source: None,
            family: Family::Any,
            lane: LaneWish::Any,
        }
    }
}

/// What probes are, and what differs from flow to flow.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Method {
    /// UDP datagrams with different destination ports.
    #[default]
    UdpDport,
    /// UDP datagrams with different source ports.
    UdpSport,
    /// ICMP echo requests with different checksums.
    Icmp,
    /// TCP segments with SYN and different source ports.
    Tcp,
    /// TCP segments with ACK and different source ports.
    TcpAck,
}

impl Method {
    const fn is_tcp(self) -> bool {
        matches!(self, Self::Tcp | Self::TcpAck)
    }
}

impl Params {
    fn payload_bytes(&self) -> u16 {
        self.size.unwrap_or(if self.method.is_tcp() { 0 } else { 32 })
    }

    #[cfg(feature = "run")]
    fn destination_port(&self) -> u16 {
        self.port.unwrap_or(if self.method.is_tcp() { 80 } else { 33_434 })
    }
}

/// The graph that was found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Body {
    /// The target as it was asked for.
    pub target: String,
    /// The address to which the ways lead.
    pub address: Address,
    /// Its family.
    pub family: AddressFamily,
    /// What the probes were, and what differed from flow to flow.
    pub method: Method,
    /// The percentage of certainty that was asked for.
    pub confidence: f64,
    /// The router that the probes left by, where one was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub router: Option<Address>,
    /// The source of the probes, where the system tells.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<Address>,
    /// The source port of the first flow, of UDP and TCP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_port: Option<u16>,
    /// The destination port of the first flow, of UDP and TCP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// The ICMP identifier of the probes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub icmp_id: Option<u16>,
    /// When the first probe left.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Timestamp>,
    /// Why it ended.
    pub stop: Stop,
    /// Probes that left.
    pub sent: u32,
    /// Those of them that were answered, late ones included.
    pub replied: u32,
    /// Those of them that were not answered while the receiver was overrun: nobody knows what became of them.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub overrun: u32,
    /// Packets that claimed to be replies and were not: wrong cookie, or for no probe of this task.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub unasked: u32,
    /// Civil time was set meanwhile: instants are in doubt, round trips are not.
    #[serde(default, skip_serializing_if = "is_false")]
    pub clock_stepped: bool,
    /// The nodes; the first is the source.
    pub nodes: Vec<Node>,
    /// The links between them, in the order of finding.
    pub links: Vec<Link>,
    /// Where ways part and meet again, from the first on.
    pub diamonds: Vec<Diamond>,
    /// The probes that show no link: not answered and asked again, or not sent as their flow was before.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unanswered: Vec<Probe>,
    /// How the packets went.
    pub conditions: Conditions,
}

/// Why a multipath trace ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Stop {
    /// The reason.
    pub reason: StopReason,
    /// What the system said, where the reason is `error`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// Reasons for which a multipath trace ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum StopReason {
    /// Every branch was followed to its end, and the destination answered.
    Completed,
    /// No branch got to the destination: a router said that it can't be reached.
    Unreachable,
    /// No branch got to the destination: so many hops in a row were silent.
    GapLimit,
    /// No branch got to the destination before the last TTL.
    HopLimit,
    /// No branch got to the destination: each came back to a router.
    Loop,
    /// The most probes were sent.
    ProbeLimit,
    /// It was called off.
    Halted,
    /// A probe could not be sent.
    Error,
}

/// A node. The same address at different TTLs is different nodes, and so is silence behind different ones.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Node {
    /// Its number, by which links refer to it.
    pub id: u32,
    /// The TTL at which it answers; that of the source is one below the first.
    pub ttl: u8,
    /// Its address; absent where it is silent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<Address>,
    /// Its name, where it was asked for and the address has one: that of its PTR record in presentation format, without the final
    /// dot. Whoever has the address's zone writes there what they like.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// What it is.
    pub kind: NodeKind,
    /// How it chooses among its next hops; absent where it has but one, or it could not be told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub balancer: Option<Balancer>,
    /// Fewer flows passed through it than the certainty asked for needs: next hops may be missing.
    #[serde(default, skip_serializing_if = "is_false")]
    pub incomplete: bool,
    /// Flows that are known to reach it.
    pub flows: u32,
}

/// What a node is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum NodeKind {
    /// Where the probes come from.
    Source,
    /// A router.
    Router,
    /// Something that does not answer.
    Silent,
    /// The destination.
    Destination,
    /// A router that lets nothing pass.
    Unreachable,
}

/// How a node chooses among its next hops.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Balancer {
    /// All packets of a flow go one way.
    PerFlow,
    /// Packets of one flow go different ways.
    PerPacket,
}

/// A link between two nodes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Link {
    /// The node that is nearer to the source.
    pub from: u32,
    /// The node behind it.
    pub to: u32,
    /// The probes that showed it.
    pub probes: Vec<Probe>,
}

/// What became of one probe.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Probe {
    /// Its TTL.
    pub ttl: u8,
    /// Its flow, from 0.
    pub flow: u16,
    /// Which probe of its flow and TTL it was, from 0.
    pub attempt: u8,
    /// It repeats a flow to find out how a node chooses.
    #[serde(default, skip_serializing_if = "is_false")]
    pub repetition: bool,
    /// How it ended.
    pub status: Status,
    /// When it left; absent when it did not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sent_at: Option<Timestamp>,
    /// Its length in bytes, IP header included; absent when it did not leave.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u32>,
    /// What came back, in the order of coming; at most 4.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub replies: Vec<Reply>,
    /// What came beyond these.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub duplicates: u32,
    /// Why it did not leave.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// A part of the graph where there is more than one way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Diamond {
    /// The TTL of the one node where the ways part.
    pub from_ttl: u8,
    /// The TTL of the one node where they meet; absent where they don't.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to_ttl: Option<u8>,
    /// The most nodes at one TTL.
    pub width: u32,
}

impl Kind for Multipath {
    const NAME: &'static str = "multipath";
    const VERSION: SchemaVersion = SchemaVersion { major: 1, minor: 1 };
    const DESCRIPTION: &'static str =
        "Multipath traceroute (MDA): the graph of all ways to one target that load balancers offer.";
    const MODULE: &'static str = "packet";

    type Params = Params;
    type Body = Body;

    fn summary_fields() -> Vec<SummaryField> {
        vec![
            field("reached", "1", "1 when the destination answered, 0 when not"),
            field("hops", "1", "largest TTL at which anything answered"),
            field("nodes", "1", "nodes that answered"),
            field("links", "1", "links between nodes, the source left out"),
            field("diamonds", "1", "parts with more than one way"),
            field("width", "1", "most nodes at one TTL"),
            field("sent", "1", "probes that left"),
            field("replied", "1", "probes that were answered"),
            field("rtt_ns", "ns", "smallest round trip to the destination"),
        ]
    }

    fn check(params: &Params) -> Result<(), String> {
        let within = |holds: bool, text: &str| if holds { Ok(()) } else { Err(text.to_owned()) };
        let confidence = params.confidence;
        within(confidence > 0.0 && confidence < 100.0, "confidence must be above 0 and below 100")?;
        within(params.branch_points != Some(0), "branch_points must be at least 1")?;
        within(params.first_hop > 0, "first_hop must be between 1 and 255")?;
        within(params.max_ttl >= params.first_hop, "max_ttl must not be below first_hop")?;
        within((1..=MAX_ATTEMPTS).contains(&params.attempts), "attempts must be between 1 and 20")?;
        within((1..=MAX_PROBES).contains(&params.max_probes), "max_probes must be between 1 and 4096")?;
        within((1..=255).contains(&params.parallel), "parallel must be between 1 and 255")?;
        within(params.timeout.as_ns() > 0, "timeout must be above 0")?;
        within(params.timeout.as_ns() <= 60_000_000_000, "timeout must be at most 1m")?;
        within(params.wait.as_ns() <= 60_000_000_000, "wait must be at most 1m")?;
        within(params.payload_bytes() <= MAX_SIZE, "size must be at most 65000")?;
        within(
            params.method.is_tcp() || params.payload_bytes() >= 2,
            "size must be at least 2, for the checksum's sake",
        )?;
        within(params.port != Some(0), "port must be between 1 and 65535")?;
        within(params.source_port != Some(0), "source_port must be between 1 and 65535")?;
        within(params.icmp_id != Some(0), "icmp_id must be between 1 and 65535")?;
        let icmp = params.method == Method::Icmp;
        within(icmp || params.icmp_id.is_none(), "icmp_id is for method icmp")?;
        within(!icmp || params.source_port.is_none(), "source_port is for methods over UDP and TCP")?;
        within(!icmp || params.port.is_none(), "port is for methods over UDP and TCP")?;
        within(params.dscp.is_none_or(|dscp| dscp < 64), "dscp must be between 0 and 63")?;
        within(params.dscp.is_none() || params.tos.is_none(), "dscp and tos exclude each other")?;
        let agrees = params.router.is_none_or(|router| params.family.holds(router.0));
        within(agrees, "router is not of the family that is asked for")
    }

    fn cost(params: &Params) -> Cost {
        let packets = u64::from(params.max_probes);
        let headers = 40 + if params.method.is_tcp() { 20 } else { 8 };
        // All probes may be needed, but no more than a few rounds of them time out at each TTL.
        let ttls = u64::from(params.max_ttl.saturating_sub(params.first_hop)) + 1;
        let rounds =
            (ttls * u64::from(params.attempts) * 2).min(packets.div_ceil(params.parallel.into()) + ttls);
        Cost {
            packets,
            bytes: packets * (u64::from(params.payload_bytes()) + headers),
            duration_ns: params
                .timeout
                .as_ns()
                .saturating_mul(rounds)
                .saturating_add(params.wait.as_ns().saturating_mul(packets))
                .saturating_add(if params.names { NAMES_WITHIN_NS } else { 0 }),
        }
    }

    fn self_test() -> Option<SelfTest<Params>> {
        let task = |host: SocketAddr| {
            let timeout = Span::from_millis(1_000);
            // Sockets for this every user may open; echo is what a ping's test is for.
            let port = Some(SELF_TEST_PORT);
            let params =
                Params { port, max_ttl: 1, attempts: 1, max_probes: 16, timeout, ..Params::default() };
            (params, Input::Target(host.ip().to_string()))
        };
        Some(SelfTest { far_end: FarEnd::Host, task })
    }
}
