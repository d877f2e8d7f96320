//! What the tests of this crate share: an anchor that does what it is told, and a kind that does what its parameters
//! say.
#![allow(
    dead_code,
    unreachable_pub,
    missing_docs,
    missing_debug_implementations,
    reason = "each test uses a part of it"
)]

pub mod kinds;
pub mod place;

use std::time::Duration;

use async_nats::{HeaderMap, Message, Subscriber};
use futures::StreamExt;
use mmn_bus::async_nats;
use mmn_bus::connect::{Bus, Link};
use mmn_bus::identity::{Claims, Role as Role_, UserRequest, verify_signature};
use mmn_bus::testing::{TestServer, now_s};
use mmn_schema::announce::{
    Announcement, Discover, Heartbeat, JWT_HEADER, KindsDigest, ModuleInfo, NodeInfo, Role, SIGNATURE_HEADER,
};
use mmn_schema::body::Body;
use mmn_schema::control::{Control, Controlled};
use mmn_schema::dispatch::{Input, Receipt, Record, ResultBatch, Sync, Synced, Task, TaskBatch, ToInstance};
use mmn_schema::encoding::{CONTENT_TYPE, Encoding};
use mmn_schema::enrol::{EnrolAnswer, EnrolRequest};
use mmn_schema::id::{AnchorId, Epoch, InstanceId, MeasurementId, VpId};
use mmn_schema::subject::{Prefix, Subject, filter};
use serde_json::{Value, json};

/// Far beyond what anything here takes; only a hang reaches it.
pub const HANG: Duration = Duration::from_secs(30);

pub async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(HANG, future).await.expect("no hang")
}

pub fn vp() -> VpId {
    VpId::derive("UTEST", "main")
}

/// What instances send to anchors, in the order of their sending.
#[derive(Debug, Clone, PartialEq)]
pub enum Said {
    Results(ResultBatch),
    Synced(Synced),
}

/// What an anchor hears.
pub enum Heard {
    Announced(Announcement),
    Results(MeasurementId, ResultBatch),
    Synced,
    Received(InstanceId, u64, Option<Receipt>),
}

/// An anchor that does what the test says.
pub struct Anchor {
    pub bus: Bus,
    pub id: AnchorId,
    pub epoch: Epoch,
    pub seq: u64,
    pub encoding: Encoding,
    announcements: Subscriber,
    heartbeats: Subscriber,
    results: Subscriber,
    keys: mmn_bus::identity::Trust,
    next_msm: u64,
}

impl Anchor {
    pub async fn start(server: &TestServer) -> Self {
        Self::named(server, "a1", 1).await
    }

    pub async fn named(server: &TestServer, name: &str, epoch: u64) -> Self {
        // What the test's process logs is shown when it fails; the first of several anchors sets it up.
        let _ = tracing_subscriber::fmt().with_test_writer().with_env_filter("info").try_init();
        let bus = server.anchor(name).await;
        let prefix = Prefix::default();
        let client = bus.client();
        let announcements = client.subscribe(Subject::Announce.on(&prefix)).await.unwrap();
        let heartbeats = client.subscribe(filter::heartbeats(&prefix)).await.unwrap();
        let results = client.subscribe(filter::results(&prefix)).await.unwrap();
        bus.barrier().await.unwrap();
        Self {
            bus,
            id: name.parse().unwrap(),
            epoch: Epoch(epoch),
            seq: 1000,
            encoding: Encoding::Cbor,
            announcements,
            heartbeats,
            results,
            keys: server.keys().trust(),
            next_msm: 0,
        }
    }

    /// Asks who is there.
    pub async fn discover(&self) {
        let subject = Subject::Discover.on(&Prefix::default());
        self.bus.client().publish(subject, "".into()).await.unwrap();
    }

    /// Asks as one who knows these kinds; everybody, or these alone.
    pub async fn ask(&self, known: &[KindsDigest], only: Option<&[&InstanceId]>) {
        let only = only.map(|only| only.iter().map(|&instance| instance.clone()).collect());
        let asked = Encoding::Json.encode(&Discover { known: known.to_vec(), only }).unwrap();
        let subject = Subject::Discover.on(&Prefix::default());
        self.bus.client().publish(subject, asked.into()).await.unwrap();
    }

    /// Waits until the connection is there again, with its subscriptions.
    pub async fn connected_again(&self) {
        let mut link = self.bus.link();
        let again = |link: &Link| matches!(link, Link::Up { generation } if *generation > 1);
        soon(link.wait_for(again)).await.unwrap();
        self.bus.barrier().await.unwrap();
    }

