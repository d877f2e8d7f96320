//! The inputs of a measurement as LEDGER has them: in groups that were accepted as a whole, each in chunks, perhaps by several
//! anchors one after another. Which of them were answered is decided here.

use std::collections::BTreeMap;

use mmn_schema::id::Epoch;
use mmn_schema::time::Timestamp;

/// What was found so far. `C` is what is kept of a chunk.
#[derive(Debug)]
pub(crate) struct Gathered<C> {
    /// The newest term that took inputs in.
    epoch: Epoch,
    groups: Vec<Group<C>>,
}

/// A group of inputs, as far as it was found.
#[derive(Debug)]
pub(crate) struct Group<C> {
    /// The position of its first input in the measurement.
    pub(crate) first: u64,
    /// How many inputs it has.
    pub(crate) total: u64,
    pub(crate) at: Timestamp,
    /// By the position of their first inputs, with how many they have.
    pub(crate) chunks: BTreeMap<u64, (u64, C)>,
}

/// A chunk as it was written: by whom, when, of which group, and from which position on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Found {
    pub(crate) epoch: Epoch,
    pub(crate) at: Timestamp,
    pub(crate) group: u64,
    pub(crate) total: u64,
    pub(crate) first: u64,
    pub(crate) len: u64,
}

impl<C> Default for Gathered<C> {
    fn default() -> Self {
        Self { epoch: Epoch::default(), groups: Vec::new() }
    }
}

impl<C> Gathered<C> {
    /// A chunk was found. They come in the order in which they were written.
    pub(crate) fn enter(&mut self, found: Found, chunk: C) {
        let Found { epoch, at, group, total, first, len } = found;
        if epoch < self.epoch {
            // It landed after its anchor's time, and was never answered.
            return;
        }
        if epoch > self.epoch {
            self.epoch = epoch;
            // What the new anchor did not find whole was never answered either: it went on before that.
            self.groups.retain(|gathered| gathered.total == 0 || gathered.first < group);
        }
        match self.groups.iter_mut().find(|gathered| gathered.first == group && gathered.total == total) {
            Some(gathered) => drop(gathered.chunks.insert(first, (len, chunk))),
            None => {
                self.groups.push(Group { first: group, total, at, chunks: [(first, (len, chunk))].into() });
            }
        }
    }

    /// The groups that were answered, in order: what follows a gap was not.
    pub(crate) fn answered(mut self) -> Vec<Group<C>> {
        self.groups.sort_by_key(|group| (group.first, group.total));
        let mut next = 0;
        let answered = self.groups.iter().take_while(|group| {
            let follows = group.is_whole() && group.first == next;
            next += group.total;
            follows
        });
        let count = answered.count();
        self.groups.truncate(count);
        self.groups
    }
}

impl<C> Group<C> {
    fn is_whole(&self) -> bool {
        self.chunks.values().map(|(len, _)| len).sum::<u64>() == self.total
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunk(epoch: u64, group: u64, total: u64, first: u64, len: u64) -> Found {
        Found { epoch: Epoch(epoch), at: Timestamp::from_unix_ns(0), group, total, first, len }
    }

    fn answered(found: &[Found]) -> Vec<(u64, u64)> {
        let mut gathered = Gathered::default();
        for one in found {
            gathered.enter(*one, ());
        }
        gathered.answered().iter().map(|group| (group.first, group.total)).collect()
    }

    #[test]
    fn what_follows_a_gap_was_not_answered() {
        let whole = [chunk(1, 0, 3, 0, 2), chunk(1, 0, 3, 2, 1), chunk(1, 3, 1, 3, 1)];
        assert_eq!(answered(&whole), [(0, 3), (3, 1)]);
        assert_eq!(answered(&whole[1..]), []);
        assert_eq!(answered(&[whole[0], whole[2]]), []);
        assert_eq!(answered(&[chunk(1, 0, 0, 0, 0), whole[0], whole[1]]), [(0, 0), (0, 3)]);
    }

    #[test]
    fn a_term_takes_over_what_was_answered_before_it() {
        // The second anchor did not find the group at 2 whole, and began another one there.
        let torn = [chunk(1, 0, 2, 0, 2), chunk(1, 2, 5, 2, 3), chunk(2, 2, 1, 2, 1), chunk(1, 2, 5, 5, 2)];
        assert_eq!(answered(&torn), [(0, 2), (2, 1)]);
    }
}
