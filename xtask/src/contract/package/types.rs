//! Schemas of a kind as Python's types.

use anyhow::{Context, Result, bail};
use serde_json::{Map, Value};

use crate::contract::{camel, description, kind_types, required};

/// Words that can't be the name of an attribute or a parameter.
const KEYWORDS: &[&str] = &[
    "and", "as", "assert", "async", "await", "break", "class", "continue", "def", "del", "elif", "else",
    "except", "finally", "for", "from", "global", "if", "import", "in", "is", "lambda", "nonlocal", "not",
    "or", "pass", "raise", "return", "try", "while", "with", "yield",
];

/// A kind, as far as Python's types are made of it.
pub(super) struct Kind<'k> {
    pub(super) name: &'k str,
    /// What its classes' names begin with.
    pub(super) prefix: String,
    pub(super) description: String,
    /// The names of the types of its parameters, and of its results.
    pub(super) params_type: &'k str,
    pub(super) result_type: &'k str,
    pub(super) summary: &'k [Value],
    /// Whether what it measures is one target.
    pub(super) of_target: bool,
    types: Map<String, Value>,
}

/// A type, and how a value of the contract becomes one of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Typed {
    pub(super) text: String,
    /// What is called with the value, or with each of a list.
    pub(super) convert: Option<String>,
    pub(super) each: bool,
}

/// A field of an object.
#[derive(Debug, Clone)]
pub(super) struct Member {
    /// Its name in the contract, and in Python.
    pub(super) name: String,
    pub(super) attribute: String,
    pub(super) typed: Typed,
    /// What it is when the contract leaves it out, where that is not `None`.
    pub(super) default: Option<String>,
    pub(super) description: String,
}

impl Typed {
    fn plain(text: impl Into<String>) -> Self {
        Self { text: text.into(), convert: None, each: false }
    }

    pub(super) fn is_optional(&self) -> bool {
        self.text == "Any" || self.text.ends_with("| None")
    }

    fn or_none(mut self) -> Self {
        if !self.is_optional() {
            self.text.push_str(" | None");
        }
        self
    }
}

impl<'k> Kind<'k> {
    pub(super) fn of(info: &'k Value) -> Result<Self> {
        let text = |pointer: &str| {
            info.pointer(pointer).and_then(Value::as_str).with_context(|| format!("a kind without {pointer}"))
        };
        let name = text("/name")?;
        Ok(Self {
            name,
            prefix: camel(name),
            description: description(info),
            params_type: text("/params/title")?,
            result_type: text("/result/title")?,
            of_target: info["input"] == "target",
            summary: info["summary"].as_array().map_or(&[], Vec::as_slice),
            types: kind_types(info)?,
        })
    }

    /// The schema of a type.
    pub(super) fn schema(&self, name: &str) -> &Value {
        self.types.get(name).unwrap_or(&Value::Null)
    }

    /// Whether a type is an object with fields, which becomes a class.
    pub(super) fn is_class(&self, name: &str) -> bool {
        self.schema(name).get("properties").is_some()
    }

    /// What a type is made of, before itself.
    pub(super) fn made_of(&self, name: &str) -> Vec<String> {
        let (mut begun, mut all) = (Vec::new(), Vec::new());
        self.visit(name, &mut begun, &mut all);
        all
    }

    fn visit(&self, name: &str, begun: &mut Vec<String>, all: &mut Vec<String>) {
        if begun.iter().any(|other| other == name) {
            return;
        }
        begun.push(name.to_owned());
        let mut named = Vec::new();
        references(self.schema(name), &mut named);
        for other in named {
            self.visit(&other, begun, all);
        }
        all.push(name.to_owned());
    }

