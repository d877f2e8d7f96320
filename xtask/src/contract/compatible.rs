//! Whether a schema may follow another within a major version.
//!
//! The rule is structural, and simple on purpose. Optional fields and new variants may be added; nothing may be taken
//! away, become required, cease to be required, or change its type.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

/// What in `new` breaks those who speak `old`, with the place.
pub(super) fn breaks(old: &Value, new: &Value) -> Vec<String> {
    let mut comparison = Comparison { old, new, seen: BTreeSet::new(), wrong: Vec::new() };
    comparison.compare(old, new, "");
    comparison.wrong
}

struct Comparison<'s> {
    old: &'s Value,
    new: &'s Value,
    /// Pairs of definitions that were compared.
    seen: BTreeSet<(String, String)>,
    wrong: Vec<String>,
}

impl<'s> Comparison<'s> {
    fn compare(&mut self, old: &'s Value, new: &'s Value, place: &str) {
        let references = (reference(old), reference(new));
        if let (Some(old), Some(new)) = references
            && !self.seen.insert((old.to_owned(), new.to_owned()))
        {
            return;
        }
        let old = references.0.and_then(|name| self.old.pointer(name)).unwrap_or(old);
        let new = references.1.and_then(|name| self.new.pointer(name)).unwrap_or(new);

        for keyword in ["type", "format", "pattern", "const", "contentEncoding"] {
            if texts(old.get(keyword)) != texts(new.get(keyword)) {
                self.note(place, &format!("has another {keyword}"));
            }
        }
        let (had, has) = (texts(old.get("required")), texts(new.get("required")));
        for name in has.difference(&had) {
            self.note(&format!("{place}/{}", name.trim_matches('"')), "is required now");
        }
        for name in had.difference(&has) {
            self.note(&format!("{place}/{}", name.trim_matches('"')), "is not required any more");
        }
        let closed = |schema: &Value| schema.get("additionalProperties") == Some(&Value::Bool(false));
        if closed(new) && !closed(old) {
            self.note(place, "refuses unknown fields now");
        }
        for value in texts(old.get("enum")).difference(&texts(new.get("enum"))) {
            self.note(place, &format!("can't be {value} any more"));
        }
        self.members(fields(old, "properties"), &fields(new, "properties"), place);
        for keyword in ["oneOf", "anyOf", "prefixItems"] {
            self.members(variants(old, keyword), &variants(new, keyword), place);
        }
        for keyword in ["items", "additionalProperties"] {
            if let (Some(old), Some(new)) = (old.get(keyword), new.get(keyword)) {
                self.compare(old, new, &format!("{place}/*"));
            }
        }
    }

    fn members(&mut self, old: BTreeMap<String, &'s Value>, new: &BTreeMap<String, &'s Value>, place: &str) {
        for (name, old) in old {
            let place = format!("{place}/{name}");
            match new.get(&name) {
                Some(new) => self.compare(old, new, &place),
                None => self.note(&place, "is gone"),
            }
        }
    }

    fn note(&mut self, place: &str, what: &str) {
        let place = if place.is_empty() { "the whole" } else { place };
        self.wrong.push(format!("{place} {what}"));
    }
}

/// The pointer of a schema that only refers to another.
fn reference(schema: &Value) -> Option<&str> {
    schema.get("$ref").and_then(Value::as_str).and_then(|text| text.strip_prefix('#'))
}

/// A keyword's value, or values, in an order of its own.
fn texts(keyword: Option<&Value>) -> BTreeSet<String> {
    match keyword {
        None => BTreeSet::new(),
        Some(Value::Array(values)) => values.iter().map(Value::to_string).collect(),
        Some(value) => BTreeSet::from([value.to_string()]),
    }
}

fn fields<'s>(schema: &'s Value, keyword: &str) -> BTreeMap<String, &'s Value> {
    let fields = schema.get(keyword).and_then(Value::as_object);
    fields.into_iter().flatten().map(|(name, field)| (name.clone(), field)).collect()
}

/// The alternatives of a schema, by what tells them apart.
fn variants<'s>(schema: &'s Value, keyword: &str) -> BTreeMap<String, &'s Value> {
    let alternatives = schema.get(keyword).and_then(Value::as_array).into_iter().flatten();
    alternatives
        .enumerate()
        .map(|(position, variant)| {
            let tag = match (variant.get("const"), variant.get("required"), reference(variant)) {
                (Some(value), _, _) => value.to_string(),
                (_, Some(required), _) => required.to_string(),
                (_, _, Some(name)) => name.to_owned(),
                _ => variant.get("type").map_or_else(|| position.to_string(), Value::to_string),
            };
            (tag, variant)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn additions_are_compatible() {
        let old = json!({
            "type": "object", "properties": { "a": { "type": "string" } }, "required": ["a"],
            "oneOf": [{ "const": "x" }],
        });
        let new = json!({
            "type": "object",
            "properties": { "b": { "type": "integer" }, "a": { "type": "string", "description": "new words" } },
            "required": ["a"],
            "oneOf": [{ "const": "x" }, { "const": "y" }],
        });
        assert_eq!(breaks(&old, &new), [""; 0]);
        assert_eq!(breaks(&new, &old), ["/b is gone", "/\"y\" is gone"]);
    }

    #[test]
    fn what_breaks_is_named_with_its_place() {
        let old = json!({
            "type": "object",
            "properties": { "a": { "$ref": "#/$defs/A" }, "list": { "type": "array", "items": { "type": "string" } } },
            "required": ["a"],
            "$defs": { "A": { "type": "object", "properties": { "n": { "type": "integer" }, "a": { "$ref": "#/$defs/A" } } } },
        });
        let mut new = old.clone();
        new["$defs"]["A"]["properties"]["n"]["type"] = json!("number");
        new["$defs"]["A"]["required"] = json!(["n"]);
        new["properties"]["list"]["items"]["type"] = json!(["string", "null"]);
        new["required"] = json!([]);
        assert_eq!(
            breaks(&old, &new),
            [
                "/a is not required any more",
                "/a/n is required now",
                "/a/n has another type",
                "/list/* has another type",
            ]
        );
    }
}
