//! What becomes of a probe without an answer: it left, could not be sent, or its time is over.

use crate::packet::{Departure, ProbeId, SendFailure};
use crate::time::{Instant, Stamp};

use super::account::Errand;
use super::record::Fate;
use super::{Trace, number};

impl Trace {
    pub(super) fn sent(&mut self, probe: ProbeId, stamp: Stamp, departure: Option<Departure>) {
        if self.handed_out == Some(probe) && departure.is_some() {
            self.handed_out = None;
            self.last_left = Some(stamp.at);
        }
        let Some(entry) = usize::try_from(probe.0).ok().and_then(|index| self.entries.get_mut(index)) else {
            return;
        };
        if departure.is_none() && entry.sent().is_none() {
            return;
        }
        entry.stamp(stamp);
        if let Some(Departure { source, identity, ip_id, bytes }) = departure {
            entry.departed(identity, ip_id, bytes);
            self.source = self.source.or(source);
        }
    }

    pub(super) fn send_failed(&mut self, probe: ProbeId, reason: SendFailure) {
        if self.handed_out == Some(probe) {
            self.handed_out = None;
        }
        let first = self.spec.first_hop.0;
        let Some(entry) = usize::try_from(probe.0).ok().and_then(|index| self.entries.get_mut(index)) else {
            return;
        };
        if entry.fate.is_some() {
            return;
        }
        entry.fate = Some(Fate::NotSent(reason));
        self.open -= 1;
        match entry.errand {
            Errand::Path => {}
            Errand::Mtu => {
                if let Some(search) = &mut self.search {
                    search.not_sent(probe, reason);
                }
                return;
            }
            Errand::LastDitch => return,
            Errand::Backward => {
                let back = self.rare.as_mut().and_then(|rare| rare.backward.as_mut());
                if let Some(back) = back.filter(|back| back.ttl == entry.ttl.0) {
                    back.hop.open -= 1;
                    back.census.silent();
                    if reason != SendFailure::Overrun {
                        back.ttl = 0;
                    }
                }
                return;
            }
        }
        if self.spec.certainty.is_some()
            && let Some(census) =
                self.rare.as_mut().and_then(|rare| rare.censuses.get_mut(usize::from(entry.ttl.0 - first)))
        {
            census.silent();
        }
        if let Some(hop) = self.hops.get_mut(usize::from(entry.ttl.0 - first)) {
            hop.open -= 1;
        }
        if reason != SendFailure::Overrun {
            self.failure.get_or_insert(reason);
        }
    }

    /// Times out what is overdue; returns the earliest deadline that is still to come.
    pub(super) fn expire(&mut self, now: Instant) -> Option<Instant> {
        let mut earliest: Option<Instant> = None;
        let (timeout, first) = (self.spec.timeout, self.spec.first_hop.0);
        for (index, entry) in self.entries.iter_mut().enumerate().skip(self.settled) {
            let (None, Some(sent)) = (entry.fate, entry.sent()) else { continue };
            let deadline = sent.at + timeout;
            if deadline > now {
                earliest = Some(earliest.map_or(deadline, |other| other.min(deadline)));
                continue;
            }
            let fate = if entry.overrun { Fate::Overrun } else { Fate::TimedOut };
            entry.fate = Some(fate);
            self.open -= 1;
            if entry.errand == Errand::Mtu {
                if let Some(search) = &mut self.search {
                    search.silent(ProbeId(number(index)), fate);
                }
                continue;
            }
            let rare = self.rare.as_deref_mut();
            let (hop, census) = match entry.errand {
                Errand::Path => {
                    let at = usize::from(entry.ttl.0 - first);
                    (self.hops.get_mut(at), rare.and_then(|rare| rare.censuses.get_mut(at)))
                }
                Errand::Backward => {
                    let back = rare.and_then(|rare| rare.backward.as_mut()?.at(entry.ttl));
                    back.map_or((None, None), |back| (Some(&mut back.hop), Some(&mut back.census)))
                }
                Errand::Mtu | Errand::LastDitch => (None, None),
            };
            let Some(hop) = hop else { continue };
            hop.open -= 1;
            // As often as a hop is asked at most, an overrun costs it nothing.
            if fate == Fate::Overrun && hop.forgiven < self.spec.attempts {
                hop.forgiven += 1;
            } else if let Some(census) = census {
                census.silent();
            }
        }
        let open = self.entries.iter().skip(self.settled).position(|entry| entry.fate.is_none());
        self.settled = open.map_or(self.entries.len(), |open| self.settled + open);
        earliest
    }
}
