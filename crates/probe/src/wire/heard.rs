//! From the bytes of what came in to what it says, and to the clues whose probe it may belong to.
//!
//! Three entries for three kinds of sockets: [`packet`] where the IP header is there, [`icmp6`] and [`transport`] where
//! it is not (raw IPv6 sockets). All read answers (echo and timestamp replies, UDP, TCP) and ICMP errors about probes
//! of ours, whatever is left of the quote. What is neither is [`DecodeError::Foreign`].
//!
//! Nothing here knows what was sent: who owns a probe of these [`Clues`], and whether to believe it, is for the driver
//! and the machine.

use std::net::{IpAddr, Ipv6Addr};

use super::{
    DecodeError, PROTOCOL_ICMP, PROTOCOL_ICMPV6, PROTOCOL_TCP, PROTOCOL_UDP,
    icmp::{self, Family, Icmp},
    ipv4, ipv6, long, tcp, udp, word,
};
use crate::packet::{Message, Quote, Report, Segment, Ttl, tcp_flags};

/// A packet that may answer a probe.
#[derive(Clone, Copy, Debug)]
pub struct Heard<'a> {
    /// Who sent it.
    pub from: IpAddr,
    /// To which address of this host, where the header shows it.
    pub to: Option<IpAddr>,
    /// The TTL with which it arrived, where it is known.
    pub ttl: Option<Ttl>,
    /// Its octet of DSCP and ECN, where it is known.
    pub tos: Option<u8>,
    /// The identification of its IPv4 header.
    pub ip_id: Option<u16>,
    /// Its IPv4 options.
    pub ip_options: &'a [u8],
    /// The length of what follows its IP header, in octets.
    pub bytes: usize,
    /// Whose it may be.
    pub clues: Clues,
    /// What it is.
    pub message: Message<'a>,
}

/// What a packet shows of the probe that it may belong to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Clues {
    /// The probe's protocol.
    pub protocol: Protocol,
    /// The probe's ICMP identifier or source port.
    pub selector: u16,
    /// The probe's tag as its own protocol carries it: the ICMP sequence number, the quoted UDP checksum (of a probe that
    /// is told by it), the upper half of a TCP number. Nothing shows it in a UDP answer.
    pub tag: Option<u16>,
    /// The identification of the quoted IPv4 header: the tag of a probe whose header was ours, even where a NAT has
    /// changed the rest.
    pub ip_id: Option<u16>,
    /// The probe's destination port: of UDP and TCP.
    pub far_port: Option<u16>,
    /// The probe's destination, where it is quoted. An answer may come from another address than the probe went to.
    pub destination: Option<IpAddr>,
    /// The TCP number of which the tag is the upper half, less what the answer has added: [`super::probe::tcp_number`]
    /// of the probe where that made it.
    pub number: Option<u32>,
}

/// The protocols of probes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// ICMP or `ICMPv6`, as the address says.
    Icmp,
    /// UDP.
    Udp,
    /// TCP.
    Tcp,
}

/// Who has looked at a packet's checksums.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Checksums {
    /// Nobody: they are checked here. For packet sockets, unless the kernel says that a checksum is right or not yet made.
    Unchecked,
    /// That of the IP header by the kernel, that of ICMP by nobody: it is checked here. Those of UDP and TCP may be absent,
    /// since packets of this very host have none before they leave it, and are not looked at. For raw sockets.
    Raw,
    /// All by the kernel or the device, or they are absent for good: none is looked at.
    Checked,
}

/// Reads a packet from its IP header on.
pub fn packet(bytes: &[u8], checksums: Checksums) -> Result<Heard<'_>, DecodeError> {
    match super::octet(bytes, 0)? >> 4 {
        4 => packet_v4(bytes, checksums),
        6 => packet_v6(bytes, checksums),
        version => Err(DecodeError::Version(version)),
    }
}

/// Reads an `ICMPv6` message as a raw socket gives it, its checksum checked by the kernel.
pub fn icmp6(
    message: &[u8],
    from: Ipv6Addr,
    ttl: Option<Ttl>,
    tos: Option<u8>,
) -> Result<Heard<'_>, DecodeError> {
    let (clues, said) = icmp_message(icmp::decode(Family::V6, message)?)?;
    Ok(bare(from.into(), ttl, tos, message.len(), clues, said))
}

/// Reads a UDP datagram or a TCP segment as a raw IPv6 socket gives it. Its checksum is not looked at.
pub fn transport(
    protocol: Protocol,
    bytes: &[u8],
    from: IpAddr,
    ttl: Option<Ttl>,
    tos: Option<u8>,
) -> Result<Heard<'_>, DecodeError> {
    let (clues, said) = match protocol {
        Protocol::Icmp => icmp_message(icmp::decode(Family::of(from), bytes)?)?,
        Protocol::Udp => udp_message(&udp::decode(bytes)?),
        Protocol::Tcp => tcp_message(&tcp::decode(bytes)?),
    };
    Ok(bare(from, ttl, tos, bytes.len(), clues, said))
}

