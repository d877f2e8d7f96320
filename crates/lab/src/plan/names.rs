//! Names of the file and what they name.

use rustc_hash::FxHashMap;

/// Names of one kind of thing.
#[derive(Debug)]
pub(super) struct Names<I> {
    noun: &'static str,
    known: FxHashMap<Box<str>, I>,
    /// In the order of the file, for suggestions.
    order: Vec<Box<str>>,
}

impl<I: Copy> Names<I> {
    pub(super) fn new(noun: &'static str) -> Self {
        Self { noun, known: FxHashMap::default(), order: Vec::new() }
    }

    /// Adds a name; says what is wrong when it is taken or no name.
    pub(super) fn add(&mut self, name: &str, id: I) -> Result<(), String> {
        let good = |c: char| c.is_ascii_alphanumeric() || ".-_".contains(c);
        if name.is_empty() || !name.chars().all(good) {
            return Err(format!(
                "the name \"{name}\": letters, digits, dots, hyphens and underscores make a name"
            ));
        }
        if self.known.insert(name.into(), id).is_some() {
            return Err(format!(
                "the name \"{name}\" is taken; names are unique among routers, vps and hosts"
            ));
        }
        self.order.push(name.into());
        Ok(())
    }

    /// What a name names; says so where it names nothing, and which name may have been meant.
    pub(super) fn find(&self, name: &str) -> Result<I, String> {
        if let Some(id) = self.known.get(name) {
            return Ok(*id);
        }
        let near = self.order.iter().map(|known| (distance(name, known), known)).min();
        Err(match near {
            Some((distance, near)) if distance <= 1 + name.len() / 4 => {
                format!("unknown {} \"{name}\"; did you mean \"{near}\"?", self.noun)
            }
            _ => format!("unknown {} \"{name}\"", self.noun),
        })
    }
}

/// How many letters must be changed, added or taken away to make one of the other (Levenshtein).
fn distance(one: &str, other: &str) -> usize {
    let mut row: Vec<usize> = (0..=other.chars().count()).collect();
    for (i, a) in one.chars().enumerate() {
        let mut diagonal = i;
        let mut left = i + 1;
        if let Some(first) = row.first_mut() {
            *first = left;
        }
        for (cell, b) in row.iter_mut().skip(1).zip(other.chars()) {
            let least = (diagonal + usize::from(a != b)).min(*cell + 1).min(left + 1);
            diagonal = std::mem::replace(cell, least);
            left = least;
        }
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_names_are_suggested() {
        let mut names = Names::new("router");
        names.add("ams.t1", 1).unwrap();
        names.add("lon.t1", 2).unwrap();
        assert_eq!(names.find("ams.t1"), Ok(1));
        assert_eq!(
            names.find("ams.t2"),
            Err("unknown router \"ams.t2\"; did you mean \"ams.t1\"?".to_owned())
        );
        assert_eq!(names.find("kangaroo"), Err("unknown router \"kangaroo\"".to_owned()));
        assert!(names.add("lon.t1", 3).is_err() && names.add("a b", 3).is_err());
    }

    #[test]
    fn distances() {
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("abc", "abc"), 0);
    }
}
