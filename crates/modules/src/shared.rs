//! What several results say in the same way.

use std::borrow::Cow;
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

#[cfg(feature = "run")]
use mmn_probe::time::Stamp;
use mmn_schema::announce::SummaryField;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// An IP address, as text in every encoding: a body's JSON is made of its CBOR without knowing the kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Address(pub IpAddr);

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for Address {
    type Err = std::net::AddrParseError;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(Self)
    }
}

impl From<IpAddr> for Address {
    fn from(address: IpAddr) -> Self {
        Self(address)
    }
}

impl Serialize for Address {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Address {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        <Cow<'de, str>>::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

impl JsonSchema for Address {
    fn schema_name() -> Cow<'static, str> {
        "Address".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "format": "ip", "description": "an IPv4 or IPv6 address" })
    }
}

/// The family of an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum AddressFamily {
    /// IPv4.
    Ipv4,
    /// IPv6.
    Ipv6,
}

impl From<IpAddr> for AddressFamily {
    fn from(address: IpAddr) -> Self {
        if address.is_ipv4() { Self::Ipv4 } else { Self::Ipv6 }
    }
}

/// Who took a stamp, and with it how far it may be from the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum StampSource {
    /// The kernel, when it handed the packet to the device or took it from there.
    Kernel,
    /// The process, around the system call: some tens of microseconds farther from the wire.
    User,
}

/// Who took the two stamps of a round trip.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub struct Stamps {
    /// The stamp of sending.
    pub sent: StampSource,
    /// The stamp of receiving.
    pub received: StampSource,
}

#[cfg(feature = "run")]
impl Stamps {
    /// Of one round trip.
    pub(crate) fn of(sent: Stamp, received: Stamp) -> Self {
        Self { sent: sent.source.into(), received: received.source.into() }
    }

    /// The weaker of both in each place.
    pub(crate) fn weaker(self, other: Self) -> Self {
        let weaker = |one: StampSource, two: StampSource| match (one, two) {
            (StampSource::Kernel, StampSource::Kernel) => StampSource::Kernel,
            _ => StampSource::User,
        };
        Self { sent: weaker(self.sent, other.sent), received: weaker(self.received, other.received) }
    }
}

#[cfg(feature = "run")]
impl From<mmn_probe::time::StampSource> for StampSource {
    fn from(source: mmn_probe::time::StampSource) -> Self {
        match source {
            mmn_probe::time::StampSource::Kernel => Self::Kernel,
            _ => Self::User,
        }
    }
}

/// A field of a summary.
pub(crate) fn field(name: &str, unit: &str, description: &str) -> SummaryField {
    SummaryField { name: name.to_owned(), unit: unit.to_owned(), description: description.to_owned() }
}

/// For fields that are written only where they say something.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
pub(crate) const fn is_zero(number: &u32) -> bool {
    *number == 0
}

/// Likewise.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
pub(crate) const fn is_nothing(number: &u64) -> bool {
    *number == 0
}

/// Likewise.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
pub(crate) const fn is_false(flag: &bool) -> bool {
    !*flag
}
