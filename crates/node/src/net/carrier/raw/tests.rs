use std::{net::UdpSocket, sync::Arc};

use mmn_probe::{
    conditions::{Conditions, Wish},
    packet::{Departure, Packet, ProbeId, Ttl, tcp_flags},
    ping::{Answer, Fate, Method, Ping, Sample, Spec},
    time::{Instant, Nanos, Stamp},
    wire::icmp::IcmpErrorKind,
};

use super::*;
use crate::net::carrier::{Moment, Ticket};
use crate::net::{
    driver::{self, DriveError, Driver},
    page::{Limits, Page},
    testing::{self, in_namespace, require_root},
};

const LOOSE: Limits = Limits { packets_per_s: 1 << 30, bits_per_s: 1 << 40, target_packets_per_s: 1 << 30 };

fn range(first: u16, count: u16) -> IdRange {
    IdRange::new(first, count).unwrap()
}

fn sockets(family: Family, first_id: u16, first_port: u16) -> RawSockets {
    RawSockets::open(family, range(first_id, 8), range(first_port, 8)).unwrap()
}

fn driver() -> Driver {
    let page = Arc::new(Page::create(LOOSE, [1; 16]).unwrap());
    let driver = Driver::new(page, driver::Config::default()).unwrap();
    for family in [Family::V4, Family::V6] {
        let carrier = RawCarrier::new(sockets(family, 0x400, 61_000), [7; 16]).unwrap();
        driver.add_carrier(Box::new(carrier)).unwrap();
    }
    driver
}

fn ping(target: &str, change: impl FnOnce(&mut Spec)) -> Ping {
    let mut spec = Spec::new(target.parse().unwrap());
    spec.count = 1;
    spec.timeout = Nanos::from_secs(20);
    change(&mut spec);
    Ping::new(spec, Secret::new([9; 16])).unwrap()
}

fn block_on<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work)
}

async fn run(driver: &Driver, machine: Ping, lane: Lane) -> Vec<Sample> {
    let (done, conditions): (Ping, Conditions) = driver.run(machine, Wish::Only(lane)).await.unwrap();
    assert_eq!(conditions.lane, lane);
    assert_eq!(done.unasked(), mmn_probe::ping::Unasked::default());
    done.samples().collect()
}

async fn one(driver: &Driver, machine: Ping) -> Sample {
    let mut samples = run(driver, machine, Lane::Precise).await;
    assert_eq!(samples.len(), 1);
    samples.remove(0)
}

#[test]
fn every_method_is_answered_on_both_lanes() {
    require_root("every_method_is_answered_on_both_lanes");
    in_namespace(|| {
        let _stamps = testing::kernel_stamps();
        block_on(async {
            let driver = driver();
            for target in ["127.0.0.1", "::1"] {
                for lane in [Lane::Raw, Lane::Precise] {
                    every_method(&driver, target, lane).await;
                }
            }
            assert_eq!(driver.counters().overrun, 0);
        });
    });
}

async fn every_method(driver: &Driver, target: &str, lane: Lane) {
    use Method::{Icmp, IcmpTimestamp, TcpAck, TcpAckSport, TcpSyn, TcpSynSport, Udp, UdpDport, UdpSport};
    let methods = [Icmp, IcmpTimestamp, Udp, UdpDport, UdpSport, TcpSyn, TcpSynSport, TcpAck, TcpAckSport];
    for method in methods {
        if method == IcmpTimestamp && target.contains(':') {
            continue;
        }
        let machine = ping(target, |spec| {
            (spec.method, spec.count, spec.interval) = (method, 3, Nanos::from_millis(1));
        });
        for sample in run(driver, machine, lane).await {
            let Fate::Replied(reply) = &sample.fate else {
                panic!("{target} {lane:?} {method:?}: {sample:?}")
            };
            let expected = match method {
                Icmp => matches!(reply.answer, Answer::Echo),
                IcmpTimestamp => matches!(reply.answer, Answer::Timestamp { .. }),
                Udp | UdpDport | UdpSport => matches!(reply.answer, Answer::PortUnreachable { .. }),
                _ => matches!(reply.answer, Answer::Tcp { flags, .. } if flags & tcp_flags::RST != 0),
            };
            assert!(expected && sample.rtt.is_some(), "{target} {lane:?} {method:?}: {sample:?}");
            assert_eq!(reply.arrival.received.source, StampSource::Kernel);
            let sent_by = if lane == Lane::Raw { StampSource::User } else { StampSource::Kernel };
            assert_eq!(sample.sent.unwrap().source, sent_by, "{target} {lane:?} {method:?}");
        }
    }
}

