//! What came of a measurement's tasks: by reason with a task of each, by vantage point, and how many attempts it took.

use std::collections::{BTreeMap, BTreeSet};

use mmn_client::{Client, ResultsQuery};
use mmn_schema::api::{Measurement, MeasurementState, ResultRecord, Rollup};
use mmn_schema::id::{InstanceId, MeasurementId, TaskId, VpId};
use mmn_schema::outcome::Outcome;

use super::Names;
use crate::failure::{Exit, Failure};
use crate::printer::Printer;
use crate::style::{Style, Tone};
use crate::table::{self, Cell, Column, Row};
use crate::{units, view};

/// How many results are looked at for examples.
const MAX_RESULTS: usize = 20_000;
const PAGE: u32 = 1000;
/// How many reasons, and vantage points, are shown.
const MAX_ROWS: usize = 40;

pub(super) async fn run(
    printer: &mut Printer,
    client: &Client,
    id: MeasurementId,
    json: bool,
) -> Result<Exit, Failure> {
    let measurement = client.measurement(id).await?;
    if json {
        printer.json(&measurement)?;
        return Ok(Exit::Good);
    }
    let names = Names::ask(client).await?;
    let rollups = client.rollups(id, None, None).await?.items;
    let seen = Seen::read(client, &measurement).await?;
    let lines = lines(&measurement, &rollups, &seen, &names, printer.width(), printer.style());
    printer.lines(&lines)?;
    Ok(Exit::Good)
}

/// What the results say that the sums don't.
#[derive(Debug, Default)]
struct Seen {
    looked_at: u64,
    /// Of each reason: the vantage points, and the first task with what it says.
    examples: BTreeMap<(Outcome, String), Example>,
    /// By how many attempts were made.
    attempts: BTreeMap<u32, u64>,
    /// Instances whose results were not of the first attempt.
    late: BTreeMap<InstanceId, u64>,
}

#[derive(Debug)]
struct Example {
    vps: BTreeSet<VpId>,
    task: TaskId,
    detail: Option<String>,
}

impl Seen {
    async fn read(client: &Client, measurement: &Measurement) -> Result<Self, Failure> {
        let mut seen = Self::default();
        let mut after = None;
        while seen.looked_at < MAX_RESULTS as u64 {
            let asked = ResultsQuery { after, limit: Some(PAGE) };
            let page = client.results(measurement.id, asked).await?;
            for record in &page.items {
                seen.take(record);
            }
            after = page.items.iter().rev().find_map(|record| record.cursor).or(after);
            if page.next.is_none() || page.items.is_empty() {
                break;
            }
        }
        Ok(seen)
    }

    fn take(&mut self, record: &ResultRecord) {
        self.looked_at += 1;
        *self.attempts.entry(record.attempt + 1).or_default() += 1;
        if let Some(instance) = record.instance.as_ref().filter(|_| record.attempt > 0) {
            *self.late.entry(instance.clone()).or_default() += 1;
        }
        if record.outcome == Outcome::Ok {
            return;
        }
        let code = record.reason.as_ref().map_or("unknown", |reason| &*reason.code);
        let example = self.examples.entry((record.outcome, code.to_owned())).or_insert_with(|| Example {
            vps: BTreeSet::new(),
            task: record.task,
            detail: record.reason.as_ref().and_then(|reason| reason.detail.clone()),
        });
        example.vps.extend(record.vp.clone());
    }
}

fn lines(
    measurement: &Measurement,
    rollups: &[Rollup],
    seen: &Seen,
    names: &Names,
    width: Option<usize>,
    style: Style,
) -> Vec<String> {
    let ledger = &measurement.ledger;
    let (word, tone) = match measurement.state {
        MeasurementState::Open => ("open", Tone::Warn),
        MeasurementState::Running => ("running", Tone::Warn),
        MeasurementState::Done => ("done", Tone::Good),
        MeasurementState::Cancelled => ("cancelled", Tone::Warn),
    };
    let took = measurement.done_at.and_then(|at| at.since_ns(measurement.accepted_at)).map(units::nanos_u64);
    let took = took.map(|took| format!(" after {took}")).unwrap_or_default();
    let id = style.paint(&measurement.id.to_string(), Tone::Faint);
    let tasks = units::count(ledger.accepted, "task");
    let mut lines = vec![format!("{} {id}: {tasks}, {}{took}", measurement.kind, style.paint(word, tone))];
    lines.extend(reasons(measurement, seen, names, width, style));
    let by_vp = by_vp(rollups, names);
    // One alone is told where it is none of the real Internet.
    if by_vp.len() > 1 || rollups.iter().any(|rollup| rollup.simulated) {
        let columns: Vec<_> = std::iter::once(Column::left("VP").shrinks_to(12))
            .chain(Outcome::ALL.map(|outcome| Column::right(outcome.as_str().to_uppercase())))
            .collect();
        lines.push(String::new());
        lines.extend(table::lines(columns, by_vp.get(..MAX_ROWS).unwrap_or(&by_vp), width, style));
        lines.extend(more(by_vp.len(), "vantage point"));
    }
    lines.extend(notes(measurement, seen).into_iter().map(|note| style.paint(&note, Tone::Faint)));
    lines
}

