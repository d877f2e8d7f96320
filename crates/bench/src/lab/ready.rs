//! From the start of `mmn up --lab` to vantage points that can measure, and what they all take.

use std::ffi::OsStr;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::Context;
use mmn_lab::host::Client;
use serde_json::Value;

use super::world;
use crate::http::Connection;
use crate::lines::Bench;
use crate::report::Report;
use crate::started::Dir;
use crate::up::Up;
use crate::{clock, memory, processes};

const FEW: usize = 24;
const MANY: usize = 1_000;

pub(super) fn run(bench: &Bench, report: &mut Report) -> anyhow::Result<()> {
    let mut drivers = drivers(&bench.mmn)?;
    for driver in &drivers {
        one(bench, report, FEW, *driver, 5.0)?;
    }
    // Namespaces are for fewer.
    drivers.truncate(1);
    for driver in &drivers {
        one(bench, report, MANY, *driver, 30.0)?;
    }
    Ok(())
}

/// The drivers that can be asked for, the one in-process first; nothing where there is no choice.
pub(super) fn drivers(mmn: &Path) -> anyhow::Result<Vec<Option<&'static str>>> {
    let help = Command::new(mmn).args(["up", "--help"]).output().context("mmn up --help")?;
    let choice = String::from_utf8_lossy(&help.stdout).contains("--lab-driver");
    Ok(if choice { vec![Some("in-process"), Some("namespaces")] } else { vec![None] })
}

/// The arguments that ask for a driver.
pub(super) fn wish(driver: Option<&'static str>) -> Vec<&'static OsStr> {
    driver.into_iter().flat_map(|driver| [OsStr::new("--lab-driver"), OsStr::new(driver)]).collect()
}

fn one(
    bench: &Bench,
    report: &mut Report,
    vps: usize,
    driver: Option<&'static str>,
    most_s: f64,
) -> anyhow::Result<()> {
    let dir = Dir::new()?;
    let file = world::file(&dir, vps)?;
    let begin = clock::now();
    let up = Up::lab(&bench.mmn, &file, &wish(driver))?;
    let api = (clock::now() - begin).as_secs_f64();
    let took = wait(&up, vps, begin)?;
    let driver = Client::connect(&up.data().join("lab"))?.about()?.driver;
    report.at_most(&format!("`mmn up --lab` to {vps} ready, {driver}"), "s", took, most_s);
    report.yardstick("  until the API answered", "s", api);
    if vps == MANY {
        memory_of(&up, report)?;
    }
    up.stop()
}

/// Waits until so many vantage points are healthy and have kinds: seconds since the beginning.
pub(super) fn wait(up: &Up, vps: usize, begin: std::time::Instant) -> anyhow::Result<f64> {
    let mut api = Connection::open(&up.api, &up.token)?;
    loop {
        let asked = clock::now();
        let ready = ready(&mut api)?;
        if ready == vps {
            return Ok((clock::now() - begin).as_secs_f64());
        }
        let waited = clock::now() - begin;
        anyhow::ensure!(waited < Duration::from_secs(90), "{ready} of {vps} are ready after 90 s");
        // To ask is work for the anchor, too.
        std::thread::sleep((clock::now() - asked).max(Duration::from_millis(10)) * 2);
    }
}

fn ready(api: &mut Connection) -> anyhow::Result<usize> {
    let (mut count, mut path) = (0, "/api/v1/vps?limit=1000".to_owned());
    loop {
        let (status, body) = api.request("GET", &path, None)?;
        if status == 503 {
            // It reads what it has kept.
            return Ok(0);
        }
        anyhow::ensure!(status == 200, "GET {path}: {status}");
        let page: Value = serde_json::from_slice(&body)?;
        let items = page["items"].as_array().map_or(&[][..], Vec::as_slice);
        let works = |vp: &&Value| vp["health"] == "healthy" && vp["kinds"][0] != Value::Null;
        count += items.iter().filter(works).count();
        match page["next"].as_str() {
            Some(next) => path = format!("/api/v1/vps?limit=1000&after={next}"),
            None => return Ok(count),
        }
    }
}

/// Of all processes together, when they have come to rest.
fn memory_of(up: &Up, report: &mut Report) -> anyhow::Result<()> {
    std::thread::sleep(Duration::from_secs(5));
    let mut all = processes::descendants(up.pid())?;
    all.push(up.pid());
    let pss = memory::pss_mb(&all)?;
    for (name, pid) in [
        ("node", processes::role(up.pid(), "node")?),
        ("anchor", processes::role(up.pid(), "anchor")?),
        ("nats-server", processes::nats_server(up.pid())?),
    ] {
        let resident = processes::resident(pid)?;
        report
            .note(&format!("{name}: {:.0} MB resident, at most {:.0} MB", resident.all_mb, resident.most_mb));
    }
    let before = processes::cpu_s(&all);
    std::thread::sleep(Duration::from_secs(5));
    let idle = (processes::cpu_s(&all) - before) / 5.0;
    report.at_most("  memory of all processes, sum of PSS", "MB", pss, 2_000.0);
    report.yardstick("  processors in use with nothing to do", "", idle);
    Ok(())
}
