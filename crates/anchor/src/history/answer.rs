//! What is asked of a history, and the answer.

use std::borrow::Cow;
use std::collections::BTreeMap;

use mmn_schema::api::Rollup;
use mmn_schema::id::{MeasurementId, VpId};
use mmn_schema::outcome::Outcome;
use mmn_schema::time::Timestamp;

use super::{History, Row, Slice, Sums, WIDTHS, start_of, width_of};

/// The most rollups in an answer. What would be more is told in wider slices.
const MAX_ROLLUPS: usize = 50_000;

/// What is asked of a measurement's history.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RollupAsk {
    /// Of this vantage point; absent: of all.
    pub vp: Option<VpId>,
    /// What was kept in slices that begin then or later.
    pub from: Option<Timestamp>,
    /// What was kept in slices that begin before.
    pub to: Option<Timestamp>,
    /// How wide slices are at least.
    pub interval: Interval,
    /// Summed over vantage points.
    pub merge: bool,
    /// These numbers alone; absent: all.
    pub numbers: Option<Vec<String>>,
    /// Quantiles at so many equal steps; 0: none.
    pub quantiles: u16,
}

/// How wide slices are at least.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Interval {
    /// As they are kept.
    #[default]
    Finest,
    /// So many nanoseconds.
    Ns(u64),
    /// All is one slice.
    All,
}

/// When a slice begins, and of which vantage point it is.
type Place<'a> = (i64, Option<&'a VpId>);
/// Its sums, and whether they come from a simulated Internet.
type Summed<'a> = (Cow<'a, Sums>, bool);

impl History {
    /// The answer, by time and vantage point.
    pub(crate) fn answer(&self, measurement: MeasurementId, ask: &RollupAsk) -> Vec<Rollup> {
        let (kept, rows) = self.rows_for(ask);
        let within = |slice: &&Slice| {
            ask.from.is_none_or(|from| slice.start >= from.unix_ns())
                && ask.to.is_none_or(|to| slice.start < to.unix_ns())
        };
        let slices = || rows.iter().flat_map(|(_, row)| row.slices.iter().filter(within));
        let Some(first) = slices().map(|slice| slice.start).min() else { return Vec::new() };
        let last = slices().map(|slice| slice.start).max().unwrap_or(first);
        // All as one has no place on the ladder: it is as wide as what there is.
        let whole = last.saturating_sub(first).saturating_add(width_of(kept));
        let wide = |width: usize| {
            if width < WIDTHS.len() { (width_of(width), start_of(first, width)) } else { (whole, first) }
        };
        let mut width = match ask.interval {
            Interval::Finest => kept,
            Interval::All => WIDTHS.len(),
            Interval::Ns(ns) => {
                let ns = i64::try_from(ns).unwrap_or(i64::MAX);
                WIDTHS.iter().position(|width| *width >= ns).unwrap_or(WIDTHS.len()).max(kept)
            }
        };
        let start = |at: i64, width: usize| {
            let (wide, first) = wide(width);
            at.saturating_sub(at.saturating_sub(first).rem_euclid(wide))
        };
        let many = |width: usize| {
            let of_row = |row: &Row| {
                let mut starts: Vec<_> =
                    row.slices.iter().filter(within).map(|slice| start(slice.start, width)).collect();
                starts.dedup();
                starts.len()
            };
            rows.iter().map(|(_, row)| of_row(row)).sum::<usize>() > MAX_ROLLUPS
        };
        while width < WIDTHS.len() && many(width) {
            width += 1;
        }
        let mut sums: BTreeMap<Place<'_>, Summed<'_>> = BTreeMap::new();
        for (vp, row) in &rows {
            for slice in row.slices.iter().filter(within) {
                let place = (start(slice.start, width), vp.filter(|_| !ask.merge));
                sums.entry(place)
                    .and_modify(|(sums, simulated)| {
                        sums.to_mut().merge(&slice.sums);
                        *simulated |= row.simulated;
                    })
                    .or_insert((Cow::Borrowed(&slice.sums), row.simulated));
            }
        }
        let wanted = |name: &String| ask.numbers.as_ref().is_none_or(|names| names.contains(name));
        let wanted: Vec<_> = self.names.iter().enumerate().filter(|(_, name)| wanted(name)).collect();
        let interval_ns = u64::try_from(wide(width).0).unwrap_or_default();
        let rollup = |((start, vp), (sums, simulated)): (Place<'_>, Summed<'_>)| Rollup {
            measurement,
            vp: vp.cloned(),
            start: Timestamp::from_unix_ns(start),
            interval_ns,
            outcomes: Outcome::ALL.into_iter().zip(sums.outcomes).filter(|(_, count)| *count > 0).collect(),
            answered: sums.answered,
            numbers: wanted
                .iter()
                .filter_map(|(at, name)| {
                    Some(((*name).clone(), sums.numbers.get(*at)?.number(ask.quantiles)?))
                })
                .collect(),
            simulated,
        };
        sums.into_iter().map(rollup).collect()
    }

