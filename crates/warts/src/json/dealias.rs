//! Dealias.

use serde_json::Value;

use super::object::Object;
use crate::names;
use crate::reader::Tables;
use crate::records::dealias::{Dealias, Method, Probe, ProbeDef, Reply};
use crate::values::Address;

pub(super) fn value(dealias: &Dealias, tables: &Tables) -> Value {
    let mut object = Object::new("dealias");
    let method = dealias.method.unwrap_or(0);
    object.set("version", "0.2");
    object.word("method", method.into(), names::dealias_method(method));
    object.set("userid", dealias.userid.unwrap_or(0));
    let result = dealias.result.unwrap_or(0);
    object.word("result", result.into(), names::dealias_result(result));
    object.time("start", dealias.start);
    object.text("errmsg", dealias.errmsg.as_ref());
    of_method(&mut object, &dealias.method_data);
    let defs = dealias.definitions();
    object.monitor(dealias.list, tables);
    object.set("probedefs", defs.iter().zip(0..).map(|(def, at)| definition(def, at)).collect::<Vec<_>>());
    object.set("probes", dealias.probes.iter().map(|of| probe(of, &defs)).collect::<Vec<_>>());
    object.done()
}

/// Puts a method's own fields.
fn of_method(object: &mut Object, method: &Method) {
    match method {
        // scamper's own output has none of the others'.
        Method::None | Method::Midarest(_) | Method::Midardisc(_) => {}
        Method::Mercator(mercator) => {
            object.set("attempts", mercator.attempts.unwrap_or(0));
            object.set("wait_timeout", mercator.wait_timeout.unwrap_or(0));
        }
        Method::Ally(ally) => {
            object.set("wait_probe", ally.wait_probe.unwrap_or(0));
            object.set("wait_timeout", ally.wait_timeout.unwrap_or(0));
            object.set("attempts", ally.attempts.unwrap_or(0));
            object.set("fudge", ally.fudge.unwrap_or(0));
            object.flags("flags", ally.flags.unwrap_or(0).into(), &["nobs"]);
        }
        Method::Radargun(radargun) => {
            object.set("attempts", radargun.rounds.unwrap_or(0));
            object.set("wait_probe", radargun.wait_probe.unwrap_or(0));
            object.set("wait_round", radargun.wait_round.unwrap_or(0));
            object.set("wait_timeout", radargun.wait_timeout.unwrap_or(0));
            object.flags("flags", radargun.flags.unwrap_or(0).into(), &["nobs"]);
        }
        Method::Prefixscan(scan) => {
            let prefix = scan.prefix.unwrap_or(0);
            object.address("a", scan.a.as_ref());
            object.put("b", scan.b.as_ref().map(|b| format!("{b}/{prefix}")));
            object.put("ab", scan.ab.as_ref().map(|ab| format!("{ab}/{prefix}")));
            object.put(
                "xs",
                scan.xs.as_ref().map(|xs| xs.0.iter().map(ToString::to_string).collect::<Vec<_>>()),
            );
            object.set("attempts", scan.attempts.unwrap_or(0));
            object.set("replyc", scan.replyc.unwrap_or(5));
            object.set("fudge", scan.fudge.unwrap_or(0));
            object.set("wait_probe", scan.wait_probe.unwrap_or(0));
            object.set("wait_timeout", scan.wait_timeout.unwrap_or(0));
            object.flags("flags", scan.flags.unwrap_or(0).into(), &["nobs", "csa"]);
        }
        Method::Bump(bump) => {
            object.set("wait_probe", bump.wait_probe.unwrap_or(0));
            object.set("bump_limit", bump.bump_limit.unwrap_or(0));
            object.set("attempts", bump.attempts.unwrap_or(0));
        }
    }
}

fn definition(def: &ProbeDef, at: u32) -> Value {
    let mut object = Object::plain();
    let method = def.method.unwrap_or(0);
    let ports = def.ports.unwrap_or_default();
    object.set("id", def.id.unwrap_or(at));
    object.address("src", def.src.as_ref());
    object.address("dst", def.dst.as_ref());
    object.set("ttl", def.ttl.unwrap_or(0));
    object.set("size", def.size.unwrap_or(0));
    object.word("method", method.into(), names::dealias_probe(method));
    match method {
        1 => {
            object.set("icmp_id", def.icmp_id.unwrap_or(0));
            object.set("icmp_csum", def.ports.map(|ports| ports.dport).or(def.icmp_csum).unwrap_or(0));
        }
        3 | 5 => {
            object.set("udp_sport", ports.sport);
            object.set("udp_dport", ports.dport);
        }
        _ => {
            object.set("tcp_sport", ports.sport);
            object.set("tcp_dport", ports.dport);
            object.set("tcp_flags", def.tcp_flags.unwrap_or(0));
        }
    }
    object.nonzero("mtu", def.mtu);
    object.done()
}

fn probe(probe: &Probe, defs: &[&ProbeDef]) -> Value {
    let mut object = Object::plain();
    let id = probe.def.unwrap_or(0);
    object.set("probedef_id", id);
    object.set("seq", probe.seq.unwrap_or(0));
    object.time("tx", probe.tx);
    let def = usize::try_from(id).ok().and_then(|at| defs.get(at));
    if def.is_some_and(|def| matches!(def.dst, Some(Address::V4(_)))) {
        object.set("ipid", probe.ipid.unwrap_or(0));
    }
    object.set("replies", probe.replies.iter().map(reply).collect::<Vec<_>>());
    object.done()
}

fn reply(reply: &Reply) -> Value {
    let mut object = Object::plain();
    object.address("src", reply.src.as_ref());
    object.time("rx", reply.rx);
    object.set("ttl", reply.ttl.unwrap_or(0));
    object.nonzero("size", reply.size);
    let v4 = matches!(reply.src, Some(Address::V4(_)));
    if v4 {
        object.set("ipid", reply.ipid.unwrap_or(0));
    } else {
        object.put("ipid", reply.ipid32);
    }
    // Old files have no protocol where it is ICMP.
    let proto = reply.proto.unwrap_or(if v4 { 1 } else { 58 });
    object.set("proto", proto);
    match proto {
        1 | 58 => {
            let icmp = reply.icmp.unwrap_or_default();
            object.set("icmp_type", icmp.kind);
            object.set("icmp_code", icmp.code);
            object.put("icmp_q_ttl", reply.icmp_q_ttl);
        }
        6 => object.set("tcp_flags", reply.tcp_flags.unwrap_or(0)),
        _ => {}
    }
    object.done()
}
