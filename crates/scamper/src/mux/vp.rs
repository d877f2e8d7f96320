//! What a mux says of a vantage point.

use super::MuxError;

/// What an attribute says. Each is a text; [`Tag`](Self::Tag) may stand any number of times.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Attribute {
    /// 1: its name, by which it is chosen.
    Name,
    /// 2: since when it is there, in seconds since 1970, a dot and six digits of microseconds.
    Arrival,
    /// 3: its IPv4 address.
    Ipv4,
    /// 4: the AS of its IPv4 address, a number.
    AsnOfIpv4,
    /// 5: its country, two letters of ISO 3166-1.
    Country,
    /// 6: its state or province.
    State,
    /// 7: its place.
    Place,
    /// 8: latitude and longitude in degrees, with a comma between.
    Location,
    /// 9: a short name.
    ShortName,
    /// 10: a tag.
    Tag,
    /// 11: an airport near it, by its IATA code.
    Iata,
    /// 12: its IPv6 address.
    Ipv6,
    /// 13: the AS of its IPv6 address.
    AsnOfIpv6,
}

const ATTRIBUTES: [Attribute; 13] = [
    Attribute::Name,
    Attribute::Arrival,
    Attribute::Ipv4,
    Attribute::AsnOfIpv4,
    Attribute::Country,
    Attribute::State,
    Attribute::Place,
    Attribute::Location,
    Attribute::ShortName,
    Attribute::Tag,
    Attribute::Iata,
    Attribute::Ipv6,
    Attribute::AsnOfIpv6,
];

impl Attribute {
    /// Its number.
    pub fn number(self) -> u16 {
        u16::try_from(ATTRIBUTES.iter().position(|one| *one == self).unwrap_or(0)).unwrap_or(0) + 1
    }

    /// The attribute of a number; absent: it is not known.
    pub fn of(number: u16) -> Option<Self> {
        ATTRIBUTES.get(usize::from(number).checked_sub(1)?).copied()
    }
}

/// A vantage point, as a mux tells of it. What is not known of it is absent.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Vp {
    /// The mux's number of it, which channels are opened by.
    pub instance: u32,
    attributes: Vec<(Attribute, String)>,
}

impl Vp {
    /// A vantage point of which nothing is known yet.
    pub fn new(instance: u32) -> Self {
        Self { instance, attributes: Vec::new() }
    }

    /// Adds what an attribute says. What ends a text on the wire, an octet of zero, is left out.
    #[must_use]
    pub fn with(mut self, attribute: Attribute, text: impl Into<String>) -> Self {
        let mut text: String = text.into();
        text.retain(|character| character != '\0');
        self.attributes.push((attribute, text));
        self
    }

    /// What an attribute says, where it is there.
    pub fn get(&self, attribute: Attribute) -> Option<&str> {
        self.all(attribute).next()
    }

    /// Everything an attribute says: tags, in their order.
    pub fn all(&self, attribute: Attribute) -> impl Iterator<Item = &str> {
        self.attributes.iter().filter(move |(one, _)| *one == attribute).map(|(_, text)| text.as_str())
    }

    pub(super) fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.instance.to_be_bytes());
        for (attribute, text) in &self.attributes {
            out.extend_from_slice(&attribute.number().to_be_bytes());
            out.extend_from_slice(text.as_bytes());
            out.push(0);
        }
    }

    /// Reads attributes; those that are not known are passed over.
    pub(super) fn read(instance: u32, mut octets: &[u8]) -> Result<Self, MuxError> {
        let mut vp = Self::new(instance);
        while let Some((number, rest)) = octets.split_first_chunk::<2>() {
            let number = u16::from_be_bytes(*number);
            let end = rest.iter().position(|octet| *octet == 0).ok_or(MuxError::NoEnd(number))?;
            let (text, rest) = rest.split_at(end);
            octets = rest.get(1..).unwrap_or_default();
            if let Some(attribute) = Attribute::of(number) {
                vp.attributes.push((attribute, String::from_utf8_lossy(text).into_owned()));
            }
        }
        if octets.is_empty() { Ok(vp) } else { Err(MuxError::Length { kind: 0, length: octets.len() }) }
    }
}
