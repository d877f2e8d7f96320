//! When vantage points were there: for each a week of slices of ten minutes, of which equal ones that follow each other are
//! one run. It is told each second how they are, and reads no clock itself.
//!
//! What nobody saw stays unseen: a slice that no anchor watched to its end has less than ten minutes in it.
//!
//! Begin with [`Book`].

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use mmn_schema::api::Health;
use mmn_schema::encoding::Encoding;
use mmn_schema::id::VpId;
use mmn_schema::status::{Availability, AvailabilitySlice, AvailabilityStrip, AvailabilityTable};
use mmn_schema::time::Timestamp;
use serde::{Deserialize, Serialize};

/// How long a slice is.
pub(crate) const SLICE: Duration = Duration::from_secs(SLICE_S as u64);
const SLICE_S: u32 = 600;
/// How many slices are kept: a week.
pub(crate) const MOST: usize = 7 * 24 * 6;
/// The most vantage points that are written down.
const MAX_VPS: usize = 20_000;
/// About how many bytes of them go into one message.
const PAGE_BYTES: usize = 128 * 1024;
/// For so many seconds after the start one that was there before may not have announced itself yet.
const SETTLES_S: u32 = 30;

/// The seconds of a slice: up, degraded, lost, stopped.
type Seconds = [u16; 4];

/// How all vantage points were.
#[derive(Debug, Default)]
pub(crate) struct Book {
    vps: BTreeMap<VpId, Strip>,
    /// The number of the slice that is not over, counted from 1970 UTC.
    now: u64,
    /// For how many seconds it is kept.
    watched_s: u32,
}

/// How one was.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
struct Strip {
    /// The slices that are over, from the latest back: how many of them are how.
    #[serde(rename = "r")]
    runs: VecDeque<(u16, Seconds)>,
    /// The slice that is not over.
    #[serde(rename = "n")]
    now: Seconds,
    /// What it was last.
    #[serde(rename = "l")]
    last: Option<State>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum State {
    #[serde(rename = "u")]
    Up,
    #[serde(rename = "d")]
    Degraded,
    #[serde(rename = "l")]
    Lost,
    #[serde(rename = "s")]
    Stopped,
}

/// Some strips as they are written down.
#[derive(Debug, Serialize, Deserialize)]
struct Page {
    /// The slice that was not over.
    now: u64,
    vps: Vec<(VpId, Strip)>,
}

impl From<Health> for State {
    fn from(health: Health) -> Self {
        match health {
            Health::Healthy => Self::Up,
            Health::Starting | Health::Degraded | Health::Suspect | Health::Draining => Self::Degraded,
            Health::Lost => Self::Lost,
            Health::Stopped => Self::Stopped,
        }
    }
}

impl Book {
    /// For so many seconds before `at` the vantage points were so.
    pub(crate) fn watch<'a>(
        &mut self,
        at: Timestamp,
        seconds: u16,
        vps: impl Iterator<Item = (&'a VpId, Health)>,
    ) {
        self.turn(number_of(at));
        self.watched_s = self.watched_s.saturating_add(seconds.into());
        let mut seen: BTreeMap<&VpId, State> = vps.map(|(vp, health)| (vp, health.into())).collect();
        for (vp, strip) in &mut self.vps {
            let state = seen.remove(vp).or(match strip.last {
                // Forgotten by now, or not heard of since this anchor has started.
                Some(State::Stopped) => Some(State::Stopped),
                Some(_) if self.watched_s > SETTLES_S => Some(State::Lost),
                _ => None,
            });
            strip.add(state, seconds);
        }
        for (vp, state) in seen {
            // What was never there is not missed.
            if self.vps.len() >= MAX_VPS || !matches!(state, State::Up | State::Degraded) {
                continue;
            }
            self.vps.entry(vp.clone()).or_default().add(Some(state), seconds);
        }
    }

    /// Ends slices until this one is the one that is not over. A clock that is set back changes nothing.
    fn turn(&mut self, number: u64) {
        if number <= self.now {
            return;
        }
        let passed = usize::try_from(number - self.now).unwrap_or(usize::MAX).min(MOST);
        let first = self.now == 0;
        self.now = number;
        if first {
            return;
        }
        for strip in self.vps.values_mut() {
            strip.turn(passed);
        }
        self.vps.retain(|_, strip| strip.says_something());
    }

