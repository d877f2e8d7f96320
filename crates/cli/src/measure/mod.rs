//! A measurement from the command line to its table: asked for, followed, shown, and called off by Ctrl-C.

mod plan;
mod show;

use std::collections::BTreeMap;

use futures::future::OptionFuture;
use mmn_client::{Client, ClientError, Feed, Follow, Followed, Measure};
use mmn_schema::announce::{InputShape, KindInfo};
use mmn_schema::api::{Budget, Ledger, Measurement, MeasurementRequest, ResultRecord, Visibility};
use mmn_schema::dispatch::Input;
use mmn_schema::id::MeasurementId;
use mmn_schema::outcome::Outcome;
use serde_json::Value;

use crate::args::MeasureArgs;
use crate::failure::{Exit, Failure};
use crate::printer::Printer;
use crate::session::Interrupts;
use crate::targets::Targets;
use crate::units;

pub(crate) use plan::coverage;
pub(crate) use show::Show;

/// Lists up to this length go in one request; longer ones are appended to an open measurement as they are read.
const ONE_REQUEST: usize = 10_000;

/// Performs what the command line asks for.
pub(crate) async fn run(
    printer: &mut Printer,
    client: &Client,
    kind: &KindInfo,
    params: BTreeMap<String, Value>,
    args: &MeasureArgs,
) -> Result<Exit, Failure> {
    let mut list = args.file.as_deref().map(Targets::open).transpose()?;
    let mut targets = args.targets.clone();
    if let Some(list) = &mut list {
        targets.extend(list.next_chunk(ONE_REQUEST + 1)?);
    }
    let streamed = list.filter(|_| targets.len() > ONE_REQUEST && kind.input != InputShape::Targets);
    let inputs = inputs(kind, targets, args.file.is_some())?;
    let request = request(kind, params, inputs, args);
    if args.dry_run {
        return plan::run(printer, client, &request, args.json).await;
    }
    match streamed {
        Some(list) => feed(printer, client, kind, request, list, args).await,
        None => one_request(printer, client, kind, &request, args).await,
    }
}

/// Whether a record says that something answered. A kind that has no such notion has answered when it is ok.
pub(crate) fn answered(record: &ResultRecord) -> bool {
    record.last && record.outcome == Outcome::Ok && record.answered != Some(false)
}

/// The exit status of a measurement that is done.
pub(crate) const fn exit_of(ledger: &Ledger, answered: bool) -> Exit {
    Exit::of(ledger.ok == ledger.accepted && ledger.accepted > 0 && answered)
}

/// The account in a line: `3 tasks: 2 ok (1 answered), 1 lost`.
pub(crate) fn sum(ledger: &Ledger) -> String {
    let mut parts = Vec::new();
    for outcome in Outcome::ALL {
        let count = ledger.count(outcome);
        if count > 0 || (outcome == Outcome::Ok && ledger.pending < ledger.accepted) {
            let text = format!("{count} {outcome}");
            // Whether none of them answered is for whoever saw the records: many kinds have no such notion.
            parts.push(if outcome == Outcome::Ok && (1..count).contains(&ledger.answered) {
                format!("{text} ({} answered)", ledger.answered)
            } else {
                text
            });
        }
    }
    if ledger.pending > 0 {
        parts.push(format!("{} pending", ledger.pending));
    }
    let tasks = units::count(ledger.accepted, "task");
    if parts.is_empty() { tasks } else { format!("{tasks}: {}", parts.join(", ")) }
}

/// The line after the results: the account, and where it can be looked up.
fn last_line(ledger: &Ledger, answered: bool, id: MeasurementId) -> String {
    let none = if ledger.ok > 0 && !answered { ", nothing answered" } else { "" };
    format!("{}{none} · {id}", sum(ledger))
}

