//! `dns`: one question to one name server, and its answer in full and as it came.
//!
//! *ok* means that the question was put, whatever came of it: NXDOMAIN, SERVFAIL, silence, a refused connection and an
//! ICMP error are results, the last three not *answered*, each attempt with its own error. What kept the question from
//! being put is a failure: a server without address, no route, no privilege, no address of the family. This kind never
//! follows a referral and never asks a second server.
//!
//! The codec is this folder's own, so that a message with one broken record still shows all others, and so that record
//! data stands in the presentation format of its RFC; the tests check it against another one.
//!
//! Begin with [`Params`] and [`Body`]; `run` performs it, `message` decodes.

use std::net::SocketAddr;

use mmn_kit::{Cost, Family, FarEnd, Kind, SelfTest, Span};
use mmn_schema::announce::{SchemaVersion, SummaryField};
use mmn_schema::dispatch::Input;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::shared::field;

mod message;
mod rdata;
mod registry;
mod result;
mod wire;

#[cfg(feature = "fuzzing")]
pub mod fuzzing;
#[cfg(feature = "run")]
mod name;
#[cfg(feature = "run")]
mod query;
#[cfg(feature = "run")]
mod run;
#[cfg(feature = "run")]
mod server;

pub use message::decode;
pub use registry::{class_number, type_number};
pub use result::{
    Attempt, Body, Cookie, Data, Edns, EdnsOption, ExtendedError, Flags, Ignored, Message, Nsid, Question,
    Record, Subnet, Text, Transport,
};

/// The most repetitions.
pub const MAX_RETRIES: u32 = 10;
/// The longest query, in bytes: name, OPT record, subnet and cookie included.
const MAX_QUERY_BYTES: u64 = 12 + 255 + 4 + 11 + 4 + 4 + 20 + 12;

/// Types that are no question: OPT, TKEY, TSIG and the zone transfers.
const NO_QUESTIONS: [u16; 5] = [41, 249, 250, 251, 252];

/// The kind `dns`.
#[derive(Debug)]
pub struct Dns;

/// Asks a name server one question and decodes its answer.
#[expect(
    clippy::struct_excessive_bools,
    reason = "the flags of the protocol, each asked for by its own name"
)]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Params {
    /// Record type: a mnemonic such as AAAA, or TYPE65.
    pub r#type: String,
    /// Class: IN, CH, HS, ANY, or CLASS3.
    pub class: String,
    /// Name server: an address or a name, with :PORT or without; absent: the first of the vantage point's own.
    pub server: Option<String>,
    /// Port of the server, where `server` gives none.
    pub port: u16,
    /// Address family of the server.
    pub family: Family,
    /// Transport of the first attempt.
    pub protocol: Transport,
    /// Keep a truncated answer instead of asking again over TCP.
    pub no_fallback: bool,
    /// Set RD: ask for recursion.
    pub rd: bool,
    /// Set CD: ask for no DNSSEC validation.
    pub cd: bool,
    /// Set AD: ask whether the answer is authentic.
    pub ad: bool,
    /// Set DO in the OPT record: ask for DNSSEC records. Needs `edns`.
    pub r#do: bool,
    /// Send an OPT record (EDNS version 0, RFC 6891).
    pub edns: bool,
    /// UDP payload size in bytes that the OPT record offers, at least 512.
    pub bufsize: u16,
    /// Ask for the server's identifier (NSID, RFC 5001). Needs `edns`.
    pub nsid: bool,
    /// Client subnet to send (RFC 7871), such as 192.0.2.0/24; absent: none. Needs `edns`.
    pub subnet: Option<String>,
    /// Send a random client cookie (RFC 7873). Needs `edns`.
    pub cookie: bool,
    /// Mix the case of the name's letters at random, and take only answers that repeat it (0x20).
    pub mixed_case: bool,
    /// How often to ask again after silence or an error, at most 10.
    pub retries: u32,
    /// How long to wait for an answer to each attempt.
    pub timeout: Span,
}

