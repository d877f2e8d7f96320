//! Frames, and the messages of channel 0: a type (u8) and what belongs to it.

use std::fmt;

use super::RemoteError;

const HEADER: usize = 10;
/// The longest part of a channel's octets in one frame.
pub(super) const PART: usize = 16 << 10;

/// Names a session: what a daemon drew when it began.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Magic(pub(super) Vec<u8>);

impl Magic {
    /// The usual eight octets.
    pub fn new(octets: [u8; 8]) -> Self {
        Self(octets.to_vec())
    }

    /// Its octets, 1 to 255.
    pub fn octets(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Magic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Who knows it can take a session over.
        f.write_str("Magic(…)")
    }
}

/// What a daemon is called: letters, digits, dots and hyphens, up to 254 characters.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MonitorName(String);

impl MonitorName {
    /// A name, if it is one.
    pub fn new(text: &str) -> Option<Self> {
        let fits = (1..=254).contains(&text.len())
            && text.bytes().all(|octet| octet.is_ascii_alphanumeric() || matches!(octet, b'.' | b'-'));
        fits.then(|| Self(text.to_owned()))
    }

    /// As text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Where a daemon stands that comes back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resume {
    /// The session.
    pub magic: Magic,
    /// The number it expects next.
    pub expects: u32,
    /// The oldest of its messages that was not acknowledged.
    pub unacknowledged: u32,
    /// The number of its next message.
    pub next: u32,
}

/// A message of channel 0.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Message {
    MasterNew { magic: Magic, name: Option<MonitorName> },
    MasterId(String),
    ChannelNew(u32),
    ChannelFin(u32),
    Keepalive,
    Ack(u32),
    MasterResume(Resume),
    MasterReject,
    MasterOk(u32),
}

/// A frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Frame {
    pub(super) sequence: u32,
    pub(super) channel: u32,
    pub(super) octets: Vec<u8>,
}

/// Takes a row of octets apart. It keeps one frame at most.
#[derive(Debug, Default)]
pub(super) struct Frames {
    kept: Vec<u8>,
}

impl Frames {
    /// The next frame of what comes, which `octets` is moved past.
    pub(super) fn next(&mut self, octets: &mut &[u8]) -> Result<Option<Frame>, RemoteError> {
        self.fill(HEADER, octets);
        let Some(header) = self.kept.first_chunk::<HEADER>() else { return Ok(None) };
        let &[s0, s1, s2, s3, c0, c1, c2, c3, l0, l1] = header;
        let length = usize::from(u16::from_be_bytes([l0, l1]));
        if length == 0 {
            return Err(RemoteError::Empty);
        }
        self.fill(HEADER + length, octets);
        if self.kept.len() < HEADER + length {
            return Ok(None);
        }
        let octets = self.kept.split_off(HEADER);
        self.kept.clear();
        let sequence = u32::from_be_bytes([s0, s1, s2, s3]);
        Ok(Some(Frame { sequence, channel: u32::from_be_bytes([c0, c1, c2, c3]), octets }))
    }

    fn fill(&mut self, to: usize, octets: &mut &[u8]) {
        let wanted = to.saturating_sub(self.kept.len()).min(octets.len());
        let (taken, rest) = octets.split_at(wanted);
        self.kept.extend_from_slice(taken);
        *octets = rest;
    }
}

/// Writes a frame; what is too long for one must have been cut.
pub(super) fn frame(sequence: u32, channel: u32, octets: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(&sequence.to_be_bytes());
    out.extend_from_slice(&channel.to_be_bytes());
    out.extend_from_slice(&u16::try_from(octets.len()).unwrap_or(u16::MAX).to_be_bytes());
    out.extend(octets.iter().take(usize::from(u16::MAX)));
}

impl Message {
    pub(super) fn encode(&self) -> Vec<u8> {
        match self {
            Self::MasterNew { magic, name } => {
                let mut out = counted(0, &magic.0);
                match name {
                    Some(MonitorName(name)) => text(name, &mut out),
                    None => out.push(0),
                }
                out
            }
            Self::MasterId(id) => {
                let mut out = vec![1];
                text(id, &mut out);
                out
            }
            Self::ChannelNew(channel) => number(2, *channel),
            Self::ChannelFin(channel) => number(3, *channel),
            Self::Keepalive => vec![4],
            Self::Ack(sequence) => number(5, *sequence),
            Self::MasterResume(Resume { magic, expects, unacknowledged, next }) => {
                let mut out = counted(6, &magic.0);
                out.extend([*expects, *unacknowledged, *next].iter().flat_map(|number| number.to_be_bytes()));
                out
            }
            Self::MasterReject => vec![7],
            Self::MasterOk(expects) => number(8, *expects),
        }
    }

