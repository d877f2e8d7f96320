//! How an instance is, from what was heard of it and when: a state machine that is given the time.
//!
//! Only the anchor's own clock counts; what a message says of the time is never looked at. How long a silence may be
//! depends on how evenly the instance was heard before: a slow network is not a crash.

use std::fmt;
use std::time::{Duration, Instant};

use mmn_schema::announce::InstanceState;
use mmn_schema::api::{CircuitState, Health};

/// The bounds for silence.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    /// Of one that is heard evenly.
    pub(crate) suspect: Duration,
    /// Of one that is heard evenly.
    pub(crate) lost: Duration,
    /// However unevenly it is heard, it is lost after that.
    pub(crate) lost_most: Duration,
}

/// What is known of one instance's health.
#[derive(Debug, Clone)]
pub(crate) struct Liveness {
    heard: Instant,
    /// Silence counts from there: before, the anchor could hear nobody.
    from: Instant,
    condition: Condition,
    rhythm: Rhythm,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Condition {
    /// It says so itself.
    Said(InstanceState),
    /// A message to it found nobody.
    Deaf,
    /// Its node says that its process has ended.
    Dead,
    /// It took a batch and did not say so in time.
    Mute,
    /// It said goodbye.
    Gone,
}

/// Why an instance is thought to be as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Evidence {
    /// It said goodbye.
    Goodbye,
    /// Nobody listens on its subject.
    Deaf,
    /// Its node says that its process has ended.
    Dead,
    /// It was not heard of for so long, and so long is borne.
    Silent(Duration, Duration),
    /// It did not acknowledge a batch in time.
    Mute,
    /// It says so.
    Said,
    /// It was heard so long ago.
    Heard(Duration),
    /// It is at work, and this is wrong.
    Wrong(Wrong),
}

/// What is wrong with an instance that is at work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wrong {
    /// Its circuit is open, or half open.
    Circuit(CircuitState),
    /// The circuit of one of its kinds is.
    KindCircuit(CircuitState),
    /// A kind failed its self-test.
    Unavailable,
    /// So many messages of it could not be read or believed, in the last seconds.
    Garbage(u64),
    /// So many messages could not be read by it, in the last seconds.
    Unread(u64),
    /// It sends so many results, announcements or heartbeats more than it should, in the last seconds.
    Flood(u64),
    /// It has taken nothing for so long, though it holds little.
    Clogged(Duration),
}

impl fmt::Display for Evidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Goodbye => f.write_str("it said goodbye"),
            Self::Deaf => f.write_str("nobody listens on its subject: its connection is gone"),
            Self::Dead => f.write_str("its node says that its process has ended"),
            Self::Silent(silence, borne) => {
                write!(f, "not heard of for {} ms, {} ms are borne", silence.as_millis(), borne.as_millis())
            }
            Self::Mute => f.write_str("it did not acknowledge a batch in time"),
            Self::Said => f.write_str("it says so"),
            Self::Heard(silence) => write!(f, "heard {} ms ago", silence.as_millis()),
            Self::Wrong(wrong) => wrong.fmt(f),
        }
    }
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = |state: &CircuitState| match state {
            CircuitState::HalfOpen => "half open: it gets one task as a trial",
            _ => "open: too many attempts failed, and it gets nothing for a while",
        };
        match self {
            Self::Circuit(state) => write!(f, "its circuit is {}", word(state)),
            Self::KindCircuit(state) => write!(f, "the circuit of a kind is {}", word(state)),
            Self::Unavailable => f.write_str("it can't perform one of its kinds at present"),
            Self::Garbage(count) => {
                write!(f, "{count} messages in the last seconds could not be read or believed")
            }
            Self::Unread(count) => write!(f, "it could not read {count} messages in the last seconds"),
            Self::Flood(count) => {
                write!(f, "it sent {count} messages more than it should in the last seconds")
            }
            Self::Clogged(time) => {
                write!(f, "it has taken nothing for {} s though it holds little", time.as_secs())
            }
        }
    }
}

