use std::{
    net::{IpAddr, SocketAddr, TcpListener, UdpSocket},
    sync::Arc,
};

use mmn_probe::{
    conditions::{Conditions, Lane, Wish},
    cookie::Key,
    machine::{Input, Machine, Output},
    packet::{Body, Departure, Flow, Message, Probe, ProbeId, SendFailure, Ttl, UdpTag, tcp_flags},
    time::{Instant, Nanos, Stamp, StampSource},
    trace::{self, Trace, shape::Method},
    wire::{self, PROTOCOL_UDP, checksum, icmp::IcmpErrorKind, ipv4},
};

use super::*;
use crate::net::{
    driver::{Config, Driver},
    page::{Limits, Page},
    testing::{as_nobody, in_namespace, kernel_stamps, require_root, router},
};

const LOOSE: Limits = Limits { packets_per_s: 1 << 30, bits_per_s: 1 << 40, target_packets_per_s: 1 << 30 };

/// A machine that sends what it is told, and is done when each probe has an answer or has failed.
#[derive(Debug, Default)]
struct Recorder {
    probes: Vec<Probe>,
    next: usize,
    deadline: Option<Instant>,
    sent: Vec<(ProbeId, Stamp, Departure)>,
    stamped: usize,
    failed: Vec<(ProbeId, SendFailure)>,
    heard: Vec<Said>,
}

#[derive(Clone, Debug, PartialEq)]
struct Said {
    probe: u32,
    from: IpAddr,
    ttl: Option<Ttl>,
    stamped_by: StampSource,
    what: What,
}

#[derive(Clone, Debug, PartialEq)]
enum What {
    Udp {
        port: u16,
        payload: Vec<u8>,
    },
    Tcp {
        port: u16,
        flags: u8,
    },
    Error {
        kind: IcmpErrorKind,
        destination: Option<IpAddr>,
        port: Option<u16>,
        payload: Vec<u8>,
        extensions: Vec<u8>,
    },
}

impl Machine for Recorder {
    fn handle(&mut self, _: Instant, input: Input<'_>) {
        match input {
            Input::Sent { probe, stamp, departure } => self.sent.push((probe, stamp, departure)),
            Input::Stamped { .. } => self.stamped += 1,
            Input::SendFailed { probe, reason } => self.failed.push((probe, reason)),
            Input::Packet(packet) => {
                let what = match packet.message {
                    Message::Udp { source_port, payload } => {
                        What::Udp { port: source_port, payload: payload.to_vec() }
                    }
                    Message::Tcp(segment) => What::Tcp { port: segment.source_port, flags: segment.flags },
                    Message::Error(report) => What::Error {
                        kind: report.kind,
                        destination: report.quote.destination,
                        port: report.quote.destination_port,
                        payload: report.quote.payload.to_vec(),
                        extensions: report.extensions.to_vec(),
                    },
                    other => panic!("{other:?}"),
                };
                let (probe, stamped_by) = (packet.probe.0, packet.stamp.source);
                self.heard.push(Said { probe, from: packet.from, ttl: packet.ttl, stamped_by, what });
            }
            _ => {}
        }
    }

    fn poll(&mut self, now: Instant) -> Output {
        let deadline = *self.deadline.get_or_insert(now + Nanos::from_secs(20));
        if let Some(probe) = self.probes.get(self.next) {
            self.next += 1;
            return Output::Send(probe.clone());
        }
        let complete = self.heard.len() + self.failed.len() >= self.probes.len();
        if complete || now >= deadline { Output::Done } else { Output::WaitUntil(deadline) }
    }
}

fn run(probes: Vec<Probe>) -> (Recorder, Conditions) {
    drive(Recorder { probes, ..Recorder::default() })
}

fn drive<M: Machine + Send + 'static>(machine: M) -> (M, Conditions) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let page = Arc::new(Page::create(LOOSE, [1; 16]).unwrap());
        let driver = Driver::new(page, Config::default()).unwrap();
        let ports = IdRange::new(61_000, 64).unwrap();
        for family in [Family::V4, Family::V6] {
            driver
                .add_carrier(Box::new(UdpCarrier::new(&Network::Own, family, ports, [3; 16]).unwrap()))
                .unwrap();
            driver.add_carrier(Box::new(TcpCarrier::new(&Network::Own, family, ports).unwrap())).unwrap();
        }
        driver.run(machine, Wish::Any).await.unwrap()
    })
}

fn udp(number: u32, to: SocketAddr, tag: UdpTag) -> Probe {
    let payload = format!("probe {number:02}").into_bytes();
    Probe::new(ProbeId(number), to.ip(), Body::Udp { port: to.port(), payload, tag })
}

