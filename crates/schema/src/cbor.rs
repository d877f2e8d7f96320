//! CBOR (RFC 8949) item by item, for those who pass messages on without building their values.
//!
//! It reads items of definite length alone, which is all that mmn's own parts write: what is otherwise gives `None`, and
//! is left to a full decoder. Begin with [`Items`]; the `put_` functions write.

/// How deeply items may be nested.
const MAX_DEPTH: u32 = 64;

/// The items of a text of bytes, from the first on.
#[derive(Debug, Clone, Copy)]
pub struct Items<'a> {
    bytes: &'a [u8],
    at: usize,
}

/// The beginning of an item.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Head {
    major: u8,
    minor: u8,
    value: u64,
}

impl<'a> Items<'a> {
    /// Begins at the first byte.
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// How many bytes were read.
    pub const fn position(&self) -> usize {
        self.at
    }

    /// Passes over so many bytes.
    pub const fn advance(&mut self, bytes: usize) {
        self.at = self.at.saturating_add(bytes);
    }

    /// Whether all bytes were read.
    pub const fn is_at_end(&self) -> bool {
        self.at >= self.bytes.len()
    }

    /// An integer that is not negative.
    pub fn unsigned(&mut self) -> Option<u64> {
        let head = self.head()?;
        (head.major == 0).then_some(head.value)
    }

    /// An integer that fits 64 bits with a sign.
    pub fn integer(&mut self) -> Option<i64> {
        let head = self.head()?;
        let value = i64::try_from(head.value).ok()?;
        match head.major {
            0 => Some(value),
            1 => Some(-1 - value),
            _ => None,
        }
    }

    /// A truth value.
    pub fn boolean(&mut self) -> Option<bool> {
        let head = self.head()?;
        match (head.major, head.minor) {
            (7, 20) => Some(false),
            (7, 21) => Some(true),
            _ => None,
        }
    }

    /// A text.
    pub fn text(&mut self) -> Option<&'a str> {
        std::str::from_utf8(self.string(3)?).ok()
    }

    /// A byte string.
    pub fn bytes(&mut self) -> Option<&'a [u8]> {
        self.string(2)
    }

    /// The number of entries of a map, which follow.
    pub fn map(&mut self) -> Option<u64> {
        let head = self.head()?;
        (head.major == 5).then_some(head.value)
    }

    /// The number of items of an array, which follow.
    pub fn array(&mut self) -> Option<u64> {
        let head = self.head()?;
        (head.major == 4).then_some(head.value)
    }

    /// An integer that fits 64 bits with a sign, or a real number that is finite, as a real.
    #[expect(clippy::cast_precision_loss, reason = "sums of summaries; 53 bits are plenty")]
    pub fn number(&mut self) -> Option<f64> {
        let before = self.at;
        let head = self.head()?;
        match (head.major, head.minor) {
            (0 | 1, _) => {
                self.at = before;
                self.integer().map(|integer| integer as f64)
            }
            (7, 27) => Some(f64::from_bits(head.value)).filter(|real| real.is_finite()),
            _ => None,
        }
    }

    /// Passes over an item, whatever it is. `None` where it is not whole, or of indefinite length.
    pub fn skip(&mut self) -> Option<()> {
        self.skip_nested(MAX_DEPTH)
    }

    fn skip_nested(&mut self, depth: u32) -> Option<()> {
        let depth = depth.checked_sub(1)?;
        let head = self.head()?;
        let items = match head.major {
            2 | 3 => {
                self.take(head.value)?;
                0
            }
            4 => head.value,
            5 => head.value.checked_mul(2)?,
            6 => 1,
            _ => 0,
        };
        for _ in 0..items {
            self.skip_nested(depth)?;
        }
        Some(())
    }

    fn string(&mut self, major: u8) -> Option<&'a [u8]> {
        let head = self.head()?;
        if head.major == major { self.take(head.value) } else { None }
    }

    fn take(&mut self, count: u64) -> Option<&'a [u8]> {
        let end = self.at.checked_add(usize::try_from(count).ok()?)?;
        let taken = self.bytes.get(self.at..end)?;
        self.at = end;
        Some(taken)
    }

    fn head(&mut self) -> Option<Head> {
        let first = *self.bytes.get(self.at)?;
        self.at += 1;
        let (major, minor) = (first >> 5, first & 0x1f);
        let more = match minor {
            0..=23 => return Some(Head { major, minor, value: u64::from(minor) }),
            24 => 1,
            25 => 2,
            26 => 4,
            27 => 8,
            _ => return None,
        };
        let value = self.take(more)?.iter().fold(0, |value, byte| value << 8 | u64::from(*byte));
        Some(Head { major, minor, value })
    }
}

