//! CBOR as the JSON that it means, written straight from the bytes: no value is built in between.
//!
//! It goes to any serializer. What has no counterpart is an error: a number beyond 64 bits or not finite, a key that is
//! neither text nor integer, a tag, and what is nested deeper than [`MAX_DEPTH`].

use std::cell::{Cell, RefCell};
use std::fmt;

use cbor4ii::core::utils::SliceReader;
use data_encoding::BASE64URL_NOPAD;
use serde::de::{DeserializeSeed, Error as _, MapAccess, SeqAccess, Visitor};
use serde::ser::{Error as _, SerializeMap, SerializeSeq};
use serde::{Deserializer, Serialize, Serializer, de};

/// The deepest nesting.
const MAX_DEPTH: usize = 64;

/// One CBOR value.
pub(super) struct Json<'a>(pub(super) &'a [u8]);

impl Serialize for Json<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (mut reader, fault) =
            (cbor4ii::serde::Deserializer::new(SliceReader::new(self.0)), Fault::default());
        Passing { to: serializer, depth: MAX_DEPTH, fault: &fault }
            .deserialize(&mut reader)
            .map_err(|error| S::Error::custom(fault.first(&error)))
    }
}

/// The first error. On its way up it passes from the reader to the writer and back at each level: it goes beside them,
/// as the text of an error in an error may double each time.
#[derive(Default)]
struct Fault(RefCell<Option<String>>);

impl Fault {
    fn note(&self, error: &dyn fmt::Display) -> &'static str {
        self.0.borrow_mut().get_or_insert_with(|| error.to_string());
        "it has no JSON form"
    }

    fn first(self, error: &dyn fmt::Display) -> String {
        self.0.into_inner().unwrap_or_else(|| error.to_string())
    }
}

/// A value on its way into a serializer.
struct Passing<'a, S> {
    to: S,
    depth: usize,
    fault: &'a Fault,
}

impl<'de, S: Serializer> DeserializeSeed<'de> for Passing<'_, S> {
    type Value = S::Ok;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<S::Ok, D::Error> {
        if self.depth == 0 {
            return Err(D::Error::custom("nested too deeply"));
        }
        deserializer.deserialize_any(self)
    }
}

impl<'de, S: Serializer> Visitor<'de> for Passing<'_, S> {
    type Value = S::Ok;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value that has a JSON counterpart")
    }

    fn visit_none<E: de::Error>(self) -> Result<S::Ok, E> {
        self.to.serialize_unit().map_err(E::custom)
    }

    fn visit_bool<E: de::Error>(self, flag: bool) -> Result<S::Ok, E> {
        self.to.serialize_bool(flag).map_err(E::custom)
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<S::Ok, E> {
        self.to.serialize_u64(number).map_err(E::custom)
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<S::Ok, E> {
        self.to.serialize_i64(number).map_err(E::custom)
    }

    fn visit_u128<E: de::Error>(self, number: u128) -> Result<S::Ok, E> {
        match number.try_into() {
            Ok(number) => self.visit_u64(number),
            Err(_) => Err(E::custom("an integer beyond 64 bits")),
        }
    }

    fn visit_i128<E: de::Error>(self, number: i128) -> Result<S::Ok, E> {
        match number.try_into() {
            Ok(number) => self.visit_i64(number),
            Err(_) => Err(E::custom("an integer beyond 64 bits")),
        }
    }

    fn visit_f64<E: de::Error>(self, number: f64) -> Result<S::Ok, E> {
        if number.is_finite() {
            self.to.serialize_f64(number).map_err(E::custom)
        } else {
            Err(E::custom("a number that is not finite"))
        }
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<S::Ok, E> {
        self.to.serialize_str(text).map_err(E::custom)
    }

    fn visit_bytes<E: de::Error>(self, bytes: &[u8]) -> Result<S::Ok, E> {
        self.to.collect_str(&BASE64URL_NOPAD.encode_display(bytes)).map_err(E::custom)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<S::Ok, A::Error> {
        // The length that the bytes claim is not to be believed.
        let mut to = self.to.serialize_seq(None).map_err(A::Error::custom)?;
        while items
            .next_element_seed(Item { to: &mut to, depth: self.depth - 1, fault: self.fault })?
            .is_some()
        {}
        to.end().map_err(A::Error::custom)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<S::Ok, A::Error> {
        let mut to = self.to.serialize_map(None).map_err(A::Error::custom)?;
        while entries.next_key_seed(Key { to: &mut to })?.is_some() {
            entries.next_value_seed(Entry { to: &mut to, depth: self.depth - 1, fault: self.fault })?;
        }
        to.end().map_err(A::Error::custom)
    }
}

/// An item of a sequence.
struct Item<'a, S> {
    to: &'a mut S,
    depth: usize,
    fault: &'a Fault,
}

impl<'de, S: SerializeSeq> DeserializeSeed<'de> for Item<'_, S> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        let once = Once { from: Cell::new(Some(deserializer)), depth: self.depth, fault: self.fault };
        self.to.serialize_element(&once).map_err(|error| D::Error::custom(self.fault.note(&error)))
    }
}

/// The value of a map's entry.
struct Entry<'a, S> {
    to: &'a mut S,
    depth: usize,
    fault: &'a Fault,
}

impl<'de, S: SerializeMap> DeserializeSeed<'de> for Entry<'_, S> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        let once = Once { from: Cell::new(Some(deserializer)), depth: self.depth, fault: self.fault };
        self.to.serialize_value(&once).map_err(|error| D::Error::custom(self.fault.note(&error)))
    }
}

/// What can be read once, as a value that can be written: it is written once.
struct Once<'a, D> {
    from: Cell<Option<D>>,
    depth: usize,
    fault: &'a Fault,
}

impl<'de, D: Deserializer<'de>> Serialize for Once<'_, D> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let from = self.from.take().ok_or_else(|| S::Error::custom("it was written before"))?;
        let value = Passing { to: serializer, depth: self.depth, fault: self.fault };
        value.deserialize(from).map_err(|error| S::Error::custom(self.fault.note(&error)))
    }
}

/// The key of a map's entry.
struct Key<'a, S> {
    to: &'a mut S,
}

impl<'de, S: SerializeMap> DeserializeSeed<'de> for Key<'_, S> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<S: SerializeMap> Visitor<'_> for Key<'_, S> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key that is text or an integer")
    }

    fn visit_str<E: de::Error>(self, key: &str) -> Result<(), E> {
        self.to.serialize_key(key).map_err(E::custom)
    }

    fn visit_u64<E: de::Error>(self, key: u64) -> Result<(), E> {
        self.to.serialize_key(&key.to_string()).map_err(E::custom)
    }

    fn visit_i64<E: de::Error>(self, key: i64) -> Result<(), E> {
        self.to.serialize_key(&key.to_string()).map_err(E::custom)
    }
}
