//! What tells a probe of this lane from others: identifier and sequence number name its slot, a keyed cookie in its
//! payload proves that it was there.

use super::table::Key;
use crate::cookie;

/// The octets of a payload that carry the cookie; a shorter payload carries as much as it can.
pub const COOKIE_BYTES: usize = 8;

/// How slots are named by identifiers and sequence numbers: the lower bits are the place, the upper ones those of its
/// generation that there is room for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tokens {
    first: u16,
    /// Bits of a token.
    bits: u32,
    /// Bits of it that are the place.
    place: u32,
}

/// Bits of the generation that a token has at least, and bits of the place at most: a million probes.
const LEAST_GENERATION: u32 = 6;
const MOST_PLACE: u32 = 20;

impl Tokens {
    /// Tokens of `count` identifiers from `first` on; of those the largest power of two is used.
    pub(super) fn new(first: u16, count: u16) -> Self {
        let bits = 16 + count.max(1).ilog2();
        Self { first, bits, place: (bits - LEAST_GENERATION).min(MOST_PLACE) }
    }

    /// How many probes can be told apart at a time.
    pub(super) const fn capacity(self) -> u32 {
        1 << self.place
    }

    /// Identifier and sequence number of a probe.
    pub(super) fn of(self, key: Key) -> (u16, u16) {
        let token = (u32::from(key.generation) << self.place | key.index) & self.mask();
        let [a, b, c, d] = token.to_be_bytes();
        (self.first.wrapping_add(u16::from_be_bytes([a, b])), u16::from_be_bytes([c, d]))
    }

    /// The place, the known bits of its generation, and which these are; nothing for an identifier that is none of ours.
    pub(super) fn read(self, id: u16, seq: u16) -> Option<(u32, u16, u16)> {
        let token = u32::from(id.wrapping_sub(self.first)) << 16 | u32::from(seq);
        if token & !self.mask() != 0 {
            return None;
        }
        let known = (1_u32 << (self.bits - self.place)) - 1;
        let low = |number: u32| u16::try_from(number & 0xffff).unwrap_or(0);
        Some((token & ((1 << self.place) - 1), low(token >> self.place), low(known)))
    }

    const fn mask(self) -> u32 {
        (1 << self.bits) - 1
    }
}

/// The cookie of a probe to `target`.
pub(super) fn proof(secret: &cookie::Key, key: Key, target: &[u8; 16]) -> [u8; COOKIE_BYTES] {
    let (index, generation) = (key.index.to_le_bytes(), key.generation.to_le_bytes());
    let mut data = [0; 22];
    for (to, from) in data.iter_mut().zip(target.iter().chain(&index).chain(&generation)) {
        *to = *from;
    }
    secret.hash(&data).to_be_bytes()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_token_names_its_place(first in 0_u16..=64_512, count in 1_u16..=1_024, index: u32, generation: u16) {
            let tokens = Tokens::new(first, count);
            let key = Key { index: index % tokens.capacity(), generation };
            let (id, seq) = tokens.of(key);
            prop_assert!(id >= first && id - first < count);
            let (place, known, mask) = tokens.read(id, seq).unwrap();
            prop_assert_eq!(place, key.index);
            prop_assert_eq!(known, generation & mask);
            prop_assert!(mask.count_ones() >= LEAST_GENERATION);
        }

        #[test]
        fn foreign_identifiers_name_nothing(first: u16, count in 1_u16..=1_024, id: u16, seq: u16) {
            let tokens = Tokens::new(first, count);
            let within = id.wrapping_sub(first) < 1 << count.ilog2();
            prop_assert_eq!(tokens.read(id, seq).is_some(), within);
        }

        #[test]
        fn each_probe_has_its_own_cookie(index: u32, generation: u16, target: [u8; 16]) {
            let secret = cookie::Key::new([7; 16]);
            let key = Key { index, generation };
            let other = Key { generation: generation.wrapping_add(1), ..key };
            let mut elsewhere = target;
            elsewhere[15] ^= 1;
            prop_assert_ne!(proof(&secret, key, &target), proof(&secret, other, &target));
            prop_assert_ne!(proof(&secret, key, &target), proof(&secret, key, &elsewhere));
            prop_assert_ne!(proof(&secret, key, &target), proof(&cookie::Key::new([8; 16]), key, &target));
        }
    }
}
