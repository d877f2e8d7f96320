//! Which candidates a tree takes.

use std::borrow::Cow;
use std::collections::BTreeSet;

use crate::api::{Coverage, Share};
use crate::vp::VantagePoint;

use super::ast::{Chooser, How, Part, Product, Root, Sample, Set, Term, as_number};
use super::countries::{Continent, CountryCode, fold, is_folded};
use super::{Assignment, Candidate, Choice, sample};

/// Chooses among `candidates`.
pub(super) fn choose(root: &Root, candidates: &[Candidate<'_>], seed_if_needed: u64) -> Choice {
    let mut sorted: Vec<Candidate<'_>> = candidates.to_vec();
    sorted.sort_by_key(|candidate| &candidate.vp.id);
    sorted.dedup_by_key(|candidate| &candidate.vp.id);
    let mut eval = Eval { candidates: &sorted, unmatched: Vec::new() };

    let mut allowed = vec![true; sorted.len()];
    for term in &root.except {
        take_away(&mut allowed, &eval.term(term));
    }
    let mut matched = vec![root.parts.is_empty(); sorted.len()];
    let mut choosers = Vec::new();
    for part in &root.parts {
        match part {
            Part::Terms(product) => add(&mut matched, &eval.product(product)),
            Part::Chosen(chooser) => choosers.push(chooser),
        }
    }
    keep(&mut matched, &allowed);

    // What stands in the list by itself is taken first; each choice of some then adds to it.
    let mut taken = matched.clone();
    let mut pools = Vec::new();
    for Chooser { how, among } in choosers {
        let mut among = eval.set(among);
        keep(&mut among, &allowed);
        add(&mut matched, &among);
        take_away(&mut among, &taken);
        let open = members(&sorted, &among);
        match how {
            How::Any => pools.push(open),
            How::Of(count) => {
                let plain = Sample { count: *count, by: Vec::new(), max: None, seed: None };
                mark(&mut taken, &sorted, &sample::draw(&open, &plain, seed_if_needed));
            }
            How::Sample(sample) => {
                mark(
                    &mut taken,
                    &sorted,
                    &sample::draw(&open, sample, sample.seed.unwrap_or(seed_if_needed)),
                );
            }
        }
    }
    pools.retain(|pool| !pool.is_empty());
    finish(eval.unmatched, &members(&sorted, &matched), &members(&sorted, &taken), &pools)
}

type Members = Vec<bool>;
type Vps<'a> = Vec<&'a VantagePoint>;

fn add(to: &mut Members, more: &Members) {
    to.iter_mut().zip(more).for_each(|(to, more)| *to |= more);
}

fn keep(of: &mut Members, only: &Members) {
    of.iter_mut().zip(only).for_each(|(of, only)| *of &= only);
}

fn take_away(from: &mut Members, less: &Members) {
    from.iter_mut().zip(less).for_each(|(from, less)| *from &= !less);
}

fn mark(taken: &mut Members, candidates: &[Candidate<'_>], drawn: &[&VantagePoint]) {
    for vp in drawn {
        if let Ok(position) = candidates.binary_search_by_key(&&vp.id, |candidate| &candidate.vp.id)
            && let Some(flag) = taken.get_mut(position)
        {
            *flag = true;
        }
    }
}

fn members<'a>(candidates: &[Candidate<'a>], members: &Members) -> Vps<'a> {
    candidates.iter().zip(members).filter(|(_, member)| **member).map(|(candidate, _)| candidate.vp).collect()
}

struct Eval<'c> {
    /// Ordered by id.
    candidates: &'c [Candidate<'c>],
    unmatched: Vec<String>,
}

impl Eval<'_> {
    fn set(&mut self, set: &Set) -> Members {
        let mut members = vec![set.union.is_empty(); self.candidates.len()];
        for product in &set.union {
            add(&mut members, &self.product(product));
        }
        for term in &set.except {
            take_away(&mut members, &self.term(term));
        }
        members
    }

    fn product(&mut self, product: &Product) -> Members {
        let mut members = vec![true; self.candidates.len()];
        for factor in &product.0 {
            let term = self.term(&factor.term);
            if factor.not {
                take_away(&mut members, &term);
            } else {
                keep(&mut members, &term);
            }
        }
        members
    }

    fn term(&mut self, term: &Term) -> Members {
        let members = match term {
            Term::Group(set) => return self.set(set),
            Term::All => return vec![true; self.candidates.len()],
            Term::Id(id) => {
                let mut members = vec![false; self.candidates.len()];
                if let Ok(position) = self.candidates.binary_search_by_key(&id, |candidate| &candidate.vp.id)
                    && let Some(member) = members.get_mut(position)
                {
                    *member = true;
                }
                members
            }
            Term::Word(word) => {
                let word = Word::new(word);
                self.each(|candidate| word.matches(candidate.vp))
            }
            Term::Name(name) => self.each(|candidate| same(&candidate.vp.name, name)),
            Term::Country(code) => self.each(|candidate| in_country(candidate.vp, *code)),
            Term::Continent(continent) => {
                self.each(|candidate| continent_of(candidate.vp) == Some(*continent))
            }
            Term::City(city) => {
                let city = fold(city);
                self.each(|candidate| in_city(candidate.vp, &city))
            }
            Term::As(number) => self.each(|candidate| candidate.vp.asn == Some(*number)),
            Term::Prefix(prefix) => {
                self.each(|candidate| candidate.vp.addresses.iter().any(|&address| prefix.contains(address)))
            }
            Term::Tag(tag) => self.each(|candidate| candidate.vp.tags.iter().any(|own| same(own, tag))),
            Term::Kind(kind) => self.each(|candidate| candidate.kinds.contains(kind)),
            Term::Within(circle) => self.each(|candidate| {
                let location = &candidate.vp.location;
                match (location.latitude, location.longitude) {
                    (Some(latitude), Some(longitude)) => circle.contains(latitude, longitude),
                    _ => false,
                }
            }),
        };
        if !members.contains(&true) {
            let text = term.to_string();
            if !self.unmatched.contains(&text) {
                self.unmatched.push(text);
            }
        }
        members
    }

    fn each(&self, test: impl Fn(&Candidate<'_>) -> bool) -> Members {
        self.candidates.iter().map(test).collect()
    }
}

