//! The worked examples of RFC 4737, as its text has them, and its definitions and programs over any order.

use proptest::prelude::*;

use super::*;

/// Packets as they come in a table of the RFC: number and time of arrival in ms.
fn of(arrivals: &[(u32, u64)]) -> Order {
    let arrivals: Vec<_> = arrivals.iter().map(|&(seq, ms)| (seq, Instant(ms * 1_000_000))).collect();
    Order::of(&arrivals)
}

/// Packets of which the RFC tells the order alone.
fn of_order(seqs: &[u32]) -> Order {
    of(&seqs.iter().copied().zip(0..).collect::<Vec<_>>())
}

/// Each reordered packet: its number, extent, lateness in ms, byte offset for payloads of 100 bytes, and n.
fn rows(order: &Order) -> Vec<(u32, u32, u64, u32, u32)> {
    let row =
        |one: &Reordered| (one.seq, one.extent, one.late_by.0 / 1_000_000, one.overtaken_by * 100, one.n);
    order.reordered.iter().map(row).collect()
}

/// Section 7.1, Table 1: packet 4 is reordered, with extent 4, byte offset 400 and late time 62, and is 4-reordered.
#[test]
fn table_1() {
    let came = [68, 88, 108, 148, 168, 188, 208, 210, 228, 248];
    let order = of(&[1, 2, 3, 5, 6, 7, 8, 4, 9, 10].into_iter().zip(came).collect::<Vec<_>>());
    assert_eq!(rows(&order), [(4, 4, 62, 400, 4)]);
    assert_eq!(order.n_reordered(), [1, 1, 1, 1]);
    assert_eq!((order.ratio(), order.discontinuities(), order.gaps()), (Some(0.1), 1, vec![]));
}

/// Section 7.2, Table 2: packets 5 and 6 come just behind 7. Both belong to the discontinuity at packet 7; 5 is
/// 1-reordered, 6 is not n-reordered.
#[test]
fn table_2() {
    let came = [68, 88, 108, 128, 188, 189, 190, 208, 228, 248];
    let order = of(&[1, 2, 3, 4, 7, 5, 6, 8, 9, 10].into_iter().zip(came).collect::<Vec<_>>());
    assert_eq!(rows(&order), [(5, 1, 1, 100, 1), (6, 2, 2, 100, 0)]);
    assert_eq!(order.n_reordered(), [1]);
    assert_eq!((order.discontinuities(), order.reordered[1].discontinuity()), (1, 4));
}

/// Section 7.3, Table 3: packets 4, 5 and 6 have extents 4, 5 and 6, and belong to the discontinuity at packet 7 (j = 4,
/// counted from 1). Only 4 is n-reordered, up to n = 4.
#[test]
fn table_3() {
    let came = [68, 88, 108, 188, 208, 228, 248, 250, 252, 256, 268];
    let order = of(&[1, 2, 3, 7, 8, 9, 10, 4, 5, 6, 11].into_iter().zip(came).collect::<Vec<_>>());
    assert_eq!(rows(&order), [(4, 4, 62, 400, 4), (5, 5, 64, 400, 0), (6, 6, 68, 400, 0)]);
    assert_eq!(order.n_reordered(), [1, 1, 1, 1]);
    assert!(order.reordered.iter().all(|one| one.discontinuity() == 3));
    assert_eq!(order.discontinuities(), 1);
}

/// Section 7.4, Table 4: packets 4, 5 and 11 have extents 2, 3 and 2; discontinuities at packets 6 (j = 4) and 12 (j' =
/// 11), a gap of 7, and three reordering-free runs of lengths 5, 0 and 5.
#[test]
fn table_4() {
    let order = of_order(&[1, 2, 3, 6, 7, 4, 5, 8, 9, 10, 12, 13, 11, 14, 15, 16]);
    let extents: Vec<_> = order.reordered.iter().map(|one| (one.seq, one.extent)).collect();
    assert_eq!(extents, [(4, 2), (5, 3), (11, 2)]);
    assert_eq!((order.discontinuities(), order.gaps()), (2, vec![7]));
    assert_eq!(order.free_runs(), FreeRuns { runs: 3, in_order: 13, squares: 50 });
}

/// Section 5.3: of the arrivals 1 2 3 7 8 9 4 5 6 three are reordered, but only packet 4 is n-reordered, with n = 3.
#[test]
fn a_block_that_is_late_counts_once_for_tcp() {
    let order = of_order(&[1, 2, 3, 7, 8, 9, 4, 5, 6]);
    assert_eq!(
        order.reordered.iter().map(|one| (one.seq, one.n)).collect::<Vec<_>>(),
        [(4, 3), (5, 0), (6, 0)]
    );
    assert_eq!(order.n_reordered(), [1, 1, 1]);
}

