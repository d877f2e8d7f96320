//! The spelling of a selection in objects and lists, for programs that would otherwise paste text together.
//!
//! These are its shapes, and the ways between them and the tree that the text means too. How they are read and written
//! is in `spelling`.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::ast::{
    Chooser, Factor, Field, How, MAX_DEPTH, MAX_TERMS, MAX_WORD, Part, Product, Root, Sample, Set, Stratum,
    Term,
};
use super::error::SelectError;
use super::geo::Circle;

/// A selection in objects: one object, or a list that is united. A text in it is a vantage point's id, or else a
/// selection in the grammar.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Nodes(pub(super) Vec<Node>);

/// An object of a structured selection. Its fields intersect; a list in a field means any of its values.
///
/// `any`, `of` and `sample` choose some of a set: they stand alone in their object, and only in the outermost list.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "SelectionObject")]
pub(super) struct Node {
    /// `true`: all vantage points.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) all: bool,
    /// Bare words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) word: Option<Values>,
    /// Names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) name: Option<Values>,
    /// Countries, by code or English name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) country: Option<Values>,
    /// Continents, by code or English name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) continent: Option<Values>,
    /// Cities.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) city: Option<Values>,
    /// AS numbers.
    #[serde(default, rename = "as", alias = "asn", skip_serializing_if = "Option::is_none")]
    pub(super) asn: Option<Values>,
    /// Prefixes of addresses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) prefix: Option<Values>,
    /// Tags.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) tag: Option<Values>,
    /// Kinds that are offered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) kind: Option<Values>,
    /// Ids.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) id: Option<Values>,
    /// A circle around a point.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) within: Option<Within>,
    /// All of these at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) and: Option<Nodes>,
    /// Any of these.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) or: Option<Nodes>,
    /// None of these.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) not: Option<Nodes>,
    /// One of these, chosen at dispatch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) any: Option<Nodes>,
    /// Some of a set, drawn at random.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) of: Option<Drawn>,
    /// A sample spread over strata.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) sample: Option<Sampled>,
}

/// A circle around a point.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "SelectionCircle")]
pub(super) struct Within {
    /// Its radius in kilometres.
    pub(super) radius_km: f64,
    /// Degrees north, WGS 84.
    pub(super) latitude: f64,
    /// Degrees east, WGS 84.
    pub(super) longitude: f64,
}

/// So many of a set.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "SelectionDraw")]
pub(super) struct Drawn {
    /// How many.
    pub(super) count: u32,
    /// Of which.
    pub(super) among: Nodes,
}

/// A sample of a set.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "SelectionSample")]
pub(super) struct Sampled {
    /// How many.
    pub(super) count: u32,
    /// What the vantage points of one stratum share: `as`, `country`, `continent`, `city`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) by: Vec<String>,
    /// The most of one stratum.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) max: Option<u32>,
    /// The seed; absent: one is drawn and told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) seed: Option<u64>,
    /// Of which; absent: of all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) among: Option<Nodes>,
}

/// One value or several of which any may hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Values(pub(super) Vec<String>);

impl Nodes {
    /// The tree that this means.
    pub(super) fn root(self) -> Result<Root, SelectError> {
        let mut root = Root { parts: Vec::new(), except: Vec::new() };
        count(self.0.len())?;
        for node in self.0 {
            let part = node.part()?;
            match part {
                Part::Chosen(_) => root.parts.push(part),
                Part::Terms(product) => match product.negation() {
                    Ok(term) => root.except.push(term),
                    Err(product) => root.parts.push(Part::Terms(product)),
                },
            }
        }
        root.checked()
    }

    fn set(self, depth: usize) -> Result<Set, SelectError> {
        if self.0.is_empty() {
            return Err(SelectError::structured("expected at least one object in a list"));
        }
        count(self.0.len())?;
        let products = self.0.into_iter().map(|node| node.product(depth)).collect::<Result<Vec<_>, _>>()?;
        Ok(Set::of(products))
    }
}

