//! `multipath`: a line for the graph, and a page with a line for each node.

use mmn_modules::multipath::{Balancer, Body, Node, NodeKind, StopReason};
use mmn_schema::api::ResultRecord;

use super::{Page, View, address};
use crate::style::Tone;
use crate::table::{Cell, Column, Row};
use crate::units;

#[derive(Debug)]
pub(super) struct Multipath;

impl View for Multipath {
    fn columns(&self) -> Vec<Column> {
        vec![
            Column::left("END"),
            Column::right("HOPS"),
            Column::right("NODES"),
            Column::right("LINKS"),
            Column::right("WIDTH"),
            Column::right("RTT"),
            Column::right("PROBES").optional(),
        ]
    }

    fn cells(&self, record: &ResultRecord) -> Vec<Cell> {
        let Ok(body) = record.body.decode::<Body>() else {
            return vec![Cell::new("-"); 7];
        };
        let number = |name: &str, unit: &str| {
            let number = record.summary.get(name);
            Cell::new(number.map_or_else(|| "-".into(), |number| units::show(*number, unit)))
        };
        let tone = if body.stop.reason == StopReason::Completed { Tone::Good } else { Tone::Warn };
        vec![
            Cell::new(end(&body)).tone(tone),
            number("hops", "1"),
            number("nodes", "1"),
            number("links", "1"),
            number("width", "1"),
            number("rtt_ns", "ns"),
            body.sent.to_string().into(),
        ]
    }

    fn is_paged(&self) -> bool {
        true
    }

    fn page(&self, record: &ResultRecord) -> Option<Page> {
        let body = record.body.decode::<Body>().ok()?;
        let address = body.address.to_string();
        let target = if body.target == address { address } else { format!("{} ({address})", body.target) };
        let probes = units::count(body.sent.into(), "probe");
        let heading = format!("{target}: {}, {probes}, {} % sure at each node", end(&body), body.confidence);
        let columns = vec![
            Column::right("HOP"),
            Column::left("ADDRESS").shrinks_to(15),
            Column::right("FLOWS").optional(),
            Column::left("RTT"),
            Column::left("NEXT").shrinks_to(15),
            Column::left("NOTE").shrinks_to(8).optional(),
        ];
        let mut nodes: Vec<&Node> = body.nodes.iter().filter(|node| node.kind != NodeKind::Source).collect();
        nodes.sort_by_key(|node| node.ttl);
        let mut last = None;
        let rows = nodes
            .into_iter()
            .map(|node| {
                let is_new = last.replace(node.ttl) != Some(node.ttl);
                let ttl = if is_new { node.ttl.to_string() } else { String::new() };
                Row::from(vec![
                    ttl.into(),
                    name(node),
                    node.flows.to_string().into(),
                    rtt(&body, node).map_or_else(|| "-".into(), units::nanos_u64).into(),
                    next(&body, node).into(),
                    Cell::new(note(node)).tone(Tone::Warn),
                ])
            })
            .collect();
        Some(Page { heading, columns, rows })
    }
}

fn end(body: &Body) -> String {
    match (body.stop.reason, &body.stop.error) {
        (StopReason::Completed, _) => "reached".to_owned(),
        (StopReason::Unreachable, _) => "unreachable".to_owned(),
        (StopReason::GapLimit, _) => "silent".to_owned(),
        (StopReason::HopLimit, _) => "hop limit".to_owned(),
        (StopReason::ProbeLimit, _) => "probe limit".to_owned(),
        (StopReason::Loop, _) => "loop".to_owned(),
        (StopReason::Halted, _) => "halted".to_owned(),
        (StopReason::Error, error) => error.clone().unwrap_or_else(|| "error".to_owned()),
    }
}

fn name(node: &Node) -> Cell {
    match &node.address {
        Some(known) => address(known, node.name.as_deref()).into(),
        None => Cell::new("*").tone(Tone::Faint),
    }
}

/// The smallest round trip to a node.
fn rtt(body: &Body, node: &Node) -> Option<u64> {
    body.links
        .iter()
        .filter(|link| link.to == node.id)
        .flat_map(|link| &link.probes)
        .flat_map(|probe| &probe.replies)
        .filter(|reply| Some(reply.from) == node.address)
        .filter_map(|reply| reply.rtt_ns)
        .min()
}

fn next(body: &Body, node: &Node) -> String {
    let next: Vec<String> = body
        .links
        .iter()
        .filter(|link| link.from == node.id)
        .filter_map(|link| body.nodes.iter().find(|node| node.id == link.to))
        .map(|node| node.address.map_or_else(|| name(node).text, |address| address.to_string()))
        .collect();
    next.join(", ")
}

fn note(node: &Node) -> String {
    let mut notes = Vec::new();
    match node.kind {
        NodeKind::Destination => notes.push("destination"),
        NodeKind::Unreachable => notes.push("lets nothing pass"),
        _ => {}
    }
    match node.balancer {
        Some(Balancer::PerFlow) => notes.push("by flow"),
        Some(Balancer::PerPacket) => notes.push("by packet"),
        None => {}
    }
    if node.incomplete {
        notes.push("incomplete");
    }
    notes.join(", ")
}
