//! One echo request to each of very many targets: no machine, no future and no vector per target.
//!
//! A probe is a slot of 32 octets ([`SLOT_BYTES`]), 48 for IPv6. Its identifier and sequence number name the slot, a keyed cookie in
//! its payload proves that a reply is to the probe that is in it now, and a hashed timer wheel ends it when nothing
//! comes. [`Bulk`] is all of it without sockets; its driver asks for packets, says when they left, hands in what came,
//! and takes the ends:
//!
//! 1. [`Bulk::measure`], then [`Bulk::submit`] for each target, then [`Bulk::complete`].
//! 2. [`Bulk::front`] is the target whose turn it is. Put it off ([`Bulk::hold`]), give it up ([`Bulk::give_up`]), or
//!    take its packet ([`Bulk::write`]) and say when it left ([`Bulk::left`]).
//! 3. Hand in whatever came ([`Bulk::heard`]), and say when something may have been missed ([`Bulk::overrun`]), before
//!    [`Bulk::turn`] ends what is overdue.
//!
//! Each submitted probe ends exactly once: each of these calls gives the [`End`]s that it made.
//!
//! Only the first answer counts, and it ends the probe: duplicates are not seen.

mod heard;
mod table;
mod template;
mod token;

use std::{collections::VecDeque, net::IpAddr};

use crate::{
    cookie,
    packet::{Departure, Identity, SendFailure, shown},
    time::{Instant, Nanos, Stamp, StampSource, Utc},
};
use table::{COARSE, State, Table};
use token::Tokens;

pub use heard::{Heard, Said, hear};
pub use table::{Key, SLOT_BYTES};
pub use template::{MAX_PACKET_BYTES, MAX_PAYLOAD_BYTES, Shape, Template};
pub use token::COOKIE_BYTES;

/// What a measurement asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spec {
    /// What its packets look like.
    pub shape: Shape,
    /// How long after its request a reply counts as received.
    pub timeout: Nanos,
    /// When the time of all its tasks is over.
    pub deadline: Instant,
}

/// Names a measurement that was begun. It is gone with the last of its probes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SpecId(u16);

impl SpecId {
    /// Its place among those that are under way: low, and used again.
    pub fn place(self) -> usize {
        self.0.into()
    }
}

/// What became of a probe.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct End {
    /// Of which measurement it was.
    pub spec: SpecId,
    /// Which of it, as it was submitted.
    pub owner: u32,
    /// Its record.
    pub sample: Sample,
}

/// The record of a probe.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sample {
    /// Where it went.
    pub target: IpAddr,
    /// When it left; absent when it never did.
    pub sent: Option<Stamp>,
    /// How it looked on the wire; absent when it never left.
    pub departure: Option<Departure>,
    /// How it ended.
    pub fate: Fate,
    /// Civil time was set while it was under way.
    pub clock_stepped: bool,
}

/// How a probe ended.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Fate {
    /// Answered in time.
    Replied(Answer),
    /// Answered after the timeout.
    Late(Answer),
    /// An ICMP error came.
    Error(Answer, Said),
    /// Nothing came.
    TimedOut,
    /// Nothing came, and the receiver may have missed it.
    Overrun,
    /// It never left.
    NotSent(SendFailure),
    /// The deadline of its task passed, before it left or before its timeout.
    OutOfTime,
    /// It is not for this lane: give it to another one.
    Declined,
}

/// What came for a probe.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Answer {
    /// Who sent it.
    pub from: IpAddr,
    /// When it came.
    pub received: Stamp,
    /// The time from its request, where the stamps allow the difference.
    pub rtt: Option<Nanos>,
    /// The TTL with which it arrived.
    pub ttl: u8,
    /// Its octet of DSCP and ECN.
    pub tos: u8,
    /// The identification of its IPv4 header.
    pub ip_id: Option<u16>,
    /// The length of its ICMP message in octets.
    pub bytes: u32,
    /// Whether it carries the probe's whole cookie.
    pub verified: bool,
}

impl Answer {
    /// When its request left, by the difference.
    fn left(&self) -> Option<Instant> {
        self.rtt.and_then(|rtt| self.received.at.0.checked_sub(rtt.0)).map(Instant)
    }
}

/// What a [`Bulk`] has counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Probes that left.
    pub sent: u64,
    /// Answers that ended a probe.
    pub answered: u64,
    /// Packets for no probe that is under way: duplicates, and answers that came too late to count.
    pub unmatched: u64,
    /// Packets that claimed to be answers to a probe under way and were not.
    pub foreign: u64,
    /// Probes that ended as overrun.
    pub overrun: u64,
}

