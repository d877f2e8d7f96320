use std::{
    collections::{BTreeMap, BTreeSet},
    net::{Ipv4Addr, Ipv6Addr},
};

use proptest::prelude::*;

use super::*;
use crate::{
    time::{StampSource, Utc},
    wire::{
        icmp::{self, Echo, Family, Icmp},
        ipv4, ipv6,
    },
};

const SOURCE_V4: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
const SOURCE_V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1);

fn spec(payload_bytes: u16, timeout_ms: u64) -> Spec {
    let shape = Shape { payload_bytes, fill: Vec::new(), ttl: 64, tos: 0, dont_fragment: false };
    Spec { shape, timeout: Nanos::from_millis(timeout_ms), deadline: Instant(u64::MAX) }
}

fn target(number: u32) -> IpAddr {
    if number.is_multiple_of(2) {
        Ipv4Addr::from(0x0a00_0000 + number).into()
    } else {
        Ipv6Addr::from((0x2001_0db8_u128 << 96) + u128::from(number)).into()
    }
}

fn source(of: IpAddr) -> IpAddr {
    if of.is_ipv4() { SOURCE_V4.into() } else { SOURCE_V6.into() }
}

fn stamp(at: Instant) -> Stamp {
    Stamp { at, utc: Utc(0), source: StampSource::Kernel }
}

fn at_ms(ms: u64) -> Instant {
    Instant(ms * 1_000_000)
}

/// The reply to a request, from its IP header on.
fn reply(request: &[u8]) -> (Family, Vec<u8>) {
    if request[0] >> 4 == 4 {
        let packet = ipv4::decode(request).unwrap();
        let Ok(Icmp::EchoRequest(echo)) = icmp::decode(Family::V4, packet.payload) else { panic!() };
        let header = ipv4::Header {
            source: packet.header.destination,
            destination: packet.header.source,
            ..packet.header
        };
        (Family::V4, [&ipv4::encode(&header)[..], &icmp::echo_reply(Family::V4, &echo)].concat())
    } else {
        let packet = ipv6::decode(request).unwrap();
        let Ok(Icmp::EchoRequest(echo)) = icmp::decode(Family::V6, packet.payload) else { panic!() };
        let header = ipv6::Header {
            source: packet.header.destination,
            destination: packet.header.source,
            ..packet.header
        };
        (Family::V6, [&ipv6::encode(&header)[..], &icmp::echo_reply(Family::V6, &echo)].concat())
    }
}

/// A router's word that a request's target can't be reached, which quotes so much of it.
fn unreachable(request: &[u8], quoted: usize) -> Vec<u8> {
    let packet = ipv4::decode(request).unwrap();
    let quote = &request[..quoted.min(request.len())];
    let mut message = [&[3, 1, 0, 0, 0, 0, 0, 0], quote].concat();
    let sum = crate::wire::checksum::of(&message).to_be_bytes();
    message[2..4].copy_from_slice(&sum);
    let header = ipv4::Header {
        source: Ipv4Addr::new(198, 51, 100, 1),
        destination: packet.header.source,
        total_bytes: u16::try_from(20 + message.len()).unwrap(),
        ..packet.header
    };
    [&ipv4::encode(&header)[..], &message].concat()
}

/// Sends what waits, all at once at `at`; gives the packets.
fn send_all(bulk: &mut Bulk, at: Instant) -> Vec<Vec<u8>> {
    let (mut packets, mut keys) = (Vec::new(), Vec::new());
    while let Some((key, target, _, _)) = bulk.front() {
        let mut out = vec![0; MAX_PACKET_BYTES];
        let length = bulk.write(key, source(target), &mut out).unwrap();
        out.truncate(length);
        packets.push(out);
        keys.push(key);
    }
    bulk.left(&keys, at, at);
    packets
}

fn hear_one(bulk: &mut Bulk, (family, bytes): &(Family, Vec<u8>), at: Instant) -> Option<End> {
    bulk.heard(&hear(*family, bytes).unwrap(), stamp(at))
}

