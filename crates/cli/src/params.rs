//! From the JSON Schema of a kind's parameters to arguments of the command line, and back to a JSON object.
//!
//! A property becomes `--name VALUE` with its type, default and help; an enumeration has its possible values, a
//! boolean is a flag, the properties of a nested object have dotted names, and what has no better form is JSON.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use clap::{Arg, ArgAction, ArgMatches};
use mmn_schema::time::Span;
use serde_json::{Map, Number, Value};

/// How deep objects are taken apart; what lies deeper is given as JSON.
const MAX_DEPTH: usize = 3;

/// A parameter of a kind.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Param {
    /// Where it stands in the object of parameters.
    pub(crate) path: Vec<String>,
    shape: Shape,
    help: String,
    default: Option<Value>,
    required: bool,
}

/// What a parameter's text must be.
#[derive(Debug, Clone, PartialEq)]
enum Shape {
    Text,
    Duration,
    Integer { min: Option<i128>, max: Option<i128> },
    Real,
    Flag,
    Choice(Vec<String>),
    List(Box<Self>),
    Json,
}

/// The parameters that a schema describes, in its order.
pub(crate) fn of_schema(schema: &Value) -> Vec<Param> {
    let mut params = Vec::new();
    collect(schema, schema, &mut Vec::new(), &mut params);
    params
}

impl Param {
    /// Its name as one types it in `--set NAME=VALUE`: `edns.udp_size`.
    pub(crate) fn name(&self) -> String {
        self.path.join(".")
    }

    /// The name of its flag: `edns.udp-size`.
    pub(crate) fn flag(&self) -> String {
        self.name().replace('_', "-")
    }

    /// Whether `name` means it: dashes and underscores are the same.
    pub(crate) fn is_named(&self, name: &str) -> bool {
        self.flag() == name.replace('_', "-")
    }

    /// Its flag. A name that the command has for itself gets `param.` before it.
    pub(crate) fn arg(&self, taken: &[String], short: Option<char>) -> Arg {
        let flag = self.flag();
        let long = if taken.contains(&flag) { format!("param.{flag}") } else { flag };
        let mut arg = Arg::new(self.id()).long(long).help(self.help()).help_heading("Parameters");
        if let Some(short) = short {
            arg = arg.short(short);
        }
        arg = match &self.shape {
            Shape::Flag => arg
                .num_args(0..=1)
                .require_equals(true)
                .default_missing_value("true")
                .hide_possible_values(true)
                .value_parser(["true", "false"]),
            Shape::Choice(values) => {
                arg.value_parser(clap::builder::PossibleValuesParser::new(values.clone()))
            }
            Shape::List(_) => arg.action(ArgAction::Append),
            _ => arg,
        };
        arg.value_name(self.value_name()).required(false).allow_hyphen_values(self.is_number())
    }

    /// What was given for it on the command line.
    pub(crate) fn given_in(&self, matches: &ArgMatches) -> Result<Option<Value>, String> {
        let Some(mut texts) = matches.get_many::<String>(&self.id()) else { return Ok(None) };
        let named = |error| format!("--{}: {error}", self.flag());
        match &self.shape {
            Shape::List(item) => {
                let mut items = Vec::new();
                for text in texts {
                    items.extend(list(item, text).map_err(named)?);
                }
                Ok(Some(Value::Array(items)))
            }
            shape => texts.next_back().map(|text| parse(shape, text).map_err(named)).transpose(),
        }
    }

    /// The value that a text means.
    pub(crate) fn parse(&self, text: &str) -> Result<Value, String> {
        let value = match &self.shape {
            Shape::List(item) => list(item, text).map(Value::Array),
            shape => parse(shape, text),
        };
        value.map_err(|error| format!("{}: {error}", self.name()))
    }

    /// Whether nothing stands in for it.
    pub(crate) fn is_required(&self) -> bool {
        self.required
    }

    fn id(&self) -> String {
        format!("param:{}", self.name())
    }

    fn is_number(&self) -> bool {
        matches!(self.shape, Shape::Integer { .. } | Shape::Real)
    }