    /// The next announcement, with what its signer's credentials say.
    pub async fn announcement(&mut self) -> (Announcement, Claims) {
        let message = soon(self.announcements.next()).await.unwrap();
        let header = |name| message.headers.as_ref().unwrap().get(name).unwrap().as_str();
        let claims = self.keys.verify_user(header(JWT_HEADER), now_s()).unwrap();
        let signature = data_encoding::BASE64URL_NOPAD.decode(header(SIGNATURE_HEADER).as_bytes()).unwrap();
        verify_signature(&claims.subject, &message.payload, &signature).unwrap();
        (read(&message), claims)
    }

    /// The next announcement of a module.
    pub async fn module(&mut self) -> (Announcement, ModuleInfo) {
        loop {
            let (announcement, claims) = self.announcement().await;
            if let Role::Module(info) = announcement.role.clone() {
                assert_eq!(claims.name, announcement.instance.as_str());
                assert_eq!(claims.vps, [announcement.vp.as_str()]);
                return (announcement, info);
            }
        }
    }

    /// The next announcement of a node that satisfies the condition.
    pub async fn node_that(&mut self, mut condition: impl FnMut(&NodeInfo) -> bool) -> NodeInfo {
        let mut last = None;
        let found = tokio::time::timeout(HANG, async {
            loop {
                let (announcement, _) = self.announcement().await;
                if let Role::Node(info) = announcement.role {
                    if condition(&info) {
                        return *info;
                    }
                    last = Some(info);
                }
            }
        })
        .await;
        found.unwrap_or_else(|_| panic!("the node never said so; its last word: {last:#?}"))
    }

    pub async fn bye(&mut self, instance: &InstanceId) {
        loop {
            let (announcement, _) = self.announcement().await;
            if announcement.role == Role::Bye && announcement.instance == *instance {
                return;
            }
        }
    }

    pub async fn heartbeat_that(&mut self, mut condition: impl FnMut(&Heartbeat) -> bool) -> Heartbeat {
        loop {
            let heartbeat = read(&soon(self.heartbeats.next()).await.unwrap());
            if condition(&heartbeat) {
                return heartbeat;
            }
        }
    }

    pub async fn said(&mut self) -> (Subject, Said) {
        let message = soon(self.results.next()).await.unwrap();
        let subject = Subject::parse(&Prefix::default(), &message.subject).unwrap();
        let said = match subject {
            Subject::Synced(..) => Said::Synced(read(&message)),
            _ => Said::Results(read(&message)),
        };
        (subject, said)
    }

    pub async fn results(&mut self) -> ResultBatch {
        match self.said().await.1 {
            Said::Results(batch) => batch,
            Said::Synced(synced) => panic!("expected results, got {synced:?}"),
        }
    }

    pub async fn synced(&mut self) -> Synced {
        match self.said().await.1 {
            Said::Synced(synced) => synced,
            Said::Results(batch) => panic!("expected an answer to a sync, got {batch:?}"),
        }
    }

    /// Results until `count` records have come.
    pub async fn records(&mut self, count: usize) -> Vec<Record> {
        let mut records = Vec::new();
        while records.len() < count {
            records.extend(self.results().await.records);
        }
        records
    }

    /// What comes next of all that an anchor hears; receipts are those of [`Self::dispatch`].
    pub async fn anything(&mut self, receipts: &mut Subscriber) -> Heard {
        let next = async {
            tokio::select! {
                Some(message) = self.announcements.next() => Heard::Announced(read(&message)),
                Some(message) = self.results.next() => match Subject::parse(&Prefix::default(), &message.subject).unwrap() {
                    Subject::Res(_, _, measurement) => Heard::Results(measurement, read(&message)),
                    _ => Heard::Synced,
                },
                Some(message) = receipts.next() => {
                    let Subject::Receipt(_, instance, _, seq) =
                        Subject::parse(&Prefix::default(), &message.subject).unwrap()
                    else {
                        panic!("{}", message.subject)
                    };
                    // Nobody listens.
                    Heard::Received(instance, seq, message.status.is_none().then(|| read(&message)))
                }
            }
        };
        soon(next).await
    }

    pub async fn nothing_was_said(&mut self) {
        self.bus.barrier().await.unwrap();
        let more = tokio::time::timeout(Duration::ZERO, self.results.next()).await;
        assert!(more.is_err(), "{more:?}");
    }

