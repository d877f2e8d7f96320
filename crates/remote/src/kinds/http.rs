//! `http`: scamper's, which daemons of before 2024 don't know. It follows no redirects, and records what was sent and received.

use std::net::IpAddr;

use futures::FutureExt;
use mmn_kit::{Failure, LocalBoxFuture, Measured, Octets, code, summary};
use mmn_modules::http::{
    Body, Header, Hop, Http, KEPT_BODY, MAX_HEADERS, Params, Payload, Phases, Stopped, Version,
};
use mmn_scamper::Command;
use mmn_scamper::command::{Http as Asked, HttpOption};
use mmn_warts::Record;
use mmn_warts::records::http::{Buffer, Http as Found};
use sha2::{Digest, Sha256};
use url::Url;

use super::{Form, Given, Scamper, none_of, other_record, span, values};

impl Form for Http {
    fn run<'a>(
        scamper: Scamper<'a>,
        params: &'a Params,
        given: &'a Given,
        input: &'a str,
    ) -> LocalBoxFuture<'a, Result<Measured<Body>, Failure>> {
        async move {
            let url = url_of(input.trim())?;
            let target = match given_address(params, &url) {
                Some(address) => scamper.target(&address.to_string(), params.family).await?,
                None => scamper.target(url.host_str().unwrap_or_default(), params.family).await?,
            };
            let command = command(params, given, &url, target)?;
            let asked = |key| Command::Http(Box::new(Asked { user_id: Some(key), ..command }));
            match scamper.ask(asked).await? {
                Record::Http(found) => measured(params, &url, target, &found),
                _ => Err(other_record()),
            }
        }
        .boxed_local()
    }
}

/// A URL; without a scheme it is one of http.
fn url_of(input: &str) -> Result<Url, Failure> {
    let wrong = |why: &dyn std::fmt::Display| {
        Failure::refused(code::PARAMETERS, format_args!("{input:?} is no URL: {why}"))
    };
    let text = if input.contains("://") { input.to_owned() } else { format!("http://{input}") };
    let url = Url::parse(&text).map_err(|error| wrong(&error))?;
    match url.scheme() {
        "http" | "https" if url.host_str().is_some() => Ok(url),
        _ => Err(wrong(&"it is of http or https")),
    }
}

/// The address that the parameters give for the host of a URL: `host:port:address`.
fn given_address(params: &Params, url: &Url) -> Option<IpAddr> {
    let host = url.host_str()?;
    let port = url.port_or_known_default()?;
    let prefix = format!("{host}:{port}:");
    params.resolve.iter().find_map(|entry| {
        let start = entry.get(..prefix.len()).filter(|start| start.eq_ignore_ascii_case(&prefix))?;
        entry.get(start.len()..)?.trim_matches(['[', ']']).parse().ok()
    })
}

fn command(params: &Params, given: &Given, url: &Url, target: IpAddr) -> Result<Asked, Failure> {
    none_of(&[
        (params.method != "GET", "method", "asks by GET alone"),
        (params.version == Version::Http2, "version", "speaks HTTP/1.1 alone"),
        (params.body.is_some(), "body", "sends none"),
        (given.has("follow_redirects") && params.follow_redirects, "follow_redirects", "follows none"),
        (given.has("max_redirects") && params.max_redirects > 0, "max_redirects", "follows none"),
        (given.has("phase_timeout"), "phase_timeout", "has one time for everything: timeout"),
        (given.has("max_body"), "max_body", "reads all of it"),
        (params.ca.is_some(), "ca", "trusts what its host trusts"),
        (params.server_name.is_some(), "server_name", "asks for the name of the URL"),
        (params.keep_certificates, "keep_certificates", "does not record them"),
        (
            params.ech_config_list.is_some() || params.ech_grease,
            "ech_config_list, ech_grease",
            "is not asked for ECH here",
        ),
    ])?;
    let agent = given.has("user_agent").then(|| format!("User-Agent: {}", params.user_agent));
    Ok(Asked {
        headers: params.headers.iter().cloned().chain(agent).collect(),
        max_time: Some(span("timeout", params.timeout, (1_000, 60_000), 1_000)?),
        options: (!params.verify).then_some(HttpOption::Insecure).into_iter().collect(),
        url: Some(url.to_string()),
        ..Asked::new(target)
    })
}

const NOT_CONNECTED: u8 = 2;
const TIMEOUT: u8 = 5;
const INSECURE: u8 = 6;
/// Of a buffer: it was received; it is of a head.
const RECEIVED: u8 = 0x80;
const HEAD: u8 = 1;

