//! How late a lab in namespaces brings packets, against the instant at which its world had them arrive.

use std::time::Duration;

use super::namespaces::{How, Lab, VPS};
use crate::clock;
use crate::lines::Bench;
use crate::report::Report;

pub(super) fn run(bench: &Bench, report: &mut Report) -> anyhow::Result<()> {
    let seconds = if bench.quick { 2 } else { 5 };
    report.note(&format!(
        "{VPS} vantage points, 1,000 echo requests a second for {seconds} s; yardstick: the prototype's p50, 6.7 to 12.5 us \
         idle and 4.0 us busy"
    ));
    for (busy, most_us) in [(false, 15.0), (true, 6.0)] {
        for (ms, tenths) in [(1, 4), (10, 49), (100, 499)] {
            one(bench, report, How { tenths, busy }, ms, (seconds, most_us))?;
        }
    }
    Ok(())
}

fn one(
    bench: &Bench,
    report: &mut Report,
    how: How,
    ms: u32,
    (seconds, most_us): (u32, f64),
) -> anyhow::Result<()> {
    let mut lab = Lab::start(bench, how)?;
    let (begin, cpu) = (clock::now(), lab.cpu_s());
    let mut room = [0; 256];
    for number in 0..seconds * 1_000 {
        let due = begin + Duration::from_millis(number.into());
        std::thread::sleep(due.saturating_duration_since(clock::now()));
        if let Some(socket) = lab.sockets.get(usize::try_from(number)? % VPS) {
            anyhow::ensure!(lab.send(socket), "a request did not leave");
            while Lab::receive(socket, &mut room) {}
        }
    }
    let cpu = (lab.cpu_s() - cpu) / (clock::now() - begin).as_secs_f64();
    // The last come within the path's time.
    std::thread::sleep(Duration::from_millis(300));
    let status = lab.status()?;
    lab.end()?;
    let us = |ns: Option<u64>| Duration::from_nanos(ns.unwrap_or(u64::MAX)).as_secs_f64() * 1e6;
    let late = status.late;
    let how = if how.busy { "busy" } else { "idle" };
    report.at_most(&format!("lateness at {ms} ms, {how}, p50"), "us", us(late.p50_ns), most_us);
    report.yardstick("  p99", "us", us(late.p99_ns));
    report.yardstick("  processor", "%", cpu * 100.0);
    report.exactly(
        "  requests without an answer",
        "",
        f64::from(missing(seconds * 1_000, late.packets)),
        0.0,
    );
    Ok(())
}

fn missing(sent: u32, came: u64) -> u32 {
    sent.saturating_sub(u32::try_from(came).unwrap_or(u32::MAX))
}
