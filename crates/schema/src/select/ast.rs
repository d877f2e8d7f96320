//! A selection as it is understood: what the parser makes of any spelling, and how it is written back.
//!
//! Two rules keep the text and the tree one to one: a union holds no product that is a single negation (it is kept
//! among what is taken away), and no product or chooser is empty.

use std::fmt;

use crate::id::{KindName, VpId};

use super::countries::{Continent, CountryCode};
use super::error::SelectError;
use super::geo::Circle;
use super::prefix::IpPrefix;

/// The most characters of a word or value.
pub(super) const MAX_WORD: usize = 256;
/// The most terms of a selection, when all of them are ids.
pub(super) const MAX_TERMS: usize = 4096;
/// For how many ids another term counts: it is held against every candidate, while an id is looked up.
const SCAN: usize = 4;
/// The deepest nesting of parentheses.
pub(super) const MAX_DEPTH: usize = 16;
/// The most characters of a selection's text.
pub(super) const MAX_TEXT: usize = 1 << 18;

/// The whole: the union of its parts, after `except` is taken from all that could be chosen.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Root {
    pub(super) parts: Vec<Part>,
    pub(super) except: Vec<Term>,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Part {
    Terms(Product),
    Chosen(Chooser),
}

/// Some of a set.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Chooser {
    pub(super) how: How,
    pub(super) among: Set,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum How {
    /// One, at dispatch.
    Any,
    /// So many, drawn at random.
    Of(u32),
    /// So many, spread over strata.
    Sample(Sample),
}

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Sample {
    pub(super) count: u32,
    pub(super) by: Vec<Stratum>,
    pub(super) max: Option<u32>,
    pub(super) seed: Option<u64>,
}

/// What vantage points of one stratum have in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stratum {
    As,
    Country,
    Continent,
    City,
}

/// A union, less what is taken away; the union of nothing is all.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Set {
    pub(super) union: Vec<Product>,
    pub(super) except: Vec<Term>,
}

/// An intersection of one factor or more.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Product(pub(super) Vec<Factor>);

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Factor {
    pub(super) not: bool,
    pub(super) term: Term,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Term {
    All,
    Word(String),
    Name(String),
    Country(CountryCode),
    Continent(Continent),
    City(String),
    As(u32),
    Prefix(IpPrefix),
    Tag(String),
    Kind(KindName),
    Id(VpId),
    Within(Circle),
    Group(Box<Set>),
}

/// What stands before the colon of a term.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Field {
    Name,
    Country,
    Continent,
    City,
    As,
    Prefix,
    Tag,
    Kind,
    Id,
}

pub(super) const FIELDS: &str = "name, country, continent, city, as, prefix, tag, kind or id";

impl Field {
    pub(super) fn find(word: &str) -> Option<Self> {
        Some(match word.to_ascii_lowercase().as_str() {
            "name" => Self::Name,
            "country" => Self::Country,
            "continent" => Self::Continent,
            "city" => Self::City,
            "as" | "asn" => Self::As,
            "prefix" => Self::Prefix,
            "tag" => Self::Tag,
            "kind" => Self::Kind,
            "id" => Self::Id,
            _ => return None,
        })
    }

    /// The term that this field makes of a value, or what was expected.
    pub(super) fn term(self, value: &str) -> Result<Term, String> {
        if value.is_empty() || value.chars().count() > MAX_WORD {
            return Err(format!("expected a value of 1 to {MAX_WORD} characters"));
        }
        let owned = || value.to_owned();
        Ok(match self {
            Self::Name => Term::Name(owned()),
            Self::City => Term::City(owned()),
            Self::Tag => Term::Tag(owned()),
            Self::Country => Term::Country(
                CountryCode::find(value)
                    .ok_or("expected a country: two letters (ISO 3166-1) or its English name")?,
            ),
            Self::Continent => Term::Continent(
                Continent::find(value)
                    .ok_or("expected a continent: AF, AN, AS, EU, NA, OC, SA or its English name")?,
            ),
            Self::As => Term::As(as_number(value).ok_or("expected the number of an AS, such as 3320")?),
            Self::Prefix => Term::Prefix(
                value.parse().map_err(|()| "expected a prefix, such as 10.0.0.0/8 or 2001:db8::/32")?,
            ),
            Self::Kind => Term::Kind(value.to_ascii_lowercase().parse().map_err(|error| format!("{error}"))?),
            Self::Id => Term::Id(value.to_ascii_lowercase().parse().map_err(|error| format!("{error}"))?),
        })
    }
}

