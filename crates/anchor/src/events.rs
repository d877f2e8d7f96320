//! What happened lately, and who hears of it: each event has a place in the term of its anchor, the newest few hundred stay in
//! memory, and watchers are told of each as it happens.
//!
//! Events of measurements and all others have rooms of their own, so that a busy hour of measuring leaves what became of the
//! network. Nothing is kept over the end of an anchor: the first event of each says that it took over.
//!
//! Begin at [`Events::tell`] and [`Events::watch`].

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use mmn_schema::event::{Event, EventId};
use mmn_schema::id::Epoch;
use tokio::sync::broadcast::{Receiver, Sender};

/// How far a watcher may be behind before it misses some.
const BEHIND: usize = 1024;
/// How many are kept of measurements, and as many of everything else.
const KEPT_EACH: usize = 250;
/// How many are kept at most.
pub(crate) const KEPT: usize = 2 * KEPT_EACH;

/// The events of this anchor.
#[derive(Debug)]
pub(crate) struct Events {
    past: Mutex<Past>,
    all: Sender<Arc<Event>>,
    /// Those that are not of a measurement.
    rarer: Sender<Arc<Event>>,
}

#[derive(Debug, Default)]
struct Past {
    term: Epoch,
    /// How many there were in this term.
    told: u64,
    of_measurements: VecDeque<Arc<Event>>,
    others: VecDeque<Arc<Event>>,
}

/// Which events somebody wants from before.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Wanted {
    /// The newest so many; absent, and without `after`: none.
    pub(crate) last: Option<usize>,
    /// Those after this one.
    pub(crate) after: Option<EventId>,
    /// None of measurements.
    pub(crate) but_measurements: bool,
}

/// What a watcher hears: what was before, and then what comes, with nothing between the two and nothing in both.
#[derive(Debug)]
pub(crate) struct Heard {
    /// In the order in which they happened.
    pub(crate) before: Vec<Arc<Event>>,
    /// How many after the one that was named are not given, because they are not kept any more or more than were asked for.
    pub(crate) missing: u64,
    /// The place of the newest.
    pub(crate) newest: EventId,
    pub(crate) live: Receiver<Arc<Event>>,
}

impl Events {
    pub(crate) fn new() -> Self {
        Self { past: Mutex::default(), all: Sender::new(BEHIND), rarer: Sender::new(BEHIND) }
    }

    /// A term begins.
    pub(crate) fn begin(&self, term: Epoch) {
        *self.lock() = Past { term, ..Past::default() };
    }

    /// Gives an event its place, keeps it and tells it. Nobody has to watch.
    pub(crate) fn tell(&self, event: Event) -> Arc<Event> {
        // Whoever begins to watch meanwhile waits, and finds it in one place.
        let mut past = self.lock();
        past.told += 1;
        let id = EventId { term: past.term, number: past.told };
        let event = Arc::new(Event { id: Some(id), ..event });
        let is_rarer = !of_measurements(&event);
        let room = if is_rarer { &mut past.others } else { &mut past.of_measurements };
        if room.len() == KEPT_EACH {
            room.pop_front();
        }
        room.push_back(Arc::clone(&event));
        if is_rarer {
            let _ = self.rarer.send(Arc::clone(&event));
        }
        let _ = self.all.send(Arc::clone(&event));
        event
    }

