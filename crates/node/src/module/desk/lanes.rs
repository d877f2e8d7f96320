//! What waits, in a queue for each kind, and how much of each kind is at work.

use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;

use mmn_schema::dispatch::Task;
use mmn_schema::id::KindName;

use super::Origin;

/// The queues.
#[derive(Debug)]
pub(super) struct Lanes<M> {
    all: Vec<Lane<M>>,
    queued: u32,
    /// Whose turn it is.
    turn: usize,
}

#[derive(Debug)]
struct Lane<M> {
    kind: KindName,
    /// Whether its tasks go in bulk.
    bulk: bool,
    limit: u32,
    at_work: u32,
    queue: VecDeque<Portion<M>>,
}

/// What waits of a batch; never empty.
#[derive(Debug)]
struct Portion<M> {
    origin: Rc<Origin<M>>,
    tasks: VecDeque<Task>,
}

/// A task that waited.
#[derive(Debug)]
pub(super) struct Waiting<M> {
    pub(super) origin: Rc<Origin<M>>,
    pub(super) task: Task,
}

impl<M> Default for Lanes<M> {
    fn default() -> Self {
        Self { all: Vec::new(), queued: 0, turn: 0 }
    }
}

impl<M> Lanes<M> {
    /// How many tasks wait.
    pub(super) const fn queued(&self) -> u32 {
        self.queued
    }

    /// The lane of a kind, or of what of it goes in bulk, so many at a time. There are at most twice as many as kinds
    /// were ever accepted.
    pub(super) fn of(
        &mut self,
        kind: &KindName,
        bulk: Option<u32>,
        concurrency: &BTreeMap<KindName, u32>,
    ) -> usize {
        let same = |lane: &Lane<M>| lane.kind == *kind && lane.bulk == bulk.is_some();
        self.all.iter().position(same).unwrap_or_else(|| {
            let limit = bulk.unwrap_or_else(|| concurrency.get(kind).copied().unwrap_or(1));
            self.all.push(Lane {
                kind: kind.clone(),
                bulk: bulk.is_some(),
                limit,
                at_work: 0,
                queue: VecDeque::new(),
            });
            self.all.len() - 1
        })
    }

    /// Tasks of a batch wait.
    pub(super) fn push(&mut self, origin: Rc<Origin<M>>, tasks: Vec<Task>) {
        let Some(lane) = self.all.get_mut(origin.lane).filter(|_| !tasks.is_empty()) else { return };
        self.queued += u32::try_from(tasks.len()).unwrap_or(u32::MAX);
        lane.queue.push_back(Portion { origin, tasks: tasks.into() });
    }

    /// Whether a task waits that may be begun.
    pub(super) fn can_start(&self) -> bool {
        self.queued > 0 && self.all.iter().any(Lane::can_start)
    }

    /// The next task that may be begun.
    pub(super) fn next(&mut self) -> Option<Waiting<M>> {
        if self.queued == 0 {
            return None;
        }
        let turn = self.turn.min(self.all.len());
        let (first, later) = self.all.split_at_mut(turn);
        let mut around = (turn..).zip(later).chain((0..).zip(first));
        let (at, lane) = around.find(|(_, lane)| lane.can_start())?;
        let portion = lane.queue.front_mut()?;
        let task = portion.tasks.pop_front()?;
        let origin = if portion.tasks.is_empty() {
            lane.queue.pop_front()?.origin
        } else {
            Rc::clone(&portion.origin)
        };
        self.turn = at + 1;
        self.queued -= 1;
        Some(Waiting { origin, task })
    }

    /// An attempt of a lane begins.
    pub(super) fn begun(&mut self, lane: usize) {
        if let Some(lane) = self.all.get_mut(lane) {
            lane.at_work += 1;
        }
    }

    /// An attempt of a lane has ended.
    pub(super) fn ended(&mut self, lane: usize) {
        if let Some(lane) = self.all.get_mut(lane) {
            lane.at_work = lane.at_work.saturating_sub(1);
        }
    }

    /// Takes out what is meant.
    pub(super) fn remove(&mut self, which: impl Fn(&Origin<M>, &Task) -> bool) -> Vec<Waiting<M>> {
        let mut removed = Vec::new();
        for portion in self.all.iter_mut().flat_map(|lane| &mut lane.queue) {
            let Portion { origin, tasks } = portion;
            if tasks.iter().any(|task| which(origin, task)) {
                let (out, rest) = tasks.drain(..).partition::<VecDeque<_>, _>(|task| which(origin, task));
                *tasks = rest;
                let waiting = |task| Waiting { origin: Rc::clone(origin), task };
                removed.extend(out.into_iter().map(waiting));
            }
        }
        if !removed.is_empty() {
            self.all.iter_mut().for_each(|lane| lane.queue.retain(|portion| !portion.tasks.is_empty()));
        }
        self.queued -= u32::try_from(removed.len()).unwrap_or(u32::MAX);
        removed
    }

    /// All that waits.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&Rc<Origin<M>>, u64)> {
        let portions = self.all.iter().flat_map(|lane| &lane.queue);
        portions.flat_map(|portion| portion.tasks.iter().map(|task| (&portion.origin, task.index)))
    }
}

impl<M> Lane<M> {
    fn can_start(&self) -> bool {
        self.at_work < self.limit && !self.queue.is_empty()
    }
}
