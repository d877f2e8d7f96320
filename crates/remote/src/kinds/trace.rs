//! `trace`.

use std::net::IpAddr;

use futures::FutureExt;
use mmn_kit::{Failure, LocalBoxFuture, Measured, code, summary};
use mmn_modules::LaneWish;
use mmn_modules::trace::{
    Body, Doubletree, Extension, Hop, Method, MtuNote, MtuNoteKind, Params, PathMtu, Probe, Quote, Reply,
    Status, Stop, StopReason, StoppedAt, Trace,
};
use mmn_probe::time::StampSource;
use mmn_scamper::Command;
use mmn_scamper::command::{Trace as Asked, TraceMethod, TraceOption};
use mmn_warts::Record;
use mmn_warts::records::trace::{Hop as Response, Trace as Found};

use super::{Form, Given, Scamper, cannot, none_of, other_record, span, values};

impl Form for Trace {
    fn run<'a>(
        scamper: Scamper<'a>,
        params: &'a Params,
        given: &'a Given,
        input: &'a str,
    ) -> LocalBoxFuture<'a, Result<Measured<Body>, Failure>> {
        async move {
            let target = scamper.target(input, params.family).await?;
            let command = command(params, given, target)?;
            let asked = |key| Command::Trace(Box::new(Asked { user_id: Some(key), ..command }));
            match scamper.ask(asked).await? {
                Record::Trace(found) => measured(params, input, target, &found),
                _ => Err(other_record()),
            }
        }
        .boxed_local()
    }
}

/// The command.
fn command(params: &Params, given: &Given, target: IpAddr) -> Result<Asked, Failure> {
    none_of(&[
        (params.lane != LaneWish::Any, "lane", "chooses its sockets by itself"),
        (params.size.is_some(), "size", "takes the whole payload, as `payload`"),
        (params.flow != 0, "flow", "knows flows by their ports: give source_port"),
        (params.dont_fragment, "dont_fragment", "leaves that to itself"),
        (params.names, "names", "is asked for names by dns"),
        (given.has("pmtud_size"), "pmtud_size", "begins with the size of the link"),
        (params.gap_limit == 0, "gap_limit", "stops at a gap of 255 hops at the latest"),
        (given.has("local_stop_set_age"), "local_stop_set_age", "keeps its sets until they are emptied"),
        (params.local_stop_set_epoch != 0, "local_stop_set_epoch", "keeps its sets until they are emptied"),
        (
            params.doubletree && params.global_stop_set.is_empty() && params.local_stop_set.is_none(),
            "doubletree",
            "needs a stop set for it: give global_stop_set or local_stop_set",
        ),
        (
            matches!(params.method, Method::Tcp | Method::TcpAck) && !params.paris,
            "paris",
            "keeps TCP in one flow",
        ),
    ])?;
    let confidence = params
        .confidence
        .map(|percent| [95_u8, 99].into_iter().find(|one| (f64::from(*one) - percent).abs() < 1e-9));
    if confidence == Some(None) {
        return Err(cannot("confidence", "knows 95 and 99"));
    }
    let payload =
        params.payload.as_deref().map(|digits| data_encoding::HEXLOWER_PERMISSIVE.decode(digits.as_bytes()));
    let payload = payload.transpose().map_err(|_| cannot("payload", "takes octets in hexadecimal"))?;
    let icmp = params.method == Method::Icmp;
    // How many hops at a time is what older daemons don't know, and a default of ours is not worth a refusal.
    let parallel = given.has("parallel").then(|| u8::try_from(params.parallel)).transpose();
    let mut asked = Asked {
        method: Some(match (params.method, params.paris) {
            (Method::Icmp, true) => TraceMethod::IcmpParis,
            (Method::Icmp, false) => TraceMethod::Icmp,
            (Method::Udp, true) => TraceMethod::UdpParis,
            (Method::Udp, false) => TraceMethod::Udp,
            (Method::Tcp, _) => TraceMethod::Tcp,
            (Method::TcpAck, _) => TraceMethod::TcpAck,
        }),
        confidence: confidence.flatten(),
        first_hop: (params.first_hop > 1).then_some(params.first_hop),
        hop_limit: Some(params.max_ttl),
        gap_limit: Some(params.gap_limit),
        gap_action: params.last_ditch.then_some(2),
        attempts: Some(params.attempts),
        all_attempts: params.all_attempts,
        // What the destination says by such a message is no answer to the probe, here as elsewhere.
        ttl_from_destination: true,
        wait_timeout: Some(span("timeout", params.timeout, (1_000, 10_000), 1_000)?),
        wait_probe: if params.wait.as_ns() == 0 {
            None
        } else {
            Some(span("wait", params.wait, (0, 2_000), 10)?)
        },
        wait_probe_hop: if params.wait_hop.as_ns() == 0 {
            None
        } else {
            Some(span("wait_hop", params.wait_hop, (0, 2_000), 0)?)
        },
        parallel: parallel.map_err(|_| cannot("parallel", "probes 255 hops at a time at most"))?,
        loops: Some(params.loops),
        dport: if icmp {
            params.icmp_checksum
        } else {
            Some(params.port.unwrap_or(if params.method == Method::Udp { 33_434 } else { 80 }))
        },
        sport: params.source_port.or(params.icmp_id),
        payload,
        tos: params.tos.or_else(|| params.dscp.map(|dscp| dscp << 2)),
        offset: params.fragment_offset,
        pmtud: params.pmtud,
        global_stop_set: params.global_stop_set.iter().map(|address| address.0).collect(),
        local_stop_set: params.local_stop_set.clone(),
        router: params.router.map(|router| router.0),
        source: params.source.map(|source| source.0),
        ..Asked::new(target)
    };
    asked.options.extend(params.constant_payload.then_some(TraceOption::ConstantPayload));
    asked.options.extend(params.no_backward.then_some(TraceOption::NoBackward));
    Ok(asked)
}