#[test]
fn what_listens_answers_udp_and_tcp() {
    require_root("what_listens_answers_udp_and_tcp");
    in_namespace(|| {
        block_on(async {
            let driver = driver();
            for target in ["127.0.0.1", "::1"] {
                let listener = std::net::TcpListener::bind((target, 0)).unwrap();
                let port = listener.local_addr().unwrap().port();
                let syn = ping(target, |spec| {
                    (spec.method, spec.port) = (Method::TcpSyn, port);
                });
                let sample = one(&driver, syn).await;
                let Fate::Replied(reply) = &sample.fate else { panic!("{sample:?}") };
                let both = tcp_flags::SYN | tcp_flags::ACK;
                assert!(matches!(reply.answer, Answer::Tcp { flags, .. } if flags == both), "{sample:?}");

                let server = UdpSocket::bind((target, 0)).unwrap();
                let port = server.local_addr().unwrap().port();
                let machine = ping(target, |spec| {
                    (spec.method, spec.port, spec.payload_bytes) = (Method::Udp, port, 20);
                });
                let run = driver.start(machine, Wish::Any).unwrap();
                let mut data = [0; 100];
                let (length, from) = server.recv_from(&mut data).unwrap();
                assert!((61_000..61_008).contains(&from.port()));
                server.send_to(&data[..length], from).unwrap();
                let (done, _) = run.await.unwrap();
                let sample = done.samples().next().unwrap();
                let Fate::Replied(reply) = &sample.fate else { panic!("{sample:?}") };
                assert!(matches!(reply.answer, Answer::Udp), "{sample:?}");
                // The port is guarded: the kernel has not called it unreachable.
                server.set_nonblocking(true).unwrap();
                assert!(server.recv_from(&mut data).is_err());
                assert!(server.take_error().unwrap().is_none());
            }
        });
    });
}

#[test]
fn routers_are_heard_about_every_protocol() {
    require_root("routers_are_heard_about_every_protocol");
    in_namespace(|| {
        let _router = testing::router();
        block_on(async {
            let driver = driver();
            for (target, router) in [("198.51.100.9", "10.77.0.2"), ("2001:db8:5::9", "2001:db8:77::2")] {
                for method in [Method::Icmp, Method::Udp, Method::UdpDport, Method::TcpSyn, Method::TcpAck] {
                    let machine = ping(target, |spec| {
                        (spec.method, spec.ttl, spec.tos) = (method, Some(Ttl(1)), 0x10);
                    });
                    let sample = one(&driver, machine).await;
                    let Fate::Error(report) = &sample.fate else { panic!("{target} {method:?}: {sample:?}") };
                    assert_eq!(report.kind, IcmpErrorKind::TtlExceeded, "{target} {method:?}");
                    assert_eq!(report.arrival.from, router.parse::<IpAddr>().unwrap());
                }
            }
        });
    });
}

