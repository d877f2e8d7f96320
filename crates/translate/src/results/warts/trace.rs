//! Trace: record type 6.

use mmn_modules::Lane;
use mmn_modules::trace::{
    Body, Doubletree as Stops, Method, MtuNoteKind, Params, PathMtu, Probe, Reply, StopReason,
};
use mmn_schema::api::ResultRecord;
use mmn_warts::records::trace::{Doubletree, Hop, LastDitch, Pmtud, PmtudNote, Trace};
use mmn_warts::values::{IcmpType, InFull};

use super::{
    CENTISECOND_NS, SECOND_NS, Stamped, Untranslated, address, at_most, echo_reply, errmsg, extensions,
    ip_length, rtt, text, time, tos, units,
};
use crate::results::found;

const ERROR: u8 = 6;

pub(super) fn record(params: &Params, record: &ResultRecord) -> Result<Trace, Untranslated> {
    let trace = asked(params);
    let Some(body) = found::<Body>(record)? else {
        let (target, errmsg) = errmsg(record)?;
        return Ok(Trace {
            dst: Some(target.into()),
            start: record.started_at.and_then(time),
            stop_reason: Some(ERROR),
            errmsg: Some(errmsg),
            ..trace
        });
    };
    let stamped = Stamped::of(&body.conditions);
    let hops: Vec<_> = body
        .hops
        .iter()
        .flat_map(|hop| hop.probes.iter().filter_map(|probe| reply(hop.ttl, probe, stamped)))
        .collect();
    at_most(&hops, usize::from(u16::MAX), "replies to a trace")?;
    let last = body.hops.last().map(|hop| hop.ttl);
    let flags = flags(params, &body);
    let first = body.hops.iter().flat_map(|hop| &hop.probes).find_map(|probe| probe.bytes);
    Ok(Trace {
        start: body.started_at.or(record.started_at).and_then(time),
        stop_reason: Some(stop(body.stop.reason)),
        stop_data: Some(stop_data(&body)),
        flags: Some(flags),
        flags8: Some(flags.to_le_bytes()[0]),
        probe_type: Some(probe_type(body.method, body.paris)),
        probe_size: first.and_then(|bytes| u16::try_from(bytes).ok()),
        sport: body.icmp_id.or(body.source_port),
        dport: body.port.or(params.icmp_checksum),
        hop_count: Some(last.map_or(0, u16::from)),
        probec: u16::try_from(body.sent).ok(),
        src: body.source.map(address),
        dst: Some(address(body.address)),
        rtr: body.router.map(|router| InFull(address(router))),
        stop_hop: body.stop.ttl.filter(|ttl| last.is_some_and(|last| last > *ttl)),
        errmsg: body.stop.error.as_deref().filter(|_| body.stop.reason == StopReason::Error).map(text),
        hops,
        pmtud: body.mtu.as_ref().map(|mtu| pmtud(&body, mtu, stamped)),
        lastditch: (!body.last_ditch.is_empty()).then(|| LastDitch {
            hops: body.last_ditch.iter().filter_map(|probe| reply(255, probe, stamped)).collect(),
            ..LastDitch::default()
        }),
        dtree: body.doubletree.as_ref().map(doubletree),
        ..trace
    })
}

fn asked(params: &Params) -> Trace {
    Trace {
        attempts: Some(params.attempts),
        hoplimit: Some(params.max_ttl),
        probe_type: Some(probe_type(params.method, params.paris)),
        firsthop: Some(params.first_hop),
        tos: Some(tos(params.tos, params.dscp)),
        wait: units(params.timeout, SECOND_NS),
        loops: Some(params.loops),
        gaplimit: Some(params.gap_limit),
        gapaction: Some(if params.last_ditch { 2 } else { 1 }),
        loopaction: Some(0),
        wait_probe: units(params.wait, CENTISECOND_NS),
        confidence: params.confidence.and_then(percent),
        offset: params.fragment_offset,
        squeries: u8::try_from(params.parallel).ok(),
        ..Trace::default()
    }
}

/// A percentage as the format has it: whole.
pub(super) fn percent(percent: f64) -> Option<u8> {
    (1..100).find(|whole| (f64::from(*whole) - percent).abs() < 1e-9)
}

fn flags(params: &Params, body: &Body) -> u32 {
    let doubletree = params.doubletree;
    [
        (0x001, params.all_attempts),
        (0x002, params.pmtud),
        (0x004, body.conditions.lane == Lane::Bulk),
        // A message that the TTL ran out is no answer of the destination, always.
        (0x008, true),
        (0x010, doubletree),
        (0x020, params.icmp_checksum.is_some()),
        (0x040, params.constant_payload),
        (0x100, params.names),
    ]
    .into_iter()
    .filter(|(_, set)| *set)
    .fold(0, |flags, (flag, _)| flags | flag)
}

const fn probe_type(method: Method, paris: bool) -> u8 {
    match (method, paris) {
        (Method::Icmp, false) => 1,
        (Method::Udp, false) => 2,
        (Method::Tcp, _) => 3,
        (Method::Icmp, true) => 4,
        (Method::Udp, true) => 5,
        (Method::TcpAck, _) => 6,
    }
}

const fn stop(reason: StopReason) -> u8 {
    match reason {
        StopReason::Completed => 1,
        StopReason::Unreachable => 2,
        StopReason::Icmp => 3,
        StopReason::Loop => 4,
        StopReason::GapLimit => 5,
        StopReason::Error => ERROR,
        StopReason::HopLimit => 7,
        StopReason::GlobalStopSet => 8,
        StopReason::Halted => 9,
    }
}

