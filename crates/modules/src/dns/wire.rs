//! Reading the wire format (RFC 1035, section 4.1): numbers, bytes and names, within bounds that never grow.

use std::fmt::Write;

/// The longest name on the wire, its root label included (RFC 1035, section 2.3.4).
pub(super) const MAX_NAME_BYTES: usize = 255;

/// Why bytes are not what they were taken for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{what} at byte {at}")]
pub(super) struct Malformed {
    what: &'static str,
    at: usize,
}

/// A place in a message, and where the part that is read ends. Compressed names may point before it.
#[derive(Debug, Clone)]
pub(super) struct Reader<'a> {
    message: &'a [u8],
    at: usize,
    end: usize,
}

impl<'a> Reader<'a> {
    /// At the beginning of a message.
    pub(super) fn new(message: &'a [u8]) -> Self {
        Self { message, at: 0, end: message.len() }
    }

    /// How many bytes are left.
    pub(super) fn left(&self) -> usize {
        self.end.saturating_sub(self.at)
    }

    /// An error here.
    pub(super) fn wrong(&self, what: &'static str) -> Malformed {
        Malformed { what, at: self.at }
    }

    /// The next `length` bytes.
    pub(super) fn take(&mut self, length: usize) -> Result<&'a [u8], Malformed> {
        let stop = self.at.checked_add(length).filter(|stop| *stop <= self.end);
        let stop = stop.ok_or_else(|| self.wrong("the message ends too early"))?;
        let bytes =
            self.message.get(self.at..stop).ok_or_else(|| self.wrong("the message ends too early"))?;
        self.at = stop;
        Ok(bytes)
    }

    /// All that is left.
    pub(super) fn rest(&mut self) -> &'a [u8] {
        self.take(self.left()).unwrap_or_default()
    }

    /// A reader of the next `length` bytes, which are passed over here.
    pub(super) fn part(&mut self, length: usize) -> Result<Self, Malformed> {
        let at = self.at;
        self.take(length)?;
        Ok(Self { message: self.message, at, end: self.at })
    }

    /// An octet.
    pub(super) fn u8(&mut self) -> Result<u8, Malformed> {
        self.array().map(u8::from_be_bytes)
    }

    /// Two octets.
    pub(super) fn u16(&mut self) -> Result<u16, Malformed> {
        self.array().map(u16::from_be_bytes)
    }

    /// Four octets.
    pub(super) fn u32(&mut self) -> Result<u32, Malformed> {
        self.array().map(u32::from_be_bytes)
    }

    /// A fixed number of octets.
    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let here = self.wrong("the message ends too early");
        self.take(N)?.first_chunk().copied().ok_or(here)
    }

    /// An octet of length, and so many bytes.
    pub(super) fn string(&mut self) -> Result<&'a [u8], Malformed> {
        let length = self.u8()?;
        self.take(length.into())
    }

    /// A name in presentation format, with its final dot. Each pointer must point before the last one, so that no
    /// message makes it run in circles.
    pub(super) fn name(&mut self) -> Result<String, Malformed> {
        let mut text = String::new();
        let mut wire_bytes = 1;
        let mut here = self.clone();
        let mut floor = self.at;
        let mut jumped = false;
        loop {
            let start = here.at;
            let length = here.u8()?;
            match length {
                0 => break,
                1..=63 => {
                    let label = here.take(length.into())?;
                    wire_bytes += label.len() + 1;
                    if wire_bytes > MAX_NAME_BYTES {
                        return Err(here.wrong("a name longer than 255 bytes"));
                    }
                    present_label(label, &mut text);
                    text.push('.');
                }
                0xc0.. => {
                    let low = here.u8()?;
                    if !jumped {
                        self.at = here.at;
                    }
                    let target = usize::from(length & 0x3f) << 8 | usize::from(low);
                    if target >= floor {
                        return Err(Malformed { what: "a pointer that does not point back", at: start });
                    }
                    (floor, jumped) = (target, true);
                    here = Self { message: self.message, at: target, end: self.message.len() };
                }
                _ => return Err(Malformed { what: "a label of unknown kind", at: start }),
            }
        }
        if !jumped {
            self.at = here.at;
        }
        if text.is_empty() {
            text.push('.');
        }
        Ok(text)
    }
}

/// Appends a label in presentation format (RFC 1035, section 5.1; RFC 4343), without a dot.
fn present_label(label: &[u8], text: &mut String) {
    for byte in label {
        match byte {
            b'.' | b'\\' | b'"' | b'(' | b')' | b';' | b'@' | b'$' => {
                text.push('\\');
                text.push(char::from(*byte));
            }
            0x21..=0x7e => text.push(char::from(*byte)),
            _ => {
                let _ = write!(text, "\\{byte:03}");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pointers_lead_back() {
        let message = b"\x01a\0\x01b\xc0\x00\x01c\xc0\x03";
        let mut reader = Reader::new(message);
        let names: Vec<String> = (0..3).map(|_| reader.name().unwrap()).collect();
        assert_eq!(names, ["a.", "b.a.", "c.b.a."]);
        assert_eq!(reader.left(), 0);
    }

    #[test]
    fn circles_and_ends_are_errors() {
        for message in
            [&b"\xc0\x00"[..], b"\x01a\xc0\x00", b"\x01a\xc0\x02", b"\x40", b"\x05ab", b"", b"\xc0"]
        {
            assert!(Reader::new(message).name().is_err(), "{message:?}");
        }
        let long = [&[63; 64][..]; 4].concat();
        assert!(Reader::new(&long).name().is_err());
    }
}
