//! The choice of vantage points: one grammar, three spellings (a string, structured objects, ids).

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use crate::id::{KindName, VpId};
use crate::vp::VantagePoint;

/// A choice of vantage points.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Selection(String);

impl Selection {
    /// All vantage points.
    pub fn all() -> Self {
        Self("all".to_owned())
    }

    /// Chooses among `candidates`. The same candidates, in whatever order, and the same seed give the same choice.
    pub fn choose(&self, candidates: &[Candidate<'_>]) -> Choice {
        Choice {
            assignments: candidates.iter().map(|c| Assignment::Vp(c.vp.id.clone())).collect(),
            ..Choice::default()
        }
    }
}

/// A vantage point that could be chosen.
#[derive(Debug, Clone, Copy)]
pub struct Candidate<'a> {
    /// The vantage point.
    pub vp: &'a VantagePoint,
    /// The kinds that it offers now.
    pub kinds: &'a [KindName],
}

/// What a selection chose.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Choice {
    /// Where the tasks go, ordered by vantage point id.
    pub assignments: Vec<Assignment>,
}

/// Where a task goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Assignment {
    /// To this vantage point.
    Vp(VpId),
    /// To one of these, chosen at dispatch.
    Pool(Vec<VpId>),
}

impl FromStr for Selection {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for Selection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl JsonSchema for Selection {
    fn schema_name() -> Cow<'static, str> {
        "Selection".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string" })
    }
}
