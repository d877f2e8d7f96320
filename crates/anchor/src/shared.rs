//! What handles, readers and the actor have in common.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Instant;

use mmn_bus::connect::{Bus, Link};
use mmn_schema::problem::Problem;
use mmn_schema::subject::Prefix;
use tokio::sync::{mpsc, watch};

use crate::clock;
use crate::command::Command;
use crate::events::Events;
use crate::gauge::Gauge;
use crate::handle::Readiness;
use crate::metrics::{REFUSALS, Standing};
use crate::problems;
use crate::store::Store;

/// How many commands wait for the actor; beyond it their senders wait.
const COMMANDS: usize = 1024;

#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) bus: Bus,
    pub(crate) prefix: Prefix,
    pub(crate) commands: mpsc::Sender<Command>,
    pub(crate) events: Events,
    pub(crate) readiness: watch::Sender<Readiness>,
    pub(crate) tallies: Tallies,
    /// Where NATS is, for people.
    nats: String,
    active: AtomicBool,
    /// Until when the lease is certainly this anchor's: no other one has taken over before that.
    holds_until: Mutex<Instant>,
    store: OnceLock<Store>,
}

/// What is counted outside the actor.
#[derive(Debug, Default)]
pub(crate) struct Tallies {
    /// Readers that have fallen behind and catch up.
    pub(crate) behind: Gauge,
    /// How often one has fallen behind.
    pub(crate) lagged: AtomicU64,
    /// Requests for work that were refused, by [`REFUSALS`].
    refused: [AtomicU64; REFUSALS.len()],
    /// The latest connection to NATS that was seen.
    connections: AtomicU64,
}

impl Tallies {
    /// Work was refused. Only reasons of the anchor's own count: the others are the client's.
    pub(crate) fn refuse(&self, problem: &Problem) {
        let at = REFUSALS.iter().position(|reason| *reason == problem.reason);
        if let Some(count) = at.and_then(|at| self.refused.get(at)) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Shared {
    /// `urls` are NATS's servers.
    pub(crate) fn new(bus: Bus, prefix: Prefix, urls: &[String]) -> (Arc<Self>, mpsc::Receiver<Command>) {
        let (commands, receiver) = mpsc::channel(COMMANDS);
        let nats = urls.iter().map(|url| without_user(url)).collect::<Vec<_>>().join(", ");
        let readiness = Readiness { ready: false, detail: no_connection(&nats, None) };
        let shared = Self {
            bus,
            prefix,
            commands,
            events: Events::new(),
            readiness: watch::Sender::new(readiness),
            tallies: Tallies::default(),
            nats,
            active: AtomicBool::new(false),
            holds_until: Mutex::new(clock::now()),
            store: OnceLock::new(),
        };
        (Arc::new(shared), receiver)
    }

    /// Whether the actor serves commands.
    pub(crate) fn is_active(&self) -> bool {
        self.active.load(Ordering::Acquire)
    }

    /// Says until when the lease is certainly this anchor's.
    pub(crate) fn hold_until(&self, until: Instant) {
        *self.holds_until.lock().unwrap_or_else(PoisonError::into_inner) = until;
    }

    /// Whether the lease is certainly this anchor's. One that was stopped, or cut off, may have been replaced meanwhile.
    pub(crate) fn holds(&self) -> bool {
        clock::now() < *self.holds_until.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn activate(&self, store: Store) {
        // It is set once in the life of a process: an anchor that loses its lease ends.
        let _ = self.store.set(store);
        self.active.store(true, Ordering::Release);
    }

    /// Says whether the anchor can take work, and what it does or lacks otherwise. Without a connection to NATS that is
    /// what it lacks.
    pub(crate) fn say(&self, ready: bool, detail: &str) {
        if self.is_connected() {
            self.tell(ready, detail.to_owned());
        } else {
            self.say_unconnected(None);
        }
    }

    /// Says that there is no connection, and `why`.
    pub(crate) fn say_unconnected(&self, why: Option<&str>) {
        self.tell(false, no_connection(&self.nats, why));
    }

    /// Says that the anchor is on its way out.
    pub(crate) fn say_stopping(&self) {
        self.tell(false, STOPPING.to_owned());
    }

    pub(crate) fn is_connected(&self) -> bool {
        matches!(*self.bus.link().borrow(), Link::Up { .. })
    }

    /// What an anchor knows of itself whether it is active or stands by.
    pub(crate) fn standing(&self) -> Standing {
        let tallies = &self.tallies;
        let connections = match *self.bus.link().borrow() {
            Link::Up { generation } => {
                tallies.connections.fetch_max(generation, Ordering::Relaxed);
                generation
            }
            Link::Down | Link::Closed => tallies.connections.load(Ordering::Relaxed),
        };
        let mut refused = REFUSALS.map(|reason| (reason, 0));
        for ((_, sum), count) in refused.iter_mut().zip(&tallies.refused) {
            *sum = count.load(Ordering::Relaxed);
        }
        Standing {
            ready: self.readiness.borrow().ready,
            nats_connected: self.is_connected(),
            nats_connections_total: connections,
            work_refused_total: refused,
            readers_behind: tallies.behind.value(),
            readers_lagged_total: tallies.lagged.load(Ordering::Relaxed),
        }
    }

    /// Where NATS is, for people.
    pub(crate) fn nats(&self) -> &str {
        &self.nats
    }

    pub(crate) fn store(&self) -> Result<&Store, Problem> {
        self.store.get().ok_or_else(|| problems::not_ready(&self.readiness.borrow().detail))
    }

    fn tell(&self, ready: bool, detail: String) {
        self.readiness.send_if_modified(|now| {
            let next = Readiness { ready, detail };
            let changed = *now != next;
            *now = next;
            changed
        });
    }
}

const STOPPING: &str = "stopping";

fn no_connection(nats: &str, why: Option<&str>) -> String {
    match why {
        Some(why) => format!("no connection to NATS at {nats}: {why:.200}"),
        None => format!("no connection to NATS at {nats}"),
    }
}

/// A URL as it may be shown: a name and a password in it may not.
fn without_user(url: &str) -> String {
    let (scheme, rest) = url.split_once("://").unwrap_or(("nats", url));
    let host = rest.rsplit_once('@').map_or(rest, |(_, host)| host);
    format!("{scheme}://{host}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_in_a_url_is_not_shown() {
        assert_eq!(without_user("nats://user:p@ss@example.net:4222"), "nats://example.net:4222");
        assert_eq!(without_user("127.0.0.1:4222"), "nats://127.0.0.1:4222");
    }
}
