use std::os::fd::AsFd;

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
                ours.send(loopback(family), None, &Echo { id, seq: 7, payload: b"payload!" }).unwrap();
            }
            assert!(next(&ours, &mut buffer).is_none());
            for id in [0x200, 0x201] {
                let arrival = next(&theirs, &mut buffer).unwrap();
                assert_eq!((arrival.id, arrival.seq, arrival.bytes), (id, 7, 16));
                assert!(matches!(arrival.content, Content::EchoReply { payload: b"payload!" }));
                assert!(arrival.stamp.is_some() && arrival.ttl == Some(Ttl(64)));
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
        let sniffer = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::ICMPV4)).unwrap();
        for ttl in [Some(Ttl(9)), None] {
            socket.send(loopback(Family::V4), ttl, &Echo { id: 1, seq: 0, payload: &[] }).unwrap();
            let mut data = [0; 100];
            let mut control = [0; 100];
            // The request comes first, then its reply.
            sys::receive(sniffer.as_fd(), 0, &mut data, &mut control).unwrap();
            assert_eq!(ipv4::decode(&data).unwrap().header.ttl, ttl.map_or(64, |ttl| ttl.0));
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
            let passed = EchoSocket::from_passed(fd, description).unwrap();
            passed.send(loopback(Family::V4), None, &Echo { id: 6, seq: 3, payload: &[] }).unwrap();
            let mut buffer = Buffer::default();
            assert_eq!(next(&passed, &mut buffer).map(|arrival| (arrival.id, arrival.seq)), Some((6, 3)));
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
            one.send(loopback(Family::V6), Some(Ttl(3)), &Echo { id: 0, seq: 1, payload: b"x" }).unwrap();
            let mut buffer = Buffer::default();
            assert!(next(&two, &mut buffer).is_none());
            assert_eq!(next(&one, &mut buffer).unwrap().id, one.ids().first());
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
        let socket = EchoSocket { socket, family, mode, ids: ids(0) };
        let _ = socket.read(&data, Some(loopback(family)), &control::Beside::default());
        let error = control::Extended { errno: 0, origin: control::ORIGIN_ICMP, icmp_type: 3, code: 1, info: 0, data: 0, offender: None };
        let beside = control::Beside { error: Some(error), ..control::Beside::default() };
        let _ = socket.read_queued(&data, &beside);
    }
}
