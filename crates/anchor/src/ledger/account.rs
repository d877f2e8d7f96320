//! The state machine of one measurement's tasks: each is closed exactly once, whatever comes in whatever order.

use mmn_schema::api::Ledger;
use mmn_schema::outcome::{Outcome, Reason};

/// The tasks of one measurement and their sums.
#[derive(Debug, Default)]
pub(crate) struct Account {
    states: Vec<State>,
    ledger: Ledger,
}

/// Where a task is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum State {
    /// It waits to go out.
    Queued,
    /// An instance has it, or is on the way to.
    Out,
    /// Its final record is being written.
    Keeping,
    /// It has ended, and its final record is kept.
    Closed,
}

/// What a final record means to its task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Offer {
    /// It ends the task: keep it, then close the task.
    First,
    /// The task has ended already: drop it.
    Superseded,
    /// There is no such task.
    Unknown,
}

impl Account {
    /// Enters tasks; gives the index of the first one.
    pub(crate) fn append(&mut self, count: u64) -> u64 {
        let first = self.len();
        let count = usize::try_from(count).unwrap_or(usize::MAX);
        self.states.resize(self.states.len().saturating_add(count), State::Queued);
        self.ledger.accepted = self.len();
        self.ledger.pending += self.len() - first;
        first
    }

    /// How many tasks there are.
    pub(crate) fn len(&self) -> u64 {
        self.states.len() as u64
    }

    /// Where a task is; absent when there is no such task.
    pub(crate) fn state(&self, index: u64) -> Option<State> {
        self.states.get(usize::try_from(index).ok()?).copied()
    }

    /// A queued task goes out. Whether it was queued.
    pub(crate) fn take(&mut self, index: u64) -> bool {
        self.step(index, State::Queued, State::Out)
    }

    /// A task that is out comes back into the queue. Whether it was out.
    pub(crate) fn give_back(&mut self, index: u64) -> bool {
        self.step(index, State::Out, State::Queued)
    }

    /// A final record has come.
    pub(crate) fn offer(&mut self, index: u64) -> Offer {
        match self.state(index) {
            None => Offer::Unknown,
            Some(State::Queued | State::Out) => {
                self.set(index, State::Keeping);
                Offer::First
            }
            Some(State::Keeping | State::Closed) => {
                self.ledger.superseded += 1;
                Offer::Superseded
            }
        }
    }

    /// The final record that was offered first is kept. Whether that closed the task.
    pub(crate) fn close(
        &mut self,
        index: u64,
        outcome: Outcome,
        reason: Option<&Reason>,
        answered: Option<bool>,
    ) -> bool {
        if !self.step(index, State::Keeping, State::Closed) {
            return false;
        }
        let ledger = &mut self.ledger;
        ledger.pending -= 1;
        *match outcome {
            Outcome::Ok => &mut ledger.ok,
            Outcome::Failed => &mut ledger.failed,
            Outcome::Refused => &mut ledger.refused,
            Outcome::Lost => &mut ledger.lost,
            Outcome::Cancelled => &mut ledger.cancelled,
        } += 1;
        if outcome == Outcome::Ok && answered == Some(true) {
            ledger.answered += 1;
        }
        if outcome != Outcome::Ok {
            let reasons = ledger.reasons.entry(outcome).or_default();
            let code = reason.map_or(UNKNOWN, |reason| &*reason.code);
            // A module that makes up codes does not fill the memory.
            let known = reasons.contains_key(code) || reasons.len() < MAX_REASONS;
            *reasons.entry(if known { code.to_owned() } else { OTHER.to_owned() }).or_default() += 1;
        }
        true
    }

    /// The sums.
    pub(crate) fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// Whether every task has ended.
    pub(crate) fn is_closed(&self) -> bool {
        self.ledger.pending == 0
    }

    fn step(&mut self, index: u64, from: State, to: State) -> bool {
        let right = self.state(index) == Some(from);
        if right {
            self.set(index, to);
        }
        right
    }

    fn set(&mut self, index: u64, to: State) {
        if let Some(state) = usize::try_from(index).ok().and_then(|at| self.states.get_mut(at)) {
            *state = to;
        }
    }
}

/// Codes of reasons that are counted apart, for each outcome.
const MAX_REASONS: usize = 64;
/// Counts those beyond.
const OTHER: &str = "other";
/// Counts records that ended other than *ok* and did not say why.
const UNKNOWN: &str = "unknown";

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[derive(Debug, Clone)]
    enum Event {
        Append(u64),
        Take(u64),
        GiveBack(u64),
        Offer(u64, Outcome),
        Kept(usize),
    }

    fn any_event() -> impl Strategy<Value = Event> {
        let outcome = proptest::sample::select(Outcome::ALL.to_vec());
        prop_oneof![
            (0..4u64).prop_map(Event::Append),
            (0..12u64).prop_map(Event::Take),
            (0..12u64).prop_map(Event::GiveBack),
            (0..12u64, outcome).prop_map(|(index, outcome)| Event::Offer(index, outcome)),
            (0..4usize).prop_map(Event::Kept),
        ]
    }

    proptest! {
        #[test]
        fn each_task_closes_once_and_the_sum_always_closes(events in prop::collection::vec(any_event(), 0..200)) {
            let mut account = Account::default();
            let (mut writing, mut closed) = (Vec::new(), std::collections::BTreeSet::new());
            for event in events {
                match event {
                    Event::Append(count) => drop(account.append(count)),
                    Event::Take(index) => drop(account.take(index)),
                    Event::GiveBack(index) => drop(account.give_back(index)),
                    Event::Offer(index, outcome) => match account.offer(index) {
                        Offer::First => {
                            prop_assert!(!closed.contains(&index));
                            writing.push((index, outcome));
                        }
                        Offer::Superseded => prop_assert!(index < account.len()),
                        Offer::Unknown => prop_assert!(index >= account.len()),
                    },
                    Event::Kept(at) => if at < writing.len() {
                        let (index, outcome) = writing.swap_remove(at);
                        prop_assert!(account.close(index, outcome, None, Some(true)));
                        prop_assert!(closed.insert(index), "task {index} closed twice");
                        prop_assert!(!account.close(index, outcome, None, None));
                    },
                }
                prop_assert!(account.ledger().closes(), "{:?}", account.ledger());
                prop_assert_eq!(account.ledger().pending, account.len() - closed.len() as u64);
            }
            // Whatever happened, ending every task ends the measurement.
            for index in 0..account.len() {
                if account.offer(index) == Offer::First {
                    writing.push((index, Outcome::Lost));
                }
            }
            for (index, outcome) in writing {
                prop_assert!(account.close(index, outcome, None, None));
            }
            prop_assert!(account.is_closed() && account.ledger().closes());
            let reasons: u64 = account.ledger().reasons.values().flat_map(|codes| codes.values()).sum();
            prop_assert_eq!(reasons, account.ledger().accepted - account.ledger().ok);
        }
    }

    #[test]
    fn made_up_reasons_are_bounded() {
        let mut account = Account::default();
        account.append(200);
        for index in 0..200 {
            account.offer(index);
            let reason = Reason { code: format!("code-{index}").into(), detail: None };
            account.close(index, Outcome::Failed, Some(&reason), None);
        }
        let reasons = &account.ledger().reasons[&Outcome::Failed];
        assert_eq!(reasons.len(), MAX_REASONS + 1);
        assert_eq!(reasons.values().sum::<u64>(), 200);
    }
}
