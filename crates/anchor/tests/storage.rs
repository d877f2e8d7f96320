//! Servers with little room, without JetStream, or without an answer: the anchor takes what fits, or says what is missing.
#![expect(clippy::unwrap_used, reason = "what fails in a helper fails the test that calls it")]

mod common;

use std::process::{Child, Command};

use common::module::{Behaviour, FakeModule};
use common::{LONG, TestAnchor, eventually, request, tenant};
use mmn_anchor::Config;
use mmn_bus::testing::{TestServer, binary};

const MIB: u64 = 1 << 20;

fn as_by_default(config: &mut Config) {
    config.results = Config::default().results;
    config.ledger = Config::default().ledger;
}

async fn with_room(bytes: u64) -> TestServer {
    TestServer::start_with(|options| options.max_file_bytes = bytes).await
}

/// Waits until the readiness says so, and gives its words.
async fn says(anchor: &TestAnchor, what: &str) -> String {
    let mut readiness = anchor.anchor.watch_readiness();
    let said = readiness.wait_for(|readiness| readiness.detail.contains(what));
    let said = tokio::time::timeout(LONG, said).await.ok().map(|said| said.unwrap().detail.clone());
    assert!(said.is_some(), "it says {:?}", anchor.anchor.readiness());
    said.unwrap_or_default()
}

async fn room(anchor: &TestAnchor) -> u64 {
    anchor.anchor.limits().await.unwrap().results_max_bytes
}

#[tokio::test]
async fn a_server_with_200_mb_is_enough() {
    let server = with_room(200_000_000).await;
    let anchor = TestAnchor::start_with(&server, "a1", as_by_default).await;
    let taken = room(&anchor).await;
    assert!((90 * MIB..=150_000_000).contains(&taken), "{taken}");
    let _module = FakeModule::start(&server, "x", "noop-1", Behaviour::default()).await;
    anchor.offers("x", "noop").await;
    let id = anchor.anchor.accept(&tenant(), request(100, "all"), None).await.unwrap().measurement.id;
    assert_eq!(anchor.done(id).await.ledger.ok, 100);
    anchor.stop().await.unwrap();
    // What it took fits again.
    let anchor = TestAnchor::start_with(&server, "a1", as_by_default).await;
    assert_eq!(room(&anchor).await, taken);
    anchor.each(id).await;
}

#[tokio::test]
async fn a_server_with_20_mb_is_too_small_and_the_anchor_says_by_how_much() {
    let server = with_room(20 * MIB).await;
    let anchor = TestAnchor::begin(&server, "a1", as_by_default).await;
    let said = says(&anchor, "storage: ").await;
    assert!(said.contains("need 128.0 MiB and the server has room for 20.0 MiB: 108.0"), "{said}");
    assert!(said.contains("are missing; raise max_file"), "{said}");
    let problem = anchor.anchor.vps().await.unwrap_err();
    assert_eq!((problem.status, problem.detail), (503, Some(said)));
    let streams = server.anchor("looks").await;
    assert!(streams.find_stream("LEDGER_ROOM").await.unwrap().is_none(), "what measured is gone");
    anchor.stop().await.unwrap();
}

#[tokio::test]
async fn a_server_with_just_enough_for_the_least_will_do() {
    let server = with_room(129 * MIB).await;
    let anchor = TestAnchor::start_with(&server, "a1", as_by_default).await;
    assert_eq!(room(&anchor).await, 64 * MIB);
}

#[tokio::test]
async fn a_stream_is_resized_when_the_configuration_asks_for_another_size() {
    let server = with_room(1024 * MIB).await;
    let anchor = TestAnchor::start(&server).await;
    let _module = FakeModule::start(&server, "x", "noop-1", Behaviour::default()).await;
    anchor.offers("x", "noop").await;
    let id = anchor.anchor.accept(&tenant(), request(5000, "all"), None).await.unwrap().measurement.id;
    anchor.done(id).await;
    let stored = eventually(|| async {
        let bytes = anchor.anchor.limits().await.ok()?.results_bytes;
        (bytes > 0).then_some(bytes)
    });
    let stored = stored.await;
    anchor.stop().await.unwrap();
    for (asked, taken) in [(300 * MIB, 300 * MIB), (128 * MIB, 128 * MIB), (stored / 2, 128 * MIB)] {
        let asks = |config: &mut Config| config.results.max_bytes = asked;
        let anchor = TestAnchor::start_with(&server, "a1", asks).await;
        assert_eq!(room(&anchor).await, taken, "{asked} were asked for");
        anchor.stop().await.unwrap();
    }
    // More than there is: it grows as far as it can.
    let anchor = TestAnchor::start_with(&server, "a1", |config| config.results.max_bytes = 100 << 30).await;
    let grown = room(&anchor).await;
    assert!((300 * MIB..1024 * MIB).contains(&grown), "{grown}");
    anchor.each(id).await;
}

#[tokio::test]
async fn a_server_that_is_not_there_is_named() {
    let server = TestServer::start().await;
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let url = format!("nats://user:secret@{free}");
    let anchor = TestAnchor::begin(&server, "a1", |config| config.bus.urls = vec![url]).await;
    let said = says(&anchor, "no connection to NATS").await;
    assert!(
        said.contains(&format!("no connection to NATS at nats://{free}")) && !said.contains("secret"),
        "{said}"
    );
}

#[tokio::test]
async fn a_lost_connection_is_named_while_it_is_lost() {
    let mut server = TestServer::start().await;
    let anchor = TestAnchor::start(&server).await;
    server.server().kill().await.unwrap();
    says(&anchor, "no connection to NATS").await;
    server.server().restart().await.unwrap();
    anchor.ready().await;
}

#[tokio::test]
async fn who_stands_by_says_for_whom() {
    let server = TestServer::start().await;
    let _first = TestAnchor::start(&server).await;
    let second = TestAnchor::begin(&server, "a2", |_| {}).await;
    assert_eq!(says(&second, "standing by").await, "standing by: anchor a1 holds the lease");
}

/// A server that ends with its test.
struct Plain(Child);

impl Drop for Plain {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test]
async fn a_server_without_jetstream_is_named() {
    let mut server = TestServer::start().await;
    server.anchor_dir("a1");
    let path = server.dir().join("nats/nats-server.conf");
    let mut config: serde_json::Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    config.as_object_mut().unwrap().remove("jetstream");
    config["port"] = server.server().port().into();
    server.server().kill().await.unwrap();
    let without = server.dir().join("without.conf");
    std::fs::write(&without, config.to_string()).unwrap();
    let _plain = Plain(Command::new(binary().path).arg("-c").arg(&without).spawn().unwrap());
    let anchor = TestAnchor::begin(&server, "a1", |_| {}).await;
    says(&anchor, "JetStream is not enabled").await;
}
