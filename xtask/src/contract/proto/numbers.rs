//! The field numbers. A field keeps its number for ever, and a number is never given twice: what is no field any more
//! stays in the file, and is `reserved` in the definitions.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

/// Kind, type, and name in JSON of a field or a word.
#[derive(Debug, Default)]
pub(in crate::contract) struct Numbers(BTreeMap<String, Types>);

type Types = BTreeMap<String, BTreeMap<String, u32>>;

impl Numbers {
    /// Of a file; none where there is no file yet.
    pub(in crate::contract) fn read(path: &Path) -> Result<Self> {
        if !path.exists() {
            return Ok(Self::default());
        }
        let text = fs::read_to_string(path).with_context(|| format!("{} can't be read", path.display()))?;
        let numbers =
            serde_json::from_str(&text).with_context(|| format!("{} is damaged", path.display()))?;
        Ok(Self(numbers))
    }

    /// The file's text.
    pub(in crate::contract) fn text(&self) -> Result<String> {
        super::super::pretty(&serde_json::to_value(&self.0)?)
    }

    /// The number of a field, a new one where it has none.
    pub(super) fn of(&mut self, kind: &str, name: &str, field: &str) -> u32 {
        let fields = self.0.entry(kind.to_owned()).or_default().entry(name.to_owned()).or_default();
        let next = fields.values().max().map_or(1, |last| last + 1);
        *fields.entry(field.to_owned()).or_insert(next)
    }

    /// What is there no more, in the order of the numbers.
    pub(super) fn former(&self, kind: &str, name: &str, present: &[&str]) -> Vec<(&str, u32)> {
        let fields = self.0.get(kind).and_then(|types| types.get(name)).into_iter().flatten();
        let mut former: Vec<(&str, u32)> = fields
            .map(|(field, number)| (field.as_str(), *number))
            .filter(|(field, _)| !present.contains(field))
            .collect();
        former.sort_by_key(|(_, number)| *number);
        former
    }
}

/// What has another number in `new` than in `old`, both of them definitions.
pub(in crate::contract) fn renumbered(old: &str, new: &str) -> Vec<String> {
    let (old, new) = (written(old), written(new));
    let mut wrong = Vec::new();
    for (name, fields) in old {
        // A type that is gone has its numbers in the file of numbers still.
        let Some(now) = new.get(&name) else { continue };
        for (field, number) in fields {
            if now.get(&field) != Some(&number) {
                wrong.push(format!("{name}.{field} has not the number {number} any more"));
            }
        }
    }
    wrong
}

/// The numbers of definitions as [`super::file`] writes them, by type: a field to a line, what is reserved in two.
fn written(text: &str) -> Types {
    let mut types = Types::new();
    let mut within = "";
    let mut reserved = None;
    for line in text.lines().map(str::trim) {
        let words: Vec<&str> = line.trim_end_matches(';').split(' ').collect();
        let numbered = match words.as_slice() {
            ["message" | "enum", name, "{"] => {
                within = *name;
                None
            }
            ["//", ..] => None,
            ["reserved", what] => match (what.parse(), reserved) {
                (Ok(number), _) => {
                    reserved = Some(number);
                    None
                }
                (Err(_), Some(number)) => Some((what.trim_matches('"'), number)),
                (Err(_), None) => None,
            },
            [.., name, "=", number] => number.parse().ok().map(|number| (*name, number)),
            _ => None,
        };
        if let Some((name, number)) = numbered {
            types.entry(within.to_owned()).or_default().insert(name.to_owned(), number);
        }
    }
    types
}
