//! Udpprobe, datagrams and what comes back: record type 16.

use mmn_modules::ping::End;
use mmn_modules::udp::{Body, Params, Probe, Reply, Status};
use mmn_schema::api::ResultRecord;
use mmn_warts::records::udpprobe::{AboutProbe, Probe as Other, Reply as Response, Udpprobe};
use mmn_warts::values::{Data, InFull, Interface, Micros};

use super::{FORM, Untranslated, address, at_most, bare, errmsg, text, time};
use crate::results::found;

const DONE: u8 = 1;
const HALTED: u8 = 2;
const ERROR: u8 = 3;

pub(super) fn record(params: &Params, record: &ResultRecord) -> Result<Udpprobe, Untranslated> {
    let udpprobe = asked(params)?;
    let Some(body) = found::<Body>(record)? else {
        let (target, errmsg) = errmsg(record)?;
        return Ok(Udpprobe {
            dst: Some(InFull(target.into())),
            start: record.started_at.and_then(time),
            stop: Some(ERROR),
            probe_sent: Some(0),
            errmsg: Some(errmsg),
            ..udpprobe
        });
    };
    let sent: Vec<_> = body.probes.iter().filter(|probe| probe.status != Status::NotSent).collect();
    at_most(&sent, usize::from(u8::MAX), "probes of a udpprobe")?;
    let interface = body.conditions.interface.as_ref().map(|interface| Interface(text(&interface.name)));
    let first = sent.first();
    let others = sent.iter().skip(1).map(|probe| {
        let about = AboutProbe {
            tx: probe.sent_at.and_then(time),
            sport: probe.source_port,
            ..AboutProbe::default()
        };
        Ok(Other { about, replies: replies(probe, interface.as_ref())? })
    });
    let error = || body.probes.iter().find_map(|probe| probe.error.as_ref());
    Ok(Udpprobe {
        src: body.source.map(|source| InFull(address(source))),
        dst: Some(InFull(address(body.address))),
        p0_sport: first.and_then(|probe| probe.source_port),
        dport: Some(body.port),
        start: first.and_then(|probe| probe.sent_at).or(record.started_at).and_then(time),
        wait_timeout: micros(body.timeout_ns),
        stop: Some(match body.end {
            _ if sent.is_empty() => ERROR,
            Some(End::Completed | End::Enough) => DONE,
            Some(End::Cancelled) | None => HALTED,
        }),
        probe_sent: u8::try_from(sent.len()).ok(),
        errmsg: error().filter(|_| sent.is_empty()).map(|error| text(&error.name)),
        replies: first.map_or_else(|| Ok(Vec::new()), |probe| replies(probe, interface.as_ref()))?,
        others: others.collect::<Result<_, Untranslated>>()?,
        ..udpprobe
    })
}

fn asked(params: &Params) -> Result<Udpprobe, Untranslated> {
    let most = usize::from(u8::MAX);
    let many = |_| Untranslated::TooMany { form: FORM, what: "probes of a udpprobe", most };
    let digits = params.payload.as_deref().and_then(bare::hex);
    let payload = digits.or_else(|| params.text.as_ref().map(|text| text.clone().into_bytes()));
    Ok(Udpprobe {
        dport: Some(params.port),
        wait_timeout: micros(params.timeout.as_ns()),
        flags: Some(u8::from(params.exit_first)),
        data: payload.filter(|payload| !payload.is_empty()).map(Data),
        probe_count: Some(u8::try_from(params.count).map_err(many)?),
        stop_count: params.stop_after.and_then(|count| u8::try_from(count).ok()),
        sport: params.source_port,
        wait_probe: micros(params.interval.as_ns()),
        ..Udpprobe::default()
    })
}

fn micros(ns: u64) -> Option<Micros> {
    u32::try_from(bare::micros(ns)).ok().map(Micros)
}

fn replies(probe: &Probe, interface: Option<&Interface>) -> Result<Vec<Response>, Untranslated> {
    at_most(&probe.replies, usize::from(u8::MAX), "replies to a probe")?;
    let response = |reply: &Reply| Response {
        rx: time(reply.received_at),
        data: Some(Data(reply.payload.0.clone())).filter(|data| !data.0.is_empty()),
        ifname: interface.cloned(),
        ..Response::default()
    };
    Ok(probe.replies.iter().map(response).collect())
}
