//! `mmn select EXPR`: what a selection chooses, and how that covers the network.

use clap::Args as ClapArgs;
use mmn_schema::select::Selection;

use crate::args::{self, ApiArgs};
use crate::failure::{Exit, Failure};
use crate::measure;
use crate::session::Session;
use crate::table::{self, Cell, Column, Row};

/// `mmn select`
#[derive(Debug, ClapArgs)]
pub(crate) struct Args {
    /// The selection: `germany+eyeball, as3320, !tag:vpn`
    #[arg(value_name = "SELECTION", value_parser = args::selection)]
    selection: Selection,
    /// Print what the API answers
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    api: ApiArgs,
}

pub(crate) async fn run(session: &mut Session, args: &Args) -> Result<Exit, Failure> {
    let client = session.client(&args.api)?;
    let selected = client.select(&args.selection).await?;
    let printer = &mut session.printer;
    if args.json {
        printer.json(&selected)?;
    } else {
        let rows: Vec<Row> = selected
            .vps
            .iter()
            .map(|vp| {
                let pooled = if vp.pooled { "one of these" } else { "" };
                let name = crate::view::named(&vp.name, vp.simulated);
                vec![Cell::new(name), vp.vp.to_string().into(), pooled.into()].into()
            })
            .collect();
        let columns =
            vec![Column::left("VP").shrinks_to(12), Column::left("ID"), Column::left("").optional()];
        printer.lines(&table::lines(columns, &rows, printer.width(), printer.style()))?;
        for line in measure::coverage(&selected.coverage) {
            printer.note(&line);
        }
    }
    Ok(Exit::of(!selected.vps.is_empty()))
}
