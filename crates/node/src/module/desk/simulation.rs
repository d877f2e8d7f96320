//! Instances under an anchor, in simulated time: whether the queue that the desk asks for keeps fast instances busy and
//! leaves slow ones little.

use std::collections::{BTreeMap, BinaryHeap};

use mmn_schema::dispatch::{ResultBatch, Task};

use super::tests::{anchor, measurement, ok};
use super::*;

/// One way of a message.
const HOP: u64 = 150_000;

/// How an instance performs.
#[derive(Clone, Copy)]
enum Service {
    /// Each task takes so long, any number at a time.
    Waits(u64),
    /// Each task takes so long of the one processor.
    Works(u64),
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Batch(usize, u64, u64),
    Ends(usize, Ticket),
    Wakes(usize),
    Results(usize, u64),
    Credits(usize, u32),
}

struct Instance {
    desk: Desk<()>,
    service: Service,
    free_at: u64,
    credits: u32,
    out: u64,
}

struct World {
    instances: Vec<Instance>,
    events: BinaryHeap<std::cmp::Reverse<(u64, u64, Event)>>,
    count: u64,
    pending: u64,
    next: u64,
    done: u64,
    /// What a task costs the anchor, and until when it is at work.
    cost: u64,
    anchor_free_at: u64,
    most_held: u32,
}

fn now(at: u64) -> Now {
    Now { at: Instant(at), utc: Timestamp::from_unix_ns(1_800_000_000_000_000_000) }
}

impl World {
    fn new(services: &[Service], concurrency: u32, tasks: u64, cost: u64) -> Self {
        let room = Room::new(BTreeMap::from([("a".parse().unwrap(), concurrency)]));
        let instance = |service: &Service| {
            let identity =
                Identity { vp: VpId::derive("U", "main"), instance: "i".parse().unwrap(), boot: BootId(9) };
            let (desk, credits) = (Desk::new(identity, room.clone()), room.credits);
            Instance { desk, service: *service, free_at: 0, credits, out: 0 }
        };
        Self {
            instances: services.iter().map(instance).collect(),
            events: BinaryHeap::new(),
            count: 0,
            pending: tasks,
            next: 0,
            done: 0,
            cost,
            anchor_free_at: 0,
            most_held: 0,
        }
    }

    fn at(&mut self, at: u64, event: Event) {
        self.count += 1;
        self.events.push(std::cmp::Reverse((at, self.count, event)));
    }

    /// Gives how long it took.
    fn run(&mut self) -> u64 {
        let tasks = self.pending;
        self.dispatch(0);
        while let Some(std::cmp::Reverse((at, _, event))) = self.events.pop() {
            match event {
                Event::Batch(which, first, count) => self.batch(at, which, first, count),
                Event::Ends(which, ticket) => {
                    self.instances[which].desk.finish(ticket, now(at), ok());
                    self.turn(at, which);
                }
                Event::Wakes(which) => self.turn(at, which),
                Event::Credits(which, credits) => {
                    self.instances[which].credits = credits;
                    self.dispatch(at);
                }
                Event::Results(which, count) => {
                    self.instances[which].out -= count;
                    self.done += count;
                    self.anchor_free_at = self.anchor_free_at.max(at) + count * self.cost;
                    if self.done == tasks {
                        return self.anchor_free_at.max(at);
                    }
                    let then = self.anchor_free_at.max(at);
                    self.dispatch(then);
                }
            }
        }
        panic!("{} of {tasks} were done", self.done);
    }

    /// The instance with the largest free share gets the next batch.
    fn dispatch(&mut self, at: u64) {
        while self.pending > 0 {
            // In millionths.
            let share =
                |i: &Instance| u64::from(i.credits).saturating_sub(i.out) * 1_000_000 / u64::from(i.credits);
            let best = (0..self.instances.len()).max_by_key(|at| share(&self.instances[*at])).unwrap();
            let instance = &mut self.instances[best];
            let count = u64::from(instance.credits).saturating_sub(instance.out).min(256).min(self.pending);
            if count == 0 {
                return;
            }
            instance.out += count;
            let first = self.next;
            self.next += count;
            self.pending -= count;
            self.at(at + HOP, Event::Batch(best, first, count));
        }
    }

