//! The probes of the bulk lane: one slot of 32 octets each (and 16 for an IPv6 address), in a queue while it waits, in a hashed timer wheel while it
//! is under way.
//!
//! The wheel (Varghese and Lauck, 1987, scheme 6) has one list for each millisecond of a revolution. What is due in a
//! later revolution is passed by. A slot that is given back is used again as late as possible, under another generation.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::time::{Instant, Nanos};

/// A probe's place and which of the place's probes it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    pub(super) index: u32,
    pub(super) generation: u16,
}

/// What a slot's probe is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// There is none.
    Vacant,
    /// It waits for its turn.
    Queued,
    /// It may not leave before its moment.
    Held,
    /// It is about to leave.
    Leaving,
    /// It left at its moment.
    Flying,
    /// Its moment has passed; whoever asked for that decides.
    Due,
}

/// A probe.
#[derive(Clone, Copy, Debug)]
pub(super) struct Slot {
    /// Nanoseconds: until when it is held, or when it left.
    moment: u64,
    /// An IPv4 address, or where the IPv6 address is.
    target: u32,
    pub(super) owner: u32,
    next: u32,
    before: u32,
    generation: u16,
    pub(super) spec: u16,
    /// The list of the wheel that it is in.
    bucket: u16,
    /// How often it was tried; the highest bit says that the target is an IPv6 address.
    tries: u8,
    state: State,
}

const IPV6: u8 = 0x80;
const TRIES: u8 = 0x7f;

impl Slot {
    pub(super) const fn tries(&self) -> u8 {
        self.tries & TRIES
    }

    const fn is_ipv6(&self) -> bool {
        self.tries & IPV6 != 0
    }

    pub(super) const fn moment(&self) -> Instant {
        Instant(self.moment)
    }
}

/// How many octets a probe to an IPv4 address takes, all in; one to an IPv6 address takes 16 more.
pub const SLOT_BYTES: usize = size_of::<Slot>();
const _: () = assert!(SLOT_BYTES <= 32, "a slot must not grow");

/// All slots.
#[derive(Debug)]
pub(super) struct Table {
    slots: Vec<Slot>,
    /// IPv6 addresses. Of one that nobody needs the first four octets say which is the next such.
    addresses: Vec<[u8; 16]>,
    spare: u32,
    capacity: u32,
    used: u32,
    /// The generation of a place that was never used.
    fresh: u16,
    vacant: List,
    queue: List,
    queued: u32,
    wheel: Box<[u32]>,
    /// The millisecond that the wheel has turned to.
    turned: u64,
}

/// The ends of a list of slots.
#[derive(Clone, Copy, Debug)]
struct List {
    first: u32,
    last: u32,
}

const EMPTY: List = List { first: NONE, last: NONE };
const NONE: u32 = u32::MAX;
/// The lists of the wheel: a revolution takes some eight seconds.
const BUCKETS: u16 = 8_192;
const TICK_NS: u64 = 1_000_000;

impl Table {
    /// Room for so many probes, which takes memory as they come.
    pub(super) fn new(capacity: u32) -> Self {
        Self {
            slots: Vec::new(),
            addresses: Vec::new(),
            spare: NONE,
            capacity,
            used: 0,
            fresh: 0,
            vacant: EMPTY,
            queue: EMPTY,
            queued: 0,
            wheel: vec![NONE; usize::from(BUCKETS)].into(),
            turned: 0,
        }
    }

    /// Probes that have not ended.
    pub(super) const fn used(&self) -> u32 {
        self.used
    }

    /// Probes that wait for their turn.
    pub(super) const fn queued(&self) -> u32 {
        self.queued
    }

    /// How many more there is room for.
    pub(super) const fn free(&self) -> u32 {
        self.capacity.saturating_sub(self.used)
    }

    /// Queues a probe; nothing when there is no room.
    pub(super) fn push(&mut self, target: IpAddr, owner: u32, spec: u16) -> Option<Key> {
        if self.used >= self.capacity {
            return None;
        }
        let (target, ipv6) = match target {
            IpAddr::V4(v4) => (v4.to_bits(), 0),
            IpAddr::V6(v6) => (self.keep(v6.octets())?, IPV6),
        };
        let fresh = Slot {
            moment: 0,
            target,
            owner,
            next: NONE,
            before: NONE,
            generation: self.fresh,
            spec,
            bucket: 0,
            tries: ipv6,
            state: State::Queued,
        };
        let index = if self.vacant.first == NONE {
            let index = u32::try_from(self.slots.len()).ok()?;
            self.slots.push(fresh);
            index
        } else {
            let index = self.vacant.first;
            let slot = self.slots.get_mut(index as usize)?;
            self.vacant.first = slot.next;
            if slot.next == NONE {
                self.vacant.last = NONE;
            }
            *slot = Slot { generation: slot.generation, ..fresh };
            index
        };
        self.used += 1;
        self.enqueue(index);
        self.slots.get(index as usize).map(|slot| Key { index, generation: slot.generation })
    }

