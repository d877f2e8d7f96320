//! Which lane a machine gets, and what is said of it in the end.

use mmn_probe::{
    conditions::{Clock, Conditions, Lane, Wish},
    packet::{Probe, SendFailure},
    time::{Instant, Nanos, StampSource},
};

use super::Core;
use crate::{
    clock,
    net::{
        carrier::{JobKey, Quality},
        driver::DriveError,
        timex,
    },
};

impl Core {
    /// Whether any carrier has the lane that is asked for.
    pub(super) fn check_wish(&self, wish: Wish) -> Result<(), DriveError> {
        match wish {
            Wish::Only(lane) if self.quality(lane).is_none() => Err(DriveError::NoLane(lane)),
            _ => Ok(()),
        }
    }

    /// The carrier and lane of a machine's probe. The lane is the machine's for good once a probe of its has one.
    pub(super) fn choose(
        &mut self,
        key: JobKey,
        probe: &Probe,
        now: Instant,
    ) -> Result<(u8, Lane), SendFailure> {
        let Some(job) = self.jobs.find(key) else { return Err(SendFailure::NoSocket) };
        if let Some(lane) = job.lane
            && let Some(carrier) = self.carriers.get(usize::from(job.carrier))
            && carrier.carries(lane, probe).is_ok()
            && (probe.router.is_none() || carrier.has_detour())
        {
            return Ok((job.carrier, lane));
        }
        let any = if self.rate.is_fast(now) {
            [Lane::Raw, Lane::Precise, Lane::Unprivileged, Lane::Simulated]
        } else {
            [Lane::Precise, Lane::Raw, Lane::Unprivileged, Lane::Simulated]
        };
        let one = job.lane.or(match job.wish {
            Wish::Only(lane) => Some(lane),
            Wish::Any => None,
        });
        let lanes = one.as_ref().map_or(&any[..], std::slice::from_ref);
        let mut reason = SendFailure::NoSocket;
        for lane in lanes {
            for (index, carrier) in self.carriers.iter().enumerate() {
                let carries = carrier.carries(*lane, probe);
                let no_router = probe.router.is_some() && !carrier.has_detour();
                match carries.and(if no_router { Err(SendFailure::NoRouter) } else { Ok(()) }) {
                    Ok(()) => {
                        let index = u8::try_from(index).unwrap_or(u8::MAX);
                        job.lane = Some(*lane);
                        job.carrier = index;
                        return Ok((index, *lane));
                    }
                    // Who stands first knows best.
                    Err(why) if reason == SendFailure::NoSocket => reason = why,
                    Err(_) => {}
                }
            }
        }
        Err(reason)
    }

    /// How a machine was driven.
    pub(super) fn conditions(&mut self, key: JobKey) -> Conditions {
        let job = self.jobs.find(key);
        let lane = job.as_ref().and_then(|job| match (job.lane, job.wish) {
            (Some(lane), _) | (None, Wish::Only(lane)) => Some(lane),
            (None, Wish::Any) => None,
        });
        let carrier = job.map_or(0, |job| usize::from(job.carrier));
        let best = [Lane::Precise, Lane::Raw, Lane::Unprivileged, Lane::Simulated];
        let lane = lane.or_else(|| best.into_iter().find(|lane| self.quality(*lane).is_some()));
        let lane = lane.unwrap_or(Lane::Unprivileged);
        let own = self.carriers.get(carrier).and_then(|carrier| carrier.quality(lane));
        let none = Quality { sent_by: StampSource::User, received_by: StampSource::User, rtt_error_ns: None };
        let Quality { sent_by, received_by, rtt_error_ns } =
            own.or_else(|| self.quality(lane)).unwrap_or(none);
        let clock = self.clock(clock::monotonic());
        Conditions { lane, sent_by, received_by, rtt_error_ns, clock, interface: None }
    }

    /// The state of the civil clock, which changes slowly.
    fn clock(&mut self, now: Instant) -> Option<Clock> {
        match self.clock {
            Some((until, clock)) if now < until => clock,
            _ => {
                let clock = timex::clock_report().map(|report| Clock {
                    synchronised: report.synchronised,
                    offset_ns: report.offset_ns,
                    max_error_ns: report.max_error_ns,
                });
                self.clock = Some((now + CLOCK_FOR, clock));
                clock
            }
        }
    }

    fn quality(&self, lane: Lane) -> Option<Quality> {
        self.carriers.iter().find_map(|carrier| carrier.quality(lane))
    }
}

/// How long a report on the civil clock is good for.
const CLOCK_FOR: Nanos = Nanos::from_millis(100);

/// How fast probes have left of late, and whether that is slow enough for the precise lane.
#[derive(Debug, Default)]
pub(super) struct Rate {
    since: Instant,
    count: u32,
    /// Of the last whole window.
    per_s: u64,
    fast: bool,
}

impl Rate {
    /// A probe leaves.
    pub(super) fn count(&mut self, now: Instant) {
        self.turn(now);
        self.count = self.count.saturating_add(1);
        // A burst shows before its window is over.
        if u64::from(self.count) * (1_000_000_000 / WINDOW.0) > FAST_PER_S {
            self.fast = true;
        }
    }

    /// Whether they leave too fast for the precise lane.
    pub(super) fn is_fast(&mut self, now: Instant) -> bool {
        self.turn(now);
        self.fast
    }

    fn turn(&mut self, now: Instant) {
        let elapsed = now.saturating_since(self.since);
        if elapsed < WINDOW {
            return;
        }
        self.per_s = u64::from(self.count).saturating_mul(1_000_000_000) / elapsed.0.max(1);
        self.since = now;
        self.count = 0;
        self.fast = if self.fast { self.per_s > SLOW_PER_S } else { self.per_s > FAST_PER_S };
    }
}

/// Above this rate the precise lane is not chosen any more, below the other it is again: see docs/guides/precision.md.
const FAST_PER_S: u64 = 50_000;
const SLOW_PER_S: u64 = 25_000;
const WINDOW: Nanos = Nanos::from_millis(50);

#[cfg(test)]
mod tests {
    use super::*;

    fn run(rate: &mut Rate, from: u64, probes: u64, gap_ns: u64) -> Instant {
        let last = from + probes * gap_ns;
        for at in (from..last).step_by(usize::try_from(gap_ns).unwrap()) {
            rate.count(Instant(at));
        }
        Instant(last)
    }

    #[test]
    fn a_fast_stream_loses_the_precise_lane_until_it_is_slow_again() {
        let mut rate = Rate::default();
        let mut now = run(&mut rate, 1_000_000_000, 1_000, 100_000);
        assert!(!rate.is_fast(now));
        now = run(&mut rate, now.0, 20_000, 10_000);
        assert!(rate.is_fast(now));
        // Between the thresholds nothing changes.
        now = run(&mut rate, now.0, 10_000, 30_000);
        assert!(rate.is_fast(now));
        now = run(&mut rate, now.0, 1_000, 100_000);
        assert!(!rate.is_fast(now));
        now = run(&mut rate, now.0, 10_000, 30_000);
        assert!(!rate.is_fast(now));
    }
}
