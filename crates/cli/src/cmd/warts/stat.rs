//! `mmn warts stat FILE…`: what is in files.

use std::collections::{BTreeMap, HashSet};

use clap::Args as ClapArgs;
use mmn_warts::values::{Address, Time};
use mmn_warts::{Kind, Record, Tables};

use super::files::{Files, Visit};
use super::text::instant;
use crate::failure::{Exit, Failure};
use crate::session::Session;
use crate::table::{self, Column, Row};

/// `mmn warts stat`
#[derive(Debug, ClapArgs)]
pub(super) struct Args {
    #[command(flatten)]
    files: Files,
}

pub(super) fn run(session: &mut Session, args: &Args) -> Result<Exit, Failure> {
    let mut counts = Counts::default();
    let exit = args.files.visit(session, &mut counts)?;
    let columns = vec![
        Column::left("TYPE"),
        Column::right("RECORDS"),
        Column::right("TARGETS"),
        Column::right("SENT"),
        Column::right("REPLIES"),
        Column::left("FIRST (UTC)").optional(),
        Column::left("LAST (UTC)").optional(),
    ];
    let rows: Vec<_> = counts.0.iter().map(|(kind, count)| count.row(*kind)).collect();
    let printer = &mut session.printer;
    printer.lines(&table::lines(columns, &rows, printer.width(), printer.style()))?;
    Ok(exit)
}

#[derive(Default)]
struct Counts(BTreeMap<Kind, Count>);

#[derive(Default)]
struct Count {
    records: u64,
    targets: HashSet<Address>,
    /// Of measurements alone.
    sent: Option<u64>,
    replies: Option<u64>,
    span: Option<(Time, Time)>,
}

impl Visit for Counts {
    fn record(&mut self, _session: &mut Session, record: Record, _tables: &Tables) -> Result<(), Failure> {
        let count = self.0.entry(record.kind()).or_default();
        count.records += 1;
        let Some(about) = record.about() else { return Ok(()) };
        if let Some(target) = about.dst.filter(|target| !count.targets.contains(target)) {
            count.targets.insert(target.clone());
        }
        if let Some(sent) = about.sent {
            *count.sent.get_or_insert(0) += sent as u64;
        }
        *count.replies.get_or_insert(0) += about.replies as u64;
        if let Some(start) = about.start {
            let (first, last) = count.span.unwrap_or((start, start));
            count.span = Some((first.min(start), last.max(start)));
        }
        Ok(())
    }
}

impl Count {
    fn row(&self, kind: Kind) -> Row {
        let name = match kind {
            Kind::Other(number) => format!("type {number}"),
            kind => kind.name().to_owned(),
        };
        let number = |number: Option<u64>| number.map_or_else(|| "-".to_owned(), |number| number.to_string());
        let [first, last] = match self.span {
            Some((first, last)) => [first, last].map(instant),
            None => ["-".to_owned(), "-".to_owned()],
        };
        let targets = self.replies.map(|_| self.targets.len() as u64);
        vec![
            name.into(),
            self.records.to_string().into(),
            number(targets).into(),
            number(self.sent).into(),
            number(self.replies).into(),
            first.into(),
            last.into(),
        ]
        .into()
    }
}
