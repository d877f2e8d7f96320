//! Tracelb, a trace of all paths: record type 8.
//!
//! The format has no node for the source, and a link from one that answered to the next that did, with a set of probes
//! for each hop between. Ways behind a first hop that is silent begin at whatever answers.

use mmn_modules::multipath::{Body, Link as Step, Method, Node as Met, NodeKind, Params, Probe as Sent};
use mmn_modules::trace::Reply as Said;
use mmn_schema::api::ResultRecord;
use mmn_warts::records::tracelb::{Link, Node, Probe, ProbeSet, Reply, Tracelb};
use mmn_warts::values::InFull;

use super::trace::{icmp, percent};
use super::{
    CENTISECOND_NS, FORM, SECOND_NS, Untranslated, address, at_most, bare, errmsg, extensions, text, time,
    tos, units,
};
use crate::results::found;

/// The most sets of a link.
const MOST_SETS: usize = 255;
/// The most nodes and links.
const MOST: usize = u16::MAX as usize;

pub(super) fn record(params: &Params, record: &ResultRecord) -> Result<Tracelb, Untranslated> {
    let trace = asked(params);
    let Some(body) = found::<Body>(record)? else {
        let (target, errmsg) = errmsg(record)?;
        return Ok(Tracelb {
            dst: Some(target.into()),
            start: record.started_at.and_then(time),
            errmsg: Some(errmsg),
            ..trace
        });
    };
    let graph = Graph::new(&body);
    let links = graph.links()?;
    at_most(&graph.answering, MOST, "nodes of a tracelb")?;
    let first = body.links.iter().flat_map(|link| &link.probes).find_map(|probe| probe.bytes);
    let nodes = graph.answering.iter().enumerate().map(|(at, met)| {
        let count = links.iter().filter(|link| link.from.is_some_and(|from| usize::from(from) == at)).count();
        let quoted = graph.quoted_ttl(met);
        Node {
            flags: Some(u8::from(quoted.is_some())),
            linkc: u16::try_from(count).ok(),
            q_ttl: quoted,
            addr: met.address.map(address),
            name: met.name.as_deref().map(text),
            ..Node::default()
        }
    });
    Ok(Tracelb {
        start: body.started_at.or(record.started_at).and_then(time),
        sport: body.icmp_id.or(body.source_port),
        dport: body.port,
        probe_size: first.and_then(|bytes| u16::try_from(bytes).ok()),
        probe_type: Some(probe_type(body.method)),
        confidence: percent(body.confidence),
        probec: Some(body.sent),
        src: body.source.map(address),
        dst: Some(address(body.address)),
        rtr: body.router.map(|router| InFull(address(router))),
        errmsg: body.stop.error.as_deref().map(text),
        nodes: nodes.collect(),
        links,
        ..trace
    })
}

fn asked(params: &Params) -> Tracelb {
    Tracelb {
        probe_type: Some(probe_type(params.method)),
        firsthop: Some(params.first_hop),
        wait_timeout: units(params.timeout, SECOND_NS),
        wait_probe: units(params.wait, CENTISECOND_NS),
        attempts: Some(params.attempts),
        confidence: percent(params.confidence),
        tos: Some(tos(params.tos, params.dscp)),
        probec_max: Some(params.max_probes),
        gaplimit: Some(params.gap_limit),
        flags: Some(u8::from(params.names)),
        ..Tracelb::default()
    }
}

const fn probe_type(method: Method) -> u8 {
    match method {
        Method::UdpDport => 1,
        Method::Icmp => 2,
        Method::UdpSport => 3,
        Method::Tcp => 4,
        Method::TcpAck => 5,
    }
}

struct Graph<'a> {
    body: &'a Body,
    /// The nodes that answered, but for the source: those that the format has.
    answering: Vec<&'a Met>,
}

impl<'a> Graph<'a> {
    fn new(body: &'a Body) -> Self {
        let answering = body
            .nodes
            .iter()
            .filter(|node| node.kind != NodeKind::Source && node.address.is_some())
            .collect();
        Self { body, answering }
    }

    fn place(&self, id: u32) -> Option<u16> {
        u16::try_from(self.answering.iter().position(|node| node.id == id)?).ok()
    }

    fn onward(&self, from: u32) -> impl Iterator<Item = &'a Step> {
        self.body.links.iter().filter(move |link| link.from == from)
    }

    /// The TTL in what the node quotes, where it does.
    fn quoted_ttl(&self, node: &Met) -> Option<u8> {
        let there = self.body.links.iter().filter(|link| link.to == node.id);
        let mut replies = there.flat_map(|link| &link.probes).flat_map(|probe| &probe.replies);
        replies.find_map(|reply| reply.quote.as_ref()?.ttl)
    }

    fn links(&self) -> Result<Vec<Link>, Untranslated> {
        let mut links = Vec::new();
        for node in &self.answering {
            let from = self.place(node.id);
            // Ways onward that are not at their end yet: each a row of links, all but the last to silent nodes.
            let mut ways: Vec<Vec<&Step>> = self.onward(node.id).map(|step| vec![step]).collect();
            while let Some(way) = ways.pop() {
                let Some(last) = way.last() else { continue };
                let to = self.place(last.to);
                let mut further = self.onward(last.to).peekable();
                if to.is_some() || further.peek().is_none() || way.len() >= MOST_SETS {
                    let sets = way.iter().map(|step| set(&step.probes)).collect::<Result<_, _>>()?;
                    links.push(Link { from, to, sets, ..Link::default() });
                    if links.len() > MOST {
                        return Err(Untranslated::TooMany {
                            form: FORM,
                            what: "links of a tracelb",
                            most: MOST,
                        });
                    }
                } else {
                    ways.extend(further.map(|step| way.iter().copied().chain([step]).collect()));
                }
            }
        }
        Ok(links)
    }
}

fn set(probes: &[Sent]) -> Result<ProbeSet, Untranslated> {
    at_most(probes, MOST, "probes of a link")?;
    Ok(ProbeSet { probes: probes.iter().map(probe).collect(), ..ProbeSet::default() })
}

fn probe(sent: &Sent) -> Probe {
    Probe {
        tx: sent.sent_at.and_then(time),
        flowid: Some(sent.flow),
        ttl: Some(sent.ttl),
        attempt: Some(sent.attempt),
        replies: sent.replies.iter().map(|said| reply(sent, said)).collect(),
        ..Probe::default()
    }
}

const REPLY_TTL: u8 = 1;
const TCP: u8 = 2;

fn reply(sent: &Sent, said: &Said) -> Reply {
    let came = sent.sent_at.zip(said.rtt_ns).map(|(sent, rtt)| bare::later(sent, rtt));
    let tcp = if said.name == "tcp" { TCP } else { 0 };
    Reply {
        rx: came.and_then(time),
        ipid: said.ip_id,
        ttl: said.ttl,
        flags: Some(tcp | if said.ttl.is_some() { REPLY_TTL } else { 0 }),
        icmp: icmp(said),
        tcp_flags: said.tcp_flags,
        icmp_ext: extensions(&said.extensions),
        icmp_q_ttl: said.quote.as_ref().and_then(|quote| quote.ttl),
        icmp_q_tos: said.quote.as_ref().and_then(|quote| quote.tos),
        from: Some(address(said.from)),
        ..Reply::default()
    }
}
