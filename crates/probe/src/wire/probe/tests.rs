use std::net::{Ipv4Addr, Ipv6Addr};

use proptest::prelude::*;

use super::*;
use crate::packet::ProbeId;
use crate::wire::{checksum, golden};

/// Any probe that can be, with its identity and its source.
pub(in crate::wire) fn probes() -> impl Strategy<Value = (Probe, Identity, IpAddr)> {
    let header =
        (any::<u8>(), prop::option::of(any::<u8>()), any::<bool>(), 0_usize..=10, any::<(u16, u128, u128)>());
    let identity = (any::<u16>(), 1_u16..);
    (any::<bool>(), header, identity, bodies()).prop_map(|(v4, header, identity, body)| {
        let (tos, ttl, dont_fragment, option_words, (flow, source, destination)) = header;
        let v4 = v4 || body == Body::Timestamp;
        let address = |number: u128| {
            let short = u32::try_from(number >> 96).unwrap();
            if v4 { IpAddr::from(short.to_be_bytes()) } else { IpAddr::from(number.to_be_bytes()) }
        };
        let probe = Probe {
            ttl: ttl.map(Ttl),
            tos,
            dont_fragment,
            ip_options: if v4 { vec![1; option_words * 4] } else { Vec::new() },
            tcp_offer: tos & 1 == 0,
            flow: Flow { number: flow, selector: None },
            ..Probe::new(ProbeId(0), address(destination), body)
        };
        let (selector, tag) = identity;
        (probe, Identity { selector, tag }, address(source))
    })
}

fn bodies() -> impl Strategy<Value = Body> {
    let payload = || prop::collection::vec(any::<u8>(), 0..60);
    let longer = || prop::collection::vec(any::<u8>(), 2..60);
    prop_oneof![
        payload().prop_map(|payload| Body::Echo { payload, checksum: None }),
        (longer(), any::<u16>())
            .prop_map(|(payload, checksum)| Body::Echo { payload, checksum: Some(checksum) }),
        Just(Body::Timestamp),
        (any::<u16>(), longer()).prop_map(|(port, payload)| Body::Udp {
            port,
            payload,
            tag: UdpTag::Checksum
        }),
        (any::<u16>(), payload()).prop_map(|(port, payload)| Body::Udp { port, payload, tag: UdpTag::Ports }),
        (any::<(u16, u8)>(), prop::option::of(any::<u32>()), any::<Option<u16>>(), payload()).prop_map(
            |((port, flags), seq, mss, payload)| Body::Tcp { port, flags, seq, ack: None, mss, payload }
        ),
    ]
}

const TARGET_V4: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const TARGET_V6: IpAddr = IpAddr::V6(Ipv6Addr::LOCALHOST);
const ID: Identity = Identity { selector: 0x1cbc, tag: 1 };

fn encoded(probe: &Probe, identity: Identity, source: IpAddr) -> Vec<u8> {
    let mut out = Vec::new();
    let departure = encode(probe, identity, source, Utc(0), &mut out).unwrap();
    assert_eq!(departure.bytes as usize, out.len());
    assert_eq!(packet_bytes(probe), out.len());
    out
}

#[test]
fn an_echo_request_is_what_iputils_sends() {
    let golden = golden::hex(golden::ECHO_REQUEST_V4);
    let body = Body::Echo { payload: golden[28..].to_vec(), checksum: None };
    let probe = Probe { dont_fragment: true, ..Probe::new(ProbeId(0), TARGET_V4, body) };
    let ours = encoded(&probe, ID, TARGET_V4);
    // They differ in the identification, which is our tag, and so in the header's checksum.
    assert_eq!((&ours[..4], &ours[6..10], &ours[12..]), (&golden[..4], &golden[6..10], &golden[12..]));
    assert_eq!(ours[4..6], [0, 1]);

    let golden = golden::hex(golden::ECHO_REQUEST_V6);
    let body = Body::Echo { payload: golden[48..].to_vec(), checksum: None };
    let probe = Probe::new(ProbeId(0), TARGET_V6, body);
    let ours = encoded(&probe, Identity { selector: 0x1cbd, ..ID }, TARGET_V6);
    // They differ in the flow label.
    assert_eq!(ours[4..], golden[4..]);
}

#[test]
fn what_can_not_be_is_refused() {
    let refused = |probe: &Probe, source: IpAddr| {
        let mut out = vec![7];
        let failure = encode(probe, ID, source, Utc(0), &mut out).unwrap_err();
        assert_eq!((failure, &out[..]), (SendFailure::Senseless, &[7][..]));
        assert_eq!(encode_transport(probe, ID, source, Utc(0), &mut out), Err(SendFailure::Senseless));
        assert_eq!(out, [7]);
    };
    let probe = |to, body| Probe::new(ProbeId(0), to, body);
    let echo = |bytes, checksum| Body::Echo { payload: vec![0; bytes], checksum };
    refused(&probe(TARGET_V4, echo(1, Some(7))), TARGET_V4);
    refused(&probe(TARGET_V4, echo(65_535 - 27, None)), TARGET_V4);
    refused(&probe(TARGET_V6, echo(65_535 - 7, None)), TARGET_V6);
    refused(&probe(TARGET_V4, echo(0, None)), TARGET_V6);
    refused(&probe(TARGET_V6, Body::Timestamp), TARGET_V6);
    refused(&probe(TARGET_V4, Body::Udp { port: 1, payload: vec![1], tag: UdpTag::Checksum }), TARGET_V4);
    for ip_options in [vec![1; 3], vec![1; 44]] {
        refused(&Probe { ip_options, ..probe(TARGET_V4, echo(0, None)) }, TARGET_V4);
    }
    refused(&Probe { ip_options: vec![1; 4], ..probe(TARGET_V6, echo(0, None)) }, TARGET_V6);
}

