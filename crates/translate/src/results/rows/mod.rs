//! Results as rows of a table: for CSV, Parquet and whatever else has columns.
//!
//! A row for each result, with its kind's numbers; or, for kinds that have them, a row for each reply ([`Which`]). A
//! column has one type, and its unit in its name; what was not measured is absent.
//!
//! Begin with [`Rows::new`]. [`csv`] writes them down.

pub mod csv;
mod replies;

use std::borrow::Cow;

use mmn_modules::Address;
use mmn_schema::announce::SummaryField;
use mmn_schema::api::ResultRecord;
use mmn_schema::id::KindName;
use mmn_schema::outcome::Number;
use mmn_schema::time::Timestamp;
use mmn_schema::vp::VantagePoint;
use serde::Deserialize;

use super::Untranslated;

/// What a row is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Which {
    /// A result.
    #[default]
    Results,
    /// What a result is made of: a request of `ping`, a probe of `trace`, a reply to `udp`, a record of a `dns` answer.
    Replies,
}

/// The type of a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Type {
    /// Text in UTF-8.
    Text,
    /// An integer of 64 bits with a sign.
    Integer,
    /// A real number of 64 bits.
    Real,
    /// True or false.
    Flag,
    /// An instant: nanoseconds UTC.
    Instant,
}

/// A column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    /// Its name, with the unit.
    pub name: Cow<'static, str>,
    /// What its cells are.
    pub kind: Type,
}

/// A value of a row, of its column's type or absent.
#[derive(Debug, Clone, PartialEq)]
pub enum Cell {
    /// Not measured, or not known.
    Absent,
    /// A text.
    Text(String),
    /// An integer.
    Integer(i64),
    /// A real number.
    Real(f64),
    /// True or false.
    Flag(bool),
    /// An instant.
    Instant(Timestamp),
}

/// How the results of a measurement become rows.
#[derive(Debug, Clone)]
pub struct Rows {
    which: Which,
    kind: KindName,
    columns: Vec<Column>,
    /// The names of the kind's numbers, in the order of their columns.
    numbers: Vec<(String, Type)>,
}

/// What every row says, whatever it is.
const COMMON: &[(&str, Type)] = &[
    ("measurement", Type::Text),
    ("task", Type::Text),
    ("kind", Type::Text),
    ("vp", Type::Text),
    ("vp_name", Type::Text),
    ("vp_country", Type::Text),
    ("vp_asn", Type::Integer),
    ("target", Type::Text),
    ("address", Type::Text),
    ("simulated", Type::Flag),
];

/// What a result says besides, before its kind's numbers.
const RESULT: &[(&str, Type)] = &[
    ("attempt", Type::Integer),
    ("outcome", Type::Text),
    ("reason", Type::Text),
    ("detail", Type::Text),
    ("answered", Type::Flag),
    ("started_at", Type::Instant),
    ("duration_ns", Type::Integer),
];

impl Rows {
    /// Of results of a kind whose numbers are these.
    pub fn new(which: Which, kind: &KindName, fields: &[SummaryField]) -> Result<Self, Untranslated> {
        let built_in = mmn_modules::CATALOGUE.iter().any(|known| known.name == kind.as_str());
        // What numbers of a kind that is not known here are, its fields don't say: reals hold either.
        let kind_of = |field: &SummaryField| {
            if field.unit == "ratio" || !built_in { Type::Real } else { Type::Integer }
        };
        let numbers: Vec<_> = match which {
            Which::Results => fields.iter().map(|field| (field.name.clone(), kind_of(field))).collect(),
            Which::Replies => Vec::new(),
        };
        let more = match which {
            Which::Results => RESULT,
            Which::Replies => replies::columns(kind)?,
        };
        let fixed = COMMON.iter().chain(more);
        let mut columns: Vec<_> =
            fixed.map(|(name, kind)| Column { name: Cow::Borrowed(*name), kind: *kind }).collect();
        for (name, kind_of) in &numbers {
            let taken = columns.iter().any(|column| column.name == *name);
            let name = if taken { format!("{kind}_{name}") } else { name.clone() };
            columns.push(Column { name: Cow::Owned(name), kind: *kind_of });
        }
        Ok(Self { which, kind: kind.clone(), columns, numbers })
    }

    /// The columns.
    pub fn columns(&self) -> &[Column] {
        &self.columns
    }

    /// The rows of a result, each with a cell for each column. `point` is what is known of its vantage point now.
    pub fn of(
        &self,
        point: Option<&VantagePoint>,
        record: &ResultRecord,
    ) -> Result<Vec<Vec<Cell>>, Untranslated> {
        let common = common(point, record);
        match self.which {
            Which::Results => {
                let mut row = common;
                row.extend(result(record));
                row.extend(self.numbers.iter().map(|(name, kind)| number(record, name, *kind)));
                Ok(vec![row])
            }
            Which::Replies => {
                let details = replies::of(self.kind.as_str(), record)?;
                Ok(details.into_iter().map(|detail| common.iter().cloned().chain(detail).collect()).collect())
            }
        }
    }
}

fn common(point: Option<&VantagePoint>, record: &ResultRecord) -> Vec<Cell> {
    vec![
        Cell::Text(record.task.measurement.to_string()),
        Cell::Text(record.task.to_string()),
        Cell::Text(record.kind.to_string()),
        text(record.vp.as_ref()),
        text(record.vp_name.as_ref()),
        text(point.and_then(|point| point.location.country.as_ref())),
        integer(point.and_then(|point| point.asn)),
        Some(record.input.to_string()).filter(|input| !input.is_empty()).map_or(Cell::Absent, Cell::Text),
        text(address(record)),
        Cell::Flag(record.simulated),
    ]
}

fn result(record: &ResultRecord) -> [Cell; 7] {
    [
        integer(Some(record.attempt)),
        Cell::Text(record.outcome.to_string()),
        text(record.reason.as_ref().map(|reason| &reason.code)),
        text(record.reason.as_ref().and_then(|reason| reason.detail.as_ref())),
        record.answered.map_or(Cell::Absent, Cell::Flag),
        record.started_at.map_or(Cell::Absent, Cell::Instant),
        unsigned(record.duration_ns),
    ]
}

fn number(record: &ResultRecord, name: &str, kind: Type) -> Cell {
    match (record.summary.get(name).copied(), kind) {
        (None, _) => Cell::Absent,
        (Some(Number::Integer(number)), Type::Integer) => Cell::Integer(number),
        (Some(number), _) => Cell::Real(number.as_f64()),
    }
}

/// The address that was measured, the last of several requests.
fn address(record: &ResultRecord) -> Option<Address> {
    #[derive(Deserialize)]
    struct Body {
        #[serde(default)]
        address: Option<Address>,
        #[serde(default)]
        hops: Vec<Hop>,
    }
    // A hop of a trace has none.
    #[derive(Deserialize)]
    struct Hop {
        #[serde(default)]
        address: Option<Address>,
    }
    let body: Body = record.body.decode().ok()?;
    body.address.or_else(|| body.hops.last().and_then(|hop| hop.address))
}

fn text(value: Option<impl ToString>) -> Cell {
    value.map_or(Cell::Absent, |value| Cell::Text(value.to_string()))
}

fn integer(value: Option<impl Into<i64>>) -> Cell {
    value.map_or(Cell::Absent, |value| Cell::Integer(value.into()))
}

/// What 63 bits don't hold is none that was measured.
fn unsigned(value: Option<u64>) -> Cell {
    value.and_then(|value| i64::try_from(value).ok()).map_or(Cell::Absent, Cell::Integer)
}
