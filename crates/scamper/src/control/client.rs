//! The side that asks.

use std::collections::VecDeque;

use super::{Attach, ControlError, Format, Lines};
use crate::uu;

/// The longest line of an answer.
const LINE: usize = 64 << 10;
/// The longest record, in characters: that of a large page over HTTP.
const RECORD: usize = 256 << 20;

/// A control connection, without the connection. What [`take`](Self::take) gives is to be sent.
#[derive(Debug)]
pub struct Client {
    lines: Lines,
    format: Format,
    /// The longest record that is read, in characters.
    limit: usize,
    block: Option<Block>,
    waiting: VecDeque<Waiting>,
    next: u64,
    said: VecDeque<Said>,
    out: Vec<u8>,
}

/// Marks a line until its answer is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(u64);

/// What the other side said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Said {
    /// The connection is attached.
    Attached,
    /// A measurement was taken on, and has a number.
    Accepted(Ticket, u32),
    /// A line was turned down, for a reason.
    Refused(Ticket, String),
    /// An answer to what is neither: the text behind `OK`.
    Answer(Ticket, String),
    /// Something that belongs to the next answer.
    Info(String),
    /// There is room for another measurement.
    More,
    /// A record, header included, or a text of JSON.
    Data {
        /// The measurement's number; absent: it is of the connection.
        id: Option<u32>,
        /// More will come of this measurement.
        in_progress: bool,
        /// The record.
        octets: Vec<u8>,
    },
}

#[derive(Debug)]
struct Block {
    id: Option<u32>,
    in_progress: bool,
    left: usize,
    text: Vec<u8>,
}

#[derive(Debug)]
enum Waiting {
    Attach(Ticket),
    Other(Ticket),
}

impl Client {
    /// A connection to a control socket, which begins interactive.
    pub fn interactive() -> Self {
        Self::attached()
    }

    /// A connection that is attached from the beginning.
    pub fn attached() -> Self {
        Self {
            lines: Lines::new(LINE),
            format: Format::Warts,
            limit: RECORD,
            block: None,
            waiting: VecDeque::new(),
            next: 0,
            said: VecDeque::new(),
            out: Vec::new(),
        }
    }

    /// Reads records of up to so many characters: what is longer is an error.
    #[must_use]
    pub fn with_limit(self, characters: usize) -> Self {
        Self { limit: characters.min(RECORD), ..self }
    }

    /// Attaches.
    pub fn attach(&mut self, attach: &Attach) -> Ticket {
        self.format = attach.format;
        let ticket = self.write(&attach.to_string());
        self.waiting.push_back(Waiting::Attach(ticket));
        ticket
    }

    /// Asks for a measurement, or asks an interactive line. What ends a line is left out of it.
    pub fn ask(&mut self, line: &str) -> Ticket {
        let ticket = self.write(line);
        self.waiting.push_back(Waiting::Other(ticket));
        ticket
    }

    /// Calls a measurement off. Its record comes nonetheless.
    pub fn halt(&mut self, id: u32) -> Ticket {
        self.ask(&format!("halt {id}"))
    }

    /// Says that no more measurements come: once the results are here the other side closes.
    pub fn done(&mut self) -> Ticket {
        self.ask("done")
    }

    /// Takes what came. After an error the connection is of no more use.
    pub fn receive(&mut self, mut octets: &[u8]) -> Result<(), ControlError> {
        while !octets.is_empty() {
            if let Some(block) = &mut self.block {
                let (taken, rest) = octets.split_at(block.left.min(octets.len()));
                octets = rest;
                block.text.extend_from_slice(taken);
                block.left -= taken.len();
                if block.left == 0 {
                    self.block_ends()?;
                }
            } else if let Some(line) = self.lines.next(&mut octets) {
                self.line(&line?)?;
            }
        }
        Ok(())
    }

    /// The next thing that was said.
    pub fn poll(&mut self) -> Option<Said> {
        self.said.pop_front()
    }

    /// What is to be sent.
    pub fn take(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.out)
    }

    fn write(&mut self, line: &str) -> Ticket {
        self.out.extend(line.bytes().filter(|octet| !matches!(octet, b'\n' | b'\r')));
        self.out.push(b'\n');
        self.next += 1;
        Ticket(self.next)
    }

    fn line(&mut self, line: &str) -> Result<(), ControlError> {
        let (word, text) = line.split_once(' ').unwrap_or((line, ""));
        let said = match word.to_ascii_uppercase().as_str() {
            "MORE" => Said::More,
            "INFO" => Said::Info(text.to_owned()),
            "DATA" => return self.block_begins(line, text),
            "OK" => match self.answered(line)? {
                Waiting::Attach(_) => Said::Attached,
                Waiting::Other(ticket) => match text.strip_prefix("id-").and_then(|id| id.parse().ok()) {
                    Some(id) => Said::Accepted(ticket, id),
                    None => Said::Answer(ticket, text.to_owned()),
                },
            },
            "ERR" => {
                let (Waiting::Attach(ticket) | Waiting::Other(ticket)) = self.answered(line)?;
                Said::Refused(ticket, text.to_owned())
            }
            _ => return Err(ControlError::NoAnswer(line.to_owned())),
        };
        self.said.push_back(said);
        Ok(())
    }

    fn answered(&mut self, line: &str) -> Result<Waiting, ControlError> {
        self.waiting.pop_front().ok_or_else(|| ControlError::Unasked(line.to_owned()))
    }

    fn block_begins(&mut self, line: &str, text: &str) -> Result<(), ControlError> {
        let no_answer = || ControlError::NoAnswer(line.to_owned());
        let mut words = text.split(' ').filter(|word| !word.is_empty());
        let left: usize = words.next().and_then(|word| word.parse().ok()).ok_or_else(no_answer)?;
        if left > self.limit {
            return Err(ControlError::TooLong { length: left, limit: self.limit });
        }
        let mut block = Block { id: None, in_progress: false, left, text: Vec::new() };
        for word in words {
            match word.strip_prefix("id-") {
                Some(id) => block.id = Some(id.parse().map_err(|_| no_answer())?),
                None if word.eq_ignore_ascii_case("inprog") => block.in_progress = true,
                // What later versions may say.
                None => {}
            }
        }
        self.block = Some(block);
        if left == 0 { self.block_ends() } else { Ok(()) }
    }

    fn block_ends(&mut self) -> Result<(), ControlError> {
        if let Some(Block { id, in_progress, text, .. }) = self.block.take() {
            let octets = match self.format {
                Format::Warts => uu::decode(&text)?,
                Format::Json => text,
            };
            self.said.push_back(Said::Data { id, in_progress, octets });
        }
        Ok(())
    }
}