/// How evenly heartbeats come: their gap and its deviation, smoothed as the retransmission timer of TCP does (RFC 6298,
/// section 2). Unevenness is believed at once and forgotten slowly: stalls come in bursts.
#[derive(Debug, Clone, Copy, Default)]
struct Rhythm {
    last: Option<Instant>,
    gap: Duration,
    deviation: Duration,
}

impl Rhythm {
    /// A heartbeat has come. `cut`: a gap of so long says nothing of the rhythm.
    fn beat(&mut self, now: Instant, cut: Duration) {
        let Some(last) = self.last.replace(now) else { return };
        let gap = now.saturating_duration_since(last);
        if gap >= cut {
            return;
        }
        if self.gap.is_zero() {
            self.gap = gap;
            return;
        }
        let off = gap.abs_diff(self.gap);
        let weight = if off > self.deviation { 4 } else { 64 };
        self.deviation = self.deviation * (weight - 1) / weight + off / weight;
        self.gap = self.gap * 7 / 8 + gap / 8;
    }

    /// The longest gap that is nothing unusual.
    fn longest(&self) -> Duration {
        self.gap + self.deviation * 4
    }
}

impl Liveness {
    /// It has announced itself: it has passed its self-test.
    pub(crate) fn announced(now: Instant) -> Self {
        let condition = Condition::Said(InstanceState::Ready);
        Self { heard: now, from: now, condition, rhythm: Rhythm::default() }
    }

    /// It has announced itself again, in the same life: its rhythm is what it was.
    pub(crate) fn announced_again(self, now: Instant) -> Self {
        Self { rhythm: self.rhythm, ..Self::announced(now) }
    }

    /// A heartbeat has come.
    pub(crate) fn beat(&mut self, now: Instant, state: InstanceState, bounds: Bounds) {
        self.rhythm.beat(now, bounds.lost_most);
        self.hear(now, Some(state));
    }

    /// It has announced itself again, or sent anything else.
    pub(crate) fn hear(&mut self, now: Instant, state: Option<InstanceState>) {
        self.heard = self.heard.max(now);
        self.condition = match (state, self.condition) {
            (_, Condition::Gone) => Condition::Gone,
            (Some(state), _) | (None, Condition::Said(state)) => Condition::Said(state),
            (None, Condition::Deaf | Condition::Dead | Condition::Mute) => {
                Condition::Said(InstanceState::Ready)
            }
        };
    }

    /// A message to it found nobody who listens.
    pub(crate) fn no_responders(&mut self) {
        self.set(Condition::Deaf);
    }

    /// Its node says that its process has ended. Whether that was news.
    pub(crate) fn ended(&mut self) -> bool {
        let news = !matches!(self.condition, Condition::Deaf | Condition::Dead | Condition::Gone);
        self.set(Condition::Dead);
        news
    }

    /// The anchor itself could hear nobody until now.
    pub(crate) fn excuse(&mut self, now: Instant) {
        self.from = self.from.max(now);
    }

    /// The anchor itself stood still for so long, until now: that was no silence.
    pub(crate) fn excuse_for(&mut self, stood: Duration, now: Instant) {
        self.from = (self.heard.max(self.from) + stood).min(now);
    }

    /// A batch was not acknowledged in time.
    pub(crate) fn no_receipt(&mut self) {
        if matches!(self.condition, Condition::Said(_)) {
            self.set(Condition::Mute);
        }
    }

    /// It said goodbye.
    pub(crate) fn bye(&mut self) {
        self.set(Condition::Gone);
    }

