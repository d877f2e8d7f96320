//! `udp`: scamper's `udpprobe`, which daemons of before 2023 don't know.

use std::net::IpAddr;

use futures::FutureExt;
use mmn_kit::{Failure, LocalBoxFuture, Measured, Octets, code, summary};
use mmn_modules::LaneWish;
use mmn_modules::ping::End;
use mmn_modules::ping::rtt as round_trips;
use mmn_modules::udp::{Body, Params, Probe, Reply, Status, Udp};
use mmn_probe::stats;
use mmn_probe::time::StampSource;
use mmn_scamper::Command;
use mmn_scamper::command::{UdpProbe as Asked, UdpProbeOption};
use mmn_warts::Record;
use mmn_warts::records::udpprobe::{Reply as Response, Udpprobe as Found};
use mmn_warts::values::Time;

use super::{Form, Given, Scamper, cannot, none_of, other_record, span, values};

impl Form for Udp {
    fn run<'a>(
        scamper: Scamper<'a>,
        params: &'a Params,
        given: &'a Given,
        input: &'a str,
    ) -> LocalBoxFuture<'a, Result<Measured<Body>, Failure>> {
        async move {
            let target = scamper.target(input, params.family).await?;
            let command = command(params, given, target)?;
            let asked = |key| Command::UdpProbe(Box::new(Asked { user_id: Some(key), ..command }));
            match scamper.ask(asked).await? {
                Record::Udpprobe(found) => measured(params, input, target, &found),
                _ => Err(other_record()),
            }
        }
        .boxed_local()
    }
}

fn payload(params: &Params) -> Option<Vec<u8>> {
    match (&params.payload, &params.text) {
        (Some(digits), _) => data_encoding::HEXLOWER_PERMISSIVE.decode(digits.as_bytes()).ok(),
        (None, Some(text)) => Some(text.clone().into_bytes()),
        (None, None) => None,
    }
}

fn command(params: &Params, given: &Given, target: IpAddr) -> Result<Asked, Failure> {
    none_of(&[
        (params.lane != LaneWish::Any, "lane", "chooses its sockets by itself"),
        (params.wait_replies, "wait_replies", "ends with the replies that it was asked for"),
        (params.source_port.is_some(), "source_port", "leaves that to the system"),
        (params.ttl.is_some(), "ttl", "leaves that to the system"),
        (params.dscp.is_some(), "dscp", "leaves that to the system"),
        (params.count > 20, "count", "sends 20 at most"),
    ])?;
    let payload = payload(params).filter(|payload| !payload.is_empty());
    let payload =
        payload.ok_or_else(|| cannot("payload", "sends no empty datagram: give payload or text"))?;
    let count = u8::try_from(params.count).unwrap_or(u8::MAX);
    let stop = params.stop_after.map_or(count, |stop| u8::try_from(stop).unwrap_or(u8::MAX));
    Ok(Asked {
        count: Some(count),
        dport: Some(params.port),
        stop_count: Some(if params.exit_first { 1 } else { stop.min(count) }),
        options: params.exit_first.then_some(UdpProbeOption::ExitFirst).into_iter().collect(),
        payload: Some(payload),
        source: params.source.map(|source| source.0),
        wait_timeout: Some(span("timeout", params.timeout, (500, 5_000), 0)?),
        wait_probe: if count > 1 || given.has("interval") {
            Some(span("interval", params.interval, (500, 5_000), 0)?)
        } else {
            None
        },
        ..Asked::new(target)
    })
}

const HALTED: u8 = 2;

