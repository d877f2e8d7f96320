//! The opaque part of a message: parameters and results whose shape only the kind knows.
//!
//! A [`Body`] is kept as CBOR. In a CBOR message it is a byte string that is passed on unopened; in a JSON message
//! it stands as the JSON value that it means. Both ways are known without knowing the kind: bytes become base64url
//! text (RFC 4648, section 5), and everything else has its counterpart.

mod json;

use std::borrow::Cow;
use std::fmt;

use bytes::Bytes;
use data_encoding::{BASE64_NOPAD, BASE64URL_NOPAD};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{DeserializeOwned, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::encoding::{DecodeError, EncodeError, Encoding};

/// An encoded value of a kind.
#[derive(Clone, PartialEq, Eq)]
pub struct Body(Bytes);

impl Body {
    /// The body that holds nothing (CBOR null).
    pub const fn null() -> Self {
        Self(Bytes::from_static(&[0xf6]))
    }

    /// Encodes a value of the kind's own type. Use [`Body::from_json`] for a JSON value.
    pub fn of<T: Serialize>(value: &T) -> Result<Self, EncodeError> {
        Encoding::Cbor.encode(value).map(|bytes| Self(bytes.into()))
    }

    /// Takes a JSON value.
    pub fn from_json(value: serde_json::Value) -> Result<Self, EncodeError> {
        Self::of(&cbor_of(value))
    }

    /// Takes bytes that are CBOR already. They are not looked at before somebody decodes them.
    pub fn from_cbor(bytes: Bytes) -> Self {
        Self(bytes)
    }

    /// The CBOR bytes.
    pub fn cbor(&self) -> &Bytes {
        &self.0
    }

    /// Decodes it as the kind's own type.
    pub fn decode<T: DeserializeOwned>(&self) -> Result<T, DecodeError> {
        Encoding::Cbor.decode(&self.0)
    }

    /// The JSON value that it means.
    pub fn to_json(&self) -> Result<serde_json::Value, DecodeError> {
        serde_json::to_value(json::Json(&self.0)).map_err(|error| DecodeError::Cbor(error.to_string()))
    }
}

impl Default for Body {
    fn default() -> Self {
        Self::null()
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.to_json() {
            Ok(value) => write!(f, "Body({value})"),
            Err(_) => write!(f, "Body({} invalid bytes)", self.0.len()),
        }
    }
}

/// The library writes serde's unit, which a JSON null is, as an empty array: hence this step.
fn cbor_of(value: serde_json::Value) -> cbor4ii::core::Value {
    use cbor4ii::core::Value as Cbor;
    use serde_json::Value as Json;
    match value {
        Json::Null => Cbor::Null,
        Json::Bool(flag) => Cbor::Bool(flag),
        Json::Number(number) => match (number.as_i128(), number.as_f64()) {
            (Some(integer), _) => Cbor::Integer(integer),
            (None, Some(real)) => Cbor::Float(real),
            (None, None) => Cbor::Null,
        },
        Json::String(text) => Cbor::Text(text),
        Json::Array(items) => Cbor::Array(items.into_iter().map(cbor_of).collect()),
        Json::Object(entries) => {
            Cbor::Map(entries.into_iter().map(|(key, value)| (Cbor::Text(key), cbor_of(value))).collect())
        }
    }
}

impl Serialize for Body {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            json::Json(&self.0).serialize(serializer)
        } else {
            serializer.serialize_bytes(&self.0)
        }
    }
}

impl<'de> Deserialize<'de> for Body {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            let value = serde_json::Value::deserialize(deserializer)?;
            Self::from_json(value).map_err(de::Error::custom)
        } else {
            deserializer.deserialize_byte_buf(BytesVisitor).map(|bytes| Self(bytes.into()))
        }
    }
}

impl JsonSchema for Body {
    fn schema_name() -> Cow<'static, str> {
        "Body".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "description": "a value whose shape the kind defines; in CBOR a byte string that holds it" })
    }
}

/// Bytes of a result: a byte string in CBOR, base64url text without padding in JSON. It reads either form in either
/// encoding, since a body may have passed through the other one, and base64 with the other alphabet (RFC 4648, section 4),
/// in which DNS and PEM write.
#[derive(Clone, PartialEq, Eq, Hash, Default)]
pub struct Octets(pub Vec<u8>);

impl fmt::Debug for Octets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Octets({})", BASE64URL_NOPAD.encode(&self.0))
    }
}

