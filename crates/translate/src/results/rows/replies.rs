//! The rows of what results are made of.

use data_encoding::HEXLOWER;
use mmn_modules::{dns, ping, trace, udp};
use mmn_schema::api::ResultRecord;
use mmn_schema::id::KindName;
use mmn_schema::time::Timestamp;
use serde::Serialize;

use super::{Cell, Type, integer, text, unsigned};
use crate::results::{Untranslated, found};

const PING: &[(&str, Type)] = &[
    ("seq", Type::Integer),
    ("status", Type::Text),
    ("sent_at", Type::Instant),
    ("rtt_ns", Type::Integer),
    ("reply_from", Type::Text),
    ("reply_ttl", Type::Integer),
    ("reply_tos", Type::Integer),
    ("reply_ip_id", Type::Integer),
    ("reply_bytes", Type::Integer),
    ("icmp_type", Type::Integer),
    ("icmp_code", Type::Integer),
    ("error", Type::Text),
    ("duplicates", Type::Integer),
];

const TRACE: &[(&str, Type)] = &[
    ("hop", Type::Integer),
    ("probe", Type::Integer),
    ("status", Type::Text),
    ("sent_at", Type::Instant),
    ("rtt_ns", Type::Integer),
    ("reply_from", Type::Text),
    ("reply_ttl", Type::Integer),
    ("reply_tos", Type::Integer),
    ("reply_ip_id", Type::Integer),
    ("reply_bytes", Type::Integer),
    ("reply", Type::Text),
    ("icmp_type", Type::Integer),
    ("icmp_code", Type::Integer),
    ("quoted_ttl", Type::Integer),
    ("mpls_labels", Type::Text),
    ("error", Type::Text),
];

const UDP: &[(&str, Type)] = &[
    ("seq", Type::Integer),
    ("status", Type::Text),
    ("sent_at", Type::Instant),
    ("source_port", Type::Integer),
    ("received_at", Type::Instant),
    ("rtt_ns", Type::Integer),
    ("reply_from", Type::Text),
    ("reply_ttl", Type::Integer),
    ("reply_tos", Type::Integer),
    ("reply_ip_id", Type::Integer),
    ("reply_bytes", Type::Integer),
    ("reply_payload_hex", Type::Text),
    ("error", Type::Text),
];

const DNS: &[(&str, Type)] = &[
    ("section", Type::Text),
    ("name", Type::Text),
    ("type", Type::Text),
    ("class", Type::Text),
    ("ttl_s", Type::Integer),
    ("rdata", Type::Text),
];

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

fn request(reply: &ping::Reply) -> Vec<Cell> {
    let error = reply.error.as_ref();
    vec![
        integer(Some(reply.seq)),
        word(&reply.status),
        instant(reply.sent_at),
        unsigned(reply.rtt_ns),
        text(reply.from),
        integer(reply.ttl),
        integer(reply.tos),
        integer(reply.ip_id),
        integer(reply.bytes),
        integer(reply.icmp_type.or_else(|| error.and_then(|error| error.icmp_type))),
        integer(reply.icmp_code.or_else(|| error.and_then(|error| error.icmp_code))),
        text(error.map(|error| &error.name)),
        integer(Some(reply.duplicates)),
    ]
}

fn probes(body: &trace::Body) -> Vec<Vec<Cell>> {
    let hops = body.hops.iter().flat_map(|hop| hop.probes.iter().map(|probe| (hop.ttl, probe)));
    let behind_the_gap = body.last_ditch.iter().map(|probe| (u8::MAX, probe));
    hops.chain(behind_the_gap).map(|(ttl, probe)| self::probe(ttl, probe)).collect()
}

fn probe(ttl: u8, probe: &trace::Probe) -> Vec<Cell> {
    let reply = probe.reply.as_ref();
    let labels: Vec<_> = reply
        .into_iter()
        .flat_map(|reply| &reply.extensions)
        .flat_map(|extension| &extension.mpls)
        .map(|label| label.label.to_string())
        .collect();
    vec![
        integer(Some(ttl)),
        integer(Some(probe.attempt)),
        word(&probe.status),
        instant(probe.sent_at),
        unsigned(reply.and_then(|reply| reply.rtt_ns)),
        text(reply.map(|reply| reply.from)),
        integer(reply.and_then(|reply| reply.ttl)),
        integer(reply.and_then(|reply| reply.tos)),
        integer(reply.and_then(|reply| reply.ip_id)),
        integer(reply.map(|reply| reply.bytes)),
        text(reply.map(|reply| &reply.name)),
        integer(reply.and_then(|reply| reply.icmp_type)),
        integer(reply.and_then(|reply| reply.icmp_code)),
        integer(reply.and_then(|reply| reply.quote.as_ref()?.ttl)),
        text((!labels.is_empty()).then(|| labels.join(" "))),
        text(probe.error.as_ref()),
    ]
}

/// A row for each reply; one for a probe that has none.
fn datagrams(probe: &udp::Probe) -> Vec<Vec<Cell>> {
    let row = |reply: Option<&udp::Reply>| {
        let rtt = reply.map_or(probe.rtt_ns, |reply| reply.rtt_ns);
        vec![
            integer(Some(probe.seq)),
            word(&probe.status),
            instant(probe.sent_at),
            integer(probe.source_port),
            instant(reply.map(|reply| reply.received_at)),
            unsigned(rtt),
            text(reply.map_or(probe.from, |reply| reply.from)),
            integer(reply.and_then(|reply| reply.ttl)),
            integer(reply.and_then(|reply| reply.tos)),
            integer(reply.and_then(|reply| reply.ip_id)),
            integer(reply.map(|reply| reply.bytes)),
            text(reply.map(|reply| HEXLOWER.encode(&reply.payload.0))),
            text(probe.error.as_ref().map(|error| &error.name)),
        ]
    };
    if probe.replies.is_empty() {
        vec![row(None)]
    } else {
        probe.replies.iter().map(|reply| row(Some(reply))).collect()
    }
}

fn answers(body: &dns::Body) -> Vec<Vec<Cell>> {
    let Some(message) = &body.response else { return Vec::new() };
    let sections =
        [("answer", &message.answer), ("authority", &message.authority), ("additional", &message.additional)];
    let rows = sections.into_iter().flat_map(|(section, records)| {
        records.iter().map(move |record| {
            vec![
                text(Some(section)),
                text(Some(&record.name)),
                text(Some(&record.r#type)),
                text(Some(&record.class)),
                integer(Some(record.ttl)),
                text(Some(&record.rdata)),
            ]
        })
    });
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
