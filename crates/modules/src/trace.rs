//! `trace`: the routers on the way to a target, by probes with growing TTLs.
//!
//! The machine is [`mmn_probe::trace`]; here are its parameters and its result. A path that does not reach its target is
//! a result (*ok*, not answered); a probe that could not leave at all is a failure.
//!
//! Begin with [`Params`] and [`Body`].

use std::net::SocketAddr;

use mmn_kit::{Cost, Family, FarEnd, Kind, SelfTest, Span, Timestamp};
use mmn_schema::announce::{SchemaVersion, SummaryField};
use mmn_schema::dispatch::Input;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::shared::{
    Address, AddressFamily, Conditions, LaneWish, field, hex, is_false, is_zero, maybe_real,
};

mod reply;
#[cfg(feature = "run")]
mod run;

#[cfg(feature = "run")]
pub(crate) use reply::nothing_left;
pub use reply::{Extension, Interface, Label, Quote, Reply, Status};
#[cfg(feature = "run")]
pub(crate) use run::shape_of;

/// The longest payload in bytes.
pub const MAX_SIZE: u16 = 65_000;
/// A port on which nobody listens, and which no socket is given by chance.
pub(crate) const SELF_TEST_PORT: u16 = 1;
/// The most probes for one hop.
pub const MAX_ATTEMPTS: u8 = 20;

/// The kind `trace`.
#[derive(Debug)]
pub struct Trace;

/// Finds the routers on the way to a target.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[expect(clippy::struct_excessive_bools, reason = "each is a choice of its own, with a flag of its own")]
pub struct Params {
    /// What the probes are.
    pub method: Method,
    /// Keep all probes in one flow, so that load balancers send them one way (Paris traceroute). Without it the UDP
    /// destination port, the ICMP checksum or the TCP source port differs from probe to probe.
    pub paris: bool,
    /// TTL of the first hop, 1 to 255.
    pub first_hop: u8,
    /// TTL of the last hop, 1 to 255.
    pub max_ttl: u8,
    /// Stop after so many silent hops in a row; 0: never.
    pub gap_limit: u8,
    /// After so many silent hops ask the destination itself, with TTL 255.
    pub last_ditch: bool,
    /// Probes for a hop that stays silent, 1 to 20.
    pub attempts: u8,
    /// Send all attempts to each hop, answered or not.
    pub all_attempts: bool,
    /// Percentage of certainty, above 0 and below 100, that nobody else answers at a hop: each is asked until so many probes
    /// are answered as the stopping rule of multipath detection wants (6 of one address at 95), at most 240 times. Then
    /// `attempts` says how many in a row may stay unanswered.
    #[serde(deserialize_with = "maybe_real")]
    pub confidence: Option<f64>,
    /// How long after its probe a reply counts as received.
    pub timeout: Span,
    /// Least time from one probe to the next.
    pub wait: Span,
    /// Least time from one probe to the next to the same hop.
    pub wait_hop: Span,
    /// Probes that may be under way at a time, 1 to 255; with 1 each hop is waited for.
    pub parallel: u16,
    /// Stop at the loop of this number; 0: never.
    pub loops: u8,
    /// Destination port of UDP and TCP; 33434 and 80 where absent. Of a classic trace over UDP that of the first probe.
    pub port: Option<u16>,
    /// Source port of UDP and TCP; the vantage point's choice where absent.
    pub source_port: Option<u16>,
    /// ICMP identifier; the vantage point's choice where absent.
    pub icmp_id: Option<u16>,
    /// ICMP checksum of all probes of a Paris trace; chosen by chance where absent.
    pub icmp_checksum: Option<u16>,
    /// Which of the flows to take: another number may take another way.
    pub flow: u16,
    /// Payload in bytes after the ICMP, UDP or TCP header; 32 where absent, and 0 for TCP.
    pub size: Option<u16>,
    /// The payload in hexadecimal, instead of `size`. A Paris trace by ICMP or UDP changes its last two bytes, and carries
    /// no cookie against forged replies.
    pub payload: Option<String>,
    /// Give all probes the same payload, to the last byte. UDP probes of a Paris trace then go one at a time. Not for a Paris
    /// trace by ICMP, whose payload makes up for the sequence number.
    pub constant_payload: bool,
    /// DSCP of the probes, 0 to 63.
    pub dscp: Option<u8>,
    /// Octet of DSCP and ECN of the probes (type of service, traffic class).
    pub tos: Option<u8>,
    /// Forbid routers to fragment the probes.
    pub dont_fragment: bool,
    /// Let the probes pass for fragments of larger packets, which begin so many units of 8 bytes into them, 1 to 8191; of
    /// IPv4. Few routers answer for such.
    pub fragment_offset: Option<u16>,
    /// Find the path's MTU, too, when the path is known.
    pub pmtud: bool,
    /// Size in bytes, IP header included, with which the search for the MTU begins.
    pub pmtud_size: u16,
    /// Begin at the first hop, go forward to the destination or to a stop set, and then back to TTL 1 or to a stop set
    /// (Doubletree).
    pub doubletree: bool,
    /// Addresses of routers that end the way forward.
    pub global_stop_set: Vec<Address>,
    /// Name of the set of routers that traces from this vantage point have met, one of which ends the way back; traces of
    /// one name share it. Absent: go back to TTL 1.
    pub local_stop_set: Option<String>,
    /// A trace with a greater number than those before it empties the local stop set first.
    pub local_stop_set_epoch: u64,
    /// Routers that were met longer ago are none of the local stop set's.
    pub local_stop_set_age: Span,
    /// Don't go back.
    pub no_backward: bool,
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
            method: Method::Icmp,
            paris: true,
            first_hop: 1,
            max_ttl: 30,
            gap_limit: 5,
            last_ditch: false,
            attempts: 2,
            all_attempts: false,
            confidence: None,
            timeout: Span::from_millis(2_000),
            wait: Span::from_millis(0),
            wait_hop: Span::from_millis(0),
            parallel: 8,
            loops: 1,
            port: None,
            source_port: None,
            icmp_id: None,
            icmp_checksum: None,
            flow: 0,
            size: None,
            payload: None,
            constant_payload: false,
            dscp: None,
            tos: None,
            dont_fragment: false,
            fragment_offset: None,
            pmtud: false,
            pmtud_size: 1_500,
            doubletree: false,
            global_stop_set: Vec::new(),
            local_stop_set: None,
            local_stop_set_epoch: 0,
            local_stop_set_age: Span::from_millis(3_600_000),
            no_backward: false,
            router: None,
            source: None,
            family: Family::Any,
            lane: LaneWish::Any,
        }
    }
}

