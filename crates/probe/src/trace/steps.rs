//! What is done next: which hop is asked, and what follows once the path is known.

use std::sync::Arc;

use crate::machine::Output;
use crate::packet::{ProbeId, Ttl};
use crate::time::{Instant, Nanos};

use super::account::{Entry, Errand, Hop};
use super::census::Census;
use super::doubletree::Backward;
use super::mtu::Search;
use super::record::{Fate, Stop};
use super::{Trace, census, header_bytes, mtu, number};

/// What to do next.
pub(super) enum Step {
    Ask(Ttl),
    NotBefore(Instant),
    /// Nothing before an answer or a timeout.
    Blocked,
}

impl Trace {
    /// The last TTL that is worth asking, as far as is known.
    fn bound(&self) -> u8 {
        let gap = match self.spec.gap_limit {
            0 => self.spec.max_ttl.0,
            limit => self.highest.saturating_add(limit).min(self.spec.max_ttl.0),
        };
        let reached = self.reached.map_or(gap, |ttl| ttl.0.min(gap));
        // On the way back the destination may have answered at a lower one.
        self.barred.map_or(reached, |(ttl, _)| ttl.0.min(reached)).max(self.spec.first_hop.0)
    }

    /// Whether the hop in this place need not be asked any more.
    fn is_resolved(&self, at: usize, hop: &Hop) -> bool {
        self.is_enough(hop, self.rare.as_ref().and_then(|rare| rare.censuses.get(at)))
    }

    fn is_enough(&self, hop: &Hop, census: Option<&Census>) -> bool {
        if let Some((certainty, census)) = self.spec.certainty.as_ref().zip(census) {
            let too_many = hop.tries >= census::MAX_ASKED || number(self.entries.len()) >= census::MAX_PROBES;
            return hop.open == 0 && (too_many || census.is_complete(certainty, self.spec.attempts));
        }
        let asked = hop.open == 0 && hop.tries >= self.spec.attempts.saturating_add(hop.forgiven);
        asked || (hop.reply != 0 && !self.spec.all_attempts)
    }

    /// Why the path is at its end, if it is: every hop up to the bound has answered or been asked often enough.
    pub(super) fn path_ended(&self) -> Option<Stop> {
        let bound = self.bound();
        let wanted = usize::from(bound - self.spec.first_hop.0) + 1;
        let hops = self.hops.get(..wanted)?;
        if !hops.iter().enumerate().all(|(at, hop)| self.is_resolved(at, hop)) {
            return None;
        }
        // What answered as the destination outdoes what a router says about it.
        Some(match (self.reached, self.barred) {
            (Some(_), _) => Stop::Completed,
            (None, Some((_, stop))) => stop,
            (None, None) => {
                let gap = self.spec.gap_limit;
                if gap > 0 && bound - self.highest >= gap { Stop::GapLimit } else { Stop::HopLimit }
            }
        })
    }

    /// Whether as many probes wait for an answer as may at once, whatever they were sent for.
    fn is_busy(&self) -> bool {
        self.handed_out.is_some() || self.open >= self.spec.parallel
    }

    pub(super) fn next_step(&self, now: Instant) -> Step {
        let blocked = self.spec.goes_one_by_one() && self.open > 0;
        if self.is_busy() || self.failure.is_some() || blocked {
            return Step::Blocked;
        }
        if let Some(earliest) = self.held_until(now) {
            return Step::NotBefore(earliest);
        }
        let (first, bound) = (self.spec.first_hop.0, self.bound());
        let again = (first..=bound)
            .zip(self.hops.iter().enumerate())
            .filter(|(_, (at, hop))| hop.open == 0 && !self.is_resolved(*at, hop))
            .map(|(ttl, _)| (self.hop_held_until(Ttl(ttl), now), Ttl(ttl)));
        // The first that may be asked now; else the one that may be asked first.
        let mut later: Option<Instant> = None;
        for (until, ttl) in again {
            let Some(until) = until else { return Step::Ask(ttl) };
            later = Some(later.map_or(until, |other| other.min(until)));
        }
        let later = later.map_or(Step::Blocked, Step::NotBefore);
        let next = usize::from(first) + self.hops.len();
        let Some(next) = u8::try_from(next).ok().filter(|next| *next <= bound) else { return later };
        let waits = self.hops.last().is_some_and(|hop| hop.open > 0 && hop.reply == 0);
        match (self.last_left.map(|left| left + self.step), later) {
            (Some(until), Step::NotBefore(other)) if waits && until > now => {
                Step::NotBefore(until.min(other))
            }
            (Some(until), _) if waits && until > now => Step::NotBefore(until),
            _ => Step::Ask(Ttl(next)),
        }
    }

    /// Until when no probe may leave; nothing where one may.
    fn held_until(&self, now: Instant) -> Option<Instant> {
        self.last_left.map(|left| left + self.spec.wait).filter(|until| *until > now)
    }

    /// The same of probes to one hop.
    fn hop_held_until(&self, ttl: Ttl, now: Instant) -> Option<Instant> {
        if self.spec.wait_hop == Nanos::ZERO {
            return None;
        }
        let mut of_hop = self.entries.iter().rev().filter(|entry| entry.ttl == ttl);
        let left = of_hop.find_map(Entry::sent)?.at;
        Some(left + self.spec.wait_hop).filter(|until| *until > now)
    }

    pub(super) fn ask(&mut self, ttl: Ttl) -> Output {
        let at = usize::from(ttl.0 - self.spec.first_hop.0);
        if self.hops.len() <= at {
            if self.hops.capacity() == self.hops.len() {
                self.hops.reserve_exact(8);
            }
            self.hops.push(Hop::default());
            if self.spec.certainty.is_some() {
                self.rare().censuses.push(Census::default());
            }
        }
        let Some(hop) = self.hops.get_mut(at) else { return Output::Wait };
        let attempt = hop.tries;
        hop.tries += 1;
        hop.open += 1;
        self.send(Entry::new(ttl, attempt, self.spec.payload_bytes))
    }

