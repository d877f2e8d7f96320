//! Who waits, on a page of limits and a clock that is moved by hand.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv4Addr},
};

use proptest::prelude::*;

use super::*;
use crate::net::page::{Held, Limit, Limits, Page};

const MS: u64 = 1_000_000;
const BYTES: u64 = 64;

/// A driver that does nothing but wait: each task has one packet.
struct Bench {
    page: Page,
    now: Instant,
    waiting: Waiting,
    spots: BTreeMap<JobKey, Spot>,
    targets: BTreeMap<JobKey, IpAddr>,
    left: Vec<(u64, JobKey)>,
}

fn target(number: u8) -> IpAddr {
    Ipv4Addr::new(192, 0, 2, number).into()
}

fn job(number: u64) -> JobKey {
    JobKey { index: u32::try_from(number).unwrap(), generation: 1 }
}

/// One packet each 10 ms to a target, ten at a time and one each ms of all.
const LIMITS: Limits = Limits { packets_per_s: 1_000, bits_per_s: 1 << 40, target_packets_per_s: 100 };

impl Bench {
    fn new(limits: Limits) -> Self {
        Self {
            page: Page::create(limits, [1; 16]).unwrap(),
            now: Instant(1_000 * MS),
            waiting: Waiting::default(),
            spots: BTreeMap::new(),
            targets: BTreeMap::new(),
            left: Vec::new(),
        }
    }

    fn until(&self, held: Held) -> Instant {
        self.now + held.wait
    }

    fn leaves(&mut self, key: JobKey) {
        let cap = |key: &JobKey| self.page.cap_of(self.targets[key]);
        let rank = self.spots.remove(&key).map(|spot| (spot.rank(), key));
        for (other, spot) in &self.spots {
            let behind = rank.is_some_and(|rank| rank < (spot.rank(), *other));
            assert!(behind || cap(other) != cap(&key), "{other:?} came before {key:?}");
        }
        self.left.push((self.now.0 / MS - 1_000, key));
    }

    fn comes(&mut self, key: JobKey, target: IpAddr, rank: Rank) {
        let cap = self.page.cap_of(target);
        self.targets.insert(key, target);
        let spot = if let Some(spot) = self.waiting.behind(|| cap, rank) {
            self.waiting.enter(spot, key, self.now);
            spot
        } else {
            let Err(held) = self.page.take(self.now, target, 1, BYTES) else { return self.leaves(key) };
            let spot = match held.by {
                Limit::Site => Spot::Site(rank),
                Limit::Target => Spot::Line(cap, rank),
            };
            self.waiting.enter(spot, key, self.until(held));
            spot
        };
        self.spots.insert(key, spot);
    }

    /// A task with one packet.
    fn task(&mut self, number: u64, to: u8) {
        self.comes(job(number), target(to), Rank::of_task(number));
    }

    fn goes(&mut self, key: JobKey) {
        if let Some(spot) = self.spots.remove(&key) {
            self.waiting.leave(spot, key);
        }
    }

    fn serve(&mut self) {
        while let Some((spot, key)) = self.waiting.next(self.now) {
            assert_eq!(self.spots.get(&key), Some(&spot));
            let to = self.targets[&key];
            let cap = self.page.cap_of(to);
            if let Some(line) = self.waiting.line_instead(spot, || cap) {
                self.waiting.leave(spot, key);
                self.waiting.enter(line, key, self.now);
                self.spots.insert(key, line);
                continue;
            }
            match self.page.take(self.now, to, 1, BYTES) {
                Ok(()) => {
                    self.waiting.leave(spot, key);
                    self.leaves(key);
                }
                Err(held) if held.by == Limit::Site => self.waiting.close_site(self.until(held)),
                Err(held) => {
                    let spot = self.waiting.close_line(spot, key, cap, self.until(held));
                    self.spots.insert(key, spot);
                }
            }
        }
    }

    /// Until nobody waits, or until then.
    fn run_until(&mut self, end: Instant) {
        while let Some(at) = self.waiting.due() {
            if at > end {
                break;
            }
            self.now = self.now.max(at);
            self.serve();
        }
        self.now = self.now.max(end);
    }

    fn run(&mut self) {
        let far = self.now + Nanos::from_secs(3_600);
        self.run_until(far);
        assert!(self.spots.is_empty(), "{:?} wait for ever", self.spots);
    }

    fn order(&self) -> Vec<u32> {
        self.left.iter().map(|(_, key)| key.index).collect()
    }
}

#[test]
fn who_came_first_leaves_first_and_the_slots_are_all_used() {
    let mut bench = Bench::new(LIMITS);
    for number in 0..10_000 {
        bench.task(number, 1);
    }
    bench.run();
    assert_eq!(bench.order(), (0..10_000).collect::<Vec<_>>());
    assert_eq!(bench.left.last().unwrap().0, 9_999 * 10);
}

#[test]
fn a_saturated_target_delays_no_other() {
    let mut bench = Bench::new(LIMITS);
    for number in 0..1_000 {
        bench.task(number, 1);
    }
    for number in 1_000..1_100 {
        let at = bench.now + Nanos(7 * MS);
        bench.run_until(at);
        bench.task(number, u8::try_from(number % 100).unwrap() + 100);
        let (left, key) = *bench.left.last().unwrap();
        assert_eq!((left, key), (bench.now.0 / MS - 1_000, job(number)));
    }
}