/// What probes are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Method {
    /// ICMP echo requests.
    #[default]
    Icmp,
    /// UDP datagrams.
    Udp,
    /// TCP segments with SYN.
    Tcp,
    /// TCP segments with ACK.
    TcpAck,
}

impl Method {
    #[cfg(feature = "run")]
    const fn has_ports(self) -> bool {
        !matches!(self, Self::Icmp)
    }

    const fn is_tcp(self) -> bool {
        matches!(self, Self::Tcp | Self::TcpAck)
    }

    pub(crate) const fn header_bytes(self) -> u64 {
        if self.is_tcp() { 20 } else { 8 }
    }
}

impl Params {
    fn payload_bytes(&self) -> u16 {
        let given = self.payload.as_ref().map(|digits| u16::try_from(digits.len() / 2).unwrap_or(u16::MAX));
        given.or(self.size).unwrap_or(if self.method.is_tcp() { 0 } else { 32 })
    }

    #[cfg(feature = "run")]
    fn destination_port(&self) -> u16 {
        self.port.unwrap_or(if self.method.is_tcp() { 80 } else { 33_434 })
    }
}

/// The most probes for a hop, and in all, of a trace that wants certainty.
const MAX_ASKED: u8 = 240;
const MAX_CERTAIN_PROBES: u64 = 4_096;
/// The most addresses of a global stop set: with it a request still fits one message.
pub const MAX_STOPS: usize = 16_384;
/// The longest name of a local stop set in bytes.
pub const MAX_SET_NAME: usize = 64;

