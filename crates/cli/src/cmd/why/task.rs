//! The story of one task: its hops in a table, then what came of it, where the time went, and what came to nothing.

use mmn_client::Client;
use mmn_schema::api::{Clock, Hop, TaskTrace};
use mmn_schema::id::TaskId;
use mmn_schema::time::Timestamp;

use super::Names;
use crate::clock;
use crate::failure::{Exit, Failure};
use crate::printer::Printer;
use crate::style::{Style, Tone};
use crate::table::{self, Cell, Column, Row};
use crate::{units, view};

pub(super) async fn run(
    printer: &mut Printer,
    client: &Client,
    task: TaskId,
    json: bool,
) -> Result<Exit, Failure> {
    let trace = client.task(task).await?;
    if json {
        printer.json(&trace)?;
        return Ok(Exit::Good);
    }
    let names = Names::ask(client).await?;
    let story = lines(&trace, &names, clock::wall(), printer.width(), printer.style());
    printer.lines(&story)?;
    if trace.expired {
        printer.note("its result has expired and is no longer kept");
    }
    Ok(Exit::Good)
}

fn lines(
    trace: &TaskTrace,
    names: &Names,
    now: Timestamp,
    width: Option<usize>,
    style: Style,
) -> Vec<String> {
    let input = table::one_line(&trace.input.to_string());
    let id = style.paint(&trace.task.to_string(), Tone::Faint);
    let mut lines = vec![format!("{} {input} {id}", trace.kind)];
    let vps: Vec<_> = trace.assigned.iter().map(|vp| names.of(vp)).collect();
    let assigned = match &*vps {
        [] => String::new(),
        [one] => format!("for {one}"),
        [first, .., last] => format!("for one of {}: {first} to {last}", vps.len()),
    };
    let columns = vec![
        Column::left("AT"),
        Column::right("AFTER"),
        Column::left("HOP"),
        Column::right("TRY"),
        Column::left("WHERE").shrinks_to(10),
        Column::left("DETAIL").shrinks_to(10),
    ];
    lines.extend(table::lines(columns, &rows(trace, names, &assigned), width, style));
    lines.extend(attempts(trace).into_iter().map(|text| style.paint(&table::one_line(&text), Tone::Warn)));
    lines.extend(times(trace, now).map(|text| style.paint(&text, Tone::Faint)));
    let (ended, tone) = match (trace.outcome, &trace.reason) {
        (None, _) => ("pending".to_owned(), Tone::Warn),
        (Some(outcome), None) => (outcome.to_string(), view::tone(outcome)),
        (Some(outcome), Some(reason)) => (format!("{outcome}: {reason}"), view::tone(outcome)),
    };
    lines.push(style.paint(&table::one_line(&ended), tone));
    lines
}

/// Times are given since the hop before that was read from the same clock.
fn rows(trace: &TaskTrace, names: &Names, assigned: &str) -> Vec<Row> {
    let (mut anchor, mut vp) = (None, None);
    let row = |hop: &Hop| {
        let before = match hop.clock {
            Clock::Anchor => anchor.replace(hop.at),
            Clock::Vp => vp.replace(hop.at),
        };
        let after = before.and_then(|before| hop.at.since_ns(before)).map(units::nanos_u64);
        // The day is the same on every line.
        let at: String = hop.at.to_string().chars().skip(11).take(15).collect();
        let at = if hop.clock == Clock::Vp { format!("{at} (vp)") } else { at };
        let place = match (&hop.instance, &hop.vp) {
            (Some(instance), Some(vp)) => format!("{instance} at {}", names.of(vp)),
            (Some(instance), None) => instance.to_string(),
            (None, Some(vp)) => names.of(vp),
            (None, None) => String::new(),
        };
        let detail = match (&hop.detail, &*hop.hop) {
            (Some(detail), _) => detail.clone(),
            (None, "accepted") => assigned.to_owned(),
            (None, _) => String::new(),
        };
        let tone = match &*hop.hop {
            "given-up" => Tone::Warn,
            "closed" => trace.outcome.map_or(Tone::Plain, view::tone),
            _ => Tone::Plain,
        };
        vec![
            Cell::new(at).tone(Tone::Faint),
            after.map(|after| format!("+{after}")).unwrap_or_default().into(),
            Cell::new(hop.hop.clone()).tone(tone),
            hop.attempt.map(|attempt| (attempt + 1).to_string()).unwrap_or_default().into(),
            place.into(),
            detail.into(),
        ]
        .into()
    };
    trace.hops.iter().map(row).collect()
}

