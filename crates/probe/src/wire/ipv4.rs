//! The IPv4 header (RFC 791, section 3.1).

use std::net::Ipv4Addr;

use super::{DecodeError, array, checksum, octet, word};

/// The octets of a header without options.
pub const HEADER_BYTES: usize = 20;

/// An IPv4 header, without its options.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Type of service: DSCP and ECN.
    pub tos: u8,
    /// The length of header and payload in octets, as the header says.
    pub total_bytes: u16,
    /// Identification.
    pub id: u16,
    /// Whether routers may not fragment it.
    pub dont_fragment: bool,
    /// Where this fragment belongs, in units of 8 octets.
    pub fragment_offset: u16,
    /// Time to live.
    pub ttl: u8,
    /// The protocol of the payload (IANA protocol numbers).
    pub protocol: u8,
    /// Source address.
    pub source: Ipv4Addr,
    /// Destination address.
    pub destination: Ipv4Addr,
}

/// A packet: the header and what follows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet<'a> {
    /// The header.
    pub header: Header,
    /// Its options, padding included.
    pub options: &'a [u8],
    /// What follows header and options: as much as is there, and no more than the header announces.
    pub payload: &'a [u8],
    /// Whether the header's checksum is right. Quoted headers are often altered under way.
    pub checksum_ok: bool,
}

/// Reads a packet, whole or cut short after its header.
pub fn decode(bytes: &[u8]) -> Result<Packet<'_>, DecodeError> {
    let first = octet(bytes, 0)?;
    if first >> 4 != 4 {
        return Err(DecodeError::Version(first >> 4));
    }
    let header_bytes = usize::from(first & 0x0f) * 4;
    if header_bytes < HEADER_BYTES {
        return Err(DecodeError::HeaderLength(header_bytes));
    }
    let raw =
        bytes.get(..header_bytes).ok_or(DecodeError::Truncated { need: header_bytes, have: bytes.len() })?;
    let fragment = word(raw, 6)?;
    let header = Header {
        tos: octet(raw, 1)?,
        total_bytes: word(raw, 2)?,
        id: word(raw, 4)?,
        dont_fragment: fragment & 0x4000 != 0,
        fragment_offset: fragment & 0x1fff,
        ttl: octet(raw, 8)?,
        protocol: octet(raw, 9)?,
        source: Ipv4Addr::from(array::<4>(raw, 12)?),
        destination: Ipv4Addr::from(array::<4>(raw, 16)?),
    };
    let end = bytes.len().min(usize::from(header.total_bytes).max(header_bytes));
    let payload = bytes.get(header_bytes..end).unwrap_or_default();
    let options = raw.get(HEADER_BYTES..).unwrap_or_default();
    Ok(Packet { header, options, payload, checksum_ok: checksum::of(raw) == 0 })
}

/// Writes a header of 20 octets with its checksum.
pub fn encode(header: &Header) -> [u8; HEADER_BYTES] {
    let [total_high, total_low] = header.total_bytes.to_be_bytes();
    let [id_high, id_low] = header.id.to_be_bytes();
    let fragment = (header.fragment_offset & 0x1fff) | if header.dont_fragment { 0x4000 } else { 0 };
    let [fragment_high, fragment_low] = fragment.to_be_bytes();
    let [s0, s1, s2, s3] = header.source.octets();
    let [d0, d1, d2, d3] = header.destination.octets();
    let with = |sum: [u8; 2]| {
        [
            0x45,
            header.tos,
            total_high,
            total_low,
            id_high,
            id_low,
            fragment_high,
            fragment_low,
            header.ttl,
            header.protocol,
            sum[0],
            sum[1],
            s0,
            s1,
            s2,
            s3,
            d0,
            d1,
            d2,
            d3,
        ]
    };
    with(checksum::of(&with([0, 0])).to_be_bytes())
}

/// The most octets of options that a header has room for.
pub const MAX_OPTION_BYTES: usize = 40;

