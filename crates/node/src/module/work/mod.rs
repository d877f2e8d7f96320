//! The module at work: connects the desk to the bus.
//!
//! One task, one loop. Everything that waits is polled here: what comes from the bus, what is being performed, the
//! timers, the node. Up to [`DRAIN`] events that are ready are handled, and up to [`TURN`] tasks begun, before results
//! are packed and sent, so that messages grow under load and leave at once when there is none. A task that ends where it
//! begins is never put down. Timers are looked at first, and the connection gets its turn after each of ours: nobody
//! starves. Nothing is read while what was to be sent waits for the connection: a slow server slows the module down,
//! and its memory stays bounded.
//!
//! The loop is in [`turns`]; what is done with what comes is in [`incoming`], what is sent in [`outgoing`].

mod bulk;
mod driven;
mod incoming;
mod outgoing;
mod trials;
mod turns;

use std::collections::BTreeMap;
use std::rc::{Rc, Weak};
use std::time::Duration;

use async_nats::{Message, Subscriber};
use futures::future::{AbortHandle, Abortable, LocalBoxFuture};
use futures::stream::{FuturesUnordered, SelectAll};
use futures::{FutureExt, StreamExt};
use mmn_bus::connect::Bus;
use mmn_bus::identity::permissions::POOL_QUEUE;
use mmn_kit::Registered;
use mmn_probe::time::{Instant, Nanos};
use mmn_schema::announce::{KindInfo, KindsDigest, Unavailable};
use mmn_schema::body::Body;
use mmn_schema::dispatch::Receipt;
use mmn_schema::encoding::Encoding;
use mmn_schema::id::{BootId, InstanceId, KindName, VpId};
use mmn_schema::outcome::{Reason, code};
use mmn_schema::subject::{Prefix, Subject, filter};
use mmn_schema::time::Timestamp;
use tokio::sync::mpsc;

use super::Kind;
use super::desk::{Desk, Ended, Identity, Now, Origin, Room, Started, Ticket};
use super::infos::{digest, info};
use super::outbox::Outbox;
use super::perform::{Measure, perform};
use super::service::{SUBJECTS, Service, Stats};
use super::settings::Change;
use crate::clock;
use crate::context::Site;
use crate::herald::Herald;
use trials::{Findings, Trials};

/// How many events that are ready are handled before results leave.
const DRAIN: usize = 64;
/// How many tasks are begun before results leave.
const TURN: usize = 1024;
/// For how long: a task's first packet takes others along.
const LONGEST_TURN: Nanos = Nanos::from_millis(5);

/// What a module is, and what it was given.
pub(super) struct Outfit {
    pub(super) module: String,
    pub(super) vp: VpId,
    pub(super) instance: InstanceId,
    pub(super) kinds: Vec<Kind>,
    /// Whether its network is part of a simulated Internet.
    pub(super) simulated: bool,
    pub(super) room: Room,
    pub(super) prefix: Prefix,
    pub(super) bus: Bus,
    pub(super) herald: Herald,
    pub(super) site: Rc<Site>,
    /// Sockets for echo that were not tested yet.
    pub(super) sockets: Vec<crate::module::settings::Gift>,
    /// What the node says later; closed when it is gone.
    pub(super) node: mpsc::Receiver<Change>,
    /// How often it says that it is there.
    pub(super) heartbeat: Duration,
    /// How long a drain may take once the node is gone.
    pub(super) last_grace: Duration,
}

/// Which subscription a message came by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum By {
    Task,
    Pool,
    Ctl,
    Discover,
    Service,
}

/// A receipt that waits for results to leave with.
struct Waiting {
    reply: async_nats::Subject,
    encoding: Encoding,
    receipt: Receipt,
    /// Lives as long as a task of the batch has no final record; absent where somebody waits for the receipt itself.
    work: Option<Weak<Origin<Measure>>>,
}

type Performance = Abortable<LocalBoxFuture<'static, (Ticket, Ended)>>;

