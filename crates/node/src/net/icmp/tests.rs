use std::os::fd::AsFd;

use mmn_probe::packet::{Body, Identity, Probe, ProbeId};
use mmn_probe::wire::{ipv4, probe::encode_transport};
use proptest::prelude::*;

use super::*;
use crate::net::testing::{as_nobody, in_namespace, kernel_stamps, open_ping_group_range, require_root};

fn ids(first: u16) -> IdRange {
    IdRange::new(first, 2).unwrap()
}

/// Reads until a packet of ours is there; loopback has delivered it before `send` returns.
fn next<'b>(socket: &EchoSocket, buffer: &'b mut Buffer) -> Option<Arrival<'b>> {
    match socket.receive(buffer).unwrap() {
        Some(Received::Packet(arrival)) => Some(arrival),
        None => None,
        other => panic!("{other:?}"),
    }
}

/// An echo request, checksum and all.
fn request(family: Family, id: u16, seq: u16, payload: &[u8]) -> Vec<u8> {
    let body = Body::Echo { payload: payload.to_vec(), checksum: None };
    let probe = Probe::new(ProbeId(0), loopback(family), body);
    let identity = Identity { selector: id, tag: seq };
    let mut bytes = Vec::new();
    encode_transport(&probe, identity, loopback(family), Utc(0), &mut bytes).unwrap();
    bytes
}

fn told(arrival: &Arrival<'_>) -> (u16, Option<u16>, usize) {
    (arrival.heard.clues.selector, arrival.heard.clues.tag, arrival.heard.bytes)
}

fn loopback(family: Family) -> IpAddr {
    match family {
        Family::V4 => Ipv4Addr::LOCALHOST.into(),
        Family::V6 => Ipv6Addr::LOCALHOST.into(),
    }
}

#[test]
fn the_filter_keeps_other_identifiers_away() {
    require_root("the_filter_keeps_other_identifiers_away");
    in_namespace(|| {
        let _stamps = kernel_stamps();
        for family in [Family::V4, Family::V6] {
            let [ours, theirs] =
                [0x100, 0x200].map(|first| EchoSocket::open(family, Mode::Raw, ids(first)).unwrap());
            let mut buffer = Buffer::default();
            for id in [0x1ff, 0x200, 0x201, 0x202] {
                let request = request(family, id, 7, b"payload!");
                ours.send(loopback(family), &Header::default(), &request).unwrap();
            }
            assert!(next(&ours, &mut buffer).is_none());
            for id in [0x200, 0x201] {
                let arrival = next(&theirs, &mut buffer).unwrap();
                assert_eq!(told(&arrival), (id, Some(7), 16));
                assert!(matches!(arrival.heard.message, Message::EchoReply { payload: b"payload!" }));
                assert!(arrival.stamp.is_some() && arrival.heard.ttl == Some(Ttl(64)));
                assert_eq!(arrival.heard.tos, Some(0));
            }
            assert!(next(&theirs, &mut buffer).is_none());
        }
    });
}

#[test]
fn a_ttl_goes_out_with_one_packet_only() {
    require_root("a_ttl_goes_out_with_one_packet_only");
    in_namespace(|| {
        let socket = EchoSocket::open(Family::V4, Mode::Raw, ids(1)).unwrap();
        let sniffer = Socket::new(Domain::IPV4, Type::RAW, Some(socket2::Protocol::ICMPV4)).unwrap();
        for ttl in [Some(9), None] {
            let header = Header { ttl, ..Header::default() };
            socket.send(loopback(Family::V4), &header, &request(Family::V4, 1, 1, &[])).unwrap();
            let mut data = [0; 100];
            let mut control = [0; 100];
            // The request comes first, then its reply.
            sys::receive(sniffer.as_fd(), 0, &mut data, &mut control).unwrap();
            assert_eq!(ipv4::decode(&data).unwrap().header.ttl, ttl.unwrap_or(64));
            sys::receive(sniffer.as_fd(), 0, &mut data, &mut control).unwrap();
        }
    });
}

#[test]
fn a_passed_socket_works_where_none_can_be_opened() {
    require_root("a_passed_socket_works_where_none_can_be_opened");
    in_namespace(|| {
        let (here, there) = std::os::unix::net::UnixStream::pair().unwrap();
        let socket = EchoSocket::open(Family::V4, Mode::Raw, ids(5)).unwrap();
        let described = serde_json::to_vec(&socket.describe()).unwrap();
        crate::net::pass::send(&here, &described, &[socket.as_fd()]).unwrap();
        drop(socket);
        as_nobody(|| {
            assert!(matches!(
                EchoSocket::open(Family::V4, Mode::Raw, ids(5)),
                Err(OpenError::NotPermitted { mode: Mode::Raw, .. })
            ));
            let parcel = crate::net::pass::receive(&there).unwrap().unwrap();
            let description = serde_json::from_slice(&parcel.bytes).unwrap();
            let fd = parcel.descriptors.into_iter().next().unwrap();
            let passed = EchoSocket::from_passed(&Network::Own, fd, description).unwrap();
            passed.send(loopback(Family::V4), &Header::default(), &request(Family::V4, 6, 3, &[])).unwrap();
            let mut buffer = Buffer::default();
            assert_eq!(next(&passed, &mut buffer).map(|arrival| told(&arrival)), Some((6, Some(3), 8)));
        });
    });
}

#[test]
fn the_kernel_gives_each_datagram_socket_its_identifier() {
    require_root("the_kernel_gives_each_datagram_socket_its_identifier");
    in_namespace(|| {
        open_ping_group_range();
        as_nobody(|| {
            let open = || EchoSocket::open_best(Family::V6, ids(1)).unwrap();
            let (one, two) = (open(), open());
            assert_eq!((one.mode(), one.ids().capacity()), (Mode::Datagram, 65_536));
            assert_ne!(one.ids(), two.ids());
            let header = Header { ttl: Some(3), ..Header::default() };
            one.send(loopback(Family::V6), &header, &request(Family::V6, 0, 1, b"x")).unwrap();
            let mut buffer = Buffer::default();
            assert!(next(&two, &mut buffer).is_none());
            assert_eq!(told(&next(&one, &mut buffer).unwrap()), (one.ids().first(), Some(1), 9));
        });
    });
}

#[test]
fn ranges_are_never_empty_nor_too_long() {
    assert!(IdRange::new(0, 0).is_err());
    assert!(IdRange::new(65_535, 2).is_err());
    assert!(serde_json::from_str::<IdRange>("[1,0]").is_err());
    let range = IdRange::new(65_534, 2).unwrap();
    assert_eq!(serde_json::to_string(&range).unwrap(), "[65534,2]");
    assert!(range.contains(65_535) && !range.contains(65_533));
}

proptest! {
    #[test]
    fn reading_survives_anything(v6: bool, raw: bool, data in prop::collection::vec(any::<u8>(), 0..120)) {
        let family = if v6 { Family::V6 } else { Family::V4 };
        let mode = if raw { Mode::Raw } else { Mode::Datagram };
        let socket = Socket::from(OwnedFd::from(tempfile::tempfile().unwrap()));
        let socket = EchoSocket { network: Network::Own, socket, family, mode, ids: ids(0) };
        let _ = socket.read(&data, Some(loopback(family)), &control::Beside::default());
        let error = control::Extended { errno: 0, origin: control::ORIGIN_ICMP, icmp_type: 3, code: 1, info: 0, data: 0, offender: None };
        let beside = control::Beside { error: Some(error), ..control::Beside::default() };
        let _ = socket.read_queued(&data, Some(loopback(family)), &beside);
    }
}