    /// The type of a schema.
    pub(super) fn typed(&self, schema: &Value) -> Result<Typed> {
        let Some(object) = schema.as_object() else { return Ok(Typed::plain("Any")) };
        if let Some(reference) = object.get("$ref").and_then(Value::as_str) {
            return self.named(reference.rsplit('/').next().unwrap_or_default());
        }
        if let Some(words) = words(schema) {
            return Ok(Typed::plain(format!("Literal[{}]", words.join(", "))));
        }
        let variants = ["oneOf", "anyOf"].iter().find_map(|keyword| object.get(*keyword)?.as_array());
        if let Some(variants) = variants {
            let is_null = |variant: &&Value| variant.get("type").and_then(Value::as_str) == Some("null");
            return match variants.iter().filter(|variant| !is_null(variant)).collect::<Vec<_>>().as_slice() {
                [one] => Ok(self.typed(one)?.or_none()),
                // What differs from case to case is left as the contract has it.
                _ => Ok(Typed::plain("Any")),
            };
        }
        let types = match object.get("type") {
            None => return Ok(Typed::plain("Any")),
            Some(Value::Array(types)) => types.clone(),
            Some(one) => vec![one.clone()],
        };
        let mut all = Vec::new();
        let mut made = Typed::plain("");
        for of in types {
            all.push(match of.as_str().unwrap_or_default() {
                "string" if object.contains_key("contentEncoding") => {
                    made.convert = Some("octets".to_owned());
                    "Octets".to_owned()
                }
                "string" => "str".to_owned(),
                "integer" => "int".to_owned(),
                "number" => "float".to_owned(),
                "boolean" => "bool".to_owned(),
                "null" => "None".to_owned(),
                "array" => self.array(object, &mut made)?,
                "object" => match object.get("additionalProperties") {
                    Some(of) if !object.contains_key("properties") => {
                        format!("dict[str, {}]", self.typed(of)?.text)
                    }
                    _ => "dict[str, Any]".to_owned(),
                },
                other => bail!("Python has no word here for the type {other:?}"),
            });
        }
        made.text = all.join(" | ");
        Ok(made)
    }

    fn array(&self, object: &Map<String, Value>, made: &mut Typed) -> Result<String> {
        if let Some(items) = object.get("prefixItems").and_then(Value::as_array) {
            let items: Vec<String> =
                items.iter().map(|item| Ok(self.typed(item)?.text)).collect::<Result<_>>()?;
            made.convert = Some("tuple".to_owned());
            return Ok(format!("tuple[{}]", items.join(", ")));
        }
        let of = self.typed(object.get("items").unwrap_or(&Value::Null))?;
        (made.each, made.convert) = (of.convert.is_some(), of.convert);
        Ok(format!("list[{}]", of.text))
    }

    fn named(&self, name: &str) -> Result<Typed> {
        let spelled = format!("{}{name}", self.prefix);
        Ok(match name {
            "Timestamp" => Typed { convert: Some("instant".to_owned()), ..Typed::plain("datetime") },
            "Span" => Typed::plain("Duration"),
            _ if self.is_class(name) => Typed { convert: Some(spelled.clone()), ..Typed::plain(spelled) },
            _ if words(self.schema(name)).is_some() => Typed::plain(spelled),
            _ => self.typed(self.schema(name))?,
        })
    }

    /// The fields of an object.
    pub(super) fn members(&self, name: &str) -> Result<Vec<Member>> {
        let schema = self.schema(name);
        let required = required(schema);
        let properties = schema.get("properties").and_then(Value::as_object);
        let properties = properties.into_iter().flatten();
        properties
            .map(|(name, schema)| {
                let mut typed = self.typed(schema)?;
                let mut default = None;
                if !required.contains(&name.as_str()) && !typed.is_optional() {
                    default = self::default(&typed.text, schema);
                    if default.is_none() {
                        typed = typed.or_none();
                    }
                }
                let attribute = spelled(name);
                Ok(Member { name: name.clone(), attribute, typed, default, description: description(schema) })
            })
            .collect()
    }

    /// The parameters: name, type and description.
    pub(super) fn params(&self) -> Result<Vec<(String, String, String)>> {
        let properties = self.schema(self.params_type).get("properties").and_then(Value::as_object);
        let properties = properties.into_iter().flatten();
        properties
            .map(|(name, schema)| {
                let typed = self.typed(schema)?;
                // Objects are given as the contract has them.
                let class = typed.convert.filter(|class| class.starts_with(&self.prefix));
                let of = match (class, typed.each) {
                    (Some(_), true) => "list[dict[str, Any]]".to_owned(),
                    (Some(_), false) => "dict[str, Any]".to_owned(),
                    (None, _) => typed.text.trim_end_matches(" | None").to_owned(),
                };
                let mut told = description(schema);
                match schema.get("default") {
                    None | Some(Value::Null | Value::Array(_)) => {}
                    Some(Value::Bool(flag)) => told += if *flag { " Default: yes." } else { " Default: no." },
                    Some(Value::String(text)) if text.is_empty() => {}
                    Some(Value::String(text)) => told.extend([" Default: ", text, "."]),
                    Some(other) => told.extend([" Default: ", &other.to_string(), "."]),
                }
                Ok((spelled(name), of, told))
            })
            .collect()
    }
}

