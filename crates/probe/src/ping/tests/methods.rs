//! Every method on the virtual clock, and what judges its answers.

use std::net::Ipv6Addr;

use super::*;
use crate::{
    packet::tcp_flags::{ACK, RST, SYN},
    schedule::Schedule,
    testing::{self, Coming, Quoted, Said, Weather, What},
};

const METHODS: [Method; 11] = [
    Method::Icmp,
    Method::IcmpTimestamp,
    Method::Udp,
    Method::UdpDport,
    Method::UdpSport,
    Method::TcpSyn,
    Method::TcpSynSport,
    Method::TcpAck,
    Method::TcpAckSport,
    Method::TcpSynAck,
    Method::TcpRst,
];

/// What a host that has a service on each port, and a router that is strict, say to a probe.
fn answer(now: Instant, probe: &Probe, reset: bool) -> Said {
    let tag = u32::from(testing::identity(probe).tag) << 16 | 5;
    match &probe.body {
        Body::Echo { payload, .. } => Said::EchoReply(payload.clone()),
        Body::Timestamp => {
            let utc = (1_700_000_000_000 + now.0 / 1_000_000) % 86_400_000;
            Said::TimestampReply { originate: u32::try_from(utc).unwrap(), receive: 1, transmit: 2 }
        }
        Body::TooBig { .. } => panic!("nothing answers that"),
        Body::Udp { port, payload, tag: told_by } => {
            let mut payload = payload.clone();
            if *told_by == UdpTag::Checksum {
                let at = payload.len() / 2 * 2 - 2;
                payload[at..at + 2].copy_from_slice(&[0xab, 0xcd]);
            }
            Said::Udp { source_port: *port, payload }
        }
        Body::Tcp { port, flags, seq, ack, .. } => {
            let (seq, ack) = (seq.unwrap_or(tag), ack.unwrap_or(tag));
            let (flags, seq, ack) = match (*flags, reset) {
                (SYN, false) => (SYN | ACK, 99, seq.wrapping_add(1)),
                (SYN, true) => (RST | ACK, 0, seq.wrapping_add(1)),
                (RST, _) => (ACK, ack, seq),
                _ => (RST, ack, 0),
            };
            Said::Tcp { source_port: *port, flags, seq, ack, window: 1024 }
        }
    }
}

fn machine(method: Method, change: impl FnOnce(&mut Spec)) -> Ping {
    ping(|spec| {
        spec.method = method;
        spec.count = 4;
        spec.interval = Nanos::from_millis(100);
        spec.schedule = Schedule::Periodic;
        change(spec);
    })
}

fn fields(seq: Option<u32>, mss: Option<u16>) -> TcpFields {
    TcpFields { seq, ack: None, mss }
}

#[test]
fn every_method_is_answered() {
    for method in METHODS {
        for reset in [false, true] {
            let mut machine = machine(method, |_| {});
            let run = testing::run(&mut machine, |now, probe| {
                Ok(vec![Coming::answer(20, TARGET, answer(now, probe, reset))])
            });
            assert!(
                machine.samples().all(|sample| matches!(sample.fate, Fate::Replied(_))
                    && sample.rtt == Some(Nanos::from_millis(20))),
                "{method:?} {:?}",
                machine.samples().collect::<Vec<_>>()
            );
            assert_eq!((run.probes.len(), machine.end()), (4, Some(End::Completed)));
            assert_eq!(machine.source(), Some(testing::SOURCE));
        }
    }
}

#[test]
fn ports_grow_where_they_are_to() {
    let ports = |method, selector| {
        let mut machine = machine(method, |spec| {
            spec.port = 500;
            spec.selector = selector;
        });
        let run = testing::run(&mut machine, |_, _| Ok(vec![]));
        let port = |probe: &Probe| match probe.body {
            Body::Udp { port, .. } | Body::Tcp { port, .. } => port,
            _ => 0,
        };
        let of = |(_, probe): &(Instant, Probe)| (probe.flow.number, probe.flow.selector, port(probe));
        let all: Vec<_> = run.probes.iter().map(of).collect();
        (all[0], all[3])
    };
    assert_eq!(ports(Method::Udp, None), ((0, None, 500), (0, None, 500)));
    assert_eq!(ports(Method::UdpDport, Some(9)), ((0, Some(9), 500), (0, Some(9), 503)));
    assert_eq!(ports(Method::UdpSport, None), ((0, None, 500), (3, None, 500)));
    assert_eq!(ports(Method::TcpSynSport, Some(9)), ((0, Some(9), 500), (3, Some(12), 500)));
    assert_eq!(ports(Method::TcpAck, None), ((0, None, 500), (0, None, 500)));
}

