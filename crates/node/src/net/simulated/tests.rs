use mmn_probe::{
    conditions::{Lane, Wish},
    cookie::Key,
    ping::{Fate, Method, Ping, Spec},
    time::{Nanos, StampSource},
};

use super::*;
use crate::net::{
    driver::{Config, Driver},
    network::Network,
    page::{Limits, Page},
    udp::UdpPeer,
};

/// Two vantage points and a host behind two routers: 3 + 10 + 2 ms from the first to the host.
const WORLD: &str = r#"
[[router]]
name = "r1"
addr = "198.19.0.1"
[[router]]
name = "r2"
addr = "198.19.0.2"
[[link]]
a = "r1"
b = "r2"
delay_ms = 10.0
[[vp]]
name = "one"
addr = ["198.18.0.1", "2001:db8::1"]
at = "r1"
delay_ms = 3.0
[[vp]]
name = "two"
addr = "198.18.0.2"
at = "r2"
delay_ms = 1.0
[[host]]
name = "host"
addr = ["198.18.16.1", "2001:db8:1::1"]
at = "r2"
delay_ms = 2.0
tcp = [80]
"#;

const LOOSE: Limits = Limits { packets_per_s: 1 << 30, bits_per_s: 1 << 40, target_packets_per_s: 1 << 30 };

fn universe() -> Universe {
    Universe::start(Arc::new(Plan::parse("world.toml", WORLD).unwrap())).unwrap()
}

fn driver(universe: &Universe, vp: usize) -> Driver {
    let page = Arc::new(Page::create(LOOSE, [1; 16]).unwrap());
    let driver = Driver::new(page, Config::default()).unwrap();
    driver.add_carrier(Box::new(universe.carrier(VpId::new(vp), [3; 16]).unwrap())).unwrap();
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

#[test]
fn round_trips_are_those_of_the_world_to_the_nanosecond() {
    block_on(async {
        let universe = universe();
        let driver = driver(&universe, 0);
        let methods = [Method::Icmp, Method::Udp, Method::TcpSyn];
        let targets = [("198.18.16.1", 30), ("2001:db8:1::1", 30), ("198.18.0.2", 28)];
        for (target, ms) in targets {
            for method in methods {
                // A vantage point answers echo alone.
                if target == "198.18.0.2" && method != Method::Icmp {
                    continue;
                }
                let asked = ping(target, |spec| {
                    spec.method = method;
                    spec.port = 80;
                });
                let (ping, conditions) = driver.run(asked, Wish::Any).await.unwrap();
                let sample = ping.samples().next().unwrap();
                assert!(matches!(sample.fate, Fate::Replied(_)), "{target} {method:?}: {sample:?}");
                assert_eq!(sample.rtt, Some(Nanos::from_millis(ms)), "{target} {method:?}");
                assert_eq!(conditions.lane, Lane::Simulated);
                assert_eq!(conditions.received_by, StampSource::Simulated);
            }
        }
    });
}

#[test]
fn vantage_points_of_one_world_measure_at_the_same_time() {
    block_on(async {
        let universe = universe();
        let [one, two] = [driver(&universe, 0), driver(&universe, 1)];
        let run = |driver: &Driver, target| {
            let driver = driver.clone();
            async move { driver.run(ping(target, |_| {}), Wish::Any).await.unwrap().0 }
        };
        let (there, back) = futures::join!(run(&one, "198.18.0.2"), run(&two, "198.18.0.1"));
        for ping in [there, back] {
            assert_eq!(ping.samples().next().unwrap().rtt, Some(Nanos::from_millis(28)));
        }
    });
}

#[test]
fn an_address_that_nobody_has_is_unreachable_and_another_source_is_refused() {
    block_on(async {
        let universe = universe();
        let driver = driver(&universe, 0);
        let (ping, _) = driver.run(ping("198.18.99.1", |_| {}), Wish::Any).await.unwrap();
        assert!(!matches!(ping.samples().next().unwrap().fate, Fate::Replied(_)));
        let foreign = |spec: &mut Spec| spec.source = Some("192.0.2.1".parse().unwrap());
        let (ping, _) = driver.run(self::ping("198.18.16.1", foreign), Wish::Any).await.unwrap();
        assert!(matches!(ping.samples().next().unwrap().fate, Fate::NotSent(_)));
    });
}

#[test]
fn names_of_a_world_stay_in_it() {
    block_on(async {
        let universe = universe();
        let host: Vec<IpAddr> = vec!["198.18.16.1".parse().unwrap(), "2001:db8:1::1".parse().unwrap()];
        assert_eq!(universe.resolve("host"), host);
        assert_eq!(universe.resolve("HOST."), host);
        assert!(universe.resolve("example.org").is_empty());
    });
}

#[test]
fn datagrams_are_answered_by_the_services_of_hosts_to_the_nanosecond() {
    block_on(async {
        let named = format!(
            "{WORLD}[[zone]]\nname = \"lab.test\"\nrecords = [\"@ A 198.18.16.1\"]\n[[dns]]\nhost = \"host\"\nzones = [\"lab.test\"]\n"
        );
        let universe = Universe::start(Arc::new(Plan::parse("world.toml", &named).unwrap())).unwrap();
        let network = Network::Universe(universe.clone(), VpId::new(0));
        // RFC 1035, section 4.1: the address of lab.test.
        let query = b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x03lab\x04test\x00\x00\x01\x00\x01";
        for server in ["198.18.16.1:53", "[2001:db8:1::1]:53"] {
            let [one, two] = [(); 2].map(|()| UdpPeer::connect(&network, server.parse().unwrap()).unwrap());
            let sent = [one.send(query).await.unwrap(), two.send(query).await.unwrap()];
            // Each hears its own answer alone.
            for (peer, sent) in [&one, &two].into_iter().zip(sent) {
                let mut answer = [0; 512];
                let (length, came) = peer.receive(&mut answer).await.unwrap();
                assert_eq!((&answer[..2], &answer[length - 4..length]), (&query[..2], &[198, 18, 16, 1][..]));
                assert_eq!(came.at.saturating_since(sent.at), Nanos::from_millis(30));
                assert_eq!((sent.source, came.source), (StampSource::Simulated, StampSource::Simulated));
            }
        }
        let closed = UdpPeer::connect(&network, "198.18.16.1:54".parse().unwrap()).unwrap();
        closed.send(query).await.unwrap();
        let error = closed.receive(&mut [0; 512]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
        assert_eq!(closed.local_addr().unwrap().ip(), "198.18.0.1".parse::<IpAddr>().unwrap());
        let socket = network.socket(socket2::Domain::IPV4, socket2::Type::STREAM, None);
        assert_eq!(socket.unwrap_err().kind(), io::ErrorKind::Unsupported);
    });
}
