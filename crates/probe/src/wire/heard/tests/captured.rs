//! Packets of other implementations, as [`golden::probes`] has them.

use super::*;
use crate::packet::tcp_flags::{ACK, RST, SYN};
use crate::packet::{Flow, ProbeId};
use crate::wire::golden::probes as captured;

fn heard(bytes: &[u8]) -> Heard<'_> {
    let heard = packet(bytes, Checksums::Unchecked).unwrap();
    let raw = packet(bytes, Checksums::Raw).unwrap();
    assert_eq!((raw.clues, raw.message), (heard.clues, heard.message));
    heard
}

fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

#[test]
fn errors_about_probes_of_traceroute_and_mtr() {
    use IcmpErrorKind::{PortUnreachable, TtlExceeded};
    let (router4, router6) = ("10.77.0.2", "2001:db8:77::2");
    let (target4, target6) = ("10.78.0.2", "2001:db8:78::2");
    let (udp, tcp, icmp) = (Protocol::Udp, Protocol::Tcp, Protocol::Icmp);
    for (line, from, kind, protocol, selector, tag, far_port) in [
        (captured::UDP_TTL_EXCEEDED_V4, router4, TtlExceeded, udp, 0xb4ad, 0xbeb3, Some(0x829a)),
        (captured::UDP_UNREACHABLE_V4, target4, PortUnreachable, udp, 0xd83b, 0x9b24, Some(0x829b)),
        (captured::UDP_TTL_EXCEEDED_V6, router6, TtlExceeded, udp, 0xaf34, 0x7c66, Some(0x829a)),
        (captured::UDP_UNREACHABLE_V6, target6, PortUnreachable, udp, 0xe938, 0x4261, Some(0x829b)),
        (captured::TCP_TTL_EXCEEDED_V4, router4, TtlExceeded, tcp, 0xab1d, 0x2f74, Some(81)),
        (captured::TCP_TTL_EXCEEDED_V6, router6, TtlExceeded, tcp, 0xd269, 0xe3b2, Some(80)),
        (captured::MTR_TTL_EXCEEDED_V4, router4, TtlExceeded, icmp, 0x4cdb, 0x80e8, None),
    ] {
        let bytes = golden::hex(line);
        let heard = heard(&bytes);
        assert_eq!(heard.from, address(from));
        let clues = heard.clues;
        assert_eq!((clues.protocol, clues.selector, clues.tag), (protocol, selector, Some(tag)), "{line}");
        assert_eq!(clues.far_port, far_port);
        let to = address(if heard.from.is_ipv4() { target4 } else { target6 });
        assert_eq!(clues.destination, Some(to));
        let Message::Error(report) = heard.message else { panic!("{heard:?}") };
        assert_eq!((report.kind, report.quote.ttl), (kind, Some(Ttl(1))));
        assert_eq!((report.quote.destination_port, report.extensions), (far_port, &[][..]));
        assert_eq!(report.quote.source_port, far_port.map(|_| selector));
    }
}

/// What a packet of [`golden::extensions`] says: the octets that it quotes, and its objects.
fn extended(line: &str) -> (usize, Vec<String>) {
    let bytes = golden::hex(line);
    let heard = heard(&bytes);
    let Message::Error(report) = heard.message else { panic!("{heard:?}") };
    assert_eq!(report.kind, IcmpErrorKind::TtlExceeded);
    let objects = extension::objects(report.extensions).map(|object| match object.known() {
        Some(extension::Known::Mpls(labels)) => format!("{:?}", labels.collect::<Vec<_>>()),
        known => format!("{known:?}"),
    });
    (report.quote.payload.len(), objects.collect())
}

#[test]
fn extensions_as_another_implementation_lays_them_out() {
    use extension::{Interface, Known, Label, Role};
    let labels = [
        Label { label: 100_048, traffic_class: 0, bottom: false, ttl: 1 },
        Label { label: 100_016, traffic_class: 5, bottom: true, ttl: 254 },
    ];
    let incoming = Interface {
        role: Role::Incoming,
        index: Some(7),
        address: Some(address("192.0.2.9")),
        name: Some(b"ge-0/0/1"),
        mtu: Some(1500),
    };
    let outgoing = Interface {
        role: Role::Outgoing,
        index: Some(9),
        address: Some(address("2001:db8::5")),
        name: None,
        mtu: None,
    };
    // The padding of the quote is no part of the datagram: its IP header tells its length.
    let (quoted, objects) = extended(golden::extensions::MPLS_AND_INTERFACE_V4);
    assert_eq!(objects, [format!("{labels:?}"), format!("{:?}", Some(Known::Interface(incoming)))]);
    assert_eq!(quoted, 32);
    let (quoted, objects) = extended(golden::extensions::MPLS_AND_INTERFACE_V6);
    assert_eq!(objects, [format!("{labels:?}"), format!("{:?}", Some(Known::Interface(outgoing)))]);
    assert_eq!(quoted, 32);
}

