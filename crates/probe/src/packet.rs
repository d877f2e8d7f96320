//! Probes and what comes back for them, as machines and drivers speak of them: no bytes of headers.
//!
//! A machine says what a packet is ([`Probe`]); its driver chooses what tells it from others on the wire
//! ([`Identity`]) and says so when it has left ([`Departure`]). What comes back is a [`Packet`]. Fields that a
//! driver can't know (an ordinary user's sockets show little of a header) are absent.
//!
//! [`crate::wire::probe`] makes bytes of the one, [`crate::wire::heard`] makes the other of bytes.

use std::net::IpAddr;

use crate::{time::Stamp, wire::icmp::IcmpErrorKind};

/// A probe's number within its machine, counted from 0 in the order of sending.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProbeId(pub u32);

/// A time to live (IPv4) or hop limit (IPv6).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ttl(pub u8);

/// A packet that a machine wants to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probe {
    /// The number by which all inputs about it refer to it.
    pub id: ProbeId,
    /// Where it goes.
    pub destination: IpAddr,
    /// Where it comes from; the system's choice where absent.
    pub source: Option<IpAddr>,
    /// The TTL to send it with; the system's own where absent.
    pub ttl: Option<Ttl>,
    /// The octet of DSCP and ECN: type of service (IPv4), traffic class (IPv6).
    pub tos: u8,
    /// Whether routers (IPv4) and this host may not fragment it.
    pub dont_fragment: bool,
    /// Where in a larger packet it says that it belongs, in units of 8 octets, at most 8191 (IPv4 alone). 0 but for probes
    /// that pass for a later fragment.
    pub fragment_offset: u16,
    /// The router on a link of this host by which it leaves, whatever the system's routes say; theirs where absent.
    pub router: Option<IpAddr>,
    /// IPv4 options as they stand in the header, a multiple of four octets; none for IPv6.
    pub ip_options: Vec<u8>,
    /// Whether a TCP SYN offers what most hosts do besides its maximum segment size: selective acknowledgements,
    /// timestamps and a window scale. An end says no more of itself than the other has offered.
    pub tcp_offer: bool,
    /// Which of its machine's flows it belongs to.
    pub flow: Flow,
    /// What it is.
    pub body: Body,
}

impl Probe {
    /// A probe with the system's own header fields, of flow 0.
    pub const fn new(id: ProbeId, destination: IpAddr, body: Body) -> Self {
        Self {
            id,
            destination,
            source: None,
            ttl: None,
            tos: 0,
            dont_fragment: false,
            fragment_offset: 0,
            router: None,
            ip_options: Vec::new(),
            tcp_offer: false,
            flow: Flow { number: 0, selector: None },
            body,
        }
    }
}

/// A flow of a machine: what per-flow load balancers send one way.
///
/// All probes of a machine with the same flow leave with the same ICMP identifier or source port; those of flows whose
/// numbers differ leave with different ones, as far as the driver's range goes, and always when the numbers differ by
/// less than its size. For echo requests per-flow load balancers look at the checksum instead: see [`Body::Echo`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Flow {
    /// Its number within the machine.
    pub number: u16,
    /// The ICMP identifier or source port to use; the driver's choice where absent.
    pub selector: Option<u16>,
}

/// The kinds of probe.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Body {
    /// An ICMP or `ICMPv6` echo request. The tag is its sequence number.
    Echo {
        /// The bytes after the 8 octets of the ICMP header.
        payload: Vec<u8>,
        /// The checksum that the message shall have, whatever its sequence number: the last whole 16-bit word of the
        /// payload is chosen to that end. The payload must have 2 octets at least.
        checksum: Option<u16>,
    },
    /// An ICMP timestamp request (IPv4 alone), originated at the moment of sending. The tag is its sequence number.
    Timestamp,
    /// A UDP datagram.
    Udp {
        /// The destination port.
        port: u16,
        /// Its payload.
        payload: Vec<u8>,
        /// What tells it from others of its flow.
        tag: UdpTag,
    },
    /// An ICMP or `ICMPv6` error that says to a host that a packet of its was too big: nothing answers it.
    TooBig {
        /// The MTU that it tells.
        mtu: u16,
        /// The packet, from its IP header on, as far as it is quoted.
        quote: Vec<u8>,
    },
    /// A TCP segment without a connection.
    Tcp {
        /// The destination port.
        port: u16,
        /// Its flags, as in octet 13 of the header ([`tcp_flags`]).
        flags: u8,
        /// Its sequence number; absent: the tag is its upper half.
        seq: Option<u32>,
        /// Its acknowledgement number; absent: the tag is its upper half (0 in a SYN).
        ack: Option<u32>,
        /// The maximum segment size that a SYN announces; no option where absent.
        mss: Option<u16>,
        /// Its payload.
        payload: Vec<u8>,
    },
}

