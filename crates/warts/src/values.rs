//! The values that parameters have.

use std::borrow::Cow;
use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};

use serde::ser::{Serialize, Serializer};

/// The number of a list in its file. Zero is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, serde::Serialize)]
pub struct ListId(pub u32);

/// The number of a cycle in its file. Zero is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, serde::Serialize)]
pub struct CycleId(pub u32);

/// An instant: seconds since 1970 and microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, serde::Serialize)]
pub struct Time {
    /// Seconds.
    pub sec: u32,
    /// Microseconds; a million and more is kept as it stands.
    pub usec: u32,
}

impl Time {
    /// The instant `micros` later.
    #[must_use]
    pub fn plus(self, micros: u32) -> Self {
        let usec = u64::from(self.usec) + u64::from(micros);
        let carry = u32::try_from(usec / 1_000_000).unwrap_or(u32::MAX);
        // The remainder is below a million.
        Self { sec: self.sec.saturating_add(carry), usec: u32::try_from(usec % 1_000_000).unwrap_or(0) }
    }
}

/// A duration in microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, serde::Serialize)]
pub struct Micros(pub u32);

/// An address.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Address {
    /// IPv4: type 1, four octets.
    V4(Ipv4Addr),
    /// IPv6: type 2, sixteen octets.
    V6(Ipv6Addr),
    /// Ethernet: type 3, six octets.
    Ethernet([u8; 6]),
    /// `FireWire`: type 4, eight octets.
    FireWire([u8; 8]),
    /// Something else.
    Other {
        /// Its type.
        kind: u8,
        /// Its octets: between 1 and 255.
        octets: Box<[u8]>,
    },
}

impl Address {
    /// The address of a type with these octets.
    pub fn new(kind: u8, octets: &[u8]) -> Self {
        let other = || Self::Other { kind, octets: octets.into() };
        match kind {
            1 => <[u8; 4]>::try_from(octets).map_or_else(|_| other(), |octets| Self::V4(octets.into())),
            2 => <[u8; 16]>::try_from(octets).map_or_else(|_| other(), |octets| Self::V6(octets.into())),
            3 => octets.try_into().map_or_else(|_| other(), Self::Ethernet),
            4 => octets.try_into().map_or_else(|_| other(), Self::FireWire),
            _ => other(),
        }
    }

    /// The number of its type.
    pub fn kind(&self) -> u8 {
        match self {
            Self::V4(_) => 1,
            Self::V6(_) => 2,
            Self::Ethernet(_) => 3,
            Self::FireWire(_) => 4,
            Self::Other { kind, .. } => *kind,
        }
    }

    /// Its octets, as they stand in a packet.
    pub fn octets(&self) -> Cow<'_, [u8]> {
        match self {
            Self::V4(address) => Cow::Owned(address.octets().to_vec()),
            Self::V6(address) => Cow::Owned(address.octets().to_vec()),
            Self::Ethernet(octets) => Cow::Borrowed(octets),
            Self::FireWire(octets) => Cow::Borrowed(octets),
            Self::Other { octets, .. } => Cow::Borrowed(octets),
        }
    }
}

impl From<std::net::IpAddr> for Address {
    fn from(address: std::net::IpAddr) -> Self {
        match address {
            std::net::IpAddr::V4(address) => Self::V4(address),
            std::net::IpAddr::V6(address) => Self::V6(address),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::V4(address) => address.fmt(f),
            Self::V6(address) => address.fmt(f),
            Self::Ethernet(_) | Self::FireWire(_) | Self::Other { .. } => {
                for (at, octet) in self.octets().iter().enumerate() {
                    write!(f, "{}{octet:02x}", if at == 0 { "" } else { ":" })?;
                }
                Ok(())
            }
        }
    }
}

