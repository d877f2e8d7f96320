use proptest::prelude::*;

use super::*;
use crate::wire::golden;

#[test]
fn reads_and_writes_echo_as_iputils_and_linux_do() {
    for (line, reply) in [(golden::ECHO_REQUEST_V4, false), (golden::ECHO_REPLY_V4, true)] {
        let bytes = golden::hex(line);
        let message = ipv4::decode(&bytes).unwrap().payload;
        let echo = match (decode(Family::V4, message).unwrap(), reply) {
            (Icmp::EchoRequest(echo), false) | (Icmp::EchoReply(echo), true) => echo,
            other => panic!("{other:?}"),
        };
        assert_eq!((echo.id, echo.seq, echo.payload.len()), (0x1cbc, 1, 24));
        let written = if reply { echo_reply(Family::V4, &echo) } else { echo_request(Family::V4, &echo) };
        assert_eq!(written, message);
    }
}

#[test]
fn reads_and_writes_echo_v6_as_iputils_and_linux_do() {
    for (line, reply) in [(golden::ECHO_REQUEST_V6, false), (golden::ECHO_REPLY_V6, true)] {
        let bytes = golden::hex(line);
        let packet = ipv6::decode(&bytes).unwrap();
        let (source, destination) = (packet.header.source, packet.header.destination);
        assert_eq!(checksum_v6(source, destination, packet.payload), 0);
        let echo = match (decode(Family::V6, packet.payload).unwrap(), reply) {
            (Icmp::EchoRequest(echo), false) | (Icmp::EchoReply(echo), true) => echo,
            other => panic!("{other:?}"),
        };
        assert_eq!((echo.id, echo.seq, echo.payload.len()), (0x1cbd, 1, 24));
        let mut written = if reply { echo_reply(Family::V6, &echo) } else { echo_request(Family::V6, &echo) };
        let sum = checksum_v6(source, destination, &written);
        written[2..4].copy_from_slice(&sum.to_be_bytes());
        assert_eq!(written, packet.payload);
    }
}

#[test]
fn reads_errors_and_their_quotes() {
    let cases = [
        (golden::TTL_EXCEEDED_V4, IcmpErrorKind::TtlExceeded, "198.51.100.9", 0x1cbe, 1),
        (golden::UNREACHABLE_V4, IcmpErrorKind::HostUnreachable, "192.0.2.7", 0x1cbf, 64),
    ];
    for (line, kind, destination, id, ttl) in cases {
        let bytes = golden::hex(line);
        let Icmp::Error(error) = decode(Family::V4, ipv4::decode(&bytes).unwrap().payload).unwrap() else {
            panic!("no error");
        };
        assert_eq!(error.kind, kind);
        let quote = quote(Family::V4, error.quoted).unwrap();
        assert_eq!(quote.destination, destination.parse::<IpAddr>().unwrap());
        assert_eq!((quote.ttl, quote.protocol), (ttl, PROTOCOL_ICMP));
        let echo = quote.echo_request().unwrap();
        assert_eq!((echo.id, echo.seq, echo.payload.len()), (id, 1, 24));
    }
}

#[test]
fn reads_errors_and_their_quotes_v6() {
    let cases = [
        (golden::TTL_EXCEEDED_V6, IcmpErrorKind::TtlExceeded, "2001:db8:5::9", 0x1cc0, 1),
        (golden::UNREACHABLE_V6, IcmpErrorKind::NetUnreachable, "2001:db8:2::7", 0x1cc1, 64),
    ];
    for (line, kind, destination, id, ttl) in cases {
        let bytes = golden::hex(line);
        let packet = ipv6::decode(&bytes).unwrap();
        assert_eq!(checksum_v6(packet.header.source, packet.header.destination, packet.payload), 0);
        let Icmp::Error(error) = decode(Family::V6, packet.payload).unwrap() else { panic!("no error") };
        assert_eq!(error.kind, kind);
        let quote = quote(Family::V6, error.quoted).unwrap();
        assert_eq!(quote.destination, destination.parse::<IpAddr>().unwrap());
        assert_eq!((quote.ttl, quote.protocol), (ttl, PROTOCOL_ICMPV6));
        let echo = quote.echo_request().unwrap();
        assert_eq!((echo.id, echo.seq, echo.payload.len()), (id, 1, 24));
    }
}

#[test]
fn an_extension_ends_the_quote() {
    // RFC 4884, section 4.1: length 32 words, then an extension structure that is no part of the quote.
    let mut message = vec![11, 0, 0, 0, 0, 32, 0, 0];
    message.extend([0x45; 128]);
    message.extend([0x20, 0, 0, 0]);
    let sum = checksum::of(&message);
    message[2..4].copy_from_slice(&sum.to_be_bytes());
    let Icmp::Error(error) = decode(Family::V4, &message).unwrap() else { panic!("no error") };
    assert_eq!(error.quoted.len(), 128);
}

#[test]
fn a_wrong_checksum_is_told() {
    let bytes = golden::hex(golden::ECHO_REPLY_V4);
    let mut message = bytes[20..].to_vec();
    message[9] ^= 1;
    assert_eq!(decode(Family::V4, &message), Err(DecodeError::Checksum));
}

#[test]
fn a_router_that_hides_its_mtu_leaves_it_absent() {
    let kind = |rest| IcmpErrorKind::from_wire(Family::V4, 3, 4, rest);
    assert_eq!(kind(0), Some(IcmpErrorKind::TooBig { mtu: None }));
    assert_eq!(kind(1400), Some(IcmpErrorKind::TooBig { mtu: Some(1400) }));
}

fn families() -> impl Strategy<Value = Family> {
    prop_oneof![Just(Family::V4), Just(Family::V6)]
}

proptest! {
    #[test]
    fn survives_anything(family in families(), mut bytes in prop::collection::vec(any::<u8>(), 0..120), fix: bool) {
        if fix && bytes.len() >= 4 {
            bytes[2..4].fill(0);
            let sum = checksum::of(&bytes);
            bytes[2..4].copy_from_slice(&sum.to_be_bytes());
        }
        if let Ok(Icmp::Error(error)) = decode(family, &bytes)
            && let Ok(quote) = quote(family, error.quoted)
        {
            let _ = quote.echo_request();
        }
    }

    #[test]
    fn survives_a_damaged_error(at in 0_usize..80, value: u8, cut in 0_usize..80) {
        let mut bytes = golden::hex(golden::TTL_EXCEEDED_V4).split_off(20);
        if let Some(byte) = bytes.get_mut(at) { *byte = value; }
        bytes.truncate(cut);
        if bytes.len() >= 4 {
            bytes[2..4].fill(0);
            let sum = checksum::of(&bytes);
            bytes[2..4].copy_from_slice(&sum.to_be_bytes());
        }
        if let Ok(Icmp::Error(error)) = decode(Family::V4, &bytes)
            && let Ok(quote) = quote(Family::V4, error.quoted)
        {
            let _ = quote.echo_request();
        }
    }

    #[test]
    fn reads_what_it_writes(family in families(), id: u16, seq: u16, payload in prop::collection::vec(any::<u8>(), 0..80)) {
        let echo = Echo { id, seq, payload: &payload };
        let (request, reply) = (echo_request(family, &echo), echo_reply(family, &echo));
        prop_assert_eq!(decode(family, &request), Ok(Icmp::EchoRequest(echo)));
        prop_assert_eq!(decode(family, &reply), Ok(Icmp::EchoReply(echo)));
    }
}
