//! Attempts that come to nothing for a reason that may pass are made again, elsewhere where there is an elsewhere, and
//! each is on record.

mod common;

use common::module::{Behaviour, FakeModule};
use common::{TestAnchor, request, tenant, viewer};
use mmn_anchor::Config;
use mmn_bus::testing::TestServer;
use mmn_schema::api::{MeasurementRequest, ResultRecord, TaskTrace};
use mmn_schema::outcome::{Outcome, code};
use mmn_schema::time::Span;

fn held() -> Behaviour {
    Behaviour { prompt: false, ..Behaviour::default() }
}

/// Circuits stay closed: these tests are about attempts.
fn plain(config: &mut Config) {
    config.dispatch.receipt_ms = 100;
}

#[expect(clippy::unwrap_used, reason = "a part of tests: what fails here fails the test")]
async fn trace(anchor: &TestAnchor, record: &ResultRecord) -> TaskTrace {
    anchor.anchor.trace(&viewer(), record.task).await.unwrap()
}

/// The attempts that were given up, with what is said of each.
#[expect(clippy::unwrap_used, reason = "a part of tests: what fails here fails the test")]
fn given_up(trace: &TaskTrace) -> Vec<(u32, String)> {
    let hops = trace.hops.iter().filter(|hop| hop.hop == "given-up");
    hops.map(|hop| (hop.attempt.unwrap(), hop.detail.clone().unwrap_or_default())).collect()
}

#[tokio::test]
async fn a_module_that_breaks_gets_its_task_again_when_there_is_no_other() {
    let server = TestServer::start().await;
    let anchor = TestAnchor::start_with(&server, "a1", plain).await;
    let module =
        FakeModule::start(&server, "x", "noop-1", Behaviour { breaks: 3, ..Behaviour::default() }).await;
    anchor.offers("x", "noop").await;
    let id = anchor.anchor.accept(&tenant(), request(1, "all"), None).await.unwrap().measurement.id;
    assert_eq!(anchor.done(id).await.ledger.ok, 1);
    let results = anchor.each(id).await;
    assert_eq!((results[0].attempt, module.tasks()), (3, 4));
    let given_up = given_up(&trace(&anchor, &results[0]).await);
    assert_eq!(given_up.iter().map(|(attempt, _)| *attempt).collect::<Vec<_>>(), [0, 1, 2]);
    assert!(given_up.iter().all(|(_, why)| why.contains("the kind broke")), "{given_up:?}");
}

#[tokio::test]
async fn attempts_are_made_elsewhere_where_there_is_an_elsewhere() {
    let server = TestServer::start().await;
    let anchor = TestAnchor::start_with(&server, "a1", plain).await;
    let broken =
        FakeModule::start(&server, "x", "noop-1", Behaviour { breaks: 4, ..Behaviour::default() }).await;
    anchor.offers("x", "noop").await;
    let prompt = FakeModule::start(&server, "x", "noop-2", Behaviour::default()).await;
    common::eventually(|| async { (anchor.anchor.modules().await.ok()?.len() == 2).then_some(()) }).await;
    // Both get some: whatever breaks at one is done by the other.
    let id = anchor.anchor.accept(&tenant(), request(2000, "all"), None).await.unwrap().measurement.id;
    assert_eq!(anchor.done(id).await.ledger.ok, 2000);
    let results = anchor.each(id).await;
    let again: Vec<_> = results.iter().filter(|record| record.attempt > 0).collect();
    assert_eq!(again.len(), 4);
    for record in again {
        assert_eq!((record.attempt, record.instance.as_ref()), (1, Some(&prompt.instance)));
        let trace = trace(&anchor, record).await;
        let first = trace.hops.iter().find(|hop| hop.hop == "given-up").unwrap();
        assert_eq!(first.instance.as_ref(), Some(&broken.instance));
    }
}

#[tokio::test]
async fn the_last_attempt_ends_the_task_with_its_own_reason() {
    let server = TestServer::start().await;
    let three = |config: &mut Config| {
        plain(config);
        config.dispatch.max_attempts = 3;
    };
    let anchor = TestAnchor::start_with(&server, "a1", three).await;
    let breaks = Behaviour { breaks: u32::MAX, ..Behaviour::default() };
    let module = FakeModule::start(&server, "x", "noop-1", breaks).await;
    anchor.offers("x", "noop").await;
    let id = anchor.anchor.accept(&tenant(), request(1, "all"), None).await.unwrap().measurement.id;
    let ledger = anchor.done(id).await.ledger;
    assert_eq!(ledger.reasons[&Outcome::Failed][code::INTERNAL], 1);
    let results = anchor.each(id).await;
    assert_eq!((results[0].attempt, module.tasks()), (2, 3));
    assert_eq!(given_up(&trace(&anchor, &results[0]).await).len(), 2);
}

