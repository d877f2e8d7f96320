//! Doubletree: a trace that begins in the middle and stops on both ways where it, or others, have been (Donnet, Raoult,
//! Friedman and Crovella, SIGMETRICS 2005).
//!
//! From its first hop on a trace goes forward, until the destination answers, or an address of the global stop set: what
//! lies behind that is others' to know. Then it goes backward, hop by hop, until the first TTL, or an address of the local
//! stop set: those that traces from this source have met before, to whatever destination. [`LocalStopSets`] keeps them.
//! It reads no clock: the moment is an argument.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use super::account::Hop;
use super::census::Census;
use crate::packet::Ttl;
use crate::time::{Instant, Nanos};

/// The most local stop sets; the one that was used least of late makes room.
pub const MAX_SETS: usize = 64;
/// The most addresses of one: when it is full, the old ones make room, and where there are none nothing more is kept.
pub const MAX_ADDRESSES: usize = 262_144;

/// Where a trace stops.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Doubletree {
    global: Box<[IpAddr]>,
    /// The set of what traces from here have met; absent: it goes back to the first TTL, and nothing is kept.
    pub local: Option<LocalStopSet>,
    /// Whether it goes backward at all.
    pub backward: bool,
}

impl Doubletree {
    /// With these addresses to stop at on the way forward.
    pub fn new(mut global: Vec<IpAddr>) -> Self {
        global.sort_unstable();
        global.dedup();
        Self { global: global.into(), local: None, backward: true }
    }

    pub(super) fn stops_forward(&self, address: IpAddr) -> bool {
        self.global.binary_search(&address).is_ok()
    }
}

/// One of the local stop sets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalStopSet {
    /// Where it is.
    pub sets: Arc<LocalStopSets>,
    /// Its name.
    pub name: Arc<str>,
    /// A trace with a greater number than those before it empties the set first.
    pub epoch: u64,
    /// What was met longer ago counts as not met.
    pub max_age: Nanos,
}

/// The local stop sets of a process: each belongs to a source address, for from another one paths are others.
#[derive(Debug, Default)]
pub struct LocalStopSets {
    sets: Mutex<BTreeMap<(IpAddr, Arc<str>), Set>>,
}

/// It is the same where it is the same place.
impl PartialEq for LocalStopSets {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self, other)
    }
}

impl Eq for LocalStopSets {}

#[derive(Debug, Default)]
struct Set {
    epoch: u64,
    used: Instant,
    met: BTreeMap<IpAddr, Instant>,
}

impl LocalStopSet {
    /// Notes that a router was met. Says whether it had been before.
    pub(super) fn meet(&self, source: IpAddr, address: IpAddr, now: Instant) -> bool {
        let mut sets = self.sets.sets.lock().unwrap_or_else(PoisonError::into_inner);
        let place = (source, Arc::clone(&self.name));
        if !sets.contains_key(&place) && sets.len() >= MAX_SETS {
            let oldest = sets.iter().min_by_key(|(_, set)| set.used).map(|(place, _)| place.clone());
            oldest.and_then(|oldest| sets.remove(&oldest));
        }
        let set = sets.entry(place).or_default();
        set.used = set.used.max(now);
        if self.epoch > set.epoch {
            set.epoch = self.epoch;
            set.met.clear();
        }
        let is_fresh = |at: Instant| now.saturating_since(at) <= self.max_age;
        if let Some(at) = set.met.get_mut(&address) {
            return is_fresh(std::mem::replace(at, now.max(*at)));
        }
        if set.met.len() >= MAX_ADDRESSES {
            set.met.retain(|_, at| is_fresh(*at));
        }
        if set.met.len() < MAX_ADDRESSES {
            set.met.insert(address, now);
        }
        false
    }
}

/// The way backward.
#[derive(Debug)]
pub(super) struct Backward {
    /// The TTL that is being asked; 0 when it is over.
    pub(super) ttl: u8,
    pub(super) hop: Hop,
    pub(super) census: Census,
}

impl Backward {
    pub(super) fn from(first: Ttl) -> Self {
        Self { ttl: first.0 - 1, hop: Hop::default(), census: Census::default() }
    }

    /// What is asked at a TTL, where that is the one.
    pub(super) fn at(&mut self, ttl: Ttl) -> Option<&mut Self> {
        (self.ttl == ttl.0).then_some(self)
    }

    pub(super) fn next(&mut self) {
        *self = Self { ttl: self.ttl.saturating_sub(1), hop: Hop::default(), census: Census::default() };
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    fn at(s: u64) -> Instant {
        Instant(s * 1_000_000_000)
    }

    fn set(sets: &Arc<LocalStopSets>, name: &str, epoch: u64) -> LocalStopSet {
        LocalStopSet { sets: Arc::clone(sets), name: name.into(), epoch, max_age: Nanos::from_secs(60) }
    }

    #[test]
    fn what_was_met_is_known_for_a_while_by_source_and_name() {
        let sets = Arc::default();
        let [one, two, router] = [1, 2, 3].map(|octet| IpAddr::from(Ipv4Addr::new(192, 0, 2, octet)));
        let own = set(&sets, "a", 0);
        assert!(!own.meet(one, router, at(1)));
        assert!(own.meet(one, router, at(61)));
        assert!(!own.meet(two, router, at(61)));
        assert!(!set(&sets, "b", 0).meet(one, router, at(61)));
        // Every meeting keeps it young.
        assert!(own.meet(one, router, at(121)));
        assert!(!own.meet(one, router, at(182)));
        // A later epoch empties it, once; an earlier one takes it as it is.
        assert!(!set(&sets, "a", 5).meet(one, router, at(183)));
        assert!(set(&sets, "a", 5).meet(one, router, at(184)));
        assert!(own.meet(one, router, at(185)));
    }

    #[test]
    fn there_is_a_bound() {
        let sets = Arc::default();
        let source = IpAddr::from(Ipv4Addr::LOCALHOST);
        for number in 0..=u64::try_from(MAX_SETS).unwrap() {
            set(&sets, &number.to_string(), 0).meet(source, source, at(number));
        }
        assert_eq!(sets.sets.lock().unwrap().len(), MAX_SETS);
        assert!(!set(&sets, "0", 0).meet(source, source, at(1)), "the oldest went");
        let many = set(&sets, "many", 0);
        for number in 0..u32::try_from(MAX_ADDRESSES + 1).unwrap() {
            many.meet(source, Ipv4Addr::from_bits(number).into(), at(1));
        }
        let last = Ipv4Addr::from_bits(u32::try_from(MAX_ADDRESSES).unwrap()).into();
        assert!(!many.meet(source, last, at(2)), "no room, and nothing old");
        assert!(!many.meet(source, last, at(100)));
        assert!(many.meet(source, last, at(101)), "the old ones made room");
    }
}
