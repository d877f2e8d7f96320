//! `udp` against scripted services.

use std::net::{IpAddr, SocketAddr};

use mmn_kit::{Failure, Measured, Number};
use mmn_modules::ping::End;
use mmn_modules::udp::{Body, Status};
use mmn_probe::packet::{Body as ProbeBody, Probe, SendFailure};
use mmn_probe::wire::icmp::IcmpErrorKind;
use serde_json::{Value, json};

use crate::world::{EchoEvent, World, run};

const TARGET: &str = "192.0.2.1";

fn udp(
    params: Value,
    respond: impl Fn(&Probe) -> Vec<(u64, EchoEvent)> + 'static,
) -> Result<Measured<Body>, Failure> {
    run(async { World::new().echo(move |probe, _| respond(probe)).perform("udp", params, TARGET).await })
}

fn datagram(payload: &[u8]) -> EchoEvent {
    EchoEvent::Udp { from: SocketAddr::new(TARGET.parse().unwrap(), 53), payload: payload.to_vec() }
}

#[test]
fn payloads_go_out_and_replies_come_back() {
    let params = json!({ "port": 53, "text": "hi", "count": 2, "wait_replies": true, "source_port": 61_000 });
    let measured = udp(params, |probe| {
        assert!(matches!(&probe.body, ProbeBody::Udp { port: 53, payload, .. } if payload == b"hi"));
        vec![(10, datagram(b"one")), (20, datagram(b"two"))]
    })
    .unwrap();
    let body = measured.body;
    assert_eq!((body.sent, body.received, body.replies, body.payload_bytes), (2, 2, 4, 2));
    assert_eq!((body.end, body.loss, body.probes[1].source_port), (Some(End::Completed), 0.0, Some(61_001)));
    let reply = &body.probes[0].replies[1];
    assert_eq!((reply.payload.0.as_slice(), reply.rtt_ns, reply.bytes), (&b"two"[..], Some(20_000_000), 3));
    assert_eq!((reply.ttl, reply.truncated, reply.from), (Some(57), false, None));
    assert_eq!(measured.summary["replies"], Number::Integer(4));
    assert_eq!(measured.answered, Some(true));
}

#[test]
fn errors_and_silence_are_told_apart() {
    let params = json!({ "port": 53, "payload": "00ff", "count": 3, "interval": "10ms", "timeout": "50ms" });
    let router: IpAddr = "192.0.2.254".parse().unwrap();
    let measured = udp(params, move |probe| match probe.id.0 {
        0 => vec![(
            5,
            EchoEvent::Error { from: router, kind: IcmpErrorKind::PortUnreachable, quoted: vec![0, 0xff] },
        )],
        1 => vec![(5, EchoEvent::Overrun)],
        _ => vec![(
            45,
            EchoEvent::Error { from: router, kind: IcmpErrorKind::PortUnreachable, quoted: vec![1] },
        )],
    })
    .unwrap();
    let body = measured.body;
    let status: Vec<Status> = body.probes.iter().map(|probe| probe.status).collect();
    assert_eq!(status, [Status::Error, Status::Overrun, Status::TimedOut]);
    assert_eq!(body.probes[0].error.as_ref().unwrap().name, "port_unreachable");
    assert_eq!((body.probes[0].from.unwrap().0, body.errors, body.unasked), (router, 1, 1));
    assert_eq!((body.loss, body.overrun, measured.answered), (1.0, 1, Some(false)));
}

#[test]
fn the_first_reply_can_be_enough() {
    let body = udp(json!({ "port": 53, "count": 9, "exit_first": true }), |_| vec![(5, datagram(b"x"))]);
    let body = body.unwrap().body;
    assert_eq!((body.sent, body.end), (1, Some(End::Enough)));
}

#[test]
fn what_never_left_is_a_failure() {
    let failure =
        udp(json!({}), |_| vec![(0, EchoEvent::SendFailed(SendFailure::Unprivileged))]).unwrap_err();
    assert_eq!(failure.reason.code, "unprivileged");
}
