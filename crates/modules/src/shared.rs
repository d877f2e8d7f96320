//! What several results say in the same way.

use std::borrow::Cow;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
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
        match self.0 {
            IpAddr::V4(address) => serializer.serialize_str(dotted(address, &mut [0; DOTTED_BYTES])),
            IpAddr::V6(address) => serializer.collect_str(&address),
        }
    }
}

/// The text of an address: as `to_string` gives it, for the many of IPv4 without what makes that slow.
#[cfg(feature = "run")]
pub(crate) fn text(address: IpAddr) -> String {
    match address {
        IpAddr::V4(address) => dotted(address, &mut [0; DOTTED_BYTES]).to_owned(),
        IpAddr::V6(address) => address.to_string(),
    }
}

/// The longest text of an IPv4 address.
const DOTTED_BYTES: usize = "255.255.255.255".len();

fn dotted(address: Ipv4Addr, room: &mut [u8; DOTTED_BYTES]) -> &str {
    let mut used = 0;
    let mut put = |octet: u8| {
        if let Some(place) = room.get_mut(used) {
            *place = octet;
            used += 1;
        }
    };
    for (index, octet) in address.octets().into_iter().enumerate() {
        if index > 0 {
            put(b'.');
        }
        if octet >= 100 {
            put(b'0' + octet / 100);
        }
        if octet >= 10 {
            put(b'0' + octet / 10 % 10);
        }
        put(b'0' + octet % 10);
    }
    str::from_utf8(room.get(..used).unwrap_or_default()).unwrap_or_default()
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
    /// A simulated network: exact.
    Simulated,
}

/// Who took the two stamps of a round trip.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub struct Stamps {
    /// The stamp of sending.
    pub sent: StampSource,
    /// The stamp of receiving.
    pub received: StampSource,
}

/// How the packets of a measurement went through the vantage point's host, and who stamped them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Conditions {
    /// The way that they took.
    pub lane: Lane,
    /// Who stamps packets on this lane, where all goes well.
    pub stamps: Stamps,
    /// How far a round trip may be off, in nanoseconds: an estimate, whose origin is the guide on precision. Absent
    /// where there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rtt_error_ns: Option<u64>,
    /// The state of the clock of instants; absent where the system does not tell. Round trips don't depend on it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clock: Option<Clock>,
    /// The vantage point's interface, by the source address of the probes; absent where the system does not tell, and on
    /// the bulk lane.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interface: Option<HostInterface>,
}

/// An interface of the vantage point's host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct HostInterface {
    /// Its name.
    pub name: String,
    /// The largest packet that its link takes, in bytes.
    pub mtu: u32,
}

/// A way that packets take through a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Lane {
    /// Sockets that every user may open.
    Unprivileged,
    /// Raw sockets, many packets to a system call: stamped by the kernel when they come, by the process when they leave.
    Raw,
    /// Raw sockets, few packets to a system call: stamped by the kernel when they leave and when they come.
    Precise,
    /// Packet sockets with a ring, for very many targets.
    Bulk,
    /// A simulated network.
    Simulated,
}

/// Which lane to take.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LaneWish {
    /// The vantage point's choice: the most exact one that its load allows.
    #[default]
    Any,
    /// Sockets that every user may open.
    Unprivileged,
    /// Raw sockets, many packets to a system call.
    Raw,
    /// Raw sockets, few packets to a system call: the most exact.
    Precise,
    /// Packet sockets, for very many targets; the site's policy must allow it.
    Bulk,
}

/// The state of a host's civil clock, as its kernel tells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub struct Clock {
    /// Whether something outside the host keeps it in step.
    pub synchronised: bool,
    /// The estimated offset from true time, in nanoseconds.
    pub offset_ns: i64,
    /// The greatest error that the kernel allows for, in nanoseconds.
    pub max_error_ns: u64,
}

