//! Ping.

use serde_json::{Value, json};

use super::ms;
use super::object::{Object, of_time};
use crate::names;
use crate::reader::Tables;
use crate::records::ping::{Ping, Reply};
use crate::values::{Address, hex};

/// The flag of a reply whose traffic class is known.
const REPLY_TOS: u8 = 0x20;

pub(super) fn value(ping: &Ping, tables: &Tables) -> Value {
    let mut object = Object::new("ping");
    let method = Method(ping.probe_method.unwrap_or(0));
    let flags = ping.flags.unwrap_or(ping.flags8.unwrap_or(0).into());
    object.set("version", "0.4");
    object.word("method", method.0.into(), names::ping_method(method.0));
    object.address("src", ping.src.as_ref());
    object.address("dst", ping.dst.as_ref());
    object.in_full("rtr", ping.rtr.as_ref());
    object.time("start", ping.start);
    let stop = ping.stop_reason.unwrap_or(0);
    object.word("stop_reason", stop.into(), names::ping_stop(stop));
    object.set("stop_data", ping.stop_data.unwrap_or(0));
    object.text("errmsg", ping.errmsg.as_ref());
    object.set("ping_sent", ping.ping_sent.unwrap_or(0));
    object.set("probe_size", ping.probe_size.unwrap_or(0));
    object.set("userid", ping.userid.unwrap_or(0));
    object.set("ttl", ping.probe_ttl.unwrap_or(0));
    object.set("tos", ping.probe_tos.unwrap_or(0));
    object.set("wait", ping.probe_wait.unwrap_or(0));
    object.nonzero("wait_us", ping.probe_wait_us);
    object.set("timeout", ping.probe_timeout.or(ping.probe_wait).unwrap_or(0));
    object.nonzero("timeout_us", ping.probe_timeout_us);
    if !method.is_icmp() {
        object.set("sport", ping.probe_sport.unwrap_or(0));
        object.set("dport", ping.probe_dport.unwrap_or(0));
    }
    if method.is_tcp() {
        object.set("tcp_seq", ping.probe_tcpseq.unwrap_or(0));
        object.set("tcp_ack", ping.probe_tcpack.unwrap_or(0));
    }
    if let Some(data) = ping.data.as_ref().filter(|data| !data.0.is_empty()) {
        object.set(if flags & 4 == 0 { "pattern" } else { "payload" }, hex(&data.0));
    }
    object.flags("flags", flags, names::PING_FLAGS);
    if method.is_icmp() && flags & 0x20 != 0 {
        object.set("icmp_csum", ping.probe_icmpsum.unwrap_or(0));
    }
    object.put("probe_tsps", ping.probe_tsps.as_ref().map(|tsps| words(&tsps.0)));
    object.monitor(ping.list, tables);
    object.set(
        "responses",
        ping.replies.iter().map(|reply| response(ping, method, flags, reply)).collect::<Vec<_>>(),
    );
    // A file holds no probe without a reply.
    object.set("no_responses", Vec::<Value>::new());
    object.set("statistics", statistics(ping, method));
    object.done()
}

#[derive(Clone, Copy)]
struct Method(u8);

impl Method {
    fn is_icmp(self) -> bool {
        matches!(self.0, 0 | 5)
    }
    fn is_udp(self) -> bool {
        matches!(self.0, 3 | 4 | 10)
    }
    fn is_tcp(self) -> bool {
        !self.is_icmp() && !self.is_udp()
    }
    fn varies_sport(self) -> bool {
        matches!(self.0, 2 | 9 | 10)
    }
    fn varies_dport(self) -> bool {
        self.0 == 4
    }
}

fn words(addresses: &[Address]) -> Vec<String> {
    addresses.iter().map(ToString::to_string).collect()
}

fn is_icmp(reply: &Reply) -> bool {
    reply.reply_proto.is_none_or(|proto| matches!(proto, 1 | 58))
}

