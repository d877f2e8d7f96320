//! The message that asks a host to send less at a time: its reply is quoted back to it as if a link had not taken it.
//!
//! What the host sends next comes in fragments that fit the MTU, of which IPv6 then shows an identification that it does
//! not have otherwise: a driver that sees fragments tells it ([`Packet::fragment_id`]).

use std::net::IpAddr;

use crate::packet::{Body, Identity, Packet, Probe, ProbeId};
use crate::wire::{PROTOCOL_ICMP, PROTOCOL_ICMPV6, checksum::Sum, icmp, ipv4, ipv6};

/// The number of all such messages: no probe of a ping has it.
pub(super) const ID: ProbeId = ProbeId(u32::MAX);
/// The largest packets that tell an error (RFC 1812, section 4.3.2.3; RFC 4443, section 3.2).
const MOST_V4: usize = 576;
const MOST_V6: usize = 1_280;

/// The octets of a packet that came, its IP header included.
pub(super) fn ip_bytes(packet: &Packet<'_>) -> usize {
    let header = if packet.from.is_ipv4() { ipv4::HEADER_BYTES } else { ipv6::HEADER_BYTES };
    header + packet.ip_options.len() + packet.bytes
}

/// The message about an echo reply that came to `source`. Of the reply's header some fields are not known, and are made up.
pub(super) fn about(
    reply: &Packet<'_>,
    payload: &[u8],
    identity: Identity,
    source: IpAddr,
    mtu: u16,
) -> Option<Probe> {
    let family = icmp::Family::of(reply.from);
    let [_, echo_reply] = icmp::echo_types(family);
    let Identity { selector, tag } = identity;
    let ([i0, i1], [s0, s1]) = (selector.to_be_bytes(), tag.to_be_bytes());
    let head = [echo_reply, 0, 0, 0, i0, i1, s0, s1];
    let bytes = head.len() + payload.len();
    let ttl = reply.ttl.map_or(64, |ttl| ttl.0);
    let tos = reply.tos.unwrap_or(0);
    let mut quote = Vec::new();
    let (sum, most) = match (reply.from, source) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            let header = ipv4::Header {
                tos,
                total_bytes: u16::try_from(ipv4::HEADER_BYTES + bytes).ok()?,
                id: reply.ip_id.unwrap_or(0),
                dont_fragment: true,
                fragment_offset: 0,
                ttl,
                protocol: PROTOCOL_ICMP,
                source: from,
                destination: to,
            };
            quote.extend(ipv4::encode(&header));
            (Sum::default(), MOST_V4 - ipv4::HEADER_BYTES)
        }
        (IpAddr::V6(from), IpAddr::V6(to)) => {
            let header = ipv6::Header {
                traffic_class: tos,
                flow_label: 0,
                payload_bytes: u16::try_from(bytes).ok()?,
                next_header: PROTOCOL_ICMPV6,
                hop_limit: ttl,
                source: from,
                destination: to,
            };
            quote.extend(ipv6::encode(&header));
            let sum = Sum::default().plus_pseudo_header(reply.from, source, bytes, PROTOCOL_ICMPV6)?;
            (sum, MOST_V6 - ipv6::HEADER_BYTES)
        }
        _ => return None,
    };
    let [c0, c1] = sum.plus(&head).plus(payload).finish().to_be_bytes();
    quote.extend([echo_reply, 0, c0, c1, i0, i1, s0, s1]);
    quote.extend(payload);
    quote.truncate(most - icmp::HEADER_BYTES);
    Some(Probe { source: Some(source), ..Probe::new(ID, reply.from, Body::TooBig { mtu, quote }) })
}
