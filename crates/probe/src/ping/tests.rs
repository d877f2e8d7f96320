mod methods;
mod pseudo_mtu;

use std::{
    cmp::Reverse,
    collections::BinaryHeap,
    net::{IpAddr, Ipv4Addr},
};

use proptest::prelude::*;

use super::*;
use crate::{
    packet::{Departure, Identity, Message, Quote, Report, Ttl},
    time::{StampSource, Utc},
    wire::icmp::IcmpErrorKind,
};

const TARGET: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
const ROUTER: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 254));
const MS: u64 = 1_000_000;

fn ping(change: impl FnOnce(&mut Spec)) -> Ping {
    let mut spec = Spec::new(TARGET);
    change(&mut spec);
    Ping::new(spec, Key::new([7; 16])).unwrap()
}

fn stamp(at: u64, source: StampSource) -> Stamp {
    Stamp { at: Instant(at), utc: Utc(1_700_000_000_000_000_000 + i64::try_from(at).unwrap()), source }
}

fn sent(probe: u32, at: u64) -> Input<'static> {
    let identity = Identity { selector: 1, tag: 1 };
    let departure = Departure { source: None, identity, ip_id: None, bytes: 84 };
    Input::Sent { probe: ProbeId(probe), stamp: stamp(at, StampSource::User), departure }
}

fn reply(probe: u32, at: u64, payload: &[u8]) -> Input<'_> {
    Input::Packet(Packet {
        probe: ProbeId(probe),
        from: TARGET,
        stamp: stamp(at, StampSource::Kernel),
        ttl: Some(Ttl(63)),
        tos: None,
        ip_id: None,
        fragment_id: None,
        ip_options: &[],
        bytes: payload.len() + 8,
        message: Message::EchoReply { payload },
    })
}

fn error(probe: u32, at: u64, quoted_payload: &[u8]) -> Input<'_> {
    Input::Packet(Packet {
        probe: ProbeId(probe),
        from: ROUTER,
        stamp: stamp(at, StampSource::User),
        ttl: None,
        tos: None,
        ip_id: None,
        fragment_id: None,
        ip_options: &[],
        bytes: 36,
        message: Message::Error(Report {
            kind: IcmpErrorKind::TtlExceeded,
            icmp_type: 11,
            code: 0,
            quote: Quote { payload: quoted_payload, ..Quote::default() },
            extensions: &[],
        }),
    })
}

fn send(machine: &mut Ping, at: u64) -> (u32, Vec<u8>) {
    let Output::Send(Probe { id, body: Body::Echo { payload, .. }, .. }) = machine.poll(Instant(at)) else {
        panic!("no probe at {at}");
    };
    machine.handle(Instant(at), sent(id.0, at));
    (id.0, payload)
}

fn fates(machine: &Ping) -> Vec<Fate> {
    machine.samples().map(|sample| sample.fate).collect()
}

#[test]
fn one_reply_ends_it_at_once() {
    let mut machine = ping(|spec| spec.count = 1);
    let (id, payload) = send(&mut machine, 0);
    assert_eq!(payload.len(), 56);
    assert_eq!(machine.poll(Instant(0)), Output::WaitUntil(Instant(1000 * MS)));
    machine.handle(Instant(3), Input::Stamped { probe: ProbeId(id), stamp: stamp(2, StampSource::Kernel) });
    machine.handle(Instant(MS), reply(id, MS, &payload));
    assert_eq!(machine.poll(Instant(MS)), Output::Done);
    let sample = machine.samples().next().unwrap();
    assert_eq!(sample.rtt, Some(Nanos(MS - 2)));
    assert_eq!(sample.sent.unwrap().source, StampSource::Kernel);
    assert!(
        matches!(sample.fate, Fate::Replied(reply) if reply.arrival.ttl == Some(Ttl(63)) && reply.arrival.bytes == 64)
    );
}

#[test]
fn silence_ends_one_timeout_after_the_last() {
    let mut machine = ping(|spec| spec.count = 2);
    send(&mut machine, 0);
    assert_eq!(machine.poll(Instant(0)), Output::WaitUntil(Instant(1000 * MS)));
    send(&mut machine, 1000 * MS);
    assert_eq!(machine.poll(Instant(1000 * MS)), Output::WaitUntil(Instant(2000 * MS)));
    assert_eq!(machine.poll(Instant(2000 * MS)), Output::Done);
    assert_eq!(fates(&machine), [Fate::TimedOut, Fate::TimedOut]);
}