    fn send(&mut self, entry: Entry) -> Output {
        let id = ProbeId(number(self.entries.len()));
        let mut shape = self.spec.shape;
        shape.dont_fragment |= entry.errand == Errand::Mtu;
        let probe = shape.probe(&self.key, self.target, &self.look(id, &entry));
        if self.entries.capacity() == self.entries.len() {
            // As many as it takes to find nobody: a vector that grows leaves holes behind.
            let silent = usize::from(self.spec.gap_limit) * usize::from(self.spec.attempts);
            let begun = self.entries.len();
            self.entries.reserve_exact(if begun == 0 {
                silent.clamp(4, 10)
            } else {
                (begun / 4).clamp(4, 64)
            });
        }
        self.entries.push(entry);
        self.open += 1;
        self.handed_out = Some(id);
        Output::Send(probe)
    }

    pub(super) fn finish(&mut self, stop: Stop) -> Output {
        for entry in self.entries.iter_mut().skip(self.settled) {
            entry.fate.get_or_insert(Fate::Cancelled);
        }
        self.stop = Some(stop);
        Output::Done
    }

    /// Behind a gap the destination itself is asked, where that is wanted. Nothing when there is nothing more to ask.
    pub(super) fn last_ditch(&mut self, now: Instant, deadline: Option<Instant>) -> Option<Output> {
        if !self.spec.last_ditch || self.search.is_some() {
            return None;
        }
        let asked = || self.entries.iter().filter(|entry| entry.errand == Errand::LastDitch);
        if asked().any(|entry| entry.reply.is_some()) {
            return None;
        }
        if self.is_busy() || asked().any(|entry| entry.fate.is_none()) {
            return Some(deadline.map_or(Output::Wait, Output::WaitUntil));
        }
        let tries = u8::try_from(asked().count()).ok().filter(|tries| *tries < self.spec.attempts)?;
        if let Some(earliest) = self.held_until(now) {
            return Some(Output::WaitUntil(deadline.map_or(earliest, |deadline| deadline.min(earliest))));
        }
        let mut entry = Entry::new(Ttl(u8::MAX), tries, self.spec.payload_bytes);
        entry.errand = Errand::LastDitch;
        Some(self.send(entry))
    }

    /// The way back to the first TTL, hop by hop, where one is gone. Nothing when it is over.
    pub(super) fn go_backward(&mut self, now: Instant, deadline: Option<Instant>) -> Option<Output> {
        let spec = Arc::clone(&self.spec);
        if spec.doubletree.as_ref().is_none_or(|tree| !tree.backward) || self.search.is_some() {
            return None;
        }
        let mut back = self.rare().backward.take().unwrap_or_else(|| Backward::from(spec.first_hop));
        while back.ttl > 0 && self.is_enough(&back.hop, Some(&back.census)) {
            back.next();
        }
        if self.local_stop().is_some() || self.failure.is_some() {
            back.ttl = 0;
        }
        let ttl = Ttl(back.ttl);
        let asks = back.ttl > 0 && back.hop.open == 0 && !self.is_busy();
        let until = self.held_until(now).max(self.hop_held_until(ttl, now));
        let output = if back.ttl == 0 {
            None
        } else if let Some(until) = until.filter(|_| asks) {
            Some(Output::WaitUntil(deadline.map_or(until, |deadline| deadline.min(until))))
        } else if asks {
            let mut entry = Entry::new(ttl, back.hop.tries, spec.payload_bytes);
            entry.errand = Errand::Backward;
            back.hop.tries += 1;
            back.hop.open += 1;
            Some(self.send(entry))
        } else {
            Some(deadline.map_or(Output::Wait, Output::WaitUntil))
        };
        self.rare().backward = Some(back);
        output
    }

    /// The path is known: its MTU is next, where that was asked for and there is somebody to ask.
    pub(super) fn path_is_known(&mut self, now: Instant, stop: Stop, deadline: Option<Instant>) -> Output {
        let Some(pmtud) = self.spec.pmtud.filter(|_| !matches!(stop, Stop::NotSent(_))) else {
            return self.finish(stop);
        };
        if self.search.is_none() {
            let first = self.spec.first_hop.0;
            let end = self.reached.map_or(self.highest, |ttl| ttl.0);
            let answering: Vec<Ttl> = (first..=end)
                .zip(&self.hops)
                .filter(|(_, hop)| hop.reply != 0)
                .map(|(ttl, _)| Ttl(ttl))
                .collect();
            let Some(search) = Search::new(self.target, pmtud, self.spec.attempts, answering) else {
                return self.finish(stop);
            };
            self.search = Some(Box::new(search));
        }
        if self.is_busy() {
            return deadline.map_or(Output::Wait, Output::WaitUntil);
        }
        if let Some(earliest) = self.held_until(now) {
            return Output::WaitUntil(deadline.map_or(earliest, |deadline| deadline.min(earliest)));
        }
        let id = ProbeId(number(self.entries.len()));
        let Some(search) = &mut self.search else { return self.finish(stop) };
        match search.next(id) {
            mtu::Next::Ask { ttl, size } => {
                let headers = header_bytes(self.target, self.spec.shape.method);
                let mut entry = Entry::new(ttl, 0, size.saturating_sub(headers));
                entry.errand = Errand::Mtu;
                self.send(entry)
            }
            mtu::Next::Wait => deadline.map_or(Output::Wait, Output::WaitUntil),
            mtu::Next::Done => self.finish(stop),
        }
    }
}
