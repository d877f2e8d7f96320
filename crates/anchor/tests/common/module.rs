//! A module that a test holds by the hand: it answers at once, or when it is told to.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};

use async_nats::{HeaderMap, Message};
use data_encoding::BASE64URL_NOPAD;
use futures::StreamExt;
use mmn_bus::connect::{Bus, Connect};
use mmn_bus::identity::permissions::POOL_QUEUE;
use mmn_bus::identity::{CREDS, Creds};
use mmn_bus::testing::TestServer;
use mmn_schema::announce::{
    Announcement, Discover, Heartbeat, InputShape, InstanceState, JWT_HEADER, KindInfo, KindsDigest,
    KnownModule, Load, ModuleInfo, Role, SIGNATURE_HEADER, SchemaVersion,
};
use mmn_schema::body::Body;
use mmn_schema::control::{Control, Controlled, Quote};
use mmn_schema::dispatch::{
    Held, Input, Receipt, Record, ResultBatch, Sync, Synced, Task, TaskBatch, ToInstance,
};
use mmn_schema::encoding::{CONTENT_TYPE, Encoding};
use mmn_schema::id::{BootId, Epoch, InstanceId, KindName, MeasurementId, VpId};
use mmn_schema::outcome::{Outcome, Reason, code};
use mmn_schema::subject::{Prefix, Subject, filter};
use mmn_schema::time::Timestamp;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// How a module behaves.
#[derive(Debug, Clone)]
pub struct Behaviour {
    pub credits: Option<u32>,
    /// Answers at once; else when it is told to.
    pub prompt: bool,
    /// Sends receipts.
    pub acknowledges: bool,
    /// Says what it holds when it is asked.
    pub compares: bool,
    /// So many batches never reach it.
    pub forgets: u32,
    /// Answers each batch as busy so many times.
    pub busy: u32,
    /// So many of its result messages never arrive when they are first sent.
    pub loses: u32,
    pub unavailable: bool,
    pub heartbeats: bool,
    /// So many tasks are answered with: the module broke.
    pub breaks: u32,
    /// So many batches are declined: it is going out of service.
    pub declines: u32,
    /// The kind that it performs.
    pub kind: &'static str,
    /// Another one that it performs.
    pub second: Option<&'static str>,
    /// It answers a batch each so many milliseconds, and none at once.
    pub pace_ms: Option<u64>,
    /// Messages that it could not read, as its heartbeats tell.
    pub unread: u64,
    /// It leaves its kinds out until an anchor asks that does not know them.
    pub terse: bool,
}

impl Default for Behaviour {
    fn default() -> Self {
        Self {
            credits: Some(1024),
            prompt: true,
            acknowledges: true,
            compares: true,
            forgets: 0,
            busy: 0,
            loses: 0,
            unavailable: false,
            heartbeats: true,
            breaks: 0,
            declines: 0,
            kind: "noop",
            second: None,
            pace_ms: None,
            unread: 0,
            terse: false,
        }
    }
}

#[derive(Debug)]
enum Order {
    /// Answer what is held.
    Answer,
    /// Send the last result message again, as a new one.
    Repeat,
    /// Send a heartbeat now.
    Beat,
    Bye,
    /// Do nothing at all, as a process that is stopped, until it is thawed.
    Freeze,
    Thaw,
    /// Behave otherwise from now on.
    Behave(Box<Behaviour>),
    /// Send so many of these.
    Flood(Flood, usize),
}

/// What a module may send too much of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flood {
    /// Results that can't be read.
    Garbage,
    /// Results of tasks that it was not given, of this measurement.
    Results(MeasurementId),
    Announcements,
    Heartbeats,
}

/// What a module has seen.
#[derive(Debug, Default, Clone)]
pub struct Seen {
    pub tasks: Vec<(MeasurementId, Task)>,
    pub batches: usize,
    pub cancels: usize,
    /// How often it has said what it holds.
    pub compared: usize,
}

pub struct FakeModule {
    pub instance: InstanceId,
    pub seen: Arc<Mutex<Seen>>,
    orders: mpsc::UnboundedSender<Order>,
    task: JoinHandle<()>,
}

impl FakeModule {
    pub async fn start(server: &TestServer, vp_name: &str, instance: &str, behaviour: Behaviour) -> Self {
        Self::start_as(server, vp_name, vp_name, instance, behaviour).await
    }

