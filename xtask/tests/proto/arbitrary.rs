//! Any value that a schema allows, as mmn would write it: what is absent is left out, and so is an empty list where it
//! may be.

use data_encoding::BASE64URL_NOPAD;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::form::named;

/// Deeper than this there is only what must be.
pub(crate) const DEPTH: usize = 12;

pub(crate) fn any_of(root: &Value, schema: &Value, depth: usize) -> BoxedStrategy<Value> {
    if let Some((_, schema)) = named(root, schema) {
        return any_of(root, schema, depth);
    }
    if let Some(word) = schema.get("const") {
        return Just(word.clone()).boxed();
    }
    if let Some([present, _]) = schema.get("anyOf").and_then(Value::as_array).map(Vec::as_slice) {
        return any_of(root, present, depth);
    }
    if let Some(variants) = schema.get("oneOf").and_then(Value::as_array) {
        let variants: Vec<_> = variants.iter().map(|variant| any_of(root, variant, depth)).collect();
        return proptest::strategy::Union::new(variants).boxed();
    }
    let of = schema.get("type").unwrap();
    match of.as_str().or_else(|| of.get(0)?.as_str()).unwrap() {
        "boolean" => any::<bool>().prop_map(Value::from).boxed(),
        "number" => prop_oneof![Just(0.0), any::<f64>().prop_filter("JSON has no others", |n| n.is_finite())]
            .prop_map(Value::from)
            .boxed(),
        "integer" => integer(schema.get("format").and_then(Value::as_str).unwrap()),
        "string" if schema.get("contentEncoding").is_some() => {
            vec(any::<u8>(), 0..9).prop_map(|bytes| json!(BASE64URL_NOPAD.encode(&bytes))).boxed()
        }
        "string" => any::<String>().prop_map(Value::from).boxed(),
        "array" => list(root, schema, depth, 0),
        "object" => object(root, schema, depth),
        other => panic!("no values of the type {other}"),
    }
}

fn integer(format: &str) -> BoxedStrategy<Value> {
    match format {
        "uint8" => any::<u8>().prop_map(Value::from).boxed(),
        "uint16" => any::<u16>().prop_map(Value::from).boxed(),
        "uint32" => any::<u32>().prop_map(Value::from).boxed(),
        "uint" | "uint64" => any::<u64>().prop_map(Value::from).boxed(),
        "int32" => any::<i32>().prop_map(Value::from).boxed(),
        "int" | "int64" => any::<i64>().prop_map(Value::from).boxed(),
        other => panic!("no integers of the format {other}"),
    }
}

fn list(root: &Value, schema: &Value, depth: usize, least: usize) -> BoxedStrategy<Value> {
    if depth == 0 {
        return Just(json!([])).boxed();
    }
    let items = any_of(root, schema.get("items").unwrap(), depth - 1);
    vec(items, least..3).prop_map(Value::from).boxed()
}

fn object(root: &Value, schema: &Value, depth: usize) -> BoxedStrategy<Value> {
    let required = schema.get("required").and_then(Value::as_array);
    let properties = schema.get("properties").and_then(Value::as_object).unwrap();
    let mut fields = Vec::new();
    for (name, schema) in properties {
        let is_list = schema.get("type") == Some(&json!("array"));
        let value = if required.is_some_and(|all| all.iter().any(|one| one == name)) {
            any_of(root, schema, depth.saturating_sub(1)).prop_map(Some).boxed()
        } else if depth == 0 {
            continue;
        } else if is_list {
            option::of(list(root, schema, depth, 1)).boxed()
        } else {
            option::of(any_of(root, schema, depth - 1)).boxed()
        };
        let name = name.clone();
        fields.push(value.prop_map(move |value| Some((name.clone(), value?))));
    }
    fields.prop_map(|fields| Value::Object(fields.into_iter().flatten().collect())).boxed()
}
