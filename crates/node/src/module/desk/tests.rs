use std::collections::{BTreeMap, BTreeSet};

use mmn_schema::dispatch::{ResultBatch, Synced, Task};
use mmn_schema::subject::Subject;
use proptest::prelude::*;

use super::*;

const CREDITS: u32 = 10;

fn desk() -> Desk<()> {
    let identity =
        Identity { vp: VpId::derive("U", "main"), instance: "notes-1".parse().unwrap(), boot: BootId(9) };
    let concurrency = BTreeMap::from([("a".parse().unwrap(), 3), ("b".parse().unwrap(), 2)]);
    Desk::new(identity, Room { credits: CREDITS, concurrency, max_owed_bytes: 20_000 })
}

fn at(ns: u64) -> Now {
    Now { at: Instant(ns), utc: Timestamp::from_unix_ns(1_800_000_000_000_000_000) }
}

pub(super) fn anchor(which: u8) -> AnchorId {
    format!("anchor-{which}").parse().unwrap()
}

pub(super) fn measurement(number: u64) -> MeasurementId {
    MeasurementId::new(number, &[1; 10])
}

fn batch(from: u8, epoch: u64, number: u64, kind: &str, tasks: u64, deadline_ns: u64) -> TaskBatch {
    TaskBatch {
        anchor: anchor(from),
        epoch: Epoch(epoch),
        seq: number,
        ack: 0,
        measurement: measurement(number),
        kind: kind.parse().unwrap(),
        params: Body::null(),
        deadline_ns,
        tasks: (0..tasks).map(|index| Task { index, attempt: 0, input: Input::Nothing }).collect(),
    }
}

pub(super) fn ok() -> Ended {
    Ended { outcome: Outcome::Ok, reason: None, answered: None, summary: Summary::new(), body: Body::null() }
}

#[derive(Debug, Clone)]
enum Op {
    Offer { from: u8, kind: bool, tasks: u64, pool: bool, patient: bool },
    Start,
    Finish(prop::sample::Index),
    Cancel(prop::sample::Index, bool),
    Wait,
    Sync { from: u8, resend: bool, keep: bool },
    Fresh { from: u8 },
    Out(u8),
}

fn any_op() -> impl Strategy<Value = Op> {
    prop_oneof![
        4 => (0..2u8, any::<bool>(), 0..6u64, any::<bool>(), prop::bool::weighted(0.8)).prop_map(
            |(from, kind, tasks, pool, patient)| Op::Offer { from, kind, tasks, pool, patient }
        ),
        4 => Just(Op::Start),
        4 => any::<prop::sample::Index>().prop_map(Op::Finish),
        1 => (any::<prop::sample::Index>(), any::<bool>()).prop_map(|(index, whole)| Op::Cancel(index, whole)),
        1 => Just(Op::Wait),
        2 => (0..2u8, any::<bool>(), any::<bool>()).prop_map(|(from, resend, keep)| Op::Sync { from, resend, keep }),
        1 => (0..2u8).prop_map(|from| Op::Fresh { from }),
        3 => (1..4u8).prop_map(Op::Out),
    ]
}

/// The ends that a message tells of.
type Said = Vec<(MeasurementId, u64, Outcome)>;

/// Both sides of the bargain: the desk, and what two anchors have seen of it.
struct World {
    desk: Desk<()>,
    now: u64,
    epoch: u64,
    offers: u64,
    accepted: BTreeSet<(u64, u64)>,
    excused: BTreeSet<(u64, u64)>,
    running: Vec<Ticket>,
    /// By anchor, by number: what each message says.
    seen: BTreeMap<AnchorId, BTreeMap<u64, Said>>,
    acked: BTreeMap<AnchorId, u64>,
}

impl World {
    /// With a way in bulk all tasks go it.
    fn new(in_bulk: bool) -> Self {
        let mut desk = desk();
        if in_bulk {
            desk.allow_bulk(|()| true, 4);
        }
        Self {
            desk,
            now: 1_000,
            epoch: 1,
            offers: 0,
            accepted: BTreeSet::new(),
            excused: BTreeSet::new(),
            running: Vec::new(),
            seen: BTreeMap::new(),
            acked: BTreeMap::new(),
        }
    }

