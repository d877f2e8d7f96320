//! Whether equal instances take equal shares.

use std::collections::BTreeMap;
use std::time::Duration;

use super::Bench;
use super::network::{self, Module};
use crate::http::Connection;
use crate::measurement;
use crate::report::Report;

const TASKS: u32 = 10_000;
const INSTANCES: usize = 4;

pub(super) fn run(bench: &Bench, report: &mut Report) -> anyhow::Result<()> {
    let up = network::start(bench, &[Module::noop(INSTANCES, 16).sleeping(10)])?;
    let mut api = Connection::open(&up.api, &up.token)?;
    let id = measurement::submit(&mut api, &network::body("noop", "{}", "2m", TASKS))?;
    measurement::closed(&mut api, &id, Duration::from_secs(60))?;
    let mut shares: BTreeMap<String, u32> = BTreeMap::new();
    for result in measurement::results(&up, &id)? {
        *shares.entry(result.instance.map(|it| it.to_string()).unwrap_or_default()).or_default() += 1;
    }
    let percent = |tasks: &u32| f64::from(*tasks) * 100.0 / f64::from(TASKS);
    let words: Vec<_> =
        shares.iter().map(|(name, tasks)| format!("{name} {:.2} %", percent(tasks))).collect();
    report.note(&format!("yardstick: an equal share of {INSTANCES} is 25 %; here: {}", words.join(", ")));
    report.exactly("instances that took part", "", f64::from(u32::try_from(shares.len())?), 4.0);
    let farthest = shares.values().map(|tasks| (percent(tasks) - 25.0).abs()).fold(0.0, f64::max);
    report.at_most("10,000 tasks over 4 equal instances: farthest from 25 %", "points", farthest, 2.0);
    up.stop()
}
