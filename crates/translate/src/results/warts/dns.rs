//! Host, a question to a DNS server: record type 14.

use mmn_modules::dns::{
    Attempt, Body, Data, Edns, Message, Params, Record, Subnet, Text as Written, Transport, class_number,
    type_number,
};
use mmn_schema::api::ResultRecord;
use mmn_schema::dispatch::Input;
use mmn_schema::outcome::{Outcome, code};
use mmn_warts::records::host::{Element, Host, Mx, Opt, Query, Rr, RrData, Soa, Txt};
use mmn_warts::values::{self, Data8, Text};

use super::{Untranslated, address, at_most, bare, text, time};
use crate::results::{failed, found};

const DONE: u8 = 1;
const TIMEOUT: u8 = 2;
const HALTED: u8 = 3;
const ERROR: u8 = 4;

const OPT: u16 = 41;

pub(super) fn record(params: &Params, record: &ResultRecord) -> Result<Host, Untranslated> {
    let host = asked(params, &record.input);
    let Some(body) = found::<Body>(record)? else {
        let reason = failed(record)?;
        let server = params.server.as_deref().and_then(|server| server.parse::<std::net::IpAddr>().ok());
        let nowhere = || Untranslated::Nothing(format!("failed: {reason}"));
        return Ok(Host {
            dst: Some(server.ok_or_else(nowhere)?.into()),
            start: record.started_at.and_then(time),
            stop: Some(ERROR),
            errmsg: Some(text(&reason.to_string())),
            ..host
        });
    };
    let sent: Vec<_> = body.attempts.iter().filter(|attempt| attempt.sent_at.is_some()).collect();
    at_most(&sent, usize::from(u8::MAX), "queries of a host")?;
    // Whoever decoded the answer elsewhere may not know how long it was.
    let told = |attempt: &&Attempt| attempt.response_bytes.is_some() || attempt.rtt_ns.is_some();
    let answered = sent.iter().rposition(|attempt| told(attempt) && attempt.error.is_none());
    let queries = sent.iter().enumerate().map(|(at, attempt)| {
        let message = body.response.as_ref().filter(|_| Some(at) == answered);
        query(attempt, message)
    });
    Ok(Host {
        src: sent.iter().find_map(|attempt| attempt.source).map(address),
        dst: Some(address(body.address)),
        start: sent.first().and_then(|attempt| attempt.sent_at).or(record.started_at).and_then(time),
        stop: Some(stop(&body, record)),
        queries: queries.collect(),
        ..host
    })
}

