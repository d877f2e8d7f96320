//! `mmn run KIND`: a kind as the network describes it.

use clap::Args as ClapArgs;
use mmn_schema::id::KindName;

use crate::args::{self, ApiArgs, MeasureArgs};
use crate::failure::{Exit, Failure};
use crate::session::Session;
use crate::{kinds, measure};

/// `mmn run`
#[derive(Debug, ClapArgs)]
pub(crate) struct Args {
    /// The kind; `mmn kinds` lists them
    #[arg(value_name = "KIND", value_parser = args::kind)]
    kind: KindName,
    /// A parameter of the kind; `mmn schema KIND` describes them
    #[arg(long, short, value_name = "NAME=VALUE")]
    set: Vec<String>,
    #[command(flatten)]
    measure: MeasureArgs,
    #[command(flatten)]
    api: ApiArgs,
}

pub(crate) async fn run(session: &mut Session, args: &Args) -> Result<Exit, Failure> {
    let client = session.client(&args.api)?;
    let kind = client.kind(&args.kind).await?.info;
    let params = kinds::params_set(&kind, &args.set)?;
    let mut measure = args.measure.clone();
    if args.measure.deadline.is_none() {
        measure.deadline = None;
    }
    measure::run(&mut session.printer, &client, &kind, params, &measure).await
}
