//! How full the streams are: before one is, new work is refused, so that what was accepted can still be kept.

use mmn_schema::problem::Problem;

use super::{About, Actor, Tag};
use crate::problems;

/// One stream.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fill {
    max_bytes: u64,
    bytes: u64,
    /// The latest write found no room.
    refused: bool,
}

/// How full they are.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fills {
    pub(super) ledger: Fill,
    pub(super) results: Fill,
}

impl Fill {
    pub(super) const fn new(max_bytes: u64) -> Self {
        Self { max_bytes, bytes: 0, refused: false }
    }

    /// Whether new work would take room that what was accepted needs: `promised` bytes, and a reserve.
    fn is_full(&self, promised: u64) -> bool {
        let reserve = (self.max_bytes / 20).min(64 * 1024 * 1024);
        self.refused || self.bytes + promised >= self.max_bytes - reserve
    }

    pub(super) const fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(super) const fn set_bytes(&mut self, bytes: u64) {
        self.bytes = bytes;
    }
}

/// About how many bytes the end of a measurement takes in LEDGER.
const END_BYTES: u64 = 2048;
/// About how many bytes a message takes beside its payload: subject, headers, the record's own.
const OVERHEAD: u64 = 200;

impl Fills {
    pub(super) const fn of(&mut self, tag: &Tag) -> &mut Fill {
        if matches!(tag, Tag::Kept(_) | Tag::Results(_)) { &mut self.results } else { &mut self.ledger }
    }
}

impl Actor {
    /// Why new work is refused, if it is.
    pub(super) fn refusal(&self) -> Option<Problem> {
        let ends = (self.running.len() + self.dones.len()) as u64 * END_BYTES;
        if self.fills.results.is_full(0) {
            Some(problems::storage_full("results"))
        } else {
            self.fills.ledger.is_full(ends).then(|| problems::storage_full("ledger"))
        }
    }

    /// A write of so many bytes found room.
    pub(super) fn found_room(&mut self, tag: &Tag, bytes: usize) {
        let fill = self.fills.of(tag);
        fill.bytes += bytes as u64 + OVERHEAD;
        if std::mem::take(&mut fill.refused) {
            self.event("storage-free", About::default(), "there is room again".to_owned());
        }
    }

    /// A write found none.
    pub(super) fn found_none(&mut self, tag: &Tag) {
        self.counters.storage_full_total += 1;
        let fill = self.fills.of(tag);
        if !std::mem::replace(&mut fill.refused, true) {
            let text = "new work is refused until there is room again";
            self.event("storage-full", About::default(), text.to_owned());
        }
    }
}