/// Appends a header with its options and its checksum. Nothing is appended, and the answer is *no*, when the options
/// are no multiple of four octets or longer than [`MAX_OPTION_BYTES`].
#[must_use]
pub fn append(header: &Header, options: &[u8], out: &mut Vec<u8>) -> bool {
    if options.is_empty() {
        out.extend_from_slice(&encode(header));
        return true;
    }
    let words = (HEADER_BYTES + options.len()) / 4;
    let Ok(first) = u8::try_from(0x40 | words) else { return false };
    if !options.len().is_multiple_of(4) || options.len() > MAX_OPTION_BYTES {
        return false;
    }
    let mut bytes = encode(header);
    let [version, ..] = &mut bytes;
    *version = first;
    if let Some(checksum) = bytes.get_mut(10..12) {
        checksum.fill(0);
    }
    let sum = checksum::Sum::default().plus(&bytes).plus(options).finish();
    if let Some(checksum) = bytes.get_mut(10..12) {
        checksum.copy_from_slice(&sum.to_be_bytes());
    }
    out.extend_from_slice(&bytes);
    out.extend_from_slice(options);
    true
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::wire::golden;

    #[test]
    fn reads_and_writes_what_linux_wrote() {
        let bytes = golden::hex(golden::ECHO_REQUEST_V4);
        let packet = decode(&bytes).unwrap();
        assert!(packet.checksum_ok);
        assert_eq!(packet.header.total_bytes, 52);
        assert_eq!(packet.header.ttl, 64);
        assert_eq!(packet.header.protocol, 1);
        assert!(packet.header.dont_fragment);
        assert_eq!(packet.header.source, Ipv4Addr::LOCALHOST);
        assert_eq!(packet.payload.len(), 32);
        assert_eq!(encode(&packet.header), bytes[..20]);
    }

    #[test]
    fn refuses_what_is_no_ipv4() {
        assert_eq!(decode(&[]), Err(DecodeError::Truncated { need: 1, have: 0 }));
        assert_eq!(decode(&[0x60; 40]), Err(DecodeError::Version(6)));
        assert_eq!(decode(&[0x44; 40]), Err(DecodeError::HeaderLength(16)));
        assert_eq!(decode(&[0x4f; 40]), Err(DecodeError::Truncated { need: 60, have: 40 }));
    }

    proptest! {
        #[test]
        fn survives_anything(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            let _ = decode(&bytes);
        }

        #[test]
        fn options_are_kept(ttl: u8, options in prop::collection::vec(any::<u8>(), 0..48)) {
            let header = Header {
                tos: 3, total_bytes: 100, id: 7, dont_fragment: false, fragment_offset: 0, ttl, protocol: 17,
                source: Ipv4Addr::LOCALHOST, destination: Ipv4Addr::BROADCAST,
            };
            let mut bytes = Vec::new();
            let fits = options.len() % 4 == 0 && options.len() <= MAX_OPTION_BYTES;
            prop_assert_eq!(append(&header, &options, &mut bytes), fits);
            if fits {
                let packet = decode(&bytes).unwrap();
                prop_assert_eq!(packet.header, header);
                prop_assert_eq!(packet.options, &options[..]);
                prop_assert!(packet.checksum_ok);
            }
        }

        #[test]
        fn reads_what_it_writes(
            tos: u8, total_bytes in 20_u16.., id: u16, dont_fragment: bool, fragment_offset in 0_u16..0x2000,
            ttl: u8, protocol: u8, source: u32, destination: u32,
        ) {
            let header = Header {
                tos, total_bytes, id, dont_fragment, fragment_offset, ttl, protocol,
                source: source.into(), destination: destination.into(),
            };
            let packet_bytes = encode(&header);
            let packet = decode(&packet_bytes).unwrap();
            prop_assert_eq!(packet.header, header);
            prop_assert!(packet.checksum_ok);
        }
    }
}