    /// Where a probe goes.
    pub(super) fn target(&self, slot: &Slot) -> IpAddr {
        Ipv6Addr::from(self.octets(slot)).to_canonical()
    }

    /// The same in 16 octets, IPv4 as IPv4-mapped.
    pub(super) fn octets(&self, slot: &Slot) -> [u8; 16] {
        if slot.is_ipv6() {
            self.addresses.get(slot.target as usize).copied().unwrap_or_default()
        } else {
            Ipv4Addr::from_bits(slot.target).to_ipv6_mapped().octets()
        }
    }

    /// The probe whose turn it is.
    pub(super) fn front(&self) -> Option<(Key, &Slot)> {
        let slot = self.slots.get(self.queue.first as usize)?;
        Some((Key { index: self.queue.first, generation: slot.generation }, slot))
    }

    /// A probe, as long as it has not ended.
    pub(super) fn get(&self, key: Key) -> Option<(State, &Slot)> {
        let slot = self.slots.get(key.index as usize)?;
        (slot.generation == key.generation && slot.state != State::Vacant).then_some((slot.state, slot))
    }

    /// The probe at a place, if its generation has these lower bits.
    pub(super) fn find(&self, index: u32, generation: u16, mask: u16) -> Option<Key> {
        let slot = self.slots.get(index as usize)?;
        let fits = slot.state != State::Vacant && slot.generation & mask == generation & mask;
        fits.then_some(Key { index, generation: slot.generation })
    }

    /// It may not leave before `until`; then it takes its turn before the others.
    pub(super) fn hold(&mut self, key: Key, until: Instant) {
        if self.take_out(key) {
            self.enter(key.index, State::Held, until, until);
        }
    }

    /// It has been tried once more.
    pub(super) fn tried(&mut self, key: Key) {
        if let Some(slot) = self.slots.get_mut(key.index as usize) {
            slot.tries = slot.tries & IPV6 | (slot.tries() + 1).min(TRIES);
        }
    }

    /// It left at `at`, and ends at `due`.
    pub(super) fn sent(&mut self, key: Key, at: Instant, due: Instant) {
        if self.take_out(key) {
            self.enter(key.index, State::Flying, at, due);
        }
    }

    /// It is about to leave: others have their turn.
    pub(super) fn board(&mut self, key: Key) {
        if self.take_out(key)
            && let Some(slot) = self.slots.get_mut(key.index as usize)
        {
            slot.state = State::Leaving;
        }
    }

    /// It has ended. Gives where it went, too.
    pub(super) fn remove(&mut self, key: Key) -> Option<(Slot, IpAddr)> {
        if !self.take_out(key) {
            return None;
        }
        let slot = *self.slots.get(key.index as usize)?;
        let target = self.target(&slot);
        if slot.is_ipv6()
            && let Some(spare) = self.addresses.get_mut(slot.target as usize)
        {
            *spare = [0; 16];
            if let Some(next) = spare.first_chunk_mut() {
                *next = std::mem::replace(&mut self.spare, slot.target).to_ne_bytes();
            }
        }
        let slot = self.slots.get_mut(key.index as usize)?;
        let removed = *slot;
        slot.state = State::Vacant;
        slot.generation = slot.generation.wrapping_add(1);
        slot.next = NONE;
        let last = std::mem::replace(&mut self.vacant.last, key.index);
        match self.slots.get_mut(last as usize) {
            Some(last) => last.next = key.index,
            None => self.vacant.first = key.index,
        }
        self.used -= 1;
        Some((removed, target))
    }

    /// Turns the wheel up to `now`: those that were held queue again, those that were under way and are overdue are
    /// added to `due`. `due_at` says when a probe that left is due, as it was said when it left.
    pub(super) fn turn(&mut self, now: Instant, due: &mut Vec<Key>, due_at: impl Fn(&Slot) -> Instant) {
        let tick = now.0 / TICK_NS;
        if tick <= self.turned {
            return;
        }
        // After a long pause one revolution sees everything.
        let from = (self.turned + 1).max(tick.saturating_sub(u64::from(BUCKETS) - 1));
        self.turned = tick;
        for tick in from..=tick {
            let mut index = self.wheel.get(usize::from(bucket(tick))).copied().unwrap_or(NONE);
            while let Some(slot) = self.slots.get(index as usize) {
                let (key, next) = (Key { index, generation: slot.generation }, slot.next);
                let (state, at) = (
                    slot.state,
                    match slot.state {
                        State::Held => slot.moment(),
                        _ => due_at(slot),
                    },
                );
                index = next;
                if at > now {
                    continue;
                }
                self.take_out(key);
                if state == State::Held {
                    self.enqueue_first(key.index);
                } else {
                    self.slots
                        .get_mut(key.index as usize)
                        .into_iter()
                        .for_each(|slot| slot.state = State::Due);
                    due.push(key);
                }
            }
        }
    }

