//! `mmn top`: the network in a terminal.

use clap::Args as ClapArgs;
use mmn_schema::time::Span;

use crate::args::{ApiArgs, MsmArg};
use crate::failure::{Exit, Failure};
use crate::session::{self, Session};
use crate::top::{self, Door, Screen};

/// The shortest interval.
const LEAST_INTERVAL: Span = Span::from_millis(200);

/// `mmn top`
#[derive(Debug, ClapArgs)]
#[command(
    after_help = "Keys: 1-4 or Tab for the page, arrows or hjkl, / filters, Enter opens, Esc goes back, ? explains, q quits."
)]
pub(crate) struct Args {
    /// A measurement to open at once; `last` is the newest
    #[arg(value_name = "MSM")]
    measurement: Option<MsmArg>,
    /// How often figures and lists are read anew; events and results come as they happen
    #[arg(long, value_name = "DURATION", default_value = "2s", value_parser = interval)]
    interval: Span,
    #[command(flatten)]
    api: ApiArgs,
}

fn interval(text: &str) -> Result<Span, String> {
    let span: Span = text.parse().map_err(|error| format!("{error}"))?;
    if span < LEAST_INTERVAL {
        return Err("it is at least 200ms".to_owned());
    }
    Ok(span)
}

pub(crate) async fn run(session: &mut Session, args: &Args) -> Result<Exit, Failure> {
    Screen::check()?;
    let door = Door::open(|| session.client(&args.api))?;
    // What is wrong from the beginning is told where it can be read.
    let client = door.client();
    client.limits().await?;
    let measurement = match args.measurement {
        Some(which) => {
            let id = session::measurement(&client, which).await?;
            client.measurement(id).await?;
            Some(id)
        }
        None => None,
    };
    top::run(door, args.interval.duration(), measurement).await
}