const BY_LINK: u32 = 0x04;
const SENT_BY_LINK: u8 = 0x02;
const ERROR: u8 = 6;

pub(super) fn measured(
    params: &Params,
    input: &str,
    target: IpAddr,
    found: &Found,
) -> Result<Measured<Body>, Failure> {
    if found.stop_reason == Some(ERROR) && found.hops.is_empty() {
        return Err(values::failed(found.errmsg.as_ref()));
    }
    if found.probec == Some(0) {
        return Err(Failure::failed(code::SYSTEM, "the daemon sent no probe"));
    }
    let end = ended(found, target);
    let last = end.ttl.or_else(|| found.hops.iter().filter_map(|hop| hop.probe_ttl).max());
    let hops = last.map_or_else(Vec::new, |last| hops(params, found, last));
    let link =
        !found.hops.is_empty() && found.hops.iter().all(|hop| hop.flags.unwrap_or(0) & SENT_BY_LINK != 0);
    let sent_by = if link { StampSource::Kernel } else { StampSource::User };
    let conditions =
        values::conditions(found.flags.unwrap_or(0) & BY_LINK != 0, sent_by, StampSource::Kernel);
    let icmp = params.method == Method::Icmp;
    let ditch = found.lastditch.as_ref().map_or(&[][..], |ditch| &ditch.hops);
    let answered = hops.iter().flat_map(|hop| &hop.probes).filter(|probe| probe.reply.is_some()).count();
    let replied = u32::try_from(answered + ditch.len()).unwrap_or(u32::MAX);
    let seen = u32::try_from(hops.iter().map(|hop| hop.probes.len()).sum::<usize>()).unwrap_or(u32::MAX);
    let body = Body {
        target: input.to_owned(),
        address: target.into(),
        family: target.into(),
        method: params.method,
        paris: params.paris,
        confidence: params.confidence,
        router: params.router,
        source: found.src.as_ref().and_then(values::ip).map(Into::into),
        source_port: found.sport.filter(|_| !icmp),
        port: found.dport.filter(|_| !icmp),
        icmp_id: found.sport.filter(|_| icmp),
        started_at: found.start.map(values::instant),
        stop: end,
        sent: found.probec.map_or(seen, u32::from),
        replied,
        overrun: 0,
        unasked: 0,
        clock_stepped: false,
        last_ditch: ditch.iter().map(|hop| probe(found, target, hop, 0)).collect(),
        doubletree: params.doubletree.then(|| doubletree(params, found)),
        mtu: found.pmtud.as_ref().map(|_| path_mtu(found, target)),
        conditions: (&conditions).into(),
        hops,
    };
    let reached = body.stop.reason == StopReason::Completed;
    let replied_at = |hop: &&Hop| hop.probes.iter().any(|probe| probe.reply.is_some());
    let last = body.hops.iter().rev().find(replied_at).map(|hop| hop.ttl);
    let silent = body.hops.iter().filter(|hop| Some(hop.ttl) <= last && !replied_at(hop)).count();
    let at_end = body.hops.iter().filter(|hop| reached && Some(hop.ttl) == body.stop.ttl);
    let rtt = at_end.flat_map(|hop| &hop.probes).filter_map(|probe| probe.reply.as_ref()?.rtt_ns).min();
    let summary = summary([
        ("reached", Some(u64::from(reached).into())),
        ("hops", last.map(|ttl| u64::from(ttl).into())),
        ("silent", u64::try_from(silent).ok().map(Into::into)),
        ("sent", Some(body.sent.into())),
        ("replied", Some(body.replied.into())),
        ("rtt_ns", rtt.map(Into::into)),
        ("mtu_bytes", body.mtu.as_ref().and_then(|mtu| mtu.mtu).map(|mtu| u64::from(mtu).into())),
    ]);
    Ok(Measured { answered: Some(reached), summary, body })
}

