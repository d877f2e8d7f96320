//! Load from outside: single measurements over a WebSocket, from a thread of its own, with a log of what came of each.
//! It connects again when the connection breaks, and asks again what was declined.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use mmn_schema::api::ResultRecord;
use mmn_schema::outcome::Outcome;
use mmn_schema::stream::FromAnchor;

use super::network;
use super::socket::{Question, Socket};
use crate::clock;
use crate::http::Connection;

/// How long what was declined waits before it is asked again.
const AGAIN: Duration = Duration::from_millis(25);

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
        let work = Work {
            plan: plan.clone(),
            questions,
            stop: Arc::clone(&stop),
            log: Arc::clone(&log),
            under_way: HashMap::new(),
            held: VecDeque::new(),
            next: 0,
            due: 0.0,
        };
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
            let ledger =
                Connection::open(host, &self.plan.token).and_then(|mut api| network::ledger(&mut api, id));
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

/// A measurement under way.
#[derive(Debug)]
struct UnderWay {
    measurement: Option<String>,
    results: u32,
    last: Option<ResultRecord>,
}

/// The thread's own.
struct Work {
    plan: Plan,
    questions: Vec<Question>,
    stop: Arc<AtomicBool>,
    log: Arc<Mutex<Log>>,
    under_way: HashMap<u64, UnderWay>,
    /// Until when places are kept free after a problem.
    held: VecDeque<Instant>,
    next: u64,
    /// How many may be asked by the rate, a fraction included.
    due: f64,
}

impl Work {
    fn run(mut self) {
        let mut host = 0;
        let mut last = clock::now();
        'connect: loop {
            let name = self.plan.hosts.get(host % self.plan.hosts.len().max(1)).cloned().unwrap_or_default();
            let opened = Socket::open(&name, &self.plan.token)
                .and_then(|socket| socket.set_patience(Duration::from_millis(1)).map(|()| socket));
            let Ok(mut socket) = opened else {
                host += 1;
                if self.stop.load(Ordering::Relaxed) {
                    return;
                }
                std::thread::sleep(Duration::from_millis(5));
                continue;
            };
            let mut ending: Option<Instant> = None;
            loop {
                let now = clock::now();
                if self.stop.load(Ordering::Relaxed) {
                    let since = *ending.get_or_insert(now);
                    if self.under_way.is_empty() || now - since > Duration::from_secs(40) {
                        self.forget();
                        return;
                    }
                } else {
                    self.due += self.plan.per_s.unwrap_or(f64::MAX / 1e9) * (now - last).as_secs_f64();
                    self.due = self.due.min(self.plan.per_s.map_or(f64::MAX, |per_s| per_s * 0.1));
                    self.ask(&mut socket, now);
                }
                last = now;
                let read = socket.flush().and_then(|()| {
                    let mut answers = Vec::new();
                    socket.read(|answer| answers.extend(answer.decode()))?;
                    Ok(answers)
                });
                let Ok(answers) = read else {
                    self.forget();
                    self.log().breaks += 1;
                    if self.stop.load(Ordering::Relaxed) {
                        return;
                    }
                    continue 'connect;
                };
                self.take(answers);
            }
        }
    }

    fn ask(&mut self, socket: &mut Socket, now: Instant) {
        while self.held.front().is_some_and(|until| *until <= now) {
            self.held.pop_front();
        }
        while self.due >= 1.0 && self.under_way.len() + self.held.len() < self.plan.under_way {
            self.due -= 1.0;
            let turn = usize::try_from(self.next).unwrap_or(0) % self.questions.len().max(1);
            let Some(question) = self.questions.get(turn) else { return };
            socket.ask(question, self.next);
            self.under_way.insert(self.next, UnderWay { measurement: None, results: 0, last: None });
            self.next += 1;
        }
        let under_way = self.under_way.len();
        let mut log = self.log();
        log.most_under_way = log.most_under_way.max(under_way);
    }

    fn take(&mut self, answers: Vec<FromAnchor>) {
        if answers.is_empty() {
            return;
        }
        let now = clock::now();
        let log = Arc::clone(&self.log);
        let mut log = log.lock().unwrap_or_else(PoisonError::into_inner);
        for answer in answers {
            match answer {
                FromAnchor::Accepted { id, measurement, .. } => {
                    if let Some(one) = self.under_way.get_mut(&id) {
                        one.measurement = Some(measurement.id.to_string());
                    }
                }
                FromAnchor::Results { id, records } => {
                    for record in records.into_iter().filter(|record| record.last) {
                        let Some(one) = self.under_way.get_mut(&id) else { continue };
                        one.results += 1;
                        one.last = Some(record);
                    }
                }
                FromAnchor::Done { id, .. } => {
                    let Some(one) = self.under_way.remove(&id) else { continue };
                    log.miscounted += u64::from(one.results != self.plan.tasks);
                    let (Some(measurement), Some(record)) = (one.measurement, one.last) else { continue };
                    log.done.push(Done {
                        at: now,
                        measurement,
                        started_ns: record.started_at.map_or(0, |at| i128::from(at.unix_ns())),
                        instance: record.instance.map(|instance| instance.to_string()),
                        attempt: record.attempt,
                        outcome: record.outcome,
                        reason: record.reason.map(|reason| reason.code.to_string()),
                    });
                }
                FromAnchor::Problem { id, problem } => {
                    *log.problems.entry((problem.status, problem.reason)).or_default() += 1;
                    // What was accepted and can't be followed is looked after in the end.
                    let one = id.and_then(|id| self.under_way.remove(&id));
                    log.unseen.extend(one.and_then(|one| one.measurement));
                    if self.plan.per_s.is_none() {
                        self.held.push_back(now + AGAIN);
                    }
                }
                _ => {}
            }
        }
    }

    /// The connection is gone, and what was under way on it.
    fn forget(&mut self) {
        let unseen: Vec<_> = self.under_way.drain().filter_map(|(_, one)| one.measurement).collect();
        self.log().unseen.extend(unseen);
    }

    fn log(&self) -> std::sync::MutexGuard<'_, Log> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
