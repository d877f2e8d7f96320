//! ICMP (RFC 792) and `ICMPv6` (RFC 4443): echo and timestamp messages, and errors with the packet they quote.
//!
//! The common part is type, code, checksum and four octets that depend on the type; both protocols share it
//! and differ in their type numbers. [`decode`] takes the message as it follows the IP header.

use std::net::IpAddr;

use super::{
    DecodeError, PROTOCOL_ICMP, PROTOCOL_ICMPV6, checksum, extension, ipv4, ipv6, long, octet, word,
};

/// The octets before an echo message's payload.
pub const HEADER_BYTES: usize = 8;

/// Which of the two protocols.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Family {
    /// ICMP over IPv4.
    V4,
    /// `ICMPv6` over IPv6.
    V6,
}

impl Family {
    /// The family of an address.
    pub const fn of(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(_) => Self::V4,
            IpAddr::V6(_) => Self::V6,
        }
    }
}

/// A message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Icmp<'a> {
    /// An echo request.
    EchoRequest(Echo<'a>),
    /// An echo reply.
    EchoReply(Echo<'a>),
    /// A timestamp request (ICMP alone).
    TimestampRequest(Timestamp),
    /// A timestamp reply (ICMP alone).
    TimestampReply(Timestamp),
    /// An error about a packet.
    Error(IcmpError<'a>),
    /// Any other message.
    Other {
        /// Its type.
        icmp_type: u8,
        /// Its code.
        code: u8,
    },
}

/// An echo request or reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Echo<'a> {
    /// Identifier.
    pub id: u16,
    /// Sequence number.
    pub seq: u16,
    /// What follows the 8 octets of the header.
    pub payload: &'a [u8],
}

/// A timestamp request or reply (RFC 792, page 16). Times are milliseconds since midnight UT, or anything else with the
/// top bit set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timestamp {
    /// Identifier.
    pub id: u16,
    /// Sequence number.
    pub seq: u16,
    /// When the request was sent, by its sender's clock.
    pub originate: u32,
    /// When it was received.
    pub receive: u32,
    /// When the reply was sent.
    pub transmit: u32,
}

/// An error and the packet that it quotes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IcmpError<'a> {
    /// What went wrong.
    pub kind: IcmpErrorKind,
    /// Its ICMP type.
    pub icmp_type: u8,
    /// Its ICMP code.
    pub code: u8,
    /// The objects of its extension structure; [`extension::objects`] reads them.
    pub extensions: &'a [u8],
    /// The start of the packet that caused it, from its IP header on; [`quote`] reads it.
    pub quoted: &'a [u8],
}

/// What an ICMP error says, in words that both protocols share.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum IcmpErrorKind {
    /// No route to the network (`ICMPv6`: no route to the destination).
    NetUnreachable,
    /// The host does not answer on its link (`ICMPv6`: address unreachable).
    HostUnreachable,
    /// The host does not speak the protocol.
    ProtocolUnreachable,
    /// Nothing listens on the port.
    PortUnreachable,
    /// The packet is too big for the next link.
    TooBig {
        /// That link's MTU in octets, where the router tells (RFC 1191, RFC 4443).
        mtu: Option<u32>,
    },
    /// A filter or a policy forbids it.
    Prohibited {
        /// The message's code, which tells the kinds of prohibition apart.
        code: u8,
    },
    /// Any other reason for which the destination is unreachable.
    OtherUnreachable {
        /// The message's code.
        code: u8,
    },
    /// The TTL or hop limit ran out under way.
    TtlExceeded,
    /// The destination waited too long for fragments.
    ReassemblyTimeExceeded,
    /// A field of the packet made no sense to somebody.
    ParameterProblem {
        /// The message's code.
        code: u8,
    },
}

impl IcmpErrorKind {
    /// The meaning of a type, code and the last four octets of the header (as one number), if they are an
    /// error. The numbers are IANA's registries *ICMP Type Numbers* and *`ICMPv6` "type" Numbers*.
    pub fn from_wire(family: Family, icmp_type: u8, code: u8, rest: u32) -> Option<Self> {
        Some(match (family, icmp_type, code) {
            (Family::V4, 3, 0 | 6 | 11) | (Family::V6, 1, 0) => Self::NetUnreachable,
            (Family::V4, 3, 1 | 7 | 12) | (Family::V6, 1, 3) => Self::HostUnreachable,
            (Family::V4, 3, 2) => Self::ProtocolUnreachable,
            (Family::V4, 3, 3) | (Family::V6, 1, 4) => Self::PortUnreachable,
            (Family::V4, 3, 4) => Self::TooBig { mtu: known(rest & 0xffff) },
            (Family::V6, 2, _) => Self::TooBig { mtu: known(rest) },
            (Family::V4, 3, 9 | 10 | 13) | (Family::V6, 1, 1 | 5 | 6) => Self::Prohibited { code },
            (Family::V4, 3, _) | (Family::V6, 1, _) => Self::OtherUnreachable { code },
            (Family::V4, 11, 1) | (Family::V6, 3, 1) => Self::ReassemblyTimeExceeded,
            (Family::V4, 11, _) | (Family::V6, 3, _) => Self::TtlExceeded,
            (Family::V4, 12, _) | (Family::V6, 4, _) => Self::ParameterProblem { code },
            _ => return None,
        })
    }

