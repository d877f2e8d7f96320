//! The same of a simulated world: what it runs on, and how many of its vantage points are ready.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use mmn_client::{ApiFile, Client, ClientError};
use mmn_kit::Registered;
use mmn_modules::KINDS;
use mmn_schema::api::{Health, VpView};

use super::super::World;
use super::{DataDir, command_line, dashboard};
use crate::clock;
use crate::failure::Failure;
use crate::lab::{
    self,
    driver::{Chosen, Driver},
};
use crate::session::Session;
use crate::style::Tone;
use crate::table;

/// Those that are not ready by then are told as missing.
const WITHIN: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(50);

/// All vantage points that the API lists.
async fn listed(client: &Client) -> Result<Vec<VpView>, ClientError> {
    let (mut all, mut after) = (Vec::new(), None);
    loop {
        let page = client.vps(after.as_deref()).await?;
        all.extend(page.items);
        after = page.next;
        if after.is_none() {
            return Ok(all);
        }
    }
}

pub(super) async fn tell(
    session: &mut Session,
    dir: &DataDir,
    api: &ApiFile,
    world: &World,
    client: &Client,
    begun: Instant,
) -> Result<(), Failure> {
    let World { plan, chosen } = world;
    let names: BTreeSet<&str> = lab::names(plan).collect();
    let offered: BTreeSet<&str> = lab::kinds(chosen.driver).map(Registered::name).collect();
    let (mut ready, mut kinds) = (BTreeSet::new(), BTreeSet::new());
    while clock::now().duration_since(begun) < WITHIN {
        let asked = clock::now();
        for vp in listed(client).await.unwrap_or_default() {
            let known = |kind: &&str| {
                vp.kinds.iter().any(|known| known.as_str() == *kind)
                    || vp.unavailable.iter().any(|known| known.kind.as_str() == *kind)
            };
            let settled = vp.health == Health::Healthy && !vp.kinds.is_empty() && offered.iter().all(known);
            let works = vp.vantage_point.simulated && settled;
            if let Some(name) = names.get(&*vp.vantage_point.name).filter(|_| works) {
                ready.insert(*name);
                kinds.extend(vp.kinds.iter().map(ToString::to_string));
            }
        }
        if ready.len() == names.len() {
            break;
        }
        // To list a thousand is work for the anchor, which has enough of it now.
        tokio::time::sleep(POLL.max(clock::now().duration_since(asked) * 4)).await;
    }
    let command = command_line(session, dir);
    let page = dashboard(client).await;
    let printer = &mut session.printer;
    let style = printer.style();
    let took = clock::now().duration_since(begun).as_secs_f64();
    let mut field = |name: &str, value: &str, tone: Tone| {
        printer.line(&format!(
            "{}{}",
            style.paint(&format!("{name:<15} "), Tone::Faint),
            style.paint(value, tone)
        ))
    };
    field("API", &api.url, Tone::Plain)?;
    if let Some(page) = &page {
        field("dashboard", page, Tone::Head)?;
    }
    let routers = plan.routers;
    let words =
        format!("simulated: {routers} routers, {} links, {} hosts", plan.links.len(), plan.hosts.len());
    field("world", &words, Tone::Warn)?;
    for (name, value, tone) in of_driver(chosen) {
        field(name, &value, tone)?;
    }
    let all = ready.len() == names.len();
    let count = format!("{} of {} ready in {took:.1} s", ready.len(), names.len());
    field("vantage points", &count, if all { Tone::Good } else { Tone::Bad })?;
    let missing: Vec<&str> = names.difference(&ready).copied().take(5).collect();
    if !missing.is_empty() {
        let why = format!("{} and others; the log is {}", missing.join(" "), dir.log("node").display());
        field("not ready", &why, Tone::Warn)?;
    }
    let kinds: Vec<String> = kinds.into_iter().collect();
    field("ready", &kinds.join(" "), Tone::Good)?;
    let without: Vec<&str> =
        KINDS.iter().copied().map(Registered::name).filter(|kind| !offered.contains(kind)).collect();
    if !without.is_empty() {
        let why = format!(
            "{}, and dns but over UDP: that takes sockets, which only namespaces have",
            without.join(" ")
        );
        field("not offered", &why, Tone::Warn)?;
    }
    let host = plan.hosts.iter().find_map(|host| plan.nodes.at(host.node));
    if let (Some(host), Some(vp)) = (host, names.first()) {
        field("try", &command.measure(&format!("ping {} --from {vp}", host.name)), Tone::Head)?;
    }
    printer.flush()?;
    printer.faint("Ctrl-C drains and stops it");
    Ok(())
}

/// Which driver runs, why, and what would mend it where it is not the one with real sockets.
fn of_driver(chosen: &Chosen) -> Vec<(&'static str, String, Tone)> {
    let tone = if chosen.driver == Driver::Namespaces { Tone::Good } else { Tone::Warn };
    let why = table::one_line(&format!("{}: {}", chosen.driver.name(), chosen.why));
    let mut fields = vec![("driver", why, tone)];
    if let Some(obstacle) = &chosen.obstacle {
        fields.extend(obstacle.findings.iter().map(|finding| ("", finding.to_string(), Tone::Plain)));
        for (place, cure) in obstacle.cures.iter().enumerate() {
            let name = if place == 0 { "  mend it with" } else { "            or" };
            fields.push((name, cure.clone(), Tone::Head));
        }
    }
    fields
}
