//! Neighbourdisc, udpprobe and owamp.

use serde_json::{Value, json};

use super::object::{Object, between, of_micros, of_time};
use crate::names;
use crate::reader::Tables;
use crate::records::neighbourdisc::Neighbourdisc;
use crate::records::owamp::Owamp;
use crate::records::udpprobe::{Reply, Udpprobe};
use crate::values::{Time, hex};

pub(super) fn neighbourdisc(found: &Neighbourdisc, tables: &Tables) -> Value {
    let mut object = Object::new("neighbourdisc");
    let method = found.method.unwrap_or(0);
    object.set("version", "0.1");
    object.word("method", method.into(), names::neighbourdisc_method(method));
    object.address("src_ip", found.src_ip.as_ref());
    object.address("src_mac", found.src_mac.as_ref());
    object.address("dst_ip", found.dst_ip.as_ref());
    object.address("dst_mac", found.dst_mac.as_ref());
    object.text("ifname", found.ifname.as_ref());
    object.set("userid", found.userid.unwrap_or(0));
    object.set("attempts", found.attempts.unwrap_or(0));
    object.set("stop_count", found.replyc.unwrap_or(0));
    object.time("start", found.start);
    object.set("wait_timeout", of_micros(u32::from(found.wait.unwrap_or(0)) * 1_000));
    object.text("errmsg", found.errmsg.as_ref());
    object.flags("flags", found.flags.unwrap_or(0).into(), &["allattempts", "firstresponse"]);
    object.monitor(found.list, tables);
    let probe = |probe: &crate::records::neighbourdisc::Probe| {
        let reply = |reply: &crate::records::neighbourdisc::Reply| {
            let mut object = Object::plain();
            object.time("rx", reply.rx);
            object.address("mac", reply.mac.as_ref());
            object.done()
        };
        json!({
            "tx": of_time(probe.tx.unwrap_or_default()),
            "replyc": probe.replies.len(),
            "replies": probe.replies.iter().map(reply).collect::<Vec<_>>(),
        })
    };
    object.set("probes", found.probes.iter().map(probe).collect::<Vec<_>>());
    object.done()
}

pub(super) fn udpprobe(probe: &Udpprobe, tables: &Tables) -> Value {
    let mut object = Object::new("udpprobe");
    object.set("version", "0.1");
    object.in_full("src", probe.src.as_ref());
    object.in_full("dst", probe.dst.as_ref());
    object.set("userid", probe.userid.unwrap_or(0));
    object.time("start", probe.start);
    object.set("sport", probe.sport.unwrap_or(0));
    object.set("dport", probe.dport.unwrap_or(0));
    object.set("wait_timeout", of_micros(probe.wait_timeout.unwrap_or_default().0));
    object.flags("flags", probe.flags.unwrap_or(0).into(), &["exitfirst"]);
    let stop = probe.stop.unwrap_or(0);
    object.word("stop_reason", stop.into(), names::udpprobe_stop(stop));
    object.text("errmsg", probe.errmsg.as_ref());
    object.put("data", probe.data.as_ref().map(|data| hex(&data.0)));
    object.set("len", probe.data.as_ref().map_or(0, |data| data.0.len()));
    object.set("probe_count", probe.probe_count.unwrap_or(1));
    object.set("probe_sent", probe.probe_sent.unwrap_or(1));
    object.set("stop_count", probe.stop_count.unwrap_or(0));
    object.monitor(probe.list, tables);
    let mut probes = Vec::new();
    if probe.probe_sent != Some(0) {
        probes.push(sent(probe.start, probe.p0_sport, &probe.replies));
    }
    probes.extend(probe.others.iter().map(|other| sent(other.about.tx, other.about.sport, &other.replies)));
    object.set("probes", probes);
    object.done()
}

fn sent(tx: Option<Time>, sport: Option<u16>, replies: &[Reply]) -> Value {
    let tx = tx.unwrap_or_default();
    let reply = |reply: &Reply| {
        let mut object = Object::plain();
        let rx = reply.rx.unwrap_or_default();
        object.set("rx", of_time(rx));
        object.set("rtt", of_micros(u32::try_from(between(tx, rx)).unwrap_or(u32::MAX)));
        object.set("len", reply.data.as_ref().map_or(0, |data| data.0.len()));
        object.put("data", reply.data.as_ref().map(|data| hex(&data.0)));
        object.text("ifname", reply.ifname.as_ref().map(|name| &name.0));
        object.done()
    };
    json!({
        "tx": of_time(tx),
        "sport": sport.unwrap_or(0),
        "replyc": replies.len(),
        "replies": replies.iter().map(reply).collect::<Vec<_>>(),
    })
}

pub(super) fn owamp(owamp: &Owamp, tables: &Tables) -> Value {
    let mut object = Object::new("owamp");
    let (dir, result) = (owamp.dir.unwrap_or(0), owamp.result.unwrap_or(0));
    object.set("version", "0.1");
    object.word("dir", dir.into(), names::owamp_dir(dir));
    object.in_full("src", owamp.src.as_ref());
    object.in_full("dst", owamp.dst.as_ref());
    object.set("dport", owamp.dport.unwrap_or(861));
    object.time("start", owamp.start);
    object.time("startat", owamp.startat);
    object.time("wait_timeout", Some(owamp.wait_timeout.unwrap_or(Time { sec: 2, usec: 0 })));
    object.set("hsrtt", of_micros(owamp.hsrtt.unwrap_or_default().0));
    object.set("userid", owamp.userid.unwrap_or(0));
    object.set("attempts", owamp.attempts.unwrap_or(10));
    object.set("pktsize", owamp.pktsize.unwrap_or(42));
    object.set("dscp", owamp.dscp.unwrap_or(0));
    object.set("udp_sport", owamp.udp_sport.unwrap_or(0));
    object.set("udp_dport", owamp.udp_dport.unwrap_or(0));
    object.word("result", result.into(), names::owamp_result(result));
    object.text("errmsg", owamp.errmsg.as_ref());
    object.monitor(owamp.list, tables);
    let slot = |slot: &crate::records::owamp::Slot| {
        let mut object = Object::plain();
        object.time("value", slot.time);
        let kind = slot.kind.unwrap_or(0);
        object.word("type", kind.into(), names::owamp_slot(kind));
        object.done()
    };
    object.set("sched", owamp.sched.iter().map(slot).collect::<Vec<_>>());
    let packet = |tx: &crate::records::owamp::Sent| {
        let received = |rx: &crate::records::owamp::Received| {
            let mut object = Object::plain();
            object.time("stamp", rx.stamp);
            object.put("errest", rx.errest);
            object.put("dscp", rx.dscp);
            object.put("ttl", rx.ttl);
            object.done()
        };
        let mut object = Object::plain();
        object.time("stamp", tx.stamp);
        object.set("seq", tx.seq.unwrap_or(0));
        object.put("errest", tx.errest);
        object.set("rxc", tx.rxs.len());
        object.set("sent", u8::from(tx.flags.unwrap_or(0) & 1 == 0));
        object.set("rxs", tx.rxs.iter().map(received).collect::<Vec<_>>());
        object.done()
    };
    object.set("txs", owamp.txs.iter().map(packet).collect::<Vec<_>>());
    object.done()
}