pub(super) fn measured(
    params: &Params,
    url: &Url,
    target: IpAddr,
    found: &Found,
) -> Result<Measured<Body>, Failure> {
    let of = |kind: u8| found.bufs.iter().filter(move |buffer| buffer.content.unwrap_or(0) == kind);
    let head = joined(of(RECEIVED | HEAD));
    let mut fields = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut response = httparse::Response::new(&mut fields);
    let whole = matches!(response.parse(&head), Ok(httparse::Status::Complete(_)));
    let Some(status) = response.code.filter(|_| whole) else { return Err(failure(found)) };
    let headers: Vec<Header> = response.headers.iter().map(header).collect();
    let field = |name: &str| {
        headers.iter().find(|one| one.name.eq_ignore_ascii_case(name)).and_then(|one| one.value.as_deref())
    };
    let came = joined(of(RECEIVED));
    let chunked =
        field("transfer-encoding").is_some_and(|coding| coding.to_ascii_lowercase().contains("chunked"));
    let content = if chunked { unchunked(&came) } else { came };
    let asked_at = of(HEAD).filter_map(|buffer| buffer.time).map(values::ns).next_back();
    let received = || {
        found.bufs.iter().filter(
            |buffer| matches!(buffer.content, Some(kind) if kind & RECEIVED != 0 && kind & 0x7f <= HEAD),
        )
    };
    let mut times = received().filter_map(|buffer| buffer.time).map(values::ns);
    let first = times.next();
    let last = times.next_back().or(first);
    let start = found.start.map_or(0, values::ns);
    let between = |from: Option<i64>, to: Option<i64>| {
        from.zip(to).and_then(|(from, to)| u64::try_from(to - from).ok()).unwrap_or(0)
    };
    let phases = Phases {
        connect_ns: found.hsrtt.map_or(0, values::rtt),
        first_byte_ns: between(asked_at, first),
        transfer_ns: between(first, last),
        total_ns: between(Some(start), last),
        ..Phases::default()
    };
    let bytes = |sent: bool| {
        let buffers = found.bufs.iter().filter(|buffer| {
            buffer.content.is_some_and(|kind| (kind & RECEIVED == 0) == sent && kind & 0x7f <= HEAD)
        });
        buffers.filter_map(|buffer| buffer.data.as_ref()).map(|data| length(data.0.len())).sum()
    };
    let redirects = matches!(status, 301 | 302 | 303 | 307 | 308) && field("location").is_some();
    let hop = Hop {
        url: url.to_string(),
        method: params.method.clone(),
        address: target.into(),
        family: target.into(),
        port: found.dport.or(url.port_or_known_default()).unwrap_or(0),
        source: found.src.as_ref().and_then(|source| values::ip(&source.0)).map(Into::into),
        source_port: found.sport,
        failed_connects: Vec::new(),
        started_at: mmn_kit::Timestamp::from_unix_ns(start),
        phases,
        tls: None,
        version: if response.version == Some(0) { "1.0" } else { "1.1" }.to_owned(),
        status,
        reason: response.reason.filter(|reason| !reason.is_empty()).map(str::to_owned),
        interim: Vec::new(),
        trailers: Vec::new(),
        body: Payload {
            bytes: length(content.len()),
            sha256: Octets(Sha256::digest(&content).to_vec()),
            truncated: found.stop == Some(TIMEOUT),
            content: params.keep_body.then(|| Octets(content.get(..KEPT_BODY).unwrap_or(&content).to_vec())),
        },
        sent_bytes: bytes(true),
        received_bytes: bytes(false),
        headers,
    };
    let summary = summary([
        ("status", Some(u32::from(status).into())),
        ("total_ns", Some(phases.total_ns.into())),
        ("connect_ns", Some(phases.connect_ns.into())),
        ("first_byte_ns", Some(phases.first_byte_ns.into())),
        ("transfer_ns", Some(phases.transfer_ns.into())),
        ("body_bytes", Some(hop.body.bytes.into())),
        ("redirects", Some(0_u32.into())),
    ]);
    let body = Body {
        url: url.to_string(),
        total_ns: phases.total_ns,
        redirects: 0,
        stopped: redirects.then_some(Stopped::NotAsked),
        hops: vec![hop],
        ech_rejected: None,
    };
    Ok(Measured { answered: Some(true), summary, body })
}

/// Why there is no answer.
fn failure(found: &Found) -> Failure {
    let said = found.errmsg.as_ref().map_or_else(String::new, |said| format!(": {said}"));
    let (code, what) = match found.stop {
        Some(NOT_CONNECTED) => (code::UNREACHABLE, "no connection came about"),
        Some(TIMEOUT) => (code::TIMEOUT, "it took too long"),
        Some(INSECURE) => (code::TLS, "the certificate does not hold"),
        _ if found.bufs.iter().any(|buffer| buffer.content.is_some_and(|kind| kind & RECEIVED != 0)) => {
            (code::PROTOCOL, "what came is no answer of HTTP/1.1")
        }
        _ => (code::SYSTEM, "it could not be measured"),
    };
    Failure::failed(code, format_args!("scamper: {what}{said}"))
}

fn joined<'a>(buffers: impl Iterator<Item = &'a Buffer>) -> Vec<u8> {
    buffers.filter_map(|buffer| buffer.data.as_ref()).flat_map(|data| data.0.iter().copied()).collect()
}

fn header(field: &httparse::Header<'_>) -> Header {
    let name = field.name.to_owned();
    match std::str::from_utf8(field.value) {
        Ok(text) => Header { name, value: Some(text.to_owned()), bytes: None },
        Err(_) => Header { name, value: None, bytes: Some(Octets(field.value.to_vec())) },
    }
}

/// A body without its chunks (RFC 9112, section 7.1), as far as they are whole.
fn unchunked(mut octets: &[u8]) -> Vec<u8> {
    let mut content = Vec::new();
    while let Ok(httparse::Status::Complete((start, size))) = httparse::parse_chunk_size(octets) {
        let size = usize::try_from(size).unwrap_or(usize::MAX);
        let rest = octets.get(start..).unwrap_or_default();
        let chunk = rest.get(..size.min(rest.len())).unwrap_or_default();
        content.extend_from_slice(chunk);
        if size == 0 || chunk.len() < size {
            break;
        }
        octets = rest.get(size.saturating_add(2)..).unwrap_or_default();
    }
    content
}

fn length(of: usize) -> u64 {
    u64::try_from(of).unwrap_or(u64::MAX)
}
