//! Sums of one measurement's results per vantage point and slice of time, over all of its time: whoever draws it scans no
//! results.
//!
//! All slices have one width, which begins at 100 ms. When there are too many of them, or they take too much memory, each
//! few become one ([`WIDTHS`]): a history is as fine as its bounds allow, however long it lasts and whoever takes part. One
//! of many vantage points has, besides, sums over all of them, which stay fine. It is rebuilt from the results after a
//! restart, and written down when the measurement ends.
//!
//! Begin with [`History`]; what is asked of it is in [`answer`].

pub(crate) mod answer;

use std::sync::Arc;

use mmn_schema::dispatch::Record;
use mmn_schema::encoding::{DecodeError, EncodeError, Encoding};
use mmn_schema::id::VpId;
use mmn_schema::outcome::Outcome;
use mmn_schema::time::Timestamp;
use rustc_hash::FxHashMap;
use serde::{Deserialize, Serialize};

use crate::sketch::Sketch;
use crate::store::record::Section;

const MS: i64 = 1_000_000;
const S: i64 = 1000 * MS;
const H: i64 = 3600 * S;
const D: i64 = 24 * H;
/// How wide slices may be, in nanoseconds: each a multiple of the one before. The last one is longer than anything lasts.
pub(crate) const WIDTHS: [i64; 18] = [
    100 * MS,
    500 * MS,
    S,
    5 * S,
    10 * S,
    30 * S,
    60 * S,
    300 * S,
    600 * S,
    1800 * S,
    H,
    3 * H,
    6 * H,
    12 * H,
    D,
    7 * D,
    28 * D,
    28 * 1000 * D,
];
/// How many slices there may be of a vantage point.
const MAX_SLICES: i64 = 600;
/// About how many bytes a history may take.
const MAX_WEIGHT: usize = 32 << 20;
/// The most names of numbers that are summed; further ones are left out, and so are longer ones.
const MAX_NAMES: usize = 64;
const MAX_NAME: usize = 128;
/// The name under which it is summed how long tasks took.
const DURATION: &str = "duration_ns";

/// The sums of one measurement.
#[derive(Debug, Clone, Default)]
pub(crate) struct History {
    /// Of the numbers, in the order of [`Sums::numbers`].
    names: Vec<String>,
    /// The slices' width, of [`WIDTHS`].
    width: usize,
    rows: FxHashMap<Option<VpId>, Arc<Row>>,
    /// The sums over all vantage points with their own width, once those of each had to give up theirs.
    all: Option<(usize, Arc<Row>)>,
    /// When the first and the last result came, in nanoseconds since 1970 UTC.
    span: Option<(i64, i64)>,
    /// About how many bytes all that takes.
    weight: usize,
}

/// The slices of one vantage point, in order.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Row {
    #[serde(rename = "l")]
    simulated: bool,
    #[serde(rename = "s")]
    slices: Vec<Slice>,
}

/// What ended in one slice of time.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Slice {
    /// In nanoseconds since 1970 UTC.
    #[serde(rename = "t")]
    start: i64,
    #[serde(rename = "x")]
    sums: Sums,
}

/// The sums of results.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Sums {
    /// In the order of [`Outcome::ALL`].
    #[serde(rename = "o")]
    outcomes: [u64; Outcome::ALL.len()],
    #[serde(rename = "a")]
    answered: u64,
    #[serde(rename = "n")]
    numbers: Vec<Sketch>,
}

/// Where results of one vantage point are entered.
#[derive(Debug)]
pub(crate) struct Adder<'a> {
    names: &'a mut Vec<String>,
    weight: &'a mut usize,
    sums: &'a mut Sums,
    all: Option<&'a mut Sums>,
}

