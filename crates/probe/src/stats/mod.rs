//! Numbers made of samples: loss, location and spread of round trips.
//!
//! A lost probe has an undefined round trip, which counts as infinite in percentiles (RFC 2681, section 4.1;
//! RFC 2330, section 11.3). So a median exists while fewer than half of the probes are lost, and says *infinite*
//! otherwise, instead of describing only the lucky ones. Minimum, mean, maximum and standard deviation are of
//! the finite round trips and are absent when there are none.
//!
//! [`order`] says how far packets came out of order, [`variation`] how far delays differ.

pub mod order;
pub mod variation;

/// A percentile of round trips of which some may be undefined.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Quantile {
    /// So many nanoseconds.
    Finite(u64),
    /// It falls among the lost.
    Infinite,
}

impl Quantile {
    /// The nanoseconds, where finite.
    pub const fn finite(self) -> Option<u64> {
        match self {
            Self::Finite(nanos) => Some(nanos),
            Self::Infinite => None,
        }
    }
}

/// A summary of round trips. Everything in nanoseconds, rounded to the nearest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Summary {
    /// How many probes were sent.
    pub sent: u64,
    /// How many were answered in time.
    pub received: u64,
    /// The finite ones, if there are any.
    pub finite: Option<Finite>,
    /// First quartile, lost probes counted as infinite; absent when nothing was sent.
    pub quartile1: Option<Quantile>,
    /// Median, likewise. Of an even number it is the mean of the middle two.
    pub median: Option<Quantile>,
    /// Third quartile, likewise.
    pub quartile3: Option<Quantile>,
}

/// Minimum, mean, maximum and spread of the round trips that there were.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Finite {
    /// The smallest.
    pub min_ns: u64,
    /// The arithmetic mean.
    pub mean_ns: u64,
    /// The largest.
    pub max_ns: u64,
    /// The standard deviation of the population (divided by n), as ping's `mdev`.
    pub stddev_ns: u64,
}

impl Summary {
    /// The summary of `sent` probes of which those with these round trips were answered in time. The round
    /// trips are put in order on the way. More of them than were sent count as sent.
    pub fn new(sent: u64, rtts_ns: &mut [u64]) -> Self {
        rtts_ns.sort_unstable();
        let received = u64::try_from(rtts_ns.len()).unwrap_or(u64::MAX);
        let sent = sent.max(received);
        Self {
            sent,
            received,
            finite: Finite::new(rtts_ns),
            quartile1: quantile(sent, rtts_ns, 1, 4),
            median: median(sent, rtts_ns),
            quartile3: quantile(sent, rtts_ns, 3, 4),
        }
    }

    /// The share of probes that were lost, 0 to 1; absent when nothing was sent.
    #[expect(clippy::cast_precision_loss, reason = "counts of probes are far below 2^52")]
    pub fn loss_ratio(&self) -> Option<f64> {
        (self.sent > 0).then(|| (self.sent - self.received) as f64 / self.sent as f64)
    }
}

/// The smallest value `v` such that at least `numerator / denominator` of all probes took no longer than `v`:
/// the empirical distribution function's inverse (RFC 2330, section 11.3).
///
/// `sorted_ns` are the finite round trips in order, `sent` all probes. Absent when nothing was sent or the
/// fraction makes no sense (denominator 0, or above 1).
pub fn quantile(sent: u64, sorted_ns: &[u64], numerator: u64, denominator: u64) -> Option<Quantile> {
    if sent == 0 || denominator == 0 || numerator > denominator {
        return None;
    }
    let rank = (u128::from(sent) * u128::from(numerator)).div_ceil(u128::from(denominator)).max(1);
    Some(nth(sorted_ns, rank - 1))
}

impl Finite {
    fn new(sorted_ns: &[u64]) -> Option<Self> {
        let (min_ns, max_ns) = (*sorted_ns.first()?, *sorted_ns.last()?);
        let count = u128::try_from(sorted_ns.len()).ok()?;
        let sum: u128 = sorted_ns.iter().map(|rtt| u128::from(*rtt)).sum();
        let mean_ns = u64::try_from((sum + count / 2) / count).ok()?;
        Some(Self { min_ns, mean_ns, max_ns, stddev_ns: stddev(sorted_ns, sum, count) })
    }
}

