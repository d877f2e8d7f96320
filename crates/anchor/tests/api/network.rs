//! A network for one test: nats-server, an anchor, and a module `echo` that returns what it is given.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use data_encoding::BASE64URL_NOPAD;
use futures::StreamExt;
use mmn_anchor::Config;
use mmn_anchor::api::token::{self, Claims, TokenKey};
use mmn_bus::connect::Bus;
use mmn_bus::identity::{CREDS, Creds};
use mmn_bus::testing::TestServer;
use mmn_schema::announce::{
    Announcement, Heartbeat, InputShape, InstanceState, JWT_HEADER, KindInfo, Load, ModuleInfo, Role,
    SIGNATURE_HEADER, SchemaVersion,
};
use mmn_schema::body::Body;
use mmn_schema::dispatch::{Receipt, Record, ResultBatch, TaskBatch};
use mmn_schema::encoding::{self, Encoding};
use mmn_schema::id::{BootId, InstanceId, VpId};
use mmn_schema::outcome::{Outcome, Summary};
use mmn_schema::subject::Subject;
use mmn_schema::time::Timestamp;
use tokio::sync::{oneshot, watch};
use tokio_util::sync::{CancellationToken, DropGuard};

pub(crate) const VP: &str = "aaaaaaaaaaaaaaaa";

/// What belongs to one test. The server ends with it.
pub(crate) struct Network {
    pub(crate) address: SocketAddr,
    pub(crate) token: String,
    key: TokenKey,
    /// While it is closed, the module takes tasks and answers none.
    gate: watch::Sender<bool>,
    shutdown: CancellationToken,
    anchor: Option<JoinHandle<()>>,
    server: TestServer,
}

impl Network {
    pub(crate) async fn start() -> Self {
        Self::start_with(|_| {}).await
    }

    pub(crate) async fn start_with(change: impl FnOnce(&mut Config)) -> Self {
        let network = Self::start_bare(change).await;
        network.plug_in().await;
        network
    }

    /// Without a module.
    pub(crate) async fn start_bare(change: impl FnOnce(&mut Config)) -> Self {
        let server = TestServer::start().await;
        let dir = server.anchor_dir("a1");
        let key = TokenKey::load_or_create(&dir.join("api.key")).unwrap();
        let shutdown = CancellationToken::new();
        let (address, anchor) = begin(&server, &shutdown, change).await;
        let gate = watch::Sender::new(true);
        let token = String::new();
        let mut network = Self { address, token, key, gate, shutdown, anchor: Some(anchor), server };
        network.token = network.token_of("default", None);
        network
    }

    /// Ends the anchor in order, and starts it again.
    pub(crate) async fn restart(&mut self) {
        self.shutdown.cancel();
        let anchor = self.anchor.take().unwrap();
        tokio::task::spawn_blocking(move || anchor.join()).await.unwrap().unwrap();
        self.shutdown = CancellationToken::new();
        let (address, anchor) = begin(&self.server, &self.shutdown, |_| {}).await;
        (self.address, self.anchor) = (address, Some(anchor));
    }

    /// A token of a tenant.
    pub(crate) fn token_of(&self, tenant: &str, exp: Option<i64>) -> String {
        let claims = Claims {
            sub: "test".into(),
            tenant: tenant.parse().unwrap(),
            iat: 0,
            exp,
            jti: format!("token-{tenant}"),
        };
        token::mint(&self.key, &claims).unwrap()
    }