/// A name as Python can have it.
fn spelled(name: &str) -> String {
    if KEYWORDS.contains(&name) { format!("{name}_") } else { name.to_owned() }
}

/// What a field is when it is left out.
fn default(of: &str, schema: &Value) -> Option<String> {
    match (of, schema.get("default")) {
        (of, _) if of.starts_with("list[") => Some("[]".to_owned()),
        (_, Some(Value::Bool(flag))) => Some(if *flag { "True" } else { "False" }.to_owned()),
        (_, Some(value @ (Value::Number(_) | Value::String(_)))) => Some(value.to_string()),
        ("int", _) => Some("0".to_owned()),
        ("float", _) => Some("0.0".to_owned()),
        ("bool", _) => Some("False".to_owned()),
        _ => None,
    }
}

/// The words that a value is one of.
pub(super) fn words(schema: &Value) -> Option<Vec<String>> {
    if let Some(word) = schema.get("const") {
        return Some(vec![word.to_string()]);
    }
    if let Some(words) = schema.get("enum").and_then(Value::as_array) {
        return Some(words.iter().map(Value::to_string).collect());
    }
    let variants = ["oneOf", "anyOf"].iter().find_map(|keyword| schema.get(*keyword)?.as_array())?;
    variants.iter().map(|variant| variant.get("const").map(Value::to_string)).collect()
}

fn references(schema: &Value, to: &mut Vec<String>) {
    match schema {
        Value::Object(entries) => {
            if let Some(reference) = entries.get("$ref").and_then(Value::as_str) {
                to.extend(reference.rsplit('/').next().map(str::to_owned));
            }
            entries.iter().filter(|(name, _)| *name != "$defs").for_each(|(_, value)| references(value, to));
        }
        Value::Array(values) => values.iter().for_each(|value| references(value, to)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn each_form_of_schema_has_its_type() {
        let info = json!({
            "name": "ping",
            "summary": [],
            "params": { "title": "Params", "type": "object", "properties": { "class": { "type": "string", "default": "IN" } } },
            "result": {
                "title": "Body",
                "type": "object",
                "properties": { "at": { "$ref": "#/$defs/Timestamp" } },
                "$defs": {
                    "Timestamp": { "type": "string" },
                    "Piece": { "type": "object", "properties": { "self": { "$ref": "#/$defs/Piece" } } },
                    "Word": { "oneOf": [{ "const": "a" }, { "const": "b" }] },
                },
            },
        });
        let kind = Kind::of(&info).unwrap();
        let typed = |schema: Value| {
            let Typed { text, convert, each } = kind.typed(&schema).unwrap();
            (text, convert.unwrap_or_default(), each)
        };
        let plain = |text: &str| (text.to_owned(), String::new(), false);
        assert_eq!(typed(json!({ "type": ["integer", "null"] })), plain("int | None"));
        assert_eq!(typed(json!({ "$ref": "#/$defs/Word" })), plain("PingWord"));
        assert_eq!(typed(json!({ "enum": ["x"] })), plain("Literal[\"x\"]"));
        let piece = json!({ "$ref": "#/$defs/Piece" });
        assert_eq!(
            typed(json!({ "type": "array", "items": piece })),
            ("list[PingPiece]".into(), "PingPiece".into(), true)
        );
        assert_eq!(
            typed(json!({ "anyOf": [piece, { "type": "null" }] })),
            ("PingPiece | None".into(), "PingPiece".into(), false)
        );
        assert_eq!(
            typed(json!({ "type": "string", "contentEncoding": "base64url" })),
            ("Octets".into(), "octets".into(), false)
        );
        let at = &kind.members("Body").unwrap()[0];
        assert_eq!((at.typed.text.as_str(), at.default.as_deref()), ("datetime | None", None));
        assert_eq!(
            kind.params().unwrap(),
            [("class_".to_owned(), "str".to_owned(), " Default: IN.".to_owned())]
        );
        assert_eq!(kind.made_of("Piece"), ["Piece"], "what holds itself ends");
    }
}
