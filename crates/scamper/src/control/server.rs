//! The side that measures.

use super::{Lines, Request};
use crate::uu;

/// The longest line, in characters: a command with the longest payloads and thousands of addresses has room.
const LIMIT: usize = 256 << 10;

/// A control connection of a client, without the connection.
///
/// Lines are handed out one at a time by [`next`](Self::next), and each wants its answer before the next one is asked for:
/// answers go out in the order of the lines. What [`take`](Self::take) gives is to be sent.
#[derive(Debug)]
pub struct Server {
    lines: Lines,
    attached: bool,
    ended: bool,
    last: u32,
    out: Vec<u8>,
}

impl Server {
    /// A connection that begins with interactive lines.
    pub fn interactive() -> Self {
        Self { lines: Lines::new(LIMIT), attached: false, ended: false, last: 0, out: Vec::new() }
    }

    /// A connection that is attached from the beginning.
    pub fn attached() -> Self {
        Self { attached: true, ..Self::interactive() }
    }

    /// What the next line asks for; `octets`, which came, is moved past it. A line that is none ends the connection:
    /// what follows is not read.
    pub fn next(&mut self, octets: &mut &[u8]) -> Option<Request> {
        while !self.ended && !octets.is_empty() {
            match self.lines.next(octets)? {
                Ok(line) if line.trim().is_empty() => {}
                Ok(line) if self.attached => return Some(Request::attached(&line)),
                Ok(line) => return Some(Request::interactive(&line)),
                Err(error) => {
                    self.err(&error.to_string());
                    self.ended = true;
                }
            }
        }
        None
    }

    /// Whether a client sent what is no line, and has been told: once that is sent the connection is to be closed.
    pub fn has_ended(&self) -> bool {
        self.ended
    }

    /// Answers `attach`. Lines are those of an attached connection from here on.
    pub fn attach(&mut self) {
        self.attached = true;
        self.ok("");
    }

    /// Takes a measurement on and gives its number, which is never 0.
    pub fn accept(&mut self) -> u32 {
        self.last = self.last.wrapping_add(1).max(1);
        self.ok(&format!("id-{}", self.last));
        self.last
    }

    /// Turns a measurement down.
    pub fn refuse(&mut self, reason: &str) {
        self.err(&format!("command not accepted: {reason}"));
    }

    /// Answers well, with a text or without.
    pub fn ok(&mut self, text: &str) {
        self.line("OK", text);
    }

    /// Says something before an answer.
    pub fn info(&mut self, text: &str) {
        self.line("INFO", text);
    }

    /// Answers that it can't be.
    pub fn err(&mut self, reason: &str) {
        self.line("ERR", reason);
    }

    /// Says that there is room for another measurement.
    pub fn more(&mut self) {
        self.line("MORE", "");
    }

    /// Sends a record of warts, header included: of a measurement, or of the connection (lists and cycles).
    pub fn data(&mut self, id: Option<u32>, record: &[u8]) {
        self.header(id, uu::encoded_len(record.len()));
        uu::encode(record, &mut self.out);
    }

    /// Sends a result in JSON: one line, without its end.
    pub fn json(&mut self, id: Option<u32>, text: &str) {
        self.header(id, text.len() + 1);
        self.out.extend_from_slice(text.as_bytes());
        self.out.push(b'\n');
    }

    /// How many octets wait to be sent.
    pub fn waiting(&self) -> usize {
        self.out.len()
    }

    /// What is to be sent.
    pub fn take(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.out)
    }

    fn header(&mut self, id: Option<u32>, length: usize) {
        let task = id.map(|id| format!(" id-{id}")).unwrap_or_default();
        self.line("DATA", &format!("{length}{task}"));
    }

    fn line(&mut self, word: &str, text: &str) {
        self.out.extend_from_slice(word.as_bytes());
        if !text.is_empty() {
            self.out.push(b' ');
            // A reason may quote anything; a line has printable characters alone.
            self.out
                .extend(text.bytes().map(|octet| if matches!(octet, b' '..=b'~') { octet } else { b'?' }));
        }
        self.out.push(b'\n');
    }
}
