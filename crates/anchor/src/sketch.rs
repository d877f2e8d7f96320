//! Quantiles of a stream of numbers up to a relative error of 1 %, in bounded memory; two of them can be added up.
//!
//! The buckets are those of `DDSketch` (Masson, Rim, Lee: "`DDSketch`: a fast and fully-mergeable quantile sketch with
//! relative-error guarantees", VLDB 2019): bucket `i` holds numbers in `(g^(i-1), g^i]` with `g = (1+a)/(1-a)`. As long as
//! all numbers are the same there is none.

use std::ops::RangeInclusive;

use mmn_schema::api::RollupNumber;
use serde::{Deserialize, Serialize};

/// Numbers that were added, in sum.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) enum Sketch {
    /// So many times this one.
    #[serde(rename = "s")]
    Same(u64, f64),
    /// Different ones.
    #[serde(rename = "m")]
    Many(Box<Many>),
}

/// Numbers of which some differ.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Many {
    #[serde(rename = "c")]
    count: u64,
    #[serde(rename = "s")]
    sum: f64,
    #[serde(rename = "a")]
    min: f64,
    #[serde(rename = "b")]
    max: f64,
    #[serde(rename = "z")]
    zero: u64,
    /// In order, as are the positive ones.
    #[serde(rename = "n")]
    negative: Vec<Bucket>,
    #[serde(rename = "p")]
    positive: Vec<Bucket>,
}

/// Its number, and how many numbers it holds.
type Bucket = (i32, u32);

/// The logarithm of `g`, with `a` = 0.01.
const LN_GAMMA: f64 = 0.020_000_666_706_669_435;
/// What is nearer to zero counts as zero.
const SMALLEST: f64 = 1e-9;
/// The most buckets of a sign; beyond it the lowest ones are merged. It spans a factor of 10^8.
const MAX_BUCKETS: usize = 1024;
/// So many buckets of a sign there are even where room is short; further numbers go into the nearest of them.
const FEW_BUCKETS: usize = 8;
/// About how many bytes a bucket takes, in a list that grows by halves.
const BUCKET_BYTES: usize = 12;

impl Default for Sketch {
    fn default() -> Self {
        Self::Same(0, 0.0)
    }
}

impl Sketch {
    /// Adds a number; where room is short without another bucket. One that is not finite is passed over. Gives about how
    /// many bytes more it takes now.
    pub(crate) fn add(&mut self, number: f64, is_roomy: bool) -> usize {
        if !number.is_finite() {
            return 0;
        }
        match self {
            Self::Same(count @ 0, value) => {
                (*count, *value) = (1, number);
                0
            }
            #[expect(clippy::float_cmp, reason = "the very same number")]
            Self::Same(count, value) if *value == number => {
                *count += 1;
                0
            }
            Self::Same(..) => {
                let mut many = self.take();
                let more = many.put(number, 1, is_roomy);
                *self = Self::Many(many);
                more + size_of::<Many>() + BUCKET_BYTES
            }
            Self::Many(many) => many.put(number, 1, is_roomy),
        }
    }

    /// Adds all numbers of another one.
    pub(crate) fn merge(&mut self, other: &Self) {
        match (&mut *self, other) {
            (_, Self::Same(0, _)) => {}
            (Self::Same(0, _), other) => self.clone_from(other),
            #[expect(clippy::float_cmp, reason = "the very same number")]
            (Self::Same(count, value), Self::Same(more, other)) if value == other => {
                *count = count.saturating_add(*more);
            }
            (_, other) => {
                let mut many = self.take();
                match other {
                    Self::Same(count, value) => drop(many.put(*value, *count, true)),
                    Self::Many(other) => many.merge(other),
                }
                *self = Self::Many(many);
            }
        }
    }

    /// About how many bytes it takes beside itself.
    pub(crate) fn weight(&self) -> usize {
        match self {
            Self::Same(..) => 0,
            Self::Many(many) => {
                size_of::<Many>() + (many.negative.len() + many.positive.len()) * BUCKET_BYTES
            }
        }
    }