    /// All probes that have not ended.
    pub(super) fn iter(&self) -> impl Iterator<Item = (Key, &Slot)> {
        (0..).zip(&self.slots).filter_map(|(index, slot)| {
            (slot.state != State::Vacant).then_some((Key { index, generation: slot.generation }, slot))
        })
    }

    /// Gives back memory that a large measurement took, once nothing is left of it.
    pub(super) fn shrink(&mut self) {
        if self.used == 0 && self.slots.len() > SMALL {
            // Late replies to these must not find others: generations go on where the highest is.
            self.fresh = self.slots.iter().map(|slot| slot.generation).max().unwrap_or(0);
            self.slots = Vec::new();
            (self.addresses, self.spare) = (Vec::new(), NONE);
            self.vacant = EMPTY;
        }
    }

    /// Keeps an IPv6 address.
    fn keep(&mut self, octets: [u8; 16]) -> Option<u32> {
        let at = self.spare;
        if let Some(place) = self.addresses.get_mut(at as usize) {
            self.spare = place.first_chunk().map_or(NONE, |next| u32::from_ne_bytes(*next));
            *place = octets;
            return Some(at);
        }
        let at = u32::try_from(self.addresses.len()).ok()?;
        self.addresses.push(octets);
        Some(at)
    }

    fn enqueue(&mut self, index: u32) {
        let last = std::mem::replace(&mut self.queue.last, index);
        match self.slots.get_mut(last as usize) {
            Some(slot) => slot.next = index,
            None => self.queue.first = index,
        }
        if let Some(slot) = self.slots.get_mut(index as usize) {
            (slot.before, slot.next, slot.state) = (last, NONE, State::Queued);
        }
        self.queued += 1;
    }

    fn enqueue_first(&mut self, index: u32) {
        let first = std::mem::replace(&mut self.queue.first, index);
        match self.slots.get_mut(first as usize) {
            Some(slot) => slot.before = index,
            None => self.queue.last = index,
        }
        if let Some(slot) = self.slots.get_mut(index as usize) {
            (slot.before, slot.next, slot.state) = (NONE, first, State::Queued);
        }
        self.queued += 1;
    }

    fn enter(&mut self, index: u32, state: State, moment: Instant, due: Instant) {
        // Rounded up, so that nothing is due before its time; never into a list that was looked at already.
        let bucket = bucket(due.0.div_ceil(TICK_NS).max(self.turned + 1));
        let Some(head) = self.wheel.get_mut(usize::from(bucket)) else { return };
        let next = std::mem::replace(head, index);
        if let Some(slot) = self.slots.get_mut(next as usize) {
            slot.before = index;
        }
        if let Some(slot) = self.slots.get_mut(index as usize) {
            (slot.state, slot.moment, slot.bucket, slot.before, slot.next) =
                (state, moment.0, bucket, NONE, next);
        }
    }

    /// Takes a probe out of the list that it is in. Says whether it was there.
    fn take_out(&mut self, key: Key) -> bool {
        let Some(slot) = self.slots.get(key.index as usize).copied() else { return false };
        if slot.generation != key.generation {
            return false;
        }
        match slot.state {
            State::Vacant => return false,
            State::Due | State::Leaving => return true,
            State::Queued => {
                self.queued -= 1;
                if slot.before == NONE {
                    self.queue.first = slot.next;
                }
                if slot.next == NONE {
                    self.queue.last = slot.before;
                }
            }
            State::Held | State::Flying => {
                if slot.before == NONE
                    && let Some(head) = self.wheel.get_mut(usize::from(slot.bucket))
                {
                    *head = slot.next;
                }
            }
        }
        if let Some(before) = self.slots.get_mut(slot.before as usize) {
            before.next = slot.next;
        }
        if let Some(next) = self.slots.get_mut(slot.next as usize) {
            next.before = slot.before;
        }
        true
    }
}

/// The list of a millisecond.
fn bucket(tick: u64) -> u16 {
    u16::try_from(tick % u64::from(BUCKETS)).unwrap_or(0)
}

