//! What parameters of a ping are senseless, and what they cost at most.

use std::net::Ipv4Addr;

use mmn_kit::{Family, Span};
#[cfg(feature = "run")]
use mmn_probe::ping::options::IpOption;

use super::{MAX_COUNT, MAX_PATTERN, MAX_SIZE, MIN_INTERVAL, Method, Params, Schedule};
use crate::shared::hex;

/// The port of UDP methods where none is given: traceroute's first.
pub(super) const UDP_PORT: u16 = 33_435;
/// The port of TCP methods where none is given.
#[cfg(feature = "run")]
pub(super) const TCP_PORT: u16 = 80;
/// Numbers of JSON that every reader holds.
const MAX_SEED: u64 = (1 << 53) - 1;
/// The most addresses of `tsprespec`.
const MAX_ASKED: usize = 4;

impl Method {
    /// Whether it is UDP.
    pub(super) const fn is_udp(self) -> bool {
        matches!(self, Self::Udp | Self::UdpDport | Self::UdpSport)
    }

    /// Whether it is TCP.
    pub(super) const fn is_tcp(self) -> bool {
        !self.is_udp() && !matches!(self, Self::Icmp | Self::IcmpTimestamp)
    }
}

/// Checks all of them.
pub(super) fn all(params: &Params) -> Result<(), String> {
    let Params { count, interval, size, ttl, stop_after, timeout, .. } = params;
    within((1..=MAX_COUNT).contains(count), "count must be between 1 and 4096")?;
    within(*interval >= MIN_INTERVAL, "interval must be at least 10ms")?;
    within(*interval <= Span::from_millis(3_600_000), "interval must be at most 1h")?;
    within(timeout.as_ns() > 0, "timeout must be above 0")?;
    within(*timeout <= Span::from_millis(600_000), "timeout must be at most 10m")?;
    within(*size <= MAX_SIZE, "size must be at most 65507")?;
    within(*ttl != Some(0), "ttl must be between 1 and 255")?;
    within(*stop_after != Some(0), "stop_after must be at least 1; leave it out to wait for every reply")?;
    within(params.dscp.is_none_or(|dscp| dscp < 64), "dscp must be between 0 and 63")?;
    within(params.dscp.is_none() || params.tos.is_none(), "tos has dscp in it: give one of them")?;
    schedule(params)?;
    payload(params)?;
    of_method(params)?;
    family(params)
}

fn schedule(params: &Params) -> Result<(), String> {
    let random = params.schedule == Schedule::Poisson || params.random_start;
    within(params.seed.is_none() || random, "seed needs a Poisson schedule or random_start")?;
    within(params.seed.is_none_or(|seed| seed <= MAX_SEED), "seed must be at most 2^53 - 1")?;
    let both = params.schedule == Schedule::Poisson && params.random_start;
    within(!both, "random_start is of a periodic schedule: a Poisson one begins at random")?;
    let both = params.schedule == Schedule::SendOnReceive && params.random_start;
    within(!both, "random_start is of a periodic schedule")
}

fn payload(params: &Params) -> Result<(), String> {
    if let Some(pattern) = &params.pattern {
        fill(pattern)?;
        within(params.payload.is_none(), "pattern has no place in a payload that is given whole")?;
    }
    if let Some(text) = &params.payload {
        let payload = hex(text).ok_or("payload must be bytes in hexadecimal")?;
        within(payload.len() <= usize::from(MAX_SIZE), "payload must be at most 65507 bytes")?;
        within(params.method != Method::IcmpTimestamp, "payload has no place in an ICMP timestamp request")?;
    }
    let changed = params.icmp_checksum.is_some() || params.method == Method::Udp;
    within(!changed || payload_bytes(params) >= 2, "size must be at least 2 for udp and icmp_checksum")
}

fn of_method(params: &Params) -> Result<(), String> {
    let method = params.method;
    let ports = method.is_udp() || method.is_tcp();
    within(params.port.is_none() || ports, "port is of UDP and TCP methods")?;
    within(params.source_port.is_none() || ports, "source_port is of UDP and TCP methods")?;
    within(params.port != Some(0) && params.source_port != Some(0), "port must be between 1 and 65535")?;
    within(params.icmp_id.is_none() || !ports, "icmp_id is of ICMP methods")?;
    within(params.icmp_checksum.is_none() || method == Method::Icmp, "icmp_checksum is of the method icmp")?;
    let tcp = params.tcp_seq.or(params.tcp_ack).is_none() && params.mss.is_none();
    within(tcp || method.is_tcp(), "tcp_seq, tcp_ack and mss are of TCP methods")?;
    let syn = matches!(method, Method::TcpSyn | Method::TcpSynSport | Method::TcpSynack);
    within(params.mss.is_none() || syn, "mss is of methods that send a SYN")?;
    let acknowledges = !matches!(method, Method::TcpSyn | Method::TcpSynSport);
    within(params.tcp_ack.is_none() || acknowledges, "tcp_ack is of methods that acknowledge")?;
    let fits = |first: u16| u16::try_from(u32::from(first) + (params.count - 1)).is_ok();
    let grows = method == Method::UdpDport;
    within(!grows || fits(params.port.unwrap_or(UDP_PORT)), "port of the last request would be above 65535")?;
    let varies = matches!(method, Method::UdpSport | Method::TcpSynSport | Method::TcpAckSport);
    let source = params.source_port.is_none_or(fits);
    within(!varies || source, "source_port of the last request would be above 65535")
}