/// Refuses more than a selection may hold.
pub(super) fn count(terms: usize) -> Result<(), SelectError> {
    if terms > MAX_TERMS {
        return Err(SelectError::structured(format!("a selection has at most {MAX_TERMS} terms")));
    }
    Ok(())
}

impl Node {
    fn part(mut self) -> Result<Part, SelectError> {
        let (any, of, sample) = (self.any.take(), self.of.take(), self.sample.take());
        let (how, among) = match (any, of, sample) {
            (None, None, None) => return self.product(0).map(Part::Terms),
            (Some(among), None, None) => (How::Any, Some(among)),
            (None, Some(drawn), None) => (How::Of(positive(drawn.count)?), Some(drawn.among)),
            (None, None, Some(Sampled { count, by, max, seed, among })) => {
                let mut strata = Vec::new();
                for word in &by {
                    let stratum = Stratum::find(word).filter(|stratum| !strata.contains(stratum));
                    strata.push(stratum.ok_or_else(|| {
                        SelectError::structured(format!(
                            "by: expected as, country, continent or city, each once, found {word:?}"
                        ))
                    })?);
                }
                if max.is_some() && strata.is_empty() {
                    return Err(SelectError::structured(
                        "max is the most of one stratum: expected by as well",
                    ));
                }
                let max = max.map(positive).transpose()?;
                (How::Sample(Sample { count: positive(count)?, by: strata, max, seed }), among)
            }
            _ => return Err(alone()),
        };
        if self != Self::default() {
            return Err(alone());
        }
        let all = Nodes(vec![Self { all: true, ..Self::default() }]);
        Ok(Part::Chosen(Chooser { how, among: among.unwrap_or(all).set(0)? }))
    }

    fn product(self, depth: usize) -> Result<Product, SelectError> {
        if depth > 2 * MAX_DEPTH {
            return Err(SelectError::structured(format!("nested more than {MAX_DEPTH} deep")));
        }
        if self.any.is_some() || self.of.is_some() || self.sample.is_some() {
            return Err(alone());
        }
        let mut factors = Vec::new();
        if self.all {
            factors.push(Factor::of(Term::All));
        }
        let fields = [
            (None, "word", self.word),
            (Some(Field::Name), "name", self.name),
            (Some(Field::Country), "country", self.country),
            (Some(Field::Continent), "continent", self.continent),
            (Some(Field::City), "city", self.city),
            (Some(Field::As), "as", self.asn),
            (Some(Field::Prefix), "prefix", self.prefix),
            (Some(Field::Tag), "tag", self.tag),
            (Some(Field::Kind), "kind", self.kind),
            (Some(Field::Id), "id", self.id),
        ];
        for (field, name, values) in fields {
            if let Some(Values(values)) = values {
                factors.push(any_of(field, name, &values)?);
            }
        }
        if let Some(Within { radius_km, latitude, longitude }) = self.within {
            let circle = Circle::new(radius_km, latitude, longitude)
                .map_err(|message| SelectError::structured(format!("within: {message}")))?;
            factors.push(Factor::of(Term::Within(circle)));
        }
        for node in self.and.into_iter().flat_map(|nodes| nodes.0) {
            factors.extend(node.product(depth + 1)?.0);
        }
        if let Some(nodes) = self.or {
            factors.push(Factor::of(Term::Group(Box::new(nodes.set(depth + 1)?))));
        }
        if let Some(nodes) = self.not {
            factors.push(Factor { not: true, term: single(nodes.set(depth + 1)?) });
        }
        if factors.is_empty() {
            return Err(SelectError::structured(
                "expected a field in each object; {\"all\": true} takes everything",
            ));
        }
        count(factors.len())?;
        Ok(Product(factors))
    }
}

fn alone() -> SelectError {
    SelectError::structured("any, of and sample stand alone in their object, and only in the outermost list")
}

fn positive(count: u32) -> Result<u32, SelectError> {
    if count == 0 { Err(SelectError::structured("expected a count above 0")) } else { Ok(count) }
}

