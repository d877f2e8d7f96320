//! What handles, readers and the actor have in common.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use mmn_bus::connect::Bus;
use mmn_schema::event::Event;
use mmn_schema::problem::Problem;
use mmn_schema::subject::Prefix;
use tokio::sync::{broadcast, mpsc, watch};

use crate::command::Command;
use crate::handle::Readiness;
use crate::problems;
use crate::store::Store;

/// How many commands wait for the actor; beyond it their senders wait.
const COMMANDS: usize = 1024;
/// How far a watcher of events may be behind before it misses some.
const EVENTS: usize = 1024;

#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) bus: Bus,
    pub(crate) prefix: Prefix,
    pub(crate) commands: mpsc::Sender<Command>,
    pub(crate) events: broadcast::Sender<Arc<Event>>,
    pub(crate) readiness: watch::Sender<Readiness>,
    active: AtomicBool,
    store: OnceLock<Store>,
}

impl Shared {
    pub(crate) fn new(bus: Bus, prefix: Prefix) -> (Arc<Self>, mpsc::Receiver<Command>) {
        let (commands, receiver) = mpsc::channel(COMMANDS);
        let readiness = Readiness { ready: false, detail: "connecting".to_owned() };
        let shared = Self {
            bus,
            prefix,
            commands,
            events: broadcast::Sender::new(EVENTS),
            readiness: watch::Sender::new(readiness),
            active: AtomicBool::new(false),
            store: OnceLock::new(),
        };
        (Arc::new(shared), receiver)
    }

    /// Whether the actor serves commands.
    pub(crate) fn is_active(&self) -> bool {
        self.active.load(Ordering::Acquire)
    }

    pub(crate) fn activate(&self, store: Store) {
        // It is set once in the life of a process: an anchor that loses its lease ends.
        let _ = self.store.set(store);
        self.active.store(true, Ordering::Release);
    }

    pub(crate) fn say(&self, ready: bool, detail: &str) {
        self.readiness.send_if_modified(|now| {
            let next = Readiness { ready, detail: detail.to_owned() };
            let changed = *now != next;
            *now = next;
            changed
        });
    }

    pub(crate) fn store(&self) -> Result<&Store, Problem> {
        self.store.get().ok_or_else(|| problems::not_ready("recovering"))
    }
}