    /// One vantage point in the last `all` slices, of which `group` each are told as one.
    pub(crate) fn of(&self, vp: VpId, all: usize, group: usize) -> Availability {
        let slices = self.vps.get(&vp).map_or_else(|| vec![[0; 4]; all], |strip| strip.slices(all));
        let (start, slice_ns) = self.times(all, group);
        let told = |slices: &[Seconds]| {
            let [up_s, degraded_s, lost_s, stopped_s] = sum(slices);
            AvailabilitySlice { up_s, degraded_s, lost_s, stopped_s }
        };
        Availability { vp, start, slice_ns, slices: grouped(&slices, group).map(told).collect() }
    }

    /// All of them in a word each.
    pub(crate) fn table(&self, all: usize, group: usize) -> AvailabilityTable {
        let (start, slice_ns) = self.times(all, group);
        let strip = |(vp, strip): (&VpId, &Strip)| {
            let slices = strip.slices(all);
            let letter = |slices: &[Seconds]| match sum(slices) {
                [_, _, (1..), _] => 'l',
                [_, _, _, (1..)] => 's',
                [_, (1..), ..] => 'd',
                [(1..), ..] => 'u',
                _ => '-',
            };
            let [up, degraded, lost, stopped] = sum(&slices).map(f64::from);
            let seen = up + degraded + lost + stopped;
            AvailabilityStrip {
                vp: vp.clone(),
                strip: grouped(&slices, group).map(letter).collect(),
                up_ratio: (seen > 0.0).then(|| (up + degraded) / seen),
            }
        };
        AvailabilityTable { start, slice_ns, vps: self.vps.iter().map(strip).collect() }
    }

    /// When the first of `all` slices begins, and how long `group` of them are.
    fn times(&self, all: usize, group: usize) -> (Timestamp, u64) {
        // Whole groups end with the slice that is not over; the first one may be short of some.
        let whole = (all.div_ceil(group) * group) as u64;
        let first = self.now.saturating_add(1).saturating_sub(whole).saturating_mul(SLICE_S.into());
        let start =
            Timestamp::from_unix_ns(i64::try_from(first).unwrap_or(i64::MAX).saturating_mul(1_000_000_000));
        (start, u64::from(SLICE_S) * group as u64 * 1_000_000_000)
    }

    /// All of it as it is written down, in parts.
    pub(crate) fn pages(&self) -> Vec<Vec<u8>> {
        let (mut pages, mut vps, mut bytes) = (Vec::new(), Vec::new(), 0);
        let write = |vps: Vec<(VpId, Strip)>| Encoding::Cbor.encode(&Page { now: self.now, vps }).ok();
        for (vp, strip) in &self.vps {
            bytes += 48 + strip.runs.len() * 16;
            vps.push((vp.clone(), strip.clone()));
            if bytes >= PAGE_BYTES {
                pages.extend(write(std::mem::take(&mut vps)));
                bytes = 0;
            }
        }
        if !vps.is_empty() {
            pages.extend(write(vps));
        }
        pages
    }

    /// What was written down. A part may be left of an earlier time: the latest word on a vantage point counts.
    pub(crate) fn restored(pages: &[Vec<u8>]) -> Self {
        let read = |page: &Vec<u8>| match Encoding::Cbor.decode::<Page>(page) {
            Ok(page) => Some(page),
            Err(error) => {
                tracing::warn!(%error, "a part of the vantage points' availability can't be read");
                None
            }
        };
        let mut pages: Vec<Page> = pages.iter().filter_map(read).collect();
        pages.sort_by_key(|page| std::cmp::Reverse(page.now));
        let mut book = Self { now: pages.first().map_or(0, |page| page.now), ..Self::default() };
        for Page { now, vps } in pages {
            let passed = usize::try_from(book.now - now).unwrap_or(usize::MAX).min(MOST);
            for (vp, mut strip) in vps {
                strip.turn(passed);
                if strip.says_something() && book.vps.len() < MAX_VPS {
                    book.vps.entry(vp).or_insert(strip);
                }
            }
        }
        book
    }

