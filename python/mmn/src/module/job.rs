//! A task between both worlds: a future for the module, an object for Python.

use std::future::poll_fn;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};
use std::time::Duration;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use mmn_kit::{Body, Context, Failure, Measured};
use mmn_node::clock;
use mmn_probe::time::{Instant, Nanos};
use mmn_schema::dispatch::Input;
use std::net::IpAddr;

use super::asking::{Ask, Question};
use super::hall::Hall;
use super::kind::Prepared;

/// A task.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) prepared: Arc<Prepared>,
    pub(super) input: Input,
    pub(super) deadline: Instant,
    /// Whether it is the kind's self-test.
    pub(super) self_test: bool,
    /// Whether it has no site: in a test of the function alone.
    alone: bool,
    over: AtomicBool,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    asks: Vec<Ask>,
    end: Option<Result<Measured<Body>, Failure>>,
    answered: Option<bool>,
    waker: Option<Waker>,
}

/// The task is over: called off, or past its deadline.
#[derive(Debug)]
pub(super) struct Over;

impl Job {
    /// One that the module has begun.
    pub(super) fn new(prepared: Arc<Prepared>, input: Input, deadline: Instant, self_test: bool) -> Self {
        Self {
            prepared,
            input,
            deadline,
            self_test,
            alone: false,
            over: AtomicBool::new(false),
            state: Mutex::default(),
            changed: Condvar::new(),
        }
    }

    /// One that has no module.
    pub(super) fn alone(prepared: Arc<Prepared>, input: Input, lasts: Nanos) -> Self {
        Self { alone: true, ..Self::new(prepared, input, clock::monotonic() + lasts, false) }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether it was called off, or its time is over.
    pub(super) fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed) || (self.alone && self.remaining() == Nanos::ZERO)
    }

    /// What is left of its time.
    pub(super) fn remaining(&self) -> Nanos {
        self.deadline.saturating_since(clock::monotonic())
    }

    /// Whether the network answered, as the function says.
    pub(super) fn set_answered(&self, answered: Option<bool>) {
        self.lock().answered = answered;
    }

    /// The same.
    pub(super) fn answered(&self) -> Option<bool> {
        self.lock().answered
    }

    /// The function has ended. The first end counts.
    pub(super) fn end(&self, end: Result<Measured<Body>, Failure>) {
        let mut state = self.lock();
        if state.end.is_none() {
            state.end = Some(end);
        }
        let waker = state.waker.take();
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// How it ended, where nobody else takes it.
    pub(super) fn take_end(&self) -> Option<Result<Measured<Body>, Failure>> {
        self.lock().end.take()
    }

    /// Calls it off.
    pub(super) fn call_off(&self) {
        self.over.store(true, Ordering::Relaxed);
        // Whoever waits for an answer hears that there is none.
        self.lock().asks.clear();
        self.changed.notify_all();
    }

    /// Waits so long, or until it is over. Says whether it is.
    pub(super) fn wait(&self, longest: Duration) -> bool {
        let longest = longest.min(Duration::from(self.remaining()));
        let state = self.lock();
        let waited = self.changed.wait_timeout_while(state, longest, |_| !self.is_over());
        drop(waited);
        self.is_over() || self.remaining() == Nanos::ZERO
    }

    /// Asks, and waits for the answer.
    pub(super) fn ask(&self, question: Question) -> Result<Result<Vec<IpAddr>, Failure>, Over> {
        if self.alone {
            return Ok(question.answer_alone());
        }
        let (answer, answered) = sync_channel(1);
        let mut state = self.lock();
        if self.is_over() {
            return Err(Over);
        }
        state.asks.push(Ask { question, answer });
        let waker = state.waker.take();
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
        answered.recv().map_err(|_| Over)
    }
}

/// Has Python perform a task. When this future is dropped, the task is called off.
pub(super) async fn perform(
    job: Arc<Job>,
    hall: &Hall,
    context: &dyn Context,
) -> Result<Measured<Body>, Failure> {
    hall.put(Arc::clone(&job));
    let mut guard = Guard { job: &job, hall, ended: false };
    let mut asked = FuturesUnordered::new();
    let end = poll_fn(|poll| {
        loop {
            let mut state = job.lock();
            if let Some(end) = state.end.take() {
                return Poll::Ready(end);
            }
            let asks = std::mem::take(&mut state.asks);
            state.waker = Some(poll.waker().clone());
            drop(state);
            asked.extend(asks.into_iter().map(|ask| ask.put_to(context)));
            match asked.poll_next_unpin(poll) {
                // Another may be there.
                Poll::Ready(Some(())) => {}
                Poll::Ready(None) | Poll::Pending => return Poll::Pending,
            }
        }
    })
    .await;
    guard.ended = true;
    end
}

struct Guard<'a> {
    job: &'a Arc<Job>,
    hall: &'a Hall,
    ended: bool,
}

impl Drop for Guard<'_> {
    fn drop(&mut self) {
        if !self.ended {
            self.job.call_off();
            self.hall.call_off(self.job);
        }
    }
}
