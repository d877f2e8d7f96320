//! `tcp` against scripted hosts.

use std::net::SocketAddr;

use mmn_kit::{Failure, Measured, Number};
use mmn_modules::tcp::{Body, State};
use mmn_probe::packet::{Probe, SendFailure};
use mmn_probe::wire::icmp::IcmpErrorKind;
use serde_json::{Value, json};

use crate::world::{EchoEvent, World, run};

const TARGET: &str = "192.0.2.1";
/// A maximum segment size of 1460, selective acknowledgements, and a window scale of 7.
const OPTIONS: &[u8] = &[2, 4, 5, 0xb4, 4, 2, 3, 3, 7, 0, 0, 0];

fn tcp(
    params: Value,
    respond: impl Fn(&Probe) -> Vec<(u64, EchoEvent)> + 'static,
) -> Result<Measured<Body>, Failure> {
    run(async { World::new().echo(move |probe, _| respond(probe)).perform("tcp", params, TARGET).await })
}

fn segment(probe: &Probe, flags: u8) -> EchoEvent {
    let ack = ((probe.id.0 + 1) << 16) + 2;
    let from = SocketAddr::new(probe.destination, 443);
    EchoEvent::Tcp { from, flags, seq: 9, ack, options: OPTIONS }
}

#[test]
fn an_open_port_has_a_connect_time_and_an_offer() {
    let measured = tcp(json!({ "port": 443 }), |probe| vec![(25, segment(probe, 0x12))]).unwrap();
    let body = measured.body;
    assert_eq!((body.state, body.connect_ns, body.attempts.len()), (State::Open, Some(25_000_000), 1));
    let attempt = &body.attempts[0];
    let offer = attempt.offer.unwrap();
    assert_eq!((offer.mss, offer.window_scale, offer.sack_permitted), (Some(1_460), Some(7), true));
    assert_eq!((attempt.tcp_flags.as_deref(), attempt.source_port), (Some("SA"), Some(1_000)));
    assert_eq!((measured.summary["open"], measured.answered), (Number::Integer(1), Some(true)));
}

#[test]
fn closed_unreachable_and_silent_are_told_apart() {
    let state = |respond: fn(&Probe) -> Vec<(u64, EchoEvent)>| {
        let measured = tcp(json!({ "port": 443, "retries": 1, "rto": "100ms" }), respond).unwrap();
        (measured.body.state, measured.body.attempts.len(), measured.answered)
    };
    assert_eq!(state(|probe| vec![(5, segment(probe, 0x14))]), (State::Closed, 1, Some(true)));
    let unreachable = |probe: &Probe| {
        let kind = IcmpErrorKind::HostUnreachable;
        vec![(5, EchoEvent::Error { from: probe.destination, kind, quoted: vec![] })]
    };
    assert_eq!(state(unreachable), (State::Unreachable, 1, Some(false)));
    assert_eq!(state(|_| vec![]), (State::TimedOut, 2, Some(false)));
    assert_eq!(state(|_| vec![(5, EchoEvent::Overrun)]), (State::Overrun, 2, Some(false)));
}

#[test]
fn a_second_attempt_counts_from_itself() {
    let body = tcp(json!({ "port": 443 }), |probe| match probe.id.0 {
        0 => vec![],
        _ => vec![(30, segment(probe, 0x12))],
    })
    .unwrap()
    .body;
    assert_eq!((body.connect_ns, body.attempts[0].state), (Some(30_000_000), State::TimedOut));
}

#[test]
fn what_never_left_is_a_failure() {
    let failure = tcp(json!({}), |_| vec![(0, EchoEvent::SendFailed(SendFailure::NoRoute))]).unwrap_err();
    assert_eq!(failure.reason.code, "no-route");
}
