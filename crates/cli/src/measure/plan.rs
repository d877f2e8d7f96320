//! What a measurement would do: `--dry-run`.

use mmn_client::Client;
use mmn_schema::api::{Coverage, MeasurementRequest, Plan, PlannedVp};

use crate::failure::{Exit, Failure};
use crate::printer::Printer;
use crate::style::Tone;
use crate::table::{self, Cell, Column, Row};
use crate::units;

/// Prints the plan. It ends well when something of it would be done.
pub(super) async fn run(
    printer: &mut Printer,
    client: &Client,
    request: &MeasurementRequest,
    json: bool,
) -> Result<Exit, Failure> {
    let plan = client.plan(request).await?;
    if json {
        printer.json(&plan)?;
    } else {
        print(printer, &plan)?;
    }
    Ok(Exit::of(plan.refused < plan.tasks))
}

fn print(printer: &mut Printer, plan: &Plan) -> Result<(), Failure> {
    let columns = vec![
        Column::left("VP").shrinks_to(8),
        Column::right("PACKETS"),
        Column::right("BYTES"),
        Column::left("REFUSES").shrinks_to(12),
    ];
    let rows: Vec<_> = plan.vps.iter().map(row).collect();
    printer.lines(&table::lines(columns, &rows, printer.width(), printer.style()))?;
    printer.note(&summary(plan));
    for line in coverage(&plan.coverage) {
        printer.note(&line);
    }
    Ok(())
}

fn row(vp: &PlannedVp) -> Row {
    let known = |number: Option<u64>| number.map_or_else(|| "?".into(), |n| n.to_string());
    #[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
    let bytes = vp.bytes.map_or_else(|| "?".into(), |bytes| units::bytes(bytes as f64));
    let name = if vp.pooled { format!("{} (or another)", vp.name) } else { vp.name.clone() };
    let name = crate::view::named(&name, vp.simulated);
    let refusals: Vec<_> = vp
        .refusals
        .iter()
        .map(|refusal| match &refusal.input {
            Some(input) => format!("{input}: {}", refusal.reason),
            None => refusal.reason.to_string(),
        })
        .collect();
    vec![
        Cell::new(name),
        known(vp.packets).into(),
        bytes.into(),
        Cell::new(refusals.join("; ")).tone(Tone::Warn),
    ]
    .into()
}

fn summary(plan: &Plan) -> String {
    let mut line = units::count(plan.tasks, "task");
    if plan.refused > 0 {
        line = format!("{line}, {} of them refused", plan.refused);
    }
    if let Some(packets) = plan.packets {
        line = format!("{line}, at most {}", units::count(packets, "packet"));
    }
    format!("{line}; nothing was sent")
}

/// How a choice covers the network, in lines.
pub(crate) fn coverage(coverage: &Coverage) -> Vec<String> {
    let mut lines = vec![format!(
        "{} of {} matched, in {} of {} and {} of {}",
        units::count(coverage.chosen, "vantage point"),
        coverage.matched,
        coverage.ases.chosen,
        units::count(coverage.ases.matched, "AS").replace("ASs", "ASes"),
        coverage.countries.chosen,
        units::count(coverage.countries.matched, "country").replace("countrys", "countries"),
    )];
    if let Some(seed) = coverage.seed {
        lines.push(format!("seed={seed} gives the same sample again"));
    }
    lines.extend(coverage.unmatched.iter().map(|term| format!("{term} matches nothing")));
    lines
}
