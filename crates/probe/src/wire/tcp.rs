//! TCP segments (RFC 9293, section 3.1) and the options that ends offer each other in a SYN.

use std::net::IpAddr;

use super::{DecodeError, PROTOCOL_TCP, checksum::Sum, long, octet, word};

/// The octets of a header without options.
pub const HEADER_BYTES: usize = 20;

/// A header without its options.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Source port.
    pub source_port: u16,
    /// Destination port.
    pub destination_port: u16,
    /// Sequence number.
    pub seq: u32,
    /// Acknowledgement number.
    pub ack: u32,
    /// Flags: octet 13.
    pub flags: u8,
    /// Window, unscaled.
    pub window: u16,
    /// Urgent pointer.
    pub urgent: u16,
}

/// A segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment<'a> {
    /// The header.
    pub header: Header,
    /// Its options as they stand there, padding included; [`options`] reads them.
    pub options: &'a [u8],
    /// The payload.
    pub payload: &'a [u8],
}

/// Reads a segment with its whole header. Its checksum is for [`checksum_ok`].
pub fn decode(bytes: &[u8]) -> Result<Segment<'_>, DecodeError> {
    let header_bytes = usize::from(octet(bytes, 12)? >> 4) * 4;
    if header_bytes < HEADER_BYTES {
        return Err(DecodeError::HeaderLength(header_bytes));
    }
    let raw =
        bytes.get(..header_bytes).ok_or(DecodeError::Truncated { need: header_bytes, have: bytes.len() })?;
    Ok(Segment {
        header: Header {
            source_port: word(raw, 0)?,
            destination_port: word(raw, 2)?,
            seq: long(raw, 4)?,
            ack: long(raw, 8)?,
            flags: octet(raw, 13)?,
            window: word(raw, 14)?,
            urgent: word(raw, 18)?,
        },
        options: raw.get(HEADER_BYTES..).unwrap_or_default(),
        payload: bytes.get(header_bytes..).unwrap_or_default(),
    })
}

/// Whether the checksum of a whole segment between two addresses is right.
pub fn checksum_ok(source: IpAddr, destination: IpAddr, bytes: &[u8]) -> bool {
    Sum::default()
        .plus_pseudo_header(source, destination, bytes.len(), PROTOCOL_TCP)
        .is_some_and(|sum| sum.plus(bytes).finish() == 0)
}

/// The header's bytes before `option_bytes` octets of options (a multiple of four, 40 at most), its checksum 0.
pub fn encode(header: &Header, option_bytes: usize) -> [u8; HEADER_BYTES] {
    let words = u8::try_from((HEADER_BYTES + option_bytes) / 4).unwrap_or(5);
    let mut bytes = [0; HEADER_BYTES];
    let fields = header
        .source_port
        .to_be_bytes()
        .into_iter()
        .chain(header.destination_port.to_be_bytes())
        .chain(header.seq.to_be_bytes())
        .chain(header.ack.to_be_bytes())
        .chain([words << 4, header.flags])
        .chain(header.window.to_be_bytes())
        .chain([0, 0])
        .chain(header.urgent.to_be_bytes());
    for (byte, field) in bytes.iter_mut().zip(fields) {
        *byte = field;
    }
    bytes
}

/// An option.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TcpOption<'a> {
    /// Maximum segment size, in octets (RFC 9293, section 3.2).
    MaximumSegmentSize(u16),
    /// The window is shifted by so many bits (RFC 7323, section 2.2).
    WindowScale(u8),
    /// Selective acknowledgements are permitted (RFC 2018, section 2).
    SackPermitted,
    /// Timestamps (RFC 7323, section 3.2).
    Timestamps {
        /// The sender's clock.
        value: u32,
        /// What the other end's clock said last.
        echo: u32,
    },
    /// Any other, or one of those above with a length that is not its own.
    Other {
        /// Its kind (IANA, *TCP Option Kind Numbers*).
        kind: u8,
        /// What follows kind and length.
        data: &'a [u8],
    },
}

/// Reads the options of a header, up to their end or to one that goes beyond it.
pub const fn options(bytes: &[u8]) -> Options<'_> {
    Options { rest: bytes }
}

/// The options of a header; see [`options`].
#[derive(Clone, Debug)]
pub struct Options<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Options<'a> {
    type Item = TcpOption<'a>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let (&kind, rest) = self.rest.split_first()?;
            match kind {
                END => {
                    self.rest = &[];
                    return None;
                }
                NO_OPERATION => self.rest = rest,
                _ => {
                    let length = usize::from(*rest.first()?);
                    let option = self.rest.get(2..length);
                    self.rest = self.rest.get(length..).filter(|_| length >= 2).unwrap_or_default();
                    return option.map(|data| read(kind, data));
                }
            }
        }
    }
}

/// What one end offers the other in its SYN.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Offer {
    /// The largest segment that it takes, in octets.
    pub mss: Option<u16>,
    /// By how many bits it shifts its window.
    pub window_scale: Option<u8>,
    /// Whether it takes selective acknowledgements.
    pub sack_permitted: bool,
    /// Its timestamp, where it sends any.
    pub timestamp: Option<u32>,
}

impl Offer {
    /// Reads it from the options of a header.
    pub fn of(bytes: &[u8]) -> Self {
        let mut offer = Self::default();
        for option in options(bytes) {
            match option {
                TcpOption::MaximumSegmentSize(mss) => offer.mss = Some(mss),
                TcpOption::WindowScale(shift) => offer.window_scale = Some(shift),
                TcpOption::SackPermitted => offer.sack_permitted = true,
                TcpOption::Timestamps { value, .. } => offer.timestamp = Some(value),
                TcpOption::Other { .. } => {}
            }
        }
        offer
    }
}

/// The octets of [`offer`].
pub const OFFER_BYTES: usize = 20;

/// The options of a SYN that offers all that most hosts do: a maximum segment size, selective acknowledgements
/// (RFC 2018), timestamps and a window scale of 7 (RFC 7323).
pub const fn offer(mss: u16, timestamp: u32) -> [u8; OFFER_BYTES] {
    let [m0, m1] = mss.to_be_bytes();
    let [t0, t1, t2, t3] = timestamp.to_be_bytes();
    [2, 4, m0, m1, 4, 2, 8, 10, t0, t1, t2, t3, 0, 0, 0, 0, 1, 3, 3, 7]
}

/// The option *maximum segment size*.
pub const fn mss_option(mss: u16) -> [u8; 4] {
    let [high, low] = mss.to_be_bytes();
    [MSS, 4, high, low]
}

fn read(kind: u8, data: &[u8]) -> TcpOption<'_> {
    match (kind, data) {
        (MSS, &[high, low]) => TcpOption::MaximumSegmentSize(u16::from_be_bytes([high, low])),
        (WINDOW_SCALE, &[shift]) => TcpOption::WindowScale(shift),
        (SACK_PERMITTED, []) => TcpOption::SackPermitted,
        (TIMESTAMPS, &[v0, v1, v2, v3, e0, e1, e2, e3]) => TcpOption::Timestamps {
            value: u32::from_be_bytes([v0, v1, v2, v3]),
            echo: u32::from_be_bytes([e0, e1, e2, e3]),
        },
        _ => TcpOption::Other { kind, data },
    }
}

// IANA, *TCP Option Kind Numbers*.
const END: u8 = 0;
const NO_OPERATION: u8 = 1;
const MSS: u8 = 2;
const WINDOW_SCALE: u8 = 3;
const SACK_PERMITTED: u8 = 4;
const TIMESTAMPS: u8 = 8;

#[cfg(test)]
mod tests;
