//! HTTP: record type 15, one for each request: the format follows no redirects.
//!
//! The format holds what was sent and received. Of that a result has the answer's head, taken apart, and the beginning of
//! the last body where it was asked for: the head is put together again as HTTP/1.1 has it.

use mmn_kit::Octets;
use mmn_modules::http::{Body, EchRejection, EchStatus, Hop, Params};
use mmn_schema::api::ResultRecord;
use mmn_schema::dispatch::Input;
use mmn_schema::outcome::code;
use mmn_warts::records::http::{Buffer, Http, Part};
use mmn_warts::values::{Data, InFull, List8};

use super::{Untranslated, address, bare, rtt, text, time};
use crate::results::{failed, found};

const NOT_CONNECTED: u8 = 2;
const DONE: u8 = 3;
const ERROR: u8 = 4;
const TIMEOUT: u8 = 5;
const INSECURE: u8 = 6;

/// Parts behind the buffers.
const CONFIGS: u8 = 1;
const RETRY_CONFIGS: u8 = 2;

/// What buffers hold. The highest bit would say that it was sent; all of these were received.
const HEAD: u8 = 1;
const CONTENT: u8 = 0;
/// The longest piece of what was received.
const PIECE: usize = u16::MAX as usize;

pub(super) fn records(params: &Params, record: &ResultRecord) -> Result<Vec<Http>, Untranslated> {
    let asked = asked(params);
    let Some(body) = found::<Body>(record)? else {
        return Ok(vec![of_failure(asked, params, record)?]);
    };
    let hops = body.hops.iter().map(|hop| of_hop(&asked, hop));
    Ok(hops.chain(body.ech_rejected.iter().map(|rejected| of_rejection(&asked, rejected))).collect())
}

fn asked(params: &Params) -> Http {
    let ns = params.timeout.as_ns();
    let maxtime = mmn_schema::time::Timestamp::from_unix_ns(i64::try_from(ns).unwrap_or(i64::MAX));
    let headers: Vec<_> = params.headers.iter().take(255).map(|line| text(line)).collect();
    Http {
        flags: Some(u32::from(!params.verify) | u32::from(params.ech_grease) << 1),
        headers: (!headers.is_empty()).then_some(List8(headers)),
        maxtime: time(maxtime),
        parts: params.ech_config_list.iter().map(|list| part(CONFIGS, list)).collect(),
        ..Http::default()
    }
}

/// A request that failed has a place where the address is known that it was to go to.
fn of_failure(asked: Http, params: &Params, record: &ResultRecord) -> Result<Http, Untranslated> {
    let reason = failed(record)?;
    let nowhere = || Untranslated::Nothing(format!("failed: {reason}"));
    let Input::Target(target) = &record.input else { return Err(nowhere()) };
    let url = Url::of(target);
    let address = url.address(params).ok_or_else(nowhere)?;
    let stop = match reason.code.as_ref() {
        code::CONNECTION_REFUSED | code::CONNECTION_RESET | code::UNREACHABLE | code::NO_ROUTE => {
            NOT_CONNECTED
        }
        code::TIMEOUT => TIMEOUT,
        code::TLS => INSECURE,
        _ => ERROR,
    };
    Ok(Http {
        dst: Some(InFull(address.into())),
        dport: url.port,
        start: record.started_at.and_then(time),
        stop: Some(stop),
        scheme: Some(url.scheme),
        host: Some(text(url.host)),
        file: Some(text(url.file)),
        errmsg: Some(text(&reason.to_string())),
        ..asked
    })
}

fn of_hop(asked: &Http, hop: &Hop) -> Http {
    let url = Url::of(&hop.url);
    Http {
        src: hop.source.map(|source| InFull(address(source))),
        dst: Some(InFull(address(hop.address))),
        sport: hop.source_port,
        dport: Some(hop.port),
        start: time(hop.started_at),
        stop: Some(DONE),
        scheme: Some(url.scheme),
        host: Some(text(url.host)),
        file: Some(text(url.file)),
        hsrtt: rtt(hop.phases.connect_ns),
        ech_status: hop.tls.as_ref().and_then(|tls| tls.ech_status).map(|status| ech_status(status, false)),
        ech_outer_sni: hop.tls.as_ref().and_then(|tls| tls.ech_outer_name.as_deref()).map(text),
        bufs: buffers(hop),
        ..asked.clone()
    }
}