/// All probes of the lane; see the module's head.
#[derive(Debug)]
pub struct Bulk {
    table: Table,
    tokens: Tokens,
    secret: cookie::Key,
    specs: Vec<Entry>,
    vacant: Vec<u16>,
    /// When the receiver was last found overrun, and when civil time was last set.
    missed: Option<Instant>,
    stepped: Option<Instant>,
    /// How far civil time is ahead of the monotonic clock.
    distance_ns: i64,
    due: Vec<Key>,
    /// When recent batches began and ended.
    batches: VecDeque<(Instant, Instant)>,
    counters: Counters,
}

#[derive(Debug)]
struct Entry {
    spec: Spec,
    users: u32,
    /// Whether more probes may come.
    open: bool,
    templates: Vec<Template>,
}

/// A step of civil time.
const STEP_NS: u64 = 1_000_000;
/// Batches that are remembered.
const BATCHES: usize = 64;
/// Source addresses of one measurement whose templates are kept.
const MAX_TEMPLATES: usize = 8;

impl Bulk {
    /// Nothing yet. `ids` are the first identifier and how many there are; nobody else may have them. The secret must
    /// be random.
    pub fn new(ids: (u16, u16), secret: [u8; 16]) -> Self {
        let tokens = Tokens::new(ids.0, ids.1);
        Self {
            table: Table::new(tokens.capacity()),
            tokens,
            secret: cookie::Key::new(secret),
            specs: Vec::new(),
            vacant: Vec::new(),
            missed: None,
            stepped: None,
            distance_ns: 0,
            due: Vec::new(),
            batches: VecDeque::new(),
            counters: Counters::default(),
        }
    }

    /// How many more probes there is room for.
    pub const fn free(&self) -> u32 {
        self.table.free()
    }

    /// Probes that have not ended.
    pub const fn running(&self) -> u32 {
        self.table.used()
    }

    /// Probes whose turn to leave is yet to come; those that were put off are not among them.
    pub const fn waiting(&self) -> u32 {
        self.table.queued()
    }

    /// What was counted.
    pub const fn counters(&self) -> Counters {
        self.counters
    }

    /// Begins a measurement; nothing when too many are under way.
    pub fn measure(&mut self, spec: Spec) -> Option<SpecId> {
        let entry = Entry { spec, users: 0, open: true, templates: Vec::new() };
        if let Some(id) = self.vacant.pop()
            && let Some(place) = self.specs.get_mut(usize::from(id))
        {
            *place = entry;
            return Some(SpecId(id));
        }
        let id = u16::try_from(self.specs.len()).ok()?;
        self.specs.push(entry);
        Some(SpecId(id))
    }

    /// Takes a probe on. Says whether there was room for it.
    pub fn submit(&mut self, spec: SpecId, target: IpAddr, owner: u32) -> bool {
        let Some(entry) = self.specs.get_mut(usize::from(spec.0)) else { return false };
        let taken = self.table.push(target.to_canonical(), owner, spec.0).is_some();
        entry.users += u32::from(taken);
        taken
    }

    /// A measurement has no further probes; without any it is gone.
    pub fn complete(&mut self, spec: SpecId) {
        if let Some(entry) = self.specs.get_mut(usize::from(spec.0)).filter(|entry| entry.open) {
            entry.open = false;
            if entry.users == 0 {
                self.vacant.push(spec.0);
            }
        }
    }

    /// The probe whose turn it is, where it goes, what its measurement asks for, and how often it was tried.
    pub fn front(&self) -> Option<(Key, IpAddr, &Spec, u8)> {
        let (key, slot) = self.table.front()?;
        let entry = self.specs.get(usize::from(slot.spec))?;
        Some((key, self.table.target(slot), &entry.spec, slot.tries()))
    }

    /// A probe may not leave before `until`: others have their turn meanwhile.
    pub fn hold(&mut self, key: Key, until: Instant) {
        self.table.hold(key, until);
    }

    /// The system had no room for a probe: it may be tried again at `until`.
    pub fn retry(&mut self, key: Key, until: Instant) {
        self.table.tried(key);
        self.table.hold(key, until);
    }

    /// A probe will not leave.
    pub fn give_up(&mut self, key: Key, fate: Fate) -> Option<End> {
        self.end(key, fate)
    }

