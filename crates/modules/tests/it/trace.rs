//! `trace` and `multipath` against scripted routers.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use mmn_kit::{Failure, Measured, Number};
use mmn_modules::trace::{MtuNoteKind, Status, StopReason};
use mmn_modules::{multipath, trace};
use mmn_probe::packet::{Body as ProbeBody, Probe, SendFailure};
use mmn_probe::wire::icmp::IcmpErrorKind;
use mmn_schema::outcome::Outcome;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::world::{EchoEvent, RESOLVE, World, prepare, run};

const TARGET: &str = "192.0.2.1";

fn router(number: u8) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(203, 0, 113, number))
}

fn payload(probe: &Probe) -> Vec<u8> {
    match &probe.body {
        ProbeBody::Echo { payload, .. } | ProbeBody::Udp { payload, .. } => payload.clone(),
        other => panic!("{other:?}"),
    }
}

fn expired(probe: &Probe, from: u8, extensions: Vec<u8>) -> EchoEvent {
    EchoEvent::Expired { from: router(from), quoted: payload(probe), extensions }
}

fn port_unreachable(probe: &Probe) -> EchoEvent {
    let kind = IcmpErrorKind::PortUnreachable;
    EchoEvent::Error { from: probe.destination, kind, quoted: payload(probe) }
}

fn reply(probe: &Probe) -> EchoEvent {
    EchoEvent::Reply { from: probe.destination, payload: payload(probe) }
}

fn perform<B: DeserializeOwned + 'static>(
    kind: &'static str,
    params: Value,
    respond: impl Fn(&Probe) -> Vec<(u64, EchoEvent)> + 'static,
) -> Result<Measured<B>, Failure> {
    run(async move {
        let world = World::new().name("host.example", &[TARGET]).echo(move |probe, _| respond(probe));
        world.perform(kind, params, "host.example").await
    })
}

#[test]
fn hops_are_recorded_and_summed_up() {
    // RFC 4950: class 1, type 1; label 16000, traffic class 0, bottom of the stack, TTL 3.
    let label = || vec![0, 8, 1, 1, 0x03, 0xe8, 0x01, 0x03];
    let measured: Measured<trace::Body> =
        perform("trace", json!({}), move |probe| match probe.ttl.unwrap().0 {
            1 => vec![(1, expired(probe, 1, vec![]))],
            2 => vec![],
            3 => vec![(30, expired(probe, 3, label())), (35, expired(probe, 3, vec![]))],
            _ => vec![(40, reply(probe))],
        })
        .unwrap();
    let body = &measured.body;
    assert_eq!((body.target.as_str(), body.address.to_string().as_str()), ("host.example", TARGET));
    assert_eq!((body.stop.reason, body.stop.ttl), (StopReason::Completed, Some(4)));
    assert_eq!(body.hops.iter().map(|hop| hop.ttl).collect::<Vec<_>>(), [1, 2, 3, 4]);
    assert!(body.hops[1].probes.iter().all(|probe| probe.status == Status::TimedOut));
    let third = &body.hops[2].probes[0];
    let answer = third.reply.as_ref().unwrap();
    assert_eq!((answer.from.0, answer.name.as_str(), answer.verified), (router(3), "ttl_exceeded", true));
    assert_eq!((answer.icmp_type, answer.icmp_code, answer.rtt_ns), (Some(11), Some(0), Some(30_000_000)));
    assert_eq!((answer.quote.as_ref().unwrap().ttl, third.duplicates), (Some(1), 1));
    let label = answer.extensions[0].mpls[0];
    assert_eq!((label.label, label.ttl, label.bottom), (16_000, 3, true));
    assert_eq!(body.hops[3].probes[0].reply.as_ref().unwrap().name, "echo_reply");
    assert_eq!(measured.answered, Some(true));
    assert_eq!(measured.summary["hops"], Number::Integer(4));
    assert_eq!(measured.summary["silent"], Number::Integer(1));
    assert_eq!(measured.summary["reached"], Number::Integer(1));
    assert_eq!(measured.summary["rtt_ns"], Number::Integer(40_000_000));
    assert!(!measured.summary.contains_key("mtu_bytes"));
}

