use std::{
    collections::BTreeMap,
    net::Ipv4Addr,
    sync::{Arc, mpsc},
    thread::JoinHandle,
};

use mmn_probe::bulk::{Sample, Shape};

use super::*;
use crate::net::{
    icmp::IdRange,
    page::Limits,
    testing::{enter_namespace, in_namespace, ip, kernel_stamps, require_root, router},
};

const FAST: Limits =
    Limits { packets_per_s: 1_000_000, bits_per_s: 10_000_000_000, target_packets_per_s: 1_000_000 };

fn lane(limits: Limits) -> Lane {
    let page = Arc::new(Page::create(limits, [1; 16]).unwrap());
    let sockets = PacketSockets::open(IdRange::new(0x4000, 64).unwrap()).unwrap();
    Lane::new(sockets, page, [2; 16]).unwrap()
}

fn spec(timeout_ms: u64) -> Spec {
    let shape = Shape { payload_bytes: 56, fill: Vec::new(), ttl: 64, tos: 0, dont_fragment: true };
    Spec { shape, timeout: Nanos::from_millis(timeout_ms), deadline: Instant(u64::MAX) }
}

/// Submits these, and turns the lane until all have ended. `each` is called before each turn.
async fn perform(
    lane: &mut Lane,
    spec: Spec,
    targets: &[IpAddr],
    mut each: impl FnMut(&mut Lane),
) -> BTreeMap<u32, Sample> {
    let id = lane.measure(spec).unwrap();
    for (owner, target) in (0..).zip(targets) {
        assert!(lane.submit(id, *target, owner));
    }
    lane.complete(id);
    let mut ends = BTreeMap::new();
    while lane.running() > 0 {
        each(lane);
        lane.turn(&mut |end| assert!(ends.insert(end.owner, end.sample).is_none(), "{end:?} a second time"));
        if lane.running() > 0 {
            lane.ready().await;
        }
    }
    ends
}

fn block_on<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work)
}

