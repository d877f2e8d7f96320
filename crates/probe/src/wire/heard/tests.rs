use proptest::prelude::*;

use super::*;
use crate::packet::{Body, Identity, Probe, ProbeId, SendFailure, UdpTag};
use crate::time::Utc;
use crate::wire::icmp::IcmpErrorKind;
use crate::wire::probe::{self, tests::probes};
use crate::wire::{checksum, extension, golden};

mod captured;

/// A packet with another source, destination and payload, its checksums right.
fn packet_of(packet: &[u8], from: IpAddr, to: IpAddr, protocol: u8, payload: &[u8]) -> Vec<u8> {
    let mut out = match (from, to) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            let header = ipv4::decode(packet).unwrap().header;
            let total_bytes = u16::try_from(20 + payload.len()).unwrap();
            let header = ipv4::Header { total_bytes, protocol, source, destination, ..header };
            ipv4::encode(&ipv4::Header { ttl: 60, fragment_offset: 0, ..header }).to_vec()
        }
        (IpAddr::V6(source), IpAddr::V6(destination)) => ipv6::encode(&ipv6::Header {
            traffic_class: 0,
            flow_label: 5,
            payload_bytes: u16::try_from(payload.len()).unwrap(),
            next_header: protocol,
            hop_limit: 60,
            source,
            destination,
        })
        .to_vec(),
        _ => panic!("two versions"),
    };
    let at = out.len();
    out.extend_from_slice(payload);
    let field = at
        + match protocol {
            PROTOCOL_UDP => 6,
            PROTOCOL_TCP => 16,
            _ => 2,
        };
    out[field..field + 2].fill(0);
    let mut sum = checksum::Sum::default();
    if protocol != PROTOCOL_ICMP {
        sum = sum.plus_pseudo_header(from, to, payload.len(), protocol).unwrap();
    }
    let sum = sum.plus(&out[at..]).finish();
    out[field..field + 2].copy_from_slice(&sum.to_be_bytes());
    out
}

fn upper_of(packet: &[u8]) -> (u8, &[u8]) {
    if packet[0] >> 4 == 4 {
        let read = ipv4::decode(packet).unwrap();
        return (read.header.protocol, read.payload);
    }
    let read = ipv6::decode(packet).unwrap();
    (read.header.next_header, read.payload)
}

/// What a target that answers everything answers.
fn answer(probe: &Probe, packet: &[u8], source: IpAddr) -> Vec<u8> {
    let (protocol, above) = upper_of(packet);
    let mut above = above.to_vec();
    match protocol {
        PROTOCOL_ICMP => above[0] = if above[0] == 8 { 0 } else { 14 },
        PROTOCOL_ICMPV6 => above[0] = 129,
        _ => {
            let ports = [above[2], above[3], above[0], above[1]];
            above[..4].copy_from_slice(&ports);
            if protocol == PROTOCOL_TCP {
                let segment = tcp::decode(&above).unwrap();
                let (flags, seq, ack) = (segment.header.flags, segment.header.seq, segment.header.ack);
                // RFC 9293, section 3.10.7.1: to what acknowledges, a reset that begins there; else one that acknowledges.
                let header = if flags & tcp_flags::ACK != 0 {
                    tcp::Header { flags: tcp_flags::RST, seq: ack, ack: 0, ..segment.header }
                } else {
                    let flags = tcp_flags::SYN | tcp_flags::ACK;
                    tcp::Header { flags, seq: 0x1234_5678, ack: seq.wrapping_add(1), ..segment.header }
                };
                above = tcp::encode(&header, 0).to_vec();
            }
        }
    }
    packet_of(packet, probe.destination, source, protocol, &above)
}

/// An error about a packet, which quotes so much of it above its IP header, with objects of an extension structure.
fn error(packet: &[u8], source: IpAddr, router: IpAddr, above: usize, objects: &[u8]) -> Vec<u8> {
    let header = packet.len() - upper_of(packet).1.len();
    let mut quoted = packet[..packet.len().min(header + above)].to_vec();
    let (protocol, kind) = if source.is_ipv4() { (PROTOCOL_ICMP, 11) } else { (PROTOCOL_ICMPV6, 3) };
    let mut message = vec![kind, 0, 0, 0, 0, 0, 0, 0];
    if !objects.is_empty() {
        quoted.resize(quoted.len().next_multiple_of(8).max(128), 0);
        if source.is_ipv4() {
            message[5] = u8::try_from(quoted.len() / 4).unwrap();
        } else {
            message[4] = u8::try_from(quoted.len() / 8).unwrap();
        }
    }
    message.extend(quoted);
    if !objects.is_empty() {
        let mut structure = [&[0x20, 0, 0, 0], objects].concat();
        let sum = checksum::of(&structure);
        structure[2..4].copy_from_slice(&sum.to_be_bytes());
        message.extend(structure);
    }
    packet_of(packet, router, source, protocol, &message)
}

