//! How structured selections are read and written: one value or a list of them, text among objects.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::value::MapAccessDeserializer;
use serde::de::{Error as _, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::ast::MAX_TERMS;
use super::error::SelectError;
use super::parse;
use super::structured::{Node, Nodes, Values, count};

impl Serialize for Nodes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0.as_slice() {
            [only] => only.serialize(serializer),
            several => several.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Nodes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NodesVisitor)
    }
}

/// Reads one object, a text, or a list of them.
pub(super) struct NodesVisitor;

impl<'de> Visitor<'de> for NodesVisitor {
    type Value = Nodes;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a selection: a text, an object, or a list of ids or objects")
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Nodes, E> {
        Node::of_text(text).map(|node| Nodes(vec![node])).map_err(E::custom)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Nodes, A::Error> {
        Node::deserialize(MapAccessDeserializer::new(map)).map(|node| Nodes(vec![node]))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Nodes, A::Error> {
        let mut nodes = Vec::new();
        while let Some(Nested(Nodes(node))) = items.next_element()? {
            nodes.extend(node);
            count(nodes.len()).map_err(A::Error::custom)?;
        }
        Ok(Nodes(nodes))
    }
}

/// An element of a list: a list in a list has no meaning.
struct Nested(Nodes);

impl<'de> Deserialize<'de> for Nested {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Element;
        impl<'de> Visitor<'de> for Element {
            type Value = Nested;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an id, or an object of a selection")
            }
            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Nested, E> {
                NodesVisitor.visit_str(text).map(Nested)
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Nested, A::Error> {
                NodesVisitor.visit_map(map).map(Nested)
            }
        }
        deserializer.deserialize_any(Element)
    }
}

impl Serialize for Values {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0.as_slice() {
            [only] => only.serialize(serializer),
            several => several.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Values {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OneOrMore;
        impl<'de> Visitor<'de> for OneOrMore {
            type Value = Values;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text, a number, or a list of them")
            }
            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Values, E> {
                Ok(Values(vec![text.to_owned()]))
            }
            fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<Values, E> {
                Ok(Values(vec![number.to_string()]))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Values, A::Error> {
                let mut values = Vec::new();
                while let Some(Values(mut value)) = items.next_element()? {
                    values.append(&mut value);
                    count(values.len()).map_err(A::Error::custom)?;
                }
                Ok(Values(values))
            }
        }
        deserializer.deserialize_any(OneOrMore)
    }
}

impl JsonSchema for Values {
    fn schema_name() -> Cow<'static, str> {
        "SelectionValues".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "a value, or several of which any may hold",
            "anyOf": [
                { "type": ["string", "integer"], "minimum": 0 },
                { "type": "array", "items": { "type": ["string", "integer"], "minimum": 0 }, "minItems": 1, "maxItems": MAX_TERMS }
            ]
        })
    }
}

impl JsonSchema for Nodes {
    fn schema_name() -> Cow<'static, str> {
        "SelectionObjects".into()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let node = generator.subschema_for::<Node>();
        json_schema!({
            "description": "a selection in its grammar, an object, or a list of ids and objects, which are united",
            "anyOf": [
                { "type": "string", "minLength": 1 },
                node,
                { "type": "array", "items": { "anyOf": [{ "type": "string", "minLength": 1 }, node] }, "minItems": 1, "maxItems": MAX_TERMS }
            ]
        })
    }
}

impl Node {
    /// What a text inside a structured selection means.
    fn of_text(text: &str) -> Result<Self, SelectError> {
        if text.parse::<crate::id::VpId>().is_ok() {
            return Ok(Self { id: Some(Values(vec![text.to_owned()])), ..Self::default() });
        }
        let mut nodes = Nodes::from(&parse::parse(text)?);
        Ok(match nodes.0.pop() {
            Some(only) if nodes.0.is_empty() => only,
            last => {
                nodes.0.extend(last);
                Self { or: Some(nodes), ..Self::default() }
            }
        })
    }
}
