use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use proptest::prelude::*;

use super::*;
use crate::packet::{Body, Message, Probe, Quote, Report, Segment};
use crate::testing::path::{TARGET, accepted, error, expired, router};
use crate::testing::{Coming, Run, Weather, run};
use crate::wire::icmp::IcmpErrorKind;

const MS: u64 = 1_000_000;

/// The next hops of each node, by TTL and number within it; a missing level is the target.
type Levels<'a> = &'a [&'a [u8]];

fn multipath(change: impl FnOnce(&mut Spec)) -> Multipath {
    let mut spec = Spec::new(TARGET);
    change(&mut spec);
    Multipath::new(spec, Key::new([7; 16])).unwrap()
}

fn mixed(number: u64) -> u64 {
    let z = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// What load balancers look at.
fn flow_of(probe: &Probe) -> u64 {
    let number = u64::from(probe.flow.number) << 32;
    number
        | match &probe.body {
            Body::Udp { port, .. } | Body::Tcp { port, .. } => u64::from(*port),
            Body::Echo { checksum, .. } => u64::from(checksum.unwrap()),
            Body::Timestamp | Body::TooBig { .. } => 0,
        }
}

/// The router at a TTL: 0 stands for a silent one.
fn reached(levels: Levels<'_>, ttl: u8, salt: u64) -> Option<IpAddr> {
    let level = levels.get(usize::from(ttl) - 1)?;
    let pick = mixed(salt ^ u64::from(ttl) << 56) % u64::try_from(level.len()).unwrap();
    let number = level[usize::try_from(pick).unwrap()];
    Some(if number == 0 { IpAddr::V4(Ipv4Addr::UNSPECIFIED) } else { router(number) })
}

fn answers(levels: Levels<'_>, probe: &Probe, salt: u64) -> Vec<Coming> {
    let ttl = probe.ttl.unwrap().0;
    match reached(levels, ttl, salt) {
        Some(silent) if silent.is_unspecified() => Vec::new(),
        Some(router) => vec![Coming::answer(10 * u64::from(ttl), router, expired(probe))],
        None => vec![Coming::answer(90, TARGET, accepted(probe))],
    }
}

fn through(machine: &mut Multipath, levels: Levels<'_>) -> Run {
    run(machine, |_, probe| Ok(answers(levels, probe, flow_of(probe))))
}

type Edge = ((u8, Option<IpAddr>), (u8, Option<IpAddr>));

fn edges(machine: &Multipath) -> BTreeSet<Edge> {
    let nodes: Vec<Node> = machine.nodes().collect();
    let place = |at: usize| (nodes[at].ttl.0, nodes[at].address);
    machine.samples().filter_map(|sample| Some((place(sample.from), place(sample.to?)))).collect()
}

fn addresses(machine: &Multipath, ttl: u8) -> BTreeSet<Option<IpAddr>> {
    machine.nodes().filter(|node| node.ttl.0 == ttl).map(|node| node.address).collect()
}

fn some(numbers: &[u8]) -> BTreeSet<Option<IpAddr>> {
    numbers.iter().map(|number| Some(router(*number))).collect()
}

#[test]
fn a_diamond_by_every_method() {
    use Varies::{Checksum, DestinationPort, SourcePort};
    let diamond: Levels<'_> = &[&[1], &[2, 3, 4], &[5], &[6]];
    for (method, varies) in [
        (Method::Udp, DestinationPort),
        (Method::Udp, SourcePort),
        (Method::Icmp, Checksum),
        (Method::Tcp, SourcePort),
        (Method::TcpAck, SourcePort),
    ] {
        let mut machine = multipath(|spec| {
            (spec.shape.method, spec.varies, spec.confidence) = (method, varies, 0.99);
        });
        through(&mut machine, diamond);
        assert_eq!(machine.stop(), Some(Stop::Completed), "{method:?}");
        assert_eq!(addresses(&machine, 2), some(&[2, 3, 4]), "{method:?}");
        assert_eq!(addresses(&machine, 5), BTreeSet::from([Some(TARGET)]));
        assert_eq!(machine.nodes().len(), 1 + 1 + 3 + 1 + 1 + 1);
        // source, 3 out of the first, 3 into the fourth, and on.
        assert_eq!(edges(&machine).len(), 1 + 3 + 3 + 1 + 1);
        let balancers: Vec<_> = machine.nodes().filter(|node| node.balancer.is_some()).collect();
        assert_eq!((balancers.len(), balancers[0].ttl), (1, Ttl(1)));
        assert_eq!(balancers[0].balancer, Some(Balancer::PerFlow));
        assert!(machine.nodes().all(|node| node.complete));
    }
}

#[test]
fn a_straight_path_costs_the_least_number_for_each_hop() {
    let mut machine = multipath(|_| {});
    let run = through(&mut machine, &[&[1], &[2], &[3]]);
    assert_eq!(run.probes.len(), 4 * 6);
    let mut machine = multipath(|spec| spec.confidence = 0.99);
    assert_eq!(through(&mut machine, &[&[1]]).probes.len(), 2 * 8);
    let mut machine = multipath(|spec| spec.branch_points = Some(20));
    assert!(through(&mut machine, &[&[1]]).probes.len() > 2 * 8);
}

#[test]
fn flows_are_steered_through_each_node() {
    // Sixteen nodes, each of which is asked for its next hops by six flows at least that are known to reach it.
    let wide: Vec<u8> = (10..26).collect();
    let mut machine = multipath(|spec| spec.confidence = 0.99);
    through(&mut machine, &[&[1], &wide, &[2], &[3]]);
    assert_eq!(addresses(&machine, 2), some(&wide));
    for node in machine.nodes().filter(|node| node.ttl == Ttl(2)) {
        let onward = machine.samples().filter(|sample| sample.from == node.number).count();
        assert!(onward >= 8 && node.complete, "{node:?}: {onward}");
    }
    // A flow always takes the same way, and no link was drawn that it did not show.
    for sample in machine.samples().filter(|sample| sample.from != 0) {
        let before: Vec<_> = machine
            .samples()
            .filter(|one| one.flow == sample.flow && one.ttl.0 + 1 == sample.ttl.0)
            .filter_map(|one| one.to)
            .collect();
        assert!(before.is_empty() || before.contains(&sample.from));
    }
}

#[test]
fn a_balancer_by_packet_is_told_from_one_by_flow() {
    let mut machine = multipath(|_| {});
    let mut number = 0;
    run(&mut machine, |_, probe| {
        number += 1;
        Ok(answers(&[&[1], &[2, 3], &[4]], probe, mixed(number)))
    });
    let first = machine.nodes().find(|node| node.ttl == Ttl(1)).unwrap();
    assert_eq!(first.balancer, Some(Balancer::PerPacket));
    assert_eq!(machine.stop(), Some(Stop::Completed));
}

#[test]
fn a_repetition_that_left_otherwise_proves_nothing() {
    let mut machine = multipath(|spec| {
        (spec.shape.method, spec.varies) = (Method::Tcp, Varies::SourcePort);
    });
    let mut number: u32 = 0;
    let mut now = Instant(MS);
    loop {
        match machine.poll(now) {
            Output::Send(probe) => {
                number += 1;
                // A lane that takes another source port for each packet.
                let selector = u16::try_from(61_000 + number).unwrap();
                let identity = Identity { selector, tag: 1 };
                let departure = Departure { source: None, identity, ip_id: None, bytes: 40 };
                let stamp =
                    Stamp { at: now, utc: crate::time::Utc(0), source: crate::time::StampSource::User };
                machine.handle(now, Input::Sent { probe: probe.id, stamp, departure });
                let from = match probe.ttl.unwrap().0 {
                    1 => router(1),
                    2 => router(2 + u8::try_from(mixed(number.into()) % 2).unwrap()),
                    _ => TARGET,
                };
                let message = if from == TARGET {
                    Message::Tcp(Segment {
                        source_port: 33_434,
                        flags: 4,
                        seq: Some(0),
                        ack: Some(0x1_0001),
                        window: None,
                        options: &[],
                        payload: &[],
                    })
                } else {
                    Message::Error(Report {
                        kind: IcmpErrorKind::TtlExceeded,
                        icmp_type: 11,
                        code: 0,
                        quote: Quote::default(),
                        extensions: &[],
                    })
                };
                let packet = Packet {
                    probe: probe.id,
                    from,
                    stamp,
                    ttl: None,
                    tos: None,
                    ip_id: None,
                    fragment_id: None,
                    ip_options: &[],
                    bytes: 36,
                    message,
                };
                machine.handle(now, Input::Packet(packet));
            }
            Output::WaitUntil(at) => now = at,
            Output::Wait => panic!("it waits for ever"),
            Output::Done => break,
        }
    }
    assert_eq!(machine.stop(), Some(Stop::Completed));
    assert!(machine.nodes().all(|node| node.balancer.is_none()));
    assert!(machine.samples().filter(|sample| sample.is_repetition).all(|sample| sample.to.is_none()));
}

#[test]
fn silent_nodes_stand_for_themselves() {
    let mut machine = multipath(|spec| spec.confidence = 0.99);
    through(&mut machine, &[&[1], &[2, 3], &[0], &[4]]);
    // One behind each of the two.
    let silent: Vec<_> = machine.nodes().filter(|node| node.kind == NodeKind::Silent).collect();
    assert_eq!(silent.len(), 2);
    assert!(silent.iter().all(|node| node.ttl == Ttl(3)));
    assert_eq!(addresses(&machine, 4), some(&[4]));
    assert_eq!(machine.stop(), Some(Stop::Completed));
}

#[test]
fn reasons_for_ending() {
    let ended = |change: fn(&mut Spec), levels: Levels<'_>| {
        let mut machine = multipath(change);
        let run = through(&mut machine, levels);
        (machine.stop().unwrap(), run.probes.len())
    };
    let dead: Levels<'_> = &[&[1], &[0], &[0], &[0], &[0], &[0]];
    assert_eq!(ended(|_| {}, dead).0, Stop::GapLimit);
    assert_eq!(ended(|spec| spec.gap_limit = 0, dead).0, Stop::Completed);
    assert_eq!(ended(|spec| spec.max_ttl = Ttl(2), &[&[1], &[2], &[3]]), (Stop::HopLimit, 12));
    assert_eq!(ended(|spec| spec.max_probes = 7, &[&[1], &[2], &[3]]), (Stop::ProbeLimit, 7));
    let circle: Levels<'_> = &[&[1], &[2], &[3], &[2], &[3], &[2]];
    assert_eq!(ended(|_| {}, circle).0, Stop::Loop);

    let mut machine = multipath(|_| {});
    run(&mut machine, |_, probe| {
        let prohibited = IcmpErrorKind::Prohibited { code: 13 };
        Ok(match probe.ttl.unwrap().0 {
            1 => answers(&[&[1]], probe, 0),
            _ => vec![Coming::answer(15, router(2), error(probe, prohibited, 3, 13))],
        })
    });
    assert_eq!((machine.stop(), machine.nodes().len()), (Some(Stop::Unreachable), 3));

    let mut machine = multipath(|_| {});
    run(&mut machine, |_, _| Err(SendFailure::NoRoute));
    assert_eq!(machine.stop(), Some(Stop::NotSent(SendFailure::NoRoute)));
}

#[test]
fn senseless_specs_are_refused() {
    let refuse = |change: fn(&mut Spec)| {
        let mut spec = Spec::new(TARGET);
        change(&mut spec);
        Multipath::new(spec, Key::new([0; 16])).unwrap_err()
    };
    assert_eq!(refuse(|spec| spec.first_hop = Ttl(0)), SpecError::Ttl(0, 30));
    assert_eq!(refuse(|spec| spec.confidence = 1.0), SpecError::Confidence(1.0));
    assert_eq!(refuse(|spec| spec.varies = Varies::Checksum), SpecError::Varies);
    assert_eq!(refuse(|spec| spec.shape.method = Method::Tcp), SpecError::Varies);
    assert_eq!(refuse(|spec| spec.max_probes = 0), SpecError::Probes);
    assert_eq!(refuse(|spec| spec.payload_bytes = 1), SpecError::Payload(1));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn it_ends_and_accounts_for_each_probe_once(
        widths in prop::collection::vec(1_u8..5, 0..6),
        silent in prop::option::of(0_usize..6),
        weather in prop::collection::vec(Weather::any(), 1..20),
        parallel in 1_u16..20,
        max_ttl in 1_u8..12,
        by_packet in any::<bool>(),
    ) {
        let mut machine = multipath(|spec| {
            (spec.parallel, spec.max_ttl, spec.max_probes) = (parallel, Ttl(max_ttl), 400);
        });
        let levels: Vec<Vec<u8>> = widths
            .iter()
            .enumerate()
            .map(|(ttl, width)| {
                let first = u8::try_from(ttl).unwrap() * 8;
                (0..*width).map(|n| if silent == Some(ttl) { 0 } else { first + n + 1 }).collect()
            })
            .collect();
        let levels: Vec<&[u8]> = levels.iter().map(Vec::as_slice).collect();
        let mut answered = Vec::new();
        let run = run(&mut machine, |_, probe| {
            let salt = if by_packet { mixed(probe.id.0.into()) } else { flow_of(probe) };
            answered.push(reached(&levels, probe.ttl.unwrap().0, salt).unwrap_or(TARGET));
            weather[probe.id.0 as usize % weather.len()].spoil(answers(&levels, probe, salt))
        });
        prop_assert!(machine.stop().is_some());
        prop_assert_eq!(machine.samples().len(), run.probes.len());
        prop_assert!(run.probes.len() <= 400);
        let nodes: Vec<Node> = machine.nodes().collect();
        for ((sample, (_, probe)), answered) in machine.samples().zip(&run.probes).zip(answered) {
            prop_assert_eq!(Some(sample.ttl), probe.ttl);
            prop_assert!(sample.ttl.0 <= max_ttl);
            prop_assert!(sample.replies.iter().all(|reply| reply.from == answered));
            prop_assert_eq!(matches!(sample.fate, Fate::Answered | Fate::Late), !sample.replies.is_empty());
            if let Some(to) = sample.to {
                prop_assert_eq!(nodes[to].ttl, sample.ttl);
                prop_assert_eq!(nodes[sample.from].ttl.0 + 1, sample.ttl.0);
                prop_assert!(sample.replies.is_empty() || nodes[to].address == Some(answered));
            }
        }
    }

    #[test]
    fn in_fair_weather_the_graph_is_the_network(widths in prop::collection::vec(1_u8..4, 1..5), parallel in 1_u16..20) {
        let mut machine = multipath(|spec| {
            // So sure that it does not fail in a hundred cases.
            (spec.parallel, spec.confidence, spec.max_probes) = (parallel, 0.999_999, 100_000);
        });
        let levels: Vec<Vec<u8>> = (0_u8..)
            .zip(&widths)
            .map(|(ttl, width)| (0..*width).map(|n| ttl * 8 + n + 1).collect())
            .collect();
        let levels: Vec<&[u8]> = levels.iter().map(Vec::as_slice).collect();
        through(&mut machine, &levels);
        prop_assert_eq!(machine.stop(), Some(Stop::Completed));
        for (ttl, level) in (1..).zip(&levels) {
            prop_assert_eq!(addresses(&machine, ttl), some(level));
        }
        let meshed: usize = levels.windows(2).map(|pair| pair[0].len() * pair[1].len()).sum();
        prop_assert_eq!(edges(&machine).len(), levels[0].len() + meshed + levels[levels.len() - 1].len());
        prop_assert!(machine.nodes().all(|node| node.balancer != Some(Balancer::PerPacket)));
    }
}

#[test]
fn calling_it_off_is_done_at_once() {
    let mut machine = multipath(|_| {});
    assert!(matches!(machine.poll(Instant(MS)), Output::Send(_)));
    machine.handle(Instant(MS), Input::Cancel);
    assert_eq!(machine.poll(Instant(MS)), Output::Done);
    assert_eq!(machine.stop(), Some(Stop::Halted));
}