/// What a socket without the IP header would give of a packet.
fn bare_of(packet: &[u8], from: IpAddr) -> Result<Heard<'_>, DecodeError> {
    let (number, above) = upper_of(packet);
    let (ttl, tos) = (Some(Ttl(60)), Some(0));
    match (number, from) {
        (PROTOCOL_ICMPV6, IpAddr::V6(from)) => icmp6(above, from, ttl, tos),
        (PROTOCOL_UDP, _) => transport(Protocol::Udp, above, from, ttl, tos),
        (PROTOCOL_TCP, _) => transport(Protocol::Tcp, above, from, ttl, tos),
        _ => transport(Protocol::Icmp, above, from, ttl, tos),
    }
}

fn protocol_of(body: &Body) -> Protocol {
    match body {
        Body::Udp { .. } => Protocol::Udp,
        Body::Tcp { .. } => Protocol::Tcp,
        _ => Protocol::Icmp,
    }
}

fn router(like: IpAddr) -> IpAddr {
    if like.is_ipv4() { IpAddr::from([192, 0, 2, 1]) } else { "2001:db8::1".parse().unwrap() }
}

/// A probe that passes for a later fragment (RFC 791, section 3.1: 13 bits of offset) is found in what quotes it; what
/// is one itself answers nothing.
#[test]
fn a_probe_may_pass_for_a_fragment() {
    let source = IpAddr::from([192, 0, 2, 200]);
    let to = IpAddr::from([198, 51, 100, 9]);
    let body = Body::Udp { port: 33_434, payload: vec![7; 32], tag: UdpTag::Checksum };
    let later = Probe { fragment_offset: 185, ..Probe::new(ProbeId(0), to, body) };
    let identity = Identity { selector: 61_000, tag: 77 };
    let mut bytes = Vec::new();
    probe::encode(&later, identity, source, Utc(0), &mut bytes).unwrap();
    assert_eq!(&bytes[6..8], [0, 185]);
    let error = error(&bytes, source, router(source), 8, &[]);
    let clues = packet(&error, Checksums::Unchecked).unwrap().clues;
    assert_eq!((clues.selector, clues.tag, clues.ip_id), (61_000, Some(77), Some(77)));
    assert_eq!(packet(&bytes, Checksums::Raw).unwrap_err(), DecodeError::Foreign);
    let mut refuse =
        |one: &Probe, source| probe::encode(one, identity, source, Utc(0), &mut bytes).unwrap_err();
    let beyond = Probe { fragment_offset: 8_192, ..later.clone() };
    assert_eq!(refuse(&beyond, source), SendFailure::Senseless);
    let v6 = Probe { destination: "2001:db8::9".parse().unwrap(), ..later };
    assert_eq!(refuse(&v6, "2001:db8::200".parse().unwrap()), SendFailure::Senseless);
}

fn told_by_its_numbers(body: &Body) -> bool {
    matches!(body, Body::Tcp { seq: None, .. })
}

