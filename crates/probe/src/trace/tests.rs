use std::net::Ipv4Addr;

use proptest::prelude::*;

use super::*;
use crate::packet::{Body, Probe, tcp_flags};
use crate::testing::path::{TARGET, accepted, error, expired, router, routers, row};
use crate::testing::{Coming, Run, Said as Says, Weather, run};
use crate::wire::icmp::IcmpErrorKind;

mod mtu;
mod stop_sets;
mod thorough;
mod weather;

const MS: u64 = 1_000_000;

pub(super) fn trace(change: impl FnOnce(&mut Spec)) -> Trace {
    let mut spec = Spec::new(TARGET);
    change(&mut spec);
    Trace::new(spec, Key::new([7; 16])).unwrap()
}

/// The first address that answered at each TTL up to the end.
pub(super) fn path(machine: &Trace) -> Vec<Option<IpAddr>> {
    let end = machine.stop_ttl().map_or(machine.highest, |ttl| ttl.0);
    (machine.spec.first_hop.0..=end)
        .map(|ttl| {
            machine
                .samples()
                .filter(|sample| sample.ttl.0 == ttl)
                .find_map(|sample| sample.reply.map(|r| r.from))
        })
        .collect()
}

fn fates(machine: &Trace, ttl: u8) -> Vec<Fate> {
    machine.samples().filter(|sample| sample.ttl.0 == ttl).map(|sample| sample.fate).collect()
}

fn through(machine: &mut Trace, routers: &[Option<IpAddr>]) -> Run {
    run(machine, |_, probe| Ok(row(routers, probe)))
}

fn with_target(mut routers: Vec<Option<IpAddr>>) -> Vec<Option<IpAddr>> {
    routers.push(Some(TARGET));
    routers
}

#[test]
fn nine_hops_two_of_them_silent_by_every_method() {
    let way = routers(9, &[3, 7]);
    for method in [Method::Icmp, Method::Udp, Method::Tcp, Method::TcpAck] {
        for paris in [true, false] {
            let mut machine = trace(|spec| {
                spec.shape.method = method;
                spec.paris = paris;
            });
            let ended = through(&mut machine, &way).ended;
            assert_eq!(machine.stop(), Some(Stop::Completed), "{method:?}");
            assert_eq!(machine.stop_ttl(), Some(Ttl(10)));
            assert_eq!(path(&machine), with_target(way.clone()), "{method:?} {paris}");
            assert_eq!(fates(&machine, 3), [Fate::TimedOut; 2]);
            assert_eq!(fates(&machine, 4), [Fate::Answered]);
            // The silent ones cost two timeouts, both at the same time.
            assert!(ended.0 < 1_000_000_000 + 4_500 * MS, "{ended:?}");
            assert_eq!(machine.unasked(), Unasked::default());
        }
    }
}

#[test]
fn a_path_that_answers_costs_a_probe_for_each_hop_and_no_timeout() {
    let mut machine = trace(|_| {});
    let quick = |_, probe: &Probe| {
        Ok(row(&routers(3, &[]), probe).into_iter().map(|one| Coming { after: Nanos(MS), ..one }).collect())
    };
    let run = run(&mut machine, quick);
    assert_eq!(run.probes.len(), 4);
    assert_eq!(run.ended, Instant(1_004 * MS));
}

#[test]
fn little_is_remembered_of_a_short_path() {
    let mut machine = trace(|_| {});
    through(&mut machine, &routers(3, &[]));
    let bytes = size_of::<Trace>()
        + machine.entries.capacity() * size_of::<Entry>()
        + machine.replies.capacity() * size_of::<Reply>()
        + machine.hops.capacity() * size_of::<Hop>();
    assert!(bytes <= 2_048, "{bytes}: {} {} {}", size_of::<Trace>(), size_of::<Entry>(), size_of::<Reply>());
}

