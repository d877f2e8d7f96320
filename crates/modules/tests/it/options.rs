//! What is asked for is what leaves: each parameter of a packet kind in the field of the probe that it is about.

use std::cell::RefCell;
use std::rc::Rc;

use mmn_modules::{multipath, ping, tcp, trace, udp};
use mmn_probe::packet::{Body, Probe, Ttl, UdpTag, tcp_flags};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::world::{World, run};

/// The probes of a task that nobody answers.
fn probes<B: DeserializeOwned>(kind: &str, params: Value) -> Vec<Probe> {
    let seen: Rc<RefCell<Vec<Probe>>> = Rc::default();
    let by = Rc::clone(&seen);
    run(async {
        let world = World::new().echo(move |probe, _| {
            by.borrow_mut().push(probe.clone());
            Vec::new()
        });
        world.perform::<B>(kind, params, "192.0.2.1").await.unwrap();
    });
    seen.take()
}

fn merged(mut params: Value, with: &Value) -> Value {
    params.as_object_mut().unwrap().extend(with.as_object().unwrap().clone());
    params
}

/// What all packet kinds have, and the fields of the header that it is about.
fn header(probe: &Probe) -> (Option<String>, u8, Option<u16>) {
    (probe.source.map(|source| source.to_string()), probe.tos, probe.flow.selector)
}

#[test]
fn of_ping() {
    let own = json!({
        "count": 2, "interval": "10ms", "timeout": "50ms", "ttl": 9, "dscp": 46, "df": true, "source": "192.0.2.200",
    });
    let of = |with: Value| probes::<ping::Body>("ping", merged(own.clone(), &with));
    let echo = json!({ "icmp_id": 77, "icmp_checksum": 4_660, "payload": "0102030405060708", "router": "192.0.2.254" });
    let echo = of(echo);
    assert_eq!((echo.len(), echo[0].router), (2, "192.0.2.254".parse().ok()));
    assert_eq!(header(&echo[0]), (Some("192.0.2.200".to_owned()), 184, Some(77)));
    assert_eq!((echo[0].ttl, echo[0].dont_fragment), (Some(Ttl(9)), true));
    let payload = vec![1, 2, 3, 4, 5, 6, 7, 8];
    assert_eq!(echo[0].body, Body::Echo { payload: payload.clone(), checksum: Some(4_660) });
    let udp = of(json!({ "method": "udp", "port": 5_000, "source_port": 6_000, "size": 20 }));
    assert_eq!(udp[0].flow.selector, Some(6_000));
    assert!(
        matches!(&udp[0].body, Body::Udp { port: 5_000, payload, tag: UdpTag::Checksum } if payload.len() == 20)
    );
    let varied = of(json!({ "method": "udp_sport", "source_port": 6_000 }));
    assert_eq!(varied[1].flow.selector, Some(6_001));
    let tcp = json!({ "method": "tcp_ack", "port": 443, "tcp_seq": 7, "tcp_ack": 8, "payload": "0102030405060708" });
    let ack = Body::Tcp { port: 443, flags: tcp_flags::ACK, seq: Some(7), ack: Some(8), mss: None, payload };
    assert_eq!(of(tcp)[0].body, ack);
    let syn = of(json!({ "method": "tcp_syn", "mss": 1_400 }));
    assert!(matches!(syn[0].body, Body::Tcp { port: 80, flags: tcp_flags::SYN, mss: Some(1_400), .. }));
    let tos = json!({ "count": 1, "timeout": "50ms", "tos": 3, "ip_timestamp": "tsonly", "method": "icmp_timestamp" });
    let timestamp = probes::<ping::Body>("ping", tos);
    assert_eq!((timestamp[0].tos, timestamp[0].ip_options.len()), (3, 40));
    assert_eq!(timestamp[0].body, Body::Timestamp);
}

