//! The packets of the network.

use std::net::{Ipv4Addr, Ipv6Addr};

use mmn_probe::bulk;
use mmn_probe::packet::{Message, Ttl};
use mmn_probe::time::{Instant, Stamp, StampSource, Utc};
use mmn_probe::wire::heard::{self, Checksums, Protocol};
use mmn_probe::wire::{extension, icmp, ipv4, ipv6, tcp};
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
    let _ = ipv6::decode(bytes).map(|packet| ipv6::upper(&packet).is_ok());
    if let Ok(fragment) = ipv6::fragment(bytes) {
        assert_eq!(fragment.payload.len() + 8, bytes.len());
    }
}

/// A packet as a socket gives it: the first octet picks the socket.
pub(crate) fn heard(bytes: &[u8]) {
    let Some((choice, bytes)) = bytes.split_first() else { return };
    let (v4, v6, ttl) = (Ipv4Addr::LOCALHOST, Ipv6Addr::LOCALHOST, Some(Ttl(1)));
    let read = match choice % 8 {
        0 => heard::packet(bytes, Checksums::Unchecked),
        1 => heard::packet(bytes, Checksums::Raw),
        2 => heard::packet(bytes, Checksums::Checked),
        3 => heard::icmp6(bytes, v6, ttl, None),
        4 => heard::transport(Protocol::Icmp, bytes, v4.into(), ttl, None),
        5 => heard::transport(Protocol::Udp, bytes, v6.into(), ttl, None),
        6 => heard::transport(Protocol::Tcp, bytes, v6.into(), ttl, None),
        _ => {
            let _ = heard::quoted_transport(choice >> 3, bytes);
            return;
        }
    };
    let Ok(heard) = read else { return };
    assert!(heard.bytes <= bytes.len());
    match heard.message {
        Message::Error(report) => objects(report.extensions),
        Message::Tcp(segment) => options(segment.options),
        _ => {}
    }
}

/// A packet as the receive ring gives it; the first octet says which family.
pub(crate) fn bulk_heard(bytes: &[u8]) {
    let Some((choice, bytes)) = bytes.split_first() else { return };
    let family = if choice % 2 == 0 { icmp::Family::V4 } else { icmp::Family::V6 };
    let Some(heard) = bulk::hear(family, bytes) else { return };
    let mut lane = bulk::Bulk::new((heard.id, 1), [1; 16]);
    let stamp = Stamp { at: Instant(1), utc: Utc(1), source: StampSource::Kernel };
    assert_eq!(lane.heard(&heard, stamp), None, "an answer to nothing");
}

/// What follows an error's header; the first octet is the length of the quote that the header tells, in words.
pub(crate) fn extensions(bytes: &[u8]) {
    let Some((words, bytes)) = bytes.split_first() else { return };
    let (quote, found) = extension::split(bytes, usize::from(*words) * 4);
    assert!(bytes.starts_with(quote) && (found.is_empty() || bytes.ends_with(found)));
    objects(found);
    objects(bytes);
}

pub(crate) fn tcp_options(bytes: &[u8]) {
    options(bytes);
    let _ = tcp::decode(bytes);
}

fn objects(bytes: &[u8]) {
    for object in extension::objects(bytes) {
        if let Some(extension::Known::Mpls(labels)) = object.known() {
            assert_eq!(labels.count() * 4, object.data.len());
        }
    }
}

fn options(bytes: &[u8]) {
    assert!(tcp::options(bytes).count() <= bytes.len());
    let _ = tcp::Offer::of(bytes);
}
