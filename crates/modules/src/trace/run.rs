//! How a trace is performed: the machine's specification from the parameters, and the result from the machine.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, LazyLock};

use mmn_kit::{Conditions, Context, Failure, Family, Measured, PacketKind, Timestamp, Wish, code, summary};
use mmn_probe::cookie::Key;
use mmn_probe::packet::{SendFailure, Ttl};
use mmn_probe::time::Nanos;
use mmn_probe::trace::census::Certainty;
use mmn_probe::trace::doubletree::{self, LocalStopSet, LocalStopSets};
use mmn_probe::trace::mtu::{Note, Origin, Search};
use mmn_probe::trace::shape::{self, Shape};
use mmn_probe::trace::{self as machine, Fate, Pmtud, Sample, Spec, Trace as Machine};

use super::{
    Body, Doubletree, Hop, Method, MtuNote, MtuNoteKind, Params, PathMtu, Probe, Reply, Stop, StopReason,
    StoppedAt, Trace, nothing_left,
};
use crate::names::names_of;
use crate::shared::{Address, family_by, hex};

impl PacketKind for Trace {
    type Machine = Machine;
    /// What is asked of all targets.
    type Plan = Arc<Spec>;

    fn family(params: &Params) -> Family {
        match family_by(params.family, params.router) {
            Family::Any if params.fragment_offset.is_some() => Family::Ipv4,
            family => family,
        }
    }

    fn lane(params: &Params) -> Wish {
        params.lane.into()
    }

    fn plan(params: &Params) -> Result<Arc<Spec>, Failure> {
        let tos = params.tos.or(params.dscp.map(|dscp| dscp << 2));
        let certainty = params.confidence.map(|percent| Certainty::new(1.0 - percent / 100.0)).transpose();
        let certainty = certainty.map_err(|error| Failure::refused(code::PARAMETERS, error))?;
        Ok(Arc::new(Spec {
            target: IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            shape: Shape {
                fragment_offset: params.fragment_offset.unwrap_or(0),
                router: params.router.map(|router| router.0),
                ..shape_of(params.method, params.source, tos, params.dont_fragment)
            },
            paris: params.paris,
            flow: params.flow,
            selector: params.source_port.or(params.icmp_id),
            port: params.destination_port(),
            checksum: params.icmp_checksum,
            payload_bytes: params.payload_bytes(),
            payload: params.payload.as_deref().and_then(hex).map(Into::into),
            first_hop: Ttl(params.first_hop),
            max_ttl: Ttl(params.max_ttl),
            gap_limit: params.gap_limit,
            last_ditch: params.last_ditch,
            attempts: params.attempts,
            all_attempts: params.all_attempts,
            certainty: certainty.map(Arc::new),
            constant_payload: params.constant_payload,
            wait_hop: Nanos(params.wait_hop.as_ns()),
            doubletree: params.doubletree.then(|| Box::new(stop_sets(params))),
            timeout: Nanos(params.timeout.as_ns()),
            wait: Nanos(params.wait.as_ns()),
            parallel: params.parallel,
            loops: params.loops,
            pmtud: params.pmtud.then_some(Pmtud { size: params.pmtud_size }),
        }))
    }

    fn target(machine: &Machine) -> IpAddr {
        machine.target()
    }

    fn machine(_: &Params, plan: &Arc<Spec>, target: IpAddr, key: [u8; 16]) -> Result<Machine, Failure> {
        Machine::of_many(Arc::clone(plan), target, Key::new(key))
            .map_err(|error| Failure::refused(code::PARAMETERS, error))
    }

    fn source(machine: &Machine) -> Option<IpAddr> {
        machine.source()
    }

