//! Quantiles of a stream of numbers up to a relative error of 1 %, in bounded memory.
//!
//! The buckets are those of `DDSketch` (Masson, Rim, Lee: "`DDSketch`: a fast and fully-mergeable quantile sketch with
//! relative-error guarantees", VLDB 2019): bucket `i` holds numbers in `(g^(i-1), g^i]` with `g = (1+a)/(1-a)`.

use std::collections::BTreeMap;

use mmn_schema::api::RollupNumber;

/// Numbers that were added, in sum.
#[derive(Debug, Clone, Default)]
pub(crate) struct Sketch {
    count: u64,
    sum: f64,
    min: f64,
    max: f64,
    negative: BTreeMap<i32, u64>,
    zero: u64,
    positive: BTreeMap<i32, u64>,
}

const ACCURACY: f64 = 0.01;
/// What is nearer to zero counts as zero.
const SMALLEST: f64 = 1e-9;
/// The most buckets of a sign; beyond it the lowest ones are merged. It spans a factor of 10^8.
const MAX_BUCKETS: usize = 1024;

fn ln_gamma() -> f64 {
    ((1.0 + ACCURACY) / (1.0 - ACCURACY)).ln()
}

impl Sketch {
    /// Adds a number. One that is not finite is passed over.
    pub(crate) fn add(&mut self, number: f64) {
        if !number.is_finite() {
            return;
        }
        if self.count == 0 {
            (self.min, self.max) = (number, number);
        }
        self.count += 1;
        self.sum += number;
        self.min = self.min.min(number);
        self.max = self.max.max(number);
        if number.abs() < SMALLEST {
            self.zero += 1;
            return;
        }
        #[expect(clippy::cast_possible_truncation, reason = "the logarithm of a finite number over 0.02")]
        let bucket = (number.abs().ln() / ln_gamma()).ceil() as i32;
        let buckets = if number > 0.0 { &mut self.positive } else { &mut self.negative };
        *buckets.entry(bucket).or_default() += 1;
        if buckets.len() > MAX_BUCKETS
            && let Some((_, lowest)) = buckets.pop_first()
            && let Some(mut next) = buckets.first_entry()
        {
            *next.get_mut() += lowest;
        }
    }

    /// The sums; absent when nothing was added.
    pub(crate) fn number(&self) -> Option<RollupNumber> {
        (self.count > 0).then(|| RollupNumber {
            count: self.count,
            sum: self.sum,
            min: self.min,
            q1: self.quantile(1),
            median: self.quantile(2),
            q3: self.quantile(3),
            max: self.max,
        })
    }

    /// The number at so many quarters of the way from the least to the greatest.
    fn quantile(&self, quarters: u64) -> f64 {
        let rank = (self.count - 1) * quarters / 4;
        let middle = |bucket: i32| {
            let gamma = ln_gamma();
            (f64::from(bucket) * gamma).exp() * 2.0 / (1.0 + gamma.exp())
        };
        let negative = self.negative.iter().rev().map(|(&bucket, &count)| (-middle(bucket), count));
        let positive = self.positive.iter().map(|(&bucket, &count)| (middle(bucket), count));
        let mut below = 0;
        for (number, count) in negative.chain([(0.0, self.zero)]).chain(positive) {
            below += count;
            if below > rank {
                return number.clamp(self.min, self.max);
            }
        }
        self.max
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn quartiles_are_within_one_percent(mut numbers in prop::collection::vec(-1e6..1e12f64, 1..400)) {
            let mut sketch = Sketch::default();
            for &number in &numbers {
                sketch.add(number);
            }
            numbers.sort_by(f64::total_cmp);
            let sums = sketch.number().unwrap();
            prop_assert_eq!((sums.min, sums.max), (numbers[0], numbers[numbers.len() - 1]));
            for (quarters, got) in [(1, sums.q1), (2, sums.median), (3, sums.q3)] {
                let exact = numbers[(numbers.len() - 1) * quarters / 4];
                prop_assert!((got - exact).abs() <= exact.abs() * ACCURACY * 1.001 + SMALLEST, "{got} {exact}");
            }
        }
    }

    #[test]
    fn the_memory_is_bounded() {
        let mut sketch = Sketch::default();
        for exponent in -300..300 {
            for step in 1..50 {
                sketch.add(10f64.powi(exponent) * f64::from(step));
            }
        }
        sketch.add(f64::NAN);
        assert!(sketch.positive.len() <= MAX_BUCKETS);
        assert_eq!(sketch.number().unwrap().count, 600 * 49);
    }
}
