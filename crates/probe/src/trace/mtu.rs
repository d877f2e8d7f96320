//! The search for a path's MTU (RFC 1191, RFC 8201), after the path itself is known.
//!
//! Packets that may not be fragmented go to the last hop that answers, large ones first. A router that says how much it
//! can pass on is believed. Where one says nothing, the next lower size of a table is tried, and where such a size
//! passes, the hops are asked with the size that did not, to find out behind which one it is lost.

use std::net::IpAddr;

use super::record::{Fate, Meaning, Said};
use super::spec::Pmtud;
use crate::packet::{ProbeId, SendFailure, Ttl};
use crate::wire::icmp::IcmpErrorKind;

/// Sizes worth trying: the plateaus of RFC 1191, section 7.1, and those that today's links and tunnels have.
const PLATEAUS: [u16; 32] = [
    65_535, 32_000, 17_914, 9_000, 8_166, 4_352, 2_002, 1_500, 1_496, 1_492, 1_488, 1_480, 1_476, 1_472,
    1_468, 1_460, 1_458, 1_454, 1_450, 1_440, 1_436, 1_430, 1_428, 1_420, 1_412, 1_400, 1_380, 1_358, 1_280,
    1_006, 576, 296,
];

/// The search, and what it found.
#[derive(Debug)]
pub struct Search {
    /// The hops that answered, the last one of them last.
    answering: Vec<Ttl>,
    attempts: u8,
    least: u16,
    size: u16,
    tries: u8,
    under_way: Option<ProbeId>,
    mtu: Option<u16>,
    notes: Vec<Note>,
    phase: Phase,
}

/// Something that a packet was too big for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Note {
    /// The size of the packet.
    pub bytes: u16,
    /// Who was, or was not, heard.
    pub origin: Origin,
}

/// How it is known that a packet was too big.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A router said so.
    Router {
        /// Which one.
        from: IpAddr,
        /// The MTU of its next link, where it told a sensible one.
        mtu: Option<u32>,
    },
    /// This host can't send it: its first link is smaller.
    Host,
    /// Smaller ones passed, and nobody said anything.
    Silence {
        /// The last hop that such a packet reached, and answered.
        behind: Option<Ttl>,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Sizing,
    /// Between which two of the answering hops a size is lost; the upper one does not get it.
    Locating {
        note: usize,
        low: Option<usize>,
        high: usize,
    },
    Over,
}

pub(super) enum Next {
    Ask { ttl: Ttl, size: u16 },
    Wait,
    Done,
}

impl Search {
    /// A search; nothing where no hop answered.
    pub(super) fn new(target: IpAddr, pmtud: Pmtud, attempts: u8, answering: Vec<Ttl>) -> Option<Self> {
        if answering.is_empty() {
            return None;
        }
        // No IPv6 link is smaller than 1280 (RFC 8200, section 5), no IPv4 one than 68 (RFC 791).
        let least = if target.is_ipv4() { 68 } else { 1_280 };
        Some(Self {
            answering,
            attempts,
            least,
            size: pmtud.size.max(least),
            tries: 0,
            under_way: None,
            mtu: None,
            notes: Vec::new(),
            phase: Phase::Sizing,
        })
    }

    /// The largest size that passed, in octets, IP header included; absent where none did.
    pub const fn mtu(&self) -> Option<u16> {
        self.mtu
    }

    /// The TTL up to which it holds.
    pub fn ttl(&self) -> Option<Ttl> {
        self.answering.last().copied()
    }

    /// What was in the way, in the order of finding.
    pub fn notes(&self) -> &[Note] {
        &self.notes
    }

    pub(super) fn next(&mut self, id: ProbeId) -> Next {
        if self.under_way.is_some() {
            return Next::Wait;
        }
        let ask = match self.phase {
            Phase::Over => None,
            Phase::Sizing => self.ttl().map(|ttl| (ttl, self.size)),
            Phase::Locating { note, low, high } => {
                let hop = self.answering.get(middle(low, high)).copied();
                hop.zip(self.notes.get(note).map(|note| note.bytes))
            }
        };
        let Some((ttl, size)) = ask else { return Next::Done };
        self.under_way = Some(id);
        self.tries += 1;
        Next::Ask { ttl, size }
    }

