//! How a ping is performed: the machine's specification from the parameters.

use std::cell::RefCell;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use mmn_kit::{Body as Written, BulkTask, Conditions, Failure, Family, Measured, PacketKind, Wish, code};
use mmn_probe::bulk::Sample as Bulk;
use mmn_probe::cookie::Key;
use mmn_probe::packet::Ttl;
use mmn_probe::ping::{Method as Sent, Ping as Machine, Sample, Spec, TcpFields};
use mmn_probe::schedule::Schedule as Slots;
use mmn_probe::time::Nanos;

use super::bulk;
use super::check::{TCP_PORT, UDP_PORT, fill, ip_option};
use super::measured::{Found, measured};
use super::mould::Mould;
use super::{Body, Method, Params, Ping, PseudoMtu, Schedule};
use crate::shared::{family_by, hex};

/// What pings of the same parameters share.
#[derive(Debug)]
pub struct Plan {
    /// What is asked of all targets; the schedule of each where chance decides it.
    spec: Arc<Spec>,
    /// What results of the bulk lane are written with.
    mould: RefCell<Option<Mould>>,
}

impl PacketKind for Ping {
    type Machine = Machine;
    type Plan = Plan;

    fn family(params: &Params) -> Family {
        let v4 = params.method == Method::IcmpTimestamp
            || params.record_route
            || params.ip_timestamp.is_some()
            || params.source.is_some_and(|source| source.0.is_ipv4());
        match (family_by(params.family, params.router), params.source) {
            (Family::Any, _) if v4 => Family::Ipv4,
            (Family::Any, Some(_)) => Family::Ipv6,
            (family, _) => family,
        }
    }

    fn lane(params: &Params) -> Wish {
        params.lane.into()
    }

    fn bulk(params: &Params) -> Option<BulkTask> {
        bulk::task(params)
    }

    fn of_bulk(
        params: &Params,
        plan: &Plan,
        sample: &Bulk,
        conditions: &Conditions,
    ) -> Result<Measured<Written>, Failure> {
        bulk::written(params, &mut plan.mould.borrow_mut(), sample, conditions)
    }

    fn plan(params: &Params) -> Result<Plan, Failure> {
        let spec = spec(params).map_err(|error| Failure::refused(code::PARAMETERS, error))?;
        Ok(Plan { spec: Arc::new(spec), mould: RefCell::new(None) })
    }

    fn machine(params: &Params, plan: &Plan, target: IpAddr, key: [u8; 16]) -> Result<Machine, Failure> {
        let key = Key::new(key);
        let schedule = schedule(params, &key);
        let spec = if schedule == plan.spec.schedule {
            Arc::clone(&plan.spec)
        } else {
            Arc::new(Spec { schedule, ..Spec::clone(&plan.spec) })
        };
        Machine::of_many(spec, target, key).map_err(|error| Failure::refused(code::PARAMETERS, error))
    }

    fn target(machine: &Machine) -> IpAddr {
        machine.target()
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
        measured(&Found {
            params,
            input,
            target,
            samples: &samples,
            repeats: machine.repeats(),
            extensions: machine.extensions(),
            unasked: machine.unasked(),
            end: machine.end(),
            seed: machine.spec().schedule.seed(),
            pseudo_mtu: params.pseudo_mtu.map(|mtu| PseudoMtu {
                mtu,
                messages: machine.too_big_sent(),
                error: machine.too_big_failed().map(|reason| reason.to_string()),
            }),
            conditions,
        })
    }
}

/// What machines are to do, but for their target and what chance decides of their schedule.
fn spec(params: &Params) -> Result<Spec, String> {
    let bytes = |text: &String| hex(text).map(Vec::into_boxed_slice);
    let tcp = TcpFields { seq: params.tcp_seq, ack: params.tcp_ack, mss: params.mss };
    let port = if params.method.is_tcp() { TCP_PORT } else { UDP_PORT };
    Ok(Spec {
        method: method(params.method),
        count: params.count,
        interval: Nanos(params.interval.as_ns()),
        timeout: Nanos(params.timeout.as_ns()),
        payload_bytes: params.size,
        fill: params.pattern.as_deref().map_or(Ok(Vec::new()), fill)?.into(),
        payload: params.payload.as_ref().and_then(bytes),
        ttl: params.ttl.map(Ttl),
        tos: params.tos.or(params.dscp.map(|dscp| dscp << 2)).unwrap_or(0),
        dont_fragment: params.df,
        source: params.source.map(|source| source.0),
        router: params.router.map(|router| router.0),
        pseudo_mtu: params.pseudo_mtu,
        selector: params.icmp_id.or(params.source_port),
        port: params.port.unwrap_or(port),
        icmp_checksum: params.icmp_checksum,
        tcp: (tcp != TcpFields::default()).then(|| Box::new(tcp)),
        ip_option: ip_option(params)?.map(Box::new),
        stop_after: params.stop_after,
        wait_duplicates: params.wait_duplicates,
        ..Spec::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED))
    })
}

fn schedule(params: &Params, key: &Key) -> Slots {
    // Drawn where none is given: of the secret, but not showing it, and as JSON's numbers hold it.
    let seed = params.seed.unwrap_or_else(|| key.hash(b"schedule") >> 11);
    match (params.schedule, params.random_start) {
        (Schedule::Periodic, false) => Slots::Periodic,
        (Schedule::Periodic, true) => Slots::PeriodicFromRandomStart { seed },
        (Schedule::Poisson, _) => Slots::Poisson { seed },
        (Schedule::SendOnReceive, _) => Slots::SendOnReceive,
    }
}

const fn method(method: Method) -> Sent {
    match method {
        Method::Icmp => Sent::Icmp,
        Method::IcmpTimestamp => Sent::IcmpTimestamp,
        Method::Udp => Sent::Udp,
        Method::UdpDport => Sent::UdpDport,
        Method::UdpSport => Sent::UdpSport,
        Method::TcpSyn => Sent::TcpSyn,
        Method::TcpSynSport => Sent::TcpSynSport,
        Method::TcpAck => Sent::TcpAck,
        Method::TcpAckSport => Sent::TcpAckSport,
        Method::TcpSynack => Sent::TcpSynAck,
        Method::TcpRst => Sent::TcpRst,
    }
}
