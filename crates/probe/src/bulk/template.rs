//! Echo requests as bytes, from a template: of one measurement and one source address, with all that its packets have
//! in common written and summed up beforehand.

use std::net::IpAddr;

use super::token::COOKIE_BYTES;
use crate::wire::{PROTOCOL_ICMP, PROTOCOL_ICMPV6, checksum, icmp, ipv4, ipv6};

/// What the packets of one measurement have in common.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Shape {
    /// Octets after the ICMP header; at most [`MAX_PAYLOAD_BYTES`].
    pub payload_bytes: u16,
    /// What the payload repeats after the cookie; zeros where empty.
    pub fill: Vec<u8>,
    /// TTL or hop limit.
    pub ttl: u8,
    /// DSCP and ECN.
    pub tos: u8,
    /// Whether routers may not fragment it (IPv4).
    pub dont_fragment: bool,
}

/// The longest payload of this lane.
pub const MAX_PAYLOAD_BYTES: u16 = 1_472;

/// The longest packet that a template writes: one of IPv6.
pub const MAX_PACKET_BYTES: usize = ipv6::HEADER_BYTES + icmp::HEADER_BYTES + MAX_PAYLOAD_BYTES as usize;

/// A template.
#[derive(Clone, Debug)]
pub struct Template {
    source: IpAddr,
    bytes: Vec<u8>,
    /// The sum of the IPv4 header without identification and destination.
    header: checksum::Sum,
    /// The sum of the message (and of IPv6's pseudo-header) without identifier, sequence number, cookie and destination.
    message: checksum::Sum,
    /// Where the ICMP header begins.
    at: usize,
    /// Octets of the cookie.
    cookie: usize,
}

impl Template {
    /// For packets from `source`.
    pub fn new(shape: &Shape, source: IpAddr) -> Self {
        let payload_bytes = shape.payload_bytes.min(MAX_PAYLOAD_BYTES);
        let payload = usize::from(payload_bytes);
        let cookie = payload.min(COOKIE_BYTES);
        let message_bytes = payload_bytes + ICMP_BYTES;
        let (mut bytes, icmp_type) = match source {
            IpAddr::V4(source) => {
                let header = ipv4::Header {
                    tos: shape.tos,
                    total_bytes: message_bytes + IPV4_BYTES,
                    id: 0,
                    dont_fragment: shape.dont_fragment,
                    fragment_offset: 0,
                    ttl: shape.ttl,
                    protocol: PROTOCOL_ICMP,
                    source,
                    destination: std::net::Ipv4Addr::UNSPECIFIED,
                };
                (ipv4::encode(&header).to_vec(), 8)
            }
            IpAddr::V6(source) => {
                let header = ipv6::Header {
                    traffic_class: shape.tos,
                    flow_label: 0,
                    payload_bytes: message_bytes,
                    next_header: PROTOCOL_ICMPV6,
                    hop_limit: shape.ttl,
                    source,
                    destination: std::net::Ipv6Addr::UNSPECIFIED,
                };
                (ipv6::encode(&header).to_vec(), 128)
            }
        };
        let at = bytes.len();
        bytes.extend([icmp_type, 0, 0, 0, 0, 0, 0, 0]);
        bytes.extend(std::iter::repeat_n(0, cookie));
        let rest = payload - cookie;
        if shape.fill.is_empty() {
            bytes.extend(std::iter::repeat_n(0, rest));
        } else {
            bytes.extend(shape.fill.iter().copied().cycle().take(rest));
        }
        let mut header = checksum::Sum::default();
        let mut message = checksum::Sum::default();
        match source {
            IpAddr::V4(_) => {
                if let Some(sum) = bytes.get_mut(10..12) {
                    sum.fill(0);
                }
                header = header.plus(bytes.get(..at).unwrap_or_default());
            }
            IpAddr::V6(source) => {
                let nowhere = std::net::Ipv6Addr::UNSPECIFIED;
                message = message.plus_ipv6_pseudo_header(
                    source,
                    nowhere,
                    u32::from(message_bytes),
                    PROTOCOL_ICMPV6,
                );
            }
        }
        message = message.plus(bytes.get(at..).unwrap_or_default());
        Self { source, bytes, header, message, at, cookie }
    }

    /// The address that its packets come from.
    pub const fn source(&self) -> IpAddr {
        self.source
    }

    /// The length of each of its packets in octets, IP header included.
    pub fn bytes(&self) -> usize {
        self.bytes.len()
    }

