//! What holds of every world, whatever is sent into it.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "what fails here fails the test, with its reason"
)]

use std::net::IpAddr;
use std::sync::Arc;

use mmn_lab::ids::{Id as _, VpId};
use mmn_lab::plan::Plan;
use mmn_lab::truth::{Fate, Query};
use mmn_lab::world::{Port, World};
use mmn_probe::packet::{Body, Identity, Probe, ProbeId, Ttl, UdpTag};
use mmn_probe::time::{Instant, Nanos, Utc};
use mmn_probe::wire::checksum;
use mmn_probe::wire::heard::{Checksums, packet as heard};
use mmn_probe::wire::probe::encode;
use proptest::prelude::*;

/// Two halves that share nothing but the router in the middle, with all that can befall a packet.
const WORLD: &str = r#"
seed = 9
router = [
  { name = "l", addr = "198.19.0.1", icmp_pps = 50, icmp_burst = 5, mpls = [99] },
  { name = "gw", addr = "192.168.0.1", nat = { outside = "198.18.5.1", inside = "192.168.0.0/24" } },
  { name = "m", addr = ["198.19.0.2", "2001:db8:f::2"], lb = "per-packet" },
  { name = "n1", addr = "198.19.0.3", hidden = true }, { name = "n2", addr = "198.19.0.4", silent = true },
  { name = "r", addr = ["198.19.0.5", "2001:db8:f::5"], ipid = "separate" },
]
link = [
  { a = "l", b = "m", delay_ms = 5, jitter_ms = 3, loss = 0.1, dup = 0.1, reorder = 0.1, mtu = 700 },
  { a = "gw", b = "l", delay_ms = 1 },
  { a = "m", b = "n1", delay_ms = 2 }, { a = "m", b = "n2", delay_ms = 2 },
  { a = "n1", b = "r", delay_ms = 2 }, { a = "n2", b = "r", delay_ms = 2 },
  { a = "m", b = "r", metric = 9, delay_ms = 9, mbps = 1, queue_packets = 3, down = [{ from_s = 1, to_s = 2 }] },
]
vp = [
  { name = "a", addr = "198.18.0.1", at = "l" }, { name = "home", addr = "192.168.0.9", at = "gw", jitter_ms = 1 },
  { name = "b", addr = ["198.18.0.2", "2001:db8::2"], at = "r", loss = 0.1, jitter_ms = 1 },
  { name = "c", addr = ["198.18.0.3", "2001:db8::3"], at = "r", mbps = 2, dup = 0.2 },
]
host = [
  { name = "left", addr = "198.18.1.1", at = "l", tcp = [80], udp = [7], timestamp = true },
  { name = "right", addr = ["198.18.2.1", "2001:db8:2::1"], at = "r", prefix = "198.18.3.0/24", tcp = [80], udp = [7], rejected = [9] },
  { name = "any1", addr = "198.18.9.9", at = "l", anycast = true },
  { name = "any2", addr = "198.18.9.9", at = "r", anycast = true },
]
"#;

const TARGETS: [&str; 11] = [
    "198.18.1.1",
    "198.18.2.1",
    "198.18.3.77",
    "198.18.9.9",
    "198.18.0.1",
    "198.18.5.1",
    "198.19.0.5",
    "203.0.113.1",
    "192.168.0.9",
    "2001:db8:2::1",
    "2001:db8::3",
];
const VPS: usize = 4;

/// A packet to be sent: when (in microseconds after the one before), by whom, to whom, and how.
#[derive(Clone, Debug)]
struct Shot {
    after_us: u64,
    vp: usize,
    target: usize,
    kind: u8,
    port: u16,
    ttl: u8,
    bytes: usize,
    dont_fragment: bool,
    /// An octet of the packet to be changed, and how.
    spoil: Option<(usize, u8)>,
}

fn shots() -> impl Strategy<Value = Vec<Shot>> {
    let port = prop_oneof![Just(7), Just(9), Just(80), any::<u16>()];
    let spoil = prop::option::weighted(0.1, (0_usize..60, any::<u8>()));
    let shot = (
        0_u64..200_000,
        0..VPS,
        0..TARGETS.len(),
        0_u8..5,
        port,
        1_u8..9,
        0_usize..1_400,
        any::<bool>(),
        spoil,
    )
        .prop_map(|(after_us, vp, target, kind, port, ttl, bytes, dont_fragment, spoil)| Shot {
            after_us,
            vp,
            target,
            kind,
            port,
            ttl,
            bytes,
            dont_fragment,
            spoil,
        });
    prop::collection::vec(shot, 1..60)
}