    /// As much of it as is asked for: of one vantage point, or of all.
    pub(crate) fn copy(&self, vp: Option<&VpId>) -> Self {
        let one = |vp: &VpId| self.vps.get(vp).map(|strip| (vp.clone(), strip.clone()));
        let vps = vp.map_or_else(|| self.vps.clone(), |vp| one(vp).into_iter().collect());
        Self { vps, now: self.now, watched_s: self.watched_s }
    }
}

fn number_of(at: Timestamp) -> u64 {
    u64::try_from(at.unix_ns() / 1_000_000_000 / i64::from(SLICE_S)).unwrap_or_default()
}

fn sum(slices: &[Seconds]) -> [u32; 4] {
    slices.iter().fold([0; 4], |mut sum, slice| {
        for (sum, seconds) in sum.iter_mut().zip(slice) {
            *sum += u32::from(*seconds);
        }
        sum
    })
}

/// Groups of slices, of which the first may be short.
fn grouped(slices: &[Seconds], group: usize) -> impl Iterator<Item = &[Seconds]> {
    let (short, whole) = slices.split_at_checked(slices.len() % group).unwrap_or_default();
    Some(short).filter(|short| !short.is_empty()).into_iter().chain(whole.chunks(group))
}

impl Strip {
    fn add(&mut self, state: Option<State>, seconds: u16) {
        let Some(state) = state else { return };
        self.last = Some(state);
        let at = match state {
            State::Up => 0,
            State::Degraded => 1,
            State::Lost => 2,
            State::Stopped => 3,
        };
        let room = u16::try_from(SLICE_S)
            .unwrap_or(u16::MAX)
            .saturating_sub(self.now.iter().fold(0, |sum, seconds| sum.saturating_add(*seconds)));
        if let Some(sum) = self.now.get_mut(at) {
            *sum += seconds.min(room);
        }
    }

    /// So many slices end: this one, and others of which nothing is known.
    fn turn(&mut self, passed: usize) {
        if passed == 0 {
            return;
        }
        self.push(1, self.now);
        self.push(passed - 1, [0; 4]);
        self.now = [0; 4];
        let mut before = 0;
        // What is older than a week is forgotten.
        self.runs.retain_mut(|(count, _)| {
            let room = MOST.saturating_sub(before);
            before += usize::from(*count);
            *count = u16::try_from(room).unwrap_or(u16::MAX).min(*count);
            *count > 0
        });
    }

    fn push(&mut self, count: usize, slice: Seconds) {
        let count = u16::try_from(count.min(MOST)).unwrap_or(u16::MAX);
        match self.runs.front_mut() {
            _ if count == 0 => {}
            Some((run, same)) if *same == slice => *run = run.saturating_add(count),
            _ => self.runs.push_front((count, slice)),
        }
    }

    /// Whether it was there, or left in order, at any time of the week.
    fn says_something(&self) -> bool {
        let there = |[up, degraded, _, _]: &Seconds| *up > 0 || *degraded > 0;
        there(&self.now) || self.runs.iter().any(|(_, slice)| there(slice))
    }

