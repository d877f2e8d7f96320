//! What a `dns` measurement found.

use std::net::IpAddr;

use mmn_kit::{Octets, Reason, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::shared::{Address, AddressFamily, Stamps, is_false, is_zero};

/// The exchange, and the answer where there was one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Body {
    /// The server as it was asked for; absent when it was the vantage point's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server: Option<String>,
    /// The address that was asked.
    pub address: Address,
    /// Its family.
    pub family: AddressFamily,
    /// The port that was asked.
    pub port: u16,
    /// How long it took to resolve the server's name, in nanoseconds; absent for an address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resolve_ns: Option<u64>,
    /// The transport of the answer; of the last attempt when there was none.
    pub transport: Transport,
    /// From the query to its answer, in nanoseconds; over TCP without the connection's set-up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rtt_ns: Option<u64>,
    /// Who took the two stamps.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stamps: Option<Stamps>,
    /// From the first query to the end, retries and TCP included, in nanoseconds; without the time for which the site's
    /// limits held packets back.
    pub total_ns: u64,
    /// Every query that was sent, in order.
    pub attempts: Vec<Attempt>,
    /// Datagrams and messages that came and were no answer.
    pub ignored: Ignored,
    /// The query that was answered, or the last one, as it was sent.
    pub query: Octets,
    /// Its length in bytes.
    pub query_bytes: u32,
    /// The answer's length in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub response_bytes: Option<u32>,
    /// The answer, decoded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub response: Option<Message>,
    /// The answer as it came.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub raw: Option<Octets>,
}

/// What carries a query.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Transport {
    /// One datagram each way.
    #[default]
    Udp,
    /// A connection of its own (RFC 7766).
    Tcp,
}

/// One query and what came of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Attempt {
    /// What carried it.
    pub transport: Transport,
    /// When it left; absent when it did not, the connection having failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sent_at: Option<Timestamp>,
    /// The address that it left from, where the system tells.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<Address>,
    /// Its port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_port: Option<u16>,
    /// The identifier of the query; absent when none left.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<u16>,
    /// How long the connection took to set up, in nanoseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connect_ns: Option<u64>,
    /// From the query to its answer, in nanoseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rtt_ns: Option<u64>,
    /// The answer's length in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub response_bytes: Option<u32>,
    /// The answer was truncated (TC).
    #[serde(default, skip_serializing_if = "is_false")]
    pub truncated: bool,
    /// Why there was no answer: `timeout`, `connection-refused`, `unreachable`, `connection-reset`, `protocol`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<Reason>,
}

/// What came and was no answer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Ignored {
    /// Messages with another identifier than any query of this task: late ones of others, or forged.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub wrong_id: u32,
    /// Messages with a right identifier and another question, or the question in another case when it was mixed.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub wrong_question: u32,
    /// Bytes that are no response at all.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub garbage: u32,
}

/// A message (RFC 1035, section 4), its OPT record apart.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Message {
    /// The identifier.
    pub id: u16,
    /// The kind of query: `QUERY`.
    pub opcode: String,
    /// The response code by name, the bits of the OPT record included: `NOERROR`, `NXDOMAIN`, `BADVERS`.
    pub rcode: String,
    /// The same as a number.
    pub rcode_number: u16,
    /// The flags that are set.
    pub flags: Flags,
    /// What was asked.
    pub question: Vec<Question>,
    /// The answer.
    pub answer: Vec<Record>,
    /// Name servers, or the zone's SOA.
    pub authority: Vec<Record>,
    /// What else helps.
    pub additional: Vec<Record>,
    /// The OPT record.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub edns: Option<Edns>,
    /// Bytes after the last record.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub trailing_bytes: u32,
    /// What was wrong with the message; the sections hold what was read before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub malformed: Option<String>,
}

/// The flags of a header.
#[expect(clippy::struct_excessive_bools, reason = "the protocol's own")]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Flags {
    /// It is a response.
    pub qr: bool,
    /// Authoritative answer.
    pub aa: bool,
    /// Truncated.
    pub tc: bool,
    /// Recursion desired.
    pub rd: bool,
    /// Recursion available.
    pub ra: bool,
    /// Authentic data.
    pub ad: bool,
    /// Checking disabled.
    pub cd: bool,
}

/// A question.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Question {
    /// The name, in presentation format with its final dot.
    pub name: String,
    /// The type by name, or `TYPE65280`.
    pub r#type: String,
    /// The class by name, or `CLASS3`.
    pub class: String,
}