/// The attempts that were given up, a line each.
fn attempts(trace: &TaskTrace) -> Vec<String> {
    let closing = trace.hops.iter().rev().find(|hop| hop.hop == "closed").and_then(|hop| hop.attempt);
    let line = |hop: &Hop| {
        let why = hop.detail.as_deref()?;
        let number = hop.attempt.unwrap_or_default();
        let sent = trace.hops.iter().find(|sent| sent.hop == "dispatched" && sent.attempt == hop.attempt);
        let held = sent.and_then(|sent| hop.at.since_ns(sent.at));
        let held = held.map(|held| format!(" after {}", units::nanos_u64(held))).unwrap_or_default();
        let who = hop.instance.as_ref().map(|who| format!(" at {who}")).unwrap_or_default();
        // Given up too early: the first result counts, of whichever attempt.
        let after_all = if closing == hop.attempt { "; its result came after all" } else { "" };
        Some(format!("attempt {} was given up{held}{who}: {why}{after_all}", number + 1))
    };
    trace.hops.iter().filter(|hop| hop.hop == "given-up").filter_map(line).collect()
}

/// Where the time went.
fn times(trace: &TaskTrace, now: Timestamp) -> Option<String> {
    let accepted = trace.hops.first().filter(|hop| hop.hop == "accepted")?.at;
    let closed = trace.hops.iter().rev().find(|hop| hop.hop == "closed");
    let latest = || trace.hops.iter().filter_map(|hop| hop.attempt).max();
    let last = closed.and_then(|hop| hop.attempt).or_else(latest);
    let of = |name: &str| find(trace, name, last?);
    let between = |from: Option<Timestamp>, to: Option<Timestamp>| to?.since_ns(from?).map(units::nanos_u64);
    let sent = of("dispatched").map(|hop| hop.at);
    let mut parts = Vec::new();
    let mut part = |time: Option<String>, what: &str| parts.extend(time.map(|time| format!("{time} {what}")));
    part(between(Some(accepted), sent), "until it last went out");
    if trace.outcome.is_none() {
        let waiting = between(Some(accepted), Some(now))?;
        let since = trace.hops.iter().rev().find(|hop| hop.clock == Clock::Anchor).map(|hop| hop.at);
        let back = trace.hops.last().is_none_or(|hop| matches!(&*hop.hop, "accepted" | "given-up"));
        part(between(since, Some(now)), if back { "waiting for its turn" } else { "at the instance" });
        return Some(format!("{waiting} so far: {}", parts.join(", ")));
    }
    let all = between(Some(accepted), closed.map(|hop| hop.at))?;
    part(between(of("started").map(|hop| hop.at), of("ended").map(|hop| hop.at)), "at work");
    part(between(sent, of("received").map(|hop| hop.at)), "from dispatch to result");
    let parts = if parts.is_empty() { String::new() } else { format!(": {}", parts.join(", ")) };
    Some(format!("{all} in all{parts}"))
}