fn syn(number: u32, to: SocketAddr) -> Probe {
    let body = Body::Tcp {
        port: to.port(),
        flags: tcp_flags::SYN,
        seq: None,
        ack: None,
        mss: None,
        payload: Vec::new(),
    };
    Probe::new(ProbeId(number), to.ip(), body)
}

fn with_flow(probe: Probe, number: u16) -> Probe {
    Probe { flow: Flow { number, selector: None }, ..probe }
}

/// In a namespace next to [`router`]'s, as an ordinary user.
fn beside_a_router<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    in_namespace(|| {
        let _router = router();
        let _stamps = kernel_stamps();
        as_nobody(work)
    })
}

#[test]
fn datagrams_are_answered_and_stamped_by_the_kernel() {
    require_root("datagrams_are_answered_and_stamped_by_the_kernel");
    beside_a_router(|| {
        for address in ["127.0.0.1:0", "[::1]:0"] {
            let server = UdpSocket::bind(address).unwrap();
            let to = server.local_addr().unwrap();
            let echo = std::thread::spawn(move || {
                let mut data = [0; 100];
                for _ in 0..4 {
                    let (length, from) = server.recv_from(&mut data).unwrap();
                    server.send_to(&data[..length], from).unwrap();
                }
            });
            let probes = (0..4).map(|number| {
                let tag = if number % 2 == 0 { UdpTag::Ports } else { UdpTag::Checksum };
                with_flow(udp(number, to, tag), u16::try_from(number).unwrap())
            });
            let (done, conditions) = run(probes.collect());
            echo.join().unwrap();
            assert_eq!(conditions.lane, Lane::Unprivileged);
            assert_eq!(conditions.sent_by, StampSource::Kernel);
            assert_eq!((done.sent.len(), done.failed.len(), done.stamped), (4, 0, 4), "{done:?}");
            let mut heard = done.heard;
            heard.sort_by_key(|said| said.probe);
            for (number, said) in (0_u32..).zip(&heard) {
                let What::Udp { port, payload } = &said.what else { panic!("{said:?}") };
                assert_eq!((said.probe, said.from, *port), (number, to.ip(), to.port()));
                assert_eq!((said.ttl, said.stamped_by), (Some(Ttl(64)), StampSource::Kernel));
                let unchanged = if number % 2 == 0 { 8 } else { 6 };
                assert_eq!(payload[..unchanged], format!("probe {number:02}").as_bytes()[..unchanged]);
            }
        }
    });
}

#[test]
fn a_closed_port_is_told_from_an_open_one() {
    require_root("a_closed_port_is_told_from_an_open_one");
    beside_a_router(|| {
        for address in ["127.0.0.1:0", "[::1]:0"] {
            let closed = UdpSocket::bind(address).unwrap().local_addr().unwrap();
            let open = TcpListener::bind(address).unwrap();
            let (done, conditions) = run(vec![
                udp(0, closed, UdpTag::Ports),
                with_flow(syn(1, open.local_addr().unwrap()), 1),
                with_flow(syn(2, SocketAddr::new(closed.ip(), 1)), 2),
            ]);
            assert_eq!(conditions.lane, Lane::Unprivileged);
            let what = |number| done.heard.iter().find(|said| said.probe == number).map(|said| &said.what);
            assert_eq!(
                what(0),
                Some(&What::Error {
                    kind: IcmpErrorKind::PortUnreachable,
                    destination: Some(closed.ip()),
                    port: Some(closed.port()),
                    payload: b"probe 00".to_vec(),
                    extensions: Vec::new(),
                })
            );
            let flags = tcp_flags::SYN | tcp_flags::ACK;
            assert_eq!(what(1), Some(&What::Tcp { port: open.local_addr().unwrap().port(), flags }));
            let flags = tcp_flags::RST | tcp_flags::ACK;
            assert_eq!(what(2), Some(&What::Tcp { port: 1, flags }));
        }
    });
}

