//! Worlds of as many vantage points as a line wants.

use std::fmt::Write as _;
use std::path::PathBuf;

use anyhow::Context;
use mmn_lab::generate::generate;
use mmn_lab::plan::Plan;

use crate::started::Dir;

/// What `examples/lab/world.toml` is made of.
const TABLE: &str = include_str!("../../../../examples/lab/world.table.toml");

/// The text of a world with so many vantage points, spread evenly over the cities that have some in the table.
pub(super) fn text(vps: usize) -> anyhow::Result<String> {
    let places = TABLE.matches(PLACE).count();
    let mut table = String::new();
    for (number, part) in TABLE.split(PLACE).enumerate() {
        if number > 0 {
            let here = vps / places + usize::from(number <= vps % places);
            write!(table, "vps = {here}")?;
        }
        table += part;
    }
    generate("world.table.toml", &table).context("the world's table")
}

/// A city with one vantage point.
const PLACE: &str = "vps = 1";

/// The plan of such a world.
pub(super) fn plan(vps: usize) -> anyhow::Result<Plan> {
    let plan = Plan::parse("world.toml", &text(vps)?)?;
    anyhow::ensure!(plan.vps.len() == vps, "{} vantage points, not {vps}", plan.vps.len());
    Ok(plan)
}

/// The file of such a world.
pub(crate) fn file(dir: &Dir, vps: usize) -> anyhow::Result<PathBuf> {
    let path = dir.path().join("world.toml");
    std::fs::write(&path, text(vps)?)?;
    Ok(path)
}