fn asked(params: &Params, input: &Input) -> Host {
    let flags = [(1, !params.rd), (2, params.protocol == Transport::Tcp), (4, params.nsid)];
    let retries = u8::try_from(params.retries).ok();
    let ms = params.timeout.as_ns().div_ceil(1_000_000);
    Host {
        flags: Some(flags.into_iter().filter(|(_, set)| *set).fold(0, |flags, (flag, _)| flags | flag)),
        wait: u16::try_from(ms).ok(),
        retries,
        qtype: type_number(&params.r#type),
        qclass: class_number(&params.class),
        qname: Some(name(&input.to_string())),
        ecs: params.subnet.as_deref().map(text),
        ..Host::default()
    }
}

fn stop(body: &Body, record: &ResultRecord) -> u8 {
    let last = body.attempts.last().and_then(|attempt| attempt.error.as_ref());
    match last {
        _ if body.response.is_some() => DONE,
        _ if record.outcome == Outcome::Cancelled => HALTED,
        Some(reason) if reason.code == code::TIMEOUT => TIMEOUT,
        Some(_) => ERROR,
        None => TIMEOUT,
    }
}

/// A name as the format has it: without the final dot, but for the root.
fn name(presented: &str) -> Text {
    text(presented.strip_suffix('.').filter(|name| !name.is_empty()).unwrap_or(presented))
}

fn query(attempt: &Attempt, message: Option<&Message>) -> Query {
    let came = attempt.sent_at.zip(attempt.rtt_ns).map(|(sent, rtt)| bare::later(sent, rtt));
    let truncated = attempt.truncated.then_some(0x20);
    let records = |list: &[Record]| list.iter().map(rr).collect();
    let mut ar: Vec<Rr> = message.map_or_else(Vec::new, |message| records(&message.additional));
    ar.extend(message.and_then(|message| message.edns.as_ref().map(|edns| opt(message, edns))));
    Query {
        tx: attempt.sent_at.and_then(time),
        rx: came.and_then(time),
        id: attempt.id,
        rcode: message.and_then(|message| u8::try_from(message.rcode_number).ok()),
        flags: message.map(flags).or(truncated),
        an: message.map_or_else(Vec::new, |message| records(&message.answer)),
        ns: message.map_or_else(Vec::new, |message| records(&message.authority)),
        ar,
        ..Query::default()
    }
}

fn flags(message: &Message) -> u8 {
    let flags = message.flags;
    [
        (0x01, flags.cd),
        (0x02, flags.ad),
        (0x08, flags.ra),
        (0x10, flags.rd),
        (0x20, flags.tc),
        (0x40, flags.aa),
    ]
    .into_iter()
    .filter(|(_, set)| *set)
    .fold(0, |flags, (flag, _)| flags | flag)
}

/// Data whose type the format knows; of others it has name and time to live.
fn rr(record: &Record) -> Rr {
    let data = record.data.as_ref().and_then(|data| match data {
        Data::Address(found) => Some(RrData::Address(address(*found))),
        Data::Name(found) if record.r#type != "DNAME" => Some(RrData::Name(name(found))),
        Data::Mx { preference, exchange } => Some(RrData::Mx(Mx {
            preference: Some(*preference),
            exchange: Some(name(exchange)),
            ..Mx::default()
        })),
        Data::Soa { mname, rname, serial, refresh, retry, expire, minimum } => {
            Some(RrData::Soa(Box::new(Soa {
                mname: Some(name(mname)),
                rname: Some(name(rname)),
                serial: Some(*serial),
                refresh: Some(*refresh),
                retry: Some(*retry),
                expire: Some(*expire),
                minimum: Some(*minimum),
                ..Soa::default()
            })))
        }
        Data::Txt(strings) => {
            let octets = |string: &Written| match string {
                Written::Text(text) => Data8(text.clone().into_bytes()),
                Written::Bytes(octets) => Data8(octets.0.clone()),
            };
            Some(RrData::Txt(Txt { strs: Some(strings.iter().map(octets).collect()), ..Txt::default() }))
        }
        Data::Name(_) | Data::Srv { .. } => None,
    });
    Rr {
        class: class_number(&record.class),
        rtype: type_number(&record.r#type),
        name: Some(name(&record.name)),
        ttl: Some(record.ttl),
        data,
        ..Rr::default()
    }
}

/// The OPT record as it stood among the additional ones (RFC 6891, section 6.1.2): its class is a size, its TTL flags.
fn opt(message: &Message, edns: &Edns) -> Rr {
    let upper = u32::from(message.rcode_number >> 4) << 24;
    let elements = elements(edns);
    Rr {
        class: Some(edns.bufsize),
        rtype: Some(OPT),
        name: Some(text(".")),
        ttl: Some(upper | u32::from(edns.version) << 16 | if edns.r#do { 0x8000 } else { 0 }),
        data: Some(RrData::Opt(Opt { elems: (!elements.is_empty()).then_some(elements), ..Opt::default() })),
        ..Rr::default()
    }
}

fn elements(edns: &Edns) -> Vec<Element> {
    let element = |code: u16, octets: Vec<u8>| Element { code, data: values::Data(octets) };
    let nsid = edns.nsid.iter().map(|nsid| element(3, nsid.raw.0.clone()));
    let subnet = edns.subnet.iter().map(|subnet| element(8, subnet_octets(subnet)));
    let cookie = edns.cookie.iter().map(|cookie| {
        let server = cookie.server.as_ref().map_or(&[][..], |server| &server.0);
        element(10, [&cookie.client.0, server].concat())
    });
    let errors = edns.errors.iter().map(|error| {
        let mut octets = error.code.to_be_bytes().to_vec();
        match &error.text {
            Some(Written::Text(text)) => octets.extend(text.as_bytes()),
            Some(Written::Bytes(bytes)) => octets.extend(&bytes.0),
            None => {}
        }
        element(15, octets)
    });
    let others = edns.options.iter().map(|option| element(option.code, option.data.0.clone()));
    nsid.chain(subnet).chain(cookie).chain(errors).chain(others).collect()
}

/// RFC 7871, section 6: family, both lengths, and as many octets of the address as the first needs.
fn subnet_octets(subnet: &Subnet) -> Vec<u8> {
    let (family, octets) = match subnet.address.0 {
        std::net::IpAddr::V4(address) => (1, address.octets().to_vec()),
        std::net::IpAddr::V6(address) => (2, address.octets().to_vec()),
    };
    let used = usize::from(subnet.source).div_ceil(8);
    let head = [0, family, subnet.source, subnet.scope];
    head.into_iter().chain(octets.into_iter().take(used)).collect()
}
