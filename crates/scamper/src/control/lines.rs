//! Lines out of a row of octets that is cut anywhere.

/// Why a line can't be one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LineError {
    /// It is longer than this side reads.
    #[error("a line of more than {0} characters")]
    TooLong(usize),
    /// It has a character that can't be printed.
    #[error("invalid character in line")]
    Character,
}

/// Takes a row of octets apart into lines. It keeps one line at most.
#[derive(Debug)]
pub struct Lines {
    limit: usize,
    line: Vec<u8>,
}

impl Lines {
    /// Reads lines of up to `limit` characters.
    pub fn new(limit: usize) -> Self {
        Self { limit, line: Vec::new() }
    }

    /// The next line of what comes, without its end; `octets` is moved past it. Absent: more must come.
    pub fn next(&mut self, octets: &mut &[u8]) -> Option<Result<String, LineError>> {
        let end = octets.iter().position(|octet| *octet == b'\n');
        let (taken, rest) = octets.split_at(end.unwrap_or(octets.len()));
        *octets = rest.get(usize::from(end.is_some())..).unwrap_or_default();
        if self.line.len() + taken.len() > self.limit {
            self.line.clear();
            return Some(Err(LineError::TooLong(self.limit)));
        }
        self.line.extend_from_slice(taken);
        end?;
        let mut line = std::mem::take(&mut self.line);
        if line.last() == Some(&b'\r') {
            line.pop();
        }
        let printable = line.iter().all(|octet| matches!(octet, b' '..=b'~'));
        Some(if printable {
            String::from_utf8(line).map_err(|_| LineError::Character)
        } else {
            Err(LineError::Character)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(pieces: &[&[u8]]) -> Vec<Result<String, LineError>> {
        let mut lines = Lines::new(8);
        let mut found = Vec::new();
        for mut piece in pieces.iter().copied() {
            while !piece.is_empty() {
                found.extend(lines.next(&mut piece));
            }
        }
        found
    }

    #[test]
    fn a_line_may_come_in_pieces() {
        assert_eq!(
            all(&[b"pi", b"ng", b"\n\ndone\r\nx"]),
            [Ok("ping".into()), Ok(String::new()), Ok("done".into())]
        );
    }

    #[test]
    fn a_line_has_bounds() {
        assert_eq!(all(&[b"12345678\n"]), [Ok("12345678".into())]);
        assert_eq!(all(&[b"1234", b"56789\n"]).first(), Some(&Err(LineError::TooLong(8))));
        assert_eq!(all(&[b"a\tb\n"]), [Err(LineError::Character)]);
        assert_eq!(all(&["\u{e4}\n".as_bytes()]), [Err(LineError::Character)]);
    }
}
