//! The Internet checksum (RFC 1071): the ones' complement of the ones' complement sum of 16-bit words.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A sum under way. Words may be added in any order; an odd octet only at the very end.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sum(u64);

impl Sum {
    /// Adds bytes as big-endian words, an odd last octet padded with zero.
    #[must_use]
    pub fn plus(self, bytes: &[u8]) -> Self {
        // Words of 32 bits add up to the same as those of 16 once the carries are folded in (RFC 1071, section 2).
        let (longs, rest) = bytes.as_chunks::<4>();
        let mut sum =
            longs.iter().fold(self.0, |sum, long| sum.wrapping_add(u64::from(u32::from_be_bytes(*long))));
        let mut last = [0; 4];
        for (to, from) in last.iter_mut().zip(rest) {
            *to = *from;
        }
        sum = sum.wrapping_add(u64::from(u32::from_be_bytes(last)));
        Self(sum)
    }

    /// Adds one word.
    #[must_use]
    pub const fn plus_word(self, word: u16) -> Self {
        Self(self.0.wrapping_add(word as u64))
    }

    /// Adds the pseudo-header of IPv4 (RFC 9293, section 3.1; RFC 768) for an upper layer of `length` octets.
    #[must_use]
    pub fn plus_ipv4_pseudo_header(
        self,
        source: Ipv4Addr,
        destination: Ipv4Addr,
        length: u16,
        protocol: u8,
    ) -> Self {
        self.plus(&source.octets())
            .plus(&destination.octets())
            .plus_word(u16::from(protocol))
            .plus_word(length)
    }

    /// Adds the pseudo-header of either version; nothing when the addresses are of two versions, or the length is more
    /// than the version can carry.
    pub fn plus_pseudo_header(
        self,
        source: IpAddr,
        destination: IpAddr,
        length: usize,
        protocol: u8,
    ) -> Option<Self> {
        Some(match (source, destination) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                self.plus_ipv4_pseudo_header(source, destination, length.try_into().ok()?, protocol)
            }
            (IpAddr::V6(source), IpAddr::V6(destination)) => {
                self.plus_ipv6_pseudo_header(source, destination, length.try_into().ok()?, protocol)
            }
            _ => return None,
        })
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

    /// The word that makes the checksum `wanted` when it takes the place of `word`, which is part of this sum. There
    /// always is one: all but one of the 65,536 words are different numbers of the ones' complement, and the checksums
    /// 0 and ffff stand for the same one.
    #[must_use]
    pub fn compensation(self, word: u16, wanted: u16) -> u16 {
        !Self::default().plus_word(!wanted).plus_word(self.finish()).plus_word(word).finish()
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
        fn long_words_sum_up_as_short_ones_do(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            let short = bytes.chunks(2).fold(0_u32, |sum, word| {
                let sum = sum + u32::from(word[0]) * 256 + word.get(1).copied().map_or(0, u32::from);
                (sum & 0xffff) + (sum >> 16)
            });
            prop_assert_eq!(of(&bytes), !u16::try_from(short).unwrap());
        }

        #[test]
        fn a_word_is_found_for_every_checksum(mut bytes in prop::collection::vec(any::<u8>(), 4..100), wanted: u16) {
            bytes[3] |= 1;
            let sum = Sum::default().plus(&bytes);
            let word = sum.compensation(u16::from_be_bytes([bytes[0], bytes[1]]), wanted);
            bytes[..2].copy_from_slice(&word.to_be_bytes());
            let total = Sum::default().plus(&bytes).plus_word(wanted).finish();
            prop_assert_eq!(total, 0);
        }

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