    fn value_name(&self) -> String {
        match &self.shape {
            Shape::Text => "TEXT",
            Shape::Duration => "DURATION",
            Shape::Integer { .. } => "N",
            Shape::Real => "NUMBER",
            Shape::Flag => "BOOL",
            Shape::Choice(_) => "CHOICE",
            Shape::List(_) => "ITEM,…",
            Shape::Json => "JSON",
        }
        .to_owned()
    }

    fn help(&self) -> String {
        let mut help = self.help.clone();
        match &self.default {
            None | Some(Value::Null) => {}
            Some(Value::Bool(false)) if self.shape == Shape::Flag => {}
            Some(Value::Array(items)) if items.is_empty() => {}
            Some(Value::String(text)) => {
                let _ = write!(help, " [default: {text}]");
            }
            Some(value) => {
                let _ = write!(help, " [default: {value}]");
            }
        }
        if self.required {
            help.push_str(" [required]");
        }
        help.trim_start().to_owned()
    }
}

/// Puts a value at its place in an object, with the objects around it.
pub(crate) fn place(object: &mut BTreeMap<String, Value>, path: &[String], value: Value) {
    let Some((first, rest)) = path.split_first() else { return };
    if rest.is_empty() {
        object.insert(first.clone(), value);
        return;
    }
    let mut here = object.entry(first.clone()).or_insert_with(|| Value::Object(Map::new()));
    for (at, step) in rest.iter().enumerate() {
        if !here.is_object() {
            *here = Value::Object(Map::new());
        }
        let Value::Object(map) = here else { return };
        if at + 1 == rest.len() {
            map.insert(step.clone(), value);
            return;
        }
        here = map.entry(step.clone()).or_insert_with(|| Value::Object(Map::new()));
    }
}

fn collect(root: &Value, schema: &Value, path: &mut Vec<String>, params: &mut Vec<Param>) {
    let schema = plain(root, schema);
    let required: Vec<_> = schema.get("required").and_then(Value::as_array).into_iter().flatten().collect();
    let properties = schema.get("properties").and_then(Value::as_object).into_iter().flatten();
    for (name, property) in properties {
        path.push(name.clone());
        let meant = plain(root, property);
        let nested = meant.get("properties").and_then(Value::as_object).is_some_and(|map| !map.is_empty());
        if nested && path.len() < MAX_DEPTH {
            collect(root, meant, path, params);
        } else {
            params.push(Param {
                path: path.clone(),
                shape: shape(root, meant),
                help: help(property).or_else(|| help(meant)).unwrap_or_default(),
                default: property.get("default").or_else(|| meant.get("default")).cloned(),
                required: required.iter().any(|field| field.as_str() == Some(name)),
            });
        }
        path.pop();
    }
}

/// The schema without references and without the `null` that an optional value allows besides.
fn plain<'a>(root: &'a Value, schema: &'a Value) -> &'a Value {
    let mut schema = schema;
    // References that lead in a circle end here.
    for _ in 0..16 {
        if let Some(target) = schema.get("$ref").and_then(Value::as_str) {
            let Some(found) = target.strip_prefix('#').and_then(|pointer| root.pointer(pointer)) else {
                return schema;
            };
            schema = found;
            continue;
        }
        let only = ["anyOf", "oneOf", "allOf"].iter().find_map(|word| {
            let others: Vec<_> = schema.get(word)?.as_array()?.iter().filter(|one| !is_null(one)).collect();
            match others.as_slice() {
                [only] => Some(*only),
                _ => None,
            }
        });
        match only {
            Some(only) => schema = only,
            None => return schema,
        }
    }
    schema
}

fn is_null(schema: &Value) -> bool {
    schema.get("type").and_then(Value::as_str) == Some("null")
}

fn shape(root: &Value, schema: &Value) -> Shape {
    if let Some(choices) = choices(schema) {
        return Shape::Choice(choices);
    }
    let bound = |word: &str| {
        schema
            .get(word)
            .and_then(|number| number.as_i64().map(i128::from).or_else(|| number.as_u64().map(i128::from)))
    };
    match type_of(schema) {
        Some("integer") => Shape::Integer { min: bound("minimum"), max: bound("maximum") },
        Some("number") => Shape::Real,
        Some("boolean") => Shape::Flag,
        Some("string") if schema.get("format").and_then(Value::as_str) == Some("duration-text") => {
            Shape::Duration
        }
        Some("string") => Shape::Text,
        Some("array") => {
            let item = schema.get("items").map_or(Shape::Json, |items| shape(root, plain(root, items)));
            if matches!(item, Shape::Json | Shape::List(_)) {
                Shape::Json
            } else {
                Shape::List(Box::new(item))
            }
        }
        _ => Shape::Json,
    }
}

