//! Load from outside: single measurements over a WebSocket, from a thread of its own, with a log of what came of each.
//! It connects again when the connection breaks, and asks again what was declined.

mod work;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use mmn_schema::outcome::Outcome;

use crate::http::Connection;
use crate::socket::Question;
use crate::{clock, measurement};
use work::Work;

/// What to ask, and how much of it.
#[derive(Debug, Clone)]
pub(super) struct Plan {
    /// `host:port` of anchors; the next one is tried when one can't be reached.
    pub(super) hosts: Vec<String>,
    pub(super) token: String,
    /// Requests, asked in turn.
    pub(super) bodies: Vec<String>,
    /// How many tasks each of them is.
    pub(super) tasks: u32,
    /// The most under way at a time.
    pub(super) under_way: usize,
    /// The most per second; absent: as many as come back.
    pub(super) per_s: Option<f64>,
}

/// A measurement that came to its end, with the last of its results.
#[derive(Debug, Clone)]
pub(super) struct Done {
    pub(super) at: Instant,
    pub(super) measurement: String,
    pub(super) instance: Option<String>,
    /// When its task began, in nanoseconds since the epoch.
    pub(super) started_ns: i128,
    pub(super) attempt: u32,
    pub(super) outcome: Outcome,
    pub(super) reason: Option<String>,
}

/// What came of everything.
#[derive(Debug, Default)]
pub(super) struct Log {
    pub(super) done: Vec<Done>,
    /// How often which problem was the answer: status and reason.
    pub(super) problems: BTreeMap<(u16, String), u64>,
    /// How often the connection broke.
    pub(super) breaks: u64,
    /// Of measurements accepted: those whose end was not seen, since the connection broke.
    pub(super) unseen: Vec<String>,
    /// Measurements that had another number of results than of tasks.
    pub(super) miscounted: u64,
    /// The most that were under way.
    pub(super) most_under_way: usize,
}

/// Load that goes on until it is stopped.
#[derive(Debug)]
pub(super) struct Load {
    plan: Plan,
    stop: Arc<AtomicBool>,
    log: Arc<Mutex<Log>>,
    thread: Option<JoinHandle<()>>,
}

impl Load {
    pub(super) fn start(plan: Plan) -> anyhow::Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let log = Arc::new(Mutex::new(Log::default()));
        let questions = plan
            .bodies
            .iter()
            .map(|body| Question::measure(body, 2 * plan.tasks + 2))
            .collect::<anyhow::Result<Vec<_>>>()?;
        let work = Work::new(plan.clone(), questions, Arc::clone(&stop), Arc::clone(&log));
        let thread = Some(std::thread::spawn(move || work.run()));
        Ok(Self { plan, stop, log, thread })
    }

    /// Looks at the log.
    pub(super) fn look<T>(&self, look: impl FnOnce(&Log) -> T) -> T {
        look(&self.log.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Waits until something is in the log.
    pub(super) fn wait_for<T>(
        &self,
        patience: Duration,
        what: &str,
        look: impl Fn(&Log) -> Option<T>,
    ) -> anyhow::Result<T> {
        let begin = clock::now();
        loop {
            if let Some(found) = self.look(&look) {
                return Ok(found);
            }
            if clock::now() - begin >= patience {
                let words = self.look(|log| {
                    format!("{} done, {} breaks, declined: {:?}", log.done.len(), log.breaks, log.problems)
                });
                anyhow::bail!("no {what} within {patience:?}: {words}");
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Asks no more from now on.
    pub(super) fn halt(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }

    /// Asks no more, waits for what is under way, and looks after what was accepted and not seen to its end: how many
    /// of those that were accepted never closed, or closed other than by the rules of the ledger.
    pub(super) fn end(mut self) -> (Log, u64) {
        self.join();
        let log = std::mem::take(&mut *self.log.lock().unwrap_or_else(PoisonError::into_inner));
        let mut open = 0;
        let begin = clock::now();
        for id in &log.unseen {
            while !self.is_closed(id).unwrap_or(false) {
                if clock::now() - begin > Duration::from_secs(40) {
                    open += 1;
                    break;
                }
                std::thread::sleep(Duration::from_millis(20));
            }
        }
        (log, open)
    }

    fn is_closed(&self, id: &str) -> anyhow::Result<bool> {
        let mut last = anyhow::anyhow!("no host");
        for host in &self.plan.hosts {
            let ledger = Connection::open(host, &self.plan.token)
                .and_then(|mut api| measurement::ledger(&mut api, id));
            match ledger {
                Ok(ledger) => return Ok(ledger["pending"] == 0 && ledger["accepted"] == self.plan.tasks),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    fn join(&mut self) {
        self.halt();
        if let Some(thread) = self.thread.take() {
            // A panic of it has been printed.
            let _ = thread.join();
        }
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.join();
    }
}