pub(super) struct Work {
    outfit: Outfit,
    kinds: BTreeMap<KindName, Kind>,
    infos: Vec<KindInfo>,
    digest: KindsDigest,
    /// Whether who asked last knows the kinds by their digest.
    is_known: bool,
    desk: Desk<Measure>,
    trials: Trials,
    performing: FuturesUnordered<Performance>,
    /// What goes in bulk; absent where the node gave no packet sockets.
    bulk: Option<bulk::InBulk>,
    stops: BTreeMap<Ticket, AbortHandle>,
    /// When the time of a task may be over that the driver has.
    overdue_at: Option<Instant>,
    inputs: SelectAll<futures::stream::LocalBoxStream<'static, (By, Message)>>,
    outbox: Outbox,
    receipts: Vec<Waiting>,
    service: Service,
    stats: BTreeMap<String, Stats>,
    boot: BootId,
    started_at: Timestamp,
    announced: bool,
    heartbeats: u64,
    garbage: u64,
    garbage_logged_ns: u64,
}

impl Work {
    /// Subscribes; what arrives is read once [`Self::run`] is.
    pub(super) async fn new(mut outfit: Outfit) -> Result<Self, async_nats::SubscribeError> {
        let started_at = Timestamp::from_unix_ns(clock::wall().0);
        let boot = BootId(u64::try_from(started_at.unix_ns() / 1_000).unwrap_or(0));
        let infos: Vec<KindInfo> = outfit.kinds.iter().map(|kind| info(&**kind)).collect();
        let kinds: BTreeMap<_, _> =
            infos.iter().map(|info| info.name.clone()).zip(outfit.kinds.iter().cloned()).collect();
        let sockets = std::mem::take(&mut outfit.sockets);
        let trials =
            Trials::new(kinds.keys().cloned(), sockets, outfit.site.ports(), outfit.site.network().is_own());
        let identity = Identity { vp: outfit.vp.clone(), instance: outfit.instance.clone(), boot };
        let desk = Desk::new(identity, outfit.room.clone());
        let service =
            Service::new(&outfit.prefix, &outfit.module, &outfit.vp, &outfit.instance, &infos, started_at);
        let mut work = Self {
            kinds,
            digest: digest(&infos),
            is_known: false,
            infos,
            desk,
            trials,
            performing: FuturesUnordered::new(),
            bulk: None,
            stops: BTreeMap::new(),
            overdue_at: None,
            inputs: SelectAll::new(),
            outbox: Outbox::new(outfit.bus.client().clone()),
            receipts: Vec::new(),
            service,
            stats: BTreeMap::new(),
            boot,
            started_at,
            announced: false,
            heartbeats: 0,
            garbage: 0,
            garbage_logged_ns: 0,
            outfit,
        };
        work.subscribe().await?;
        Ok(work)
    }

    async fn subscribe(&mut self) -> Result<(), async_nats::SubscribeError> {
        let Outfit { prefix, vp, instance, bus, .. } = &self.outfit;
        let client = bus.client();
        let mut add = |by: By, subscriber: Subscriber| {
            self.inputs.push(subscriber.map(move |message| (by, message)).boxed_local());
        };
        add(By::Task, client.subscribe(filter::tasks(prefix, vp, instance)).await?);
        for kind in self.kinds.keys() {
            for subject in [Subject::Pool(vp.clone(), kind.clone()), Subject::PoolAny(kind.clone())] {
                let subject = subject.on(prefix);
                add(By::Pool, client.queue_subscribe(subject, POOL_QUEUE.to_owned()).await?);
            }
        }
        add(By::Ctl, client.subscribe(Subject::Ctl(vp.clone(), instance.clone()).on(prefix)).await?);
        add(By::Discover, client.subscribe(Subject::Discover.on(prefix)).await?);
        for subject in SUBJECTS {
            add(By::Service, client.subscribe(subject).await?);
        }
        Ok(())
    }

    fn performed(&mut self, ticket: Ticket, ended: Ended) {
        self.stops.remove(&ticket);
        self.desk.finish(ticket, now(), ended);
    }

