//! Replies recorded: of 20,000 targets at 50,000 packets/s, and of a million at full speed.

use std::time::Duration;

use serde_json::json;

use super::cpu::FIRST;
use super::measured::{Measured, address};
use super::{peers, place};
use crate::lines::Bench;
use crate::measurement;
use crate::report::Report;

const PATIENCE: Duration = Duration::from_secs(120);

#[expect(clippy::cast_precision_loss, reason = "counts of answers")]
pub(super) fn paced(bench: &Bench, report: &mut Report) -> anyhow::Result<()> {
    let _host = place::target(&bench.mmn)?;
    let mut measured = Measured::start(bench, 50_000)?;
    for lane in ["raw", "bulk"] {
        let params = json!({"count": 1, "timeout": "2s", "size": 8, "lane": lane});
        let mut least = u64::MAX;
        for _ in 0..5 {
            let (sums, _) = measured.measure("ping", &params, FIRST, 20_000, PATIENCE)?;
            report.note(&format!("{lane}: {} of {} in {:.2} s", sums.answered, sums.accepted, sums.wall_s));
            least = least.min(sums.answered);
        }
        let least = least as f64;
        report.exactly(
            &format!("20,000 targets at 50,000/s, {lane} lane, least of five"),
            "",
            least,
            20_000.0,
        );
    }
    measured.up.stop()?;
    let targets: Vec<_> = (0..20_000).map(|number| address(FIRST + number)).collect();
    let peers = [
        ("fping at 50,000/s", peers::fping_paced(&targets)?),
        ("scamper at 10,000/s", peers::scamper(&targets)?),
    ];
    for (name, took) in peers {
        report.yardstick(&format!("{name}, recorded of 20,000"), "", took.matched as f64);
    }
    Ok(())
}

#[expect(clippy::cast_precision_loss, reason = "counts of answers")]
pub(super) fn full(bench: &Bench, report: &mut Report) -> anyhow::Result<()> {
    let _host = place::target(&bench.mmn)?;
    let probes: u32 = if bench.quick { 200_000 } else { 1_000_000 };
    let mut measured = Measured::start(bench, 10_000_000)?;
    for lane in ["raw", "bulk"] {
        let params = json!({"count": 1, "timeout": "2s", "size": 8, "lane": lane});
        let (sums, ids) = measured.measure("ping", &params, FIRST, probes, PATIENCE)?;
        let missing = sums.accepted - sums.answered;
        let mut overrun = 0_u64;
        for id in &ids {
            // Only what was not answered is looked at, and it is little.
            if missing > 0 {
                let results = measurement::results(&measured.up, id)?;
                overrun +=
                    results.iter().filter(|result| result.summary.contains_key("overrun")).count() as u64;
            }
        }
        report.note(&format!(
            "{lane}: {} of {} answered in {:.2} s, {missing} were not, {overrun} marked overrun",
            sums.answered, sums.accepted, sums.wall_s
        ));
        let share = missing as f64 / sums.accepted as f64 * 100.0;
        report.at_most(&format!("{probes} at full speed, {lane} lane: not recorded"), "%", share, 0.1);
        report.exactly("  of these, not marked overrun", "", missing.saturating_sub(overrun) as f64, 0.0);
    }
    measured.up.stop()
}
