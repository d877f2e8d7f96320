//! `ping` against scripted echoes.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use mmn_kit::{Failure, Measured, Number};
use mmn_modules::ping::{Body, End, Method, Protocol, Status};
use mmn_modules::{AddressFamily, Lane, StampSource};
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

/// What a router says of itself beside an error: a label stack (RFC 4950) and an interface by its name (RFC 5837).
#[test]
fn what_routers_add_to_errors_is_told() {
    let objects = [
        &[0, 8, 1, 1, 0x18, 0x6d, 0x01, 1][..],
        &[0, 12, 2, 0b0000_0010, 8, b'e', b't', b'h', b'0', 0, 0, 0],
    ]
    .concat();
    let body = ping(json!({ "count": 2, "interval": "10ms", "ttl": 1 }), move |probe| {
        let (quoted, extensions) = (payload(probe), objects.clone());
        let told = EchoEvent::Expired { from: ROUTER, quoted: quoted.clone(), extensions };
        let bare = EchoEvent::Expired { from: ROUTER, quoted, extensions: vec![] };
        if probe.id.0 == 0 { vec![(5, told.clone()), (6, told)] } else { vec![(5, bare)] }
    })
    .unwrap()
    .body;
    let [labels, interface] = &body.replies[0].error.as_ref().unwrap().extensions[..] else {
        panic!("{body:?}")
    };
    assert_eq!((labels.mpls[0].label, labels.mpls[0].ttl), (100_048, 1));
    let interface = interface.interface.as_ref().unwrap();
    assert_eq!((interface.role.as_str(), interface.name.as_deref()), ("incoming", Some("eth0")));
    assert_eq!(body.replies[1].error.as_ref().unwrap().extensions, []);
}

