//! UDP (RFC 768).

use std::net::IpAddr;

use super::{DecodeError, PROTOCOL_UDP, checksum::Sum, octet, word};

/// The octets of the header.
pub const HEADER_BYTES: usize = 8;

/// A datagram, whole or cut short after its header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Datagram<'a> {
    /// Source port.
    pub source_port: u16,
    /// Destination port.
    pub destination_port: u16,
    /// The length of header and payload in octets, as the header says.
    pub length: u16,
    /// The checksum; 0 where the sender made none (IPv4 alone).
    pub checksum: u16,
    /// The payload: as much as is there, and no more than the header announces.
    pub payload: &'a [u8],
}

/// Reads a datagram. Its checksum is for [`checksum_ok`].
pub fn decode(bytes: &[u8]) -> Result<Datagram<'_>, DecodeError> {
    octet(bytes, HEADER_BYTES - 1)?;
    let length = word(bytes, 4)?;
    if usize::from(length) < HEADER_BYTES {
        return Err(DecodeError::HeaderLength(usize::from(length)));
    }
    let end = bytes.len().min(usize::from(length));
    Ok(Datagram {
        source_port: word(bytes, 0)?,
        destination_port: word(bytes, 2)?,
        length,
        checksum: word(bytes, 6)?,
        payload: bytes.get(HEADER_BYTES..end).unwrap_or_default(),
    })
}

/// Whether the checksum of a whole datagram between two addresses is right, or absent where it may be.
pub fn checksum_ok(source: IpAddr, destination: IpAddr, datagram: &Datagram<'_>, bytes: &[u8]) -> bool {
    let Some(bytes) = bytes.get(..usize::from(datagram.length)) else { return false };
    if datagram.checksum == 0 {
        return source.is_ipv4();
    }
    Sum::default()
        .plus_pseudo_header(source, destination, bytes.len(), PROTOCOL_UDP)
        .is_some_and(|sum| sum.plus(bytes).finish() == 0)
}

/// The header's bytes; `length` counts header and payload.
pub const fn encode(
    source_port: u16,
    destination_port: u16,
    length: u16,
    checksum: u16,
) -> [u8; HEADER_BYTES] {
    let ([s0, s1], [d0, d1]) = (source_port.to_be_bytes(), destination_port.to_be_bytes());
    let ([l0, l1], [c0, c1]) = (length.to_be_bytes(), checksum.to_be_bytes());
    [s0, s1, d0, d1, l0, l1, c0, c1]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn refuses_what_is_no_datagram() {
        assert_eq!(decode(&[0; 7]), Err(DecodeError::Truncated { need: 8, have: 7 }));
        assert_eq!(decode(&encode(1, 2, 7, 0)), Err(DecodeError::HeaderLength(7)));
    }

    proptest! {
        #[test]
        fn survives_anything(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            if let Ok(datagram) = decode(&bytes) {
                let _ = checksum_ok(IpAddr::from([1; 4]), IpAddr::from([2; 4]), &datagram, &bytes);
            }
        }

        #[test]
        fn reads_what_it_writes(ports: (u16, u16), checksum: u16, payload in prop::collection::vec(any::<u8>(), 0..40)) {
            let length = u16::try_from(HEADER_BYTES + payload.len()).unwrap();
            let bytes = [&encode(ports.0, ports.1, length, checksum)[..], &payload].concat();
            let (source_port, destination_port) = ports;
            prop_assert_eq!(
                decode(&bytes),
                Ok(Datagram { source_port, destination_port, length, checksum, payload: &payload })
            );
        }
    }
}
