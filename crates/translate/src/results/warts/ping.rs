//! Ping: record type 7.

use std::net::IpAddr;

use mmn_modules::Lane;
use mmn_modules::ping::{Body, End, Method, Params, Protocol, Repeat, Reply, Status};
use mmn_schema::api::ResultRecord;
use mmn_warts::records::ping::{Ping, Reply as Response};
use mmn_warts::values::{Data, IcmpType, InFull, Interface, List8, TimestampReply, Timestamps};

use super::{
    Stamped, Untranslated, address, at_most, bare, echo_reply, errmsg, ip_length, rtt, text, time, tos, wait,
};
use crate::results::found;

const COMPLETED: u8 = 1;
const ERROR: u8 = 2;
const HALTED: u8 = 3;

const REPLY_TTL: u8 = 1;
const REPLY_IPID: u8 = 2;
const PROBE_IPID: u8 = 4;
const SENT_BY_LINK: u8 = 8;
const RECEIVED_BY_LINK: u8 = 0x10;
const REPLY_TOS: u8 = 0x20;

pub(super) fn record(params: &Params, record: &ResultRecord) -> Result<Ping, Untranslated> {
    let ping = asked(params);
    let Some(body) = found::<Body>(record)? else {
        let (target, errmsg) = errmsg(record)?;
        return Ok(Ping {
            dst: Some(target.into()),
            start: record.started_at.and_then(time),
            stop_reason: Some(ERROR),
            errmsg: Some(errmsg),
            ..ping
        });
    };
    let first = body.replies.iter().find_map(|reply| reply.sent_at).or(record.started_at);
    let (timeout, timeout_us) = wait(body.timeout_ns.unwrap_or(params.timeout.as_ns()));
    let replies = replies(params, &body);
    at_most(&replies, usize::from(u16::MAX), "replies to a ping")?;
    Ok(Ping {
        start: first.and_then(time),
        stop_reason: Some(stop(&body)),
        stop_data: Some(0),
        probe_size: body.request_bytes.and_then(|bytes| u16::try_from(bytes).ok()),
        ping_sent: u16::try_from(body.sent).ok(),
        probe_method: Some(method(body.method)),
        probe_sport: body.icmp_id.or(body.source_port).or_else(|| first_of(&body, |reply| reply.source_port)),
        probe_dport: body.port.or_else(|| first_of(&body, |reply| reply.port)),
        src: body.source.map(address),
        dst: Some(address(body.address)),
        probe_timeout: timeout,
        probe_timeout_us: timeout_us,
        rtr: body.router.map(|router| InFull(address(router))),
        reply_pmtu: body.pseudo_mtu.as_ref().map(|pseudo| pseudo.mtu),
        errmsg: not_sent(&body).map(|name| text(&name)),
        replies,
        ..with_lane(ping, &body)
    })
}

/// What the parameters say, of every ping of a measurement.
fn asked(params: &Params) -> Ping {
    let (probe_wait, probe_wait_us) = wait(params.interval.as_ns());
    let tsps = params.ip_timestamp.as_deref().and_then(|option| option.strip_prefix("tsprespec="));
    let addresses = |list: &str| {
        list.split(',').filter_map(|one| Some(one.trim().parse::<IpAddr>().ok()?.into())).collect()
    };
    let pattern = params.payload.as_deref().or(params.pattern.as_deref()).and_then(bare::hex);
    let flags = flags(params);
    Ping {
        data: pattern.filter(|data| u16::try_from(data.len()).is_ok_and(|len| len > 0)).map(Data),
        probe_count: u16::try_from(params.count).ok(),
        probe_wait,
        probe_wait_us,
        probe_ttl: params.ttl,
        stop_count: params.stop_after.and_then(|count| u16::try_from(count).ok()),
        probe_method: Some(method(params.method)),
        flags: Some(flags).filter(|flags| *flags > 0),
        flags8: Some(flags.to_le_bytes()[0]).filter(|flags| *flags > 0),
        probe_tos: Some(tos(params.tos, params.dscp)).filter(|tos| *tos > 0),
        probe_tsps: tsps.map(addresses).map(List8),
        probe_icmpsum: params.icmp_checksum,
        probe_tcpack: params.tcp_ack,
        probe_tcpseq: params.tcp_seq,
        ..Ping::default()
    }
}

fn flags(params: &Params) -> u32 {
    let option = params.ip_timestamp.as_deref();
    [
        (0x01, params.record_route),
        (0x04, params.payload.is_some()),
        (0x08, option == Some("tsonly")),
        (0x10, option == Some("tsandaddr")),
        (0x20, params.icmp_checksum.is_some()),
    ]
    .into_iter()
    .filter(|(_, set)| *set)
    .fold(0, |flags, (flag, _)| flags | flag)
}

/// Packet sockets are part of the flags, and only the result says that they were taken.
fn with_lane(ping: Ping, body: &Body) -> Ping {
    if body.conditions.as_ref().is_some_and(|conditions| conditions.lane == Lane::Bulk) {
        let flags = ping.flags.unwrap_or(0) | 0x40;
        return Ping { flags: Some(flags), flags8: Some(flags.to_le_bytes()[0]), ..ping };
    }
    ping
}

const fn method(method: Method) -> u8 {
    match method {
        Method::Icmp => 0,
        Method::TcpAck => 1,
        Method::TcpAckSport => 2,
        Method::Udp => 3,
        Method::UdpDport => 4,
        Method::IcmpTimestamp => 5,
        Method::TcpSyn => 6,
        Method::TcpSynack => 7,
        Method::TcpRst => 8,
        Method::TcpSynSport => 9,
        Method::UdpSport => 10,
    }
}

