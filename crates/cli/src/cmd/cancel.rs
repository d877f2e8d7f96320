//! `mmn cancel MSM`.

use clap::Args as ClapArgs;
use mmn_schema::api::MeasurementState;

use crate::args::{ApiArgs, MsmArg};
use crate::failure::{Exit, Failure};
use crate::measure;
use crate::session::{self, Session};

/// `mmn cancel`
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
    let measurement = client.cancel(id).await?;
    if args.json {
        session.printer.json(&measurement)?;
    } else {
        let done = measurement.state == MeasurementState::Done;
        let what = if done { "had ended already" } else { "is called off" };
        session.printer.line(&format!("{id} {what}; {}", measure::sum(&measurement.ledger)))?;
    }
    Ok(Exit::Good)
}