    /// A batch of the kind `note`, whose parameters say what it does.
    pub fn batch(&mut self, params: Value, targets: &[&str]) -> TaskBatch {
        self.seq += 1;
        self.next_msm += 1;
        TaskBatch {
            anchor: self.id.clone(),
            epoch: self.epoch,
            seq: self.seq,
            ack: 0,
            measurement: MeasurementId::new(self.next_msm, &[7; 10]),
            kind: "note".parse().unwrap(),
            params: Body::from_json(params).unwrap(),
            deadline_ns: 20_000_000_000,
            tasks: (0..)
                .zip(targets)
                .map(|(index, target)| Task { index, attempt: 0, input: Input::Target((*target).to_owned()) })
                .collect(),
        }
    }

    pub async fn send(&self, instance: &InstanceId, batch: TaskBatch) -> Receipt {
        let subject = Subject::Task(vp(), batch.kind.clone(), instance.clone());
        self.request(subject, &ToInstance::Tasks(batch)).await
    }

    /// As an anchor does, which collects receipts on a subject of its own.
    pub async fn dispatch(&self, instance: &InstanceId, batch: TaskBatch) {
        self.dispatch_at(&vp(), instance, batch).await;
    }

    pub async fn dispatch_at(&self, vp: &VpId, instance: &InstanceId, batch: TaskBatch) {
        let prefix = Prefix::default();
        let subject = Subject::Task(vp.clone(), batch.kind.clone(), instance.clone()).on(&prefix);
        let receipt = Subject::Receipt(vp.clone(), instance.clone(), self.id.clone(), batch.seq).on(&prefix);
        let payload = self.encoding.encode(&ToInstance::Tasks(batch)).unwrap();
        self.bus.client().publish_with_reply(subject, receipt, payload.into()).await.unwrap();
    }

    pub async fn sync(&self, instance: &InstanceId, ack: u64, resend: bool, fresh: bool) {
        self.sync_at(&vp(), instance, ack, resend, fresh).await;
    }

    pub async fn sync_at(&self, vp: &VpId, instance: &InstanceId, ack: u64, resend: bool, fresh: bool) {
        let sync = Sync { anchor: self.id.clone(), epoch: self.epoch, seq: self.seq, ack, resend, fresh };
        let subject = Subject::Task(vp.clone(), "note".parse().unwrap(), instance.clone());
        self.publish(subject, &ToInstance::Sync(sync)).await;
    }

    pub async fn control(&self, instance: &InstanceId, order: Control) -> Controlled {
        self.request(Subject::Ctl(vp(), instance.clone()), &order).await
    }

    pub async fn request<T: serde::Serialize, R: serde::de::DeserializeOwned>(
        &self,
        to: Subject,
        message: &T,
    ) -> R {
        let (subject, payload) = (to.on(&Prefix::default()), self.encoding.encode(message).unwrap());
        let reply = self.bus.client().request_with_headers(subject, self.headers(), payload.into());
        read(&soon(reply).await.unwrap())
    }

    pub async fn publish<T: serde::Serialize>(&self, to: Subject, message: &T) {
        let (subject, payload) = (to.on(&Prefix::default()), self.encoding.encode(message).unwrap());
        self.bus.client().publish_with_headers(subject, self.headers(), payload.into()).await.unwrap();
    }

    fn headers(&self) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, self.encoding.content_type());
        headers
    }
}

pub fn read<T: serde::de::DeserializeOwned>(message: &Message) -> T {
    let content_type =
        message.headers.as_ref().and_then(|h| h.get(CONTENT_TYPE)).map(async_nats::HeaderValue::as_str);
    mmn_schema::encoding::decode(content_type, &message.payload).unwrap()
}

pub fn plain() -> Value {
    json!({ "does": "answer" })
}

/// Answers requests for credentials, as an anchor does, as long as the test runs.
pub async fn enrol(server: &TestServer, anchor: &Anchor) {
    let issuer = server.keys().issuer(Role_::Module);
    let prefix = Prefix::default();
    let client = anchor.bus.client().clone();
    let mut requests = client.subscribe(filter::enrolments(&prefix)).await.unwrap();
    anchor.bus.barrier().await.unwrap();
    tokio::spawn(async move {
        while let Some(message) = requests.next().await {
            let Subject::Enrol(vp) = Subject::parse(&prefix, &message.subject).unwrap() else { panic!() };
            let request: EnrolRequest = read(&message);
            let key = request.public_key.parse().unwrap();
            let jwt = issuer
                .user(&UserRequest {
                    name: request.instance.as_str(),
                    vps: &[vp.as_str()],
                    public_key: &key,
                    issued_at_s: now_s(),
                    expires_at_s: Some(now_s() + 3600),
                })
                .unwrap();
            let answer = Encoding::Cbor.encode(&EnrolAnswer::Enrolled { jwt: jwt.to_string() }).unwrap();
            client.publish(message.reply.unwrap(), answer.into()).await.unwrap();
        }
    });
}
