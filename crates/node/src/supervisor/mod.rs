//! The node: supervises the modules of one vantage point, owns its privileges, and speaks for the place.
//!
//! One actor ([`Node`]) holds what is known; each instance of a module has a task of its own ([`instance`]) that
//! enrols it, starts it, watches it, and reports. `modules.d/` and `policy.toml` are read twice a second: a manifest
//! that appears starts a module, one that changes replaces it, one that goes drains it, and nothing else notices.

mod breaker;
mod child;
mod claims;
mod enrol;
mod files;
#[cfg(feature = "fuzzing")]
pub(crate) mod fuzzing;
mod here;
mod ids;
mod instance;
mod life;
mod log;
mod manifest;
mod modules;
mod roster;

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_nats::{Message, Subscriber};
use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt};
use mmn_bus::connect::{BarrierError, Bus, Connect, ConnectError, Link};
use mmn_bus::identity::{CREDS, Creds, NodeVps};
use mmn_schema::announce::{Announcement, Discover, Heartbeat, InstanceState, Load, NodeInfo, Role};
use mmn_schema::control::{NodeAnswer, NodeOrder};
use mmn_schema::encoding::Encoding;
use mmn_schema::id::{BootId, InstanceId, VpId};
use mmn_schema::outcome::{Reason, code};
use mmn_schema::subject::{Subject, filter};
use mmn_schema::time::Timestamp;
use mmn_schema::vp::VantagePoint;
use rustix::fs::FlockOperation;
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

use crate::clock;
use crate::config::{self, Config, ConfigError, Elsewhere, Place};
use crate::context::limits;
use crate::herald::{Herald, encoding_of, headers};
use crate::host;
use crate::module::HEARTBEAT;
use crate::net::page::{Page, PageError};
use crate::net::privilege::limit_capabilities;
use crate::policy::{self, Policy};
use instance::{Order, Report};
use manifest::{Manifest, is_name};
use modules::Modules;

/// How often files are looked at.
const LOOK: Duration = Duration::from_millis(500);
const BARRIER_AGAIN: Duration = Duration::from_millis(500);
/// How long all modules together may take to leave.
const LEAVE: Duration = Duration::from_secs(5);
/// How many looks at files pass until the host's addresses are read again.
const LOOKS_PER_ADDRESSES: u64 = 20;

/// A node is up: it is connected and has announced itself. Its modules are on their way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ready {
    /// Its vantage point.
    pub vp: VpId,
    /// The place's name.
    pub name: String,
}

