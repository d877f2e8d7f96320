//! The generated half of the contract. Every file has one place that makes it:
//!
//! | what | from |
//! |---|---|
//! | `contract/v1/schema/*.json` | the message types of `mmn-schema` ([`messages`]) |
//! | `contract/v1/kinds/*.json` | the built-in kinds of `mmn-modules` |
//! | `contract/v1/openapi.json` | the routes of `mmn-anchor` |
//! | `contract/v1/mmn.ts` | the same schemas ([`typescript`]) |
//! | `contract/v1/mmn_types.py` | the same, and those of the kinds ([`python`]) |
//! | `python/mmn/python/mmn/kinds/*.py`, `_calls.py`, `_aio_calls.py` | the schemas of the kinds ([`package`]) |
//! | `contract/v1/proto/*.proto` | the schemas of the kinds, and `numbers.json`, to which is only added ([`proto`]) |
//! | `contract/v1/recorded/*.json` | [`samples`], once: a recorded message is never written again |
//! | `docs/reference/messages.md` | schemas and subjects ([`reference`]) |

mod compatible;
mod messages;
mod package;
mod proto;
mod python;
mod reference;
mod samples;
mod subjects;
mod typescript;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde_json::{Map, Value, json};

const SCHEMAS: &str = "contract/v1/schema";
const KINDS: &str = "contract/v1/kinds";
const PROTO: &str = "contract/v1/proto";
const RECORDED: &str = "contract/v1/recorded";

/// Writes what differs. Refuses a change of a schema that breaks others, unless `breaking`.
pub(crate) fn write(root: &Path, breaking: bool) -> Result<String> {
    let files = generated(root)?;
    if !breaking {
        incompatible(root, &files)?;
    }
    let mut written = 0;
    for (path, text) in &files {
        let path = root.join(path);
        if fs::read_to_string(&path).is_ok_and(|old| old == *text) {
            continue;
        }
        put(&path, text)?;
        written += 1;
    }
    for path in stale(root, &files)? {
        fs::remove_file(&path).with_context(|| format!("{} can't be removed", path.display()))?;
        written += 1;
    }
    for (name, text) in samples::recordings()? {
        let path = root.join(RECORDED).join(name);
        if !path.exists() {
            put(&path, &text)?;
            written += 1;
        }
    }
    Ok(format!("contract: {} files, {written} changed", files.len()))
}

/// Compares the tree with what would be written.
pub(crate) fn check(root: &Path) -> Result<String> {
    let files = generated(root)?;
    incompatible(root, &files)?;
    let mut wrong: Vec<String> = Vec::new();
    for (path, text) in &files {
        match fs::read_to_string(root.join(path)) {
            Ok(old) if old == *text => {}
            Ok(old) => wrong.push(format!("{path} differs, first in line {}", first_difference(&old, text))),
            Err(_) => wrong.push(format!("{path} is missing")),
        }
    }
    for path in stale(root, &files)? {
        wrong.push(format!("{} is made by nothing any more", path.display()));
    }
    for (name, _) in samples::recordings()? {
        if !root.join(RECORDED).join(&name).exists() {
            wrong.push(format!("{RECORDED}/{name} is missing: a recorded message is never removed"));
        }
    }
    if wrong.is_empty() {
        return Ok(format!("contract: {} files are as the types say", files.len()));
    }
    bail!("{}\nrun `make contract`, and look at the difference", wrong.join("\n"));
}

fn first_difference(old: &str, new: &str) -> usize {
    old.lines().zip(new.lines()).take_while(|(old, new)| old == new).count() + 1
}

fn put(path: &Path, text: &str) -> Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).with_context(|| format!("{} can't be made", folder.display()))?;
    }
    fs::write(path, text).with_context(|| format!("{} can't be written", path.display()))
}