/// Why tasks ended as they did. The counts are the ledger's; examples are of the results that were looked at.
fn reasons(
    measurement: &Measurement,
    seen: &Seen,
    names: &Names,
    width: Option<usize>,
    style: Style,
) -> Vec<String> {
    let ledger = &measurement.ledger;
    let plain = |outcome: &str, tone: Tone, count: u64| {
        Row::from(vec![Cell::new(outcome).tone(tone), Cell::default(), count.to_string().into()])
    };
    let mut rows = Vec::new();
    if ledger.ok > 0 {
        let mut row = plain("ok", Tone::Good, ledger.ok);
        row.tail = Some(Cell::new(format!("{} answered", ledger.answered)));
        rows.push(row);
    }
    for (outcome, codes) in &ledger.reasons {
        for (code, count) in codes {
            let example = seen.examples.get(&(*outcome, code.clone()));
            let tail = example.map(|example| {
                let vps: Vec<_> = example.vps.iter().map(|vp| names.of(vp)).collect();
                let place = match &*vps {
                    [] => String::new(),
                    [one] => format!(" at {one}"),
                    many => format!(" at {}", units::count(many.len() as u64, "vantage point")),
                };
                let detail = example.detail.as_ref().map(|detail| format!(": {detail}")).unwrap_or_default();
                Cell::new(format!("task {}{place}{detail}", example.task.index))
            });
            let outcome = Cell::new(outcome.as_str()).tone(view::tone(*outcome));
            let cells = vec![outcome, code.clone().into(), count.to_string().into()];
            rows.push(Row { cells, tail });
        }
    }
    if ledger.pending > 0 {
        rows.push(plain("pending", Tone::Warn, ledger.pending));
    }
    let count = rows.len();
    rows.truncate(MAX_ROWS);
    let columns = vec![Column::left("OUTCOME"), Column::left("REASON"), Column::right("TASKS")];
    let mut lines = table::lines(columns, &rows, width, style);
    lines.extend(more(count, "reason"));
    lines
}

/// How tasks ended at each vantage point, the worst first.
fn by_vp(rollups: &[Rollup], names: &Names) -> Vec<Row> {
    let mut sums: BTreeMap<Option<&VpId>, BTreeMap<Outcome, u64>> = BTreeMap::new();
    for rollup in rollups {
        let sum = sums.entry(rollup.vp.as_ref()).or_default();
        for (outcome, count) in &rollup.outcomes {
            *sum.entry(*outcome).or_default() += count;
        }
    }
    let mut sums: Vec<_> = sums.into_iter().collect();
    let bad = |sum: &BTreeMap<Outcome, u64>| {
        sum.iter().filter(|(outcome, _)| **outcome != Outcome::Ok).map(|(_, count)| count).sum::<u64>()
    };
    sums.sort_by_key(|(_, sum)| std::cmp::Reverse(bad(sum)));
    sums.into_iter()
        .map(|(vp, sum)| {
            let name = vp.map_or_else(|| "(nobody)".to_owned(), |vp| names.of(vp));
            let count = |outcome: Outcome| {
                let count = sum.get(&outcome).copied().unwrap_or_default();
                let tone = if count > 0 { view::tone(outcome) } else { Tone::Faint };
                Cell::new(count.to_string()).tone(tone)
            };
            std::iter::once(Cell::new(name)).chain(Outcome::ALL.map(count)).collect::<Vec<_>>().into()
        })
        .collect()
}

