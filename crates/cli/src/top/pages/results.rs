//! The newest results of a measurement, as many as may be kept.

use std::collections::VecDeque;

use mmn_modules::ping;
use mmn_schema::announce::SummaryField;
use mmn_schema::api::ResultRecord;
use mmn_schema::id::TaskId;
use mmn_schema::outcome::Outcome;

use super::super::bars::Point;
use crate::table::{Cell, Row};
use crate::view::{self, View};

/// The newest so many results are kept, and all are counted.
const MAX_RESULTS: usize = 2000;
/// What the bodies of those may take, in bytes.
const MAX_BYTES: usize = 32 << 20;
/// The newest so many round trips are kept.
const MAX_POINTS: usize = 600;
/// What is kept of a cell, in characters.
const MAX_CELL: usize = 200;
/// The numbers that are drawn as a line, the first that a kind has.
const SERIES: [(&str, &str); 3] =
    [("rtt_median_ns", "median round trip"), ("rtt_ns", "round trip"), ("total_ns", "time")];

#[derive(Debug, Default)]
pub(super) struct Results {
    /// The newest first.
    kept: VecDeque<Kept>,
    bytes: usize,
    seen: u64,
    points: VecDeque<Point>,
    simulated: bool,
    /// Of the result that keys act on.
    replies: Option<(TaskId, Vec<Point>)>,
}

#[derive(Debug)]
struct Kept {
    record: ResultRecord,
    /// Made when it shows first.
    row: Option<Row>,
}

/// The number of a kind that is drawn as a line, and its name.
pub(super) fn series(fields: &[SummaryField]) -> Option<(&'static str, &'static str)> {
    SERIES.into_iter().find(|(name, _)| fields.iter().any(|field| field.name == *name))
}

impl Results {
    /// How many came, kept or not.
    pub(super) fn seen(&self) -> u64 {
        self.seen
    }

    pub(super) fn len(&self) -> usize {
        self.kept.len()
    }

    pub(super) fn is_simulated(&self) -> bool {
        self.simulated
    }

    pub(super) fn points(&self) -> impl DoubleEndedIterator<Item = Point> {
        self.points.iter().copied()
    }

    pub(super) fn record(&self, at: usize) -> Option<&ResultRecord> {
        self.kept.get(at).map(|kept| &kept.record)
    }

    pub(super) fn push(&mut self, record: ResultRecord) {
        self.seen += 1;
        self.simulated |= record.simulated;
        self.points.push_back(point(&record));
        if self.points.len() > MAX_POINTS {
            self.points.pop_front();
        }
        self.bytes += record.body.cbor().len();
        self.kept.push_front(Kept { record, row: None });
        // One is kept, however large it is.
        while self.kept.len() > MAX_RESULTS || (self.bytes > MAX_BYTES && self.kept.len() > 1) {
            let gone = self.kept.pop_back().map_or(0, |kept| kept.record.body.cbor().len());
            self.bytes = self.bytes.saturating_sub(gone);
        }
    }

    pub(super) fn row(&mut self, at: usize, view: &dyn View) -> Row {
        let Some(kept) = self.kept.get_mut(at) else { return Row::default() };
        kept.row.get_or_insert_with(|| short(view::row(view, &kept.record))).clone()
    }

    /// What became of each request of a ping.
    pub(super) fn replies(&mut self, at: usize) -> &[Point] {
        let Some(record) = self.kept.get(at).map(|kept| &kept.record) else { return &[] };
        if self.replies.as_ref().is_none_or(|(task, _)| *task != record.task) {
            self.replies = Some((record.task, replies(record)));
        }
        self.replies.as_ref().map(|(_, points)| points.as_slice()).unwrap_or_default()
    }
}

fn point(record: &ResultRecord) -> Point {
    let number = SERIES.into_iter().find_map(|(name, _)| record.summary.get(name));
    let number = number.map(|number| number.as_f64()).filter(|_| record.outcome == Outcome::Ok);
    match number {
        Some(number) => Point::Value(whole(number)),
        None if record.outcome == Outcome::Ok && record.answered == Some(false) => Point::Silent,
        None => Point::Absent,
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is cut to the range")]
fn whole(number: f64) -> u64 {
    number.clamp(0.0, 9e15) as u64
}

fn replies(record: &ResultRecord) -> Vec<Point> {
    if record.kind.as_str() != "ping" {
        return Vec::new();
    }
    let Ok(body) = record.body.decode::<ping::Body>() else { return Vec::new() };
    let point = |reply: &ping::Reply| match (reply.status, reply.rtt_ns) {
        (ping::Status::Replied, Some(rtt_ns)) => Point::Value(rtt_ns),
        (ping::Status::TimedOut | ping::Status::Late | ping::Status::Error, _) => Point::Silent,
        _ => Point::Absent,
    };
    body.replies.iter().map(point).collect()
}

/// A row without what would never show.
fn short(mut row: Row) -> Row {
    for cell in row.cells.iter_mut().chain(&mut row.tail) {
        shorten(cell);
    }
    row
}

fn shorten(cell: &mut Cell) {
    if let Some((at, _)) = cell.text.char_indices().nth(MAX_CELL) {
        cell.text.truncate(at);
        cell.text.push('…');
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn record(index: u64, body: &str) -> ResultRecord {
        let id = mmn_schema::id::MeasurementId::new(1_800_000_000_000, &[3; 10]);
        serde_json::from_value(json!({
            "task": format!("{id}-{index}"), "kind": "echo", "input": "x", "attempt": 0, "final": true,
            "outcome": "ok", "body": body, "summary": { "rtt_ns": index },
        }))
        .unwrap()
    }

    #[test]
    fn memory_is_bounded() {
        let mut results = Results::default();
        for index in 0..5000 {
            results.push(record(index, "x"));
        }
        assert_eq!(
            (results.len(), results.seen(), results.points().count()),
            (MAX_RESULTS, 5000, MAX_POINTS)
        );
        assert_eq!(results.record(0).unwrap().task.index, 4999);
        let large = "x".repeat(MAX_BYTES / 4);
        for index in 0..20 {
            results.push(record(index, &large));
        }
        assert!(results.bytes <= MAX_BYTES && results.len() == 3, "{} {}", results.bytes, results.len());
        let row = results.row(0, view::of_kind("echo", &[]).as_ref());
        assert!(row.cells.iter().all(|cell| cell.text.chars().count() <= MAX_CELL + 1));
    }
}
