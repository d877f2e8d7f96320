//! `mmn ledger MSM`: the account of a measurement's tasks, and its sum.

use clap::Args as ClapArgs;
use mmn_schema::api::Ledger;
use mmn_schema::outcome::Outcome;

use crate::args::{ApiArgs, MsmArg};
use crate::failure::{Exit, Failure};
use crate::session::{self, Session};
use crate::style::{Style, Tone};
use crate::view;

/// `mmn ledger`
#[derive(Debug, ClapArgs)]
pub(crate) struct Args {
    /// Which measurement; `last` is the newest
    #[arg(value_name = "MSM")]
    measurement: MsmArg,
    /// Print it as the API gives it
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    api: ApiArgs,
}

pub(crate) async fn run(session: &mut Session, args: &Args) -> Result<Exit, Failure> {
    let client = session.client(&args.api)?;
    let id = session::measurement(&client, args.measurement).await?;
    let ledger = client.ledger(id).await?;
    let printer = &mut session.printer;
    if args.json {
        printer.json(&ledger)?;
    } else {
        printer.lines(&lines(&ledger, printer.style()))?;
    }
    Ok(Exit::of(ledger.closes()))
}

fn lines(ledger: &Ledger, style: Style) -> Vec<String> {
    let wide = ledger.accepted.to_string().len().max(4);
    let mut lines = vec![format!("{:<10} {:>wide$}", "accepted", ledger.accepted)];
    for outcome in Outcome::ALL {
        let count = ledger.count(outcome);
        let tone = if count > 0 { view::tone(outcome) } else { Tone::Faint };
        let more = match outcome {
            Outcome::Ok if count > 0 => format!("  {} answered", ledger.answered),
            _ => String::new(),
        };
        lines.push(style.paint(&format!("{:<10} {count:>wide$}{more}", format!("  {outcome}")), tone));
        for (code, count) in ledger.reasons.get(&outcome).into_iter().flatten() {
            lines.push(format!("{:<10} {count:>wide$}  {code}", "    of it"));
        }
    }
    lines.push(format!("{:<10} {:>wide$}", "  pending", ledger.pending));
    let sum = Outcome::ALL.iter().map(|outcome| ledger.count(*outcome)).sum::<u64>() + ledger.pending;
    let (sign, tone) = if ledger.closes() { ("=", Tone::Good) } else { ("≠", Tone::Bad) };
    let parts: Vec<_> = Outcome::ALL.iter().map(|outcome| ledger.count(*outcome).to_string()).collect();
    lines.push(style.paint(
        &format!("{} {sign} {} + {} = {sum}", ledger.accepted, parts.join(" + "), ledger.pending),
        tone,
    ));
    for (count, what) in [
        (ledger.superseded, "later results of tasks that had ended, dropped"),
        (ledger.expired, "results that are no longer kept"),
    ] {
        if count > 0 {
            lines.push(format!("{count} {what}"));
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sum_is_shown_with_its_reasons() {
        let ledger: Ledger = serde_json::from_value(serde_json::json!({
            "accepted": 12, "ok": 7, "failed": 0, "refused": 3, "lost": 1, "cancelled": 0, "pending": 1,
            "answered": 6, "superseded": 2,
            "reasons": { "refused": { "policy": 2, "saturated": 1 }, "lost": { "deadline": 1 } },
        }))
        .unwrap();
        insta::assert_snapshot!(lines(&ledger, Style::plain()).join("\n"));
    }
}