fn ended(found: &Found, target: IpAddr) -> Stop {
    let reason = match found.stop_reason {
        Some(1) => StopReason::Completed,
        Some(2) => StopReason::Unreachable,
        Some(3) => StopReason::Icmp,
        Some(4) => StopReason::Loop,
        Some(5) => StopReason::GapLimit,
        Some(ERROR) => StopReason::Error,
        Some(7) => StopReason::HopLimit,
        Some(8) => StopReason::GlobalStopSet,
        _ => StopReason::Halted,
    };
    let stops = matches!(
        reason,
        StopReason::Completed
            | StopReason::Unreachable
            | StopReason::Icmp
            | StopReason::Loop
            | StopReason::GlobalStopSet
    );
    let highest = found.hops.iter().filter_map(|hop| hop.probe_ttl).max();
    let from_target = |hop: &&Response| hop.addr.as_ref().and_then(values::ip) == Some(target);
    let completed = found.hops.iter().filter(from_target).filter_map(|hop| hop.probe_ttl).min();
    let ttl = match reason {
        _ if !stops => None,
        StopReason::Completed => found.stop_hop.or(completed).or(highest),
        _ => found.stop_hop.or(highest),
    };
    let at_end = found.hops.iter().find(|hop| hop.probe_ttl == ttl && hop.icmp.is_some());
    let said = at_end.and_then(|hop| hop.icmp);
    let kind = at_end.and_then(|hop| {
        let from = hop.addr.as_ref().and_then(values::ip)?;
        values::icmp_error(from, hop.icmp?, hop.nhmtu)
    });
    let icmp = matches!(reason, StopReason::Unreachable | StopReason::Icmp);
    let error = match reason {
        StopReason::Error => found.errmsg.as_ref().map(ToString::to_string),
        _ => kind.filter(|_| icmp).map(|kind| kind.name().to_owned()),
    };
    Stop { reason, ttl, error, code: said.filter(|_| icmp).map(|said| said.code) }
}

/// The hops up to the end of the path. A record has replies alone: what was sent to a silent hop is as many as were asked for.
fn hops(params: &Params, found: &Found, last: u8) -> Vec<Hop> {
    let target =
        found.dst.as_ref().and_then(values::ip).unwrap_or(IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED));
    let lowest = found.hops.iter().filter_map(|hop| hop.probe_ttl).min().unwrap_or(last);
    (lowest.min(params.first_hop)..=last)
        .map(|ttl| {
            let mut probes: Vec<Probe> = Vec::new();
            for hop in found.hops.iter().filter(|hop| hop.probe_ttl == Some(ttl)) {
                let attempt = hop.probe_id.unwrap_or(0);
                while probes.len() < usize::from(attempt) {
                    probes.push(silent(u8::try_from(probes.len()).unwrap_or(u8::MAX)));
                }
                match probes.get_mut(usize::from(attempt)) {
                    // What comes after the first reply.
                    Some(probe) if probe.reply.is_some() => {
                        probe.duplicates = probe.duplicates.saturating_add(1)
                    }
                    Some(slot) => *slot = probe(found, target, hop, attempt),
                    None => probes.push(probe(found, target, hop, attempt)),
                }
            }
            if probes.is_empty() && ttl >= params.first_hop {
                probes.extend((0..params.attempts).map(silent));
            }
            Hop { ttl, probes }
        })
        .collect()
}

