//! From mmn's JSON to Protobuf's and back. They differ in four things, which `contract/README.md` lists; a schema says
//! where.

use data_encoding::{BASE64, BASE64URL_NOPAD};
use serde_json::{Map, Value, json};

/// The types of one body.
pub(crate) struct Form<'f> {
    /// The schema that references point into.
    pub(crate) root: &'f Value,
    /// The field numbers of the kind.
    pub(crate) numbers: &'f Value,
}

/// To Protobuf's JSON, or from it.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Way {
    To,
    From,
}

impl<'f> Form<'f> {
    /// `name` is the type's, where it has one.
    pub(crate) fn convert(&self, schema: &'f Value, name: &str, value: &Value, way: Way) -> Value {
        if let Some((name, schema)) = named(self.root, schema) {
            return self.convert(schema, name, value, way);
        }
        if let Some([present, _]) = schema.get("anyOf").and_then(Value::as_array).map(Vec::as_slice) {
            return self.convert(present, name, value, way);
        }
        let variants = schema.get("oneOf").and_then(Value::as_array);
        if let Some(variants) = variants {
            if variants.iter().all(|variant| variant.get("const").is_some()) {
                return self.word(name, value, way);
            }
            let (tag, content) = value.as_object().and_then(|value| value.iter().next()).unwrap();
            let of = variants.iter().find_map(|variant| variant.get("properties")?.get(tag)).unwrap();
            let list = of.get("type") == Some(&json!("array"));
            let content = match way {
                Way::From if list => content.get("values").unwrap(),
                _ => content,
            };
            let content = self.convert(of, &inner(name, tag), content, way);
            return match way {
                Way::To if list => json!({ tag: { "values": content } }),
                _ => json!({ tag: content }),
            };
        }
        match value {
            Value::String(text) if way == Way::From && schema.get("contentEncoding").is_some() => {
                json!(BASE64URL_NOPAD.encode(&BASE64.decode(text.as_bytes()).unwrap()))
            }
            Value::Array(items) => {
                let of = schema.get("items").unwrap();
                items.iter().map(|item| self.convert(of, name, item, way)).collect()
            }
            Value::Object(fields) => Value::Object(self.fields(schema, name, fields, way)),
            _ => value.clone(),
        }
    }

    fn fields(
        &self,
        schema: &'f Value,
        name: &str,
        fields: &Map<String, Value>,
        way: Way,
    ) -> Map<String, Value> {
        let required = schema.get("required").and_then(Value::as_array);
        let is_required = |field: &str| required.is_some_and(|all| all.iter().any(|one| one == field));
        let here = fields.iter().filter(|(field, value)| {
            // A list is never absent in Protobuf.
            way == Way::To || **value != json!([]) || is_required(field)
        });
        here.map(|(field, value)| {
            let of = schema.pointer(&format!("/properties/{field}"));
            let of = of.or_else(|| schema.get("additionalProperties")).unwrap();
            (field.clone(), self.convert(of, &inner(name, field), value, way))
        })
        .collect()
    }

    fn word(&self, name: &str, value: &Value, way: Way) -> Value {
        let words = self.numbers.get(name).and_then(Value::as_object).unwrap();
        match way {
            Way::To => words.get(value.as_str().unwrap()).unwrap().clone(),
            Way::From => json!(words.iter().find(|(_, number)| *number == value).unwrap().0),
        }
    }
}

/// What a schema refers to, and the name of it.
pub(crate) fn named<'s>(root: &'s Value, schema: &'s Value) -> Option<(&'s str, &'s Value)> {
    let reference = schema.get("$ref")?.as_str()?;
    Some((reference.rsplit('/').next()?, root.pointer(reference.trim_start_matches('#'))?))
}

/// The name of a type that stands in a field and has none.
fn inner(name: &str, field: &str) -> String {
    let parts = field.split('_').map(|part| part[..1].to_uppercase() + &part[1..]);
    parts.fold(name.to_owned(), |name, part| name + &part)
}