fn response(ping: &Ping, method: Method, flags: u32, reply: &Reply) -> Value {
    let mut object = Object::plain();
    let id = reply.probe_id.unwrap_or(0);
    object.address("from", reply.addr.as_ref());
    object.set("seq", id);
    object.set("reply_size", reply.reply_size.unwrap_or(0));
    object.set("reply_ttl", reply.reply_ttl.unwrap_or(0));
    match reply.reply_proto {
        None | Some(1 | 58) => object.set("reply_proto", "icmp"),
        Some(6) => object.set("reply_proto", "tcp"),
        Some(17) => object.set("reply_proto", "udp"),
        Some(other) => object.set("reply_proto", other),
    }
    object.text("ifname", reply.ifname.as_ref().map(|ifname| &ifname.0));
    object.flags("reply_flags", u32::from(reply.flags.unwrap_or(0)) & 0x18, names::PING_REPLY_FLAGS);
    let rtt = reply.rtt.unwrap_or_default().0;
    if let Some(tx) = reply.tx {
        object.set("tx", of_time(tx));
        object.set("rx", of_time(tx.plus(rtt)));
    }
    object.set("rtt", ms(rtt.into()));
    let (sport, dport) = (ping.probe_sport.unwrap_or(0), ping.probe_dport.unwrap_or(0));
    if method.is_icmp() {
        object.set("icmp_id", sport);
        object.set("icmp_seq", dport.wrapping_add(id));
    } else {
        let sport = if method.varies_sport() { sport.wrapping_add(id) } else { sport };
        let dport = if method.varies_dport() { dport.wrapping_add(id) } else { dport };
        let sport = reply.probe_sport.filter(|port| *port != 0).unwrap_or(sport);
        let transport = if method.is_udp() { "udp" } else { "tcp" };
        object.set(&format!("{transport}_sport"), sport);
        object.set(&format!("{transport}_dport"), dport);
    }
    object.put("probe_ipid", reply.probe_ipid);
    object.put("reply_ipid", reply.reply_ipid.map(u32::from).or(reply.reply_ipid32));
    if reply.flags.unwrap_or(0) & REPLY_TOS != 0 {
        object.set("reply_tos", reply.reply_iptos.unwrap_or(0));
    }
    if is_icmp(reply) {
        let icmp = reply.icmp.unwrap_or_default();
        object.set("icmp_type", icmp.kind);
        object.set("icmp_code", icmp.code);
        object.put("icmp_nhmtu", reply.icmp_nhmtu);
    } else if reply.reply_proto == Some(6) {
        object.set("tcp_flags", reply.tcp_flags.unwrap_or(0));
    }
    object.put("RR", reply.v4rr.as_ref().map(|route| words(&route.0)));
    if let Some(stamps) = &reply.v4ts {
        if flags & 8 == 0 {
            let stamp = |(at, ts): (usize, &u32)| match stamps.addresses.get(at) {
                Some(address) => json!({ "ip": address.to_string(), "ts": ts }),
                None => json!({ "ts": ts }),
            };
            object.set("tsandaddr", stamps.stamps.iter().enumerate().map(stamp).collect::<Vec<_>>());
        } else {
            object.set("tsonly", stamps.stamps.clone());
        }
    }
    object.done()
}

/// Whether a reply is the target's and no error on the way.
fn from_target(ping: &Ping, method: Method, reply: &Reply) -> bool {
    let icmp = is_icmp(reply).then(|| reply.icmp.unwrap_or_default());
    let v6 = matches!(ping.dst, Some(Address::V6(_)));
    match icmp.map(|icmp| (icmp.kind, icmp.code)) {
        Some((kind, code)) => match (method.0, v6) {
            (0, false) => kind == 0,
            (0, true) => kind == 129,
            (5, _) => kind == 14,
            _ if method.is_udp() => (kind, code) == if v6 { (1, 4) } else { (3, 3) },
            _ => false,
        },
        None => {
            (method.is_tcp() && reply.reply_proto == Some(6))
                || (method.is_udp() && reply.reply_proto == Some(17))
        }
    }
}

#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "microseconds"
)]
fn statistics(ping: &Ping, method: Method) -> Value {
    let mut object = Object::plain();
    let (mut rtts, mut seen, mut duplicates, mut errors) =
        (Vec::new(), std::collections::HashSet::new(), 0, 0);
    for reply in &ping.replies {
        if !from_target(ping, method, reply) {
            errors += 1;
        } else if seen.insert(reply.probe_id.unwrap_or(0)) {
            rtts.push(u64::from(reply.rtt.unwrap_or_default().0));
        } else {
            duplicates += 1;
        }
    }
    let (sent, replies) = (usize::from(ping.ping_sent.unwrap_or(0)), rtts.len());
    object.set("replies", replies);
    if sent > 0 {
        let loss = match replies {
            0 => json!(1),
            all if all >= sent => json!(0),
            some => json!(((sent - some) as f64 / sent as f64 * 100.0).round() / 100.0),
        };
        object.set("loss", loss);
    }
    if let (Some(min), Some(max)) = (rtts.iter().min(), rtts.iter().max()) {
        let mean = rtts.iter().sum::<u64>() / replies as u64;
        let square = |rtt: &u64| (rtt.abs_diff(mean) as f64).powi(2);
        let deviation = (rtts.iter().map(square).sum::<f64>() / replies as f64).sqrt();
        object.set("min", ms(*min));
        object.set("max", ms(*max));
        object.set("avg", ms(mean));
        object.set("stddev", ms(deviation as u64));
    }
    object.nonzero("ndups", Some(duplicates));
    object.nonzero("nerrs", Some(errors));
    object.done()
}