/// Everything but the recorded messages: path below the root, and text.
fn generated(root: &Path) -> Result<BTreeMap<String, String>> {
    let mut files = BTreeMap::new();
    for message in messages::MESSAGES {
        files.insert(format!("{SCHEMAS}/{}.json", message.name), pretty((message.schema)().as_value())?);
    }
    let types = messages::bundle();
    let mut python = python::Module::of(&types)?;
    let numbers = format!("{PROTO}/numbers.json");
    let mut proto = proto::Numbers::read(&root.join(&numbers))?;
    for kind in mmn_modules::CATALOGUE {
        let info = serde_json::to_value((kind.info)())?;
        let own = kind_types(&info).with_context(|| format!("the kind {}", kind.name))?;
        files.insert(format!("{PROTO}/{}.proto", kind.name), proto::file(kind.name, &own, &mut proto)?);
        python.add(kind.name, &own)?;
        files.insert(
            format!("{KINDS}/{}.json", kind.name),
            pretty(&json!({ "module": kind.module, "kind": info }))?,
        );
    }
    files.insert("contract/v1/openapi.json".to_owned(), pretty(&mmn_anchor::api::openapi())?);
    files.insert(numbers, proto.text()?);
    files.insert("contract/v1/mmn_types.py".to_owned(), python.text());
    files.extend(package::files()?);
    files.insert("contract/v1/mmn.ts".to_owned(), typescript::file(&types)?);
    files.insert("docs/reference/messages.md".to_owned(), reference::page(&types)?);
    Ok(files)
}

fn pretty(value: &Value) -> Result<String> {
    Ok(serde_json::to_string_pretty(value)? + "\n")
}

/// Files in the generated folders that nothing makes.
fn stale(root: &Path, files: &BTreeMap<String, String>) -> Result<Vec<PathBuf>> {
    let mut stale = Vec::new();
    for folder in [SCHEMAS, KINDS, PROTO, package::KINDS] {
        let Ok(entries) = fs::read_dir(root.join(folder)) else { continue };
        for entry in entries {
            let path = entry?.path();
            // What Python leaves beside its sources is no file of the tree.
            if path.is_dir() {
                continue;
            }
            let relative = path.strip_prefix(root)?.to_string_lossy().into_owned();
            if !files.contains_key(&relative) {
                stale.push(path);
            }
        }
    }
    stale.sort();
    Ok(stale)
}

fn major(kind: &Value) -> Option<&str> {
    kind.pointer("/kind/version")?.as_str()?.split('.').next()
}

/// The types of a kind by name: `Params`, `Body`, and what they are made of.
fn kind_types(info: &Value) -> Result<Map<String, Value>> {
    let mut types = Map::new();
    for part in ["params", "result"] {
        let schema = info.get(part).with_context(|| format!("has no schema for {part}"))?;
        let title = schema.get("title").and_then(Value::as_str).context("has a schema without a title")?;
        let made_of = schema.get("$defs").and_then(Value::as_object).into_iter().flatten();
        for (name, schema) in
            std::iter::once((title, schema)).chain(made_of.map(|(name, schema)| (name.as_str(), schema)))
        {
            if types.get(name).is_some_and(|other| other != schema) {
                bail!("has two types of the name {name}");
            }
            types.insert(name.to_owned(), schema.clone());
        }
    }
    Ok(types)
}

/// The fields that an object must have.
fn required(schema: &Value) -> Vec<&str> {
    schema.get("required").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect()
}

/// `max_redirects` is `MaxRedirects`.
fn camel(name: &str) -> String {
    let parts = name.split(|letter: char| !letter.is_ascii_alphanumeric()).map(|part| {
        let mut letters = part.chars();
        letters
            .next()
            .map_or_else(String::new, |first| first.to_ascii_uppercase().to_string() + letters.as_str())
    });
    parts.collect()
}

/// A description as a reader of the contract wants it: without the links of rustdoc.
fn description(schema: &Value) -> String {
    let text = schema.get("description").and_then(Value::as_str).unwrap_or_default().trim();
    let mut plain = String::new();
    let mut rest = text;
    while let Some((before, link)) = rest.split_once("[`") {
        plain.push_str(before);
        let Some((path, after)) = link.split_once("`]") else {
            plain.push_str("[`");
            rest = link;
            continue;
        };
        plain.extend(["`", path.rsplit("::").next().unwrap_or(path), "`"]);
        rest = after;
    }
    plain + rest
}

