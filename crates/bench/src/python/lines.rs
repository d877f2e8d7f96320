//! The networks of the lines, and the bounds of their figures.

use std::ffi::OsStr;
use std::path::Path;

use anyhow::Context;
use serde_json::Value;

use super::measured;
use crate::engine::place;
use crate::lab::world;
use crate::lines::Bench;
use crate::report::Report;
use crate::spine::network::{Module, setup};
use crate::started::Dir;
use crate::up::{Setup, Up};

/// What another namespace answers for: 65,536 addresses.
const SWEPT: &str = "10.9.0.0/16";
/// The lab's world, in which scripts locate addresses.
const WORLD: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/lab/world.toml");
/// Vantage points of the lab.
const VPS: usize = 1_000;

pub(super) fn sync(bench: &Bench, report: &mut Report) -> anyhow::Result<()> {
    let up = Up::start(&bench.mmn)?;
    let found = measured(bench, "sync", Some(&up), if bench.quick { 1_000 } else { 5_000 })?;
    report.at_most("vp.ping, one call and one result, p50", "ms", number(&found, "p50_ms")?, 0.8);
    report.at_most("  p99", "ms", number(&found, "p99_ms")?, 4.0);
    report.yardstick("the same by http.client, turn about, p50", "ms", number(&found, "plain_p50_ms")?);
    report.yardstick("  p99", "ms", number(&found, "plain_p99_ms")?);
    up.stop()
}

pub(super) fn many(bench: &Bench, report: &mut Report) -> anyhow::Result<()> {
    let up = Up::start(&bench.mmn)?;
    let found = measured(bench, "many", Some(&up), 10_000)?;
    report.at_most("10,000 calls of feed.put, first to last result", "s", number(&found, "put_s")?, 0.5);
    report.exactly("  replies", "", number(&found, "put_replies")?, 10_000.0);
    report.at_most("net.ping of 10,000 targets, call to last result", "s", number(&found, "list_s")?, 0.5);
    report.exactly("  replies", "", number(&found, "list_replies")?, 10_000.0);
    report.yardstick("the same by http.client, lines of JSON", "s", number(&found, "plain_s")?);
    up.stop()
}

pub(super) fn noop(bench: &Bench, report: &mut Report) -> anyhow::Result<()> {
    let count = if bench.quick { 200_000 } else { 1_000_000 };
    let up = Up::start_with(&bench.mmn, &setup(&[Module::noop(1, 4096)])?)?;
    let found = measured(bench, "noop", Some(&up), count)?;
    report.at_least("results into a Python loop", "/s", number(&found, "per_s")?, 200_000.0);
    report.exactly("  results", "", number(&found, "results")?, f64::from(count));
    memory(report, &found)?;
    report.yardstick("json.loads of the same records, nothing else", "/s", number(&found, "json_per_s")?);
    up.stop()
}

pub(super) fn sweep(bench: &Bench, report: &mut Report) -> anyhow::Result<()> {
    let count = if bench.quick { 200_000 } else { 1_000_000 };
    let _host = place::answering(&bench.mmn, SWEPT)?;
    let policy = "max_pps = 10000000\nmax_bps = \"100Gbit/s\"\nmax_pps_per_target = 1000000\n\
                  allow_loopback = true\nallow = [\"10.0.0.0/8\"]\nallow_packet_sockets = true\n";
    let anchor = "[api]\nmax_requests_per_s = 1000000\n".to_owned();
    let setup = Setup { anchor, instances: 3, policy: Some(policy.to_owned()), ..Setup::default() };
    let up = Up::start_with(&bench.mmn, &setup)?;
    let found = measured(bench, "sweep", Some(&up), count)?;
    report.at_least("pings of 65,536 addresses into a Python loop", "/s", number(&found, "per_s")?, 50_000.0);
    report.exactly("  results", "", number(&found, "results")?, f64::from(count));
    report.exactly("  without a reply", "", number(&found, "lost")?, 0.0);
    memory(report, &found)?;
    report.yardstick("the same by http.client, lines of JSON", "/s", number(&found, "plain_per_s")?);
    up.stop()
}

pub(super) fn vps(bench: &Bench, report: &mut Report) -> anyhow::Result<()> {
    let dir = Dir::new()?;
    let file = world::file(&dir, VPS)?;
    let up = Up::lab(&bench.mmn, &file, &[OsStr::new("--lab-driver"), OsStr::new("in-process")])?;
    let found = measured(bench, "vps", Some(&up), u32::try_from(VPS)?)?;
    report.exactly(
        "results of one target from 1,000 vantage points",
        "",
        number(&found, "results")?,
        1_000.0,
    );
    report.at_most("  the last of them, over the slowest RTT", "ms", number(&found, "over_ms")?, 250.0);
    report.yardstick("  the slowest RTT", "ms", number(&found, "slowest_ms")?);
    up.stop()
}

pub(super) fn geolocation(bench: &Bench, report: &mut Report) -> anyhow::Result<()> {
    let count = if bench.quick { 200_000 } else { 1_000_000 };
    let up = Up::lab(&bench.mmn, Path::new(WORLD), &[OsStr::new("--lab-driver"), OsStr::new("in-process")])?;
    let found = measured(bench, "geolocation", Some(&up), count)?;
    report.exactly(
        "addresses located by examples/scripts/geolocate.py",
        "",
        number(&found, "located")?,
        f64::from(count),
    );
    report.at_least(
        "  share of those that answer whose nearest is the truth",
        "",
        number(&found, "exact")?,
        0.99,
    );
    report.exactly("  farther away than was said", "", number(&found, "beyond")?, 0.0);
    memory(report, &found)?;
    report.yardstick("  seconds", "s", number(&found, "took_s")?);
    report.yardstick("  addresses", "/s", number(&found, "per_s")?);
    report.yardstick(
        "pings of the same lab by a feed from one vantage point",
        "/s",
        number(&found, "feed_per_s")?,
    );
    up.stop()
}

pub(super) fn import(bench: &Bench, report: &mut Report) -> anyhow::Result<()> {
    let found = measured(bench, "imports", None, 20)?;
    report.at_most("import mmn, median of 20", "ms", number(&found, "import_ms")?, 60.0);
    report.yardstick("import asyncio, json, turn about", "ms", number(&found, "plain_ms")?);
    Ok(())
}

/// Whether memory grows beyond the first tenth of the results.
fn memory(report: &mut Report, found: &Value) -> anyhow::Result<()> {
    let (begin, end) = (number(found, "rss_begin_mb")?, number(found, "rss_end_mb")?);
    report.at_most("  resident memory of Python at the end", "MB", end, begin + 2.0);
    report.yardstick("  after 100,000 results", "MB", begin);
    Ok(())
}

fn number(found: &Value, name: &str) -> anyhow::Result<f64> {
    found[name].as_f64().with_context(|| format!("bench.py did not say {name}: {found}"))
}
