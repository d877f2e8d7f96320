//! Host.

use serde_json::Value;

use super::object::{Object, of_time};
use crate::names;
use crate::reader::Tables;
use crate::records::host::{Host, Query, Rr, RrData};

pub(super) fn value(host: &Host, tables: &Tables) -> Value {
    let mut object = Object::new("host");
    object.set("version", "0.1");
    object.address("src", host.src.as_ref());
    object.address("dst", host.dst.as_ref());
    object.set("userid", host.userid.unwrap_or(0));
    object.time("start", host.start);
    object.text("errmsg", host.errmsg.as_ref());
    object.flags("flags", host.flags.unwrap_or(0).into(), names::HOST_FLAGS);
    object.set("wait", host.wait.unwrap_or(0));
    object.set("retries", host.retries.unwrap_or(0));
    let stop = host.stop.unwrap_or(0);
    object.word("stop", stop.into(), names::host_stop(stop));
    object.text("qname", host.qname.as_ref());
    class_and_type(&mut object, ["qclass", "qtype"], host.qclass, host.qtype);
    object.set("qcount", host.queries.len());
    object.text("ecs", host.ecs.as_ref());
    object.monitor(host.list, tables);
    object.set("queries", host.queries.iter().map(query).collect::<Vec<_>>());
    object.done()
}

fn class_and_type(
    object: &mut Object,
    [class_name, type_name]: [&str; 2],
    class: Option<u16>,
    kind: Option<u16>,
) {
    let (class, kind) = (class.unwrap_or(0), kind.unwrap_or(0));
    object.word(class_name, class.into(), names::rr_class(class));
    object.word(type_name, kind.into(), names::rr_type(kind));
}

fn query(query: &Query) -> Value {
    let mut object = Object::plain();
    object.set("id", query.id.unwrap_or(0));
    object.set("ancount", query.an.len());
    object.set("nscount", query.ns.len());
    object.set("arcount", query.ar.len());
    object.time("tx", query.tx);
    if let Some(rx) = query.rx.filter(|rx| (rx.sec, rx.usec) != (0, 0)) {
        object.set("rx", of_time(rx));
        let rcode = query.rcode.unwrap_or(0);
        object.word("rcode", rcode.into(), names::rcode(rcode));
        let flags = query.flags.unwrap_or(0).into();
        object.set("flags", names::of_bits(flags, names::HOST_QUERY_FLAGS).collect::<Vec<_>>());
    }
    for (name, records) in [("an", &query.an), ("ns", &query.ns), ("ar", &query.ar)] {
        if !records.is_empty() {
            object.set(name, records.iter().map(rr).collect::<Vec<_>>());
        }
    }
    object.done()
}

fn rr(rr: &Rr) -> Value {
    let mut object = Object::plain();
    class_and_type(&mut object, ["class", "type"], rr.class, rr.rtype);
    object.set("ttl", rr.ttl.unwrap_or(0));
    object.text("name", rr.name.as_ref());
    match &rr.data {
        Some(RrData::Address(address)) => object.address("address", Some(address)),
        Some(RrData::Name(name)) => {
            let field = match rr.rtype {
                Some(2) => "nsdname",
                Some(5) => "cname",
                Some(12) => "ptrdname",
                _ => "string",
            };
            object.text(field, Some(name));
        }
        Some(RrData::Mx(mx)) => {
            object.set("preference", mx.preference.unwrap_or(0));
            object.text("exchange", mx.exchange.as_ref());
        }
        Some(RrData::Soa(soa)) => {
            object.text("mname", soa.mname.as_ref());
            object.text("rname", soa.rname.as_ref());
            object.set("serial", soa.serial.unwrap_or(0));
            object.set("refresh", soa.refresh.unwrap_or(0));
            object.set("retry", soa.retry.unwrap_or(0));
            object.set("expire", soa.expire.unwrap_or(0));
            object.set("minimum", soa.minimum.unwrap_or(0));
        }
        Some(RrData::Txt(txt)) => {
            let texts = txt.strs.iter().flatten().map(|text| String::from_utf8_lossy(&text.0).into_owned());
            let texts: Vec<_> = texts.collect();
            object.set("strc", texts.len());
            object.set("strs", texts);
        }
        // scamper's own output leaves these out; the names are those of its fields.
        Some(other @ (RrData::Opt(_) | RrData::Svcb(_) | RrData::Other { .. })) => {
            object.put("data", serde_json::to_value(other).ok());
        }
        None => {}
    }
    object.done()
}
