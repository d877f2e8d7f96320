//! The encoding of records on the control socket: lines of printable characters.
//!
//! A line is a character for its count of octets (1 to 45) and then four characters for each three octets, six bits in
//! each, the most significant first; the value 0 is written as a backquote. A line with the count 0 ends the text. The
//! last group of a line is filled up with zeros, which the count leaves out.

/// Octets of a full line.
const LINE: usize = 45;

/// Why a text is none of this encoding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UuError {
    /// A character that stands for nothing.
    #[error("a character {0:#04x} that stands for nothing")]
    Character(u8),
    /// A line says that it has more octets than it has.
    #[error("a line with fewer characters than it says")]
    Short,
    /// The text ends without the line of count 0.
    #[error("a text without its end")]
    NoEnd,
    /// Something follows the end.
    #[error("something after the end")]
    Trailing,
}

/// How many characters the text of so many octets has.
pub fn encoded_len(octets: usize) -> usize {
    let rest = octets % LINE;
    let last = if rest == 0 { 0 } else { 2 + rest.div_ceil(3) * 4 };
    octets / LINE * (2 + LINE / 3 * 4) + last + 2
}

/// Writes octets as text, its end included, behind what stands in `out`.
pub fn encode(octets: &[u8], out: &mut Vec<u8>) {
    out.reserve(encoded_len(octets.len()));
    for line in octets.chunks(LINE) {
        out.push(character(u8::try_from(line.len()).unwrap_or(0)));
        for group in line.chunks(3) {
            let at = |index: usize| group.get(index).copied().unwrap_or(0);
            let (a, b, c) = (at(0), at(1), at(2));
            out.extend_from_slice(&[
                character(a >> 2),
                character((a & 3) << 4 | b >> 4),
                character((b & 15) << 2 | c >> 6),
                character(c & 63),
            ]);
        }
        out.push(b'\n');
    }
    out.extend_from_slice(b"`\n");
}

/// Reads a text up to its end, which must be there, and gives its octets.
pub fn decode(text: &[u8]) -> Result<Vec<u8>, UuError> {
    let mut octets = Vec::with_capacity(text.len() / 4 * 3);
    let mut ended = false;
    for line in text.split(|octet| *octet == b'\n') {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let Some((count, groups)) = line.split_first() else { continue };
        if ended {
            return Err(UuError::Trailing);
        }
        let mut left = usize::from(value(*count)?);
        if left == 0 {
            ended = true;
            continue;
        }
        if groups.len() < left.div_ceil(3) * 4 {
            return Err(UuError::Short);
        }
        for group in groups.chunks_exact(4) {
            let mut bits = 0_u32;
            for character in group {
                bits = bits << 6 | u32::from(value(*character)?);
            }
            let [_, triple @ ..] = bits.to_be_bytes();
            octets.extend(triple.iter().take(left));
            left = left.saturating_sub(3);
        }
    }
    if ended { Ok(octets) } else { Err(UuError::NoEnd) }
}

/// The character for six bits.
fn character(bits: u8) -> u8 {
    if bits == 0 { b'`' } else { b' ' + bits }
}

fn value(character: u8) -> Result<u8, UuError> {
    match character {
        b' '..=b'`' => Ok((character - b' ') & 63),
        other => Err(UuError::Character(other)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn text(octets: &[u8]) -> String {
        let mut out = Vec::new();
        encode(octets, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn lines_are_as_uuencode_writes_them() {
        assert_eq!(text(b""), "`\n");
        assert_eq!(text(b"Cat"), "#0V%T\n`\n");
        assert_eq!(text(&[0, 0, 0, 0]), "$````````\n`\n");
        assert_eq!(text(b"http://www.wikipedia.org\r\n"), "::'1T<#HO+W=W=RYW:6MI<&5D:6$N;W)G#0H`\n`\n");
    }

    #[test]
    fn a_space_is_a_zero_too() {
        assert_eq!(decode(b"$        \n \n").unwrap(), [0; 4]);
    }

    #[test]
    fn what_is_wrong_is_said() {
        assert_eq!(decode(b""), Err(UuError::NoEnd));
        assert_eq!(decode(b"#0V%T\n"), Err(UuError::NoEnd));
        assert_eq!(decode(b"#0V%\n`\n"), Err(UuError::Short));
        assert_eq!(decode(b"#0V%\x7f\n`\n"), Err(UuError::Character(0x7f)));
        assert_eq!(decode(b"`\n#0V%T\n"), Err(UuError::Trailing));
    }

    proptest! {
        #[test]
        fn octets_come_back(octets in proptest::collection::vec(any::<u8>(), 0..300)) {
            let mut out = Vec::new();
            encode(&octets, &mut out);
            prop_assert_eq!(out.len(), encoded_len(octets.len()));
            prop_assert_eq!(decode(&out).unwrap(), octets);
        }

        #[test]
        fn anything_is_read_or_refused(text in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = decode(&text);
        }
    }
}