/// Two passes, around the exact mean, so that large and close values keep their differences.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "nanoseconds of spread need no more than the 52 bits of a double, and a root is not negative"
)]
fn stddev(rtts_ns: &[u64], sum: u128, count: u128) -> u64 {
    let base = u64::try_from(sum / count).unwrap_or(u64::MAX);
    let remainder = (sum % count) as f64 / count as f64;
    let squares: f64 = rtts_ns
        .iter()
        .map(|rtt| {
            let distance = (i128::from(*rtt) - i128::from(base)) as f64 - remainder;
            distance * distance
        })
        .sum();
    (squares / count as f64).sqrt().round() as u64
}

fn median(sent: u64, sorted_ns: &[u64]) -> Option<Quantile> {
    let last = sent.checked_sub(1)?;
    let (low, high) = (nth(sorted_ns, u128::from(last / 2)), nth(sorted_ns, u128::from(sent / 2)));
    Some(match (low, high) {
        (Quantile::Finite(low), Quantile::Finite(high)) => Quantile::Finite(low.midpoint(high)),
        _ => Quantile::Infinite,
    })
}

fn nth(sorted_ns: &[u64], index: u128) -> Quantile {
    usize::try_from(index)
        .ok()
        .and_then(|index| sorted_ns.get(index))
        .map_or(Quantile::Infinite, |rtt| Quantile::Finite(*rtt))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn nothing_sent_is_all_absent() {
        let summary = Summary::new(0, &mut []);
        assert_eq!((summary.finite, summary.median, summary.loss_ratio()), (None, None, None));
    }

    #[test]
    fn the_lost_are_infinite() {
        let summary = Summary::new(5, &mut [30, 10, 20]);
        assert_eq!(summary.median, Some(Quantile::Finite(30)));
        assert_eq!(summary.quartile1, Some(Quantile::Finite(20)));
        assert_eq!(summary.quartile3, Some(Quantile::Infinite));
        assert_eq!(summary.finite.unwrap().mean_ns, 20);
        assert_eq!(Summary::new(4, &mut [1, 2]).median, Some(Quantile::Infinite));
        assert_eq!(Summary::new(3, &mut []).median, Some(Quantile::Infinite));
    }

    /// RFC 2330, section 11.3: the percentiles of -2, 7, 7, 4, 18, -5 there, here shifted by 5.
    #[test]
    fn percentiles_as_in_the_rfc() {
        let mut sample = [3, 12, 12, 9, 23, 0];
        sample.sort_unstable();
        let at = |percent| quantile(6, &sample, percent, 100).unwrap();
        assert_eq!(at(50), Quantile::Finite(9));
        assert_eq!(at(51), Quantile::Finite(12));
        assert_eq!(at(25), Quantile::Finite(3));
        assert_eq!(at(100), Quantile::Finite(23));
        assert_eq!(Summary::new(6, &mut sample).median, Some(Quantile::Finite(10)));
    }

    #[test]
    fn spread_survives_large_values() {
        let base = 1 << 60;
        let finite = Summary::new(4, &mut [base, base + 2, base + 4, base + 6]).finite.unwrap();
        assert_eq!((finite.mean_ns, finite.stddev_ns), (base + 3, 2));
    }

    proptest! {
        #[test]
        fn order_holds(mut rtts in prop::collection::vec(any::<u64>(), 0..50), lost in 0_u64..20) {
            let summary = Summary::new(u64::try_from(rtts.len()).unwrap() + lost, &mut rtts);
            prop_assert!(summary.quartile1 <= summary.median && summary.median <= summary.quartile3);
            if let Some(finite) = summary.finite {
                prop_assert!(finite.min_ns <= finite.mean_ns && finite.mean_ns <= finite.max_ns);
            }
        }
    }
}
