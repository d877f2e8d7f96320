//! What must hold after a run, seen from outside.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use mmn_client::{Measure, MeasurementsQuery};
use mmn_schema::api::{Ledger, Measurement, MeasurementState, ResultRecord};
use mmn_schema::outcome::{Outcome, code};

use crate::kind;
use crate::load::{self, Asked};
use crate::streams::{self, Kept};
use crate::world::World;

/// How many sentences are said of one measurement.
const SENTENCES: usize = 6;

/// Everything that does not hold.
pub(crate) async fn judge(world: &World, all: &[Asked]) -> Vec<String> {
    let mut wrong = Vec::new();
    for asked in all {
        let mut said = Vec::new();
        one(world, asked, &mut said).await;
        let more = said.len().saturating_sub(SENTENCES);
        said.truncate(SENTENCES);
        wrong.extend(said.into_iter().map(|what| format!("{} ({}): {what}", asked.what, asked.id)));
        if more > 0 {
            wrong.push(format!("{}: and {more} more", asked.what));
        }
    }
    listed(world, all, &mut wrong).await;
    let look = world.look().await;
    let ids: Vec<_> = all.iter().map(|asked| asked.id).collect();
    match streams::read(look.jetstream(), &ids).await {
        Ok(kept) => all.iter().for_each(|asked| stored(asked, &kept, &mut wrong)),
        Err(error) => wrong.push(error),
    }
    look.close().await;
    wrong
}

/// What the API says of one measurement.
async fn one(world: &World, asked: &Asked, wrong: &mut Vec<String>) {
    let id = asked.id;
    let measurement = match world.net.ask(Duration::ZERO, async |client| client.measurement(id).await).await {
        Ok(measurement) => measurement,
        Err(trouble) => return wrong.push(format!("it was accepted, and now is {trouble}")),
    };
    let Measurement { state, ledger, .. } = &measurement;
    if !ledger.closes() || ledger.pending > 0 {
        wrong.push(format!("the account does not close: {ledger:?}"));
    }
    let ends = if asked.cancelled { MeasurementState::Cancelled } else { MeasurementState::Done };
    if *state != ends {
        wrong.push(format!("it is {state:?}"));
    }
    if sums(&asked.ledger) != sums(ledger) {
        wrong.push(format!("its reader was told {:?}, and now it is {ledger:?}", asked.ledger));
    }
    records(asked, &asked.read, ledger, wrong);
    reasons(asked, &asked.read, wrong);
    match load::again(world, asked).await {
        Ok((records, _)) if same(&records, &asked.read) => {}
        Ok((records, _)) => {
            let (before, now) = (asked.read.len(), records.len());
            wrong.push(format!("read again it is not what it was: {before} results, then {now}"));
        }
        Err(error) => wrong.push(error),
    }
    if let Some(answer) = &asked.answer
        && !same(answer, &asked.read)
    {
        wrong.push(format!("the answer was {answer:?}, what is kept is {:?}", asked.read));
    }
    // The same question again.
    let again = world.net.ask(Duration::ZERO, async |client| {
        client.measure(&Measure { request: &asked.request, key: asked.key.clone(), wait: None }).await
    });
    match again.await {
        Ok(again) if again.id == id => {}
        Ok(again) => wrong.push(format!("its idempotency key leads to {} too", again.id)),
        Err(trouble) => wrong.push(format!("asked again with its key it was {trouble}")),
    }
}

/// Each task exactly once, on the input that it is about, as the account says.
fn records(asked: &Asked, records: &[ResultRecord], ledger: &Ledger, wrong: &mut Vec<String>) {
    let mut counted: BTreeMap<u64, usize> = BTreeMap::new();
    let mut read = Ledger { accepted: ledger.accepted, ..Ledger::default() };
    let mut last = None;
    for record in records {
        *counted.entry(record.task.index).or_default() += 1;
        if record.cursor <= last || record.cursor.is_none() {
            wrong.push(format!("after cursor {last:?} came {:?}", record.cursor));
        }
        last = record.cursor;
        let count = match record.outcome {
            Outcome::Ok => &mut read.ok,
            Outcome::Failed => &mut read.failed,
            Outcome::Refused => &mut read.refused,
            Outcome::Lost => &mut read.lost,
            Outcome::Cancelled => &mut read.cancelled,
        };
        *count += 1;
        if let Some(reason) = &record.reason {
            let of = read.reasons.entry(record.outcome).or_default();
            *of.entry(reason.code.to_string()).or_default() += 1;
        }
    }
    let doubled: Vec<_> = counted.iter().filter(|(_, count)| **count > 1).collect();
    if !doubled.is_empty() {
        wrong.push(format!(
            "{} tasks ended more than once: {:?}…",
            doubled.len(),
            &doubled[..doubled.len().min(5)]
        ));
    }
    let missing: Vec<_> = (0..ledger.accepted).filter(|index| !counted.contains_key(index)).collect();
    if !missing.is_empty() {
        let first = &missing[..missing.len().min(5)];
        wrong.push(format!("{} tasks were never read: {first:?}…", missing.len()));
    }
    if let Some(beyond) = counted.keys().find(|index| **index >= ledger.accepted) {
        wrong.push(format!("task {beyond} was read, and {} were accepted", ledger.accepted));
    }
    if sums(&read) != sums(ledger) || read.reasons != ledger.reasons {
        wrong.push(format!("results add up to {read:?}, the account is {ledger:?}"));
    }
    let inputs = &asked.request.inputs;
    if !inputs.is_empty() {
        let width = ledger.accepted / inputs.len() as u64;
        let of = |index: u64| inputs.get(usize::try_from(index / width.max(1)).unwrap());
        if let Some(other) = records.iter().find(|record| of(record.task.index) != Some(&record.input)) {
            wrong.push(format!("task {} is about {}", other.task.index, other.input));
        }
    }
    let by_index: BTreeMap<u64, _> =
        records.iter().map(|record| (record.task.index, &record.input)).collect();
    for (first, inputs) in &asked.appended {
        let wanted = inputs.iter().zip(*first..);
        if let Some((input, index)) =
            wanted.into_iter().find(|(input, index)| by_index.get(index) != Some(input))
        {
            let there = by_index.get(&index);
            wrong.push(format!("{input} was accepted as task {index}, and that is about {there:?}"));
        }
    }
    let mut seen = BTreeSet::new();
    if asked.request.open
        && let Some(twice) = records.iter().find(|record| !seen.insert(record.input.to_string()))
    {
        wrong.push(format!("{} was sent once, and measured twice", twice.input));
    }
}