    fn measured(
        params: &Params,
        input: &str,
        target: IpAddr,
        machine: &Machine,
        conditions: &Conditions,
    ) -> Result<Measured<Body>, Failure> {
        let samples: Vec<Sample<'_>> = machine.samples().collect();
        let Some(first) = samples.iter().find(|sample| sample.sent.is_some()) else {
            return Err(nothing_left(samples.iter().find_map(not_sent)));
        };
        let count = |wanted: fn(&Sample<'_>) -> bool| {
            u32::try_from(samples.iter().filter(|sample| wanted(sample)).count()).unwrap_or(u32::MAX)
        };
        let hops = hops(params, machine, &samples);
        let replied_at = |hop: &&Hop| hop.probes.iter().any(|probe| probe.reply.is_some());
        let unasked = machine.unasked();
        let identity = first.identity;
        let ports = params.method.has_ports();
        let body = Body {
            target: input.to_owned(),
            address: target.into(),
            family: target.into(),
            method: params.method,
            paris: params.paris,
            confidence: params.confidence,
            router: params.router,
            source: machine.source().map(Into::into),
            source_port: identity.filter(|_| ports).map(|identity| identity.selector),
            port: ports.then_some(first.port),
            icmp_id: identity.filter(|_| !ports).map(|identity| identity.selector),
            started_at: first.sent.map(|stamp| Timestamp::from_unix_ns(stamp.utc.0)),
            stop: stop(machine),
            sent: count(|sample| sample.sent.is_some()),
            replied: count(|sample| sample.reply.is_some()),
            overrun: count(|sample| sample.fate == Fate::Overrun),
            unasked: unasked.foreign.saturating_add(unasked.unknown),
            clock_stepped: samples.iter().any(|sample| sample.clock_stepped),
            last_ditch: samples
                .iter()
                .filter(|sample| sample.of_last_ditch)
                .map(|sample| probe(params, sample))
                .collect(),
            doubletree: params.doubletree.then(|| doubletree(params, machine)),
            mtu: machine.mtu().map(|search| path_mtu(params, search, &samples)),
            conditions: conditions.into(),
            hops,
        };
        let last = body.hops.iter().rev().find(replied_at).map(|hop| hop.ttl);
        let silent = body.hops.iter().filter(|hop| Some(hop.ttl) <= last && !replied_at(hop)).count();
        let end = machine.stop_ttl().filter(|_| machine.is_reached());
        let rtt = samples
            .iter()
            .filter(|sample| Some(sample.ttl) == end && of_path(sample))
            .filter_map(|sample| sample.rtt)
            .min();
        let summary = summary([
            ("reached", Some(u64::from(machine.is_reached()).into())),
            ("hops", last.map(|ttl| u64::from(ttl).into())),
            ("silent", u64::try_from(silent).ok().map(Into::into)),
            ("sent", Some(body.sent.into())),
            ("replied", Some(body.replied.into())),
            ("rtt_ns", rtt.map(|rtt| rtt.0.into())),
            ("mtu_bytes", body.mtu.as_ref().and_then(|mtu| mtu.mtu).map(|mtu| u64::from(mtu).into())),
        ]);
        Ok(Measured { answered: Some(machine.is_reached()), summary, body })
    }

    fn completes(params: &Params) -> bool {
        params.names
    }

    async fn complete(context: &dyn Context, _: &Params, body: &mut Body) {
        let names = names_of(context, replies(body).map(|reply| reply.from.0)).await;
        for reply in replies(body) {
            reply.from_name = names.get(&reply.from.0).cloned();
        }
    }
}

/// All that came back, to whatever probe.
fn replies(body: &mut Body) -> impl Iterator<Item = &mut Reply> {
    let hops = body.hops.iter_mut().flat_map(|hop| &mut hop.probes);
    let of_search = body.mtu.iter_mut().flat_map(|mtu| &mut mtu.probes);
    hops.chain(&mut body.last_ditch).chain(of_search).filter_map(|probe| probe.reply.as_mut())
}

/// The fields that all probes share.
pub(crate) fn shape_of(
    method: Method,
    source: Option<Address>,
    tos: Option<u8>,
    dont_fragment: bool,
) -> Shape {
    let method = match method {
        Method::Icmp => shape::Method::Icmp,
        Method::Udp => shape::Method::Udp,
        Method::Tcp => shape::Method::Tcp,
        Method::TcpAck => shape::Method::TcpAck,
    };
    let (source, tos) = (source.map(|source| source.0), tos.unwrap_or(0));
    Shape { method, source, tos, dont_fragment, fragment_offset: 0, router: None }
}

fn not_sent(sample: &Sample<'_>) -> Option<SendFailure> {
    match sample.fate {
        Fate::NotSent(reason) => Some(reason),
        _ => None,
    }
}

fn of_path(sample: &Sample<'_>) -> bool {
    !sample.of_mtu_search && !sample.of_last_ditch
}

