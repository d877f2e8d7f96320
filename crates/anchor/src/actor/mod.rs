//! The actor: it alone owns the registry, the account of every measurement that runs, and what is out.
//!
//! It takes one thing at a time (a command, a message, an acknowledged write, a tick), changes its state, and leaves
//! behind what is to be sent and written. Nothing in it waits: messages are sent after each step, and writes come
//! back as things to take. Begin with [`Actor::run`].

mod accept;
mod calls;
mod cancel;
mod circuits;
mod dispatch;
mod ended;
mod enrol;
mod fill;
mod finish;
mod gauges;
mod group;
mod keep;
mod messages;
mod pressure;
mod restore;
mod results;
mod retry;
mod shelf;
mod status;
mod sync;
mod tick;

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_nats::{HeaderMap, Subscriber};
use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use futures::stream::{FuturesUnordered, StreamExt};
use mmn_bus::identity::{Issuer, Trust};
use mmn_schema::announce::Discover;
use mmn_schema::api::Measurement;
use mmn_schema::encoding::{CONTENT_TYPE, Encoding};
use mmn_schema::event::Event;
use mmn_schema::id::{AnchorId, Epoch, InstanceId, MeasurementId, VpId};
use mmn_schema::problem::Problem;
use mmn_schema::subject::{Subject, filter};
use mmn_schema::time::Timestamp;
use rustc_hash::FxHashMap;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::clock;
use crate::command::{Command, Entered, Reply};
use crate::config::{Config, ms};
use crate::dispatch::lane::LaneId;
use crate::dispatch::retry::{Pauses, Retries};
use crate::garbage::Garbage;
use crate::health::Bounds;
use crate::measurement::Running;
use crate::metrics::{Ends, Metrics};
use crate::problems;
use crate::recovery::Recovered;
use crate::registry::Registry;
use crate::registry::proof::Verifier;
use crate::shared::Shared;
use crate::store::Store;
use crate::store::record::Done;
use crate::store::write::{self, Write};
use ended::{Brief, Ended, Keys};
use fill::{Fill, Fills};
use group::Groups;

/// The state of an active anchor.
pub(crate) struct Actor {
    shared: Arc<Shared>,
    store: Store,
    config: Config,
    id: AnchorId,
    epoch: Epoch,
    issuer: Issuer,
    verifier: Verifier,
    registry: Registry,
    running: FxHashMap<MeasurementId, Running>,
    ended: Ended,
    keys: Keys,
    next_number: u64,
    /// Where the receipts of pools come, below it the pool and the batch, and answers that nobody waits for.
    inbox: String,
    outgoing: Vec<Outgoing>,
    /// Events, which nobody waits for: they are sent at the next tick, out of the way of work.
    late: Vec<Arc<Event>>,
    /// Measurements whose acceptance waits for their results, and those among them that have waited since before the last
    /// tick: they wait no longer than until the next one.
    held: Vec<MeasurementId>,
    held_long: Vec<MeasurementId>,
    /// Answers, which go out together after each step: whoever waits for several is woken once.
    answers: Vec<(Reply<Entered>, Entered)>,
    /// Measurements that were accepted in RES, while their ends are not in LEDGER.
    brief: Brief,
    /// What waits for a place in a message.
    groups: Groups,
    /// Events of single measurements since the last tick.
    told: usize,
    /// The newest message of RES that is known.
    results_last: u64,
    /// From where on RES may hold acceptances: the latest that a message of RES says.
    told_from: u64,
    /// Measurements that ended, whose sums are written at the next tick: together, and out of the way of work.
    dones: Vec<Arc<Done>>,
    writes: FuturesUnordered<BoxFuture<'static, Written>>,
    infos: FuturesUnordered<BoxFuture<'static, Option<[u64; 2]>>>,
    deadlines: BinaryHeap<Reverse<Deadline>>,
    sweeps: VecDeque<Sweep>,
    /// Tasks of which an attempt came to nothing.
    retries: Retries,
    /// Lanes that may have both work and room.
    dirty: BTreeSet<LaneId>,
    /// The lane that was served last.
    served: LaneId,
    /// Dispatch has stopped because too much waits to be written.
    stalled: bool,
    /// Bytes of records that wait to be written, or are being written.
    unkept_bytes: usize,
    fills: Fills,
    pending: u64,
    counters: Metrics,
    ends: Ends,
    watch: status::Watch,
    shelf: shelf::Shelf,
    garbage: Garbage,
    ticks: u64,
    discovered: Option<Instant>,
    /// Who was heard and is not known.
    missed: BTreeSet<InstanceId>,
    /// When the last tick was, by the clock of timers, and from when on receipts count as missing: a while after the anchor itself stood still.
    ticked: Instant,
    receipts_from: Instant,
    /// When an announcement was last left unread, because there were too many.
    unheard: Option<Instant>,
    /// When the connection was last made.
    linked: Instant,
    /// Until then not everybody who was there before this anchor may have announced themselves.
    settles_at: Option<Instant>,
}