    /// A word for it, for results and tables.
    pub const fn name(self) -> &'static str {
        match self {
            Self::NetUnreachable => "net_unreachable",
            Self::HostUnreachable => "host_unreachable",
            Self::ProtocolUnreachable => "protocol_unreachable",
            Self::PortUnreachable => "port_unreachable",
            Self::TooBig { .. } => "too_big",
            Self::Prohibited { .. } => "prohibited",
            Self::OtherUnreachable { .. } => "unreachable",
            Self::TtlExceeded => "ttl_exceeded",
            Self::ReassemblyTimeExceeded => "reassembly_time_exceeded",
            Self::ParameterProblem { .. } => "parameter_problem",
        }
    }
}

/// Reads a message that follows an IP header.
///
/// The checksum of ICMP is checked. That of `ICMPv6` covers addresses that are not here, and a kernel checks
/// it before a socket sees the message; [`checksum_v6`] is for who reads frames.
pub fn decode(family: Family, bytes: &[u8]) -> Result<Icmp<'_>, DecodeError> {
    if bytes.len() < HEADER_BYTES {
        return Err(DecodeError::Truncated { need: HEADER_BYTES, have: bytes.len() });
    }
    if family == Family::V4 && checksum::of(bytes) != 0 {
        return Err(DecodeError::Checksum);
    }
    decode_unchecked(family, bytes)
}

/// Reads a message whose checksum somebody has checked.
pub(super) fn decode_unchecked(family: Family, bytes: &[u8]) -> Result<Icmp<'_>, DecodeError> {
    if bytes.len() < HEADER_BYTES {
        return Err(DecodeError::Truncated { need: HEADER_BYTES, have: bytes.len() });
    }
    let (icmp_type, code) = (octet(bytes, 0)?, octet(bytes, 1)?);
    let [request, reply] = echo_types(family);
    if icmp_type == request && code == 0 {
        return Ok(Icmp::EchoRequest(echo_fields(bytes)?));
    }
    if icmp_type == reply && code == 0 {
        return Ok(Icmp::EchoReply(echo_fields(bytes)?));
    }
    if family == Family::V4 && code == 0 && bytes.len() >= TIMESTAMP_BYTES {
        match icmp_type {
            TIMESTAMP_REQUEST => return Ok(Icmp::TimestampRequest(timestamp_fields(bytes)?)),
            TIMESTAMP_REPLY => return Ok(Icmp::TimestampReply(timestamp_fields(bytes)?)),
            _ => {}
        }
    }
    let Some(kind) = IcmpErrorKind::from_wire(family, icmp_type, code, long(bytes, 4)?) else {
        return Ok(Icmp::Other { icmp_type, code });
    };
    let body = bytes.get(HEADER_BYTES..).unwrap_or_default();
    let (quoted, extensions) = extension::split(body, quote_bytes(family, bytes)?);
    Ok(Icmp::Error(IcmpError { kind, icmp_type, code, extensions, quoted }))
}

/// The packet that an error quotes, as far as it goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quote<'a> {
    /// Its source.
    pub source: IpAddr,
    /// Its destination.
    pub destination: IpAddr,
    /// Its TTL or hop limit when it was discarded.
    pub ttl: u8,
    /// Its protocol (IANA protocol numbers).
    pub protocol: u8,
    /// The start of what followed its IP header: 8 octets or more (RFC 792), sometimes less.
    pub payload: &'a [u8],
}

impl<'a> Quote<'a> {
    /// The echo request that it was, when at least its header is quoted. The payload may be cut short.
    pub fn echo_request(&self) -> Option<Echo<'a>> {
        let family = match self.protocol {
            PROTOCOL_ICMP => Family::V4,
            PROTOCOL_ICMPV6 => Family::V6,
            _ => return None,
        };
        if family != Family::of(self.destination) {
            return None;
        }
        quoted_echo_request(family, self.payload)
    }
}

/// Reads the packet that an error quotes.
pub fn quote(family: Family, quoted: &[u8]) -> Result<Quote<'_>, DecodeError> {
    Ok(match family {
        Family::V4 => {
            let packet = ipv4::decode(quoted)?;
            Quote {
                source: packet.header.source.into(),
                destination: packet.header.destination.into(),
                ttl: packet.header.ttl,
                protocol: packet.header.protocol,
                payload: packet.payload,
            }
        }
        Family::V6 => {
            let packet = ipv6::decode(quoted)?;
            Quote {
                source: packet.header.source.into(),
                destination: packet.header.destination.into(),
                ttl: packet.header.hop_limit,
                protocol: packet.header.next_header,
                payload: packet.payload,
            }
        }
    })
}