    /// One that says it is somewhere else than its credentials say.
    pub async fn start_as(
        server: &TestServer,
        vp_name: &str,
        really: &str,
        instance: &str,
        behaviour: Behaviour,
    ) -> Self {
        let url = server.url();
        Self::start_over(server, url, [vp_name, really], instance, behaviour).await
    }

    /// One that reaches the server at another address. `[vp_name, really]`: where it says it is, and where it is.
    pub async fn start_over(
        server: &TestServer,
        url: String,
        [vp_name, really]: [&str; 2],
        instance: &str,
        behaviour: Behaviour,
    ) -> Self {
        let vp = super::vp(vp_name);
        let dir = server.module_dir(instance, &[super::vp(really).as_str()]);
        let bus = Connect::new(url, dir.join(CREDS), instance).open().await.unwrap();
        let creds = Creds::read(&dir.join(CREDS)).unwrap();
        let (orders, receiver) = mpsc::unbounded_channel();
        let seen = Arc::new(Mutex::new(Seen::default()));
        let worker = Worker {
            bus,
            creds,
            prefix: Prefix::default(),
            vp,
            instance: instance.parse().unwrap(),
            boot: BootId(rand::random::<u32>().into()),
            behaviour,
            seen: seen.clone(),
            held: VecDeque::new(),
            sent: BTreeMap::new(),
            seq: 0,
            beats: 0,
            last: None,
        };
        let (listening, is_listening) = tokio::sync::oneshot::channel();
        let task = tokio::spawn(worker.run(receiver, listening));
        is_listening.await.unwrap();
        Self { instance: instance.parse().unwrap(), seen, orders, task }
    }

    pub fn answer(&self) {
        self.orders.send(Order::Answer).unwrap();
    }

    pub fn repeat(&self) {
        self.orders.send(Order::Repeat).unwrap();
    }

    pub fn freeze(&self) {
        self.orders.send(Order::Freeze).unwrap();
    }

    pub fn thaw(&self) {
        self.orders.send(Order::Thaw).unwrap();
    }

    pub fn behave(&self, behaviour: Behaviour) {
        self.orders.send(Order::Behave(Box::new(behaviour))).unwrap();
    }

    pub fn flood(&self, flood: Flood, count: usize) {
        self.orders.send(Order::Flood(flood, count)).unwrap();
    }

    pub fn beat(&self) {
        self.orders.send(Order::Beat).unwrap();
    }

    pub fn bye(&self) {
        self.orders.send(Order::Bye).unwrap();
    }

    pub fn tasks(&self) -> usize {
        self.seen.lock().unwrap().tasks.len()
    }

    pub fn batches(&self) -> usize {
        self.seen.lock().unwrap().batches
    }

    /// Waits until it has been given so many tasks in all.
    pub async fn given(&self, count: usize) {
        super::eventually(|| async { (self.tasks() >= count).then_some(()) }).await;
    }

    /// Ends it as a crash does: its connection goes away.
    pub async fn crash(self) {
        self.task.abort();
        let _ = self.task.await;
    }
}

pub fn kind() -> KindName {
    "noop".parse().unwrap()
}

pub fn kind_info(name: KindName, unavailable: bool) -> KindInfo {
    KindInfo {
        name,
        version: SchemaVersion { major: 1, minor: 0 },
        description: "Does nothing.".to_owned(),
        input: InputShape::Target,
        params: serde_json::json!({
            "type": "object",
            "properties": { "count": { "type": "integer", "minimum": 1, "maximum": 5 } },
            "additionalProperties": false
        })
        .try_into()
        .unwrap(),
        result: true.into(),
        summary: Vec::new(),
        unavailable: unavailable.then(|| mmn_schema::announce::Unavailable {
            reason: Reason::with(code::UNPRIVILEGED, "no socket"),
            mend: None,
        }),
    }
}

struct Worker {
    bus: Bus,
    creds: Creds,
    prefix: Prefix,
    vp: VpId,
    instance: InstanceId,
    boot: BootId,
    behaviour: Behaviour,
    seen: Arc<Mutex<Seen>>,
    held: VecDeque<(TaskBatch, Encoding)>,
    sent: BTreeMap<u64, (String, ResultBatch)>,
    seq: u64,
    beats: u64,
    last: Option<(String, ResultBatch)>,
}

