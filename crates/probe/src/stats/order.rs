//! How far packets came out of order (RFC 4737).
//!
//! A packet is reordered when one that was sent after it came before it (section 3.3). Loss is no reordering, and
//! duplicates are left out before. Of round trips one can't tell on which way the order was lost.
//!
//! [`Order`] holds what the RFC says of each reordered packet (sections 4.2 to 4.4 and 5.3); what it says of the whole
//! sample (sections 4.1, 4.5, 4.6 and 5.3) are its methods.

use std::collections::BTreeSet;

use crate::time::{Instant, Nanos};

/// The largest n for which n-reordering is told, as in the program of the RFC's Appendix A.
pub const MAX_N: usize = 100;

/// The order of packets that came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    /// How many came.
    pub received: u32,
    /// Those that came late, in the order of coming.
    pub reordered: Vec<Reordered>,
}

/// A packet that came after one that was sent after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reordered {
    /// Its number in the order of sending.
    pub seq: u32,
    /// Its place in the order of coming, from 0.
    pub place: u32,
    /// How many packets lie between it and the earliest that overtook it, that one included (section 4.2).
    pub extent: u32,
    /// How long after that one it came (section 4.3).
    pub late_by: Nanos,
    /// How many packets had overtaken it: their payloads together are its byte offset (section 4.4).
    pub overtaken_by: u32,
    /// The largest n for which it is n-reordered (section 5.3): all of the n packets that came just before it were sent
    /// after it. 0 where the very last was sent before it; beyond [`MAX_N`] nobody counts.
    pub n: u32,
}

impl Reordered {
    /// The place of the discontinuity that it belongs to: of the earliest packet that overtook it (section 4.5).
    pub const fn discontinuity(&self) -> u32 {
        self.place - self.extent
    }
}

/// How long order lasted between reordered packets (section 4.6): the packets in order after the last of them are in no
/// run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FreeRuns {
    /// How many runs; as many as reordered packets (x).
    pub runs: u32,
    /// How many packets were in order, those after the last run included (a).
    pub in_order: u32,
    /// The sum of the squares of the runs' lengths (q).
    pub squares: u64,
}

impl Order {
    /// Of packets in the order of coming: each one's number in the order of sending, without duplicates, and when it
    /// came. Takes time in proportion to the extents of all reordered packets together.
    pub fn of(arrivals: &[(u32, Instant)]) -> Self {
        // The largest number so far, at each place: it grows, so that the earliest larger one is found by bisection.
        let mut largest: Vec<u32> = Vec::with_capacity(arrivals.len());
        let mut reordered = Vec::new();
        for &(seq, at) in arrivals {
            let place = largest.len();
            let before = largest.last().copied();
            if before.is_some_and(|before| seq < before) {
                let overtaker = largest.partition_point(|largest| *largest <= seq);
                let came = arrivals.get(overtaker).map_or(at, |(_, came)| *came);
                let since = arrivals.get(overtaker..place).unwrap_or_default();
                let later = |(other, _): &&(u32, Instant)| *other > seq;
                reordered.push(Reordered {
                    seq,
                    place: number(place),
                    extent: number(place - overtaker),
                    late_by: at.saturating_since(came),
                    overtaken_by: number(since.iter().filter(later).count()),
                    n: number(since.iter().rev().take(MAX_N).take_while(later).count()),
                });
            }
            largest.push(before.map_or(seq, |before| before.max(seq)));
        }
        Self { received: number(arrivals.len()), reordered }
    }

    /// The share of those that came that are reordered (section 4.1); absent when none came.
    pub fn ratio(&self) -> Option<f64> {
        (self.received > 0).then(|| f64::from(number(self.reordered.len())) / f64::from(self.received))
    }

    /// The largest extent; absent when nothing is reordered.
    pub fn max_extent(&self) -> Option<u32> {
        self.reordered.iter().map(|one| one.extent).max()
    }

    /// The longest lateness; absent when nothing is reordered.
    pub fn max_late(&self) -> Option<Nanos> {
        self.reordered.iter().map(|one| one.late_by).max()
    }

    /// The most packets that had overtaken one; absent when nothing is reordered.
    pub fn max_overtaken_by(&self) -> Option<u32> {
        self.reordered.iter().map(|one| one.overtaken_by).max()
    }

    /// How many packets are n-reordered: of n = 1 first, up to the largest n that there is (section 5.3, definition 2).
    pub fn n_reordered(&self) -> Vec<u32> {
        let most = self.reordered.iter().map(|one| one.n).max().unwrap_or(0);
        // Who is n-reordered is so for each smaller n, too.
        let of = |n: u32| number(self.reordered.iter().filter(|one| one.n >= n).count());
        (1..=most).map(of).collect()
    }

    /// How many packets were overtakers of others: reordering discontinuities (section 4.5.3).
    pub fn discontinuities(&self) -> u32 {
        number(self.reordered.iter().map(Reordered::discontinuity).collect::<BTreeSet<_>>().len())
    }

    /// The distances from one discontinuity to the next, in the order in which they were found (section 4.5.4). The first
    /// has none, nor has one that is found before those that came earlier.
    pub fn gaps(&self) -> Vec<u32> {
        let mut found = BTreeSet::new();
        let places = self.reordered.iter().map(Reordered::discontinuity);
        places
            .filter_map(|place| {
                let before = found.range(..place).next_back().copied();
                (found.insert(place)).then(|| before.map(|before| place - before)).flatten()
            })
            .collect()
    }

    /// How long order lasted between reordered packets (section 4.6).
    pub fn free_runs(&self) -> FreeRuns {
        let runs = number(self.reordered.len());
        let mut squares = 0_u64;
        let mut next = 0;
        for one in &self.reordered {
            squares = squares.saturating_add(u64::from(one.place - next).pow(2));
            next = one.place + 1;
        }
        FreeRuns { runs, in_order: self.received.saturating_sub(runs), squares }
    }
}

fn number(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests;