/// A message to be sent.
#[derive(Debug)]
struct Outgoing {
    subject: String,
    reply: Option<String>,
    encoding: Encoding,
    payload: Bytes,
}

/// A write that came to an end.
#[derive(Debug)]
struct Written {
    tag: Tag,
    write: Write,
    since: Instant,
    outcome: write::Outcome,
}

/// What a write is for.
#[derive(Debug)]
enum Tag {
    /// A part of the acceptance of the group of inputs that begins there.
    Accept(MeasurementId, u64),
    /// The acceptances of small measurements.
    Accepts(Vec<MeasurementId>),
    /// A measurement is closed or called off.
    Step { id: MeasurementId, cancels: bool, reply: Reply<Measurement> },
    /// Final records.
    Kept(MeasurementId),
    /// Final records of small measurements.
    Results(Vec<MeasurementId>),
    /// A part of a history.
    Roll,
    /// The ends of measurements.
    Dones(Vec<MeasurementId>),
}

/// When something is to be looked at.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Deadline {
    at: Instant,
    measurement: MeasurementId,
    first: u64,
    end: u64,
    what: What,
}

/// Which tasks a sweep ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum What {
    /// Those that wait.
    Queued,
    /// All that have not ended.
    All,
    /// Those of one assignment.
    Line(usize),
}

/// Tasks that the anchor itself ends, a few at a time.
#[derive(Debug)]
struct Sweep {
    measurement: MeasurementId,
    /// The next task.
    next: u64,
    end: u64,
    what: What,
}

/// How long an anchor that stops waits for its writes.
const DRAIN: Duration = Duration::from_secs(1);
/// How often liveness, receipts and deadlines are looked at.
const TICK: Duration = Duration::from_millis(50);
/// How many are asked by name at a time to announce themselves.
const MAX_MISSED: usize = 200;
/// For how long after an anchor's start a kind or a vantage point that is missing may be on its way.
const SETTLES: Duration = Duration::from_secs(2);
/// How many events, or acceptances, may wait for the next tick.
const MAX_LATE: usize = 256;
/// How many things of each sort are taken before what they lead to is sent.
const MAX_AT_ONCE: usize = 256;
/// How many events of single measurements are told between two ticks.
const MAX_TOLD: usize = 64;

/// What the actor listens to.
struct Ears {
    announcements: Subscriber,
    heartbeats: Subscriber,
    results: Subscriber,
    enrolments: Subscriber,
    receipts: Subscriber,
    replies: Subscriber,
}

impl Ears {
    async fn open(shared: &Shared, id: &AnchorId, inbox: &str) -> Result<Self, async_nats::SubscribeError> {
        let (client, prefix) = (shared.bus.client(), &shared.prefix);
        let ears = Self {
            announcements: client.subscribe(Subject::Announce.on(prefix)).await?,
            heartbeats: client.subscribe(filter::heartbeats(prefix)).await?,
            results: client.subscribe(filter::results(prefix)).await?,
            enrolments: client.queue_subscribe(filter::enrolments(prefix), "anchors".to_owned()).await?,
            receipts: client.subscribe(filter::receipts(prefix, id)).await?,
            replies: client.subscribe(format!("{inbox}.*.*")).await?,
        };
        if let Err(error) = shared.bus.barrier().await {
            tracing::warn!(%error, "the subscriptions were not confirmed");
        }
        Ok(ears)
    }
}

/// What an anchor is when it becomes active.
pub(crate) struct Birth {
    pub(crate) shared: Arc<Shared>,
    pub(crate) store: Store,
    pub(crate) config: Config,
    pub(crate) id: AnchorId,
    pub(crate) epoch: Epoch,
    pub(crate) issuer: Issuer,
    pub(crate) trust: Trust,
    pub(crate) recovered: Recovered,
}