/// Appendix A: nobody counts beyond 100.
#[test]
fn n_is_bounded() {
    let mut seqs: Vec<u32> = (1..200).collect();
    seqs.push(0);
    let order = of_order(&seqs);
    assert_eq!((order.n_reordered(), order.max_extent()), (vec![1; 100], Some(199)));
    assert_eq!(order.max_overtaken_by(), Some(199));
}

/// Section 4.6.4: of 36 packets with 3 runs of 11 in order, q is 363; with runs of 1, 31 and 1 it is 963.
#[test]
fn runs_as_in_the_rfc() {
    let runs = |lengths: [u32; 3]| {
        // A packet of 1 to 3 is held back until so many others have come.
        let mut seqs = Vec::new();
        let mut next = 4;
        for (late, length) in (1..).zip(lengths) {
            seqs.extend(next..next + length);
            seqs.push(late);
            next += length;
        }
        assert_eq!(seqs.len(), 36);
        of_order(&seqs).free_runs()
    };
    assert_eq!(runs([11, 11, 11]), FreeRuns { runs: 3, in_order: 33, squares: 363 });
    assert_eq!(runs([1, 31, 1]), FreeRuns { runs: 3, in_order: 33, squares: 963 });
}

/// Section 4.3.4: of the arrivals 1, 10, 5 only the last is reordered.
#[test]
fn loss_is_no_reordering_and_nothing_is_no_ratio() {
    assert_eq!(rows(&of(&[(1, 1), (5, 2), (9, 3)])), []);
    assert_eq!(rows(&of(&[(1, 1), (10, 2), (5, 4)])), [(5, 1, 2, 100, 1)]);
    assert_eq!(Order::of(&[]).ratio(), None);
    let order = Order::of(&[(1, Instant(0)), (0, Instant(7))]);
    assert_eq!((order.ratio(), order.max_extent(), order.max_late()), (Some(0.5), Some(1), Some(Nanos(7))));
    assert_eq!(of_order(&[0, 1, 2]).n_reordered(), [0; 0]);
}

proptest! {
    /// Against the definitions, word by word: sections 3.3, 4.2.3, 4.4.3 and 5.3, whose indexes count from 1.
    #[test]
    fn as_defined(seqs in Just((0_u32..40).collect::<Vec<_>>()).prop_shuffle(), keep in 0_usize..40) {
        let s: Vec<u32> = seqs.into_iter().take(keep).collect();
        let mut next_expected = 0;
        let mut expected = Vec::new();
        for (i, &seq) in s.iter().enumerate() {
            if seq >= next_expected {
                next_expected = seq + 1;
                continue;
            }
            let j = s.iter().position(|other| *other > seq).unwrap();
            let n_reordered = |n: &usize| (i - n..i).all(|j| s[j] > seq);
            let n = (1..=i).filter(n_reordered).max().unwrap_or(0);
            let overtaken = (j..i).filter(|j| s[*j] > seq).count();
            expected.push((seq, i - j, overtaken, n));
        }
        let order = of_order(&s);
        let found: Vec<_> = order
            .reordered
            .iter()
            .map(|one| (one.seq, one.extent as usize, one.overtaken_by as usize, one.n as usize))
            .collect();
        prop_assert_eq!(found, expected);
        // Section 4.6.3, its pseudo-code.
        let (mut r, mut x, mut a, mut q, mut next) = (0_u64, 0, 0, 0, 0);
        for seq in s {
            if seq >= next {
                (r, a, next) = (r + 1, a + 1, seq + 1);
            } else {
                (q, r, x) = (q + r * r, 0, x + 1);
            }
        }
        prop_assert_eq!(order.free_runs(), FreeRuns { runs: x, in_order: a, squares: q });
        // A discontinuity has at most one gap, and the first has none.
        prop_assert!(order.gaps().len() <= order.discontinuities().saturating_sub(1) as usize);
    }

    /// Against what the program of Appendix A, example 1, counts: each packet looks back over those before it for as long
    /// as they have larger numbers.
    #[test]
    fn n_reordering_as_in_the_appendix(seqs in Just((1_u32..60).collect::<Vec<_>>()).prop_shuffle()) {
        let mut m = vec![0_u32; 60];
        for (at, seq) in seqs.iter().enumerate() {
            for (count, _) in m.iter_mut().zip(seqs[..at].iter().rev().take_while(|before| seq < before)) {
                *count += 1;
            }
        }
        let reached = m.iter().position(|count| *count == 0).unwrap();
        m.truncate(reached);
        prop_assert_eq!(of_order(&seqs).n_reordered(), m);
    }
}
