//! Identifiers, each a type of its own. All of them are valid subject tokens (`[A-Za-z0-9_-]`).
//!
//! None of them is ever built from user data without passing through [`FromStr`].

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use data_encoding::{Encoding, Specification};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use sha2::{Digest, Sha256};
use uuid::Uuid;

/// Why a text is no identifier.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not {what}: {why}")]
pub struct IdError {
    what: &'static str,
    text: String,
    why: &'static str,
}

impl IdError {
    fn new(what: &'static str, text: &str, why: &'static str) -> Self {
        Self { what, text: text.chars().take(80).collect(), why }
    }
}

/// The longest token that a subject of ours carries, in bytes.
pub const MAX_TOKEN_LEN: usize = 64;

/// Whether `text` may stand as one token of a subject.
pub fn is_token(text: &str) -> bool {
    (1..=MAX_TOKEN_LEN).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-')
}

macro_rules! serde_as_text {
    ($name:ident, $pattern:literal, $description:literal) => {
        serde_as_text!($name, $pattern, $description, |id, serializer| serializer.collect_str(id));
    };
    ($name:ident, $pattern:literal, $description:literal, |$id:ident, $to:ident| $write:expr) => {
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, $to: S) -> Result<S::Ok, S::Error> {
                let $id = self;
                $write
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = <Cow<'de, str>>::deserialize(deserializer)?;
                text.parse().map_err(de::Error::custom)
            }
        }

        impl JsonSchema for $name {
            fn schema_name() -> Cow<'static, str> {
                stringify!($name).into()
            }
            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({ "type": "string", "pattern": $pattern, "description": $description })
            }
        }
    };
}

macro_rules! token_id {
    ($(#[$doc:meta])* $name:ident, $what:literal, $pattern:literal, $check:expr, $why:literal) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(Arc<str>);

        impl $name {
            /// The identifier as it is written.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = IdError;
            fn from_str(text: &str) -> Result<Self, IdError> {
                let check: fn(&str) -> bool = $check;
                if check(text) { Ok(Self(text.into())) } else { Err(IdError::new($what, text, $why)) }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({})", stringify!($name), self.0)
            }
        }

        serde_as_text!($name, $pattern, $what, |id, to| to.serialize_str(id.as_str()));
    };
}

token_id! {
    /// A vantage point: a hash of its node's NKEY and the VP's fixed local key, so that a change of name or of
    /// address leaves it as it is.
    VpId, "a vantage point id", "^[a-z2-7]{16}$",
    |text| text.len() == 16 && text.bytes().all(|b| matches!(b, b'a'..=b'z' | b'2'..=b'7')),
    "it has 16 characters of a-z and 2-7"
}

token_id! {
    /// One running copy of a module. The instances of a kind at a vantage point share its work.
    InstanceId, "an instance id", "^[A-Za-z0-9_-]{1,64}$", is_token,
    "it has 1 to 64 characters of A-Z, a-z, 0-9, _ and -"
}

token_id! {
    /// A type of measurement: `ping`, `dns`, `http`.
    KindName, "a kind", "^[a-z][a-z0-9-]{0,31}$",
    |text| text.len() <= 32
        && text.starts_with(|c: char| c.is_ascii_lowercase())
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-'),
    "it starts with a-z and has at most 32 characters of a-z, 0-9 and -"
}

token_id! {
    /// One anchor process, by the name of its credentials.
    AnchorId, "an anchor id", "^[A-Za-z0-9_-]{1,64}$", is_token,
    "it has 1 to 64 characters of A-Z, a-z, 0-9, _ and -"
}

token_id! {
    /// On whose behalf a client asks. Part of the ledger's key, of idempotency keys and of authorisation.
    Tenant, "a tenant", "^[A-Za-z0-9_-]{1,64}$", is_token,
    "it has 1 to 64 characters of A-Z, a-z, 0-9, _ and -"
}

impl Tenant {
    /// What others than a tenant are told in its place. No token is made for it.
    pub fn public() -> Self {
        Self("public".into())
    }
}

impl Default for Tenant {
    fn default() -> Self {
        Self("default".into())
    }
}

impl VpId {
    /// The id of the vantage point that `node_nkey` (a public NKEY, `U…`) serves under `local_key`.
    pub fn derive(node_nkey: &str, local_key: &str) -> Self {
        let digest =
            Sha256::new().chain_update(node_nkey).chain_update([0]).chain_update(local_key).finalize();
        let mut text = data_encoding::BASE32_NOPAD.encode(&digest);
        text.make_ascii_lowercase();
        text.truncate(16);
        Self(text.into())
    }
}

/// A measurement: a UUID of version 7 (RFC 9562), written in lower-case base32hex without padding (RFC 4648,
/// section 7), so that the text sorts by time of creation.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MeasurementId(Uuid);

impl MeasurementId {
    /// The number of characters of its text.
    pub const LEN: usize = 26;

    /// An id for the given time, in milliseconds since the Unix epoch, with the given random bits.
    pub fn new(unix_ms: u64, random: &[u8; 10]) -> Self {
        Self(uuid::Builder::from_unix_timestamp_millis(unix_ms, random).into_uuid())
    }

    /// Its text, without an allocation.
    fn with_text<T>(self, take: impl FnOnce(&str) -> T) -> T {
        let mut text = [0; Self::LEN];
        base32hex().encode_mut(self.0.as_bytes(), &mut text);
        // The symbols are ASCII.
        take(std::str::from_utf8(&text).unwrap_or_default())
    }

    /// The time that it was made for, in whole seconds since the Unix epoch.
    pub fn unix_s(self) -> u64 {
        let [b0, b1, b2, b3, b4, b5, ..] = *self.0.as_bytes();
        u64::from_be_bytes([0, 0, b0, b1, b2, b3, b4, b5]) / 1000
    }
}

/// base32hex in lower case, which data-encoding has with padding only.
fn base32hex() -> &'static Encoding {
    static ENCODING: std::sync::LazyLock<Encoding> = std::sync::LazyLock::new(|| {
        let mut specification = Specification::new();
        specification.symbols.push_str("0123456789abcdefghijklmnopqrstuv");
        #[expect(clippy::expect_used, reason = "a constant specification, covered by the round-trip test")]
        let encoding = specification.encoding().expect("32 distinct symbols");
        encoding
    });
    &ENCODING
}

