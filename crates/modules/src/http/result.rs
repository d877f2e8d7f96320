//! What an `http` measurement found.

use std::net::IpAddr;

use mmn_kit::{Octets, Reason, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::shared::{Address, AddressFamily, is_false, is_nothing};

/// The requests, in order; the last one's answer is the answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Body {
    /// The URL that was asked for, its scheme filled in.
    pub url: String,
    /// From the beginning to the end of the last body, in nanoseconds; without the time for which the site's limits held
    /// packets back, but for transfers.
    pub total_ns: u64,
    /// How many redirects were followed.
    pub redirects: u32,
    /// Why the last answer's redirect was not followed; absent when there was none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stopped: Option<Stopped>,
    /// Each request and its answer: one, and one more a redirect.
    pub hops: Vec<Hop>,
    /// The server did not take the ECH that was offered, so that the last request was not sent; absent when it did or
    /// none was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ech_rejected: Option<EchRejection>,
}

/// Why a redirect was not followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Stopped {
    /// It was not asked for.
    NotAsked,
    /// As many as asked for had been followed.
    MaxRedirects,
    /// Its location is no URL of HTTP.
    BadLocation,
}

/// One request and its answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Hop {
    /// The URL.
    pub url: String,
    /// The method.
    pub method: String,
    /// The address that was connected to.
    pub address: Address,
    /// Its family.
    pub family: AddressFamily,
    /// The port.
    pub port: u16,
    /// The address that the connection came from, where the system tells.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<Address>,
    /// Its port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_port: Option<u16>,
    /// Addresses that were tried before, and what came of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub failed_connects: Vec<FailedConnect>,
    /// When it began.
    pub started_at: Timestamp,
    /// How long each phase took.
    pub phases: Phases,
    /// TLS, where the scheme is https.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<Tls>,
    /// The version that was spoken: `1.1`, `1.0` or `2`.
    pub version: String,
    /// The status code.
    pub status: u16,
    /// The reason phrase, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Status codes of interim answers before.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub interim: Vec<u16>,
    /// The header fields in the order in which they came. In HTTP/2 fields of one name stand together.
    pub headers: Vec<Header>,
    /// The fields after the body.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub trailers: Vec<Header>,
    /// The body.
    pub body: Payload,
    /// Bytes sent on the connection, those of TLS not counted.
    pub sent_bytes: u64,
    /// Bytes read from the connection, framing and header included, those of TLS not counted.
    pub received_bytes: u64,
}

/// An address to which no connection came about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FailedConnect {
    /// The address.
    pub address: Address,
    /// Why.
    pub error: Reason,
    /// How long it took to fail, in nanoseconds.
    pub took_ns: u64,
}

/// The phases of a request in nanoseconds. They follow each other; what lies between them is mmn's own. All but the
/// transfer are without the time for which the site's limits held packets back.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Phases {
    /// Resolving the host; absent for an address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resolve_ns: Option<u64>,
    /// The TCP handshake.
    pub connect_ns: u64,
    /// The TLS handshake; absent without TLS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls_ns: Option<u64>,
    /// From the request to the first byte of the answer (in HTTP/2, to its header).
    pub first_byte_ns: u64,
    /// From there to the end of the body, or to where it was cut, as fast as the site's limits let it come.
    pub transfer_ns: u64,
    /// For how long the site's limits held packets back, the transfer's included.
    #[serde(default, skip_serializing_if = "is_nothing")]
    pub held_ns: u64,
    /// From the beginning of the first phase to the end of the last, likewise.
    pub total_ns: u64,
}

/// A header field.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Header {
    /// Its name, in the case in which it came.
    pub name: String,
    /// Its value, where that is UTF-8.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// Its value, where that is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<Octets>,
}

impl Header {
    /// Of a name and the bytes of its value.
    #[cfg(feature = "run")]
    pub(super) fn new(name: &str, value: &[u8]) -> Self {
        let name = name.to_owned();
        match std::str::from_utf8(value) {
            Ok(text) => Self { name, value: Some(text.to_owned()), bytes: None },
            Err(_) => Self { name, value: None, bytes: Some(Octets(value.to_vec())) },
        }
    }

    /// What it takes in HTTP/1.1, about.
    #[cfg(feature = "run")]
    pub(super) fn wire_bytes(&self) -> usize {
        let text = self.value.as_ref().map_or(0, String::len);
        self.name.len() + text + self.bytes.as_ref().map_or(0, |bytes| bytes.0.len()) + 4
    }
}

/// A body as it came: transfer coding removed, content coding not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Payload {
    /// Its length, as far as it was read.
    pub bytes: u64,
    /// SHA-256 of what was read.
    pub sha256: Octets,
    /// It was longer than what was to be read.
    #[serde(default, skip_serializing_if = "is_false")]
    pub truncated: bool,
    /// Its beginning, where that was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content: Option<Octets>,
}

