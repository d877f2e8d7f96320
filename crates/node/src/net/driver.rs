//! Drives machines of [`mmn_probe`] over echo sockets: sends what they want sent, when the page lets it go,
//! and tells them what came.
//!
//! All machines share the sockets and one clock. A driver is a small state ([`core`](self)) behind a lock that
//! nobody holds across a wait, and one task per socket and for the timer that wakes it. Whoever starts a
//! machine sends its first probe himself, and the task that reads a reply finishes the machine: no hand-over
//! costs a lone ping its microseconds. It is meant for a current-thread runtime.
//!
//! Probes that the limits hold back wait in line: for the site's limit all in one queue, for a target's each
//! on its own, so that a slow target delays nobody else.

mod core;
mod job;
mod keys;
mod link;

use std::{
    io,
    os::fd::{AsFd, OwnedFd},
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
};

use mmn_probe::conditions::{Conditions, Wish};
use mmn_probe::machine::Machine;
use rustix::time::{TimerfdClockId, TimerfdFlags, timerfd_create};
use tokio::{
    io::{Interest, unix::AsyncFd},
    sync::oneshot,
    task::AbortHandle,
};

use self::{core::Core, job::JobKey};
use super::{icmp::EchoSocket, page::Page, sys};

pub use self::core::Counters;

/// How a driver behaves.
#[derive(Clone, Copy, Debug)]
pub struct Config {
    /// The most machines at a time; one more is refused.
    pub max_machines: usize,
    /// Whether to ask the kernel for stamps of transmission, which cost a system call per probe and bring an
    /// RTT some microseconds closer to the wire's.
    pub transmit_stamps: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self { max_machines: 10_000, transmit_stamps: true }
    }
}

/// Why a machine was not run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DriveError {
    /// As many machines as allowed are running.
    #[error("{0} measurements are running already")]
    Full(usize),
    /// The driver was shut down.
    #[error("the driver was shut down")]
    Closed,
}

/// A handle to a driver; it stops when the last handle is dropped.
#[derive(Clone, Debug)]
pub struct Driver {
    handle: Arc<Handle>,
}

impl Driver {
    /// A driver over these sockets, whose sending the page limits. Must be called within a runtime.
    pub fn new(sockets: Vec<EchoSocket>, page: Arc<Page>, config: Config) -> io::Result<Self> {
        let timer =
            timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC)?;
        let timer = Arc::new(sys::watch(timer, Interest::READABLE)?);
        let shared = Arc::new(Shared { core: Mutex::new(Core::new(page, timer.clone(), config)) });
        let handle = Arc::new(Handle { tasks: Mutex::default(), shared });
        handle.spawn(watch_timer(handle.shared.clone(), timer));
        let driver = Self { handle };
        for socket in sockets {
            driver.add_socket(socket)?;
        }
        Ok(driver)
    }

    /// Adds a socket, for more probes at a time or for another address family.
    pub fn add_socket(&self, socket: EchoSocket) -> io::Result<()> {
        let socket = Arc::new(sys::watch(socket, Interest::READABLE | Interest::ERROR)?);
        let index = self.handle.shared.lock().add_socket(socket.clone())?;
        self.handle.spawn(watch_socket(self.handle.shared.clone(), socket, index));
        Ok(())
    }

    /// Starts a machine at once: its first probe leaves within the call unless the limits hold it back.
    pub fn start<M: Machine + Send + 'static>(&self, machine: M, _: Wish) -> Result<Run<M>, DriveError> {
        let (done, finished) = oneshot::channel();
        let key = self.handle.shared.lock().start(job::boxed(machine, done))?;
        Ok(Run { finished, key, shared: self.handle.shared.clone(), _driver: self.handle.clone() })
    }

    /// Runs a machine to its end and gives it back. Dropping the future stops the machine.
    pub async fn run<M: Machine + Send + 'static>(
        &self,
        machine: M,
        wish: Wish,
    ) -> Result<(M, Conditions), DriveError> {
        self.start(machine, wish)?.await
    }

    /// What the driver has counted so far.
    pub fn counters(&self) -> Counters {
        self.handle.shared.lock().counters()
    }

    /// How many machines are running.
    pub fn running(&self) -> usize {
        self.handle.shared.lock().running()
    }
}

/// A machine that is being driven; resolves to the machine when it is done. Dropping it stops the machine.
#[derive(Debug)]
pub struct Run<M> {
    finished: oneshot::Receiver<(M, Conditions)>,
    key: JobKey,
    shared: Arc<Shared>,
    _driver: Arc<Handle>,
}

impl<M> Run<M> {
    /// Tells the machine to stop sending and to be done with what it has; await it for that.
    pub fn cancel(&self) {
        self.shared.lock().cancel(self.key);
    }
}

impl<M> Future for Run<M> {
    type Output = Result<(M, Conditions), DriveError>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let run = self.get_mut();
        Pin::new(&mut run.finished).poll(context).map(|machine| machine.map_err(|_| DriveError::Closed))
    }
}

impl<M> Drop for Run<M> {
    fn drop(&mut self) {
        self.shared.lock().forget(self.key);
    }
}

#[derive(Debug)]
struct Shared {
    core: Mutex<Core>,
}

impl Shared {
    /// A panic of a machine leaves the core usable: each step is complete in itself.
    fn lock(&self) -> MutexGuard<'_, Core> {
        self.core.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Debug)]
struct Handle {
    shared: Arc<Shared>,
    tasks: Mutex<Vec<AbortHandle>>,
}

impl Handle {
    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let task = tokio::spawn(task).abort_handle();
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner).push(task);
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        for task in self.tasks.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
            task.abort();
        }
    }
}

async fn watch_socket(shared: Arc<Shared>, socket: Arc<AsyncFd<EchoSocket>>, index: usize) {
    while let Ok(mut ready) = socket.ready(Interest::READABLE | Interest::ERROR).await {
        let drained = shared.lock().read(index);
        if drained {
            ready.clear_ready();
        } else {
            tokio::task::yield_now().await;
        }
    }
}

async fn watch_timer(shared: Arc<Shared>, timer: Arc<AsyncFd<OwnedFd>>) {
    while let Ok(mut ready) = timer.readable().await {
        let mut expirations = [0; 8];
        // Only that it is read matters: one wake serves all that is due.
        let _ = rustix::io::read(timer.as_fd(), &mut expirations);
        ready.clear_ready();
        drop(ready);
        shared.lock().tick();
    }
}

#[cfg(test)]
mod tests;
