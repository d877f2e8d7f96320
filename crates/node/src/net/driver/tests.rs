use std::{net::IpAddr, sync::Arc};

use mmn_probe::{
    conditions::{Conditions, Wish},
    cookie::Key,
    packet::{Departure, Identity, Probe, SendFailure, Ttl},
    ping::{Fate, Ping, Reply, Sample, Spec},
    time::{Nanos, StampSource},
    wire::icmp::{Family, IcmpErrorKind},
};

use super::*;
use crate::net::{
    carrier::{
        Holds, Order, Progress, Quality, Refusal, Sink,
        echo::EchoCarrier,
        raw::{RawCarrier, RawSockets},
    },
    icmp::{EchoSocket, IdRange, Mode},
    page::Limits,
    testing::{self, as_nobody, in_namespace, open_ping_group_range, require_root},
};

const LOOSE: Limits = Limits { packets_per_s: 1 << 30, bits_per_s: 1 << 40, target_packets_per_s: 1 << 30 };

fn ids() -> IdRange {
    IdRange::new(0x4000, 4).unwrap()
}

fn ports() -> IdRange {
    IdRange::new(61_000, 16).unwrap()
}

fn empty(limits: Limits) -> Driver {
    Driver::new(Arc::new(Page::create(limits, [1; 16]).unwrap()), Config::default()).unwrap()
}

fn driver(mode: Mode, limits: Limits) -> Driver {
    let driver = empty(limits);
    for family in [Family::V4, Family::V6] {
        let carrier: Box<dyn Carrier> = match mode {
            Mode::Raw => {
                let sockets = RawSockets::open(family, ids(), ports()).unwrap();
                Box::new(RawCarrier::new(sockets, [3; 16]).unwrap())
            }
            Mode::Datagram => {
                let socket = EchoSocket::open(family, mode, ids()).unwrap();
                Box::new(EchoCarrier::new(socket, [3; 16]).unwrap())
            }
        };
        driver.add_carrier(carrier).unwrap();
    }
    driver
}

fn ping(target: &str, change: impl FnOnce(&mut Spec)) -> Ping {
    let mut spec = Spec::new(target.parse().unwrap());
    spec.count = 1;
    spec.timeout = Nanos::from_secs(20);
    change(&mut spec);
    Ping::new(spec, Key::new([9; 16])).unwrap()
}

fn block_on<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work)
}

fn samples((ping, _): &(Ping, Conditions)) -> Vec<Sample> {
    ping.samples().collect()
}

/// Three probes to each loopback address, all answered, stamped by the kernel on both ends.
async fn measures_loopback(mode: Mode) {
    let _stamps = testing::kernel_stamps();
    let driver = driver(mode, LOOSE);
    for target in ["127.0.0.1", "::1"] {
        let done = driver
            .run(
                ping(target, |spec| {
                    spec.count = 3;
                    spec.interval = Nanos::from_millis(1);
                }),
                Wish::Any,
            )
            .await
            .unwrap();
        assert_eq!(done.0.unasked(), mmn_probe::ping::Unasked::default());
        for sample in samples(&done) {
            let Fate::Replied(Reply { arrival: reply, .. }) = &sample.fate else {
                panic!("{target}: {sample:?}")
            };
            assert_eq!((reply.from, reply.ttl, reply.bytes), (target.parse().unwrap(), Some(Ttl(64)), 64));
            assert_eq!(reply.received.source, StampSource::Kernel, "{target}");
            assert_eq!(sample.departure.unwrap().source, Some(reply.from));
            assert_eq!(sample.sent.unwrap().source, StampSource::Kernel, "{target}");
            assert!(sample.rtt.is_some());
        }
    }
    let counters = driver.counters();
    assert_eq!((counters.sent, counters.received, counters.overrun), (6, 6, 0));
    assert_eq!(driver.running(), 0);
}

#[test]
fn raw_sockets_measure_loopback() {
    require_root("raw_sockets_measure_loopback");
    in_namespace(|| block_on(measures_loopback(Mode::Raw)));
}

#[test]
fn machines_of_owners_are_handed_out_when_they_have_ended() {
    require_root("machines_of_owners_are_handed_out_when_they_have_ended");
    in_namespace(|| block_on(owners()));
}