fn bare(
    from: IpAddr,
    ttl: Option<Ttl>,
    tos: Option<u8>,
    bytes: usize,
    clues: Clues,
    message: Message<'_>,
) -> Heard<'_> {
    Heard { from, to: None, ttl, tos, ip_id: None, ip_options: &[], bytes, clues, message }
}

fn packet_v4(bytes: &[u8], checksums: Checksums) -> Result<Heard<'_>, DecodeError> {
    let ipv4::Packet { header, options, payload, checksum_ok } = ipv4::decode(bytes)?;
    if checksums == Checksums::Unchecked && !checksum_ok {
        return Err(DecodeError::Checksum);
    }
    if header.fragment_offset != 0 {
        return Err(DecodeError::Foreign);
    }
    let (from, to) = (header.source.into(), header.destination.into());
    let (clues, message) = match header.protocol {
        PROTOCOL_ICMP if checksums == Checksums::Checked => {
            icmp_message(icmp::decode_unchecked(Family::V4, payload)?)?
        }
        PROTOCOL_ICMP => icmp_message(icmp::decode(Family::V4, payload)?)?,
        protocol => upper(protocol, payload, from, to, checksums)?,
    };
    Ok(Heard {
        from,
        to: Some(to),
        ttl: Some(Ttl(header.ttl)),
        tos: Some(header.tos),
        ip_id: Some(header.id),
        ip_options: options,
        bytes: payload.len(),
        clues,
        message,
    })
}

fn packet_v6(bytes: &[u8], checksums: Checksums) -> Result<Heard<'_>, DecodeError> {
    let packet = ipv6::decode(bytes)?;
    let ipv6::Upper { protocol, fragment_offset, payload } = ipv6::upper(&packet)?;
    let ipv6::Header { source, destination, .. } = packet.header;
    if fragment_offset != 0 {
        return Err(DecodeError::Foreign);
    }
    let (clues, message) = match protocol {
        PROTOCOL_ICMPV6 => {
            let unchecked = checksums == Checksums::Unchecked;
            if unchecked && icmp::checksum_v6(source, destination, payload) != 0 {
                return Err(DecodeError::Checksum);
            }
            icmp_message(icmp::decode(Family::V6, payload)?)?
        }
        protocol => upper(protocol, payload, source.into(), destination.into(), checksums)?,
    };
    Ok(Heard {
        from: source.into(),
        to: Some(destination.into()),
        ttl: Some(Ttl(packet.header.hop_limit)),
        tos: Some(packet.header.traffic_class),
        ip_id: None,
        ip_options: &[],
        bytes: packet.payload.len(),
        clues,
        message,
    })
}

/// Reads what is above IP and no ICMP.
fn upper(
    protocol: u8,
    payload: &[u8],
    from: IpAddr,
    to: IpAddr,
    checksums: Checksums,
) -> Result<(Clues, Message<'_>), DecodeError> {
    let unchecked = checksums == Checksums::Unchecked;
    match protocol {
        PROTOCOL_UDP => {
            let datagram = udp::decode(payload)?;
            if unchecked && !udp::checksum_ok(from, to, &datagram, payload) {
                return Err(DecodeError::Checksum);
            }
            Ok(udp_message(&datagram))
        }
        PROTOCOL_TCP => {
            let segment = tcp::decode(payload)?;
            if unchecked && !tcp::checksum_ok(from, to, payload) {
                return Err(DecodeError::Checksum);
            }
            Ok(tcp_message(&segment))
        }
        _ => Err(DecodeError::Foreign),
    }
}

fn udp_message<'a>(datagram: &udp::Datagram<'a>) -> (Clues, Message<'a>) {
    let clues =
        Clues { far_port: Some(datagram.source_port), ..Clues::of(Protocol::Udp, datagram.destination_port) };
    (clues, Message::Udp { source_port: datagram.source_port, payload: datagram.payload })
}

fn tcp_message<'a>(segment: &tcp::Segment<'a>) -> (Clues, Message<'a>) {
    let header = &segment.header;
    // What acknowledges counts the SYN; what resets an acknowledgement begins where that ended (RFC 9293, section
    // 3.10.7.1).
    let number = if header.flags & tcp_flags::ACK != 0 { header.ack.wrapping_sub(1) } else { header.seq };
    let clues = Clues {
        tag: Some(upper_half(number)),
        far_port: Some(header.source_port),
        number: Some(number),
        ..Clues::of(Protocol::Tcp, header.destination_port)
    };
    let message = Message::Tcp(Segment {
        source_port: header.source_port,
        flags: header.flags,
        seq: Some(header.seq),
        ack: Some(header.ack),
        window: Some(header.window),
        options: segment.options,
        payload: segment.payload,
    });
    (clues, message)
}