impl Worker {
    async fn run(
        mut self,
        mut orders: mpsc::UnboundedReceiver<Order>,
        listening: tokio::sync::oneshot::Sender<()>,
    ) {
        let client = self.bus.client().clone();
        let mut tasks =
            client.subscribe(filter::tasks(&self.prefix, &self.vp, &self.instance)).await.unwrap();
        let kind = self.behaviour.kind.parse().unwrap();
        let pool = Subject::Pool(self.vp.clone(), kind).on(&self.prefix);
        let mut pool = client.queue_subscribe(pool, POOL_QUEUE.to_owned()).await.unwrap();
        let ctl = Subject::Ctl(self.vp.clone(), self.instance.clone()).on(&self.prefix);
        let mut ctl = client.subscribe(ctl).await.unwrap();
        let mut discover = client.subscribe(Subject::Discover.on(&self.prefix)).await.unwrap();
        let mut link = self.bus.link();
        self.bus.barrier().await.unwrap();
        self.announce(self.role()).await;
        listening.send(()).unwrap();
        let mut beat = tokio::time::interval(std::time::Duration::from_millis(500));
        let mut pace =
            tokio::time::interval(std::time::Duration::from_millis(self.behaviour.pace_ms.unwrap_or(1000)));
        loop {
            tokio::select! {
                Some(message) = tasks.next() => self.on_task(message).await,
                Some(message) = pool.next() => {
                    let batch: TaskBatch = Encoding::Json.decode(&message.payload).unwrap();
                    self.take(batch, message.reply.as_deref(), Encoding::Json).await;
                }
                Some(message) = ctl.next() => self.on_ctl(message).await,
                Some(message) = discover.next() => {
                    let asked: Discover = Encoding::Json.decode(&message.payload).unwrap();
                    self.behaviour.terse &= asked.known.contains(&KindsDigest::of(&self.kinds()));
                    if asked.only.is_none_or(|only| only.contains(&self.instance)) {
                        self.announce(self.role()).await;
                    }
                }
                Ok(()) = link.changed() => self.announce(self.role()).await,
                Some(order) = orders.recv() => match order {
                    Order::Answer => {
                        self.behaviour.prompt = true;
                        while let Some((batch, encoding)) = self.held.pop_front() {
                            self.answer(&batch, encoding).await;
                        }
                    }
                    Order::Repeat => {
                        if let Some((subject, mut batch)) = self.last.clone() {
                            self.seq += 1;
                            batch.seq = self.seq;
                            self.sent.insert(batch.seq, (subject.clone(), batch.clone()));
                            self.publish(subject, Encoding::Cbor, &batch).await;
                        }
                    }
                    Order::Beat => self.heartbeat().await,
                    Order::Bye => self.announce(Role::Bye).await,
                    Order::Freeze => {
                        while !matches!(orders.recv().await, Some(Order::Thaw) | None) {}
                    }
                    Order::Thaw => {}
                    Order::Behave(behaviour) => {
                        self.behaviour = *behaviour;
                        self.announce(self.role()).await;
                    }
                    Order::Flood(flood, count) => self.flood(flood, count).await,
                },
                _ = pace.tick(), if self.behaviour.pace_ms.is_some() => {
                    if let Some((batch, encoding)) = self.held.pop_front() {
                        self.answer(&batch, encoding).await;
                    }
                }
                _ = beat.tick(), if self.behaviour.heartbeats => self.heartbeat().await,
            }
        }
    }

    fn kinds(&self) -> Vec<KindInfo> {
        let kinds = [Some(self.behaviour.kind), self.behaviour.second].into_iter().flatten();
        kinds.map(|kind| kind_info(kind.parse().unwrap(), self.behaviour.unavailable)).collect()
    }

    fn role(&self) -> Role {
        let (module, kinds, credits) = ("noop".to_owned(), self.kinds(), self.behaviour.credits);
        let digest = KindsDigest::of(&kinds);
        if self.behaviour.terse {
            let unavailable = BTreeMap::new();
            Role::Known(KnownModule { module, kinds: digest, unavailable, credits, simulated: false })
        } else {
            Role::Module(ModuleInfo { module, kinds, credits, simulated: false, digest: Some(digest) })
        }
    }