    /// Another anchor of the network, which stands by: its API, for as long as what is given lives.
    pub(crate) async fn second(&self) -> (SocketAddr, DropGuard) {
        let mut config = Config::default();
        config.bus.urls = vec![self.server.url()];
        config.bus.creds = self.server.anchor_dir("a2");
        config.api.token_key = Some(self.server.dir().join("anchor-a1/api.key"));
        config.api.listen = SocketAddr::from(([127, 0, 0, 1], 0));
        let (ready, url) = oneshot::channel();
        let shutdown = self.shutdown.child_token();
        let until = shutdown.clone();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(mmn_anchor::run(config, ready, until))
        });
        let url = url.await.unwrap().url;
        (url.split_once("://").unwrap().1.parse().unwrap(), shutdown.drop_guard())
    }

    /// Lets the module answer, or hold its answers back.
    pub(crate) fn open_gate(&self, open: bool) {
        self.gate.send_replace(open);
    }

    /// Stops the anchor and waits for its end.
    pub(crate) async fn stop(mut self) {
        self.shutdown.cancel();
        let anchor = self.anchor.take().unwrap();
        tokio::task::spawn_blocking(move || anchor.join()).await.unwrap().unwrap();
    }

    async fn plug_in(&self) {
        let name = "echo-1";
        let bus = self.server.module(name, &[VP]).await;
        let creds = Creds::read(&self.server.dir().join("module-echo-1").join(CREDS)).unwrap();
        let module = Echo { bus, creds, vp: VP.parse().unwrap(), name: name.parse().unwrap() };
        module.start(self.gate.subscribe()).await;
        // What comes through the API is what counts: the anchor has heard the module once it lists the kind.
        let listed = async {
            let mut ticks = tokio::time::interval(Duration::from_millis(20));
            loop {
                ticks.tick().await;
                let kinds = super::client::get(self, "/api/v1/kinds").await;
                if kinds.status.is_success() && kinds.json()["items"][0]["vps"] == 1 {
                    return;
                }
            }
        };
        if tokio::time::timeout(Duration::from_secs(10), listed).await.is_err() {
            let ready = super::client::get(self, "/readyz").await;
            let metrics = super::client::get(self, "/metrics").await;
            panic!("the module is not listed: {ready:?} {}", String::from_utf8_lossy(&metrics.body));
        }
    }
}

/// Starts the anchor.
async fn begin(
    server: &TestServer,
    shutdown: &CancellationToken,
    change: impl FnOnce(&mut Config),
) -> (SocketAddr, JoinHandle<()>) {
    let mut config = Config::default();
    config.bus.urls = vec![server.url()];
    config.bus.creds = server.dir().join("anchor-a1");
    config.results.max_bytes = 64 << 20;
    config.ledger.max_bytes = 64 << 20;
    config.api.listen = SocketAddr::from(([127, 0, 0, 1], 0));
    change(&mut config);
    let (ready, url) = oneshot::channel();
    // It has a runtime of its own, as in its own process.
    let anchor = std::thread::spawn({
        let shutdown = shutdown.clone();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        move || runtime.block_on(mmn_anchor::run(config, ready, shutdown)).unwrap()
    });
    let url = url.await.unwrap().url;
    (url.split_once("://").unwrap().1.parse().unwrap(), anchor)
}

impl Drop for Network {
    fn drop(&mut self) {
        self.shutdown.cancel();
    }
}

struct Echo {
    bus: Bus,
    creds: Creds,
    vp: VpId,
    name: InstanceId,
}

const BOOT: BootId = BootId(1);

