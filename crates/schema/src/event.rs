//! What happened in the network, for those who watch it.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::id::{Epoch, InstanceId, MeasurementId, VpId};
use crate::time::{self, Timestamp};

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Event {
    /// Its place among what the network's anchors tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<EventId>,
    /// When, by the observer's clock.
    #[serde(with = "time::compact")]
    #[schemars(with = "Timestamp")]
    pub at: Timestamp,
    /// What: `module-joined`, `module-degraded`, `module-suspect`, `module-lost`, `module-healthy`, `module-left`,
    /// `breaker-open`, `breaker-half-open`, `breaker-closed`, `vp-joined`, `vp-lost`, `measurement-accepted`,
    /// `measurement-done`, `storage-full`, `anchor-active` (the first of each anchor that takes over), …
    #[serde(rename = "type")]
    pub kind: String,
    /// Where.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vp: Option<VpId>,
    /// Which instance.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance: Option<InstanceId>,
    /// Which measurement.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub measurement: Option<MeasurementId>,
    /// In words.
    pub text: String,
}

/// The place of an event: the term of the anchor that tells it, and its number in that term, `term.number`. Numbers begin at 1
/// and leave none out; terms only grow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EventId {
    /// The term.
    pub term: Epoch,
    /// The number in it.
    pub number: u64,
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.term.0, self.number)
    }
}

impl FromStr for EventId {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:.80?} is no id of an event such as \"3.17\"");
        let (term, number) = text.split_once('.').ok_or_else(wrong)?;
        let (term, number) = (term.parse().map_err(|_| wrong())?, number.parse().map_err(|_| wrong())?);
        Ok(Self { term: Epoch(term), number })
    }
}

impl Serialize for EventId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for EventId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

impl JsonSchema for EventId {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "EventId".into()
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "string", "pattern": "^[0-9]+\\.[0-9]+$" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_read_as_it_is_written_and_grows_over_terms() {
        let id = |text: &str| text.parse::<EventId>();
        assert_eq!(id("3.17").unwrap().to_string(), "3.17");
        assert!(id("4.1").unwrap() > id("3.17").unwrap() && id("3.9").unwrap() < id("3.17").unwrap());
        for wrong in ["", "3", "3.", ".1", "3.x", "-1.2", "3.1.2"] {
            assert!(id(wrong).is_err(), "{wrong}");
        }
    }
}
