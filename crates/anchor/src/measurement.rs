//! A measurement that runs: what is fixed about it, its account, and who waits for what.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use mmn_schema::api::{Measurement, MeasurementState, Plan, ResultRecord};
use mmn_schema::dispatch::Input;
use mmn_schema::outcome::{Outcome, Reason};
use mmn_schema::time::Timestamp;
use rustc_hash::FxHashMap;
use tokio::sync::{broadcast, oneshot, watch};

use crate::command::{Entered, Follow, Live, Once, Reply};
use crate::dispatch::lane::LaneId;
use crate::handle::Appended;
use crate::history::History;
use crate::ledger::account::Account;
use crate::ledger::inputs::Inputs;
use crate::ledger::queue::Queue;
use crate::store::group::SMALL_TASKS;
use crate::store::parcel::Parcel;
use crate::store::record::{Accept, Dispatched, Entry, Given, Meta, Note};

/// A measurement that is not done.
#[derive(Debug)]
pub(crate) struct Running {
    pub(crate) meta: Arc<Meta>,
    pub(crate) inputs: Inputs,
    pub(crate) account: Account,
    pub(crate) lines: Vec<Line>,
    /// Groups of inputs that were accepted together, in order.
    pub(crate) groups: VecDeque<Group>,
    /// Tasks that have gone out before, with the number of their next attempt.
    pub(crate) attempts: FxHashMap<u64, u32>,
    pub(crate) notes: Vec<Note>,
    /// Whether inputs may be appended.
    pub(crate) open: bool,
    /// Why it is called off.
    pub(crate) cancelled: Option<Reason>,
    /// Inputs whose tasks may go out.
    pub(crate) released: u64,
    /// Inputs whose acceptance is acknowledged.
    pub(crate) accepted: u64,
    /// Steps (close, cancel) that are being written.
    pub(crate) steps: usize,
    /// Who asked for one that is already being written.
    pub(crate) step_waiters: Vec<Reply<Measurement>>,
    /// The acceptance, while it may still be written together with all results.
    pub(crate) held: Option<Accept>,
    /// Whether the first group's acceptance is acknowledged.
    pub(crate) durable: bool,
    pub(crate) keep: Keep,
    pub(crate) history: History,
    pub(crate) live: Option<broadcast::Sender<Live>>,
    /// Who follows it, when it has one task and comes whole.
    pub(crate) once: Option<oneshot::Sender<Once>>,
    /// Who asked for it, until the first group's acceptance is acknowledged.
    pub(crate) askers: Vec<Asker>,
    pub(crate) done_waiters: Vec<oneshot::Sender<Measurement>>,
    /// The results so far, while somebody waits for them and they are few.
    pub(crate) collected: Option<Vec<ResultRecord>>,
    pub(crate) credits: Option<watch::Sender<u64>>,
}

/// One assignment: where its tasks go, and which wait.
#[derive(Debug)]
pub(crate) struct Line {
    /// In order.
    pub(crate) lanes: Box<[LaneId]>,
    pub(crate) queue: Queue,
    /// Whether it stands in the lanes' turns.
    pub(crate) waiting: bool,
}

/// Inputs that were accepted together.
#[derive(Debug)]
pub(crate) struct Group {
    pub(crate) first: u64,
    pub(crate) end: u64,
    pub(crate) until: Instant,
    /// Writes of its acceptance that are not acknowledged.
    pub(crate) writes: usize,
    pub(crate) reply: Option<Reply<Appended>>,
}

/// Somebody who asked for it, and is answered when its acceptance is kept.
#[derive(Debug)]
pub(crate) struct Asker {
    pub(crate) reply: Reply<Entered>,
    /// Whether it was there before.
    pub(crate) existing: bool,
    /// What it will do; absent when it was there before.
    pub(crate) plan: Option<Plan>,
    pub(crate) done: Option<oneshot::Receiver<Measurement>>,
    pub(crate) follow: Option<Follow>,
}

/// Final records on their way into the stream.
#[derive(Debug, Default)]
pub(crate) struct Keep {
    pub(crate) waiting: VecDeque<Parcel>,
    pub(crate) writing: Option<Writing>,
    /// Counts the messages.
    pub(crate) next: u64,
    /// The sequence of the last message that is kept.
    pub(crate) last: u64,
}