async fn owners() {
    let driver = driver(Mode::Raw, LOOSE);
    let targets = ["127.0.0.1", "::1", "127.0.0.2", "127.0.0.3"];
    for (owner, target) in (0..).zip(targets) {
        driver.start_for(owner, Box::new(ping(target, |_| {})), Wish::Any).unwrap();
    }
    driver.forget_for(|owner| owner >= 2);
    let mut ended = std::collections::BTreeMap::new();
    while ended.len() < 2 {
        std::future::poll_fn(|context| driver.poll_ended(context)).await;
        while let Some((owner, (machine, conditions))) = driver.take_ended() {
            let machine: Box<dyn Any> = machine;
            assert!(ended.insert(owner, (*machine.downcast::<Ping>().unwrap(), conditions)).is_none());
        }
    }
    assert_eq!(ended.keys().copied().collect::<Vec<_>>(), [0, 1]);
    for done in ended.values() {
        assert!(matches!(samples(done)[0].fate, Fate::Replied(_)));
    }
    assert!(driver.running() == 0 && driver.take_ended().is_none());
}

#[test]
fn an_ordinary_user_measures_loopback() {
    require_root("an_ordinary_user_measures_loopback");
    in_namespace(|| {
        open_ping_group_range();
        as_nobody(|| block_on(measures_loopback(Mode::Datagram)));
    });
}

/// A router next door answers for what lies behind it: the errors find their probes, with either socket.
fn errors_are_attributed(mode: Mode) {
    let work = move || {
        let _router = testing::router();
        if mode == Mode::Datagram {
            open_ping_group_range();
        }
        let work = || block_on(reports_errors(mode));
        if mode == Mode::Datagram { as_nobody(work) } else { work() }
    };
    in_namespace(work);
}

async fn reports_errors(mode: Mode) {
    let driver = driver(mode, LOOSE);
    let cases = [
        ("192.0.2.7", None, IcmpErrorKind::HostUnreachable, "10.77.0.2"),
        ("198.51.100.9", Some(Ttl(1)), IcmpErrorKind::TtlExceeded, "10.77.0.2"),
        ("2001:db8:2::7", None, IcmpErrorKind::NetUnreachable, "2001:db8:77::2"),
        ("2001:db8:5::9", Some(Ttl(1)), IcmpErrorKind::TtlExceeded, "2001:db8:77::2"),
    ];
    let runs =
        cases.map(|(target, ttl, ..)| driver.start(ping(target, |spec| spec.ttl = ttl), Wish::Any).unwrap());
    for (run, (target, _, kind, from)) in runs.into_iter().zip(cases) {
        let done = run.await.unwrap();
        let [sample] = &samples(&done)[..] else { panic!("{target}") };
        let Fate::Error(report) = &sample.fate else { panic!("{target}: {sample:?}") };
        let told = (report.kind, report.arrival.from);
        assert_eq!(told, (kind, from.parse::<IpAddr>().unwrap()), "{target}");
        assert!(report.verified && sample.rtt.is_some(), "{target}");
    }
    // An error leaves no trace on the next probe.
    let done = driver.run(ping("10.77.0.2", |_| {}), Wish::Any).await.unwrap();
    assert!(matches!(samples(&done)[0].fate, Fate::Replied(_)));
}

#[test]
fn raw_sockets_attribute_errors() {
    require_root("raw_sockets_attribute_errors");
    errors_are_attributed(Mode::Raw);
}

#[test]
fn an_ordinary_user_gets_errors_attributed() {
    require_root("an_ordinary_user_gets_errors_attributed");
    errors_are_attributed(Mode::Datagram);
}

#[test]
fn a_set_clock_is_flagged_and_does_not_bend_the_rtt() {
    require_root("a_set_clock_is_flagged_and_does_not_bend_the_rtt");
    in_namespace(|| {
        block_on(async {
            let driver = driver(Mode::Raw, LOOSE);
            let two = |spec: &mut Spec| (spec.count, spec.interval) = (2, Nanos::from_millis(1));
            let run = driver.start(ping("127.0.0.1", two), Wish::Any).unwrap();
            // The first reply is there already. As if civil time had been an hour behind when the second probe left.
            driver.handle.shared.lock().jobs.distance_ns -= 3_600_000_000_000;
            let done = run.await.unwrap();
            let [before, sample] = &samples(&done)[..] else { panic!("two samples") };
            let Fate::Replied(reply) = &sample.fate else { panic!("{sample:?}") };
            assert!(!before.clock_stepped && sample.clock_stepped);
            assert!(sample.rtt.unwrap() < Nanos::from_secs(20));
            assert_eq!(driver.counters().clock_steps, 1);
            assert!(reply.arrival.received.utc >= sample.sent.unwrap().utc);
        });
    });
}

