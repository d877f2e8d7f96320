//! Which hosts and origins requests may name: what keeps a web page, open in a browser on this machine, from using
//! an API that listens on loopback (DNS rebinding), or from opening its WebSocket.

use std::net::IpAddr;

use axum::http::uri::Authority;
use axum::http::{HeaderMap, Uri, header};
use mmn_schema::problem::Problem;

/// The hosts that a listener answers for.
#[derive(Debug)]
pub(crate) enum Hosts {
    /// Any: TLS has told the client whom it speaks to.
    Any,
    /// Loopback, and these names.
    Loopback(Vec<String>),
}

impl Hosts {
    /// Refuses a request for another host. A request that names none comes from no browser, and passes.
    pub(crate) fn check(&self, uri: &Uri, headers: &HeaderMap) -> Result<(), Problem> {
        let Self::Loopback(names) = self else { return Ok(()) };
        let refuse = |host: &str| {
            Err(Problem::new(421, "wrong-host", "This host is not served here")
                .detail(format!("the request is for {:?}", host.chars().take(80).collect::<String>()))
                .hint("ask for localhost, or name the host in api.hosts"))
        };
        let authority = match uri.authority() {
            Some(authority) => authority.clone(),
            None => match headers.get(header::HOST).map(axum::http::HeaderValue::as_bytes) {
                None | Some(b"") => return Ok(()),
                Some(host) => match Authority::try_from(host) {
                    Ok(authority) => authority,
                    Err(_) => return refuse(&String::from_utf8_lossy(host)),
                },
            },
        };
        let host = authority.host();
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        let known = host.eq_ignore_ascii_case("localhost")
            || bare.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
            || names.iter().any(|name| name.eq_ignore_ascii_case(host));
        if known { Ok(()) } else { refuse(host) }
    }
}

/// Refuses a request that a page of another origin makes (RFC 6455, section 10.2).
pub(crate) fn same_origin(uri: &Uri, headers: &HeaderMap) -> Result<(), Problem> {
    let Some(origin) = headers.get(header::ORIGIN) else { return Ok(()) };
    let host = match uri.authority() {
        Some(authority) => authority.as_str(),
        None => headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default(),
    };
    let of_origin = origin.to_str().ok().and_then(|text| text.split_once("://")).map(|(_, rest)| rest);
    if of_origin.is_some_and(|authority| !host.is_empty() && authority.eq_ignore_ascii_case(host)) {
        return Ok(());
    }
    Err(Problem::new(403, "wrong-origin", "Pages of other origins may not open this")
        .detail("the Origin of the request is not the host that it asks for"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(fields: &[(header::HeaderName, &str)]) -> HeaderMap {
        fields.iter().map(|(name, value)| (name.clone(), value.parse().unwrap())).collect()
    }

    #[test]
    fn loopback_answers_for_itself_alone() {
        let hosts = Hosts::Loopback(vec!["mmn.example".into()]);
        let path = Uri::from_static("/healthz");
        for (host, good) in [
            ("127.0.0.1:8677", true),
            ("localhost", true),
            ("LOCALHOST:1", true),
            ("[::1]:8677", true),
            ("127.1.2.3", true),
            ("mmn.example:443", true),
            ("evil.example", false),
            ("localhost.evil.example", false),
            ("192.0.2.1:8677", false),
            ("127.0.0.1.evil.example", false),
            ("not a host", false),
        ] {
            let answer = hosts.check(&path, &headers(&[(header::HOST, host)]));
            assert_eq!(answer.is_ok(), good, "{host}");
            assert!(Hosts::Any.check(&path, &headers(&[(header::HOST, host)])).is_ok());
        }
        let absolute = Uri::from_static("http://evil.example/healthz");
        assert_eq!(hosts.check(&absolute, &HeaderMap::new()).unwrap_err().status, 421);
        assert!(hosts.check(&path, &HeaderMap::new()).is_ok());
    }

    #[test]
    fn pages_of_other_origins_are_kept_out() {
        let path = Uri::from_static("/api/v1/stream");
        for (origin, good) in [
            ("http://127.0.0.1:8677", true),
            ("https://127.0.0.1:8677", true),
            ("http://127.0.0.1:8678", false),
            ("http://evil.example", false),
            ("null", false),
        ] {
            let fields = headers(&[(header::HOST, "127.0.0.1:8677"), (header::ORIGIN, origin)]);
            assert_eq!(same_origin(&path, &fields).is_ok(), good, "{origin}");
        }
        assert!(same_origin(&path, &HeaderMap::new()).is_ok());
    }
}