    /// Watches from now on, or from before.
    pub(crate) fn watch(&self, wanted: Wanted) -> Heard {
        let Wanted { last, after, but_measurements } = wanted;
        let past = self.lock();
        let live = if but_measurements { self.rarer.subscribe() } else { self.all.subscribe() };
        let newest = EventId { term: past.term, number: past.told };
        if last.is_none() && after.is_none() {
            return Heard { before: Vec::new(), missing: 0, newest, live };
        }
        let of_measurements = past.of_measurements.iter().filter(|_| !but_measurements);
        let newer = |event: &&Arc<Event>| after.is_none_or(|after| event.id > Some(after));
        let mut before: Vec<_> = past.others.iter().chain(of_measurements).filter(newer).cloned().collect();
        before.sort_unstable_by_key(|event| event.id);
        before.drain(..before.len().saturating_sub(last.unwrap_or(KEPT)));
        // Numbers leave none out. Of a former term nothing is known but that it ended.
        let since = after.map_or(newest.number, |after| match after.term.cmp(&past.term) {
            std::cmp::Ordering::Less => 0,
            std::cmp::Ordering::Equal => after.number,
            std::cmp::Ordering::Greater => newest.number,
        });
        let missing = newest.number.saturating_sub(since).saturating_sub(before.len() as u64);
        Heard { before, missing, newest, live }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Past> {
        self.past.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn of_measurements(event: &Event) -> bool {
    event.kind.starts_with("measurement")
}

#[cfg(test)]
mod tests {
    use super::*;
    use mmn_schema::time::Timestamp;

    fn event(kind: &str) -> Event {
        let at = Timestamp::from_unix_ns(0);
        Event {
            id: None,
            at,
            kind: kind.to_owned(),
            vp: None,
            instance: None,
            measurement: None,
            text: String::new(),
        }
    }

    fn numbers(heard: &Heard) -> Vec<u64> {
        heard.before.iter().filter_map(|event| event.id).map(|id| id.number).collect()
    }

    fn at(term: u64, number: u64) -> Option<EventId> {
        Some(EventId { term: Epoch(term), number })
    }

    #[test]
    fn what_was_before_meets_what_comes() {
        let events = Events::new();
        events.begin(Epoch(3));
        for kind in ["vp-joined", "measurement-done", "vp-lost"] {
            events.tell(event(kind));
        }
        assert!(events.watch(Wanted::default()).before.is_empty());
        let last = Wanted { last: Some(2), ..Wanted::default() };
        let mut heard = events.watch(last);
        assert_eq!((numbers(&heard), heard.missing, Some(heard.newest)), (vec![2, 3], 0, at(3, 3)));
        let quiet = events.watch(Wanted { but_measurements: true, ..last });
        assert_eq!(numbers(&quiet), [1, 3]);
        let next = events.tell(event("vp-joined"));
        assert_eq!(heard.live.try_recv().unwrap(), next);
        assert!(heard.live.try_recv().is_err());
        let resumed = events.watch(Wanted { after: at(3, 2), ..Wanted::default() });
        assert_eq!((numbers(&resumed), resumed.missing), (vec![3, 4], 0));
        assert!(events.watch(Wanted { after: at(3, 4), ..Wanted::default() }).before.is_empty());
        // One of the term before missed the end of that, and all of this one.
        let resumed = events.watch(Wanted { after: at(2, 90), ..Wanted::default() });
        assert_eq!((numbers(&resumed), resumed.missing), (vec![1, 2, 3, 4], 0));
        assert_eq!(events.watch(Wanted { after: at(4, 1), ..Wanted::default() }).missing, 0);
    }

    #[test]
    fn measurements_push_nothing_else_out_and_what_is_gone_is_counted() {
        let events = Events::new();
        events.begin(Epoch(1));
        events.tell(event("module-lost"));
        for _ in 0..1000 {
            events.tell(event("measurement-done"));
        }
        let heard = events.watch(Wanted { last: Some(KEPT), ..Wanted::default() });
        assert_eq!((heard.before.len(), heard.before[0].kind.as_str()), (KEPT_EACH + 1, "module-lost"));
        let resumed = events.watch(Wanted { after: at(1, 1), ..Wanted::default() });
        assert_eq!((resumed.before.len(), resumed.missing), (KEPT_EACH, 750));
        let few = events.watch(Wanted { after: at(1, 991), last: Some(4), ..Wanted::default() });
        assert_eq!((numbers(&few), few.missing), (vec![998, 999, 1000, 1001], 6));
    }
}