    fn apply(&mut self, op: &Op) {
        match op {
            Op::Offer { from, kind, tasks, pool, patient } => {
                self.offer(*from, *kind, *tasks, *pool, *patient);
            }
            Op::Start => {
                if let Some(started) = self.desk.start(at(self.now)) {
                    assert!(started.origin.deadline > Instant(self.now));
                    self.running.push(started.ticket);
                }
            }
            Op::Finish(index) => {
                if !self.running.is_empty() {
                    let ticket = self.running.swap_remove(index.index(self.running.len()));
                    self.desk.finish(ticket, at(self.now), ok());
                    // A second end changes nothing.
                    self.desk.finish(ticket, at(self.now), ok());
                }
            }
            Op::Cancel(index, whole) => {
                let number = 1 + u64::try_from(index.index(64)).unwrap() % self.offers.max(1);
                let indices: Option<&[u64]> = if *whole { None } else { Some(&[0, 2]) };
                let (_, stopped) =
                    self.desk.cancel(at(self.now), Epoch(self.epoch), measurement(number), indices).unwrap();
                for ticket in &stopped {
                    self.desk.finish(*ticket, at(self.now), Ended::called_off());
                }
                self.running.retain(|ticket| !stopped.contains(ticket));
            }
            Op::Wait => {
                self.now += 1_000;
                self.desk.expire(at(self.now));
            }
            Op::Sync { from, resend, keep } => self.sync(*from, *resend, *keep, false),
            Op::Fresh { from } => self.fresh(*from),
            Op::Out(count) => {
                for _ in 0..*count {
                    if let Some(out) = self.desk.next_out(Instant(self.now)) {
                        self.read(&out);
                    }
                }
            }
        }
        assert!(self.desk.running() + self.desk.queued() <= self.desk.credits(), "more than the credits");
        assert_eq!(usize::try_from(self.desk.running()).unwrap(), self.running.len());
    }

    fn offer(&mut self, from: u8, kind: bool, tasks: u64, pool: bool, patient: bool) {
        self.offers += 1;
        let deadline = if patient { 1_000_000 } else { 500 };
        let kind = if kind { "a" } else { "b" };
        let batch = batch(from, self.epoch, self.offers, kind, tasks, deadline);
        let way = if pool { Way::Pool } else { Way::Addressed };
        let free = self.desk.free();
        let (receipt, _) = self.desk.offer(at(self.now), batch, way, Encoding::Cbor, |_, _| Ok(()));
        match receipt {
            Receipt::Accepted { free: left, .. } => {
                assert!(tasks > 0 && tasks <= u64::from(free));
                assert_eq!(left, self.desk.free());
                self.accepted.extend((0..tasks).map(|index| (self.offers, index)));
            }
            Receipt::Busy { free, .. } => assert!(u64::from(free) < tasks),
            Receipt::Refused { reason, .. } => assert_eq!((tasks, &*reason.code), (0, code::PARAMETERS)),
        }
    }

    fn sync(&mut self, from: u8, resend: bool, keep: bool, fresh: bool) {
        let id = anchor(from);
        let high = self.seen.get(&id).and_then(|seen| seen.keys().last().copied()).unwrap_or(0);
        // What an anchor acknowledges it has without a gap.
        let ack = if keep { high } else { self.acked.get(&id).copied().unwrap_or(0) };
        self.acked.insert(id.clone(), ack);
        let sync = Sync { anchor: id, epoch: Epoch(self.epoch), seq: 7, ack, resend, fresh };
        self.desk.sync(at(self.now), &sync, Encoding::Cbor);
        if resend {
            // Everything above the acknowledgement comes, in order, then the answer.
            let mut expected = ack + 1;
            loop {
                let out = self.desk.next_out(Instant(self.now)).unwrap();
                let Some((id, seq)) = self.read(&out) else {
                    let synced: Synced = out.encoding.decode(&out.payload).unwrap();
                    if synced.anchor == anchor(from) {
                        break;
                    }
                    continue;
                };
                if id == anchor(from) {
                    // Only what a new term gave to another anchor is left out.
                    assert!(seq == expected || (seq > expected && self.epoch > 1), "{seq}, not {expected}");
                    expected = seq + 1;
                }
            }
        }
    }