/// A router at each TTL below 6, and the target behind them.
fn along(probe: &Probe) -> Vec<(u64, EchoEvent)> {
    let ttl = probe.ttl.unwrap().0;
    if ttl < 6 { vec![(1, expired(probe, ttl, vec![]))] } else { vec![(2, reply(probe))] }
}

#[test]
fn stop_sets_end_both_ways_and_the_result_says_which() {
    let ask = |more: Value| {
        let mut params = json!({
            "first_hop": 3, "parallel": 1, "doubletree": true, "local_stop_set": "stop_sets_end_both_ways",
        });
        params.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        perform::<trace::Body>("trace", params, along).unwrap().body
    };
    let body = ask(json!({}));
    assert_eq!(body.hops.iter().map(|hop| hop.ttl).collect::<Vec<_>>(), [1, 2, 3, 4, 5, 6]);
    assert!(body.hops.iter().all(|hop| hop.probes.len() == 1));
    let tree = body.doubletree.unwrap();
    assert_eq!((tree.first_hop, tree.local_stop, tree.global_stop), (3, None, None));
    // The same set knows the first hop now.
    let body = ask(json!({ "global_stop_set": ["203.0.113.5"] }));
    assert_eq!(body.hops.iter().map(|hop| hop.ttl).collect::<Vec<_>>(), [3, 4, 5]);
    assert_eq!((body.stop.reason, body.stop.ttl), (StopReason::GlobalStopSet, Some(5)));
    let tree = body.doubletree.unwrap();
    let at = |ttl| Some(trace::StoppedAt { ttl, address: router(ttl).into() });
    assert_eq!((tree.local_stop, tree.global_stop), (at(3), at(5)));
    assert_eq!(tree.local_stop_set.as_deref(), Some("stop_sets_end_both_ways"));
    // Emptied, it has it all to learn again; once.
    assert_eq!(ask(json!({ "local_stop_set_epoch": 1 })).hops.len(), 6);
    assert_eq!(ask(json!({ "local_stop_set_epoch": 1 })).hops.len(), 4);
    assert_eq!(ask(json!({ "local_stop_set_epoch": 2, "no_backward": true })).hops.len(), 4);
}

#[test]
fn certainty_is_told_and_costs_probes() {
    let body = perform::<trace::Body>("trace", json!({ "confidence": 99 }), along).unwrap().body;
    assert_eq!((body.confidence, body.hops.len()), (Some(99.0), 6));
    assert!(body.hops.iter().all(|hop| hop.probes.len() == 8));
}

#[test]
fn a_path_that_ends_early_is_a_result() {
    let measured: Measured<trace::Body> = perform("trace", json!({ "gap_limit": 2 }), |probe| {
        if probe.ttl.unwrap().0 == 1 { vec![(1, expired(probe, 1, vec![]))] } else { vec![] }
    })
    .unwrap();
    assert_eq!((measured.answered, measured.body.stop.reason), (Some(false), StopReason::GapLimit));
    assert_eq!(measured.body.hops.len(), 1);
    assert_eq!(measured.summary["hops"], Number::Integer(1));
    assert!(!measured.summary.contains_key("rtt_ns"));

    let behind = json!({ "gap_limit": 3, "last_ditch": true });
    let measured: Measured<trace::Body> = perform("trace", behind, |probe| match probe.ttl.unwrap().0 {
        1 => vec![(1, expired(probe, 1, vec![]))],
        255 => vec![(2, reply(probe))],
        _ => vec![],
    })
    .unwrap();
    let body = measured.body;
    assert_eq!((body.stop.reason, body.hops.len(), body.last_ditch.len()), (StopReason::GapLimit, 1, 1));
    let answer = body.last_ditch[0].reply.as_ref().unwrap();
    assert_eq!((answer.name.as_str(), answer.rtt_ns), ("echo_reply", Some(2_000_000)));
    assert_eq!((measured.answered, measured.summary["hops"]), (Some(false), Number::Integer(1)));

    let measured: Measured<trace::Body> = perform("trace", json!({}), |probe| {
        if probe.ttl.unwrap().0 == 1 {
            return vec![(1, expired(probe, 1, vec![]))];
        }
        let kind = IcmpErrorKind::HostUnreachable;
        vec![(2, EchoEvent::Error { from: router(2), kind, quoted: payload(probe) })]
    })
    .unwrap();
    let stop = measured.body.stop;
    assert_eq!((stop.reason, stop.ttl), (StopReason::Unreachable, Some(2)));
    assert_eq!(stop.error.as_deref(), Some("host_unreachable"));
}