impl Actor {
    pub(crate) fn new(birth: Birth) -> Self {
        let Birth { shared, store, config, id, epoch, issuer, trust, recovered } = birth;
        let liveness = &config.liveness;
        let bounds = Bounds {
            suspect: ms(liveness.suspect_ms),
            lost: ms(liveness.lost_ms),
            lost_most: ms(liveness.lost_most_ms),
        };
        let pauses = Pauses { first: ms(config.dispatch.retry_ms), most: ms(config.dispatch.retry_most_ms) };
        let seed = rand::random();
        tracing::info!(seed, "what is drawn for pauses");
        let first_seq = u64::try_from(clock::wall().unix_ns() / 1000).unwrap_or_default();
        let inbox = shared.bus.client().new_inbox();
        let mut actor = Self {
            registry: Registry::new(bounds, first_seq, config.dispatch.pool_tasks),
            verifier: Verifier::new(trust),
            running: FxHashMap::default(),
            ended: Ended::new(config.ledger.closed_in_memory),
            keys: Keys::new(Duration::from_secs(config.ledger.idempotency_s)),
            next_number: recovered.next_number,
            outgoing: Vec::new(),
            late: Vec::new(),
            held: Vec::new(),
            held_long: Vec::new(),
            answers: Vec::new(),
            brief: Brief::default(),
            groups: Groups::default(),
            told: 0,
            results_last: recovered.results_last,
            told_from: 0,
            dones: Vec::new(),
            writes: FuturesUnordered::new(),
            infos: FuturesUnordered::new(),
            deadlines: BinaryHeap::new(),
            sweeps: VecDeque::new(),
            retries: Retries::new(pauses, seed),
            dirty: BTreeSet::new(),
            served: LaneId::of(0),
            stalled: false,
            unkept_bytes: 0,
            fills: Fills {
                ledger: Fill::new(config.ledger.max_bytes),
                results: Fill::new(config.results.max_bytes),
            },
            pending: 0,
            counters: Metrics { epoch: epoch.0, active: true, ..Metrics::default() },
            ends: Ends::default(),
            watch: status::Watch::default(),
            shelf: shelf::Shelf::new(clock::now()),
            garbage: Garbage::default(),
            ticks: 0,
            discovered: None,
            missed: BTreeSet::new(),
            ticked: clock::of_timers(),
            receipts_from: clock::now(),
            unheard: None,
            linked: clock::now(),
            // On a first start nobody was there before.
            settles_at: (recovered.next_number > 1).then(|| clock::now() + SETTLES),
            shared,
            store,
            config,
            id,
            epoch,
            issuer,
            inbox,
        };
        for running in &recovered.running {
            actor.ends.found(&running.meta.kind, running.account.ledger());
        }
        actor.restore(recovered);
        actor
    }

    /// Serves until `shutdown`, or until the connection is closed for good.
    pub(crate) async fn run(
        mut self,
        mut commands: mpsc::Receiver<Command>,
        shutdown: CancellationToken,
    ) -> Result<(), async_nats::SubscribeError> {
        let mut ears = Ears::open(&self.shared, &self.id, &self.inbox).await?;
        self.shared.events.begin(self.epoch);
        self.event(
            "anchor-active",
            About::default(),
            format!("anchor {} is active, in term {}", self.id, self.epoch.0),
        );
        self.shared.activate(self.store.clone());
        self.look_at_store();
        Box::pin(self.shelf.open(&self.shared, self.config.bus.replicas)).await;
        self.discover();
        self.settle().await;
        self.shared.say(true, "ready");
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut connection = self.shared.bus.link();
        loop {
            // Where another anchor may have taken over nothing is promised and nothing is taken for kept, until the lease
            // is renewed or known to be lost. A tick looks again.
            let holds = self.shared.holds();
            tokio::select! {
                () = shutdown.cancelled() => break,
                Some(message) = ears.results.next() => self.on_result_message(&message),
                // Who asks while the anchor was stopped is answered that it is not ready.
                Some(command) = commands.recv(), if holds => if self.shared.holds() {
                    self.on_command(command);
                },
                Some(message) = ears.receipts.next() => self.on_receipt_message(&message),
                Some(message) = ears.replies.next() => self.on_receipt_message(&message),
                Some(written) = self.writes.next(), if holds => if self.shared.holds() {
                    self.on_write_over(written);
                } else {
                    self.writes.push(Box::pin(std::future::ready(written)));
                },
                Some(message) = ears.heartbeats.next() => self.on_heartbeat_message(&message),
                Some(message) = ears.announcements.next() => self.on_announcement_message(&message),
                Some(message) = ears.enrolments.next() => self.on_enrolment_message(&message),
                Some(bytes) = self.infos.next() => self.on_info(bytes),
                Ok(()) = connection.changed() => self.on_link(),
                () = std::future::ready(()), if self.may_sweep() => self.sweep(),
                _ = tick.tick() => self.on_tick(),
            }
            self.take_what_is_there(&mut ears, &mut commands);
            self.settle().await;
        }
        self.shared.say(false, "stopping");
        self.release_held();
        self.release_held();
        self.send_late();
        self.write_groups();
        self.send_out().await;
        // What is being written may still be answered. What is not written by then is found again at the next start.
        let writing = async {
            while self.shared.holds()
                && let Some(written) = self.writes.next().await
            {
                self.on_written(written);
                self.write_groups();
                self.answer();
            }
        };
        if tokio::time::timeout(DRAIN, writing).await.is_err() {
            tracing::info!(writes = self.writes.len(), "some writes were not acknowledged at the end");
        }
        if self.shared.holds() {
            Box::pin(self.shelf.close()).await;
        }
        // Else the next anchor would be sent again what this one has kept.
        if self.shared.holds() {
            self.tell_what_is_kept(clock::now());
            self.send_out().await;
        }
        Ok(())
    }