#[test]
fn routers_answer_an_ordinary_user() {
    require_root("routers_answer_an_ordinary_user");
    beside_a_router(|| {
        for (far, unreachable, from, kind) in [
            ("198.51.100.9", "192.0.2.7", "10.77.0.2", IcmpErrorKind::HostUnreachable),
            ("2001:db8:5::9", "2001:db8:2::7", "2001:db8:77::2", IcmpErrorKind::NetUnreachable),
        ] {
            let [far, unreachable, from] =
                [far, unreachable, from].map(|text| text.parse::<IpAddr>().unwrap());
            let far = |port| SocketAddr::new(far, port);
            let short = |probe: Probe| Probe { ttl: Some(Ttl(1)), ..probe };
            let probes = vec![
                // Three of one flow to one port: told apart by what is quoted of them.
                short(udp(0, far(33_434), UdpTag::Checksum)),
                short(udp(1, far(33_434), UdpTag::Checksum)),
                short(udp(2, far(33_434), UdpTag::Checksum)),
                short(udp(3, far(33_435), UdpTag::Ports)),
                short(with_flow(syn(4, far(80)), 1)),
                short(with_flow(syn(5, far(80)), 1)),
                udp(6, SocketAddr::new(unreachable, 53), UdpTag::Ports),
                with_flow(syn(7, SocketAddr::new(unreachable, 80)), 2),
            ];
            let (done, _) = run(probes);
            assert_eq!((done.failed.len(), done.heard.len()), (0, 8), "{done:?}");
            let mut heard = done.heard;
            heard.sort_by_key(|said| said.probe);
            for (number, said) in (0_u32..).zip(&heard) {
                assert_eq!((said.probe, said.from), (number, from), "{said:?}");
                assert_eq!(said.stamped_by, StampSource::Kernel, "{said:?}");
                let What::Error { kind: told, destination, port, payload, .. } = &said.what else {
                    panic!("{said:?}")
                };
                let (expected, to) =
                    if number < 6 { (IcmpErrorKind::TtlExceeded, far(0).ip()) } else { (kind, unreachable) };
                assert_eq!((*told, *destination), (expected, Some(to)));
                assert_eq!(*port, Some([33_434, 33_434, 33_434, 33_435, 80, 80, 53, 80][number as usize]));
                if [0, 1, 2, 3, 6].contains(&number) {
                    assert_eq!(payload[..6], format!("probe {number:02}").as_bytes()[..6]);
                }
            }
        }
    });
}

/// An MPLS label stack as an object of an extension structure (RFC 4950, section 3).
const LABELS: [u8; 8] = [0, 8, 1, 1, 0x03, 0xe8, 0xda, 1];

/// An ICMP error (RFC 4884, section 4.1) about a datagram, with so much of its payload, and with [`LABELS`] if it is whole.
fn time_exceeded(from: SocketAddr, to: SocketAddr, payload: &[u8], quoted: usize) -> Vec<u8> {
    let (IpAddr::V4(source), IpAddr::V4(destination)) = (from.ip(), to.ip()) else { panic!("IPv6") };
    let length = u16::try_from(8 + payload.len()).unwrap();
    let header = ipv4::Header {
        tos: 0,
        total_bytes: 20 + length,
        id: 7,
        dont_fragment: false,
        fragment_offset: 0,
        ttl: 1,
        protocol: PROTOCOL_UDP,
        source,
        destination,
    };
    let mut message = vec![11, 0, 0, 0, 0, 0, 0, 0];
    message.extend(ipv4::encode(&header));
    message.extend(wire::udp::encode(from.port(), to.port(), length, 0));
    message.extend(&payload[..quoted]);
    if quoted == payload.len() {
        message[5] = 128 / 4;
        message.resize(8 + 128, 0);
        let mut structure = [&[0x20, 0, 0, 0], &LABELS[..]].concat();
        let sum = checksum::of(&structure).to_be_bytes();
        structure[2..4].copy_from_slice(&sum);
        message.extend(structure);
    }
    let sum = checksum::of(&message).to_be_bytes();
    message[2..4].copy_from_slice(&sum);
    message
}

#[test]
fn a_quote_may_be_short_and_may_have_extensions() {
    require_root("a_quote_may_be_short_and_may_have_extensions");
    in_namespace(|| {
        let target = UdpSocket::bind("127.0.0.1:0").unwrap();
        let to = target.local_addr().unwrap();
        let icmp = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::ICMPV4)).unwrap();
        // A router that quotes all, eight octets, and part of the payload.
        let router = std::thread::spawn(move || {
            for quoted in [8, 0, 3] {
                let mut data = [0; 100];
                let (length, from) = target.recv_from(&mut data).unwrap();
                let error = time_exceeded(from, to, &data[..length], quoted);
                let back = SockAddr::from(SocketAddr::new(from.ip(), 0));
                icmp.send_to(&error, &back).unwrap();
            }
        });
        let probes = (0..3).map(|number| udp(number, to, UdpTag::Checksum)).collect();
        let (done, _) = as_nobody(|| run(probes));
        router.join().unwrap();
        assert_eq!((done.failed.len(), done.heard.len()), (0, 3), "{done:?}");
        for (said, (number, length, objects)) in
            done.heard.iter().zip([(0, 8, &LABELS[..]), (1, 0, &[]), (2, 3, &[])])
        {
            let What::Error { kind, payload, extensions, .. } = &said.what else { panic!("{said:?}") };
            assert_eq!((said.probe, *kind), (number, IcmpErrorKind::TtlExceeded));
            assert_eq!((payload.len(), &extensions[..]), (length, objects));
        }
    });
}

