//! The IPv6 header (RFC 8200, section 3). What follows the fixed header is the payload, and `next_header` says what it
//! is; [`upper`] walks the extension headers to the transport header.

use std::net::Ipv6Addr;

use super::{DecodeError, array, long, octet, word};

/// The octets of the fixed header.
pub const HEADER_BYTES: usize = 40;

/// The fixed IPv6 header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Traffic class: DSCP and ECN.
    pub traffic_class: u8,
    /// Flow label, 20 bits.
    pub flow_label: u32,
    /// The length of what follows the fixed header, in octets.
    pub payload_bytes: u16,
    /// What follows (IANA protocol numbers).
    pub next_header: u8,
    /// Hop limit.
    pub hop_limit: u8,
    /// Source address.
    pub source: Ipv6Addr,
    /// Destination address.
    pub destination: Ipv6Addr,
}

/// A packet: the fixed header and what follows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet<'a> {
    /// The header.
    pub header: Header,
    /// What follows: as much as is there, and no more than the header announces.
    pub payload: &'a [u8],
}

/// Reads a packet, whole or cut short after its fixed header.
pub fn decode(bytes: &[u8]) -> Result<Packet<'_>, DecodeError> {
    let first = octet(bytes, 0)?;
    if first >> 4 != 6 {
        return Err(DecodeError::Version(first >> 4));
    }
    let start = long(bytes, 0)?;
    let header = Header {
        traffic_class: u8::try_from(start >> 20 & 0xff).unwrap_or_default(),
        flow_label: start & 0x000f_ffff,
        payload_bytes: word(bytes, 4)?,
        next_header: octet(bytes, 6)?,
        hop_limit: octet(bytes, 7)?,
        source: Ipv6Addr::from(array::<16>(bytes, 8)?),
        destination: Ipv6Addr::from(array::<16>(bytes, 24)?),
    };
    let end = bytes.len().min(HEADER_BYTES + usize::from(header.payload_bytes));
    Ok(Packet { header, payload: bytes.get(HEADER_BYTES..end).unwrap_or_default() })
}

/// Writes the fixed header; a flow label above 20 bits is cut to them.
pub fn encode(header: &Header) -> [u8; HEADER_BYTES] {
    let start = 6 << 28 | u32::from(header.traffic_class) << 20 | header.flow_label & 0x000f_ffff;
    let mut bytes = [0; HEADER_BYTES];
    let fields = start
        .to_be_bytes()
        .into_iter()
        .chain(header.payload_bytes.to_be_bytes())
        .chain([header.next_header, header.hop_limit])
        .chain(header.source.octets())
        .chain(header.destination.octets());
    for (byte, field) in bytes.iter_mut().zip(fields) {
        *byte = field;
    }
    bytes
}

/// What the extension headers of a packet lead to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Upper<'a> {
    /// Its protocol (IANA protocol numbers).
    pub protocol: u8,
    /// Where this fragment belongs, in units of 8 octets; other than 0 the payload does not begin with a header.
    pub fragment_offset: u16,
    /// What follows the extension headers.
    pub payload: &'a [u8],
}

/// Walks the extension headers hop-by-hop, routing, fragment, destination options (RFC 8200, section 4) and
/// authentication (RFC 4302, section 2) in any order. Fails when one of them is cut short.
pub fn upper<'a>(packet: &Packet<'a>) -> Result<Upper<'a>, DecodeError> {
    let (mut protocol, mut rest) = (packet.header.next_header, packet.payload);
    let mut fragment_offset = 0;
    loop {
        // Lengths are in units of 8 octets without the first, of AH in units of 4 without the first two.
        let length = match protocol {
            HOP_BY_HOP | ROUTING | DESTINATION_OPTIONS => (usize::from(octet(rest, 1)?) + 1) * 8,
            AUTHENTICATION => (usize::from(octet(rest, 1)?) + 2) * 4,
            FRAGMENT => {
                fragment_offset = word(rest, 2)? >> 3;
                FRAGMENT_BYTES
            }
            _ => return Ok(Upper { protocol, fragment_offset, payload: rest }),
        };
        protocol = octet(rest, 0)?;
        rest = rest.get(length..).ok_or(DecodeError::Truncated { need: length, have: rest.len() })?;
        if fragment_offset != 0 {
            return Ok(Upper { protocol, fragment_offset, payload: rest });
        }
    }
}

/// A fragment: its header (RFC 8200, section 4.5) and what follows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fragment<'a> {
    /// What the whole packet goes on with (IANA protocol numbers).
    pub next_header: u8,
    /// Where it belongs, in units of 8 octets; of the first fragment 0.
    pub offset: u16,
    /// The identification that all fragments of the packet have.
    pub id: u32,
    /// What follows.
    pub payload: &'a [u8],
}

