//! A machine that is being driven, whatever its type, and what the driver remembers of it.

use std::{collections::VecDeque, fmt};

use mmn_probe::{conditions::Conditions, machine::Machine, packet::Probe, time::Instant};
use tokio::sync::oneshot;

/// A machine and the way back to who started it.
pub(super) trait Task: Send {
    fn machine(&mut self) -> &mut dyn Machine;
    /// Gives the machine back. Nobody may be waiting any more.
    fn finish(self: Box<Self>, conditions: Conditions);
}

pub(super) fn boxed<M: Machine + Send + 'static>(
    machine: M,
    done: oneshot::Sender<(M, Conditions)>,
) -> Box<dyn Task> {
    Box::new(Typed { machine, done })
}

struct Typed<M> {
    machine: M,
    done: oneshot::Sender<(M, Conditions)>,
}

impl<M: Machine + Send> Task for Typed<M> {
    fn machine(&mut self) -> &mut dyn Machine {
        &mut self.machine
    }

    fn finish(self: Box<Self>, conditions: Conditions) {
        let _ = self.done.send((self.machine, conditions));
    }
}

/// Names a job for ever: an index that is used again has another generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct JobKey {
    pub(super) index: usize,
    pub(super) generation: u64,
}

pub(super) struct Job {
    pub(super) task: Box<dyn Task>,
    pub(super) generation: u64,
    /// When the machine wants to be polled.
    pub(super) wake: Option<Instant>,
    /// What the machine wants sent and has not gone yet.
    pub(super) outbox: VecDeque<Probe>,
    /// What the first of the outbox waits for.
    pub(super) hold: Option<Hold>,
    /// Whether the page has let the first of the outbox go already.
    pub(super) paid: bool,
    /// How often the system had no room for the first of the outbox.
    pub(super) tries: u32,
    /// Where replies to its probes are expected: link and key.
    pub(super) keys: Vec<(usize, u32)>,
    /// Whether it is in the list of those to be polled.
    pub(super) dirty: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hold {
    /// In the site's queue.
    Site,
    /// Until this instant.
    Until(Instant),
}

impl Job {
    pub(super) fn new(task: Box<dyn Task>, generation: u64) -> Self {
        Self {
            task,
            generation,
            wake: None,
            outbox: VecDeque::new(),
            hold: None,
            paid: false,
            tries: 0,
            keys: Vec::new(),
            dirty: false,
        }
    }
}

impl fmt::Debug for Job {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Job")
            .field("generation", &self.generation)
            .field("wake", &self.wake)
            .field("hold", &self.hold)
            .finish_non_exhaustive()
    }
}
