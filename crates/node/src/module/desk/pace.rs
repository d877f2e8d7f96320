//! How many tasks the instance asks for. A queue is a time, not a count: what waits beyond what is performed covers the
//! gap between the word that there is room and the batch that fills it, and no more. What a slow instance holds when a
//! measurement draws to its end is what everybody waits for; what a fast one lacks is throughput.
//!
//! Rate and gap are seen at the desk: tasks that end while it is busy, and the time from the first message that says
//! that there is room again to the next batch. Pure.

use mmn_probe::time::{Instant, Nanos};

/// The longest queue beyond what is performed.
const MOST: u32 = 4_096;
/// A longer gap means that there was no work.
const LONGEST_GAP: Nanos = Nanos::from_secs(1);
/// The rate is that of so many tasks for each that is performed at a time, or of so long a time.
const WINDOW_TASKS: u64 = 4;
const WINDOW: Nanos = Nanos::from_secs(1);
/// More is asked for at once, less after a while.
const GROWS_AFTER: Nanos = Nanos::from_millis(20);
const SHRINKS_AFTER: Nanos = Nanos::from_millis(500);
/// What comes after an idle time may be of another nature.
const FORGETS_AFTER: Nanos = Nanos::from_secs(1);
/// Batches that were sent before a smaller number was heard are still taken.
const FORMER_HOLDS: Nanos = Nanos::from_secs(1);

/// The queue to begin with, for `total` tasks at a time.
pub(super) fn first(total: u32) -> u32 {
    (total / 4).clamp(2, 256)
}

/// What was seen, and what was told.
#[derive(Debug)]
pub(super) struct Pace {
    total: u32,
    first: u32,
    credits: u32,
    changed: Instant,
    /// The longest queue that was wanted since then, or for a while.
    peak: u32,
    peak_since: Instant,
    /// What was told before, and until when it holds.
    former: (u32, Instant),
    /// The present window: tasks that ended, and how long it was busy.
    ended: u64,
    busy: Nanos,
    /// Since when it holds something, as far as `busy` does not have it.
    since: Option<Instant>,
    idle_since: Instant,
    /// Tasks in nanoseconds of the last window.
    rate: Option<f64>,
    /// It has as many as it may hold.
    full: bool,
    /// When it said that there is room again.
    asked: Option<Instant>,
    gap_ns: Option<f64>,
}

impl Pace {
    /// Nothing is known yet; `credits` were told.
    pub(super) const fn new(total: u32, credits: u32) -> Self {
        Self {
            total,
            first: credits,
            credits,
            changed: Instant(0),
            peak: 0,
            peak_since: Instant(0),
            former: (credits, Instant(0)),
            ended: 0,
            busy: Nanos::ZERO,
            since: None,
            idle_since: Instant(0),
            rate: None,
            full: false,
            asked: None,
            gap_ns: None,
        }
    }

    /// It can perform so many more at a time.
    pub(super) const fn grow(&mut self, more: u32) {
        self.total = self.total.saturating_add(more);
        self.first = self.first.saturating_add(more);
        self.credits = self.credits.saturating_add(more);
    }

    /// How many tasks it may hold.
    pub(super) const fn credits(&self) -> u32 {
        self.credits
    }

    /// The same, as whoever has not heard of a recent change knows it.
    pub(super) fn most(&self, now: Instant) -> u32 {
        let (former, until) = self.former;
        if now < until { self.credits.max(former) } else { self.credits }
    }

    /// A batch comes, to `held` tasks.
    pub(super) fn takes(&mut self, now: Instant, held: u32) {
        if held == 0 {
            self.since = Some(now);
        }
        let Some(gap) = self.asked.take().map(|asked| now.saturating_since(asked)) else { return };
        if gap <= LONGEST_GAP {
            let gap = real(gap);
            // Sometimes the anchor has no work at once: the least that was seen counts most.
            self.gap_ns =
                Some(self.gap_ns.map_or(gap, |known| known.min(gap) + (gap - known).max(0.0) / 8.0));
        }
    }

    /// It was taken: there are `held` tasks.
    pub(super) const fn took(&mut self, held: u32) {
        self.full = held >= self.credits;
    }

    /// A message says how many are `free`.
    pub(super) const fn told(&mut self, now: Instant, free: u32) {
        if self.full && free > 0 {
            self.full = false;
            self.asked = Some(now);
        }
    }

    /// A task has ended, and `held` are left.
    pub(super) fn ended(&mut self, now: Instant, held: u32) {
        self.ended += 1;
        if self.ended >= WINDOW_TASKS * u64::from(self.total.max(16)) {
            self.close(now);
        }
        if held == 0 {
            self.stop(now);
            self.idle_since = now;
        }
    }

    /// How many it may hold from now on, where that changes.
    pub(super) fn change(&mut self, now: Instant, idle: bool) -> Option<u32> {
        let busy = self.since.map_or(0, |since| now.saturating_since(since).0) + self.busy.0;
        if busy >= WINDOW.0 {
            self.close(now);
        }
        if idle && now.saturating_since(self.idle_since) >= FORGETS_AFTER {
            self.rate = None;
        }
        let told = self.credits - self.total.min(self.credits);
        let wanted = self.wanted();
        self.peak = self.peak.max(wanted);
        if wanted > told + told / 2 && now.saturating_since(self.changed) >= GROWS_AFTER {
            return Some(self.turn_to(wanted, now));
        }
        if now.saturating_since(self.peak_since) < SHRINKS_AFTER {
            return None;
        }
        let peak = std::mem::take(&mut self.peak);
        self.peak_since = now;
        (peak <= told / 2).then(|| self.turn_to(peak, now))
    }

    fn turn_to(&mut self, queue: u32, now: Instant) -> u32 {
        self.former = (self.most(now), now + FORMER_HOLDS);
        self.credits = self.total.saturating_add(queue);
        (self.changed, self.peak, self.peak_since) = (now, queue, now);
        self.credits
    }

    /// The queue that covers the gap; twice as long, since neither tasks nor messages come evenly.
    fn wanted(&self) -> u32 {
        let least = (self.total / 16).clamp(1, 64);
        match (self.rate, self.gap_ns) {
            (Some(rate), Some(gap)) => whole((2.0 * rate * gap).ceil()).clamp(least, MOST),
            _ => self.first - self.total.min(self.first),
        }
    }

    fn close(&mut self, now: Instant) {
        if self.since.is_some() {
            self.stop(now);
            self.since = Some(now);
        }
        if self.busy > Nanos::ZERO {
            #[expect(clippy::cast_precision_loss, reason = "a rate")]
            let rate = self.ended as f64 / real(self.busy);
            self.rate = Some(rate);
        }
        (self.ended, self.busy) = (0, Nanos::ZERO);
    }

    fn stop(&mut self, now: Instant) {
        if let Some(since) = self.since.take() {
            self.busy.0 += now.saturating_since(since).0;
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "for a quotient")]
const fn real(time: Nanos) -> f64 {
    time.0 as f64
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "what is beyond is bounded next")]
const fn whole(number: f64) -> u32 {
    number as u32
}
