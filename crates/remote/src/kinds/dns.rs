//! `dns`: scamper's `host`; and by it the addresses of targets that are names.

use std::net::{IpAddr, SocketAddr};

use futures::FutureExt;
use mmn_kit::{Failure, Family, LocalBoxFuture, Measured, Octets, Reason, code, summary};
use mmn_modules::dns::{
    Attempt, Body, Dns, Ignored, Message, Params, Transport, class_number, decode, type_number,
};
use mmn_modules::{StampSource, Stamps};
use mmn_scamper::Command;
use mmn_scamper::command::{Host as Asked, HostClass, HostOption, HostType};
use mmn_warts::Record;
use mmn_warts::records::host::{Host as Found, Query, RrData};

use super::message::{self, Question};
use super::{Form, Given, Scamper, cannot, none_of, other_record, span, values};

const TYPES: [HostType; 9] = [
    HostType::A,
    HostType::Aaaa,
    HostType::Ptr,
    HostType::Mx,
    HostType::Ns,
    HostType::Soa,
    HostType::Txt,
    HostType::Svcb,
    HostType::Https,
];
const PORT: u16 = 53;

impl Form for Dns {
    fn run<'a>(
        scamper: Scamper<'a>,
        params: &'a Params,
        given: &'a Given,
        input: &'a str,
    ) -> LocalBoxFuture<'a, Result<Measured<Body>, Failure>> {
        async move {
            let input = input.trim();
            let mut command = command(params, given, input)?;
            if let Some(server) = params.server.as_deref() {
                let server = server_host(server, params.port)?;
                // A target that is checked, as others are.
                command.server = Some(scamper.target(server, params.family).await?);
            }
            let asked = |key| Command::Host(Box::new(Asked { user_id: Some(key), ..command }));
            match scamper.ask(asked).await? {
                Record::Host(found) => measured(params, input, &found),
                _ => Err(other_record()),
            }
        }
        .boxed_local()
    }
}

/// The address of a name, by the daemon's own resolver.
pub(super) async fn address_of(scamper: &Scamper<'_>, name: &str, family: Family) -> Result<IpAddr, Failure> {
    plain(name)?;
    let mut last = Failure::failed(code::UNRESOLVABLE, format_args!("{name} has no address"));
    for (qtype, of) in [(HostType::A, Family::Ipv4), (HostType::Aaaa, Family::Ipv6)] {
        if family != Family::Any && family != of {
            continue;
        }
        let asked = |key| {
            let command = Asked { qtype: Some(qtype), user_id: Some(key), ..Asked::new(name.to_owned()) };
            Command::Host(Box::new(command))
        };
        let Record::Host(found) = scamper.ask(asked).await? else { return Err(other_record()) };
        let answers = found.queries.iter().flat_map(|query| &query.an);
        let mut addresses = answers.filter_map(|record| match &record.data {
            Some(RrData::Address(address)) => values::ip(address).filter(|address| of.holds(*address)),
            _ => None,
        });
        if let Some(address) = addresses.next() {
            return Ok(address);
        }
        if found.queries.iter().all(|query| query.rx.is_none()) {
            last = Failure::failed(code::RESOLVER_TIMEOUT, format_args!("nobody told the daemon of {name}"));
        }
    }
    Err(last)
}

fn server_host(server: &str, port: u16) -> Result<&str, Failure> {
    let elsewhere = |port: u16| (port != PORT).then(|| cannot("port", "asks servers on port 53 alone"));
    if let Ok(address) = server.parse::<SocketAddr>() {
        let (host, _) = server.rsplit_once(':').unwrap_or((server, ""));
        return elsewhere(address.port()).map_or(Ok(host), Err);
    }
    let named = server.rsplit_once(':').filter(|(host, _)| !host.contains(':'));
    let (host, port) = match named {
        Some((host, digits)) => {
            (host, digits.parse().map_err(|_| cannot("server", "takes a host, or host:53"))?)
        }
        None => (server, port),
    };
    elsewhere(port).map_or(Ok(host), Err)
}

/// A name as it may stand at the end of a command, where it can't be taken for anything else.
fn plain(name: &str) -> Result<(), Failure> {
    let fits = |octet: u8| octet.is_ascii_alphanumeric() || b"._-:".contains(&octet);
    if name.is_empty() || name.len() > 254 || name.starts_with('-') || !name.bytes().all(fits) {
        let detail =
            format!("{name:?}: scamper takes names of letters, digits, dots, hyphens and underscores");
        return Err(Failure::refused(code::PARAMETERS, detail));
    }
    Ok(())
}

