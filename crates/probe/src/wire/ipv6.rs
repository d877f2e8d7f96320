//! The IPv6 header (RFC 8200, section 3). Extension headers are not walked: what follows the fixed header is
//! the payload, and `next_header` says what it is.

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

    proptest! {
        #[test]
        fn survives_anything(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            let _ = decode(&bytes);
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