#[test]
fn header_fields_reach_the_probe() {
    let mut machine = machine(Method::TcpSyn, |spec| {
        spec.count = 1;
        (spec.tos, spec.dont_fragment, spec.source) = (0x2e << 2, true, Some(testing::SOURCE));
        spec.tcp = Some(Box::new(fields(Some(7), Some(1400))));
        spec.ip_option = Some(Box::new(options::IpOption::RecordRoute));
    });
    let run = testing::run(&mut machine, |_, _| Ok(vec![]));
    let probe = &run.probes[0].1;
    assert_eq!((probe.tos, probe.dont_fragment, probe.source), (184, true, Some(testing::SOURCE)));
    assert_eq!(probe.ip_options.len(), 40);
    let body =
        Body::Tcp { port: 33_435, flags: SYN, seq: Some(7), ack: None, mss: Some(1400), payload: vec![] };
    assert_eq!(probe.body, body);
}

#[test]
fn an_unreachable_port_is_an_answer_to_udp_and_none_to_tcp() {
    let unreachable = || Said::Error {
        kind: IcmpErrorKind::PortUnreachable,
        icmp_type: 3,
        code: 3,
        quoted: Quoted::default(),
        extensions: vec![],
    };
    let mut udp = machine(Method::Udp, |_| {});
    testing::run(&mut udp, |_, _| Ok(vec![Coming::answer(5, TARGET, unreachable())]));
    let first = udp.samples().next().unwrap().fate;
    let answer = Answer::PortUnreachable { icmp_type: 3, code: 3, verified: false };
    assert!(matches!(first, Fate::Replied(reply) if reply.answer == answer));
    let mut tcp = machine(Method::TcpSyn, |_| {});
    testing::run(&mut tcp, |_, _| Ok(vec![Coming::answer(5, TARGET, unreachable())]));
    let first = tcp.samples().next().unwrap().fate;
    assert!(matches!(first, Fate::Error(report) if (report.icmp_type, report.code) == (3, 3)));
}

/// All datagrams of the method have the same ports; an echo of the payload says whose it is.
#[test]
fn a_datagram_that_repeats_a_cookie_finds_its_probe() {
    let mut machine = machine(Method::Udp, |spec| spec.interval = Nanos::ZERO);
    testing::run(&mut machine, |now, probe| {
        let after = 100 - u64::from(probe.id.0) * 10;
        let mut coming = Coming::answer(after, TARGET, answer(now, probe, false));
        if let What::Answer(answer) = &mut coming.what {
            answer.probe = Some(ProbeId(3));
        }
        Ok(vec![coming])
    });
    let rtts: Vec<_> = machine.samples().map(|sample| sample.rtt.unwrap().0 / MS).collect();
    assert_eq!(rtts, [100, 90, 80, 70]);
}

#[test]
fn forged_answers_are_foreign() {
    let segment = |source_port, flags, seq, ack| Said::Tcp { source_port, flags, seq, ack, window: 0 };
    let forged: Vec<(Method, Said)> = vec![
        (Method::IcmpTimestamp, Said::TimestampReply { originate: 5, receive: 1, transmit: 1 }),
        (Method::UdpSport, Said::Udp { source_port: 53, payload: vec![] }),
        (Method::TcpSyn, segment(80, SYN | ACK, 1, 0x0001_0006)),
        (Method::TcpSyn, segment(33_435, SYN | ACK, 1, 0x0002_0006)),
        (Method::TcpSyn, segment(33_435, RST, 0x0001_0005, 0)),
        (Method::TcpAck, segment(33_435, RST, 0x0002_0005, 0)),
        (Method::TcpAck, segment(33_435, ACK, 0x0001_0005, 0x0001_0005)),
        (Method::TcpSyn, Said::EchoReply(vec![0; 56])),
        (Method::Icmp, Said::Udp { source_port: 33_435, payload: vec![] }),
    ];
    for (method, said) in forged {
        let mut machine = machine(method, |spec| spec.count = 1);
        testing::run(&mut machine, |_, _| Ok(vec![Coming::answer(5, TARGET, said.clone())]));
        let fate = machine.samples().next().unwrap().fate;
        assert_eq!((fate, machine.unasked().foreign), (Fate::TimedOut, 1), "{method:?} {said:?}");
    }
}