#[test]
fn what_the_site_holds_back_leaves_in_the_order_in_which_it_came_but_for_whom_a_cap_holds() {
    let mut bench = Bench::new(Limits { packets_per_s: 100, target_packets_per_s: 20, ..LIMITS });
    // All of one target came first: it gets its share, and the others theirs, in order.
    for number in 0..10 {
        bench.task(number, 1);
    }
    for number in 10..100 {
        bench.task(number, u8::try_from(number).unwrap());
    }
    bench.run();
    let order = bench.order();
    let (first, others): (Vec<u32>, Vec<u32>) = order.iter().partition(|index| **index < 10);
    assert_eq!((first, others), ((0..10).collect(), (10..100).collect()));
    let places: Vec<usize> =
        (0..10).map(|index| order.iter().position(|left| *left == index).unwrap()).collect();
    assert_eq!(places, (0..10).map(|nth| nth * 5).collect::<Vec<_>>());
}

#[test]
fn one_that_has_begun_is_let_finish_and_a_flood_lets_others_in() {
    let mut bench = Bench::new(LIMITS);
    for number in 2..100 {
        bench.task(number, 1);
    }
    // The next packet of the first task, and one beyond those that its place is for.
    bench.comes(job(1_000), target(1), Rank::of_task(1));
    let anew = bench.waiting.anew(99);
    bench.comes(job(1_001), target(1), anew);
    bench.task(100, 1);
    bench.run();
    let order = bench.order();
    assert_eq!(order[..3], [2, 1_000, 3]);
    assert_eq!(order[98..], [99, 1_001, 100]);
}

#[test]
fn as_many_as_there_is_time_for_leave_and_the_others_know_at_once() {
    let mut bench = Bench::new(LIMITS);
    let deadline = bench.now + Nanos(600 * MS);
    let gap = bench.page.target_gap().unwrap();
    let cap = bench.page.cap_of(target(1));
    let mut begun = Vec::new();
    for number in 0..100 {
        if bench.waiting.earliest(|| cap, bench.now, gap).is_none_or(|earliest| earliest <= deadline) {
            bench.task(number, 1);
            begun.push(u32::try_from(number).unwrap());
        }
    }
    // At 0, 10, … 600 ms.
    assert_eq!(begun.len(), 61);
    bench.run_until(deadline);
    assert_eq!(bench.order(), begun);
    // Another target is not concerned, nor is this one when nobody waits any more.
    let other = bench.page.cap_of(target(2));
    assert_eq!(bench.waiting.earliest(|| other, bench.now, gap), None);
    assert_eq!(bench.waiting.earliest(|| cap, bench.now, gap), None);
}

#[test]
fn who_gives_up_leaves_nothing_behind() {
    let mut bench = Bench::new(Limits { packets_per_s: 200, ..LIMITS });
    for number in 0..1_000 {
        bench.task(number, u8::try_from(number % 200).unwrap());
    }
    for number in 0..1_000 {
        bench.goes(job(number));
    }
    assert_eq!(bench.waiting.due(), None);
    bench.now = bench.now + Nanos(10 * MS);
    let before = bench.left.len();
    bench.task(1_000, 1);
    assert_eq!(bench.left.len(), before + 1);
    assert!(bench.waiting.lined.is_empty() && bench.waiting.site.is_empty());
}

#[derive(Debug, Clone)]
enum Step {
    Comes(u8),
    Again(usize),
    Gone(usize),
    Passes(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0..6_u8).prop_map(Step::Comes),
        1 => any::<usize>().prop_map(Step::Again),
        1 => any::<usize>().prop_map(Step::Gone),
        2 => (0..40_u64).prop_map(Step::Passes),
    ]
}

proptest! {
    #[test]
    fn each_leaves_once_and_no_older_one_waits_for_the_same(
        (site, cap) in (20..400_u64, 10..400_u64),
        steps in prop::collection::vec(step(), 1..200),
    ) {
        let mut bench = Bench::new(Limits { packets_per_s: site, target_packets_per_s: cap, ..LIMITS });
        let (mut ranks, mut gone) = (BTreeMap::new(), BTreeSet::new());
        let mut come = |bench: &mut Bench, to: u8, rank: Rank| {
            let key = job(u64::try_from(ranks.len()).unwrap());
            ranks.insert(key, (to, rank));
            bench.comes(key, target(to), rank);
        };
        let mut newest = 0;
        for step in steps {
            match step {
                Step::Comes(to) => {
                    newest += 1;
                    come(&mut bench, to, Rank::of_task(newest));
                }
                Step::Again(which) => {
                    // What an old task, or a flood, sends besides.
                    let to = u8::try_from(which % 6).unwrap();
                    let old = u64::try_from(which / 6).unwrap() % (newest + 1);
                    let rank = if which % 2 == 0 { Rank::of_task(old) } else { bench.waiting.anew(newest) };
                    come(&mut bench, to, rank);
                }
                Step::Gone(which) => {
                    let waits = bench.spots.keys().nth(which % bench.spots.len().max(1)).copied();
                    if let Some(key) = waits {
                        bench.goes(key);
                        gone.insert(key);
                    }
                }
                Step::Passes(ms) => {
                    let end = bench.now + Nanos(ms * MS);
                    bench.run_until(end);
                }
            }
        }
        bench.run();
        prop_assert_eq!(bench.left.len() + gone.len(), bench.targets.len());
        let left: BTreeSet<JobKey> = bench.left.iter().map(|(_, key)| *key).collect();
        prop_assert_eq!(left.len(), bench.left.len());
        prop_assert!(bench.waiting.lines.is_empty() && bench.waiting.closed.is_empty());
    }
}
