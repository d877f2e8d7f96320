//! What a world reads of a packet: its IP header, and the ports above it.

use std::net::IpAddr;

use mmn_probe::wire::heard::Protocol;
use mmn_probe::wire::{PROTOCOL_ICMP, PROTOCOL_ICMPV6, PROTOCOL_TCP, PROTOCOL_UDP, ipv4, ipv6};

use crate::truth::Look;

/// An IP header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) source: IpAddr,
    pub(super) destination: IpAddr,
    /// What follows the header, and the extension headers of IPv6.
    pub(super) protocol: u8,
    pub(super) tos: u8,
    pub(super) ttl: u8,
    /// The identification, of IPv4.
    pub(super) id: u16,
    pub(super) dont_fragment: bool,
    /// Where this fragment belongs, in units of 8 octets.
    pub(super) offset: u16,
    /// Whether fragments follow.
    pub(super) more: bool,
    /// The flow label, of IPv6.
    pub(super) label: u32,
    /// Where what `protocol` names begins.
    pub(super) above: usize,
    /// The length of the packet.
    pub(super) total: usize,
}

impl Head {
    /// Reads the header of a packet that is all there; its checksum, where it has one, must be right.
    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        match bytes.first()? >> 4 {
            4 => Self::read_v4(bytes),
            6 => Self::read_v6(bytes),
            _ => None,
        }
    }

    fn read_v4(bytes: &[u8]) -> Option<Self> {
        let packet = ipv4::decode(bytes).ok()?;
        let header = packet.header;
        let above = ipv4::HEADER_BYTES + packet.options.len();
        let total = usize::from(header.total_bytes);
        let fits = packet.checksum_ok && total >= above && total <= bytes.len();
        fits.then(|| Self {
            source: header.source.into(),
            destination: header.destination.into(),
            protocol: header.protocol,
            tos: header.tos,
            ttl: header.ttl,
            id: header.id,
            dont_fragment: header.dont_fragment,
            offset: header.fragment_offset,
            more: bytes.get(6).is_some_and(|octet| octet & 0x20 != 0),
            label: 0,
            above,
            total,
        })
    }

    fn read_v6(bytes: &[u8]) -> Option<Self> {
        let packet = ipv6::decode(bytes).ok()?;
        let header = packet.header;
        let total = ipv6::HEADER_BYTES + usize::from(header.payload_bytes);
        if total > bytes.len() {
            return None;
        }
        let upper = ipv6::upper(&packet).ok()?;
        Some(Self {
            source: header.source.into(),
            destination: header.destination.into(),
            protocol: upper.protocol,
            tos: header.traffic_class,
            ttl: header.hop_limit,
            id: 0,
            dont_fragment: true,
            offset: upper.fragment_offset,
            more: false,
            label: header.flow_label,
            above: total - upper.payload.len(),
            total,
        })
    }

    pub(super) const fn is_v4(&self) -> bool {
        self.source.is_ipv4()
    }

    /// Whether it is a piece of a larger packet.
    pub(super) const fn is_fragment(&self) -> bool {
        self.more || self.offset != 0
    }

    pub(super) const fn is_icmp(&self) -> bool {
        matches!((self.is_v4(), self.protocol), (true, PROTOCOL_ICMP) | (false, PROTOCOL_ICMPV6))
    }

    /// Whether it is an ICMP error (RFC 792; RFC 4443, section 2.1), or may be one as far as can be seen.
    pub(super) fn is_icmp_error(&self, bytes: &[u8]) -> bool {
        let Some(kind) = bytes.get(self.above) else { return self.is_icmp() };
        self.is_icmp() && if self.is_v4() { matches!(kind, 3 | 4 | 5 | 11 | 12) } else { *kind < 128 }
    }

    /// What the truth notes of it.
    pub(super) fn look(&self, bytes: &[u8]) -> Look {
        let word = |at: usize| match bytes.get(self.above + at..self.above + at + 2) {
            Some(&[high, low]) if self.offset == 0 => u16::from_be_bytes([high, low]),
            _ => 0,
        };
        let (protocol, selector, far) = match self.protocol {
            _ if self.is_icmp() => (Some(Protocol::Icmp), word(4), word(6)),
            PROTOCOL_UDP => (Some(Protocol::Udp), word(0), word(2)),
            PROTOCOL_TCP => (Some(Protocol::Tcp), word(0), word(2)),
            _ => (None, 0, 0),
        };
        Look {
            source: self.source,
            destination: self.destination,
            protocol,
            selector,
            far,
            ip_id: self.is_v4().then_some(self.id),
            ttl: self.ttl,
            bytes: u32::try_from(self.total).unwrap_or(u32::MAX),
        }
    }
}

/// Writes the TTL that a packet has by now, and mends the checksum of its header.
pub(super) fn settle(bytes: &mut [u8], ttl: u8) {
    match bytes {
        [first, _, _, _, _, _, _, _, old, protocol, high, low, ..] if *first >> 4 == 4 => {
            let (was, is) = ([*old, *protocol], [ttl, *protocol]);
            let sum =
                replaced(u16::from_be_bytes([*high, *low]), u16::from_be_bytes(was), u16::from_be_bytes(is));
            [*high, *low] = sum.to_be_bytes();
            *old = ttl;
        }
        [_, _, _, _, _, _, _, limit, ..] => *limit = ttl,
        _ => {}
    }
}

/// A checksum after a word under it was replaced (RFC 1624, equation 3).
pub(super) fn replaced(checksum: u16, was: u16, is: u16) -> u16 {
    if was == is {
        return checksum;
    }
    let sum = u32::from(!checksum) + u32::from(!was) + u32::from(is);
    let sum = (sum & 0xffff) + (sum >> 16);
    let sum = (sum & 0xffff) + (sum >> 16);
    !u16::try_from(sum).unwrap_or(u16::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_settled_header_has_its_checksum(ttl: u8, later: u8, id: u16, source: u32, destination: u32) {
            let header = ipv4::Header {
                tos: 0, total_bytes: 20, id, dont_fragment: true, fragment_offset: 0, ttl, protocol: 17,
                source: source.into(), destination: destination.into(),
            };
            let mut bytes = ipv4::encode(&header);
            settle(&mut bytes, later);
            let read = Head::read(&bytes).unwrap();
            prop_assert_eq!((read.ttl, read.id), (later, id));
        }

        #[test]
        fn garbage_is_no_packet_and_no_panic(mut bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            let _ = Head::read(&bytes).map(|head| head.look(&bytes));
            settle(&mut bytes, 9);
        }
    }
}