#[test]
fn numbers_that_are_asked_for_must_come_back_whole() {
    for (number, replied) in [(8, true), (7, false), (9, false)] {
        let mut machine = machine(Method::TcpSyn, |spec| {
            (spec.tcp, spec.count) = (Some(Box::new(fields(Some(7), None))), 1);
        });
        let segment = Said::Tcp { source_port: 33_435, flags: SYN | ACK, seq: 1, ack: number, window: 0 };
        testing::run(&mut machine, |_, _| Ok(vec![Coming::answer(5, TARGET, segment.clone())]));
        let fate = machine.samples().next().unwrap().fate;
        assert_eq!(matches!(fate, Fate::Replied(_)), replied, "{number}");
    }
}

#[test]
fn what_looks_alike_goes_one_by_one() {
    let mut machine = machine(Method::TcpSyn, |spec| spec.tcp = Some(Box::new(fields(Some(7), None))));
    let run = testing::run(&mut machine, |_, probe| {
        let segment = Said::Tcp { source_port: 33_435, flags: SYN | ACK, seq: 1, ack: 8, window: 0 };
        Ok(if probe.id.0 == 0 { vec![] } else { vec![Coming::answer(5, TARGET, segment)] })
    });
    let gaps: Vec<u64> = run.probes.windows(2).map(|pair| (pair[1].0.0 - pair[0].0.0) / MS).collect();
    assert_eq!(gaps, [1000, 100, 100]);
}

/// What answers the same ports with datagrams of its own can't be told apart: from the first such answer on there is
/// but one probe at a time.
#[test]
fn anonymous_datagrams_go_one_by_one() {
    let mut machine = machine(Method::Udp, |_| {});
    let run = testing::run(&mut machine, |_, probe| {
        let datagram = Said::Udp { source_port: 33_435, payload: b"hello".to_vec() };
        Ok(if probe.id.0 == 1 { vec![] } else { vec![Coming::answer(5, TARGET, datagram)] })
    });
    let gaps: Vec<u64> = run.probes.windows(2).map(|pair| (pair[1].0.0 - pair[0].0.0) / MS).collect();
    assert_eq!(gaps, [100, 1000, 100]);
}

#[test]
fn a_payload_that_was_given_goes_out_and_must_come_back() {
    let mut machine = machine(Method::Icmp, |spec| spec.payload = Some([1, 2, 3].into()));
    testing::run(&mut machine, |_, probe| {
        assert_eq!(probe.body, Body::Echo { payload: vec![1, 2, 3], checksum: None });
        let payload = if probe.id.0 == 0 { vec![1, 2] } else { vec![1, 2, 3] };
        Ok(vec![Coming::answer(5, TARGET, Said::EchoReply(payload))])
    });
    assert_eq!(machine.samples().filter(|sample| matches!(sample.fate, Fate::Replied(_))).count(), 3);
    assert_eq!(machine.unasked().foreign, 1);
}

#[test]
fn what_may_have_been_missed_is_overrun() {
    let mut machine = machine(Method::Icmp, |spec| spec.count = 3);
    let overrun = Coming { after: Nanos::from_millis(150), what: What::Overrun };
    testing::run(&mut machine, |now, probe| {
        Ok(match probe.id.0 {
            0 => vec![overrun.clone()],
            1 => vec![Coming::answer(200, TARGET, answer(now, probe, false))],
            _ => vec![],
        })
    });
    let fates = fates(&machine);
    assert_eq!((&fates[0], &fates[2]), (&Fate::Overrun, &Fate::TimedOut));
    assert!(matches!(fates[1], Fate::Replied(_)), "an answer that came was not missed");
}

#[test]
fn duplicates_are_waited_for_on_request() {
    let echo = |after, probe: &Probe| {
        let Body::Echo { payload, .. } = &probe.body else { panic!() };
        Coming::answer(after, TARGET, Said::EchoReply(payload.clone()))
    };
    for (wait, ended, duplicates) in [(false, 1_110, 0), (true, 2_100, 1)] {
        let mut machine = machine(Method::Icmp, |spec| (spec.count, spec.wait_duplicates) = (2, wait));
        let run = testing::run(&mut machine, |_, probe| Ok(vec![echo(10, probe), echo(500, probe)]));
        assert_eq!(run.ended, Instant(ended * MS));
        let repeats = machine.repeats();
        assert_eq!(repeats.len(), 2 * duplicates);
        assert!(repeats.iter().all(|repeat| repeat.rtt == Some(Nanos::from_millis(500))));
    }
}