#[test]
fn paris_probes_keep_their_flow_and_classic_ones_change_it() {
    let probes = |method, paris| {
        let mut machine = trace(|spec| {
            spec.shape.method = method;
            spec.paris = paris;
        });
        let run = through(&mut machine, &routers(4, &[]));
        run.probes.into_iter().map(|(_, probe)| probe).collect::<Vec<_>>()
    };
    for probe in probes(Method::Udp, true) {
        assert!(matches!(probe.body, Body::Udp { port: 33_434, tag: crate::packet::UdpTag::Checksum, .. }));
        assert_eq!(probe.flow.number, 0);
    }
    for (probe, n) in probes(Method::Udp, false).iter().zip(0..) {
        assert!(matches!(probe.body, Body::Udp { port, .. } if port == 33_434 + n));
    }
    let checksums: Vec<Option<u16>> = probes(Method::Icmp, true)
        .iter()
        .map(|probe| match probe.body {
            Body::Echo { checksum, .. } => checksum,
            _ => panic!(),
        })
        .collect();
    assert!(checksums[0].is_some() && checksums.iter().all(|one| *one == checksums[0]));
    assert!(matches!(probes(Method::Icmp, false)[0].body, Body::Echo { checksum: None, .. }));
    let numbers: Vec<u16> = probes(Method::Tcp, false).iter().map(|probe| probe.flow.number).collect();
    assert!(numbers.len() >= 5 && numbers.iter().zip(0..).all(|(number, n)| *number == n));
    assert!(matches!(probes(Method::TcpAck, true)[0].body, Body::Tcp { flags: tcp_flags::ACK, .. }));
}

#[test]
fn options_reach_the_wire() {
    let mut machine = trace(|spec| {
        spec.shape = shape::Shape {
            method: Method::Udp,
            source: Some(router(77)),
            tos: 0x48,
            dont_fragment: true,
            fragment_offset: 185,
            router: Some(router(78)),
        };
        spec.selector = Some(61_234);
        spec.flow = 3;
        spec.payload_bytes = 100;
        spec.first_hop = Ttl(3);
        spec.max_ttl = Ttl(4);
    });
    let run = through(&mut machine, &routers(9, &[]));
    assert_eq!(machine.stop(), Some(Stop::HopLimit));
    let ttls: Vec<u8> = run.probes.iter().map(|(_, probe)| probe.ttl.unwrap().0).collect();
    assert_eq!(ttls, [3, 4]);
    let probe = &run.probes[0].1;
    assert_eq!((probe.source, probe.tos, probe.dont_fragment), (Some(router(77)), 0x48, true));
    assert_eq!((probe.flow.number, probe.flow.selector), (3, Some(61_234)));
    assert_eq!(probe.fragment_offset, 185);
    assert!(matches!(&probe.body, Body::Udp { payload, .. } if payload.len() == 100));
}

/// Six routers in a row are silent, and the destination behind them is not.
#[test]
fn behind_a_gap_the_destination_itself_is_asked() {
    let way = routers(8, &[2, 3, 4, 5, 6, 7]);
    let asked = |last_ditch: bool, lost: bool| {
        let mut machine = trace(|spec| spec.last_ditch = last_ditch);
        run(&mut machine, |_, probe| {
            let lost = lost && probe.ttl == Some(Ttl(255));
            if lost { Ok(Vec::new()) } else { Ok(row(&way, probe)) }
        });
        assert_eq!(
            (machine.stop(), machine.stop_ttl(), path(&machine).len()),
            (Some(Stop::GapLimit), None, 1)
        );
        let found: Vec<_> = machine
            .samples()
            .filter(|sample| sample.of_last_ditch)
            .map(|sample| (sample.ttl.0, sample.attempt, sample.reply.map(|reply| reply.from)))
            .collect();
        found
    };
    assert_eq!(asked(false, false), []);
    assert_eq!(asked(true, false), [(255, 0, Some(TARGET))]);
    assert_eq!(asked(true, true), [(255, 0, None), (255, 1, None)]);
}

/// What was asked for goes out, whatever the size that a search for the MTU wants; a reply that shows other bytes is
/// nobody's, and none is proof.
#[test]
fn a_payload_of_ones_own() {
    let payload: Vec<u8> = (1..=40).collect();
    for method in [Method::Icmp, Method::Udp, Method::Tcp] {
        let mut machine = trace(|spec| {
            spec.shape.method = method;
            (spec.payload_bytes, spec.payload) = (40, Some(payload.clone().into()));
            spec.pmtud = Some(Pmtud { size: 1_500 });
        });
        let way = routers(2, &[]);
        let run = run(&mut machine, |_, probe| Weather::Forged.spoil(row(&way, probe)));
        assert_eq!((machine.stop(), path(&machine)), (Some(Stop::Completed), with_target(way)));
        for (_, probe) in &run.probes {
            let (Body::Echo { payload: sent, .. }
            | Body::Udp { payload: sent, .. }
            | Body::Tcp { payload: sent, .. }) = &probe.body
            else {
                panic!("{probe:?}")
            };
            assert!(sent.starts_with(&payload) && sent[40..].iter().all(|byte| *byte == 0), "{sent:?}");
        }
        let unproven =
            machine.samples().filter(|sample| sample.reply.is_some_and(|reply| !reply.verified)).count();
        let by_number =
            machine.samples().filter(|sample| matches!(sample.reply.unwrap().said, Said::Tcp { .. })).count();
        assert_eq!(unproven + by_number, machine.samples().len());
    }
}