fn bytes_of(plan: &Plan, shot: &Shot, number: usize) -> Option<Vec<u8>> {
    let target: IpAddr = TARGETS[shot.target].parse().unwrap();
    let source = plan.vp_node(VpId::new(shot.vp)).addresses.like(target)?;
    let payload = vec![7; shot.bytes];
    let flags = [2, 16, 18, 4][shot.bytes % 4];
    let body = match shot.kind {
        0 | 1 => Body::Echo { payload, checksum: None },
        2 if target.is_ipv4() => Body::Timestamp,
        3 => Body::Tcp { port: shot.port, flags, seq: None, ack: None, mss: Some(1000), payload: Vec::new() },
        _ => Body::Udp { port: shot.port, payload, tag: UdpTag::Ports },
    };
    let mut probe = Probe::new(ProbeId(0), target, body);
    probe.ttl = Some(Ttl(shot.ttl));
    probe.dont_fragment = shot.dont_fragment;
    let identity = Identity { selector: 5_000 + shot.port % 3, tag: u16::try_from(number + 1).unwrap() };
    let mut bytes = Vec::new();
    encode(&probe, identity, source, Utc(0), &mut bytes).unwrap();
    if let Some((at, with)) = shot.spoil
        && at < bytes.len()
    {
        bytes[at] ^= with;
        if bytes[0] >> 4 == 4 && bytes[0] & 15 >= 5 && bytes.len() >= usize::from(bytes[0] & 15) * 4 {
            // A header whose checksum is wrong would go nowhere.
            let header = usize::from(bytes[0] & 15) * 4;
            bytes[10..12].fill(0);
            let sum = checksum::of(&bytes[..header]).to_be_bytes();
            bytes[10..12].copy_from_slice(&sum);
        }
    }
    Some(bytes)
}

/// What came out at a port: when, and what.
type Out = Vec<(Port, Instant, Vec<u8>)>;

fn play(plan: &Arc<Plan>, shots: &[Shot], only: impl Fn(&Shot) -> bool) -> (World, Out) {
    let mut world = World::new(plan.clone());
    let (mut now, mut out, mut came) = (Instant(0), Vec::new(), Vec::new());
    let mut absorb = |world: &World, came: &mut Vec<_>| {
        for delivery in came.drain(..) {
            let delivery: mmn_lab::world::Delivery = delivery;
            out.push((delivery.port, delivery.due, world.bytes(&delivery).to_vec()));
        }
    };
    for (number, shot) in shots.iter().enumerate() {
        now = now + Nanos(shot.after_us * 1_000);
        world.poll(now, &mut came);
        absorb(&world, &mut came);
        if only(shot)
            && let Some(bytes) = bytes_of(plan, shot, number)
        {
            world.inject(now, Port::Vp(VpId::new(shot.vp)), &bytes);
        }
    }
    while let Some(next) = world.next_at() {
        world.poll(next, &mut came);
        absorb(&world, &mut came);
    }
    (world, out)
}

fn plan() -> Arc<Plan> {
    Arc::new(Plan::parse("world", WORLD).unwrap_or_else(|error| panic!("{error}")))
}