    /// Takes more of what has come: under load it is cheaper to do much before anything is sent.
    fn take_what_is_there(&mut self, ears: &mut Ears, commands: &mut mpsc::Receiver<Command>) {
        for _ in 0..MAX_AT_ONCE {
            let mut idle = true;
            if let Some(Some(message)) = ears.results.next().now_or_never() {
                self.on_result_message(&message);
                idle = false;
            }
            if self.shared.holds()
                && let Ok(command) = commands.try_recv()
            {
                self.on_command(command);
                idle = false;
            }
            if let Some(Some(message)) = ears.receipts.next().now_or_never() {
                self.on_receipt_message(&message);
                idle = false;
            }
            if idle {
                return;
            }
        }
    }

    /// Gives work to whoever has room, and sends what is to be sent.
    async fn settle(&mut self) {
        self.dispatch();
        self.write_groups();
        self.answer();
        self.send_out().await;
    }

    fn answer(&mut self) {
        for (reply, entered) in self.answers.drain(..) {
            // Whoever asked may be gone.
            let _ = reply.send(Ok(entered));
        }
    }

    /// Acceptances that have waited long enough for their results go by themselves.
    fn release_held(&mut self) {
        let long = std::mem::replace(&mut self.held_long, std::mem::take(&mut self.held));
        for id in long {
            self.group_accept(id);
        }
    }

    async fn send_out(&mut self) {
        for message in std::mem::take(&mut self.outgoing) {
            let Outgoing { subject, reply, encoding, payload } = message;
            let client = self.shared.bus.client();
            // CBOR is known by its first byte.
            let headers = (encoding == Encoding::Json).then(|| {
                let mut headers = HeaderMap::new();
                headers.insert(CONTENT_TYPE, encoding.content_type());
                headers
            });
            let sent = match (reply, headers) {
                (Some(reply), Some(headers)) => {
                    client.publish_with_reply_and_headers(subject, reply, headers, payload).await
                }
                (Some(reply), None) => client.publish_with_reply(subject, reply, payload).await,
                (None, Some(headers)) => client.publish_with_headers(subject, headers, payload).await,
                (None, None) => client.publish(subject, payload).await,
            };
            if let Err(error) = sent {
                tracing::debug!(%error, "a message was not sent: the connection is closed");
            }
        }
    }

    fn send<T: serde::Serialize>(
        &mut self,
        subject: String,
        reply: Option<String>,
        encoding: Encoding,
        value: &T,
    ) {
        match encoding.encode(value) {
            Ok(payload) => self.outgoing.push(Outgoing { subject, reply, encoding, payload: payload.into() }),
            Err(error) => tracing::error!(%error, subject, "a message can't be written"),
        }
    }

    /// Writes to LEDGER.
    fn write<T: serde::Serialize>(&mut self, tag: Tag, subject: &Subject, id: String, value: &T) {
        let payload = match Encoding::Cbor.encode(value) {
            Ok(payload) => payload.into(),
            Err(error) => {
                tracing::error!(%error, id, "a record can't be written");
                return;
            }
        };
        let write = Write { subject: subject.on(&self.shared.prefix), payload, id };
        self.push_write(tag, write, false);
    }

