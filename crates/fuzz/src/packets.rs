//! The packets of the network.

use mmn_probe::wire::{icmp, ipv4, ipv6};
use mmn_schema::body::Body;

pub(crate) fn icmp(bytes: &[u8]) {
    let Some((choice, bytes)) = bytes.split_first() else { return };
    let family = if choice % 2 == 0 { icmp::Family::V4 } else { icmp::Family::V6 };
    let _ = icmp::decode(family, bytes);
    let _ = icmp::quote(family, bytes);
    let _ = icmp::quoted_echo_request(family, bytes);
}

pub(crate) fn dns_message(bytes: &[u8]) {
    let Some(message) = mmn_modules::dns::decode(bytes) else { return };
    let written = Body::of(&message).map(|body| body.to_json().is_ok());
    assert!(matches!(written, Ok(true)), "what was read can't be written");
}

pub(crate) fn ip(bytes: &[u8]) {
    let _ = ipv4::decode(bytes);
    let _ = ipv6::decode(bytes);
}