/// Checks what is about certainty, stop sets and routers.
fn newer(params: &Params) -> Result<(), String> {
    let within = |holds: bool, text: &str| if holds { Ok(()) } else { Err(text.to_owned()) };
    let confidence = params.confidence.is_none_or(|percent| percent > 0.0 && percent < 100.0);
    within(confidence, "confidence must be above 0 and below 100")?;
    let both = params.confidence.is_some() && params.all_attempts;
    within(!both, "confidence says how often a hop is asked: leave all_attempts out")?;
    within(params.wait_hop.as_ns() <= 60_000_000_000, "wait_hop must be at most 1m")?;
    let makes_up = params.constant_payload && params.paris && params.method == Method::Icmp;
    within(!makes_up, "constant_payload is not for a Paris trace by method icmp")?;
    let stops = !params.global_stop_set.is_empty() || params.local_stop_set.is_some() || params.no_backward;
    within(
        !stops || params.doubletree,
        "global_stop_set, local_stop_set and no_backward are of doubletree: ask for it",
    )?;
    within(params.global_stop_set.len() <= MAX_STOPS, "global_stop_set must be at most 16384 addresses")?;
    let named = params.local_stop_set.as_ref().is_none_or(|name| (1..=MAX_SET_NAME).contains(&name.len()));
    within(named, "local_stop_set must be a name of 1 to 64 bytes")?;
    let epoch = params.local_stop_set_epoch;
    within(epoch == 0 || params.local_stop_set.is_some(), "local_stop_set_epoch needs a local_stop_set")?;
    within(epoch <= MAX_NUMBER, "local_stop_set_epoch must be at most 2^53 - 1")?;
    let age = params.local_stop_set_age.as_ns();
    within(age > 0 && age <= 30 * 86_400_000_000_000, "local_stop_set_age must be above 0 and at most 30d")?;
    let agrees = params.router.is_none_or(|router| params.family.holds(router.0));
    within(agrees, "router is not of the family that is asked for")
}

/// Numbers of JSON that every reader holds.
const MAX_NUMBER: u64 = (1 << 53) - 1;

/// The path that was found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Body {
    /// The target as it was asked for.
    pub target: String,
    /// The address to which the path leads.
    pub address: Address,
    /// Its family.
    pub family: AddressFamily,
    /// What the probes were.
    pub method: Method,
    /// Whether all belonged to one flow.
    pub paris: bool,
    /// The percentage of certainty that was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confidence: Option<f64>,
    /// The router that they left by, where one was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub router: Option<Address>,
    /// The source of the probes, where the system tells.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<Address>,
    /// Their source port, of UDP and TCP; that of the first where they differ.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_port: Option<u16>,
    /// Their destination port, of UDP and TCP; that of the first where they differ.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// Their ICMP identifier.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub icmp_id: Option<u16>,
    /// When the first probe left.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Timestamp>,
    /// Why the trace ended.
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
    /// The hops, from the first on, or the lowest to which the way back led, up to the end of the path or the last that
    /// answered.
    pub hops: Vec<Hop>,
    /// The probes to the destination itself, behind a gap.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub last_ditch: Vec<Probe>,
    /// How the stop sets were of use, where they were asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub doubletree: Option<Doubletree>,
    /// The path's MTU, where it was asked for and something answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mtu: Option<PathMtu>,
    /// How the packets went.
    pub conditions: Conditions,
}

/// Why a trace ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Stop {
    /// The reason.
    pub reason: StopReason,
    /// The TTL of the hop where the path ended; absent where it just went silent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl: Option<u8>,
    /// What a router or the system said, where the reason is `unreachable`, `icmp` or `error`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// The code of the ICMP message, where the reason is `unreachable` or `icmp`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<u8>,
}

/// Reasons for which a trace ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum StopReason {
    /// The destination answered.
    Completed,
    /// A router said that it can't be reached.
    Unreachable,
    /// Another ICMP error came.
    Icmp,
    /// The path came back to a router.
    Loop,
    /// A router of the global stop set answered.
    GlobalStopSet,
    /// So many hops in a row were silent.
    GapLimit,
    /// The last TTL was reached.
    HopLimit,
    /// It was called off.
    Halted,
    /// A probe could not be sent.
    Error,
}