/// The factor that holds where any of the values does.
fn any_of(field: Option<Field>, name: &str, values: &[String]) -> Result<Factor, SelectError> {
    count(values.len())?;
    let mut terms = Vec::with_capacity(values.len());
    for value in values {
        let term = match field {
            Some(field) => field.term(value),
            None if (1..=MAX_WORD).contains(&value.chars().count()) => Ok(Term::Word(value.clone())),
            None => Err(format!("expected a word of 1 to {MAX_WORD} characters")),
        };
        terms.push(term.map_err(|message| SelectError::structured(format!("{name}: {message}")))?);
    }
    match terms.pop() {
        None => Err(SelectError::structured(format!("{name}: expected a value"))),
        Some(term) if terms.is_empty() => Ok(Factor::of(term)),
        Some(term) => {
            terms.push(term);
            let union = terms.into_iter().map(|term| Product(vec![Factor::of(term)])).collect();
            Ok(Factor::of(Term::Group(Box::new(Set { union, except: Vec::new() }))))
        }
    }
}

/// The set as one term: without parentheses where it is one.
fn single(mut set: Set) -> Term {
    if let ([product], []) = (set.union.as_mut_slice(), set.except.as_slice())
        && let [Factor { not: false, .. }] = product.0.as_slice()
        && let Some(factor) = product.0.pop()
    {
        return factor.term;
    }
    Term::Group(Box::new(set))
}

impl From<&Root> for Nodes {
    fn from(root: &Root) -> Self {
        let parts = root.parts.iter().map(|part| match part {
            Part::Terms(product) => product.into(),
            Part::Chosen(Chooser { how, among }) => {
                let among = Self::from(among);
                match how {
                    How::Any => Node { any: Some(among), ..Node::default() },
                    How::Of(count) => Node { of: Some(Drawn { count: *count, among }), ..Node::default() },
                    How::Sample(Sample { count, by, max, seed }) => {
                        let by = by.iter().map(|stratum| stratum.as_str().to_owned()).collect();
                        let sample =
                            Sampled { count: *count, by, max: *max, seed: *seed, among: Some(among) };
                        Node { sample: Some(sample), ..Node::default() }
                    }
                }
            }
        });
        Self(parts.chain(root.except.iter().map(without)).collect())
    }
}

impl From<&Set> for Nodes {
    fn from(set: &Set) -> Self {
        Self(set.union.iter().map(Node::from).chain(set.except.iter().map(without)).collect())
    }
}

fn without(term: &Term) -> Node {
    Node { not: Some(Nodes(vec![term.into()])), ..Node::default() }
}

impl From<&Product> for Node {
    fn from(product: &Product) -> Self {
        let mut factors: Vec<Self> = product
            .0
            .iter()
            .map(|factor| if factor.not { without(&factor.term) } else { Self::from(&factor.term) })
            .collect();
        match factors.pop() {
            Some(only) if factors.is_empty() => only,
            last => {
                factors.extend(last);
                Self { and: Some(Nodes(factors)), ..Self::default() }
            }
        }
    }
}

impl From<&Term> for Node {
    fn from(term: &Term) -> Self {
        let value = |text: &dyn fmt::Display| Some(Values(vec![text.to_string()]));
        let node = Self::default();
        match term {
            Term::All => Self { all: true, ..node },
            Term::Word(word) => Self { word: value(word), ..node },
            Term::Name(name) => Self { name: value(name), ..node },
            Term::Country(code) => Self { country: value(code), ..node },
            Term::Continent(continent) => Self { continent: value(&continent.code()), ..node },
            Term::City(city) => Self { city: value(city), ..node },
            Term::As(number) => Self { asn: value(number), ..node },
            Term::Prefix(prefix) => Self { prefix: value(prefix), ..node },
            Term::Tag(tag) => Self { tag: value(tag), ..node },
            Term::Kind(kind) => Self { kind: value(kind), ..node },
            Term::Id(id) => Self { id: value(id), ..node },
            Term::Within(circle) => {
                let Circle { radius_km, latitude, longitude } = *circle;
                Self { within: Some(Within { radius_km, latitude, longitude }), ..node }
            }
            Term::Group(set) => Self { or: Some(Nodes::from(&**set)), ..node },
        }
    }
}