#[test]
fn what_is_too_big_for_the_link_is_fragmented_unless_it_must_not_be() {
    require_root("what_is_too_big_for_the_link_is_fragmented_unless_it_must_not_be");
    in_namespace(|| {
        let _router = testing::router();
        block_on(async {
            let driver = driver();
            for target in ["10.77.0.2", "2001:db8:77::2"] {
                let big = |dont_fragment| {
                    ping(target, |spec| (spec.payload_bytes, spec.dont_fragment) = (4_000, dont_fragment))
                };
                let sample = one(&driver, big(false)).await;
                let Fate::Replied(reply) = &sample.fate else { panic!("{target}: {sample:?}") };
                assert_eq!(reply.arrival.bytes, 4_008);
                assert_eq!(sample.departure.unwrap().ip_id, None);
                let sample = one(&driver, big(true)).await;
                assert_eq!(sample.fate, Fate::NotSent(SendFailure::TooBig), "{target}");
            }
        });
    });
}

#[test]
fn replies_in_fragments_show_their_identification() {
    require_root("replies_in_fragments_show_their_identification");
    in_namespace(|| {
        let _router = testing::router();
        block_on(async {
            let driver = driver();
            for lane in [Lane::Raw, Lane::Precise] {
                for (count, change) in [
                    // The host learns of an MTU that there is not, and fragments all replies but the first.
                    (3, (1_400, Some(1_280))),
                    // The link takes no more than 1,500 octets.
                    (2, (4_000, None)),
                    (2, (56, None)),
                ] {
                    for selector in [None, Some(7)] {
                        let machine = ping("2001:db8:77::2", |spec| {
                            (spec.payload_bytes, spec.pseudo_mtu) = change;
                            (spec.count, spec.interval, spec.selector) =
                                (count, Nanos::from_millis(20), selector);
                        });
                        let samples = run(&driver, machine, lane).await;
                        let id = |sample: &Sample| sample.fate.arrival().expect("a reply").fragment_id;
                        let ids: Vec<Option<u32>> = samples.iter().map(id).collect();
                        let whole = if change.0 < 1_400 { samples.len() } else { 0 };
                        assert!(ids.iter().take(whole).all(Option::is_none), "{lane:?} {change:?} {ids:?}");
                        let told: std::collections::BTreeSet<u32> = ids.iter().flatten().copied().collect();
                        // Linux chooses by chance: each is another one.
                        let least = if change.0 < 1_400 {
                            0
                        } else {
                            samples.len() - usize::from(change.1.is_some())
                        };
                        assert!(told.len() >= least, "{lane:?} {change:?} {ids:?}");
                    }
                }
            }
        });
    });
}

/// It sees what its owner waits for, and nothing else.
#[test]
fn a_socket_for_fragments_listens_to_its_own_alone() {
    require_root("a_socket_for_fragments_listens_to_its_own_alone");
    in_namespace(|| {
        let _router = testing::router();
        block_on(async {
            let others = sockets(Family::V6, 0x600, 62_000).fragments.unwrap();
            receive::open(others.as_fd(), Family::V6);
            let resting = sockets(Family::V6, 0x400, 62_000).fragments.unwrap();
            let driver = driver();
            let sample = one(&driver, ping("2001:db8:77::2", |spec| spec.payload_bytes = 4_000)).await;
            assert!(sample.fate.arrival().unwrap().fragment_id.is_some(), "{sample:?}");
            for socket in [others, resting] {
                assert_eq!(sys::receive_many(socket.as_fd(), 0, &mut Room::default()).unwrap(), 0);
            }
        });
    });
}

#[test]
fn a_chosen_identifier_or_port_is_heard_while_it_is_used() {
    require_root("a_chosen_identifier_or_port_is_heard_while_it_is_used");
    in_namespace(|| {
        block_on(async {
            let driver = driver();
            for target in ["127.0.0.1", "::1"] {
                for (method, selector) in [(Method::Icmp, 7), (Method::Udp, 40_000), (Method::TcpSyn, 40_001)]
                {
                    let chosen = || {
                        ping(target, |spec| {
                            (spec.method, spec.selector, spec.count) = (method, Some(selector), 2);
                            spec.interval = Nanos::from_millis(1);
                        })
                    };
                    for sample in run(&driver, chosen(), Lane::Raw).await {
                        assert!(matches!(sample.fate, Fate::Replied(_)), "{target} {method:?}: {sample:?}");
                        assert_eq!(sample.departure.unwrap().identity.selector, selector);
                    }
                }
                let taken = UdpSocket::bind((target, 0)).unwrap();
                let port = taken.local_addr().unwrap().port();
                let machine = ping(target, |spec| (spec.method, spec.selector) = (Method::Udp, Some(port)));
                assert_eq!(one(&driver, machine).await.fate, Fate::NotSent(SendFailure::InUse));
            }
        });
    });
}