/// The latest such hop of an attempt.
fn find<'a>(trace: &'a TaskTrace, name: &str, attempt: u32) -> Option<&'a Hop> {
    trace.hops.iter().rev().find(|hop| hop.hop == name && hop.attempt == Some(attempt))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: i64) -> Timestamp {
        Timestamp::from_unix_ns(1_800_000_000_000_000_000 + ms * 1_000_000)
    }

    fn trace(hops: &serde_json::Value, more: &serde_json::Value) -> TaskTrace {
        let id = format!("{}-0", mmn_schema::id::MeasurementId::new(1_800_000_000_000, &[1; 10]));
        let vp = mmn_schema::id::VpId::derive("U", "berlin");
        let mut value = serde_json::json!({
            "task": id, "kind": "ping", "input": "192.0.2.1", "assigned": [vp], "hops": hops,
        });
        value.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        for hop in value["hops"].as_array_mut().unwrap() {
            if hop.get("instance").is_some() {
                hop["vp"] = serde_json::json!(vp);
            }
        }
        serde_json::from_value(value).unwrap()
    }

    fn shown(trace: &TaskTrace) -> String {
        let names = Names([(mmn_schema::id::VpId::derive("U", "berlin"), "berlin".to_owned())].into());
        lines(trace, &names, at(3000), None, Style::plain()).join("\n")
    }

    fn begun() -> Vec<serde_json::Value> {
        let hops = serde_json::json!([
            { "at": at(0), "clock": "anchor", "hop": "accepted" },
            { "at": at(1), "clock": "anchor", "hop": "dispatched", "attempt": 0, "instance": "packet-abc" },
            { "at": at(501), "clock": "anchor", "hop": "given-up", "attempt": 0, "instance": "packet-abc",
              "detail": "not acknowledged in time" },
            { "at": at(560), "clock": "anchor", "hop": "dispatched", "attempt": 1, "instance": "packet-def" },
            { "at": at(561), "clock": "anchor", "hop": "acknowledged", "attempt": 1, "instance": "packet-def" },
        ]);
        hops.as_array().unwrap().clone()
    }

    #[test]
    fn a_task_that_ended_tells_its_story() {
        let mut hops = begun();
        hops.extend([
            serde_json::json!({ "at": at(503), "clock": "vp", "hop": "started", "attempt": 1, "instance": "packet-def",
                "detail": "after 0.087 ms in the instance's queue" }),
            serde_json::json!({ "at": at(523), "clock": "vp", "hop": "ended", "attempt": 1, "instance": "packet-def" }),
            serde_json::json!({ "at": at(581), "clock": "anchor", "hop": "received", "attempt": 1, "instance": "packet-def" }),
            serde_json::json!({ "at": at(583), "clock": "anchor", "hop": "closed", "attempt": 1, "instance": "packet-def",
                "detail": "failed: unreachable" }),
        ]);
        let ended = serde_json::json!({ "outcome": "failed", "reason": { "code": "unreachable" } });
        insta::assert_snapshot!("ended", shown(&trace(&hops.into(), &ended)));
    }

    #[test]
    fn a_task_that_is_pending_says_where_it_is() {
        let nothing = serde_json::json!({});
        insta::assert_snapshot!("at_an_instance", shown(&trace(&begun().into(), &nothing)));
        insta::assert_snapshot!("in_the_queue", shown(&trace(&begun()[..3].to_vec().into(), &nothing)));
    }

    #[test]
    fn an_attempt_that_was_given_up_too_early_is_told() {
        let hops = serde_json::json!([
            { "at": at(0), "clock": "anchor", "hop": "accepted" },
            { "at": at(1), "clock": "anchor", "hop": "dispatched", "attempt": 0, "instance": "packet-abc" },
            { "at": at(501), "clock": "anchor", "hop": "given-up", "attempt": 0, "instance": "packet-abc",
              "detail": "not acknowledged in time" },
            { "at": at(610), "clock": "anchor", "hop": "received", "attempt": 0, "instance": "packet-abc" },
            { "at": at(611), "clock": "anchor", "hop": "closed", "attempt": 0, "instance": "packet-abc", "detail": "ok" },
            { "at": at(560), "clock": "anchor", "hop": "dispatched", "attempt": 1, "instance": "packet-def" },
        ]);
        let shown = shown(&trace(&hops, &serde_json::json!({ "outcome": "ok" })));
        assert!(
            shown.ends_with(
                "attempt 1 was given up after 500 ms at packet-abc: not acknowledged in time; its result came after \
                 all\n611 ms in all: 1.00 ms until it last went out, 609 ms from dispatch to result\nok"
            ),
            "{shown}"
        );
    }

    #[test]
    fn a_task_that_never_went_out_says_so() {
        let hops = serde_json::json!([
            { "at": at(0), "clock": "anchor", "hop": "accepted" },
            { "at": at(2000), "clock": "anchor", "hop": "given-up", "attempt": 0 },
            { "at": at(2000), "clock": "anchor", "hop": "closed", "attempt": 0, "detail": "lost: no-instance" },
        ]);
        let lost = serde_json::json!({ "outcome": "lost", "reason": { "code": "no-instance" } });
        insta::assert_snapshot!("never_went_out", shown(&trace(&hops, &lost)));
    }
}
