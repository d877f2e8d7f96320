//! `mmn vps`: the vantage points.

use clap::Args as ClapArgs;
use mmn_schema::api::VpView;

use crate::args::ApiArgs;
use crate::failure::{Exit, Failure};
use crate::printer::Printer;
use crate::session::{self, Session};
use crate::table::{self, Cell, Column, Row};
use crate::{clock, units};

/// `mmn vps`
#[derive(Debug, ClapArgs)]
pub(crate) struct Args {
    /// Only this one, in detail: its name or its id
    #[arg(value_name = "VP")]
    vp: Option<String>,
    /// Print each as the API gives it, one JSON object a line
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    api: ApiArgs,
}

pub(crate) async fn run(session: &mut Session, args: &Args) -> Result<Exit, Failure> {
    let client = session.client(&args.api)?;
    if let Some(name) = &args.vp {
        let vp = client.vp(name).await?;
        if args.json {
            session.printer.json(&vp)?;
        } else {
            session.printer.lines(&detail(&vp))?;
        }
        return Ok(Exit::Good);
    }
    let client = &client;
    let vps = session::all(|after| async move { client.vps(after.as_deref()).await }).await?;
    print(&mut session.printer, &vps, args.json)?;
    Ok(Exit::Good)
}

/// A table of vantage points, or a line of JSON for each.
pub(crate) fn print(printer: &mut Printer, vps: &[VpView], json: bool) -> Result<(), Failure> {
    if json {
        return vps.iter().try_for_each(|vp| printer.json(vp)).map_err(Failure::from);
    }
    let columns = vec![
        Column::left("VP").shrinks_to(12),
        Column::left("STATE"),
        Column::left("WHERE").shrinks_to(6).optional(),
        Column::left("AS").shrinks_to(6).optional(),
        Column::left("KINDS").shrinks_to(12),
        Column::right("HEARD").optional(),
        Column::left("ID").optional(),
    ];
    let rows: Vec<_> = vps.iter().map(row).collect();
    printer.lines(&table::lines(columns, &rows, printer.width(), printer.style()))?;
    Ok(())
}

fn row(vp: &VpView) -> Row {
    let point = &vp.vantage_point;
    let location: Vec<_> =
        [&point.location.city, &point.location.country].into_iter().flatten().map(String::as_str).collect();
    let kinds: Vec<_> = vp
        .kinds
        .iter()
        .map(ToString::to_string)
        .chain(vp.unavailable.iter().map(|kind| format!("({})", kind.kind)))
        .collect();
    vec![
        Cell::new(crate::view::named(&point.name, point.simulated)),
        super::modules::health(vp.health),
        location.join(", ").into(),
        point.asn.map_or_else(String::new, |asn| format!("AS{asn}")).into(),
        kinds.join(" ").into(),
        clock::wall()
            .since_ns(vp.last_seen_at)
            .map_or_else(|| "now".into(), |ns| units::ago(ns / 1_000_000_000))
            .into(),
        point.id.to_string().into(),
    ]
    .into()
}

/// One vantage point in lines, its name first.
pub(crate) fn detail(vp: &VpView) -> Vec<String> {
    let point = &vp.vantage_point;
    let mut lines = vec![format!("{} ({})", table::one_line(&point.name), point.id)];
    let mut field = |name: &str, value: String| {
        if !value.is_empty() {
            lines.push(format!("  {name:<12} {}", table::one_line(&value)));
        }
    };
    field("state", format!("{:?}", vp.health).to_lowercase());
    if point.simulated {
        field("simulated", "yes: its network is a world of the lab".to_owned());
    }
    let location = &point.location;
    let place: Vec<_> = [&location.city, &location.country, &location.continent]
        .into_iter()
        .flatten()
        .map(String::as_str)
        .collect();
    field("where", place.join(", "));
    if let (Some(north), Some(east)) = (location.latitude, location.longitude) {
        field("position", format!("{north:.4}, {east:.4}"));
    }
    if let Some(asn) = point.asn {
        field("network", format!("AS{asn} {}", point.as_name.as_deref().unwrap_or_default()));
    }
    field("addresses", point.addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "));
    field("tags", point.tags.join(" "));
    field("kinds", vp.kinds.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "));
    for kind in &vp.unavailable {
        let mend = kind.mend.as_ref().map(|mend| format!("; mend it with: {mend}"));
        field("not ready", format!("{}: {}{}", kind.kind, kind.reason, mend.unwrap_or_default()));
    }
    for module in &vp.modules {
        let state = format!("{:?}", module.state).to_lowercase();
        let detail = module.detail.as_ref().map(|detail| format!(": {detail}"));
        field("module", format!("{} {state}{}", module.module, detail.unwrap_or_default()));
    }
    if let Some(policy) = &vp.policy {
        field(
            "limits",
            format!(
                "{} packets/s, {} bit/s, {} packets/s per target",
                policy.max_pps, policy.max_bps, policy.max_pps_per_target
            ),
        );
        field("allows", policy.allow.join(" "));
        if policy.allow_packet_sockets {
            field("bulk lane", "allowed (allow_packet_sockets)".to_owned());
        }
        field("denies", policy.deny.iter().chain(&policy.deny_kinds).cloned().collect::<Vec<_>>().join(" "));
    }
    lines
}
