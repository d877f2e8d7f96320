//! Where tasks wait for Python: one hall for the functions that threads perform, one for those of the event loop.
//!
//! Nobody who puts a task in waits for anybody. What waits is bounded by the kinds' concurrency, which the module's desk
//! keeps. Of threads as few work as can keep up: one as long as tasks are over at once, up to all when they wait for the
//! network. Threads that fight for the interpreter are slower than one.

use std::collections::VecDeque;
use std::io::Write;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use mmn_node::clock;
use mmn_probe::time::{Instant, Nanos};

use super::job::Job;

/// How long is looked at what threads take before more are wanted.
const WINDOW: Duration = Duration::from_millis(2);
/// For how many windows those that are there are enough, once more of them took no more.
const CONTENT: u32 = 50;
/// How long all threads may be held by tasks that are over while others wait: then the module is no good any more.
const HUNG: Nanos = Nanos::from_secs(20);

/// Tasks that wait, and who waits for them.
#[derive(Debug)]
pub(super) struct Hall {
    state: Mutex<State>,
    /// For threads: there is a task.
    task: Condvar,
    /// For the one who starts threads: something waits.
    stirred: Condvar,
    /// The most threads.
    most: usize,
    /// The loop's bell: this end is written to.
    bell: Option<UnixStream>,
    /// The other end, which the loop looks at.
    door: Option<OwnedFd>,
}

#[derive(Debug, Default)]
struct State {
    queue: VecDeque<Arc<Job>>,
    /// Those that are at work in the loop and are called off.
    called_off: Vec<Arc<Job>>,
    /// Tasks that threads are at work on, and since when: to see whether one is over for long.
    at_work: Vec<Arc<Job>>,
    threads: usize,
    idle: usize,
    taken: u64,
    rung: bool,
    closed: bool,
}

impl State {
    /// The first that waits, for a thread that has done with another.
    fn pop(&mut self, done: Option<&Arc<Job>>) -> Option<Arc<Job>> {
        if let Some(done) = done {
            self.at_work.retain(|job| !Arc::ptr_eq(job, done));
        }
        let job = self.queue.pop_front()?;
        self.taken += 1;
        self.at_work.push(Arc::clone(&job));
        Some(job)
    }

    /// Whether no thread takes a task any more, of `most`, since none has come back from one that is over.
    fn is_stuck(&self, most: usize) -> bool {
        self.at_work.len() >= most && self.at_work.iter().all(|job| job.is_over())
    }
}

/// Whether more threads take more. Those that wait for the network do; those that compute only fight for the interpreter.
#[derive(Debug, Default)]
struct Climb {
    /// How many tasks were taken in a window before there were more threads.
    former: u64,
    /// How many windows more there is nothing to try.
    content: u32,
}

impl Climb {
    /// After a window in which so many were taken, with so many still waiting: whether to try with more.
    fn wants(&mut self, taken: u64, waiting: usize) -> bool {
        self.content = self.content.saturating_sub(1);
        if taken == 0 {
            return waiting > 0;
        }
        if waiting as u64 <= 2 * taken || self.content > 0 {
            return false;
        }
        if self.former > 0 && taken * 4 < self.former * 5 {
            (self.former, self.content) = (0, CONTENT);
            return false;
        }
        self.former = taken;
        true
    }
}

/// What the one who starts threads is to do.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    /// So many threads more.
    Threads(usize),
    /// All threads are held by tasks that are long over.
    Nothing(String),
    /// The end.
    Closed,
}

impl Hall {
    /// For threads, up to so many.
    pub(super) fn of_threads(most: usize) -> Self {
        Self {
            state: Mutex::default(),
            task: Condvar::new(),
            stirred: Condvar::new(),
            most: most.max(1),
            bell: None,
            door: None,
        }
    }

    /// For an event loop.
    pub(super) fn of_loop() -> std::io::Result<Self> {
        let (bell, door) = UnixStream::pair()?;
        bell.set_nonblocking(true)?;
        door.set_nonblocking(true)?;
        Ok(Self { bell: Some(bell), door: Some(door.into()), ..Self::of_threads(1) })
    }

