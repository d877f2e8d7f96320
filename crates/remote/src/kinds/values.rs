//! The values of records as results have them.

use std::net::IpAddr;

use mmn_kit::{Conditions, Failure, Lane, Timestamp, code};
use mmn_probe::time::StampSource;

use mmn_probe::wire::icmp::{Family, IcmpErrorKind};
use mmn_warts::Address;
use mmn_warts::values::{Extensions, IcmpType, Micros, Text, Time};

/// An IP address; nothing where it is another.
pub(super) fn ip(address: &Address) -> Option<IpAddr> {
    match address {
        Address::V4(address) => Some((*address).into()),
        Address::V6(address) => Some((*address).into()),
        _ => None,
    }
}

/// The instant of a time.
pub(super) fn instant(time: Time) -> Timestamp {
    Timestamp::from_unix_ns(ns(time))
}

/// A time in nanoseconds since 1970.
pub(super) fn ns(time: Time) -> i64 {
    i64::from(time.sec) * 1_000_000_000 + i64::from(time.usec) * 1_000
}

/// A round trip in nanoseconds.
pub(super) fn rtt(rtt: Micros) -> u64 {
    u64::from(rtt.0) * 1_000
}

/// The length of what follows the IP header, which records count in.
pub(super) fn without_header(bytes: u16, from: IpAddr) -> u32 {
    u32::from(bytes).saturating_sub(if from.is_ipv4() { 20 } else { 40 })
}

/// What an ICMP message says, if it is an error.
pub(super) fn icmp_error(from: IpAddr, icmp: IcmpType, mtu: Option<u16>) -> Option<IcmpErrorKind> {
    let family = if from.is_ipv4() { Family::V4 } else { Family::V6 };
    IcmpErrorKind::from_wire(family, icmp.kind, icmp.code, mtu.unwrap_or(0).into())
}

/// The objects of an extension structure as they stood on the wire (RFC 4884, section 8).
pub(super) fn objects(extensions: &Extensions) -> Vec<u8> {
    let mut octets = Vec::new();
    for object in &extensions.0 {
        let Some(length) = u16::try_from(object.data.0.len()).ok().and_then(|data| data.checked_add(4))
        else {
            continue;
        };
        octets.extend(length.to_be_bytes());
        octets.extend([object.class, object.kind]);
        octets.extend(&object.data.0);
    }
    octets
}

/// How scamper's packets go: by raw sockets, stamped by itself as they leave; by packet sockets where a record says so.
pub(super) const fn conditions(by_link: bool, sent: StampSource, received: StampSource) -> Conditions {
    Conditions {
        lane: if by_link { Lane::Bulk } else { Lane::Raw },
        sent_by: sent,
        received_by: received,
        rtt_error_ns: None,
        clock: None,
        interface: None,
    }
}

/// Why a daemon could not measure, by what it says.
pub(super) fn failed(message: Option<&Text>) -> Failure {
    let said = message.map_or_else(|| "it could not be measured".to_owned(), ToString::to_string);
    let lower = said.to_ascii_lowercase();
    let code = if lower.contains("unreachable") || lower.contains("no route") {
        code::NO_ROUTE
    } else if lower.contains("not permitted") || lower.contains("permission") {
        code::UNPRIVILEGED
    } else {
        code::SYSTEM
    };
    Failure::failed(code, format_args!("scamper: {said}"))
}
