//! What is being performed.
//!
//! There may be very many at a time, so little is kept of each: 48 octets of one that was begun by itself, four of one that
//! goes in bulk. Of these, those of a batch that were begun at the same moment are a flock, which has the rest.

use std::rc::Rc;

use super::slab::{Key, Slab};
use super::{Now, Origin};

/// Names an attempt of this desk for ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Ticket {
    /// One that was begun by itself.
    Alone(Key),
    /// The one with this number of a flock.
    InFlock(Key, u32),
}

/// All of them.
#[derive(Debug)]
pub(super) struct AtWork<M> {
    alone: Slab<Begun<M>>,
    flocks: Slab<Flock<M>>,
    /// The flock that the next may be of.
    open: Option<Key>,
    /// How many are in flocks.
    flying: u32,
}

/// An attempt.
#[derive(Debug)]
pub(super) struct Begun<M> {
    pub(super) origin: Rc<Origin<M>>,
    pub(super) index: u64,
    pub(super) attempt: u32,
    pub(super) began: Now,
}

/// Attempts that have all but their indices in common.
#[derive(Debug)]
pub(super) struct Flock<M> {
    origin: Rc<Origin<M>>,
    attempt: u32,
    began: Now,
    /// The index of the first, and how far those of all are beyond it; [`ENDED`] of one that has ended.
    first: u64,
    beyond: Vec<u32>,
    left: u32,
}

const ENDED: u32 = u32::MAX;

impl<M> Default for AtWork<M> {
    fn default() -> Self {
        Self { alone: Slab::default(), flocks: Slab::default(), open: None, flying: 0 }
    }
}

impl<M> AtWork<M> {
    /// How many there are.
    pub(super) fn len(&self) -> u32 {
        self.alone.len().saturating_add(self.flying)
    }

    /// One begins by itself.
    pub(super) fn begin(&mut self, attempt: Begun<M>) -> Ticket {
        Ticket::Alone(self.alone.insert(attempt))
    }

    /// One begins that goes in bulk.
    pub(super) fn begin_in_flock(&mut self, attempt: Begun<M>) -> Ticket {
        self.flying += 1;
        if let Some(open) = self.open
            && let Some(number) = self.flocks.get_mut(open).and_then(|flock| flock.join(&attempt))
        {
            return Ticket::InFlock(open, number);
        }
        let Begun { origin, index, attempt, began } = attempt;
        let flock = Flock { origin, attempt, began, first: index, beyond: vec![0], left: 1 };
        let key = self.flocks.insert(flock);
        self.open = Some(key);
        Ticket::InFlock(key, 0)
    }

    /// What an attempt has in common with the others of its batch; nothing when it has ended.
    pub(super) fn origin(&self, ticket: Ticket) -> Option<&Rc<Origin<M>>> {
        match ticket {
            Ticket::Alone(key) => self.alone.get(key).map(|attempt| &attempt.origin),
            Ticket::InFlock(key, number) => {
                let flock = self.flocks.get(key)?;
                flock.index(number).map(|_| &flock.origin)
            }
        }
    }

    /// An attempt has ended; nothing when it had before.
    pub(super) fn end(&mut self, ticket: Ticket) -> Option<Begun<M>> {
        let (key, number) = match ticket {
            Ticket::Alone(key) => return self.alone.remove(key),
            Ticket::InFlock(key, number) => (key, number),
        };
        let flock = self.flocks.get_mut(key)?;
        let index = flock.index(number)?;
        *flock.beyond.get_mut(number as usize)? = ENDED;
        flock.left -= 1;
        self.flying -= 1;
        let (left, origin) = (flock.left, Rc::clone(&flock.origin));
        let ended = Begun { origin, index, attempt: flock.attempt, began: flock.began };
        if left == 0 {
            self.flocks.remove(key);
        }
        Some(ended)
    }

    /// All of them: ticket, origin and index.
    pub(super) fn iter(&self) -> impl Iterator<Item = (Ticket, &Rc<Origin<M>>, u64)> {
        let in_flocks = self.flocks.iter().flat_map(|(key, flock)| {
            let ticket = move |(number, index)| (Ticket::InFlock(key, number), &flock.origin, index);
            flock.numbered().map(ticket)
        });
        self.alone().chain(in_flocks)
    }

    /// Those that were begun by themselves.
    pub(super) fn alone(&self) -> impl Iterator<Item = (Ticket, &Rc<Origin<M>>, u64)> {
        self.alone.iter().map(|(key, attempt)| (Ticket::Alone(key), &attempt.origin, attempt.index))
    }

    /// The flocks.
    pub(super) fn flocks(&self) -> impl Iterator<Item = &Flock<M>> {
        self.flocks.iter().map(|(_, flock)| flock)
    }
}

impl<M> Flock<M> {
    /// What they have in common.
    pub(super) const fn origin(&self) -> &Rc<Origin<M>> {
        &self.origin
    }

    /// How many have not ended.
    pub(super) const fn left(&self) -> u32 {
        self.left
    }

    /// The indices of those that have not ended.
    pub(super) fn indices(&self) -> impl Iterator<Item = u64> {
        self.numbered().map(|(_, index)| index)
    }

    fn numbered(&self) -> impl Iterator<Item = (u32, u64)> {
        let numbered = (0..).zip(&self.beyond).filter(|(_, beyond)| **beyond != ENDED);
        numbered.map(|(number, beyond)| (number, self.first + u64::from(*beyond)))
    }

    fn index(&self, number: u32) -> Option<u64> {
        let beyond = self.beyond.get(number as usize).filter(|beyond| **beyond != ENDED)?;
        Some(self.first + u64::from(*beyond))
    }

    /// Takes one in that is like the others. Gives its number.
    fn join(&mut self, new: &Begun<M>) -> Option<u32> {
        let alike = Rc::ptr_eq(&self.origin, &new.origin)
            && self.attempt == new.attempt
            && self.began.at == new.began.at;
        let beyond = u32::try_from(new.index.checked_sub(self.first)?).ok()?;
        (alike && beyond != ENDED).then_some(())?;
        let number = u32::try_from(self.beyond.len()).ok()?;
        self.beyond.push(beyond);
        self.left += 1;
        Some(number)
    }
}
