//! Brief measurements that are waited for: their results are their acceptance, and an anchor that takes over knows them.

#![allow(clippy::unwrap_used, reason = "what fails here fails the test, with its reason")]

mod common;

use std::time::Duration;

use common::module::{Behaviour, FakeModule};
use common::{LONG, TestAnchor, eventually, request, tenant};
use mmn_bus::testing::TestServer;
use mmn_schema::api::MeasurementState;
use mmn_schema::id::MeasurementId;

/// The messages of a log about one measurement: its own, and those that it shares.
async fn written(server: &TestServer, stream: &str, log: &str, id: MeasurementId) -> usize {
    let anchor = server.anchor("reader").await;
    let stream = anchor.jetstream().get_stream(stream).await.unwrap();
    let (name, mut count) = (id.to_string(), 0);
    for (token, own) in [(name.clone(), true), (format!("s{}", id.unix_s()), false)] {
        let (subject, mut from) = (format!("mmn.v1.log.{log}.{token}"), 1);
        while let Ok(message) = stream.direct_get_next_for_subject(subject.as_str(), Some(from)).await {
            from = message.sequence + 1;
            // The id stands before its part, and in what the part says of it.
            let named = message.payload.windows(name.len()).any(|bytes| bytes == name.as_bytes());
            count += usize::from(own || named);
        }
    }
    count
}

#[tokio::test]
async fn what_was_answered_is_known_after_a_crash() {
    let server = TestServer::start().await;
    let (mut number, mut brief) = (0, 0);
    for round in 0..3 {
        let anchor = TestAnchor::start(&server).await;
        let module = FakeModule::start(&server, "x", &format!("noop-{round}"), Behaviour::default()).await;
        anchor.offers("x", "noop").await;
        let (key, ask) = (Some(format!("key {round}")), request(3, "all"));
        let answer = anchor.anchor.accept_and_wait(&tenant(), ask.clone(), key.clone(), LONG).await.unwrap();
        // Before its end is written, most of the time.
        anchor.crash().await;
        let measured = answer.measurement;
        let id = measured.id;
        assert_eq!((measured.state, measured.ledger.ok), (MeasurementState::Done, 3));
        assert!(measured.number > number, "numbers are not given twice");
        number = measured.number;
        // Unless a tick came between the acceptance and the results.
        brief += usize::from(written(&server, "LEDGER", "accept", id).await == 0);
        assert_eq!(written(&server, "RES", "res", id).await, 1);

        let next = TestAnchor::start(&server).await;
        let done = next.done(id).await;
        assert_eq!((done.ledger.ok, done.ledger.accepted, done.number), (3, 3, number));
        assert_eq!(next.each(id).await.len(), 3);
        let again = next.anchor.accept_and_wait(&tenant(), ask, key, LONG).await.unwrap();
        assert_eq!((again.measurement.id, again.existing), (id, true));
        // It is written once, and not looked for in the results again.
        let wrote = || async { (written(&server, "LEDGER", "done", id).await == 1).then_some(()) };
        eventually(wrote).await;
        drop(module);
        next.stop().await.unwrap();
    }
    assert!(brief > 0, "none was accepted by its results");
}

#[tokio::test]
async fn an_acceptance_does_not_wait_for_results_that_are_long_in_coming() {
    let server = TestServer::start().await;
    let anchor = TestAnchor::start(&server).await;
    let held = Behaviour { prompt: false, ..Behaviour::default() };
    let module = FakeModule::start(&server, "x", "noop-1", held).await;
    anchor.offers("x", "noop").await;
    let wait = Duration::from_millis(1);
    let answer = anchor.anchor.accept_and_wait(&tenant(), request(2, "all"), None, wait).await.unwrap();
    let id = answer.measurement.id;
    assert_eq!(answer.measurement.state, MeasurementState::Running);
    assert!(answer.measurement.plan.is_some());
    assert_eq!(written(&server, "LEDGER", "accept", id).await, 1);
    module.given(2).await;
    anchor.crash().await;
    let next = TestAnchor::start(&server).await;
    assert_eq!(next.measurement(id).await.ledger.pending, 2);
    next.anchor.cancel(&tenant(), id).await.unwrap();
    assert_eq!(next.done(id).await.ledger.accepted, 2);
}

#[tokio::test]
async fn what_is_not_whole_in_one_message_is_accepted_apart() {
    let server = TestServer::start().await;
    let anchor = TestAnchor::start(&server).await;
    let one = Behaviour { credits: Some(1), ..Behaviour::default() };
    let _module = FakeModule::start(&server, "x", "noop-1", one).await;
    anchor.offers("x", "noop").await;
    let answer = anchor.anchor.accept_and_wait(&tenant(), request(5, "all"), None, LONG).await.unwrap();
    let id = answer.measurement.id;
    assert_eq!(answer.measurement.ledger.ok, 5);
    assert_eq!(written(&server, "LEDGER", "accept", id).await, 1);
}

#[tokio::test]
async fn a_message_that_can_not_be_read_keeps_no_anchor_from_its_work() {
    let server = TestServer::start().await;
    let anchor = TestAnchor::start(&server).await;
    let _module = FakeModule::start(&server, "x", "noop-1", Behaviour::default()).await;
    anchor.offers("x", "noop").await;
    let answer = anchor.anchor.accept_and_wait(&tenant(), request(3, "all"), None, LONG).await.unwrap();
    anchor.crash().await;
    let writer = server.anchor("writer").await;
    for nonsense in ["", "nonsense"] {
        let number = format!("x{nonsense}");
        writer.publish_kept("mmn.v1.log.res.x", None, nonsense.into(), &number).await.unwrap();
    }
    let next = TestAnchor::start(&server).await;
    assert_eq!(next.done(answer.measurement.id).await.ledger.ok, 3);
}

#[tokio::test]
async fn what_finds_no_room_is_refused() {
    let server = TestServer::start().await;
    let small = |config: &mut mmn_anchor::Config| config.results.max_bytes = 100_000;
    let anchor = TestAnchor::start_with(&server, "a1", small).await;
    let _module = FakeModule::start(&server, "x", "noop-1", Behaviour::default()).await;
    anchor.offers("x", "noop").await;
    let me = tenant();
    let ask = |wait| anchor.anchor.accept_and_wait(&me, request(3, "all"), None, wait);
    let kept = ask(LONG).await.unwrap().measurement.id;
    // Faster than the anchor looks at the stream, most of the time: what it admits then finds no room.
    let writer = server.anchor("writer").await;
    let mut number = 0;
    while writer
        .publish_kept("mmn.v1.log.res.x", None, vec![0; 1000].into(), &number.to_string())
        .await
        .is_ok()
    {
        number += 1;
    }
    match ask(Duration::from_millis(200)).await {
        Err(problem) => {
            assert_eq!((problem.status, &*problem.reason), (503, "storage-full"));
            assert_eq!(anchor.anchor.limits().await.unwrap().pending_tasks, 0);
        }
        // Its results were too long in coming to be its acceptance: that is in LEDGER, and they wait for room.
        Ok(answer) => {
            assert_eq!(answer.measurement.ledger.pending, 3);
            assert_eq!(written(&server, "LEDGER", "accept", answer.measurement.id).await, 1);
        }
    }
    assert_eq!(anchor.each(kept).await.len(), 3);
}