fn stop(body: &Body) -> u8 {
    match body.end {
        Some(End::Cancelled) => HALTED,
        None if body.cancelled > 0 => HALTED,
        _ if body.sent == 0 => ERROR,
        Some(End::Completed | End::Enough) | None => COMPLETED,
    }
}

/// Why nothing left at all.
fn not_sent(body: &Body) -> Option<String> {
    let said = || body.replies.iter().find_map(|reply| reply.error.as_ref().map(|error| error.name.clone()));
    if body.sent == 0 { said() } else { None }
}

fn first_of<T>(body: &Body, field: impl Fn(&Reply) -> Option<T>) -> Option<T> {
    body.replies.first().and_then(field)
}

fn replies(params: &Params, body: &Body) -> Vec<Response> {
    let mut list = Vec::new();
    for reply in &body.replies {
        if matches!(reply.status, Status::Replied | Status::Error) {
            list.push(response(params, body, reply));
            list.extend(reply.repeats.iter().map(|repeat| again(body, reply, *repeat)));
        }
    }
    list
}

fn response(params: &Params, body: &Body, reply: &Reply) -> Response {
    let from = reply.from.unwrap_or(body.address);
    let option = params.record_route || params.ip_timestamp.is_some();
    let stamped = body.conditions.as_ref().map(Stamped::of).unwrap_or_default();
    let flags = [
        (REPLY_TTL, reply.ttl.is_some()),
        (REPLY_IPID, reply.ip_id.is_some()),
        (PROBE_IPID, reply.request_ip_id.is_some()),
        (SENT_BY_LINK, stamped.sent_by_link),
        (RECEIVED_BY_LINK, stamped.received_by_link),
        (REPLY_TOS, reply.tos.is_some()),
    ];
    let interface = body.conditions.as_ref().and_then(|conditions| conditions.interface.as_ref());
    Response {
        flags: Some(flags.into_iter().filter(|(_, set)| *set).fold(0, |flags, (flag, _)| flags | flag)),
        reply_ttl: reply.ttl,
        // How long the header is of a reply that may have options, nobody told.
        reply_size: reply.bytes.filter(|_| !option).and_then(|bytes| ip_length(bytes, from.0)),
        icmp: icmp(body, reply),
        rtt: reply.rtt_ns.and_then(rtt),
        probe_id: u16::try_from(reply.seq).ok(),
        reply_ipid: reply.ip_id,
        probe_ipid: reply.request_ip_id,
        reply_proto: proto(reply),
        tcp_flags: reply.tcp_flags.as_deref().map(bare::tcp_flags),
        addr: Some(address(from)),
        v4rr: (!reply.record_route.is_empty())
            .then(|| List8(reply.record_route.iter().copied().map(address).collect())),
        v4ts: reply.ip_timestamps.as_ref().map(|stamps| {
            let addresses: Option<Vec<_>> =
                stamps.stamps.iter().map(|stamp| stamp.address.map(address)).collect();
            Timestamps {
                stamps: stamps.stamps.iter().map(|stamp| stamp.ms).collect(),
                addresses: addresses.unwrap_or_default(),
            }
        }),
        tx: reply.sent_at.and_then(time),
        tsreply: reply.timestamps.map(|stamps| TimestampReply {
            originate: stamps.originate_ms,
            receive: stamps.receive_ms,
            transmit: stamps.transmit_ms,
        }),
        probe_sport: reply.source_port,
        reply_iptos: reply.tos,
        ifname: interface.map(|interface| Interface(text(&interface.name))),
        icmp_nhmtu: reply.error.as_ref().and_then(|error| u16::try_from(error.mtu?).ok()),
        ..Response::default()
    }
}

/// A further reply: all that is known of it is who sent it, and when.
fn again(body: &Body, reply: &Reply, repeat: Repeat) -> Response {
    Response {
        flags: Some(if repeat.ttl.is_some() { REPLY_TTL } else { 0 }),
        reply_ttl: repeat.ttl,
        rtt: repeat.rtt_ns.and_then(rtt),
        // From the target itself it is what the first was.
        icmp: if repeat.from.is_none() { icmp(body, reply) } else { None },
        reply_proto: if repeat.from.is_none() { proto(reply) } else { None },
        probe_id: u16::try_from(reply.seq).ok(),
        addr: Some(address(repeat.from.unwrap_or(body.address))),
        tx: reply.sent_at.and_then(time),
        probe_sport: reply.source_port,
        ..Response::default()
    }
}

fn icmp(body: &Body, reply: &Reply) -> Option<IcmpType> {
    let of = |kind: Option<u8>, code: Option<u8>| Some(IcmpType { kind: kind?, code: code.unwrap_or(0) });
    if let Some(error) = &reply.error {
        return of(error.icmp_type, error.icmp_code.or(error.code));
    }
    match (reply.protocol, body.method) {
        (Some(Protocol::Udp | Protocol::Tcp), _) => None,
        (None, Method::Icmp) => Some(echo_reply(body.address.0)),
        (None, Method::IcmpTimestamp) => Some(IcmpType { kind: 14, code: 0 }),
        (Some(Protocol::Icmp) | None, _) => of(reply.icmp_type, reply.icmp_code),
    }
}

/// The number of the reply's protocol; absent where it is ICMP.
fn proto(reply: &Reply) -> Option<u8> {
    match reply.protocol {
        Some(Protocol::Tcp) => Some(6),
        Some(Protocol::Udp) => Some(17),
        Some(Protocol::Icmp) | None => None,
    }
}