    /// The sums, with the quantiles at `0/of`, `1/of` … `of/of` when `of` is not 0; absent when nothing was added.
    pub(crate) fn number(&self, of: u16) -> Option<RollupNumber> {
        let of = u64::from(of);
        Some(match self {
            Self::Same(0, _) => return None,
            #[expect(clippy::cast_precision_loss, reason = "sums are reals")]
            &Self::Same(count, value) => RollupNumber {
                count,
                sum: value * count as f64,
                min: value,
                q1: value,
                median: value,
                q3: value,
                max: value,
                quantiles: if of == 0 {
                    Vec::new()
                } else {
                    vec![value; usize::try_from(of + 1).unwrap_or(1)]
                },
            },
            Self::Many(many) => {
                let Many { count, sum, min, max, .. } = **many;
                let mut quarters = many.quantiles(1..=3, 4);
                let [q1, median, q3] = std::array::from_fn(|_| quarters.next().unwrap_or(max));
                let quantiles = if of == 0 { Vec::new() } else { many.quantiles(0..=of, of).collect() };
                RollupNumber { count, sum, min, q1, median, q3, max, quantiles }
            }
        })
    }

    /// What it holds, as different numbers even if they are not.
    #[expect(clippy::unnecessary_box_returns, reason = "it is put back where it was")]
    fn take(&mut self) -> Box<Many> {
        match std::mem::take(self) {
            Self::Many(many) => many,
            Self::Same(count, value) => {
                let mut many = Box::<Many>::default();
                if count > 0 {
                    many.put(value, count, true);
                }
                many
            }
        }
    }
}

impl Many {
    /// Adds a number so many times. Gives about how many bytes more it takes now.
    fn put(&mut self, number: f64, times: u64, is_roomy: bool) -> usize {
        if self.count == 0 {
            (self.min, self.max) = (number, number);
        }
        self.count = self.count.saturating_add(times);
        #[expect(clippy::cast_precision_loss, reason = "sums are reals")]
        let sum = number * times as f64;
        self.sum += sum;
        self.min = self.min.min(number);
        self.max = self.max.max(number);
        if number.abs() < SMALLEST {
            self.zero = self.zero.saturating_add(times);
            return 0;
        }
        #[expect(clippy::cast_possible_truncation, reason = "the logarithm of a finite number over 0.02")]
        let bucket = (number.abs().ln() / LN_GAMMA).ceil() as i32;
        let buckets = if number > 0.0 { &mut self.positive } else { &mut self.negative };
        fill(buckets, bucket, u32::try_from(times).unwrap_or(u32::MAX), is_roomy)
    }

    fn merge(&mut self, other: &Self) {
        if self.count == 0 {
            self.clone_from(other);
            return;
        }
        self.count = self.count.saturating_add(other.count);
        self.sum += other.sum;
        self.min = self.min.min(other.min);
        self.max = self.max.max(other.max);
        self.zero = self.zero.saturating_add(other.zero);
        for (own, others) in [(&mut self.negative, &other.negative), (&mut self.positive, &other.positive)] {
            for &(bucket, count) in others {
                fill(own, bucket, count, true);
            }
        }
    }

    /// The numbers at so many parts of the way from the least to the greatest.
    fn quantiles(&self, parts: RangeInclusive<u64>, of: u64) -> impl Iterator<Item = f64> + '_ {
        let middle = |bucket: i32| (f64::from(bucket) * LN_GAMMA).exp() * 2.0 / (1.0 + LN_GAMMA.exp());
        let negative =
            self.negative.iter().rev().map(move |&(bucket, count)| (-middle(bucket), count.into()));
        let positive = self.positive.iter().map(move |&(bucket, count)| (middle(bucket), count.into()));
        let mut numbers = negative.chain([(0.0, self.zero)]).chain(positive);
        let (mut below, mut at) = (0_u64, self.max);
        parts.map(move |part| {
            let rank = u128::from(self.count.saturating_sub(1)) * u128::from(part) / u128::from(of.max(1));
            while u128::from(below) <= rank {
                let Some((number, count)) = numbers.next() else { return self.max };
                below = below.saturating_add(count);
                at = number.max(self.min).min(self.max);
            }
            at
        })
    }
}

