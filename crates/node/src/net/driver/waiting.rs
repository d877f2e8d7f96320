//! Who waits for the site's limits, and whose turn it is: first come, first served. Nothing here asks the page, reads a
//! clock or sends.
//!
//! Each target whose cap holds packets back has a line of its own (two that share a cap share it). Of a line only the
//! first asks the page, so that a saturated target costs the others nothing. When its cap lets a packet go the line
//! takes its place among those whom the site's limit alone holds back, where its first one would stand. So there is one
//! order for all, and nobody is passed by but by those whose target is free.
//!
//! The order is that of tasks, not of packets: who was let begin is let finish. A task keeps its place for
//! [`PLACE_IS_FOR`] packets; with each one beyond it comes anew, so that a long flood doesn't keep others out.
//! Whatever happens takes O(log n).

use std::{
    cmp::Reverse,
    collections::{BTreeSet, BinaryHeap},
};

use mmn_probe::time::{Instant, Nanos};
use rustc_hash::FxHashMap;

use crate::net::{carrier::JobKey, page::Cap};

/// For how many packets a task keeps its place.
pub(super) const PLACE_IS_FOR: u32 = 64;

/// A place in the order: the number of a task, and of what comes anew after that one its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Rank {
    task: u64,
    anew: u64,
}

/// Where somebody waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Spot {
    /// For the site's limit alone.
    Site(Rank),
    /// In the line of a target's cap.
    Line(Cap, Rank),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Who {
    Job(JobKey),
    /// Whoever is first in a line.
    Line(Cap),
}

/// A line. It is in `closed` while its cap holds it back, and in `site` otherwise.
#[derive(Debug)]
struct Line {
    waiting: u64,
    /// When its cap lets the first one go.
    opens: Instant,
    /// Where it stands in `site`, if it does.
    place: Option<Rank>,
}

/// All who wait.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    site: BTreeSet<(Rank, Who)>,
    /// When the first of `site` may ask.
    site_opens: Instant,
    /// Those in lines.
    lined: BTreeSet<(Cap, Rank, JobKey)>,
    lines: FxHashMap<Cap, Line>,
    closed: BinaryHeap<Reverse<(Instant, Cap)>>,
    anew: u64,
}

impl Rank {
    /// The place of a task.
    pub(super) const fn of_task(task: u64) -> Self {
        Self { task, anew: 0 }
    }
}

impl Spot {
    const fn rank(self) -> Rank {
        match self {
            Self::Site(rank) | Self::Line(_, rank) => rank,
        }
    }
}

impl Waiting {
    /// A place behind all who have come until now, `newest` being the last task among them.
    pub(super) fn anew(&mut self, newest: u64) -> Rank {
        self.anew += 1;
        Rank { task: newest, anew: self.anew }
    }

    /// How many the site's limit holds back, a line counted as one.
    pub(super) fn for_site(&self) -> usize {
        self.site.len()
    }

    /// Whether others wait for the same, behind whom one that comes has to wait without asking.
    pub(super) fn behind(&self, cap: impl FnOnce() -> Cap, rank: Rank) -> Option<Spot> {
        if !self.lines.is_empty() {
            let cap = cap();
            if self.lines.contains_key(&cap) {
                return Some(Spot::Line(cap, rank));
            }
        }
        (!self.site.is_empty()).then_some(Spot::Site(rank))
    }

    /// Waits, at `until` at the earliest where nobody else does yet.
    pub(super) fn enter(&mut self, spot: Spot, key: JobKey, until: Instant) {
        match spot {
            Spot::Site(rank) => {
                if self.site.is_empty() {
                    self.site_opens = until;
                }
                self.site.insert((rank, Who::Job(key)));
            }
            Spot::Line(cap, rank) => {
                let closed = &mut self.closed;
                let line = self.lines.entry(cap).or_insert_with(|| {
                    closed.push(Reverse((until, cap)));
                    Line { waiting: 0, opens: until, place: None }
                });
                line.waiting += 1;
                self.lined.insert((cap, rank, key));
                if let Some(place) = line.place.filter(|place| rank < *place) {
                    line.place = Some(rank);
                    self.site.remove(&(place, Who::Line(cap)));
                    self.site.insert((rank, Who::Line(cap)));
                }
            }
        }
    }

    /// Does not wait any more: it was let go, or has ended.
    pub(super) fn leave(&mut self, spot: Spot, key: JobKey) {
        match spot {
            Spot::Site(rank) => {
                self.site.remove(&(rank, Who::Job(key)));
            }
            Spot::Line(cap, rank) => {
                if self.lined.remove(&(cap, rank, key))
                    && let Some(line) = self.lines.get_mut(&cap)
                {
                    line.waiting -= 1;
                }
            }
        }
    }

