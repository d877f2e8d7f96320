//! How the results of a kind look in a table. A kind that has no file here is shown by the numbers of its summaries.

mod dns;
mod generic;
mod http;
mod ping;

use mmn_schema::announce::SummaryField;
use mmn_schema::api::ResultRecord;
use mmn_schema::outcome::Outcome;

use crate::style::Tone;
use crate::table::{Cell, Column, Row};

/// How the results of a kind look.
pub(crate) trait View: std::fmt::Debug + Send {
    /// The columns after target and vantage point.
    fn columns(&self) -> Vec<Column>;

    /// The cells of an *ok* record in those columns.
    fn cells(&self, record: &ResultRecord) -> Vec<Cell>;
}

/// The view of a kind whose summaries have these numbers.
pub(crate) fn of_kind(kind: &str, fields: &[SummaryField]) -> Box<dyn View> {
    match kind {
        "ping" => Box::new(ping::Ping),
        "dns" => Box::new(dns::Dns),
        "http" => Box::new(http::Http),
        _ => Box::new(generic::Generic::new(fields)),
    }
}

/// All columns of a table of results.
pub(crate) fn columns(view: &dyn View) -> Vec<Column> {
    let mut columns = vec![Column::left("TARGET").shrinks_to(12), Column::left("VP").shrinks_to(6)];
    columns.extend(view.columns());
    columns
}

/// The row of a record.
pub(crate) fn row(view: &dyn View, record: &ResultRecord) -> Row {
    let vp = record.vp_name.clone().or_else(|| record.vp.as_ref().map(ToString::to_string));
    let mut cells: Vec<Cell> =
        vec![record.input.to_string().into(), Cell::new(vp.unwrap_or_else(|| "-".into())).tone(Tone::Faint)];
    if record.outcome == Outcome::Ok {
        cells.extend(view.cells(record));
        return Row { cells, tail: None };
    }
    let why = record.reason.as_ref().map_or(String::new(), |reason| format!(" ({reason})"));
    let tail = Cell::new(format!("{}{why}", record.outcome)).tone(tone(record.outcome));
    Row { cells, tail: Some(tail) }
}

/// The row of a task that has not ended.
pub(crate) fn pending(target: &str, vp: &str) -> Row {
    let tail = Some(Cell::new("…").tone(Tone::Faint));
    Row { cells: vec![target.into(), Cell::new(vp).tone(Tone::Faint)], tail }
}

/// The colour of an outcome.
pub(crate) const fn tone(outcome: Outcome) -> Tone {
    match outcome {
        Outcome::Ok => Tone::Good,
        Outcome::Failed | Outcome::Lost => Tone::Bad,
        Outcome::Refused | Outcome::Cancelled => Tone::Warn,
    }
}