#[test]
fn the_paths_mtu_is_found() {
    let measured: Measured<trace::Body> = perform("trace", json!({ "pmtud": true }), |probe| {
        let size = payload(probe).len() + 28;
        match probe.ttl.unwrap().0 {
            1 => vec![(1, expired(probe, 1, vec![]))],
            _ if size > 1_400 => {
                let kind = IcmpErrorKind::TooBig { mtu: Some(1_400) };
                vec![(2, EchoEvent::Error { from: router(1), kind, quoted: payload(probe) })]
            }
            _ => vec![(2, reply(probe))],
        }
    })
    .unwrap();
    let mtu = measured.body.mtu.unwrap();
    assert_eq!((mtu.mtu, mtu.ttl, mtu.probes.len()), (Some(1_400), 2, 2));
    assert_eq!((mtu.notes[0].kind, mtu.notes[0].mtu), (MtuNoteKind::TooBig, Some(1_400)));
    assert_eq!(measured.summary["mtu_bytes"], Number::Integer(1_400));
    assert!(measured.body.hops.iter().all(|hop| hop.probes.len() == 1));
}

#[test]
fn ways_are_a_graph() {
    let measured: Measured<multipath::Body> = perform("multipath", json!({ "confidence": 99 }), |probe| {
        let ProbeBody::Udp { port, .. } = probe.body else { panic!() };
        match probe.ttl.unwrap().0 {
            1 => vec![(1, expired(probe, 1, vec![]))],
            2 => vec![(2, expired(probe, 2 + u8::try_from(port % 2).unwrap(), vec![]))],
            _ => vec![(3, port_unreachable(probe))],
        }
    })
    .unwrap();
    let body = &measured.body;
    assert_eq!((body.stop.reason, measured.answered), (multipath::StopReason::Completed, Some(true)));
    assert_eq!((body.nodes.len(), body.links.len()), (5, 5));
    let first = body.nodes.iter().find(|node| node.ttl == 1).unwrap();
    assert_eq!((first.balancer, first.incomplete), (Some(multipath::Balancer::PerFlow), false));
    assert_eq!(body.diamonds, [multipath::Diamond { from_ttl: 1, to_ttl: Some(3), width: 2 }]);
    let probes: usize = body.links.iter().map(|link| link.probes.len()).sum();
    assert_eq!((probes, body.unanswered.len()), (body.sent as usize, 0));
    assert_eq!(measured.summary["nodes"], Number::Integer(4));
    assert_eq!(measured.summary["links"], Number::Integer(4));
    assert_eq!(measured.summary["width"], Number::Integer(2));
    assert_eq!(measured.summary["rtt_ns"], Number::Integer(3_000_000));
}

/// Performs a kind in a world whose routers have names, the one of the fifth hop not before `late`. Gives what was asked, too.
fn named<B: DeserializeOwned + 'static>(
    kind: &'static str,
    params: Value,
    late: Duration,
    deadline: Duration,
) -> (B, Vec<IpAddr>, usize) {
    run(async move {
        let world = World::new().deadline_in(deadline).echo(|probe, _| along(probe));
        let world = world.pointer(router(1), "r1.example", RESOLVE).pointer(router(5), "r5.example", late);
        let body = world.perform(kind, params, TARGET).await.unwrap().body;
        let (asked, at_a_time) = world.asked();
        (body, asked, at_a_time)
    })
}