    /// Writes the packet of a probe to the start of `out`, from the IP header on, and gives its length. The probe counts
    /// as about to leave: say so of it, by [`Bulk::left`], [`Bulk::retry`] or [`Bulk::give_up`].
    pub fn write(&mut self, key: Key, source: IpAddr, out: &mut [u8]) -> Option<usize> {
        let (_, slot) = self.table.get(key)?;
        let target = self.table.octets(slot);
        let entry = self.specs.get_mut(usize::from(slot.spec))?;
        let known = entry.templates.iter().position(|template| template.source() == source);
        let at = known.unwrap_or_else(|| {
            entry.templates.truncate(MAX_TEMPLATES - 1);
            entry.templates.push(Template::new(&entry.spec.shape, source));
            entry.templates.len() - 1
        });
        let (id, seq) = self.tokens.of(key);
        let proof = token::proof(&self.secret, key, &target);
        let length = entry.templates.get(at)?.write(out, &target, id, seq, proof)?;
        self.table.board(key);
        Some(length)
    }

    /// These probes left, one after the other, from `began` to `ended`. Each is taken to have had an equal share of that
    /// time, and to have left at the beginning of its share.
    pub fn left(&mut self, keys: &[Key], began: Instant, ended: Instant) {
        let took = ended.saturating_since(began).0;
        let share = took / u64::try_from(keys.len()).unwrap_or(u64::MAX).max(1);
        for (number, key) in (0_u64..).zip(keys) {
            let Some((_, slot)) = self.table.get(*key) else { continue };
            let Some(entry) = self.specs.get(usize::from(slot.spec)) else { continue };
            let at = began + Nanos(number * share);
            self.table.sent(*key, at, due_at(&entry.spec, at));
            self.counters.sent += 1;
        }
        if self.batches.len() >= BATCHES {
            self.batches.pop_front();
        }
        self.batches.push_back((began, ended));
    }

    /// How far the stamps of leaving may be from the truth: no probe can have left outside the time of its batch.
    pub fn stamp_error(&self) -> Nanos {
        let widths = self.batches.iter().map(|(began, ended)| ended.saturating_since(*began));
        widths.max().unwrap_or(Nanos::ZERO)
    }

    /// A packet came at this moment.
    pub fn heard(&mut self, heard: &Heard<'_>, received: Stamp) -> Option<End> {
        let found = self.tokens.read(heard.id, heard.seq);
        let found = found.and_then(|(index, generation, mask)| self.table.find(index, generation, mask));
        let Some((key, (State::Flying, slot))) = found.and_then(|key| Some((key, self.table.get(key)?)))
        else {
            self.counters.unmatched += 1;
            return None;
        };
        let entry = self.specs.get(usize::from(slot.spec))?;
        let proof = token::proof(&self.secret, key, &self.table.octets(slot));
        let whole = usize::from(entry.spec.shape.payload_bytes).min(COOKIE_BYTES);
        // A reply must carry all of the cookie, an error as much as it quotes.
        let cookie = proof.get(..whole).unwrap_or_default();
        let length = match heard.error {
            Some(_) => shown(cookie, heard.payload),
            None => heard.payload.starts_with(cookie).then_some(whole),
        };
        let elsewhere =
            heard.error.is_some_and(|said| said.destination.to_canonical() != self.table.target(slot));
        let Some(length) = length.filter(|_| !elsewhere) else {
            self.counters.foreign += 1;
            return None;
        };
        let (mut left, timeout) = (slot.moment(), entry.spec.timeout);
        if received.at < left {
            // Its share was not equal. What is sure is when its batch began.
            let batch = self.batches.iter().rev().find(|(began, _)| *began <= left);
            left = batch.map_or(left, |(began, _)| *began);
        }
        let answer = Answer {
            from: heard.from,
            received,
            rtt: received.at.checked_since(left),
            ttl: heard.ttl,
            tos: heard.tos,
            ip_id: heard.ip_id,
            bytes: heard.bytes,
            verified: length == COOKIE_BYTES,
        };
        let fate = match heard.error {
            Some(said) => Fate::Error(answer, said),
            None if received.at.saturating_since(left) > timeout => Fate::Late(answer),
            None => Fate::Replied(answer),
        };
        self.counters.answered += 1;
        self.end(key, fate)
    }

    /// The receiver was overrun up to `now`: what is under way and never answered may not be called lost.
    pub fn overrun(&mut self, now: Instant) {
        self.missed = Some(now);
    }

    /// Civil time is so far ahead of the monotonic clock. A difference to what was said before, beyond what reading two
    /// clocks one after the other is off, means that it was set.
    pub fn civil_time(&mut self, now: Instant, distance_ns: i64) {
        if distance_ns.abs_diff(self.distance_ns) > STEP_NS {
            self.stepped = Some(now);
        }
        self.distance_ns = distance_ns;
    }