impl History {
    /// Where results of a vantage point are entered that came at `at`. When they are, [`Self::bound`] is to be called.
    pub(crate) fn at(&mut self, at: Timestamp, vp: Option<&VpId>, is_simulated: bool) -> Adder<'_> {
        let at = at.unix_ns();
        let (first, last) = self.span.unwrap_or((at, at));
        self.span = Some((first.min(at), last.max(at)));
        let weight = &mut self.weight;
        let row = self.rows.entry(vp.cloned()).or_insert_with(|| {
            *weight += ROW_BYTES;
            Arc::default()
        });
        let row = Arc::make_mut(row);
        row.simulated |= is_simulated;
        let sums = row.at(start_of(at, self.width), &mut self.weight);
        let all = match &mut self.all {
            Some((width, all)) => {
                let all = Arc::make_mut(all);
                all.simulated |= is_simulated;
                Some(all.at(start_of(at, *width), &mut self.weight))
            }
            None => None,
        };
        Adder { names: &mut self.names, weight: &mut self.weight, sums, all }
    }

    /// Enters a record that is kept.
    pub(crate) fn add_record(&mut self, section: &Section, record: &Record) {
        let numbers = record.summary.iter().map(|(name, number)| (&**name, number.as_f64()));
        let took = section.instance.as_ref().map(|_| record.duration_ns);
        let mut sums = self.at(section.received_at, section.vp.as_ref(), section.simulated);
        sums.add(record.outcome, record.answered, took, numbers);
        self.bound();
    }

    /// Holds it within its bounds.
    pub(crate) fn bound(&mut self) {
        let (first, last) = self.span.unwrap_or_default();
        let fits = |width: usize| last.saturating_sub(first) / width_of(width) < MAX_SLICES;
        while !fits(self.width) && self.widen() {}
        if let Some((width, all)) = &mut self.all
            && !fits(*width)
        {
            while !fits(*width) && *width + 1 < WIDTHS.len() {
                *width += 1;
            }
            Arc::make_mut(all).widen(*width);
            self.weigh();
        }
        if self.weight > MAX_WEIGHT {
            self.shrink();
        }
    }

    /// Makes room: half of what it takes, or as much as there is to be had. Whether that is anything.
    pub(crate) fn shrink(&mut self) -> bool {
        let before = self.weight;
        if self.all.is_none() && self.rows.len() > 1 {
            let mut all = Row::default();
            for row in self.rows.values() {
                all.merge(row);
            }
            self.all = Some((self.width, Arc::new(all)));
        }
        while self.weight > before / 2 && self.widen() {}
        self.weight < before
    }

    /// About how many bytes it takes.
    pub(crate) const fn weight(&self) -> usize {
        self.weight
    }

    /// As it is written down.
    pub(crate) fn write(&self) -> Result<Vec<u8>, EncodeError> {
        let rows = self.rows.iter().map(|(vp, row)| (vp, &**row)).collect();
        let all = self.all.as_ref().map(|(width, row)| (*width, &**row));
        Encoding::Cbor.encode(&Written { names: &self.names, width: self.width, rows, all, span: self.span })
    }

    /// What was written down.
    pub(crate) fn read(bytes: &[u8]) -> Result<Self, DecodeError> {
        let read: Read = Encoding::Cbor.decode(bytes)?;
        let within = |width: usize| width.min(WIDTHS.len() - 1);
        let mut history = Self {
            names: read.names,
            width: within(read.width),
            rows: read.rows.into_iter().map(|(vp, row)| (vp, Arc::new(row))).collect(),
            all: read.all.map(|(width, row)| (within(width), Arc::new(row))),
            span: read.span,
            weight: 0,
        };
        history.weigh();
        Ok(history)
    }

    /// Makes slices of each vantage point one step wider, if they can be.
    fn widen(&mut self) -> bool {
        if self.width + 1 >= WIDTHS.len() {
            return false;
        }
        self.width += 1;
        for row in self.rows.values_mut() {
            Arc::make_mut(row).widen(self.width);
        }
        self.weigh();
        true
    }

    fn weigh(&mut self) {
        let rows = self.rows.values().chain(self.all.iter().map(|(_, row)| row));
        self.weight = rows.map(|row| row.weight()).sum();
    }
}

#[derive(Serialize)]
struct Written<'a> {
    names: &'a [String],
    width: usize,
    rows: Vec<(&'a Option<VpId>, &'a Row)>,
    all: Option<(usize, &'a Row)>,
    span: Option<(i64, i64)>,
}

#[derive(Deserialize)]
struct Read {
    names: Vec<String>,
    width: usize,
    rows: Vec<(Option<VpId>, Row)>,
    all: Option<(usize, Row)>,
    span: Option<(i64, i64)>,
}

/// About how many bytes a row takes beside its slices, and a slice beside its numbers.
const ROW_BYTES: usize = 128;
const SLICE_BYTES: usize = size_of::<Slice>();

fn width_of(width: usize) -> i64 {
    WIDTHS.get(width).or(WIDTHS.last()).copied().unwrap_or(i64::MAX)
}

/// The start of the slice in which `at` lies.
fn start_of(at: i64, width: usize) -> i64 {
    at.saturating_sub(at.rem_euclid(width_of(width)))
}