/// Puts `count` numbers into a bucket. Gives about how many bytes more the buckets take now.
fn fill(buckets: &mut Vec<Bucket>, bucket: i32, count: u32, is_roomy: bool) -> usize {
    let at = match buckets.binary_search_by_key(&bucket, |(bucket, _)| *bucket) {
        Ok(at) => at,
        Err(at) if !is_roomy && buckets.len() >= FEW_BUCKETS => at.min(buckets.len() - 1),
        Err(at) => {
            buckets.insert(at, (bucket, count));
            if buckets.len() <= MAX_BUCKETS {
                return BUCKET_BYTES;
            }
            let (_, lowest) = buckets.remove(0);
            if let Some((_, next)) = buckets.first_mut() {
                *next = next.saturating_add(lowest);
            }
            return 0;
        }
    };
    if let Some((_, sum)) = buckets.get_mut(at) {
        *sum = sum.saturating_add(count);
    }
    0
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ACCURACY: f64 = 0.01;

    fn sketch(numbers: &[f64]) -> Sketch {
        let mut sketch = Sketch::default();
        for &number in numbers {
            sketch.add(number, true);
        }
        sketch
    }

    #[test]
    fn the_logarithm_is_that_of_the_accuracy() {
        assert!((((1.0 + ACCURACY) / (1.0 - ACCURACY)).ln() - LN_GAMMA).abs() < 1e-15);
    }

    proptest! {
        #[test]
        fn quantiles_are_within_one_percent_also_of_parts_that_are_added_up(
            mut numbers in prop::collection::vec(prop_oneof![-1e6..1e12f64, Just(3.0), Just(0.0)], 1..400),
            cut in 0..400usize, of in 1..40u16,
        ) {
            let (one, other) = numbers.split_at(cut.min(numbers.len()));
            let mut added = sketch(one);
            added.merge(&sketch(other));
            numbers.sort_by(f64::total_cmp);
            for sketch in [sketch(&numbers), added] {
                let sums = sketch.number(of).unwrap();
                prop_assert_eq!((sums.min, sums.max), (numbers[0], numbers[numbers.len() - 1]));
                prop_assert_eq!(sums.count, numbers.len() as u64);
                let exact = |part: usize, of: usize| numbers[(numbers.len() - 1) * part / of];
                let mut checked = vec![(exact(1, 4), sums.q1), (exact(2, 4), sums.median), (exact(3, 4), sums.q3)];
                prop_assert_eq!(sums.quantiles.len(), usize::from(of) + 1);
                let quantiles = sums.quantiles.iter().enumerate();
                checked.extend(quantiles.map(|(part, got)| (exact(part, usize::from(of)), *got)));
                for (exact, got) in checked {
                    prop_assert!((got - exact).abs() <= exact.abs() * ACCURACY * 1.001 + SMALLEST, "{got} {exact}");
                }
            }
        }
    }

    #[test]
    fn the_memory_is_bounded() {
        let (mut roomy, mut short) = (Sketch::default(), Sketch::default());
        let mut told = 0;
        for exponent in -300..300 {
            for step in 1..50 {
                let number = 10f64.powi(exponent) * f64::from(step);
                told += roomy.add(number, true);
                short.add(number, false);
            }
        }
        roomy.add(f64::NAN, true);
        assert!(roomy.weight() <= MAX_BUCKETS * BUCKET_BYTES + size_of::<Many>());
        assert!(short.weight() <= FEW_BUCKETS * BUCKET_BYTES + size_of::<Many>());
        assert!(told.abs_diff(roomy.weight()) <= 2 * BUCKET_BYTES, "{told} {}", roomy.weight());
        for sketch in [roomy, short] {
            let sums = sketch.number(0).unwrap();
            assert_eq!((sums.count, sums.quantiles.len()), (600 * 49, 0));
        }
    }
}