    /// The last `all` slices in the order of time.
    fn slices(&self, all: usize) -> Vec<Seconds> {
        let runs = self.runs.iter().flat_map(|&(count, slice)| std::iter::repeat_n(slice, count.into()));
        let back = std::iter::once(self.now).chain(runs).chain(std::iter::repeat([0; 4]));
        let mut slices: Vec<_> = back.take(all).collect();
        slices.reverse();
        slices
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn vp(number: usize) -> VpId {
        VpId::derive("UTEST", &number.to_string())
    }

    fn at(second: u64) -> Timestamp {
        Timestamp::from_unix_ns(i64::try_from(1_800_000_000 + second).unwrap() * 1_000_000_000)
    }

    fn letters(book: &Book, all: usize, group: usize) -> Vec<String> {
        book.table(all, group).vps.into_iter().map(|strip| strip.strip).collect()
    }

    /// Each ten seconds, up to `until`.
    fn pass(book: &mut Book, from: u64, until: u64, health: Option<Health>) {
        for second in (from..until).step_by(10) {
            book.watch(
                at(second),
                10,
                health.map(|health| (vp(0), health)).iter().map(|(vp, health)| (vp, *health)),
            );
        }
    }

    #[test]
    fn a_day_in_which_everything_happens() {
        let mut book = Book::default();
        pass(&mut book, 0, 3600, Some(Health::Healthy));
        pass(&mut book, 3600, 4200, Some(Health::Suspect));
        pass(&mut book, 4200, 4500, Some(Health::Lost));
        // It is forgotten, and still away; then no anchor is there for half an hour.
        pass(&mut book, 4500, 5400, None);
        let pages = book.pages();
        assert_eq!(pages.len(), 1);
        let mut book = Book::restored(&pages);
        pass(&mut book, 7200, 7800, Some(Health::Healthy));
        pass(&mut book, 7800, 8400, Some(Health::Stopped));
        pass(&mut book, 8400, 9600, None);
        assert_eq!(letters(&book, 17, 1), ["-uuuuuudll---usss"]);
        assert_eq!(letters(&book, 17, 3), ["uudlus"]);
        let one = book.of(vp(0), 17, 17);
        let all = AvailabilitySlice { up_s: 4200, degraded_s: 600, lost_s: 1200, stopped_s: 1800 };
        assert_eq!((one.slices, one.slice_ns), (vec![all], 17 * 600_000_000_000));
        assert_eq!(one.start, Timestamp::from_unix_ns((1_800_000_000 - 600) * 1_000_000_000));
        let ratio = book.table(17, 1).vps[0].up_ratio.unwrap();
        assert!((ratio - 4800.0 / 7800.0).abs() < 1e-9, "{ratio}");
        assert_eq!(book.of(vp(9), 3, 1).slices, [AvailabilitySlice::default(); 3]);
    }

    #[test]
    fn one_that_has_not_announced_itself_yet_is_not_lost() {
        let mut book = Book::default();
        pass(&mut book, 0, 600, Some(Health::Healthy));
        let pages = book.pages();
        let mut book = Book::restored(&pages);
        pass(&mut book, 600, 630, None);
        assert_eq!(letters(&book, 2, 1), ["u-"]);
        pass(&mut book, 630, 660, None);
        assert_eq!(letters(&book, 2, 1), ["ul"]);
        assert_eq!(book.of(vp(0), 1, 1).slices[0].lost_s, 30);
    }

    #[test]
    fn what_is_long_gone_is_forgotten_and_what_stays_the_same_takes_no_room() {
        let mut book = Book::default();
        let week = 7 * 24 * 3600;
        for second in (0..3 * week).step_by(600) {
            let there = [(vp(0), Health::Healthy), (vp(1), Health::Healthy)];
            let count = if second < 6000 { 2 } else { 1 };
            book.watch(at(second), 600, there[..count].iter().map(|(vp, health)| (vp, *health)));
        }
        assert_eq!(book.vps.keys().collect::<Vec<_>>(), [&vp(0)]);
        assert_eq!(book.vps[&vp(0)].runs.len(), 1);
        assert_eq!(letters(&book, MOST, 1), ["u".repeat(MOST)]);
    }

    proptest! {
        #[test]
        fn seconds_are_neither_made_nor_lost_but_by_age(
            steps in prop::collection::vec((1..3000u64, 1..11u16, 0..7usize), 1..300), cut in 0..300usize,
        ) {
            const ALL: [Health; 7] = [
                Health::Starting, Health::Healthy, Health::Degraded, Health::Suspect, Health::Lost, Health::Draining, Health::Stopped,
            ];
            let (mut book, mut second) = (Book::default(), 0);
            for (number, (gap, seconds, health)) in steps.iter().enumerate() {
                second += gap;
                let there = (vp(0), ALL[*health]);
                book.watch(at(second), *seconds, std::iter::once((&there.0, there.1)));
                if number == cut {
                    let pages = book.pages();
                    let again = Book::restored(&pages);
                    prop_assert_eq!(&again.vps, &book.vps);
                    book = again;
                }
            }
            let strip = book.vps.get(&vp(0));
            prop_assume!(strip.is_some());
            let slices = strip.unwrap().slices(MOST);
            prop_assert_eq!(slices.len(), MOST);
            for slice in slices {
                prop_assert!(slice.iter().sum::<u16>() <= 600);
            }
            prop_assert!(strip.unwrap().runs.iter().map(|(count, _)| usize::from(*count)).sum::<usize>() <= MOST);
        }

        #[test]
        fn garbage_is_refused_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = Book::restored(&[bytes]).table(MOST, 7);
        }
    }
}
