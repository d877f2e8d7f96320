//! `multipath`: scamper's `tracelb`.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use futures::FutureExt;
use mmn_kit::{Failure, LocalBoxFuture, Measured, code, summary};
use mmn_modules::LaneWish;
use mmn_modules::multipath::{
    Body, Link, Method, Multipath, Node, NodeKind, Params, Probe, Stop, StopReason, diamonds, levels,
};
use mmn_modules::trace::{Extension, Quote, Reply, Status};
use mmn_probe::time::StampSource;
use mmn_scamper::Command;
use mmn_scamper::command::{Tracelb as Asked, TracelbMethod};
use mmn_warts::Record;
use mmn_warts::records::tracelb::{
    Link as Way, Probe as Sent, ProbeSet, Reply as Response, Tracelb as Found,
};

use super::{Form, Given, Scamper, cannot, none_of, other_record, span, values};

/// The most nodes of a result, silent ones included, and replies to a probe.
const MOST_NODES: usize = 8_192;
const MOST_REPLIES: usize = 4;

impl Form for Multipath {
    fn run<'a>(
        scamper: Scamper<'a>,
        params: &'a Params,
        given: &'a Given,
        input: &'a str,
    ) -> LocalBoxFuture<'a, Result<Measured<Body>, Failure>> {
        async move {
            let target = scamper.target(input, params.family).await?;
            let command = command(params, given, target)?;
            let asked = |key| Command::Tracelb(Box::new(Asked { user_id: Some(key), ..command }));
            match scamper.ask(asked).await? {
                Record::Tracelb(found) => measured(params, input, target, &found),
                _ => Err(other_record()),
            }
        }
        .boxed_local()
    }
}

fn command(params: &Params, given: &Given, target: IpAddr) -> Result<Asked, Failure> {
    none_of(&[
        (params.lane != LaneWish::Any, "lane", "chooses its sockets by itself"),
        (
            params.branch_points.is_some(),
            "branch_points",
            "has its confidence for each branch point by itself",
        ),
        (given.has("max_ttl"), "max_ttl", "goes as far as there are answers"),
        (given.has("parallel"), "parallel", "paces its probes by `wait`"),
        (params.size.is_some(), "size", "sends probes of a size of its own"),
        (params.dont_fragment, "dont_fragment", "leaves that to itself"),
        (params.names, "names", "is asked for names by dns"),
        (params.source.is_some(), "source", "leaves that to the system"),
        (params.gap_limit == 0, "gap_limit", "follows a branch for 5 silent hops at most"),
    ])?;
    let confidence = [95_u8, 99].into_iter().find(|one| (f64::from(*one) - params.confidence).abs() < 1e-9);
    let icmp = params.method == Method::Icmp;
    let udp = matches!(params.method, Method::UdpDport | Method::UdpSport);
    Ok(Asked {
        method: Some(match params.method {
            Method::UdpDport => TracelbMethod::UdpDport,
            Method::UdpSport => TracelbMethod::UdpSport,
            Method::Icmp => TracelbMethod::IcmpEcho,
            Method::Tcp => TracelbMethod::TcpSport,
            Method::TcpAck => TracelbMethod::TcpAckSport,
        }),
        confidence: Some(confidence.ok_or_else(|| cannot("confidence", "knows 95 and 99"))?),
        first_hop: (params.first_hop > 1).then_some(params.first_hop),
        gap_limit: Some(params.gap_limit),
        attempts: Some(params.attempts),
        max_probes: Some(
            u16::try_from(params.max_probes).map_err(|_| cannot("max_probes", "sends 65535 at most"))?,
        ),
        wait_timeout: Some(span("timeout", params.timeout, (1_000, 10_000), 1_000)?),
        wait_probe: if given.has("wait") { Some(span("wait", params.wait, (150, 2_000), 10)?) } else { None },
        dport: (!icmp).then(|| params.port.unwrap_or(if udp { 33_434 } else { 80 })),
        sport: params.source_port.or(params.icmp_id),
        tos: params.tos.or_else(|| params.dscp.map(|dscp| dscp << 2)),
        router: params.router.map(|router| router.0),
        ..Asked::new(target)
    })
}

