//! `mmn lab check FILE`: what a file describes.

use std::net::IpAddr;
use std::path::PathBuf;

use clap::Args as ClapArgs;
use mmn_lab::able::{self, Able};
use mmn_lab::ids::{NodeId, Table};
use mmn_lab::plan::{NodeKind, Plan, Prefix};

use super::{count, read};
use crate::args::absolute;
use crate::failure::{Exit, Failure};
use crate::session::Session;

/// `mmn lab check`
#[derive(Debug, ClapArgs)]
pub(super) struct Args {
    /// The lab's file
    #[arg(value_name = "FILE", value_parser = absolute())]
    file: PathBuf,
}

pub(super) fn run(session: &mut Session, args: &Args) -> Result<Exit, Failure> {
    let plan = read(session, &args.file)?;
    session.printer.lines(&summary(&plan))?;
    for odd in oddities(&plan) {
        session.printer.warn(&odd);
    }
    match able::check() {
        Ok(Able { user_namespace }) => {
            let how = if user_namespace { ", in a user namespace" } else { "" };
            session.printer.note(&format!("this user may run it in network namespaces{how}"));
        }
        Err(obstacle) => {
            session.printer.warn(&format!("this user can not run it in network namespaces: {obstacle}"));
            super::explain(session, &obstacle);
        }
    }
    Ok(Exit::Good)
}

fn summary(plan: &Plan) -> Vec<String> {
    let leaves = plan.vps.len() + plan.hosts.len();
    let between = plan.links.len().saturating_sub(leaves);
    let mut lines = vec![
        format!("{} and {} between them", count(plan.routers, "router"), count(between, "link")),
        format!("{}, {}", count(plan.vps.len(), "vantage point"), count(plan.hosts.len(), "host")),
    ];
    let mut services = Vec::new();
    for (many, one) in [
        (plan.zones.len(), "zone"),
        (plan.dns.len(), "name server"),
        (plan.webs.len(), "web server"),
        (plan.anycasts.len(), "anycast address"),
        (plan.nats.len(), "translator"),
        (plan.links.iter().filter(|link| !link.down.is_empty()).count(), "link that fails for a time"),
    ] {
        match many {
            0 => {}
            1 => services.push(format!("1 {one}")),
            _ if one == "anycast address" => services.push(format!("{many} anycast addresses")),
            _ if one.starts_with("link") => services.push(format!("{many} links that fail for a time")),
            _ => services.push(format!("{many} {one}s")),
        }
    }
    if !services.is_empty() {
        lines.push(services.join(", "));
    }
    let ways = plan.ways.iter().filter(|way| !way.is_plain()).count();
    if ways > 0 {
        lines.push(format!("{ways} of {} ways do more than delay", plan.ways.len()));
    }
    lines
}

/// The most of one sort that are told one by one.
const TELL: usize = 5;

/// What may be as it is and is hardly meant.
fn oddities(plan: &Plan) -> Vec<String> {
    let mut odd = Vec::new();
    if plan.vps.is_empty() {
        odd.push("there is no vantage point: nothing can be measured from here".to_owned());
    }
    odd.extend(apart(plan));
    let foreign: Vec<_> = plan
        .nodes
        .iter()
        .flat_map(|node| node.addresses.iter().map(move |address| (node, address)))
        .filter(|(_, address)| !is_of_tests(*address))
        .map(|(node, address)| format!("{address} of {}", node.name))
        .collect();
    if !foreign.is_empty() {
        odd.push(format!(
            "{} of the real Internet, not of the ranges for tests (198.18.0.0/15, 2001:db8::/32): {}",
            if foreign.len() == 1 { "1 address is" } else { "some addresses are" },
            some(&foreign)
        ));
    }
    let losing: Vec<_> = plan
        .ways
        .iter()
        .filter(|way| way.loss.happens(u64::MAX))
        .map(|way| format!("{} > {}", plan.name(way.from), plan.name(way.to)))
        .collect();
    if !losing.is_empty() {
        odd.push(format!("nothing ever passes {}", some(&losing)));
    }
    odd
}

/// Vantage points and hosts that the first vantage point can never reach.
fn apart(plan: &Plan) -> Option<String> {
    let home = plan.vps.iter().next()?.node;
    let mut reached = Table::<NodeId, bool>::new(vec![false; plan.nodes.len()]);
    let mut next = vec![home];
    while let Some(node) = next.pop() {
        if !std::mem::replace(&mut reached[node], true) {
            next.extend(plan.nodes[node].leaving.iter().map(|way| plan.ways[*way].to));
        }
    }
    let away: Vec<_> = plan
        .nodes
        .pairs()
        .filter(|(id, node)| node.kind != NodeKind::Router && !reached[*id])
        .map(|(_, node)| node.name.to_string())
        .collect();
    (!away.is_empty()).then(|| format!("no way leads from {} to {}", plan.name(home), some(&away)))
}

fn some(items: &[String]) -> String {
    let told = items.iter().take(TELL).cloned().collect::<Vec<_>>().join(", ");
    if items.len() > TELL { format!("{told} and {} more", items.len() - TELL) } else { told }
}

/// The ranges for tests and documentation (RFC 2544, RFC 5737, RFC 3849), and what never leaves a site.
fn is_of_tests(address: IpAddr) -> bool {
    const RANGES: [&str; 9] = [
        "198.18.0.0/15",
        "192.0.2.0/24",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "2001:db8::/32",
        "10.0.0.0/8",
        "172.16.0.0/12",
        "192.168.0.0/16",
        "fc00::/7",
    ];
    RANGES.iter().filter_map(|range| Prefix::parse(range)).any(|range| range.contains(address))
}
