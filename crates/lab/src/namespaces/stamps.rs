//! From the kernel's stamps, which are in civil time, to the world's time, which is monotonic.

use mmn_probe::time::{Instant, Nanos, Utc};

use crate::clock::Reading;

/// Knows how far civil time is ahead. That changes only when somebody sets the clock, for the kernel slews both alike: what
/// differs by less than [`STEP_NS`] is how well it was read. A packet that was stamped before a step and is read after it is
/// placed by the distance of before.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stamps {
    /// When it was last asked.
    last: Instant,
    distance: i128,
    width: Nanos,
}

/// No clock is read as badly, and no step that matters is smaller.
const STEP_NS: u128 = 200_000;
/// Of two readings that are as close together as this the later one counts.
const AS_GOOD: Nanos = Nanos(200);
/// How long a packet may have waited to be read at the reading before, at most: the driver may get no processor for a while.
const PATIENCE_NS: u64 = 60_000_000_000;
/// The same when the clock was set between the two readings: a stamp that fits both distances is one of them only.
const PATIENCE_AT_A_STEP_NS: u64 = 100_000_000;

impl Stamps {
    pub(super) fn new(now: Reading) -> Self {
        Self { last: now.at, distance: distance(now), width: now.width }
    }

    /// The instants of stamps that are read at `now`: a function from stamp to instant.
    pub(super) fn at(&mut self, now: Reading) -> impl Fn(Option<Utc>) -> Instant + use<> {
        let before = self.distance;
        let is_step = distance(now).abs_diff(before) > STEP_NS + u128::from(now.width.0);
        if is_step || now.width.0 <= self.width.0 + AS_GOOD.0 {
            self.distance = distance(now);
            self.width = now.width;
        }
        let distances = [self.distance, before];
        let patience_ns = if is_step { PATIENCE_AT_A_STEP_NS } else { PATIENCE_NS };
        let earliest = Instant(self.last.0.saturating_sub(patience_ns));
        self.last = now.at;
        // A stamp of this moment may seem to be of the next, by as much as the clocks were read apart.
        let latest = now.at + now.width;
        move |stamp| {
            let Some(stamp) = stamp else { return now.at };
            let instants = distances.map(|distance| i128::from(stamp.0) - distance);
            let fits = |at: &i128| (i128::from(earliest.0)..=i128::from(latest.0)).contains(at);
            let fitting = instants.into_iter().find(fits);
            fitting.and_then(|at| u64::try_from(at).ok()).map_or(now.at, |at| Instant(at).min(now.at))
        }
    }
}

fn distance(reading: Reading) -> i128 {
    i128::from(reading.wall.0) - i128::from(reading.at.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn reading(at: u64, wall: i64) -> Reading {
        Reading { at: Instant(at), wall: Utc(wall), width: Nanos(50) }
    }

    #[test]
    fn a_step_of_the_civil_clock_moves_nothing() {
        let mut stamps = Stamps::new(reading(10 * SECOND, 1_010_000_000_000));
        let place = stamps.at(reading(10 * SECOND + 500, 1_010_000_000_500));
        assert_eq!(place(Some(Utc(1_010_000_000_200))), Instant(10 * SECOND + 200));
        // The clock is set back by an hour: one packet came before, one after.
        let place = stamps.at(reading(10 * SECOND + 1_000, 1_010_000_001_000 - 3_600_000_000_000));
        assert_eq!(place(Some(Utc(1_010_000_000_700))), Instant(10 * SECOND + 700));
        assert_eq!(place(Some(Utc(1_010_000_000_900 - 3_600_000_000_000))), Instant(10 * SECOND + 900));
        // What makes no sense came now.
        assert_eq!(place(Some(Utc(0))), Instant(10 * SECOND + 1_000));
        assert_eq!(place(None), Instant(10 * SECOND + 1_000));
        assert_eq!(place(Some(Utc(i64::MIN))), Instant(10 * SECOND + 1_000));
    }

    #[test]
    fn a_packet_that_waited_long_is_placed_where_it_came() {
        let mut stamps = Stamps::new(reading(10 * SECOND, 1_010_000_000_000));
        let place = stamps.at(reading(10 * SECOND + 500, 1_010_000_000_500));
        assert_eq!(place(Some(Utc(1_008_000_000_000))), Instant(8 * SECOND));
    }

    #[test]
    fn a_reading_that_was_interrupted_moves_nothing() {
        let mut stamps = Stamps::new(reading(10 * SECOND, 1_010_000_000_000));
        // Three milliseconds between the civil clock and the other one.
        let late = Reading { width: Nanos(3_000_000), ..reading(10 * SECOND + 4_500_000, 1_010_003_000_000) };
        let place = stamps.at(late);
        assert_eq!(place(Some(Utc(1_010_002_000_000))), Instant(10 * SECOND + 2_000_000));
    }
}
