//! The numbers of a record, in a list: they are few, and a tree of them costs more than all else that a record is.

use std::borrow::Cow;
use std::fmt;
use std::ops::Index;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::Number;

/// A number's name.
type Name = Cow<'static, str>;

/// The named numbers of one record, such as `sent`, `received`, `rtt_min_ns`: all that rollups, tables and alerts
/// read. A number that was not measured is absent. Names carry their unit, and are in their alphabet's order.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Summary(Vec<(Name, Number)>);

impl Summary {
    /// No numbers.
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// The number of this name.
    pub fn get(&self, name: &str) -> Option<&Number> {
        let at = self.0.binary_search_by(|(other, _)| other.as_ref().cmp(name)).ok()?;
        self.0.get(at).map(|(_, number)| number)
    }

    /// Whether there is a number of this name.
    pub fn contains_key(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = (&Name, &Number)> {
        self.0.iter().map(|(name, number)| (name, number))
    }

    /// All names.
    pub fn keys(&self) -> impl Iterator<Item = &Name> {
        self.0.iter().map(|(name, _)| name)
    }

    /// How many they are.
    pub const fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Drops all of them.
    pub fn clear(&mut self) {
        self.0.clear();
    }
}

/// Of two numbers of one name the latter counts.
impl FromIterator<(Name, Number)> for Summary {
    fn from_iter<I: IntoIterator<Item = (Name, Number)>>(numbers: I) -> Self {
        let mut numbers: Vec<_> = numbers.into_iter().collect();
        if !numbers.is_sorted_by(|(one, _), (other, _)| one < other) {
            // Stable: of equal names the latter stays behind.
            numbers.sort_by(|(one, _), (other, _)| one.cmp(other));
            numbers.dedup_by(|later, kept| {
                let same = later.0 == kept.0;
                if same {
                    kept.1 = later.1;
                }
                same
            });
        }
        Self(numbers)
    }
}

impl<const N: usize> From<[(Name, Number); N]> for Summary {
    fn from(numbers: [(Name, Number); N]) -> Self {
        numbers.into_iter().collect()
    }
}

impl Index<&str> for Summary {
    type Output = Number;

    #[expect(clippy::panic, reason = "as of every collection")]
    fn index(&self, name: &str) -> &Number {
        self.get(name).unwrap_or_else(|| panic!("no number {name}"))
    }
}

impl Serialize for Summary {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.iter())
    }
}

impl<'de> Deserialize<'de> for Summary {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Numbers;
        impl<'de> Visitor<'de> for Numbers {
            type Value = Summary;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("numbers by their names")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Summary, A::Error> {
                // What a message claims of its length is believed no further than this.
                let mut numbers = Vec::with_capacity(map.size_hint().unwrap_or(0).min(16));
                while let Some(entry) = map.next_entry::<Name, Number>()? {
                    numbers.push(entry);
                }
                Ok(numbers.into_iter().collect())
            }
        }
        deserializer.deserialize_map(Numbers)
    }
}

impl JsonSchema for Summary {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        "Summary".into()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        <std::collections::BTreeMap<String, Number>>::json_schema(generator)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::encoding::Encoding;

    proptest! {
        /// As a tree would have it, in memory and on the wire.
        #[test]
        fn is_a_map(numbers in prop::collection::vec(("[a-d]{1,2}", any::<i32>()), 0..12)) {
            let entries = || numbers.iter().map(|(name, n)| (Name::Owned(name.clone()), Number::Integer((*n).into())));
            let (tree, list) = (entries().collect::<BTreeMap<_, _>>(), entries().collect::<Summary>());
            prop_assert!(list.iter().eq(tree.iter()));
            for (name, _) in &numbers {
                prop_assert_eq!(list.get(name), tree.get(name.as_str()));
            }
            prop_assert_eq!(list.get("e"), None);
            for encoding in [Encoding::Json, Encoding::Cbor] {
                let bytes = encoding.encode(&list).unwrap();
                prop_assert_eq!(&bytes, &encoding.encode(&tree).unwrap());
                prop_assert_eq!(&encoding.decode::<Summary>(&bytes).unwrap(), &list);
            }
        }
    }

    #[test]
    fn of_two_the_latter_counts() {
        let read: Summary = Encoding::Json.decode(br#"{"b": 1, "a": 2, "b": 3}"#).unwrap();
        assert_eq!(Encoding::Json.encode(&read).unwrap(), br#"{"a":2,"b":3}"#);
        assert!(Encoding::Json.decode::<Summary>(br#"{"b": "x"}"#).is_err());
        assert!(
            Encoding::Cbor
                .decode::<Summary>(&[0xbb, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff])
                .is_err()
        );
    }
}
