//! A ping of one echo request, performed in bulk: which pings that are, and the result of one.

use mmn_kit::{Body as Written, BulkTask, Conditions, Failure, Measured, code};
use mmn_probe::bulk::{self, MAX_PAYLOAD_BYTES, Shape};
use mmn_probe::packet::Ttl;
use mmn_probe::ping::{self, Answer, Arrival, Fate, IcmpReport, Reply, Sample, Unasked};
use mmn_probe::time::Nanos;

use super::check::fill;
use super::measured::{Found, measured};
use super::mould::Mould;
use super::{Body, Method, Params, Schedule};
use crate::shared::{LaneWish, text};

/// The TTL that systems use where none is asked for.
const USUAL_TTL: u8 = 64;

/// What the request looks like; nothing where the ping is more than one plain echo request.
pub(super) fn task(params: &Params) -> Option<BulkTask> {
    let plain = params.method == Method::Icmp
        && params.count == 1
        && params.schedule == Schedule::Periodic
        && !params.random_start
        && !params.wait_duplicates
        && !params.record_route
        && params.payload.is_none()
        && params.icmp_id.is_none()
        && params.icmp_checksum.is_none()
        && params.source.is_none()
        && params.router.is_none()
        && params.pseudo_mtu.is_none()
        && params.ip_timestamp.is_none()
        && params.size <= MAX_PAYLOAD_BYTES
        && matches!(params.lane, LaneWish::Any | LaneWish::Bulk);
    let shape = plain.then(|| {
        Some(Shape {
            payload_bytes: params.size,
            fill: params.pattern.as_deref().map_or(Ok(Vec::new()), fill).ok()?,
            ttl: params.ttl.unwrap_or(USUAL_TTL),
            tos: params.tos.or(params.dscp.map(|dscp| dscp << 2)).unwrap_or(0),
            dont_fragment: params.df,
        })
    });
    Some(BulkTask {
        shape: shape.flatten()?,
        timeout: Nanos(params.timeout.as_ns()),
        family: params.family,
        wished: params.lane == LaneWish::Bulk,
    })
}

/// The result, written; by the mould of the one before it where it is like that.
pub(super) fn written(
    params: &Params,
    mould: &mut Option<Mould>,
    sample: &bulk::Sample,
    conditions: &Conditions,
) -> Result<Measured<Written>, Failure> {
    if let Some(measured) = mould.as_mut().and_then(|mould| mould.fill(sample, conditions)) {
        return Ok(measured);
    }
    let written = in_full(params, sample, conditions)?;
    if let Some(new) = Mould::of(sample, conditions, &written) {
        *mould = Some(new);
    }
    Ok(written)
}

/// The same without a mould.
pub(super) fn in_full(
    params: &Params,
    sample: &bulk::Sample,
    conditions: &Conditions,
) -> Result<Measured<Written>, Failure> {
    let Measured { answered, summary, body } = result(params, sample, conditions)?;
    let body = Written::of(&body).map_err(|error| Failure::failed(code::INTERNAL, error))?;
    Ok(Measured { answered, summary, body })
}

fn result(
    params: &Params,
    sample: &bulk::Sample,
    conditions: &Conditions,
) -> Result<Measured<Body>, Failure> {
    let target = sample.target;
    let samples = [record(sample)];
    let end = match sample.fate {
        bulk::Fate::OutOfTime | bulk::Fate::Declined => ping::End::Cancelled,
        _ => ping::End::Completed,
    };
    measured(&Found {
        params,
        input: &text(target),
        target,
        samples: &samples,
        repeats: &[],
        extensions: &[],
        unasked: Unasked::default(),
        end: Some(end),
        seed: None,
        pseudo_mtu: None,
        conditions,
    })
}

fn record(sample: &bulk::Sample) -> Sample {
    let (fate, rtt) = match sample.fate {
        bulk::Fate::Replied(answer) => (Fate::Replied(reply(&answer)), answer.rtt),
        bulk::Fate::Late(answer) => (Fate::Late(reply(&answer)), answer.rtt),
        bulk::Fate::Error(answer, said) => {
            let report = IcmpReport {
                arrival: arrival(&answer),
                kind: said.kind,
                icmp_type: said.icmp_type,
                code: said.code,
                verified: answer.verified,
            };
            (Fate::Error(report), answer.rtt)
        }
        bulk::Fate::TimedOut => (Fate::TimedOut, None),
        bulk::Fate::Overrun => (Fate::Overrun, None),
        bulk::Fate::NotSent(reason) => (Fate::NotSent(reason), None),
        bulk::Fate::OutOfTime | bulk::Fate::Declined => (Fate::Cancelled, None),
    };
    Sample {
        sent: sample.sent,
        departure: sample.departure,
        rtt,
        clock_stepped: sample.clock_stepped,
        ..Sample::new(0, fate)
    }
}

fn reply(answer: &bulk::Answer) -> Reply {
    Reply { arrival: arrival(answer), answer: Answer::Echo }
}

fn arrival(answer: &bulk::Answer) -> Arrival {
    Arrival {
        ttl: Some(Ttl(answer.ttl)),
        tos: Some(answer.tos),
        ip_id: answer.ip_id,
        ..Arrival::new(answer.from, answer.received, answer.bytes)
    }
}