/// A bare word and all that it can mean.
struct Word<'w> {
    text: &'w str,
    place: String,
    country: Option<CountryCode>,
    continent: Option<Continent>,
    asn: Option<u32>,
}

impl<'w> Word<'w> {
    fn new(text: &'w str) -> Self {
        // Bare digits are a name or a tag: an AS has its letters here.
        let asn = if text.starts_with(|c: char| c.is_ascii_digit()) { None } else { as_number(text) };
        Self {
            text,
            place: fold(text),
            country: CountryCode::find(text),
            continent: Continent::find(text),
            asn,
        }
    }

    fn matches(&self, vp: &VantagePoint) -> bool {
        same(&vp.name, self.text)
            || self.country.is_some_and(|code| in_country(vp, code))
            || self.continent.is_some() && continent_of(vp) == self.continent
            || in_city(vp, &self.place)
            || vp.tags.iter().any(|tag| same(tag, self.text))
            || self.asn.is_some() && vp.asn == self.asn
    }
}

/// Whether two texts differ in case at most.
fn same(one: &str, other: &str) -> bool {
    one.chars().flat_map(char::to_lowercase).eq(other.chars().flat_map(char::to_lowercase))
}

fn in_country(vp: &VantagePoint, code: CountryCode) -> bool {
    vp.location.country.as_deref().is_some_and(|own| code.is(own))
}

fn in_city(vp: &VantagePoint, folded: &str) -> bool {
    vp.location.city.as_deref().is_some_and(|city| is_folded(city, folded))
}

/// The continent that a vantage point states, else the one of its country.
pub(super) fn continent_of(vp: &VantagePoint) -> Option<Continent> {
    match (&vp.location.continent, &vp.location.country) {
        (Some(continent), _) => Continent::find(continent),
        (None, Some(country)) => Continent::of_country(country),
        (None, None) => None,
    }
}

fn finish(unmatched: Vec<String>, matched: &Vps<'_>, taken: &Vps<'_>, pools: &[Vps<'_>]) -> Choice {
    let count = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
    let coverage = Coverage {
        matched: count(matched.len()),
        chosen: count(taken.len() + pools.len()),
        ases: share(matched, taken, pools, |vp| vp.asn),
        countries: share(matched, taken, pools, |vp| vp.location.country.as_deref().map(upper)),
        seed: None,
        unmatched,
    };
    let vps = taken.iter().map(|vp| Assignment::Vp(vp.id.clone()));
    let pools = pools.iter().map(|pool| Assignment::Pool(pool.iter().map(|vp| vp.id.clone()).collect()));
    Choice { assignments: vps.chain(pools).collect(), coverage }
}

/// Of how many different values of something the choice has one.
fn share<'v, T: Ord>(
    matched: &Vps<'v>,
    taken: &Vps<'v>,
    pools: &[Vps<'v>],
    of: impl Fn(&'v VantagePoint) -> Option<T>,
) -> Share {
    let count = |set: BTreeSet<T>| u64::try_from(set.len()).unwrap_or(u64::MAX);
    let all: BTreeSet<T> = matched.iter().filter_map(|vp| of(vp)).collect();
    let mut some: BTreeSet<T> = taken.iter().filter_map(|vp| of(vp)).collect();
    for pool in pools {
        let mut values = pool.iter().map(|vp| of(vp));
        // A pool counts for what all its members share.
        if let Some(Some(first)) = values.next()
            && values.all(|value| value.as_ref() == Some(&first))
        {
            some.insert(first);
        }
    }
    Share { matched: count(all), chosen: count(some) }
}

fn upper(country: &str) -> Cow<'_, str> {
    if country.bytes().any(|byte| byte.is_ascii_lowercase()) {
        Cow::Owned(country.to_ascii_uppercase())
    } else {
        Cow::Borrowed(country)
    }
}
