//! Drives machines of [`mmn_probe`] over carriers: sends what they want sent, when the page lets it go,
//! and tells them what came.
//!
//! All machines share the carriers and one clock. A driver is a small state ([`core`](self)) behind a lock that
//! nobody holds across a wait, and one task per socket and for the timer that wakes it. Whoever starts a
//! machine sends its first probe himself, and the task that reads a reply finishes the machine: no hand-over
//! costs a lone ping its microseconds. It is meant for a current-thread runtime.
//!
//! A machine has somebody who awaits it ([`Run`]), or an owner's number ([`Driver::start_for`]): then it needs no future, and
//! is handed out when it has ended. That is for very many.
//!
//! Probes that the limits hold back leave in the order in which their tasks came ([`waiting`]), and a target's cap delays
//! nobody else.

mod core;
mod job;
mod jobs;
mod waiting;

use std::{
    any::Any,
    io,
    marker::PhantomData,
    net::IpAddr,
    os::fd::{AsFd, OwnedFd},
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
};

use mmn_kit::Driven;
use mmn_probe::{
    conditions::{Conditions, Lane, Wish},
    machine::Machine,
    time::{Instant, Nanos},
};
use rustix::time::{TimerfdClockId, TimerfdFlags, timerfd_create};
use tokio::{
    io::{Interest, unix::AsyncFd},
    task::AbortHandle,
};

use self::core::Core;
use super::{
    bulk::Detour,
    carrier::{Carrier, JobKey},
    page::Page,
    sys,
};

/// How a driver behaves.
#[derive(Clone, Copy, Debug)]
pub struct Config {
    /// The most machines at a time; one more is refused.
    pub max_machines: usize,
}

/// What a driver has counted since it was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counters {
    /// Probes that left.
    pub sent: u64,
    /// Probes that the system refused.
    pub refused: u64,
    /// Packets given to a machine.
    pub received: u64,
    /// Packets that belong to no probe under way.
    pub unmatched: u64,
    /// Packets that the kernel dropped because a socket's buffer was full: losses here, not in the network.
    pub overrun: u64,
    /// How often civil time was set.
    pub clock_steps: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self { max_machines: 262_144 }
    }
}

/// Why a machine was not run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DriveError {
    /// As many machines as allowed are running.
    #[error("{0} measurements are running already")]
    Full(usize),
    /// There are no sockets for the lane that was asked for.
    #[error("no {}", lane_lacks(*.0))]
    NoLane(Lane),
    /// Those that wait for the same target take longer than there is time.
    #[error(
        "the limits of the site let its first packet go in {:.1} s at the earliest, {:.1} s after its deadline",
        seconds(*.after), seconds(*.late)
    )]
    NoTime {
        /// After so long its first packet could leave, if nothing else held it back.
        after: Nanos,
        /// So long after its deadline.
        late: Nanos,
    },
    /// The driver was shut down.
    #[error("the driver was shut down")]
    Closed,
}

#[expect(clippy::cast_precision_loss, reason = "it is told to a tenth of a second")]
fn seconds(span: Nanos) -> f64 {
    span.0 as f64 / 1e9
}

/// What is missing where a lane is not there.
const fn lane_lacks(lane: Lane) -> &'static str {
    match lane {
        Lane::Unprivileged => {
            "unprivileged lane: ping sockets are closed to this user (net.ipv4.ping_group_range)"
        }
        Lane::Raw => "raw lane: the node has no CAP_NET_RAW to open raw sockets with",
        Lane::Precise => "precise lane: the node has no CAP_NET_RAW to open raw sockets with",
        Lane::Bulk => "bulk lane for this measurement here",
        _ => "such lane here",
    }
}

/// A machine that was driven to its end, and how.
pub type Done = (Box<dyn Driven>, Conditions);

/// A handle to a driver; it stops when the last handle is dropped.
#[derive(Clone, Debug)]
pub struct Driver {
    handle: Arc<Handle>,
}

