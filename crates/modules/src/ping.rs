//! `ping`: ICMP echo requests at an interval, and what came back for each.
//!
//! The machine is [`mmn_probe::ping`]; here are its parameters and its result. A target that is silent or unreachable
//! is a result (*ok*, not answered); a request that could not leave at all is a failure.
//!
//! Begin with [`Params`] and [`Body`].

use std::net::SocketAddr;

use mmn_kit::{Cost, Family, FarEnd, Kind, SelfTest, Span, Timestamp};
use mmn_schema::announce::{SchemaVersion, SummaryField};
use mmn_schema::dispatch::Input;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::shared::{Address, AddressFamily, Stamps, field, is_false, is_zero};

#[cfg(feature = "run")]
mod run;

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

/// Sends ICMP echo requests and records each reply.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Params {
    /// Echo requests to send, 1 to 4096.
    pub count: u32,
    /// Time from one request to the next, at least 10ms.
    pub interval: Span,
    /// How long after its request a reply counts as received.
    pub timeout: Span,
    /// Payload in bytes after the ICMP header, at most 65507. The first 8 carry a cookie against forged replies.
    pub size: u16,
    /// Time to live (hop limit) of the requests, 1 to 255; the system's own where absent.
    pub ttl: Option<u8>,
    /// Up to 16 bytes in hexadecimal that fill the payload after the cookie; zeros where absent.
    pub pattern: Option<String>,
    /// Address family of the target.
    pub family: Family,
    /// End as soon as so many replies are in; absent: wait for all.
    pub stop_after: Option<u32>,
}

impl Default for Params {
    fn default() -> Self {
        Self {
            count: 3,
            interval: Span::from_millis(1_000),
            timeout: Span::from_millis(2_000),
            size: 56,
            ttl: None,
            pattern: None,
            family: Family::Any,
            stop_after: None,
        }
    }
}

/// What became of the requests.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Body {
    /// The target as it was asked for.
    pub target: String,
    /// The address that was pinged.
    pub address: Address,
    /// Its family.
    pub family: AddressFamily,
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
    /// Lost share of the requests that left, 0 to 1.
    pub loss: f64,
    /// The round trips; absent when there was none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rtt: Option<Rtt>,
    /// Who took the stamps of the round trips, the weaker where they differ; absent when there was none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stamps: Option<Stamps>,
    /// Civil time was set meanwhile: `sent_at` is in doubt, round trips are not.
    #[serde(default, skip_serializing_if = "is_false")]
    pub clock_stepped: bool,
    /// Packets that claimed to be replies and were not: wrong cookie, or for no request of this task.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub unasked: u32,
    /// Each request, in the order of sending.
    pub replies: Vec<Reply>,
}

/// The round trips in nanoseconds.
///
/// In the quartiles a lost request counts as infinite (RFC 2681, section 4.1): one that falls among the lost is absent.
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
    /// The TTL with which the reply arrived, where the system tells.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl: Option<u8>,
    /// The length of the reply in bytes, its 8-byte ICMP header included.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u32>,
    /// Who answered, where it was not the target's address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Address>,
    /// Further replies and errors.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub duplicates: u32,
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
    /// The code of the ICMP message, where the name covers several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<u8>,
    /// The MTU of the next link in bytes, where the packet was too big and the router tells.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mtu: Option<u32>,
    /// Whether it quotes the request's whole cookie. Many routers quote too little to tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verified: Option<bool>,
}

impl Kind for Ping {
    const NAME: &'static str = "ping";
    const VERSION: SchemaVersion = SchemaVersion { major: 1, minor: 0 };
    const DESCRIPTION: &'static str =
        "ICMP echo: round-trip times, loss, duplicates and errors of one target.";
    const MODULE: &'static str = "packet";

    type Params = Params;
    type Body = Body;

    fn summary_fields() -> Vec<SummaryField> {
        vec![
            field("sent", "1", "requests that left"),
            field("received", "1", "requests answered in time"),
            field("duplicates", "1", "further replies"),
            field("loss", "ratio", "lost share of the requests that left"),
            field("rtt_min_ns", "ns", "smallest round trip"),
            field("rtt_median_ns", "ns", "median round trip, lost requests counted as infinite"),
            field("rtt_mean_ns", "ns", "mean round trip"),
            field("rtt_max_ns", "ns", "largest round trip"),
        ]
    }

    fn check(params: &Params) -> Result<(), String> {
        let Params { count, interval, size, ttl, pattern, stop_after, timeout, .. } = params;
        let within = |holds: bool, text: &str| if holds { Ok(()) } else { Err(text.to_owned()) };
        within((1..=MAX_COUNT).contains(count), "count must be between 1 and 4096")?;
        within(*interval >= MIN_INTERVAL, "interval must be at least 10ms")?;
        within(interval.as_ns() <= 3_600_000_000_000, "interval must be at most 1h")?;
        within(timeout.as_ns() > 0, "timeout must be above 0")?;
        within(timeout.as_ns() <= 600_000_000_000, "timeout must be at most 10m")?;
        within(*size <= MAX_SIZE, "size must be at most 65507")?;
        within(*ttl != Some(0), "ttl must be between 1 and 255")?;
        within(
            *stop_after != Some(0),
            "stop_after must be at least 1; leave it out to wait for every reply",
        )?;
        pattern.as_deref().map_or(Ok(()), |text| fill(text).map(drop))
    }

    fn cost(params: &Params) -> Cost {
        let packets = u64::from(params.count);
        let last = params.interval.as_ns().saturating_mul(packets.saturating_sub(1));
        Cost {
            packets,
            // The larger IP header, of IPv6, and ICMP's.
            bytes: packets * (u64::from(params.size) + 40 + 8),
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

/// The bytes of a pattern.
fn fill(pattern: &str) -> Result<Vec<u8>, String> {
    let wrong = || format!("pattern {pattern:?} must be 1 to {MAX_PATTERN} bytes in hexadecimal");
    let digits: Option<Vec<u32>> = pattern.chars().map(|digit| digit.to_digit(16)).collect();
    let digits = digits.filter(|digits| !digits.is_empty() && digits.len() % 2 == 0).ok_or_else(wrong)?;
    let bytes: Vec<u8> = digits
        .chunks_exact(2)
        .map(|pair| pair.iter().fold(0, |byte, digit| byte << 4 | u8::try_from(*digit).unwrap_or(0)))
        .collect();
    if bytes.len() > MAX_PATTERN { Err(wrong()) } else { Ok(bytes) }
}