#[test]
fn a_missed_slot_is_left_out_and_the_grid_stays() {
    let mut machine = ping(|spec| spec.interval = Nanos(100 * MS));
    send(&mut machine, 0);
    send(&mut machine, 350 * MS);
    assert_eq!(machine.poll(Instant(350 * MS)), Output::WaitUntil(Instant(400 * MS)));
}

#[test]
fn waits_for_the_driver_before_the_next_probe() {
    let mut machine = ping(|spec| spec.interval = Nanos::ZERO);
    assert!(matches!(machine.poll(Instant(0)), Output::Send(_)));
    assert_eq!(machine.poll(Instant(5)), Output::Wait);
    machine.handle(Instant(9), Input::SendFailed { probe: ProbeId(0), reason: SendFailure::NoRoute });
    send(&mut machine, 9);
    send(&mut machine, 9);
    machine.poll(Instant(2000 * MS));
    assert_eq!(fates(&machine), [Fate::NotSent(SendFailure::NoRoute), Fate::TimedOut, Fate::TimedOut]);
}

#[test]
fn forged_replies_and_errors_change_nothing() {
    let mut machine = ping(|spec| spec.count = 1);
    let (id, payload) = send(&mut machine, 0);
    machine.handle(Instant(1), reply(id, 1, &[0; 56]));
    machine.handle(Instant(1), reply(id, 1, &payload[..7]));
    machine.handle(Instant(1), reply(9, 1, &payload));
    machine.handle(Instant(1), error(id, 1, &[1, 2, 3]));
    assert_eq!(machine.poll(Instant(1)), Output::WaitUntil(Instant(1000 * MS)));
    assert_eq!(machine.unasked(), Unasked { foreign: 3, unknown: 1 });
}

