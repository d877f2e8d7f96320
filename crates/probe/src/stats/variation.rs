//! How far delays differ (RFC 3393, RFC 5481), from packet to packet and from the smallest.
//!
//! Both are of packets that came: what a lost one's delay differs by is undefined (RFC 5481, section 6.1).

/// Inter-packet delay variation: the delay of each packet less that of the one sent just before it (RFC 5481,
/// section 4.1). All in nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ipdv {
    /// Of how many pairs: neighbours in the order of sending that both came.
    pub pairs: u32,
    /// The smallest difference: how much faster one was than the one before it.
    pub min_ns: i64,
    /// The largest difference.
    pub max_ns: i64,
    /// The mean of the differences without their sign.
    pub mean_abs_ns: u64,
    /// The median of the differences without their sign.
    pub p50_abs_ns: u64,
    /// Their 95th percentile.
    pub p95_abs_ns: u64,
    /// Their 99th percentile.
    pub p99_abs_ns: u64,
}

/// Packet delay variation: the delay of each packet less the smallest (RFC 5481, section 4.2). All in nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pdv {
    /// The median.
    pub p50_ns: u64,
    /// The 95th percentile.
    pub p95_ns: u64,
    /// The 99th percentile.
    pub p99_ns: u64,
    /// The percentile 99.9, which a de-jitter buffer is made for.
    pub p999_ns: u64,
    /// The largest: the range of the delays.
    pub max_ns: u64,
}

impl Ipdv {
    /// Of delays in the order of sending, nothing where one was lost; absent where no two neighbours came.
    pub fn of(delays_ns: &[Option<u64>]) -> Option<Self> {
        let pairs = delays_ns.iter().zip(delays_ns.iter().skip(1));
        let differences: Vec<i64> = pairs
            .filter_map(|(before, after)| before.zip(*after))
            .map(|(before, after)| {
                let difference = i128::from(after) - i128::from(before);
                i64::try_from(difference).unwrap_or(if difference < 0 { i64::MIN } else { i64::MAX })
            })
            .collect();
        let mut sizes: Vec<u64> = differences.iter().map(|difference| difference.unsigned_abs()).collect();
        sizes.sort_unstable();
        let sum: u128 = sizes.iter().map(|size| u128::from(*size)).sum();
        let count = u128::try_from(sizes.len()).ok().filter(|count| *count > 0)?;
        Some(Self {
            pairs: u32::try_from(sizes.len()).unwrap_or(u32::MAX),
            min_ns: differences.iter().copied().min()?,
            max_ns: differences.iter().copied().max()?,
            mean_abs_ns: u64::try_from((sum + count / 2) / count).unwrap_or(u64::MAX),
            p50_abs_ns: at(&sizes, 500)?,
            p95_abs_ns: at(&sizes, 950)?,
            p99_abs_ns: at(&sizes, 990)?,
        })
    }
}

impl Pdv {
    /// Of the delays of those that came, in order of size; absent where none came.
    pub fn of(sorted_ns: &[u64]) -> Option<Self> {
        let least = *sorted_ns.first()?;
        let above = |per_mille| at(sorted_ns, per_mille).map(|delay| delay - least);
        Some(Self {
            p50_ns: above(500)?,
            p95_ns: above(950)?,
            p99_ns: above(990)?,
            p999_ns: above(999)?,
            max_ns: above(1000)?,
        })
    }
}

