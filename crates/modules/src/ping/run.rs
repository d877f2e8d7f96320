//! How a ping is performed: the machine's specification from the parameters, and the result from the machine.

use std::net::IpAddr;

use mmn_kit::{Conditions, Failure, Family, Measured, PacketKind, Timestamp, code, summary};
use mmn_probe::cookie::Key;
use mmn_probe::packet::{SendFailure, Ttl};
use mmn_probe::ping::{Fate, IcmpReport, Ping as Machine, Sample, Spec};
use mmn_probe::stats;
use mmn_probe::time::Nanos;
use mmn_probe::wire::icmp::IcmpErrorKind;

use super::{Body, Error, Params, Ping, Reply, Rtt, Status, fill};
use crate::shared::Stamps;

impl PacketKind for Ping {
    type Machine = Machine;

    fn family(params: &Params) -> Family {
        params.family
    }

    fn machine(params: &Params, target: IpAddr, key: [u8; 16]) -> Result<Machine, Failure> {
        let refuse = |error: &dyn std::fmt::Display| Failure::refused(code::PARAMETERS, error);
        let fill = match &params.pattern {
            Some(pattern) => fill(pattern).map_err(|error| refuse(&error))?,
            None => Vec::new(),
        };
        let spec = Spec {
            target,
            count: params.count,
            interval: Nanos(params.interval.as_ns()),
            timeout: Nanos(params.timeout.as_ns()),
            payload_bytes: params.size,
            ttl: params.ttl.map(Ttl),
            fill,
            stop_after: params.stop_after,
        };
        Machine::new(spec, Key::new(key)).map_err(|error| refuse(&error))
    }

    fn measured(
        _: &Params,
        input: &str,
        target: IpAddr,
        machine: &Machine,
        _: &Conditions,
    ) -> Result<Measured<Body>, Failure> {
        let samples: Vec<Sample> = machine.samples().collect();
        if samples.iter().all(|sample| sample.sent.is_none()) {
            return Err(nothing_left(&samples));
        }
        let count = |wanted: fn(&Sample) -> bool| {
            u32::try_from(samples.iter().filter(|sample| wanted(sample)).count()).unwrap_or(u32::MAX)
        };
        let sent = count(|sample| sample.sent.is_some());
        let mut rtts: Vec<u64> = samples.iter().filter_map(in_time).collect();
        let stats = stats::Summary::new(sent.into(), &mut rtts);
        let unasked = machine.unasked();
        let body = Body {
            target: input.to_owned(),
            address: target.into(),
            family: target.into(),
            sent,
            received: count(|sample| matches!(sample.fate, Fate::Replied(_))),
            duplicates: samples.iter().fold(0, |sum, sample| sum.saturating_add(sample.duplicates)),
            late: count(|sample| matches!(sample.fate, Fate::Late(_))),
            errors: count(|sample| matches!(sample.fate, Fate::Error(_))),
            loss: stats.loss_ratio().unwrap_or(0.0),
            rtt: rtt(&stats),
            stamps: samples.iter().filter_map(stamps).reduce(Stamps::weaker),
            clock_stepped: samples.iter().any(|sample| sample.clock_stepped),
            unasked: u32::try_from(unasked.foreign + unasked.unknown).unwrap_or(u32::MAX),
            replies: samples.iter().map(|sample| reply(sample, target)).collect(),
        };
        let rtt = body.rtt.as_ref();
        let summary = summary([
            ("sent", Some(body.sent.into())),
            ("received", Some(body.received.into())),
            ("duplicates", Some(body.duplicates.into())),
            ("loss", Some(body.loss.into())),
            ("rtt_min_ns", rtt.map(|rtt| rtt.min_ns.into())),
            ("rtt_median_ns", rtt.and_then(|rtt| rtt.median_ns).map(Into::into)),
            ("rtt_mean_ns", rtt.map(|rtt| rtt.mean_ns.into())),
            ("rtt_max_ns", rtt.map(|rtt| rtt.max_ns.into())),
        ]);
        Ok(Measured { answered: Some(body.received > 0), summary, body })
    }
}