#[test]
fn the_quote_of_a_udp_probe_shows_its_payload() {
    let bytes = golden::hex(captured::UDP_TTL_EXCEEDED_V4);
    let Message::Error(report) = heard(&bytes).message else { panic!("no error") };
    let sent = golden::hex(captured::UDP_TRACE_V4);
    assert_eq!(report.quote.payload, &sent[28..]);
    assert_eq!((report.quote.ip_bytes, report.quote.ip_id), (Some(60), Some(0x2fce)));
    assert_eq!(report.quote.checksum, Some(0xbeb3));
}

#[test]
fn a_router_tells_the_size_of_its_next_link() {
    for (line, selector, tag) in [(captured::TOO_BIG_V4, 0x4fd0, 1), (captured::TOO_BIG_V6, 0x4fd8, 1)] {
        let bytes = golden::hex(line);
        let heard = packet(&bytes, Checksums::Checked).unwrap();
        assert_eq!((heard.clues.selector, heard.clues.tag), (selector, Some(tag)));
        let Message::Error(report) = heard.message else { panic!("{heard:?}") };
        assert_eq!(report.kind, IcmpErrorKind::TooBig { mtu: Some(1300) });
        let expected = if heard.from.is_ipv4() { 1428 } else { 1448 };
        assert_eq!(report.quote.ip_bytes, Some(expected));
    }
}

#[test]
fn segments_that_answer_lead_to_their_probes() {
    for (line, flags, selector, far_port, number) in [
        (captured::TCP_RESET_V4, RST | ACK, 0xecfd, 81, 0x876c_b304),
        (captured::TCP_SYN_ACK_V4, SYN | ACK, 0xb809, 80, 0x9bba_bb15),
        (captured::TCP_RESET_OF_ACK_V4, RST, 0x7aa7, 80, 0x2fcd_8e79_u32),
        (captured::TCP_RESET_V6, RST | ACK, 0x8bb7, 81, 0x8d0b_a6f4),
        (captured::TCP_SYN_ACK_V6, SYN | ACK, 0xb25f, 80, 0x9686_0375),
    ] {
        let bytes = golden::hex(line);
        let heard = heard(&bytes);
        let clues = heard.clues;
        assert_eq!((clues.protocol, clues.selector), (Protocol::Tcp, selector), "{line}");
        assert_eq!((clues.far_port, clues.number), (Some(far_port), Some(number)), "{line}");
        assert_eq!(clues.tag.map(u32::from), Some(number >> 16));
        let Message::Tcp(segment) = heard.message else { panic!("{heard:?}") };
        assert_eq!(segment.flags, flags);
    }
}

#[test]
fn the_options_of_linux_are_read() {
    let bytes = golden::hex(captured::TCP_SYN_ACK_V4);
    let Message::Tcp(segment) = heard(&bytes).message else { panic!("no segment") };
    let timestamp = Some(0x2b3a_5738);
    let offer = tcp::Offer { mss: Some(1460), window_scale: Some(10), sack_permitted: true, timestamp };
    assert_eq!(tcp::Offer::of(segment.options), offer);
    assert_eq!(segment.window, Some(0xfe88));
    // Traceroute offers no window scale but its own.
    let sent = golden::hex(captured::TCP_SYN_V4);
    let sent = tcp::decode(&sent[20..]).unwrap();
    assert_eq!(tcp::Offer::of(sent.options).window_scale, Some(2));
}

#[test]
fn a_datagram_leads_to_its_ports() {
    let bytes = golden::hex(captured::UDP_ANSWER_V4);
    let heard = heard(&bytes);
    assert_eq!((heard.clues.protocol, heard.clues.selector), (Protocol::Udp, 53));
    assert_eq!((heard.clues.far_port, heard.clues.tag), (Some(7), None));
    assert_eq!(heard.message, Message::Udp { source_port: 7, payload: b"hello" });
}