/// How a trace used stop sets (Doubletree).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Doubletree {
    /// The TTL with which it began.
    pub first_hop: u8,
    /// The router of the global stop set that ended the way forward; absent where none did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub global_stop: Option<StoppedAt>,
    /// The router of the local stop set that ended the way back; absent where it went to TTL 1, or was not gone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub local_stop: Option<StoppedAt>,
    /// The name of the local stop set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub local_stop_set: Option<String>,
    /// Whether the way back was not to be gone.
    #[serde(default, skip_serializing_if = "is_false")]
    pub no_backward: bool,
}

/// A router of a stop set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct StoppedAt {
    /// Its TTL.
    pub ttl: u8,
    /// Its address.
    pub address: Address,
}

/// A hop.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Hop {
    /// Its TTL.
    pub ttl: u8,
    /// Its probes, in the order of sending.
    pub probes: Vec<Probe>,
}

/// What became of one probe.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Probe {
    /// Which of its hop it was, from 0.
    pub attempt: u8,
    /// How it ended.
    pub status: Status,
    /// When it left; absent when it did not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sent_at: Option<Timestamp>,
    /// Its length in bytes, IP header included; absent when it did not leave.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u32>,
    /// The identification in its IPv4 header, where it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_ip_id: Option<u16>,
    /// Its destination port, where the probes' differ.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// Its source port, where the probes' differ.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_port: Option<u16>,
    /// What came back first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reply: Option<Reply>,
    /// What came after it.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub duplicates: u32,
    /// Why it did not leave.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// The MTU of a path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PathMtu {
    /// The largest packet that passed, in bytes, IP header included; absent where none did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mtu: Option<u16>,
    /// The TTL of the hop up to which it holds: the destination, or the last hop that answered.
    pub ttl: u8,
    /// What larger packets met with, in the order of trying.
    pub notes: Vec<MtuNote>,
    /// The probes of the search.
    pub probes: Vec<Probe>,
}

/// Something that a packet was too big for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct MtuNote {
    /// How it is known.
    pub kind: MtuNoteKind,
    /// The size of the packet in bytes, IP header included.
    pub bytes: u16,
    /// The router that said so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Address>,
    /// The MTU of its next link in bytes, where it told a sensible one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mtu: Option<u32>,
    /// Of silence: the TTL of the last hop that such a packet reached.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub behind_ttl: Option<u8>,
}

/// How it is known that a packet was too big.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum MtuNoteKind {
    /// A router said so.
    TooBig,
    /// Nobody said anything, and smaller ones passed.
    Silence,
    /// The first link of the vantage point is smaller.
    Host,
}

impl Kind for Trace {
    const NAME: &'static str = "trace";
    const VERSION: SchemaVersion = SchemaVersion { major: 1, minor: 1 };
    const DESCRIPTION: &'static str =
        "Traceroute: the routers on the way to one target, Paris by default, and the path's MTU.";
    const MODULE: &'static str = "packet";

    type Params = Params;
    type Body = Body;

    fn summary_fields() -> Vec<SummaryField> {
        vec![
            field("reached", "1", "1 when the destination answered, 0 when not"),
            field("hops", "1", "TTL of the destination, or of the last hop that answered"),
            field("silent", "1", "hops up to there that stayed silent"),
            field("sent", "1", "probes that left"),
            field("replied", "1", "probes that were answered"),
            field("rtt_ns", "ns", "round trip to the destination"),
            field("mtu_bytes", "bytes", "largest packet that passes, IP header included"),
        ]
    }

