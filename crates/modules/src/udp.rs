//! `udp`: datagrams with a payload of one's own to one port, and whatever comes back for them.
//!
//! The machine is [`mmn_probe::udp`]. Silence and ICMP errors are results (*ok*, not answered). A reply has no cookie:
//! it comes from the target's address and port to the port that its probe left from, and no more is known of it.
//!
//! Begin with [`Params`] and [`Body`].

use mmn_kit::{Cost, Family, FarEnd, Kind, Octets, SelfTest, Span, Timestamp};
use mmn_schema::announce::{SchemaVersion, SummaryField};
use mmn_schema::dispatch::Input;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::ping::{End, Error, Rtt};
use crate::shared::{
    Address, AddressFamily, Conditions, LaneWish, field, hex, is_false, is_nothing, is_zero,
};

#[cfg(feature = "run")]
mod run;

/// The most probes of one task.
pub const MAX_COUNT: u32 = 1_024;
/// The longest payload in bytes: what an IPv4 packet of 65,535 bytes leaves after its header and UDP's.
pub const MAX_PAYLOAD: usize = 65_507;

/// The kind `udp`.
#[derive(Debug)]
pub struct Udp;

/// Sends datagrams to a port and records what comes back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Params {
    /// Destination port; 7 is the echo service's.
    pub port: u16,
    /// Payload in hexadecimal; empty where absent.
    pub payload: Option<String>,
    /// Payload as text, instead of `payload`.
    pub text: Option<String>,
    /// Probes to send, 1 to 1024, each from a source port of its own.
    pub count: u32,
    /// Time from one probe to the next, at least 10ms.
    pub interval: Span,
    /// How long after its probe a reply counts as received.
    pub timeout: Span,
    /// End as soon as so many probes are answered; absent: when all are.
    pub stop_after: Option<u32>,
    /// End with the first reply: the same as `stop_after` 1.
    pub exit_first: bool,
    /// Wait for further replies until the last timeout, though every probe is answered.
    pub wait_replies: bool,
    /// Source port of the first probe, one more for each that follows, where the vantage point allows it.
    pub source_port: Option<u16>,
    /// Source address, one of the vantage point's own; the system's choice where absent.
    pub source: Option<Address>,
    /// Time to live (hop limit) of the probes, 1 to 255; the system's own where absent.
    pub ttl: Option<u8>,
    /// Differentiated services code point of the probes, 0 to 63.
    pub dscp: Option<u8>,
    /// Address family of the target.
    pub family: Family,
    /// The way that packets take through the vantage point's host.
    pub lane: LaneWish,
}

impl Default for Params {
    fn default() -> Self {
        Self {
            port: 7,
            payload: None,
            text: None,
            count: 1,
            interval: Span::from_millis(1_000),
            timeout: Span::from_millis(2_000),
            stop_after: None,
            exit_first: false,
            wait_replies: false,
            source_port: None,
            source: None,
            ttl: None,
            dscp: None,
            family: Family::Any,
            lane: LaneWish::Any,
        }
    }
}

/// What became of the probes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Body {
    /// The target as it was asked for.
    pub target: String,
    /// The address that was probed.
    pub address: Address,
    /// Its family.
    pub family: AddressFamily,
    /// The port that was probed.
    pub port: u16,
    /// The source address of the probes, where the system tells.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<Address>,
    /// The length of each probe's payload in bytes.
    pub payload_bytes: u32,
    /// How long a reply was waited for, in nanoseconds.
    pub timeout_ns: u64,
    /// How it ended; absent where it was cut off.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end: Option<End>,
    /// Probes that left.
    pub sent: u32,
    /// Probes that were answered in time.
    pub received: u32,
    /// Replies, further ones included.
    pub replies: u32,
    /// Probes that an ICMP error answered; they count as lost.
    pub errors: u32,
    /// Probes whose reply may have been missed by the vantage point. They are not lost.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub overrun: u32,
    /// Lost share of the probes that left and whose end is known, 0 to 1.
    pub loss: f64,
    /// The round trips to the first reply of each probe; absent when there was none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rtt: Option<Rtt>,
    /// Civil time was set meanwhile: `sent_at` is in doubt, round trips are not.
    #[serde(default, skip_serializing_if = "is_false")]
    pub clock_stepped: bool,
    /// Packets that claimed to be replies and were not.
    #[serde(default, skip_serializing_if = "is_nothing")]
    pub unasked: u64,
    /// Replies beyond those that are kept.
    #[serde(default, skip_serializing_if = "is_nothing")]
    pub dropped: u64,
    /// How the packets went through the vantage point's host.
    pub conditions: Conditions,
    /// Each probe, in the order of sending.
    pub probes: Vec<Probe>,
}

/// What became of one probe.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Probe {
    /// Its number, from 0.
    pub seq: u32,
    /// How it ended.
    pub status: Status,
    /// When it left; absent when it did not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sent_at: Option<Timestamp>,
    /// Its source port; absent when it did not leave.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_port: Option<u16>,
    /// The identification in its IPv4 header, where it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ip_id: Option<u16>,
    /// The time to the first reply, or to the ICMP error, in nanoseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rtt_ns: Option<u64>,
    /// Who reported the ICMP error.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Address>,
    /// What was said instead of a reply, by a router or by the system.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<Error>,
    /// What came back, in the order of coming.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub replies: Vec<Reply>,
}