proptest! {
    #[test]
    fn an_answer_leads_to_its_probe((probe, identity, source) in probes()) {
        let mut packet = Vec::new();
        probe::encode(&probe, identity, source, Utc(0), &mut packet).unwrap();
        let answer = answer(&probe, &packet, source);
        for checksums in [Checksums::Unchecked, Checksums::Raw, Checksums::Checked] {
            let heard = super::packet(&answer, checksums).unwrap();
            prop_assert_eq!((heard.from, heard.to), (probe.destination, Some(source)));
            prop_assert_eq!(heard.ttl, Some(Ttl(60)));
            prop_assert_eq!(heard.bytes, upper_of(&answer).1.len());
            let clues = heard.clues;
            prop_assert_eq!((clues.protocol, clues.selector), (protocol_of(&probe.body), identity.selector));
            match (&probe.body, heard.message) {
                (Body::Echo { .. }, Message::EchoReply { payload }) => {
                    prop_assert_eq!(clues.tag, Some(identity.tag));
                    prop_assert_eq!(payload, &upper_of(&packet).1[8..]);
                }
                (Body::Timestamp, Message::TimestampReply { .. }) => prop_assert_eq!(clues.tag, Some(identity.tag)),
                (Body::Udp { port, .. }, Message::Udp { source_port, payload }) => {
                    prop_assert_eq!((clues.far_port, clues.tag, source_port), (Some(*port), None, *port));
                    prop_assert_eq!(payload, &upper_of(&packet).1[8..]);
                }
                (Body::Tcp { port, flags, .. }, Message::Tcp(segment)) => {
                    prop_assert_eq!((clues.far_port, segment.source_port), (Some(*port), *port));
                    if told_by_its_numbers(&probe.body) || flags & tcp_flags::ACK != 0 {
                        prop_assert_eq!(clues.tag, Some(identity.tag));
                    }
                }
                (_, other) => panic!("{other:?}"),
            }
        }
        let bare = bare_of(&answer, probe.destination).unwrap();
        let whole = super::packet(&answer, Checksums::Raw).unwrap();
        prop_assert_eq!((bare.clues, bare.message, bare.bytes), (whole.clues, whole.message, whole.bytes));
    }

    #[test]
    fn an_error_leads_to_its_probe(
        (probe, identity, source) in probes(), above in 8_usize..120,
        objects in prop_oneof![Just(Vec::new()), prop::collection::vec(any::<u8>(), 1..40)],
    ) {
        let mut packet = Vec::new();
        probe::encode(&probe, identity, source, Utc(0), &mut packet).unwrap();
        let error = error(&packet, source, router(source), above, &objects);
        let heard = super::packet(&error, Checksums::Unchecked).unwrap();
        prop_assert_eq!(heard.from, router(source));
        let clues = heard.clues;
        prop_assert_eq!((clues.protocol, clues.selector), (protocol_of(&probe.body), identity.selector));
        prop_assert_eq!(clues.destination, Some(probe.destination));
        prop_assert_eq!(clues.ip_id, source.is_ipv4().then_some(identity.tag));
        let Message::Error(report) = heard.message else { panic!("{heard:?}") };
        prop_assert_eq!(report.extensions, &objects[..]);
        let quote = report.quote;
        prop_assert_eq!((quote.source, quote.destination), (Some(source), Some(probe.destination)));
        prop_assert_eq!((quote.tos, quote.ttl), (Some(probe.tos), Some(probe.ttl.unwrap_or(Ttl(64)))));
        prop_assert_eq!(quote.ip_bytes.map(|bytes| bytes as usize), Some(packet.len()));
        let sent = upper_of(&packet).1;
        prop_assert!(sent.ends_with(quote.payload) || quote.payload.len() < sent.len());
        match &probe.body {
            Body::Udp { port, tag, .. } => {
                if *tag == UdpTag::Checksum {
                    prop_assert_eq!(clues.tag, Some(identity.tag));
                }
                prop_assert_eq!((quote.source_port, quote.destination_port), (Some(identity.selector), Some(*port)));
            }
            Body::Tcp { port, seq, .. } => {
                if seq.is_none() {
                    prop_assert_eq!(clues.tag, Some(identity.tag));
                }
                prop_assert_eq!((clues.far_port, quote.destination_port), (Some(*port), Some(*port)));
            }
            _ => {
                prop_assert_eq!(clues.tag, Some(identity.tag));
                prop_assert_eq!(quote.checksum, Some(u16::from_be_bytes([sent[2], sent[3]])));
            }
        }
        let bare = bare_of(&error, router(source)).unwrap();
        prop_assert_eq!((bare.clues, bare.message), (clues, heard.message));
    }

    #[test]
    fn survives_any_truncation((probe, identity, source) in probes(), cut in 0_usize..200, of_error: bool) {
        let mut packet = Vec::new();
        probe::encode(&probe, identity, source, Utc(0), &mut packet).unwrap();
        let mut bytes = if of_error {
            error(&packet, source, router(source), cut, &[0, 8, 1, 1, 0, 1, 0x41, 1])
        } else {
            answer(&probe, &packet, source)
        };
        bytes.truncate(cut);
        for checksums in [Checksums::Unchecked, Checksums::Raw, Checksums::Checked] {
            let _ = super::packet(&bytes, checksums);
        }
        if bytes.len() > 40 {
            let _ = bare_of(&bytes, source);
        }
    }

    #[test]
    fn survives_any_change(
        (probe, identity, source) in probes(), changes in prop::collection::vec((0_usize..120, any::<u8>()), 0..8),
        of_error: bool,
    ) {
        let mut packet = Vec::new();
        probe::encode(&probe, identity, source, Utc(0), &mut packet).unwrap();
        let mut bytes = if of_error {
            error(&packet, source, router(source), 40, &[0, 8, 1, 1, 0, 1, 0x41, 1])
        } else {
            answer(&probe, &packet, source)
        };
        for (at, value) in changes {
            if let Some(byte) = bytes.get_mut(at) {
                *byte = value;
            }
        }
        for checksums in [Checksums::Unchecked, Checksums::Raw, Checksums::Checked] {
            if let Ok(Heard { message: Message::Error(report), .. }) = super::packet(&bytes, checksums) {
                let _ = extension::objects(report.extensions).filter_map(|object| object.known()).count();
            }
        }
    }

    #[test]
    fn survives_anything(bytes in prop::collection::vec(any::<u8>(), 0..120)) {
        for checksums in [Checksums::Unchecked, Checksums::Raw, Checksums::Checked] {
            let _ = super::packet(&bytes, checksums);
        }
        for protocol in [Protocol::Icmp, Protocol::Udp, Protocol::Tcp] {
            let _ = transport(protocol, &bytes, router(IpAddr::from([1; 4])), None, None);
            let _ = transport(protocol, &bytes, router(IpAddr::from([1; 16])), None, None);
        }
    }
}