    fn check(params: &Params) -> Result<(), String> {
        let within = |holds: bool, text: &str| if holds { Ok(()) } else { Err(text.to_owned()) };
        newer(params)?;
        within(params.first_hop > 0, "first_hop must be between 1 and 255")?;
        within(params.max_ttl >= params.first_hop, "max_ttl must not be below first_hop")?;
        within((1..=MAX_ATTEMPTS).contains(&params.attempts), "attempts must be between 1 and 20")?;
        within((1..=255).contains(&params.parallel), "parallel must be between 1 and 255")?;
        within(params.timeout.as_ns() > 0, "timeout must be above 0")?;
        within(params.timeout.as_ns() <= 60_000_000_000, "timeout must be at most 1m")?;
        within(params.wait.as_ns() <= 60_000_000_000, "wait must be at most 1m")?;
        within(params.size.is_none() || params.payload.is_none(), "size is the payload's: give one of them")?;
        let hexadecimal = params.payload.as_deref().is_none_or(|digits| hex(digits).is_some());
        within(hexadecimal, "payload must be bytes in hexadecimal")?;
        within(params.payload_bytes() <= MAX_SIZE, "size must be at most 65000")?;
        let offset = params.fragment_offset.is_none_or(|offset| (1..=8_191).contains(&offset));
        within(offset, "fragment_offset must be between 1 and 8191")?;
        let v6 = params.family == Family::Ipv6 || params.source.is_some_and(|source| source.0.is_ipv6());
        within(!v6 || params.fragment_offset.is_none(), "fragment_offset is of IPv4")?;
        let carries = params.paris && !params.method.is_tcp();
        within(!carries || params.payload_bytes() >= 2, "size must be at least 2, for the checksum's sake")?;
        within(params.port != Some(0), "port must be between 1 and 65535")?;
        within(params.source_port != Some(0), "source_port must be between 1 and 65535")?;
        within(params.icmp_id != Some(0), "icmp_id must be between 1 and 65535")?;
        let icmp = params.method == Method::Icmp;
        within(icmp || params.icmp_id.is_none(), "icmp_id is for method icmp")?;
        within(
            params.icmp_checksum.is_none() || (icmp && params.paris),
            "icmp_checksum is for a Paris trace by method icmp",
        )?;
        within(!icmp || params.source_port.is_none(), "source_port is for methods udp, tcp and tcp_ack")?;
        within(!icmp || params.port.is_none(), "port is for methods udp, tcp and tcp_ack")?;
        within(params.dscp.is_none_or(|dscp| dscp < 64), "dscp must be between 0 and 63")?;
        within(params.dscp.is_none() || params.tos.is_none(), "dscp and tos exclude each other")?;
        within(params.pmtud_size >= 68, "pmtud_size must be at least 68")
    }

    fn cost(params: &Params) -> Cost {
        let ttls = u64::from(params.max_ttl.saturating_sub(params.first_hop)) + 1;
        let last_ditch = if params.last_ditch { u64::from(params.attempts) } else { 0 };
        // The way back.
        let before = if params.doubletree && !params.no_backward { params.first_hop - 1 } else { 0 };
        let ttls = ttls + u64::from(before);
        let of_hop = params.confidence.map_or(params.attempts, |_| MAX_ASKED);
        let of_path = ttls * u64::from(of_hop) + last_ditch;
        let of_path = if params.confidence.is_some() { of_path.min(MAX_CERTAIN_PROBES) } else { of_path };
        // The table of sizes, and then half of the hops again and again, each as often as it may be tried.
        let of_search = if params.pmtud { 40 * u64::from(params.attempts) } else { 0 };
        let packet = u64::from(params.payload_bytes()) + 40 + params.method.header_bytes();
        let timeout = params.timeout.as_ns();
        // The way back, and probes that are all alike, go one by one.
        let alike = params.constant_payload && params.paris && params.method == Method::Udp;
        let parallel = if alike { 1 } else { params.parallel.into() };
        let rounds = of_path.div_ceil(parallel).max(of_hop.into()) + u64::from(before) * u64::from(of_hop);
        let pauses = params.wait_hop.as_ns().saturating_mul(u64::from(of_hop) * (1 + u64::from(before)));
        Cost {
            packets: of_path + of_search,
            bytes: of_path * packet + of_search * u64::from(params.pmtud_size),
            // A quarter of a second at most lies between hops.
            duration_ns: timeout
                .saturating_mul(rounds + of_search + last_ditch)
                .saturating_add(ttls * 250_000_000)
                .saturating_add(pauses)
                .saturating_add(params.wait.as_ns().saturating_mul(of_path + of_search)),
        }
    }

    fn self_test() -> Option<SelfTest<Params>> {
        let task = |host: SocketAddr| {
            let timeout = Span::from_millis(1_000);
            // Sockets for this every user may open; echo is what a ping's test is for.
            let (method, port) = (Method::Udp, Some(SELF_TEST_PORT));
            let params = Params { method, port, max_ttl: 1, attempts: 1, timeout, ..Params::default() };
            (params, Input::Target(host.ip().to_string()))
        };
        Some(SelfTest { far_end: FarEnd::Host, task })
    }
}