    pub(super) fn answered(&mut self, probe: ProbeId, meaning: Meaning, said: Said, from: IpAddr) {
        if !self.settle(probe) {
            return;
        }
        let told = match said {
            Said::Error { kind: IcmpErrorKind::TooBig { mtu }, .. } => mtu,
            _ => None,
        };
        match (self.phase, meaning) {
            (Phase::Sizing, Meaning::TooBig) => {
                let mtu = told.filter(|mtu| (u32::from(self.least)..u32::from(self.size)).contains(mtu));
                self.notes.push(Note { bytes: self.size, origin: Origin::Router { from, mtu } });
                self.lower_to(mtu.and_then(|mtu| u16::try_from(mtu).ok()));
            }
            (Phase::Sizing, _) => {
                self.mtu = Some(self.size);
                self.locate();
            }
            (Phase::Locating { note, low, high }, Meaning::Hop | Meaning::Reached) => {
                let at = middle(low, high);
                self.narrow(note, Some(at), high);
            }
            (Phase::Locating { note, low, high }, _) => self.narrow(note, low, middle(low, high)),
            (Phase::Over, _) => {}
        }
    }

    pub(super) fn silent(&mut self, probe: ProbeId, fate: Fate) {
        let tries = self.tries;
        if self.under_way != Some(probe) {
            return;
        }
        self.under_way = None;
        // An overrun says nothing about the path, as long as it does not go on for ever.
        let enough = if fate == Fate::Overrun { self.attempts.saturating_mul(2) } else { self.attempts };
        if tries < enough {
            return;
        }
        self.tries = 0;
        match self.phase {
            Phase::Sizing => {
                self.take_note(Origin::Silence { behind: None });
                self.lower_to(None);
            }
            Phase::Locating { note, low, high } => self.narrow(note, low, middle(low, high)),
            Phase::Over => {}
        }
    }

    pub(super) fn not_sent(&mut self, probe: ProbeId, reason: SendFailure) {
        if !self.settle(probe) {
            return;
        }
        if reason == SendFailure::TooBig && self.phase == Phase::Sizing {
            self.take_note(Origin::Host);
            self.lower_to(None);
        } else {
            self.phase = Phase::Over;
        }
    }

    /// Notes that this size is too big. Of a whole run of sizes that meet with the same, the smallest says most.
    fn take_note(&mut self, origin: Origin) {
        let note = Note { bytes: self.size, origin };
        match self.notes.last_mut() {
            Some(last) if last.origin == origin => *last = note,
            _ => self.notes.push(note),
        }
    }

    fn settle(&mut self, probe: ProbeId) -> bool {
        let ours = self.under_way == Some(probe);
        if ours {
            self.under_way = None;
            self.tries = 0;
        }
        ours
    }

    /// Goes on with a smaller size: the one that was told, or the next of the table.
    fn lower_to(&mut self, told: Option<u16>) {
        let least = self.least;
        let lower = told.or_else(|| PLATEAUS.into_iter().find(|size| *size < self.size));
        match lower.filter(|size| *size >= least) {
            Some(size) => self.size = size,
            None if self.size > least => self.size = least,
            None => self.phase = Phase::Over,
        }
    }

    /// A size has passed. Where a larger one was lost in silence, the place is next.
    fn locate(&mut self) {
        let silence = self.notes.iter().position(|note| matches!(note.origin, Origin::Silence { .. }));
        self.phase = match silence {
            Some(note) => Phase::Locating { note, low: None, high: self.answering.len() - 1 },
            None => Phase::Over,
        };
        if let Phase::Locating { note, low, high } = self.phase {
            self.narrow(note, low, high);
        }
    }

    fn narrow(&mut self, note: usize, low: Option<usize>, high: usize) {
        let is_open = low.map_or(high > 0, |low| high > low + 1);
        if is_open {
            self.phase = Phase::Locating { note, low, high };
            return;
        }
        let behind = low.and_then(|low| self.answering.get(low)).copied();
        if let Some(note) = self.notes.get_mut(note) {
            note.origin = Origin::Silence { behind };
        }
        self.phase = Phase::Over;
    }
}

/// The hop to ask between the two: any of those after `low` and before `high`.
const fn middle(low: Option<usize>, high: usize) -> usize {
    match low {
        None => high / 2,
        Some(low) => low + (high - low) / 2,
    }
}
