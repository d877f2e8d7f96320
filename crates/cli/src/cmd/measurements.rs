//! `mmn measurements`: what was asked for, the newest first.

use clap::{Args as ClapArgs, ValueEnum};
use mmn_client::MeasurementsQuery;
use mmn_schema::api::{Measurement, MeasurementState};
use mmn_schema::id::KindName;

use crate::args::{ApiArgs, MsmArg};
use crate::failure::{Exit, Failure};
use crate::measure;
use crate::session::{self, Session};
use crate::style::Tone;
use crate::table::{self, Cell, Column, Row};

/// `mmn measurements`
#[derive(Debug, ClapArgs)]
pub(crate) struct Args {
    /// Only this one, as JSON; `last` is the newest
    #[arg(value_name = "MSM")]
    measurement: Option<MsmArg>,
    /// Only those that take this vantage point, by its name or its id
    #[arg(long, value_name = "VP", conflicts_with = "measurement")]
    vp: Option<String>,
    /// Only those of this kind
    #[arg(long, conflicts_with = "measurement")]
    kind: Option<KindName>,
    /// Only those in one of these states, with commas between them
    #[arg(long, value_delimiter = ',', conflicts_with = "measurement")]
    state: Vec<State>,
    /// At most so many
    #[arg(long, default_value_t = 20)]
    limit: u32,
    /// Print each as the API gives it, one JSON object a line
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    api: ApiArgs,
}

/// What a measurement is doing.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum State {
    Open,
    Running,
    Done,
    Cancelled,
}

impl State {
    const fn name(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Running => "running",
            Self::Done => "done",
            Self::Cancelled => "cancelled",
        }
    }
}

pub(crate) async fn run(session: &mut Session, args: &Args) -> Result<Exit, Failure> {
    let client = session.client(&args.api)?;
    let printer = &mut session.printer;
    if let Some(which) = args.measurement {
        let id = session::measurement(&client, which).await?;
        let measurement = client.measurement(id).await?;
        if args.json {
            printer.json(&measurement)?;
        } else {
            printer.pretty(&measurement)?;
        }
        return Ok(Exit::Good);
    }
    let states: Vec<_> = args.state.iter().map(|state| state.name()).collect();
    let states = states.join(",");
    let filter = MeasurementsQuery {
        vp: args.vp.as_deref(),
        kind: args.kind.as_ref().map(KindName::as_str),
        state: (!states.is_empty()).then_some(&*states),
        ..MeasurementsQuery::default()
    };
    let mut measurements = Vec::new();
    let mut after = None;
    let wanted = usize::try_from(args.limit).unwrap_or(usize::MAX);
    while measurements.len() < wanted {
        let missing = args.limit.saturating_sub(u32::try_from(measurements.len()).unwrap_or(u32::MAX));
        let asked = MeasurementsQuery { after: after.as_deref(), limit: Some(missing.min(1000)), ..filter };
        let mut page = client.measurements(asked).await?;
        measurements.append(&mut page.items);
        match page.next {
            Some(next) => after = Some(next),
            None => break,
        }
    }
    if args.json {
        measurements.iter().try_for_each(|measurement| printer.json(measurement))?;
        return Ok(Exit::Good);
    }
    let columns = vec![
        Column::left("MEASUREMENT"),
        Column::left("KIND"),
        Column::left("STATE"),
        Column::left("ACCEPTED").shrinks_to(19).optional(),
        Column::left("ACCOUNT").shrinks_to(16),
        Column::left("LABEL").shrinks_to(8).optional(),
    ];
    let rows: Vec<_> = measurements.iter().map(row).collect();
    printer.lines(&table::lines(columns, &rows, printer.width(), printer.style()))?;
    Ok(Exit::Good)
}

fn row(measurement: &Measurement) -> Row {
    let (state, tone) = match measurement.state {
        MeasurementState::Open => ("open", Tone::Warn),
        MeasurementState::Running => ("running", Tone::Warn),
        MeasurementState::Done => ("done", Tone::Good),
        MeasurementState::Cancelled => ("cancelled", Tone::Faint),
    };
    // To the second is enough for a person.
    let accepted: String = measurement.accepted_at.to_string().chars().take(19).collect();
    vec![
        Cell::new(measurement.id.to_string()),
        measurement.kind.to_string().into(),
        Cell::new(state).tone(tone),
        accepted.replace('T', " ").into(),
        measure::sum(&measurement.ledger).into(),
        measurement.label.clone().unwrap_or_default().into(),
    ]
    .into()
}
