//! How instances are, why that is thought, and what comes of it for the work they hold.

mod common;

use common::module::{Behaviour, FakeModule};
use common::node::FakeNode;
use common::{TestAnchor, eventually, request, tenant};
use mmn_anchor::Config;
use mmn_bus::testing::TestServer;
use mmn_schema::announce::ModuleState;
use mmn_schema::api::{Cause, Health};
use mmn_schema::outcome::Outcome;

fn held() -> Behaviour {
    Behaviour { prompt: false, ..Behaviour::default() }
}

fn quick(config: &mut Config) {
    config.dispatch.receipt_ms = 300;
    config.liveness.suspect_ms = 700;
    config.liveness.lost_ms = 2000;
}

#[tokio::test]
async fn what_a_silent_instance_has_acknowledged_goes_elsewhere_before_it_is_lost() {
    let server = TestServer::start().await;
    let never_lost = |config: &mut Config| {
        quick(config);
        config.liveness.lost_ms = 600_000;
        config.liveness.lost_most_ms = 600_000;
    };
    let anchor = TestAnchor::start_with(&server, "a1", never_lost).await;
    let stopped = FakeModule::start(&server, "x", "noop-1", held()).await;
    anchor.offers("x", "noop").await;
    let id = anchor.anchor.accept(&tenant(), request(50, "all"), None).await.unwrap().measurement.id;
    stopped.given(50).await;
    let prompt = FakeModule::start(&server, "x", "noop-2", Behaviour::default()).await;
    stopped.freeze();
    let done = anchor.done(id).await;
    assert_eq!(done.ledger.ok, 50);
    assert_eq!(prompt.tasks(), 50);
    let view = anchor.sees("noop-1", |view| view.health == Health::Suspect).await;
    assert_eq!(view.cause, Some(Cause::Hang), "{}", view.evidence);
    assert_eq!(anchor.anchor.metrics().await.withdrawn_total, 50);
    // It is resumed: what it sends late is streamed to nobody, and it is given work again.
    stopped.thaw();
    stopped.answer();
    anchor.sees("noop-1", |view| view.health == Health::Healthy).await;
    eventually(|| async { (anchor.anchor.metrics().await.superseded_total >= 50).then_some(()) }).await;
    let results = anchor.each(id).await;
    assert!(results.iter().all(|record| record.instance.as_ref() == Some(&prompt.instance)));
    prompt.crash().await;
    let id = anchor.anchor.accept(&tenant(), request(10, "all"), None).await.unwrap().measurement.id;
    assert_eq!(anchor.done(id).await.ledger.ok, 10);
}

#[tokio::test]
async fn who_leaves_its_kinds_out_is_known_by_them_or_asked() {
    let server = TestServer::start().await;
    let anchor = TestAnchor::start_with(&server, "a1", quick).await;
    let terse = Behaviour { terse: true, ..Behaviour::default() };
    // The anchor has never heard of these kinds: it asks, once it has heard its first question answered by nobody.
    let first = FakeModule::start(&server, "x", "noop-1", terse.clone()).await;
    anchor.offers("x", "noop").await;
    let second = FakeModule::start(&server, "y", "noop-2", terse).await;
    anchor.offers("y", "noop").await;
    let id = anchor.anchor.accept(&tenant(), request(10, "all"), None).await.unwrap().measurement.id;
    assert_eq!(anchor.done(id).await.ledger.ok, 20);
    assert_eq!((first.tasks(), second.tasks()), (10, 10));
}

#[tokio::test]
async fn what_nobody_else_can_take_stays_where_it_is_until_that_is_lost() {
    let server = TestServer::start().await;
    let anchor = TestAnchor::start_with(&server, "a1", quick).await;
    let stopped = FakeModule::start(&server, "x", "noop-1", held()).await;
    anchor.offers("x", "noop").await;
    let id = anchor.anchor.accept(&tenant(), request(5, "all"), None).await.unwrap().measurement.id;
    stopped.given(5).await;
    stopped.freeze();
    anchor.sees("noop-1", |view| view.health == Health::Suspect && view.out == 5).await;
    stopped.thaw();
    stopped.answer();
    assert_eq!(anchor.done(id).await.ledger.ok, 5);
    assert!(anchor.each(id).await.iter().all(|record| record.attempt == 0), "nothing ran twice");
}