/// The smallest value that is at least as large as so many thousandths of all (RFC 2330, section 11.3).
fn at(sorted: &[u64], per_mille: usize) -> Option<u64> {
    let rank = (sorted.len() * per_mille).div_ceil(1000).max(1);
    sorted.get(rank - 1).copied()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What a figure of RFC 5481 shows: the delays, and of each packet IPDV and PDV; nothing is lost or undefined.
    fn figure(delays: &[Option<u64>], ipdv: &[Option<i64>], pdv: &[Option<u64>]) {
        assert_eq!((delays.len(), delays.len()), (ipdv.len(), pdv.len()));
        let mut expected: Vec<i64> = ipdv.iter().flatten().copied().collect();
        expected.sort_unstable();
        let found = Ipdv::of(delays);
        assert_eq!(found.map_or(0, |ipdv| ipdv.pairs as usize), expected.len());
        if let Some(found) = found {
            assert_eq!((Some(&found.min_ns), Some(&found.max_ns)), (expected.first(), expected.last()));
            let mut sizes: Vec<u64> = expected.iter().map(|one| one.unsigned_abs()).collect();
            sizes.sort_unstable();
            let (sum, count) = (sizes.iter().sum::<u64>(), sizes.len() as u64);
            assert_eq!(found.mean_abs_ns, (sum + count / 2) / count);
            assert_eq!(found.p50_abs_ns, sizes[(sizes.len() - 1) / 2]);
            assert_eq!(Some(&found.p99_abs_ns), sizes.last());
        }
        let mut sorted: Vec<u64> = delays.iter().flatten().copied().collect();
        sorted.sort_unstable();
        let mut expected: Vec<u64> = pdv.iter().flatten().copied().collect();
        expected.sort_unstable();
        let found = Pdv::of(&sorted).unwrap();
        assert_eq!(
            (found.p50_ns, Some(&found.max_ns)),
            (expected[(expected.len() - 1) / 2], expected.last())
        );
    }

    /// RFC 5481, Figures 1 and 3 to 6 (sections 4.4, 6.1 and 6.2), as its text has them.
    #[test]
    fn the_figures_of_the_rfc() {
        const U: Option<u64> = None;
        const I: i64 = i64::MIN;
        let d = Some;
        let undefined =
            |signed: &[i64]| signed.iter().map(|one| (*one != I).then_some(*one)).collect::<Vec<_>>();
        figure(&[20, 10, 20, 25, 20].map(d), &undefined(&[I, -10, 10, 5, -5]), &[10, 0, 10, 15, 10].map(d));
        figure(
            &[d(3), U, d(5), U, d(4), U, d(3), U, d(4), U],
            &undefined(&[I; 10]),
            &[d(0), U, d(2), U, d(1), U, d(0), U, d(1), U],
        );
        figure(
            &[d(3), d(4), U, U, U, U, U, d(5), d(4), d(3)],
            &undefined(&[I, 1, I, I, I, I, I, I, -1, -1]),
            &[d(0), d(1), U, U, U, U, U, d(2), d(1), d(0)],
        );
        figure(
            &[4, 4, 4, 4, 9, 9, 9, 9, 9].map(d),
            &undefined(&[I, 0, 0, 0, 5, 0, 0, 0, 0]),
            &[0, 0, 0, 0, 5, 5, 5, 5, 5].map(d),
        );
        figure(
            &[d(3), d(4), d(3), d(3), U, U, d(8), d(9), d(8)],
            &undefined(&[I, 1, -1, 0, I, I, I, 1, -1]),
            &[d(0), d(1), d(0), d(0), U, U, d(5), d(6), d(5)],
        );
    }

    /// RFC 4737, Table 1 (section 7.1): delays of 68 throughout but 150 for packet 4, here in the order of sending; in
    /// the RFC's the one before packet 5 is yet to come, so that it has -82 there, too.
    #[test]
    fn neighbours_in_the_order_of_sending() {
        let delays = [68, 68, 68, 150, 68, 68, 68, 68, 68, 68].map(Some);
        let ipdv = Ipdv::of(&delays).unwrap();
        assert_eq!((ipdv.pairs, ipdv.min_ns, ipdv.max_ns), (9, -82, 82));
        assert_eq!((ipdv.mean_abs_ns, ipdv.p50_abs_ns, ipdv.p99_abs_ns), (18, 0, 82));
    }

    #[test]
    fn a_lost_packet_has_no_neighbours() {
        let ipdv = Ipdv::of(&[Some(1), None, Some(9), Some(4)]).unwrap();
        assert_eq!((ipdv.pairs, ipdv.min_ns, ipdv.max_ns), (1, -5, -5));
        assert_eq!(Ipdv::of(&[Some(1), None, Some(9)]), None);
        assert_eq!((Ipdv::of(&[]), Pdv::of(&[])), (None, None));
    }

    #[test]
    fn against_the_smallest() {
        let mut delays: Vec<u64> = (1000..2000).collect();
        delays.sort_unstable();
        let pdv = Pdv::of(&delays).unwrap();
        assert_eq!((pdv.p50_ns, pdv.p95_ns, pdv.p99_ns, pdv.p999_ns, pdv.max_ns), (499, 949, 989, 998, 999));
    }

    proptest! {
        #[test]
        fn any_delays(delays in prop::collection::vec(prop::option::of(any::<u64>()), 0..60)) {
            if let Some(ipdv) = Ipdv::of(&delays) {
                prop_assert!(ipdv.min_ns <= ipdv.max_ns);
                prop_assert!(ipdv.p50_abs_ns <= ipdv.p95_abs_ns && ipdv.p95_abs_ns <= ipdv.p99_abs_ns);
                prop_assert!(ipdv.p99_abs_ns <= ipdv.min_ns.unsigned_abs().max(ipdv.max_ns.unsigned_abs()));
            }
            let mut sorted: Vec<u64> = delays.into_iter().flatten().collect();
            sorted.sort_unstable();
            if let Some(pdv) = Pdv::of(&sorted) {
                prop_assert!(pdv.p50_ns <= pdv.p95_ns && pdv.p95_ns <= pdv.p99_ns);
                prop_assert!(pdv.p99_ns <= pdv.p999_ns && pdv.p999_ns <= pdv.max_ns);
            }
        }
    }
}