impl Serialize for Octets {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            serializer.serialize_str(&BASE64URL_NOPAD.encode(&self.0))
        } else {
            serializer.serialize_bytes(&self.0)
        }
    }
}

impl<'de> Deserialize<'de> for Octets {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(BytesVisitor).map(Self)
    }
}

impl JsonSchema for Octets {
    fn schema_name() -> Cow<'static, str> {
        "Octets".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "contentEncoding": "base64url",
            "description": "bytes: base64url without padding in JSON, a byte string in CBOR"
        })
    }
}

struct BytesVisitor;

impl Visitor<'_> for BytesVisitor {
    type Value = Vec<u8>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("bytes, or their base64url text")
    }

    fn visit_bytes<E: de::Error>(self, bytes: &[u8]) -> Result<Vec<u8>, E> {
        Ok(bytes.to_vec())
    }

    fn visit_byte_buf<E: de::Error>(self, bytes: Vec<u8>) -> Result<Vec<u8>, E> {
        Ok(bytes)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Vec<u8>, E> {
        let text = text.trim_end_matches('=');
        let decoded =
            if text.contains(['+', '/']) { BASE64_NOPAD } else { BASE64URL_NOPAD }.decode(text.as_bytes());
        decoded.map_err(E::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Envelope {
        body: Body,
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<u64>().prop_map(Value::from),
            (-1e300..1e300f64).prop_map(Value::from),
            "\\PC{0,12}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 32, 6, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
                prop::collection::btree_map("\\PC{0,6}", inner, 0..6)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn a_body_means_the_same_in_both_encodings(value in any_json()) {
            let envelope = Envelope { body: Body::from_json(value.clone()).unwrap() };
            for encoding in [Encoding::Json, Encoding::Cbor] {
                let bytes = encoding.encode(&envelope).unwrap();
                let back: Envelope = encoding.decode(&bytes).unwrap();
                prop_assert_eq!(back.body.to_json().unwrap(), value.clone());
            }
        }

        #[test]
        fn garbage_never_panics(bytes: Vec<u8>) {
            let _ = Body::from_cbor(bytes.into()).to_json();
        }
    }

    #[test]
    fn what_has_no_json_form_says_why_in_few_words() {
        let nested = |depth: usize, inside: &[u8]| [&vec![0x81; depth][..], inside].concat();
        let infinite = [0xfb, 0x7f, 0xf0, 0, 0, 0, 0, 0, 0];
        for (bytes, why) in [
            (nested(30, &infinite), "a number that is not finite"),
            (nested(100, &[0]), "nested too deeply"),
            (vec![0xa1, 0xf4, 0], "a key that is text or an integer"),
            (vec![0xc2, 0x49, 1, 0, 0, 0, 0, 0, 0, 0, 0], "an integer beyond 64 bits"),
            // It claims 2^62 items, and has one.
            (vec![0x9b, 0x40, 0, 0, 0, 0, 0, 0, 0, 0], ""),
        ] {
            let body = Body::from_cbor(bytes.into());
            let error = body.to_json().unwrap_err().to_string();
            assert!(error.contains(why) && error.len() < 200, "{error}");
            assert!(serde_json::to_string(&body).unwrap_err().to_string().contains(why));
        }
    }

    #[test]
    fn octets_read_either_form() {
        #[derive(Serialize, Deserialize)]
        struct Reply {
            raw: Octets,
        }
        let reply = Reply { raw: Octets(vec![0, 255, 62]) };
        let body = Body::of(&reply).unwrap();
        assert_eq!(body.to_json().unwrap(), json!({ "raw": "AP8-" }));
        let through_json = Body::from_json(body.to_json().unwrap()).unwrap();
        assert_eq!(through_json.decode::<Reply>().unwrap().raw, reply.raw);
        assert_eq!(body.decode::<Reply>().unwrap().raw, reply.raw);
        for text in ["AP8+", "AP8-"] {
            assert_eq!(
                Body::from_json(json!({ "raw": text })).unwrap().decode::<Reply>().unwrap().raw,
                reply.raw
            );
        }
        for text in ["AP8+-A", "AP8*", "A"] {
            assert!(Body::from_json(json!({ "raw": text })).unwrap().decode::<Reply>().is_err(), "{text}");
        }
        let padded = Body::from_json(json!({ "raw": "+w==" })).unwrap();
        assert_eq!(padded.decode::<Reply>().unwrap().raw, Octets(vec![0xfb]));
    }
}
