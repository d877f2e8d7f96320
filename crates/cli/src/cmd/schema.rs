//! `mmn schema`: the JSON Schema of a kind, or of a type of the contract.

use clap::Args as ClapArgs;
use mmn_schema::id::KindName;
use schemars::Schema;

use crate::args::ApiArgs;
use crate::failure::{Exit, Failure};
use crate::kinds;
use crate::session::Session;

/// `mmn schema`
#[derive(Debug, ClapArgs)]
pub(crate) struct Args {
    /// A kind (`ping`), or a type (`ResultRecord`) [default: list both]
    #[arg(value_name = "KIND|TYPE")]
    name: Option<String>,
    /// Of a kind: its results' bodies, instead of its parameters
    #[arg(long)]
    result: bool,
    #[command(flatten)]
    api: ApiArgs,
}

macro_rules! types {
    ($($name:path),* $(,)?) => {
        [$((stringify!($name), (|| schemars::schema_for!($name)) as fn() -> Schema)),*]
    };
}

/// A type of the contract: its name, and what makes its schema.
type Type = (&'static str, fn() -> Schema);

/// The types of the contract that clients and modules exchange.
fn contract() -> Vec<Type> {
    use mmn_schema::announce::{Announcement, Heartbeat};
    use mmn_schema::api::{
        KindView, Ledger, Limits, Measurement, MeasurementRequest, ModuleView, Plan, ResultRecord, Rollup,
        TaskTrace, VpView,
    };
    use mmn_schema::control::{Control, Controlled, NodeAnswer, NodeOrder};
    use mmn_schema::dispatch::{Receipt, ResultBatch, Synced, TaskBatch, ToInstance};
    use mmn_schema::event::Event;
    use mmn_schema::problem::Problem;
    use mmn_schema::stream::{FromAnchor, FromClient};
    types![
        Announcement,
        Control,
        Controlled,
        Event,
        FromAnchor,
        FromClient,
        Heartbeat,
        KindView,
        Ledger,
        Limits,
        Measurement,
        MeasurementRequest,
        ModuleView,
        NodeAnswer,
        NodeOrder,
        Plan,
        Problem,
        Receipt,
        ResultBatch,
        ResultRecord,
        Rollup,
        Synced,
        TaskBatch,
        TaskTrace,
        ToInstance,
        VpView,
    ]
    .to_vec()
}

pub(crate) async fn run(session: &mut Session, args: &Args) -> Result<Exit, Failure> {
    let Some(name) = &args.name else {
        for kind in kinds::built_in() {
            session.printer.line(&kind.name.to_string())?;
        }
        for (name, _) in contract() {
            session.printer.line(name)?;
        }
        return Ok(Exit::Good);
    };
    if let Some((_, schema)) = contract().into_iter().find(|(known, _)| known == name) {
        session.printer.pretty(&schema())?;
        return Ok(Exit::Good);
    }
    let kind: KindName = name.parse().map_err(|_| {
        Failure::misused(format!("{name} is neither a kind nor a type"))
            .hint("`mmn schema` lists both; `mmn kinds` lists the network's kinds")
    })?;
    let known = kinds::built_in().into_iter().find(|known| known.name == kind);
    let info = match known {
        Some(info) => info,
        None => session.client(&args.api)?.kind(&kind).await?.info,
    };
    session.printer.pretty(if args.result { &info.result } else { &info.params })?;
    Ok(Exit::Good)
}
