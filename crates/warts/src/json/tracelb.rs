//! Tracelb.

use serde_json::{Value, json};

use super::object::{Object, between, of_time};
use super::{ftime, ms};
use crate::names;
use crate::reader::Tables;
use crate::records::tracelb::{Link, Node, Probe, ProbeSet, Reply, Tracelb};
use crate::values::Address;

pub(super) fn value(trace: &Tracelb, tables: &Tables) -> Value {
    let mut object = Object::new("tracelb");
    let method = trace.probe_type.unwrap_or(0);
    object.set("version", "0.1");
    object.set("userid", trace.userid.unwrap_or(0));
    object.word("method", method.into(), names::tracelb_type(method));
    object.address("src", trace.src.as_ref());
    object.address("dst", trace.dst.as_ref());
    object.in_full("rtr", trace.rtr.as_ref());
    if method != 2 {
        object.set("sport", trace.sport.unwrap_or(0));
        object.set("dport", trace.dport.unwrap_or(0));
    }
    let start = trace.start.unwrap_or_default();
    object.set("start", json!({ "sec": start.sec, "usec": start.usec, "ftime": ftime(start.sec) }));
    object.set("probe_size", trace.probe_size.unwrap_or(0));
    object.set("firsthop", trace.firsthop.unwrap_or(0));
    object.set("attempts", trace.attempts.unwrap_or(0));
    object.set("confidence", trace.confidence.unwrap_or(0));
    object.set("tos", trace.tos.unwrap_or(0));
    object.set("gaplimit", trace.gaplimit.unwrap_or(0));
    object.set("wait_timeout", trace.wait_timeout.unwrap_or(0));
    object.set("wait_probe", trace.wait_probe.unwrap_or(0));
    object.set("probec", trace.probec.unwrap_or(0));
    object.set("probec_max", trace.probec_max.unwrap_or(0));
    object.set("nodec", trace.nodes.len());
    object.set("linkc", trace.links.len());
    object.text("errmsg", trace.errmsg.as_ref());
    object.monitor(trace.list, tables);
    let mut links = vec![Vec::new(); trace.nodes.len()];
    for link in &trace.links {
        if let Some(of) = links.get_mut(usize::from(link.from.unwrap_or(0))) {
            of.push(link);
        }
    }
    let begin = trace.nodes.iter().zip(&links).filter(|(_, links)| !links.is_empty());
    let nodes: Vec<_> = begin.map(|(of, links)| node(trace, of, links)).collect();
    if !nodes.is_empty() {
        object.set("nodes", nodes);
    }
    object.done()
}

fn node(trace: &Tracelb, node: &Node, links: &[&Link]) -> Value {
    let mut object = Object::plain();
    object.set("addr", node.addr.as_ref().map_or_else(|| "*".to_owned(), ToString::to_string));
    object.text("name", node.name.as_ref());
    object.put("q_ttl", node.q_ttl.filter(|_| node.flags.unwrap_or(0) & 1 != 0));
    object.set("linkc", links.len());
    let to = |link: &Link| {
        link.to.and_then(|to| trace.nodes.get(usize::from(to))).and_then(|node| node.addr.as_ref())
    };
    let hops = if let [link] = links {
        // A list for each hop: who replied there, and on the last the node that it leads to.
        let (last, before) =
            link.sets.split_last().map_or((None, &[][..]), |(last, before)| (Some(last), before));
        let mut hops: Vec<Value> = before.iter().map(summary).collect();
        hops.push(match (last, to(link)) {
            (Some(set), Some(to)) => json!([{ "addr": to.to_string(), "probes": probes(set, to) }]),
            _ => json!([{ "addr": "*" }]),
        });
        hops
    } else {
        // One list: what it leads to.
        let next = |link: &&Link| {
            let (to, set) = (to(link), link.sets.first());
            json!({
                "addr": to.map_or_else(|| "*".to_owned(), ToString::to_string),
                "probes": to.zip(set).map_or_else(Vec::new, |(to, set)| probes(set, to)),
            })
        };
        vec![Value::Array(links.iter().map(next).collect())]
    };
    object.set("links", hops);
    object.done()
}

/// Who replied at a hop.
fn summary(set: &ProbeSet) -> Value {
    let mut addresses: Vec<&Address> = Vec::new();
    for from in set.probes.iter().flat_map(|probe| &probe.replies).filter_map(|reply| reply.from.as_ref()) {
        if !addresses.contains(&from) {
            addresses.push(from);
        }
    }
    let replied = |address: &&Address| {
        let probes = set
            .probes
            .iter()
            .filter(|probe| probe.replies.iter().any(|reply| reply.from.as_ref() == Some(*address)));
        json!({ "addr": address.to_string(), "probes": probes.map(|of| probe(of, address)).collect::<Vec<_>>() })
    };
    let mut hop: Vec<Value> = addresses.iter().map(replied).collect();
    if set.probes.iter().any(|probe| probe.replies.is_empty()) {
        hop.push(json!({ "addr": "*" }));
    }
    Value::Array(hop)
}

fn probes(set: &ProbeSet, from: &Address) -> Vec<Value> {
    set.probes.iter().map(|of| probe(of, from)).collect()
}

/// A probe and the replies to it from an address.
fn probe(probe: &Probe, from: &Address) -> Value {
    let mut object = Object::plain();
    let replies: Vec<_> = probe.replies.iter().filter(|reply| reply.from.as_ref() == Some(from)).collect();
    object.time("tx", probe.tx);
    object.set("replyc", replies.len());
    object.set("ttl", probe.ttl.unwrap_or(0));
    object.set("attempt", probe.attempt.unwrap_or(0));
    object.set("flowid", probe.flowid.unwrap_or(0));
    if !replies.is_empty() {
        object.set("replies", replies.iter().map(|of| reply(probe, of)).collect::<Vec<_>>());
    }
    object.done()
}

fn reply(probe: &Probe, reply: &Reply) -> Value {
    let mut object = Object::plain();
    let rx = reply.rx.unwrap_or_default();
    object.set("rx", of_time(rx));
    object.set("ttl", reply.ttl.unwrap_or(0));
    object.set("rtt", ms(between(probe.tx.unwrap_or_default(), rx)));
    if matches!(reply.from, Some(Address::V4(_))) {
        object.set("ipid", reply.ipid.unwrap_or(0));
    }
    match (reply.tcp_flags, reply.icmp) {
        (Some(flags), _) => object.set("tcp_flags", flags),
        (None, icmp) => {
            let icmp = icmp.unwrap_or_default();
            object.set("icmp_type", icmp.kind);
            object.set("icmp_code", icmp.code);
            object.set("icmp_q_tos", reply.icmp_q_tos.unwrap_or(0));
            object.put("icmp_q_ttl", reply.icmp_q_ttl);
        }
    }
    object.extensions(reply.icmp_ext.as_ref());
    object.done()
}
