//! `mmn kinds`: what can be measured.

use clap::Args as ClapArgs;
use mmn_schema::api::KindView;

use crate::args::ApiArgs;
use crate::failure::{Exit, Failure};
use crate::session::{self, Session};
use crate::table::{self, Cell, Column, Row};

/// `mmn kinds`
#[derive(Debug, ClapArgs)]
pub(crate) struct Args {
    /// Print each as the API gives it, one JSON object a line
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    api: ApiArgs,
}

pub(crate) async fn run(session: &mut Session, args: &Args) -> Result<Exit, Failure> {
    let client = session.client(&args.api)?;
    let client = &client;
    let kinds = session::all(|after| async move { client.kinds(after.as_deref()).await }).await?;
    let printer = &mut session.printer;
    if args.json {
        kinds.iter().try_for_each(|kind| printer.json(kind))?;
        return Ok(Exit::Good);
    }
    let columns = vec![
        Column::left("KIND"),
        Column::left("VERSION"),
        Column::right("VPS"),
        Column::left("MEASURES").shrinks_to(20),
    ];
    let rows: Vec<_> = kinds.iter().map(row).collect();
    printer.lines(&table::lines(columns, &rows, printer.width(), printer.style()))?;
    Ok(Exit::Good)
}

fn row(kind: &KindView) -> Row {
    vec![
        Cell::new(kind.info.name.to_string()),
        kind.info.version.to_string().into(),
        kind.vps.to_string().into(),
        kind.info.description.clone().into(),
    ]
    .into()
}
