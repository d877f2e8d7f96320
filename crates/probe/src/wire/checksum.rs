//! The Internet checksum (RFC 1071): the ones' complement of the ones' complement sum of 16-bit words.

use std::net::Ipv6Addr;

/// A sum under way. Words may be added in any order; an odd octet only at the very end.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sum(u64);

impl Sum {
    /// Adds bytes as big-endian words, an odd last octet padded with zero.
    #[must_use]
    pub fn plus(self, bytes: &[u8]) -> Self {
        let mut words = bytes.chunks_exact(2);
        let mut sum = self.0;
        for word in &mut words {
            if let [high, low] = *word {
                sum = sum.wrapping_add(u64::from(u16::from_be_bytes([high, low])));
            }
        }
        if let [last] = *words.remainder() {
            sum = sum.wrapping_add(u64::from(u16::from_be_bytes([last, 0])));
        }
        Self(sum)
    }

    /// Adds the pseudo-header of IPv6 (RFC 8200, section 8.1) for an upper layer of `length` octets.
    #[must_use]
    pub fn plus_ipv6_pseudo_header(
        self,
        source: Ipv6Addr,
        destination: Ipv6Addr,
        length: u32,
        next: u8,
    ) -> Self {
        self.plus(&source.octets())
            .plus(&destination.octets())
            .plus(&length.to_be_bytes())
            .plus(&[0, 0, 0, next])
    }

    /// The checksum: what goes into the field. Over bytes that carry a right checksum it is 0.
    pub fn finish(self) -> u16 {
        let mut sum = self.0;
        while sum > 0xffff {
            sum = (sum & 0xffff) + (sum >> 16);
        }
        !u16::try_from(sum).unwrap_or(u16::MAX)
    }
}

/// The checksum of these bytes.
pub fn of(bytes: &[u8]) -> u16 {
    Sum::default().plus(bytes).finish()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// RFC 1071, section 3, the worked example: the sum of these octets is ddf2.
    #[test]
    fn agrees_with_the_rfc() {
        assert_eq!(of(&[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]), !0xddf2);
    }

    #[test]
    fn an_odd_octet_is_padded() {
        assert_eq!(of(&[0xab]), of(&[0xab, 0x00]));
    }

    proptest! {
        #[test]
        fn bytes_with_their_checksum_sum_to_zero(mut bytes in prop::collection::vec(any::<u8>(), 2..200)) {
            bytes[0] = 0;
            bytes[1] = 0;
            let checksum = of(&bytes).to_be_bytes();
            bytes[..2].copy_from_slice(&checksum);
            prop_assert_eq!(of(&bytes), 0);
        }
    }
}