impl Echo {
    async fn start(self, gate: watch::Receiver<bool>) {
        let prefix = self.bus.prefix().clone();
        let kind = "echo".parse().unwrap();
        let pool = Subject::Pool(self.vp.clone(), kind).on(&prefix);
        let mut tasks = self.bus.client().queue_subscribe(pool, "q".into()).await.unwrap();
        let mut asked = self.bus.client().subscribe(Subject::Discover.on(&prefix)).await.unwrap();
        self.bus.barrier().await.unwrap();
        self.announce().await;
        let beats = self.bus.clone();
        let beat_subject = Subject::Hb(self.vp.clone(), self.name.clone()).on(&prefix);
        tokio::spawn(async move {
            let mut ticks = tokio::time::interval(Duration::from_millis(500));
            loop {
                ticks.tick().await;
                let beat = Heartbeat {
                    boot: BOOT,
                    seq: SEQ.fetch_add(1, Ordering::Relaxed),
                    sent_at: Timestamp::from_unix_ns(0),
                    interval_ms: 500,
                    state: InstanceState::Ready,
                    load: Load { rss_bytes: Some(7_000_000), process: Some(7), ..Load::default() },
                    clock: None,
                };
                let payload = Encoding::Json.encode(&beat).unwrap();
                let _ = beats.client().publish(beat_subject.clone(), payload.into()).await;
            }
        });
        let echo = Arc::new(self);
        let announcer = Arc::clone(&echo);
        tokio::spawn(async move {
            while asked.next().await.is_some() {
                announcer.announce().await;
            }
        });
        tokio::spawn(async move {
            while let Some(message) = tasks.next().await {
                let batch: TaskBatch = encoding::decode(None, &message.payload).unwrap();
                let receipt = Receipt::Accepted { instance: echo.name.clone(), boot: BOOT, free: 0 };
                let receipt = Encoding::Json.encode(&receipt).unwrap();
                echo.bus.client().publish(message.reply.unwrap(), receipt.into()).await.unwrap();
                let _ = gate.clone().wait_for(|open| *open).await;
                echo.answer(batch).await;
            }
        });
    }

    async fn announce(&self) {
        let announcement = Announcement {
            schema: mmn_schema::VERSION,
            vp: self.vp.clone(),
            instance: self.name.clone(),
            boot: BOOT,
            version: "1".into(),
            started_at: Timestamp::from_unix_ns(0),
            role: Role::Module(ModuleInfo {
                module: "echo".into(),
                kinds: vec![KindInfo {
                    name: "echo".parse().unwrap(),
                    version: SchemaVersion { major: 1, minor: 0 },
                    description: "Returns what it is given.".into(),
                    input: InputShape::Target,
                    params: serde_json::json!({ "type": "object" }).try_into().unwrap(),
                    result: serde_json::json!({ "type": "object" }).try_into().unwrap(),
                    summary: Vec::new(),
                    unavailable: None,
                }],
                credits: None,
                simulated: false,
                digest: None,
            }),
        };
        let payload = Encoding::Json.encode(&announcement).unwrap();
        let signature = BASE64URL_NOPAD.encode(&self.creds.seed.sign(&payload).unwrap());
        let mut headers = async_nats::HeaderMap::new();
        headers.insert(JWT_HEADER, self.creds.jwt.as_str());
        headers.insert(SIGNATURE_HEADER, signature.as_str());
        headers.insert(encoding::CONTENT_TYPE, Encoding::Json.content_type());
        let subject = Subject::Announce.on(self.bus.prefix());
        self.bus.client().publish_with_headers(subject, headers, payload.into()).await.unwrap();
    }

    async fn answer(&self, batch: TaskBatch) {
        let records = batch.tasks.iter().map(|task| Record {
            index: task.index,
            attempt: task.attempt,
            part: 0,
            last: true,
            outcome: Outcome::Ok,
            reason: None,
            answered: Some(true),
            started_at: Timestamp::from_unix_ns(0),
            duration_ns: 1,
            queued_ns: 0,
            summary: Summary::new(),
            body: Body::of(&serde_json::json!({ "echo": task.input.to_string() })).unwrap(),
        });
        let results = ResultBatch {
            instance: self.name.clone(),
            boot: BOOT,
            anchor: batch.anchor,
            epoch: batch.epoch,
            seq: SEQ.fetch_add(1, Ordering::Relaxed),
            free: None,
            records: records.collect(),
        };
        let subject = Subject::Res(self.vp.clone(), batch.kind, batch.measurement);
        let payload = Encoding::Json.encode(&results).unwrap();
        self.bus.client().publish(subject.on(self.bus.prefix()), payload.into()).await.unwrap();
    }
}

static SEQ: AtomicU64 = AtomicU64::new(1);
