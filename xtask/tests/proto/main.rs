//! The Protobuf definitions hold what the kinds write: JSON to a message, to bytes, and back is the same JSON.
//!
//! The definitions are compiled by other hands. Bodies are those of `samples.json`, which the kinds' own types read, and
//! whatever else the schemas allow.

#![expect(clippy::indexing_slicing, clippy::unwrap_used, reason = "a test that can not go on has failed")]

mod arbitrary;
mod form;

use std::fs;
use std::path::{Path, PathBuf};

use form::{Form, Way};
use mmn_modules::{dns, http, ping};
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use prost_reflect::prost::Message;
use prost_reflect::{DescriptorPool, DynamicMessage, SerializeOptions};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// The bodies: in the schema of a kind, and in its definitions.
const PARTS: [(&str, &str); 2] = [("params", "Params"), ("result", "Body")];

fn contract(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../contract/v1").join(path)
}

fn json(path: &Path) -> Value {
    serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

/// A kind as the contract has it.
struct Kind {
    name: &'static str,
    schema: Value,
    numbers: Value,
    pool: DescriptorPool,
}

impl Kind {
    fn all() -> Vec<Self> {
        let mut numbers = json(&contract("proto/numbers.json"));
        let kinds = mmn_modules::CATALOGUE.iter().map(|kind| Self {
            name: kind.name,
            schema: json(&contract(&format!("kinds/{}.json", kind.name)))["kind"].take(),
            numbers: numbers[kind.name].take(),
            pool: {
                let files = protox::compile([format!("{}.proto", kind.name)], [contract("proto")]).unwrap();
                DescriptorPool::from_file_descriptor_set(files).unwrap()
            },
        });
        kinds.collect()
    }

    /// What a body is after it was a message.
    fn round_trip(&self, (part, name): (&str, &str), body: &Value) -> Value {
        let root = &self.schema[part];
        let form = Form { root, numbers: &self.numbers };
        let message = self.pool.get_message_by_name(&format!("mmn.v1.{}.{name}", self.name)).unwrap();
        let written = form.convert(root, name, body, Way::To);
        let written = DynamicMessage::deserialize(message.clone(), written).unwrap();
        let read = DynamicMessage::decode(message, written.encode_to_vec().as_slice()).unwrap();
        let options = SerializeOptions::new()
            .stringify_64_bit_integers(false)
            .use_enum_numbers(true)
            .use_proto_field_name(true)
            .skip_default_fields(false);
        let read = read.serialize_with_options(serde_json::value::Serializer, &options).unwrap();
        form.convert(root, name, &read, Way::From)
    }
}

/// A body as its own type writes it.
fn typed<T: DeserializeOwned + Serialize>(body: &Value) -> Value {
    serde_json::to_value(serde_json::from_value::<T>(body.clone()).unwrap()).unwrap()
}

#[test]
fn bodies_of_kinds_survive() {
    let samples: Value = serde_json::from_str(include_str!("samples.json")).unwrap();
    for kind in Kind::all() {
        let Some(bodies) = samples[kind.name].as_array() else { continue };
        for body in bodies {
            let own = match kind.name {
                "ping" => typed::<ping::Body>(body),
                "dns" => typed::<dns::Body>(body),
                "http" => typed::<http::Body>(body),
                other => panic!("samples.json: this test does not know the bodies of {other}"),
            };
            assert_eq!(own, *body, "samples.json: {} writes it so", kind.name);
            assert_eq!(kind.round_trip(("result", "Body"), body), *body);
        }
    }
}

#[test]
fn whatever_a_schema_allows_survives() {
    for kind in Kind::all() {
        for part in PARTS {
            let schema = &kind.schema[part.0];
            let mut runner = TestRunner::new(ProptestConfig {
                cases: 64,
                failure_persistence: None,
                ..ProptestConfig::default()
            });
            let bodies = arbitrary::any_of(schema, schema, arbitrary::DEPTH);
            let outcome = runner.run(&bodies, |body| {
                prop_assert_eq!(kind.round_trip(part, &body), body);
                Ok(())
            });
            assert!(outcome.is_ok(), "{} {}: {}", kind.name, part.1, outcome.unwrap_err());
        }
    }
}

#[test]
fn every_field_and_word_has_its_number() {
    for kind in Kind::all() {
        for message in kind.pool.all_messages() {
            for field in message.fields() {
                let number = &kind.numbers[message.name()][field.name()];
                assert_eq!(*number, field.number(), "{} {}", kind.name, field.full_name());
            }
        }
        for words in kind.pool.all_enums() {
            let known = kind.numbers[words.name()].as_object().unwrap();
            for value in words.values().filter(|value| value.number() != 0) {
                assert!(known.values().any(|number| *number == value.number()), "{}", value.full_name());
            }
        }
    }
}