#[test]
fn of_trace() {
    let own = json!({
        "first_hop": 3, "max_ttl": 4, "attempts": 3, "timeout": "50ms", "dscp": 46, "dont_fragment": true,
        "source": "192.0.2.200", "fragment_offset": 185, "gap_limit": 0, "parallel": 1,
    });
    let of = |with: Value| probes::<trace::Body>("trace", merged(own.clone(), &with));
    let echo = of(json!({ "icmp_id": 77, "icmp_checksum": 4_660, "payload": "0102030405060708" }));
    assert_eq!(header(&echo[0]), (Some("192.0.2.200".to_owned()), 184, Some(77)));
    assert_eq!((echo[0].dont_fragment, echo[0].fragment_offset), (true, 185));
    let ttls: Vec<u8> = echo.iter().map(|probe| probe.ttl.unwrap().0).collect();
    assert_eq!(ttls, [3, 3, 3, 4, 4, 4]);
    let payload = vec![1, 2, 3, 4, 5, 6, 7, 8];
    assert!(
        echo.iter().all(|probe| probe.body == Body::Echo { payload: payload.clone(), checksum: Some(4_660) })
    );
    let udp = of(json!({ "method": "udp", "port": 5_000, "source_port": 6_000, "size": 20, "flow": 5 }));
    assert_eq!((udp[0].flow.number, udp[0].flow.selector), (5, Some(6_000)));
    assert!(
        matches!(&udp[5].body, Body::Udp { port: 5_000, payload, tag: UdpTag::Checksum } if payload.len() == 20)
    );
    let same = of(json!({ "method": "udp", "size": 20, "constant_payload": true, "router": "192.0.2.254" }));
    assert!(
        same.iter().all(|probe| probe.body == same[0].body && probe.router == "192.0.2.254".parse().ok())
    );
    assert!(matches!(same[0].body, Body::Udp { tag: UdpTag::Ports, .. }));
    let classic = of(json!({ "method": "udp", "port": 5_000, "paris": false }));
    assert!(matches!(classic[5].body, Body::Udp { port: 5_005, tag: UdpTag::Ports, .. }));
    for (method, flags) in [("tcp", tcp_flags::SYN), ("tcp_ack", tcp_flags::ACK)] {
        let segments = of(json!({ "method": method, "port": 443 }));
        assert!(segments.iter().all(|probe| matches!(
            probe.body,
            Body::Tcp { port: 443, flags: sent, seq: None, ack: None, .. } if sent == flags
        )));
    }
}

#[test]
fn of_multipath() {
    let own = json!({
        "first_hop": 2, "max_ttl": 3, "attempts": 1, "timeout": "50ms", "tos": 7, "dont_fragment": true,
        "source": "192.0.2.200", "gap_limit": 1,
    });
    let of = |with: Value| probes::<multipath::Body>("multipath", merged(own.clone(), &with));
    let udp = of(json!({ "port": 5_000, "source_port": 6_000, "size": 20, "router": "192.0.2.254" }));
    assert_eq!(udp[0].router, "192.0.2.254".parse().ok());
    assert_eq!(header(&udp[0]), (Some("192.0.2.200".to_owned()), 7, Some(6_000)));
    assert_eq!((udp[0].ttl, udp[0].dont_fragment), (Some(Ttl(2)), true));
    assert!(matches!(&udp[0].body, Body::Udp { port: 5_000, payload, .. } if payload.len() == 20));
    let echo = of(json!({ "method": "icmp", "icmp_id": 77 }));
    assert!(matches!(echo[0].body, Body::Echo { checksum: Some(_), .. }));
    assert_eq!(echo[0].flow.selector, Some(77));
    let segments = of(json!({ "method": "tcp_ack", "port": 443 }));
    assert!(matches!(segments[0].body, Body::Tcp { port: 443, flags: tcp_flags::ACK, .. }));
}

#[test]
fn of_udp_and_tcp() {
    let own = json!({ "port": 5_000, "source_port": 6_000, "ttl": 9, "dscp": 46, "source": "192.0.2.200" });
    let payload = json!({ "count": 2, "interval": "10ms", "timeout": "50ms", "payload": "0102" });
    let datagrams = probes::<udp::Body>("udp", merged(own.clone(), &payload));
    assert_eq!(header(&datagrams[1]), (Some("192.0.2.200".to_owned()), 184, Some(6_001)));
    assert_eq!(datagrams[0].ttl, Some(Ttl(9)));
    let body = Body::Udp { port: 5_000, payload: vec![1, 2], tag: UdpTag::Ports };
    assert_eq!(datagrams[0].body, body);
    let segments =
        probes::<tcp::Body>("tcp", merged(own, &json!({ "retries": 1, "rto": "50ms", "mss": 1_400 })));
    assert_eq!(segments.len(), 2);
    assert_eq!(header(&segments[1]), (Some("192.0.2.200".to_owned()), 184, Some(6_001)));
    assert_eq!((segments[0].ttl, segments[0].tcp_offer), (Some(Ttl(9)), true));
    assert!(matches!(
        segments[0].body,
        Body::Tcp { port: 5_000, flags: tcp_flags::SYN, mss: Some(1_400), .. }
    ));
}