pub(super) fn measured(
    params: &Params,
    input: &str,
    target: IpAddr,
    found: &Found,
) -> Result<Measured<Body>, Failure> {
    if found.probec.unwrap_or(0) == 0 {
        return Err(if found.errmsg.is_some() {
            values::failed(found.errmsg.as_ref())
        } else {
            Failure::failed(code::SYSTEM, "the daemon sent no probe")
        });
    }
    let graph = Graph::of(params, target, found)?;
    let Graph { nodes, links, .. } = graph;
    let reached = nodes.iter().any(|node| node.kind == NodeKind::Destination);
    let barred = nodes.iter().any(|node| node.kind == NodeKind::Unreachable);
    let sent = found.probec.unwrap_or(0);
    let reason = match () {
        () if reached => StopReason::Completed,
        () if found.errmsg.is_some() => StopReason::Error,
        () if sent >= params.max_probes => StopReason::ProbeLimit,
        () if barred => StopReason::Unreachable,
        () => StopReason::GapLimit,
    };
    let icmp = params.method == Method::Icmp;
    let probes = || links.iter().flat_map(|link| &link.probes);
    let replied =
        u32::try_from(probes().filter(|probe| !probe.replies.is_empty()).count()).unwrap_or(u32::MAX);
    let conditions = values::conditions(false, StampSource::User, StampSource::Kernel);
    let body = Body {
        target: input.to_owned(),
        address: target.into(),
        family: target.into(),
        method: params.method,
        confidence: params.confidence,
        router: params.router,
        source: found.src.as_ref().and_then(values::ip).map(Into::into),
        source_port: found.sport.filter(|_| !icmp),
        port: found.dport.filter(|_| !icmp),
        icmp_id: found.sport.filter(|_| icmp),
        started_at: found.start.map(values::instant),
        stop: Stop { reason, error: found.errmsg.as_ref().map(ToString::to_string) },
        sent,
        replied,
        overrun: 0,
        unasked: 0,
        clock_stepped: false,
        diamonds: diamonds(&nodes),
        unanswered: Vec::new(),
        conditions: (&conditions).into(),
        nodes,
        links,
    };
    let size = |number: usize| u64::try_from(number).ok().map(Into::into);
    let answering = || body.nodes.iter().filter(|node| node.address.is_some());
    let destinations: BTreeSet<u32> =
        body.nodes.iter().filter(|node| node.kind == NodeKind::Destination).map(|node| node.id).collect();
    let there =
        body.links.iter().filter(|link| destinations.contains(&link.to)).flat_map(|link| &link.probes);
    let rtt = there.filter_map(|probe| probe.replies.first()?.rtt_ns).min();
    let summary = summary([
        ("reached", Some(u64::from(reached).into())),
        ("hops", answering().map(|node| u64::from(node.ttl)).max().map(Into::into)),
        ("nodes", size(answering().count())),
        ("links", size(body.links.iter().filter(|link| link.from != 0).count())),
        ("diamonds", size(body.diamonds.len())),
        ("width", levels(&body.nodes).into_values().max().map(|width| u64::from(width).into())),
        ("sent", Some(body.sent.into())),
        ("replied", Some(body.replied.into())),
        ("rtt_ns", rtt.map(Into::into)),
    ]);
    Ok(Measured { answered: Some(reached), summary, body })
}

/// What a record's nodes and links are here: with a source, and with a node for each hop that was silent.
struct Graph<'a> {
    target: IpAddr,
    found: &'a Found,
    nodes: Vec<Node>,
    links: Vec<Link>,
}

impl<'a> Graph<'a> {
    fn of(params: &Params, target: IpAddr, found: &'a Found) -> Result<Self, Failure> {
        let mut this = Self { target, found, nodes: Vec::new(), links: Vec::new() };
        let before = params.first_hop.saturating_sub(1);
        let source = found.src.as_ref().and_then(values::ip);
        this.add(before, source, NodeKind::Source)?;
        let ttls = ttls(found, params.first_hop);
        let barred = barred(target, found);
        for (at, node) in found.nodes.iter().enumerate() {
            let address = node.addr.as_ref().and_then(values::ip);
            let ttl = ttls.get(&at).copied().unwrap_or(params.first_hop);
            let kind = match address {
                Some(address) if address == target => NodeKind::Destination,
                Some(address) if barred.contains(&address) => NodeKind::Unreachable,
                Some(_) => NodeKind::Router,
                None => NodeKind::Silent,
            };
            this.add(ttl, address, kind)?;
        }
        let led_to: BTreeSet<usize> = found.links.iter().filter_map(|way| way.to.map(usize::from)).collect();
        for at in (0..found.nodes.len()).filter(|at| !led_to.contains(at)) {
            this.link(0, number(at + 1), Vec::new());
        }
        for way in &found.links {
            this.way(way)?;
        }
        this.count_flows();
        Ok(this)
    }

    fn add(&mut self, ttl: u8, address: Option<IpAddr>, kind: NodeKind) -> Result<u32, Failure> {
        let id = number(self.nodes.len());
        if self.nodes.len() >= MOST_NODES {
            return Err(Failure::failed(
                code::PROTOCOL,
                format_args!("the daemon tells of more than {MOST_NODES} nodes"),
            ));
        }
        let address = address.map(Into::into);
        let known = kind != NodeKind::Silent;
        self.nodes.push(Node {
            id,
            ttl,
            address,
            name: None,
            kind,
            balancer: None,
            incomplete: !known,
            flows: 0,
        });
        Ok(id)
    }

    fn link(&mut self, from: u32, to: u32, probes: Vec<Probe>) {
        self.links.push(Link { from, to, probes });
    }