impl Row {
    /// The sums of the slice that begins at `start`.
    fn at(&mut self, start: i64, weight: &mut usize) -> &mut Sums {
        // Nearly always the last one; clocks may be set back.
        let at = match self.slices.last() {
            Some(last) if last.start == start => self.slices.len() - 1,
            Some(last) if last.start < start => self.slices.len(),
            None => 0,
            Some(_) => self.slices.partition_point(|slice| slice.start < start),
        };
        if self.slices.get(at).is_none_or(|slice| slice.start != start) {
            self.slices.insert(at, Slice { start, sums: Sums::default() });
            *weight += SLICE_BYTES;
        }
        #[expect(clippy::indexing_slicing, reason = "it was just found or put there")]
        &mut self.slices[at].sums
    }

    fn widen(&mut self, width: usize) {
        let mut wider: Vec<Slice> = Vec::new();
        for Slice { start, sums } in std::mem::take(&mut self.slices) {
            let start = start_of(start, width);
            match wider.last_mut() {
                Some(last) if last.start == start => last.sums.merge(&sums),
                _ => wider.push(Slice { start, sums }),
            }
        }
        self.slices = wider;
    }

    fn merge(&mut self, other: &Self) {
        self.simulated |= other.simulated;
        for slice in &other.slices {
            self.at(slice.start, &mut 0).merge(&slice.sums);
        }
    }

    fn weight(&self) -> usize {
        let sketches = |slice: &Slice| {
            let sketches = slice.sums.numbers.iter().map(|sketch| size_of::<Sketch>() + sketch.weight());
            SLICE_BYTES + sketches.sum::<usize>()
        };
        ROW_BYTES + self.slices.iter().map(sketches).sum::<usize>()
    }
}

impl Sums {
    fn merge(&mut self, other: &Self) {
        for (sum, more) in self.outcomes.iter_mut().zip(other.outcomes) {
            *sum = sum.saturating_add(more);
        }
        self.answered = self.answered.saturating_add(other.answered);
        if self.numbers.len() < other.numbers.len() {
            self.numbers.resize_with(other.numbers.len(), Sketch::default);
        }
        for (sketch, more) in self.numbers.iter_mut().zip(&other.numbers) {
            sketch.merge(more);
        }
    }

    fn end(&mut self, outcome: Outcome, answered: Option<bool>) {
        if let Some(at) = Outcome::ALL.iter().position(|known| *known == outcome)
            && let Some(sum) = self.outcomes.get_mut(at)
        {
            *sum += 1;
        }
        self.answered += u64::from(outcome == Outcome::Ok && answered == Some(true));
    }

    fn add(&mut self, at: usize, number: f64, weight: &mut usize) {
        if at >= self.numbers.len() {
            *weight += (at + 1 - self.numbers.len()) * size_of::<Sketch>();
            self.numbers.resize_with(at + 1, Sketch::default);
        }
        if let Some(sketch) = self.numbers.get_mut(at) {
            *weight += sketch.add(number, *weight < MAX_WEIGHT);
        }
    }
}