    /// The descriptor that the loop looks at.
    pub(super) fn door(&self) -> Option<i32> {
        self.door.as_ref().map(AsRawFd::as_raw_fd)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A task waits from now on.
    pub(super) fn put(&self, job: Arc<Job>) {
        let mut state = self.lock();
        let first = state.queue.is_empty();
        state.queue.push_back(job);
        if self.bell.is_some() {
            self.ring(&mut state);
        } else if first {
            // One that works will come by; without one, one is woken.
            if state.idle == state.threads {
                self.task.notify_one();
            }
            self.stirred.notify_one();
        }
    }

    /// A task is over before its function has ended.
    pub(super) fn call_off(&self, job: &Arc<Job>) {
        let mut state = self.lock();
        let before = state.queue.len();
        state.queue.retain(|waiting| !Arc::ptr_eq(waiting, job));
        if state.queue.len() == before && self.bell.is_some() {
            state.called_off.push(Arc::clone(job));
            self.ring(&mut state);
        }
    }

    fn ring(&self, state: &mut State) {
        if !state.rung
            && let Some(mut bell) = self.bell.as_ref()
        {
            // Full means that it was rung often enough.
            let _ = bell.write(&[1]);
            state.rung = true;
        }
    }

    /// What is to be begun in the loop, what is called off there, and whether that is the end.
    pub(super) fn answer(&self) -> (Vec<Arc<Job>>, Vec<Arc<Job>>, bool) {
        if let Some(door) = &self.door {
            let mut octets = [0; 64];
            while rustix::io::read(door, &mut octets).is_ok_and(|read| read == octets.len()) {}
        }
        let mut state = self.lock();
        state.rung = false;
        let called_off = std::mem::take(&mut state.called_off);
        let queue = std::mem::take(&mut state.queue);
        (queue.into(), called_off, state.closed)
    }

    /// The next task for a thread, at once; nothing when it has to wait for one.
    pub(super) fn take_now(&self, done: Option<&Arc<Job>>) -> Option<Arc<Job>> {
        self.lock().pop(done)
    }

    /// The next task for a thread; nothing at the end.
    pub(super) fn take(&self, done: Option<&Arc<Job>>) -> Option<Arc<Job>> {
        let mut state = self.lock();
        let mut done = done;
        loop {
            if let Some(job) = state.pop(done.take()) {
                return Some(job);
            }
            if state.closed {
                state.threads = state.threads.saturating_sub(1);
                return None;
            }
            state.idle += 1;
            state = self.task.wait(state).unwrap_or_else(PoisonError::into_inner);
            state.idle -= 1;
        }
    }

    /// A first thread is there.
    pub(super) fn joins(&self) {
        self.lock().threads += 1;
    }

    /// Waits until more threads are wanted, which count as there from now on.
    pub(super) fn wanted(&self) -> Wanted {
        let mut state = self.lock();
        let mut climb = Climb::default();
        // Since when nobody has come back, and how many tasks had been taken by then.
        let mut stuck: Option<(Instant, u64)> = None;
        loop {
            if state.closed {
                return Wanted::Closed;
            }
            if state.queue.is_empty() {
                climb = Climb::default();
                state = self.stirred.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            let before = state.taken;
            let window = self.stirred.wait_timeout_while(state, WINDOW, |state| !state.closed);
            (state, _) = window.unwrap_or_else(PoisonError::into_inner);
            let taken = state.taken;
            if state.closed || !climb.wants(taken - before, state.queue.len()) {
                continue;
            }
            // As many again as are at work.
            let wanted = (state.threads - state.idle).max(1).min(state.queue.len());
            let woken = wanted.min(state.idle);
            for _ in 0..woken {
                self.task.notify_one();
            }
            let begun = (wanted - woken).min(self.most.saturating_sub(state.threads));
            if begun > 0 {
                state.threads += begun;
                return Wanted::Threads(begun);
            }
            let now = clock::monotonic();
            stuck = match stuck {
                _ if !state.is_stuck(self.most) => None,
                Some((since, known)) if known == taken => Some((since, known)),
                _ => Some((now, taken)),
            };
            if stuck.is_some_and(|(since, _)| now.saturating_since(since) > HUNG) {
                let why = "threads are held by functions that go on although their tasks are over";
                return Wanted::Nothing(format!("all {} {why}", self.most));
            }
        }
    }

    /// Nothing comes any more.
    pub(super) fn close(&self) {
        let mut state = self.lock();
        state.closed = true;
        self.task.notify_all();
        self.stirred.notify_all();
        self.ring(&mut state);
    }
}
