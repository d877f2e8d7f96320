//! How UDP probes are performed: the machine's specification from the parameters, and the result from the machine.

use std::net::IpAddr;

use mmn_kit::{Conditions, Failure, Family, Measured, Octets, PacketKind, Timestamp, Wish, code, summary};
use mmn_probe::cookie::Key;
use mmn_probe::packet::Ttl;
use mmn_probe::ping::{Fate, Sample};
use mmn_probe::stats;
use mmn_probe::time::Nanos;
use mmn_probe::udp::{self, Spec, Udp as Machine};

use super::{Body, Params, Probe, Reply, Status, Udp, payload};
use crate::ping::{icmp_error, nothing_left, rtt, send_error};

impl PacketKind for Udp {
    type Machine = Machine;
    type Plan = ();

    fn family(params: &Params) -> Family {
        match (params.family, params.source) {
            (Family::Any, Some(source)) if source.0.is_ipv4() => Family::Ipv4,
            (Family::Any, Some(_)) => Family::Ipv6,
            (family, _) => family,
        }
    }

    fn lane(params: &Params) -> Wish {
        params.lane.into()
    }

    fn plan(_: &Params) -> Result<(), Failure> {
        Ok(())
    }

    fn target(machine: &Machine) -> IpAddr {
        machine.target()
    }

    fn machine(params: &Params, (): &(), target: IpAddr, key: [u8; 16]) -> Result<Machine, Failure> {
        let spec = Spec {
            count: params.count,
            interval: Nanos(params.interval.as_ns()),
            timeout: Nanos(params.timeout.as_ns()),
            payload: payload(params).unwrap_or_default().into(),
            source_port: params.source_port,
            source: params.source.map(|source| source.0),
            ttl: params.ttl.map(Ttl),
            tos: params.dscp.unwrap_or(0) << 2,
            stop_after: if params.exit_first { Some(1) } else { params.stop_after },
            wait_replies: params.wait_replies,
            ..Spec::new(target, params.port)
        };
        Machine::new(spec, Key::new(key)).map_err(|error| Failure::refused(code::PARAMETERS, error))
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
        let samples: Vec<Sample> = machine.samples().collect();
        if samples.iter().all(|sample| sample.sent.is_none()) {
            return Err(nothing_left(samples.iter().map(|sample| &sample.fate)));
        }
        let count = |wanted: fn(&Sample) -> bool| {
            u32::try_from(samples.iter().filter(|sample| wanted(sample)).count()).unwrap_or(u32::MAX)
        };
        let sent = count(|sample| sample.sent.is_some());
        let overrun = count(|sample| sample.fate == Fate::Overrun);
        let cancelled = count(|sample| sample.sent.is_some() && sample.fate == Fate::Cancelled);
        let in_time = samples.iter().filter(|sample| matches!(sample.fate, Fate::Replied(_)));
        let mut rtts: Vec<u64> = in_time.filter_map(|sample| sample.rtt).map(|rtt| rtt.0).collect();
        let stats = stats::Summary::new(u64::from(sent - overrun - cancelled), &mut rtts);
        let unasked = machine.unasked();
        let kept = u64::try_from(machine.replies().len()).unwrap_or(u64::MAX);
        let body = Body {
            target: input.to_owned(),
            address: target.into(),
            family: target.into(),
            port: params.port,
            source: machine.source().map(Into::into),
            payload_bytes: u32::try_from(payload(params).unwrap_or_default().len()).unwrap_or(u32::MAX),
            timeout_ns: params.timeout.as_ns(),
            end: machine.end().map(Into::into),
            sent,
            received: count(|sample| matches!(sample.fate, Fate::Replied(_))),
            replies: u32::try_from(kept.saturating_add(machine.dropped())).unwrap_or(u32::MAX),
            errors: count(|sample| matches!(sample.fate, Fate::Error(_))),
            overrun,
            loss: stats.loss_ratio().unwrap_or(0.0),
            rtt: rtt(&stats, &rtts),
            clock_stepped: samples.iter().any(|sample| sample.clock_stepped),
            unasked: unasked.foreign + unasked.unknown,
            dropped: machine.dropped(),
            conditions: conditions.into(),
            probes: samples.iter().map(|sample| probe(sample, machine.replies(), target)).collect(),
        };
        let rtt = body.rtt.as_ref();
        let summary = summary([
            ("sent", Some(body.sent.into())),
            ("received", Some(body.received.into())),
            ("replies", Some(body.replies.into())),
            ("errors", Some(body.errors.into())),
            ("overrun", Some(body.overrun).filter(|overrun| *overrun > 0).map(Into::into)),
            ("loss", Some(body.loss.into())),
            ("rtt_min_ns", rtt.map(|rtt| rtt.min_ns.into())),
            ("rtt_median_ns", rtt.and_then(|rtt| rtt.median_ns).map(Into::into)),
        ]);
        Ok(Measured { answered: Some(body.received > 0), summary, body })
    }
}

fn probe(sample: &Sample, replies: &[udp::Reply], target: IpAddr) -> Probe {
    let (status, error) = match &sample.fate {
        Fate::Replied(_) => (Status::Replied, None),
        Fate::Late(_) => (Status::Late, None),
        Fate::TimedOut => (Status::TimedOut, None),
        Fate::Overrun => (Status::Overrun, None),
        Fate::Error(report) => (Status::Error, Some(icmp_error(report))),
        Fate::NotSent(reason) => (Status::NotSent, Some(send_error(*reason))),
        _ => (Status::Cancelled, None),
    };
    let reporter = match &sample.fate {
        Fate::Error(report) => Some(report.arrival.from),
        _ => None,
    };
    let elsewhere = |from: IpAddr| Some(from).filter(|from| *from != target).map(Into::into);
    let reply = |reply: &udp::Reply| Reply {
        received_at: Timestamp::from_unix_ns(reply.received.utc.0),
        rtt_ns: sample.sent.and_then(|sent| reply.received.at.checked_since(sent.at)).map(|rtt| rtt.0),
        bytes: u32::try_from(reply.bytes).unwrap_or(u32::MAX),
        payload: Octets(reply.payload.to_vec()),
        truncated: reply.payload.len() < reply.bytes,
        from: elsewhere(reply.from),
        ttl: reply.ttl.map(|ttl| ttl.0),
        tos: reply.tos,
        ip_id: reply.ip_id,
    };
    Probe {
        seq: sample.seq,
        status,
        sent_at: sample.sent.map(|stamp| Timestamp::from_unix_ns(stamp.utc.0)),
        source_port: sample.departure.map(|departure| departure.identity.selector),
        ip_id: sample.departure.and_then(|departure| departure.ip_id),
        rtt_ns: sample.rtt.map(|rtt| rtt.0),
        from: reporter.and_then(elsewhere),
        error,
        replies: replies.iter().filter(|one| one.seq == sample.seq).map(reply).collect(),
    }
}