    async fn announce(&self, role: Role) {
        let announcement = Announcement {
            schema: mmn_schema::VERSION,
            vp: self.vp.clone(),
            instance: self.instance.clone(),
            boot: self.boot,
            version: "0".to_owned(),
            started_at: Timestamp::default(),
            role,
        };
        let payload = Encoding::Cbor.encode(&announcement).unwrap();
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, Encoding::Cbor.content_type());
        headers.insert(JWT_HEADER, self.creds.jwt.as_str());
        let signature = self.creds.seed.sign(&payload).unwrap();
        headers.insert(SIGNATURE_HEADER, BASE64URL_NOPAD.encode(&signature).as_str());
        let subject = Subject::Announce.on(&self.prefix);
        self.bus.client().publish_with_headers(subject, headers, payload.into()).await.unwrap();
    }

    async fn flood(&mut self, flood: Flood, count: usize) {
        let id = MeasurementId::new(1, &[0; 10]);
        for n in 0..count {
            match flood {
                Flood::Garbage => {
                    let kind = self.behaviour.kind.parse().unwrap();
                    let subject = Subject::Res(self.vp.clone(), kind, id).on(&self.prefix);
                    self.bus.client().publish(subject, vec![0xff, 0x00].into()).await.unwrap();
                }
                Flood::Results(id) => {
                    self.seq += 1;
                    let task = Task { index: n as u64, attempt: 0, input: Input::Nothing };
                    let batch = ResultBatch {
                        instance: self.instance.clone(),
                        boot: self.boot,
                        anchor: "a1".parse().unwrap(),
                        epoch: Epoch(1),
                        seq: self.seq,
                        free: None,
                        records: vec![record(&task, Outcome::Ok, None)],
                    };
                    let kind = self.behaviour.kind.parse().unwrap();
                    let subject = Subject::Res(self.vp.clone(), kind, id).on(&self.prefix);
                    self.publish(subject, Encoding::Cbor, &batch).await;
                }
                Flood::Announcements => self.announce(self.role()).await,
                Flood::Heartbeats => self.heartbeat().await,
            }
        }
    }

    async fn heartbeat(&mut self) {
        self.beats += 1;
        let heartbeat = Heartbeat {
            boot: self.boot,
            seq: self.beats,
            sent_at: Timestamp::default(),
            interval_ms: 500,
            state: InstanceState::Ready,
            load: Load { garbage: self.behaviour.unread, free: 1, ..Load::default() },
            clock: None,
        };
        let subject = Subject::Hb(self.vp.clone(), self.instance.clone()).on(&self.prefix);
        self.publish(subject, Encoding::Cbor, &heartbeat).await;
    }

    async fn publish<T: serde::Serialize>(&self, subject: String, encoding: Encoding, value: &T) {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, encoding.content_type());
        let payload = encoding.encode(value).unwrap();
        self.bus.client().publish_with_headers(subject, headers, payload.into()).await.unwrap();
    }

    async fn on_task(&mut self, message: Message) {
        match Encoding::Cbor.decode(&message.payload).unwrap() {
            ToInstance::Tasks(batch) => {
                self.forget(batch.ack);
                self.take(batch, message.reply.as_deref(), Encoding::Cbor).await;
            }
            ToInstance::Sync(sync) => self.on_sync(sync).await,
        }
    }

    fn forget(&mut self, ack: u64) {
        self.sent = self.sent.split_off(&(ack + 1));
    }

    async fn take(&mut self, batch: TaskBatch, reply: Option<&str>, encoding: Encoding) {
        let reply = reply.map(str::to_owned);
        let (instance, boot) = (self.instance.clone(), self.boot);
        let receipt = if self.behaviour.busy > 0 {
            self.behaviour.busy -= 1;
            Receipt::Busy { instance, free: 0 }
        } else if self.behaviour.declines > 0 {
            self.behaviour.declines -= 1;
            Receipt::Refused { instance, reason: Reason::new(code::DRAINING) }
        } else {
            Receipt::Accepted { instance, boot, free: 1 }
        };
        let taken = matches!(receipt, Receipt::Accepted { .. });
        if let Some(reply) = reply.filter(|_| self.behaviour.acknowledges) {
            self.publish(reply, encoding, &receipt).await;
        }
        if !taken {
            return;
        }
        {
            let mut seen = self.seen.lock().unwrap();
            seen.batches += 1;
            seen.tasks.extend(batch.tasks.iter().map(|task| (batch.measurement, task.clone())));
        }
        if self.behaviour.forgets > 0 {
            self.behaviour.forgets -= 1;
            return;
        }
        if self.behaviour.prompt && self.behaviour.pace_ms.is_none() {
            self.answer(&batch, encoding).await;
        } else {
            self.held.push_back((batch, encoding));
        }
    }

    async fn answer(&mut self, batch: &TaskBatch, encoding: Encoding) {
        let mut records = Vec::new();
        for task in &batch.tasks {
            let breaks = self.behaviour.breaks > 0;
            self.behaviour.breaks -= u32::from(breaks);
            records.push(if breaks {
                record(task, Outcome::Failed, Some(Reason::with(code::INTERNAL, "the kind broke")))
            } else {
                record(task, Outcome::Ok, None)
            });
        }
        self.send(batch, records, encoding).await;
    }

    async fn send(&mut self, batch: &TaskBatch, records: Vec<Record>, encoding: Encoding) {
        self.seq += 1;
        let result = ResultBatch {
            instance: self.instance.clone(),
            boot: self.boot,
            anchor: batch.anchor.clone(),
            epoch: batch.epoch,
            seq: self.seq,
            free: None,
            records,
        };
        let subject = Subject::Res(self.vp.clone(), batch.kind.clone(), batch.measurement).on(&self.prefix);
        self.sent.insert(self.seq, (subject.clone(), result.clone()));
        self.last = Some((subject.clone(), result.clone()));
        if self.behaviour.loses > 0 {
            self.behaviour.loses -= 1;
            return;
        }
        self.publish(subject, encoding, &result).await;
    }

    async fn on_sync(&mut self, sync: Sync) {
        self.forget(sync.ack);
        if sync.fresh {
            self.held.retain(|(batch, _)| batch.epoch >= sync.epoch);
        }
        if sync.resend {
            for (subject, batch) in self.sent.values() {
                self.publish(subject.clone(), Encoding::Cbor, batch).await;
            }
        }
        if !self.behaviour.compares {
            return;
        }
        let held = self.held.iter().map(|(batch, _)| Held {
            measurement: batch.measurement,
            indices: batch.tasks.iter().map(|task| task.index).collect(),
        });
        let synced = Synced {
            instance: self.instance.clone(),
            boot: self.boot,
            anchor: sync.anchor,
            seq: sync.seq,
            high: self.seq,
            free: 1,
            held: held.collect(),
        };
        let subject = Subject::Synced(self.vp.clone(), self.instance.clone()).on(&self.prefix);
        self.publish(subject, Encoding::Cbor, &synced).await;
        self.seen.lock().unwrap().compared += 1;
    }

    async fn on_ctl(&mut self, message: Message) {
        let answer = match Encoding::Cbor.decode(&message.payload).unwrap() {
            Control::Cancel { measurement, .. } => {
                self.seen.lock().unwrap().cancels += 1;
                let (mine, others): (VecDeque<_>, VecDeque<_>) =
                    self.held.drain(..).partition(|(batch, _)| batch.measurement == measurement);
                self.held = others;
                for (batch, encoding) in mine {
                    let reason = Reason::new(code::BY_CLIENT);
                    let records = batch.tasks.iter();
                    let records = records.map(|task| record(task, Outcome::Cancelled, Some(reason.clone())));
                    self.send(&batch, records.collect(), encoding).await;
                }
                Controlled::Done { tasks: 0 }
            }
            Control::Drain => Controlled::Done { tasks: 0 },
            Control::Quote { inputs, .. } => Controlled::Quoted(Quote {
                packets: 3 * inputs.len() as u64,
                bytes: 252 * inputs.len() as u64,
                duration_ns: None,
                refused: Vec::new(),
            }),
        };
        if let Some(reply) = message.reply {
            self.publish(reply.to_string(), Encoding::Cbor, &answer).await;
        }
    }
}

pub fn record(task: &Task, outcome: Outcome, reason: Option<Reason>) -> Record {
    Record {
        index: task.index,
        attempt: task.attempt,
        part: 0,
        last: true,
        outcome,
        reason,
        answered: Some(outcome == Outcome::Ok),
        started_at: Timestamp::from_unix_ns(1_800_000_000_000_000_000),
        duration_ns: 1000,
        queued_ns: 10,
        summary: [("rtt_min_ns".into(), 1000u64.into())].into(),
        body: Body::of(&task.input).unwrap(),
    }
}
