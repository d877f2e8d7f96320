//! `ping` against scripted echoes.

use std::net::{IpAddr, Ipv4Addr};

use mmn_kit::{Failure, Measured, Number};
use mmn_modules::ping::{Body, Status};
use mmn_modules::{AddressFamily, StampSource};
use mmn_probe::packet::{Body as ProbeBody, Probe, SendFailure};
use mmn_probe::wire::icmp::IcmpErrorKind;
use mmn_schema::outcome::Outcome;
use serde_json::{Value, json};

use crate::world::{EchoEvent, World, run};

const TARGET: &str = "192.0.2.1";
const ROUTER: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 254));

fn payload(probe: &Probe) -> Vec<u8> {
    match &probe.body {
        ProbeBody::Echo { payload, .. } => payload.clone(),
        other => panic!("{other:?}"),
    }
}

fn reply(probe: &Probe) -> EchoEvent {
    EchoEvent::Reply { from: probe.destination, payload: payload(probe) }
}

fn ping(
    params: Value,
    respond: impl Fn(&Probe) -> Vec<(u64, EchoEvent)> + 'static,
) -> Result<Measured<Body>, Failure> {
    run(async {
        let world = World::new().name("host.example", &[TARGET]).echo(move |probe, _| respond(probe));
        world.perform("ping", params, "host.example").await
    })
}

#[test]
fn replies_are_recorded_and_summed_up() {
    let measured = ping(json!({ "count": 4, "interval": "100ms" }), |probe| {
        vec![(10 * u64::from(probe.id.0 + 1), reply(probe))]
    })
    .unwrap();
    let body = measured.body;
    assert_eq!((body.sent, body.received, body.duplicates, body.loss), (4, 4, 0, 0.0));
    assert_eq!((body.target.as_str(), body.address.to_string().as_str()), ("host.example", TARGET));
    assert_eq!(body.family, AddressFamily::Ipv4);
    let rtt = body.rtt.unwrap();
    assert_eq!((rtt.min_ns, rtt.median_ns, rtt.max_ns), (10_000_000, Some(25_000_000), 40_000_000));
    let stamps = body.stamps.unwrap();
    assert_eq!((stamps.sent, stamps.received), (StampSource::User, StampSource::Kernel));
    assert_eq!(body.replies.len(), 4);
    let first = &body.replies[0];
    assert_eq!(
        (first.status, first.ttl, first.bytes, first.from),
        (Status::Replied, Some(57), Some(64), None)
    );
    assert_eq!(first.sent_at.unwrap().to_string(), "2026-11-22T00:00:00.007000000Z");
    assert_eq!(measured.answered, Some(true));
    assert_eq!(measured.summary["rtt_mean_ns"], Number::Integer(25_000_000));
    assert_eq!(measured.summary["loss"], Number::Real(0.0));
}

#[test]
fn silence_is_a_result_without_numbers_of_time() {
    let measured = ping(json!({ "count": 2 }), |_| vec![]).unwrap();
    assert_eq!(measured.answered, Some(false));
    assert_eq!(measured.body.rtt, None);
    assert_eq!(measured.body.stamps, None);
    assert!(!measured.summary.contains_key("rtt_min_ns"));
    assert_eq!(measured.summary["loss"], Number::Real(1.0));
    assert_eq!(measured.body.replies[1].status, Status::TimedOut);
}

#[test]
fn errors_duplicates_late_and_forged_replies_are_told_apart() {
    let params = json!({ "count": 4, "interval": "10ms", "timeout": "100ms" });
    let body = ping(params, |probe| match probe.id.0 {
        0 => vec![(
            5,
            EchoEvent::Error {
                from: ROUTER,
                kind: IcmpErrorKind::Prohibited { code: 13 },
                quoted: payload(probe),
            },
        )],
        1 => vec![(5, reply(probe)), (6, reply(probe))],
        2 => vec![
            (5, EchoEvent::Reply { from: ROUTER, payload: vec![0; 56] }),
            (6, EchoEvent::Reply { from: ROUTER, payload: payload(probe) }),
        ],
        _ => vec![(3, EchoEvent::ClockStepped)],
    })
    .unwrap()
    .body;
    assert_eq!((body.sent, body.received, body.errors, body.duplicates, body.unasked), (4, 2, 1, 1, 1));
    assert!((body.loss - 0.5).abs() < f64::EPSILON);
    assert!(body.clock_stepped);
    let error = body.replies[0].error.clone().unwrap();
    assert_eq!((error.name.as_str(), error.code, error.verified), ("prohibited", Some(13), Some(true)));
    assert_eq!(body.replies[0].from.unwrap().0, ROUTER);
    assert_eq!(body.replies[2].from.unwrap().0, ROUTER);
    // Two of four are lost: the median falls among them.
    assert_eq!(body.rtt.unwrap().median_ns, None);
}

#[test]
fn what_never_left_is_a_failure_with_its_reason() {
    for (reason, outcome, code) in [
        (SendFailure::NoRoute, Outcome::Failed, "no-route"),
        (SendFailure::NotPermitted, Outcome::Failed, "unprivileged"),
        (SendFailure::NoSocket, Outcome::Failed, "address-family"),
        (SendFailure::System(5), Outcome::Failed, "system"),
        (SendFailure::Forbidden, Outcome::Refused, "limits"),
    ] {
        let failure = ping(json!({}), move |_| vec![(0, EchoEvent::SendFailed(reason))]).unwrap_err();
        assert_eq!((failure.outcome, failure.reason.code.as_ref()), (outcome, code));
    }
}

#[test]
fn one_that_never_left_among_others_is_part_of_the_result() {
    let body = ping(json!({ "count": 2, "interval": "10ms" }), |probe| match probe.id.0 {
        0 => vec![(0, EchoEvent::SendFailed(SendFailure::Overrun))],
        _ => vec![(5, reply(probe))],
    })
    .unwrap()
    .body;
    assert_eq!((body.sent, body.received, body.loss), (1, 1, 0.0));
    assert_eq!(body.replies[0].status, Status::NotSent);
    assert_eq!(body.replies[0].sent_at, None);
}

#[test]
fn size_pattern_and_ttl_reach_the_wire_and_enough_is_enough() {
    let params =
        json!({ "count": 9, "size": 12, "pattern": "a1b2", "ttl": 7, "stop_after": 2, "interval": "20ms" });
    let body = ping(params, |probe| {
        let payload = payload(probe);
        assert_eq!((payload.len(), &payload[8..]), (12, &[0xa1, 0xb2, 0xa1, 0xb2][..]));
        assert_eq!(probe.ttl.unwrap().0, 7);
        vec![(5, reply(probe))]
    })
    .unwrap()
    .body;
    assert_eq!((body.sent, body.received), (2, 2));
}

#[test]
fn families_and_policies_are_the_resolvers_to_judge() {
    let failure = ping(json!({ "family": "ipv6" }), |_| vec![]).unwrap_err();
    assert_eq!((failure.outcome, failure.reason.code.as_ref()), (Outcome::Failed, "address-family"));
    let failure = run(async {
        World::new().forbid(TARGET).perform::<Body>("ping", json!({}), TARGET).await.unwrap_err()
    });
    assert_eq!((failure.outcome, failure.reason.code.as_ref()), (Outcome::Refused, "policy"));
}