impl fmt::Display for MeasurementId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.with_text(|text| f.write_str(text))
    }
}

impl fmt::Debug for MeasurementId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MeasurementId({self})")
    }
}

impl FromStr for MeasurementId {
    type Err = IdError;
    fn from_str(text: &str) -> Result<Self, IdError> {
        let wrong = || IdError::new("a measurement id", text, "it has 26 characters of 0-9 and a-v");
        let bytes = base32hex().decode(text.as_bytes()).map_err(|_| wrong())?;
        Uuid::from_slice(&bytes).map(Self).map_err(|_| wrong())
    }
}

serde_as_text!(
    MeasurementId,
    "^[0-9a-v]{26}$",
    "a measurement id: a UUIDv7 in lower-case base32hex",
    |id, to| id.with_text(|text| to.serialize_str(text))
);

/// One task of a measurement: assignment × input, by its position from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TaskId {
    /// The measurement that it belongs to.
    pub measurement: MeasurementId,
    /// Its position in the measurement, from 0.
    pub index: u64,
}

impl fmt::Display for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.measurement, self.index)
    }
}

impl FromStr for TaskId {
    type Err = IdError;
    fn from_str(text: &str) -> Result<Self, IdError> {
        let wrong = || IdError::new("a task id", text, "it is a measurement id, a dash and a number");
        let (measurement, index) = text.split_once('-').ok_or_else(wrong)?;
        if index.is_empty() || !index.bytes().all(|b| b.is_ascii_digit()) {
            return Err(wrong());
        }
        Ok(Self { measurement: measurement.parse()?, index: index.parse().map_err(|_| wrong())? })
    }
}

serde_as_text!(TaskId, "^[0-9a-v]{26}-[0-9]+$", "a task id: a measurement id, a dash and a position from 0");

/// One life of an instance. A new boot holds nothing of what the former one had acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct BootId(pub u64);

/// The term of an anchor's ownership. Modules refuse tasks of an epoch older than the newest that they have seen.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(transparent)]
pub struct Epoch(pub u64);

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_vantage_point_keeps_its_id() {
        assert_eq!(VpId::derive("UABC", "main").as_str().len(), 16);
        assert_eq!(VpId::derive("UABC", "main"), VpId::derive("UABC", "main"));
        assert_ne!(VpId::derive("UABC", "main"), VpId::derive("UABCm", "ain"));
        assert!(VpId::derive("UABC", "main").to_string().parse::<VpId>().is_ok());
    }

    #[test]
    fn ids_of_later_measurements_sort_later() {
        let early = MeasurementId::new(1_700_000_000_000, &[255; 10]).to_string();
        let late = MeasurementId::new(1_700_000_000_001, &[0; 10]).to_string();
        assert!(early < late, "{early} {late}");
        assert_eq!(early.len(), MeasurementId::LEN);
    }

    proptest! {
        #[test]
        fn task_ids_survive_the_round_trip(ms in 0u64..1 << 48, random: [u8; 10], index: u64) {
            let task = TaskId { measurement: MeasurementId::new(ms, &random), index };
            prop_assert_eq!(task.to_string().parse::<TaskId>().unwrap(), task);
        }

        #[test]
        fn garbage_is_refused_without_panic(text in "\\PC{0,90}") {
            let _ = text.parse::<TaskId>();
            if let Ok(id) = text.parse::<InstanceId>() {
                prop_assert!(is_token(id.as_str()));
            }
        }
    }
}
