//! The decoders of `http` for fuzzing: each takes what a stranger wrote, and panics where a promise is broken.
#![expect(clippy::missing_panics_doc, reason = "a panic is how a finding is told")]

use mmn_kit::Octets;
use mmn_schema::body::Body;
use mmn_schema::outcome::Outcome;

use super::Params;
use super::certificate::describe;
use super::ech::{Offer, list::Chosen};
use super::exchange::Head;
use super::request::Message;
use super::result::parse_resolve;
use super::target::Target;

/// A URL, and behind a line feed where a redirect leads from it. What can be requested reads as itself again, without
/// a name or password.
pub fn target(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let (url, location) = text.split_once('\n').unwrap_or((text, "/"));
    let Ok(target) = Target::parse(url) else { return };
    usable(&target);
    if let Some(next) = target.follow(location) {
        usable(&next);
        assert_eq!(next.same_origin(&target), target.same_origin(&next));
    }
}

fn usable(target: &Target) {
    assert_eq!(Target::parse(target.as_str()).as_ref(), Ok(target));
    assert!(!target.bare_host().is_empty() && target.port() != 0 && target.path().starts_with('/'));
    assert!(target.same_origin(target), "{target:?}");
    let Ok(message) = Message::new(&Params::default()) else { panic!("the defaults give no request") };
    for http2 in [false, true] {
        let _ = message.request(target, http2);
    }
}

/// `host:port:address`.
pub fn resolve(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok((host, port, address)) = parse_resolve(text)
        && !host.contains(':')
    {
        assert_eq!(parse_resolve(&format!("{host}:{port}:[{address}]")), Ok((host, port, address)));
    }
}

/// The first bytes of an answer of HTTP/1.
pub fn head(bytes: &[u8]) {
    let _ = Head::parse(bytes);
}

/// A certificate. Whatever it says can be written, and is bounded.
pub fn certificate(bytes: &[u8]) {
    let certificate = describe(bytes, false);
    let sans: usize = certificate.sans.iter().map(String::len).sum();
    assert!(sans <= 8 << 10, "{sans} bytes of names");
    let written = Body::of(&certificate).map(|body| body.to_json().is_ok());
    assert!(matches!(written, Ok(true)), "what was read can't be written");
}

/// A list of ECH configurations. What is chosen from it is chosen again where it stands alone, and rustls takes it too,
/// unless its key is none.
pub fn ech_list(bytes: &[u8]) {
    let Ok(chosen) = Chosen::of(bytes) else { return };
    let alone = chosen.list();
    assert_eq!(Chosen::of(&alone).as_ref(), Ok(&chosen));
    match Offer::new(&Params { ech_config_list: Some(Octets(alone)), ..Params::default() }) {
        Ok(offer) => assert_eq!(offer.and_then(|offer| offer.outer_name).as_deref(), Some(chosen.outer_name)),
        Err(failure) => {
            assert_eq!(failure.outcome, Outcome::Refused);
            let detail = failure.reason.detail.unwrap_or_default();
            assert!(detail.contains("HPKE"), "{detail}");
        }
    }
}
