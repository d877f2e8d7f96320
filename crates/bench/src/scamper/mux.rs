//! Pings of this host by the Python module, through the mux of an `mmn up` whose site's limits are lifted.

use crate::lines::Bench;
use crate::ping::RawNats;
use crate::report::{Report, ms, quantile};
use crate::up::Up;

use super::script::Figures;

const PINGS: f64 = 10_000.0;

pub(super) fn run(bench: &Bench, report: &mut Report) -> anyhow::Result<()> {
    let up = Up::start(&bench.mmn)?;
    let raw = RawNats::start(&up)?;
    let socket = up.data().join("mux/mux.sock");
    let rounds = if bench.quick { "1" } else { "5" };
    let mut requests = raw.round()?;
    let figures = Figures::taken(bench, &["ask".as_ref(), socket.as_os_str(), rounds.as_ref()])?;
    requests.extend(raw.round()?);
    let of = |name: &str| figures.of(name);

    let request = ms(quantile(&mut requests, 0.5));
    report.at_most("a ping of one reply that is waited for, p50", "ms", of("one_p50")? * 1e3, 0.8);
    report.at_most("  p99", "ms", of("one_p99")? * 1e3, 4.0);
    report.yardstick("  a raw NATS request, p50", "ms", request);
    report.at_most("10,000 pings at once, first call to last result", "s", of("many")?, 0.6);
    report.exactly("  of them with a reply, in the worst of the rounds", "", of("many_answered")?, PINGS);
    report.yardstick("  the slowest of the rounds", "s", of("many_worst")?);
    let pipelined = raw.pipelined(200, 64, 10_000)?;
    report.yardstick("  10,000 raw NATS requests, 64 under way", "s", PINGS / pipelined);
    report.at_most("a ping of 4 packets, one a second", "s", of("four")?, 3.1);
    report.exactly("  of them with a reply", "", of("four_answered")?, 4.0);
    report.yardstick("  from its first packet to its last", "s", 3.0);
    drop(raw);
    up.stop()
}