/// The code of what can't be reached; the type of another ICMP message.
fn stop_data(body: &Body) -> u8 {
    match body.stop.reason {
        StopReason::Unreachable => body.stop.code.unwrap_or(0),
        StopReason::Icmp => {
            let at = body.hops.iter().filter(|hop| Some(hop.ttl) == body.stop.ttl);
            let mut replies = at.flat_map(|hop| &hop.probes).filter_map(|probe| probe.reply.as_ref());
            let named = |reply: &&Reply| Some(&reply.name) == body.stop.error.as_ref();
            replies.find(named).and_then(|reply| reply.icmp_type).unwrap_or(0)
        }
        _ => 0,
    }
}

const RECEIVED_BY_SOCKET: u8 = 0x01;
const SENT_BY_LINK: u8 = 0x02;
const RECEIVED_BY_LINK: u8 = 0x04;
const REPLY_TTL: u8 = 0x10;
const TCP: u8 = 0x20;
const UDP: u8 = 0x40;

fn reply(ttl: u8, probe: &Probe, stamped: Stamped) -> Option<Hop> {
    let reply = probe.reply.as_ref()?;
    let from = reply.from.0;
    let flags = [
        (RECEIVED_BY_SOCKET, stamped.received_by_socket),
        (SENT_BY_LINK, stamped.sent_by_link),
        (RECEIVED_BY_LINK, stamped.received_by_link),
        (REPLY_TTL, reply.ttl.is_some()),
        (TCP, reply.name == "tcp"),
        (UDP, reply.name == "udp"),
    ];
    let quote = reply.quote.as_ref();
    let size = probe.bytes.and_then(|bytes| u16::try_from(bytes).ok());
    Some(Hop {
        probe_ttl: Some(ttl),
        reply_ttl: reply.ttl,
        flags: Some(flags.into_iter().filter(|(_, set)| *set).fold(0, |flags, (flag, _)| flags | flag)),
        probe_id: Some(probe.attempt),
        rtt: reply.rtt_ns.and_then(rtt),
        icmp: icmp(reply),
        probe_size: size,
        reply_size: ip_length(reply.bytes, from),
        reply_ipid: reply.ip_id,
        reply_iptos: reply.tos,
        nhmtu: reply.mtu.and_then(|mtu| u16::try_from(mtu).ok()),
        q_iplen: quote
            .and_then(|quote| u16::try_from(quote.ip_bytes?).ok())
            .filter(|length| Some(*length) != size),
        q_ipttl: quote.and_then(|quote| quote.ttl).filter(|ttl| *ttl != 1),
        tcp_flags: reply.tcp_flags,
        q_iptos: quote.and_then(|quote| quote.tos),
        icmpext: extensions(&reply.extensions),
        addr: Some(from.into()),
        tx: probe.sent_at.and_then(time),
        name: reply.from_name.as_deref().map(text),
        ..Hop::default()
    })
}

/// The type and code of a reply by ICMP.
pub(super) fn icmp(reply: &Reply) -> Option<IcmpType> {
    match (reply.icmp_type, reply.name.as_str()) {
        (Some(kind), _) => Some(IcmpType { kind, code: reply.icmp_code.unwrap_or(0) }),
        (None, "echo_reply") => Some(echo_reply(reply.from.0)),
        (None, _) => None,
    }
}

fn pmtud(body: &Body, mtu: &PathMtu, stamped: Stamped) -> Pmtud {
    let interface = body.conditions.interface.as_ref();
    let told: Vec<_> = mtu.probes.iter().filter(|probe| probe.reply.is_some()).collect();
    let note = |kind: u8, note: &mmn_modules::trace::MtuNote| {
        let said = told.iter().position(|probe| {
            let from = probe.reply.as_ref().map(|reply| reply.from);
            probe.bytes == Some(u32::from(note.bytes)) && from == note.from && from.is_some()
        });
        PmtudNote {
            note_type: Some(kind),
            nhmtu: note.mtu.and_then(|mtu| u16::try_from(mtu).ok()),
            reply: said.and_then(|at| u16::try_from(at).ok()),
            ..PmtudNote::default()
        }
    };
    Pmtud {
        ifmtu: interface.and_then(|interface| u16::try_from(interface.mtu).ok()),
        pmtu: mtu.mtu,
        ver: Some(2),
        hops: told.iter().filter_map(|probe| reply(mtu.ttl, probe, stamped)).collect(),
        notes: mtu
            .notes
            .iter()
            .filter_map(|told| match (told.kind, told.mtu) {
                (MtuNoteKind::TooBig, Some(_)) => Some(note(1, told)),
                (MtuNoteKind::TooBig, None) => Some(note(2, told)),
                (MtuNoteKind::Silence, _) => Some(note(3, told)),
                // The MTU of the interface says it.
                (MtuNoteKind::Host, _) => None,
            })
            .take(usize::from(u8::MAX))
            .collect(),
        ..Pmtud::default()
    }
}

fn doubletree(stops: &Stops) -> Doubletree {
    Doubletree {
        firsthop: Some(stops.first_hop),
        lss_stop: stops.local_stop.map(|stop| address(stop.address)),
        gss_stop: stops.global_stop.map(|stop| address(stop.address)),
        lss_name: stops.local_stop_set.as_deref().map(text),
        flags: stops.no_backward.then_some(1),
        ..Doubletree::default()
    }
}
