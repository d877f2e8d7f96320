//! `mmn why TASK`: each hop of a task, over all attempts, with the time since the one before.

use clap::Args as ClapArgs;
use mmn_schema::api::{Clock, TaskTrace};
use mmn_schema::id::TaskId;

use crate::args::{self, ApiArgs};
use crate::failure::{Exit, Failure};
use crate::session::Session;
use crate::style::Tone;
use crate::table::{self, Cell, Column, Row};
use crate::{units, view};

/// `mmn why`
#[derive(Debug, ClapArgs)]
pub(crate) struct Args {
    /// Which task: `MSM-N`, with N from 0
    #[arg(value_name = "TASK", value_parser = args::task)]
    task: TaskId,
    /// Print it as the API gives it
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    api: ApiArgs,
}

pub(crate) async fn run(session: &mut Session, args: &Args) -> Result<Exit, Failure> {
    let client = session.client(&args.api)?;
    let trace = client.task(args.task).await?;
    let printer = &mut session.printer;
    if args.json {
        printer.json(&trace)?;
        return Ok(Exit::Good);
    }
    let style = printer.style();
    let input = table::one_line(&trace.input.to_string());
    printer.line(&format!("{} {input} {}", trace.kind, style.paint(&trace.task.to_string(), Tone::Faint)))?;
    let columns = vec![
        Column::left("AT"),
        Column::right("AFTER"),
        Column::left("HOP"),
        Column::right("TRY"),
        Column::left("INSTANCE").shrinks_to(10),
        Column::left("DETAIL").shrinks_to(10),
    ];
    let rows = rows(&trace);
    printer.lines(&table::lines(columns, &rows, printer.width(), style))?;
    printer.line(&match (trace.outcome, &trace.reason) {
        (None, _) => style.paint("pending", Tone::Warn),
        (Some(outcome), None) => style.paint(outcome.as_str(), view::tone(outcome)),
        (Some(outcome), Some(reason)) => {
            style.paint(&table::one_line(&format!("{outcome}: {reason}")), view::tone(outcome))
        }
    })?;
    if trace.expired {
        printer.note("its result has expired and is no longer kept");
    }
    Ok(Exit::Good)
}

/// Times are given since the hop before that was read from the same clock.
fn rows(trace: &TaskTrace) -> Vec<Row> {
    let (mut anchor, mut vp) = (None, None);
    trace
        .hops
        .iter()
        .map(|hop| {
            let before = match hop.clock {
                Clock::Anchor => anchor.replace(hop.at),
                Clock::Vp => vp.replace(hop.at),
            };
            let after = before.and_then(|before| hop.at.since_ns(before)).map(units::nanos_u64);
            // The day is the same on every line.
            let at: String = hop.at.to_string().chars().skip(11).take(15).collect();
            let at = if hop.clock == Clock::Vp { format!("{at} (vp)") } else { at };
            vec![
                Cell::new(at),
                after.map(|after| format!("+{after}")).unwrap_or_default().into(),
                hop.hop.clone().into(),
                hop.attempt.map(|attempt| (attempt + 1).to_string()).unwrap_or_default().into(),
                hop.instance.as_ref().map(ToString::to_string).unwrap_or_default().into(),
                hop.detail.clone().unwrap_or_default().into(),
            ]
            .into()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::style::Style;

    #[test]
    fn hops_have_the_time_since_the_one_before() {
        let at =
            |ms: i64| mmn_schema::time::Timestamp::from_unix_ns(1_800_000_000_000_000_000 + ms * 1_000_000);
        let id = format!("{}-0", mmn_schema::id::MeasurementId::new(1_800_000_000_000, &[1; 10]));
        let trace: TaskTrace = serde_json::from_value(serde_json::json!({
            "task": id, "kind": "ping", "input": "192.0.2.1", "assigned": [],
            "hops": [
                { "at": at(0), "clock": "anchor", "hop": "accepted" },
                { "at": at(1), "clock": "anchor", "hop": "dispatched", "attempt": 0, "instance": "packet-abc" },
                { "at": at(501), "clock": "anchor", "hop": "given-up", "attempt": 0, "detail": "no receipt" },
                { "at": at(503), "clock": "vp", "hop": "started", "attempt": 1, "instance": "packet-def" },
            ],
        }))
        .unwrap();
        let columns = ["AT", "AFTER", "HOP", "TRY", "INSTANCE", "DETAIL"].map(Column::left).to_vec();
        insta::assert_snapshot!(table::lines(columns, &rows(&trace), None, Style::plain()).join("\n"));
    }
}
