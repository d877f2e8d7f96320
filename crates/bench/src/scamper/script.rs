//! The figures that the Python module takes of itself, in a process of its own.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::process::{Command, Stdio};

use anyhow::Context;

use crate::lines::Bench;

const SCRIPT: &str = include_str!("../../../../python/scamper/bench.py");

/// Figures by their names.
#[derive(Debug)]
pub(super) struct Figures(BTreeMap<String, f64>);

impl Figures {
    /// Has them taken by the Python of `--python`, which has the module.
    pub(super) fn taken(bench: &Bench, arguments: &[&OsStr]) -> anyhow::Result<Self> {
        let python = &bench.python;
        let output = Command::new(python)
            .args(["-I", "-c", SCRIPT])
            .args(arguments)
            .stdin(Stdio::null())
            .output()
            .with_context(|| python.display().to_string())?;
        let said = String::from_utf8_lossy(&output.stderr);
        anyhow::ensure!(
            output.status.success(),
            "{} (does it have the module? scripts/pyscamper.sh): {}",
            output.status,
            said.trim().lines().last().unwrap_or_default()
        );
        let lines = String::from_utf8(output.stdout)?;
        let figure = |line: &str| {
            let (name, value) = line.split_once(' ').context("no figure")?;
            Ok((name.to_owned(), value.parse()?))
        };
        Ok(Self(lines.lines().map(figure).collect::<anyhow::Result<_>>()?))
    }

    pub(super) fn of(&self, name: &str) -> anyhow::Result<f64> {
        self.0.get(name).copied().with_context(|| format!("no figure of the name {name}"))
    }
}