#[tokio::test]
async fn a_crash_a_hang_and_a_cut_are_told_apart() {
    let server = TestServer::start().await;
    let anchor = TestAnchor::start_with(&server, "a1", quick).await;
    let node = FakeNode::start(&server, "x", "node-x").await;
    let crashes = FakeModule::start(&server, "x", "noop-1", held()).await;
    let ends = FakeModule::start(&server, "x", "noop-2", held()).await;
    let hangs = FakeModule::start(&server, "x", "noop-3", held()).await;
    let cut_off = FakeNode::start(&server, "y", "node-y").await;
    let cut = FakeModule::start(&server, "y", "noop-4", held()).await;
    let lonely = FakeModule::start(&server, "z", "noop-5", held()).await;
    eventually(|| async { (anchor.anchor.modules().await.ok()?.len() == 5).then_some(()) }).await;
    // A connection that is gone, with a node that is there.
    crashes.crash().await;
    hangs.freeze();
    cut.freeze();
    cut_off.fall_silent();
    lonely.freeze();
    for (instance, health, cause, words) in [
        ("noop-1", Health::Lost, Cause::Crash, "its node is there"),
        ("noop-3", Health::Lost, Cause::Hang, "its subject has a listener"),
        ("noop-4", Health::Lost, Cause::Cut, "its node is not heard either"),
        ("noop-5", Health::Lost, Cause::Hang, "its subject has a listener"),
    ] {
        let view = anchor.sees(instance, |view| view.health == health && view.cause == Some(cause)).await;
        assert!(view.evidence.contains(words), "{instance}: {}", view.evidence);
    }
    // A node says that the process ended, before anything else tells.
    node.tell(&["noop-2"], ModuleState::Backoff).await;
    let view = anchor.sees("noop-2", |view| view.cause == Some(Cause::Crash)).await;
    assert_eq!((view.health, &*view.evidence), (Health::Lost, "its node says that its process has ended"));
    // It lives after all: what is heard of it counts.
    ends.flood(common::module::Flood::Heartbeats, 1);
    anchor.sees("noop-2", |view| view.health == Health::Healthy && view.cause.is_none()).await;
}

#[tokio::test]
async fn what_is_wrong_with_one_that_works_is_shown() {
    let server = TestServer::start().await;
    let anchor = TestAnchor::start_with(&server, "a1", quick).await;
    let unavailable = Behaviour { unavailable: true, ..Behaviour::default() };
    let _unable = FakeModule::start(&server, "x", "noop-1", unavailable).await;
    let module = FakeModule::start(&server, "x", "noop-2", Behaviour::default()).await;
    let view = anchor.sees("noop-1", |view| view.health == Health::Degraded).await;
    assert_eq!(view.evidence, "it can't perform one of its kinds at present");
    anchor.sees("noop-2", |view| view.health == Health::Healthy && view.heartbeat.is_some()).await;
    // Only one that has passed its self-test is given work.
    let id = anchor.anchor.accept(&tenant(), request(100, "all"), None).await.unwrap().measurement.id;
    assert_eq!(anchor.done(id).await.ledger.ok, 100);
    assert_eq!(module.tasks(), 100);
    module.behave(Behaviour { unread: 7, ..Behaviour::default() });
    let view = anchor.sees("noop-2", |view| view.health == Health::Degraded).await;
    assert_eq!(view.evidence, "it could not read 7 messages in the last seconds");
    // It works all the same.
    let id = anchor.anchor.accept(&tenant(), request(100, "all"), None).await.unwrap().measurement.id;
    assert_eq!(anchor.done(id).await.ledger.ok, 100);
}

#[tokio::test]
async fn a_dead_instance_that_is_given_nothing_is_found_by_comparing_notes() {
    let server = TestServer::start().await;
    // Silence alone would take far longer than the test.
    let patient = |config: &mut Config| {
        config.liveness.suspect_ms = 600_000;
        config.liveness.lost_ms = 600_000;
        config.liveness.lost_most_ms = 600_000;
    };
    let anchor = TestAnchor::start_with(&server, "a1", patient).await;
    let first = FakeModule::start(&server, "x", "noop-1", held()).await;
    anchor.offers("x", "noop").await;
    let id = anchor.anchor.accept(&tenant(), request(5, "all"), None).await.unwrap().measurement.id;
    first.given(5).await;
    first.crash().await;
    let view = anchor.sees("noop-1", |view| view.health == Health::Lost).await;
    assert_eq!(view.out, 0);
    let _second = FakeModule::start(&server, "x", "noop-2", Behaviour::default()).await;
    let ledger = anchor.done(id).await.ledger;
    assert_eq!((ledger.ok, ledger.reasons.contains_key(&Outcome::Lost)), (5, false));
}