    fn batch(&mut self, at: u64, which: usize, first: u64, count: u64) {
        let instance = &mut self.instances[which];
        // A processor at work reads later.
        let at = at.max(instance.free_at);
        let batch = TaskBatch {
            anchor: anchor(0),
            epoch: Epoch(1),
            seq: first + 1,
            ack: u64::MAX,
            measurement: measurement(1),
            kind: "a".parse().unwrap(),
            params: Body::null(),
            deadline_ns: u64::MAX / 2,
            tasks: (first..first + count)
                .map(|index| Task { index, attempt: 0, input: Input::Nothing })
                .collect(),
        };
        let (receipt, _) = instance.desk.offer(now(at), batch, Way::Addressed, Encoding::Cbor, |_, _| Ok(()));
        assert!(matches!(receipt, Receipt::Accepted { .. }), "{receipt:?}");
        let held = instance.desk.running() + instance.desk.queued();
        self.most_held = self.most_held.max(held);
        self.turn(at, which);
    }

    fn turn(&mut self, at: u64, which: usize) {
        let instance = &mut self.instances[which];
        let mut at = at.max(instance.free_at);
        let mut events = Vec::new();
        for _ in 0..1024 {
            let Some(started) = instance.desk.start(now(at)) else { break };
            match instance.service {
                Service::Waits(time) => events.push((at + time, Event::Ends(which, started.ticket))),
                Service::Works(time) => {
                    at += time;
                    instance.desk.finish(started.ticket, now(at), ok());
                }
            }
        }
        instance.free_at = at;
        if instance.desk.can_start() {
            events.push((at, Event::Wakes(which)));
        }
        while let Some(out) = instance.desk.next_out(Instant(at)) {
            let batch: ResultBatch = out.encoding.decode(&out.payload).unwrap();
            events.push((at + HOP, Event::Results(which, batch.records.len() as u64)));
        }
        if let Some(credits) = instance.desk.new_credits(Instant(at)) {
            events.push((at + HOP, Event::Credits(which, credits)));
        }
        for (at, event) in events {
            self.at(at, event);
        }
    }
}

const MS: u64 = 1_000_000;

#[test]
fn a_slow_instance_keeps_nobody_waiting() {
    let services = [10, 10, 10, 200].map(|ms| Service::Waits(ms * MS));
    let mut world = World::new(&services, 16, 10_000, 0);
    let took = world.run();
    // Tasks in a second.
    let rate: u64 = [10, 10, 10, 200].iter().map(|ms| 16 * 1000 / ms).sum();
    let ideal = 10_000 * 1_000_000_000 / rate;
    assert!(took * 100 <= 120 * ideal, "{took} ns, and {ideal} would be ideal");
}

#[test]
fn equal_instances_lose_nothing_to_the_gap() {
    let mut world = World::new(&[Service::Waits(10 * MS); 4], 16, 10_000, 0);
    let took = world.run();
    let ideal = 10_000 * 10 * MS / (4 * 16);
    assert!(took * 100 <= 105 * ideal, "{took} ns, and {ideal} would be ideal");
}

#[test]
fn a_kind_that_does_nothing_is_kept_busy() {
    // 64 at a time, half a microsecond each, and an anchor that takes twice that.
    let mut world = World::new(&[Service::Works(500)], 64, 200_000, 1_000);
    let took = world.run();
    let per_s = 200_000 * 1_000_000_000 / took;
    assert!(per_s >= 600_000, "{per_s} a second");
    assert!(world.most_held <= 64 + 4096, "{}", world.most_held);
}

#[test]
fn a_distant_anchor_is_made_up_for() {
    // Gaps of a quarter of a second, in which 64 tasks of 200 ms each would leave the instance idle.
    let mut pace = Pace::new(64, 80);
    let mut at = Instant(0);
    for _ in 0..20 {
        pace.takes(at, 0);
        pace.took(80);
        for ended in 1..=80 {
            at = at + Nanos::from_millis(200 / 64);
            pace.ended(at, 80 - ended);
            if ended == 16 {
                pace.told(at, 16);
            }
        }
        let _ = pace.change(at, false);
        at = at + Nanos::from_millis(250 - 64 * (200 / 64));
    }
    assert!(pace.credits() > 64 + 80, "{}", pace.credits());
}
