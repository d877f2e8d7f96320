//! What is due when: a wheel of wheels.
//!
//! An entry waits in the wheel of the highest digit (of 6 bits) in which its instant differs from the present, at the
//! place of that digit. So the next entries are in the lowest wheel that has any, at its first place; when the present
//! comes to that place its entries go down, and those of the lowest wheel are due to the nanosecond. Entries of one
//! instant leave in the order of coming: they are always at the same place, and keep their order when they move.
//!
//! Entries are handles; what they stand for lies elsewhere. Adding one and taking one cost a few operations each.

use mmn_probe::time::Instant;

use super::pool::Slot;

const BITS: u32 = 6;
const PLACES: usize = 1 << BITS;
/// 11 digits of 6 bits hold an instant.
const WHEELS: usize = 11;

/// Nothing.
const NONE: u32 = u32::MAX;

/// Entries in the order of their instants.
#[derive(Clone, Debug)]
pub(super) struct Wheel {
    /// No entry is before this.
    present: u64,
    /// A bit for each place that is taken.
    taken: [u64; WHEELS],
    places: Box<[Place]>,
    /// By slot.
    entries: Vec<Entry>,
    len: usize,
}

#[derive(Clone, Copy, Debug)]
struct Place {
    first: u32,
    last: u32,
    /// The earliest instant of its entries.
    earliest: u64,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    at: u64,
    next: u32,
}

const EMPTY: Place = Place { first: NONE, last: NONE, earliest: u64::MAX };

impl Wheel {
    pub(super) fn new(start: Instant) -> Self {
        let places = vec![EMPTY; WHEELS * PLACES].into();
        Self { present: start.0, taken: [0; WHEELS], places, entries: Vec::new(), len: 0 }
    }

    pub(super) const fn len(&self) -> usize {
        self.len
    }

    /// The instant of the entry that was taken last.
    pub(super) const fn present(&self) -> Instant {
        Instant(self.present)
    }

    /// Adds an entry, that must not be there already. An instant that has passed counts as the present.
    pub(super) fn add(&mut self, slot: Slot, at: Instant) {
        let index = slot.index();
        if self.entries.len() <= index {
            self.entries.resize(index + 1, Entry { at: 0, next: NONE });
        }
        let at = at.0.max(self.present);
        self.link(slot.number(), at);
        self.len += 1;
    }

    /// The instant of the first entry.
    pub(super) fn next_at(&self) -> Option<Instant> {
        let (wheel, place) = self.first_place()?;
        self.places.get(wheel * PLACES + place).map(|place| Instant(place.earliest))
    }

    /// Takes the first entry, if it is due by `limit`.
    pub(super) fn take(&mut self, limit: Instant) -> Option<Slot> {
        loop {
            let (wheel, place) = self.first_place()?;
            let index = wheel * PLACES + place;
            let list = self.places.get_mut(index)?;
            if list.earliest > limit.0 {
                return None;
            }
            let first = list.first;
            if wheel == 0 {
                self.present = list.earliest;
                let next = self.entries.get(slot_index(first))?.next;
                list.first = next;
                if next == NONE {
                    *list = EMPTY;
                    if let Some(taken) = self.taken.first_mut() {
                        *taken &= !(1 << place);
                    }
                }
                self.len -= 1;
                return Some(Slot::of(first));
            }
            // The present comes to this place: its entries are told apart by lower digits from now on.
            self.present = list.earliest;
            *list = EMPTY;
            if let Some(taken) = self.taken.get_mut(wheel) {
                *taken &= !(1 << place);
            }
            let mut entry = first;
            while let Some(Entry { at, next }) = self.entries.get(slot_index(entry)).copied() {
                self.link(entry, at);
                entry = next;
            }
        }
    }

    fn first_place(&self) -> Option<(usize, usize)> {
        let wheel = self.taken.iter().position(|taken| *taken != 0)?;
        let place = self.taken.get(wheel)?.trailing_zeros();
        Some((wheel, usize::try_from(place).unwrap_or(0)))
    }

    fn link(&mut self, number: u32, at: u64) {
        let differs = at ^ self.present;
        let wheel = (differs | 1).ilog2() / BITS;
        let place = (at >> (wheel * BITS)) & (PLACES as u64 - 1);
        let wheel = usize::try_from(wheel).unwrap_or(0);
        let place_index = usize::try_from(place).unwrap_or(0);
        let Some(list) = self.places.get_mut(wheel * PLACES + place_index) else { return };
        let before = std::mem::replace(&mut list.last, number);
        list.earliest = list.earliest.min(at);
        if before == NONE {
            list.first = number;
            if let Some(taken) = self.taken.get_mut(wheel) {
                *taken |= 1 << place;
            }
        } else if let Some(before) = self.entries.get_mut(slot_index(before)) {
            before.next = number;
        }
        if let Some(entry) = self.entries.get_mut(slot_index(number)) {
            *entry = Entry { at, next: NONE };
        }
    }
}

fn slot_index(number: u32) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Against a list that is sorted by instant, then by coming.
        #[test]
        fn entries_leave_in_order(
            rounds in prop::collection::vec((prop::collection::vec((0_u32..50, any::<u64>()), 0..20), 0_u32..50, any::<u64>()), 1..20),
        ) {
            let mut wheel = Wheel::new(Instant(77));
            let (mut waiting, mut present, mut number) = (Vec::<(u64, u32)>::new(), 77_u64, 0_u32);
            let after = |present: u64, (bits, random): (u32, u64)| present.saturating_add(random >> (63 - bits));
            for (added, bits, random) in rounds {
                for delay in added {
                    let at = after(present, delay);
                    wheel.add(Slot::of(number), Instant(at));
                    waiting.push((at, number));
                    number += 1;
                }
                waiting.sort_unstable();
                let limit = after(present, (bits, random));
                loop {
                    prop_assert_eq!(wheel.next_at(), waiting.first().map(|first| Instant(first.0)));
                    prop_assert_eq!(wheel.len(), waiting.len());
                    let Some(slot) = wheel.take(Instant(limit)) else { break };
                    let (at, expected) = waiting.remove(0);
                    prop_assert_eq!(slot.number(), expected);
                    prop_assert!(at <= limit);
                    present = at;
                }
                prop_assert!(waiting.first().is_none_or(|first| first.0 > limit));
            }
        }
    }
}
