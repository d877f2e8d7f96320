//! The examples of the protocol's page are messages of the contract.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "what fails here fails the test, with its reason"
)]

use mmn_schema::announce::{Announcement, Heartbeat};
use mmn_schema::control::{Control, Controlled};
use mmn_schema::dispatch::{Receipt, ResultBatch, Synced, TaskBatch, ToInstance};
use mmn_schema::encoding::Encoding;
use mmn_schema::outcome::code;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

const PAGE: &str = include_str!("../../../docs/reference/module-protocol.md");

/// Reads an example, and sees to it that nothing in it is passed over as unknown.
fn read<T: DeserializeOwned + Serialize>(example: &str) {
    let message: T = Encoding::Json.decode(example.as_bytes()).unwrap();
    let written = serde_json::to_value(&message).unwrap();
    let example: Value = serde_json::from_str(example).unwrap();
    within(&example, &written);
}

fn within(example: &Value, written: &Value) {
    match (example, written) {
        (Value::Object(example), Value::Object(written)) => {
            for (name, value) in example {
                within(value, written.get(name).unwrap_or_else(|| panic!("{name} is not of the contract")));
            }
        }
        (Value::Array(example), Value::Array(written)) => {
            assert_eq!(example.len(), written.len());
            example.iter().zip(written).for_each(|(example, written)| within(example, written));
        }
        _ => assert_eq!(example, written),
    }
}

#[test]
fn its_examples_are_messages() {
    let mut examples = 0;
    for part in PAGE.split("<!-- message: ").skip(1) {
        let (name, rest) = part.split_once(" -->").unwrap();
        let example = rest.split_once("```json\n").unwrap().1.split_once("```").unwrap().0;
        match name {
            "Announcement" => read::<Announcement>(example),
            "Heartbeat" => read::<Heartbeat>(example),
            "TaskBatch" => read::<TaskBatch>(example),
            "Receipt" => read::<Receipt>(example),
            "ResultBatch" => read::<ResultBatch>(example),
            "Control" => read::<Control>(example),
            "Controlled" => read::<Controlled>(example),
            "ToInstance" => read::<ToInstance>(example),
            "Synced" => read::<Synced>(example),
            other => panic!("{other} is no message"),
        }
        examples += 1;
    }
    assert_eq!(examples, PAGE.matches("```json").count());
}

#[test]
fn its_rules_are_numbered_and_its_codes_complete() {
    for number in 1..=21 {
        assert_eq!(PAGE.matches(&format!("**R{number}**")).count(), 1, "R{number}");
    }
    for code in code::ALL {
        assert!(PAGE.contains(&format!("`{code}`")), "{code}");
    }
}