fn notes(measurement: &Measurement, seen: &Seen) -> Vec<String> {
    let ledger = &measurement.ledger;
    let mut notes = Vec::new();
    let again: u64 =
        seen.attempts.iter().filter(|(attempts, _)| **attempts > 1).map(|(_, count)| count).sum();
    if again > 0 {
        let most = seen.attempts.last_key_value().map_or(1, |(attempts, _)| *attempts);
        let instances = seen.late.iter().map(|(instance, count)| format!("{count} by {instance}"));
        let instances: Vec<_> = instances.take(8).collect();
        let by = if instances.is_empty() { String::new() } else { format!(": {}", instances.join(", ")) };
        notes.push(format!("{} took more than one attempt, {most} at most{by}", units::count(again, "task")));
    }
    if ledger.superseded > 0 {
        let results = units::count(ledger.superseded, "result");
        notes.push(format!("{results} came after their tasks had ended, and were dropped"));
    }
    if ledger.expired > 0 {
        notes.push(format!("{} no longer kept", units::count(ledger.expired, "result")));
    }
    if let Some(example) = seen.examples.values().next() {
        notes.push(format!("`mmn why {}` tells of one in full", example.task));
    }
    let ended = ledger.accepted - ledger.pending;
    if seen.looked_at < ended.saturating_sub(ledger.expired) {
        notes.push(format!(
            "examples and attempts are of the first {}",
            units::count(seen.looked_at, "result")
        ));
    }
    notes
}

fn more(count: usize, what: &str) -> Option<String> {
    let hidden = count.checked_sub(MAX_ROWS).filter(|hidden| *hidden > 0)?;
    Some(format!("and {}", units::count(hidden as u64, &format!("more {what}"))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn reasons_and_places_are_summed() {
        let at = |s: i64| mmn_schema::time::Timestamp::from_unix_ns((1_800_000_000 + s) * 1_000_000_000);
        let id = MeasurementId::new(1_800_000_000_000, &[1; 10]);
        let [berlin, oslo] = ["berlin", "oslo"].map(|name| VpId::derive("U", name));
        let names = Names([(berlin.clone(), "berlin".to_owned()), (oslo.clone(), "oslo".to_owned())].into());
        let measurement: Measurement = serde_json::from_value(json!({
            "id": id, "number": 7, "kind": "ping", "params": {}, "from": "all", "vps": [berlin, oslo],
            "tenant": "default", "visibility": "private", "state": "done", "accepted_at": at(0), "done_at": at(12),
            "ledger": {
                "accepted": 1000, "ok": 980, "failed": 5, "refused": 0, "lost": 15, "cancelled": 0, "pending": 0,
                "answered": 970, "superseded": 3,
                "reasons": { "failed": { "unresolvable": 5 }, "lost": { "deadline": 15 } },
            },
        }))
        .unwrap();
        let rollup = |vp: &VpId, outcomes: serde_json::Value| -> Rollup {
            serde_json::from_value(json!({
                "measurement": id, "vp": vp, "start": at(0), "interval_ns": 60_000_000_000_u64, "outcomes": outcomes,
                "answered": 0, "numbers": {},
            }))
            .unwrap()
        };
        let rollups = [
            rollup(&berlin, json!({ "ok": 497, "failed": 3 })),
            rollup(&oslo, json!({ "ok": 400, "failed": 2, "lost": 15 })),
            rollup(&oslo, json!({ "ok": 83 })),
        ];
        let mut seen = Seen::default();
        for (index, vp, attempt, outcome, reason) in [
            (0, &berlin, 0, "ok", None),
            (3, &berlin, 0, "failed", Some(json!({ "code": "unresolvable", "detail": "no such name" }))),
            (4, &oslo, 1, "failed", Some(json!({ "code": "unresolvable", "detail": "no such name" }))),
            (17, &oslo, 2, "lost", Some(json!({ "code": "deadline" }))),
        ] {
            let record = serde_json::from_value(json!({
                "task": format!("{id}-{index}"), "kind": "ping", "vp": vp, "instance": "packet-abc", "input": "x",
                "attempt": attempt, "final": true, "outcome": outcome, "reason": reason,
            }));
            seen.take(&record.unwrap());
        }
        let shown = lines(&measurement, &rollups, &seen, &names, None, Style::plain());
        insta::assert_snapshot!(shown.join("\n"));
    }
}
