//! A network of one test: a real nats-server, an anchor in this process, and modules that a test holds by the hand.
#![allow(
    dead_code,
    missing_docs,
    unreachable_pub,
    missing_debug_implementations,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::struct_excessive_bools,
    reason = "the set-up of tests, of which each file uses a part: what fails here fails the test"
)]

pub mod module;
pub mod node;

use std::thread::JoinHandle;
use std::time::Duration;

use mmn_anchor::{Anchor, Config, Next, Ready, RunError, Viewer};
use mmn_bus::testing::TestServer;
use mmn_schema::api::{Cursor, Measurement, MeasurementRequest, ModuleView, ResultRecord};
use mmn_schema::dispatch::Input;
use mmn_schema::id::{MeasurementId, Tenant, VpId};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

/// Nothing takes so long.
pub const LONG: Duration = Duration::from_secs(30);

/// The vantage point of a name.
pub fn vp(name: &str) -> VpId {
    VpId::derive("UTEST", name)
}

pub fn tenant() -> Tenant {
    Tenant::default()
}

pub fn viewer() -> Viewer {
    Viewer::Tenant(tenant())
}

/// A request for the kind of the test modules, from `from`.
pub fn request(targets: usize, from: &str) -> MeasurementRequest {
    serde_json::from_value(serde_json::json!({
        "kind": "noop",
        "inputs": (0..targets).map(|n| Input::Target(format!("t{n}"))).collect::<Vec<_>>(),
        "from": from,
    }))
    .unwrap()
}

/// An anchor in a thread and a runtime of its own, so that a crash ends all of it.
pub struct TestAnchor {
    pub anchor: Anchor,
    pub url: String,
    stop: CancellationToken,
    crash: CancellationToken,
    thread: Option<JoinHandle<Option<Result<(), RunError>>>>,
}

impl TestAnchor {
    pub async fn start(server: &TestServer) -> Self {
        Self::start_with(server, "a1", |_| {}).await
    }

    pub async fn start_with(server: &TestServer, name: &str, change: impl FnOnce(&mut Config)) -> Self {
        let anchor = Self::begin(server, name, change).await;
        anchor.ready().await;
        anchor
    }

    /// An anchor that may have to stand by.
    pub async fn begin(server: &TestServer, name: &str, change: impl FnOnce(&mut Config)) -> Self {
        let mut config = Config::default();
        config.bus.urls = vec![server.url()];
        config.bus.creds = server.dir().join(format!("anchor-{name}"));
        if !config.bus.creds.exists() {
            server.anchor_dir(name);
        }
        config.api.listen = ([127, 0, 0, 1], 0).into();
        config.results.max_bytes = 256 * 1024 * 1024;
        config.ledger.max_bytes = 256 * 1024 * 1024;
        change(&mut config);
        let (ready, is_ready) = oneshot::channel();
        let (stop, crash) = (CancellationToken::new(), CancellationToken::new());
        let (stopped, crashed) = (stop.clone(), crash.clone());
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                tokio::select! {
                    ended = mmn_anchor::run(config, ready, stopped) => Some(ended),
                    () = crashed.cancelled() => None,
                }
            })
        });
        let Ready { url, anchor, .. } = is_ready.await.expect("the anchor starts");
        Self { anchor, url, stop, crash, thread: Some(thread) }
    }

    pub async fn ready(&self) {
        let mut readiness = self.anchor.watch_readiness();
        let ready = readiness.wait_for(|readiness| readiness.ready);
        tokio::time::timeout(LONG, ready).await.expect("the anchor is ready in time").unwrap();
    }

    /// Ends it in order.
    pub async fn stop(mut self) -> Result<(), RunError> {
        self.stop.cancel();
        self.join().await.expect("it was not crashed")
    }

    /// Ends it as a crash does: nothing more is sent, and the lease is not given back.
    pub async fn crash(mut self) {
        self.crash.cancel();
        self.join().await;
    }

    /// Waits for its end.
    pub async fn ended(mut self) -> Result<(), RunError> {
        self.join().await.expect("it was not crashed")
    }

    async fn join(&mut self) -> Option<Result<(), RunError>> {
        let thread = self.thread.take().unwrap();
        tokio::task::spawn_blocking(move || thread.join().unwrap()).await.unwrap()
    }

    /// Waits until a vantage point offers the kind.
    pub async fn offers(&self, name: &str, kind: &str) {
        let id = vp(name);
        eventually(|| async {
            let vps = self.anchor.vps().await.ok()?;
            let vp = vps.into_iter().find(|view| view.vantage_point.id == id)?;
            vp.kinds.iter().any(|known| known.as_str() == kind).then_some(())
        })
        .await;
    }

    /// Waits until an instance is seen as `is` wants it.
    pub async fn sees(&self, instance: &str, is: impl Fn(&ModuleView) -> bool) -> ModuleView {
        eventually(|| async {
            let modules = self.anchor.modules().await.ok()?;
            modules.into_iter().find(|view| view.instance.as_str() == instance && is(view))
        })
        .await
    }

    pub async fn measurement(&self, id: MeasurementId) -> Measurement {
        self.anchor.measurement(&viewer(), id).await.unwrap()
    }

    /// Reads all results after a cursor.
    pub async fn results(&self, id: MeasurementId, after: Option<Cursor>) -> Vec<ResultRecord> {
        let mut reader = self.anchor.reader(&viewer(), id, after).await.unwrap();
        let mut all = Vec::new();
        loop {
            let next = tokio::time::timeout(LONG, reader.next(100)).await.expect("it comes in time");
            match next.unwrap() {
                Next::Records(records) => all.extend(records),
                Next::Expired(count) => panic!("{count:?} expired"),
                Next::Done(ledger) => {
                    assert!(ledger.closes());
                    return all;
                }
            }
        }
    }

    /// Reads all results: each task has exactly one.
    pub async fn each(&self, id: MeasurementId) -> Vec<ResultRecord> {
        let all = self.results(id, None).await;
        let mut indices: Vec<u64> = all.iter().map(|record| record.task.index).collect();
        indices.sort_unstable();
        let accepted = self.measurement(id).await.ledger.accepted;
        assert_eq!(indices, (0..accepted).collect::<Vec<_>>());
        all
    }

    /// Waits until a measurement is done.
    pub async fn done(&self, id: MeasurementId) -> Measurement {
        eventually(|| async {
            let measurement = self.anchor.measurement(&viewer(), id).await.ok()?;
            measurement.done_at.is_some().then_some(measurement)
        })
        .await
    }
}

impl Drop for TestAnchor {
    fn drop(&mut self) {
        self.crash.cancel();
    }
}

/// Asks until there is an answer, for 30 s at most.
pub async fn eventually<T, F: Future<Output = Option<T>>>(mut ask: impl FnMut() -> F) -> T {
    let asking = async {
        loop {
            if let Some(answer) = ask().await {
                return answer;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(LONG, asking).await.expect("it happens in time")
}
