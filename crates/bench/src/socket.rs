//! The WebSocket as a load generator sees it (RFC 6455): frames are sent unmasked in effect (the mask is 0) and read
//! where they lie, so that what is measured is the anchor.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use anyhow::Context;
use mmn_schema::encoding::Encoding;
use mmn_schema::stream::{FromAnchor, FromClient};

/// The number that a prepared question has until it gets its own.
const PLACE: u64 = 0x0123_4567_89ab_cdef;

/// The room for what was read.
const ROOM: usize = 256 << 10;

/// One connection.
#[derive(Debug)]
pub(crate) struct Socket {
    stream: TcpStream,
    /// From `begin` to `end` it holds what was read and not looked at yet.
    buffer: Vec<u8>,
    begin: usize,
    end: usize,
    out: Vec<u8>,
}

/// What a frame carries, by the name with which its CBOR begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer<'a> {
    Accepted(&'a [u8]),
    Results(&'a [u8]),
    Done(&'a [u8]),
    Problem(&'a [u8]),
    Other(&'a [u8]),
}

impl Answer<'_> {
    /// The whole message; absent when it is none of this program's version.
    pub(crate) fn decode(self) -> Option<FromAnchor> {
        let (Self::Accepted(bytes)
        | Self::Results(bytes)
        | Self::Done(bytes)
        | Self::Problem(bytes)
        | Self::Other(bytes)) = self;
        Encoding::Cbor.decode(bytes).ok()
    }
}

/// A question whose number is filled in before it is sent.
#[derive(Debug, Clone)]
pub(crate) struct Question {
    frame: Vec<u8>,
    at: usize,
}

impl Question {
    /// Asks for a measurement, and subscribes to its results. `body` is as for `POST /api/v1/measurements`.
    pub(crate) fn measure(body: &str, credits: u32) -> anyhow::Result<Self> {
        let request = Box::new(serde_json::from_str(body)?);
        Self::new(&FromClient::Measure { id: PLACE, request, idempotency_key: None, credits: Some(credits) })
    }

    fn new(question: &FromClient) -> anyhow::Result<Self> {
        let payload = Encoding::Cbor.encode(question)?;
        let place = PLACE.to_be_bytes();
        let at = payload.windows(8).position(|window| window == place).context("no place for the number")?;
        let frame = frame(&payload);
        Ok(Self { at: frame.len() - payload.len() + at, frame })
    }
}

impl Socket {
    pub(crate) fn open(host: &str, token: &str) -> anyhow::Result<Self> {
        let mut stream = TcpStream::connect(host)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        write!(
            stream,
            "GET /api/v1/stream HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {token}\r\nConnection: Upgrade\r\n\
             Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
        )?;
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte)?;
            head.extend(byte);
        }
        let head = String::from_utf8_lossy(&head);
        anyhow::ensure!(head.starts_with("HTTP/1.1 101"), "no WebSocket: {head}");
        Ok(Self { stream, buffer: vec![0; ROOM], begin: 0, end: 0, out: Vec::new() })
    }

    /// How long a call of [`Self::read`] waits for something to come.
    pub(crate) fn set_patience(&self, patience: Duration) -> anyhow::Result<()> {
        Ok(self.stream.set_read_timeout(Some(patience))?)
    }

    /// Puts a question with its number into what is sent next.
    pub(crate) fn ask(&mut self, question: &Question, id: u64) {
        let at = self.out.len() + question.at;
        self.out.extend(&question.frame);
        if let Some(place) = self.out.get_mut(at..at + 8) {
            place.copy_from_slice(&id.to_be_bytes());
        }
    }

    /// Puts any other message into what is sent next.
    pub(crate) fn say(&mut self, message: &FromClient) -> anyhow::Result<()> {
        let payload = Encoding::Cbor.encode(message)?;
        self.out.extend(frame(&payload));
        Ok(())
    }

    /// Sends what was put together.
    pub(crate) fn flush(&mut self) -> std::io::Result<()> {
        let sent = self.stream.write_all(&self.out);
        self.out.clear();
        sent
    }

    /// Reads what has come, at least one byte, and hands each whole message to `take`. Whether anything came before
    /// patience was at an end.
    pub(crate) fn read(&mut self, mut take: impl FnMut(Answer<'_>)) -> std::io::Result<bool> {
        if self.begin > 0 {
            self.buffer.copy_within(self.begin..self.end, 0);
            self.end -= self.begin;
            self.begin = 0;
        }
        if self.end == self.buffer.len() {
            // A message that is longer than all the room.
            self.buffer.resize(2 * self.end, 0);
        }
        match self.stream.read(self.buffer.get_mut(self.end..).unwrap_or_default()) {
            Ok(0) => return Err(std::io::ErrorKind::UnexpectedEof.into()),
            Ok(read) => self.end += read,
            Err(error) if matches!(error.kind(), std::io::ErrorKind::WouldBlock) => return Ok(false),
            Err(error) => return Err(error),
        }
        let mut pings = 0;
        while let Some((code, payload, length)) =
            parse(self.buffer.get(self.begin..self.end).unwrap_or_default())
        {
            match code {
                2 => take(answer(payload)),
                8 => return Err(std::io::ErrorKind::ConnectionReset.into()),
                9 => pings += 1,
                _ => {}
            }
            self.begin += length;
        }
        for _ in 0..pings {
            self.out.extend([0x8a, 0x80, 0, 0, 0, 0]);
        }
        Ok(true)
    }
}

/// A client's frame of binary data.
fn frame(payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![0x82];
    match (u8::try_from(payload.len()), u16::try_from(payload.len())) {
        (Ok(length @ ..126), _) => frame.push(0x80 | length),
        (_, Ok(length)) => {
            frame.push(0xfe);
            frame.extend(length.to_be_bytes());
        }
        _ => {
            frame.push(0xff);
            frame.extend((payload.len() as u64).to_be_bytes());
        }
    }
    frame.extend([0; 4]);
    frame.extend(payload);
    frame
}

/// The first frame: its opcode, its payload, and its length. Absent when it is not whole yet.
fn parse(bytes: &[u8]) -> Option<(u8, &[u8], usize)> {
    let [first, second, ..] = *bytes else { return None };
    let (length, head) = match second & 0x7f {
        126 => (usize::from(u16::from_be_bytes(bytes.get(2..4)?.try_into().ok()?)), 4),
        127 => (usize::try_from(u64::from_be_bytes(bytes.get(2..10)?.try_into().ok()?)).ok()?, 10),
        length => (usize::from(length), 2),
    };
    Some((first & 0x0f, bytes.get(head..head + length)?, head + length))
}

/// A message is a map with one entry, whose name says what it is.
fn answer(payload: &[u8]) -> Answer<'_> {
    match payload {
        [0xa1, 0x64, b'd', ..] => Answer::Done(payload),
        [0xa1, 0x68, b'a', b'c', ..] => Answer::Accepted(payload),
        [0xa1, 0x67, b'r', ..] => Answer::Results(payload),
        [0xa1, 0x67, b'p', ..] => Answer::Problem(payload),
        _ => Answer::Other(payload),
    }
}

/// Whether `needle` stands in `bytes`.
pub(crate) fn holds(bytes: &[u8], needle: &[u8]) -> bool {
    bytes.windows(needle.len()).any(|window| window == needle)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_of_any_length_are_read_as_they_are_written() {
        for length in [0, 125, 126, 65_535, 65_536, 200_000] {
            let payload = vec![7; length];
            let written = frame(&payload);
            // Without the mask it is a server's.
            let mask = written.len() - length - 4;
            let mut served = written.clone();
            served.drain(mask..mask + 4);
            served[1] &= 0x7f;
            assert_eq!(parse(&served), Some((2, payload.as_slice(), served.len())));
            assert_eq!(parse(&served[..served.len() - 1]), None);
        }
    }

    #[test]
    fn a_question_gets_its_number() {
        let body = r#"{"kind":"noop","inputs":["192.0.2.1"]}"#;
        let question = Question::measure(body, 4).unwrap();
        let mut frame = question.frame.clone();
        frame[question.at..question.at + 8].copy_from_slice(&77_u64.to_be_bytes());
        let head = if frame[1] == 0xfe { 8 } else { 6 };
        let payload = &frame[head..];
        assert!(matches!(Encoding::Cbor.decode(payload), Ok(FromClient::Measure { id: 77, .. })));
    }

    #[test]
    fn answers_are_told_apart() {
        let closed = Encoding::Cbor.encode(&FromAnchor::Closed { id: 1 }).unwrap();
        assert!(matches!(answer(&closed), Answer::Other(_)));
        let ledger = mmn_schema::api::Ledger { accepted: 1, ok: 1, ..Default::default() };
        let done = Encoding::Cbor.encode(&FromAnchor::Done { id: 1, ledger }).unwrap();
        assert!(matches!(answer(&done), Answer::Done(_)));
        assert!(holds(&done, b"\x62ok\x01"));
        let problem = mmn_schema::problem::Problem::new(429, "saturated", "Too much");
        let problem = Encoding::Cbor.encode(&FromAnchor::Problem { id: Some(1), problem }).unwrap();
        assert!(matches!(answer(&problem), Answer::Problem(_)));
    }
}
