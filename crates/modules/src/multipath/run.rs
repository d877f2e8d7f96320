//! How a multipath trace is performed: the machine's specification from the parameters, and the graph from the machine.

use std::collections::BTreeMap;
use std::net::IpAddr;

use mmn_kit::{Conditions, Context, Failure, Family, Measured, PacketKind, Timestamp, Wish, code, summary};
use mmn_probe::cookie::Key;
use mmn_probe::multipath::{self as machine, Multipath as Machine, Sample, Spec, Varies};
use mmn_probe::packet::{SendFailure, Ttl};
use mmn_probe::time::Nanos;
use mmn_probe::trace::Fate;
use mmn_probe::trace::shape::Shape;

use super::{
    Balancer, Body, Diamond, Link, Method, Multipath, Node, NodeKind, Params, Probe, Stop, StopReason,
};
use crate::names::names_of;
use crate::shared::family_by;
use crate::trace::{self, Reply, nothing_left, shape_of};

impl PacketKind for Multipath {
    type Machine = Machine;
    type Plan = ();

    fn family(params: &Params) -> Family {
        family_by(params.family, params.router)
    }

    fn lane(params: &Params) -> Wish {
        params.lane.into()
    }

    fn plan(_: &Params) -> Result<(), Failure> {
        Ok(())
    }

    fn target(machine: &Machine) -> IpAddr {
        machine.spec().target
    }

    fn machine(params: &Params, (): &(), target: IpAddr, key: [u8; 16]) -> Result<Machine, Failure> {
        let tos = params.tos.or(params.dscp.map(|dscp| dscp << 2));
        let (method, varies) = match params.method {
            Method::UdpDport => (trace::Method::Udp, Varies::DestinationPort),
            Method::UdpSport => (trace::Method::Udp, Varies::SourcePort),
            Method::Icmp => (trace::Method::Icmp, Varies::Checksum),
            Method::Tcp => (trace::Method::Tcp, Varies::SourcePort),
            Method::TcpAck => (trace::Method::TcpAck, Varies::SourcePort),
        };
        let spec = Spec {
            target,
            shape: Shape {
                router: params.router.map(|router| router.0),
                ..shape_of(method, params.source, tos, params.dont_fragment)
            },
            varies,
            selector: params.source_port.or(params.icmp_id),
            port: params.destination_port(),
            payload_bytes: params.payload_bytes(),
            confidence: params.confidence / 100.0,
            branch_points: params.branch_points,
            first_hop: Ttl(params.first_hop),
            max_ttl: Ttl(params.max_ttl),
            gap_limit: params.gap_limit,
            attempts: params.attempts,
            timeout: Nanos(params.timeout.as_ns()),
            wait: Nanos(params.wait.as_ns()),
            parallel: params.parallel,
            max_probes: params.max_probes,
        };
        Machine::new(spec, Key::new(key)).map_err(|error| Failure::refused(code::PARAMETERS, error))
    }

    fn source(machine: &Machine) -> Option<IpAddr> {
        machine.source()
    }

    fn measured(
        params: &Params,
        input: &str,
        target: IpAddr,
        machine: &Machine,
        conditions: &Conditions,
    ) -> Result<Measured<Body>, Failure> {
        let samples: Vec<Sample<'_>> = machine.samples().collect();
        let Some(first) = samples.iter().find(|sample| sample.sent.is_some()) else {
            return Err(nothing_left(samples.iter().find_map(not_sent)));
        };
        let count = |wanted: fn(&Sample<'_>) -> bool| {
            u32::try_from(samples.iter().filter(|sample| wanted(sample)).count()).unwrap_or(u32::MAX)
        };
        let nodes: Vec<Node> = machine.nodes().map(|found| node(&found)).collect();
        let unasked = machine.unasked();
        let icmp = params.method == Method::Icmp;
        let selector = first.identity.map(|identity| identity.selector);
        let body = Body {
            target: input.to_owned(),
            address: target.into(),
            family: target.into(),
            method: params.method,
            confidence: params.confidence,
            router: params.router,
            source: machine.source().map(Into::into),
            source_port: selector.filter(|_| !icmp),
            port: (!icmp).then(|| params.destination_port()),
            icmp_id: selector.filter(|_| icmp),
            started_at: first.sent.map(|stamp| Timestamp::from_unix_ns(stamp.utc.0)),
            stop: stop(machine),
            sent: count(|sample| sample.sent.is_some()),
            replied: count(|sample| !sample.replies.is_empty()),
            overrun: count(|sample| sample.fate == Fate::Overrun),
            unasked: unasked.foreign.saturating_add(unasked.unknown),
            clock_stepped: samples.iter().any(|sample| sample.clock_stepped),
            links: links(&samples),
            diamonds: diamonds(&nodes),
            unanswered: samples.iter().filter(|sample| sample.to.is_none()).map(probe).collect(),
            conditions: conditions.into(),
            nodes,
        };
        let size = |number: usize| u64::try_from(number).ok().map(Into::into);
        let answering = || body.nodes.iter().filter(|node| node.address.is_some());
        let rtt = machine
            .nodes()
            .filter(|node| node.kind == machine::NodeKind::Destination)
            .flat_map(|node| samples.iter().filter(move |sample| sample.to == Some(node.number)))
            .filter_map(|sample| sample.rtt)
            .min();
        let width = levels(&body.nodes).into_values().max();
        let summary = summary([
            ("reached", Some(u64::from(machine.is_reached()).into())),
            ("hops", answering().map(|node| u64::from(node.ttl)).max().map(Into::into)),
            ("nodes", size(answering().count())),
            ("links", size(body.links.iter().filter(|link| link.from != 0).count())),
            ("diamonds", size(body.diamonds.len())),
            ("width", width.map(|width| u64::from(width).into())),
            ("sent", Some(body.sent.into())),
            ("replied", Some(body.replied.into())),
            ("rtt_ns", rtt.map(|rtt| rtt.0.into())),
        ]);
        Ok(Measured { answered: Some(machine.is_reached()), summary, body })
    }

