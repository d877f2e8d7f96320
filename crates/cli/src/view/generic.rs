//! Any kind, by the numbers of its summaries.

use mmn_schema::announce::SummaryField;
use mmn_schema::api::ResultRecord;

use super::View;
use crate::table::{Cell, Column};
use crate::units;

/// The most numbers that a table shows; `--json` has all.
const MAX_NUMBERS: usize = 8;

#[derive(Debug)]
pub(super) struct Generic {
    /// Name and unit.
    numbers: Vec<(String, String)>,
}

impl Generic {
    pub(super) fn new(fields: &[SummaryField]) -> Self {
        let numbers = fields.iter().take(MAX_NUMBERS).map(|f| (f.name.clone(), f.unit.clone())).collect();
        Self { numbers }
    }
}

impl Generic {
    /// The body in brief; before it the numbers, where no columns are known for them.
    fn result(&self, record: &ResultRecord) -> String {
        let mut parts = Vec::new();
        if self.numbers.is_empty() {
            let numbers = record.summary.iter();
            parts.extend(
                numbers
                    .map(|(name, number)| format!("{name}={}", units::show(*number, units::unit_of(name)))),
            );
        }
        let body = record.body.to_json().unwrap_or_default();
        if !body.is_null() {
            parts.push(brief(&body));
        }
        if parts.is_empty() { "ok".into() } else { parts.join(" ") }
    }
}

impl View for Generic {
    fn columns(&self) -> Vec<Column> {
        let mut columns: Vec<_> = self
            .numbers
            .iter()
            .map(|(name, unit)| {
                let name = name.strip_suffix(&format!("_{unit}")).unwrap_or(name);
                Column::right(name.replace('_', " ").to_uppercase()).optional()
            })
            .collect();
        columns.push(Column::left("RESULT").shrinks_to(10));
        columns
    }

    fn cells(&self, record: &ResultRecord) -> Vec<Cell> {
        let mut cells: Vec<_> = self
            .numbers
            .iter()
            .map(|(name, unit)| {
                let number = record.summary.get(name.as_str());
                Cell::new(number.map_or_else(|| "-".into(), |number| units::show(*number, unit)))
            })
            .collect();
        cells.push(Cell::new(self.result(record)));
        cells
    }
}

/// A body in one line: the value itself where there is but one.
fn brief(body: &serde_json::Value) -> String {
    match body {
        serde_json::Value::String(text) => text.clone(),
        serde_json::Value::Object(map) => {
            let parts: Vec<_> = map
                .iter()
                .map(|(name, value)| match value {
                    serde_json::Value::String(text) => format!("{name}={text}"),
                    other => format!("{name}={other}"),
                })
                .collect();
            parts.join(" ")
        }
        other => other.to_string(),
    }
}