impl Stratum {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::As => "as",
            Self::Country => "country",
            Self::Continent => "continent",
            Self::City => "city",
        }
    }

    pub(super) fn find(word: &str) -> Option<Self> {
        Field::find(word).and_then(|field| match field {
            Field::As => Some(Self::As),
            Field::Country => Some(Self::Country),
            Field::Continent => Some(Self::Continent),
            Field::City => Some(Self::City),
            _ => None,
        })
    }
}

/// The number of an AS, with or without `as` before it.
pub(super) fn as_number(text: &str) -> Option<u32> {
    let digits = match text.get(..2) {
        Some(head) if head.eq_ignore_ascii_case("as") => text.get(2..)?,
        _ => text,
    };
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    digits.parse().ok()
}

impl Factor {
    pub(super) const fn of(term: Term) -> Self {
        Self { not: false, term }
    }
}

impl Set {
    /// Sorts single negations from the rest.
    pub(super) fn of(products: impl IntoIterator<Item = Product>) -> Self {
        let mut set = Self::default();
        for product in products {
            match product.negation() {
                Ok(term) => set.except.push(term),
                Err(product) => set.union.push(product),
            }
        }
        set
    }

    fn size(&self, depth: usize) -> Result<usize, SelectError> {
        let products: usize = self.union.iter().map(|product| product.size(depth)).sum::<Result<_, _>>()?;
        Ok(products + terms_size(&self.except, depth)?)
    }
}

impl Product {
    /// The term that this takes away, when it is a single negation.
    pub(super) fn negation(mut self) -> Result<Term, Self> {
        match self.0.pop() {
            Some(Factor { not: true, term }) if self.0.is_empty() => Ok(term),
            Some(factor) => {
                self.0.push(factor);
                Err(self)
            }
            None => Err(self),
        }
    }

    fn size(&self, depth: usize) -> Result<usize, SelectError> {
        self.0.iter().map(|factor| factor.term.size(depth)).sum()
    }
}

impl Term {
    /// How many terms it holds, in ids.
    fn size(&self, depth: usize) -> Result<usize, SelectError> {
        match self {
            Self::Group(set) if depth < MAX_DEPTH => set.size(depth + 1).map(|size| size + 1),
            Self::Group(_) => Err(too_deep()),
            Self::Id(_) => Ok(1),
            _ => Ok(SCAN),
        }
    }
}

fn too_deep() -> SelectError {
    SelectError::structured(format!("nested more than {MAX_DEPTH} deep"))
}

fn terms_size(terms: &[Term], depth: usize) -> Result<usize, SelectError> {
    terms.iter().map(|term| term.size(depth)).sum()
}

impl Root {
    /// Refuses what is too large or too deep.
    pub(super) fn checked(self) -> Result<Self, SelectError> {
        let parts: usize = self
            .parts
            .iter()
            .map(|part| match part {
                Part::Terms(product) => product.size(0),
                Part::Chosen(chooser) => chooser.among.size(0),
            })
            .sum::<Result<_, _>>()?;
        let size = parts + terms_size(&self.except, 0)?;
        if size == 0 && self.parts.is_empty() {
            return Err(SelectError::structured(
                "a selection has at least one term; \"all\" takes everything",
            ));
        }
        if size > MAX_TERMS {
            let others = MAX_TERMS / SCAN;
            let message = format!("a selection has at most {MAX_TERMS} ids, or {others} other terms");
            return Err(SelectError::structured(message));
        }
        if self.to_string().len() > MAX_TEXT {
            return Err(SelectError::structured(format!("a selection has at most {MAX_TEXT} characters")));
        }
        Ok(self)
    }
}