    fn completes(params: &Params) -> bool {
        params.names
    }

    async fn complete(context: &dyn Context, _: &Params, body: &mut Body) {
        let addresses = body.nodes.iter().filter(|node| node.kind != NodeKind::Source);
        let addresses = addresses.filter_map(|node| node.address.map(|address| address.0));
        let names = names_of(context, addresses).await;
        for node in &mut body.nodes {
            node.name = node.address.and_then(|address| names.get(&address.0).cloned());
        }
    }
}

fn not_sent(sample: &Sample<'_>) -> Option<SendFailure> {
    match sample.fate {
        Fate::NotSent(reason) => Some(reason),
        _ => None,
    }
}

fn number(of: usize) -> u32 {
    u32::try_from(of).unwrap_or(u32::MAX)
}

fn node(found: &machine::Node) -> Node {
    Node {
        id: number(found.number),
        ttl: found.ttl.0,
        address: found.address.map(Into::into),
        name: None,
        kind: match found.kind {
            machine::NodeKind::Source => NodeKind::Source,
            machine::NodeKind::Router => NodeKind::Router,
            machine::NodeKind::Silent => NodeKind::Silent,
            machine::NodeKind::Destination => NodeKind::Destination,
            machine::NodeKind::Barred => NodeKind::Unreachable,
        },
        balancer: found.balancer.map(|balancer| match balancer {
            machine::Balancer::PerFlow => Balancer::PerFlow,
            machine::Balancer::PerPacket => Balancer::PerPacket,
        }),
        incomplete: !found.complete,
        flows: number(found.flows),
    }
}

fn links(samples: &[Sample<'_>]) -> Vec<Link> {
    let mut places: BTreeMap<(usize, usize), usize> = BTreeMap::new();
    let mut links: Vec<Link> = Vec::new();
    for sample in samples {
        let Some(to) = sample.to else { continue };
        let place = *places.entry((sample.from, to)).or_insert_with(|| {
            links.push(Link { from: number(sample.from), to: number(to), probes: Vec::new() });
            links.len() - 1
        });
        if let Some(link) = links.get_mut(place) {
            link.probes.push(probe(sample));
        }
    }
    links
}

fn probe(sample: &Sample<'_>) -> Probe {
    let rtt = |reply: &mmn_probe::trace::Reply| {
        sample.sent.and_then(|sent| reply.received.at.checked_since(sent.at))
    };
    Probe {
        ttl: sample.ttl.0,
        flow: sample.flow,
        attempt: sample.attempt,
        repetition: sample.is_repetition,
        status: sample.fate.into(),
        sent_at: sample.sent.map(|stamp| Timestamp::from_unix_ns(stamp.utc.0)),
        bytes: sample.sent.map(|_| sample.bytes),
        replies: sample.replies.iter().map(|reply| Reply::of(reply, rtt(reply))).collect(),
        duplicates: sample.duplicates.into(),
        error: not_sent(sample).map(|reason| reason.to_string()),
    }
}

/// The number of nodes at each TTL.
pub fn levels(nodes: &[Node]) -> BTreeMap<u8, u32> {
    let mut levels = BTreeMap::new();
    for node in nodes {
        *levels.entry(node.ttl).or_insert(0) += 1;
    }
    levels
}

/// Where ways part and meet again.
pub fn diamonds(nodes: &[Node]) -> Vec<Diamond> {
    let mut diamonds: Vec<Diamond> = Vec::new();
    let mut parted: Option<Diamond> = None;
    let mut single = 0;
    for (ttl, width) in levels(nodes) {
        match (&mut parted, width) {
            (None, 1) => single = ttl,
            (None, width) => parted = Some(Diamond { from_ttl: single, to_ttl: None, width }),
            (Some(diamond), 1) => {
                diamonds.push(Diamond { to_ttl: Some(ttl), ..*diamond });
                (parted, single) = (None, ttl);
            }
            (Some(diamond), width) => diamond.width = diamond.width.max(width),
        }
    }
    diamonds.extend(parted);
    diamonds
}

fn stop(machine: &Machine) -> Stop {
    let (reason, error) = match machine.stop() {
        Some(machine::Stop::Completed) => (StopReason::Completed, None),
        Some(machine::Stop::Unreachable) => (StopReason::Unreachable, None),
        Some(machine::Stop::GapLimit) => (StopReason::GapLimit, None),
        Some(machine::Stop::HopLimit) => (StopReason::HopLimit, None),
        Some(machine::Stop::Loop) => (StopReason::Loop, None),
        Some(machine::Stop::ProbeLimit) => (StopReason::ProbeLimit, None),
        Some(machine::Stop::NotSent(reason)) => (StopReason::Error, Some(reason.to_string())),
        _ => (StopReason::Halted, None),
    };
    Stop { reason, error }
}