/// How a probe ended.
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
    /// An ICMP error came: `port_unreachable` and others.
    Error,
    /// It never left.
    NotSent,
    /// The measurement ended before its end was known.
    Cancelled,
}

/// A datagram that came back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Reply {
    /// When it came.
    pub received_at: Timestamp,
    /// The time since its probe left, in nanoseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rtt_ns: Option<u64>,
    /// The length of its payload in bytes.
    pub bytes: u32,
    /// Its payload.
    pub payload: Octets,
    /// Whether there was no room for all of the payload.
    #[serde(default, skip_serializing_if = "is_false")]
    pub truncated: bool,
    /// Who sent it, where it was not the target's address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Address>,
    /// The TTL with which it arrived, where the system tells.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl: Option<u8>,
    /// The type of service (traffic class) with which it arrived, where the system tells.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tos: Option<u8>,
    /// The identification in its IPv4 header, where the system tells.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ip_id: Option<u16>,
}

impl Kind for Udp {
    const NAME: &'static str = "udp";
    const VERSION: SchemaVersion = SchemaVersion { major: 1, minor: 0 };
    const DESCRIPTION: &'static str = "UDP probes with a payload of one's own, and their replies.";
    const MODULE: &'static str = "packet";

    type Params = Params;
    type Body = Body;

    fn summary_fields() -> Vec<SummaryField> {
        vec![
            field("sent", "1", "probes that left"),
            field("received", "1", "probes answered in time"),
            field("replies", "1", "replies, further ones included"),
            field("errors", "1", "probes that an ICMP error answered"),
            field(
                "overrun",
                "1",
                "probes whose reply may have been missed by the vantage point, where there are any",
            ),
            field("loss", "ratio", "lost share of the probes whose end is known"),
            field("rtt_min_ns", "ns", "smallest round trip"),
            field("rtt_median_ns", "ns", "median round trip, lost probes counted as infinite"),
        ]
    }

    fn check(params: &Params) -> Result<(), String> {
        let Params { port, count, interval, timeout, stop_after, ttl, dscp, .. } = params;
        let within = |holds: bool, text: &str| if holds { Ok(()) } else { Err(text.to_owned()) };
        within(*port > 0, "port must be between 1 and 65535")?;
        within((1..=MAX_COUNT).contains(count), "count must be between 1 and 1024")?;
        within(*interval >= Span::from_millis(10), "interval must be at least 10ms")?;
        within(*interval <= Span::from_millis(3_600_000), "interval must be at most 1h")?;
        within(timeout.as_ns() > 0, "timeout must be above 0")?;
        within(*timeout <= Span::from_millis(600_000), "timeout must be at most 10m")?;
        within(
            *stop_after != Some(0),
            "stop_after must be at least 1; leave it out to wait for every reply",
        )?;
        within(stop_after.is_none() || !params.exit_first, "exit_first is stop_after 1: give one of them")?;
        within(*ttl != Some(0), "ttl must be between 1 and 255")?;
        within(dscp.is_none_or(|dscp| dscp < 64), "dscp must be between 0 and 63")?;
        within(params.text.is_none() || params.payload.is_none(), "text is the payload: give one of them")?;
        let payload = payload(params).ok_or("payload must be bytes in hexadecimal")?;
        within(payload.len() <= MAX_PAYLOAD, "payload must be at most 65507 bytes")?;
        let fits = |first: u16| first > 0 && u16::try_from(u32::from(first) + (count - 1)).is_ok();
        within(
            params.source_port.is_none_or(fits),
            "source_port must lie, with those that follow, in 1 to 65535",
        )?;
        let agrees = params.source.is_none_or(|source| params.family.holds(source.0));
        within(agrees, "source is not of the family that is asked for")
    }

    fn cost(params: &Params) -> Cost {
        let packets = u64::from(params.count);
        let payload = payload(params).and_then(|payload| u64::try_from(payload.len()).ok()).unwrap_or(0);
        let header = if params.family == Family::Ipv4 { 20 } else { 40 };
        let last = params.interval.as_ns().saturating_mul(packets.saturating_sub(1));
        Cost {
            packets,
            bytes: packets * (payload + header + 8),
            duration_ns: last.saturating_add(params.timeout.as_ns()),
        }
    }

    fn self_test() -> Option<SelfTest<Params>> {
        Some(SelfTest {
            far_end: FarEnd::Datagrams(|datagram| Some(datagram.to_vec())),
            task: |far_end| {
                let text = Some("self-test".to_owned());
                let params = Params { port: far_end.port(), text, ..Params::default() };
                (params, Input::Target(far_end.ip().to_string()))
            },
        })
    }
}

/// The bytes that probes carry.
fn payload(params: &Params) -> Option<Vec<u8>> {
    match (&params.payload, &params.text) {
        (Some(digits), _) => hex(digits),
        (None, Some(text)) => Some(text.clone().into_bytes()),
        (None, None) => Some(Vec::new()),
    }
}
