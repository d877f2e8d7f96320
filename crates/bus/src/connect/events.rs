//! What happens to a connection: to whoever listens, and to the log at a bounded rate.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use async_nats::{Event, ServerError};
use tokio::sync::{broadcast, watch};

use crate::clock;

/// What a receiver may be behind before it misses events. There is room for them from the beginning, and a lab has
/// thousands of connections in a process.
const CAPACITY: usize = 64;
/// One line per kind of event in this time; the next says how many were left out.
const LOG_INTERVAL: Duration = Duration::from_secs(5);

/// Something that happened to a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum BusEvent {
    /// It is there, for the first time or again. Subscriptions are made anew by the library;
    /// whoever announces itself does so again now.
    Connected,
    /// It is gone, and being made anew.
    Disconnected,
    /// It is closed for good.
    Closed,
    /// The server is about to go away.
    LameDuck,
    /// A subscription's reader is too slow, and messages of it were dropped.
    SlowConsumer {
        /// The library's number of the subscription.
        subscription: u64,
    },
    /// The server refused a publish or a subscription; in its own words.
    PermissionViolation(String),
    /// The server said something else; in its own words.
    ServerError(String),
    /// An attempt to connect failed, or the library gave up on something; in its own words.
    ClientError(String),
}

/// Whether the connection is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Link {
    /// Not yet, or not at present.
    Down,
    /// It is there. The number counts connections, so that a short loss is seen as well.
    Up {
        /// 1 for the first.
        generation: u64,
    },
    /// Closed for good.
    Closed,
}

#[derive(Debug, Clone)]
pub(super) struct Events {
    sender: broadcast::Sender<BusEvent>,
    link: Arc<watch::Sender<Link>>,
    log: Arc<Mutex<Log>>,
}

impl Events {
    pub(super) fn new() -> Self {
        Self {
            sender: broadcast::Sender::new(CAPACITY),
            link: Arc::new(watch::Sender::new(Link::Down)),
            log: Arc::default(),
        }
    }

    pub(super) fn subscribe(&self) -> broadcast::Receiver<BusEvent> {
        self.sender.subscribe()
    }

    pub(super) fn link(&self) -> watch::Receiver<Link> {
        self.link.subscribe()
    }

    pub(super) fn receive(&self, event: Event) {
        let Some(event) = translate(event) else {
            return;
        };
        let mut log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        match event {
            BusEvent::Connected => {
                log.generation += 1;
                self.link.send_replace(Link::Up { generation: log.generation });
            }
            BusEvent::Disconnected => drop(self.link.send_replace(Link::Down)),
            BusEvent::Closed => drop(self.link.send_replace(Link::Closed)),
            _ => {}
        }
        log.note(&event, clock::now());
        drop(log);
        // Nobody has to listen.
        let _ = self.sender.send(event);
    }
}

/// Nothing for the start of a drain: its end is the event.
fn translate(event: Event) -> Option<BusEvent> {
    Some(match event {
        Event::Connected => BusEvent::Connected,
        Event::Disconnected => BusEvent::Disconnected,
        Event::Closed => BusEvent::Closed,
        Event::Draining => return None,
        Event::LameDuckMode => BusEvent::LameDuck,
        Event::SlowConsumer(subscription) | Event::ServerError(ServerError::SlowConsumer(subscription)) => {
            BusEvent::SlowConsumer { subscription }
        }
        Event::ServerError(ServerError::AuthorizationViolation) => {
            BusEvent::ServerError("authorization violation".into())
        }
        Event::ServerError(ServerError::Other(words)) => {
            if words.to_ascii_lowercase().starts_with("permissions violation") {
                BusEvent::PermissionViolation(words)
            } else {
                BusEvent::ServerError(words)
            }
        }
        Event::ClientError(error) => BusEvent::ClientError(error.to_string()),
    })
}

#[derive(Debug, Default)]
struct Log {
    generation: u64,
    kinds: [Kind; 6],
}

#[derive(Debug, Default, Clone, Copy)]
struct Kind {
    last: Option<Instant>,
    left_out: u64,
}

impl Log {
    fn note(&mut self, event: &BusEvent, now: Instant) {
        let (index, grave) = match event {
            BusEvent::Connected => (0, false),
            BusEvent::Disconnected => (1, true),
            BusEvent::Closed | BusEvent::LameDuck => (2, false),
            BusEvent::SlowConsumer { .. } => (3, true),
            BusEvent::PermissionViolation(_) => (4, true),
            BusEvent::ServerError(_) | BusEvent::ClientError(_) => (5, true),
        };
        let Some(kind) = self.kinds.get_mut(index) else {
            return;
        };
        let Some(left_out) = kind.pass(now) else {
            return;
        };
        if grave {
            tracing::warn!(?event, left_out, "NATS");
        } else {
            tracing::info!(?event, left_out, "NATS");
        }
    }
}

impl Kind {
    /// How many were left out since the last line, when it is time for another.
    fn pass(&mut self, now: Instant) -> Option<u64> {
        let soon = |last| now.saturating_duration_since(last) < LOG_INTERVAL;
        if self.last.is_some_and(soon) {
            self.left_out += 1;
            return None;
        }
        self.last = Some(now);
        Some(std::mem::take(&mut self.left_out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_makes_one_line_in_five_seconds() {
        let now = clock::now();
        let mut kind = Kind::default();
        assert_eq!(kind.pass(now), Some(0));
        for ms in 1..1000 {
            assert_eq!(kind.pass(now + Duration::from_millis(ms)), None);
        }
        assert_eq!(kind.pass(now + LOG_INTERVAL), Some(999));
    }

    #[test]
    fn the_link_follows_the_events() {
        let events = Events::new();
        let link = events.link();
        events.receive(Event::Connected);
        events.receive(Event::Disconnected);
        assert_eq!(*link.borrow(), Link::Down);
        events.receive(Event::Connected);
        assert_eq!(*link.borrow(), Link::Up { generation: 2 });
    }
}
