//! The result messages of one instance's life: which have come, which are kept, and up to where it may forget them.

use std::collections::{BTreeMap, BTreeSet};

/// What is known of an instance's numbered result messages.
#[derive(Debug, Default)]
pub(crate) struct Inbound {
    /// All up to here have come.
    whole: u64,
    /// Have come besides.
    beyond: BTreeSet<u64>,
    /// Have come, with so many writes that are not acknowledged yet.
    unkept: BTreeMap<u64, u32>,
    /// Whether `whole` counts from the beginning: not before the first sync, since the instance may have sent to a
    /// former anchor of this name.
    settled: bool,
    /// The last acknowledgement that was told.
    told: u64,
}

/// How many messages may have come after one that is missing.
const MAX_BEYOND: usize = 65_536;

impl Inbound {
    /// A message has come. Whether for the first time.
    pub(crate) fn receive(&mut self, seq: u64) -> bool {
        if seq <= self.whole || !self.beyond.insert(seq) {
            return false;
        }
        if self.beyond.len() > MAX_BEYOND
            && let Some(lowest) = self.beyond.pop_first()
        {
            // What is missing below is given up: tasks without a result come back when notes are compared.
            self.settled = true;
            self.whole = lowest;
        }
        self.advance();
        true
    }

    /// A message led to so many writes.
    pub(crate) fn writes(&mut self, seq: u64, count: u32) {
        if count > 0 {
            *self.unkept.entry(seq).or_default() += count;
        }
    }

    /// One of a message's writes is acknowledged.
    pub(crate) fn kept(&mut self, seq: u64) {
        if let Some(count) = self.unkept.get_mut(&seq) {
            *count -= 1;
            if *count == 0 {
                self.unkept.remove(&seq);
            }
        }
    }

    /// The instance says that `high` is its newest, and has sent again what was not acknowledged. Whether nothing is
    /// missing.
    pub(crate) fn settle(&mut self, high: u64) -> bool {
        if !self.settled {
            self.settled = true;
            self.whole = self.whole.max(high);
            self.beyond = self.beyond.split_off(&(self.whole + 1));
            self.advance();
        }
        self.whole >= high
    }

    /// Whether a message is missing before one that has come.
    pub(crate) fn has_gap(&self) -> bool {
        self.settled && !self.beyond.is_empty()
    }

    /// The number up to which the instance may forget.
    pub(crate) fn ack(&self) -> u64 {
        if !self.settled {
            return 0;
        }
        self.unkept.first_key_value().map_or(self.whole, |(&first, _)| self.whole.min(first - 1))
    }

    /// The same, to be told now.
    pub(crate) fn tell(&mut self) -> u64 {
        self.told = self.ack();
        self.told
    }

    /// Whether the instance could forget more than it was told.
    pub(crate) fn is_news(&self) -> bool {
        self.ack() > self.told
    }

    fn advance(&mut self) {
        while self.settled && self.beyond.remove(&(self.whole + 1)) {
            self.whole += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_instance_that_was_there_before_is_settled_by_its_first_sync() {
        let mut inbound = Inbound::default();
        for seq in [55, 56, 57] {
            assert!(inbound.receive(seq));
            inbound.writes(seq, 1);
        }
        assert_eq!((inbound.ack(), inbound.has_gap()), (0, false));
        assert!(inbound.settle(57));
        assert_eq!(inbound.ack(), 54);
        inbound.kept(56);
        inbound.kept(55);
        assert_eq!(inbound.ack(), 56);
        assert!(!inbound.receive(56), "it has come before");
        assert!(inbound.receive(59) && inbound.has_gap());
        assert!(!inbound.settle(59));
        assert!(inbound.receive(58) && inbound.settle(59));
    }

    proptest! {
        #[test]
        fn nothing_unkept_is_acknowledged(order in Just((1..30u64).collect::<Vec<_>>()).prop_shuffle(),
                                          kept in prop::collection::vec(any::<bool>(), 30)) {
            let mut inbound = Inbound::default();
            inbound.settle(0);
            let mut missing: BTreeSet<u64> = (1..30).collect();
            for seq in order {
                prop_assert!(inbound.receive(seq));
                inbound.writes(seq, 1);
                if kept[usize::try_from(seq).unwrap()] {
                    inbound.kept(seq);
                    missing.remove(&seq);
                }
                prop_assert!(missing.first().is_none_or(|&first| inbound.ack() < first));
            }
            prop_assert_eq!(inbound.ack(), missing.first().map_or(29, |first| first - 1));
        }
    }
}