/// Why a node did not run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NodeError {
    /// A file of its directory.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// Another node uses the directory.
    #[error("another node uses {}", .0.display())]
    Held(PathBuf),
    /// Its credentials are unusable.
    #[error("the node's credentials in {}: {what}", dir.display())]
    Creds {
        /// Their directory.
        dir: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// Its credentials are for other vantage points.
    #[error(
        "the credentials are not for the vantage point {vp} (local key {local_key:?}): they were issued for {issued:?}"
    )]
    OtherVp {
        /// Which it would be.
        vp: VpId,
        /// From which key.
        local_key: String,
        /// For which they are.
        issued: Vec<String>,
    },
    /// The page of the limits.
    #[error("the limits can't be shared with modules")]
    Page(#[from] PageError),
    /// No connection to NATS.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// A subscription failed.
    #[error("a subscription failed")]
    Subscribe(#[from] async_nats::SubscribeError),
}

/// What the node's tasks share.
#[derive(Debug)]
struct Shared {
    config: Config,
    vp: VpId,
    bus: Bus,
    page: Page,
    policy: watch::Receiver<Arc<Policy>>,
    ids: ids::Ids,
    reports: mpsc::Sender<Report>,
    /// Cancelled when the node itself goes away.
    haste: CancellationToken,
}

/// Runs a node until `shutdown`; then its modules drain, within 5 s.
///
/// It first opens sockets for its modules, then gives up every capability of the calling thread but `CAP_NET_RAW`: call
/// it on the program's only thread.
pub async fn run(
    config: Config,
    ready: oneshot::Sender<Ready>,
    shutdown: CancellationToken,
) -> Result<(), NodeError> {
    let config =
        config.absolute().map_err(|source| ConfigError::File { path: config.dir.clone(), source })?;
    // With every privilege that there is: they get larger buffers than what is opened later.
    let ids = match &config.elsewhere {
        Some(at) => ids::Ids::of(at.network()),
        None => ids::Ids::stocked(),
    };
    match limit_capabilities() {
        Ok(kept) => tracing::debug!(net_raw = kept.net_raw, "privileges"),
        Err(error) => tracing::warn!(%error, "the node keeps privileges that it does not need"),
    }
    let _lock = prepare(&config)?;
    let place = Place::read(&config.dir.join("node.toml"), &config.place)?;
    let (vp, name) = identity(&config.creds, &place.local_key)?;
    let policy_text = config::read(&config.dir.join("policy.toml"))?;
    let policy = match &policy_text {
        Some(text) => Policy::from_toml(text).map_err(|error| ConfigError::Content {
            path: config.dir.join("policy.toml"),
            what: error.to_string(),
        })?,
        None => config.policy.clone(),
    };
    let page = Page::create(limits(&policy), rand::random())?;
    let bus = Connect {
        urls: config.urls.clone(),
        creds: config.creds.join(CREDS),
        tls: config.tls.clone(),
        name: name.to_string(),
        prefix: config.prefix.clone(),
        wait_for_server: true,
    }
    .open()
    .await?;
    let herald = Herald::new(config.creds.join(CREDS));
    let (policy_sender, policy) = watch::channel(Arc::new(policy));
    let (reports, inbox) = mpsc::channel(64);
    let shared =
        Arc::new(Shared { vp, bus, page, policy, ids, reports, haste: CancellationToken::new(), config });
    let started_at = Timestamp::from_unix_ns(clock::wall().0);
    let node = Node {
        vantage_point: place.vantage_point(shared.vp.clone(), shared.config.elsewhere.as_ref()),
        place,
        instance: name,
        boot: BootId(u64::try_from(started_at.unix_ns() / 1_000).unwrap_or(0)),
        started_at,
        herald,
        modules: Modules::new(Arc::clone(&shared)),
        texts: None,
        policy_text,
        policy: policy_sender,
        announced: false,
        changed: false,
        looks: 0,
        heartbeats: 0,
        garbage: 0,
        ready: Some(ready),
        shared,
    };
    node.work(inbox, shutdown).await
}

/// Makes the directories, clears what a former node left, and sees to it that there is no other.
fn prepare(config: &Config) -> Result<File, NodeError> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source: io::Error| ConfigError::File { path, source }
    };
    let run = config.dir.join("run");
    for dir in [&config.dir, &config.dir.join("modules.d"), &run] {
        files::private_dir(dir).map_err(failed(dir))?;
    }
    let path = config.dir.join("lock");
    let lock = File::create(&path).map_err(failed(&path))?;
    if rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive).is_err() {
        return Err(NodeError::Held(config.dir.clone()));
    }
    for left in std::fs::read_dir(&run).map_err(failed(&run))?.flatten() {
        if let Err(error) = std::fs::remove_dir_all(left.path()) {
            tracing::debug!(%error, path = %left.path().display(), "left behind");
        }
    }
    let sample = config.dir.join("policy.toml");
    let plain = Policy { allow_loopback: config.policy.allow_loopback, ..Policy::default() };
    if config.watch && !sample.exists() && config.policy == plain {
        let line = format!("allow_loopback = {}", config.policy.allow_loopback);
        let text = policy::SAMPLE.replace("allow_loopback = false", &line);
        files::replace(&sample, &text).map_err(failed(&sample))?;
    }
    Ok(lock)
}

/// The vantage point and the node's own name, by its credentials.
fn identity(dir: &Path, local_key: &str) -> Result<(VpId, InstanceId), NodeError> {
    let wrong = |what: String| NodeError::Creds { dir: dir.to_owned(), what };
    let creds = Creds::read(&dir.join(CREDS)).map_err(|error| wrong(error.to_string()))?;
    let vp = VpId::derive(creds.seed.public_key().as_str(), local_key);
    let issued = NodeVps::read(dir).map_err(|error| wrong(format!("vps.json: {error}")))?.vps;
    if !issued.iter().any(|issued| issued == vp.as_str()) {
        return Err(NodeError::OtherVp { vp, local_key: local_key.to_owned(), issued });
    }
    let claims = claims::of(creds.jwt.as_str()).ok_or_else(|| wrong("its JWT names nobody".to_owned()))?;
    let name = claims.name.parse().map_err(|error| wrong(format!("{error}")))?;
    Ok((vp, name))
}

