//! Traceroute.

use mmn_modules::trace::{Body, Extension, Method, Params, Probe, Reply, Status};
use mmn_schema::time::Timestamp;
use serde_json::{Value, json};

use super::{About, Object, bare, failure, family, head, timed_out};
use crate::results::{Untranslated, failed, found};

pub(super) fn result(params: &Params, about: &About<'_>) -> Result<Value, Untranslated> {
    let Some(body) = found::<Body>(about.record)? else { return not_measured(params, about) };
    let mut object = head(body.conditions.clock);
    object.put("endtime", end(about).map(bare::seconds));
    object.set("dst_name", body.target.clone());
    object.set("dst_addr", body.address.to_string());
    object.put("src_addr", body.source.map(|source| source.to_string()));
    object.set("proto", protocol(body.method));
    object.set("af", family(body.address.0));
    object.set("size", size(params));
    object.set("paris_id", paris_id(params, body.paris));
    let last_ditch = (!body.last_ditch.is_empty()).then(|| hop(255, &body.last_ditch, &body));
    let hops = body.hops.iter().map(|one| hop(one.ttl, &one.probes, &body)).chain(last_ditch);
    object.set("result", hops.collect::<Vec<_>>());
    Ok(about.tail(object, "traceroute", "Traceroute", body.source))
}

fn not_measured(params: &Params, about: &About<'_>) -> Result<Value, Untranslated> {
    let reason = failed(about.record)?;
    let mut object = head(None);
    object.put("endtime", end(about).map(bare::seconds));
    object.put("dst_name", about.target());
    object.set("proto", protocol(params.method));
    object.set("paris_id", paris_id(params, params.paris));
    let error = failure(&mut object, reason);
    object.set("result", json!([{ "hop": params.first_hop, "error": error }]));
    Ok(about.tail(object, "traceroute", "Traceroute", None))
}

fn end(about: &About<'_>) -> Option<Timestamp> {
    Some(bare::later(about.record.started_at?, about.record.duration_ns?))
}

fn protocol(method: Method) -> &'static str {
    match method {
        Method::Icmp => "ICMP",
        Method::Udp => "UDP",
        Method::Tcp | Method::TcpAck => "TCP",
    }
}

/// The payload of a probe in bytes.
fn size(params: &Params) -> usize {
    let usual = if matches!(params.method, Method::Tcp | Method::TcpAck) { 0 } else { 32 };
    let given = params.payload.as_ref().map(|digits| digits.len() / 2);
    given.or(params.size.map(usize::from)).unwrap_or(usual)
}

/// Zero is classic; flows count from 1, and there are 64.
fn paris_id(params: &Params, paris: bool) -> u16 {
    if paris { params.flow.saturating_add(1) } else { 0 }
}

fn hop(ttl: u8, probes: &[Probe], body: &Body) -> Value {
    let list: Vec<_> = probes.iter().filter_map(|probe| packet(probe, body)).collect();
    if list.is_empty()
        && let Some(error) = probes.iter().find_map(|probe| probe.error.as_ref())
    {
        return json!({ "hop": ttl, "error": error });
    }
    json!({ "hop": ttl, "result": list })
}

/// What became of a probe; nothing where it did not leave.
fn packet(probe: &Probe, body: &Body) -> Option<Value> {
    match (&probe.reply, probe.status) {
        (Some(reply), Status::Replied) => Some(answered(reply, body)),
        (_, Status::NotSent) => None,
        _ => Some(timed_out()),
    }
}

fn answered(reply: &Reply, body: &Body) -> Value {
    let mut object = Object::default();
    object.set("from", reply.from.to_string());
    object.put("ttl", reply.ttl);
    object.set("size", reply.bytes);
    object.put("rtt", reply.rtt_ns.map(bare::millis));
    object.put("err", error(reply, body));
    object.put("mtu", reply.mtu);
    object.put("flags", reply.tcp_flags.map(flags));
    // What is left of the TTL in the quoted probe, where it is not what it should be.
    object.put("ittl", reply.quote.as_ref().and_then(|quote| quote.ttl).filter(|ttl| *ttl != 1));
    object.put("itos", reply.quote.as_ref().and_then(|quote| quote.tos).filter(|tos| *tos != 0));
    if !reply.extensions.is_empty() {
        let objects: Vec<_> = reply.extensions.iter().map(extension).collect();
        object.set("icmpext", json!({ "version": 2, "rfc4884": 1, "obj": objects }));
    }
    Value::Object(object.0)
}

/// An error by its letter, else by its code (RFC 792, RFC 4443). That a router ran out of TTL is no error, nor is the
/// answer of the target's own port.
fn error(reply: &Reply, body: &Body) -> Option<Value> {
    let (kind, code) = (reply.icmp_type?, reply.icmp_code.unwrap_or(0));
    let (unreachable, exceeded) = if reply.from.0.is_ipv4() { (3, 11) } else { (1, 3) };
    let port = if reply.from.0.is_ipv4() { 3 } else { 4 };
    if kind == exceeded || kind == unreachable && code == port && reply.from == body.address {
        return None;
    }
    let letter = match (reply.from.0.is_ipv4(), kind == unreachable, code) {
        (_, true, 0) => "N",
        (true, true, 1) | (false, true, 3) => "H",
        (true, true, 2) => "P",
        (true, true, 3) | (false, true, 4) => "p",
        (true, true, 13) | (false, true, 1) => "A",
        _ => return Some(json!(code)),
    };
    Some(json!(letter))
}

/// A letter for each flag.
fn flags(octet: u8) -> String {
    "FSRPAUEC"
        .chars()
        .enumerate()
        .filter(|(bit, _)| octet >> bit & 1 == 1)
        .map(|(_, letter)| letter)
        .collect()
}

fn extension(extension: &Extension) -> Value {
    let mut object = Object::default();
    object.set("class", extension.class);
    object.set("type", extension.c_type);
    if !extension.mpls.is_empty() {
        let label = |label: &mmn_modules::trace::Label| {
            json!({
                "label": label.label,
                "exp": label.traffic_class,
                "s": u8::from(label.bottom),
                "ttl": label.ttl,
            })
        };
        object.set("mpls", extension.mpls.iter().map(label).collect::<Vec<_>>());
    }
    Value::Object(object.0)
}
