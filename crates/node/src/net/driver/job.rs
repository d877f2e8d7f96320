//! A machine that is being driven, and what the driver remembers of it. Many wait at a time: a job is kept small.

use std::{collections::VecDeque, fmt, task::Waker};

use mmn_kit::Driven;
use mmn_probe::{
    conditions::{Conditions, Lane, Wish},
    packet::Probe,
    time::Instant,
};

use super::waiting::Spot;

pub(super) struct Job {
    pub(super) machine: Box<dyn Driven>,
    pub(super) generation: u32,
    /// The lane it asks for.
    pub(super) wish: Wish,
    /// The lane that it has, from its first probe on, and the carrier of that.
    pub(super) lane: Option<Lane>,
    pub(super) carrier: u8,
    /// Whether it is in the list of those to be polled.
    pub(super) dirty: bool,
    /// When the machine wants to be polled; [`NEVER`] when it does not.
    pub(super) wake: Instant,
    /// What the machine wants sent and has not gone yet; nothing while nothing is held back.
    pub(super) outbox: Option<Box<Outbox>>,
    /// By what answers to its probes find it.
    pub(super) keys: Keys,
    pub(super) end: End,
}

/// Who waits for a machine, or what waits for him.
pub(super) enum End {
    /// Nobody has asked yet.
    Open,
    /// He asked.
    Awaited(Box<Waker>),
    /// The machine is done.
    Done(Box<Conditions>),
    /// Somebody takes all that have ended of those with his numbers.
    Owned(u64),
    /// The machine is done, and waits for that.
    Ended(u64),
}

/// Probes that something holds back.
#[derive(Default)]
pub(super) struct Outbox {
    pub(super) queue: VecDeque<Probe>,
    /// What the first of them waits for.
    pub(super) hold: Option<Hold>,
    /// Whether the page has let the first of them go already.
    pub(super) paid: bool,
    /// How often the system had no room for the first of them.
    pub(super) tries: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hold {
    /// For the site's limits, there.
    Limits(Spot),
    /// Until this instant, for something else.
    Until(Instant),
}

/// Keys with their carriers: most machines have one or two probes, few have very many.
#[derive(Default)]
pub(super) struct Keys {
    first: Option<std::num::NonZeroU64>,
    #[expect(clippy::box_collection, reason = "absent for most, and then 8 octets")]
    more: Option<Box<Vec<u64>>>,
}

impl Keys {
    /// Remembers a key of a carrier.
    pub(super) fn push(&mut self, carrier: u8, key: u64) {
        // A key has 56 bits; one more than the carrier's number is never zero.
        let word = (u64::from(carrier) + 1) << 56 | key & KEY_BITS;
        if self.first.is_none() {
            self.first = std::num::NonZeroU64::new(word);
        } else {
            let more = self.more.get_or_insert_default();
            if more.len() == more.capacity() {
                more.reserve_exact((more.len() / 4).max(3));
            }
            more.push(word);
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (u8, u64)> {
        let first = self.first.map(std::num::NonZeroU64::get);
        let more = self.more.iter().flat_map(|more| more.iter().copied());
        first.into_iter().chain(more).map(|word| {
            let carrier = u8::try_from(word >> 56).unwrap_or(0).saturating_sub(1);
            (carrier, word & KEY_BITS)
        })
    }
}

/// No time at all.
pub(super) const NEVER: Instant = Instant(u64::MAX);

const KEY_BITS: u64 = (1 << 56) - 1;

impl Job {
    pub(super) fn new(machine: Box<dyn Driven>, wish: Wish, end: End, generation: u32) -> Self {
        Self {
            machine,
            generation,
            wish,
            lane: None,
            carrier: 0,
            dirty: false,
            wake: NEVER,
            outbox: None,
            keys: Keys::default(),
            end,
        }
    }

    /// Where its flow 0 begins in a range of selectors: each machine somewhere else.
    pub(super) fn base(&self) -> u16 {
        u16::try_from(self.generation & 0xffff).unwrap_or(0)
    }

    pub(super) const fn is_done(&self) -> bool {
        matches!(self.end, End::Done(_) | End::Ended(_))
    }

    /// What its first probe waits for.
    pub(super) fn hold(&self) -> Option<Hold> {
        self.outbox.as_ref().and_then(|outbox| outbox.hold)
    }

    /// Whose it is, where the site's limits hold it back.
    pub(super) fn held_of(&self) -> Option<u64> {
        match self.end {
            End::Owned(owner) => self.hold().map(|_| owner),
            _ => None,
        }
    }
}

impl fmt::Debug for Job {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Job")
            .field("generation", &self.generation)
            .field("lane", &self.lane)
            .field("wake", &self.wake)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_is_small() {
        assert!(size_of::<Option<Job>>() <= 72, "{}", size_of::<Option<Job>>());
    }

    #[test]
    fn keys_keep_their_carriers() {
        let mut keys = Keys::default();
        let pushed = [(0, 0), (3, 7), (254, KEY_BITS)];
        for (carrier, key) in pushed {
            keys.push(carrier, key);
        }
        assert_eq!(keys.iter().collect::<Vec<_>>(), pushed);
    }
}
