//! A kind that has more than it can do: what is accepted ends, the rest is refused at once with the time after which it
//! may do better, and other kinds do not notice.

mod common;

use common::module::{Behaviour, FakeModule};
use common::{TestAnchor, eventually, request, tenant};
use mmn_anchor::Config;
use mmn_bus::testing::TestServer;
use mmn_schema::api::MeasurementRequest;
use mmn_schema::outcome::{Outcome, code};
use mmn_schema::time::Span;

#[expect(clippy::unwrap_used, reason = "a part of tests: what fails here fails the test")]
fn of(kind: &str, targets: usize, from: &str) -> MeasurementRequest {
    MeasurementRequest { kind: kind.parse().unwrap(), ..request(targets, from) }
}

/// Does four tasks at a time.
fn slow() -> Behaviour {
    Behaviour { credits: Some(4), pace_ms: Some(20), kind: "slow", ..Behaviour::default() }
}

#[tokio::test]
async fn a_kind_that_is_overloaded_is_refused_and_other_kinds_are_not() {
    let server = TestServer::start().await;
    let anchor = TestAnchor::start(&server).await;
    let _slow = FakeModule::start(&server, "x", "slow-1", slow()).await;
    let _quick = FakeModule::start(&server, "x", "noop-1", Behaviour::default()).await;
    anchor.offers("x", "slow").await;
    anchor.offers("x", "noop").await;
    // 200 a second at most; what may wait is bounded by the time that the requests give.
    let (mut accepted, mut refused) = (Vec::new(), 0);
    while refused < 3 {
        let mut request = of("slow", 50, "all");
        request.deadline = Some(Span::from_millis(3000));
        match anchor.anchor.accept(&tenant(), request, None).await {
            Ok(answer) => accepted.push(answer.measurement.id),
            Err(problem) => {
                assert_eq!((problem.status, &*problem.reason), (429, "saturated"), "{problem}");
                assert!(problem.retry_after_s.unwrap() >= 1, "{problem}");
                refused += 1;
            }
        }
        // Another kind is served meanwhile.
        let other = anchor.anchor.accept(&tenant(), of("noop", 1, "all"), None).await.unwrap().measurement.id;
        assert_eq!(anchor.done(other).await.ledger.ok, 1);
    }
    let metrics = anchor.anchor.metrics().await;
    assert!(metrics.overload_total["lane"] >= 3);
    // Every task that was accepted ends: done, or refused for want of room.
    for id in accepted {
        let ledger = anchor.done(id).await.ledger;
        assert!(ledger.closes());
        assert_eq!(ledger.ok + ledger.reasons.get(&Outcome::Refused).map_or(0, |r| r[code::SATURATED]), 50);
        anchor.each(id).await;
    }
    // And then there is room again.
    eventually(|| async { (anchor.anchor.metrics().await.lane_waiting_most == 0).then_some(()) }).await;
    let id = anchor.anchor.accept(&tenant(), of("slow", 4, "all"), None).await.unwrap().measurement.id;
    assert_eq!(anchor.done(id).await.ledger.ok, 4);
}

#[tokio::test]
async fn what_waits_for_one_kind_is_bounded_even_when_its_rate_is_unknown() {
    let server = TestServer::start().await;
    let small = |config: &mut Config| config.limits.max_pending_per_lane = 100;
    let anchor = TestAnchor::start_with(&server, "a1", small).await;
    let held = Behaviour { prompt: false, credits: Some(10), ..Behaviour::default() };
    let module = FakeModule::start(&server, "x", "noop-1", held.clone()).await;
    let other = FakeModule::start(&server, "y", "noop-2", Behaviour::default()).await;
    anchor.offers("x", "noop").await;
    anchor.offers("y", "noop").await;
    let here = common::vp("x").to_string();
    let first = anchor.anchor.accept(&tenant(), request(90, &here), None).await.unwrap().measurement.id;
    module.given(10).await;
    let problem = anchor.anchor.accept(&tenant(), request(21, &here), None).await.unwrap_err();
    assert_eq!((problem.status, problem.retry_after_s), (429, Some(1)), "{problem}");
    // Of several vantage points the one that is overloaded refuses, and the other does its part.
    let both = anchor.anchor.accept(&tenant(), request(30, "all"), None).await.unwrap();
    assert_eq!(both.measurement.plan.unwrap().refused, 30);
    let ledger = anchor.done(both.measurement.id).await.ledger;
    assert_eq!((ledger.ok, ledger.reasons[&Outcome::Refused][code::SATURATED]), (30, 30));
    assert_eq!(other.tasks(), 30);
    // Calling off makes room.
    anchor.anchor.cancel(&tenant(), first).await.unwrap();
    anchor.anchor.accept(&tenant(), request(21, &here), None).await.unwrap();
}

#[tokio::test]
async fn one_kind_leaves_room_for_others() {
    let server = TestServer::start().await;
    let small = |config: &mut Config| config.limits.max_pending_tasks = 1000;
    let anchor = TestAnchor::start_with(&server, "a1", small).await;
    let held = Behaviour { prompt: false, credits: Some(1), ..Behaviour::default() };
    let _module = FakeModule::start(&server, "x", "noop-1", held).await;
    let _quick = FakeModule::start(&server, "x", "slow-1", slow()).await;
    anchor.offers("x", "noop").await;
    anchor.offers("x", "slow").await;
    let mut waiting = 0;
    let problem = loop {
        match anchor.anchor.accept(&tenant(), request(50, "all"), None).await {
            Ok(_) => waiting += 50,
            Err(problem) => break problem,
        }
    };
    assert_eq!((problem.status, &*problem.reason), (429, "saturated"), "{problem}");
    assert!((750..=850).contains(&waiting), "{waiting} wait");
    let id = anchor.anchor.accept(&tenant(), of("slow", 50, "all"), None).await.unwrap().measurement.id;
    assert_eq!(anchor.done(id).await.ledger.ok, 50);
    assert_eq!(anchor.anchor.metrics().await.overload_total["kind"], 1);
}

#[tokio::test]
async fn kinds_of_one_instance_take_turns() {
    let server = TestServer::start().await;
    let anchor = TestAnchor::start(&server).await;
    // One task at a time, of two kinds: one has a thousand waiting, the other comes later with ten.
    let one = Behaviour {
        credits: Some(1),
        pace_ms: Some(5),
        kind: "slow",
        second: Some("quick"),
        ..Behaviour::default()
    };
    let module = FakeModule::start(&server, "x", "slow-1", one).await;
    anchor.offers("x", "quick").await;
    let long = anchor.anchor.accept(&tenant(), of("slow", 1000, "all"), None).await.unwrap().measurement.id;
    module.given(5).await;
    let brief = anchor.anchor.accept(&tenant(), of("quick", 10, "all"), None).await.unwrap().measurement.id;
    assert_eq!(anchor.done(brief).await.ledger.ok, 10);
    let given = module.seen.lock().unwrap().tasks.iter().rposition(|(id, _)| *id == brief).unwrap();
    assert!(given < 100, "the last of ten was the {given}th");
    anchor.anchor.cancel(&tenant(), long).await.unwrap();
    anchor.done(long).await;
}
