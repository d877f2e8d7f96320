//! Instants and durations as they travel: nanoseconds UTC, and durations that carry their unit.
//!
//! Nothing here reads a clock.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use jiff::fmt::temporal::DateTimePrinter;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// An instant in nanoseconds since the Unix epoch (UTC), written as RFC 3339 with nine digits in every encoding.
/// Envelope fields that the schema fixes use [`compact`] instead.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Timestamp(i64);

impl Timestamp {
    /// The instant that lies `unix_ns` nanoseconds after the Unix epoch.
    pub const fn from_unix_ns(unix_ns: i64) -> Self {
        Self(unix_ns)
    }

    /// Nanoseconds since the Unix epoch.
    pub const fn unix_ns(self) -> i64 {
        self.0
    }

    /// The time from `earlier` to this instant in nanoseconds; absent where it would be negative.
    pub fn since_ns(self, earlier: Self) -> Option<u64> {
        self.0.checked_sub(earlier.0).and_then(|ns| u64::try_from(ns).ok())
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const PRINTER: DateTimePrinter = DateTimePrinter::new().precision(Some(9));
        let instant = jiff::Timestamp::from_nanosecond(self.0.into()).map_err(|_| fmt::Error)?;
        PRINTER.print_timestamp(&instant, jiff::fmt::StdFmtWrite(f)).map_err(|_| fmt::Error)
    }
}

impl FromStr for Timestamp {
    type Err = TimeError;
    fn from_str(text: &str) -> Result<Self, TimeError> {
        let wrong = || TimeError { what: "an RFC 3339 instant", text: text.chars().take(80).collect() };
        let instant: jiff::Timestamp = text.parse().map_err(|_| wrong())?;
        i64::try_from(instant.as_nanosecond()).map(Self).map_err(|_| wrong())
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        <Cow<'de, str>>::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

impl JsonSchema for Timestamp {
    fn schema_name() -> Cow<'static, str> {
        "Timestamp".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "format": "date-time",
            "description": "an instant in UTC, RFC 3339 with nine digits of a second"
        })
    }
}

/// The form of a [`Timestamp`] in an envelope: RFC 3339 in JSON, an integer of nanoseconds in CBOR.
pub mod compact {
    use super::{Deserialize, Deserializer, Serialize, Serializer, Timestamp};

    /// Writes the instant.
    pub fn serialize<S: Serializer>(instant: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            instant.serialize(serializer)
        } else {
            serializer.serialize_i64(instant.0)
        }
    }

    /// Reads the instant.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Timestamp, D::Error> {
        if deserializer.is_human_readable() {
            Timestamp::deserialize(deserializer)
        } else {
            i64::deserialize(deserializer).map(Timestamp)
        }
    }
}

/// A duration in a request, as text: `"500ms"`, `"1m 30s"` or `"PT1H"` (ISO 8601). Never negative.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Span(Duration);

impl Span {
    /// A span of whole milliseconds.
    pub const fn from_millis(ms: u64) -> Self {
        Self(Duration::from_millis(ms))
    }

    /// The span as a duration.
    pub const fn duration(self) -> Duration {
        self.0
    }

    /// The span in nanoseconds, at most about 584 years.
    pub fn as_ns(self) -> u64 {
        u64::try_from(self.0.as_nanos()).unwrap_or(u64::MAX)
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let signed = jiff::SignedDuration::try_from(self.0).map_err(|_| fmt::Error)?;
        write!(f, "{signed:#}")
    }
}

impl FromStr for Span {
    type Err = TimeError;
    fn from_str(text: &str) -> Result<Self, TimeError> {
        let wrong = || TimeError {
            what: "a duration such as \"500ms\", \"1m\" or \"PT1H\"",
            text: text.chars().take(80).collect(),
        };
        let signed: jiff::SignedDuration = text.parse().map_err(|_| wrong())?;
        Duration::try_from(signed).map(Self).map_err(|_| wrong())
    }
}

impl Serialize for Span {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        <Cow<'de, str>>::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

impl JsonSchema for Span {
    fn schema_name() -> Cow<'static, str> {
        "Span".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "format": "duration-text",
            "description": "a duration with its unit: \"500ms\", \"1m\", \"PT1H\""
        })
    }
}

/// Why a text is no instant or duration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not {what}")]
pub struct TimeError {
    what: &'static str,
    text: String,
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn instants_have_nine_digits() {
        let instant = Timestamp::from_unix_ns(1_800_000_000_120_000_000);
        assert_eq!(instant.to_string(), "2027-01-15T08:00:00.120000000Z");
    }

    #[test]
    fn spans_take_the_forms_of_the_field() {
        for (text, ms) in [("500ms", 500), ("1m", 60_000), ("PT1H", 3_600_000), ("1s 5ms", 1_005)] {
            assert_eq!(text.parse::<Span>().unwrap(), Span::from_millis(ms), "{text}");
        }
        for text in ["", "5", "-1s", "1 fortnight"] {
            assert!(text.parse::<Span>().is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn instants_survive_the_round_trip(ns in 0i64..i64::MAX) {
            let instant = Timestamp::from_unix_ns(ns);
            prop_assert_eq!(instant.to_string().parse::<Timestamp>().unwrap(), instant);
        }

        #[test]
        fn spans_survive_the_round_trip(ns in 0u64..1 << 60) {
            let span = Span(Duration::from_nanos(ns));
            prop_assert_eq!(span.to_string().parse::<Span>().unwrap(), span);
        }
    }
}