#[test]
fn what_never_left_is_a_failure_with_its_reason() {
    for (reason, outcome, code) in [
        (SendFailure::NoRoute, Outcome::Failed, "no-route"),
        (SendFailure::NotPermitted, Outcome::Failed, "unprivileged"),
        (SendFailure::NoPingSocket, Outcome::Failed, "unprivileged"),
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

fn port(probe: &Probe) -> SocketAddr {
    match probe.body {
        ProbeBody::Udp { port, .. } | ProbeBody::Tcp { port, .. } => SocketAddr::new(probe.destination, port),
        _ => panic!("no port"),
    }
}

#[test]
fn a_result_says_how_it_was_measured() {
    let body = ping(json!({ "count": 2, "icmp_id": 77, "df": true, "dscp": 46 }), |probe| {
        assert_eq!((probe.flow.selector, probe.dont_fragment, probe.tos), (Some(77), true, 184));
        vec![(5, reply(probe))]
    })
    .unwrap()
    .body;
    let conditions = body.conditions.unwrap();
    assert_eq!((conditions.lane, conditions.stamps.received), (Lane::Simulated, StampSource::Kernel));
    let interface = conditions.interface.unwrap();
    assert_eq!((interface.name.as_str(), interface.mtu), ("sim0", 1_500));
    assert_eq!(
        (body.method, body.icmp_id, body.source_port, body.port),
        (Method::Icmp, Some(77), None, None)
    );
    assert_eq!(body.source.unwrap().to_string(), "192.0.2.200");
    assert_eq!((body.end, body.request_bytes), (Some(End::Completed), Some(84)));
    let first = &body.replies[0];
    assert_eq!((first.request_ip_id, first.ip_id, first.tos), (Some(1), Some(77), Some(0)));
}

#[test]
fn what_may_have_been_missed_is_not_lost() {
    let measured =
        ping(json!({ "count": 4, "interval": "10ms", "timeout": "50ms" }), |probe| match probe.id.0 {
            0 => vec![(5, EchoEvent::Overrun)],
            1 | 2 => vec![(5, reply(probe))],
            _ => vec![],
        })
        .unwrap();
    let body = measured.body;
    assert_eq!((body.sent, body.received, body.overrun, body.replies[0].status), (4, 2, 1, Status::Overrun));
    assert!((body.loss - 1.0 / 3.0).abs() < 1e-9, "{}", body.loss);
    assert_eq!(measured.summary["overrun"], Number::Integer(1));
}

#[test]
fn variation_and_reordering_are_told() {
    let after = [40, 10, 12, 13];
    let body = ping(json!({ "count": 4, "interval": "10ms" }), move |probe| {
        vec![(after[probe.id.0 as usize], reply(probe))]
    })
    .unwrap()
    .body;
    let (ipdv, pdv, order) = (body.ipdv.unwrap(), body.pdv.unwrap(), body.reordering.unwrap());
    assert_eq!((ipdv.pairs, ipdv.min_ns, ipdv.max_ns), (3, -30_000_000, 2_000_000));
    assert_eq!((pdv.p50_ns, pdv.max_ns), (2_000_000, 30_000_000));
    // The first came after the second and the third.
    assert_eq!((order.reordered, order.ratio, order.max_extent), (1, 0.25, Some(2)));
    assert_eq!((order.max_late_ns, order.max_offset_bytes), (Some(20_000_000), Some(112)));
    // And the fourth came after it. RFC 4737, section 5.3.
    assert_eq!((order.n_reordered, order.discontinuities, order.gaps), (vec![1, 1], 1, vec![]));
    assert_eq!(order.run_squares, 4);
    let one = ping(json!({ "count": 1 }), |probe| vec![(5, reply(probe))]).unwrap().body;
    assert!(one.ipdv.is_none() && one.pdv.is_none() && one.reordering.is_none());
}

#[test]
fn duplicates_have_their_time() {
    let params = json!({ "count": 1, "wait_duplicates": true, "timeout": "100ms" });
    let body = ping(params, |probe| {
        let elsewhere = EchoEvent::Reply { from: ROUTER, payload: payload(probe) };
        vec![(5, reply(probe)), (90, elsewhere)]
    })
    .unwrap()
    .body;
    let repeats = &body.replies[0].repeats;
    assert_eq!((body.duplicates, repeats.len()), (1, 1));
    assert_eq!((repeats[0].rtt_ns, repeats[0].from.unwrap().0), (Some(90_000_000), ROUTER));
}

#[test]
fn the_answers_of_every_protocol_are_shown() {
    let udp = ping(json!({ "method": "udp_dport", "count": 2, "port": 500, "interval": "10ms" }), |probe| {
        vec![(5, EchoEvent::Udp { from: port(probe), payload: vec![1] })]
    })
    .unwrap()
    .body;
    assert_eq!((udp.port, udp.source_port, udp.replies[1].port), (None, Some(1_000), Some(501)));
    assert_eq!((udp.replies[1].protocol, udp.received), (Some(Protocol::Udp), 2));
    let tcp = ping(json!({ "method": "tcp_syn_sport", "count": 2, "interval": "10ms" }), |probe| {
        let ack = ((probe.id.0 + 1) << 16) + 2;
        let options = &[2, 4, 5, 180];
        vec![(5, EchoEvent::Tcp { from: port(probe), flags: 0x12, seq: 9, ack, options })]
    })
    .unwrap()
    .body;
    assert_eq!((tcp.port, tcp.source_port, tcp.replies[1].source_port), (Some(80), None, Some(1_001)));
    let first = &tcp.replies[0];
    assert_eq!((first.tcp_flags.as_deref(), first.tcp_window), (Some("SA"), Some(1_024)));
    assert_eq!(first.tcp_mss, Some(1_460));
    let times = ping(json!({ "method": "icmp_timestamp", "count": 1 }), |_| {
        // The world begins at midnight; resolving takes 7 ms.
        vec![(5, EchoEvent::Timestamp { originate: 7, receive: 8, transmit: 9 })]
    })
    .unwrap()
    .body;
    assert_eq!(times.replies[0].timestamps.unwrap().transmit_ms, 9);
}

#[test]
fn routers_leave_their_addresses() {
    let body = ping(json!({ "count": 1, "record_route": true }), |probe| {
        assert_eq!(probe.ip_options.len(), 40);
        vec![(5, EchoEvent::Route { from: probe.destination, payload: payload(probe) })]
    })
    .unwrap()
    .body;
    let route: Vec<String> = body.replies[0].record_route.iter().map(ToString::to_string).collect();
    assert_eq!(route, ["198.51.100.1", "198.51.100.2"]);
}

#[test]
fn a_seed_is_recorded_and_repeats_its_schedule() {
    let times = |params: Value| {
        let body = ping(params, |probe| vec![(1, reply(probe))]).unwrap().body;
        let at: Vec<_> = body.replies.iter().map(|reply| reply.sent_at.unwrap()).collect();
        (body.seed.unwrap(), at)
    };
    let drawn = times(json!({ "schedule": "poisson", "count": 5 }));
    assert_eq!(drawn, times(json!({ "schedule": "poisson", "count": 5, "seed": drawn.0 })));
    assert_ne!(drawn.1, times(json!({ "schedule": "poisson", "count": 5, "seed": 1 })).1);
    let shifted = times(json!({ "random_start": true, "count": 2, "seed": 1 })).1;
    assert_eq!(shifted[1].since_ns(shifted[0]), Some(1_000_000_000));
}

/// RFC 8912, section 4, and none where a fixed parameter differs.
#[test]
fn a_registered_metric_is_named_where_it_is_one() {
    let fixed = json!({
        "method": "udp", "size": 100, "ttl": 255, "timeout": "3s", "random_start": true, "count": 4, "interval": "20ms",
    });
    let named = |params: Value, answer: fn(&Probe) -> EchoEvent| {
        let body =
            ping(params, move |probe| if probe.id.0 == 0 { vec![] } else { vec![(10, answer(probe))] });
        let registered = body.unwrap().body.registered;
        registered.into_iter().map(|metric| (metric.name, metric.value)).collect::<Vec<_>>()
    };
    let datagram = |probe: &Probe| EchoEvent::Udp { from: port(probe), payload: vec![] };
    let unreachable = |probe: &Probe| EchoEvent::Error {
        from: probe.destination,
        kind: IcmpErrorKind::PortUnreachable,
        quoted: vec![],
    };
    let metrics = named(fixed.clone(), datagram);
    assert_eq!(
        metrics[0],
        ("RTDelay_Active_IP-UDP-Periodic_RFC8912sec4_Seconds_95Percentile".to_owned(), 0.01)
    );
    assert_eq!(metrics[1], ("RTLoss_Active_IP-UDP-Periodic_RFC8912sec4_Percent_LossRatio".to_owned(), 25.0));
    assert_eq!(named(fixed.clone(), unreachable), []);
    for (name, value) in [
        ("size", json!(99)),
        ("ttl", json!(64)),
        ("random_start", json!(false)),
        ("dscp", json!(1)),
        ("interval", json!("21ms")),
        ("timeout", json!("2s")),
        ("ip_timestamp", json!("tsonly")),
        ("stop_after", json!(2)),
    ] {
        let mut other = fixed.clone();
        other[name] = value;
        assert_eq!(named(other, datagram), [], "{name}");
    }
}

/// RFC 8912, section 9: each request waits for the end of the one before it.
#[test]
fn a_ping_that_sends_on_receive_is_registered_too() {
    let fixed = json!({
        "payload": "5f".repeat(32), "ttl": 255, "timeout": "3s", "schedule": "send_on_receive", "count": 4,
        "interval": "100ms",
    });
    // The first is answered within the interval, the second after it, the third never.
    let respond = |probe: &Probe| match probe.id.0 {
        0 => vec![(40, reply(probe))],
        1 => vec![(250, reply(probe))],
        2 => vec![],
        _ => vec![(10, reply(probe))],
    };
    let body = ping(fixed.clone(), respond).unwrap().body;
    let at: Vec<_> = body.replies.iter().map(|reply| reply.sent_at.unwrap()).collect();
    let gaps: Vec<_> = at.windows(2).map(|pair| pair[1].since_ns(pair[0]).unwrap() / 1_000_000).collect();
    assert_eq!(gaps, [100, 250, 3_000]);
    let registered: Vec<_> =
        body.registered.iter().map(|metric| (metric.name.as_str(), metric.value)).collect();
    let expected = [
        ("RTDelay_Active_IP-ICMP-SendOnRcv_RFC8912sec9_Seconds_Mean", 0.1),
        ("RTDelay_Active_IP-ICMP-SendOnRcv_RFC8912sec9_Seconds_Min", 0.01),
        ("RTDelay_Active_IP-ICMP-SendOnRcv_RFC8912sec9_Seconds_Max", 0.25),
        ("RTLoss_Active_IP-ICMP-SendOnRcv_RFC8912sec9_Percent_LossRatio", 25.0),
    ];
    assert_eq!(registered, expected);
    for (name, value) in [
        ("schedule", json!("periodic")),
        ("payload", json!("5f".repeat(31))),
        ("ttl", json!(64)),
        ("record_route", json!(true)),
    ] {
        let mut other = fixed.clone();
        other[name] = value;
        assert_eq!(ping(other, respond).unwrap().body.registered, [], "{name}");
    }
    // Nobody answers: a loss, and no delay.
    let silent = ping(fixed, |_| vec![]).unwrap().body.registered;
    assert_eq!(silent.iter().map(|metric| metric.value).collect::<Vec<_>>(), [100.0]);
}

/// The largest result fits a message of the bus, envelope included.
#[test]
fn the_longest_ping_fits_a_message() {
    let params =
        json!({ "count": 4096, "method": "tcp_syn_sport", "source_port": 61_000, "interval": "10ms" });
    let bytes = run(async {
        let world = World::new().echo(|probe, _| {
            let ack = ((probe.id.0 + 1) << 16) + 2;
            let answer = EchoEvent::Tcp { from: port(probe), flags: 0x12, seq: 9, ack, options: &[] };
            vec![(5, answer.clone()), (6, answer)]
        });
        let measured = crate::world::prepare("ping", params).unwrap();
        let input = mmn_schema::dispatch::Input::Target("2001:db8:1111:2222:3333:4444:5555:6666".to_owned());
        let measured = measured.run(&world, &input).await.unwrap();
        mmn_schema::encoding::Encoding::Cbor.encode(&measured.body).unwrap().len()
    });
    assert!(bytes < 1_000_000, "{bytes}");
}
