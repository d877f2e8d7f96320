//! The rows of what results are made of.

use data_encoding::HEXLOWER;
use mmn_modules::{dns, ping, trace, udp};
use mmn_schema::api::ResultRecord;
use mmn_schema::id::KindName;
use mmn_schema::time::Timestamp;
use serde::Serialize;

use super::{Cell, Type, integer, text, unsigned};
use crate::results::{Untranslated, found};

/// The columns of a kind, and how a row of them is made: each column stands once.
macro_rules! table {
    ($columns:ident, $row:ident($($what:ident: $type:ty),*) $(let $local:ident = $value:expr;)* {
        $($name:literal: $kind:ident = $cell:expr,)*
    }) => {
        const $columns: &[(&str, Type)] = &[$(($name, Type::$kind)),*];

        fn $row($($what: $type),*) -> Vec<Cell> {
            $(let $local = $value;)*
            vec![$($cell),*]
        }
    };
}

table!(PING, request(reply: &ping::Reply)
    let error = reply.error.as_ref();
    {
        "seq": Integer = integer(Some(reply.seq)),
        "status": Text = word(&reply.status),
        "sent_at": Instant = instant(reply.sent_at),
        "rtt_ns": Integer = unsigned(reply.rtt_ns),
        "reply_from": Text = text(reply.from),
        "reply_ttl": Integer = integer(reply.ttl),
        "reply_tos": Integer = integer(reply.tos),
        "reply_ip_id": Integer = integer(reply.ip_id),
        "reply_bytes": Integer = integer(reply.bytes),
        "icmp_type": Integer = integer(reply.icmp_type.or_else(|| error.and_then(|error| error.icmp_type))),
        "icmp_code": Integer = integer(reply.icmp_code.or_else(|| error.and_then(|error| error.icmp_code))),
        "error": Text = text(error.map(|error| &error.name)),
        "duplicates": Integer = integer(Some(reply.duplicates)),
    }
);

table!(TRACE, probe(ttl: u8, probe: &trace::Probe)
    let reply = probe.reply.as_ref();
    let labels = reply.map(labels).unwrap_or_default();
    {
        "hop": Integer = integer(Some(ttl)),
        "probe": Integer = integer(Some(probe.attempt)),
        "status": Text = word(&probe.status),
        "sent_at": Instant = instant(probe.sent_at),
        "rtt_ns": Integer = unsigned(reply.and_then(|reply| reply.rtt_ns)),
        "reply_from": Text = text(reply.map(|reply| reply.from)),
        "reply_ttl": Integer = integer(reply.and_then(|reply| reply.ttl)),
        "reply_tos": Integer = integer(reply.and_then(|reply| reply.tos)),
        "reply_ip_id": Integer = integer(reply.and_then(|reply| reply.ip_id)),
        "reply_bytes": Integer = integer(reply.map(|reply| reply.bytes)),
        "reply": Text = text(reply.map(|reply| &reply.name)),
        "icmp_type": Integer = integer(reply.and_then(|reply| reply.icmp_type)),
        "icmp_code": Integer = integer(reply.and_then(|reply| reply.icmp_code)),
        "quoted_ttl": Integer = integer(reply.and_then(|reply| reply.quote.as_ref()?.ttl)),
        "mpls_labels": Text = text((!labels.is_empty()).then(|| labels.join(" "))),
        "error": Text = text(probe.error.as_ref()),
    }
);

