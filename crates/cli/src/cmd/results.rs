//! `mmn results MSM`: what was measured, from the first or after a cursor; to look at, or in a form that others read.

mod export;

use std::path::PathBuf;

use clap::Args as ClapArgs;
use mmn_client::{Client, Followed, ResultsQuery};
use mmn_schema::announce::SummaryField;
use mmn_schema::api::{Cursor, Ledger, Measurement};

use crate::args::{self, ApiArgs, MsmArg};
use crate::failure::{Exit, Failure};
use crate::kinds;
use crate::measure::{self, Show};
use crate::printer::Printer;
use crate::session::{self, Interrupts, Session};

/// `mmn results`
#[derive(Debug, ClapArgs)]
pub(crate) struct Args {
    /// Which measurement; `last` is the newest
    #[arg(value_name = "MSM")]
    measurement: MsmArg,
    /// Go on until the measurement is done
    #[arg(long)]
    follow: bool,
    /// Only what came after this record: its `cursor`
    #[arg(long, value_name = "CURSOR", value_parser = args::cursor)]
    after: Option<Cursor>,
    /// Print each as the API gives it, one JSON object a line
    #[arg(long)]
    json: bool,
    /// In a form that others read [default: what the suffix of -o says]
    #[arg(long, value_enum, value_name = "FORMAT", conflicts_with = "json")]
    format: Option<export::Format>,
    /// Write to this file, which appears whole or not at all; `.gz`, `.bz2` and `.xz` compress all forms but Parquet
    /// [default: standard output]
    #[arg(long, short, value_name = "FILE", conflicts_with = "json")]
    output: Option<PathBuf>,
    /// What a row of csv or parquet is [default: results]
    #[arg(long, value_enum, value_name = "ROWS", conflicts_with = "json")]
    rows: Option<export::Row>,
    #[command(flatten)]
    api: ApiArgs,
}

pub(crate) async fn run(session: &mut Session, args: &Args) -> Result<Exit, Failure> {
    let format = export::format(args.format, args.output.as_ref())?;
    if format.is_none() && args.rows.is_some() {
        return Err(Failure::misused("--rows is for csv and parquet").hint("--format csv"));
    }
    let client = session.client(&args.api)?;
    let id = session::measurement(&client, args.measurement).await?;
    let measurement = client.measurement(id).await?;
    let fields = fields(&client, &measurement).await;
    if let Some(format) = format {
        let export = export::Export {
            measurement: &measurement,
            fields: &fields,
            format,
            rows: args.rows,
            output: args.output.as_deref(),
            after: args.after,
            follow: args.follow,
        };
        let exit = export::run(session, &client, &export).await?;
        note_of_expired(&mut session.printer, &measurement.ledger);
        return Ok(exit);
    }
    let mut show =
        Show::lines(id, measurement.ledger.accepted, measurement.kind.as_str(), &fields, args.json);
    if args.follow {
        return follow(&mut session.printer, &client, &mut show, args.after).await;
    }
    let mut query = ResultsQuery { after: args.after, limit: Some(1000) };
    let mut any = false;
    loop {
        let page = client.results(id, query).await?;
        any |= page.items.iter().any(measure::answered);
        show.records(&mut session.printer, &page.items)?;
        match page.next {
            Some(next) => query.after = Some(next.parse().map_err(Failure::new)?),
            None => break,
        }
    }
    let any = any || (args.after.is_some() && measurement.ledger.answered > 0);
    note_of_expired(&mut session.printer, &measurement.ledger);
    Ok(measure::exit_of(&measurement.ledger, any))
}

/// Shows results as they come until the measurement is done. Ctrl-C stops the showing and nothing else.
pub(crate) async fn follow(
    printer: &mut Printer,
    client: &Client,
    show: &mut Show,
    after: Option<Cursor>,
) -> Result<Exit, Failure> {
    let mut interrupts = Interrupts::listen()?;
    let mut follow = client.follow(show.measurement(), after);
    let mut any = after.is_some();
    loop {
        let step = tokio::select! {
            step = follow.next() => step?,
            () = interrupts.next() => {
                if let Some(cursor) = follow.cursor() {
                    printer.faint(&format!("`mmn results {} --after {cursor}` goes on", show.measurement()));
                }
                return Err(Failure::interrupted());
            }
        };
        match step {
            Followed::Records(records) => {
                any |= records.iter().any(measure::answered);
                show.records(printer, &records)?;
            }
            Followed::Done(ledger) => {
                printer.faint(&measure::sum(&ledger));
                note_of_expired(printer, &ledger);
                return Ok(measure::exit_of(&ledger, any));
            }
        }
    }
}

/// The numbers of a kind, as the network describes it, else as this build does; those of a kind that is gone are not shown.
pub(crate) async fn fields(client: &Client, measurement: &Measurement) -> Vec<SummaryField> {
    match client.kind(&measurement.kind).await {
        Ok(kind) => kind.info.summary,
        Err(_) => kinds::summary(measurement.kind.as_str()),
    }
}

fn note_of_expired(printer: &mut Printer, ledger: &Ledger) {
    if ledger.expired > 0 {
        printer.warn(&format!("{} of the results have expired and are no longer kept", ledger.expired));
    }
}
