//! `mmn lab status`: how a lab is doing.

use clap::Args as ClapArgs;
use mmn_lab::host::message::About;
use mmn_lab::namespaces::driver::Status;
use mmn_lab::namespaces::lateness::Late;
use serde::Serialize;

use super::DirArgs;
use crate::failure::{Exit, Failure};
use crate::session::Session;
use crate::units;

/// `mmn lab status`
#[derive(Debug, ClapArgs)]
pub(super) struct Args {
    /// Print it as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    dir: DirArgs,
}

#[derive(Serialize)]
struct Both {
    lab: About,
    status: Status,
}

pub(super) fn run(session: &mut Session, args: &Args) -> Result<Exit, Failure> {
    let mut client = args.dir.client(session)?;
    let (about, status) = (client.about()?, client.status()?);
    let exit = Exit::of(status.exact);
    if args.json {
        session.printer.json(&Both { lab: about, status })?;
    } else {
        session.printer.lines(&lines(&about, &status))?;
    }
    Ok(exit)
}

fn lines(about: &About, status: &Status) -> Vec<String> {
    let exact = if status.exact {
        "yes: what comes out is as late as told, and nothing was dropped"
    } else if status.dropped_in + status.dropped_out > 0 {
        "no: packets were dropped that the world did not drop"
    } else {
        "no: packets came out too late"
    };
    let mut lines = vec![
        format!("lab      {}, process {}", about.file, about.pid),
        format!("driver   {}: {}", about.driver, about.why),
        format!("exact    {exact}"),
        format!("late     {}", late(&status.late)),
        format!("lately   {}", late(&status.late_recently)),
        format!(
            "packets  {} in, {} out, {} under way, {} events",
            status.packets_in, status.packets_out, status.under_way, status.events
        ),
        format!(
            "dropped  {} before the world, {} behind it; {} to groups were ignored",
            status.dropped_in, status.dropped_out, status.ignored
        ),
    ];
    if status.forgotten > 0 {
        lines.push(format!("truth    {} packets are forgotten", status.forgotten));
    }
    lines
}

fn late(late: &Late) -> String {
    let (Some(p50), Some(p90), Some(p99), Some(most)) = (late.p50_ns, late.p90_ns, late.p99_ns, late.most_ns)
    else {
        return "no packet yet".to_owned();
    };
    let show = units::nanos_u64;
    format!(
        "half {}, 90 % {}, 99 % {}, all {} of {} packets",
        show(p50),
        show(p90),
        show(p99),
        show(most),
        late.packets
    )
}