    /// From a node to the next that answers: with silent ones between, one for each set but the last.
    fn way(&mut self, way: &Way) -> Result<(), Failure> {
        let place = |at: Option<u16>| {
            at.map(usize::from).filter(|at| *at < self.found.nodes.len()).map(|at| number(at + 1))
        };
        let (Some(mut from), to) = (place(way.from), place(way.to)) else { return Ok(()) };
        for (at, set) in way.sets.iter().enumerate() {
            let next = match to {
                Some(to) if at + 1 == way.sets.len() => to,
                _ => self.add(ttl_of(set).unwrap_or(u8::MAX), None, NodeKind::Silent)?,
            };
            let probes = set.probes.iter().map(|sent| self.probe(sent)).collect();
            self.link(from, next, probes);
            from = next;
        }
        Ok(())
    }

    fn count_flows(&mut self) {
        let mut flows: BTreeMap<u32, BTreeSet<u16>> = BTreeMap::new();
        for link in &self.links {
            flows.entry(link.to).or_default().extend(link.probes.iter().map(|probe| probe.flow));
        }
        for node in &mut self.nodes {
            node.flows = flows.get(&node.id).map_or(0, |flows| number(flows.len()));
        }
    }

    fn probe(&self, sent: &Sent) -> Probe {
        let replies: Vec<Reply> =
            sent.replies.iter().take(MOST_REPLIES).map(|said| self.reply(sent, said)).collect();
        Probe {
            ttl: sent.ttl.unwrap_or(0),
            flow: sent.flowid.unwrap_or(0),
            attempt: sent.attempt.unwrap_or(0),
            repetition: false,
            status: if replies.is_empty() { Status::TimedOut } else { Status::Replied },
            sent_at: sent.tx.map(values::instant),
            bytes: self.found.probe_size.map(u32::from),
            replies,
            duplicates: number(sent.replies.len().saturating_sub(MOST_REPLIES)),
            error: None,
        }
    }

    fn reply(&self, sent: &Sent, said: &Response) -> Reply {
        let from = said.from.as_ref().and_then(values::ip).unwrap_or(self.target);
        let error = said.icmp.and_then(|icmp| values::icmp_error(from, icmp, None));
        let tcp = said.flags.unwrap_or(0) & 2 != 0;
        let rtt = sent
            .tx
            .zip(said.rx)
            .and_then(|(sent, came)| u64::try_from(values::ns(came) - values::ns(sent)).ok());
        let quote = Quote {
            ttl: said.icmp_q_ttl,
            tos: said.icmp_q_tos,
            ip_bytes: None,
            ip_id: None,
            altered: Vec::new(),
        };
        let quotes = error.is_some() && (quote.ttl.is_some() || quote.tos.is_some());
        Reply {
            from: from.into(),
            from_name: None,
            rtt_ns: rtt,
            ttl: said.ttl,
            tos: None,
            ip_id: said.ipid,
            // The record does not tell it.
            bytes: 0,
            name: error.map_or(if tcp { "tcp" } else { "echo_reply" }, |kind| kind.name()).to_owned(),
            icmp_type: error.and(said.icmp).map(|icmp| icmp.kind),
            icmp_code: error.and(said.icmp).map(|icmp| icmp.code),
            mtu: None,
            tcp_flags: said.tcp_flags.filter(|_| tcp),
            verified: false,
            quote: quotes.then_some(quote),
            extensions: said
                .icmp_ext
                .as_ref()
                .map_or_else(Vec::new, |list| Extension::all(&values::objects(list))),
        }
    }
}

/// The TTLs of nodes: of the probes that met them, or of those that went beyond, less one.
fn ttls(found: &Found, first_hop: u8) -> BTreeMap<usize, u8> {
    let mut ttls = BTreeMap::new();
    for way in &found.links {
        if let (Some(to), Some(ttl)) = (way.to, way.sets.last().and_then(ttl_of)) {
            ttls.entry(usize::from(to)).or_insert(ttl);
        }
    }
    for way in &found.links {
        if let (Some(from), Some(ttl)) = (way.from, way.sets.first().and_then(ttl_of)) {
            ttls.entry(usize::from(from)).or_insert(ttl.saturating_sub(1).max(first_hop));
        }
    }
    ttls
}

fn ttl_of(set: &ProbeSet) -> Option<u8> {
    set.probes.iter().find_map(|probe| probe.ttl)
}

/// Who said that the target can't be reached.
fn barred(target: IpAddr, found: &Found) -> BTreeSet<IpAddr> {
    let probes = found.links.iter().flat_map(|way| &way.sets).flat_map(|set| &set.probes);
    let replies = probes.flat_map(|probe| &probe.replies);
    replies
        .filter_map(|said| {
            let from = said.from.as_ref().and_then(values::ip)?;
            let kind = values::icmp_error(from, said.icmp?, None)?;
            (from != target && kind.name().contains("unreachable") || kind.name() == "prohibited")
                .then_some(from)
        })
        .collect()
}

fn number(of: usize) -> u32 {
    u32::try_from(of).unwrap_or(u32::MAX)
}