fn ends(bulk: &mut Bulk, now: Instant) -> Vec<End> {
    let mut all = Vec::new();
    bulk.turn(now, &mut |end| all.push(end));
    all
}

fn begin(spec: Spec, targets: u32) -> Bulk {
    let mut bulk = Bulk::new((0x4000, 64), [3; 16]);
    let id = bulk.measure(spec).unwrap();
    for number in 0..targets {
        assert!(bulk.submit(id, target(number), number));
    }
    bulk.complete(id);
    bulk
}

#[test]
fn a_reply_ends_its_probe_and_a_second_one_is_nobodys() {
    let mut bulk = begin(spec(56, 1_000), 4);
    let packets = send_all(&mut bulk, at_ms(10));
    for (number, packet) in (0..).zip(&packets) {
        let reply = reply(packet);
        let end = hear_one(&mut bulk, &reply, at_ms(15)).unwrap();
        assert_eq!((end.owner, end.sample.target), (number, target(number)));
        let Fate::Replied(answer) = end.sample.fate else { panic!("{end:?}") };
        assert_eq!((answer.rtt, answer.verified, answer.bytes), (Some(Nanos::from_millis(5)), true, 64));
        assert!(hear_one(&mut bulk, &reply, at_ms(16)).is_none());
    }
    assert_eq!(bulk.running(), 0);
    assert_eq!(bulk.counters().unmatched, 4);
}

#[test]
fn a_late_reply_never_matches_the_next_probe_of_its_slot() {
    let mut bulk = Bulk::new((0, 1), [9; 16]);
    let id = bulk.measure(spec(56, 100)).unwrap();
    let capacity = bulk.free();
    bulk.submit(id, target(2), 1);
    bulk.complete(id);
    let old = reply(&send_all(&mut bulk, at_ms(1)).remove(0));
    assert!(matches!(ends(&mut bulk, at_ms(200))[0].sample.fate, Fate::TimedOut));
    // The same target in the same slot, under every generation that its token can name, and back at the first.
    for round in 0..=1_u32 << 16 {
        let id = bulk.measure(spec(56, 100)).unwrap();
        bulk.submit(id, target(2), round);
        bulk.complete(id);
        let fresh = send_all(&mut bulk, at_ms(300 + u64::from(round))).remove(0);
        if round < 2_000 {
            assert!(hear_one(&mut bulk, &old, at_ms(300 + u64::from(round))).is_none());
        }
        assert!(hear_one(&mut bulk, &reply(&fresh), at_ms(300 + u64::from(round))).is_some());
    }
    assert_eq!(bulk.free(), capacity);
}

#[test]
fn forged_and_damaged_replies_change_nothing() {
    let mut bulk = begin(spec(56, 1_000), 1);
    let packet = send_all(&mut bulk, at_ms(10)).remove(0);
    let (family, good) = reply(&packet);
    let Ok(Icmp::EchoReply(echo)) = icmp::decode(family, &good[20..]) else { panic!() };
    let forged = [&good[..20], &icmp::echo_reply(family, &Echo { payload: &[0; 56], ..echo })].concat();
    let short =
        [&good[..20], &icmp::echo_reply(family, &Echo { payload: &echo.payload[..4], ..echo })].concat();
    for bytes in [forged, short] {
        assert!(hear_one(&mut bulk, &(family, bytes), at_ms(11)).is_none());
    }
    assert_eq!(bulk.counters().foreign, 2);
    assert!(hear_one(&mut bulk, &(family, good), at_ms(12)).is_some());
}