fn family(params: &Params) -> Result<(), String> {
    let options = params.record_route || params.ip_timestamp.is_some();
    within(
        !(params.record_route && params.ip_timestamp.is_some()),
        "record_route leaves no room for ip_timestamp",
    )?;
    if let Some(text) = &params.ip_timestamp {
        asked(text)?;
    }
    let v6 = params.family == Family::Ipv6 || params.source.is_some_and(|source| source.0.is_ipv6());
    within(!(v6 && options), "record_route and ip_timestamp are of IPv4")?;
    within(!(v6 && params.method == Method::IcmpTimestamp), "method icmp_timestamp is of IPv4")?;
    let agrees = params.source.is_none_or(|source| params.family.holds(source.0));
    within(agrees, "source is not of the family that is asked for")?;
    let agrees = params.router.is_none_or(|router| params.family.holds(router.0));
    within(agrees, "router is not of the family that is asked for")?;
    let echo = params.pseudo_mtu.is_none() || params.method == Method::Icmp;
    within(echo, "pseudo_mtu is of the method icmp")?;
    let least = if v6 { 1_280 } else { 68 };
    let sensible = params.pseudo_mtu.is_none_or(|mtu| mtu >= least);
    within(sensible, "pseudo_mtu must be at least 68, and 1280 over IPv6")
}

/// The bytes of a pattern.
pub(super) fn fill(pattern: &str) -> Result<Vec<u8>, String> {
    hex(pattern)
        .filter(|bytes| (1..=MAX_PATTERN).contains(&bytes.len()))
        .ok_or_else(|| format!("pattern {pattern:?} must be 1 to {MAX_PATTERN} bytes in hexadecimal"))
}

/// What the text of `ip_timestamp` asks for: addresses too, or those of whom.
pub(super) enum Asked {
    Times,
    WithAddresses,
    Of(
        #[cfg_attr(not(feature = "run"), expect(dead_code, reason = "those who check need no addresses"))]
        Vec<Ipv4Addr>,
    ),
}

pub(super) fn asked(text: &str) -> Result<Asked, String> {
    let wrong = || {
        format!(
            "ip_timestamp {text:?} must be tsonly, tsandaddr, or tsprespec= and one to four IPv4 addresses"
        )
    };
    match text.split_once('=') {
        None if text == "tsonly" => Ok(Asked::Times),
        None if text == "tsandaddr" => Ok(Asked::WithAddresses),
        Some(("tsprespec", list)) => {
            let addresses: Result<Vec<Ipv4Addr>, _> = list.split(',').map(|one| one.trim().parse()).collect();
            let addresses = addresses.ok().filter(|addresses| addresses.len() <= MAX_ASKED);
            addresses.map(Asked::Of).ok_or_else(wrong)
        }
        _ => Err(wrong()),
    }
}

#[cfg(feature = "run")]
pub(super) fn ip_option(params: &Params) -> Result<Option<IpOption>, String> {
    if params.record_route {
        return Ok(Some(IpOption::RecordRoute));
    }
    let Some(text) = &params.ip_timestamp else { return Ok(None) };
    Ok(Some(match asked(text)? {
        Asked::Times => IpOption::Timestamps,
        Asked::WithAddresses => IpOption::AddressedTimestamps,
        Asked::Of(addresses) => IpOption::TimestampsOf(addresses),
    }))
}

/// The bytes of a request's payload.
pub(super) fn payload_bytes(params: &Params) -> u64 {
    let given = params.payload.as_ref().map(|text| u64::try_from(text.len() / 2).unwrap_or(u64::MAX));
    match params.method {
        Method::IcmpTimestamp => 0,
        method if method.is_tcp() => given.unwrap_or(0),
        _ => given.unwrap_or(params.size.into()),
    }
}

/// The most bytes of one request, IP header included.
pub(super) fn packet_bytes(params: &Params) -> u64 {
    let options = params.record_route || params.ip_timestamp.is_some();
    let v4 = params.family == Family::Ipv4 || params.method == Method::IcmpTimestamp || options;
    // The larger IP header is that of IPv6, and an IPv4 header with options.
    let ip = match (options, v4) {
        (true, _) => 60,
        (false, true) => 20,
        (false, false) => 40,
    };
    let transport = match params.method {
        Method::IcmpTimestamp => 20,
        method if method.is_tcp() => 20 + if params.mss.is_some() { 4 } else { 0 },
        _ => 8,
    };
    ip + transport + payload_bytes(params)
}

/// The most intervals that pass before the last request leaves. On a Poisson schedule there is no most: so many that
/// one measurement in a million takes longer.
pub(super) fn gaps(params: &Params) -> u64 {
    let gaps = u64::from(params.count.saturating_sub(1));
    match params.schedule {
        Schedule::Periodic => gaps + u64::from(params.random_start),
        Schedule::SendOnReceive => gaps,
        Schedule::Poisson => gaps + 5 * gaps.isqrt() + 15,
    }
}

fn within(holds: bool, text: &str) -> Result<(), String> {
    if holds { Ok(()) } else { Err(text.to_owned()) }
}