async fn one_request(
    printer: &mut Printer,
    client: &Client,
    kind: &KindInfo,
    request: &MeasurementRequest,
    args: &MeasureArgs,
) -> Result<Exit, Failure> {
    let mut interrupts = Interrupts::listen()?;
    let measure = Measure::new(request);
    let measurement = tokio::select! {
        accepted = client.measure(&measure) => match accepted {
            Ok(measurement) => measurement,
            Err(error) => return Err(refused(client, kind, error).await),
        },
        () = interrupts.next() => return Err(give_up(client, &measure).await),
    };
    warn_of_plan(printer, &measurement);
    if args.no_wait {
        return accepted(printer, &measurement, args.json);
    }
    let mut show = Show::new(printer, kind, &request.inputs, &measurement, args.json)?;
    let follow = client.follow(measurement.id, None);
    let done = until_done(printer, client, follow, &mut show, None, &mut interrupts).await?;
    show.end(printer, &done.0)?;
    printer.faint(&last_line(&done.0, done.1, measurement.id));
    Ok(exit_of(&done.0, done.1))
}

/// A list that is too long for a request: inputs are appended as they are read, results shown as they come.
async fn feed(
    printer: &mut Printer,
    client: &Client,
    kind: &KindInfo,
    mut request: MeasurementRequest,
    list: Targets,
    args: &MeasureArgs,
) -> Result<Exit, Failure> {
    let first = std::mem::take(&mut request.inputs);
    let mut interrupts = Interrupts::listen()?;
    let feed = match client.feed(&request).await {
        Ok(feed) => feed,
        Err(error) => return Err(refused(client, kind, error).await),
    };
    let measurement = feed.measurement().clone();
    if args.no_wait {
        append_all(feed, first, list).await?;
        return accepted(printer, &measurement, args.json);
    }
    let mut show = Show::new(printer, kind, &[], &measurement, args.json)?;
    let follow = client.follow(measurement.id, None);
    let appending = Box::pin(append_all(feed, first, list));
    let done = until_done(printer, client, follow, &mut show, Some(appending), &mut interrupts).await?;
    show.end(printer, &done.0)?;
    printer.faint(&last_line(&done.0, done.1, measurement.id));
    Ok(exit_of(&done.0, done.1))
}

type Appending = std::pin::Pin<Box<dyn Future<Output = Result<(), Failure>> + Send>>;

async fn append_all(mut feed: Feed, first: Vec<Input>, mut list: Targets) -> Result<(), Failure> {
    feed.append(&first).await?;
    loop {
        // A pipe may be silent for long: reading blocks a thread of its own, not the results.
        let (back, chunk) = tokio::task::spawn_blocking(move || {
            let chunk = list.next_chunk(1024);
            (list, chunk)
        })
        .await
        .map_err(Failure::new)?;
        list = back;
        let chunk = chunk?;
        if chunk.is_empty() {
            feed.close().await?;
            return Ok(());
        }
        let inputs: Vec<_> = chunk.into_iter().map(Input::Target).collect();
        feed.append(&inputs).await?;
    }
}

/// Shows records until the measurement is done. The first Ctrl-C calls it off, a second one ends this program.
async fn until_done(
    printer: &mut Printer,
    client: &Client,
    mut follow: Follow,
    show: &mut Show,
    appending: Option<Appending>,
    interrupts: &mut Interrupts,
) -> Result<(Ledger, bool), Failure> {
    let mut any = false;
    let mut cancelled = false;
    let mut appending = OptionFuture::from(appending);
    let mut appended = false;
    let id = show.measurement();
    loop {
        let step = tokio::select! {
            biased;
            () = interrupts.next() => {
                if std::mem::replace(&mut cancelled, true) {
                    return Err(Failure::interrupted());
                }
                printer.faint("calling it off; Ctrl-C once more ends at once");
                // What was being appended stops with it.
                appending = OptionFuture::from(None);
                client.cancel(id).await.map(|_| ())?;
                continue;
            }
            done = &mut appending, if !appended => {
                appended = true;
                if let Some(Err(failure)) = done {
                    cancel_quietly(client, id).await;
                    return Err(failure);
                }
                continue;
            }
            step = follow.next() => step?,
        };
        let shown = match step {
            Followed::Records(records) => {
                any |= records.iter().any(answered);
                show.records(printer, &records)
            }
            Followed::Done(ledger) => return Ok((ledger, any)),
        };
        if let Err(error) = shown {
            // Nobody reads any more: what would still be measured is measured for nobody.
            cancel_quietly(client, id).await;
            return Err(error.into());
        }
    }
}