/// What TLS agreed on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Tls {
    /// The version: `TLSv1.3`, `TLSv1.2`.
    pub version: String,
    /// The cipher suite, as IANA names it.
    pub cipher: String,
    /// The group of the key exchange.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// The protocol that was agreed on (ALPN).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alpn: Option<String>,
    /// The name that was asked for (SNI); absent for an address. With ECH accepted it travelled encrypted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sni: Option<String>,
    /// Whether the certificate holds for the name, now, from a trusted root.
    pub verified: bool,
    /// Why it does not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// The certificates as the server sent them, its own first.
    pub certificates: Vec<Certificate>,
    /// What became of Encrypted Client Hello; absent where it was not offered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ech_status: Option<EchStatus>,
    /// The name that was asked for in clear where the other one was encrypted (the outer SNI).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ech_outer_name: Option<String>,
}

/// What became of Encrypted Client Hello (RFC 9849).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum EchStatus {
    /// What looks like it was sent (section 6.2): nothing was encrypted, and what a server thinks of it can't be seen.
    Grease,
    /// The server decrypted it, and proved the name within.
    Accepted,
    /// The server went on with what stood outside.
    Rejected,
}

/// A connection on which the server did not take the ECH that was offered: TLS came about with what stood outside, and
/// was ended before a request (RFC 9849, section 6.1.6).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct EchRejection {
    /// The URL that was to be requested.
    pub url: String,
    /// The address that was connected to.
    pub address: Address,
    /// Its family.
    pub family: AddressFamily,
    /// The port.
    pub port: u16,
    /// The address that the connection came from, where the system tells.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<Address>,
    /// Its port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_port: Option<u16>,
    /// Addresses that were tried before, and what came of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub failed_connects: Vec<FailedConnect>,
    /// When it began.
    pub started_at: Timestamp,
    /// Resolving the host, in nanoseconds; absent for an address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resolve_ns: Option<u64>,
    /// The TCP handshake, in nanoseconds.
    pub connect_ns: u64,
    /// The TLS handshake until the rejection was certain, in nanoseconds.
    pub tls_ns: u64,
    /// Always rejected.
    pub ech_status: EchStatus,
    /// The name that was asked for in clear (the outer SNI).
    pub ech_outer_name: String,
    /// Whether the certificate holds for that name, now, from a trusted root.
    pub verified: bool,
    /// Why it does not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// The certificates as the server sent them, its own first.
    pub certificates: Vec<Certificate>,
    /// The configurations that the server gave to try again with (an `ECHConfigList`); absent where it gave none. They are
    /// the server's own only where the certificate holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ech_retry_configs: Option<Octets>,
}

/// A certificate (RFC 5280). Fields are absent where it can't be read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Certificate {
    /// SHA-256 of the whole.
    pub sha256: Octets,
    /// For whom.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// By whom.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub issuer: Option<String>,
    /// The serial number in hexadecimal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub serial: Option<String>,
    /// From when it holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_before: Option<Timestamp>,
    /// Until when it holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_after: Option<Timestamp>,
    /// Names and addresses that it is for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sans: Vec<String>,
    /// There are more than are listed.
    #[serde(default, skip_serializing_if = "is_false")]
    pub sans_cut: bool,
    /// The kind of its key: `RSA 2048`, `EC P-256`, `Ed25519`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// The whole, where that was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub der: Option<Octets>,
}

/// Reads `host:port:address`; the address may stand in brackets.
pub(super) fn parse_resolve(text: &str) -> Result<(&str, u16, IpAddr), String> {
    let wrong = || format!("resolve: {text:?} is not of the form host:port:address");
    let (host, rest) = match text.strip_prefix('[').and_then(|rest| rest.split_once("]:")) {
        Some(parts) => parts,
        None => text.split_once(':').ok_or_else(wrong)?,
    };
    let (port, address) = rest.split_once(':').ok_or_else(wrong)?;
    let address = address.strip_prefix('[').and_then(|bare| bare.strip_suffix(']')).unwrap_or(address);
    if host.is_empty() || host.contains(['[', ']']) {
        return Err(wrong());
    }
    Ok((host, port.parse().map_err(|_| wrong())?, address.parse().map_err(|_| wrong())?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_given_for_hosts() {
        let v4 = "192.0.2.1".parse().unwrap();
        assert_eq!(parse_resolve("a.example:443:192.0.2.1"), Ok(("a.example", 443, v4)));
        let v6 = "2001:db8::1".parse().unwrap();
        assert_eq!(parse_resolve("a.example:443:2001:db8::1"), Ok(("a.example", 443, v6)));
        assert_eq!(parse_resolve("[2001:db8::2]:80:[2001:db8::1]"), Ok(("2001:db8::2", 80, v6)));
        for wrong in
            ["", "a", "a:80", ":80:192.0.2.1", "a:65536:192.0.2.1", "a:80:b", "[[a]]:80:::1", "[a:80:::1"]
        {
            assert!(parse_resolve(wrong).is_err(), "{wrong}");
        }
    }
}