    /// Ends what is overdue at `heard_until`, up to which everything that came has been handed in, and lets those take
    /// their turn again that were put off until then.
    pub fn turn(&mut self, heard_until: Instant, ends: &mut impl FnMut(End)) {
        let specs = &self.specs;
        let mut due = std::mem::take(&mut self.due);
        self.table.turn(heard_until, &mut due, |slot| match specs.get(usize::from(slot.spec)) {
            Some(entry) => due_at(&entry.spec, slot.moment()),
            None => Instant(0),
        });
        for key in due.drain(..) {
            let Some((_, slot)) = self.table.get(key) else { continue };
            let Some(entry) = self.specs.get(usize::from(slot.spec)) else { continue };
            let left = slot.moment();
            let fate = if self.missed.is_some_and(|missed| left <= missed) {
                self.counters.overrun += 1;
                Fate::Overrun
            } else if entry.spec.deadline < left + entry.spec.timeout {
                Fate::OutOfTime
            } else {
                Fate::TimedOut
            };
            if let Some(end) = self.end(key, fate) {
                ends(end);
            }
        }
        self.due = due;
        self.table.shrink();
    }

    /// Gives up those of the probes that have not left yet which are meant, as declined.
    pub fn decline(&mut self, which: impl Fn(IpAddr) -> bool, ends: &mut impl FnMut(End)) {
        let waiting = |(key, slot): (Key, &table::Slot)| {
            let waits = matches!(self.table.get(key), Some((State::Queued | State::Held, _)));
            (waits && which(self.table.target(slot))).then_some(key)
        };
        let keys: Vec<Key> = self.table.iter().filter_map(waiting).collect();
        for key in keys {
            if let Some(end) = self.end(key, Fate::Declined) {
                ends(end);
            }
        }
    }

    /// Drops the probes of these measurements and owners. Nothing is said of their ends.
    pub fn forget(&mut self, which: impl Fn(SpecId, u32) -> bool) {
        let meant = |(_, slot): &(Key, &table::Slot)| which(SpecId(slot.spec), slot.owner);
        let keys: Vec<Key> = self.table.iter().filter(meant).map(|(key, _)| key).collect();
        for key in keys {
            self.end(key, Fate::Declined);
        }
    }

    fn end(&mut self, key: Key, fate: Fate) -> Option<End> {
        let flew = matches!(self.table.get(key)?.0, State::Flying | State::Due);
        let (slot, target) = self.table.remove(key)?;
        if let Some(entry) = self.specs.get_mut(usize::from(slot.spec)) {
            entry.users -= 1;
            if entry.users == 0 && !entry.open {
                self.vacant.push(slot.spec);
            }
        }
        let left = flew.then(|| slot.moment());
        let clock_stepped = left.zip(self.stepped).is_some_and(|(left, stepped)| left <= stepped);
        let answered = match fate {
            Fate::Replied(answer) | Fate::Late(answer) | Fate::Error(answer, _) => answer.left(),
            _ => None,
        };
        let sent = answered.or(left).map(|at| self.stamp(at));
        let departure = sent.and_then(|_| self.departure(key, target, slot.spec));
        let sample = Sample { target, sent, departure, fate, clock_stepped };
        Some(End { spec: SpecId(slot.spec), owner: slot.owner, sample })
    }
}

impl Bulk {
    fn stamp(&self, at: Instant) -> Stamp {
        let at_ns = i64::try_from(at.0).unwrap_or(i64::MAX);
        Stamp { at, utc: Utc(at_ns.saturating_add(self.distance_ns)), source: StampSource::User }
    }

    fn departure(&self, key: Key, target: IpAddr, spec: u16) -> Option<Departure> {
        let entry = self.specs.get(usize::from(spec))?;
        let (selector, tag) = self.tokens.of(key);
        let (header, ip_id) = if target.is_ipv4() { (28, Some(tag)) } else { (48, None) };
        let sources = entry.templates.iter().map(Template::source);
        let mut own = sources.filter(|source| source.is_ipv4() == target.is_ipv4());
        Some(Departure {
            // Which of several it was is not remembered.
            source: own.next().filter(|_| own.next().is_none()),
            identity: Identity { selector, tag },
            ip_id,
            bytes: header + u32::from(entry.spec.shape.payload_bytes),
        })
    }
}

/// When a probe that left at `at` is over.
fn due_at(spec: &Spec, at: Instant) -> Instant {
    (at + spec.timeout).min(spec.deadline.max(at))
}

/// How much later than its time a probe may be found overdue: the coarseness of the wheel.
pub const LAG: Nanos = COARSE;

#[cfg(test)]
mod tests;