/// A message that is being written, or this measurement's part of one.
#[derive(Debug)]
pub(crate) struct Writing {
    pub(crate) parcels: Vec<Parcel>,
    /// The acceptance, when it is in it too.
    pub(crate) accept: Option<Box<Accept>>,
    /// How many tasks were closed before it.
    pub(crate) before: u64,
    /// A [`KeptBatch`](crate::store::record::KeptBatch), written.
    pub(crate) batch: Bytes,
    pub(crate) bytes: usize,
}

/// The most results that are given in the answer to a creation.
pub(crate) const MAX_COLLECTED: u64 = 10_000;
/// An input of so many bytes is told with its measurement.
const SHORT_INPUT: usize = 256;
/// The most notes on attempts that came to nothing, between two kept messages.
const MAX_NOTES: usize = 10_000;
/// How many kept messages a reader may be behind before it reads them from the store.
const LIVE: usize = 16;
/// The same of a small measurement, which has few.
const LIVE_SMALL: usize = 4;

impl Running {
    pub(crate) fn new(meta: Arc<Meta>, lines: Vec<Line>) -> Self {
        Self {
            open: meta.open,
            meta,
            inputs: Inputs::default(),
            account: Account::default(),
            lines,
            groups: VecDeque::new(),
            attempts: FxHashMap::default(),
            notes: Vec::new(),
            cancelled: None,
            released: 0,
            accepted: 0,
            steps: 0,
            step_waiters: Vec::new(),
            held: None,
            durable: false,
            keep: Keep::default(),
            history: History::default(),
            live: None,
            once: None,
            askers: Vec::new(),
            done_waiters: Vec::new(),
            collected: None,
            credits: None,
        }
    }

    /// Enters inputs as a group; gives the index of their first task.
    pub(crate) fn append(&mut self, inputs: &[Input], until: Instant, writes: usize) -> u64 {
        let first = self.inputs.len();
        for input in inputs {
            self.inputs.push(input);
        }
        let end = self.inputs.len();
        let task = self.account.append((end - first) * self.width());
        self.groups.push_back(Group { first, end, until, writes, reply: None });
        task
    }

    /// Whether it shares messages with others. What it was accepted with decides it for good.
    pub(crate) fn is_small(&self) -> bool {
        let tasks = self.groups.front().map_or(0, |group| group.end * self.width());
        !self.meta.open && tasks <= SMALL_TASKS
    }

    /// Whether `records` records are those of all its tasks, and none will be added.
    pub(crate) fn is_whole(&self, records: usize) -> bool {
        !self.open && self.groups.len() == 1 && self.account.len() == records as u64
    }

    /// How many tasks an input becomes.
    pub(crate) fn width(&self) -> u64 {
        self.meta.assignments.len() as u64
    }

    /// The position of a task's input and of its assignment.
    pub(crate) fn place(&self, index: u64) -> (u64, usize) {
        let width = self.width().max(1);
        (index / width, usize::try_from(index % width).unwrap_or_default())
    }

    /// The input of a task.
    pub(crate) fn input_of(&self, index: u64) -> Input {
        self.inputs.input(self.place(index).0).unwrap_or_default()
    }

    /// Until when a task may take.
    pub(crate) fn until(&self, index: u64) -> Option<Instant> {
        let input = self.place(index).0;
        if let (1, Some(only)) = (self.groups.len(), self.groups.front()) {
            return (input < only.end).then_some(only.until);
        }
        let at = self.groups.partition_point(|group| group.end <= input);
        self.groups.get(at).map(|group| group.until)
    }

    /// The attempt that a task is at.
    pub(crate) fn attempt(&self, index: u64) -> u32 {
        if self.attempts.is_empty() { 0 } else { self.attempts.get(&index).copied().unwrap_or_default() }
    }

    /// Takes down an attempt that came to nothing.
    pub(crate) fn note(&mut self, note: Note) {
        if self.notes.len() < MAX_NOTES {
            self.notes.push(note);
        }
    }

    /// What happens to its results, from now on.
    pub(crate) fn subscribe(&mut self) -> broadcast::Receiver<Live> {
        self.live.get_or_insert_with(|| broadcast::Sender::new(LIVE)).subscribe()
    }

    /// The same from its acceptance on.
    pub(crate) fn follow(&mut self, small: bool) -> broadcast::Receiver<Live> {
        let (sender, receiver) = broadcast::channel(if small { LIVE_SMALL } else { LIVE });
        self.live = Some(sender);
        receiver
    }

