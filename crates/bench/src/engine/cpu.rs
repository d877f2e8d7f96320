//! Processor time per matched echo: the bulk lane against fping and scamper, on the same link.
//!
//! A kernel that answers on the prober's own processor does its work within the call that sends, and charges it to whoever
//! sends: there the bare loop that `rate` measures takes as much as the bounds allow in all, and what is compared is mostly that
//! kernel. So the bounds are for a host that answers on another processor, as another machine would. Both are printed.

use std::time::Duration;

use serde_json::json;

use super::measured::{Measured, address};
use super::{peers, place};
use crate::lines::Bench;
use crate::processes;
use crate::report::Report;

/// The first of the targets: 10.16.0.0.
pub(super) const FIRST: u32 = 16 << 16;

pub(super) fn run(bench: &Bench, report: &mut Report) -> anyhow::Result<()> {
    let host = place::target(&bench.mmn)?;
    report.note("the answering host on the same processor");
    let [own, fping, scamper] = measure(bench, report, 10_000_000, &host)?;
    report.yardstick("  against fping", "x", own / fping);
    report.yardstick("  against scamper", "x", own / scamper);
    drop(host);
    // It must not be overrun, so the rate has a bound.
    let host = place::apart(&bench.mmn)?;
    report.note("the answering host on the other processor");
    let [own, fping, scamper] = measure(bench, report, 60_000, &host)?;
    report.at_most("  against fping", "x", own / fping, 1.0 / 2.5);
    report.at_most("  against scamper", "x", own / scamper, 1.0 / 5.0);
    drop(host);
    Ok(())
}

/// Microseconds per matched echo: the bulk lane's, fping's, scamper's.
fn measure(
    bench: &Bench,
    report: &mut Report,
    packets_per_s: u64,
    host: &place::Namespace,
) -> anyhow::Result<[f64; 3]> {
    let probes: u32 = if bench.quick { 200_000 } else { 1_000_000 };
    let mut measured = Measured::start(bench, packets_per_s)?;
    let params = json!({"count": 1, "timeout": "1s", "size": 56, "lane": "bulk"});
    let patience = Duration::from_secs(120);
    // Neighbours, routes, caches.
    measured.measure("ping", &params, FIRST, 50_000, patience)?;
    processes::pin(measured.packet, 0)?;
    let before = host.unwritten_replies()?;
    let (sums, _) = measured.measure("ping", &params, FIRST, probes, patience)?;
    let unwritten = host.unwritten_replies()? - before;
    let own = per_match_us(sums.cpu_s, sums.answered);
    report.note(&format!(
        "{} of {} answered in {:.2} s, {:.2} s of processor time of the packet module's process",
        sums.answered, sums.accepted, sums.wall_s, sums.cpu_s
    ));
    report.note(&format!(
        "{} were not; the far kernel had no room to write {unwritten} replies",
        sums.accepted - sums.answered
    ));
    measured.up.stop()?;

    let targets: Vec<_> = (0..50_000).map(|number| address(FIRST + number)).collect();
    let fping = peers::fping(&targets, probes / 50_000)?;
    report.note(&format!("fping: {} answers in {:.1} s", fping.matched, fping.wall_s));
    let fping = per_match_us(fping.cpu_s, fping.matched);
    let scamper = peers::scamper(targets.get(..20_000).unwrap_or_default())?;
    report.note(&format!("scamper: {} answers of 20,000 in {:.1} s", scamper.matched, scamper.wall_s));
    let scamper = per_match_us(scamper.cpu_s, scamper.matched);

    report.yardstick("fping, processor time per matched echo", "us", fping);
    report.yardstick("scamper, the same", "us", scamper);
    report.yardstick("bulk lane, the same", "us", own);
    Ok([own, fping, scamper])
}

#[expect(clippy::cast_precision_loss, reason = "a count of answers")]
fn per_match_us(cpu_s: f64, matched: u64) -> f64 {
    cpu_s * 1e6 / matched as f64
}