impl Adder<'_> {
    /// Enters a task that ended, with the numbers of its summary; `took_ns` when somebody performed it.
    pub(crate) fn add<'a>(
        &mut self,
        outcome: Outcome,
        answered: Option<bool>,
        took_ns: Option<u64>,
        numbers: impl Iterator<Item = (&'a str, f64)>,
    ) {
        self.sums.end(outcome, answered);
        if let Some(all) = &mut self.all {
            all.end(outcome, answered);
        }
        #[expect(clippy::cast_precision_loss, reason = "sums are reals")]
        let took = took_ns.map(|ns| (DURATION, ns as f64));
        // Most records have the same names in the same order.
        let mut next = 0;
        for (name, number) in numbers.filter(|(name, _)| *name != DURATION).chain(took) {
            let at = match self.names.get(next) {
                Some(known) if known == name => next,
                _ => match self.names.iter().position(|known| known == name) {
                    Some(at) => at,
                    None if self.names.len() < MAX_NAMES && name.len() <= MAX_NAME => {
                        self.names.push(name.to_owned());
                        self.names.len() - 1
                    }
                    None => continue,
                },
            };
            next = at + 1;
            self.sums.add(at, number, self.weight);
            if let Some(all) = &mut self.all {
                all.add(at, number, self.weight);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(seconds: f64) -> Timestamp {
        #[expect(clippy::cast_possible_truncation, reason = "a time of a test")]
        let ns = (seconds * 1e9) as i64;
        Timestamp::from_unix_ns(1_800_000_000 * S + ns)
    }

    fn vp(number: u32) -> VpId {
        VpId::derive("UTEST", &number.to_string())
    }

    fn add(history: &mut History, seconds: f64, of: u32, rtt_ns: f64) {
        let numbers = [("rtt_ns", rtt_ns), ("sent", 3.0)];
        history.at(at(seconds), Some(&vp(of)), false).add(
            Outcome::Ok,
            Some(true),
            Some(7),
            numbers.into_iter(),
        );
        history.bound();
    }

    fn count(row: &Row) -> u64 {
        row.slices.iter().map(|slice| slice.sums.outcomes[0]).sum()
    }

    proptest! {
        #[test]
        fn nothing_is_lost_and_nothing_grows_without_bound(
            adds in prop::collection::vec((0.0..1e7f64, 0..4u32, 1.0..1e9f64), 1..1500), scale in 1e-6..1.0f64, when in 0..1500usize,
        ) {
            let mut history = History::default();
            for (number, (seconds, of, rtt_ns)) in adds.iter().enumerate() {
                add(&mut history, seconds * scale, *of, *rtt_ns);
                if number == when {
                    history.shrink();
                }
            }
            let rows: u64 = history.rows.values().map(|row| count(row)).sum();
            prop_assert_eq!(rows, adds.len() as u64);
            if let Some((_, all)) = &history.all {
                prop_assert_eq!(count(all), adds.len() as u64);
            }
            let slices = history.rows.values().chain(history.all.iter().map(|(_, row)| row)).map(|row| &row.slices);
            for slices in slices {
                prop_assert!(slices.len() <= usize::try_from(MAX_SLICES).unwrap() + 1);
                prop_assert!(slices.is_sorted_by(|one, other| one.start < other.start));
            }
            let told = history.weight;
            history.weigh();
            prop_assert!(told.abs_diff(history.weight) <= history.weight / 8 + 1024, "{told} {}", history.weight);
        }
    }

    #[test]
    fn each_width_holds_the_one_before() {
        for pair in WIDTHS.windows(2) {
            assert!(pair[1] > pair[0] && pair[1] % pair[0] == 0, "{pair:?}");
        }
    }

    #[test]
    fn ten_thousand_vantage_points_stay_within_the_bound() {
        let mut history = History::default();
        let mut most = 0;
        for second in 0..30_u32 {
            for of in 0..10_000 {
                let noise = f64::from((of * 7919 + second * 104_729) % 1000);
                add(&mut history, f64::from(second), of, 1e6 + noise * 1e3);
            }
            most = most.max(history.weight());
        }
        assert!(most <= MAX_WEIGHT + (1 << 20), "{most}");
        let (width, all) = history.all.as_ref().unwrap();
        assert_eq!(
            (WIDTHS[*width], all.slices.len(), count(all)),
            (100 * MS, 30, 300_000),
            "as fine as ever"
        );
        assert_eq!(history.rows.len(), 10_000);
    }

    #[test]
    fn where_there_is_no_room_nothing_is_lost_but_detail() {
        let mut history = History::default();
        while history.widen() {}
        for number in 0..20_000_u32 {
            let number = f64::from(number);
            let names: Vec<String> = (0..70).map(|name| format!("n{name}")).collect();
            if number < 100.0 {
                let numbers = names.iter().map(|name| (&**name, number));
                history.at(at(number), None, true).add(Outcome::Failed, None, None, numbers);
            }
            history.weight = MAX_WEIGHT;
            add(&mut history, number, 0, 1e6 + number * number);
        }
        history.weigh();
        assert!(history.weight() < 200_000, "{}", history.weight());
        assert_eq!(history.names.len(), MAX_NAMES);
    }

    #[test]
    fn what_is_written_reads_as_the_same() {
        let mut history = History::default();
        for number in 0..500_u32 {
            add(&mut history, f64::from(number) * 3.0, number % 3, 1e6 + f64::from(number * number));
        }
        history.shrink();
        let written = history.write().unwrap();
        let read = History::read(&written).unwrap();
        let ask = answer::RollupAsk { quantiles: 10, ..answer::RollupAsk::default() };
        let id = mmn_schema::id::MeasurementId::new(1, &[0; 10]);
        for merge in [false, true] {
            let ask = answer::RollupAsk { merge, ..ask.clone() };
            assert_eq!(read.answer(id, &ask), history.answer(id, &ask));
        }
        assert!(History::read(&written[..written.len() / 2]).is_err());
    }
}