/// A connection on which the server did not take the configuration that was offered: nothing was requested.
fn of_rejection(asked: &Http, rejected: &EchRejection) -> Http {
    let url = Url::of(&rejected.url);
    let mut record = Http {
        src: rejected.source.map(|source| InFull(address(source))),
        dst: Some(InFull(address(rejected.address))),
        sport: rejected.source_port,
        dport: Some(rejected.port),
        start: time(rejected.started_at),
        stop: Some(ERROR),
        scheme: Some(url.scheme),
        host: Some(text(url.host)),
        file: Some(text(url.file)),
        hsrtt: rtt(rejected.connect_ns),
        errmsg: Some(text("the server did not take the Encrypted Client Hello")),
        ech_status: Some(ech_status(rejected.ech_status, rejected.ech_retry_configs.is_some())),
        ech_outer_sni: Some(text(&rejected.ech_outer_name)),
        ..asked.clone()
    };
    record.parts.extend(rejected.ech_retry_configs.iter().map(|list| part(RETRY_CONFIGS, list)));
    record
}

/// What became of an Encrypted Client Hello, as the format numbers it; whether there are configurations to try again with.
const fn ech_status(status: EchStatus, retry: bool) -> u8 {
    match status {
        EchStatus::Grease => 4,
        EchStatus::Accepted => 3,
        EchStatus::Rejected if retry => 11,
        EchStatus::Rejected => 2,
    }
}

fn part(kind: u8, list: &Octets) -> Part {
    Part { kind, data: Data(list.0.clone()) }
}

fn buffers(hop: &Hop) -> Vec<Buffer> {
    let phases = hop.phases;
    let ended = bare::later(hop.started_at, phases.total_ns.saturating_add(phases.held_ns));
    let begun = bare::later(hop.started_at, phases.total_ns.saturating_sub(phases.transfer_ns));
    let buffer = |content: u8, at, octets: &[u8]| Buffer {
        content: Some(content),
        time: time(at),
        data: Some(Data(octets.to_vec())),
        ..Buffer::default()
    };
    let head = head(hop);
    let heads = head.chunks(PIECE).map(|piece| buffer(HEAD, begun, piece));
    let content = hop.body.content.as_ref().map_or(&[][..], |octets| &octets.0);
    heads.chain(content.chunks(PIECE).map(|piece| buffer(CONTENT, ended, piece))).collect()
}

fn head(hop: &Hop) -> Vec<u8> {
    let phrase = hop.reason.as_deref().unwrap_or_default();
    let mut head = format!("HTTP/{} {} {phrase}\r\n", hop.version, hop.status).into_bytes();
    for field in &hop.headers {
        head.extend(field.name.as_bytes());
        head.extend(b": ");
        match (&field.value, &field.bytes) {
            (Some(value), _) => head.extend(value.as_bytes()),
            (None, Some(bytes)) => head.extend(&bytes.0),
            (None, None) => {}
        }
        head.extend(b"\r\n");
    }
    head.extend(b"\r\n");
    head
}

/// The parts of a URL that the format has.
struct Url<'a> {
    scheme: u8,
    host: &'a str,
    port: Option<u16>,
    file: &'a str,
}

impl<'a> Url<'a> {
    /// Of a URL that was asked for, so that it is known to be one; `http` where it has no scheme.
    fn of(url: &'a str) -> Self {
        let (scheme, rest) = url.split_once("://").unwrap_or(("http", url));
        let scheme = u8::from(!scheme.eq_ignore_ascii_case("https"));
        let rest = rest.split_once('#').map_or(rest, |(rest, _)| rest);
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, file) = rest.split_at(end);
        let authority = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
        let (host, port) = match authority.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            Some((host, port)) => (host, port.strip_prefix(':')),
            None => authority.split_once(':').map_or((authority, None), |(host, port)| (host, Some(port))),
        };
        let file = if file.is_empty() { "/" } else { file };
        Self { scheme, host, port: port.and_then(|port| port.parse().ok()), file }
    }

    /// The address of the host, where it is one or was given.
    fn address(&self, params: &Params) -> Option<std::net::IpAddr> {
        let given = || {
            params.resolve.iter().find_map(|entry| {
                let (host, rest) = entry.split_once(':')?;
                let (_, address) = rest.split_once(':')?;
                let address = address.trim_start_matches('[').trim_end_matches(']');
                host.eq_ignore_ascii_case(self.host).then(|| address.parse().ok())?
            })
        };
        self.host.parse().ok().or_else(given)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_have_parts() {
        let parts = |url| {
            let Url { scheme, host, port, file } = Url::of(url);
            (scheme, host, port, file)
        };
        assert_eq!(parts("https://a.example/b?c#d"), (0, "a.example", None, "/b?c"));
        assert_eq!(parts("http://[2001:db8::1]:8080"), (1, "2001:db8::1", Some(8080), "/"));
        assert_eq!(parts("a.example:80?x=1"), (1, "a.example", Some(80), "?x=1"));
    }
}
