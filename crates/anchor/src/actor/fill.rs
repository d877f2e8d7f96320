//! How full the streams are: before one is, new work is refused, so that what was accepted can still be kept.

use mmn_schema::problem::Problem;

use super::{About, Actor, Tag};
use crate::problems;

/// One stream.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fill {
    max_bytes: u64,
    bytes: u64,
    /// What was written since the stream was asked for its size: its answer may not know of it.
    since_asked: u64,
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
        Self { max_bytes, bytes: 0, since_asked: 0, refused: false }
    }

    /// Whether new work would take room that what was accepted needs: `promised` bytes, and a reserve.
    fn is_full(&self, promised: u64) -> bool {
        let reserve = (self.max_bytes / 20).min(64 * 1024 * 1024);
        self.refused || self.bytes + promised >= self.max_bytes - reserve
    }

    pub(super) const fn bytes(&self) -> u64 {
        self.bytes
    }

    const fn add(&mut self, bytes: u64) {
        self.bytes += bytes;
        self.since_asked += bytes;
    }

    /// What the stream held after it was asked. To count a write twice until it is asked again harms less than to miss it.
    pub(super) const fn set_bytes(&mut self, bytes: u64) {
        self.bytes = bytes + self.since_asked;
    }
}

/// About how many bytes the end of a measurement takes in LEDGER.
const END_BYTES: u64 = 2048;
/// About how many bytes a message takes beside its payload: subject, headers, the record's own.
const OVERHEAD: u64 = 200;

impl Fills {
    /// The streams are asked for their sizes.
    pub(super) const fn ask(&mut self) {
        self.ledger.since_asked = 0;
        self.results.since_asked = 0;
    }

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
        fill.add(bytes as u64 + OVERHEAD);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_while_a_stream_is_asked_for_its_size_counts() {
        let max_bytes = 1_000_000;
        let mut fills = Fills { ledger: Fill::new(max_bytes), results: Fill::new(max_bytes) };
        fills.ledger.add(700_000);
        fills.ask();
        fills.ledger.add(240_000);
        fills.ledger.set_bytes(650_000);
        assert_eq!(fills.ledger.bytes(), 890_000);
        assert!(fills.ledger.is_full(60_000) && !fills.ledger.is_full(59_999));
        fills.ask();
        fills.ledger.set_bytes(880_000);
        assert_eq!(fills.ledger.bytes(), 880_000);
    }
}
