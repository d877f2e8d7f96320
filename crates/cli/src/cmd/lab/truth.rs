//! `mmn lab truth`: what really happened to packets.

use std::net::IpAddr;

use clap::Args as ClapArgs;
use mmn_lab::host::message::Told;
use mmn_lab::namespaces::{Found, RecordRow, TruthQuery, What};

use super::DirArgs;
use super::beside::{self, Asked};
use crate::args::{ApiArgs, MsmArg};
use crate::failure::{Exit, Failure};
use crate::session::Session;
use crate::table::{self, Cell, Column, Row};
use crate::units;

/// `mmn lab truth`
#[derive(Debug, ClapArgs)]
pub(super) struct Args {
    /// Only the packets of this measurement, beside what it measured; `last` is the newest
    #[arg(value_name = "MSM")]
    measurement: Option<MsmArg>,
    /// Only what this vantage point sent
    #[arg(long, value_name = "VP")]
    vp: Option<String>,
    /// Only what went to this address
    #[arg(long, value_name = "ADDRESS")]
    to: Option<IpAddr>,
    /// Only with this ICMP identifier or source port
    #[arg(long, value_name = "N", conflicts_with = "measurement")]
    id: Option<u16>,
    /// Only with this ICMP sequence number or destination port
    #[arg(long, value_name = "N", conflicts_with = "measurement")]
    seq: Option<u16>,
    /// How many packets, the newest; at most 100
    #[arg(long, value_name = "N", default_value_t = 20, conflicts_with = "measurement")]
    last: u32,
    /// Print the records as JSON, one packet a line
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    dir: DirArgs,
    #[command(flatten)]
    api: ApiArgs,
}

pub(super) fn run(session: &mut Session, args: &Args) -> Result<Exit, Failure> {
    let mut client = args.dir.client(session)?;
    if let Some(measurement) = args.measurement {
        let Args { to, json, api, .. } = args;
        let asked = Asked { measurement, vp: args.vp.as_deref(), to: *to, json: *json, api };
        return beside::run(session, &mut client, &asked);
    }
    let query = TruthQuery {
        vp: args.vp.clone(),
        to: args.to,
        selector: args.id,
        far: args.seq,
        last: args.last,
        ..TruthQuery::default()
    };
    let told = client.truth(&query)?;
    let start_ns = client.status()?.start_ns;
    let printer = &mut session.printer;
    if args.json {
        for found in &told.packets {
            printer.json(found)?;
        }
    } else if told.packets.is_empty() {
        printer.note("no packet fits");
    } else {
        let rows = rows(&told, start_ns);
        printer.lines(&table::lines(columns(), &rows, printer.width(), printer.style()))?;
    }
    if told.cut {
        printer.note("older ones fit, too; --last asks for fewer");
    }
    Ok(Exit::of(!told.packets.is_empty()))
}

fn columns() -> Vec<Column> {
    vec![
        Column::right("SENT"),
        Column::left("BY"),
        Column::left("TO").shrinks_to(12),
        Column::left("WHAT"),
        Column::right("TTL"),
        Column::left("FATE").shrinks_to(16),
        Column::right("AFTER"),
        Column::right("BROUGHT").optional(),
    ]
}

fn rows(told: &Told, start_ns: u64) -> Vec<Row> {
    told.packets.iter().flat_map(|found| of(found, start_ns)).collect()
}

/// A row for the packet, and one for each that came of it, below.
fn of(found: &Found, start_ns: u64) -> Vec<Row> {
    let sent = &found.packet;
    let mut rows = vec![row(sent, units::nanos_u64(sent.born_ns.saturating_sub(start_ns)), sent.born_ns)];
    rows.extend(found.came.iter().map(|came| row(came, String::new(), sent.born_ns)));
    rows
}

fn row(record: &RecordRow, sent: String, born_ns: u64) -> Row {
    let by = if record.cause.is_some() { format!("  {}", record.by) } else { record.by.clone() };
    let protocol = record.protocol.as_deref().unwrap_or("other");
    let after = |at: u64| units::nanos_u64(at.saturating_sub(born_ns));
    let brought =
        record.written_ns.map(|at| format!("+{}", units::nanos_u64(at.saturating_sub(record.ended_ns))));
    vec![
        Cell::new(sent),
        Cell::new(by),
        Cell::new(record.destination.to_string()),
        Cell::new(format!("{protocol} {} {}", record.selector, record.far)),
        Cell::new(record.ttl.to_string()),
        Cell::new(fate(record)),
        Cell::new(after(record.ended_ns)),
        Cell::new(brought.unwrap_or_default()),
    ]
    .into()
}

pub(super) fn fate(record: &RecordRow) -> String {
    let fate = &record.fate;
    let at = fate.at.as_deref().unwrap_or_default();
    let silent =
        fate.silent.as_ref().map(|why| format!(", silent: {}", why.replace('_', " "))).unwrap_or_default();
    match fate.what {
        What::UnderWay => "under way".to_owned(),
        What::Delivered => format!("came to {at}"),
        What::Answered => format!("answered by {at}"),
        What::Kept => format!("kept by {at}{silent}"),
        What::Expired => format!("TTL ran out at {at}{silent}"),
        What::TooBig => format!("too big for {at}{silent}"),
        What::NoRoute => format!("no route at {at}{silent}"),
        What::Fragmented => format!("cut to pieces at {at}"),
        What::Reassembled => format!("put together at {at}"),
        What::Lost => format!("lost on {at}"),
        What::QueueFull => format!("queue full on {at}"),
        What::LinkDown => format!("{at} was down"),
        What::Malformed => "was no packet".to_owned(),
        What::WorldFull => "the world was full".to_owned(),
    }
}
