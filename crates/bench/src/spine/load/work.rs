//! The thread of a load: one loop that asks and reads.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use mmn_schema::api::ResultRecord;
use mmn_schema::stream::FromAnchor;

use super::{Done, Log, Plan};
use crate::clock;
use crate::socket::{Question, Socket};

/// How long what was declined waits before it is asked again.
const AGAIN: Duration = Duration::from_millis(25);

/// A measurement under way.
#[derive(Debug)]
struct UnderWay {
    measurement: Option<String>,
    results: u32,
    last: Option<ResultRecord>,
}

/// The thread's own.
pub(super) struct Work {
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
    pub(super) fn new(
        plan: Plan,
        questions: Vec<Question>,
        stop: Arc<AtomicBool>,
        log: Arc<Mutex<Log>>,
    ) -> Self {
        Self {
            plan,
            questions,
            stop,
            log,
            under_way: HashMap::new(),
            held: VecDeque::new(),
            next: 0,
            due: 0.0,
        }
    }

    pub(super) fn run(mut self) {
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
