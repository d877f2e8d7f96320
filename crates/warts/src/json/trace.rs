//! Trace.

use serde_json::Value;

use super::object::{Object, of_time};
use super::{ftime, ms};
use crate::names;
use crate::reader::Tables;
use crate::records::trace::{Hop, Pmtud, Trace};
use crate::values::Address;

const RXERR: u32 = 0x80;
const ICMP_CHECKSUM: u32 = 0x20;

pub(super) fn value(trace: &Trace, tables: &Tables) -> Value {
    let mut object = Object::new("trace");
    let method = trace.probe_type.unwrap_or(0);
    let flags = trace.flags.unwrap_or(trace.flags8.unwrap_or(0).into());
    object.set("version", "0.1");
    object.set("userid", trace.userid.unwrap_or(0));
    object.word("method", method.into(), names::trace_type(method));
    object.address("src", trace.src.as_ref());
    object.address("dst", trace.dst.as_ref());
    object.in_full("rtr", trace.rtr.as_ref());
    if matches!(method, 2 | 3 | 5 | 6) {
        object.set("sport", trace.sport.unwrap_or(0));
        object.set("dport", trace.dport.unwrap_or(0));
    } else if flags & ICMP_CHECKSUM != 0 {
        object.set("icmp_sum", trace.dport.unwrap_or(0));
    }
    let stop = trace.stop_reason.unwrap_or(0);
    object.word("stop_reason", stop.into(), names::trace_stop(stop));
    object.set("stop_data", trace.stop_data.unwrap_or(0));
    object.text("errmsg", trace.errmsg.as_ref());
    let start = trace.start.unwrap_or_default();
    object
        .set("start", serde_json::json!({ "sec": start.sec, "usec": start.usec, "ftime": ftime(start.sec) }));
    let farthest = trace.hops.iter().filter_map(|hop| hop.probe_ttl).max().unwrap_or(0);
    let count = trace.hop_count.filter(|count| *count != 0).unwrap_or(farthest.into());
    let end = trace.stop_hop.map(u16::from).filter(|hop| *hop != 0 && *hop <= count).unwrap_or(count);
    object.set("hop_count", end);
    object.set("attempts", trace.attempts.unwrap_or(0));
    object.set("hoplimit", trace.hoplimit.unwrap_or(0));
    object.set("firsthop", trace.firsthop.filter(|hop| *hop != 0).unwrap_or(1));
    object.set("wait", trace.wait.unwrap_or(0));
    object.set("wait_probe", trace.wait_probe.unwrap_or(0));
    object.set("tos", trace.tos.unwrap_or(0));
    object.set("probe_size", trace.probe_size.unwrap_or(0));
    object.set("probe_count", trace.probec.unwrap_or(0));
    object.monitor(trace.list, tables);
    object.flags("flags", flags, names::TRACE_FLAGS);
    let within = |hop: &&Hop| u16::from(hop.probe_ttl.unwrap_or(0)) <= end;
    let some = |hops: Vec<Value>| Some(hops).filter(|hops| !hops.is_empty());
    object.put(
        "hops",
        some(trace.hops.iter().filter(within).map(|hop| hop_value(trace, flags, hop)).collect()),
    );
    let beyond = trace.hops.iter().filter(|hop| !within(hop));
    object.put("extra_hops", some(beyond.map(|hop| hop_value(trace, flags, hop)).collect()));
    let pmtud = trace.pmtud.as_ref().filter(|pmtud| pmtud.ver == Some(2));
    object.put("pmtud", pmtud.map(|pmtud| pmtud_value(trace, flags, pmtud)));
    object.done()
}

fn hop_value(trace: &Trace, flags: u32, hop: &Hop) -> Value {
    let mut object = Object::plain();
    let of = hop.flags.unwrap_or(0);
    object.address("addr", hop.addr.as_ref());
    object.text("name", hop.name.as_ref());
    object.set("probe_ttl", hop.probe_ttl.unwrap_or(0));
    object.set("probe_id", u16::from(hop.probe_id.unwrap_or(0)) + 1);
    object.set("probe_size", hop.probe_size.unwrap_or(0));
    object.put("tx", hop.tx.map(of_time));
    object.set("rtt", ms(hop.rtt.unwrap_or_default().0.into()));
    object.set("reply_ttl", hop.reply_ttl.unwrap_or(0));
    object.set("reply_tos", hop.reply_iptos.unwrap_or(0));
    // Those of the link come first there.
    let stamps: Vec<_> = [1, 2, 0]
        .into_iter()
        .flat_map(|bit| names::of_bits(u32::from(of) & 1 << bit, names::TRACE_REPLY_FLAGS))
        .collect();
    if !stamps.is_empty() {
        object.set("flags", stamps);
    }
    if flags & RXERR == 0 {
        object.set("reply_ipid", hop.reply_ipid.unwrap_or(0));
        object.set("reply_size", hop.reply_size.unwrap_or(0));
    }
    if of & 0x60 == 0 {
        let icmp = hop.icmp.unwrap_or_default();
        object.set("icmp_type", icmp.kind);
        object.set("icmp_code", icmp.code);
        let v6 = matches!(trace.dst, Some(Address::V6(_)));
        let quotes = if v6 { matches!(icmp.kind, 1..=3) } else { matches!(icmp.kind, 3 | 11) };
        if quotes && flags & RXERR == 0 {
            object.set("icmp_q_ttl", hop.q_ipttl.unwrap_or(1));
            object.set("icmp_q_ipl", hop.q_iplen.or(hop.probe_size).unwrap_or(0));
            object.set("icmp_q_tos", hop.q_iptos.unwrap_or(0));
        }
        object.put("icmp_nhmtu", hop.nhmtu);
    } else if of & 0x20 != 0 {
        object.set("tcp_flags", hop.tcp_flags.unwrap_or(0));
    }
    object.extensions(hop.icmpext.as_ref());
    object.done()
}

fn pmtud_value(trace: &Trace, flags: u32, pmtud: &Pmtud) -> Value {
    let mut object = Object::plain();
    let interface = pmtud.ifmtu.unwrap_or(0);
    object.set("if_mtu", interface);
    object.set("out_mtu", pmtud.outmtu.filter(|mtu| *mtu != 0).unwrap_or(interface));
    object.set("path_mtu", pmtud.pmtu.unwrap_or(0));
    let probe = |hop: &Hop| (hop.probe_ttl, hop.probe_id, hop.probe_size, hop.tx);
    object.set("probec", pmtud.hops.chunk_by(|one, next| probe(one) == probe(next)).count());
    object.set("notec", pmtud.notes.len());
    let note = |note: &crate::records::trace::PmtudNote| {
        let mut object = Object::plain();
        object.set("nhmtu", note.nhmtu.unwrap_or(0));
        object.put("hop_id", note.reply);
        let kind = note.note_type.unwrap_or(0);
        object.word("type", kind.into(), names::pmtud_note(kind));
        let reply = note.reply.and_then(|at| pmtud.hops.get(usize::from(at)));
        object.put("icmp_nhmtu", reply.and_then(|hop| hop.nhmtu));
        object.address("addr", reply.and_then(|hop| hop.addr.as_ref()));
        object.done()
    };
    if !pmtud.notes.is_empty() {
        object.set("notes", pmtud.notes.iter().map(note).collect::<Vec<_>>());
    }
    if !pmtud.hops.is_empty() {
        object.set("hops", pmtud.hops.iter().map(|hop| hop_value(trace, flags, hop)).collect::<Vec<_>>());
    }
    object.done()
}
