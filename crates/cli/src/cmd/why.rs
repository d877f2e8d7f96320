//! `mmn why`: the story of a task, hop by hop over all attempts; or of a measurement, by reason and vantage point.

mod measurement;
mod task;

use std::collections::BTreeMap;
use std::str::FromStr;

use clap::Args as ClapArgs;
use mmn_client::Client;
use mmn_schema::id::{TaskId, VpId};

use crate::args::{self, ApiArgs, MsmArg};
use crate::failure::{Exit, Failure};
use crate::session::{self, Session};

/// `mmn why`
#[derive(Debug, ClapArgs)]
pub(crate) struct Args {
    /// Which task: `MSM-N`, with N from 0; or a measurement. `last` is the newest
    #[arg(value_name = "TASK|MSM")]
    what: What,
    /// Print it as the API gives it
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    api: ApiArgs,
}

/// A task or a measurement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum What {
    Task(TaskId),
    /// Of the newest measurement.
    LastTask(u64),
    Measurement(MsmArg),
}

impl FromStr for What {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(measurement) = text.parse() {
            return Ok(Self::Measurement(measurement));
        }
        match text.strip_prefix("last-").map(str::parse) {
            Some(Ok(index)) => Ok(Self::LastTask(index)),
            _ => args::task(text).map(Self::Task),
        }
    }
}

pub(crate) async fn run(session: &mut Session, args: &Args) -> Result<Exit, Failure> {
    let client = session.client(&args.api)?;
    let printer = &mut session.printer;
    let task = match args.what {
        What::Measurement(which) => {
            let id = session::measurement(&client, which).await?;
            return measurement::run(printer, &client, id, args.json).await;
        }
        What::LastTask(index) => {
            let measurement = session::measurement(&client, MsmArg::Last).await?;
            TaskId { measurement, index }
        }
        What::Task(task) => task,
    };
    task::run(printer, &client, task, args.json).await
}

/// The names of vantage points. Those that the network has forgotten have none.
#[derive(Debug, Default)]
struct Names(BTreeMap<VpId, String>);

impl Names {
    async fn ask(client: &Client) -> Result<Self, Failure> {
        let vps = session::all(|after| async move { client.vps(after.as_deref()).await }).await?;
        let name = |vp: mmn_schema::api::VpView| {
            let point = vp.vantage_point;
            (point.id, crate::view::named(&point.name, point.simulated))
        };
        Ok(Self(vps.into_iter().map(name).collect()))
    }

    fn of(&self, vp: &VpId) -> String {
        self.0.get(vp).cloned().unwrap_or_else(|| vp.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mmn_schema::id::MeasurementId;

    #[test]
    fn a_task_and_a_measurement_are_told_apart() {
        let id = MeasurementId::new(1_800_000_000_000, &[1; 10]);
        let read = |text: &str| text.parse::<What>();
        assert_eq!(read(&format!("{id}-7")), Ok(What::Task(TaskId { measurement: id, index: 7 })));
        assert_eq!(read(&id.to_string()), Ok(What::Measurement(MsmArg::Id(id))));
        assert_eq!(read("last"), Ok(What::Measurement(MsmArg::Last)));
        assert_eq!(read("last-3"), Ok(What::LastTask(3)));
        assert!(read("last-x").is_err() && read("").is_err());
    }
}