/// A resource record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Record {
    /// The name, in presentation format with its final dot.
    pub name: String,
    /// The type by name, or `TYPE65280`.
    pub r#type: String,
    /// The class by name, or `CLASS3`.
    pub class: String,
    /// The time to live in seconds, as the wire has it.
    pub ttl: u32,
    /// The data in presentation format; `\# length hex` (RFC 3597) where the type is unknown or the data is broken.
    pub rdata: String,
    /// The data of the commonest types in parts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<Data>,
}

/// Record data in parts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Data {
    /// A, AAAA.
    Address(Address),
    /// CNAME, NS, PTR, DNAME.
    Name(String),
    /// MX.
    Mx {
        /// The lowest is tried first.
        preference: u16,
        /// The host.
        exchange: String,
    },
    /// SRV (RFC 2782).
    Srv {
        /// The lowest is tried first.
        priority: u16,
        /// The share among those of one priority.
        weight: u16,
        /// The port.
        port: u16,
        /// The host.
        target: String,
    },
    /// SOA.
    Soa {
        /// The primary server.
        mname: String,
        /// The mailbox of who is in charge.
        rname: String,
        /// The zone's version.
        serial: u32,
        /// In seconds.
        refresh: u32,
        /// In seconds.
        retry: u32,
        /// In seconds.
        expire: u32,
        /// The time to live of negative answers, in seconds.
        minimum: u32,
    },
    /// TXT: its strings.
    Txt(Vec<Text>),
}

/// A string of bytes that is mostly text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Text {
    /// It is UTF-8.
    Text(String),
    /// It is not.
    Bytes(Octets),
}

impl From<&[u8]> for Text {
    fn from(bytes: &[u8]) -> Self {
        match std::str::from_utf8(bytes) {
            Ok(text) => Self::Text(text.to_owned()),
            Err(_) => Self::Bytes(Octets(bytes.to_vec())),
        }
    }
}

/// The OPT record (RFC 6891).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Edns {
    /// The version.
    pub version: u8,
    /// The UDP payload size that the sender takes, in bytes.
    pub bufsize: u16,
    /// DO: DNSSEC records are welcome.
    pub r#do: bool,
    /// The server's identifier.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nsid: Option<Nsid>,
    /// The client subnet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subnet: Option<Subnet>,
    /// The cookies.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cookie: Option<Cookie>,
    /// The extended errors.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<ExtendedError>,
    /// All other options, and those above whose data is broken.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub options: Vec<EdnsOption>,
}

/// The identifier of a server (RFC 5001).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Nsid {
    /// As it came.
    pub raw: Octets,
    /// As text, where it is UTF-8 without control characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
}

/// A client subnet (RFC 7871).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Subnet {
    /// The address, its host bits zero.
    pub address: Address,
    /// How many bits of it the client gave.
    pub source: u8,
    /// For how many bits the answer holds; 0 in a query.
    pub scope: u8,
}

impl Subnet {
    /// Reads `192.0.2.0/24`; without a length, 24 or 56 (RFC 7871, section 11.1). Host bits are cleared.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let wrong = || format!("subnet {text:?} is not of the form 192.0.2.0/24 or 2001:db8::/56");
        let (address, length) = text.split_once('/').map_or((text, None), |(a, b)| (a, Some(b)));
        let address: IpAddr = address.parse().map_err(|_| wrong())?;
        let (bits, usual) = if address.is_ipv4() { (32, 24) } else { (128, 56) };
        let source: u8 = length.map_or(Ok(usual), str::parse).map_err(|_| wrong())?;
        if source > bits {
            return Err(wrong());
        }
        let address = match address {
            IpAddr::V4(v4) => {
                let mask = u32::MAX.checked_shl(32 - u32::from(source)).unwrap_or(0);
                IpAddr::V4((v4.to_bits() & mask).into())
            }
            IpAddr::V6(v6) => {
                let mask = u128::MAX.checked_shl(128 - u32::from(source)).unwrap_or(0);
                IpAddr::V6((v6.to_bits() & mask).into())
            }
        };
        Ok(Self { address: address.into(), source, scope: 0 })
    }
}

/// Cookies (RFC 7873).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Cookie {
    /// The client's, 8 bytes.
    pub client: Octets,
    /// The server's, 8 to 32 bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server: Option<Octets>,
}

/// An extended error (RFC 8914).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ExtendedError {
    /// The code.
    pub code: u16,
    /// Its purpose, as registered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// What the server adds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<Text>,
}

/// An option of an OPT record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct EdnsOption {
    /// The code.
    pub code: u16,
    /// Its name, where it is registered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Its data.
    pub data: Octets,
}