    /// The rows that an answer is made of, and their width.
    fn rows_for(&self, ask: &RollupAsk) -> (usize, Vec<(Option<&VpId>, &Row)>) {
        if let Some((width, all)) = self.all.as_ref().filter(|_| ask.merge && ask.vp.is_none()) {
            return (*width, vec![(None, all)]);
        }
        let wanted = |of: &Option<VpId>| ask.vp.is_none() || *of == ask.vp;
        let rows = self.rows.iter().filter(|(vp, _)| wanted(vp));
        (self.width, rows.map(|(vp, row)| (vp.as_ref(), &**row)).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: i64 = 1_000_000_000;

    fn vp(number: u32) -> VpId {
        VpId::derive("UTEST", &number.to_string())
    }

    /// For 20 minutes two vantage points have a result each second; the second one answers every other time.
    fn history() -> History {
        let mut history = History::default();
        for second in 0..1200_u32 {
            for of in 0..2 {
                let at = Timestamp::from_unix_ns(1_800_000_000 * S + i64::from(second) * S);
                let answered = of == 0 || second % 2 == 0;
                let numbers = [("rtt_ns", f64::from(1 + second % 100) * 1e6), ("sent", 1.0)];
                history.at(at, Some(&vp(of)), of == 1).add(
                    Outcome::Ok,
                    Some(answered),
                    Some(5),
                    numbers.into_iter().filter(move |(name, _)| answered || *name == "sent"),
                );
                history.bound();
            }
        }
        history
    }

    fn ask(history: &History, ask: &RollupAsk) -> Vec<Rollup> {
        history.answer(MeasurementId::new(1, &[0; 10]), ask)
    }

    #[test]
    fn slices_are_as_wide_as_asked_and_close() {
        let history = history();
        for (interval, merge, many, width) in [
            (Interval::Finest, false, 480, 5 * S),
            (Interval::Ns(1), true, 240, 5 * S),
            (Interval::Ns(45_000_000_000), true, 20, 60 * S),
            (Interval::Ns(u64::MAX), false, 2, 1200 * S),
            (Interval::All, true, 1, 1200 * S),
        ] {
            let rollups = ask(&history, &RollupAsk { interval, merge, ..RollupAsk::default() });
            assert_eq!(rollups.len(), many, "{interval:?}");
            assert!(rollups.iter().all(|rollup| rollup.interval_ns == u64::try_from(width).unwrap()));
            assert_eq!(rollups.iter().map(|rollup| rollup.outcomes[&Outcome::Ok]).sum::<u64>(), 2400);
            assert_eq!(rollups.iter().map(|rollup| rollup.answered).sum::<u64>(), 1800);
            assert_eq!(rollups.iter().map(|rollup| rollup.numbers["duration_ns"].count).sum::<u64>(), 2400);
            assert!(rollups.iter().all(|rollup| rollup.vp.is_none() == merge));
        }
    }

    #[test]
    fn a_window_of_one_vantage_point_with_quantiles_of_one_number() {
        let start = Timestamp::from_unix_ns(1_800_000_100 * S);
        let wanted = RollupAsk {
            vp: Some(vp(1)),
            from: Some(start),
            to: Some(Timestamp::from_unix_ns(1_800_000_200 * S)),
            interval: Interval::All,
            numbers: Some(vec!["rtt_ns".to_owned(), "none".to_owned()]),
            quantiles: 10,
            ..RollupAsk::default()
        };
        let rollups = ask(&history(), &wanted);
        assert_eq!((rollups.len(), rollups[0].start, rollups[0].simulated), (1, start, true));
        assert_eq!(rollups[0].numbers.len(), 1);
        let rtt = &rollups[0].numbers["rtt_ns"];
        assert_eq!((rtt.count, rtt.min, rtt.max, rtt.quantiles.len()), (50, 1e6, 99e6, 11));
        for (part, got) in rtt.quantiles.iter().enumerate() {
            // Every other one of 1 to 99 ms.
            let exact = f64::from(u32::try_from(49 * part / 10 * 2 + 1).unwrap()) * 1e6;
            assert!((got - exact).abs() <= exact * 0.0101, "{part}: {got} {exact}");
        }
        assert!(ask(&history(), &RollupAsk { vp: Some(vp(2)), ..wanted }).is_empty());
    }

    #[test]
    fn an_answer_is_bounded() {
        let mut history = History::default();
        for number in 0..60_000_u32 {
            let at = Timestamp::from_unix_ns(i64::from(number / 600) * S);
            let of = vp(number % 600);
            history.at(at, Some(&of), false).add(Outcome::Ok, None, None, std::iter::empty());
        }
        history.bound();
        assert_eq!(history.rows.values().map(|row| row.slices.len()).sum::<usize>(), 60_000);
        let rollups = ask(&history, &RollupAsk::default());
        assert_eq!((rollups.len(), rollups[0].interval_ns), (12_000, 5_000_000_000));
        assert_eq!(rollups.iter().map(|rollup| rollup.outcomes[&Outcome::Ok]).sum::<u64>(), 60_000);
    }
}
