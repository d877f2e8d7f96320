//! `tcp`: how long a TCP connection takes to come about, and whether the port is open.
//!
//! The machine is [`mmn_probe::tcp`]: a SYN, sent again with doubling waits while nothing answers. No connection is made:
//! the vantage point's system resets what the target has half opened. A port that is closed, unreachable or silent is a
//! result (*ok*); only an open or closed one counts as answered.
//!
//! Begin with [`Params`] and [`Body`].

use mmn_kit::{Cost, Family, FarEnd, Kind, SelfTest, Span, Timestamp};
use mmn_schema::announce::{SchemaVersion, SummaryField};
use mmn_schema::dispatch::Input;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::ping::Error;
use crate::shared::{Address, AddressFamily, Conditions, LaneWish, field, is_false, is_nothing};

#[cfg(feature = "run")]
mod run;

/// The most attempts after the first.
pub const MAX_RETRIES: u8 = 10;

/// The kind `tcp`.
#[derive(Debug)]
pub struct Tcp;

/// Sends a TCP SYN to a port and times what answers it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Params {
    /// Destination port.
    pub port: u16,
    /// How often the SYN is sent again at most while nothing answers, 0 to 10.
    pub retries: u8,
    /// How long the first attempt waits for an answer (RFC 6298); each further one waits twice as long.
    pub rto: Span,
    /// Source port of the first attempt, one more for each that follows, where the vantage point allows it.
    pub source_port: Option<u16>,
    /// Source address, one of the vantage point's own; the system's choice where absent.
    pub source: Option<Address>,
    /// Time to live (hop limit) of the SYN, 1 to 255; the system's own where absent.
    pub ttl: Option<u8>,
    /// Differentiated services code point of the SYN, 0 to 63.
    pub dscp: Option<u8>,
    /// Maximum segment size that the SYN announces; that of an Ethernet where absent.
    pub mss: Option<u16>,
    /// Address family of the target.
    pub family: Family,
    /// The way that packets take through the vantage point's host.
    pub lane: LaneWish,
}

impl Default for Params {
    fn default() -> Self {
        Self {
            port: 80,
            retries: 2,
            rto: Span::from_millis(1_000),
            source_port: None,
            source: None,
            ttl: None,
            dscp: None,
            mss: None,
            family: Family::Any,
            lane: LaneWish::Any,
        }
    }
}

/// What became of the attempt to connect.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Body {
    /// The target as it was asked for.
    pub target: String,
    /// The address that was asked.
    pub address: Address,
    /// Its family.
    pub family: AddressFamily,
    /// The port that was asked.
    pub port: u16,
    /// The source address of the SYN, where the system tells.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<Address>,
    /// What is known of the port.
    pub state: State,
    /// The time from SYN to SYN and ACK, in nanoseconds; absent where the port is not open.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connect_ns: Option<u64>,
    /// The time from the SYN to whatever answered it, in nanoseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rtt_ns: Option<u64>,
    /// Packets that claimed to be answers and were not.
    #[serde(default, skip_serializing_if = "is_nothing")]
    pub unasked: u64,
    /// Civil time was set meanwhile: `sent_at` is in doubt, times are not.
    #[serde(default, skip_serializing_if = "is_false")]
    pub clock_stepped: bool,
    /// How the packets went through the vantage point's host.
    pub conditions: Conditions,
    /// Each attempt, in the order of sending.
    pub attempts: Vec<Attempt>,
}

/// What is known of a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// SYN and ACK came.
    Open,
    /// A reset came.
    Closed,
    /// An ICMP error came.
    Unreachable,
    /// Nothing came.
    TimedOut,
    /// Nothing came, but the vantage point could not read all that came meanwhile: an answer may have been missed.
    Overrun,
    /// It never left.
    NotSent,
    /// The measurement, or another attempt, ended before its end was known.
    Cancelled,
}