const fn silent(attempt: u8) -> Probe {
    Probe {
        attempt,
        status: Status::TimedOut,
        sent_at: None,
        bytes: None,
        request_ip_id: None,
        port: None,
        source_port: None,
        reply: None,
        duplicates: 0,
        error: None,
    }
}

fn probe(found: &Found, target: IpAddr, hop: &Response, attempt: u8) -> Probe {
    Probe {
        status: Status::Replied,
        sent_at: hop.tx.map(values::instant),
        bytes: hop.probe_size.or(found.probe_size).map(u32::from),
        reply: Some(reply(target, hop)),
        ..silent(attempt)
    }
}

fn reply(target: IpAddr, hop: &Response) -> Reply {
    let from = hop.addr.as_ref().and_then(values::ip).unwrap_or(target);
    let error = hop.icmp.and_then(|icmp| values::icmp_error(from, icmp, hop.nhmtu));
    let flags = hop.flags.unwrap_or(0);
    let name = match error {
        Some(kind) => kind.name(),
        None if flags & 0x20 != 0 => "tcp",
        None if flags & 0x40 != 0 => "udp",
        None => "echo_reply",
    };
    let quote = error.map(|_| Quote {
        // What a record leaves out is as it was sent, and the TTL had run out.
        ttl: hop.q_ipttl.or(Some(1)),
        tos: hop.q_iptos,
        ip_bytes: hop.q_iplen.or(hop.probe_size).map(u32::from),
        ip_id: None,
        altered: Vec::new(),
    });
    Reply {
        from: from.into(),
        from_name: hop.name.as_ref().map(ToString::to_string),
        rtt_ns: hop.rtt.map(values::rtt),
        ttl: hop.reply_ttl,
        tos: hop.reply_iptos,
        ip_id: hop.reply_ipid,
        bytes: hop.reply_size.map_or(0, |bytes| values::without_header(bytes, from)),
        name: name.to_owned(),
        icmp_type: error.and(hop.icmp).map(|icmp| icmp.kind),
        icmp_code: error.and(hop.icmp).map(|icmp| icmp.code),
        mtu: hop.nhmtu.filter(|mtu| *mtu > 0).map(u32::from),
        tcp_flags: hop.tcp_flags.filter(|_| name == "tcp"),
        verified: false,
        quote,
        extensions: hop.icmpext.as_ref().map_or_else(Vec::new, |list| Extension::all(&values::objects(list))),
    }
}

fn doubletree(params: &Params, found: &Found) -> Doubletree {
    let at = |address: &mmn_warts::Address| {
        let address = values::ip(address)?;
        let hop = found.hops.iter().find(|hop| hop.addr.as_ref().and_then(values::ip) == Some(address));
        Some(StoppedAt { ttl: hop?.probe_ttl?, address: address.into() })
    };
    let stops = found.dtree.as_ref();
    Doubletree {
        first_hop: params.first_hop,
        global_stop: stops.and_then(|stops| stops.gss_stop.as_ref()).and_then(at),
        local_stop: stops.and_then(|stops| stops.lss_stop.as_ref()).and_then(at),
        local_stop_set: params.local_stop_set.clone(),
        no_backward: params.no_backward,
    }
}

fn path_mtu(found: &Found, target: IpAddr) -> PathMtu {
    let search = found.pmtud.clone().unwrap_or_default();
    let notes = search.notes.iter().filter_map(|note| {
        let said = note.reply.and_then(|at| search.hops.get(usize::from(at)));
        let bytes = said.and_then(|hop| hop.probe_size).or(search.ifmtu)?;
        Some(MtuNote {
            kind: if note.note_type == Some(3) { MtuNoteKind::Silence } else { MtuNoteKind::TooBig },
            bytes,
            from: said.and_then(|hop| hop.addr.as_ref()).and_then(values::ip).map(Into::into),
            mtu: note.nhmtu.filter(|mtu| *mtu > 0).map(u32::from),
            behind_ttl: None,
        })
    });
    PathMtu {
        mtu: search.pmtu,
        ttl: found.hops.iter().filter_map(|hop| hop.probe_ttl).max().unwrap_or(0),
        notes: notes.collect(),
        probes: search.hops.iter().map(|hop| probe(found, target, hop, hop.probe_id.unwrap_or(0))).collect(),
    }
}