#[test]
fn requests_and_other_messages_are_foreign() {
    for line in [golden::ECHO_REQUEST_V4, golden::ECHO_REQUEST_V6] {
        let bytes = golden::hex(line);
        assert_eq!(packet(&bytes, Checksums::Unchecked).unwrap_err(), DecodeError::Foreign);
    }
}

#[test]
fn an_echo_reply_of_linux_is_heard() {
    for (line, id) in [(golden::ECHO_REPLY_V4, 0x1cbc), (golden::ECHO_REPLY_V6, 0x1cbd)] {
        let bytes = golden::hex(line);
        let heard = packet(&bytes, Checksums::Unchecked).unwrap();
        assert_eq!((heard.clues.selector, heard.clues.tag, heard.bytes), (id, Some(1), 32));
        assert_eq!(heard.ttl, Some(Ttl(64)));
    }
}

#[test]
fn an_error_of_linux_is_heard() {
    for (line, id) in [(golden::TTL_EXCEEDED_V4, 0x1cbe), (golden::TTL_EXCEEDED_V6, 0x1cc0)] {
        let bytes = golden::hex(line);
        let heard = packet(&bytes, Checksums::Unchecked).unwrap();
        assert_eq!(
            (heard.clues.protocol, heard.clues.selector, heard.clues.tag),
            (Protocol::Icmp, id, Some(1))
        );
        let Message::Error(report) = heard.message else { panic!("{heard:?}") };
        assert_eq!((report.code, report.quote.ttl), (0, Some(Ttl(1))));
        assert_eq!(report.extensions, []);
    }
}

#[test]
fn a_wrong_checksum_is_told_to_who_asks_for_it() {
    let mut bytes = golden::hex(golden::ECHO_REPLY_V6);
    bytes[50] ^= 1;
    assert_eq!(packet(&bytes, Checksums::Unchecked).unwrap_err(), DecodeError::Checksum);
    assert!(packet(&bytes, Checksums::Checked).is_ok());
    let mut bytes = golden::hex(golden::ECHO_REPLY_V4);
    bytes[30] ^= 1;
    assert_eq!(packet(&bytes, Checksums::Raw).unwrap_err(), DecodeError::Checksum);
    assert!(packet(&bytes, Checksums::Checked).is_ok());
}

#[test]
fn eight_quoted_octets_behind_extension_headers_are_enough() {
    let identity = Identity { selector: 61_007, tag: 0x1234 };
    let to: IpAddr = "2001:db8:9::9".parse().unwrap();
    let from: IpAddr = "2001:db8::7".parse().unwrap();
    let body = Body::Udp { port: 33_434, payload: vec![0; 12], tag: UdpTag::Checksum };
    let mut packet = Vec::new();
    probe::encode(&Probe::new(crate::packet::ProbeId(0), to, body), identity, from, Utc(0), &mut packet)
        .unwrap();
    // A destination options header (RFC 8200, section 4.6) between the fixed header and UDP.
    packet[6] = 60;
    let quoted = [&packet[..40], &[17, 0, 1, 4, 0, 0, 0, 0], &packet[40..48]].concat();
    let message = [&[3, 0, 0, 0, 0, 0, 0, 0], &quoted[..]].concat();
    let IpAddr::V6(hop) = router(from) else { panic!("IPv4") };
    let heard = icmp6(&message, hop, Some(Ttl(63)), None).unwrap();
    assert_eq!((heard.clues.protocol, heard.clues.selector), (Protocol::Udp, 61_007));
    assert_eq!((heard.clues.tag, heard.clues.far_port), (Some(0x1234), Some(33_434)));
    assert_eq!(heard.clues.destination, Some(to));
}