    /// Writes a packet to the start of `out`; nothing, where there is no room for it. `to` must be of the family of the
    /// source, with IPv4 as IPv4-mapped.
    pub fn write(
        &self,
        out: &mut [u8],
        to: &[u8; 16],
        id: u16,
        seq: u16,
        cookie: [u8; COOKIE_BYTES],
    ) -> Option<usize> {
        let out = out.get_mut(..self.bytes.len())?;
        out.copy_from_slice(&self.bytes);
        let mut proof = [0; COOKIE_BYTES];
        for (to, from) in proof.iter_mut().zip(cookie).take(self.cookie) {
            *to = from;
        }
        let [id, seq] = [id.to_be_bytes(), seq.to_be_bytes()];
        let own = self.message.plus(&id).plus(&seq).plus(&proof);
        let (header, message) = out.split_at_mut_checked(self.at)?;
        let sum = if self.source.is_ipv4() {
            let to: &[u8; 4] = to.last_chunk()?;
            // The sequence number serves as identification: it differs from packet to packet.
            let sum = self.header.plus(&seq).plus(to).finish();
            header.get_mut(4..6)?.copy_from_slice(&seq);
            header.get_mut(10..12)?.copy_from_slice(&sum.to_be_bytes());
            header.get_mut(16..20)?.copy_from_slice(to);
            own.finish()
        } else {
            header.get_mut(24..40)?.copy_from_slice(to);
            own.plus(to).finish()
        };
        message.get_mut(2..4)?.copy_from_slice(&sum.to_be_bytes());
        message.get_mut(4..6)?.copy_from_slice(&id);
        message.get_mut(6..8)?.copy_from_slice(&seq);
        message.get_mut(8..8 + self.cookie)?.copy_from_slice(proof.get(..self.cookie)?);
        Some(self.bytes.len())
    }
}

const ICMP_BYTES: u16 = 8;
const IPV4_BYTES: u16 = 20;

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};

    use proptest::prelude::*;

    use super::*;
    use crate::wire::{
        golden,
        icmp::{Family, Icmp},
    };

    /// What iputils sent over IPv6, but for its flow label: our fields in its packet give its bytes.
    #[test]
    fn agrees_with_iputils() {
        let theirs = golden::hex(golden::ECHO_REQUEST_V6);
        let payload: Vec<u8> = theirs[48..].to_vec();
        let shape =
            Shape { payload_bytes: 24, fill: payload[8..].to_vec(), ttl: 64, tos: 0, dont_fragment: true };
        let template = Template::new(&shape, Ipv6Addr::LOCALHOST.into());
        let mut out = [0; 100];
        let cookie = payload[..8].try_into().unwrap();
        let length = template.write(&mut out, &Ipv6Addr::LOCALHOST.octets(), 0x1cbd, 1, cookie).unwrap();
        assert_eq!(out[4..length], theirs[4..]);
        let theirs = golden::hex(golden::ECHO_REQUEST_V4);
        let shape = Shape { fill: theirs[36..].to_vec(), ..shape };
        let template = Template::new(&shape, Ipv4Addr::LOCALHOST.into());
        let to = Ipv4Addr::LOCALHOST.to_ipv6_mapped().octets();
        let cookie = theirs[28..36].try_into().unwrap();
        let length = template.write(&mut out, &to, 0x1cbc, 1, cookie).unwrap();
        assert_eq!(out[20..length], theirs[20..]);
    }

    proptest! {
        #[test]
        fn every_packet_is_right(
            v6: bool, to: u128, from: u128, payload_bytes in 0_u16..=MAX_PAYLOAD_BYTES, id: u16, seq: u16,
            cookie: [u8; 8], fill in prop::collection::vec(any::<u8>(), 0..4), ttl: u8, tos: u8,
        ) {
            let shape = Shape { payload_bytes, fill, ttl, tos, dont_fragment: false };
            let (to, from): (Ipv6Addr, Ipv6Addr) = (to.into(), from.into());
            let four = |address: Ipv6Addr| Ipv4Addr::from(*address.octets().last_chunk::<4>().unwrap());
            let mut out = vec![0; MAX_PACKET_BYTES];
            let message = if v6 {
                let template = Template::new(&shape, from.into());
                let length = template.write(&mut out, &to.octets(), id, seq, cookie).unwrap();
                let packet = ipv6::decode(&out[..length]).unwrap();
                prop_assert_eq!((packet.header.source, packet.header.destination), (from, to));
                prop_assert_eq!((packet.header.hop_limit, packet.header.traffic_class), (ttl, tos));
                prop_assert_eq!(icmp::checksum_v6(from, to, packet.payload), 0);
                packet.payload
            } else {
                let template = Template::new(&shape, four(from).into());
                let mapped = four(to).to_ipv6_mapped().octets();
                let length = template.write(&mut out, &mapped, id, seq, cookie).unwrap();
                let packet = ipv4::decode(&out[..length]).unwrap();
                prop_assert!(packet.checksum_ok);
                prop_assert_eq!((packet.header.source, packet.header.destination), (four(from), four(to)));
                prop_assert_eq!((packet.header.ttl, packet.header.tos), (ttl, tos));
                packet.payload
            };
            let family = if v6 { Family::V6 } else { Family::V4 };
            let Ok(Icmp::EchoRequest(echo)) = icmp::decode(family, message) else { panic!("{message:?}") };
            prop_assert_eq!((echo.id, echo.seq, echo.payload.len()), (id, seq, usize::from(payload_bytes)));
            let proof = usize::from(payload_bytes).min(8);
            prop_assert_eq!(&echo.payload[..proof], &cookie[..proof]);
        }
    }
}