/// Writes an integer that is not negative.
pub fn put_unsigned(to: &mut Vec<u8>, value: u64) {
    put_head(to, 0, value);
}

/// Writes a text.
pub fn put_text(to: &mut Vec<u8>, text: &str) {
    put_head(to, 3, text.len() as u64);
    to.extend_from_slice(text.as_bytes());
}

/// Writes a text that these parts are, one after the other. Each must be UTF-8.
pub fn put_text_of(to: &mut Vec<u8>, parts: &[&[u8]]) {
    put_head(to, 3, parts.iter().map(|part| part.len() as u64).sum());
    for part in parts {
        to.extend_from_slice(part);
    }
}

/// Writes a byte string.
pub fn put_bytes(to: &mut Vec<u8>, bytes: &[u8]) {
    put_head(to, 2, bytes.len() as u64);
    to.extend_from_slice(bytes);
}

/// Begins a map of so many entries.
pub fn put_map(to: &mut Vec<u8>, entries: usize) {
    put_head(to, 5, entries as u64);
}

/// Begins an array of so many items.
pub fn put_array(to: &mut Vec<u8>, items: usize) {
    put_head(to, 4, items as u64);
}

/// Writes nothing: null.
pub fn put_null(to: &mut Vec<u8>) {
    to.push(0xf6);
}

fn put_head(to: &mut Vec<u8>, major: u8, value: u64) {
    let major = major << 5;
    let bytes = value.to_be_bytes();
    let [.., b4, b5, b6, b7] = bytes;
    match value {
        0..=23 => to.push(major | b7),
        24..=0xff => to.extend_from_slice(&[major | 0x18, b7]),
        0x100..=0xffff => to.extend_from_slice(&[major | 0x19, b6, b7]),
        0x1_0000..=0xffff_ffff => to.extend_from_slice(&[major | 0x1a, b4, b5, b6, b7]),
        _ => {
            to.push(major | 0x1b);
            to.extend_from_slice(&bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encoding::Encoding;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_written_is_what_the_library_writes(number: u64, text in "\\PC{0,300}", bytes: Vec<u8>, signed: i64) {
            let mut mine = Vec::new();
            put_unsigned(&mut mine, number);
            prop_assert_eq!(&mine, &Encoding::Cbor.encode(&number).unwrap());
            let mut mine = Vec::new();
            put_text(&mut mine, &text);
            prop_assert_eq!(&mine, &Encoding::Cbor.encode(&text).unwrap());
            let mut of_parts = Vec::new();
            let (head, tail) = text.as_bytes().split_at(text.len() / 2);
            put_text_of(&mut of_parts, &[head, tail]);
            prop_assert_eq!(&mine, &of_parts);
            put_bytes(&mut mine, &bytes);
            mine.extend(Encoding::Cbor.encode(&signed).unwrap());
            let mut items = Items::new(&mine);
            prop_assert_eq!(items.text(), Some(text.as_str()));
            prop_assert_eq!(items.bytes(), Some(bytes.as_slice()));
            prop_assert_eq!(items.integer(), Some(signed));
            prop_assert!(items.is_at_end());
        }

        #[test]
        fn garbage_never_panics(bytes: Vec<u8>) {
            let mut items = Items::new(&bytes);
            while items.skip().is_some() {
                prop_assert!(items.position() <= bytes.len());
                if items.is_at_end() { break; }
            }
        }
    }

    #[test]
    fn claims_and_depths_are_bounded() {
        assert_eq!(Items::new(&[0x9b, 0xff, 0, 0, 0, 0, 0, 0, 0]).skip(), None);
        assert_eq!(Items::new(&[0x81; 1000]).skip(), None);
        assert_eq!(Items::new(&[0x9f, 0xff]).skip(), None, "of indefinite length");
    }
}