/// A namespace that answers for 10.9.0.0/16 and `2001:db8:9::/64`.
struct FarEnd {
    over: Option<mpsc::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl FarEnd {
    fn new() -> Self {
        let (ready, is_ready) = mpsc::channel();
        let (go_on, may_go_on) = mpsc::channel();
        let (over, is_over) = mpsc::channel::<()>();
        let thread = std::thread::spawn(move || {
            enter_namespace();
            ready.send(rustix::thread::gettid().as_raw_nonzero()).unwrap();
            may_go_on.recv().unwrap();
            ip("addr add 10.77.0.2/24 dev vb");
            ip("-6 addr add 2001:db8:77::2/64 dev vb nodad");
            ip("link set vb address 02:00:00:00:00:02");
            ip("link set vb up");
            // A link that has just come up takes a second to find a neighbour.
            ip("neigh replace 10.77.0.1 lladdr 02:00:00:00:00:01 dev vb nud permanent");
            ip("-6 neigh replace 2001:db8:77::1 lladdr 02:00:00:00:00:01 dev vb nud permanent");
            ip("route add local 10.9.0.0/16 dev lo");
            ip("-6 route add local 2001:db8:9::/64 dev lo");
            for name in ["icmp_ratelimit", "icmp_msgs_per_sec", "icmp_msgs_burst"] {
                let value = if name == "icmp_ratelimit" { "0" } else { "1000000" };
                std::fs::write(format!("/proc/sys/net/ipv4/{name}"), value).unwrap();
            }
            std::fs::write("/proc/sys/net/ipv4/ip_forward", "1").unwrap();
            ip("route add unreachable 192.0.2.0/24");
            ip("route add blackhole 198.51.100.0/24");
            ready.send(rustix::thread::gettid().as_raw_nonzero()).unwrap();
            // Ends when the other side is dropped.
            let _ = is_over.recv();
        });
        let id = is_ready.recv().unwrap();
        ip("link add va type veth peer name vb");
        ip(&format!("link set vb netns {id}"));
        ip("addr add 10.77.0.1/24 dev va");
        ip("-6 addr add 2001:db8:77::1/64 dev va nodad");
        ip("link set va address 02:00:00:00:00:01");
        ip("link set va up");
        go_on.send(()).unwrap();
        is_ready.recv().unwrap();
        ip("route add default via 10.77.0.2");
        ip("-6 route add default via 2001:db8:77::2");
        ip("neigh replace 10.77.0.2 lladdr 02:00:00:00:00:02 dev va nud permanent");
        ip("-6 neigh replace 2001:db8:77::2 lladdr 02:00:00:00:00:02 dev va nud permanent");
        Self { over: Some(over), thread: Some(thread) }
    }
}

impl Drop for FarEnd {
    fn drop(&mut self) {
        self.over = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn far(number: u16) -> IpAddr {
    let [high, low] = number.to_be_bytes();
    Ipv4Addr::new(10, 9, high, low).into()
}

#[test]
fn every_target_answers_over_both_families() {
    require_root("every_target_answers_over_both_families");
    in_namespace(|| {
        let _far = FarEnd::new();
        let _stamps = kernel_stamps();
        let v6 = |number: u16| format!("2001:db8:9::{number:x}").parse().unwrap();
        let targets: Vec<IpAddr> = (1..=1_500).flat_map(|number| [far(number), v6(number)]).collect();
        let (ends, counters) = block_on(async {
            let mut lane = lane(FAST);
            (perform(&mut lane, spec(2_000), &targets, |_| {}).await, lane.counters())
        });
        assert_eq!(ends.len(), targets.len(), "{counters:?}");
        for (owner, sample) in ends {
            let target = targets[usize::try_from(owner).unwrap()];
            assert_eq!(sample.target, target);
            let Fate::Replied(answer) = sample.fate else { panic!("{sample:?}, {counters:?}") };
            assert_eq!((answer.from, answer.bytes, answer.ttl), (target, 64, 64));
            assert!(answer.verified && answer.rtt.is_some());
            assert_eq!(answer.received.source, StampSource::Kernel);
            let departure = sample.departure.unwrap();
            assert!(departure.source.is_some_and(|source| source.is_ipv4() == target.is_ipv4()));
            assert_eq!(departure.bytes, if target.is_ipv4() { 84 } else { 104 });
        }
    });
}

#[test]
fn the_ring_goes_around() {
    require_root("the_ring_goes_around");
    in_namespace(|| {
        let _far = FarEnd::new();
        // More blocks than the ring has: each is handed over by the clock, with a few packets in it.
        let targets: Vec<IpAddr> = (0..100).map(far).collect();
        let mut all = 0;
        let counters = block_on(async {
            let mut lane = lane(FAST);
            for _ in 0..300 {
                let ends = perform(&mut lane, spec(2_000), &targets, |_| {}).await;
                all += ends.values().filter(|sample| matches!(sample.fate, Fate::Replied(_))).count();
            }
            lane.counters()
        });
        assert_eq!(all, 30_000);
        assert_eq!(counters.probes.overrun, 0);
    });
}

#[test]
fn errors_and_silence_are_told_apart_and_what_is_near_is_declined() {
    require_root("errors_and_silence_are_told_apart_and_what_is_near_is_declined");
    in_namespace(|| {
        let _far = FarEnd::new();
        let targets: Vec<IpAddr> =
            ["10.9.0.1", "192.0.2.1", "198.51.100.1", "127.0.0.1", "10.77.0.2", "10.77.0.50"]
                .into_iter()
                .map(|text| text.parse().unwrap())
                .collect();
        let ends = block_on(async { perform(&mut lane(FAST), spec(200), &targets, |_| {}).await });
        assert!(matches!(ends[&0].fate, Fate::Replied(_)));
        let Fate::Error(answer, said) = ends[&1].fate else { panic!("{:?}", ends[&1]) };
        assert_eq!(answer.from, "10.77.0.2".parse::<IpAddr>().unwrap());
        assert_eq!((said.kind.name(), answer.verified), ("host_unreachable", true));
        assert_eq!(ends[&2].fate, Fate::TimedOut);
        for near in 3..6 {
            assert_eq!((ends[&near].fate, ends[&near].sent), (Fate::Declined, None));
        }
    });
}

#[test]
fn the_limits_hold_and_no_pause_is_made_up_for() {
    require_root("the_limits_hold_and_no_pause_is_made_up_for");
    in_namespace(|| {
        let _far = FarEnd::new();
        let limits = Limits { packets_per_s: 20_000, target_packets_per_s: 100, ..FAST };
        // 20 of them to one target: that takes a fifth of a second, and delays nobody else.
        let targets: Vec<IpAddr> = (0..20).map(|_| far(1)).chain((2..1_002).map(far)).collect();
        let began = clock::monotonic();
        let (ends, lane) = block_on(async {
            let mut lane = lane(limits);
            (perform(&mut lane, spec(2_000), &targets, |_| {}).await, lane)
        });
        assert!(clock::monotonic().saturating_since(began) >= Nanos::from_millis(190));
        assert!(ends.values().all(|sample| matches!(sample.fate, Fate::Replied(_))));
        let sent = |owner: u32| ends[&owner].sent.unwrap().at;
        assert!(sent(1_019) < sent(19), "the others are not held up");
        let counted = lane.page.counters();
        assert_eq!(counted.packets, 1_020);
        assert_eq!(counted.bytes, 1_020 * 84);
        let none = Limits { packets_per_s: 0, ..FAST };
        let ends = block_on(async { perform(&mut self::lane(none), spec(100), &[far(1)], |_| {}).await });
        assert_eq!(ends[&0].fate, Fate::NotSent(SendFailure::Forbidden));
    });
}

#[test]
fn a_link_that_goes_down_ends_every_probe() {
    require_root("a_link_that_goes_down_ends_every_probe");
    in_namespace(|| {
        let _far = FarEnd::new();
        let limits = Limits { packets_per_s: 20_000, ..FAST };
        let targets: Vec<IpAddr> = (0..4_000).map(far).collect();
        let mut down = false;
        let ends = block_on(async {
            perform(&mut lane(limits), spec(300), &targets, |lane| {
                if !down && lane.counters().probes.answered > 500 {
                    ip("link set va down");
                    down = true;
                }
            })
            .await
        });
        assert_eq!(ends.len(), targets.len());
        let count = |wanted: fn(&Fate) -> bool| ends.values().filter(|sample| wanted(&sample.fate)).count();
        let replied = count(|fate| matches!(fate, Fate::Replied(_)));
        let declined = count(|fate| *fate == Fate::Declined);
        assert!(replied > 500 && declined > 0, "{replied} replied, {declined} declined");
        // What was under way is lost; nothing that never left is called so.
        let silent: Vec<&Sample> =
            ends.values().filter(|sample| matches!(sample.fate, Fate::TimedOut | Fate::Overrun)).collect();
        assert!(silent.iter().all(|sample| sample.sent.is_some()));
        assert_eq!(replied + declined + silent.len(), targets.len());
    });
}

#[test]
fn what_finds_the_ring_full_is_overrun_and_not_lost() {
    require_root("what_finds_the_ring_full_is_overrun_and_not_lost");
    in_namespace(|| {
        let _far = FarEnd::new();
        let count = 70_000;
        let targets: Vec<IpAddr> =
            (0..count).map(|number| far(u16::try_from(number % 65_536).unwrap())).collect();
        let (replied, overrun, drops) = block_on(async {
            let page = Arc::new(Page::create(FAST, [1; 16]).unwrap());
            let sockets = PacketSockets::open(IdRange::new(0x4000, 1024).unwrap()).unwrap();
            let mut lane = Lane::new(sockets, page, [2; 16]).unwrap();
            let id = lane.measure(spec(1_000)).unwrap();
            for (owner, target) in (0..).zip(&targets) {
                assert!(lane.submit(id, *target, owner));
            }
            lane.complete(id);
            // Nobody reads while all of them leave, and the ring is too small for that.
            while lane.bulk.waiting() > 0 {
                lane.send(&mut |end| panic!("{end:?}"));
            }
            let (mut replied, mut overrun) = (0, 0);
            while lane.running() > 0 {
                lane.turn(&mut |end| match end.sample.fate {
                    Fate::Replied(_) => replied += 1,
                    Fate::Overrun => overrun += 1,
                    fate => panic!("{fate:?}"),
                });
                if lane.running() > 0 {
                    lane.ready().await;
                }
            }
            (replied, overrun, lane.counters().ring_drops)
        });
        assert_eq!(replied + overrun, count);
        assert!(drops > 0 && overrun >= drops, "{overrun} overrun, {drops} dropped");
    });
}

#[test]
fn a_router_that_is_not_known_yet_is_waited_for() {
    require_root("a_router_that_is_not_known_yet_is_waited_for");
    in_namespace(|| {
        let _router = router();
        let targets: Vec<IpAddr> = (1..=50).map(|last| Ipv4Addr::new(192, 0, 2, last).into()).collect();
        let mut asked = false;
        let ends = block_on(async {
            perform(&mut lane(FAST), spec(500), &targets, |_| {
                // What another lane does with the first, which was declined.
                if !std::mem::replace(&mut asked, true) {
                    let socket = std::net::UdpSocket::bind("0.0.0.0:0").unwrap();
                    socket.send_to(&[0], "10.77.0.2:9").unwrap();
                }
            })
            .await
        });
        let declined = ends.values().filter(|sample| sample.fate == Fate::Declined).count();
        let reported = ends.values().filter(|sample| matches!(sample.fate, Fate::Error(..))).count();
        assert!(declined <= 2 && reported > 0, "{declined} declined, {reported} reported");
    });
}

#[test]
fn sockets_are_passed_and_their_filters_stay() {
    require_root("sockets_are_passed_and_their_filters_stay");
    in_namespace(|| {
        let _far = FarEnd::new();
        let opened = PacketSockets::open(IdRange::new(0x4000, 64).unwrap()).unwrap();
        let descriptors =
            opened.descriptors().iter().map(|fd| fd.try_clone_to_owned().unwrap()).collect::<Vec<_>>();
        let description = serde_json::from_str(&serde_json::to_string(&opened.describe()).unwrap()).unwrap();
        assert!(PacketSockets::from_passed(Vec::new(), description).is_err());
        let passed = PacketSockets::from_passed(descriptors, description).unwrap();
        let socket = socket2::SockRef::from(&passed.receive_v4).detach_filter();
        assert!(socket.is_err(), "the filter is locked");
        drop(opened);
        let ends = block_on(async {
            let page = Arc::new(Page::create(FAST, [1; 16]).unwrap());
            let mut lane = Lane::new(passed, page, [2; 16]).unwrap();
            perform(&mut lane, spec(1_000), &[far(1)], |_| {}).await
        });
        assert!(matches!(ends[&0].fate, Fate::Replied(_)));
    });
}