/// The flags of a TCP segment (RFC 9293, section 3.1).
pub mod tcp_flags {
    /// No more data.
    pub const FIN: u8 = 1;
    /// Synchronise sequence numbers.
    pub const SYN: u8 = 2;
    /// Reset the connection.
    pub const RST: u8 = 4;
    /// Push.
    pub const PSH: u8 = 8;
    /// The acknowledgement number counts.
    pub const ACK: u8 = 16;
}

/// What tells the datagrams of one flow apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum UdpTag {
    /// The checksum: the last whole 16-bit word of the payload is chosen so that it is the tag. The payload must have
    /// 2 octets at least. The ports stay, and with them the path (Paris traceroute).
    Checksum,
    /// The pair of ports: the machine gives each datagram of a flow another destination port, or each its own flow. The
    /// payload stays as it is.
    Ports,
}

/// What the driver chose to tell a probe from others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Identity {
    /// The ICMP identifier or source port.
    pub selector: u16,
    /// Never 0. Which field carries it says [`Body`]; in IPv4 the identification of the IP header carries it, too,
    /// where the header is ours to write.
    pub tag: u16,
}

/// How a probe looked on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Departure {
    /// Its source address, where it is known.
    pub source: Option<IpAddr>,
    /// What told it from others.
    pub identity: Identity,
    /// The identification of its IPv4 header, where it is known.
    pub ip_id: Option<u16>,
    /// Its length in octets, IP header included.
    pub bytes: u32,
}

/// Something that arrived for a probe.
#[derive(Clone, Debug)]
pub struct Packet<'a> {
    /// The probe to which the wire attributes it.
    pub probe: ProbeId,
    /// Who sent it: the target, or the router that reports an error.
    pub from: IpAddr,
    /// When it came.
    pub stamp: Stamp,
    /// The TTL with which it arrived, where the system tells.
    pub ttl: Option<Ttl>,
    /// Its octet of DSCP and ECN, where the system tells.
    pub tos: Option<u8>,
    /// The identification of its IPv4 header, where the system tells.
    pub ip_id: Option<u16>,
    /// The identification of its IPv6 fragment header (RFC 8200, section 4.5), where it came in fragments and the driver saw
    /// them.
    pub fragment_id: Option<u32>,
    /// Its IPv4 options; empty where there are none, or the system does not tell.
    pub ip_options: &'a [u8],
    /// The length of what follows its IP header, in octets: of an ICMP message with its header.
    pub bytes: usize,
    /// What it is.
    pub message: Message<'a>,
}

/// What a packet that came in is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Message<'a> {
    /// An echo reply with this payload.
    EchoReply {
        /// The bytes after the 8 octets of the ICMP header.
        payload: &'a [u8],
    },
    /// An ICMP timestamp reply: milliseconds since midnight UT (RFC 792), or anything else with the top bit set.
    TimestampReply {
        /// When the request was sent, by its sender's clock.
        originate: u32,
        /// When it was received.
        receive: u32,
        /// When the reply was sent.
        transmit: u32,
    },
    /// A UDP datagram.
    Udp {
        /// The port that it came from.
        source_port: u16,
        /// Its payload.
        payload: &'a [u8],
    },
    /// A TCP segment.
    Tcp(Segment<'a>),
    /// An ICMP error about the probe.
    Error(Report<'a>),
}

/// A TCP segment. What an ordinary user's socket does not show is absent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment<'a> {
    /// The port that it came from.
    pub source_port: u16,
    /// Its flags ([`tcp_flags`]).
    pub flags: u8,
    /// Its sequence number.
    pub seq: Option<u32>,
    /// Its acknowledgement number.
    pub ack: Option<u32>,
    /// Its window.
    pub window: Option<u16>,
    /// Its options as they stand in the header.
    pub options: &'a [u8],
    /// Its payload.
    pub payload: &'a [u8],
}