#[test]
fn senseless_combinations_are_refused() {
    let v6 = IpAddr::V6(Ipv6Addr::LOCALHOST);
    let refuse = |change: &dyn Fn(&mut Spec)| {
        let mut spec = Spec::new(TARGET);
        change(&mut spec);
        Ping::new(spec, Key::new([0; 16])).unwrap_err()
    };
    assert_eq!(refuse(&|spec| (spec.target, spec.method) = (v6, Method::IcmpTimestamp)), SpecError::Ipv6);
    assert_eq!(refuse(&|spec| spec.source = Some(v6)), SpecError::Source);
    assert_eq!(refuse(&|spec| (spec.method, spec.payload_bytes) = (Method::Udp, 1)), SpecError::PayloadWord);
    assert_eq!(
        refuse(&|spec| (spec.icmp_checksum, spec.payload_bytes) = (Some(1), 0)),
        SpecError::PayloadWord
    );
    assert_eq!(refuse(&|spec| (spec.method, spec.port) = (Method::UdpDport, 65_534)), SpecError::Ports);
    assert_eq!(refuse(&|spec| (spec.method, spec.port) = (Method::TcpSyn, 0)), SpecError::Port);
}

/// The bound of the project: 400 bytes for each probe that is under way, were it the only one of its machine.
#[test]
fn memory_is_bounded() {
    let (machine, entry) = (size_of::<Ping>(), size_of::<Entry>());
    assert!(machine + entry <= 400, "{machine} + {entry}");
    assert!(2 * entry <= 400, "{entry}, in a vector that doubles");
}

proptest! {
    #[test]
    fn any_weather_is_survived(
        weather in prop::collection::vec(Weather::any(), 1..40),
        method in prop::sample::select(METHODS.to_vec()),
        interval in prop_oneof![Just(0), 0..300 * MS],
        schedule in 0_u8..4,
        stop_after in prop::option::weighted(0.2, 1_u32..20),
        wait_duplicates in any::<bool>(),
        cancelled in prop::option::weighted(0.2, 0_u64..2000),
        fixed in any::<bool>(),
        (reset, stepped) in any::<(bool, bool)>(),
    ) {
        let count = u32::try_from(weather.len()).unwrap();
        let mut machine = machine(method, |spec| {
            spec.count = count;
            spec.interval = Nanos(interval);
            spec.schedule = match schedule {
                0 => Schedule::Poisson { seed: interval },
                1 => Schedule::SendOnReceive,
                _ => Schedule::Periodic,
            };
            (spec.stop_after, spec.wait_duplicates) = (stop_after, wait_duplicates);
            spec.tcp = Some(Box::new(fields(fixed.then_some(9), None)));
        });
        let run = testing::run(&mut machine, |now, probe| {
            let answer = Coming::answer(30, TARGET, answer(now, probe, reset));
            let mut coming = weather[probe.id.0 as usize].spoil(vec![answer])?;
            coming.push(Coming { after: Nanos::from_millis(1), what: What::Stamped(50) });
            if stepped {
                coming.push(Coming { after: Nanos::from_millis(2), what: What::ClockStepped });
            }
            if let (0, Some(after)) = (probe.id.0, cancelled) {
                coming.push(Coming { after: Nanos::from_millis(after), what: What::Cancel });
            }
            Ok(coming)
        });
        let samples: Vec<_> = machine.samples().collect();
        prop_assert_eq!(run.probes.len(), samples.len());
        let end = machine.end().unwrap();
        prop_assert!(end != End::Cancelled || cancelled.is_some());
        if end == End::Completed {
            prop_assert_eq!(samples.len(), weather.len());
        }
        for (sample, weather) in samples.iter().zip(&weather) {
            let fate = &sample.fate;
            prop_assert_eq!(matches!(fate, Fate::NotSent(_)), matches!(weather, Weather::Refused));
            prop_assert_eq!(sample.sent.is_none(), matches!(weather, Weather::Refused));
            prop_assert!(end != End::Completed || *fate != Fate::Cancelled);
            if let Fate::Replied(_) = fate {
                prop_assert!(sample.rtt.unwrap() <= machine.spec().timeout);
            }
            // When civil time was set a timestamp request proves nothing by its time.
            let provable = method != Method::IcmpTimestamp || !stepped;
            let from = fate.arrival().map(|arrival| arrival.from);
            prop_assert!(!provable || from != Some(testing::FORGER), "{fate:?}");
        }
        let replied = samples.iter().filter(|sample| matches!(sample.fate, Fate::Replied(_))).count();
        prop_assert!(end != End::Enough || replied >= stop_after.unwrap() as usize);
    }
}
