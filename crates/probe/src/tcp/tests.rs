use std::net::Ipv4Addr;

use proptest::prelude::*;

use super::*;
use crate::{
    packet::tcp_flags::{ACK, RST, SYN},
    testing::{self, Coming, Quoted, Said, Weather, What},
    wire::icmp::IcmpErrorKind,
};

const TARGET: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
const ROUTER: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 254));
const SECOND: u64 = 1_000_000_000;

fn tcp(retries: u8) -> Tcp {
    Tcp::new(Spec { retries, ..Spec::new(TARGET, 80) })
}

fn segment(after_ms: u64, probe: &Probe, flags: u8) -> Coming {
    let ack = (u32::from(testing::identity(probe).tag) << 16 | 5) + 1;
    Coming::answer(after_ms, TARGET, Said::Tcp { source_port: 80, flags, seq: 9, ack, window: 512 })
}

fn fates(machine: &Tcp) -> Vec<Fate> {
    machine.attempts().map(|attempt| attempt.fate).collect()
}

#[test]
fn open_and_closed_are_told_apart() {
    let mut open = tcp(2);
    let run = testing::run(&mut open, |_, probe| Ok(vec![segment(30, probe, SYN | ACK)]));
    let attempt = open.attempts().next().unwrap();
    assert_eq!((attempt.rtt, run.ended), (Some(Nanos::from_millis(30)), Instant(SECOND + 30_000_000)));
    assert!(matches!(attempt.fate, Fate::Open(handshake) if handshake.window == Some(512)));
    let mut closed = tcp(2);
    testing::run(&mut closed, |_, probe| Ok(vec![segment(30, probe, RST | ACK)]));
    assert!(matches!(fates(&closed)[..], [Fate::Closed(_)]));
}

#[test]
fn an_icmp_error_ends_it() {
    let mut machine = tcp(2);
    testing::run(&mut machine, |_, _| {
        let (kind, quoted) = (IcmpErrorKind::Prohibited { code: 13 }, Quoted::default());
        let error = Said::Error { kind, icmp_type: 3, code: 13, quoted, extensions: vec![] };
        Ok(vec![Coming::answer(5, ROUTER, error)])
    });
    assert!(matches!(&fates(&machine)[..], [Fate::Unreachable(report)] if report.arrival.from == ROUTER));
}

#[test]
fn silence_is_asked_again_after_times_that_double() {
    let mut machine = tcp(2);
    let run = testing::run(&mut machine, |_, _| Ok(vec![]));
    let left: Vec<u64> = run.probes.iter().map(|(at, _)| at.0 / SECOND).collect();
    assert_eq!((left, run.ended), (vec![1, 2, 4], Instant(8 * SECOND)));
    assert_eq!(fates(&machine), [Fate::TimedOut, Fate::TimedOut, Fate::TimedOut]);
    let flows: Vec<_> = run.probes.iter().map(|(_, probe)| probe.flow.number).collect();
    assert_eq!(flows, [0, 1, 2]);
}

#[test]
fn a_late_answer_is_its_own_attempts() {
    let mut machine = tcp(3);
    testing::run(&mut machine, |_, probe| {
        Ok(if probe.id.0 == 0 { vec![segment(1_500, probe, SYN | ACK)] } else { vec![] })
    });
    let attempts: Vec<_> = machine.attempts().collect();
    assert!(matches!(attempts[0].fate, Fate::Open(_)));
    assert_eq!(attempts[0].rtt, Some(Nanos::from_millis(1_500)));
    assert_eq!((&attempts[1].fate, attempts.len()), (&Fate::Cancelled, 2));
}

#[test]
fn a_reset_without_our_number_is_foreign() {
    let mut machine = tcp(0);
    testing::run(&mut machine, |_, probe| {
        let forged = |flags, ack| {
            Coming::answer(5, TARGET, Said::Tcp { source_port: 80, flags, seq: 0, ack, window: 0 })
        };
        let mut other = segment(5, probe, SYN | ACK);
        if let What::Answer(answer) = &mut other.what
            && let Said::Tcp { source_port, .. } = &mut answer.message
        {
            *source_port = 81;
        }
        Ok(vec![forged(RST, 0), forged(RST | ACK, 0x00ff_0001), forged(ACK, 0x0001_0006), other])
    });
    assert_eq!((fates(&machine), machine.unasked().foreign), (vec![Fate::TimedOut], 4));
}

#[test]
fn what_never_left_and_what_was_missed_are_told() {
    let mut refused = tcp(2);
    testing::run(&mut refused, |_, _| Err(SendFailure::NoRoute));
    assert_eq!(fates(&refused), [Fate::NotSent(SendFailure::NoRoute)]);
    let mut missed = tcp(0);
    testing::run(&mut missed, |_, _| Ok(vec![Coming { after: Nanos::from_millis(5), what: What::Overrun }]));
    assert_eq!(fates(&missed), [Fate::Overrun]);
}

proptest! {
    #[test]
    fn any_weather_is_survived(
        weather in prop::collection::vec(Weather::any(), 11),
        retries in 0_u8..14,
        cancelled in prop::option::weighted(0.2, 0_u64..3000),
    ) {
        let mut machine = tcp(retries);
        let run = testing::run(&mut machine, |_, probe| {
            let mut coming = weather[probe.id.0 as usize].spoil(vec![segment(30, probe, SYN | ACK)])?;
            coming.extend(cancelled.map(|after| Coming { after: Nanos::from_millis(after), what: What::Cancel }));
            Ok(coming)
        });
        let attempts: Vec<_> = machine.attempts().collect();
        prop_assert_eq!(attempts.len(), run.probes.len());
        prop_assert!(attempts.len() <= usize::from(retries.min(MAX_RETRIES)) + 1);
        let answered = attempts.iter().filter(|attempt| matches!(attempt.fate, Fate::Open(_))).count();
        prop_assert!(answered <= 1);
        for (attempt, weather) in attempts.iter().zip(&weather) {
            prop_assert_eq!(matches!(attempt.fate, Fate::NotSent(_)), matches!(weather, Weather::Refused));
            let from = attempt.fate.arrival().map(|arrival| arrival.from);
            prop_assert_ne!(from, Some(testing::FORGER));
        }
    }
}