table!(UDP, datagram(probe: &udp::Probe, reply: Option<&udp::Reply>) {
    "seq": Integer = integer(Some(probe.seq)),
    "status": Text = word(&probe.status),
    "sent_at": Instant = instant(probe.sent_at),
    "source_port": Integer = integer(probe.source_port),
    "received_at": Instant = instant(reply.map(|reply| reply.received_at)),
    "rtt_ns": Integer = unsigned(reply.map_or(probe.rtt_ns, |reply| reply.rtt_ns)),
    "reply_from": Text = text(reply.map_or(probe.from, |reply| reply.from)),
    "reply_ttl": Integer = integer(reply.and_then(|reply| reply.ttl)),
    "reply_tos": Integer = integer(reply.and_then(|reply| reply.tos)),
    "reply_ip_id": Integer = integer(reply.and_then(|reply| reply.ip_id)),
    "reply_bytes": Integer = integer(reply.map(|reply| reply.bytes)),
    "reply_payload_hex": Text = text(reply.map(|reply| HEXLOWER.encode(&reply.payload.0))),
    "error": Text = text(probe.error.as_ref().map(|error| &error.name)),
});

table!(DNS, answer(section: &'static str, record: &dns::Record) {
    "section": Text = text(Some(section)),
    "name": Text = text(Some(&record.name)),
    "type": Text = text(Some(&record.r#type)),
    "class": Text = text(Some(&record.class)),
    "ttl_s": Integer = integer(Some(record.ttl)),
    "rdata": Text = text(Some(&record.rdata)),
});

pub(super) fn columns(kind: &KindName) -> Result<&'static [(&'static str, Type)], Untranslated> {
    match kind.as_str() {
        "ping" => Ok(PING),
        "trace" => Ok(TRACE),
        "udp" => Ok(UDP),
        "dns" => Ok(DNS),
        _ => Err(no_place(kind.as_str())),
    }
}

fn no_place(kind: &str) -> Untranslated {
    Untranslated::Kind {
        form: "a table of replies",
        kind: kind.to_owned(),
        serves: "ping, trace, udp and dns",
    }
}

/// The cells of each row; none where nothing was measured.
pub(super) fn of(kind: &str, record: &ResultRecord) -> Result<Vec<Vec<Cell>>, Untranslated> {
    Ok(match kind {
        "ping" => found::<ping::Body>(record)?
            .map_or_else(Vec::new, |body| body.replies.iter().map(request).collect()),
        "trace" => found::<trace::Body>(record)?.as_ref().map_or_else(Vec::new, probes),
        "udp" => found::<udp::Body>(record)?
            .map_or_else(Vec::new, |body| body.probes.iter().flat_map(datagrams).collect()),
        "dns" => found::<dns::Body>(record)?.as_ref().map_or_else(Vec::new, answers),
        other => return Err(no_place(other)),
    })
}

fn probes(body: &trace::Body) -> Vec<Vec<Cell>> {
    let hops = body.hops.iter().flat_map(|hop| hop.probes.iter().map(|probe| (hop.ttl, probe)));
    let behind_the_gap = body.last_ditch.iter().map(|probe| (u8::MAX, probe));
    hops.chain(behind_the_gap).map(|(ttl, asked)| probe(ttl, asked)).collect()
}

fn labels(reply: &trace::Reply) -> Vec<String> {
    let labels = reply.extensions.iter().flat_map(|extension| &extension.mpls);
    labels.map(|label| label.label.to_string()).collect()
}

/// A row for each reply; one for a probe that has none.
fn datagrams(probe: &udp::Probe) -> Vec<Vec<Cell>> {
    if probe.replies.is_empty() {
        vec![datagram(probe, None)]
    } else {
        probe.replies.iter().map(|reply| datagram(probe, Some(reply))).collect()
    }
}

fn answers(body: &dns::Body) -> Vec<Vec<Cell>> {
    let Some(message) = &body.response else { return Vec::new() };
    let sections =
        [("answer", &message.answer), ("authority", &message.authority), ("additional", &message.additional)];
    let rows = sections
        .into_iter()
        .flat_map(|(section, records)| records.iter().map(move |record| answer(section, record)));
    rows.collect()
}

fn instant(value: Option<Timestamp>) -> Cell {
    value.map_or(Cell::Absent, Cell::Instant)
}

/// The word that results have for it.
fn word(value: &impl Serialize) -> Cell {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(word)) => Cell::Text(word),
        _ => Cell::Absent,
    }
}