#[cfg(feature = "run")]
impl From<&mmn_kit::Conditions> for Conditions {
    fn from(conditions: &mmn_kit::Conditions) -> Self {
        Self {
            lane: conditions.lane.into(),
            stamps: Stamps { sent: conditions.sent_by.into(), received: conditions.received_by.into() },
            rtt_error_ns: conditions.rtt_error_ns,
            clock: conditions.clock.map(|clock| Clock {
                synchronised: clock.synchronised,
                offset_ns: clock.offset_ns,
                max_error_ns: clock.max_error_ns,
            }),
            interface: conditions
                .interface
                .map(|interface| HostInterface { name: interface.name().to_owned(), mtu: interface.mtu }),
        }
    }
}

#[cfg(feature = "run")]
impl From<mmn_kit::Lane> for Lane {
    fn from(lane: mmn_kit::Lane) -> Self {
        match lane {
            mmn_kit::Lane::Raw => Self::Raw,
            mmn_kit::Lane::Precise => Self::Precise,
            mmn_kit::Lane::Bulk => Self::Bulk,
            mmn_kit::Lane::Simulated => Self::Simulated,
            // What is not told to be more is what every user has.
            _ => Self::Unprivileged,
        }
    }
}

#[cfg(feature = "run")]
impl From<LaneWish> for mmn_kit::Wish {
    fn from(wish: LaneWish) -> Self {
        match wish {
            LaneWish::Any => Self::Any,
            LaneWish::Unprivileged => Self::Only(mmn_kit::Lane::Unprivileged),
            LaneWish::Raw => Self::Only(mmn_kit::Lane::Raw),
            LaneWish::Precise => Self::Only(mmn_kit::Lane::Precise),
            LaneWish::Bulk => Self::Only(mmn_kit::Lane::Bulk),
        }
    }
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
            (one, two) if one == two => one,
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
            mmn_probe::time::StampSource::Simulated => Self::Simulated,
            _ => Self::User,
        }
    }
}

/// The bytes that a text in hexadecimal means: nothing where it is none.
pub(crate) fn hex(text: &str) -> Option<Vec<u8>> {
    data_encoding::HEXLOWER_PERMISSIVE.decode(text.as_bytes()).ok()
}

/// A number, whole or not: encodings tell the two apart, and people write `95`.
pub(crate) fn real<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    struct Real;

    impl de::Visitor<'_> for Real {
        type Value = f64;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a number")
        }

        fn visit_f64<E>(self, number: f64) -> Result<f64, E> {
            Ok(number)
        }

        #[expect(clippy::cast_precision_loss, reason = "larger ones are refused anyway")]
        fn visit_u64<E>(self, number: u64) -> Result<f64, E> {
            Ok(number as f64)
        }

        #[expect(clippy::cast_precision_loss, reason = "larger ones are refused anyway")]
        fn visit_i64<E>(self, number: i64) -> Result<f64, E> {
            Ok(number as f64)
        }
    }

    deserializer.deserialize_any(Real)
}

/// The same, where there may be none.
pub(crate) fn maybe_real<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<f64>, D::Error> {
    #[derive(Deserialize)]
    struct Real(#[serde(deserialize_with = "real")] f64);

    Ok(Option::<Real>::deserialize(deserializer)?.map(|Real(number)| number))
}

/// The family of targets that packets by a router can reach.
#[cfg(feature = "run")]
pub(crate) const fn family_by(family: mmn_kit::Family, router: Option<Address>) -> mmn_kit::Family {
    use mmn_kit::Family;
    match (family, router) {
        (Family::Any, Some(Address(IpAddr::V4(_)))) => Family::Ipv4,
        (Family::Any, Some(Address(IpAddr::V6(_)))) => Family::Ipv6,
        (family, _) => family,
    }
}

/// How long the names of a path's addresses may take.
pub(crate) const NAMES_WITHIN_NS: u64 = 5_000_000_000;

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

/// Likewise.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
pub(crate) const fn is_no_octet(number: &u8) -> bool {
    *number == 0
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn an_address_is_written_as_others_do(address: u32) {
            let address = Ipv4Addr::from(address);
            let mut room = [0; DOTTED_BYTES];
            prop_assert_eq!(dotted(address, &mut room), address.to_string());
        }
    }
}