/// Reads a fragment from its fragment header on.
pub fn fragment(bytes: &[u8]) -> Result<Fragment<'_>, DecodeError> {
    let (next_header, offset, id) = (octet(bytes, 0)?, word(bytes, 2)? >> 3, long(bytes, 4)?);
    Ok(Fragment { next_header, offset, id, payload: bytes.get(FRAGMENT_BYTES..).unwrap_or_default() })
}

/// The octets of a fragment header.
const FRAGMENT_BYTES: usize = 8;
// IANA protocol numbers of extension headers.
const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
const FRAGMENT: u8 = 44;
const AUTHENTICATION: u8 = 51;
const DESTINATION_OPTIONS: u8 = 60;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::wire::golden;

    #[test]
    fn reads_and_writes_what_linux_wrote() {
        let bytes = golden::hex(golden::ECHO_REQUEST_V6);
        let packet = decode(&bytes).unwrap();
        assert_eq!(packet.header.flow_label, 0x0ed0e);
        assert_eq!(packet.header.next_header, 58);
        assert_eq!(packet.header.hop_limit, 64);
        assert_eq!(packet.header.source, Ipv6Addr::LOCALHOST);
        assert_eq!(packet.payload.len(), 32);
        assert_eq!(encode(&packet.header), bytes[..40]);
    }

    fn packet(next_header: u8, payload: &[u8]) -> Packet<'_> {
        let header = Header {
            traffic_class: 0,
            flow_label: 0,
            payload_bytes: 0,
            next_header,
            hop_limit: 1,
            source: Ipv6Addr::LOCALHOST,
            destination: Ipv6Addr::LOCALHOST,
        };
        Packet { header, payload }
    }

    #[test]
    fn extension_headers_lead_to_the_transport() {
        // Layouts of RFC 8200, sections 4.3 to 4.6, and RFC 4302, section 2.
        let mut chain = vec![ROUTING, 0, 1, 4, 0, 0, 0, 0];
        chain.extend([AUTHENTICATION, 2, 4, 0, 0, 0, 0, 0]);
        chain.extend([0; 16]);
        chain.extend([FRAGMENT, 1, 0, 0, 0, 0, 0, 9, 0, 0, 0, 0]);
        chain.extend([DESTINATION_OPTIONS, 0, 0, 1, 0, 0, 0, 5]);
        chain.extend([17, 0, 1, 4, 0, 0, 0, 0]);
        chain.extend([0xab; 8]);
        let packet = packet(HOP_BY_HOP, &chain);
        let upper = upper(&packet).unwrap();
        assert_eq!((upper.protocol, upper.fragment_offset, upper.payload), (17, 0, &[0xab; 8][..]));
        let cut = super::upper(&Packet { payload: &chain[..20], ..packet });
        assert!(matches!(cut, Err(DecodeError::Truncated { .. })));
    }

    #[test]
    fn a_later_fragment_has_no_transport_header() {
        let fragment = [17, 0, 0, 8, 0, 0, 0, 5, HOP_BY_HOP, 0];
        let upper = upper(&packet(FRAGMENT, &fragment)).unwrap();
        assert_eq!((upper.protocol, upper.fragment_offset, upper.payload.len()), (17, 1, 2));
        let read = super::fragment(&fragment).unwrap();
        assert_eq!((read.next_header, read.offset, read.id, read.payload.len()), (17, 1, 5, 2));
        assert!((0..8).all(|length| super::fragment(&fragment[..length]).is_err()));
    }

    proptest! {
        #[test]
        fn survives_anything(mut bytes in prop::collection::vec(any::<u8>(), 0..100), next in 0_usize..6) {
            let _ = decode(&bytes).map(|packet| upper(&packet).is_ok());
            if bytes.len() > 40 {
                bytes[0] = 0x60;
                bytes[4..6].copy_from_slice(&[1, 0]);
                bytes[6] = [0, 43, 44, 51, 60, 17][next];
                bytes[40] = [43, 44, 51, 60, 17, 0][next];
                let _ = upper(&decode(&bytes).unwrap());
            }
        }

        #[test]
        fn reads_what_it_writes(
            traffic_class: u8, flow_label in 0_u32..0x0010_0000, payload_bytes: u16, next_header: u8,
            hop_limit: u8, source: u128, destination: u128,
        ) {
            let header = Header {
                traffic_class, flow_label, payload_bytes, next_header, hop_limit,
                source: source.into(), destination: destination.into(),
            };
            prop_assert_eq!(decode(&encode(&header)).unwrap().header, header);
        }
    }
}
