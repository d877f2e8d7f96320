//! Pure crates are proved pure by their `Cargo.toml`: what they may depend on is listed here.
//!
//! The list is of what is allowed, so that a new dependency is a decision and not an oversight. And the crates of mmn
//! depend on each other only as ARCHITECTURE.md has it.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use toml::Table;

/// Crates without I/O, clock and runtime, and all that they may depend on.
const PURE: [(&str, &[&str]); 6] = [
    (
        "schema",
        &[
            "bytes",
            "cbor4ii",
            "data-encoding",
            "jiff",
            "schemars",
            "serde",
            "serde_json",
            "sha2",
            "thiserror",
            "uuid",
        ],
    ),
    ("probe", &["thiserror"]),
    ("scamper", &["thiserror"]),
    ("warts", &["bzip2", "flate2", "lzma-rust2", "serde", "serde_json", "thiserror"]),
    ("kit", &["futures", "mmn-probe", "mmn-schema", "schemars", "serde", "serde_json", "thiserror"]),
    (
        "translate",
        &[
            "data-encoding",
            "mmn-kit",
            "mmn-modules",
            "mmn-scamper",
            "mmn-schema",
            "mmn-warts",
            "serde",
            "serde_json",
            "thiserror",
        ],
    ),
];

/// Crates that know each other by the contract alone.
const APART: [(&str, &[&str]); 5] = [
    ("node", &["mmn-anchor", "mmn-client", "mmn"]),
    ("anchor", &["mmn-node", "mmn-client", "mmn-modules", "mmn-kit", "mmn-probe", "mmn"]),
    ("client", &["mmn-anchor", "mmn-node", "mmn-bus", "mmn"]),
    ("bus", &["mmn-anchor", "mmn-node", "mmn-client", "mmn-modules", "mmn"]),
    ("modules", &["mmn-anchor", "mmn-node", "mmn-client", "mmn-bus", "mmn", "tokio"]),
];

pub(super) fn check(root: &Path) -> Result<Vec<String>> {
    let mut wrong = Vec::new();
    for (name, allowed) in PURE {
        for dependency in dependencies(root, name)? {
            if !allowed.contains(&dependency.as_str()) {
                wrong.push(format!(
                    "crates/{name}/Cargo.toml: {dependency} is not among what this pure crate may depend on \
                     (xtask/src/check/pure.rs)"
                ));
            }
        }
    }
    for (name, denied) in APART {
        for dependency in dependencies(root, name)? {
            if denied.contains(&dependency.as_str()) {
                wrong.push(format!("crates/{name}/Cargo.toml: {name} does not know {dependency}"));
            }
        }
    }
    Ok(wrong)
}

/// Normal and build dependencies of a crate, those of every platform among them.
fn dependencies(root: &Path, name: &str) -> Result<Vec<String>> {
    let path = root.join("crates").join(name).join("Cargo.toml");
    let text = fs::read_to_string(&path).with_context(|| format!("{} can't be read", path.display()))?;
    let manifest: Table = text.parse().with_context(|| format!("{} is no TOML", path.display()))?;
    let mut tables = vec![&manifest];
    tables.extend(
        manifest
            .get("target")
            .and_then(toml::Value::as_table)
            .into_iter()
            .flatten()
            .filter_map(|(_, t)| t.as_table()),
    );
    let mut names = Vec::new();
    for table in tables {
        for section in ["dependencies", "build-dependencies"] {
            names.extend(
                table.get(section).and_then(toml::Value::as_table).into_iter().flat_map(Table::keys).cloned(),
            );
        }
    }
    Ok(names)
}