#[test]
fn a_source_must_be_this_hosts() {
    require_root("a_source_must_be_this_hosts");
    in_namespace(|| {
        block_on(async {
            let driver = driver();
            let from = |source: &str| ping("127.0.0.1", |spec| spec.source = source.parse().ok());
            let sample = one(&driver, from("127.0.0.77")).await;
            assert!(matches!(sample.fate, Fate::Replied(_)), "{sample:?}");
            assert_eq!(sample.departure.unwrap().source, "127.0.0.77".parse().ok());
            assert_eq!(one(&driver, from("192.0.2.1")).await.fate, Fate::NotSent(SendFailure::Source));
        });
    });
}

#[test]
fn a_broadcast_address_is_refused() {
    require_root("a_broadcast_address_is_refused");
    in_namespace(|| {
        let _router = testing::router();
        block_on(async {
            let driver = driver();
            for target in ["10.77.0.255", "255.255.255.255"] {
                let fate = one(&driver, ping(target, |_| {})).await.fate;
                assert_eq!(fate, Fate::NotSent(SendFailure::NotPermitted), "{target}");
            }
        });
    });
}

#[test]
fn a_lane_that_is_not_there_is_named() {
    require_root("a_lane_that_is_not_there_is_named");
    in_namespace(|| {
        block_on(async {
            let driver = driver();
            let wish = Wish::Only(Lane::Unprivileged);
            let refused = driver.start(ping("127.0.0.1", |_| {}), wish).unwrap_err();
            assert_eq!(refused, DriveError::NoLane(Lane::Unprivileged));
            assert!(refused.to_string().contains("ping_group_range"), "{refused}");
        });
    });
}

/// Everything that one instance hears and another must not.
#[test]
fn the_filters_keep_other_instances_away() {
    require_root("the_filters_keep_other_instances_away");
    in_namespace(|| {
        let _router = testing::router();
        block_on(async {
            let others = [Family::V4, Family::V6].map(|family| {
                let others = sockets(family, 0x600, 62_000);
                for (socket, protocol) in others.receive.iter().zip(PROTOCOLS) {
                    let socket = socket.try_clone().unwrap();
                    Receiver::new(socket, family, protocol).listen(true);
                }
                others
            });
            let driver = driver();
            let targets = ["127.0.0.1", "::1", "198.51.100.9", "2001:db8:5::9"];
            for target in targets {
                for method in [Method::Icmp, Method::Udp, Method::TcpSyn] {
                    let machine = ping(target, |spec| (spec.method, spec.ttl) = (method, Some(Ttl(1))));
                    let sample = one(&driver, machine).await;
                    let heard = matches!(sample.fate, Fate::Replied(_) | Fate::Error(_));
                    assert!(heard, "{target} {method:?}: {sample:?}");
                }
            }
            for socket in others.iter().flat_map(|sockets| &sockets.receive) {
                assert_eq!(sys::receive_many(socket.as_fd(), 0, &mut Room::default()).unwrap(), 0);
                // What a filter drops is no overrun.
                assert_eq!(sys::dropped(socket.as_fd()).unwrap(), 0);
            }
        });
    });
}

