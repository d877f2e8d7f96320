//! `mmn results MSM --format FORMAT`: the kept results in a form that others read.
//!
//! Results are read page by page and written as they come: memory does not grow with them. Of what a form has no place
//! for, it is said how much there was.

mod forms;
mod parquet;

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufWriter, IsTerminal as _, Write};
use std::path::{Path, PathBuf};

use clap::ValueEnum;
use mmn_client::{Client, Followed, ResultsQuery};
use mmn_schema::announce::SummaryField;
use mmn_schema::api::{Cursor, Measurement, ResultRecord};
use mmn_schema::id::VpId;
use mmn_schema::vp::VantagePoint;
use mmn_translate::results::rows::{Rows, Which};
use mmn_translate::results::{Asked, Untranslated, atlas, warts};
use mmn_warts::{Compression, Pack};

use crate::failure::{Exit, Failure};
use crate::output::Whole;
use crate::session::{self, Interrupts, Session};

/// A form that others read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// As the API gives it, one object a line
    Json,
    /// A line for each result, with its numbers
    Csv,
    /// The same in columns, for dataframes
    Parquet,
    /// scamper's files
    Warts,
    /// RIPE Atlas's results, one object a line
    Atlas,
}

/// What a row is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Row {
    /// A result, with its kind's numbers
    Results,
    /// A request, probe, reply or record: of ping, trace, udp and dns
    Replies,
}

/// What is exported, and where to.
#[derive(Debug)]
pub(super) struct Export<'a> {
    pub(super) measurement: &'a Measurement,
    pub(super) fields: &'a [SummaryField],
    pub(super) format: Format,
    pub(super) rows: Option<Row>,
    pub(super) output: Option<&'a Path>,
    pub(super) after: Option<Cursor>,
    pub(super) follow: bool,
}

impl Format {
    /// By the suffix of a file's name, what packs it aside.
    pub(super) fn of_name(path: &Path) -> Option<Self> {
        let name = path.file_name()?.to_str()?.to_ascii_lowercase();
        let name =
            [".gz", ".bz2", ".xz"].iter().find_map(|suffix| name.strip_suffix(suffix)).unwrap_or(&name);
        match name.rsplit_once('.')?.1 {
            "json" | "jsonl" | "ndjson" => Some(Self::Json),
            "csv" => Some(Self::Csv),
            "parquet" => Some(Self::Parquet),
            "warts" => Some(Self::Warts),
            _ => None,
        }
    }

    const fn is_text(self) -> bool {
        matches!(self, Self::Json | Self::Csv | Self::Atlas)
    }
}

/// Where a form goes as it is written.
trait Form {
    /// Writes a result.
    fn write(&mut self, point: Option<&VantagePoint>, record: &ResultRecord) -> Result<(), Unwritten>;
    /// Writes what is left.
    fn end(self: Box<Self>) -> Result<(), Failure>;
}

/// Why a result was not written.
enum Unwritten {
    /// The form has no place for it.
    Untranslated(Untranslated),
    /// Nothing more can be written.
    Failed(Failure),
}

impl From<Untranslated> for Unwritten {
    fn from(why: Untranslated) -> Self {
        Self::Untranslated(why)
    }
}

impl<E: Into<Failure>> From<E> for Unwritten {
    fn from(error: E) -> Self {
        Self::Failed(error.into())
    }
}

pub(super) async fn run(
    session: &mut Session,
    client: &Client,
    export: &Export<'_>,
) -> Result<Exit, Failure> {
    let whole = export.output.map(Whole::begin).transpose()?;
    if whole.is_none() && !export.format.is_text() && io::stdout().is_terminal() {
        return Err(Failure::misused("this form is nothing for a terminal").hint("-o FILE names a file"));
    }
    let form = form(export, whole.as_ref().map(Whole::file).transpose()?)?;
    let vps = session::all(async |after| client.vps(after.as_deref()).await).await?;
    let points = vps.into_iter().map(|view| (view.vantage_point.id.clone(), view.vantage_point)).collect();
    let mut writing = Writing { form, points, done: 0, total: 0, nothing: 0, first: None, bad: 0 };
    // Ctrl-C must not leave half a file.
    let mut interrupts = Interrupts::listen()?;
    let read = async {
        if export.follow {
            follow(session, client, export, &mut writing).await
        } else {
            pages(session, client, export, &mut writing).await
        }
    };
    tokio::select! {
        read = read => read?,
        () = interrupts.next() => return Err(Failure::interrupted()),
    }
    let (exit, written) = writing.end(session)?;
    if let (Some(whole), Some(path)) = (whole, export.output) {
        whole.keep()?;
        let results = if written == 1 { "result" } else { "results" };
        session.printer.faint(&format!("{written} {results} in {}", path.display()));
    }
    Ok(exit)
}

/// The results that are kept now.
async fn pages(
    session: &mut Session,
    client: &Client,
    export: &Export<'_>,
    writing: &mut Writing,
) -> Result<(), Failure> {
    let mut query = ResultsQuery { after: export.after, limit: Some(1000) };
    writing.total = export.measurement.ledger.accepted - export.measurement.ledger.pending;
    loop {
        let page = client.results(export.measurement.id, query).await?;
        writing.records(&page.items)?;
        let Some(next) = page.next else { return Ok(()) };
        query.after = Some(next.parse().map_err(Failure::new)?);
        writing.progress(session, export);
    }
}