/// Fails when a schema of the tree was changed in a way that breaks those who speak the former one.
fn incompatible(root: &Path, files: &BTreeMap<String, String>) -> Result<()> {
    let mut wrong = Vec::new();
    for (path, text) in files.iter().filter(|(path, _)| path.starts_with(SCHEMAS) || path.starts_with(KINDS))
    {
        let Ok(old) = fs::read_to_string(root.join(path)) else { continue };
        let old: Value = serde_json::from_str(&old).with_context(|| format!("{path} is no JSON"))?;
        let new: Value = serde_json::from_str(text)?;
        let pairs: Vec<(&Value, &Value)> = if !path.starts_with(KINDS) {
            vec![(&old, &new)]
        } else if major(&old) == major(&new) {
            let parts = ["/kind/params", "/kind/result"].into_iter();
            parts.filter_map(|part| Some((old.pointer(part)?, new.pointer(part)?))).collect()
        } else {
            // A kind has a version of its own: another major one is another contract.
            Vec::new()
        };
        for (old, new) in pairs {
            wrong.extend(compatible::breaks(old, new).into_iter().map(|what| format!("{path}: {what}")));
        }
    }
    for (path, new) in files.iter().filter(|(path, _)| path.starts_with(PROTO)) {
        let Ok(old) = fs::read_to_string(root.join(path)) else { continue };
        wrong.extend(proto::renumbered(&old, new).into_iter().map(|what| format!("{path}: {what}")));
    }
    if wrong.is_empty() {
        return Ok(());
    }
    bail!("the contract would break within a major version:\n{}", wrong.join("\n"));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_guarded() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        write(root, false).unwrap();
        check(root).unwrap();

        // A recorded message stays as it is, and may not go.
        let recorded = root.join(RECORDED).join("Control.drain.json");
        fs::write(&recorded, "{}").unwrap();
        write(root, true).unwrap();
        assert_eq!(fs::read_to_string(&recorded).unwrap(), "{}");
        fs::remove_file(&recorded).unwrap();
        let error = check(root).unwrap_err().to_string();
        assert!(error.contains("Control.drain.json is missing"), "{error}");
        write(root, false).unwrap();

        // What nothing makes is found, and removed.
        let stale = root.join(SCHEMAS).join("Former.json");
        fs::write(&stale, "{}").unwrap();
        assert!(check(root).unwrap_err().to_string().contains("Former.json is made by nothing"));
        write(root, false).unwrap();
        assert!(!stale.exists());

        // A field that others know may not go from one version to the next.
        let path = root.join(SCHEMAS).join("Synced.json");
        let mut schema: Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
        schema["properties"]["former"] = json!({ "type": "string" });
        fs::write(&path, pretty(&schema).unwrap()).unwrap();
        for refused in [check(root), write(root, false)] {
            let error = refused.unwrap_err().to_string();
            assert!(error.contains("schema/Synced.json: /former is gone"), "{error}");
        }
        write(root, true).unwrap();
        check(root).unwrap();
    }

    #[test]
    fn a_field_keeps_its_number_for_ever() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        write(root, false).unwrap();
        let path = root.join(PROTO).join("numbers.json");
        let text = fs::read_to_string(&path).unwrap();
        let mut numbers: Value = serde_json::from_str(&text).unwrap();

        // Neither another number nor none, though all files would agree on it.
        let sent = numbers["ping"]["Body"]["sent"].take();
        numbers["ping"]["Body"]["sent"] = json!(99);
        let mut fewer: Value = serde_json::from_str(&text).unwrap();
        fewer["ping"]["Body"].as_object_mut().unwrap().remove("target");
        for (changed, field) in [(&numbers, "sent"), (&fewer, "target")] {
            fs::write(&path, pretty(changed).unwrap()).unwrap();
            for refused in [check(root), write(root, false)] {
                let error = refused.unwrap_err().to_string();
                assert!(
                    error.contains(&format!("proto/ping.proto: Body.{field} has not the number")),
                    "{error}"
                );
            }
        }

        // What is a field no more keeps its number too, and nothing else gets it.
        numbers["ping"]["Body"]["sent"] = sent;
        numbers["ping"]["Body"]["former"] = json!(77);
        numbers["ping"]["Status"]["former"] = json!(78);
        fs::write(&path, pretty(&numbers).unwrap()).unwrap();
        write(root, false).unwrap();
        check(root).unwrap();
        let proto = fs::read_to_string(root.join(PROTO).join("ping.proto")).unwrap();
        for reserved in
            ["reserved 77;\n  reserved \"former\";", "reserved 78;\n  reserved \"STATUS_FORMER\";"]
        {
            assert!(proto.contains(reserved), "{proto}");
        }
        fs::write(&path, &text).unwrap();
        assert!(check(root).unwrap_err().to_string().contains("Body.former has not the number 77"));
    }
}