impl Driver {
    /// A driver without any carrier yet, whose sending the page limits. Must be called within a runtime.
    pub fn new(page: Arc<Page>, config: Config) -> io::Result<Self> {
        let timer =
            timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC)?;
        let timer = Arc::new(sys::watch(timer, Interest::READABLE)?);
        let shared = Arc::new(Shared { core: Mutex::new(Core::new(page, timer.clone(), config)) });
        let handle = Arc::new(Handle { tasks: Mutex::default(), shared });
        handle.spawn(watch_timer(handle.shared.clone(), timer));
        Ok(Self { handle })
    }

    /// Adds a carrier, for another lane or address family. Of two that carry the same the first does.
    pub fn add_carrier(&self, carrier: Box<dyn Carrier>) -> io::Result<()> {
        let sockets = carrier.watched().into_iter();
        let interest = Interest::READABLE | Interest::ERROR;
        let sockets = sockets.map(|socket| sys::watch(socket, interest)).collect::<io::Result<Vec<_>>>()?;
        let number = self.handle.shared.lock().add_carrier(carrier);
        for (index, socket) in sockets.into_iter().enumerate() {
            self.handle.spawn(watch_socket(self.handle.shared.clone(), socket, number, index));
        }
        Ok(())
    }

    /// Probes that name a router leave by this from now on; absent: they are refused.
    pub fn set_detour(&self, detour: Option<Arc<Mutex<Detour>>>) {
        self.handle.shared.lock().set_detour(detour);
    }

    /// Starts a machine at once: its first probe leaves within the call unless the limits hold it back, or very many
    /// leave at the time.
    pub fn start<M: Machine + Send + 'static>(&self, machine: M, wish: Wish) -> Result<Run<M>, DriveError> {
        let run = self.start_boxed(Box::new(machine), wish)?;
        Ok(Run { run, machine: PhantomData })
    }

    /// The same for a machine whose type somebody else knows.
    pub fn start_boxed(&self, machine: Box<dyn Driven>, wish: Wish) -> Result<RunBoxed, DriveError> {
        let key = self.handle.shared.lock().start(machine, wish)?;
        Ok(RunBoxed { key, handle: self.handle.clone() })
    }

    /// The same for one whose end the owner of this number takes ([`Driver::take_ended`]).
    pub fn start_for(&self, owner: u64, machine: Box<dyn Driven>, wish: Wish) -> Result<(), DriveError> {
        self.handle.shared.lock().start_for(owner, machine, wish)
    }

    /// Whether a machine that is started now has time to send to its target before its deadline: others may wait for that
    /// target already. Whoever would wait in vain had better not begin.
    pub fn has_time(&self, target: IpAddr, deadline: Instant) -> Result<(), DriveError> {
        self.handle.shared.lock().has_time(target, deadline)
    }

    /// Whether a machine that was started for an owner has ended; it wakes who asked last.
    pub fn poll_ended(&self, context: &Context<'_>) -> Poll<()> {
        self.handle.shared.lock().jobs.poll_ended(context)
    }

    /// The next machine that was started for an owner and has ended.
    pub fn take_ended(&self) -> Option<(u64, Done)> {
        self.handle.shared.lock().take_ended()
    }

    /// Stops the machines of these owners; nothing more is heard of them. Says whose the site's limits held back.
    pub fn forget_for(&self, which: impl Fn(u64) -> bool) -> Vec<u64> {
        // A machine may do anything when it is dropped: not under the lock.
        let jobs = self.handle.shared.lock().forget_for(which);
        jobs.iter().filter_map(job::Job::held_of).collect()
    }

    /// Stops the machines of these owners, and gives back what they have found.
    pub fn stop_for(&self, which: impl Fn(u64) -> bool) -> Vec<(u64, Done)> {
        // A machine may do anything when it is dropped: not under the lock.
        let (done, dropped) = self.handle.shared.lock().stop_for(which);
        drop(dropped);
        done
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
    run: RunBoxed,
    machine: PhantomData<fn() -> M>,
}

impl<M> Run<M> {
    /// Tells the machine to stop sending and to be done with what it has; await it for that.
    pub fn cancel(&self) {
        self.run.cancel();
    }
}

impl<M: Machine + Send + 'static> Future for Run<M> {
    type Output = Result<(M, Conditions), DriveError>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let done = Pin::new(&mut self.get_mut().run).poll(context);
        done.map(|done| {
            let (machine, conditions) = done?;
            let machine: Box<dyn Any> = machine;
            // It was boxed as what it is.
            machine.downcast().map(|machine| (*machine, conditions)).map_err(|_| DriveError::Closed)
        })
    }
}

/// The same for a machine whose type somebody else knows.
#[derive(Debug)]
pub struct RunBoxed {
    key: JobKey,
    handle: Arc<Handle>,
}

impl RunBoxed {
    /// Tells the machine to stop sending and to be done with what it has; await it for that.
    pub fn cancel(&self) {
        self.handle.shared.lock().cancel(self.key);
    }
}

impl Future for RunBoxed {
    type Output = Result<Done, DriveError>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        self.handle.shared.lock().collect(self.key, context)
    }
}

impl Drop for RunBoxed {
    fn drop(&mut self) {
        // A machine may do anything when it is dropped: not under the lock.
        let job = self.handle.shared.lock().forget(self.key);
        drop(job);
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

async fn watch_socket(shared: Arc<Shared>, socket: AsyncFd<Arc<OwnedFd>>, carrier: usize, index: usize) {
    while let Ok(mut ready) = socket.ready(Interest::READABLE | Interest::ERROR).await {
        let drained = shared.lock().read(carrier, index);
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
