//! Watches how instances are, as the API says it, from a thread of its own.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::clock;
use crate::http::Connection;

/// How often it asks.
const EVERY: Duration = Duration::from_millis(5);

/// An instance is otherwise than it was.
#[derive(Debug, Clone)]
pub(super) struct Change {
    pub(super) at: Instant,
    pub(super) instance: String,
    pub(super) boot: String,
    pub(super) health: String,
    pub(super) evidence: String,
}

/// A watch that is kept until it is dropped.
#[derive(Debug)]
pub(super) struct Watch {
    stop: Arc<AtomicBool>,
    changes: Arc<Mutex<Vec<Change>>>,
    thread: Option<JoinHandle<()>>,
}

impl Watch {
    pub(super) fn start(host: &str, token: &str) -> Self {
        let (stop, changes) = (Arc::new(AtomicBool::new(false)), Arc::default());
        let (host, token) = (host.to_owned(), token.to_owned());
        let (stopped, log) = (Arc::clone(&stop), Arc::clone(&changes));
        let thread = std::thread::spawn(move || {
            let mut seen = BTreeMap::new();
            while !stopped.load(Ordering::Relaxed) {
                let Ok(mut api) = Connection::open(&host, &token) else {
                    std::thread::sleep(EVERY);
                    continue;
                };
                while !stopped.load(Ordering::Relaxed) {
                    match api.request("GET", "/api/v1/modules", None) {
                        Ok((200, body)) => note(&body, &mut seen, &log),
                        Ok(_) => {}
                        Err(_) => break,
                    }
                    std::thread::sleep(EVERY);
                }
            }
        });
        Self { stop, changes, thread: Some(thread) }
    }

    /// All changes so far.
    pub(super) fn changes(&self) -> Vec<Change> {
        self.changes.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits for a change after an instant; how long after it came.
    pub(super) fn wait_for(
        &self,
        after: Instant,
        patience: Duration,
        what: &str,
        is_it: impl Fn(&Change) -> bool,
    ) -> anyhow::Result<(Duration, Change)> {
        loop {
            let found = {
                let changes = self.changes.lock().unwrap_or_else(PoisonError::into_inner);
                changes.iter().find(|change| change.at >= after && is_it(change)).cloned()
            };
            if let Some(change) = found {
                return Ok((change.at - after, change));
            }
            anyhow::ensure!(clock::now() - after < patience, "{what} was not said within {patience:?}");
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

type Seen = BTreeMap<String, (String, String)>;

fn note(body: &[u8], seen: &mut Seen, log: &Mutex<Vec<Change>>) {
    let at = clock::now();
    let Ok(modules) = serde_json::from_slice::<Value>(body) else { return };
    let text = |value: &Value| match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    for module in modules["items"].as_array().map_or(&[][..], Vec::as_slice) {
        let instance = text(&module["instance"]);
        let now = (text(&module["boot"]), text(&module["health"]));
        if seen.get(&instance) != Some(&now) {
            seen.insert(instance.clone(), now.clone());
            let change =
                Change { at, instance, boot: now.0, health: now.1, evidence: text(&module["evidence"]) };
            log.lock().unwrap_or_else(PoisonError::into_inner).push(change);
        }
    }
}
