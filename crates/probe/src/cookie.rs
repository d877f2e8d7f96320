//! Keyed cookies: eight bytes in each probe that only the holder of the key can make.
//!
//! A reply that carries the wrong cookie was not caused by our probe. The function is SipHash-2-4 (Aumasson
//! and Bernstein, 2012), which is made for short inputs and secret keys.

/// A secret of one measurement. Its `Debug` does not show it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Key([u8; 16]);

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Key(..)")
    }
}

impl Key {
    /// A key of 16 random bytes. The caller draws them.
    pub const fn new(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The cookie of a number.
    pub fn cookie(&self, number: u64) -> [u8; 8] {
        self.hash(&number.to_le_bytes()).to_be_bytes()
    }

    /// SipHash-2-4 of any bytes.
    pub fn hash(&self, data: &[u8]) -> u64 {
        let [low, high] = self.halves();
        let mut state = State {
            v0: low ^ 0x736f_6d65_7073_6575,
            v1: high ^ 0x646f_7261_6e64_6f6d,
            v2: low ^ 0x6c79_6765_6e65_7261,
            v3: high ^ 0x7465_6462_7974_6573,
        };
        let mut words = data.chunks_exact(8);
        for word in &mut words {
            state.absorb(little_endian(word));
        }
        // The last word is what is left, and the length (modulo 256) in its top byte.
        let length = u64::try_from(data.len() & 0xff).unwrap_or(0) << 56;
        state.absorb(little_endian(words.remainder()) | length);
        state.finish()
    }

    fn halves(&self) -> [u64; 2] {
        let (low, high) = self.0.split_at(8);
        [little_endian(low), little_endian(high)]
    }
}

fn little_endian(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte))
}

struct State {
    v0: u64,
    v1: u64,
    v2: u64,
    v3: u64,
}

impl State {
    fn absorb(&mut self, word: u64) {
        self.v3 ^= word;
        self.round();
        self.round();
        self.v0 ^= word;
    }

    fn finish(mut self) -> u64 {
        self.v2 ^= 0xff;
        for _ in 0..4 {
            self.round();
        }
        self.v0 ^ self.v1 ^ self.v2 ^ self.v3
    }

    fn round(&mut self) {
        self.v0 = self.v0.wrapping_add(self.v1);
        self.v1 = self.v1.rotate_left(13) ^ self.v0;
        self.v0 = self.v0.rotate_left(32);
        self.v2 = self.v2.wrapping_add(self.v3);
        self.v3 = self.v3.rotate_left(16) ^ self.v2;
        self.v0 = self.v0.wrapping_add(self.v3);
        self.v3 = self.v3.rotate_left(21) ^ self.v0;
        self.v2 = self.v2.wrapping_add(self.v1);
        self.v1 = self.v1.rotate_left(17) ^ self.v2;
        self.v2 = self.v2.rotate_left(32);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Vectors of the reference implementation (`vectors_sip64` of github.com/veorq/SipHash): key 00 01 … 0f,
    /// message the first n bytes of 00 01 02 …
    #[test]
    fn agrees_with_the_reference() {
        let key = Key::new(std::array::from_fn(|i| u8::try_from(i).unwrap()));
        let message: Vec<u8> = (0..15).collect();
        let digest = |n: usize| key.hash(&message[..n]).to_le_bytes();
        assert_eq!(digest(0), [0x31, 0x0e, 0x0e, 0xdd, 0x47, 0xdb, 0x6f, 0x72]);
        assert_eq!(digest(1), [0xfd, 0x67, 0xdc, 0x93, 0xc5, 0x39, 0xf8, 0x74]);
        assert_eq!(digest(8), [0x62, 0x24, 0x93, 0x9a, 0x79, 0xf5, 0xf5, 0x93]);
        // The paper's appendix A.
        assert_eq!(key.hash(&message), 0xa129_ca61_49be_45e5);
    }
}