#[test]
fn probes_are_as_far_apart_and_as_many_as_asked() {
    let mut machine = trace(|spec| {
        spec.wait = Nanos::from_millis(100);
        spec.attempts = 3;
        spec.all_attempts = true;
    });
    let run = through(&mut machine, &routers(2, &[]));
    assert_eq!(machine.stop(), Some(Stop::Completed));
    for ttl in 1..=3 {
        assert_eq!(fates(&machine, ttl), [Fate::Answered; 3]);
    }
    for pair in run.probes.windows(2) {
        assert!(pair[1].0.0 - pair[0].0.0 >= 100 * MS);
    }
}

#[test]
fn a_silent_end_is_the_gap_limit() {
    let mut machine = trace(|spec| spec.gap_limit = 3);
    let run = through(&mut machine, &routers(20, &[4, 5, 6, 7]));
    assert_eq!(machine.stop(), Some(Stop::GapLimit));
    assert_eq!(path(&machine), routers(3, &[]));
    assert!(run.probes.iter().all(|(_, probe)| probe.ttl.unwrap().0 <= 6));
    assert_eq!(run.probes.len(), 3 + 3 * 2);
}

#[test]
fn a_router_that_lets_nothing_pass_ends_the_path() {
    let mut machine = trace(|_| {});
    let run = run(&mut machine, |_, probe| {
        let prohibited = IcmpErrorKind::Prohibited { code: 13 };
        Ok(match probe.ttl.unwrap().0 {
            0..4 => row(&routers(9, &[]), probe),
            _ => vec![Coming::answer(15, router(4), error(probe, prohibited, 3, 13))],
        })
    });
    let kind = IcmpErrorKind::Prohibited { code: 13 };
    assert_eq!(machine.stop(), Some(Stop::Unreachable { kind, code: 13 }));
    assert_eq!((machine.stop_ttl(), machine.is_reached()), (Some(Ttl(4)), false));
    assert_eq!(path(&machine), routers(4, &[]));
    assert!(run.probes.len() <= 6);
}

#[test]
fn a_loop_ends_it_and_a_repeated_hop_does_not() {
    let lasso: Vec<_> = [1, 2, 2, 3, 4, 3, 4, 3, 4, 3, 4].map(|n| Some(router(n))).to_vec();
    let mut machine = trace(|_| {});
    through(&mut machine, &lasso);
    assert_eq!((machine.stop(), machine.stop_ttl()), (Some(Stop::Loop), Some(Ttl(6))));
    let mut machine = trace(|spec| spec.loops = 0);
    through(&mut machine, &lasso);
    assert_eq!(machine.stop(), Some(Stop::Completed));
    let mut machine = trace(|spec| spec.loops = 3);
    through(&mut machine, &lasso);
    assert_eq!((machine.stop(), machine.stop_ttl()), (Some(Stop::Loop), Some(Ttl(8))));
}

#[test]
fn a_rate_limited_router_answers_the_second_time() {
    let mut machine = trace(|_| {});
    let mut asked = 0;
    run(&mut machine, |_, probe| {
        asked += u8::from(probe.ttl == Some(Ttl(2)));
        let limited = probe.ttl == Some(Ttl(2)) && asked == 1;
        Ok(if limited { Vec::new() } else { row(&routers(3, &[]), probe) })
    });
    assert_eq!(path(&machine), with_target(routers(3, &[])));
    assert_eq!(fates(&machine, 2), [Fate::TimedOut, Fate::Answered]);
}

#[test]
fn a_destination_may_answer_from_another_address() {
    let other = IpAddr::V4(Ipv4Addr::new(198, 51, 100, 200));
    for method in [Method::Icmp, Method::Udp] {
        let mut machine = trace(|spec| spec.shape.method = method);
        run(&mut machine, |_, probe| {
            Ok(match probe.ttl.unwrap().0 {
                1 => row(&routers(1, &[]), probe),
                _ => vec![Coming::answer(5, other, accepted(probe))],
            })
        });
        assert_eq!(machine.stop(), Some(Stop::Completed), "{method:?}");
        assert_eq!(path(&machine), [Some(router(1)), Some(other)]);
    }
}