    /// Begins what may be begun. What ends at its first step is done with; the rest is polled by the loop.
    fn start(&mut self) {
        if !self.desk.can_start() {
            return;
        }
        let turn = clock::both();
        let mut moment = at(turn, turn.at);
        for _ in 0..TURN {
            let Some(started) = self.desk.start(moment) else { break };
            if started.origin.measure.bulk.is_some() {
                self.start_in_bulk(started, moment);
                continue;
            }
            moment = self.attempt(started, turn);
            if moment.at.saturating_since(turn.at) >= LONGEST_TURN {
                break;
            }
        }
        self.all_started();
        self.end_driven();
    }

    /// Begins an attempt by itself. Gives the moment afterwards.
    fn attempt(&mut self, started: Started<Measure>, turn: clock::Reading) -> Now {
        let Some(started) = self.drive(started) else {
            self.end_driven();
            return at(turn, clock::monotonic());
        };
        let ticket = started.ticket;
        let site = Rc::clone(&self.outfit.site);
        let mut attempt = perform(site, ticket, started.origin, started.input).boxed_local();
        // Polled without a waker: what goes on is polled again by the loop.
        let ended = (&mut attempt).now_or_never();
        let moment = at(turn, clock::monotonic());
        if let Some((ticket, ended)) = ended {
            self.desk.finish(ticket, moment, ended);
        } else {
            let (stop, registration) = AbortHandle::new_pair();
            self.stops.insert(ticket, stop);
            self.performing.push(Abortable::new(attempt, registration));
        }
        moment
    }

    /// Offers what has passed its self-test. Gives when to test again.
    fn tested(&mut self, findings: Findings) -> Option<Duration> {
        let was_starting = self.trials.is_starting();
        let has_sockets = self.outfit.site.no_sockets().is_none();
        let judged = self.trials.judge(findings, &self.kinds, has_sockets);
        if !judged.sockets.is_empty() {
            match self.outfit.site.add_sockets(judged.sockets) {
                Ok(()) => tracing::info!("sockets are in use"),
                Err(error) => tracing::warn!(%error, "sockets that came are of no use"),
            }
            self.announce();
        } else if judged.changed {
            self.announce();
        }
        if was_starting != self.trials.is_starting() {
            self.beat();
        }
        judged.again_in
    }

    /// Why a kind can't be performed now: the site does not offer it, there is no socket for it, or it has not passed
    /// its self-test.
    fn unavailable(&self, kind: &KindName) -> Option<Unavailable> {
        let site = &self.outfit.site;
        if !site.policy().allows_kind(kind) {
            let reason = Reason::with(code::POLICY, format_args!("the site does not offer {kind}"));
            return Some(Unavailable { reason, mend: None });
        }
        if let Some(reason) = self.trials.reason(kind) {
            return Some(Unavailable { reason, mend: None });
        }
        if self.kinds.get(kind)?.module() != PACKET {
            return None;
        }
        let missing = site.no_sockets().filter(|_| !self.trials.does_without_sockets(kind))?;
        Some(Unavailable { reason: Reason::with(code::UNPRIVILEGED, missing.what), mend: missing.command })
    }

    fn drain(&mut self) {
        if !self.desk.is_draining() {
            tracing::info!(held = self.desk.running() + self.desk.queued(), "draining");
            self.desk.drain();
            self.beat();
        }
    }
}

/// The module whose kinds need the node's sockets.
pub(crate) const PACKET: &str = "packet";

fn prepare(registered: &dyn Registered, params: &Body) -> Result<Measure, Reason> {
    let kind = registered.prepare(params).map_err(|failure| failure.reason)?;
    Ok(Measure { kind, bulk: None })
}

fn now() -> Now {
    let reading = clock::both();
    Now { at: reading.at, utc: Timestamp::from_unix_ns(reading.wall.0) }
}

/// A moment on both clocks, by a reading of a little earlier.
fn at(turn: clock::Reading, at: Instant) -> Now {
    let later = i64::try_from(at.saturating_since(turn.at).0).unwrap_or(i64::MAX);
    Now { at, utc: Timestamp::from_unix_ns(turn.wall.0.saturating_add(later)) }
}

async fn wait<T>(future: &mut Option<LocalBoxFuture<'static, T>>) -> T {
    match future {
        Some(waiting) => {
            let value = waiting.await;
            *future = None;
            value
        }
        None => std::future::pending().await,
    }
}