pub(super) fn measured(
    params: &Params,
    input: &str,
    target: IpAddr,
    found: &Found,
) -> Result<Measured<Body>, Failure> {
    let sent = u32::from(found.probe_sent.unwrap_or(1)).min(params.count);
    if sent == 0 {
        return Err(if found.errmsg.is_some() {
            values::failed(found.errmsg.as_ref())
        } else {
            Failure::failed(code::SYSTEM, "the daemon sent no probe")
        });
    }
    let halted = found.stop == Some(HALTED);
    let replied = usize::from(!found.replies.is_empty())
        + found.others.iter().filter(|probe| !probe.replies.is_empty()).count();
    let wanted = if params.exit_first { Some(1) } else { params.stop_after };
    let enough = wanted.is_some_and(|wanted| usize::try_from(wanted).is_ok_and(|wanted| replied >= wanted));
    let silent = if halted || enough { Status::Cancelled } else { Status::TimedOut };
    let first = probe(0, found.start, found.p0_sport, &found.replies, silent);
    let others = found
        .others
        .iter()
        .zip(1..)
        .map(|(one, seq)| probe(seq, one.about.tx, one.about.sport, &one.replies, silent));
    let probes: Vec<Probe> =
        std::iter::once(first).chain(others).take(usize::try_from(sent).unwrap_or(usize::MAX)).collect();
    let count = |wanted: fn(&Probe) -> bool| {
        u32::try_from(probes.iter().filter(|probe| wanted(probe)).count()).unwrap_or(u32::MAX)
    };
    let cancelled = count(|probe| probe.status == Status::Cancelled);
    let mut rtts: Vec<u64> = probes.iter().filter_map(|probe| probe.rtt_ns).collect();
    let stats = stats::Summary::new(u64::from(sent.saturating_sub(cancelled)), &mut rtts);
    let conditions = values::conditions(false, StampSource::User, StampSource::Kernel);
    let body = Body {
        target: input.to_owned(),
        address: target.into(),
        family: target.into(),
        port: params.port,
        source: found.src.as_ref().and_then(|source| values::ip(&source.0)).map(Into::into),
        payload_bytes: payload(params).map_or(0, |payload| u32::try_from(payload.len()).unwrap_or(u32::MAX)),
        timeout_ns: params.timeout.as_ns(),
        end: Some(match () {
            () if halted => End::Cancelled,
            () if enough => End::Enough,
            () => End::Completed,
        }),
        sent,
        received: count(|probe| probe.status == Status::Replied),
        replies: probes.iter().fold(0, |sum: u32, probe| {
            sum.saturating_add(u32::try_from(probe.replies.len()).unwrap_or(u32::MAX))
        }),
        errors: 0,
        overrun: 0,
        loss: stats.loss_ratio().unwrap_or(0.0),
        rtt: round_trips(&stats, &rtts),
        clock_stepped: false,
        unasked: 0,
        dropped: 0,
        conditions: (&conditions).into(),
        probes,
    };
    let rtt = body.rtt.as_ref();
    let summary = summary([
        ("sent", Some(body.sent.into())),
        ("received", Some(body.received.into())),
        ("replies", Some(body.replies.into())),
        ("errors", Some(body.errors.into())),
        ("loss", Some(body.loss.into())),
        ("rtt_min_ns", rtt.map(|rtt| rtt.min_ns.into())),
        ("rtt_median_ns", rtt.and_then(|rtt| rtt.median_ns).map(Into::into)),
    ]);
    Ok(Measured { answered: Some(body.received > 0), summary, body })
}

fn probe(
    seq: u32,
    sent: Option<Time>,
    source_port: Option<u16>,
    replies: &[Response],
    silent: Status,
) -> Probe {
    let replies: Vec<Reply> = replies.iter().filter_map(|one| reply(sent, one)).collect();
    Probe {
        seq,
        status: if replies.is_empty() { silent } else { Status::Replied },
        sent_at: sent.map(values::instant),
        source_port,
        ip_id: None,
        rtt_ns: replies.first().and_then(|reply| reply.rtt_ns),
        from: None,
        error: None,
        replies,
    }
}

fn reply(sent: Option<Time>, one: &Response) -> Option<Reply> {
    let came = one.rx?;
    let payload = one.data.as_ref().map_or_else(Vec::new, |data| data.0.clone());
    Some(Reply {
        received_at: values::instant(came),
        rtt_ns: sent.and_then(|sent| u64::try_from(values::ns(came) - values::ns(sent)).ok()),
        bytes: u32::try_from(payload.len()).unwrap_or(u32::MAX),
        payload: Octets(payload),
        truncated: false,
        from: None,
        ttl: None,
        tos: None,
        ip_id: None,
    })
}