/// A host with much traffic pays for it only while somebody listens.
#[test]
fn what_nobody_waits_for_is_not_copied() {
    require_root("what_nobody_waits_for_is_not_copied");
    in_namespace(|| {
        for (target, family) in [("127.0.0.1", Family::V4), ("::2", Family::V6)] {
            if family == Family::V6 {
                testing::ip("-6 addr add ::2/128 dev lo nodad");
            }
            let opened = sockets(family, 0x400, 61_000);
            let [icmp, udp, _] = &opened.receive;
            let speaker = UdpSocket::bind((target, 0)).unwrap();
            let datagram = || drop(speaker.send_to(b"x", (target, 61_000)));
            hears_only_while_it_listens(udp, family, Protocol::Udp, datagram);
            let (number, reply_type) = match family {
                Family::V4 => (libc::IPPROTO_ICMP, 0),
                Family::V6 => (libc::IPPROTO_ICMPV6, 129),
            };
            let domain = if family == Family::V4 { socket2::Domain::IPV4 } else { socket2::Domain::IPV6 };
            let speaker = socket2::Socket::new(domain, socket2::Type::RAW, Some(number.into())).unwrap();
            let to = SockAddr::from(SocketAddr::new(target.parse().unwrap(), 0));
            // An answer to the first identifier. Only the checksum of ICMPv6 is the kernel's to write.
            let mut reply = [reply_type, 0, 0, 0, 4, 0, 0, 1];
            if family == Family::V4 {
                reply[2..4].copy_from_slice(&[0xfb, 0xfe]);
            }
            let answer = || drop(speaker.send_to(&reply, &to));
            hears_only_while_it_listens(icmp, family, Protocol::Icmp, answer);
        }
    });
}

fn hears_only_while_it_listens(socket: &OwnedFd, family: Family, protocol: Protocol, speak: impl Fn()) {
    let hears = || {
        speak();
        sys::receive_many(socket.as_fd(), 0, &mut Room::default()).unwrap()
    };
    assert_eq!(hears(), 0, "{family:?} {protocol:?} as it was opened");
    let mut receiver = Receiver::new(socket.try_clone().unwrap(), family, protocol);
    assert_eq!(hears(), 0, "{family:?} {protocol:?} before anybody listens");
    receiver.listen(true);
    // A busy kernel may put the delivery off.
    assert!((0..PATIENCE).any(|_| hears() > 0), "{family:?} {protocol:?}");
    receiver.listen(false);
    while sys::receive_many(socket.as_fd(), 0, &mut Room::default()).unwrap() > 0 {}
    assert_eq!(hears(), 0, "{family:?} {protocol:?} afterwards");
}

/// Notes what a carrier tells.
#[derive(Default)]
struct Notes {
    sent: Vec<Ticket>,
    failed: Vec<SendFailure>,
    packets: usize,
}

impl Sink for Notes {
    fn moment(&mut self) -> Moment {
        Moment { reading: clock::both(), stepped: false }
    }
    fn sent(&mut self, ticket: Ticket, _: Instant, _: Stamp, _: Departure) {
        self.sent.push(ticket);
    }
    fn stamped(&mut self, _: Ticket, _: Instant, _: Stamp) {}
    fn failed(&mut self, _: Ticket, _: Instant, reason: SendFailure) {
        self.failed.push(reason);
    }
    fn packet(&mut self, _: JobKey, _: Instant, _: Packet<'_>) {
        self.packets += 1;
    }
    fn unmatched(&mut self) {}
}

/// The kernel counts each packet that found no room once (6.18, as of this test). Where the buffer is full it counts before
/// it asks the filter: on loopback the requests, too, which come by the same socket.
#[test]
fn what_is_dropped_is_counted() {
    require_root("what_is_dropped_is_counted");
    in_namespace(|| {
        let _router = testing::router();
        let echo = Body::Echo { payload: vec![0; 64], checksum: None };
        let syn =
            Body::Tcp { port: 9, flags: tcp_flags::SYN, seq: None, ack: None, mss: None, payload: vec![] };
        for target in ["10.77.0.2", "2001:db8:77::2"] {
            for body in [&echo, &syn] {
                let (sent, received, missed) = flood(target, body);
                assert!(missed > 0, "{target} {body:?}");
                assert_eq!(received + missed, sent, "{target} {body:?}");
            }
        }
        let (sent, received, missed) = flood("127.0.0.1", &echo);
        assert!(received + missed >= sent && missed > 0);
    });
}