/// Ctrl-C came while the answer to the request was awaited: nobody knows yet whether it was accepted. The key finds
/// the measurement, and it is called off.
async fn give_up(client: &Client, measure: &Measure<'_>) -> Failure {
    if let Ok(measurement) = client.measure(measure).await {
        cancel_quietly(client, measurement.id).await;
    }
    Failure::interrupted()
}

/// Why a measurement was not accepted. Where nothing was chosen because a vantage point can't perform the kind at
/// present, what mends that is the better hint.
async fn refused(client: &Client, kind: &KindInfo, error: ClientError) -> Failure {
    let about_choice = error
        .problem()
        .is_some_and(|problem| problem.errors.iter().any(|field| field.pointer.starts_with("/from")));
    let failure = Failure::from(error);
    if !about_choice {
        return failure;
    }
    let vps = client.vps(None).await.map(|page| page.items).unwrap_or_default();
    let missing = vps.iter().find_map(|vp| {
        let missing = vp.unavailable.iter().find(|missing| missing.kind == kind.name)?;
        Some((vp, missing))
    });
    match missing {
        Some((vp, missing)) => {
            let text =
                format!("{} can't be measured at {}: {}", kind.name, vp.vantage_point.name, missing.reason);
            let failure = Failure::new(text);
            match &missing.mend {
                Some(mend) => failure.hint(mend),
                None => failure,
            }
        }
        None => failure,
    }
}

async fn cancel_quietly(client: &Client, id: MeasurementId) {
    // This program is ending for another reason, which is the one worth telling.
    let _ = client.cancel(id).await;
}

fn accepted(printer: &mut Printer, measurement: &Measurement, json: bool) -> Result<Exit, Failure> {
    if json {
        printer.json(measurement)?;
    } else {
        printer.line(&measurement.id.to_string())?;
        printer.faint(&format!("`mmn results {} --follow` shows its results", measurement.id));
    }
    Ok(Exit::Good)
}

/// What the plan says that a person should know before the results are in.
fn warn_of_plan(printer: &mut Printer, measurement: &Measurement) {
    let Some(plan) = &measurement.plan else { return };
    for term in &plan.coverage.unmatched {
        printer.warn(&format!("{term} matches no vantage point"));
    }
}

fn request(
    kind: &KindInfo,
    params: BTreeMap<String, Value>,
    inputs: Vec<Input>,
    args: &MeasureArgs,
) -> MeasurementRequest {
    MeasurementRequest {
        kind: kind.name.clone(),
        params: (!params.is_empty()).then_some(params),
        inputs,
        from: args.from.clone(),
        deadline: args.deadline,
        open: false,
        visibility: if args.public { Visibility::Public } else { Visibility::Private },
        budget: args
            .max_packets
            .map(|max_packets| Budget { max_tasks: None, max_packets: Some(max_packets) }),
        label: args.label.clone(),
    }
}

/// The inputs that the kind wants, of the targets that were given.
fn inputs(kind: &KindInfo, targets: Vec<String>, from_list: bool) -> Result<Vec<Input>, Failure> {
    let none = targets.is_empty();
    match kind.input {
        InputShape::Nothing if none => Ok(Vec::new()),
        InputShape::Nothing => Err(Failure::misused(format!("{} takes no target", kind.name))),
        _ if none && from_list => Err(Failure::misused("the list holds no target")),
        _ if none => Err(Failure::misused(format!("{} wants a target", kind.name))
            .hint(format!("mmn {} TARGET, or --file FILE with a target a line", kind.name))),
        InputShape::Target => Ok(targets.into_iter().map(Input::Target).collect()),
        InputShape::Targets => Ok(vec![Input::Targets(targets)]),
        InputShape::Peer => targets
            .into_iter()
            .map(|target| {
                target.parse().map(|vp| Input::Peer { vp }).map_err(|error: mmn_schema::id::IdError| {
                    Failure::misused(error).hint("`mmn vps` lists vantage points with their ids")
                })
            })
            .collect(),
    }
}
