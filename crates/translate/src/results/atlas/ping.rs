//! Ping.

use mmn_modules::ping::{Body, Method, Params, Reply, Status};
use serde_json::{Value, json};

use super::{About, Object, bare, failure, family, head, timed_out};
use crate::results::{Untranslated, failed, found};

pub(super) fn result(params: &Params, about: &About<'_>) -> Result<Value, Untranslated> {
    let Some(body) = found::<Body>(about.record)? else { return not_measured(params, about) };
    let mut object = head(body.conditions.as_ref().and_then(|conditions| conditions.clock));
    object.set("dst_name", body.target.clone());
    object.set("af", family(body.address.0));
    object.set("dst_addr", body.address.to_string());
    object.put("src_addr", body.source.map(|source| source.to_string()));
    object.set("proto", protocol(body.method));
    // The TTL of the first reply; replies with another one say so themselves.
    let ttl = body.replies.iter().find(|reply| reply.status == Status::Replied).and_then(|reply| reply.ttl);
    object.put("ttl", ttl);
    object.set("size", size(params));
    object.set("result", packets(&body, ttl));
    object.set("dup", body.duplicates);
    object.set("rcvd", body.received);
    object.set("sent", body.sent);
    let of = |ns: Option<u64>| ns.map_or(json!(-1), |ns| json!(bare::millis(ns)));
    object.set("min", of(body.rtt.map(|rtt| rtt.min_ns)));
    object.set("max", of(body.rtt.map(|rtt| rtt.max_ns)));
    object.set("avg", of(body.rtt.map(|rtt| rtt.mean_ns)));
    Ok(about.tail(object, "ping", "Ping", body.source))
}

fn not_measured(params: &Params, about: &About<'_>) -> Result<Value, Untranslated> {
    let reason = failed(about.record)?;
    let mut object = head(None);
    object.put("dst_name", about.target());
    object.set("proto", protocol(params.method));
    object.set("size", size(params));
    let error = failure(&mut object, reason);
    object.set("result", json!([{ "error": error }]));
    for key in ["dup", "rcvd", "sent"] {
        object.set(key, 0);
    }
    for key in ["min", "max", "avg"] {
        object.set(key, -1);
    }
    Ok(about.tail(object, "ping", "Ping", None))
}

/// The structure knows ICMP; the others are named as in its traceroutes.
fn protocol(method: Method) -> &'static str {
    match method {
        Method::Icmp | Method::IcmpTimestamp => "ICMP",
        Method::Udp | Method::UdpDport | Method::UdpSport => "UDP",
        Method::TcpSyn
        | Method::TcpSynSport
        | Method::TcpAck
        | Method::TcpAckSport
        | Method::TcpSynack
        | Method::TcpRst => "TCP",
    }
}

/// The payload of a request in bytes.
fn size(params: &Params) -> usize {
    let tcp = protocol(params.method) == "TCP";
    let given = params.payload.as_ref().map(|digits| digits.len() / 2);
    given.unwrap_or(if tcp { 0 } else { usize::from(params.size) })
}

fn packets(body: &Body, ttl: Option<u8>) -> Vec<Value> {
    let mut list = Vec::new();
    for reply in &body.replies {
        list.push(packet(reply, ttl));
        for repeat in &reply.repeats {
            let mut object = Object::default();
            object.set("dup", 1);
            object.put("rtt", repeat.rtt_ns.map(bare::millis));
            object.put("src_addr", repeat.from.map(|from| from.to_string()));
            object.put("ttl", repeat.ttl.filter(|found| Some(*found) != ttl));
            list.push(Value::Object(object.0));
        }
    }
    list
}

fn packet(reply: &Reply, ttl: Option<u8>) -> Value {
    let mut object = Object::default();
    match reply.status {
        Status::Replied => {
            object.put("rtt", reply.rtt_ns.map(bare::millis));
            object.put("src_addr", reply.from.map(|from| from.to_string()));
            object.put("ttl", reply.ttl.filter(|found| Some(*found) != ttl));
        }
        Status::Error | Status::NotSent => {
            let name = reply.error.as_ref().map_or("error", |error| &error.name);
            object.set("error", name.replace('_', " "));
            object.put("src_addr", reply.from.map(|from| from.to_string()));
        }
        // A late reply counts as lost, and of what was missed or cut off nobody knows.
        Status::Late | Status::TimedOut | Status::Overrun | Status::Cancelled => return timed_out(),
    }
    Value::Object(object.0)
}