    /// How it is at `now`, and why it is thought to be so.
    pub(crate) fn judge(&self, now: Instant, bounds: Bounds) -> (Health, Evidence) {
        let silence = self.silence(now);
        let (suspect, lost) = self.borne(bounds);
        match self.condition {
            Condition::Gone => (Health::Stopped, Evidence::Goodbye),
            Condition::Deaf => (Health::Lost, Evidence::Deaf),
            Condition::Dead => (Health::Lost, Evidence::Dead),
            _ if silence >= lost => (Health::Lost, Evidence::Silent(silence, lost)),
            _ if silence >= suspect => (Health::Suspect, Evidence::Silent(silence, suspect)),
            Condition::Mute => (Health::Suspect, Evidence::Mute),
            Condition::Said(InstanceState::Starting) => (Health::Starting, Evidence::Said),
            Condition::Said(InstanceState::Draining) => (Health::Draining, Evidence::Said),
            Condition::Said(InstanceState::Ready) => (Health::Healthy, Evidence::Heard(silence)),
        }
    }

    /// Whether it is given new work.
    pub(crate) fn takes_work(&self, now: Instant, bounds: Bounds) -> bool {
        self.condition == Condition::Said(InstanceState::Ready) && self.silence(now) < self.borne(bounds).0
    }

