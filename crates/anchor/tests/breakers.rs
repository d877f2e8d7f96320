//! Those who fail again and again are given a rest, then a trial, then work.

mod common;

use common::module::{Behaviour, FakeModule};
use common::{TestAnchor, eventually, request, tenant};
use mmn_anchor::Config;
use mmn_bus::testing::TestServer;
use mmn_schema::api::{Circuit, CircuitState, Health};
use mmn_schema::outcome::{Outcome, code};
use mmn_schema::time::Span;

fn breaks() -> Behaviour {
    Behaviour { breaks: u32::MAX, ..Behaviour::default() }
}

fn long(config: &mut Config) {
    config.dispatch.retry_ms = 1;
    config.breaker.pause_ms = 600_000;
    config.breaker.pause_most_ms = 600_000;
}

#[tokio::test]
async fn an_instance_that_breaks_is_left_alone_and_the_others_do_its_work() {
    let server = TestServer::start().await;
    let anchor = TestAnchor::start_with(&server, "a1", long).await;
    let broken = FakeModule::start(&server, "x", "noop-1", breaks()).await;
    let prompt = FakeModule::start(&server, "x", "noop-2", Behaviour::default()).await;
    eventually(|| async { (anchor.anchor.modules().await.ok()?.len() == 2).then_some(()) }).await;
    let mut events = anchor.anchor.events();
    let id = anchor.anchor.accept(&tenant(), request(3000, "all"), None).await.unwrap().measurement.id;
    assert_eq!(anchor.done(id).await.ledger.ok, 3000);
    let view = anchor.sees("noop-1", |view| view.health == Health::Degraded).await;
    assert_eq!(view.circuits, [Circuit { kind: None, state: CircuitState::Open }]);
    assert!(view.evidence.starts_with("its circuit is open"), "{}", view.evidence);
    let (before, all) = (broken.tasks(), prompt.tasks());
    let id = anchor.anchor.accept(&tenant(), request(500, "all"), None).await.unwrap().measurement.id;
    assert_eq!(anchor.done(id).await.ledger.ok, 500);
    assert_eq!((broken.tasks(), prompt.tasks()), (before, all + 500));
    let opened = eventually(|| {
        let event = events.try_recv().ok();
        async { event.filter(|event| event.kind == "breaker-open") }
    });
    assert_eq!(opened.await.instance.as_ref(), Some(&broken.instance));
    let metrics = anchor.anchor.metrics().await;
    assert_eq!(metrics.breakers[&("instance", "open")], 1);
    assert_eq!(metrics.breakers_opened_total.get("kind"), None, "others of the kind are there");
}

#[tokio::test]
async fn a_trial_that_goes_well_closes_the_circuit() {
    let server = TestServer::start().await;
    let short = |config: &mut Config| {
        config.dispatch.retry_ms = 1;
        config.breaker.pause_ms = 200;
        config.dispatch.max_attempts = 100;
    };
    let anchor = TestAnchor::start_with(&server, "a1", short).await;
    let module = FakeModule::start(&server, "x", "noop-1", Behaviour { breaks: 6, ..breaks() }).await;
    anchor.offers("x", "noop").await;
    let mut events = anchor.anchor.events();
    let id = anchor.anchor.accept(&tenant(), request(20, "all"), None).await.unwrap().measurement.id;
    assert_eq!(anchor.done(id).await.ledger.ok, 20);
    assert_eq!(module.tasks(), 26);
    let view = anchor.sees("noop-1", |view| view.health == Health::Healthy).await;
    assert!(view.circuits.is_empty());
    let mut seen = Vec::new();
    while let Ok(event) = events.try_recv() {
        if event.instance.is_some() && event.kind.starts_with("breaker") {
            seen.push(event.kind.clone());
        }
    }
    assert_eq!(seen, ["breaker-open", "breaker-half-open", "breaker-closed"]);
}

#[tokio::test]
async fn tasks_wait_for_the_trial_and_say_so_when_there_is_none_in_time() {
    let server = TestServer::start().await;
    let anchor = TestAnchor::start_with(&server, "a1", long).await;
    let module = FakeModule::start(&server, "x", "noop-1", breaks()).await;
    anchor.offers("x", "noop").await;
    let first = anchor.anchor.accept(&tenant(), request(1, "all"), None).await.unwrap().measurement.id;
    let ledger = anchor.done(first).await.ledger;
    assert_eq!(ledger.reasons[&Outcome::Failed][code::INTERNAL], 1);
    let view = anchor.sees("noop-1", |view| view.circuits.len() == 2).await;
    assert_eq!(view.circuits[1].kind, Some("noop".parse().unwrap()));
    let mut short = request(4, "all");
    short.deadline = Some(Span::from_millis(300));
    let id = anchor.anchor.accept(&tenant(), short, None).await.unwrap().measurement.id;
    let ledger = anchor.done(id).await.ledger;
    assert_eq!(ledger.reasons[&Outcome::Lost][code::CIRCUIT_OPEN], 4);
    assert_eq!(module.tasks(), 5);
    anchor.each(id).await;
}

#[tokio::test]
async fn a_new_life_does_not_wipe_out_a_crash_loop() {
    let server = TestServer::start().await;
    let patient = |config: &mut Config| {
        long(config);
        config.dispatch.max_attempts = 100;
    };
    let anchor = TestAnchor::start_with(&server, "a1", patient).await;
    let held = Behaviour { prompt: false, ..Behaviour::default() };
    let mut module = FakeModule::start(&server, "x", "noop-1", held.clone()).await;
    anchor.offers("x", "noop").await;
    let id = anchor.anchor.accept(&tenant(), request(1, "all"), None).await.unwrap().measurement.id;
    for life in 1..=5 {
        module.given(1).await;
        module.crash().await;
        module = FakeModule::start(&server, "x", "noop-1", held.clone()).await;
        if life < 5 {
            anchor.sees("noop-1", |view| view.out == 1).await;
        }
    }
    anchor.sees("noop-1", |view| view.circuits.len() == 2).await;
    assert_eq!(module.tasks(), 0);
    anchor.anchor.cancel(&tenant(), id).await.unwrap();
    assert_eq!(anchor.done(id).await.ledger.cancelled, 1);
}
