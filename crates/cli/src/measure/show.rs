//! Results as they come: JSON, a table that is redrawn in place, or lines.

use std::collections::BTreeMap;
use std::io;

use mmn_schema::announce::{InputShape, KindInfo};
use mmn_schema::api::{Ledger, Measurement, MeasurementState, ResultRecord};
use mmn_schema::dispatch::Input;
use mmn_schema::id::MeasurementId;

use crate::printer::Printer;
use crate::table::{Row, Table};
use crate::view::{self, View};

/// Lines of a screen that a live table leaves free: its titles, the line of the sum, the prompt.
const SPARE_LINES: usize = 4;
/// Runs of more tasks say how far they have come.
const LONG_RUN: u64 = 20;

/// Shows the results of one measurement.
#[derive(Debug)]
pub(crate) struct Show {
    measurement: MeasurementId,
    view: Box<dyn View>,
    form: Form,
    /// Tasks expected, as far as that is known.
    tasks: u64,
    ended: u64,
    bad: u64,
}

#[derive(Debug)]
enum Form {
    /// The wire type, one record a line.
    Json,
    /// A row for each task, redrawn in place.
    Live { table: Table, rows: BTreeMap<u64, Row> },
    /// A line for each task as it ends.
    Lines { table: Table, begun: bool },
    /// A page for each task as it ends.
    Pages { begun: bool },
}

impl Show {
    /// For a measurement that was just accepted, on these inputs.
    pub(crate) fn new(
        printer: &mut Printer,
        kind: &KindInfo,
        inputs: &[Input],
        measurement: &Measurement,
        json: bool,
    ) -> io::Result<Self> {
        let view = view::of_kind(kind.name.as_str(), &kind.summary);
        let tasks = measurement.ledger.accepted;
        let targets = kind.input != InputShape::Nothing;
        let mut table = Table::new(view::columns(view.as_ref(), targets));
        for input in inputs {
            table.reserve(0, &input.to_string());
        }
        let vps = measurement.plan.as_ref().map(|plan| plan.vps.as_slice()).unwrap_or_default();
        for vp in vps {
            table.reserve(1, &view::named(&vp.name, vp.simulated));
        }
        let fits = printer.height().is_some_and(|height| {
            tasks > 0 && usize::try_from(tasks).is_ok_and(|tasks| tasks + SPARE_LINES <= height)
        });
        let is_open = measurement.state == MeasurementState::Open;
        let form = if json {
            Form::Json
        } else if view.is_paged() && !is_open && tasks <= LONG_RUN {
            Form::Pages { begun: false }
        } else if fits && !is_open {
            Form::Live { table, rows: expected(tasks, inputs, measurement) }
        } else {
            Form::Lines { table, begun: false }
        };
        let mut show = Self { measurement: measurement.id, view, form, tasks, ended: 0, bad: 0 };
        show.draw(printer)?;
        Ok(show)
    }

    /// For a measurement that may be long done, of so many tasks: a line or a page for each record.
    pub(crate) fn lines(
        measurement: MeasurementId,
        tasks: u64,
        kind: &str,
        fields: &[mmn_schema::announce::SummaryField],
        json: bool,
    ) -> Self {
        let view = view::of_kind(kind, fields);
        let form = if json {
            Form::Json
        } else if view.is_paged() && tasks <= LONG_RUN {
            Form::Pages { begun: false }
        } else {
            Form::Lines { table: Table::new(view::columns(view.as_ref(), true)), begun: false }
        };
        Self { measurement, view, form, tasks: 0, ended: 0, bad: 0 }
    }

    /// Which measurement.
    pub(crate) fn measurement(&self) -> MeasurementId {
        self.measurement
    }

    /// Shows records.
    pub(crate) fn records(&mut self, printer: &mut Printer, records: &[ResultRecord]) -> io::Result<()> {
        for record in records {
            if record.last {
                self.ended += 1;
                self.bad += u64::from(record.outcome != mmn_schema::outcome::Outcome::Ok);
            }
            let row = view::row(self.view.as_ref(), record);
            match &mut self.form {
                Form::Json => printer.json(record)?,
                Form::Pages { begun } => {
                    let (width, style) = (printer.width(), printer.style());
                    let lines = page(self.view.as_ref(), record, &row, width, style);
                    if std::mem::replace(begun, true) {
                        printer.line("")?;
                    }
                    for line in lines {
                        printer.line(&line)?;
                    }
                }
                Form::Live { table, rows } => {
                    table.measure(&row);
                    rows.insert(record.task.index, row);
                }
                Form::Lines { table, begun } => {
                    table.measure(&row);
                    let (width, style) = (printer.width(), printer.style());
                    if !std::mem::replace(begun, true) {
                        printer.line(&table.header(width, style))?;
                    }
                    printer.line(&table.line(&row, width, style))?;
                }
            }
        }
        self.draw(printer)?;
        printer.flush()
    }

    /// Shows the end.
    pub(crate) fn end(&mut self, printer: &mut Printer, ledger: &Ledger) -> io::Result<()> {
        self.tasks = ledger.accepted;
        printer.flush()
    }

    fn draw(&mut self, printer: &mut Printer) -> io::Result<()> {
        if let Form::Live { table, rows } = &self.form {
            let (width, style) = (printer.width(), printer.style());
            let mut lines = vec![table.header(width, style)];
            lines.extend(rows.values().map(|row| table.line(row, width, style)));
            return printer.redraw(&lines);
        }
        let pages = matches!(self.form, Form::Pages { .. });
        if (pages || self.tasks > LONG_RUN) && self.ended < self.tasks {
            let bad = if self.bad > 0 { format!(", {} not ok", self.bad) } else { String::new() };
            printer.progress(&format!("{} of {} done{bad}", self.ended, self.tasks));
        }
        Ok(())
    }
}

