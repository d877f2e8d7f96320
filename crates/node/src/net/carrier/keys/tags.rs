//! Whose each tag is. Tags of a selector are given out in turn, so that those in use lie close together: they are kept in
//! pages of 16, one of which takes little more than its owners do, however many there are.

use rustc_hash::FxHashMap;

use super::Owner;

/// A tag of a selector of a protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Label {
    pub(super) protocol: u8,
    pub(super) selector: u16,
    pub(super) tag: u16,
}

#[derive(Debug, Default)]
pub(super) struct Tags {
    pages: FxHashMap<u64, Box<Page>>,
}

type Page = [Option<Owner>; PAGE];

const PAGE: usize = 16;
/// Pages whose place is kept when none is in use.
const SMALL: usize = 1_024;

impl Label {
    fn page(self) -> u64 {
        u64::from(self.protocol) << 28 | u64::from(self.selector) << 12 | u64::from(self.tag >> 4)
    }

    fn place(self) -> usize {
        usize::from(self.tag & 0xf)
    }
}

impl Tags {
    pub(super) fn get(&self, tag: Label) -> Option<&Owner> {
        self.pages.get(&tag.page())?.get(tag.place())?.as_ref()
    }

    /// Gives it to somebody, whosever it was.
    pub(super) fn set(&mut self, tag: Label, owner: Owner) {
        let page = self.pages.entry(tag.page()).or_default();
        if let Some(place) = page.get_mut(tag.place()) {
            *place = Some(owner);
        }
    }

    pub(super) fn remove(&mut self, tag: Label) {
        let Some(page) = self.pages.get_mut(&tag.page()) else { return };
        if let Some(place) = page.get_mut(tag.place()) {
            *place = None;
        }
        if page.iter().all(Option::is_none) {
            self.pages.remove(&tag.page());
            if self.pages.is_empty() && self.pages.capacity() > 4 * SMALL {
                self.pages.shrink_to(SMALL);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_small() {
        assert!(size_of::<Page>() <= 320, "{}", size_of::<Page>());
    }
}
