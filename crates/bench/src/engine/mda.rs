//! The stopping rule of multipath: its exact failure rate, and what the machine shows on virtual networks.

use mmn_probe::mda::{StoppingRule, simulate};

use crate::lines::Bench;
use crate::report::Report;

pub(super) fn run(bench: &Bench, report: &mut Report) -> anyhow::Result<()> {
    let runs: u32 = if bench.quick { 1_000 } else { 10_000 };
    for confidence in [0.95, 0.99] {
        let mut rule = StoppingRule::new(1.0 - confidence)?;
        for next_hops in [2_u8, 4, 8, 16] {
            let exact = rule.failure_rate(next_hops.into());
            let simulated = simulate(confidence, next_hops, runs, 2026)?;
            let observed = f64::from(simulated.failed) / f64::from(runs);
            let sigma = (exact * (1.0 - exact) / f64::from(runs)).sqrt();
            let name = format!("MDA {:.0} %, {next_hops} next hops: exact failure rate", confidence * 100.0);
            report.at_most(&name, "%", exact * 100.0, (1.0 - confidence) * 100.0 + 0.1);
            report.at_most(
                &format!("  observed in {runs} runs ({:.3} %), from the exact one", observed * 100.0),
                "sigma",
                (observed - exact).abs() / sigma,
                4.0,
            );
        }
    }
    Ok(())
}
