//! The thread on which the work is done, and how Python's threads wait for it.
//!
//! There is one for each process that uses the module: a child of `fork` has none of its parent's threads, and so makes its
//! own. It is never ended; it holds nothing that a process that ends would miss.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use pyo3::prelude::*;
use tokio::runtime::Handle;

use crate::clock::Instant;
use crate::errors;

/// The longest that a wait goes without asking whether a signal came: Ctrl-C ends it after so long at most.
const SLICE: Duration = Duration::from_millis(20);

/// What runs, for a process.
pub(crate) struct Runtime {
    pid: u32,
    handle: Handle,
    bell: Mutex<u64>,
    rung: Condvar,
}

static CURRENT: Mutex<Option<&'static Runtime>> = Mutex::new(None);

impl Runtime {
    /// That of this process. Python's lock is held here, as it is where a process forks, so that no child finds the lock taken.
    pub(crate) fn of_this_process(_: Python<'_>) -> PyResult<&'static Self> {
        let mut current = locked(&CURRENT);
        if let Some(runtime) = *current
            && runtime.pid == std::process::id()
        {
            return Ok(runtime);
        }
        let inner = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let handle = inner.handle().clone();
        std::thread::Builder::new()
            .name("mmn".to_owned())
            .spawn(move || inner.block_on(std::future::pending::<()>()))?;
        let runtime: &'static Self = Box::leak(Box::new(Self {
            pid: std::process::id(),
            handle,
            bell: Mutex::new(0),
            rung: Condvar::new(),
        }));
        *current = Some(runtime);
        Ok(runtime)
    }

    /// Fails in a child of the process that made it.
    pub(crate) fn check(&self, py: Python<'_>) -> PyResult<()> {
        if self.pid == std::process::id() { Ok(()) } else { Err(errors::forked(py, self.pid)) }
    }

    /// Where futures run.
    pub(crate) const fn handle(&self) -> &Handle {
        &self.handle
    }

    /// Wakes all who wait, to look whether what they wait for has come.
    pub(crate) fn ring(&self) {
        *locked(&self.bell) += 1;
        self.rung.notify_all();
    }

    /// Waits until `look` finds something, without Python's lock; `None` when `limit` has passed before. Signals are
    /// attended to meanwhile.
    pub(crate) fn wait<T: Send>(
        &self,
        py: Python<'_>,
        limit: Option<Duration>,
        mut look: impl FnMut() -> Option<T> + Send,
    ) -> PyResult<Option<T>> {
        if let Some(found) = look() {
            return Ok(Some(found));
        }
        let end = limit.and_then(|limit| Instant::now().after(limit));
        loop {
            let (found, over) = py.detach(|| self.wait_slice(end, &mut look));
            if found.is_some() || over {
                return Ok(found);
            }
            py.check_signals()?;
        }
    }

    /// Waits for a slice; says besides whether the end has come.
    fn wait_slice<T>(&self, end: Option<Instant>, look: &mut impl FnMut() -> Option<T>) -> (Option<T>, bool) {
        let begin = Instant::now();
        let mut bell = locked(&self.bell);
        loop {
            // What is put down is put down before the bell is rung: it can't be missed between these two.
            if let Some(found) = look() {
                return (Some(found), false);
            }
            let now = Instant::now();
            let left = end.map_or(SLICE, |end| end.since(now).min(SLICE));
            if left.is_zero() {
                return (None, true);
            }
            if now.since(begin) >= SLICE {
                return (None, false);
            }
            bell = self.rung.wait_timeout(bell, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

/// The guard of a lock; what panicked while it held one left nothing half done.
pub(crate) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
