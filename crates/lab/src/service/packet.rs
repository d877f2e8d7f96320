//! Datagrams in packets, for services that answer in the world itself.

use std::net::IpAddr;

use mmn_probe::wire::checksum::Sum;
use mmn_probe::wire::{PROTOCOL_UDP, ipv4, ipv6, udp};

/// A datagram that came.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked<'a> {
    source: IpAddr,
    destination: IpAddr,
    source_port: u16,
    pub(super) port: u16,
    pub(super) payload: &'a [u8],
}

/// Reads a packet that a world gave out: whole, its checksums right.
pub(super) fn read(packet: &[u8]) -> Option<Asked<'_>> {
    let (source, destination, above): (IpAddr, IpAddr, &[u8]) = if packet.first()? >> 4 == 4 {
        let packet = ipv4::decode(packet).ok().filter(|packet| packet.header.protocol == PROTOCOL_UDP)?;
        (packet.header.source.into(), packet.header.destination.into(), packet.payload)
    } else {
        let packet = ipv6::decode(packet).ok()?;
        let upper = ipv6::upper(&packet).ok().filter(|upper| upper.protocol == PROTOCOL_UDP)?;
        (packet.header.source.into(), packet.header.destination.into(), upper.payload)
    };
    let datagram = udp::decode(above).ok()?;
    let (source_port, port) = (datagram.source_port, datagram.destination_port);
    Some(Asked { source, destination, source_port, port, payload: datagram.payload })
}

const TTL: u8 = 64;

impl Asked<'_> {
    /// The packet that answers.
    pub(super) fn reply(&self, payload: &[u8]) -> Option<Vec<u8>> {
        let length = udp::HEADER_BYTES + payload.len();
        let mut head = udp::encode(self.port, self.source_port, u16::try_from(length).ok()?, 0);
        let sum = Sum::default().plus_pseudo_header(self.destination, self.source, length, PROTOCOL_UDP)?;
        let sum = sum.plus(&head).plus(payload).finish();
        // 0 would say that there is none (RFC 768).
        head.get_mut(6..8)?.copy_from_slice(&if sum == 0 { 0xffff } else { sum }.to_be_bytes());
        let header = match (self.destination, self.source) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                let header = ipv4::Header {
                    tos: 0,
                    total_bytes: u16::try_from(ipv4::HEADER_BYTES + length).ok()?,
                    id: 0,
                    dont_fragment: false,
                    fragment_offset: 0,
                    ttl: TTL,
                    protocol: PROTOCOL_UDP,
                    source,
                    destination,
                };
                ipv4::encode(&header).to_vec()
            }
            (IpAddr::V6(source), IpAddr::V6(destination)) => {
                let header = ipv6::Header {
                    traffic_class: 0,
                    flow_label: 0,
                    payload_bytes: u16::try_from(length).ok()?,
                    next_header: PROTOCOL_UDP,
                    hop_limit: TTL,
                    source,
                    destination,
                };
                ipv6::encode(&header).to_vec()
            }
            _ => return None,
        };
        Some([&header[..], &head, payload].concat())
    }
}