/// The names of the hops.
fn names(body: &trace::Body) -> Vec<Option<&str>> {
    let replies = body.hops.iter().map(|hop| hop.probes[0].reply.as_ref().unwrap());
    replies.map(|reply| reply.from_name.as_deref()).collect()
}

const HOUR: Duration = Duration::from_secs(3_600);

#[test]
fn routers_are_asked_for_by_name_once_each() {
    let twice = json!({ "names": true, "all_attempts": true });
    let (body, asked, at_a_time) = named::<trace::Body>("trace", twice, RESOLVE, HOUR);
    assert_eq!(names(&body), [Some("r1.example"), None, None, None, Some("r5.example"), None]);
    assert_eq!(body.hops[0].probes[1].reply.as_ref().unwrap().from_name.as_deref(), Some("r1.example"));
    let distinct: BTreeSet<&IpAddr> = asked.iter().collect();
    assert_eq!((asked.len(), distinct.len(), at_a_time), (6, 6, 6));
    let (body, asked, _) = named::<trace::Body>("trace", json!({}), RESOLVE, HOUR);
    assert_eq!((names(&body), asked), (vec![None; 6], vec![]));

    let (body, asked, _) =
        named::<multipath::Body>("multipath", json!({ "names": true, "method": "icmp" }), RESOLVE, HOUR);
    let names: Vec<Option<&str>> = body.nodes.iter().map(|node| node.name.as_deref()).collect();
    assert_eq!(names, [None, Some("r1.example"), None, None, None, Some("r5.example"), None]);
    assert_eq!(asked.len(), 6);
}

#[test]
fn a_name_that_is_late_keeps_no_result() {
    // Later than names may take, and than the task may.
    for (late, deadline) in [(6, 3_600), (3, 2)] {
        let (late, deadline) = (Duration::from_secs(late), Duration::from_secs(deadline));
        let (body, asked, _) = named::<trace::Body>("trace", json!({ "names": true }), late, deadline);
        assert_eq!(names(&body), [Some("r1.example"), None, None, None, None, None]);
        assert_eq!(asked.len(), 6);
    }
    // No time is left to ask at all.
    let deadline = Duration::from_millis(150);
    let (body, asked, _) = named::<trace::Body>("trace", json!({ "names": true }), RESOLVE, deadline);
    assert_eq!((names(&body), asked), (vec![None; 6], vec![]));
}

#[test]
fn names_that_are_many_are_asked_for_a_few_at_a_time() {
    let (asked, at_a_time) = run(async {
        let world = World::new().echo(|probe, _| match probe.ttl.unwrap().0 {
            ttl @ ..40 => vec![(1, expired(probe, ttl, vec![]))],
            _ => vec![(2, reply(probe))],
        });
        let params = json!({ "names": true, "max_ttl": 40 });
        world.perform::<trace::Body>("trace", params, TARGET).await.unwrap();
        world.asked()
    });
    assert_eq!((asked.len(), at_a_time), (40, 16));
}

#[test]
fn what_asks_for_names_takes_a_future() {
    for kind in ["trace", "multipath"] {
        assert!(prepare(kind, json!({})).unwrap().driven().is_some());
        assert!(prepare(kind, json!({ "names": true })).unwrap().driven().is_none());
    }
}

#[test]
fn what_never_left_is_a_failure_with_its_reason() {
    for kind in ["trace", "multipath"] {
        for (reason, outcome, code) in [
            (SendFailure::NoRoute, Outcome::Failed, "no-route"),
            (SendFailure::Unprivileged, Outcome::Failed, "unprivileged"),
            (SendFailure::NoPingSocket, Outcome::Failed, "unprivileged"),
            (SendFailure::NoSocket, Outcome::Failed, "address-family"),
            (SendFailure::Source, Outcome::Refused, "parameters"),
            (SendFailure::Forbidden, Outcome::Refused, "limits"),
        ] {
            let respond = move |_: &Probe| vec![(0, EchoEvent::SendFailed(reason))];
            let failure = perform::<Value>(kind, json!({}), respond).unwrap_err();
            assert_eq!((failure.outcome, failure.reason.code.as_ref()), (outcome, code), "{kind}");
        }
    }
}
