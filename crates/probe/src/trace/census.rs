//! How sure a trace is that it has seen all who answer at a hop: the stopping rule of the multipath detection algorithm
//! ([`crate::mda`]), asked at each TTL by itself.
//!
//! A hop is asked until as many probes have been answered as would have shown one more address, were all of them equally
//! likely. Probes of one flow meet several addresses where a load balancer looks at each packet, those of a classic
//! trace also where it looks at flows.

use std::net::IpAddr;

use crate::mda::{NotAProbability, StoppingRule};

/// The most probes for one TTL of a trace that wants certainty.
pub const MAX_ASKED: u8 = 240;
/// The most probes in all of such a trace.
pub const MAX_PROBES: u32 = 4_096;

/// How many answers it takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certainty {
    /// After so many addresses, from one on; as far as [`MAX_ASKED`] goes.
    answers: Box<[u8]>,
}

impl Certainty {
    /// The rule that overlooks an address of a hop with probability `epsilon` at most, or hardly more.
    pub fn new(epsilon: f64) -> Result<Self, NotAProbability> {
        let mut rule = StoppingRule::new(epsilon)?;
        let numbers = (1..).map(|seen| u8::try_from(rule.probes(seen)).ok().filter(|n| *n <= MAX_ASKED));
        Ok(Self { answers: numbers.map_while(|number| number).collect() })
    }

    /// The number of answers after which so many addresses are all; for none, as for one.
    pub fn answers(&self, addresses: usize) -> u8 {
        self.answers.get(addresses.saturating_sub(1)).copied().unwrap_or(MAX_ASKED)
    }
}

/// Who has answered at one TTL.
#[derive(Debug, Default)]
pub(super) struct Census {
    from: Vec<IpAddr>,
    answered: u8,
    /// Probes in a row that were not answered.
    silent: u8,
}

impl Census {
    pub(super) fn answered(&mut self, from: IpAddr) {
        self.answered = self.answered.saturating_add(1);
        self.silent = 0;
        if !self.from.contains(&from) {
            self.from.push(from);
        }
    }

    pub(super) const fn silent(&mut self) {
        self.silent = self.silent.saturating_add(1);
    }

    /// Whether enough is known: of one that is silent so many times in a row nothing more is to be learnt.
    pub(super) fn is_complete(&self, certainty: &Certainty, attempts: u8) -> bool {
        self.silent >= attempts || self.answered >= certainty.answers(self.from.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_numbers_are_those_of_the_rule() {
        let certainty = Certainty::new(0.05).unwrap();
        let numbers: Vec<u8> = (1..=15).map(|seen| certainty.answers(seen)).collect();
        assert_eq!(numbers, [6, 11, 16, 21, 27, 33, 38, 44, 51, 57, 63, 70, 76, 83, 90]);
        assert_eq!((certainty.answers(0), certainty.answers(500)), (6, MAX_ASKED));
        assert_eq!(Certainty::new(0.01).unwrap().answers(1), 8);
        assert!(Certainty::new(0.0).is_err());
    }
}