    /// The same, all at once when it is done.
    pub(crate) fn follow_once(&mut self) -> oneshot::Receiver<Once> {
        let (sender, receiver) = oneshot::channel();
        self.once = Some(sender);
        self.collected = Some(Vec::new());
        receiver
    }

    /// It does not come whole: whoever follows it is told of each thing.
    pub(crate) fn follow_after_all(&mut self) {
        if let Some(once) = self.once.take() {
            let _ = once.send(Once::Live(self.subscribe()));
        }
    }

    /// Tells readers, if there are any.
    pub(crate) fn tell(&mut self, live: impl FnOnce() -> Live) {
        if let Some(sender) = &self.live
            && sender.send(live()).is_err()
        {
            self.live = None;
        }
    }

    pub(crate) fn has_readers(&self) -> bool {
        self.once.is_some() || self.live.as_ref().is_some_and(|live| live.receiver_count() > 0)
    }

    /// Whether every task has ended, no more will come, and all that is kept of it but its sums.
    pub(crate) fn is_over(&self) -> bool {
        !self.open
            && self.durable
            && self.steps == 0
            && self.account.is_closed()
            && self.groups.iter().all(|group| group.writes == 0)
    }

    /// What it is doing.
    pub(crate) fn state(&self) -> MeasurementState {
        if self.open && self.cancelled.is_none() { MeasurementState::Open } else { MeasurementState::Running }
    }

    /// As clients see it now.
    pub(crate) fn view(&self) -> Measurement {
        self.meta.view(self.state(), None, self.account.ledger().clone(), Some(self.given()))
    }

    /// What it was given so far.
    pub(crate) fn given(&self) -> Given {
        let first = self.inputs.input(0).filter(|_| self.inputs.size(0) <= SHORT_INPUT);
        Given { count: self.inputs.len(), first }
    }

    /// Answers one who asked for a step that was taken before: when it is kept.
    pub(crate) fn answer_step(&mut self, reply: Reply<Measurement>) {
        if self.steps > 0 {
            self.step_waiters.push(reply);
        } else {
            let _ = reply.send(Ok(self.view()));
        }
    }

    /// How many inputs may have been appended in all, with `window` of them under way.
    pub(crate) fn granted(&self, window: u64) -> u64 {
        let ledger = self.account.ledger();
        (ledger.accepted - ledger.pending) / self.width().max(1) + window
    }
}

/// A final record that the anchor itself makes.
pub(crate) fn ended_by_anchor(
    running: &Running,
    index: u64,
    outcome: Outcome,
    reason: Reason,
    at: Timestamp,
) -> Entry {
    Entry {
        input: running.input_of(index),
        dispatch: None,
        record: mmn_schema::dispatch::Record {
            index,
            attempt: running.attempt(index),
            part: 0,
            last: true,
            outcome,
            reason: Some(reason),
            answered: None,
            started_at: at,
            duration_ns: 0,
            queued_ns: 0,
            summary: mmn_schema::outcome::Summary::new(),
            body: mmn_schema::body::Body::null(),
        },
    }
}

/// About how many bytes an input takes.
pub(crate) fn size(input: &Input) -> usize {
    match input {
        Input::Nothing => 1,
        Input::Target(target) => target.len() + 4,
        Input::Targets(targets) => targets.iter().map(|target| target.len() + 4).sum(),
        Input::Peer { .. } => 24,
    }
}

/// The dispatches of a section, each once.
#[derive(Debug, Default)]
pub(crate) struct Dispatches {
    pub(crate) all: Vec<Dispatched>,
    batches: Vec<u64>,
}

impl Dispatches {
    /// The position of a batch's dispatch.
    pub(crate) fn position(&mut self, batch: u64, dispatched: Dispatched) -> u32 {
        let known = self.batches.iter().rposition(|&other| other == batch);
        let at = known.unwrap_or_else(|| {
            self.batches.push(batch);
            self.all.push(dispatched);
            self.all.len() - 1
        });
        u32::try_from(at).unwrap_or(u32::MAX)
    }
}

impl Asker {
    /// What there is to say once the acceptance is kept.
    pub(crate) fn entered(self, accepted: Measurement) -> (Reply<Entered>, Entered) {
        let Self { reply, existing, plan, done, follow } = self;
        let entered = Entered {
            id: accepted.id,
            existing,
            accepted: Some(Measurement { plan, ..accepted }),
            done,
            follow,
        };
        (reply, entered)
    }
}
