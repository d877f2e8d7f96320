//! 20,000 Paris traces over 3 hops at 50,000 packets/s: how long they take beside the time that sending alone takes, and
//! whether a hop is missing that answered.

use std::time::Duration;

use serde_json::json;

use super::measured::{Measured, address};
use super::{peers, place};
use crate::lines::Bench;
use crate::measurement;
use crate::report::Report;

const TARGETS: u32 = 20_000;
const HOPS: u64 = 3;
const PACKETS_PER_S: u64 = 50_000;
const TIMEOUT_S: f64 = 2.0;
/// The first of the targets: 10.32.0.0.
const FIRST: u32 = 32 << 16;

pub(super) fn run(bench: &Bench, report: &mut Report) -> anyhow::Result<()> {
    let _hosts = place::path(&bench.mmn)?;
    let mut measured = Measured::start(bench, PACKETS_PER_S)?;
    let params = json!({"timeout": format!("{TIMEOUT_S}s"), "max_ttl": 30});
    let patience = Duration::from_secs(120);
    measured.measure("trace", &params, FIRST + TARGETS, 100, patience)?;
    let (sums, ids) = measured.measure("trace", &params, FIRST, TARGETS, patience)?;
    let (mut missing, mut sent) = (0_u64, 0_u64);
    for id in &ids {
        for result in measurement::results(&measured.up, id)? {
            let body = result.body.to_json()?;
            let hops = body["hops"].as_array().map_or(&[][..], Vec::as_slice);
            let answered = hops.iter().filter(|hop| hop["probes"][0]["reply"]["from"].is_string()).count();
            missing += HOPS.saturating_sub(u64::try_from(answered)?);
            sent += body["sent"].as_u64().unwrap_or(0);
        }
    }
    #[expect(clippy::cast_precision_loss, reason = "counts of packets")]
    let (ideal, missing, each) = (
        (u64::from(TARGETS) * HOPS) as f64 / PACKETS_PER_S as f64 + TIMEOUT_S,
        missing as f64,
        sent as f64 / f64::from(TARGETS),
    );
    report.note(&format!(
        "{} of {} reached their target, in {:.2} s; {each:.2} probes each; ideal: {ideal:.2} s with one timeout of {TIMEOUT_S} s",
        sums.answered, sums.accepted, sums.wall_s
    ));
    measured.up.stop()?;
    let targets: Vec<_> = (0..TARGETS).map(|number| address(FIRST + number)).collect();
    let scamper = peers::scamper_traces(&targets)?;
    report.note(&format!("scamper at 10,000/s: {} of {TARGETS} traces", scamper.matched));
    report.yardstick("scamper's time", "s", scamper.wall_s);
    report.at_most("20,000 traces of 3 hops at 50,000/s", "x ideal", sums.wall_s / ideal, 1.3);
    report.exactly("  hops missing that answered", "", missing, 0.0);
    Ok(())
}