#[test]
fn what_cannot_be_sent_says_why() {
    require_root("what_cannot_be_sent_says_why");
    in_namespace(|| {
        block_on(async {
            let driver = driver(Mode::Raw, LOOSE);
            let fate = |done: (Ping, Conditions)| samples(&done)[0].fate.clone();
            let unrouted = driver.run(ping("203.0.113.1", |_| {}), Wish::Any).await.unwrap();
            assert_eq!(fate(unrouted), Fate::NotSent(SendFailure::NoRoute));
            let none = empty(Limits { packets_per_s: 0, ..LOOSE });
            assert_eq!(
                fate(none.run(ping("127.0.0.1", |_| {}), Wish::Any).await.unwrap()),
                Fate::NotSent(SendFailure::Forbidden)
            );
            let none = empty(LOOSE);
            assert_eq!(
                fate(none.run(ping("127.0.0.1", |_| {}), Wish::Any).await.unwrap()),
                Fate::NotSent(SendFailure::NoSocket)
            );
        });
    });
}

#[test]
fn many_machines_share_one_socket() {
    require_root("many_machines_share_one_socket");
    in_namespace(|| {
        block_on(async {
            let driver = driver(Mode::Raw, LOOSE);
            let runs: Vec<_> = (0..500)
                .map(|number| {
                    let target = format!("127.0.{}.{}", number / 250, number % 250 + 1);
                    let machine = ping(&target, |spec| {
                        spec.count = 4;
                        spec.interval = Nanos::ZERO;
                    });
                    driver.start(machine, Wish::Any).unwrap()
                })
                .collect();
            for run in runs {
                let done = run.await.unwrap();
                assert!(samples(&done).iter().all(|sample| matches!(sample.fate, Fate::Replied(_))));
            }
            assert_eq!(driver.counters().received, 2_000);
        });
    });
}

#[test]
fn a_flood_loses_nothing_to_our_own_buffers() {
    require_root("a_flood_loses_nothing_to_our_own_buffers");
    in_namespace(|| {
        block_on(async {
            let driver = driver(Mode::Raw, LOOSE);
            let machine = ping("127.0.0.1", |spec| {
                spec.count = 20_000;
                spec.interval = Nanos::ZERO;
                spec.payload_bytes = 1_000;
            });
            let done = driver.run(machine, Wish::Any).await.unwrap();
            let stamped = |sample: &Sample| {
                matches!(sample.fate, Fate::Replied(_))
                    && sample.sent.is_some_and(|stamp| stamp.source == StampSource::Kernel)
            };
            assert_eq!(samples(&done).iter().filter(|sample| stamped(sample)).count(), 20_000);
            assert_eq!(driver.counters().overrun, 0);
        });
    });
}

#[test]
fn the_page_paces_the_site_and_each_target() {
    require_root("the_page_paces_the_site_and_each_target");
    in_namespace(|| {
        block_on(async {
            let limits = Limits { packets_per_s: 2_000, target_packets_per_s: 200, ..LOOSE };
            let driver = driver(Mode::Raw, limits);
            let start = crate::clock::monotonic();
            let flood = |target: &str, count| {
                let machine = ping(target, |spec| {
                    spec.count = count;
                    spec.interval = Nanos::ZERO;
                });
                driver.start(machine, Wish::Any).unwrap()
            };
            let slow = flood("127.0.0.9", 20);
            let runs: Vec<_> = (1..=50).map(|number| flood(&format!("127.0.1.{number}"), 4)).collect();
            for run in runs {
                assert!(samples(&run.await.unwrap()).iter().all(|s| matches!(s.fate, Fate::Replied(_))));
            }
            let slow = slow.await.unwrap();
            let sent: Vec<u64> = samples(&slow).iter().map(|sample| sample.sent.unwrap().at.0).collect();
            // A lower bound that holds however slow the machine is: no faster than the limits.
            let elapsed = crate::clock::monotonic().saturating_since(start).0;
            assert!(elapsed >= (220 - 20) * 1_000_000_000 / 2_000);
            assert!(sent[19] - sent[0] >= (20 - 1 - 2) * 1_000_000_000 / 200);
        });
    });
}

