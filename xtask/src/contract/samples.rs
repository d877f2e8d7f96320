//! The messages that are recorded, at least one of each type. `samples.json` holds them as JSON, in the spelling of some
//! sender; recording reads each as its type and adds the CBOR, and the JSON that the type writes.
//!
//! A sample may be added at any time. What it became in `contract/v1/recorded/` stays as it is for ever: it stands for
//! the messages of all programs that were ever built.

use std::collections::BTreeSet;

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use serde_json::{Value, json};

use super::messages::MESSAGES;
use super::pretty;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Sample {
    /// The message's type.
    message: String,
    /// Of which case: with the type it makes the file's name.
    case: String,
    /// The message.
    json: Value,
}

/// The recorded messages as they would be written today: file name and text.
pub(super) fn recordings() -> Result<Vec<(String, String)>> {
    let samples: Vec<Sample> = serde_json::from_str(include_str!("samples.json")).context("samples.json")?;
    let mut files = Vec::new();
    let mut names = BTreeSet::new();
    for Sample { message, case, json } in &samples {
        let name = format!("{message}.{case}.json");
        let known = MESSAGES.iter().find(|known| known.name == message);
        let known = known.with_context(|| format!("samples.json: there is no message {message}"))?;
        let (means, cbor) = (known.record)(json).with_context(|| format!("samples.json: {name}"))?;
        if !names.insert(name.clone()) {
            bail!("samples.json: {name} stands there twice");
        }
        files.push((
            name,
            pretty(&json!({ "message": message, "json": json, "cbor": cbor, "means": means }))?,
        ));
    }
    for message in MESSAGES {
        if !samples.iter().any(|sample| sample.message == message.name) {
            bail!("samples.json: there is no sample of {}", message.name);
        }
    }
    Ok(files)
}