impl Serialize for Address {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// An address that stands in full wherever it stands, and is never referred to.
#[derive(Debug, Clone, PartialEq, Eq, Hash, serde::Serialize)]
#[serde(transparent)]
pub struct InFull(pub Address);

/// A text: octets without a zero, usually UTF-8.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Text(pub Vec<u8>);

impl Text {
    /// The text; what is no UTF-8 is replaced.
    pub fn to_str(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(&self.0)
    }
}

impl From<&str> for Text {
    fn from(text: &str) -> Self {
        Self(text.as_bytes().to_vec())
    }
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.to_str().fmt(f)
    }
}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.to_str(), f)
    }
}

impl Serialize for Text {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// The name of an interface.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, serde::Serialize)]
pub struct Interface(pub Text);

/// Octets behind a 16-bit length. In JSON: hexadecimal.
#[derive(Clone, PartialEq, Eq, Hash, Default)]
pub struct Data(pub Vec<u8>);

impl fmt::Debug for Data {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex(&self.0))
    }
}

impl Serialize for Data {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&hex(&self.0))
    }
}

/// Octets behind an 8-bit length.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Data8(pub Vec<u8>);

impl Serialize for Data8 {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&hex(&self.0))
    }
}

/// Values behind an 8-bit count.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, serde::Serialize)]
pub struct List8<T>(pub Vec<T>);

/// Values behind a 16-bit count.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, serde::Serialize)]
pub struct List16<T>(pub Vec<T>);

/// Values behind a 32-bit count.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, serde::Serialize)]
pub struct List32<T>(pub Vec<T>);

/// The type and code of an ICMP message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, serde::Serialize)]
pub struct IcmpType {
    /// The type.
    #[serde(rename = "type")]
    pub kind: u8,
    /// The code.
    pub code: u8,
}

/// An object of an ICMP extension structure (RFC 4884, section 8).
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, serde::Serialize)]
pub struct Extension {
    /// Its class: 1 is MPLS (RFC 4950).
    pub class: u8,
    /// Its type in the class.
    #[serde(rename = "type")]
    pub kind: u8,
    /// What it holds.
    pub data: Data,
}

/// The objects of an ICMP extension structure.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, serde::Serialize)]
pub struct Extensions(pub Vec<Extension>);

/// An entry of an MPLS label stack (RFC 3032, section 2.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MplsLabel {
    /// The label: 20 bits.
    pub label: u32,
    /// The traffic class: 3 bits.
    pub class: u8,
    /// Whether it is the last of the stack.
    pub bottom: bool,
    /// Its TTL.
    pub ttl: u8,
}

impl Extension {
    /// The label stack, when this is one.
    pub fn mpls(&self) -> Option<Vec<MplsLabel>> {
        if (self.class, self.kind) != (1, 1) {
            return None;
        }
        let (words, _) = self.data.0.as_chunks::<4>();
        Some(words.iter().map(|word| MplsLabel::from(u32::from_be_bytes(*word))).collect())
    }
}

impl From<u32> for MplsLabel {
    fn from(word: u32) -> Self {
        let [_, _, low, ttl] = word.to_be_bytes();
        Self { label: word >> 12, class: (low >> 1) & 7, bottom: low & 1 == 1, ttl }
    }
}

/// The timestamps of an IPv4 option (RFC 791, section 3.1).
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, serde::Serialize)]
pub struct Timestamps {
    /// Milliseconds since midnight UT.
    pub stamps: Vec<u32>,
    /// Whose they are: none, or as many.
    pub addresses: Vec<Address>,
}

/// What an ICMP timestamp reply says (RFC 792): milliseconds since midnight UT.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, serde::Serialize)]
pub struct TimestampReply {
    /// When the request was sent.
    pub originate: u32,
    /// When it was received.
    pub receive: u32,
    /// When the reply was sent.
    pub transmit: u32,
}

/// Lower-case hexadecimal.
pub fn hex(octets: &[u8]) -> String {
    octets.iter().fold(String::with_capacity(octets.len() * 2), |mut text, octet| {
        for digit in [octet >> 4, octet & 15] {
            text.push(char::from_digit(u32::from(digit), 16).unwrap_or('0'));
        }
        text
    })
}
