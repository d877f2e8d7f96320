//! What is being performed, by ticket: found, entered and removed in constant time, and no ticket is ever given twice.

/// The number of a running attempt at this desk: a place, and how often it was given before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Ticket {
    place: u32,
    round: u32,
}

impl Ticket {
    /// The ticket as one number.
    pub(crate) fn bits(self) -> u64 {
        u64::from(self.round) << 32 | u64::from(self.place)
    }

    /// The ticket of a number.
    pub(crate) fn of_bits(bits: u64) -> Self {
        let low = |number: u64| u32::try_from(number & u64::from(u32::MAX)).unwrap_or(0);
        Self { place: low(bits), round: low(bits >> 32) }
    }
}

/// Values by ticket.
#[derive(Debug)]
pub(super) struct Slab<T> {
    places: Vec<Place<T>>,
    vacant: Vec<u32>,
}

#[derive(Debug)]
struct Place<T> {
    round: u32,
    value: Option<T>,
}

impl<T> Default for Slab<T> {
    fn default() -> Self {
        Self { places: Vec::new(), vacant: Vec::new() }
    }
}

impl<T> Slab<T> {
    /// How many values there are.
    pub(super) fn len(&self) -> u32 {
        u32::try_from(self.places.len() - self.vacant.len()).unwrap_or(u32::MAX)
    }

    /// Takes a value; at most `u32::MAX` at a time, far more than credits are.
    pub(super) fn insert(&mut self, value: T) -> Ticket {
        if let Some(place) = self.vacant.pop()
            && let Some(vacant) = self.places.get_mut(place as usize)
        {
            vacant.value = Some(value);
            return Ticket { place, round: vacant.round };
        }
        let place = u32::try_from(self.places.len()).unwrap_or(u32::MAX);
        self.places.push(Place { round: 0, value: Some(value) });
        Ticket { place, round: 0 }
    }

    /// Gives a value back; nothing when the ticket was used before.
    pub(super) fn remove(&mut self, ticket: Ticket) -> Option<T> {
        let place = self.places.get_mut(ticket.place as usize).filter(|place| place.round == ticket.round)?;
        let value = place.value.take()?;
        place.round = place.round.wrapping_add(1);
        self.vacant.push(ticket.place);
        Some(value)
    }

    /// A value; nothing when the ticket was used before.
    pub(super) fn get(&self, ticket: Ticket) -> Option<&T> {
        let place = self.places.get(ticket.place as usize).filter(|place| place.round == ticket.round)?;
        place.value.as_ref()
    }

    /// All values.
    pub(super) fn iter(&self) -> impl Iterator<Item = (Ticket, &T)> {
        (0..).zip(&self.places).filter_map(|(place, it)| {
            it.value.as_ref().map(|value| (Ticket { place, round: it.round }, value))
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_ticket_finds_its_value_and_no_other(steps in prop::collection::vec((any::<bool>(), 0..40usize), 0..200)) {
            let (mut slab, mut model, mut given) = (Slab::default(), BTreeMap::new(), Vec::new());
            for (number, (insert, which)) in steps.into_iter().enumerate() {
                if insert {
                    let ticket = slab.insert(number);
                    prop_assert!(!given.contains(&ticket));
                    prop_assert_eq!(Ticket::of_bits(ticket.bits()), ticket);
                    prop_assert_eq!(slab.get(ticket), Some(&number));
                    given.push(ticket);
                    model.insert(ticket, number);
                } else if let Some(ticket) = given.get(which) {
                    prop_assert_eq!(slab.remove(*ticket), model.remove(ticket));
                }
                prop_assert_eq!(slab.len() as usize, model.len());
                let all: BTreeMap<Ticket, usize> = slab.iter().map(|(ticket, value)| (ticket, *value)).collect();
                prop_assert_eq!(&all, &model);
            }
        }
    }
}