fn icmp_message(icmp: Icmp<'_>) -> Result<(Clues, Message<'_>), DecodeError> {
    let told = |id, seq| Clues { tag: Some(seq), ..Clues::of(Protocol::Icmp, id) };
    match icmp {
        Icmp::EchoReply(echo) => Ok((told(echo.id, echo.seq), Message::EchoReply { payload: echo.payload })),
        Icmp::TimestampReply(icmp::Timestamp { id, seq, originate, receive, transmit }) => {
            Ok((told(id, seq), Message::TimestampReply { originate, receive, transmit }))
        }
        Icmp::Error(icmp::IcmpError { kind, icmp_type, code, extensions, quoted }) => {
            let (clues, quote) = quoted_probe(quoted)?;
            Ok((clues, Message::Error(Report { kind, icmp_type, code, quote, extensions })))
        }
        Icmp::EchoRequest(_) | Icmp::TimestampRequest(_) | Icmp::Other { .. } => Err(DecodeError::Foreign),
    }
}

/// Reads the probe that an error quotes, as far as it is there. It need not be of the error's own IP version.
fn quoted_probe(quoted: &[u8]) -> Result<(Clues, Quote<'_>), DecodeError> {
    let (protocol, payload, clues, quote);
    if super::octet(quoted, 0)? >> 4 == 4 {
        // What passes for a later fragment may be a probe all the same: its header stands where any does.
        let ipv4::Packet { header, payload: above, .. } = ipv4::decode(quoted)?;
        quote = Quote {
            ttl: Some(Ttl(header.ttl)),
            tos: Some(header.tos),
            ip_bytes: Some(u32::from(header.total_bytes)),
            ip_id: Some(header.id),
            source: Some(header.source.into()),
            destination: Some(header.destination.into()),
            ..Quote::default()
        };
        (protocol, payload) = (header.protocol, above);
    } else {
        let packet = ipv6::decode(quoted)?;
        let upper = ipv6::upper(&packet)?;
        if upper.fragment_offset != 0 {
            return Err(DecodeError::Foreign);
        }
        let header = packet.header;
        quote = Quote {
            ttl: Some(Ttl(header.hop_limit)),
            tos: Some(header.traffic_class),
            ip_bytes: Some(u32::from(header.payload_bytes) + 40),
            source: Some(header.source.into()),
            destination: Some(header.destination.into()),
            ..Quote::default()
        };
        (protocol, payload) = (upper.protocol, upper.payload);
    }
    let above = quoted_transport(protocol, payload)?;
    clues = Clues { ip_id: quote.ip_id, destination: quote.destination, ..above.0 };
    let quote = Quote {
        source_port: above.1.source_port,
        destination_port: above.1.destination_port,
        checksum: above.1.checksum,
        payload: above.1.payload,
        ..quote
    };
    Ok((clues, quote))
}

/// Reads what an error quotes above IP: 8 octets are enough (RFC 792). Of the quote only what stands there is set.
pub fn quoted_transport(protocol: u8, bytes: &[u8]) -> Result<(Clues, Quote<'_>), DecodeError> {
    match protocol {
        PROTOCOL_ICMP | PROTOCOL_ICMPV6 => {
            let requests = if protocol == PROTOCOL_ICMP { [8, icmp::TIMESTAMP_REQUEST] } else { [128; 2] };
            if !requests.contains(&super::octet(bytes, 0)?) {
                return Err(DecodeError::Foreign);
            }
            let clues = Clues { tag: Some(word(bytes, 6)?), ..Clues::of(Protocol::Icmp, word(bytes, 4)?) };
            let payload = bytes.get(icmp::HEADER_BYTES..).unwrap_or_default();
            Ok((clues, Quote { checksum: Some(word(bytes, 2)?), payload, ..Quote::default() }))
        }
        PROTOCOL_UDP => {
            let (from, to, checksum) = (word(bytes, 0)?, word(bytes, 2)?, word(bytes, 6)?);
            let clues = Clues { tag: Some(checksum), far_port: Some(to), ..Clues::of(Protocol::Udp, from) };
            let quote = Quote {
                source_port: Some(from),
                destination_port: Some(to),
                checksum: Some(checksum),
                payload: bytes.get(udp::HEADER_BYTES..).unwrap_or_default(),
                ..Quote::default()
            };
            Ok((clues, quote))
        }
        PROTOCOL_TCP => {
            let (from, to, seq) = (word(bytes, 0)?, word(bytes, 2)?, long(bytes, 4)?);
            let clues = Clues {
                tag: Some(upper_half(seq)),
                far_port: Some(to),
                number: Some(seq),
                ..Clues::of(Protocol::Tcp, from)
            };
            let payload = tcp::decode(bytes).map_or(&[][..], |segment| segment.payload);
            let quote =
                Quote { source_port: Some(from), destination_port: Some(to), payload, ..Quote::default() };
            Ok((clues, quote))
        }
        _ => Err(DecodeError::Foreign),
    }
}

impl Clues {
    const fn of(protocol: Protocol, selector: u16) -> Self {
        Self { protocol, selector, tag: None, ip_id: None, far_port: None, destination: None, number: None }
    }
}

fn upper_half(number: u32) -> u16 {
    u16::try_from(number >> 16).unwrap_or_default()
}

#[cfg(test)]
mod tests;