/// Sends more than a small buffer holds answers: how many left, were read, and were missed.
fn flood(target: &str, body: &Body) -> (usize, usize, usize) {
    let target: IpAddr = target.parse().unwrap();
    let opened = sockets(Family::of(target), 0x400, 61_000);
    for socket in &opened.receive {
        sys::set_option(socket.as_fd(), libc::SOL_SOCKET, libc::SO_RCVBUF, 8_192).unwrap();
    }
    let mut carrier = RawCarrier::new(opened, [7; 16]).unwrap();
    let mut notes = Notes::default();
    // The first finds the neighbour.
    for number in 0..=PROBES {
        let job = JobKey { index: 0, generation: 1 };
        let ticket = Ticket { job, probe: ProbeId(number) };
        let probe = Probe::new(ticket.probe, target, body.clone());
        let order = Order { ticket, lane: Lane::Raw, probe: &probe, base: 0 };
        carrier.put(order, &mut notes).unwrap();
        if number == 0 {
            carrier.send(&mut notes);
            while notes.packets == 0 {
                carrier.catch_up(&mut notes);
                std::thread::yield_now();
            }
        }
    }
    carrier.send(&mut notes);
    assert_eq!(notes.failed, []);
    let mut missed = 0;
    // Answers of the other namespace come within the call that sends, unless the kernel puts some off.
    for _ in 0..PATIENCE {
        carrier.catch_up(&mut notes);
        missed += usize::try_from(carrier.missed(true)).unwrap();
        if notes.packets + missed >= notes.sent.len() {
            break;
        }
        std::thread::yield_now();
    }
    (notes.sent.len(), notes.packets, missed)
}

const PROBES: u32 = 40;
const PATIENCE: u32 = 100_000;

#[test]
fn a_host_that_is_told_of_a_small_mtu_sends_fragments() {
    require_root("a_host_that_is_told_of_a_small_mtu_sends_fragments");
    in_namespace(|| {
        let _stamps = testing::kernel_stamps();
        let _router = testing::router();
        block_on(async {
            let driver = driver();
            for (target, size, mtu, reassembled) in [
                ("10.77.0.2", 1_200, 700, "/proc/net/snmp"),
                ("2001:db8:77::2", 1_400, 1_280, "/proc/net/snmp6"),
            ] {
                let before = fragments(reassembled);
                let machine = ping(target, |spec| {
                    (spec.payload_bytes, spec.pseudo_mtu) = (size, Some(mtu));
                    // The next one leaves when the reply before it has come, and was answered.
                    (spec.count, spec.interval) = (3, Nanos::from_millis(1));
                    spec.schedule = mmn_probe::schedule::Schedule::SendOnReceive;
                });
                let (done, _) = driver.run(machine, Wish::Only(Lane::Precise)).await.unwrap();
                assert_eq!((done.too_big_sent(), done.too_big_failed()), (3, None), "{target}");
                assert!(done.samples().all(|sample| matches!(sample.fate, Fate::Replied(_))), "{target}");
                // The first reply came whole, and those after it in two.
                assert_eq!(fragments(reassembled) - before, 2, "{target}");
            }
        });
    });
}

/// How many packets the calling thread's namespace has put together from fragments.
fn fragments(path: &str) -> u64 {
    let text = std::fs::read_to_string(path.replace("/proc/", "/proc/thread-self/")).unwrap();
    if path.ends_with('6') {
        let line = text.lines().find(|line| line.starts_with("Ip6ReasmOKs")).unwrap();
        return line.split_whitespace().nth(1).unwrap().parse().unwrap();
    }
    let mut lines = text.lines().filter(|line| line.starts_with("Ip:"));
    let (names, values) = (lines.next().unwrap(), lines.next().unwrap());
    let at = names.split_whitespace().position(|name| name == "ReasmOKs").unwrap();
    values.split_whitespace().nth(at).unwrap().parse().unwrap()
}
