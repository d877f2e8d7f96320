//! The choice of vantage points: one grammar, three spellings (a text, structured objects, ids).
//!
//! `+` intersects, `,` unites, and terms with `!` are taken from the union (from all, when alone). Around it stand
//! `any(…)`, `all(…)`, `3 of (…)` and `sample(40, by=as|country, max=2, seed=42, …)`. `docs/reference/selection.md`
//! has the grammar.
//!
//! Begin with [`Selection`]. Whatever the spelling, a selection becomes one tree (`ast`), which is written back as
//! text; that text is its canonical form on the wire. Choosing is pure: the same candidates, in whatever order, and the
//! same seed give the same choice.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::de::{MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::api::Coverage;
use crate::id::{KindName, VpId};
use crate::vp::VantagePoint;

mod ast;
mod countries;
mod error;
mod eval;
mod geo;
mod parse;
mod prefix;
mod sample;
mod spelling;
mod structured;
#[cfg(test)]
mod tests;

pub use error::SelectError;

use ast::{Chooser, Factor, How, Part, Product, Root, Sample, Set, Term};

/// A choice of vantage points.
///
/// ```
/// use mmn_schema::select::Selection;
///
/// let selection: Selection = "Germany+eyeball, as3320, !tag:vpn".parse()?;
/// assert_eq!(selection.to_string(), "Germany+eyeball, as3320, !tag:vpn");
///
/// let error = "germany++eyeball".parse::<Selection>().unwrap_err();
/// assert_eq!(error.position, 8);
/// # Ok::<(), mmn_schema::select::SelectError>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Selection(Arc<Root>);

impl Selection {
    /// All vantage points.
    pub fn all() -> Self {
        Root { parts: vec![Part::Terms(one(Term::All))], except: Vec::new() }.into()
    }

    /// What a request without a selection means: one vantage point that offers the kind, chosen at dispatch.
    pub fn default_any(kind: &KindName) -> Self {
        let among = Set { union: vec![one(Term::Kind(kind.clone()))], except: Vec::new() };
        Root { parts: vec![Part::Chosen(Chooser { how: How::Any, among })], except: Vec::new() }.into()
    }

    /// Just these vantage points.
    ///
    /// # Errors
    /// When there are none, or more than a selection may hold.
    pub fn ids(ids: impl IntoIterator<Item = VpId>) -> Result<Self, SelectError> {
        let parts = ids.into_iter().map(|id| Part::Terms(one(Term::Id(id)))).collect();
        Root { parts, except: Vec::new() }.checked().map(Self::from)
    }

    /// Whether something is drawn at random and the selection gives no seed for it.
    pub fn needs_seed(&self) -> bool {
        self.0.parts.iter().any(|part| match part {
            Part::Chosen(Chooser { how: How::Of(_), .. }) => true,
            Part::Chosen(Chooser { how: How::Sample(sample), .. }) => sample.seed.is_none(),
            _ => false,
        })
    }

    /// Chooses among `candidates`. The same candidates, in whatever order, and the same seed give the same choice.
    ///
    /// `seed_if_needed` counts only when [`Selection::needs_seed`]; the seed that was used is told in the coverage.
    pub fn choose(&self, candidates: &[Candidate<'_>], seed_if_needed: u64) -> Choice {
        let mut choice = eval::choose(&self.0, candidates, seed_if_needed);
        choice.coverage.seed = if self.needs_seed() { Some(seed_if_needed) } else { self.seed() };
        choice
    }

    /// The same selection in objects (JSON).
    pub fn to_structured(&self) -> serde_json::Value {
        serde_json::to_value(structured::Nodes::from(&*self.0)).unwrap_or_default()
    }

    /// The first seed that the selection gives.
    fn seed(&self) -> Option<u64> {
        self.0.parts.iter().find_map(|part| match part {
            Part::Chosen(Chooser { how: How::Sample(Sample { seed, .. }), .. }) => *seed,
            _ => None,
        })
    }
}

impl From<Root> for Selection {
    fn from(root: Root) -> Self {
        Self(Arc::new(root))
    }
}

fn one(term: Term) -> Product {
    Product(vec![Factor::of(term)])
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
    /// Where the tasks go: vantage points in the order of their ids, then pools in the order of the selection.
    pub assignments: Vec<Assignment>,
    /// How that covers the network. A pool counts as one vantage point, and as an AS or a country where all its members
    /// are in the same.
    pub coverage: Coverage,
}

/// Where a task goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Assignment {
    /// To this vantage point.
    Vp(VpId),
    /// To one of these, chosen at dispatch. It has a member at least, and they are in the order of their ids.
    Pool(Vec<VpId>),
}

impl FromStr for Selection {
    type Err = SelectError;
    fn from_str(text: &str) -> Result<Self, SelectError> {
        parse::parse(text).map(Self::from)
    }
}

impl fmt::Display for Selection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Serialize for Selection {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Selection {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Spellings)
    }
}

struct Spellings;

impl<'de> Visitor<'de> for Spellings {
    type Value = Selection;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        spelling::NodesVisitor.expecting(f)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Selection, E> {
        text.parse().map_err(E::custom)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Selection, A::Error> {
        let nodes = spelling::NodesVisitor.visit_map(map)?;
        nodes.root().map(Selection::from).map_err(de::Error::custom)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, items: A) -> Result<Selection, A::Error> {
        let nodes = spelling::NodesVisitor.visit_seq(items)?;
        nodes.root().map(Selection::from).map_err(de::Error::custom)
    }
}

impl JsonSchema for Selection {
    fn schema_name() -> Cow<'static, str> {
        "Selection".into()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        structured::Nodes::json_schema(generator)
    }
}

/// The examples of the reference page, as tests.
#[cfg(doctest)]
#[doc = include_str!("../../../../docs/reference/selection.md")]
pub struct Reference;