/// The one type besides `null`.
fn type_of(schema: &Value) -> Option<&str> {
    match schema.get("type")? {
        Value::String(name) => Some(name),
        Value::Array(names) => {
            let mut names = names.iter().filter_map(Value::as_str).filter(|name| *name != "null");
            let only = names.next()?;
            names.next().is_none().then_some(only)
        }
        _ => None,
    }
}

/// The texts of an enumeration: `enum`, or `oneOf` constants (as variants with doc comments have them).
fn choices(schema: &Value) -> Option<Vec<String>> {
    let text = |value: &Value| value.as_str().map(str::to_owned);
    if let Some(values) = schema.get("enum").and_then(Value::as_array) {
        return values.iter().filter(|value| !value.is_null()).map(text).collect();
    }
    if let Some(value) = schema.get("const") {
        return Some(vec![text(value)?]);
    }
    let variants = schema.get("oneOf").or_else(|| schema.get("anyOf"))?.as_array()?;
    let each: Option<Vec<_>> = variants.iter().filter(|one| !is_null(one)).map(choices).collect();
    each.map(|each| each.concat())
}

/// The first paragraph of a description, without its full stop.
fn help(schema: &Value) -> Option<String> {
    let text = schema.get("description")?.as_str()?;
    let first = text.split("\n\n").next().unwrap_or_default().replace('\n', " ");
    Some(first.trim().trim_end_matches('.').to_owned())
}

fn list(item: &Shape, text: &str) -> Result<Vec<Value>, String> {
    if text.trim_start().starts_with('[') {
        return match json(text)? {
            Value::Array(items) => Ok(items),
            _ => Err("not a list".into()),
        };
    }
    text.split(',').map(|text| parse(item, text.trim())).collect()
}

fn parse(shape: &Shape, text: &str) -> Result<Value, String> {
    match shape {
        Shape::Text => Ok(text.into()),
        Shape::Duration => text.parse::<Span>().map(|_| text.into()).map_err(|error| error.to_string()),
        Shape::Integer { min, max } => {
            let number: i128 = text.parse().map_err(|_| format!("{text:?} is not a whole number"))?;
            if min.is_some_and(|min| number < min) || max.is_some_and(|max| number > max) {
                return Err(format!("{number} is not {}", range(*min, *max)));
            }
            let number = i64::try_from(number)
                .map(Number::from)
                .or_else(|_| u64::try_from(number).map(Number::from))
                .map_err(|_| format!("{number} is too large"))?;
            Ok(Value::Number(number))
        }
        Shape::Real => {
            let number: f64 = text.parse().map_err(|_| format!("{text:?} is not a number"))?;
            Number::from_f64(number).map(Value::Number).ok_or_else(|| format!("{text:?} is not finite"))
        }
        Shape::Flag => match text {
            "true" => Ok(true.into()),
            "false" => Ok(false.into()),
            _ => Err(format!("{text:?} is neither true nor false")),
        },
        Shape::Choice(values) => {
            if values.iter().any(|value| value == text) {
                Ok(text.into())
            } else {
                Err(format!("{text:?} is not one of {}", values.join(", ")))
            }
        }
        Shape::List(item) => list(item, text).map(Value::Array),
        // A text that is no JSON stands for itself: a server's name, say, where an object is allowed too.
        Shape::Json => json(text)
            .or_else(|error| if text.starts_with(['{', '[', '"']) { Err(error) } else { Ok(text.into()) }),
    }
}

fn range(min: Option<i128>, max: Option<i128>) -> String {
    match (min, max) {
        (Some(min), Some(max)) => format!("within {min} to {max}"),
        (Some(min), None) => format!("at least {min}"),
        (None, Some(max)) => format!("at most {max}"),
        (None, None) => "any number".into(),
    }
}

fn json(text: &str) -> Result<Value, String> {
    serde_json::from_str(text).map_err(|error| format!("not valid JSON: {error}"))
}

#[cfg(test)]
mod tests;