/// One SYN and what became of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Attempt {
    /// How it ended.
    pub state: State,
    /// When it left; absent when it did not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sent_at: Option<Timestamp>,
    /// Its source port; absent when it did not leave.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_port: Option<u16>,
    /// The identification in its IPv4 header, where it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_ip_id: Option<u16>,
    /// The time to what answered it, in nanoseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rtt_ns: Option<u64>,
    /// Who answered, where it was not the target's address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Address>,
    /// The TTL with which the answer arrived, where the system tells.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl: Option<u8>,
    /// The type of service (traffic class) with which it arrived, where the system tells.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tos: Option<u8>,
    /// The identification in its IPv4 header, where the system tells.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ip_id: Option<u16>,
    /// The flags of the segment, a letter each: F, S, R, P, A, U, E, C.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tcp_flags: Option<String>,
    /// Its window, as it stands in the header.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tcp_window: Option<u16>,
    /// What the target's SYN offers; absent where the system does not show it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub offer: Option<Offer>,
    /// What was said instead of an answer, by a router or by the system.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<Error>,
}

/// The options of the segment that opened a port.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Offer {
    /// Its maximum segment size in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mss: Option<u16>,
    /// By how many bits its windows are to be shifted (RFC 7323).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window_scale: Option<u8>,
    /// Whether it takes selective acknowledgements (RFC 2018).
    pub sack_permitted: bool,
    /// Its timestamp (RFC 7323).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timestamp: Option<u32>,
}

impl Kind for Tcp {
    const NAME: &'static str = "tcp";
    const VERSION: SchemaVersion = SchemaVersion { major: 1, minor: 0 };
    const DESCRIPTION: &'static str = "TCP connect time, and whether a port is open, closed or unreachable.";
    const MODULE: &'static str = "packet";

    type Params = Params;
    type Body = Body;

    fn summary_fields() -> Vec<SummaryField> {
        vec![
            field("open", "1", "1 when the port is open, else 0"),
            field("closed", "1", "1 when a reset came, else 0"),
            field("attempts", "1", "SYNs that left"),
            field("connect_ns", "ns", "time from SYN to SYN and ACK"),
            field("rtt_ns", "ns", "time from the SYN to whatever answered it"),
        ]
    }

    fn check(params: &Params) -> Result<(), String> {
        let Params { port, retries, rto, ttl, dscp, .. } = params;
        let within = |holds: bool, text: &str| if holds { Ok(()) } else { Err(text.to_owned()) };
        within(*port > 0, "port must be between 1 and 65535")?;
        within(*retries <= MAX_RETRIES, "retries must be at most 10")?;
        within(*rto >= Span::from_millis(1), "rto must be at least 1ms")?;
        within(*rto <= Span::from_millis(60_000), "rto must be at most 60s")?;
        within(total_ns(params) <= 600_000_000_000, "rto and retries must not last longer than 10m")?;
        within(*ttl != Some(0), "ttl must be between 1 and 255")?;
        within(dscp.is_none_or(|dscp| dscp < 64), "dscp must be between 0 and 63")?;
        let fits = |first: u16| first > 0 && u16::try_from(u32::from(first) + u32::from(*retries)).is_ok();
        within(
            params.source_port.is_none_or(fits),
            "source_port must lie, with those that follow, in 1 to 65535",
        )?;
        let agrees = params.source.is_none_or(|source| params.family.holds(source.0));
        within(agrees, "source is not of the family that is asked for")
    }

    fn cost(params: &Params) -> Cost {
        // Each attempt, and the reset that the system sends after an answer.
        let packets = u64::from(params.retries) + 2;
        let header = if params.family == Family::Ipv4 { 20 } else { 40 };
        // A SYN has 20 bytes of options.
        Cost { packets, bytes: packets * (header + 40), duration_ns: total_ns(params) }
    }

    fn self_test() -> Option<SelfTest<Params>> {
        Some(SelfTest {
            far_end: FarEnd::Stream(|_| None),
            task: |far_end| {
                let params = Params { port: far_end.port(), ..Params::default() };
                (params, Input::Target(far_end.ip().to_string()))
            },
        })
    }
}

/// How long all attempts together wait: the first time, doubled as often.
fn total_ns(params: &Params) -> u64 {
    let attempts = u32::from(params.retries) + 1;
    params.rto.as_ns().saturating_mul((1_u64.checked_shl(attempts).unwrap_or(u64::MAX)).saturating_sub(1))
}