impl Default for Params {
    fn default() -> Self {
        Self {
            r#type: "A".to_owned(),
            class: "IN".to_owned(),
            server: None,
            port: 53,
            family: Family::Any,
            protocol: Transport::Udp,
            no_fallback: false,
            rd: true,
            cd: false,
            ad: false,
            r#do: false,
            edns: true,
            bufsize: 1232,
            nsid: false,
            subnet: None,
            cookie: false,
            mixed_case: false,
            retries: 2,
            timeout: Span::from_millis(2_000),
        }
    }
}

impl Kind for Dns {
    const NAME: &'static str = "dns";
    const VERSION: SchemaVersion = SchemaVersion { major: 1, minor: 0 };
    const DESCRIPTION: &'static str = "DNS: the answer of a name server, decoded in full, and how long it took. The input is the name asked for.";
    const MODULE: &'static str = "dns";

    type Params = Params;
    type Body = Body;

    fn summary_fields() -> Vec<SummaryField> {
        vec![
            field("rtt_ns", "ns", "from the query to its answer"),
            field("rcode", "1", "response code, 0 for NOERROR"),
            field("answers", "1", "records in the answer section"),
            field("response_bytes", "bytes", "length of the answer"),
            field("attempts", "1", "queries sent"),
            field("tcp", "1", "1 when the answer came over TCP, else 0"),
        ]
    }

    fn check(params: &Params) -> Result<(), String> {
        let number = registry::type_number(&params.r#type).ok_or_else(|| {
            format!("type {:?} is neither a mnemonic such as AAAA nor of the form TYPE65", params.r#type)
        })?;
        if NO_QUESTIONS.contains(&number) {
            return Err(format!("type {} is no question with one answer", params.r#type));
        }
        registry::class_number(&params.class).ok_or_else(|| {
            format!("class {:?} is neither IN, CH, HS, ANY nor of the form CLASS3", params.class)
        })?;
        let within = |holds: bool, text: &str| if holds { Ok(()) } else { Err(text.to_owned()) };
        within(params.port != 0, "port must be between 1 and 65535")?;
        within(params.bufsize >= 512, "bufsize must be at least 512")?;
        within(params.retries <= MAX_RETRIES, "retries must be at most 10")?;
        within(params.timeout.as_ns() > 0, "timeout must be above 0")?;
        within(params.timeout.as_ns() <= 600_000_000_000, "timeout must be at most 10m")?;
        for (wanted, name) in [
            (params.r#do, "do"),
            (params.nsid, "nsid"),
            (params.cookie, "cookie"),
            (params.subnet.is_some(), "subnet"),
        ] {
            within(params.edns || !wanted, &format!("{name} needs edns"))?;
        }
        let server = params.server.as_deref();
        within(server.is_none_or(|server| !server.trim().is_empty()), "server must not be empty")?;
        params.subnet.as_deref().map_or(Ok(()), |text| Subnet::parse(text).map(drop))
    }

    fn cost(params: &Params) -> Cost {
        let attempts = u64::from(params.retries) + 1;
        // A connection costs a handshake, the query, acknowledgements of up to 64 KiB, and its end.
        let (over_tcp, over_udp) = match (params.protocol, params.no_fallback) {
            (Transport::Tcp, _) => (attempts, 0),
            (Transport::Udp, false) => (1, attempts),
            (Transport::Udp, true) => (0, attempts),
        };
        let tcp_packets = 3 + 1 + 45 + 2;
        Cost {
            packets: over_udp + over_tcp * tcp_packets,
            bytes: over_udp * (MAX_QUERY_BYTES + 48) + over_tcp * (MAX_QUERY_BYTES + 2 + tcp_packets * 80),
            duration_ns: params.timeout.as_ns().saturating_mul(over_udp.saturating_add(over_tcp * 2)),
        }
    }

    fn self_test() -> Option<SelfTest<Params>> {
        let task = |server: SocketAddr| {
            let params = Params {
                server: Some(server.to_string()),
                retries: 0,
                timeout: Span::from_millis(1_000),
                ..Params::default()
            };
            (params, Input::Target("self-test.invalid".to_owned()))
        };
        // The question, with QR set (RFC 1035, section 4.1.1): an answer without records.
        let answer = |query: &[u8]| {
            let mut answer = query.to_vec();
            *answer.get_mut(2)? |= 0x80;
            Some(answer)
        };
        Some(SelfTest { far_end: FarEnd::Datagrams(answer), task })
    }
}