#[test]
fn an_error_ends_its_probe_as_far_as_it_can_be_told() {
    let mut bulk = begin(spec(56, 1_000), 1);
    let packet = send_all(&mut bulk, at_ms(10)).remove(0);
    let mut elsewhere = unreachable(&packet, 28);
    elsewhere[20 + 8 + 19] ^= 1;
    assert!(hear_one(&mut bulk, &(Family::V4, elsewhere), at_ms(11)).is_none());
    let end = hear_one(&mut bulk, &(Family::V4, unreachable(&packet, 28)), at_ms(12)).unwrap();
    let Fate::Error(answer, said) = end.sample.fate else { panic!("{end:?}") };
    assert_eq!((answer.verified, said.kind), (false, icmp::IcmpErrorKind::HostUnreachable));
    let mut bulk = begin(spec(56, 1_000), 1);
    let packet = send_all(&mut bulk, at_ms(10)).remove(0);
    let end = hear_one(&mut bulk, &(Family::V4, unreachable(&packet, 60)), at_ms(12)).unwrap();
    assert!(matches!(end.sample.fate, Fate::Error(answer, _) if answer.verified));
}

#[test]
fn silence_is_a_timeout_unless_something_was_missed() {
    let mut bulk = begin(spec(0, 100), 1);
    send_all(&mut bulk, at_ms(10));
    assert!(ends(&mut bulk, at_ms(109)).is_empty());
    assert!(matches!(ends(&mut bulk, at_ms(113))[0].sample.fate, Fate::TimedOut));
    let mut bulk = begin(spec(0, 100), 1);
    send_all(&mut bulk, at_ms(10));
    bulk.overrun(at_ms(50));
    let id = bulk.measure(spec(0, 100)).unwrap();
    bulk.submit(id, target(0), 7);
    send_all(&mut bulk, at_ms(60));
    let fates: Vec<Fate> = ends(&mut bulk, at_ms(200)).iter().map(|end| end.sample.fate).collect();
    assert_eq!(fates, [Fate::Overrun, Fate::TimedOut]);
}

#[test]
fn a_reply_after_the_timeout_is_late_and_the_deadline_is_no_timeout() {
    let mut bulk = begin(spec(56, 100), 1);
    let packet = send_all(&mut bulk, at_ms(10)).remove(0);
    let end = hear_one(&mut bulk, &reply(&packet), at_ms(111)).unwrap();
    assert!(matches!(end.sample.fate, Fate::Late(_)));
    let mut bulk = begin(Spec { deadline: at_ms(50), ..spec(56, 100) }, 1);
    send_all(&mut bulk, at_ms(10));
    assert_eq!(ends(&mut bulk, at_ms(60))[0].sample.fate, Fate::OutOfTime);
}

#[test]
fn stamps_of_a_batch_are_spread_over_it() {
    let mut bulk = begin(spec(56, 1_000), 4);
    let mut packets = Vec::new();
    let mut keys = Vec::new();
    while let Some((key, target, _, _)) = bulk.front() {
        let mut out = vec![0; 200];
        bulk.write(key, source(target), &mut out).unwrap();
        packets.push(out);
        keys.push(key);
    }
    bulk.left(&keys, at_ms(100), at_ms(104));
    assert_eq!(bulk.stamp_error(), Nanos::from_millis(4));
    let end = hear_one(&mut bulk, &reply(&packets[2]), at_ms(103)).unwrap();
    assert_eq!(end.sample.sent.map(|sent| sent.at), Some(at_ms(102)));
    // A reply before its share: it left when the batch began, or later.
    let end = hear_one(&mut bulk, &reply(&packets[3]), at_ms(101)).unwrap();
    let Fate::Replied(answer) = end.sample.fate else { panic!("{end:?}") };
    let sent = end.sample.sent.map(|sent| sent.at);
    assert_eq!((sent, answer.rtt), (Some(at_ms(100)), Some(Nanos::from_millis(1))));
}

#[derive(Clone, Debug)]
enum Step {
    Submit(u8),
    Send,
    Hold(u64),
    Refuse,
    Reply {
        which: usize,
        after: u64,
    },
    Again(usize),
    /// A reply as of somebody who has not seen the request.
    Forge(usize),
    Overrun,
    Wait(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        2 => (1_u8..20).prop_map(Step::Submit),
        3 => Just(Step::Send),
        1 => (0_u64..300).prop_map(Step::Hold),
        1 => Just(Step::Refuse),
        3 => (any::<usize>(), 0_u64..50).prop_map(|(which, after)| Step::Reply { which, after }),
        1 => any::<usize>().prop_map(Step::Again),
        1 => any::<usize>().prop_map(Step::Forge),
        1 => Just(Step::Overrun),
        2 => (0_u64..500).prop_map(Step::Wait),
    ]
}