/// The node's actor.
struct Node {
    shared: Arc<Shared>,
    place: Place,
    vantage_point: VantagePoint,
    instance: InstanceId,
    boot: BootId,
    started_at: Timestamp,
    herald: Herald,
    modules: Modules,
    texts: Option<roster::Texts>,
    policy_text: Option<String>,
    policy: watch::Sender<Arc<Policy>>,
    announced: bool,
    changed: bool,
    looks: u64,
    heartbeats: u64,
    garbage: u64,
    ready: Option<oneshot::Sender<Ready>>,
}

impl Node {
    async fn work(
        mut self,
        mut reports: mpsc::Receiver<Report>,
        shutdown: CancellationToken,
    ) -> Result<(), NodeError> {
        let (mut discover, mut orders, mut heartbeats) = self.subscribe().await?;
        // Nothing cancels the token of a vantage point that can't be lost so.
        let remote = self.shared.config.elsewhere.as_ref().and_then(Elsewhere::remote);
        let lost = remote.map_or_else(CancellationToken::new, |remote| remote.lost.clone());
        let mut link = self.shared.bus.link();
        link.mark_changed();
        let mut barrier: BoxFuture<'static, Result<(), BarrierError>> = std::future::pending().boxed();
        let mut look = tokio::time::interval(LOOK);
        look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut beat = std::pin::pin!(tokio::time::sleep(Duration::ZERO));
        loop {
            tokio::select! {
                biased;
                () = shutdown.cancelled() => break,
                () = lost.cancelled() => {
                    self.announced = false;
                    break;
                }
                Some(report) = reports.recv() => {
                    self.modules.reported(&report);
                    self.changed = true;
                }
                _ = link.changed() => {
                    let up = matches!(*link.borrow_and_update(), Link::Up { .. });
                    self.announced = false;
                    barrier = if up { passed(&self.shared.bus, Duration::ZERO) } else { std::future::pending().boxed() };
                }
                result = &mut barrier => {
                    barrier = match result {
                        Ok(()) => {
                            self.announced = true;
                            self.changed = true;
                            std::future::pending().boxed()
                        }
                        Err(error) => {
                            tracing::warn!(%error, "the server does not answer: announcing later");
                            passed(&self.shared.bus, BARRIER_AGAIN)
                        }
                    };
                }
                Some(message) = discover.next() => self.changed |= self.is_asked(&message),
                Some(order) = orders.next() => self.order_came(&order).await,
                Some(heartbeat) = heartbeats.next() => self.heard(&heartbeat),
                _ = look.tick() => self.look(),
                () = &mut beat => {
                    self.beat().await;
                    beat.set(tokio::time::sleep(self.heartbeat().mul_f64(rand::random_range(0.9..1.1))));
                }
            }
            if self.changed && self.announced {
                self.changed = false;
                self.announce(Role::Node(Box::new(self.info()))).await;
                if let Some(ready) = self.ready.take() {
                    // Whoever started the node may not care.
                    let _ = ready.send(Ready { vp: self.shared.vp.clone(), name: self.place.name.clone() });
                }
            }
        }
        self.leave(reports).await;
        Ok(())
    }

    async fn subscribe(&self) -> Result<(Subscriber, Subscriber, Subscriber), NodeError> {
        let client = self.shared.bus.client();
        let prefix = &self.shared.config.prefix;
        let discover = client.subscribe(Subject::Discover.on(prefix)).await?;
        let orders = client.subscribe(Subject::Node(self.shared.vp.clone()).on(prefix)).await?;
        let heartbeats = client.subscribe(filter::heartbeats_of(prefix, &self.shared.vp)).await?;
        Ok((discover, orders, heartbeats))
    }

    /// Whether an anchor that asks who is there asks this node.
    fn is_asked(&self, message: &Message) -> bool {
        let asked = encoding_of(message).and_then(|it| it.decode::<Discover>(&message.payload).ok());
        let only = asked.and_then(|asked| asked.only);
        only.is_none_or(|only| only.contains(&self.instance))
    }

    /// A heartbeat of somebody here.
    fn heard(&mut self, message: &Message) {
        let said = encoding_of(message).and_then(|it| it.decode::<Heartbeat>(&message.payload).ok());
        let life = said.map(|said| (said.boot, said.state == InstanceState::Ready));
        let instance = message.subject.rsplit('.').next().unwrap_or_default();
        self.changed |= self.modules.heard(instance, life);
    }