proptest! {
    #[test]
    fn every_packet_has_one_fate_and_what_comes_is_whole(shots in shots()) {
        let (world, out) = play(&plan(), &shots, |_| true);
        prop_assert_eq!(world.under_way(), 0);
        let mut delivered = Vec::new();
        for record in world.truth().records() {
            prop_assert!(record.fate != Fate::UnderWay, "{:?}", record);
            prop_assert!(record.ended >= record.born);
            let consequences = world.truth().consequences(record.id).count();
            let mentions = matches!(record.fate, Fate::Answered(_) | Fate::Fragmented(_));
            prop_assert!(!mentions || consequences > 0, "{:?}", record);
            if let Some(cause) = record.cause {
                prop_assert!(cause < record.id && world.truth().of(cause).is_some());
                prop_assert!(world.truth().consequences(cause).any(|one| one.id == record.id));
            }
            if let Fate::Delivered(port) = record.fate {
                delivered.push((port, record.ended));
            }
        }
        let mut came: Vec<_> = out.iter().map(|(port, due, _)| (*port, *due)).collect();
        came.sort_unstable();
        delivered.sort_unstable();
        prop_assert_eq!(came, delivered);
        let spoiled = shots.iter().any(|shot| shot.spoil.is_some());
        for (_, _, bytes) in &out {
            // Checksums are right, whatever was made, changed and cut on the way.
            let damaged = heard(bytes, Checksums::Unchecked).is_err_and(|error| error == mmn_probe::wire::DecodeError::Checksum);
            let fragment = bytes[0] >> 4 == 4 && (bytes[6] & 0x3f != 0 || bytes[7] != 0);
            prop_assert!(spoiled || fragment || !damaged, "{:02x?}", bytes);
        }
    }

    #[test]
    fn the_same_comes_out_twice(shots in shots()) {
        let plan = plan();
        prop_assert_eq!(play(&plan, &shots, |_| true).1, play(&plan, &shots, |_| true).1);
    }

    #[test]
    fn what_one_sends_changes_nothing_where_it_does_not_pass(shots in shots()) {
        // Between vantage points b and c and the host on the right: what those on the left ask of the left is another matter.
        let plan = plan();
        let is_right = |shot: &Shot| shot.vp == 2 && [1, 2, 9].contains(&shot.target);
        let is_left = |shot: &Shot| shot.vp < 2 && [0, 4].contains(&shot.target);
        let of_b = |out: Out| -> Out {
            out.into_iter().filter(|(port, ..)| *port == Port::Vp(VpId::new(2))).collect()
        };
        let alone = of_b(play(&plan, &shots, is_right).1);
        let together = of_b(play(&plan, &shots, |shot| is_right(shot) || is_left(shot)).1);
        prop_assert_eq!(alone, together);
    }

    #[test]
    fn garbage_is_no_panic(packets in prop::collection::vec((0..VPS, prop::collection::vec(any::<u8>(), 0..90), any::<bool>()), 1..20)) {
        let mut world = World::new(plan());
        let mut out = Vec::new();
        for (vp, mut bytes, repair) in packets {
            if repair && bytes.len() >= 20 {
                let total = u16::try_from(bytes.len()).unwrap().to_be_bytes();
                bytes[0] = 0x45;
                bytes[2..4].copy_from_slice(&total);
                bytes[16..20].copy_from_slice(&[198, 18, 1, 1]);
                bytes[10..12].fill(0);
                let sum = checksum::of(&bytes[..20]).to_be_bytes();
                bytes[10..12].copy_from_slice(&sum);
            }
            world.inject(Instant(5), Port::Vp(VpId::new(vp)), &bytes);
        }
        while let Some(next) = world.next_at() {
            world.poll(next, &mut out);
            out.clear();
        }
    }
}

#[test]
fn another_seed_draws_otherwise() {
    let shot = Shot {
        after_us: 1_000,
        vp: 0,
        target: 1,
        kind: 0,
        port: 7,
        ttl: 8,
        bytes: 20,
        dont_fragment: false,
        spoil: None,
    };
    let shots = vec![shot; 50];
    let other = Arc::new(Plan::parse("world", &WORLD.replace("seed = 9", "seed = 10")).unwrap());
    assert_ne!(play(&plan(), &shots, |_| true).1, play(&other, &shots, |_| true).1);
}

#[test]
fn a_late_injection_keeps_its_times() {
    let plan = plan();
    let shot = Shot {
        after_us: 0,
        vp: 0,
        target: 0,
        kind: 0,
        port: 7,
        ttl: 8,
        bytes: 20,
        dont_fragment: false,
        spoil: None,
    };
    let bytes = bytes_of(&plan, &shot, 0).unwrap();
    let mut world = World::new(plan);
    let mut out = Vec::new();
    // Something else goes on until later than the injected packet left.
    world.inject(
        Instant(0),
        Port::Vp(VpId::new(3)),
        &bytes_of(world.plan(), &Shot { vp: 3, ..shot }, 1).unwrap(),
    );
    world.poll(Instant(300_000), &mut out);
    world.inject(Instant(250_000), Port::Vp(VpId::new(0)), &bytes);
    world.poll(Instant(1_000_000), &mut out);
    assert_eq!(out.first().map(|delivery| delivery.due), Some(Instant(650_000)));
    // The truth finds it by its time all the same.
    let late = Query { from: Some(Instant(250_000)), until: Some(Instant(250_001)), ..Query::default() };
    assert_eq!(world.truth().find(&late).count(), 1);
    let early = Query { until: Some(Instant(1)), ..Query::default() };
    assert!(world.truth().find(&early).all(|record| record.born == Instant(0)));
}
