//! The generated half of the contract. Every file has one place that makes it:
//!
//! | what | from |
//! |---|---|
//! | `contract/v1/schema/*.json` | the message types of `mmn-schema` ([`messages`]) |
//! | `contract/v1/kinds/*.json` | the built-in kinds of `mmn-modules` |
//! | `contract/v1/openapi.json` | the routes of `mmn-anchor` |
//! | `contract/v1/mmn.ts` | the same schemas ([`typescript`]) |
//! | `contract/v1/recorded/*.json` | [`samples`], once: a recorded message is never written again |
//! | `docs/reference/messages.md` | schemas and subjects ([`reference`]) |

mod compatible;
mod messages;
mod reference;
mod samples;
mod subjects;
mod typescript;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

const SCHEMAS: &str = "contract/v1/schema";
const KINDS: &str = "contract/v1/kinds";
const RECORDED: &str = "contract/v1/recorded";

/// Writes what differs. Refuses a change of a schema that breaks others, unless `breaking`.
pub(crate) fn write(root: &Path, breaking: bool) -> Result<String> {
    let files = generated()?;
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
    let files = generated()?;
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
fn generated() -> Result<BTreeMap<String, String>> {
    let mut files = BTreeMap::new();
    for message in messages::MESSAGES {
        files.insert(format!("{SCHEMAS}/{}.json", message.name), pretty((message.schema)().as_value())?);
    }
    for kind in mmn_modules::CATALOGUE {
        let info = serde_json::to_value((kind.info)())?;
        files.insert(
            format!("{KINDS}/{}.json", kind.name),
            pretty(&json!({ "module": kind.module, "kind": info }))?,
        );
    }
    files.insert("contract/v1/openapi.json".to_owned(), pretty(&mmn_anchor::api::openapi())?);
    let types = messages::bundle();
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
    for folder in [SCHEMAS, KINDS] {
        let Ok(entries) = fs::read_dir(root.join(folder)) else { continue };
        for entry in entries {
            let path = entry?.path();
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
}