/// The hops up to the end of the path; where it has none, up to the last that answered.
fn hops(params: &Params, machine: &Machine, samples: &[Sample<'_>]) -> Vec<Hop> {
    let answered = samples.iter().filter(|sample| sample.reply.is_some() && of_path(sample));
    let end = machine.stop_ttl().or_else(|| answered.map(|sample| sample.ttl).max());
    let Some(end) = end else { return Vec::new() };
    // The way back leads to lower ones.
    let lowest = samples.iter().filter(|sample| of_path(sample)).map(|sample| sample.ttl.0).min();
    (lowest.map_or(params.first_hop, |lowest| lowest.min(params.first_hop))..=end.0)
        .map(|ttl| Hop {
            ttl,
            probes: samples
                .iter()
                .filter(|sample| sample.ttl.0 == ttl && of_path(sample))
                .map(|sample| probe(params, sample))
                .collect(),
        })
        .collect()
}

fn probe(params: &Params, sample: &Sample<'_>) -> Probe {
    let classic = !params.paris && !sample.of_mtu_search;
    Probe {
        attempt: sample.attempt,
        status: sample.fate.into(),
        sent_at: sample.sent.map(|stamp| Timestamp::from_unix_ns(stamp.utc.0)),
        bytes: sample.sent.map(|_| sample.bytes),
        request_ip_id: sample.ip_id,
        port: (classic && params.method == Method::Udp).then_some(sample.port),
        source_port: sample
            .identity
            .filter(|_| classic && params.method.is_tcp())
            .map(|identity| identity.selector),
        reply: sample.reply.map(|reply| Reply::of(reply, sample.rtt)),
        duplicates: sample.duplicates.into(),
        error: not_sent(sample).map(|reason| reason.to_string()),
    }
}

fn stop(machine: &Machine) -> Stop {
    let (reason, error, code) = match machine.stop() {
        Some(machine::Stop::Completed) => (StopReason::Completed, None, None),
        Some(machine::Stop::Unreachable { kind, code }) => {
            (StopReason::Unreachable, Some(kind.name().to_owned()), Some(code))
        }
        Some(machine::Stop::Icmp { kind, code }) => {
            (StopReason::Icmp, Some(kind.name().to_owned()), Some(code))
        }
        Some(machine::Stop::Loop) => (StopReason::Loop, None, None),
        Some(machine::Stop::GlobalStopSet) => (StopReason::GlobalStopSet, None, None),
        Some(machine::Stop::GapLimit) => (StopReason::GapLimit, None, None),
        Some(machine::Stop::HopLimit) => (StopReason::HopLimit, None, None),
        Some(machine::Stop::NotSent(reason)) => (StopReason::Error, Some(reason.to_string()), None),
        _ => (StopReason::Halted, None, None),
    };
    Stop { reason, ttl: machine.stop_ttl().map(|ttl| ttl.0), error, code }
}

/// Where it stops. The local sets are this process's: each source address has its own.
fn stop_sets(params: &Params) -> doubletree::Doubletree {
    static SETS: LazyLock<Arc<LocalStopSets>> = LazyLock::new(Arc::default);
    let global = params.global_stop_set.iter().map(|address| address.0).collect();
    let mut stops = doubletree::Doubletree::new(global);
    stops.backward = !params.no_backward;
    stops.local = params.local_stop_set.as_ref().map(|name| LocalStopSet {
        sets: Arc::clone(&SETS),
        name: name.as_str().into(),
        epoch: params.local_stop_set_epoch,
        max_age: Nanos(params.local_stop_set_age.as_ns()),
    });
    stops
}

fn doubletree(params: &Params, machine: &Machine) -> Doubletree {
    let at = |(ttl, address): (Ttl, IpAddr)| StoppedAt { ttl: ttl.0, address: address.into() };
    Doubletree {
        first_hop: params.first_hop,
        global_stop: machine.global_stop().map(at),
        local_stop: machine.local_stop().map(at),
        local_stop_set: params.local_stop_set.clone(),
        no_backward: params.no_backward,
    }
}

fn path_mtu(params: &Params, search: &Search, samples: &[Sample<'_>]) -> PathMtu {
    PathMtu {
        mtu: search.mtu(),
        ttl: search.ttl().map_or(0, |ttl| ttl.0),
        notes: search.notes().iter().map(note).collect(),
        probes: samples
            .iter()
            .filter(|sample| sample.of_mtu_search)
            .map(|sample| probe(params, sample))
            .collect(),
    }
}

fn note(note: &Note) -> MtuNote {
    let made = |kind| MtuNote { kind, bytes: note.bytes, from: None, mtu: None, behind_ttl: None };
    match note.origin {
        Origin::Router { from, mtu } => MtuNote { from: Some(from.into()), mtu, ..made(MtuNoteKind::TooBig) },
        Origin::Silence { behind } => {
            MtuNote { behind_ttl: behind.map(|ttl| ttl.0), ..made(MtuNoteKind::Silence) }
        }
        Origin::Host => made(MtuNoteKind::Host),
    }
}
