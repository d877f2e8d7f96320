//! What is held, as an answer to a sync tells it: written as it is found, for there may be very much, and anchors ask often.

use std::collections::BTreeMap;
use std::iter;

use mmn_schema::id::{AnchorId, MeasurementId};
use serde::{Serialize, Serializer};

use super::at_work::{AtWork, Flock};
use super::lanes::Lanes;
use super::{Heir, owed_to};

/// All that is held and owed to one anchor. Its form is that of [`mmn_schema::dispatch::Held`], in a sequence.
#[derive(Debug)]
pub(super) struct AllHeld<'a, M>(BTreeMap<MeasurementId, Of<'a, M>>);

/// That of one measurement.
#[derive(Debug)]
struct Of<'a, M> {
    indices: Vec<u64>,
    flocks: Vec<&'a Flock<M>>,
}

#[derive(Serialize)]
#[serde(bound = "")]
struct Held<'a, M> {
    measurement: &'a MeasurementId,
    indices: &'a Of<'a, M>,
}

impl<'a, M> AllHeld<'a, M> {
    pub(super) fn of(
        anchor: &AnchorId,
        heir: Option<&Heir>,
        at_work: &'a AtWork<M>,
        lanes: &Lanes<M>,
    ) -> Self {
        let mut held = BTreeMap::new();
        let new = || Of { indices: Vec::new(), flocks: Vec::new() };
        let alone = at_work.alone().map(|(_, origin, index)| (origin, index));
        for (origin, index) in alone.chain(lanes.iter()) {
            if owed_to(heir, origin) == anchor {
                held.entry(origin.measurement).or_insert_with(new).indices.push(index);
            }
        }
        for flock in at_work.flocks().filter(|flock| owed_to(heir, flock.origin()) == anchor) {
            held.entry(flock.origin().measurement).or_insert_with(new).flocks.push(flock);
        }
        Self(held)
    }

    /// How many attempts it names.
    pub(super) fn len(&self) -> usize {
        self.0.values().map(Of::len).sum()
    }
}

impl<M> Of<'_, M> {
    fn len(&self) -> usize {
        self.indices.len() + self.flocks.iter().map(|flock| flock.left() as usize).sum::<usize>()
    }
}

impl<M> Serialize for AllHeld<'_, M> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.iter().map(|(measurement, indices)| Held { measurement, indices }))
    }
}

impl<M> Serialize for Of<'_, M> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut all =
            self.indices.iter().copied().chain(self.flocks.iter().flat_map(|flock| flock.indices()));
        // Its length is told first: an encoding may need it.
        serializer.collect_seq(Counted { left: self.len(), next: iter::from_fn(|| all.next()) })
    }
}

struct Counted<I> {
    left: usize,
    next: I,
}

impl<I: Iterator> Iterator for Counted<I> {
    type Item = I::Item;

    fn next(&mut self) -> Option<I::Item> {
        self.left = self.left.saturating_sub(1);
        self.next.next()
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}
