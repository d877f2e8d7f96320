//! Which ICMP identifiers belong to whom: disjoint ranges, so that no process wades through another's replies.

use std::sync::{Arc, Mutex, PoisonError};

use crate::net::icmp::IdRange;

/// Identifiers in one range; with their sequence numbers enough for 67 million probes under way.
const RANGE: u16 = 1024;
const RANGES: u16 = 64;

/// The ranges of one host's node.
#[derive(Debug, Clone, Default)]
pub(super) struct Ids(Arc<Mutex<u64>>);

/// A range that is given back when it is dropped.
#[derive(Debug)]
pub(super) struct Lease {
    ids: Ids,
    index: u16,
}

impl Ids {
    /// A range that nobody else of this node has; none when all are taken.
    pub(super) fn lease(&self) -> Option<Lease> {
        let mut taken = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let index = (0..RANGES).find(|index| *taken & (1 << index) == 0)?;
        *taken |= 1 << index;
        Some(Lease { ids: self.clone(), index })
    }
}

impl Lease {
    /// The range.
    pub(super) fn range(&self) -> Option<IdRange> {
        IdRange::new(self.index.wrapping_mul(RANGE), RANGE).ok()
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        *self.ids.0.lock().unwrap_or_else(PoisonError::into_inner) &= !(1 << self.index);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_disjoint_and_come_back() {
        let ids = Ids::default();
        let leases: Vec<Lease> = std::iter::from_fn(|| ids.lease()).collect();
        assert_eq!(leases.len(), usize::from(RANGES));
        let mut ranges: Vec<IdRange> = leases.iter().map(|lease| lease.range().unwrap()).collect();
        ranges.sort_by_key(|range| range.first());
        assert!(ranges.windows(2).all(|pair| pair[0].last() < pair[1].first()));
        drop(leases);
        assert!(ids.lease().is_some());
    }
}