    /// Looks at the files, and acts on what has changed.
    fn look(&mut self) {
        self.looks += 1;
        if self.looks.is_multiple_of(LOOKS_PER_ADDRESSES) {
            let elsewhere = self.shared.config.elsewhere.as_ref();
            let now = self.place.vantage_point(self.shared.vp.clone(), elsewhere);
            self.changed |= now != self.vantage_point;
            self.vantage_point = now;
        }
        if !self.shared.config.watch {
            if self.texts.is_none() {
                self.reconcile(roster::Texts::new());
            }
            return;
        }
        let texts = roster::read(&self.shared.config.dir.join("modules.d"));
        if self.texts.as_ref() != Some(&texts) {
            self.reconcile(texts);
        }
        self.look_at_policy();
    }

    fn reconcile(&mut self, texts: roster::Texts) {
        self.modules.reconcile(&roster::wanted(&self.shared.config.builtins, &texts));
        self.texts = Some(texts);
        self.changed = true;
    }

    /// A file with a mistake leaves the former policy in force.
    fn look_at_policy(&mut self) {
        let path = self.shared.config.dir.join("policy.toml");
        let text = match config::read(&path) {
            Ok(text) if text != self.policy_text => text,
            Ok(_) => return,
            Err(error) => {
                tracing::debug!(%error, "the policy can't be read");
                return;
            }
        };
        self.policy_text.clone_from(&text);
        let read = text.as_deref().map_or_else(|| Ok(self.shared.config.policy.clone()), Policy::from_toml);
        match read {
            Ok(policy) => {
                tracing::info!("the policy has changed");
                self.shared.page.set_limits(limits(&policy));
                self.policy.send_replace(Arc::new(policy));
                self.changed = true;
            }
            Err(error) => tracing::warn!(%error, path = %path.display(), "the former policy stays in force"),
        }
    }

    async fn order_came(&mut self, message: &Message) {
        let read = encoding_of(message)
            .and_then(|encoding| Some((encoding, encoding.decode::<NodeOrder>(&message.payload).ok()?)));
        let Some((encoding, order)) = read else {
            self.garbage += 1;
            if self.garbage.is_power_of_two() {
                tracing::warn!(so_far = self.garbage, "an order that can't be read was dropped");
            }
            return;
        };
        let answer = match self.obey(order) {
            Ok(()) => NodeAnswer::Done { modules: self.modules.statuses() },
            Err(reason) => NodeAnswer::Refused { reason },
        };
        self.changed = true;
        let Some(reply) = message.reply.clone() else { return };
        self.publish(reply, encoding, &answer).await;
    }

    fn obey(&mut self, order: NodeOrder) -> Result<(), Reason> {
        match order {
            NodeOrder::List => Ok(()),
            NodeOrder::Add { name, manifest } => self.add(&name, &manifest),
            NodeOrder::Remove { name } => self.remove(&name),
            NodeOrder::Drain { name, instance } => self.modules.order(&name, instance.as_ref(), Order::Drain),
            NodeOrder::Restart { name, instance } => {
                self.modules.order(&name, instance.as_ref(), Order::Restart)
            }
        }
    }

    fn add(&mut self, name: &str, manifest: &str) -> Result<(), Reason> {
        self.keeps_manifests()?;
        if !is_name(name) {
            return Err(Reason::with(code::PARAMETERS, format_args!("{name:?} is no name of a module")));
        }
        Manifest::from_toml(manifest).map_err(|wrong| Reason::with(code::PARAMETERS, wrong))?;
        self.write(name, manifest)?;
        self.look();
        Ok(())
    }

    /// A module of this program is removed by a manifest that turns it off.
    fn remove(&mut self, name: &str) -> Result<(), Reason> {
        self.keeps_manifests()?;
        if self.shared.config.builtins.iter().any(|builtin| builtin.module == name) {
            self.write(name, &format!("builtin = \"{name}\"\nenabled = false\n"))?;
        } else {
            if !self.texts.as_ref().is_some_and(|texts| texts.contains_key(name)) {
                return Err(modules::unknown(name));
            }
            std::fs::remove_file(self.manifest_path(name)).map_err(|error| system(&error))?;
        }
        self.look();
        Ok(())
    }

    fn keeps_manifests(&self) -> Result<(), Reason> {
        if self.shared.config.watch {
            return Ok(());
        }
        let why = "this node was started for given modules alone, as a lab's is: an `mmn up` without --lab takes others";
        Err(Reason::with(code::UNSUPPORTED, why))
    }

