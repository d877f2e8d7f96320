//! Sums of one measurement's summaries per vantage point and interval, so that a reader of history scans no results.
//!
//! Intervals are aligned to the anchor's time of day. Only the current one is in memory; one that is over is written
//! to LEDGER and forgotten.

use std::collections::{BTreeMap, HashMap};

use mmn_schema::api::Rollup;
use mmn_schema::dispatch::Record;
use mmn_schema::id::{MeasurementId, VpId};
use mmn_schema::outcome::Outcome;
use mmn_schema::time::Timestamp;

use crate::sketch::Sketch;

/// The length of an interval in nanoseconds.
pub(crate) const INTERVAL_NS: u64 = 60_000_000_000;
/// The most names of numbers that are summed; further ones are left out.
const MAX_NAMES: usize = 64;

/// The current interval of one measurement.
#[derive(Debug, Default)]
pub(crate) struct Rollups {
    start: Timestamp,
    sums: HashMap<Option<VpId>, Sums>,
}

/// The sums of one vantage point in one interval.
#[derive(Debug, Default)]
pub(crate) struct Sums {
    outcomes: BTreeMap<Outcome, u64>,
    answered: u64,
    numbers: BTreeMap<String, Sketch>,
    simulated: bool,
}

impl Sums {
    /// What it sums comes from a simulated Internet.
    pub(crate) const fn mark_simulated(&mut self) {
        self.simulated = true;
    }

    /// Enters a task that ended, with the numbers of its summary.
    pub(crate) fn add<'a>(
        &mut self,
        outcome: Outcome,
        answered: Option<bool>,
        numbers: impl Iterator<Item = (&'a str, f64)>,
    ) {
        *self.outcomes.entry(outcome).or_default() += 1;
        self.answered += u64::from(outcome == Outcome::Ok && answered == Some(true));
        for (name, number) in numbers {
            if let Some(sketch) = self.numbers.get_mut(name) {
                sketch.add(number);
            } else if self.numbers.len() < MAX_NAMES {
                self.numbers.entry(name.to_owned()).or_default().add(number);
            }
        }
    }

    /// Enters a record that was read in full.
    pub(crate) fn add_record(&mut self, record: &Record) {
        let numbers = record.summary.iter().map(|(name, number)| (&**name, number.as_f64()));
        self.add(record.outcome, record.answered, numbers);
    }
}

/// The start of the interval in which `at` lies.
pub(crate) fn start_of(at: Timestamp) -> Timestamp {
    let interval = i64::try_from(INTERVAL_NS).unwrap_or(i64::MAX);
    Timestamp::from_unix_ns(at.unix_ns() - at.unix_ns().rem_euclid(interval))
}

impl Rollups {
    /// Whether the interval is over at `now` and something was summed in it.
    pub(crate) fn is_over(&self, now: Timestamp) -> bool {
        !self.sums.is_empty() && start_of(now) > self.start
    }

    /// How many vantage points it has.
    pub(crate) fn len(&self) -> usize {
        self.sums.len()
    }

    /// The sums of a vantage point, for tasks that ended at `at`. The caller has taken an interval that is over before.
    pub(crate) fn of(&mut self, at: Timestamp, vp: Option<&VpId>) -> &mut Sums {
        if self.sums.is_empty() {
            self.start = start_of(at);
        }
        self.sums.entry(vp.cloned()).or_default()
    }

    /// What is summed so far.
    pub(crate) fn current(&self, measurement: MeasurementId) -> Vec<Rollup> {
        let rollup = |(vp, sums): (&Option<VpId>, &Sums)| Rollup {
            measurement,
            vp: vp.clone(),
            start: self.start,
            interval_ns: INTERVAL_NS,
            outcomes: sums.outcomes.clone(),
            answered: sums.answered,
            numbers: sums
                .numbers
                .iter()
                .filter_map(|(name, sketch)| Some((name.clone(), sketch.number()?)))
                .collect(),
            simulated: sums.simulated,
        };
        self.sums.iter().map(rollup).collect()
    }

    /// Takes what is summed, and begins anew.
    pub(crate) fn take(&mut self, measurement: MeasurementId) -> Vec<Rollup> {
        let rollups = self.current(measurement);
        self.sums = HashMap::new();
        rollups
    }
}

#[cfg(test)]
mod tests {
    use mmn_schema::body::Body;
    use mmn_schema::outcome::Number;

    use super::*;

    fn record(rtt_ns: i64) -> Record {
        Record {
            index: 0,
            attempt: 0,
            part: 0,
            last: true,
            outcome: Outcome::Ok,
            reason: None,
            answered: Some(true),
            started_at: Timestamp::default(),
            duration_ns: 0,
            queued_ns: 0,
            summary: [("rtt_min_ns".into(), Number::Integer(rtt_ns))].into(),
            body: Body::null(),
        }
    }

    #[test]
    fn an_interval_is_over_when_the_next_begins() {
        let id = MeasurementId::new(1, &[0; 10]);
        let mut rollups = Rollups::default();
        let at = Timestamp::from_unix_ns(1_800_000_059_000_000_000);
        for rtt_ns in [100, 200, 300, 400, 500] {
            rollups.of(at, None).add_record(&record(rtt_ns));
        }
        assert!(!rollups.is_over(at));
        assert!(rollups.is_over(Timestamp::from_unix_ns(1_800_000_060_000_000_000)));
        let taken = rollups.take(id);
        assert_eq!(taken[0].start, Timestamp::from_unix_ns(1_800_000_000_000_000_000));
        assert_eq!((taken[0].answered, taken[0].outcomes[&Outcome::Ok]), (5, 5));
        let rtt = taken[0].numbers["rtt_min_ns"];
        assert_eq!((rtt.min, rtt.max, rtt.count), (100.0, 500.0, 5));
        assert!((rtt.median - 300.0).abs() < 3.1, "{rtt:?}");
        assert!(!rollups.is_over(Timestamp::from_unix_ns(i64::MAX)));
    }
}