#[tokio::test]
async fn what_nobody_acknowledges_is_tried_so_often_and_then_waited_for() {
    let server = TestServer::start().await;
    let two = |config: &mut Config| {
        plain(config);
        config.dispatch.max_attempts = 2;
    };
    let anchor = TestAnchor::start_with(&server, "a1", two).await;
    let mute = Behaviour { acknowledges: false, compares: false, ..held() };
    let mute = FakeModule::start(&server, "x", "noop-1", mute).await;
    anchor.offers("x", "noop").await;
    let me = tenant();
    let accept = |deadline_ms| {
        let ask = MeasurementRequest { deadline: Some(Span::from_millis(deadline_ms)), ..request(1, "all") };
        anchor.anchor.accept(&me, ask, None)
    };
    let (brief, long) =
        (accept(3000).await.unwrap().measurement.id, accept(60_000).await.unwrap().measurement.id);
    mute.given(4).await;
    // No result comes by the deadline.
    let ledger = anchor.done(brief).await.ledger;
    assert_eq!(ledger.reasons[&Outcome::Lost][code::DEADLINE], 1);
    assert_eq!(mute.tasks(), 4, "two attempts each, and no more");
    // The other one's result was long on its way.
    mute.answer();
    assert_eq!(anchor.done(long).await.ledger.ok, 1);
    let results = anchor.each(long).await;
    assert_eq!(given_up(&trace(&anchor, &results[0]).await).len(), 2);
    // What comes of the first one after all is superseded, and streamed to nobody.
    assert_eq!(anchor.each(brief).await.len(), 1);
}

#[tokio::test]
async fn one_that_says_it_holds_a_task_is_not_given_up_for_want_of_a_receipt() {
    let server = TestServer::start().await;
    // Far longer than it takes to compare notes, and far shorter than the test.
    let often = |config: &mut Config| (config.dispatch.receipt_ms, config.dispatch.sync_ms) = (1000, 100);
    let anchor = TestAnchor::start_with(&server, "a1", often).await;
    // As one whose receipts lie unread behind all that came before them.
    let slow = FakeModule::start(&server, "x", "noop-1", Behaviour { acknowledges: false, ..held() }).await;
    anchor.offers("x", "noop").await;
    let id = anchor.anchor.accept(&tenant(), request(50, "all"), None).await.unwrap().measurement.id;
    slow.given(50).await;
    // Somebody else could take them.
    let prompt = FakeModule::start(&server, "x", "noop-2", Behaviour::default()).await;
    common::eventually(|| async { (anchor.anchor.modules().await.ok()?.len() == 2).then_some(()) }).await;
    // It has been asked for longer than the longest that a receipt of one who is silent is waited for.
    let compared = || slow.seen.lock().unwrap().compared;
    let before = compared();
    common::eventually(|| async { (compared() >= before + 11).then_some(()) }).await;
    slow.answer();
    assert_eq!(anchor.done(id).await.ledger.ok, 50);
    assert_eq!((slow.tasks(), prompt.tasks()), (50, 0));
    assert!(anchor.each(id).await.iter().all(|record| record.attempt == 0));
    let metrics = anchor.anchor.metrics().await;
    assert_eq!((metrics.attempts_failed_total, metrics.superseded_total), (0, 0));
}

#[tokio::test]
async fn who_is_heard_is_waited_for_and_what_has_not_arrived_is_found_meanwhile() {
    let server = TestServer::start().await;
    let anchor = TestAnchor::start_with(&server, "a1", plain).await;
    let forgets = Behaviour { acknowledges: false, forgets: 1, ..held() };
    let module = FakeModule::start(&server, "x", "noop-1", forgets).await;
    anchor.offers("x", "noop").await;
    let id = anchor.anchor.accept(&tenant(), request(5, "all"), None).await.unwrap().measurement.id;
    module.given(10).await;
    module.answer();
    assert_eq!(anchor.done(id).await.ledger.ok, 5);
    let results = anchor.each(id).await;
    assert!(results.iter().all(|record| record.attempt == 1));
    let given_up = given_up(&trace(&anchor, &results[0]).await);
    assert!(given_up.iter().all(|(_, why)| why.contains("did not arrive")), "{given_up:?}");
}

#[tokio::test]
async fn what_is_declined_counts_as_no_attempt() {
    let server = TestServer::start().await;
    let one = |config: &mut Config| {
        plain(config);
        config.dispatch.max_attempts = 1;
    };
    let anchor = TestAnchor::start_with(&server, "a1", one).await;
    let declines = Behaviour { declines: 3, ..Behaviour::default() };
    let _module = FakeModule::start(&server, "x", "noop-1", declines).await;
    anchor.offers("x", "noop").await;
    let id = anchor.anchor.accept(&tenant(), request(1, "all"), None).await.unwrap().measurement.id;
    assert_eq!(anchor.done(id).await.ledger.ok, 1);
    let results = anchor.each(id).await;
    assert_eq!(results[0].attempt, 3);
    let given_up = given_up(&trace(&anchor, &results[0]).await);
    assert!(given_up.iter().all(|(_, why)| why == "declined: draining"), "{given_up:?}");
    let metrics = anchor.anchor.metrics().await;
    assert_eq!(metrics.retries_total["declined"], 3);
}

#[tokio::test]
async fn no_attempt_is_made_past_the_deadline_and_the_reason_is_the_last_ones() {
    let server = TestServer::start().await;
    let slow = |config: &mut Config| {
        plain(config);
        config.dispatch.retry_ms = 600_000;
        config.dispatch.retry_most_ms = 600_000;
    };
    let anchor = TestAnchor::start_with(&server, "a1", slow).await;
    let breaks = Behaviour { breaks: u32::MAX, ..Behaviour::default() };
    let _module = FakeModule::start(&server, "x", "noop-1", breaks).await;
    anchor.offers("x", "noop").await;
    let mut request = request(3, "all");
    request.deadline = Some(Span::from_millis(300));
    let id = anchor.anchor.accept(&tenant(), request, None).await.unwrap().measurement.id;
    let ledger = anchor.done(id).await.ledger;
    assert_eq!(ledger.reasons[&Outcome::Failed][code::INTERNAL], 3);
    anchor.each(id).await;
}