/// The page of a record; its row alone where it has none.
fn page(
    view: &dyn View,
    record: &ResultRecord,
    row: &Row,
    width: Option<usize>,
    style: crate::style::Style,
) -> Vec<String> {
    let page = (record.outcome == mmn_schema::outcome::Outcome::Ok).then(|| view.page(record)).flatten();
    if let Some(page) = page {
        return page.lines(record, width, style);
    }
    let mut table = Table::new(view::columns(view, true));
    table.measure(row);
    vec![table.line(row, width, style)]
}

/// A row for each task: they are numbered by input, then by vantage point.
fn expected(tasks: u64, inputs: &[Input], measurement: &Measurement) -> BTreeMap<u64, Row> {
    let names: Vec<_> = measurement
        .plan
        .iter()
        .flat_map(|plan| plan.vps.iter().filter(|vp| !vp.pooled))
        .map(|vp| view::named(&vp.name, vp.simulated))
        .collect();
    let nothing = [Input::Nothing];
    let inputs = if inputs.is_empty() { &nothing[..] } else { inputs };
    // Where one of a pool is taken, the vantage point is not known yet.
    let names = if names.is_empty() { vec![String::new()] } else { names };
    let pairs = inputs.iter().flat_map(|input| names.iter().map(move |name| (input, name.as_str())));
    let known = u64::try_from(inputs.len() * names.len()).is_ok_and(|count| count == tasks);
    (0..tasks)
        .zip(pairs.map(Some).filter(|_| known).chain(std::iter::repeat(None)))
        .map(|(index, pair)| {
            let (target, name) = pair.map_or((String::new(), ""), |(input, name)| (input.to_string(), name));
            (index, view::pending(&target, name))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::printer::testing::printer;

    fn kind() -> KindInfo {
        let kinds = crate::kinds::built_in();
        kinds.into_iter().find(|kind| kind.name.as_str() == "ping").unwrap()
    }

    fn measurement(tasks: u64) -> Measurement {
        serde_json::from_value(json!({
            "id": MeasurementId::new(1_800_000_000_000, &[3; 10]), "number": 1, "kind": "ping", "params": {},
            "from": "all", "vps": [], "tenant": "default", "visibility": "private", "state": "running",
            "accepted_at": "2026-11-22T00:00:00Z",
            "plan": {
                "vps": [
                    { "vp": "aaaaaaaaaaaaaaaa", "name": "berlin" },
                    { "vp": "bbbbbbbbbbbbbbbb", "name": "new-york-2" },
                ],
                "tasks": tasks, "refused": 0,
                "coverage": {
                    "matched": 2, "chosen": 2, "ases": { "matched": 0, "chosen": 0 },
                    "countries": { "matched": 0, "chosen": 0 },
                },
            },
            "ledger": {
                "accepted": tasks, "ok": 0, "failed": 0, "refused": 0, "lost": 0, "cancelled": 0, "pending": tasks,
            },
        }))
        .unwrap()
    }

    fn record(index: u64, vp: &str, input: &str, more: &Value) -> ResultRecord {
        let id = MeasurementId::new(1_800_000_000_000, &[3; 10]);
        let mut record = json!({
            "task": format!("{id}-{index}"), "kind": "ping", "vp_name": vp, "input": input, "attempt": 0,
            "final": true, "outcome": "ok", "answered": true,
            "body": {
                "target": input, "address": "192.0.2.1", "family": "ipv4", "sent": 3, "received": 2,
                "duplicates": 1, "late": 0, "errors": 1, "loss": 0.333,
                "rtt": { "min_ns": 9_871_000, "median_ns": 10_400_000, "mean_ns": 1, "max_ns": 1_250_000_000, "stddev_ns": 1 },
                "replies": [
                    { "seq": 0, "status": "replied" }, { "seq": 1, "status": "replied" },
                    { "seq": 2, "status": "error", "error": { "name": "host_unreachable" } },
                ],
            },
        });
        for (name, value) in more.as_object().unwrap() {
            record[name] = value.clone();
        }
        serde_json::from_value(record).unwrap()
    }

    fn records() -> Vec<ResultRecord> {
        let lost = json!({ "outcome": "lost", "reason": { "code": "deadline" }, "body": null });
        vec![record(3, "new-york-2", "example.org", &json!({})), record(0, "berlin", "192.0.2.1", &lost)]
    }

    #[test]
    fn a_terminal_sees_each_task_from_the_beginning() {
        let (mut printer, out, _) = printer(Some((80, 24)));
        let inputs = ["192.0.2.1", "example.org"].map(|target| Input::Target(target.into()));
        let mut show = Show::new(&mut printer, &kind(), &inputs, &measurement(4), false).unwrap();
        show.records(&mut printer, &records()).unwrap();
        insta::assert_snapshot!(out.text().replace('\u{1b}', "ESC"));
    }

    #[test]
    fn more_tasks_than_the_screen_has_lines_are_lines() {
        let (mut printer, out, _) = printer(Some((60, 6)));
        let mut show = Show::new(&mut printer, &kind(), &[], &measurement(4), false).unwrap();
        show.records(&mut printer, &records()).unwrap();
        insta::assert_snapshot!(out.text());
    }

    #[test]
    fn a_pipe_gets_aligned_lines() {
        let (mut printer, out, _) = printer(None);
        let inputs = ["192.0.2.1", "example.org"].map(|target| Input::Target(target.into()));
        let mut show = Show::new(&mut printer, &kind(), &inputs, &measurement(4), false).unwrap();
        show.records(&mut printer, &records()).unwrap();
        insta::assert_snapshot!(out.text());
    }
}