/// Reads the start of an echo request as an error quotes it, without its IP header and possibly cut short:
/// no checksum is checked.
pub fn quoted_echo_request(family: Family, bytes: &[u8]) -> Option<Echo<'_>> {
    let [request, _] = echo_types(family);
    (octet(bytes, 0).ok()? == request).then(|| echo_fields(bytes).ok()).flatten()
}

/// Writes an echo request.
///
/// For `ICMPv6` the checksum is left 0: the kernel fills it in on every `ICMPv6` socket.
pub fn echo_request(family: Family, echo: &Echo<'_>) -> Vec<u8> {
    let [request, _] = echo_types(family);
    let mut bytes = Vec::with_capacity(HEADER_BYTES + echo.payload.len());
    encode_echo(family, request, echo, &mut bytes);
    bytes
}

/// Writes an echo reply; see [`echo_request`] for the checksum.
pub fn echo_reply(family: Family, echo: &Echo<'_>) -> Vec<u8> {
    let [_, reply] = echo_types(family);
    let mut bytes = Vec::with_capacity(HEADER_BYTES + echo.payload.len());
    encode_echo(family, reply, echo, &mut bytes);
    bytes
}

/// The checksum of an `ICMPv6` message between two addresses (RFC 4443, section 2.3): what goes into the field,
/// or 0 over a message whose field is right.
pub fn checksum_v6(source: std::net::Ipv6Addr, destination: std::net::Ipv6Addr, message: &[u8]) -> u16 {
    let length = u32::try_from(message.len()).unwrap_or(u32::MAX);
    checksum::Sum::default()
        .plus_ipv6_pseudo_header(source, destination, length, PROTOCOL_ICMPV6)
        .plus(message)
        .finish()
}

/// The type numbers of request and reply (RFC 792; RFC 4443, sections 4.1 and 4.2).
pub(crate) const fn echo_types(family: Family) -> [u8; 2] {
    match family {
        Family::V4 => [8, 0],
        Family::V6 => [128, 129],
    }
}

/// The type number of a timestamp request (RFC 792).
pub const TIMESTAMP_REQUEST: u8 = 13;
/// The type number of a timestamp reply (RFC 792).
pub const TIMESTAMP_REPLY: u8 = 14;
/// The octets of a timestamp message.
pub const TIMESTAMP_BYTES: usize = 20;

fn encode_echo(family: Family, icmp_type: u8, echo: &Echo<'_>, bytes: &mut Vec<u8>) {
    let head = |sum: [u8; 2]| {
        let ([id_high, id_low], [seq_high, seq_low]) = (echo.id.to_be_bytes(), echo.seq.to_be_bytes());
        [icmp_type, 0, sum[0], sum[1], id_high, id_low, seq_high, seq_low]
    };
    let sum = match family {
        Family::V4 => checksum::Sum::default().plus(&head([0, 0])).plus(echo.payload).finish(),
        Family::V6 => 0,
    };
    bytes.extend_from_slice(&head(sum.to_be_bytes()));
    bytes.extend_from_slice(echo.payload);
}

fn echo_fields(bytes: &[u8]) -> Result<Echo<'_>, DecodeError> {
    Ok(Echo {
        id: word(bytes, 4)?,
        seq: word(bytes, 6)?,
        payload: bytes.get(HEADER_BYTES..).unwrap_or_default(),
    })
}

fn timestamp_fields(bytes: &[u8]) -> Result<Timestamp, DecodeError> {
    Ok(Timestamp {
        id: word(bytes, 4)?,
        seq: word(bytes, 6)?,
        originate: long(bytes, 8)?,
        receive: long(bytes, 12)?,
        transmit: long(bytes, 16)?,
    })
}

/// What an error's header says of the length of its quote, in octets; 0 where it says nothing. RFC 4884, section 4,
/// puts it into octet 5 (ICMP, in words of 32 bits) or octet 4 (`ICMPv6`, in words of 64 bits).
fn quote_bytes(family: Family, bytes: &[u8]) -> Result<usize, DecodeError> {
    Ok(match (family, octet(bytes, 0)?) {
        (Family::V4, 3 | 11 | 12) => usize::from(octet(bytes, 5)?) * 4,
        (Family::V6, 1 | 3) => usize::from(octet(bytes, 4)?) * 8,
        _ => 0,
    })
}

fn known(mtu: u32) -> Option<u32> {
    (mtu != 0).then_some(mtu)
}

#[cfg(test)]
mod tests;