#[test]
fn a_dropped_run_is_gone_and_a_cancelled_one_tells_what_it_has() {
    require_root("a_dropped_run_is_gone_and_a_cancelled_one_tells_what_it_has");
    in_namespace(|| {
        block_on(async {
            let driver = driver(Mode::Raw, LOOSE);
            let long = || {
                ping("127.0.0.1", |spec| {
                    spec.count = 1_000;
                    spec.interval = Nanos::from_secs(3_600);
                })
            };
            drop(driver.start(long(), Wish::Any).unwrap());
            assert_eq!(driver.running(), 0);
            let run = driver.start(long(), Wish::Any).unwrap();
            run.cancel();
            assert_eq!(samples(&run.await.unwrap()).len(), 1);
        });
    });
}

#[test]
fn machines_of_an_owner_that_are_stopped_tell_what_they_have() {
    require_root("machines_of_an_owner_that_are_stopped_tell_what_they_have");
    in_namespace(|| {
        block_on(async {
            let driver = driver(Mode::Raw, LOOSE);
            for owner in [7, 8] {
                let long = ping("127.0.0.1", |spec| {
                    spec.count = 1_000;
                    spec.interval = Nanos::from_secs(3_600);
                });
                driver.start_for(owner, Box::new(long), Wish::Any).unwrap();
            }
            let mut stopped = driver.stop_for(|owner| owner == 7);
            let (owner, (machine, conditions)) = stopped.pop().unwrap();
            assert!(stopped.is_empty());
            assert_eq!((owner, driver.running()), (7, 1));
            let machine: Box<dyn Any> = machine;
            assert_eq!(samples(&(*machine.downcast().unwrap(), conditions)).len(), 1);
            assert!(driver.stop_for(|owner| owner == 7).is_empty());
        });
    });
}

#[test]
fn one_machine_too_many_is_refused() {
    require_root("one_machine_too_many_is_refused");
    in_namespace(|| {
        block_on(async {
            let page = Arc::new(Page::create(LOOSE, [1; 16]).unwrap());
            let driver = Driver::new(page, Config { max_machines: 1 }).unwrap();
            let sockets = RawSockets::open(Family::V4, ids(), ports()).unwrap();
            driver.add_carrier(Box::new(RawCarrier::new(sockets, [3; 16]).unwrap())).unwrap();
            let wait = |spec: &mut Spec| {
                spec.count = 2;
                spec.interval = Nanos::from_secs(3_600);
            };
            let first = driver.start(ping("127.0.0.1", wait), Wish::Any).unwrap();
            assert_eq!(driver.start(ping("127.0.0.1", wait), Wish::Any).unwrap_err(), DriveError::Full(1));
            drop(first);
            assert!(driver.start(ping("127.0.0.1", wait), Wish::Any).is_ok());
        });
    });
}

#[test]
fn a_silent_target_times_out() {
    require_root("a_silent_target_times_out");
    in_namespace(|| {
        block_on(async {
            testing::ip("link add va type veth peer name vb");
            testing::ip("addr add 10.78.0.1/24 dev va");
            testing::ip("link set va up");
            let driver = driver(Mode::Raw, LOOSE);
            let done = driver
                .run(ping("10.78.0.2", |spec| spec.timeout = Nanos::from_millis(1)), Wish::Any)
                .await
                .unwrap();
            assert_eq!(samples(&done)[0].fate, Fate::TimedOut);
        });
    });
}

/// Sends nothing, hears nothing, and has dropped something when the system's counters are read.
#[derive(Debug, Default)]
struct Deaf {
    dropped: Option<u64>,
    released: Arc<std::sync::atomic::AtomicUsize>,
    /// Whose probes it was given, in order.
    given: Arc<Mutex<Vec<JobKey>>>,
}

