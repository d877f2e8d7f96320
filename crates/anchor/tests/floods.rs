//! A module that floods the anchor shows in its health, and others do not notice.

mod common;

use common::module::{Behaviour, FakeModule, Flood};
use common::{TestAnchor, eventually, request, tenant};
use mmn_anchor::Config;
use mmn_bus::testing::TestServer;
use mmn_schema::api::{Health, ResultRecord};
use mmn_schema::id::MeasurementId;

/// Floods with one kind of message while another vantage point measures. Gives what is said of the flooder.
#[expect(clippy::unwrap_used, reason = "a part of tests: what fails here fails the test")]
async fn flooded(
    flood: impl FnOnce(MeasurementId) -> Flood,
    count: usize,
) -> (TestServer, TestAnchor, String) {
    let server = TestServer::start().await;
    let long = |config: &mut Config| config.breaker.pause_ms = 60_000;
    let anchor = TestAnchor::start_with(&server, "a1", long).await;
    let flooder = FakeModule::start(&server, "x", "noop-1", Behaviour::default()).await;
    let _beside =
        FakeModule::start(&server, "x", "noop-2", Behaviour { kind: "other", ..Behaviour::default() }).await;
    let _module = FakeModule::start(&server, "y", "noop-3", Behaviour::default()).await;
    anchor.offers("x", "noop").await;
    anchor.offers("y", "noop").await;
    eventually(|| async { (anchor.anchor.modules().await.ok()?.len() == 3).then_some(()) }).await;
    let there = common::vp("y").to_string();
    let id = anchor.anchor.accept(&tenant(), request(5000, &there), None).await.unwrap().measurement.id;
    flooder.flood(flood(id), count);
    for _ in 0..10 {
        let id = anchor.anchor.accept(&tenant(), request(200, &there), None).await.unwrap().measurement.id;
        assert_eq!(anchor.done(id).await.ledger.ok, 200);
    }
    assert_eq!(anchor.done(id).await.ledger.ok, 5000);
    // Whatever was claimed of its tasks: they ended where they were.
    let ended_at =
        |record: &ResultRecord| record.instance.as_ref().map(|instance| instance.as_str() == "noop-3");
    assert!(anchor.each(id).await.iter().all(|record| ended_at(record) == Some(true)));
    let view = anchor.sees("noop-1", |view| view.health == Health::Degraded).await;
    for other in ["noop-2", "noop-3"] {
        anchor.sees(other, |view| view.health == Health::Healthy).await;
    }
    (server, anchor, view.evidence)
}

#[tokio::test]
async fn garbage() {
    let (_server, anchor, evidence) = flooded(|_| Flood::Garbage, 20_000).await;
    assert!(evidence.contains("could not be read or believed") || evidence.contains("circuit"), "{evidence}");
    assert_eq!(anchor.anchor.metrics().await.garbage_total["res"], 20_000);
}

#[tokio::test]
async fn results_of_tasks_that_are_others() {
    let (_server, _anchor, evidence) = flooded(Flood::Results, 20_000).await;
    let words = ["more than it should", "could not be read or believed", "circuit"];
    assert!(words.iter().any(|words| evidence.contains(words)), "{evidence}");
}

#[tokio::test]
async fn announcements() {
    let (_server, anchor, evidence) = flooded(|_| Flood::Announcements, 5_000).await;
    assert!(evidence.contains("more than it should") || evidence.contains("circuit"), "{evidence}");
    assert!(anchor.anchor.metrics().await.flood_total["announce"] > 1000);
}

#[tokio::test]
async fn heartbeats() {
    let (_server, anchor, evidence) = flooded(|_| Flood::Heartbeats, 20_000).await;
    assert!(evidence.contains("more than it should") || evidence.contains("circuit"), "{evidence}");
    assert!(anchor.anchor.metrics().await.flood_total["hb"] > 1000);
}
