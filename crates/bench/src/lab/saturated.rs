//! How many packets a second a lab in namespaces takes and brings, on one core.

use std::time::Duration;

use super::namespaces::{How, Lab, VPS};
use crate::clock;
use crate::lines::Bench;
use crate::report::Report;

/// How many requests each vantage point keeps under way.
const WINDOW: u32 = 64;

pub(super) fn run(bench: &Bench, report: &mut Report) -> anyhow::Result<()> {
    let mut lab = Lab::start(bench, How { tenths: 9, busy: true })?;
    let mut open = vec![0; VPS];
    saturate(&lab, &mut open, Duration::from_millis(500));
    let length = Duration::from_secs(if bench.quick { 2 } else { 5 });
    let (before, begin, cpu) = (lab.status()?, clock::now(), lab.cpu_s());
    saturate(&lab, &mut open, length);
    let (after, took, cpu) = (lab.status()?, (clock::now() - begin).as_secs_f64(), lab.cpu_s() - cpu);
    lab.end()?;
    let packets = after.packets_in - before.packets_in + after.packets_out - before.packets_out;
    let rate = f64::from(u32::try_from(packets)?) / took;
    report.note(&format!(
        "{VPS} vantage points, {WINDOW} requests under way at each, eight routers on the way; the lab on one processor, who \
         asks on another; yardstick: the prototype, 372,000/s"
    ));
    report.at_least("packets of 64 octets in and out, saturated", "/s", rate, 350_000.0);
    report.yardstick(
        "  events of the world",
        "/s",
        f64::from(u32::try_from(after.events - before.events)?) / took,
    );
    report.yardstick("  processor time of the lab for a packet", "us", cpu * 1e6 / (rate * took));
    let dropped = after.dropped_in + after.dropped_out;
    report.exactly("  packets that were dropped", "", f64::from(u32::try_from(dropped)?), 0.0);
    Ok(())
}

/// Sends as answers come.
fn saturate(lab: &Lab, open: &mut [u32], length: Duration) {
    let begin = clock::now();
    let mut room = [0; 256];
    while clock::now() - begin < length {
        for (socket, open) in lab.sockets.iter().zip(open.iter_mut()) {
            while *open > 0 && Lab::receive(socket, &mut room) {
                *open -= 1;
            }
            while *open < WINDOW && lab.send(socket) {
                *open += 1;
            }
        }
    }
}