impl Carrier for Deaf {
    fn carries(&self, lane: Lane, _: &Probe) -> Result<(), SendFailure> {
        if lane == Lane::Simulated { Ok(()) } else { Err(SendFailure::NoSocket) }
    }
    fn quality(&self, lane: Lane) -> Option<Quality> {
        let kernel = StampSource::Kernel;
        (lane == Lane::Simulated).then_some(Quality {
            sent_by: kernel,
            received_by: kernel,
            rtt_error_ns: None,
        })
    }
    fn put(&mut self, order: Order<'_>, sink: &mut dyn Sink) -> Result<Holds, Refusal> {
        self.given.lock().unwrap().push(order.ticket.job);
        let moment = sink.moment();
        let identity = Identity { selector: 1, tag: 1 };
        let departure = Departure { source: None, identity, ip_id: None, bytes: 36 };
        sink.sent(order.ticket, moment.reading.at, moment.user(), departure);
        Ok([Some(u64::from(order.ticket.probe.0)), None])
    }
    fn send(&mut self, _: &mut dyn Sink) -> Progress {
        Progress::Idle
    }
    fn watched(&self) -> Vec<Arc<OwnedFd>> {
        Vec::new()
    }
    fn read(&mut self, _: usize, _: &mut dyn Sink) -> bool {
        true
    }
    fn catch_up(&mut self, _: &mut dyn Sink) {}
    fn missed(&mut self, look: bool) -> u64 {
        if look { self.dropped.take().unwrap_or(0) } else { 0 }
    }
    fn release(&mut self, _: u64, _: JobKey) {
        self.released.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    }
}

#[test]
fn what_may_have_been_missed_is_not_called_lost() {
    block_on(async {
        for (dropped, fate) in [(None, Fate::TimedOut), (Some(3), Fate::Overrun)] {
            let driver = empty(LOOSE);
            let released = Arc::default();
            driver
                .add_carrier(Box::new(Deaf { dropped, released: Arc::clone(&released), ..Deaf::default() }))
                .unwrap();
            let machine = ping("192.0.2.1", |spec| {
                (spec.count, spec.interval, spec.timeout) = (2, Nanos::ZERO, Nanos::from_millis(1));
            });
            let done = driver.run(machine, Wish::Any).await.unwrap();
            assert_eq!(done.1.lane, Lane::Simulated);
            assert!(samples(&done).iter().all(|sample| sample.fate == fate), "{:?}", samples(&done));
            assert_eq!(driver.counters().overrun, dropped.unwrap_or(0));
            assert_eq!(released.load(std::sync::atomic::Ordering::Relaxed), 2);
        }
    });
}

#[test]
fn what_the_limits_hold_back_leaves_in_the_order_of_its_tasks() {
    block_on(async {
        for limits in [
            Limits { target_packets_per_s: 500, ..LOOSE },
            Limits { packets_per_s: 500, ..LOOSE },
            Limits { packets_per_s: 700, target_packets_per_s: 500, ..LOOSE },
        ] {
            let driver = empty(limits);
            let given = Arc::default();
            driver.add_carrier(Box::new(Deaf { given: Arc::clone(&given), ..Deaf::default() })).unwrap();
            let brief = |spec: &mut Spec| spec.timeout = Nanos::from_millis(1);
            let start = |_| driver.start(ping("192.0.2.1", brief), Wish::Any).unwrap();
            for run in (0..100).map(start).collect::<Vec<_>>() {
                run.await.unwrap();
            }
            let given = given.lock().unwrap();
            assert!(given.is_sorted_by_key(|key| key.index) && given.len() == 100, "{given:?}");
        }
    });
}

#[test]
fn who_would_wait_in_vain_is_told_when_it_could_have_sent() {
    block_on(async {
        let driver = empty(Limits { target_packets_per_s: 1, ..LOOSE });
        driver.add_carrier(Box::new(Deaf::default())).unwrap();
        let runs: Vec<_> =
            (0..100).map(|_| driver.start(ping("192.0.2.1", |_| {}), Wish::Any).unwrap()).collect();
        let deadline = crate::clock::monotonic() + Nanos::from_secs(60);
        let refused = driver.has_time("192.0.2.1".parse().unwrap(), deadline).unwrap_err();
        let DriveError::NoTime { after, late } = refused else { panic!("{refused}") };
        // Of the 99 that wait the first may go within a second.
        assert!(after >= Nanos::from_secs(90) && late >= Nanos::from_secs(30), "{refused}");
        driver.has_time("192.0.2.2".parse().unwrap(), Instant(0)).unwrap();
        drop(runs);
        driver.has_time("192.0.2.1".parse().unwrap(), Instant(0)).unwrap();
    });
}
