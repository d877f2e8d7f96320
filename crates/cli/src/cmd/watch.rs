//! `mmn watch`: results of a measurement, or what happens in the network, as it happens.

use clap::Args as ClapArgs;
use mmn_client::{Client, Happened};
use mmn_schema::event::Event;

use crate::args::{ApiArgs, MsmArg};
use crate::failure::{Exit, Failure};
use crate::measure::Show;
use crate::printer::Printer;
use crate::session::{self, Interrupts, Session};
use crate::style::Tone;
use crate::table;

/// `mmn watch`
#[derive(Debug, ClapArgs)]
pub(crate) struct Args {
    /// A measurement whose results to watch [default: the events of the network]
    #[arg(value_name = "MSM")]
    measurement: Option<MsmArg>,
    /// Print each as the API gives it, one JSON object a line
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    api: ApiArgs,
}

pub(crate) async fn run(session: &mut Session, args: &Args) -> Result<Exit, Failure> {
    let client = session.client(&args.api)?;
    let Some(which) = args.measurement else {
        return events(&mut session.printer, &client, args.json).await;
    };
    let id = session::measurement(&client, which).await?;
    let measurement = client.measurement(id).await?;
    let fields = super::results::fields(&client, &measurement).await;
    let mut show =
        Show::lines(id, measurement.ledger.accepted, measurement.kind.as_str(), &fields, args.json);
    super::results::follow(&mut session.printer, &client, &mut show, None).await
}

async fn events(printer: &mut Printer, client: &Client, json: bool) -> Result<Exit, Failure> {
    let mut interrupts = Interrupts::listen()?;
    let mut events = client.events();
    loop {
        let happened = tokio::select! {
            happened = events.next() => happened?,
            () = interrupts.next() => return Ok(Exit::Good),
        };
        match happened {
            Happened::Resumed => printer.warn("the connection had broken; some events may be missing here"),
            Happened::Event(event, dropped) => {
                if dropped > 0 {
                    printer.warn(&format!("{dropped} events came too fast and were dropped here"));
                }
                if json {
                    printer.json(&event)?;
                } else {
                    let line = line(&event, printer);
                    printer.line(&line)?;
                }
                printer.flush()?;
            }
        }
    }
}

fn line(event: &Event, printer: &Printer) -> String {
    let style = printer.style();
    let at: String = event.at.to_string().chars().skip(11).take(12).collect();
    let tone = match event.kind.as_str() {
        kind if kind.ends_with("-lost") => Tone::Bad,
        "storage-full" => Tone::Bad,
        kind if kind.ends_with("-joined") => Tone::Good,
        _ => Tone::Plain,
    };
    let kind = style.paint(&format!("{:<20}", table::one_line(&event.kind)), tone);
    format!("{}  {kind}  {}", style.paint(&at, Tone::Faint), table::one_line(&event.text))
}
