//! The keys by which replies find their probes on one socket: ICMP identifier and sequence number.
//!
//! Keys are given out in turn, so that one is used again as late as possible. When all are in use the oldest
//! is taken back once it is older than any reply can be expected to be; until then there is no room.

use std::collections::HashMap;

use mmn_probe::{
    packet::ProbeId,
    time::{Instant, Nanos},
};

use super::job::JobKey;
use crate::net::icmp::IdRange;

/// Whose a key is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Owner {
    pub(super) job: JobKey,
    pub(super) probe: ProbeId,
    pub(super) since: Instant,
}

#[derive(Debug)]
pub(super) struct Keys {
    first_id: u16,
    capacity: u32,
    next: u32,
    owners: HashMap<u32, Owner>,
}

impl Keys {
    pub(super) fn new(ids: IdRange) -> Self {
        // At most 2^32 - 1 of 2^32: one key fewer than the whole range has, when it is the whole range.
        let capacity = u32::try_from(ids.capacity()).unwrap_or(u32::MAX);
        Self { first_id: ids.first(), capacity, next: 0, owners: HashMap::new() }
    }

    /// Gives out a key: the key itself, identifier and sequence number. Nothing when there is no room.
    pub(super) fn give(&mut self, owner: Owner) -> Option<(u32, u16, u16)> {
        for _ in 0..TRIES {
            let key = self.next;
            self.next = (key + 1) % self.capacity;
            let free = self
                .owners
                .get(&key)
                .is_none_or(|other| owner.since.saturating_since(other.since) > LONGEST_LIFE);
            if free {
                self.owners.insert(key, owner);
                let offset = u16::try_from(key >> 16).unwrap_or(u16::MAX);
                let seq = u16::try_from(key & 0xffff).unwrap_or(u16::MAX);
                return Some((key, self.first_id.wrapping_add(offset), seq));
            }
        }
        None
    }

    /// Whose a packet with this identifier and sequence number is.
    pub(super) fn owner(&self, id: u16, seq: u16) -> Option<Owner> {
        let offset = u32::from(id.checked_sub(self.first_id)?);
        self.owners.get(&(offset << 16 | u32::from(seq))).copied()
    }

    /// Takes a key back, if it is still this job's.
    pub(super) fn take_back(&mut self, key: u32, job: JobKey) {
        if self.owners.get(&key).is_some_and(|owner| owner.job == job) {
            self.owners.remove(&key);
        }
    }
}

/// How many keys in use to step over before saying that there is no room.
const TRIES: usize = 64;
/// A reply that comes later than this may go unmatched when keys are short.
const LONGEST_LIFE: Nanos = Nanos::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;

    fn owner(probe: u32, since: u64) -> Owner {
        let job = JobKey { index: 0, generation: 1 };
        Owner { job, probe: ProbeId(probe), since: Instant(since) }
    }

    #[test]
    fn a_full_space_makes_room_by_age_alone() {
        let mut keys = Keys::new(IdRange::new(9, 1).unwrap());
        for probe in 0..65_536 {
            let (key, id, seq) = keys.give(owner(probe, 0)).unwrap();
            assert_eq!((key, id, u32::from(seq)), (probe, 9, probe));
        }
        assert_eq!(keys.give(owner(1, LONGEST_LIFE.0)), None);
        let (_, id, seq) = keys.give(owner(70_000, LONGEST_LIFE.0 + 1)).unwrap();
        assert_eq!(keys.owner(id, seq).unwrap().probe, ProbeId(70_000));
    }

    #[test]
    fn every_identifier_of_the_range_is_used() {
        let mut keys = Keys::new(IdRange::new(65_534, 2).unwrap());
        let ids: Vec<u16> = (0..131_072).map(|probe| keys.give(owner(probe, 0)).unwrap().1).collect();
        assert_eq!((ids.first(), ids.last()), (Some(&65_534), Some(&65_535)));
        assert_eq!(keys.owner(1, 0), None);
    }

    #[test]
    fn a_key_of_somebody_else_stays() {
        let mut keys = Keys::new(IdRange::new(0, 1).unwrap());
        let (key, id, seq) = keys.give(owner(0, 0)).unwrap();
        keys.take_back(key, JobKey { index: 0, generation: 2 });
        assert!(keys.owner(id, seq).is_some());
        keys.take_back(key, JobKey { index: 0, generation: 1 });
        assert!(keys.owner(id, seq).is_none());
    }
}