    pub(super) fn decode(octets: &[u8]) -> Result<Self, RemoteError> {
        let (&kind, body) = octets.split_first().ok_or(RemoteError::Empty)?;
        let wrong = || RemoteError::Length { kind, length: octets.len() };
        let number = || match *body {
            [a, b, c, d] => Ok(u32::from_be_bytes([a, b, c, d])),
            _ => Err(wrong()),
        };
        Ok(match kind {
            0 => {
                let (magic, rest) = magic(body).ok_or_else(wrong)?;
                let name = match read_text(rest).ok_or_else(wrong)? {
                    "" => None,
                    name => Some(MonitorName::new(name).ok_or(RemoteError::Name)?),
                };
                Self::MasterNew { magic, name }
            }
            1 => Self::MasterId(read_text(body).ok_or_else(wrong)?.to_owned()),
            2 => Self::ChannelNew(number()?),
            3 => Self::ChannelFin(number()?),
            4 => Self::Keepalive,
            5 => Self::Ack(number()?),
            6 => {
                let (magic, rest) = magic(body).ok_or_else(wrong)?;
                let [expects, unacknowledged, next] = rest.as_chunks::<4>().0 else { return Err(wrong()) };
                if rest.len() != 12 {
                    return Err(wrong());
                }
                Self::MasterResume(Resume {
                    magic,
                    expects: u32::from_be_bytes(*expects),
                    unacknowledged: u32::from_be_bytes(*unacknowledged),
                    next: u32::from_be_bytes(*next),
                })
            }
            7 => Self::MasterReject,
            8 => Self::MasterOk(number()?),
            other => return Err(RemoteError::Kind(other)),
        })
    }
}

fn number(kind: u8, number: u32) -> Vec<u8> {
    let mut out = vec![kind];
    out.extend_from_slice(&number.to_be_bytes());
    out
}

fn counted(kind: u8, octets: &[u8]) -> Vec<u8> {
    let mut out = vec![kind, u8::try_from(octets.len()).unwrap_or(u8::MAX)];
    out.extend(octets.iter().take(usize::from(u8::MAX)));
    out
}

/// A text with its length, which counts the zero behind it.
fn text(text: &str, out: &mut Vec<u8>) {
    let end = text.len().min(254);
    out.push(u8::try_from(end + 1).unwrap_or(u8::MAX));
    out.extend(text.bytes().take(end));
    out.push(0);
}

fn magic(octets: &[u8]) -> Option<(Magic, &[u8])> {
    let (&length, rest) = octets.split_first()?;
    let (magic, rest) = rest.split_at_checked(usize::from(length)).filter(|_| length > 0)?;
    Some((Magic(magic.to_vec()), rest))
}

/// A text with its length before and a zero behind; a length of 0 is none.
fn read_text(octets: &[u8]) -> Option<&str> {
    let (&length, rest) = octets.split_first()?;
    if usize::from(length) != rest.len() {
        return None;
    }
    if length == 0 {
        return Some("");
    }
    str::from_utf8(rest.strip_suffix(&[0])?).ok().filter(|text| !text.contains('\0'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_come_back() {
        let magic = Magic::new(*b"01234567");
        for message in [
            Message::MasterNew { magic: magic.clone(), name: None },
            Message::MasterNew { magic: magic.clone(), name: MonitorName::new("ams-nl") },
            Message::MasterId("192.0.2.1:40000".into()),
            Message::ChannelNew(1),
            Message::ChannelFin(2),
            Message::Keepalive,
            Message::Ack(7),
            Message::MasterResume(Resume { magic, expects: 1, unacknowledged: 2, next: 3 }),
            Message::MasterReject,
            Message::MasterOk(9),
        ] {
            assert_eq!(Message::decode(&message.encode()).unwrap(), message);
        }
    }

    #[test]
    fn bytes_are_those_of_the_wire() {
        let new = Message::MasterNew { magic: Magic::new(*b"01234567"), name: MonitorName::new("a") };
        assert_eq!(new.encode(), b"\0\x0801234567\x02a\0");
        let mut out = Vec::new();
        frame(1, 2, b"MORE\n", &mut out);
        assert_eq!(out, b"\0\0\0\x01\0\0\0\x02\0\x05MORE\n");
    }

    #[test]
    fn names_have_an_alphabet() {
        assert!(MonitorName::new("a_b").is_none());
        assert_eq!(Message::decode(b"\0\x01x\x03/a\0"), Err(RemoteError::Name));
    }
}