    fn push_write(&mut self, tag: Tag, write: Write, later: bool) {
        let shared = Arc::clone(&self.shared);
        let store = &self.store;
        let (stream, fence) = match tag {
            Tag::Kept(_) | Tag::Results(_) => (Arc::clone(&store.results), Arc::clone(&store.results_fence)),
            _ => (Arc::clone(&store.ledger), Arc::clone(&store.ledger_fence)),
        };
        let since = clock::now();
        self.writes.push(Box::pin(async move {
            let outcome = if later {
                write::write_later(&shared.bus, &stream, &fence, &write).await
            } else {
                write::write(&shared.bus, &stream, &fence, &write).await
            };
            Written { tag, write, since, outcome }
        }));
    }

    /// Something happened that others may want to know.
    fn event(&mut self, kind: &str, about: About<'_>, text: String) {
        let event = self.shared.events.tell(Event {
            id: None,
            at: clock::wall(),
            kind: kind.to_owned(),
            vp: about.vp.cloned(),
            instance: about.instance.cloned(),
            measurement: about.measurement,
            text,
        });
        self.late.push(event);
        if self.late.len() >= MAX_LATE {
            self.send_late();
        }
    }

    /// Something happened to a measurement. Under load not each of them is told: watchers are told how many were not.
    fn event_of(&mut self, kind: &str, id: MeasurementId, text: impl FnOnce() -> String) {
        self.told += 1;
        if self.told <= MAX_TOLD {
            self.event(kind, About { measurement: Some(id), ..About::default() }, text());
        }
    }

    /// Sends and writes what could wait.
    fn send_late(&mut self) {
        let untold = std::mem::take(&mut self.told).saturating_sub(MAX_TOLD);
        if untold > 0 {
            self.event("measurements", About::default(), format!("{untold} more were accepted or done"));
        }
        for event in std::mem::take(&mut self.late) {
            let subject = Subject::Evt(event.kind.clone()).on(&self.shared.prefix);
            self.send(subject, None, Encoding::Json, &*event);
        }
        self.write_dones();
    }

    /// A message that can't be read or believed.
    fn drop_garbage(&mut self, class: &'static str, subject: &str, why: &dyn std::fmt::Display) {
        self.garbage.count(clock::now(), class, subject, why);
    }

    /// Asks everybody to announce themselves, at most once a second.
    fn discover(&mut self) {
        if self.may_discover() {
            self.missed.clear();
            self.ask_who_is_there(None);
        }
    }

    /// Somebody was heard who is not known: is asked, together with whoever else is not, at most once a second.
    fn miss(&mut self, instance: InstanceId) {
        // Who finds no room is heard again.
        if self.missed.len() < MAX_MISSED {
            self.missed.insert(instance);
        }
        if self.may_discover() {
            let missed = std::mem::take(&mut self.missed).into_iter().collect();
            self.ask_who_is_there(Some(missed));
        }
    }

    fn may_discover(&mut self) -> bool {
        let now = clock::now();
        let may =
            self.discovered.is_none_or(|at| now.saturating_duration_since(at) >= Duration::from_secs(1));
        if may {
            self.discovered = Some(now);
        }
        may
    }

    fn ask_who_is_there(&mut self, only: Option<Vec<InstanceId>>) {
        let subject = Subject::Discover.on(&self.shared.prefix);
        let discover = Discover { known: self.registry.kinds.known(), only };
        self.send(subject, None, Encoding::Json, &discover);
    }

    fn hidden(id: MeasurementId) -> Problem {
        problems::not_found("measurement", &id.to_string())
    }
}

/// What an event is about.
#[derive(Debug, Default, Clone, Copy)]
struct About<'a> {
    vp: Option<&'a VpId>,
    instance: Option<&'a InstanceId>,
    measurement: Option<MeasurementId>,
}

/// Nanoseconds from `now` until `until`, at least 0.
fn remaining_ns(now: Instant, until: Instant) -> u64 {
    u64::try_from(until.saturating_duration_since(now).as_nanos()).unwrap_or(u64::MAX)
}

/// Seconds since 1970 UTC.
fn unix_s(at: Timestamp) -> u64 {
    u64::try_from(at.unix_ns() / 1_000_000_000).unwrap_or_default()
}