/// An ICMP error about a probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Report<'a> {
    /// What it says.
    pub kind: IcmpErrorKind,
    /// Its ICMP type.
    pub icmp_type: u8,
    /// Its ICMP code.
    pub code: u8,
    /// The probe as it was when the error was made.
    pub quote: Quote<'a>,
    /// The objects of its extension structure, as they stand on the wire; [`crate::wire::extension`] reads them. Empty
    /// where there are none, or their checksum is wrong.
    pub extensions: &'a [u8],
}

/// What an ICMP error quotes of a probe; what it does not quote, or the system does not show, is absent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Quote<'a> {
    /// Its TTL.
    pub ttl: Option<Ttl>,
    /// Its octet of DSCP and ECN.
    pub tos: Option<u8>,
    /// The length that its IP header says, header included, in octets.
    pub ip_bytes: Option<u32>,
    /// The identification of its IPv4 header.
    pub ip_id: Option<u16>,
    /// Its source.
    pub source: Option<IpAddr>,
    /// Its destination.
    pub destination: Option<IpAddr>,
    /// Its source port, of UDP and TCP.
    pub source_port: Option<u16>,
    /// Its destination port, of UDP and TCP.
    pub destination_port: Option<u16>,
    /// Its checksum, of ICMP and UDP.
    pub checksum: Option<u16>,
    /// As much of its payload, after the transport header, as is quoted; often nothing.
    pub payload: &'a [u8],
}

/// How many octets at the beginning of a payload a quote shows, `quoted` being what it has after the transport header; nothing
/// where it shows something else. Zeros from somewhere on may be no payload: who appends an extension to a short quote fills
/// that up to 128 octets (RFC 4884, section 5).
pub fn shown(payload: &[u8], quoted: &[u8]) -> Option<usize> {
    let same = payload.iter().zip(quoted).take_while(|(sent, quoted)| sent == quoted).count();
    let whole = same == payload.len().min(quoted.len());
    (whole || quoted.iter().skip(same).all(|octet| *octet == 0)).then_some(same)
}

/// Why a probe did not leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum SendFailure {
    /// The system has no route to the destination.
    #[error("no route to the destination")]
    NoRoute,
    /// The system forbids it: a firewall, a broadcast address, a missing privilege.
    #[error("the system does not permit it")]
    NotPermitted,
    /// The packet is larger than the path's first link takes, and may not be fragmented.
    #[error("the packet is too big")]
    TooBig,
    /// No socket for this address family.
    #[error("no socket for this address family")]
    NoSocket,
    /// The sockets that are there can't send such a packet: it takes a privilege.
    #[error("the sockets of an ordinary user can't send such a packet")]
    Unprivileged,
    /// It takes a socket for ICMP, and an ordinary user may open none here.
    #[error("ICMP takes a ping socket, and those are closed to this user (net.ipv4.ping_group_range)")]
    NoPingSocket,
    /// The source address is none of this host's.
    #[error("the source address is not this host's")]
    Source,
    /// The identifier or port that was asked for is in use by others.
    #[error("the identifier or port is in use")]
    InUse,
    /// The system's buffers stayed full.
    #[error("the system's buffers are full")]
    Overrun,
    /// A router that was asked for can be had by packet sockets alone, and there are none here.
    #[error("a first-hop router takes packet sockets, and the site's policy allows none here")]
    NoRouter,
    /// The router that was asked for is on no link of this host, or does not answer there.
    #[error("the router is on no link of this host, or does not answer there")]
    RouterSilent,
    /// The site's limits allow no such packet at all.
    #[error("the site's limits do not allow it")]
    Forbidden,
    /// Such a packet can't be: no IPv6 timestamp request, a payload too short for its checksum, or too long.
    #[error("there is no such packet")]
    Senseless,
    /// Any other refusal of the system, with its `errno`.
    #[error("the system refused it (errno {0})")]
    System(i32),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quote_shows_what_it_has_and_padding_is_nothing() {
        let sent = [7, 0, 9, 3];
        for (quoted, octets) in [
            (&[][..], Some(0)),
            (&[7, 0], Some(2)),
            (&[7, 0, 9, 3, 55], Some(4)),
            (&[0; 120], Some(0)),
            (&[7, 0, 0, 0, 0], Some(2)),
            (&[7, 0, 9, 4], None),
            (&[7, 0, 0, 0, 1], None),
            (&[8], None),
        ] {
            assert_eq!(shown(&sent, quoted), octets, "{quoted:?}");
        }
    }
}
