//! Values by key: found, entered and removed in constant time, and no key is ever given twice.

/// Where a value is: a place, and how often it was given before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Key {
    place: u32,
    round: u32,
}

impl Key {
    /// The key as one number.
    pub(crate) fn bits(self) -> u64 {
        u64::from(self.round) << 32 | u64::from(self.place)
    }

    /// The key of a number.
    pub(crate) fn of_bits(bits: u64) -> Self {
        let low = |number: u64| u32::try_from(number & u64::from(u32::MAX)).unwrap_or(0);
        Self { place: low(bits), round: low(bits >> 32) }
    }
}

/// Values by key.
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
    pub(super) fn insert(&mut self, value: T) -> Key {
        if let Some(place) = self.vacant.pop()
            && let Some(vacant) = self.places.get_mut(place as usize)
        {
            vacant.value = Some(value);
            return Key { place, round: vacant.round };
        }
        let place = u32::try_from(self.places.len()).unwrap_or(u32::MAX);
        self.places.push(Place { round: 0, value: Some(value) });
        Key { place, round: 0 }
    }

    /// Gives a value back; nothing when the key was used before.
    pub(super) fn remove(&mut self, key: Key) -> Option<T> {
        let place = self.places.get_mut(key.place as usize).filter(|place| place.round == key.round)?;
        let value = place.value.take()?;
        place.round = place.round.wrapping_add(1);
        self.vacant.push(key.place);
        Some(value)
    }

    /// A value; nothing when the key was used before.
    pub(super) fn get(&self, key: Key) -> Option<&T> {
        let place = self.places.get(key.place as usize).filter(|place| place.round == key.round)?;
        place.value.as_ref()
    }

    /// The same, to be changed.
    pub(super) fn get_mut(&mut self, key: Key) -> Option<&mut T> {
        let place = self.places.get_mut(key.place as usize).filter(|place| place.round == key.round)?;
        place.value.as_mut()
    }

    /// All values.
    pub(super) fn iter(&self) -> impl Iterator<Item = (Key, &T)> {
        (0..)
            .zip(&self.places)
            .filter_map(|(place, it)| it.value.as_ref().map(|value| (Key { place, round: it.round }, value)))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_key_finds_its_value_and_no_other(steps in prop::collection::vec((any::<bool>(), 0..40usize), 0..200)) {
            let (mut slab, mut model, mut given) = (Slab::default(), BTreeMap::new(), Vec::new());
            for (number, (insert, which)) in steps.into_iter().enumerate() {
                if insert {
                    let key = slab.insert(number);
                    prop_assert!(!given.contains(&key));
                    prop_assert_eq!(Key::of_bits(key.bits()), key);
                    prop_assert_eq!(slab.get(key), Some(&number));
                    given.push(key);
                    model.insert(key, number);
                } else if let Some(key) = given.get(which) {
                    prop_assert_eq!(slab.remove(*key), model.remove(key));
                }
                prop_assert_eq!(slab.len() as usize, model.len());
                let all: BTreeMap<Key, usize> = slab.iter().map(|(key, value)| (key, *value)).collect();
                prop_assert_eq!(&all, &model);
            }
        }
    }
}