/// Why no request left: as the first one was told.
fn nothing_left(samples: &[Sample]) -> Failure {
    let reason = samples.iter().find_map(|sample| match sample.fate {
        Fate::NotSent(reason) => Some(reason),
        _ => None,
    });
    match reason {
        None => Failure::refused(code::LIMITS, "no request could leave before the deadline"),
        Some(reason @ SendFailure::NoRoute) => Failure::failed(code::NO_ROUTE, reason),
        Some(reason @ SendFailure::NotPermitted) => Failure::failed(code::UNPRIVILEGED, reason),
        Some(reason @ SendFailure::NoSocket) => Failure::failed(code::ADDRESS_FAMILY, reason),
        Some(reason @ SendFailure::Forbidden) => Failure::refused(code::LIMITS, reason),
        Some(reason) => Failure::failed(code::SYSTEM, reason),
    }
}

/// The round trip of a request that was answered in time.
fn in_time(sample: &Sample) -> Option<u64> {
    match sample.fate {
        Fate::Replied(_) => sample.rtt.map(|rtt| rtt.0),
        _ => None,
    }
}

fn stamps(sample: &Sample) -> Option<Stamps> {
    sample.sent.zip(sample.fate.received()).map(|(sent, received)| Stamps::of(sent, received))
}

fn rtt(stats: &stats::Summary) -> Option<Rtt> {
    let finite = stats.finite?;
    let quantile = |quantile: Option<stats::Quantile>| quantile.and_then(stats::Quantile::finite);
    Some(Rtt {
        min_ns: finite.min_ns,
        q1_ns: quantile(stats.quartile1),
        median_ns: quantile(stats.median),
        q3_ns: quantile(stats.quartile3),
        mean_ns: finite.mean_ns,
        max_ns: finite.max_ns,
        stddev_ns: finite.stddev_ns,
    })
}

fn reply(sample: &Sample, target: IpAddr) -> Reply {
    let (status, answer, error) = match sample.fate {
        Fate::Replied(reply) => (Status::Replied, Some(reply), None),
        Fate::Late(reply) => (Status::Late, Some(reply), None),
        Fate::TimedOut => (Status::TimedOut, None, None),
        Fate::Error(report) => (Status::Error, None, Some(icmp_error(&report))),
        Fate::NotSent(reason) => (Status::NotSent, None, Some(send_error(reason))),
        _ => (Status::Cancelled, None, None),
    };
    let from = match sample.fate {
        Fate::Replied(reply) | Fate::Late(reply) => Some(reply.from),
        Fate::Error(report) => Some(report.from),
        _ => None,
    };
    Reply {
        seq: sample.seq,
        status,
        sent_at: sample.sent.map(|stamp| Timestamp::from_unix_ns(stamp.utc.0)),
        rtt_ns: sample.rtt.map(|rtt| rtt.0),
        ttl: answer.and_then(|reply| reply.ttl).map(|ttl| ttl.0),
        bytes: answer.and_then(|reply| u32::try_from(reply.bytes).ok()),
        from: from.filter(|from| *from != target).map(Into::into),
        duplicates: sample.duplicates,
        error,
    }
}

fn icmp_error(report: &IcmpReport) -> Error {
    let (code, mtu) = match report.kind {
        IcmpErrorKind::TooBig { mtu } => (None, mtu),
        IcmpErrorKind::Prohibited { code }
        | IcmpErrorKind::OtherUnreachable { code }
        | IcmpErrorKind::ParameterProblem { code } => (Some(code), None),
        _ => (None, None),
    };
    Error { name: report.kind.name().to_owned(), code, mtu, verified: Some(report.verified) }
}

fn send_error(reason: SendFailure) -> Error {
    Error { name: reason.to_string(), code: None, mtu: None, verified: None }
}