impl fmt::Display for Root {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        list(f, &self.parts, &self.except)
    }
}

impl fmt::Display for Set {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        list(f, &self.union, &self.except)
    }
}

fn list(f: &mut fmt::Formatter<'_>, union: &[impl fmt::Display], except: &[Term]) -> fmt::Result {
    let mut comma = "";
    for item in union {
        write!(f, "{comma}{item}")?;
        comma = ", ";
    }
    for term in except {
        write!(f, "{comma}!{term}")?;
        comma = ", ";
    }
    Ok(())
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Terms(product) => product.fmt(f),
            Self::Chosen(chooser) => chooser.fmt(f),
        }
    }
}

impl fmt::Display for Chooser {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.how {
            How::Any => write!(f, "any({})", self.among),
            How::Of(count) => write!(f, "{count} of ({})", self.among),
            How::Sample(Sample { count, by, max, seed }) => {
                write!(f, "sample({count}")?;
                for (position, stratum) in by.iter().enumerate() {
                    write!(f, "{}{}", if position == 0 { ", by=" } else { "|" }, stratum.as_str())?;
                }
                if let Some(max) = max {
                    write!(f, ", max={max}")?;
                }
                if let Some(seed) = seed {
                    write!(f, ", seed={seed}")?;
                }
                write!(f, ", {})", self.among)
            }
        }
    }
}

impl fmt::Display for Product {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, factor) in self.0.iter().enumerate() {
            let plus = if position == 0 { "" } else { "+" };
            let not = if factor.not { "!" } else { "" };
            write!(f, "{plus}{not}{}", factor.term)?;
        }
        Ok(())
    }
}

impl fmt::Display for Term {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("all"),
            Self::Word(word) if is_keyword(word) || word.contains(':') => quoted(f, word),
            Self::Word(word) => value(f, word),
            Self::Name(name) => field(f, "name", name),
            Self::Country(code) => write!(f, "country:{code}"),
            Self::Continent(continent) => write!(f, "continent:{}", continent.code()),
            Self::City(city) => field(f, "city", city),
            Self::As(number) => write!(f, "as:{number}"),
            Self::Prefix(prefix) => write!(f, "prefix:{prefix}"),
            Self::Tag(tag) => field(f, "tag", tag),
            Self::Kind(kind) => write!(f, "kind:{kind}"),
            Self::Id(id) => write!(f, "id:{id}"),
            Self::Within(Circle { radius_km, latitude, longitude }) => {
                write!(f, "within({radius_km}km, {latitude}, {longitude})")
            }
            Self::Group(set) => write!(f, "({set})"),
        }
    }
}

/// Whether a bare word means something else than itself.
pub(super) fn is_keyword(word: &str) -> bool {
    word.eq_ignore_ascii_case("all") || word.eq_ignore_ascii_case("any")
}

/// Whether a character may stand in a word that is not quoted.
pub(super) fn is_plain(c: char) -> bool {
    !(c.is_whitespace()
        || c.is_control()
        || matches!(c, '+' | ',' | '!' | '(' | ')' | '"' | '=' | '|' | '\\'))
}

fn field(f: &mut fmt::Formatter<'_>, name: &str, text: &str) -> fmt::Result {
    write!(f, "{name}:")?;
    value(f, text)
}

fn value(f: &mut fmt::Formatter<'_>, text: &str) -> fmt::Result {
    if text.chars().all(is_plain) { f.write_str(text) } else { quoted(f, text) }
}

fn quoted(f: &mut fmt::Formatter<'_>, text: &str) -> fmt::Result {
    f.write_str("\"")?;
    for c in text.chars() {
        if matches!(c, '"' | '\\') {
            f.write_str("\\")?;
        }
        write!(f, "{c}")?;
    }
    f.write_str("\"")
}