#[test]
fn a_timestamp_request_tells_the_time_of_day() {
    // 1970-01-03T00:00:01.5Z, and as long before 1970.
    for (utc, expected) in [(172_801_500_999_999, 1_500_u32), (-1_000_000, 86_399_999)] {
        let mut out = Vec::new();
        encode_transport(
            &Probe::new(ProbeId(0), TARGET_V4, Body::Timestamp),
            ID,
            TARGET_V4,
            Utc(utc),
            &mut out,
        )
        .unwrap();
        assert_eq!(out[8..12], expected.to_be_bytes());
        assert_eq!((out.len(), checksum::of(&out)), (20, 0));
    }
}

#[test]
fn the_numbers_of_a_segment_are_the_tag_and_a_cookie() {
    let key = Key::new([7; 16]);
    let segment = |flags| {
        let body = Body::Tcp { port: 80, flags, seq: None, ack: None, mss: Some(1460), payload: Vec::new() };
        let mut probe = Probe::new(ProbeId(0), TARGET_V4, body);
        number(&mut probe, Identity { selector: 61_000, tag: 0xabcd }, &key);
        encoded(&probe, Identity { selector: 61_000, tag: 0xabcd }, TARGET_V4)
    };
    let expected = tcp_number(Identity { selector: 61_000, tag: 0xabcd }, TARGET_V4, &key);
    assert_eq!(expected >> 16, 0xabcd);
    assert!((1..=0x7fff).contains(&(expected & 0xffff)));
    let syn = segment(tcp_flags::SYN);
    assert_eq!((&syn[24..28], &syn[28..32]), (&expected.to_be_bytes()[..], &[0; 4][..]));
    assert_eq!(syn[40..44], [2, 4, 5, 0xb4]);
    let ack = segment(tcp_flags::ACK);
    assert_eq!((&ack[24..28], &ack[28..32]), (&expected.to_be_bytes()[..], &expected.to_be_bytes()[..]));
    let other = tcp_number(Identity { selector: 61_000, tag: 0xabcd }, TARGET_V4, &Key::new([8; 16]));
    assert_ne!(expected, other);
}

#[test]
fn flows_have_labels_of_their_own() {
    let labels = |of: &dyn Fn(u16) -> (u16, u16)| {
        (0..4_000).map(|n| flow_label(Flow { number: of(n).0, selector: None }, of(n).1)).collect::<Vec<_>>()
    };
    for mut labels in [labels(&|n| (n, 61_000)), labels(&|n| (0, 61_000 + n)), labels(&|n| (n, 61_000 + n))] {
        assert!(labels.iter().all(|label| (1..0x0010_0000).contains(label)));
        labels.sort_unstable();
        labels.dedup();
        assert_eq!(labels.len(), 4_000);
    }
}

proptest! {
    #[test]
    fn every_checksum_is_right((probe, identity, source) in probes(), utc: i64) {
        let mut packet = Vec::new();
        encode(&probe, identity, source, Utc(utc), &mut packet).unwrap();
        let transport = match source {
            IpAddr::V4(_) => {
                let read = ipv4::decode(&packet).unwrap();
                prop_assert!(read.checksum_ok);
                prop_assert_eq!(read.options, &probe.ip_options[..]);
                prop_assert_eq!((read.header.id, read.header.tos), (identity.tag, probe.tos));
                prop_assert_eq!(read.header.dont_fragment, probe.dont_fragment);
                read.payload
            }
            IpAddr::V6(_) => {
                let read = ipv6::decode(&packet).unwrap();
                prop_assert_eq!(read.header.flow_label, flow_label(probe.flow, identity.selector));
                prop_assert_eq!(read.header.traffic_class, probe.tos);
                read.payload
            }
        };
        let mut alone = Vec::new();
        encode_transport(&probe, identity, source, Utc(utc), &mut alone).unwrap();
        prop_assert_eq!(&alone[..], transport);
        let with_pseudo_header = source.is_ipv6() || matches!(probe.body, Body::Udp { .. } | Body::Tcp { .. });
        let mut sum = Sum::default();
        if with_pseudo_header {
            sum = sum
                .plus_pseudo_header(source, probe.destination, transport.len(), protocol(&probe))
                .unwrap();
        }
        prop_assert_eq!(sum.plus(transport).finish(), 0);
        let field = |at: usize| u16::from_be_bytes([transport[at], transport[at + 1]]);
        match probe.body {
            Body::Echo { checksum: Some(wanted), .. } => prop_assert_eq!(field(2), wanted),
            Body::Udp { tag: UdpTag::Checksum, .. } => prop_assert_eq!(field(6), identity.tag),
            Body::Udp { .. } => prop_assert_ne!(field(6), 0),
            _ => {}
        }
    }

    #[test]
    fn only_the_last_whole_word_of_a_payload_changes(
        payload in prop::collection::vec(any::<u8>(), 2..60), identity in (any::<u16>(), 1_u16..),
    ) {
        let body = Body::Udp { port: 33434, payload: payload.clone(), tag: UdpTag::Checksum };
        let identity = Identity { selector: identity.0, tag: identity.1 };
        let packet = encoded(&Probe::new(ProbeId(0), TARGET_V6, body), identity, TARGET_V6);
        let at = payload.len() / 2 * 2 - 2;
        prop_assert_eq!(&packet[48..48 + at], &payload[..at]);
        prop_assert_eq!(&packet[48 + at + 2..], &payload[at + 2..]);
    }
}