#[test]
fn replies_show_their_times_and_options() {
    let bytes = golden::hex(captured::TIMESTAMP_REPLY_V4);
    let reply = heard(&bytes);
    assert_eq!((reply.clues.selector, reply.clues.tag), (0x104b, Some(0)));
    let time = 0x0357_3b4b;
    assert_eq!(reply.message, Message::TimestampReply { originate: time, receive: time, transmit: time });
    for (line, id, kind, length) in
        [(captured::RECORD_ROUTE_V4, 0x4aa4, 7, 39), (captured::TIMESTAMP_OPTION_V4, 0x4abb, 0x44, 36)]
    {
        let bytes = golden::hex(line);
        let reply = heard(&bytes);
        assert_eq!((reply.clues.selector, reply.clues.tag), (id, Some(1)));
        assert!(matches!(reply.message, Message::EchoReply { .. }));
        let at = reply.ip_options.iter().position(|byte| *byte == kind).unwrap();
        assert_eq!(usize::from(reply.ip_options[at + 1]), length);
    }
    for (line, id) in [(captured::FPING_REPLY_V4, 0x4cbd), (captured::FPING_REPLY_V6, 0x4cd8)] {
        let bytes = golden::hex(line);
        let reply = heard(&bytes);
        assert_eq!((reply.clues.selector, reply.clues.tag, reply.ttl), (id, Some(0), Some(Ttl(63))));
        assert_eq!(reply.bytes, 64);
    }
}

/// What we send where traceroute, nping and hping3 sent something.
fn ours(line: &str, selector: u16, tag: u16, body: Body, utc: Utc) -> (Vec<u8>, Vec<u8>) {
    let theirs = golden::hex(line);
    let (from, to) = match theirs[0] >> 4 {
        4 => ("10.77.0.1", "10.78.0.2"),
        _ => ("2001:db8:77::1", "2001:db8:78::2"),
    };
    let ttl = Some(Ttl(if theirs[0] >> 4 == 4 { theirs[8] } else { theirs[7] }));
    let flow = Flow { number: 0, selector: Some(selector) };
    let probe = Probe { ttl, flow, ..Probe::new(ProbeId(0), address(to), body) };
    let mut out = Vec::new();
    probe::encode(&probe, Identity { selector, tag }, address(from), utc, &mut out).unwrap();
    (out, theirs)
}

#[test]
fn probes_are_what_others_send() {
    let payload: Vec<u8> = (0x40..0x60).collect();
    let trace = |tag| Body::Udp { port: 0x829a, payload: payload.clone(), tag };
    // The checksum as tag asks for nothing to change: the payload is the one that has it.
    for tag in [UdpTag::Ports, UdpTag::Checksum] {
        let (ours, theirs) = ours(captured::UDP_TRACE_V4, 0xb4ad, 0xbeb3, trace(tag), Utc(0));
        assert_eq!((&ours[..4], &ours[6..10], &ours[12..]), (&theirs[..4], &theirs[6..10], &theirs[12..]));
        let (ours, theirs) = self::ours(captured::UDP_TRACE_V6, 0xaf34, 0x7c66, trace(tag), Utc(0));
        assert_eq!(ours[4..], theirs[4..]);
    }
    let body = Body::Udp { port: 7, payload: b"hello".to_vec(), tag: UdpTag::Ports };
    let (ours, theirs) = ours(captured::UDP_REQUEST_V4, 53, 1, body, Utc(0));
    assert_eq!(ours[20..], theirs[20..]);
    let utc = Utc(0x0357_3b4b * 1_000_000);
    let (ours, theirs) = self::ours(captured::TIMESTAMP_REQUEST_V4, 0x104b, 0, Body::Timestamp, utc);
    assert_eq!(ours[20..], theirs[20..]);
    let (seq, ack) = (Some(0xdce5_5f92), Some(0x2fcd_8e79));
    let body = Body::Tcp { port: 80, flags: ACK, seq, ack, mss: None, payload: Vec::new() };
    let (ours, theirs) = self::ours(captured::TCP_ACK_V4, 0x7aa7, 1, body, Utc(0));
    // They differ in the window, and so in the checksum.
    assert_eq!(ours[20..34], theirs[20..34]);
}

#[test]
fn what_others_send_is_foreign_or_no_clue_of_ours() {
    let bytes = golden::hex(captured::TIMESTAMP_REQUEST_V4);
    assert_eq!(packet(&bytes, Checksums::Unchecked).unwrap_err(), DecodeError::Foreign);
    let bytes = golden::hex(captured::TCP_TRACE_V4);
    assert_eq!(heard(&bytes).clues.selector, 81);
}
