//! Traces that ask a hop again and again, or slowly, or with the same payload.

use std::collections::BTreeMap;

use super::*;
use crate::packet::UdpTag;

fn certain(percent: f64) -> Arc<census::Certainty> {
    Arc::new(census::Certainty::new(1.0 - percent / 100.0).unwrap())
}

fn asked(run: &Run) -> BTreeMap<u8, usize> {
    let mut asked = BTreeMap::new();
    for (_, probe) in &run.probes {
        *asked.entry(probe.ttl.unwrap().0).or_default() += 1;
    }
    asked
}

#[test]
fn a_hop_is_asked_until_nobody_else_is_likely_to_answer() {
    // The second hop shares its packets out among three, the third is silent.
    let shared = |probe: &Probe| match probe.ttl.unwrap().0 {
        2 => vec![Coming::answer(10, router(20 + u8::try_from(probe.id.0 % 3).unwrap()), expired(probe))],
        _ => row(&routers(4, &[3]), probe),
    };
    for (percent, one, three) in [(95.0, 6, 16), (99.0, 8, 21)] {
        let mut machine = trace(|spec| spec.certainty = Some(certain(percent)));
        let run = run(&mut machine, |_, probe| Ok(shared(probe)));
        assert_eq!(machine.stop(), Some(Stop::Completed));
        let seen: std::collections::BTreeSet<IpAddr> = machine
            .samples()
            .filter(|sample| sample.ttl == Ttl(2))
            .filter_map(|sample| sample.reply.map(|reply| reply.from))
            .collect();
        assert_eq!(seen.len(), 3);
        let asked = asked(&run);
        assert_eq!((asked[&1], asked[&2], asked[&3], asked[&4], asked[&5]), (one, three, 2, one, one));
    }
}

#[test]
fn what_is_lost_and_what_was_missed_is_asked_again() {
    // Every other probe is lost: with two attempts no two in a row are.
    let mut machine = trace(|spec| spec.certainty = Some(certain(95.0)));
    let mut asked_first = 0;
    let run = run(&mut machine, |_, probe| {
        asked_first += u32::from(probe.ttl == Some(Ttl(1)));
        let lost = probe.ttl == Some(Ttl(1)) && asked_first % 2 == 1;
        Ok(if lost { Vec::new() } else { row(&routers(1, &[]), probe) })
    });
    assert_eq!(asked(&run)[&1], 12);
    let mut machine = trace(|spec| (spec.certainty, spec.attempts) = (Some(certain(95.0)), 3));
    let mut missed = 0;
    let run = crate::testing::run(&mut machine, |_, probe| {
        missed += 1;
        if probe.ttl == Some(Ttl(1)) && missed <= 3 {
            return Weather::Missed.spoil(Vec::new());
        }
        Ok(row(&routers(1, &[]), probe))
    });
    assert!(asked(&run)[&1] >= 6, "{:?}", asked(&run));
    assert_eq!(machine.stop(), Some(Stop::Completed));
}

#[test]
fn there_is_an_end_to_asking() {
    // Each answer comes from somebody else.
    let mut machine = trace(|spec| spec.certainty = Some(certain(99.0)));
    let run = run(&mut machine, |_, probe| {
        let [.., high, low] = probe.id.0.to_be_bytes();
        let from = Ipv4Addr::new(203, 0, high, low).into();
        Ok(match probe.ttl.unwrap().0 {
            1 => vec![Coming::answer(1, from, expired(probe))],
            _ => row(&routers(1, &[]), probe),
        })
    });
    assert_eq!(asked(&run)[&1], usize::from(census::MAX_ASKED));
    assert_eq!(machine.stop(), Some(Stop::Completed));
}

#[test]
fn a_hop_is_left_in_peace_between_two_probes() {
    let mut machine = trace(|spec| {
        spec.all_attempts = true;
        spec.attempts = 3;
        spec.wait_hop = Nanos::from_millis(700);
    });
    let run = through(&mut machine, &routers(3, &[]));
    let mut last: BTreeMap<u8, Instant> = BTreeMap::new();
    for (at, probe) in &run.probes {
        if let Some(before) = last.insert(probe.ttl.unwrap().0, *at) {
            assert!(at.saturating_since(before) >= Nanos::from_millis(700));
        }
    }
    // Hops wait side by side.
    assert!((12..=15).contains(&run.probes.len()), "{}", run.probes.len());
    assert!(run.ended < Instant(1_000 * MS + 2 * 700 * MS + 300 * MS), "{:?}", run.ended);
}

#[test]
fn one_payload_for_all_keeps_the_ports_too() {
    for method in [Method::Udp, Method::Tcp, Method::TcpAck] {
        let mut machine = trace(|spec| {
            spec.shape.method = method;
            spec.payload_bytes = 20;
            spec.constant_payload = true;
        });
        let run = through(&mut machine, &routers(4, &[2]));
        assert_eq!(path(&machine), with_target(routers(4, &[2])), "{method:?}");
        let verified = machine.samples().filter_map(|sample| sample.reply).filter(|reply| reply.verified);
        assert!(verified.count() >= 3);
        let first = &run.probes[0].1;
        let mut under_way = 0;
        for (_, probe) in &run.probes {
            assert_eq!((&probe.body, probe.flow), (&first.body, first.flow), "{method:?}");
            under_way += 1;
        }
        assert!(under_way > 4);
        if method == Method::Udp {
            assert!(matches!(first.body, Body::Udp { tag: UdpTag::Ports, .. }));
            // The next one leaves when the one before is answered, or given up.
            let gaps = run.probes.windows(2).map(|pair| pair[1].0.saturating_since(pair[0].0));
            assert!(gaps.min().unwrap() >= Nanos::from_millis(10));
        }
    }
    let mut machine = trace(|spec| (spec.paris, spec.constant_payload) = (false, true));
    let run = through(&mut machine, &routers(2, &[]));
    assert!(run.probes.iter().all(|(_, probe)| probe.body == run.probes[0].1.body));
}
