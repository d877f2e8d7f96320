//! HTTP: record type 15, one for each request: the format follows no redirects.
//!
//! The format holds what was sent and received. Of that a result has the answer's head, taken apart, and the beginning of
//! the last body where it was asked for: the head is put together again as HTTP/1.1 has it.

use mmn_modules::http::{Body, Hop, Params};
use mmn_schema::api::ResultRecord;
use mmn_schema::dispatch::Input;
use mmn_schema::outcome::code;
use mmn_warts::records::http::{Buffer, Http};
use mmn_warts::values::{Data, InFull, List8};

use super::{Untranslated, address, bare, rtt, text, time};
use crate::results::{failed, found};

const NOT_CONNECTED: u8 = 2;
const DONE: u8 = 3;
const ERROR: u8 = 4;
const TIMEOUT: u8 = 5;
const INSECURE: u8 = 6;

const RECEIVED: u8 = 0x80;
const HEAD: u8 = 1;
/// The longest piece of what was received.
const PIECE: usize = u16::MAX as usize;

pub(super) fn records(params: &Params, record: &ResultRecord) -> Result<Vec<Http>, Untranslated> {
    let asked = asked(params);
    let Some(body) = found::<Body>(record)? else {
        return Ok(vec![of_failure(asked, params, record)?]);
    };
    Ok(body.hops.iter().map(|hop| of_hop(&asked, hop)).collect())
}

fn asked(params: &Params) -> Http {
    let ns = params.timeout.as_ns();
    let maxtime = mmn_schema::time::Timestamp::from_unix_ns(i64::try_from(ns).unwrap_or(i64::MAX));
    let headers: Vec<_> = params.headers.iter().take(255).map(|line| text(line)).collect();
    Http {
        flags: Some(u32::from(!params.verify)),
        headers: (!headers.is_empty()).then_some(List8(headers)),
        maxtime: time(maxtime),
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
        bufs: buffers(hop),
        ..asked.clone()
    }
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
    let heads = head.chunks(PIECE).map(|piece| buffer(RECEIVED | HEAD, begun, piece));
    let content = hop.body.content.as_ref().map_or(&[][..], |octets| &octets.0);
    heads.chain(content.chunks(PIECE).map(|piece| buffer(RECEIVED, ended, piece))).collect()
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
