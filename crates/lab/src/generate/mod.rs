//! A plausible Internet from a small table: `examples/lab/world.table.toml` says how the table is written.
//!
//! Routers stand where transit networks have cities, cables join them, delays follow from distances. Vantage points hang
//! on access routers, targets on edge routers, each with a prefix of its own. Some routers are silent, limit their ICMP,
//! or number their packets otherwise; some lines lose a little: all drawn from the table's seed. What comes out is the
//! text of a plan, the same on every machine.

mod network;
mod services;

use std::collections::BTreeMap;
use std::fmt::Write as _;

use mmn_probe::schedule::Chance;
use serde::Deserialize;

/// Why a table makes no world.
#[derive(Debug, thiserror::Error)]
pub enum GenerateError {
    /// It is no table.
    #[error("{file}: {message}")]
    Table {
        /// The file.
        file: Box<str>,
        /// What is wrong, and where.
        message: Box<str>,
    },
    /// It names a city that it does not have.
    #[error("unknown city \"{0}\"")]
    City(Box<str>),
    /// There are more of something than addresses for it.
    #[error("{count} {what}; there are addresses for {most}")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// How many.
        count: usize,
        /// How many at most.
        most: usize,
    },
    /// No transit network has this city.
    #[error("city \"{0}\" has vantage points or targets, but no transit network")]
    Island(Box<str>),
}

/// Makes the text of a plan of the text of a table, whose file has this name.
pub fn generate(name: &str, table: &str) -> Result<String, GenerateError> {
    let no_table = |error: toml::de::Error| GenerateError::Table {
        file: name.into(),
        message: error.to_string().trim_end().into(),
    };
    let table: Table = toml::from_str(table).map_err(no_table)?;
    let mut world = World {
        chance: Chance::new(table.seed),
        table: &table,
        text: String::new(),
        routers: 0,
        links: 0,
        hosts: Vec::new(),
    };
    world.head(name);
    world.network()?;
    world.services();
    if !table.beside.is_empty() {
        world.line(&format!("\n{}", table.beside.to_string().trim_end()));
    }
    Ok(world.text)
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    seed: u64,
    targets: usize,
    targets_per_edge: usize,
    peering: Vec<String>,
    city: BTreeMap<String, City>,
    transit: Vec<Transit>,
    cable: Vec<Cable>,
    /// What stands in the plan as it is, beside what is made: places for what a script is to find.
    #[serde(default)]
    beside: toml::Table,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct City {
    lat: f64,
    lon: f64,
    country: String,
    continent: String,
    #[serde(default)]
    weight: usize,
    #[serde(default)]
    vps: usize,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Transit {
    name: String,
    asn: u32,
    cities: Vec<String>,
    #[serde(default)]
    mpls: bool,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Cable {
    between: [String; 2],
    stretch: Option<f64>,
    parallel: Option<usize>,
}

/// A plan under way.
struct World<'t> {
    table: &'t Table,
    chance: Chance,
    text: String,
    routers: usize,
    links: usize,
    /// Hosts that are targets: name, city and address.
    hosts: Vec<(String, String, String)>,
}

impl World<'_> {
    fn head(&mut self, name: &str) {
        let seed = self.table.seed;
        self.line(&format!("# Made from {name}: edit that, and generate this anew."));
        self.line(&format!("seed = {seed}\nstretch = 1.6\n\n[city]"));
        for (name, city) in &self.table.city {
            let City { lat, lon, country, continent, .. } = city;
            let place =
                format!("lat = {lat}, lon = {lon}, country = \"{country}\", continent = \"{continent}\"");
            self.line(&format!("{name} = {{ {place} }}"));
        }
    }

    fn line(&mut self, line: &str) {
        // Writing to a string does not fail.
        let _ = writeln!(self.text, "{line}");
    }

    /// A number from 0 to below `end`.
    fn below(&mut self, end: usize) -> usize {
        let end = u128::try_from(end).unwrap_or(0);
        usize::try_from((u128::from(self.chance.draw()) * end) >> 64).unwrap_or(0)
    }

    /// Whether something happens that happens so many times of a hundred.
    fn percent(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }
}