    /// For how long nothing was heard of it.
    pub(crate) fn silence(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.heard.max(self.from))
    }

    /// When it was last heard.
    pub(crate) fn heard(&self) -> Instant {
        self.heard
    }

    /// After which silence it is suspect, and lost.
    fn borne(&self, bounds: Bounds) -> (Duration, Duration) {
        let longest = self.rhythm.longest();
        let lost = (longest * 3).min(bounds.lost_most).max(bounds.lost);
        (longest.min(lost / 2).max(bounds.suspect), lost)
    }

    fn set(&mut self, condition: Condition) {
        if self.condition != Condition::Gone {
            self.condition = condition;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: Bounds = Bounds {
        suspect: Duration::from_millis(1500),
        lost: Duration::from_secs(4),
        lost_most: Duration::from_secs(9),
    };

    #[test]
    fn silence_makes_suspect_then_lost_and_a_word_heals() {
        let start = crate::clock::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut liveness = Liveness::announced(start);
        let health = |liveness: &Liveness, ms| liveness.judge(at(ms), BOUNDS).0;
        assert_eq!(health(&liveness, 1499), Health::Healthy);
        assert_eq!(health(&liveness, 1500), Health::Suspect);
        assert!(!liveness.takes_work(at(1500), BOUNDS));
        assert_eq!(health(&liveness, 4000), Health::Lost);
        liveness.hear(at(5000), Some(InstanceState::Draining));
        assert_eq!(health(&liveness, 5001), Health::Draining);
        liveness.hear(at(5100), Some(InstanceState::Ready));
        liveness.no_receipt();
        assert_eq!(health(&liveness, 5101), Health::Suspect);
        liveness.hear(at(5200), None);
        assert_eq!(health(&liveness, 5201), Health::Healthy);
        liveness.no_responders();
        assert_eq!(health(&liveness, 5202), Health::Lost);
        liveness.bye();
        liveness.hear(at(5300), Some(InstanceState::Ready));
        assert_eq!(health(&liveness, 5301), Health::Stopped);
    }

    /// Five minutes of heartbeats each half second over one connection, in order: each is up to `jitter_ms` on its way,
    /// and one write in `one_in` takes `stall_ms`, for which the next ones wait. Gives how often, looked at each 50 ms, it
    /// was suspect and lost.
    fn five_minutes(seed: u64, jitter_ms: u64, one_in: u32, stall_ms: u64, bounds: Bounds) -> (u32, u32) {
        use rand::{RngExt, SeedableRng};
        let mut random = rand::rngs::StdRng::seed_from_u64(seed);
        let start = crate::clock::now();
        let mut liveness = Liveness::announced(start);
        let (mut written, mut arrived, mut suspect, mut lost) = (0, 0, 0, 0);
        for beat in 1..=600 {
            written = written.max(beat * 500);
            if random.random_range(0..one_in) == 0 {
                written += stall_ms;
            }
            let comes = arrived.max(written + random.random_range(0..=jitter_ms));
            for ms in (arrived..comes).step_by(50) {
                match liveness.judge(start + Duration::from_millis(ms), bounds).0 {
                    Health::Suspect => suspect += 1,
                    Health::Lost => lost += 1,
                    _ => {}
                }
            }
            arrived = comes;
            liveness.beat(start + Duration::from_millis(arrived), InstanceState::Ready, bounds);
        }
        (suspect, lost)
    }

    #[test]
    fn a_slow_network_is_not_a_crash() {
        let fixed = Bounds { lost_most: BOUNDS.lost, ..BOUNDS };
        let mut lost = [0, 0];
        for seed in 0..50 {
            assert_eq!(five_minutes(seed, 50, u32::MAX, 0, BOUNDS), (0, 0), "calm, seed {seed}");
            assert_eq!(five_minutes(seed, 500, 10, 1000, BOUNDS).1, 0, "uneven, seed {seed}");
            // Far worse than that: what helps is to bear more.
            lost[0] += five_minutes(seed, 1000, 10, 4000, fixed).1;
            lost[1] += five_minutes(seed, 1000, 10, 4000, BOUNDS).1;
        }
        assert!(lost[0] > 10 * lost[1], "{lost:?}");
    }

    #[test]
    fn one_that_is_uneven_is_borne_longer_and_not_for_ever() {
        let start = crate::clock::now();
        let mut liveness = Liveness::announced(start);
        let mut at = 0;
        for beat in 0..100 {
            at += if beat % 10 == 9 { 2500 } else { 400 };
            liveness.beat(start + Duration::from_millis(at), InstanceState::Ready, BOUNDS);
        }
        let health = |after: u64| liveness.judge(start + Duration::from_millis(at + after), BOUNDS).0;
        assert_eq!(health(1600), Health::Healthy);
        assert_eq!(health(4600), Health::Suspect);
        assert_eq!(health(9000), Health::Lost);
        // It comes back after a cut, and is even: in two minutes all is as before.
        at += 60_000;
        for _ in 0..240 {
            at += 500;
            liveness.beat(start + Duration::from_millis(at), InstanceState::Ready, BOUNDS);
        }
        let health = |after: u64| liveness.judge(start + Duration::from_millis(at + after), BOUNDS).0;
        assert_eq!(
            (health(1499), health(1500), health(4000)),
            (Health::Healthy, Health::Suspect, Health::Lost)
        );
    }

    #[test]
    fn who_could_not_be_heard_is_not_blamed() {
        let start = crate::clock::now();
        let mut liveness = Liveness::announced(start);
        let at = |ms| start + Duration::from_millis(ms);
        let mut health = |ms, excuse| {
            if excuse {
                liveness.excuse(at(ms));
            }
            liveness.judge(at(ms), BOUNDS).0
        };
        assert_eq!((health(60_000, false), health(60_000, true)), (Health::Lost, Health::Healthy));
        assert_eq!((health(61_499, false), health(61_500, false)), (Health::Healthy, Health::Suspect));
        // It stood still for a second, and heard nothing for 1.5 s besides.
        let mut liveness = Liveness::announced(start);
        liveness.excuse_for(Duration::from_secs(1), at(1000));
        assert_eq!(liveness.judge(at(2499), BOUNDS).0, Health::Healthy);
        assert_eq!(liveness.judge(at(2500), BOUNDS).0, Health::Suspect);
    }

    #[test]
    fn a_cut_says_nothing_of_the_rhythm() {
        let start = crate::clock::now();
        let mut liveness = Liveness::announced(start);
        let mut beat = |ms| liveness.beat(start + Duration::from_millis(ms), InstanceState::Ready, BOUNDS);
        (1..20_u64).for_each(|n| beat(n * 500));
        beat(60_000);
        let health = |ms: u64| liveness.judge(start + Duration::from_millis(60_000 + ms), BOUNDS).0;
        assert_eq!(
            (health(1499), health(1500), health(4000)),
            (Health::Healthy, Health::Suspect, Health::Lost)
        );
    }
}