    /// Who may ask the page now. Say of him what it answered: [`Self::leave`], [`Self::close_site`] or
    /// [`Self::close_line`].
    pub(super) fn next(&mut self, now: Instant) -> Option<(Spot, JobKey)> {
        self.open_lines(now);
        while let Some(&(rank, who)) = self.site.first() {
            if now < self.site_opens {
                return None;
            }
            let cap = match who {
                Who::Job(key) => return Some((Spot::Site(rank), key)),
                Who::Line(cap) => cap,
            };
            match self.first_of(cap) {
                Some((first, key)) if first == rank => return Some((Spot::Line(cap, rank), key)),
                first => {
                    self.site.pop_first();
                    self.stand(cap, first.map(|(rank, _)| rank));
                }
            }
        }
        None
    }

    /// The site's limit lets nobody go until then.
    pub(super) const fn close_site(&mut self, until: Instant) {
        self.site_opens = until;
    }

    /// The cap of its target holds one back until then, and all behind it. Says where it waits now.
    pub(super) fn close_line(&mut self, spot: Spot, key: JobKey, cap: Cap, until: Instant) -> Spot {
        let rank = spot.rank();
        match spot {
            Spot::Site(_) => {
                self.leave(spot, key);
                self.enter(Spot::Line(cap, rank), key, until);
            }
            Spot::Line(..) => {
                self.site.remove(&(rank, Who::Line(cap)));
                if let Some(line) = self.lines.get_mut(&cap) {
                    (line.opens, line.place) = (until, None);
                    self.closed.push(Reverse((until, cap)));
                }
            }
        }
        Spot::Line(cap, rank)
    }

    /// The line that one who waits for the site's limit alone has to wait in, if there is one by now.
    pub(super) fn line_instead(&self, spot: Spot, cap: impl FnOnce() -> Cap) -> Option<Spot> {
        let Spot::Site(rank) = spot else { return None };
        if self.lines.is_empty() {
            return None;
        }
        let cap = cap();
        self.lines.contains_key(&cap).then_some(Spot::Line(cap, rank))
    }

    /// When one that comes to a cap now could leave at the earliest, if each of those before it sends one packet and
    /// these are `gap` apart; absent where nobody waits.
    pub(super) fn earliest(&self, cap: impl FnOnce() -> Cap, now: Instant, gap: Nanos) -> Option<Instant> {
        let line = if self.lines.is_empty() { None } else { self.lines.get(&cap()) };
        line.filter(|line| line.waiting > 0)
            .map(|line| line.opens.max(now) + Nanos(gap.0.saturating_mul(line.waiting)))
    }

    /// When [`Self::next`] is to be asked again. Lines in which nobody waits any more wake nobody.
    pub(super) fn due(&mut self) -> Option<Instant> {
        while let Some(&Reverse((_, cap))) = self.closed.peek()
            && self.lines.get(&cap).is_none_or(|line| line.waiting == 0)
        {
            self.closed.pop();
            self.lines.remove(&cap);
        }
        let line = self.closed.peek().map(|Reverse((at, _))| *at);
        let site = (!self.site.is_empty()).then_some(self.site_opens);
        line.into_iter().chain(site).min()
    }

    /// Lines whose time has come take their place among the others.
    fn open_lines(&mut self, now: Instant) {
        while let Some(&Reverse((at, cap))) = self.closed.peek()
            && at <= now
        {
            self.closed.pop();
            let first = self.first_of(cap);
            self.stand(cap, first.map(|(rank, _)| rank));
        }
    }

    /// A line stands in `site` at the place of its first one; it is gone when it has none.
    fn stand(&mut self, cap: Cap, place: Option<Rank>) {
        let Some(rank) = place else {
            self.lines.remove(&cap);
            return;
        };
        if self.site.is_empty() {
            self.site_opens = Instant(0);
        }
        self.site.insert((rank, Who::Line(cap)));
        if let Some(line) = self.lines.get_mut(&cap) {
            line.place = place;
        }
    }

    fn first_of(&self, cap: Cap) -> Option<(Rank, JobKey)> {
        let from = (cap, Rank::of_task(0), JobKey::FIRST);
        self.lined.range(from..).next().filter(|(of, ..)| *of == cap).map(|&(_, rank, key)| (rank, key))
    }
}

#[cfg(test)]
mod tests;