#[test]
fn an_error_settles_its_probe_and_says_whether_it_is_proven() {
    let mut machine = ping(|spec| {
        spec.count = 2;
        spec.interval = Nanos::ZERO;
    });
    let (first, payload) = send(&mut machine, 0);
    let (second, _) = send(&mut machine, 0);
    machine.handle(Instant(5), error(first, 5, &payload));
    machine.handle(Instant(6), error(second, 6, &[]));
    assert_eq!(machine.poll(Instant(6)), Output::Done);
    let verified: Vec<_> = machine
        .samples()
        .map(|sample| match sample.fate {
            Fate::Error(report) if report.arrival.from == ROUTER => (report.verified, sample.rtt),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(verified, [(true, Some(Nanos(5))), (false, Some(Nanos(6)))]);
}

#[test]
fn late_in_time_and_duplicate_are_told_apart_by_the_stamps() {
    let mut machine = ping(|spec| {
        spec.interval = Nanos(10 * MS);
        spec.timeout = Nanos(50 * MS);
    });
    let (first, one) = send(&mut machine, 0);
    let (second, two) = send(&mut machine, 10 * MS);
    send(&mut machine, 40 * MS);
    assert!(matches!(machine.poll(Instant(70 * MS)), Output::WaitUntil(_)));
    machine.handle(Instant(70 * MS), reply(first, 70 * MS, &one));
    // Read late, but the kernel had it in time.
    machine.handle(Instant(71 * MS), reply(second, 59 * MS, &two));
    machine.handle(Instant(72 * MS), reply(second, 72 * MS, &two));
    assert_eq!(machine.poll(Instant(90 * MS)), Output::Done);
    let samples: Vec<_> = machine.samples().collect();
    assert!(matches!(samples[0].fate, Fate::Late(_)));
    assert!(matches!(samples[1].fate, Fate::Replied(_)));
    assert_eq!((samples[1].duplicates, samples[1].rtt), (1, Some(Nanos(49 * MS))));
    assert_eq!(samples[2].fate, Fate::TimedOut);
}

#[test]
fn enough_replies_end_it() {
    let mut machine = ping(|spec| {
        spec.count = 10;
        spec.stop_after = Some(1);
    });
    let (id, payload) = send(&mut machine, 0);
    machine.handle(Instant(1), reply(id, 1, &payload));
    assert_eq!(machine.poll(Instant(1)), Output::Done);
    assert_eq!(machine.samples().len(), 1);
}

#[test]
fn cancelling_settles_what_is_open() {
    let mut machine = ping(|_| {});
    send(&mut machine, 0);
    machine.handle(Instant(1), Input::ClockStepped);
    machine.handle(Instant(1), Input::Cancel);
    assert_eq!(machine.poll(Instant(1)), Output::Done);
    let sample = machine.samples().next().unwrap();
    assert_eq!((sample.fate, sample.clock_stepped), (Fate::Cancelled, true));
}

#[test]
fn senseless_specs_are_refused() {
    let refuse = |change: fn(&mut Spec)| {
        let mut spec = Spec::new(TARGET);
        change(&mut spec);
        Ping::new(spec, Key::new([0; 16])).unwrap_err()
    };
    assert_eq!(refuse(|spec| spec.count = 0), SpecError::Count(0));
    assert_eq!(refuse(|spec| spec.payload_bytes = 65_508), SpecError::Payload(65_508));
    assert_eq!(refuse(|spec| spec.ttl = Some(Ttl(0))), SpecError::Ttl);
    assert_eq!(refuse(|spec| spec.stop_after = Some(0)), SpecError::StopAfter);
}

/// What the network does to one probe.
#[derive(Clone, Debug)]
struct Weather {
    /// How long the driver holds it back; and whether the system then refuses it.
    held: u64,
    refused: bool,
    /// What comes for it: after how long, and what.
    comes: Vec<(u64, Thing)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Thing {
    Reply,
    Forged,
    Error,
    ShortError,
    Garbage,
    BetterStamp,
    ClockStep,
}

fn weather() -> impl Strategy<Value = Weather> {
    let thing = prop_oneof![
        4 => Just(Thing::Reply), 1 => Just(Thing::Forged), 1 => Just(Thing::Error),
        1 => Just(Thing::ShortError), 1 => Just(Thing::Garbage), 1 => Just(Thing::BetterStamp),
        1 => Just(Thing::ClockStep),
    ];
    let comes = prop::collection::vec((0..3000 * MS, thing), 0..5);
    (0..20 * MS, prop::bool::weighted(0.1), comes).prop_map(|(held, refused, comes)| Weather {
        held,
        refused,
        comes,
    })
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Leaves(u32),
    Comes(u32, Thing),
    Cancel,
}

/// Drives a machine through the weather on a virtual clock, as the contract says. Returns the instant at which
/// it was done.
fn drive(machine: &mut Ping, weather: &[Weather], cancel_at: Option<u64>) -> u64 {
    let mut events: BinaryHeap<Reverse<(u64, Event)>> = BinaryHeap::new();
    events.extend(cancel_at.map(|at| Reverse((at, Event::Cancel))));
    let mut now = 0;
    for _ in 0..100_000 {
        let wake = match machine.poll(Instant(now)) {
            Output::Send(probe) => {
                let held = weather[probe.id.0 as usize % weather.len()].held;
                events.push(Reverse((now + held, Event::Leaves(probe.id.0))));
                continue;
            }
            Output::WaitUntil(at) => {
                assert!(at.0 > now, "a wait that is over: {} at {now}", at.0);
                Some(at.0)
            }
            Output::Wait => None,
            Output::Done => return now,
        };
        let next = events.peek().map(|Reverse((at, _))| *at);
        match (next, wake) {
            (Some(at), wake) if wake.is_none_or(|wake| at <= wake) => {
                now = at;
                let Some(Reverse((_, event))) = events.pop() else { unreachable!() };
                happen(machine, weather, now, event, &mut events);
            }
            (_, Some(wake)) => now = wake,
            (_, None) => panic!("it waits for nothing"),
        }
    }
    panic!("it does not end");
}

fn happen(
    machine: &mut Ping,
    weather: &[Weather],
    now: u64,
    event: Event,
    events: &mut BinaryHeap<Reverse<(u64, Event)>>,
) {
    let at = Instant(now);
    match event {
        Event::Cancel => machine.handle(at, Input::Cancel),
        Event::Leaves(id) => {
            let fate = &weather[id as usize % weather.len()];
            let probe = ProbeId(id);
            if fate.refused {
                machine.handle(at, Input::SendFailed { probe, reason: SendFailure::Overrun });
            } else {
                machine.handle(at, sent(probe.0, now));
            }
            events.extend(
                fate.comes.iter().map(|(delay, what)| Reverse((now + delay, Event::Comes(id, *what)))),
            );
        }
        Event::Comes(id, what) => {
            let payload = machine.payload(ProbeId(id));
            match what {
                Thing::Reply => machine.handle(at, reply(id, now, &payload)),
                Thing::Forged => machine.handle(at, reply(id, now, &[0xee; 56])),
                Thing::Error => machine.handle(at, error(id, now, &payload)),
                Thing::ShortError => machine.handle(at, error(id, now, &[])),
                Thing::Garbage => machine.handle(at, reply(id.wrapping_add(40_000), now, &[])),
                Thing::BetterStamp => {
                    let stamp = stamp(now.saturating_sub(1), StampSource::Kernel);
                    machine.handle(at, Input::Stamped { probe: ProbeId(id), stamp });
                }
                Thing::ClockStep => machine.handle(at, Input::ClockStepped),
            }
        }
    }
}

proptest! {
    #[test]
    fn it_ends_and_accounts_for_each_probe_once(
        weather in prop::collection::vec(weather(), 1..12),
        count in 1_u32..30,
        interval in prop_oneof![Just(0), 0..200 * MS],
        timeout in 0..2000 * MS,
        payload_bytes in 0_u16..64,
        cancel_at in prop::option::weighted(0.2, 0..5000 * MS),
    ) {
        let mut machine = ping(|spec| {
            spec.count = count;
            spec.interval = Nanos(interval);
            spec.timeout = Nanos(timeout);
            spec.payload_bytes = payload_bytes;
        });
        drive(&mut machine, &weather, cancel_at);
        prop_assert!(machine.is_done());
        prop_assert_eq!(machine.poll(Instant(u64::MAX)), Output::Done);
        let samples: Vec<_> = machine.samples().collect();
        if cancel_at.is_none() {
            prop_assert_eq!(samples.len(), count as usize);
            prop_assert!(samples.iter().all(|sample| sample.fate != Fate::Cancelled));
        }
        for (sample, seq) in samples.iter().zip(0..) {
            prop_assert_eq!(sample.seq, seq);
            let fate = &weather[seq as usize % weather.len()];
            match &sample.fate {
                Fate::Replied(_) => {
                    prop_assert!(fate.comes.iter().any(|(_, what)| *what == Thing::Reply) || payload_bytes < 4);
                    prop_assert!(sample.sent.is_some());
                }
                Fate::NotSent(_) => prop_assert!(fate.refused),
                Fate::Error(_) => {
                    prop_assert!(fate.comes.iter().any(|(_, w)| matches!(w, Thing::Error | Thing::ShortError)));
                }
                _ => {}
            }
        }
    }

    #[test]
    fn a_forger_who_answers_first_never_wins(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
        let mut machine = ping(|spec| spec.count = 1);
        let (id, payload) = send(&mut machine, 0);
        prop_assume!(bytes.get(..8) != payload.get(..8));
        machine.handle(Instant(1), reply(id, 1, &bytes));
        machine.handle(Instant(9), reply(id, 9, &payload));
        prop_assert_eq!(machine.poll(Instant(9)), Output::Done);
        prop_assert_eq!(machine.samples().next().unwrap().rtt, Some(Nanos(9)));
    }
}

#[test]
fn a_run_on_the_virtual_clock() {
    use crate::testing::{Coming, Said, run};
    let mut machine = ping(|spec| spec.count = 2);
    let run = run(&mut machine, |_, probe| {
        let Body::Echo { payload, .. } = &probe.body else { panic!() };
        Ok(vec![Coming::answer(30, TARGET, Said::EchoReply(payload.clone()))])
    });
    assert_eq!((run.probes.len(), run.ended), (2, Instant(2_030 * MS)));
}
