//! How a message becomes bytes: JSON (RFC 8259) for everyone, CBOR (RFC 8949) between mmn's own parts.
//!
//! `Content-Type` says which; where it is absent the first byte does.

use std::cell::Cell;

use serde::de::{self, DeserializeOwned};
use serde::{Deserialize, Deserializer, Serialize};

/// The header that names the encoding of a NATS message.
pub const CONTENT_TYPE: &str = "Content-Type";

/// The largest buffer that is kept for the next value.
const MAX_SCRATCH: usize = 64 * 1024;

thread_local! {
    /// Where values are written before their size is known.
    static SCRATCH: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// An encoding of messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Encoding {
    /// RFC 8259.
    Json,
    /// RFC 8949.
    #[default]
    Cbor,
}

/// Why bytes are no message.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// The `Content-Type` is one that nobody speaks here.
    #[error("the content type {0:?} is neither application/json nor application/cbor")]
    ContentType(String),
    /// The bytes are no JSON, or not of this message.
    #[error("not a valid JSON message: {0}")]
    Json(#[from] serde_json::Error),
    /// The bytes are no CBOR, or not of this message.
    #[error("not a valid CBOR message: {0}")]
    Cbor(String),
}

/// Why a value has no bytes.
#[derive(Debug, thiserror::Error)]
#[error("the value can't be written: {0}")]
pub struct EncodeError(String);

impl Encoding {
    /// The media type.
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Cbor => "application/cbor",
        }
    }

    /// The encoding that a media type names; parameters are passed over.
    pub fn from_content_type(text: &str) -> Result<Self, DecodeError> {
        match text.split(';').next().unwrap_or_default().trim() {
            media if media.eq_ignore_ascii_case("application/json") => Ok(Self::Json),
            media if media.eq_ignore_ascii_case("application/cbor") => Ok(Self::Cbor),
            _ => Err(DecodeError::ContentType(text.chars().take(80).collect())),
        }
    }

    /// The encoding of `bytes`: as `content_type` says, else JSON where the first byte opens a JSON text.
    /// (No message of ours begins with the CBOR integers or strings that these bytes would be.)
    pub fn of(content_type: Option<&str>, bytes: &[u8]) -> Result<Self, DecodeError> {
        match (content_type, bytes.first()) {
            (Some(text), _) => Self::from_content_type(text),
            (None, Some(b'{' | b'[' | b' ' | b'\n' | b'"')) => Ok(Self::Json),
            (None, _) => Ok(Self::Cbor),
        }
    }

    /// Writes `value`. The bytes take no more memory than they are.
    pub fn encode<T: Serialize>(self, value: &T) -> Result<Vec<u8>, EncodeError> {
        // What is written inside of a value finds no scratch, and makes its own.
        let mut scratch = SCRATCH.take();
        scratch.clear();
        let written = match self {
            Self::Json => serde_json::to_writer(&mut scratch, value).map_err(|error| error.to_string()),
            Self::Cbor => cbor4ii::serde::to_vec(std::mem::take(&mut scratch), value)
                .map(|bytes| scratch = bytes)
                .map_err(|error| error.to_string()),
        };
        let bytes = written.map(|()| scratch.as_slice().to_vec()).map_err(EncodeError);
        if scratch.capacity() <= MAX_SCRATCH {
            SCRATCH.set(scratch);
        }
        bytes
    }

    /// Writes `value` behind what `buffer` holds; where that fails, the buffer is left as it was.
    pub fn append<T: Serialize>(self, value: &T, buffer: &mut Vec<u8>) -> Result<(), EncodeError> {
        let before = buffer.len();
        let written = match self {
            Self::Json => serde_json::to_writer(&mut *buffer, value).map_err(|error| error.to_string()),
            Self::Cbor => {
                let writer = cbor4ii::core::utils::BufWriter::new(std::mem::take(buffer));
                let mut writer = cbor4ii::serde::Serializer::new(writer);
                let written = value.serialize(&mut writer).map_err(|error| error.to_string());
                *buffer = writer.into_inner().into_inner();
                written
            }
        };
        if written.is_err() {
            buffer.truncate(before);
        }
        written.map_err(EncodeError)
    }

    /// Reads a value. Fields that it does not know are passed over.
    pub fn decode<T: DeserializeOwned>(self, bytes: &[u8]) -> Result<T, DecodeError> {
        match self {
            Self::Json => Ok(serde_json::from_slice(bytes)?),
            Self::Cbor => cbor4ii::serde::from_slice(bytes).map_err(|e| DecodeError::Cbor(e.to_string())),
        }
    }
}

/// Reads a real number that JSON can hold too, or nothing: CBOR has infinities and NaN, which would be null there.
pub(crate) fn finite_if_any<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<f64>, D::Error> {
    let number = Option::<f64>::deserialize(deserializer)?;
    if number.is_none_or(f64::is_finite) {
        Ok(number)
    } else {
        Err(de::Error::custom("the number is not finite"))
    }
}

/// Reads a message of either encoding.
pub fn decode<T: DeserializeOwned>(content_type: Option<&str>, bytes: &[u8]) -> Result<T, DecodeError> {
    Encoding::of(content_type, bytes)?.decode(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::Number;
    use crate::vp::Location;

    #[test]
    fn a_number_that_json_can_not_hold_is_refused() {
        for number in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            let bytes = Encoding::Cbor.encode(&number).unwrap();
            assert!(Encoding::Cbor.decode::<Number>(&bytes).is_err());
            let location = Location { latitude: Some(number), ..Location::default() };
            let bytes = Encoding::Cbor.encode(&location).unwrap();
            assert!(Encoding::Cbor.decode::<Location>(&bytes).is_err());
        }
        assert_eq!(Encoding::Json.decode::<Number>(b"1.5").unwrap(), Number::Real(1.5));
        assert_eq!(Encoding::Json.decode::<Number>(b"3").unwrap(), Number::Integer(3));
    }
}