/// The latest that something is looked at after it is due.
pub(super) const COARSE: Nanos = Nanos(2 * TICK_NS);
/// Slots whose memory is kept when there is nothing to do.
const SMALL: usize = 4_096;

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, VecDeque};

    use proptest::prelude::*;

    use super::*;

    const TARGET: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    #[derive(Clone, Debug)]
    enum Step {
        Push,
        Hold(u64),
        Send(u64),
        Remove(usize),
        Turn(u64),
        Shrink,
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            4 => Just(Step::Push),
            1 => (0_u64..20_000).prop_map(Step::Hold),
            3 => (0_u64..30_000).prop_map(Step::Send),
            2 => any::<usize>().prop_map(Step::Remove),
            2 => prop_oneof![0_u64..50, 0_u64..40_000].prop_map(Step::Turn),
            1 => Just(Step::Shrink),
        ]
    }

    #[test]
    fn a_slot_takes_32_octets() {
        assert_eq!(SLOT_BYTES, 32);
    }

    #[test]
    fn a_place_is_used_again_as_late_as_possible() {
        let mut table = Table::new(3);
        let keys: Vec<Key> = (0..3).map(|owner| table.push(TARGET, owner, 0).unwrap()).collect();
        assert_eq!(table.push(TARGET, 3, 0), None);
        table.remove(keys[1]).unwrap();
        table.remove(keys[0]).unwrap();
        assert_eq!(table.push(TARGET, 4, 0), Some(Key { index: 1, generation: 1 }));
        assert!(table.get(keys[1]).is_none() && table.remove(keys[1]).is_none());
        assert!(table.find(1, 0, 0xffff).is_none() && table.find(1, 1, 0xffff).is_some());
    }

    proptest! {
        /// Against a model: a queue, and a map of what is due when (in milliseconds).
        #[test]
        fn nothing_is_lost_or_early_or_late(steps in prop::collection::vec(step(), 0..400)) {
            let mut table = Table::new(50);
            let mut queue: VecDeque<Key> = VecDeque::new();
            let mut flying: BTreeMap<Key, u64> = BTreeMap::new();
            let mut held: BTreeMap<Key, u64> = BTreeMap::new();
            let (mut now, mut owners) = (1_000_000_u64, 0);
            let ms = |at: u64| Instant(at * TICK_NS);
            // The moment of leaving stands for the due time.
            let due_at = |slot: &Slot| slot.moment();
            for step in steps {
                match step {
                    Step::Push => {
                        owners += 1;
                        let key = table.push(TARGET, owners, 0);
                        prop_assert_eq!(key.is_some(), queue.len() + flying.len() + held.len() < 50);
                        queue.extend(key);
                    }
                    Step::Hold(after) => if let Some(key) = queue.pop_front() {
                        prop_assert_eq!(table.front().map(|front| front.0), Some(key));
                        table.hold(key, ms(now + after));
                        held.insert(key, now + after);
                    },
                    Step::Send(after) => if let Some(key) = queue.pop_front() {
                        table.board(key);
                        table.sent(key, ms(now + after), ms(now + after));
                        flying.insert(key, now + after);
                    },
                    Step::Remove(which) => {
                        let all: Vec<Key> = table.iter().map(|(key, _)| key).collect();
                        if !all.is_empty() {
                            let key = all[which % all.len()];
                            prop_assert!(table.remove(key).is_some());
                            prop_assert!(table.remove(key).is_none());
                            queue.retain(|queued| *queued != key);
                            flying.remove(&key);
                            held.remove(&key);
                        }
                    }
                    Step::Turn(by) => {
                        now += by;
                        let mut due = Vec::new();
                        table.turn(ms(now), &mut due, due_at);
                        if by > 0 {
                            // Something that was due when it was entered is seen a tick later.
                            let overdue = |due: u64| due < now || (due == now && due != now - by);
                            for key in due.iter().copied() {
                                prop_assert!(flying.remove(&key).is_some_and(|at| at <= now));
                                table.remove(key).unwrap();
                            }
                            prop_assert!(flying.values().all(|at| !overdue(*at)));
                            let back: Vec<Key> = held.iter().filter(|(_, at)| **at <= now).map(|(key, _)| *key).collect();
                            let mut again = Vec::new();
                            while let Some((key, _)) = table.front().filter(|(key, _)| held.contains_key(key)) {
                                again.push(key);
                                held.remove(&key);
                                table.hold(key, ms(now));
                                table.remove(key).unwrap();
                            }
                            prop_assert!(again.iter().all(|key| back.contains(key)));
                            prop_assert!(held.values().all(|at| !overdue(*at)));
                        } else {
                            prop_assert!(due.is_empty());
                        }
                    }
                    Step::Shrink => table.shrink(),
                }
                prop_assert_eq!(table.queued() as usize, queue.len());
                prop_assert_eq!(table.used() as usize, queue.len() + flying.len() + held.len());
                prop_assert_eq!(table.front().map(|front| front.0), queue.front().copied());
            }
        }
    }
}
