//! How a connection is attempted: the machine's specification from the parameters, and the result from the machine.

use std::net::IpAddr;

use mmn_kit::{Conditions, Failure, Family, Measured, PacketKind, Timestamp, Wish, summary};
use mmn_probe::packet::Ttl;
use mmn_probe::ping;
use mmn_probe::tcp::{self, Fate, Spec, Tcp as Machine};
use mmn_probe::time::Nanos;
use mmn_probe::wire::tcp as wire;

use super::{Attempt, Body, Offer, Params, State, Tcp};
use crate::ping::{icmp_error, nothing_left, send_error, tcp_flags};

impl PacketKind for Tcp {
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

    fn machine(params: &Params, (): &(), target: IpAddr, _: [u8; 16]) -> Result<Machine, Failure> {
        Ok(Machine::new(Spec {
            retries: params.retries,
            rto: Nanos(params.rto.as_ns()),
            source_port: params.source_port,
            source: params.source.map(|source| source.0),
            ttl: params.ttl.map(Ttl),
            tos: params.dscp.unwrap_or(0) << 2,
            mss: params.mss,
            ..Spec::new(target, params.port)
        }))
    }

    fn source(machine: &Machine) -> Option<IpAddr> {
        machine.attempts().find_map(|attempt| attempt.departure).and_then(|departure| departure.source)
    }

    fn measured(
        params: &Params,
        input: &str,
        target: IpAddr,
        machine: &Machine,
        conditions: &Conditions,
    ) -> Result<Measured<Body>, Failure> {
        let attempts: Vec<tcp::Attempt> = machine.attempts().collect();
        if attempts.iter().all(|attempt| attempt.sent.is_none()) {
            let fates: Vec<ping::Fate> = attempts.iter().filter_map(not_sent).collect();
            return Err(nothing_left(&fates));
        }
        let (state, rtt) = verdict(&attempts);
        let unasked = machine.unasked();
        let departure = attempts.iter().find_map(|attempt| attempt.departure);
        let body = Body {
            target: input.to_owned(),
            address: target.into(),
            family: target.into(),
            port: params.port,
            source: departure.and_then(|departure| departure.source).map(Into::into),
            state,
            connect_ns: rtt.filter(|_| state == State::Open),
            rtt_ns: rtt,
            unasked: unasked.foreign + unasked.unknown,
            clock_stepped: attempts.iter().any(|attempt| attempt.clock_stepped),
            conditions: conditions.into(),
            attempts: attempts.iter().map(|one| attempt(one, target)).collect(),
        };
        let left = attempts.iter().filter(|attempt| attempt.sent.is_some()).count();
        let summary = summary([
            ("open", Some(u32::from(state == State::Open).into())),
            ("closed", Some(u32::from(state == State::Closed).into())),
            ("attempts", Some(u32::try_from(left).unwrap_or(u32::MAX).into())),
            ("connect_ns", body.connect_ns.map(Into::into)),
            ("rtt_ns", body.rtt_ns.map(Into::into)),
        ]);
        let answered = matches!(state, State::Open | State::Closed);
        Ok(Measured { answered: Some(answered), summary, body })
    }
}

/// What all attempts together say: what answered one of them, else how the last of them ended that did; what may have
/// been missed leaves no certainty.
fn verdict(attempts: &[tcp::Attempt]) -> (State, Option<u64>) {
    let answered = attempts.iter().find(|attempt| attempt.fate.arrival().is_some());
    if let Some(attempt) = answered {
        return (state(&attempt.fate), attempt.rtt.map(|rtt| rtt.0));
    }
    if attempts.iter().any(|attempt| attempt.fate == Fate::Overrun) {
        return (State::Overrun, None);
    }
    (attempts.last().map_or(State::Cancelled, |attempt| state(&attempt.fate)), None)
}

const fn state(fate: &Fate) -> State {
    match fate {
        Fate::Open(_) => State::Open,
        Fate::Closed(_) => State::Closed,
        Fate::Unreachable(_) => State::Unreachable,
        Fate::TimedOut => State::TimedOut,
        Fate::Overrun => State::Overrun,
        Fate::NotSent(_) => State::NotSent,
        _ => State::Cancelled,
    }
}

const fn not_sent(attempt: &tcp::Attempt) -> Option<ping::Fate> {
    match attempt.fate {
        Fate::NotSent(reason) => Some(ping::Fate::NotSent(reason)),
        _ => None,
    }
}

fn attempt(attempt: &tcp::Attempt, target: IpAddr) -> Attempt {
    let arrival = attempt.fate.arrival();
    let handshake = match &attempt.fate {
        Fate::Open(handshake) | Fate::Closed(handshake) => Some(handshake),
        _ => None,
    };
    // An ordinary user's socket shows no options, and a SYN without any is rare: absent is what is not known.
    let offered = handshake.filter(|handshake| !handshake.options.is_empty());
    let offer = offered.map(|handshake| wire::Offer::of(&handshake.options));
    let elsewhere = |from: IpAddr| Some(from).filter(|from| *from != target).map(Into::into);
    Attempt {
        state: state(&attempt.fate),
        sent_at: attempt.sent.map(|stamp| Timestamp::from_unix_ns(stamp.utc.0)),
        source_port: attempt.departure.map(|departure| departure.identity.selector),
        request_ip_id: attempt.departure.and_then(|departure| departure.ip_id),
        rtt_ns: attempt.rtt.map(|rtt| rtt.0),
        from: arrival.and_then(|arrival| elsewhere(arrival.from)),
        ttl: arrival.and_then(|arrival| arrival.ttl).map(|ttl| ttl.0),
        tos: arrival.and_then(|arrival| arrival.tos),
        ip_id: arrival.and_then(|arrival| arrival.ip_id),
        tcp_flags: handshake.map(|handshake| tcp_flags(handshake.flags)),
        tcp_window: handshake.and_then(|handshake| handshake.window),
        offer: offer.filter(|_| matches!(attempt.fate, Fate::Open(_))).map(|offer| Offer {
            mss: offer.mss,
            window_scale: offer.window_scale,
            sack_permitted: offer.sack_permitted,
            timestamp: offer.timestamp,
        }),
        error: match &attempt.fate {
            Fate::Unreachable(report) => Some(icmp_error(report)),
            Fate::NotSent(reason) => Some(send_error(*reason)),
            _ => None,
        },
    }
}