/// The way of a trace through the router to its far end, and what it says there: an ordinary user has it as others do.
#[test]
fn an_ordinary_user_traces_by_udp_and_tcp() {
    require_root("an_ordinary_user_traces_by_udp_and_tcp");
    beside_a_router(|| {
        for target in ["10.77.0.2", "2001:db8:77::2"] {
            let target: IpAddr = target.parse().unwrap();
            for method in [Method::Udp, Method::Tcp] {
                let mut spec = trace::Spec::new(target);
                spec.shape.method = method;
                spec.timeout = Nanos::from_secs(20);
                // The kernel's SYN carries nothing.
                spec.payload_bytes = if method == Method::Tcp { 0 } else { 32 };
                let (done, conditions) = drive(Trace::new(spec, Key::new([7; 16])).unwrap());
                assert_eq!(conditions.lane, Lane::Unprivileged);
                assert!(done.is_reached(), "{done:?}");
                let sample = done.samples().next().unwrap();
                let reply = sample.reply.unwrap();
                assert_eq!((sample.ttl, reply.from), (Ttl(1), target), "{done:?}");
                match (method, reply.said) {
                    (Method::Udp, trace::Said::Error { kind, .. }) => {
                        assert_eq!(kind, IcmpErrorKind::PortUnreachable);
                    }
                    (_, trace::Said::Tcp { flags }) => assert_eq!(flags, tcp_flags::RST | tcp_flags::ACK),
                    (_, other) => panic!("{other:?}"),
                }
            }
        }
    });
}

#[test]
fn what_takes_a_privilege_is_said_to() {
    require_root("what_takes_a_privilege_is_said_to");
    beside_a_router(|| {
        let to: SocketAddr = "127.0.0.1:9".parse().unwrap();
        let ack = Body::Tcp {
            port: 9,
            flags: tcp_flags::ACK,
            seq: None,
            ack: None,
            mss: None,
            payload: Vec::new(),
        };
        let taken = UdpSocket::bind("0.0.0.0:61007").unwrap();
        let chosen =
            |probe: Probe, selector| Probe { flow: Flow { number: 0, selector: Some(selector) }, ..probe };
        let probes = vec![
            Probe::new(ProbeId(0), to.ip(), ack),
            Probe { ip_options: vec![1; 4], ..udp(1, to, UdpTag::Ports) },
            chosen(udp(2, to, UdpTag::Ports), taken.local_addr().unwrap().port()),
            chosen(udp(3, to, UdpTag::Ports), 22),
            Probe { source: Some("192.0.2.99".parse().unwrap()), ..udp(4, to, UdpTag::Ports) },
            Probe::new(ProbeId(5), to.ip(), Body::Echo { payload: vec![0; 8], checksum: None }),
            Probe { fragment_offset: 1, ..udp(6, to, UdpTag::Ports) },
        ];
        let (done, _) = run(probes);
        let expected = [
            SendFailure::Unprivileged,
            SendFailure::Unprivileged,
            SendFailure::InUse,
            SendFailure::Unprivileged,
            SendFailure::Source,
            SendFailure::NoPingSocket,
            SendFailure::Unprivileged,
        ];
        let failed: Vec<_> = done.failed.iter().map(|(_, reason)| *reason).collect();
        assert_eq!(failed, expected, "{done:?}");
    });
}

#[test]
fn a_datagram_tells_its_size_and_identity() {
    require_root("a_datagram_tells_its_size_and_identity");
    beside_a_router(|| {
        let to: SocketAddr = "127.0.0.1:9".parse().unwrap();
        let (done, _) = run(vec![Probe { source: Some(to.ip()), ..udp(0, to, UdpTag::Ports) }]);
        let [(_, stamp, departure)] = done.sent[..] else { panic!("{done:?}") };
        assert_eq!((stamp.source, departure.bytes), (StampSource::User, 20 + 8 + 8));
        assert_eq!(departure.source, Some(to.ip()));
        assert!((61_000..61_064).contains(&departure.identity.selector));
    });
}