    fn fresh(&mut self, from: u8) {
        self.epoch += 1;
        // What waits from former terms goes without a record; the anchor sends it again.
        for (origin, index) in self.desk.lanes.iter() {
            self.excused.insert((origin.measurement_number(), index));
        }
        self.sync(from, true, false, true);
    }

    /// Returns the sender and number of a result message; nothing for an answer to a sync.
    fn read(&mut self, out: &Outgoing) -> Option<(AnchorId, u64)> {
        let Subject::Res(_, _, measurement) = &out.subject else { return None };
        let batch: ResultBatch = out.encoding.decode(&out.payload).unwrap();
        assert!(out.payload.len() <= 1 << 20);
        let records: Vec<_> =
            batch.records.iter().map(|record| (*measurement, record.index, record.outcome)).collect();
        let seen = self.seen.entry(batch.anchor.clone()).or_default();
        if let Some(before) = seen.insert(batch.seq, records.clone()) {
            assert_eq!(before, records, "a message changed when it was sent again");
        }
        Some((batch.anchor, batch.seq))
    }

    fn settle(mut self) {
        loop {
            if let Some(started) = self.desk.start(at(self.now)) {
                self.desk.finish(started.ticket, at(self.now), ok());
            } else if let Some(ticket) = self.running.pop() {
                self.desk.finish(ticket, at(self.now), ok());
            } else {
                break;
            }
        }
        while let Some(out) = self.desk.next_out(Instant(self.now)) {
            self.read(&out);
        }
        assert!(self.desk.is_idle());
        // What one anchor had and another inherited is one and the same record.
        let mut ended: BTreeMap<(u64, u64), BTreeSet<Outcome>> = BTreeMap::new();
        for messages in self.seen.values() {
            let mut once = BTreeSet::new();
            for (measurement, index, outcome) in messages.values().flatten() {
                let task = (number_of(*measurement), *index);
                // Terms that go to and fro bring it back under another number.
                assert!(once.insert(task) || self.epoch > 2, "{task:?} ended twice");
                ended.entry(task).or_default().insert(*outcome);
            }
        }
        for (task, outcomes) in &ended {
            assert!(self.accepted.contains(task), "{task:?} was never accepted");
            assert_eq!(outcomes.len(), 1, "{task:?} ended as {outcomes:?}");
        }
        let missing: Vec<_> = self
            .accepted
            .iter()
            .filter(|task| !ended.contains_key(task) && !self.excused.contains(task))
            .collect();
        assert!(missing.is_empty(), "never ended: {missing:?}");
    }
}

impl<M> Origin<M> {
    fn measurement_number(&self) -> u64 {
        number_of(self.measurement)
    }
}

fn number_of(wanted: MeasurementId) -> u64 {
    (0..1000).find(|number| measurement(*number) == wanted).unwrap()
}

proptest! {
    #[test]
    fn every_accepted_task_ends_exactly_once(
        ops in prop::collection::vec(any_op(), 0..120),
        in_bulk: bool,
    ) {
        let mut world = World::new(in_bulk);
        for op in &ops {
            world.apply(op);
        }
        world.settle();
    }
}

