//! Packets that nodes make: headers and checksums.

use std::net::IpAddr;

use mmn_probe::wire::checksum::{self, Sum};
use mmn_probe::wire::{PROTOCOL_TCP, PROTOCOL_UDP, ipv4, ipv6, tcp, udp};

/// Who sends to whom, and what the header says besides.
#[derive(Clone, Copy, Debug)]
pub(super) struct Envelope {
    pub(super) source: IpAddr,
    pub(super) destination: IpAddr,
    pub(super) tos: u8,
    pub(super) ttl: u8,
    pub(super) id: u16,
}

/// Writes a packet around `payload`, whose checksum is at `checksum_at` and 0 so far, where it has one. Nothing when the
/// addresses are of two families, or it gets too long.
pub(super) fn packet(
    envelope: &Envelope,
    protocol: u8,
    payload: &[u8],
    checksum_at: Option<usize>,
    out: &mut Vec<u8>,
) -> Option<()> {
    out.clear();
    match (envelope.source, envelope.destination) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            let header = ipv4::Header {
                tos: envelope.tos,
                total_bytes: u16::try_from(ipv4::HEADER_BYTES + payload.len()).ok()?,
                id: envelope.id,
                dont_fragment: false,
                fragment_offset: 0,
                ttl: envelope.ttl,
                protocol,
                source,
                destination,
            };
            out.extend_from_slice(&ipv4::encode(&header));
        }
        (IpAddr::V6(source), IpAddr::V6(destination)) => {
            let header = ipv6::Header {
                traffic_class: envelope.tos,
                flow_label: 0,
                payload_bytes: u16::try_from(payload.len()).ok()?,
                next_header: protocol,
                hop_limit: envelope.ttl,
                source,
                destination,
            };
            out.extend_from_slice(&ipv6::encode(&header));
        }
        _ => return None,
    }
    let above = out.len();
    out.extend_from_slice(payload);
    let Some(at) = checksum_at else { return Some(()) };
    let transport = matches!(protocol, PROTOCOL_TCP | PROTOCOL_UDP);
    let sum = if transport || envelope.source.is_ipv6() {
        let pseudo = Sum::default().plus_pseudo_header(
            envelope.source,
            envelope.destination,
            payload.len(),
            protocol,
        )?;
        pseudo.plus(payload).finish()
    } else {
        checksum::of(payload)
    };
    // 0 in UDP would say that there is none (RFC 768).
    let sum = if protocol == PROTOCOL_UDP && sum == 0 { 0xffff } else { sum };
    out.get_mut(above + at..above + at + 2)?.copy_from_slice(&sum.to_be_bytes());
    Some(())
}

/// A UDP datagram.
pub(super) fn datagram(
    envelope: &Envelope,
    ports: [u16; 2],
    payload: &[u8],
    out: &mut Vec<u8>,
) -> Option<()> {
    let length = u16::try_from(udp::HEADER_BYTES + payload.len()).ok()?;
    let datagram = [&udp::encode(ports[0], ports[1], length, 0)[..], payload].concat();
    packet(envelope, PROTOCOL_UDP, &datagram, Some(6), out)
}

/// A TCP segment without payload.
pub(super) fn segment(
    envelope: &Envelope,
    header: &tcp::Header,
    options: &[u8],
    out: &mut Vec<u8>,
) -> Option<()> {
    let segment = [&tcp::encode(header, options.len())[..], options].concat();
    packet(envelope, PROTOCOL_TCP, &segment, Some(16), out)
}