#[test]
fn what_a_nat_rewrote_is_told() {
    let mut machine = trace(|spec| spec.shape.method = Method::Udp);
    run(&mut machine, |_, probe| {
        let mut coming = row(&routers(2, &[]), probe);
        if probe.ttl == Some(Ttl(2))
            && let crate::testing::What::Answer(answer) = &mut coming[0].what
            && let Says::Error { quoted, extensions, .. } = &mut answer.message
        {
            quoted.source = Some(router(200));
            quoted.source_port = Some(4_000);
            quoted.checksum = Some(1);
            quoted.payload.clear();
            *extensions = vec![0, 8, 1, 1, 0, 0x3f, 0xf1, 1];
        }
        Ok(coming)
    });
    let sample = machine.samples().find(|sample| sample.ttl == Ttl(2)).unwrap();
    let reply = sample.reply.unwrap();
    let Said::Error { quote, .. } = reply.said else { panic!() };
    assert_eq!(quote.altered.names().collect::<Vec<_>>(), ["source", "source_port", "checksum"]);
    assert_eq!((reply.verified, reply.extensions.len()), (false, 8));
    let first = machine.samples().next().unwrap().reply.unwrap().clone();
    assert!(first.verified);
    assert!(
        matches!(first.said, Said::Error { quote, .. } if quote.altered.is_empty() && quote.ttl == Some(Ttl(1)))
    );
}

#[test]
fn forged_answers_make_no_hop() {
    for method in [Method::Icmp, Method::Udp, Method::Tcp, Method::TcpAck] {
        let mut machine = trace(|spec| {
            spec.shape.method = method;
            spec.payload_bytes = 32;
        });
        run(&mut machine, |_, probe| {
            let mut stranger = probe.clone();
            stranger.id = ProbeId(probe.id.0 + 1_000);
            match &mut stranger.body {
                Body::Echo { payload, .. } | Body::Udp { payload, .. } | Body::Tcp { payload, .. } => {
                    payload[0] ^= 1;
                }
                Body::Timestamp | Body::TooBig { .. } => {}
            }
            let forged = [
                accepted(&stranger),
                expired(&stranger),
                Says::EchoReply(vec![]),
                Says::Udp { source_port: 1, payload: vec![] },
            ];
            let mut coming: Vec<Coming> =
                forged.into_iter().map(|said| Coming::answer(1, router(66), said)).collect();
            coming.extend(row(&routers(2, &[]), probe));
            Ok(coming)
        });
        assert_eq!(path(&machine), with_target(routers(2, &[])), "{method:?}");
        assert!(machine.unasked().foreign >= 12);
    }
}

#[test]
fn an_overrun_is_no_silence_and_costs_no_attempt() {
    let mut machine = trace(|spec| spec.attempts = 1);
    let mut missed = false;
    run(&mut machine, |_, probe| {
        if probe.ttl == Some(Ttl(2)) && !std::mem::replace(&mut missed, true) {
            return Weather::Missed.spoil(Vec::new());
        }
        Ok(row(&routers(3, &[]), probe))
    });
    assert_eq!(fates(&machine, 2), [Fate::Overrun, Fate::Answered]);
    assert_eq!(path(&machine), with_target(routers(3, &[])));
}

#[test]
fn what_can_not_be_sent_ends_it() {
    let mut machine = trace(|_| {});
    run(&mut machine, |_, _| Err(SendFailure::NoRoute));
    assert_eq!(machine.stop(), Some(Stop::NotSent(SendFailure::NoRoute)));
    assert_eq!(machine.samples().len(), 1);
}

#[test]
fn calling_it_off_is_done_at_once() {
    let mut machine = trace(|_| {});
    assert!(matches!(machine.poll(Instant(1)), Output::Send(_)));
    machine.handle(Instant(1), Input::Cancel);
    assert_eq!(machine.poll(Instant(1)), Output::Done);
    assert_eq!((machine.stop(), fates(&machine, 1)), (Some(Stop::Halted), vec![Fate::Cancelled]));
}

#[test]
fn senseless_specs_are_refused() {
    let refuse = |change: fn(&mut Spec)| {
        let mut spec = Spec::new(TARGET);
        change(&mut spec);
        Trace::new(spec, Key::new([0; 16])).unwrap_err()
    };
    assert_eq!(refuse(|spec| spec.first_hop = Ttl(0)), SpecError::Ttl(0, 30));
    assert_eq!(refuse(|spec| spec.first_hop = Ttl(31)), SpecError::Ttl(31, 30));
    assert_eq!(refuse(|spec| spec.attempts = 0), SpecError::Attempts(0));
    assert_eq!(refuse(|spec| spec.parallel = 0), SpecError::Parallel(0));
    assert_eq!(refuse(|spec| spec.payload_bytes = 1), SpecError::Payload(1));
    assert_eq!(refuse(|spec| spec.selector = Some(0)), SpecError::Port);
    assert_eq!(refuse(|spec| spec.constant_payload = true), SpecError::ConstantPayload);
}