#[test]
fn a_sync_is_told_all_that_is_held() {
    for in_bulk in [false, true] {
        let mut desk = desk();
        if in_bulk {
            desk.allow_bulk(|()| true, 2);
        }
        for (number, tasks) in [(1, 3), (2, 4)] {
            let batch = batch(0, 1, number, "a", tasks, 1_000_000);
            desk.offer(at(number), batch, Way::Addressed, Encoding::Cbor, |_, _| Ok(()));
        }
        let second = [desk.start(at(5)), desk.start(at(5))].map(|started| started.unwrap().ticket)[1];
        desk.finish(second, at(6), ok());
        desk.start(at(6)).unwrap();
        let sync = Sync { anchor: anchor(0), epoch: Epoch(1), seq: 7, ack: 0, resend: true, fresh: false };
        for encoding in [Encoding::Cbor, Encoding::Json] {
            desk.sync(at(7), &sync, encoding);
            let mut out = Vec::new();
            while let Some(message) = desk.next_out(Instant(8)) {
                out.push(message.payload);
            }
            let synced: Synced = encoding.decode(out.last().unwrap()).unwrap();
            let mut held: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
            for of in synced.held {
                held.insert(of.measurement, of.indices.into_iter().collect());
            }
            let expected = [(1, vec![0, 2]), (2, vec![0, 1, 2, 3])];
            let expected = expected.map(|(number, of)| (measurement(number), of.into_iter().collect()));
            assert_eq!(held, BTreeMap::from(expected), "in bulk: {in_bulk}");
        }
    }
}

#[test]
fn what_is_owed_beyond_the_bound_stops_new_work() {
    let mut desk = desk();
    for number in 1..100 {
        let (receipt, _) =
            desk.offer(at(1), batch(0, 1, number, "a", 1, 1_000), Way::Addressed, Encoding::Cbor, |_, _| {
                Ok(())
            });
        if matches!(receipt, Receipt::Busy { free: 0, .. }) {
            // The anchor keeps what it was sent, and there is room again.
            let sync =
                Sync { anchor: anchor(0), epoch: Epoch(1), seq: 1, ack: number, resend: false, fresh: false };
            desk.sync(at(2), &sync, Encoding::Cbor);
            assert_eq!(desk.free(), CREDITS);
            return;
        }
        let started = desk.start(at(1)).unwrap();
        let body = Body::of(&"x".repeat(1_000)).unwrap();
        desk.finish(started.ticket, at(1), Ended { body, ..ok() });
        while desk.next_out(Instant(2)).is_some() {}
    }
    panic!("it took everything");
}

#[test]
fn an_anchor_that_never_comes_back_does_not_block_the_others() {
    let mut desk = desk();
    let mut number = 0;
    let mut offer = |desk: &mut Desk<()>, from: u8, ns: u64| {
        number += 1;
        desk.offer(at(ns), batch(from, 1, number, "a", 1, 1_000), Way::Pool, Encoding::Json, |_, _| Ok(())).0
    };
    while matches!(offer(&mut desk, 0, 1), Receipt::Accepted { .. }) {
        let started = desk.start(at(1)).unwrap();
        desk.finish(started.ticket, at(1), Ended { body: Body::of(&"x".repeat(1_000)).unwrap(), ..ok() });
        while desk.next_out(Instant(2)).is_some() {}
    }
    assert!(matches!(offer(&mut desk, 1, 2), Receipt::Busy { .. }));
    let later = 700_000_000_000;
    assert!(matches!(offer(&mut desk, 1, later), Receipt::Accepted { .. }));
}

#[test]
fn a_result_that_fits_no_message_says_so() {
    let mut desk = desk();
    let body = Body::of(&"x".repeat(1_000_000)).unwrap();
    desk.offer(at(1), batch(0, 1, 1, "a", 1, 1_000), Way::Addressed, Encoding::Cbor, |_, _| Ok(()));
    let started = desk.start(at(1)).unwrap();
    desk.finish(started.ticket, at(1), Ended { body, ..ok() });
    let out = desk.next_out(Instant(2)).unwrap();
    let batch: ResultBatch = out.encoding.decode(&out.payload).unwrap();
    assert_eq!(batch.records[0].outcome, Outcome::Failed);
    assert!(batch.records[0].reason.as_ref().unwrap().detail.as_ref().unwrap().contains("1000005 bytes"));
}