fn command(params: &Params, given: &Given, input: &str) -> Result<Asked, Failure> {
    plain(input)?;
    let opt = params.nsid || params.subnet.is_some();
    none_of(&[
        (params.cd, "cd", "does not set CD"),
        (params.ad, "ad", "does not set AD"),
        (params.r#do, "do", "does not set DO"),
        (params.cookie, "cookie", "sends no cookie"),
        (params.mixed_case, "mixed_case", "sends names as they are written"),
        (given.has("bufsize"), "bufsize", "chooses the size by itself"),
        (given.has("edns") && params.edns && !opt, "edns", "sends an OPT record with nsid or subnet alone"),
        (given.has("no_fallback") && !params.no_fallback, "no_fallback", "keeps a truncated answer"),
        (given.has("port") && params.server.is_none(), "port", "asks its own server on port 53"),
        (
            params.family != Family::Any && params.server.is_none(),
            "family",
            "chooses its own server by itself",
        ),
    ])?;
    let name = params.r#type.to_ascii_uppercase();
    let number = type_number(&params.r#type);
    let qtype = TYPES
        .into_iter()
        .find(|one| one.name() == name || (number.is_some() && type_number(one.name()) == number));
    let qtype =
        qtype.ok_or_else(|| cannot("type", "asks for A, AAAA, PTR, MX, NS, SOA, TXT, SVCB and HTTPS"))?;
    if qtype == HostType::Ptr && input.parse::<IpAddr>().is_err() {
        return Err(cannot("type", "asks for the name of an address: give the address"));
    }
    let class = match class_number(&params.class) {
        Some(1) => None,
        Some(3) => Some(HostClass::Ch),
        _ => return Err(cannot("class", "asks in IN and CH")),
    };
    let mut options = Vec::new();
    options.extend(params.nsid.then_some(HostOption::Nsid));
    if let Some(subnet) = params.subnet.as_deref() {
        let (address, length) =
            subnet.split_once('/').unwrap_or((subnet, if subnet.contains(':') { "56" } else { "24" }));
        let read = address.parse().ok().zip(length.parse().ok());
        let (address, length) = read.ok_or_else(|| cannot("subnet", "takes a prefix"))?;
        options.push(HostOption::Subnet(address, length));
    }
    Ok(Asked {
        no_recurse: !params.rd,
        tcp: params.protocol == Transport::Tcp,
        class,
        options,
        retries: Some(
            u8::try_from(params.retries)
                .ok()
                .filter(|retries| *retries <= 3)
                .ok_or_else(|| cannot("retries", "asks again 3 times at most"))?,
        ),
        qtype: Some(qtype),
        wait: Some(span("timeout", params.timeout, (1_000, 5_000), 1)?),
        ..Asked::new(input.to_owned())
    })
}

pub(super) fn measured(params: &Params, input: &str, found: &Found) -> Result<Measured<Body>, Failure> {
    let Some(address) = found.dst.as_ref().and_then(values::ip) else {
        return Err(values::failed(found.errmsg.as_ref()));
    };
    if found.queries.is_empty() {
        return Err(values::failed(found.errmsg.as_ref()));
    }
    let question = Question {
        name: found.qname.as_ref().map_or_else(|| input.to_owned(), ToString::to_string),
        qtype: found.qtype.or_else(|| type_number(&params.r#type)).unwrap_or(0),
        class: found.qclass.or_else(|| class_number(&params.class)).unwrap_or(1),
    };
    let answered = found.queries.iter().rev().find(|query| query.rx.is_some());
    let response = answered.and_then(|query| response(query, &question));
    let asked = answered.or(found.queries.last());
    let id = asked.and_then(|query| query.id).unwrap_or(0);
    let query = message::query(id, params.rd, &question);
    let rtt_ns = answered.and_then(round_trip);
    let first = found.queries.iter().find_map(|query| query.tx);
    let last = found.queries.iter().filter_map(|query| query.rx.or(query.tx)).next_back();
    let waited = if answered.is_some() { 0 } else { params.timeout.as_ns() };
    let lasted =
        first.zip(last).map_or(0, |(first, last)| values::ns(last).saturating_sub(values::ns(first)));
    let source = found.src.as_ref().and_then(values::ip);
    let body = Body {
        server: params.server.clone(),
        address: address.into(),
        family: address.into(),
        port: PORT,
        resolve_ns: None,
        transport: params.protocol,
        rtt_ns,
        // Sockets of its own, read when it comes to them.
        stamps: rtt_ns.map(|_| Stamps { sent: StampSource::User, received: StampSource::User }),
        total_ns: u64::try_from(lasted).unwrap_or(0).saturating_add(waited),
        attempts: found.queries.iter().map(|query| attempt(params, query, source)).collect(),
        ignored: Ignored::default(),
        query_bytes: u32::try_from(query.len()).unwrap_or(u32::MAX),
        query: Octets(query),
        response_bytes: None,
        response,
        raw: None,
    };
    let count = |number: usize| u64::try_from(number).unwrap_or(u64::MAX).into();
    let response = body.response.as_ref();
    let summary = summary([
        ("rtt_ns", body.rtt_ns.map(Into::into)),
        ("rcode", response.map(|message| u32::from(message.rcode_number).into())),
        ("answers", response.map(|message| count(message.answer.len()))),
        ("attempts", Some(count(body.attempts.len()))),
        ("tcp", answered.map(|_| u32::from(params.protocol == Transport::Tcp).into())),
    ]);
    Ok(Measured { answered: Some(answered.is_some()), summary, body })
}

/// The answer, decoded. Records of before 2023 have no response code: of an answer without records nothing is known then.
fn response(query: &Query, question: &Question) -> Option<Message> {
    if query.rcode.is_none() && query.an.is_empty() {
        return None;
    }
    decode(&message::answer(query, question))
}

fn round_trip(query: &Query) -> Option<u64> {
    let (sent, came) = query.tx.zip(query.rx)?;
    u64::try_from(values::ns(came) - values::ns(sent)).ok()
}

fn attempt(params: &Params, query: &Query, source: Option<IpAddr>) -> Attempt {
    Attempt {
        transport: params.protocol,
        sent_at: query.tx.map(values::instant),
        source: source.map(Into::into),
        source_port: None,
        id: query.id,
        connect_ns: None,
        rtt_ns: round_trip(query),
        response_bytes: None,
        truncated: query.flags.unwrap_or(0) & 0x20 != 0,
        error: query.rx.is_none().then(|| Reason::new(code::TIMEOUT)),
    }
}