proptest! {
    /// Whatever happens in whatever order, each probe ends once, and none is lost that was answered in time.
    #[test]
    fn every_probe_ends_once(steps in prop::collection::vec(step(), 0..200), timeout in 1_u64..400) {
        let mut bulk = Bulk::new((0x4000, 4), [5; 16]);
        let (mut now, mut number) = (1_000, 0_u32);
        let mut open: BTreeSet<u32> = BTreeSet::new();
        let mut packets: Vec<(Family, Vec<u8>)> = Vec::new();
        let mut fates: BTreeMap<u32, Fate> = BTreeMap::new();
        let mut missed = false;
        for step in steps {
            let mut ended = Vec::new();
            match step {
                Step::Submit(count) => {
                    let id = bulk.measure(spec(56, timeout)).unwrap();
                    for _ in 0..count {
                        number += 1;
                        prop_assert!(bulk.submit(id, target(number), number));
                        open.insert(number);
                    }
                    bulk.complete(id);
                }
                Step::Send => packets.extend(send_all(&mut bulk, at_ms(now)).iter().map(|packet| reply(packet))),
                Step::Hold(until) => if let Some((key, ..)) = bulk.front() {
                    bulk.hold(key, at_ms(now + until));
                },
                Step::Refuse => if let Some((key, ..)) = bulk.front() {
                    ended.extend(bulk.give_up(key, Fate::NotSent(SendFailure::NoRoute)));
                },
                Step::Reply { which, after } => if !packets.is_empty() {
                    now += after;
                    let at = which % packets.len();
                    ended.extend(hear_one(&mut bulk, &packets[at], at_ms(now)));
                },
                Step::Again(which) => if !packets.is_empty() {
                    let at = which % packets.len();
                    let packet = packets.swap_remove(at);
                    ended.extend(hear_one(&mut bulk, &packet, at_ms(now)));
                    prop_assert!(hear_one(&mut bulk, &packet, at_ms(now)).is_none());
                },
                Step::Forge(which) => if !packets.is_empty() {
                    let (family, mut packet) = packets[which % packets.len()].clone();
                    let cookie = if family == Family::V4 { 28 } else { 48 };
                    // Words change places: the checksum stays right.
                    let words = [0, 1].map(|word| packet[cookie + 2 * word..][..2].to_vec());
                    packet[cookie..cookie + 2].copy_from_slice(&words[1]);
                    packet[cookie + 2..cookie + 4].copy_from_slice(&words[0]);
                    if words[0] != words[1] {
                        prop_assert!(hear_one(&mut bulk, &(family, packet), at_ms(now)).is_none());
                    }
                },
                Step::Overrun => {
                    bulk.overrun(at_ms(now));
                    missed = true;
                }
                Step::Wait(by) => {
                    now += by;
                    ended.extend(ends(&mut bulk, at_ms(now)));
                }
            }
            for end in ended {
                prop_assert!(open.remove(&end.owner));
                prop_assert_eq!(end.sample.target, target(end.owner));
                fates.insert(end.owner, end.sample.fate);
            }
            prop_assert_eq!(bulk.running() as usize, open.len());
        }
        // Held ones come back, are sent, and time out.
        for _ in 0..3 {
            now += 1_000;
            for end in ends(&mut bulk, at_ms(now)) {
                prop_assert!(open.remove(&end.owner));
                fates.insert(end.owner, end.sample.fate);
            }
            send_all(&mut bulk, at_ms(now));
        }
        prop_assert!(open.is_empty());
        prop_assert_eq!(bulk.specs.len(), bulk.vacant.len());
        prop_assert!(missed || fates.values().all(|fate| *fate != Fate::Overrun));
    }
}
