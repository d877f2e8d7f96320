//! How far packets came out of order (RFC 4737).
//!
//! A packet is reordered when one that was sent after it came before it (section 3.3). Loss is no reordering, and
//! duplicates are left out before. Of round trips one can't tell on which way the order was lost.

use crate::time::{Instant, Nanos};

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
    /// How many packets lie between it and the earliest that overtook it, that one included (section 4.2).
    pub extent: u32,
    /// How long after that one it came (section 4.3).
    pub late_by: Nanos,
}

impl Order {
    /// Of packets in the order of coming: each one's number in the order of sending, without duplicates, and when it
    /// came.
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
                reordered.push(Reordered {
                    seq,
                    extent: u32::try_from(place - overtaker).unwrap_or(u32::MAX),
                    late_by: at.saturating_since(came),
                });
            }
            largest.push(before.map_or(seq, |before| before.max(seq)));
        }
        Self { received: u32::try_from(arrivals.len()).unwrap_or(u32::MAX), reordered }
    }

    /// The share of those that came that are reordered (section 4.1); absent when none came.
    pub fn ratio(&self) -> Option<f64> {
        let reordered = u32::try_from(self.reordered.len()).unwrap_or(u32::MAX);
        (self.received > 0).then(|| f64::from(reordered) / f64::from(self.received))
    }

    /// The largest extent; absent when nothing is reordered.
    pub fn max_extent(&self) -> Option<u32> {
        self.reordered.iter().map(|one| one.extent).max()
    }

    /// The longest lateness; absent when nothing is reordered.
    pub fn max_late(&self) -> Option<Nanos> {
        self.reordered.iter().map(|one| one.late_by).max()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn order(arrivals: &[(u32, u64)]) -> Vec<(u32, u32, u64)> {
        let arrivals: Vec<_> = arrivals.iter().map(|&(seq, ms)| (seq, Instant(ms * 1_000_000))).collect();
        let order = Order::of(&arrivals);
        order.reordered.iter().map(|one| (one.seq, one.extent, one.late_by.0 / 1_000_000)).collect()
    }

    /// RFC 4737, section 6.1: packet 4 is late by 62 ms, and 4 packets.
    #[test]
    fn one_packet_reordered_as_in_the_rfc() {
        let arrivals = [
            (1, 68),
            (2, 88),
            (3, 108),
            (5, 148),
            (6, 168),
            (7, 188),
            (8, 208),
            (4, 210),
            (9, 228),
            (10, 248),
        ];
        assert_eq!(order(&arrivals), [(4, 4, 62)]);
    }

    /// RFC 4737, section 6.2: packets 5 and 6 come just after 7.
    #[test]
    fn two_packets_reordered_as_in_the_rfc() {
        let arrivals = [
            (1, 68),
            (2, 88),
            (3, 108),
            (4, 128),
            (7, 188),
            (5, 189),
            (6, 190),
            (8, 208),
            (9, 228),
            (10, 248),
        ];
        assert_eq!(order(&arrivals), [(5, 1, 1), (6, 2, 2)]);
    }

    /// RFC 4737, section 6.3: packets 4, 5 and 6 come after four that were sent later.
    #[test]
    fn three_packets_reordered_as_in_the_rfc() {
        let arrivals: Vec<_> = [1, 2, 3, 7, 8, 9, 10, 4, 5, 6, 11].into_iter().zip(0..).collect();
        let extents: Vec<_> = order(&arrivals).into_iter().map(|(seq, extent, _)| (seq, extent)).collect();
        assert_eq!(extents, [(4, 4), (5, 5), (6, 6)]);
    }

    #[test]
    fn loss_is_no_reordering_and_nothing_is_no_ratio() {
        assert_eq!(order(&[(1, 1), (5, 2), (9, 3)]), []);
        assert_eq!(Order::of(&[]).ratio(), None);
        let order = Order::of(&[(1, Instant(0)), (0, Instant(7))]);
        assert_eq!(
            (order.ratio(), order.max_extent(), order.max_late()),
            (Some(0.5), Some(1), Some(Nanos(7)))
        );
    }

    proptest! {
        /// Against the definitions, word by word.
        #[test]
        fn as_defined(seqs in Just((0_u32..40).collect::<Vec<_>>()).prop_shuffle(), keep in 0_usize..40) {
            let arrivals: Vec<_> = seqs.iter().take(keep).copied().zip((0..).map(Instant)).collect();
            let mut next_expected = 0;
            let mut expected = Vec::new();
            for (i, &(seq, _)) in arrivals.iter().enumerate() {
                if seq >= next_expected {
                    next_expected = seq + 1;
                } else {
                    let j = arrivals.iter().position(|(other, _)| *other > seq).unwrap();
                    expected.push((seq, i - j));
                }
            }
            let order = Order::of(&arrivals);
            let found: Vec<_> = order.reordered.iter().map(|one| (one.seq, one.extent as usize)).collect();
            prop_assert_eq!(found, expected);
        }
    }
}
