//! How an instance is, from what was heard of it and when: a state machine that is given the time.
//!
//! Only the anchor's own clock counts; what a message says of the time is never looked at.

use std::time::{Duration, Instant};

use mmn_schema::announce::InstanceState;
use mmn_schema::api::Health;

/// The bounds for silence.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    pub(crate) suspect: Duration,
    pub(crate) lost: Duration,
}

/// What is known of one instance's health.
#[derive(Debug, Clone)]
pub(crate) struct Liveness {
    heard: Instant,
    condition: Condition,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Condition {
    /// It says so itself.
    Said(InstanceState),
    /// A message to it found nobody.
    Deaf,
    /// It took a batch and did not say so in time.
    Mute,
    /// It said goodbye.
    Gone,
}

impl Liveness {
    /// It has announced itself: it has passed its self-test.
    pub(crate) fn announced(now: Instant) -> Self {
        Self { heard: now, condition: Condition::Said(InstanceState::Ready) }
    }

    /// It has announced itself again, or sent a heartbeat or anything else.
    pub(crate) fn hear(&mut self, now: Instant, state: Option<InstanceState>) {
        self.heard = self.heard.max(now);
        self.condition = match (state, self.condition) {
            (_, Condition::Gone) => Condition::Gone,
            (Some(state), _) | (None, Condition::Said(state)) => Condition::Said(state),
            (None, Condition::Deaf | Condition::Mute) => Condition::Said(InstanceState::Ready),
        };
    }

    /// A message to it found nobody who listens.
    pub(crate) fn no_responders(&mut self) {
        self.set(Condition::Deaf);
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
    pub(crate) fn judge(&self, now: Instant, bounds: Bounds) -> (Health, String) {
        let silence = now.saturating_duration_since(self.heard);
        let for_ms = silence.as_millis();
        match self.condition {
            Condition::Gone => (Health::Stopped, "it said goodbye".to_owned()),
            Condition::Deaf => (Health::Lost, "nobody listens on its subject".to_owned()),
            _ if silence >= bounds.lost => (Health::Lost, format!("not heard of for {for_ms} ms")),
            _ if silence >= bounds.suspect => (Health::Suspect, format!("not heard of for {for_ms} ms")),
            Condition::Mute => (Health::Suspect, "it did not acknowledge a batch in time".to_owned()),
            Condition::Said(InstanceState::Starting) => (Health::Starting, "it says so".to_owned()),
            Condition::Said(InstanceState::Draining) => (Health::Draining, "it says so".to_owned()),
            Condition::Said(InstanceState::Ready) => (Health::Healthy, format!("heard {for_ms} ms ago")),
        }
    }

    /// Whether it is given new work.
    pub(crate) fn takes_work(&self, now: Instant, bounds: Bounds) -> bool {
        self.condition == Condition::Said(InstanceState::Ready)
            && now.saturating_duration_since(self.heard) < bounds.suspect
    }

    /// When it was last heard.
    pub(crate) fn heard(&self) -> Instant {
        self.heard
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

    const BOUNDS: Bounds = Bounds { suspect: Duration::from_millis(1500), lost: Duration::from_secs(4) };

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
}
