//! Lists of targets: one a line, blank lines and comments (`#` to the end of the line) skipped.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

/// The longest line, in bytes: nothing that is measured has a longer name.
const MAX_LINE: u64 = 8192;

/// Reads targets one by one, so that a list of any length takes no memory.
pub(crate) struct Targets {
    reader: Box<dyn BufRead + Send>,
    name: String,
    line: u64,
}

impl Targets {
    /// Opens a file, or stdin for `-`.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let (reader, name): (Box<dyn BufRead + Send>, _) = if path == Path::new("-") {
            (Box::new(BufReader::new(io::stdin())), "standard input".to_owned())
        } else {
            let file =
                File::open(path).map_err(|e| io::Error::new(e.kind(), format!("{}: {e}", path.display())))?;
            (Box::new(BufReader::new(file)), path.display().to_string())
        };
        Ok(Self { reader, name, line: 0 })
    }

    /// The next `most` targets; fewer at the end of the list.
    pub(crate) fn next_chunk(&mut self, most: usize) -> io::Result<Vec<String>> {
        let mut chunk = Vec::new();
        while chunk.len() < most {
            match self.next()? {
                Some(target) => chunk.push(target),
                None => break,
            }
        }
        Ok(chunk)
    }

    fn next(&mut self) -> io::Result<Option<String>> {
        loop {
            let mut bytes = Vec::new();
            self.line += 1;
            if (&mut self.reader).take(MAX_LINE).read_until(b'\n', &mut bytes)? == 0 {
                return Ok(None);
            }
            let wrong = |what: &str| {
                let text = format!("{}, line {}: {what}", self.name, self.line);
                io::Error::new(io::ErrorKind::InvalidData, text)
            };
            if u64::try_from(bytes.len()).unwrap_or(MAX_LINE) >= MAX_LINE {
                return Err(wrong("too long for a target"));
            }
            let text = std::str::from_utf8(&bytes).map_err(|_| wrong("not UTF-8"))?;
            let target = without_comment(text).trim();
            if !target.is_empty() {
                return Ok(Some(target.to_owned()));
            }
        }
    }
}

impl std::fmt::Debug for Targets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Targets").field("name", &self.name).field("line", &self.line).finish_non_exhaustive()
    }
}

/// A `#` begins a comment at the start of a line and after a space: URLs have fragments.
fn without_comment(line: &str) -> &str {
    let mut before = ' ';
    for (at, char) in line.char_indices() {
        if char == '#' && before.is_whitespace() {
            return line.get(..at).unwrap_or_default();
        }
        before = char;
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &'static [u8]) -> io::Result<Vec<String>> {
        let reader = Box::new(BufReader::new(bytes));
        Targets { reader, name: "list".into(), line: 0 }.next_chunk(usize::MAX)
    }

    #[test]
    fn lists_have_comments_and_blank_lines() {
        let list = b"# targets\n192.0.2.1\n\n  example.org  # the site\r\nhttps://x.example/#top\n\t\n::1";
        assert_eq!(read(list).unwrap(), ["192.0.2.1", "example.org", "https://x.example/#top", "::1"]);
        assert_eq!(read(b"").unwrap(), [""; 0]);
    }

    #[test]
    fn garbage_is_named_by_its_line() {
        let error = read(b"a\n\xff\xfe\n").unwrap_err().to_string();
        assert_eq!(error, "list, line 2: not UTF-8");
        let long: &'static [u8] = vec![b'a'; 10_000].leak();
        assert!(read(long).unwrap_err().to_string().contains("too long"));
    }

    #[test]
    fn chunks_are_whole() {
        let reader = Box::new(BufReader::new(&b"1\n2\n3\n4\n5\n"[..]));
        let mut targets = Targets { reader, name: "list".into(), line: 0 };
        let sizes: Vec<_> =
            std::iter::from_fn(|| Some(targets.next_chunk(2).unwrap().len()).filter(|n| *n > 0)).collect();
        assert_eq!(sizes, [2, 2, 1]);
    }
}
