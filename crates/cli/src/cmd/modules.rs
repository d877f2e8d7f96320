//! `mmn modules`: the instances of modules, as the anchor sees them.

use clap::Args as ClapArgs;
use mmn_schema::announce::ModuleState;
use mmn_schema::api::{Health, ModuleView, VpView};

use crate::args::ApiArgs;
use crate::failure::{Exit, Failure};
use crate::session::{self, Session};
use crate::style::Tone;
use crate::table::{self, Cell, Column, Row};
use crate::{clock, units};

/// `mmn modules`
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
    let modules = session::all(|after| async move { client.modules(after.as_deref()).await }).await?;
    if args.json {
        let printer = &mut session.printer;
        modules.iter().try_for_each(|module| printer.json(module))?;
        return Ok(Exit::Good);
    }
    let vps = session::all(|after| async move { client.vps(after.as_deref()).await }).await?;
    let printer = &mut session.printer;
    let columns = vec![
        Column::left("INSTANCE").shrinks_to(12),
        Column::left("VP").shrinks_to(8),
        Column::left("STATE"),
        Column::left("KINDS").shrinks_to(8),
        Column::right("RUNNING"),
        Column::right("DONE"),
        Column::right("REFUSED").optional(),
        Column::right("HEARD").optional(),
        Column::left("WHY").shrinks_to(8).optional(),
    ];
    // Of one that has left the bus its node knows more, unless that believes it at work.
    let told = |module: &ModuleView| {
        let mut known = vps.iter().flat_map(|vp| &vp.modules);
        known.any(|one| one.state != ModuleState::Running && one.instances.contains(&module.instance))
    };
    let mut heard = modules;
    heard.retain(|module| !matches!(module.health, Health::Stopped | Health::Lost) || !told(module));
    let mut rows: Vec<_> = heard.iter().map(row).collect();
    rows.extend(vps.iter().flat_map(|vp| unheard(vp, &heard)));
    printer.lines(&table::lines(columns, &rows, printer.width(), printer.style()))?;
    Ok(Exit::Good)
}

/// The health of something, in its colour.
pub(crate) fn health(health: Health) -> Cell {
    let (word, tone) = match health {
        Health::Starting => ("starting", Tone::Warn),
        Health::Healthy => ("healthy", Tone::Good),
        Health::Degraded => ("degraded", Tone::Warn),
        Health::Suspect => ("suspect", Tone::Warn),
        Health::Lost => ("lost", Tone::Bad),
        Health::Draining => ("draining", Tone::Warn),
        Health::Stopped => ("stopped", Tone::Faint),
    };
    Cell::new(word).tone(tone)
}

/// What a node does with a module, in its colour.
pub(crate) fn state(state: ModuleState) -> Cell {
    let (word, tone) = match state {
        ModuleState::Starting => ("starting", Tone::Warn),
        ModuleState::Running => ("running", Tone::Good),
        ModuleState::Draining => ("draining", Tone::Warn),
        ModuleState::Backoff => ("backoff", Tone::Bad),
        ModuleState::Stopped => ("stopped", Tone::Faint),
        ModuleState::Invalid => ("invalid", Tone::Bad),
    };
    Cell::new(word).tone(tone)
}

/// Instances that a node has and the anchor has not heard of.
fn unheard(vp: &VpView, heard: &[ModuleView]) -> Vec<Row> {
    let modules = vp.modules.iter().flat_map(|module| module.instances.iter().map(move |id| (module, id)));
    modules
        .filter(|(_, id)| heard.iter().all(|module| module.instance != **id))
        .map(|(module, id)| {
            let mut cells =
                vec![Cell::new(id.to_string()), vp.vantage_point.name.clone().into(), state(module.state)];
            cells.resize_with(8, Cell::default);
            cells.push(module.detail.clone().unwrap_or_default().into());
            cells.into()
        })
        .collect()
}

fn row(module: &ModuleView) -> Row {
    let load = module.heartbeat.as_ref().map(|heartbeat| heartbeat.load).unwrap_or_default();
    let vp = module.vp_name.clone().unwrap_or_else(|| module.vp.to_string());
    let kinds: Vec<_> = module.kinds.iter().map(ToString::to_string).collect();
    vec![
        Cell::new(module.instance.to_string()),
        vp.into(),
        health(module.health),
        kinds.join(" ").into(),
        load.running.to_string().into(),
        load.done.to_string().into(),
        load.refused.to_string().into(),
        clock::wall()
            .since_ns(module.last_seen_at)
            .map_or_else(|| "now".into(), |ns| units::ago(ns / 1_000_000_000))
            .into(),
        if module.health == Health::Healthy { Cell::default() } else { module.evidence.clone().into() },
    ]
    .into()
}