/// Reasons are true.
fn reasons(asked: &Asked, records: &[ResultRecord], wrong: &mut Vec<String>) {
    for record in records {
        let fails = record.input.to_string().starts_with(kind::FAILS);
        let why = record.reason.as_ref().map(|reason| &*reason.code);
        let fits = match (record.outcome, why) {
            (Outcome::Ok, None) => !fails && record.instance.is_some(),
            (Outcome::Failed, Some(code::NO_ROUTE)) => fails && record.instance.is_some(),
            (Outcome::Cancelled, Some(code::BY_CLIENT)) => asked.cancelled,
            (
                Outcome::Lost,
                // A circuit may be open for as long as a brief one lives.
                Some(code::DEADLINE | code::INSTANCE_LOST | code::NO_INSTANCE | code::CIRCUIT_OPEN),
            )
            | (Outcome::Refused, Some(code::SATURATED | code::DRAINING)) => asked.brief,
            // Nobody was there to offer it when it was accepted.
            (Outcome::Refused, Some(code::UNSUPPORTED)) => asked.amid,
            _ => false,
        };
        if !fits {
            let (outcome, reason) = (record.outcome, &record.reason);
            let (index, attempt) = (record.task.index, record.attempt);
            wrong.push(format!(
                "task {index} on {}, attempt {attempt}, ended {outcome}, {reason:?}",
                record.input
            ));
        }
    }
}

/// Each measurement is listed once, and none that nobody asked for.
async fn listed(world: &World, all: &[Asked], wrong: &mut Vec<String>) {
    let mut labels: BTreeMap<String, usize> = BTreeMap::new();
    let mut after: Option<String> = None;
    loop {
        let page = world.net.ask(Duration::ZERO, async |client| {
            let after = after.as_deref();
            let asked = MeasurementsQuery { after, limit: Some(100), ..MeasurementsQuery::default() };
            client.measurements(asked).await
        });
        match page.await {
            Ok(page) => {
                for measurement in page.items {
                    *labels.entry(measurement.label.unwrap_or_default()).or_default() += 1;
                }
                match page.next {
                    Some(next) => after = Some(next),
                    None => break,
                }
            }
            Err(trouble) => return wrong.push(format!("the list of measurements was {trouble}")),
        }
    }
    for asked in all {
        match labels.remove(&asked.what) {
            Some(1) => {}
            count => wrong.push(format!("{} is listed {} times", asked.what, count.unwrap_or(0))),
        }
    }
    if !labels.is_empty() {
        wrong.push(format!("nobody was told of {labels:?}"));
    }
}

/// What the streams hold of one measurement.
fn stored(asked: &Asked, kept: &Kept, wrong: &mut Vec<String>) {
    let empty = BTreeMap::new();
    let ends = kept.ends.get(&asked.id).unwrap_or(&empty);
    let twice: Vec<_> = ends.iter().filter(|(_, ends)| ends.len() != 1).take(3).collect();
    if !twice.is_empty() {
        wrong.push(format!("{} ({}): in RES tasks end more than once: {twice:?}", asked.what, asked.id));
    }
    let read: BTreeMap<u64, String> =
        asked.read.iter().map(|record| (record.task.index, record.outcome.to_string())).collect();
    let first = |ends: &Vec<streams::End>| ends.first().map(|end| end.outcome.clone()).unwrap_or_default();
    let stored: BTreeMap<u64, String> = ends.iter().map(|(index, ends)| (*index, first(ends))).collect();
    if read != stored {
        let differ = stored.iter().filter(|(index, outcome)| read.get(index) != Some(outcome)).count();
        let (what, id) = (&asked.what, asked.id);
        wrong.push(format!(
            "{what} ({id}): RES holds {} ends and {} were read; {differ} differ",
            stored.len(),
            read.len()
        ));
    }
    let done = kept.done.get(&asked.id).copied().unwrap_or(0);
    if done != 1 {
        wrong.push(format!("{} ({}): LEDGER says {done} times that it is done", asked.what, asked.id));
    }
}

fn sums(ledger: &Ledger) -> [u64; 7] {
    let Ledger { accepted, ok, failed, refused, lost, cancelled, pending, .. } = ledger;
    [*accepted, *ok, *failed, *refused, *lost, *cancelled, *pending]
}

fn same(one: &[ResultRecord], other: &[ResultRecord]) -> bool {
    let of = |records: &[ResultRecord]| -> Vec<_> {
        records.iter().map(|it| (it.task.index, it.outcome, it.attempt, it.body.clone())).collect()
    };
    of(one) == of(other)
}