    fn write(&self, name: &str, manifest: &str) -> Result<(), Reason> {
        files::replace(&self.manifest_path(name), manifest).map_err(|error| system(&error))
    }

    fn manifest_path(&self, name: &str) -> PathBuf {
        self.shared.config.dir.join("modules.d").join(format!("{name}.toml"))
    }

    fn info(&self) -> NodeInfo {
        NodeInfo {
            vantage_point: self.vantage_point.clone(),
            policy: self.policy.borrow().summary(),
            modules: self.modules.statuses(),
        }
    }

    async fn announce(&self, role: Role) {
        let announcement = Announcement {
            schema: mmn_schema::VERSION,
            vp: self.shared.vp.clone(),
            instance: self.instance.clone(),
            boot: self.boot,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            started_at: self.started_at,
            role,
        };
        match self.herald.sign(&announcement) {
            Ok((headers, payload)) => {
                let subject = Subject::Announce.on(&self.shared.config.prefix);
                let sent = self.shared.bus.client().publish_with_headers(subject, headers, payload).await;
                if let Err(error) = sent {
                    tracing::warn!(%error, "not announced");
                }
            }
            Err(error) => tracing::error!(%error, "not announced"),
        }
    }

    fn heartbeat(&self) -> Duration {
        self.shared.config.elsewhere.as_ref().map_or(HEARTBEAT, |at| at.heartbeat)
    }

    async fn beat(&mut self) {
        if !self.announced {
            return;
        }
        self.heartbeats += 1;
        // What is elsewhere has other interfaces than this host.
        let interfaces = if self.shared.config.elsewhere.is_none() { host::interface_bytes() } else { None };
        let (interface_received_bytes, interface_sent_bytes) = interfaces.unzip();
        let heartbeat = Heartbeat {
            boot: self.boot,
            seq: self.heartbeats,
            sent_at: Timestamp::from_unix_ns(clock::wall().0),
            interval_ms: u32::try_from(self.heartbeat().as_millis()).unwrap_or(u32::MAX),
            state: InstanceState::Ready,
            load: Load {
                running: self.modules.running(),
                garbage: self.garbage,
                interface_received_bytes,
                interface_sent_bytes,
                probe_sent_bytes: Some(self.shared.page.counters().bytes),
                ..host::load(self.shared.bus.client())
            },
            clock: clock::state(),
        };
        let subject = Subject::Hb(self.shared.vp.clone(), self.instance.clone());
        self.publish(subject.on(&self.shared.config.prefix).into(), Encoding::Cbor, &heartbeat).await;
    }

    async fn publish<T: serde::Serialize>(&self, to: async_nats::Subject, encoding: Encoding, message: &T) {
        let Ok(payload) = encoding.encode(message) else { return };
        let client = self.shared.bus.client();
        if let Err(error) = client.publish_with_headers(to, headers(encoding), payload.into()).await {
            tracing::debug!(%error, "a message was not sent");
        }
    }

    /// All modules drain at once; what takes too long is killed when its task is dropped.
    async fn leave(mut self, mut reports: mpsc::Receiver<Report>) {
        tracing::info!("draining");
        self.shared.haste.cancel();
        let tasks = self.modules.leave();
        let aborts: Vec<_> = tasks.iter().map(tokio::task::JoinHandle::abort_handle).collect();
        let gone = async {
            for task in tasks {
                // A task that broke has dropped its child, which ends it.
                let _ = task.await;
            }
        };
        let reading = async { while reports.recv().await.is_some() {} };
        tokio::select! {
            () = gone => {}
            () = reading => {}
            () = tokio::time::sleep(LEAVE) => {
                tracing::warn!("some modules did not leave in time");
                aborts.iter().for_each(tokio::task::AbortHandle::abort);
            }
        }
        if self.announced {
            self.announce(Role::Bye).await;
            // The goodbye is a courtesy; silence says the same a little later.
            let _ = tokio::time::timeout(Duration::from_secs(1), self.shared.bus.barrier()).await;
        }
        self.shared.bus.close().await;
    }
}

fn passed(bus: &Bus, after: Duration) -> BoxFuture<'static, Result<(), BarrierError>> {
    let bus = bus.clone();
    async move {
        tokio::time::sleep(after).await;
        bus.barrier().await
    }
    .boxed()
}

fn system(error: &io::Error) -> Reason {
    Reason::with(code::SYSTEM, error)
}