/// Those too that come until the measurement is done.
async fn follow(
    session: &mut Session,
    client: &Client,
    export: &Export<'_>,
    writing: &mut Writing,
) -> Result<(), Failure> {
    let mut follow = client.follow(export.measurement.id, export.after);
    writing.total = export.measurement.ledger.accepted;
    loop {
        match follow.next().await? {
            Followed::Records(records) => writing.records(&records)?,
            Followed::Done(_) => return Ok(()),
        }
        writing.progress(session, export);
    }
}

/// A form that is written, and how far it is.
struct Writing {
    form: Box<dyn Form>,
    points: HashMap<VpId, VantagePoint>,
    done: u64,
    total: u64,
    /// Results of tasks that measured nothing, for which the form has no place.
    nothing: u64,
    /// Results that could not be written otherwise, and why not the first.
    bad: u64,
    first: Option<String>,
}

impl Writing {
    fn records(&mut self, records: &[ResultRecord]) -> Result<(), Failure> {
        for record in records.iter().filter(|record| record.last) {
            self.done += 1;
            let point = record.vp.as_ref().and_then(|vp| self.points.get(vp));
            match self.form.write(point, record) {
                Ok(()) => {}
                Err(Unwritten::Failed(failure)) => return Err(failure),
                Err(Unwritten::Untranslated(Untranslated::Nothing(_))) => self.nothing += 1,
                Err(Unwritten::Untranslated(why)) => {
                    self.bad += 1;
                    self.first.get_or_insert_with(|| format!("{}: {why}", record.task));
                }
            }
        }
        Ok(())
    }

    fn progress(&self, session: &mut Session, export: &Export<'_>) {
        // Data on the same terminal says enough.
        if export.output.is_some() {
            session.printer.progress(&format!("{} of {} results", self.done, self.total));
        }
    }

    /// Writes what is left, and says what is left out; how many results are not.
    fn end(self, session: &mut Session) -> Result<(Exit, u64), Failure> {
        self.form.end()?;
        if self.nothing > 0 {
            session.printer.faint(&format!(
                "{} of {} results measured nothing, and have no place in this form",
                self.nothing, self.done
            ));
        }
        if let Some(first) = self.first {
            let text = format!("{} of {} results are left out; the first: {first}", self.bad, self.done);
            session.printer.error(&text, None);
        }
        Ok((Exit::of(self.bad == 0), self.done - self.nothing - self.bad))
    }
}

fn form(export: &Export<'_>, file: Option<File>) -> Result<Box<dyn Form>, Failure> {
    let measurement = export.measurement;
    let rows = || {
        let which = match export.rows {
            Some(Row::Replies) => Which::Replies,
            Some(Row::Results) | None => Which::Results,
        };
        Rows::new(which, &measurement.kind, export.fields).map_err(Failure::misused)
    };
    if export.rows.is_some() && !matches!(export.format, Format::Csv | Format::Parquet) {
        return Err(Failure::misused("--rows is for csv and parquet"));
    }
    let asked = || Asked::of(&measurement.kind, &measurement.params).map_err(Failure::new);
    let destination: Box<dyn Write + Send> = match file {
        Some(file) => Box::new(file),
        None => Box::new(io::stdout()),
    };
    if export.format == Format::Parquet {
        return Ok(Box::new(parquet::Parquet::new(rows()?, destination)?));
    }
    let name = export.output.map(|path| path.to_string_lossy());
    let compression = name.map_or(Compression::Plain, |name| Compression::of_name(&name));
    let to = BufWriter::with_capacity(64 << 10, Pack::new(destination, compression)?);
    Ok(match export.format {
        Format::Json => Box::new(forms::Json(to)),
        Format::Csv => Box::new(forms::Csv::new(rows()?, to)?),
        Format::Atlas => {
            let asked = asked()?;
            atlas::serves(&asked).map_err(Failure::misused)?;
            Box::new(forms::Atlas { asked, measurement: measurement.clone(), to })
        }
        Format::Warts | Format::Parquet => {
            let asked = asked()?;
            warts::serves(&asked).map_err(Failure::misused)?;
            Box::new(forms::Warts::new(asked, measurement.clone(), to))
        }
    })
}

/// A destination that is packed by the suffix of its name.
type Packed = BufWriter<Pack<Box<dyn Write + Send>>>;

fn finish(to: Packed) -> Result<(), Failure> {
    to.into_inner().map_err(io::IntoInnerError::into_error)?.finish()?;
    Ok(())
}

/// The form that is asked for, or that a file's name says.
pub(super) fn format(format: Option<Format>, output: Option<&PathBuf>) -> Result<Option<Format>, Failure> {
    match (format, output) {
        (None, Some(path)) => Format::of_name(path).map(Some).ok_or_else(|| {
            Failure::misused(format!("{}: its name does not say in which form", path.display()))
                .hint("--format json, csv, parquet, warts or atlas says it")
        }),
        (format, _) => Ok(format),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_says_the_form() {
        let of = |name: &str| Format::of_name(Path::new(name));
        assert_eq!(of("a.csv.gz"), Some(Format::Csv));
        assert_eq!(of("b/A.WARTS.XZ"), Some(Format::Warts));
        assert_eq!(of("a.parquet"), Some(Format::Parquet));
        assert_eq!(of("a.ndjson"), Some(Format::Json));
        assert_eq!((of("csv"), of("a.gz"), of("a.txt")), (None, None, None));
    }
}
