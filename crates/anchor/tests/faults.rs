//! What goes wrong on the way, and what comes of it: every accepted task ends once, with the true reason.

mod common;

use common::module::{Behaviour, FakeModule};
use common::{TestAnchor, eventually, request, tenant, viewer};
use mmn_anchor::{Interval, RollupAsk};
use mmn_bus::testing::TestServer;
use mmn_schema::api::{Health, MeasurementState};
use mmn_schema::dispatch::Input;
use mmn_schema::outcome::{Outcome, code};
use mmn_schema::time::Span;

fn held() -> Behaviour {
    Behaviour { prompt: false, ..Behaviour::default() }
}

#[tokio::test]
async fn a_late_second_result_is_superseded() {
    let server = TestServer::start().await;
    let anchor = TestAnchor::start(&server).await;
    let module = FakeModule::start(&server, "x", "noop-1", held()).await;
    let _other = FakeModule::start(&server, "y", "noop-2", held()).await;
    anchor.offers("x", "noop").await;
    anchor.offers("y", "noop").await;
    let id = anchor.anchor.accept(&tenant(), request(1, "all"), None).await.unwrap().measurement.id;
    module.given(1).await;
    module.answer();
    module.repeat();
    eventually(|| async { (anchor.measurement(id).await.ledger.superseded == 1).then_some(()) }).await;
    let ledger = anchor.measurement(id).await.ledger;
    assert_eq!((ledger.ok, ledger.pending), (1, 1));
}

#[tokio::test]
async fn what_is_called_off_ends_as_cancelled() {
    let server = TestServer::start().await;
    let anchor = TestAnchor::start(&server).await;
    let credits = Behaviour { credits: Some(10), ..held() };
    let module = FakeModule::start(&server, "x", "noop-1", credits).await;
    anchor.offers("x", "noop").await;
    let id = anchor.anchor.accept(&tenant(), request(1000, "all"), None).await.unwrap().measurement.id;
    module.given(10).await;
    anchor.anchor.cancel(&tenant(), id).await.unwrap();
    let done = anchor.done(id).await;
    assert_eq!(done.state, MeasurementState::Cancelled);
    assert_eq!(done.ledger.cancelled, 1000);
    assert_eq!(done.ledger.reasons[&Outcome::Cancelled][code::BY_CLIENT], 1000);
    assert_eq!(module.seen.lock().unwrap().cancels, 1);
    assert_eq!(module.tasks(), 10);
    anchor.each(id).await;
    assert!(anchor.anchor.cancel(&tenant(), id).await.is_ok(), "cancelling what is done does nothing");
}

#[tokio::test]
async fn a_deadline_ends_what_is_out_as_lost_and_what_waits_as_refused() {
    let server = TestServer::start().await;
    let anchor = TestAnchor::start_with(&server, "a1", |config| config.dispatch.grace_ms = 50).await;
    let credits = Behaviour { credits: Some(1), ..held() };
    let module = FakeModule::start(&server, "x", "noop-1", credits).await;
    anchor.offers("x", "noop").await;
    let mut request = request(3, "all");
    request.deadline = Some(Span::from_millis(300));
    let id = anchor.anchor.accept(&tenant(), request, None).await.unwrap().measurement.id;
    module.given(1).await;
    let ledger = anchor.done(id).await.ledger;
    assert_eq!((ledger.lost, ledger.refused), (1, 2));
    assert_eq!(ledger.reasons[&Outcome::Lost][code::DEADLINE], 1);
    assert_eq!(ledger.reasons[&Outcome::Refused][code::SATURATED], 2);
    anchor.each(id).await;
}

#[tokio::test]
async fn a_dead_instance_is_found_by_nobody_listening_and_its_work_goes_elsewhere() {
    let server = TestServer::start().await;
    // Silence alone would take far longer than the test.
    let patient = |config: &mut mmn_anchor::Config| {
        config.liveness.suspect_ms = 600_000;
        config.liveness.lost_ms = 600_000;
    };
    let anchor = TestAnchor::start_with(&server, "a1", patient).await;
    let first = FakeModule::start(&server, "x", "noop-1", held()).await;
    anchor.offers("x", "noop").await;
    let id = anchor.anchor.accept(&tenant(), request(5, "all"), None).await.unwrap().measurement.id;
    first.given(5).await;
    first.crash().await;
    // The next message to it is another measurement's.
    let other = anchor.anchor.accept(&tenant(), request(1, "all"), None).await.unwrap().measurement.id;
    eventually(|| async {
        let modules = anchor.anchor.modules().await.ok()?;
        modules.iter().any(|module| module.health == Health::Lost).then_some(())
    })
    .await;
    let second = FakeModule::start(&server, "x", "noop-2", Behaviour::default()).await;
    for id in [id, other] {
        let done = anchor.done(id).await;
        assert_eq!(done.ledger.ok, done.ledger.accepted);
    }
    assert_eq!(second.tasks(), 6);
    let results = anchor.each(id).await;
    assert!(results.iter().all(|record| record.attempt == 1), "{results:?}");
    let trace = anchor.anchor.trace(&viewer(), results[0].task).await.unwrap();
    assert!(trace.hops.iter().any(|hop| hop.hop == "given-up" && hop.attempt == Some(0)), "{trace:?}");
}

#[tokio::test]
async fn a_silent_instance_is_lost_and_a_batch_without_receipt_goes_elsewhere() {
    let server = TestServer::start().await;
    let quick = |config: &mut mmn_anchor::Config| config.dispatch.receipt_ms = 100;
    let anchor = TestAnchor::start_with(&server, "a1", quick).await;
    let mute = Behaviour { acknowledges: false, compares: false, ..held() };
    let silent = FakeModule::start(&server, "x", "noop-1", mute).await;
    anchor.offers("x", "noop").await;
    let id = anchor.anchor.accept(&tenant(), request(5, "all"), None).await.unwrap().measurement.id;
    silent.given(5).await;
    let _prompt = FakeModule::start(&server, "x", "noop-2", Behaviour::default()).await;
    let done = anchor.done(id).await;
    assert_eq!(done.ledger.ok, 5);
    assert!(anchor.each(id).await.iter().all(|record| record.attempt > 0));
}

#[tokio::test]
async fn a_busy_instance_gets_the_same_work_later() {
    let server = TestServer::start().await;
    let anchor = TestAnchor::start(&server).await;
    let busy = Behaviour { busy: 3, ..Behaviour::default() };
    let _module = FakeModule::start(&server, "x", "noop-1", busy).await;
    anchor.offers("x", "noop").await;
    let id = anchor.anchor.accept(&tenant(), request(20, "all"), None).await.unwrap().measurement.id;
    assert_eq!(anchor.done(id).await.ledger.ok, 20);
    assert!(anchor.each(id).await.iter().all(|record| record.attempt == 0));
}

#[tokio::test]
async fn a_result_that_is_lost_on_the_way_is_sent_again() {
    let server = TestServer::start().await;
    let anchor = TestAnchor::start(&server).await;
    let lossy = Behaviour { loses: 2, ..Behaviour::default() };
    let module = FakeModule::start(&server, "x", "noop-1", lossy).await;
    anchor.offers("x", "noop").await;
    let id = anchor.anchor.accept(&tenant(), request(1, "all"), None).await.unwrap().measurement.id;
    assert_eq!(anchor.done(id).await.ledger.ok, 1);
    let id = anchor.anchor.accept(&tenant(), request(2000, "all"), None).await.unwrap().measurement.id;
    assert_eq!(anchor.done(id).await.ledger.ok, 2000);
    assert!(anchor.each(id).await.iter().all(|record| record.attempt == 0), "nothing runs twice");
    assert_eq!(module.tasks(), 2001);
}

#[tokio::test]
async fn a_module_without_credits_works_through_the_pool() {
    let server = TestServer::start().await;
    let anchor = TestAnchor::start(&server).await;
    let simple = Behaviour { credits: None, ..Behaviour::default() };
    let one = FakeModule::start(&server, "x", "noop-1", simple.clone()).await;
    let two = FakeModule::start(&server, "x", "noop-2", simple).await;
    anchor.offers("x", "noop").await;
    let id = anchor.anchor.accept(&tenant(), request(300, "all"), None).await.unwrap().measurement.id;
    assert_eq!(anchor.done(id).await.ledger.ok, 300);
    assert_eq!(one.batches() + two.batches(), 300, "one task a message");
    anchor.each(id).await;
}

#[tokio::test]
async fn an_anchor_that_dies_loses_nothing_and_doubles_nothing() {
    let server = TestServer::start().await;
    let mut anchor = TestAnchor::start(&server).await;
    let _one = FakeModule::start(&server, "x", "noop-1", Behaviour::default()).await;
    let slow = FakeModule::start(&server, "y", "noop-2", held()).await;
    anchor.offers("x", "noop").await;
    anchor.offers("y", "noop").await;
    let id = anchor.anchor.accept(&tenant(), request(20_000, "all"), None).await.unwrap().measurement.id;
    for _ in 0..3 {
        slow.given(1).await;
        anchor.crash().await;
        anchor = TestAnchor::start(&server).await;
        anchor.offers("x", "noop").await;
    }
    slow.answer();
    let done = anchor.done(id).await;
    assert_eq!(done.ledger.ok, 40_000);
    anchor.each(id).await;
    // Sums are rebuilt of what is kept while it runs, and read from the store afterwards.
    let summed = async |anchor: &TestAnchor| {
        let rollups = anchor.anchor.rollups(&viewer(), id, RollupAsk::default()).await.unwrap();
        rollups.iter().map(|rollup| rollup.outcomes[&Outcome::Ok]).sum::<u64>()
    };
    assert_eq!(summed(&anchor).await, 40_000);
    anchor.stop().await.unwrap();
    let few = |config: &mut mmn_anchor::Config| config.ledger.closed_in_memory = 0;
    let anchor = TestAnchor::start_with(&server, "a1", few).await;
    assert_eq!(summed(&anchor).await, 40_000);
}

#[tokio::test]
async fn a_history_that_is_too_large_for_one_message_is_kept_in_several() {
    let server = TestServer::start().await;
    // Messages are a small part of what there is room for.
    let small = |config: &mut mmn_anchor::Config| config.ledger.max_bytes = 100_000;
    let anchor = TestAnchor::start_with(&server, "a1", small).await;
    let mut modules = Vec::new();
    for number in 0..80 {
        let (vp, name) = (format!("v{number}"), format!("noop-{number}"));
        modules.push(FakeModule::start(&server, &vp, &name, Behaviour::default()).await);
        anchor.offers(&vp, "noop").await;
    }
    let id = anchor.anchor.accept(&tenant(), request(3, "all"), None).await.unwrap().measurement.id;
    anchor.done(id).await;
    let merged = RollupAsk { interval: Interval::All, merge: true, ..RollupAsk::default() };
    let each = RollupAsk { merge: false, ..merged.clone() };
    let before = anchor.anchor.rollups(&viewer(), id, each.clone()).await.unwrap();
    assert_eq!(before.len(), 80);
    anchor.stop().await.unwrap();
    drop(modules);
    let anchor = TestAnchor::start(&server).await;
    assert_eq!(anchor.anchor.rollups(&viewer(), id, each).await.unwrap(), before);
    let all = anchor.anchor.rollups(&viewer(), id, merged).await.unwrap();
    assert_eq!((all.len(), all[0].outcomes[&Outcome::Ok]), (1, 240));
}

#[tokio::test]
async fn appends_before_and_after_an_anchor_dies_are_all_there() {
    let server = TestServer::start().await;
    let _module = FakeModule::start(&server, "x", "noop-1", Behaviour::default()).await;
    let mut anchor = TestAnchor::start(&server).await;
    anchor.offers("x", "noop").await;
    let mut open = request(0, "all");
    open.open = true;
    let id = anchor.anchor.accept(&tenant(), open, None).await.unwrap().measurement.id;
    for life in 0..3 {
        for part in 0..4 {
            let inputs: Vec<_> = (0..50).map(|n| Input::Target(format!("t{life}-{part}-{n}"))).collect();
            let answer = anchor.anchor.append(&tenant(), id, inputs).await.unwrap();
            assert_eq!((answer.first, answer.tasks), (life * 200 + part * 50, 50));
        }
        anchor.crash().await;
        anchor = TestAnchor::start(&server).await;
        assert_eq!(anchor.measurement(id).await.ledger.accepted, (life + 1) * 200);
        anchor.offers("x", "noop").await;
    }
    anchor.anchor.close(&tenant(), id).await.unwrap();
    assert_eq!(anchor.done(id).await.ledger.ok, 600);
    let results = anchor.each(id).await;
    let inputs: std::collections::BTreeSet<_> =
        results.iter().map(|result| result.input.to_string()).collect();
    assert_eq!((results.len(), inputs.len()), (600, 600));
}

#[tokio::test]
async fn a_server_that_dies_and_comes_back_loses_nothing() {
    let mut server = TestServer::start().await;
    let anchor = TestAnchor::start(&server).await;
    let module = FakeModule::start(&server, "x", "noop-1", held()).await;
    anchor.offers("x", "noop").await;
    let id = anchor.anchor.accept(&tenant(), request(5000, "all"), None).await.unwrap().measurement.id;
    module.given(1000).await;
    server.server().restart().await.unwrap();
    module.answer();
    assert_eq!(anchor.done(id).await.ledger.ok, 5000);
    anchor.each(id).await;
}

#[tokio::test]
async fn a_standby_takes_over() {
    let server = TestServer::start().await;
    let first = TestAnchor::start(&server).await;
    let second = TestAnchor::begin(&server, "a2", |_| {}).await;
    let module = FakeModule::start(&server, "x", "noop-1", held()).await;
    first.offers("x", "noop").await;
    let id = first.anchor.accept(&tenant(), request(10, "all"), None).await.unwrap().measurement.id;
    module.given(10).await;
    assert!(!second.anchor.readiness().ready);
    assert_eq!(second.anchor.vps().await.unwrap_err().status, 503);
    first.crash().await;
    second.ready().await;
    module.answer();
    assert_eq!(second.done(id).await.ledger.ok, 10);
    assert_eq!(second.anchor.metrics().await.epoch, 2);
    second.each(id).await;
}

#[tokio::test]
async fn a_full_ledger_refuses_new_work_and_inputs_and_ends_what_it_has() {
    let server = TestServer::start().await;
    let small = |config: &mut mmn_anchor::Config| config.ledger.max_bytes = 100_000;
    let anchor = TestAnchor::start_with(&server, "a1", small).await;
    let _module = FakeModule::start(&server, "x", "noop-1", Behaviour::default()).await;
    anchor.offers("x", "noop").await;
    let open = mmn_schema::api::MeasurementRequest { open: true, ..request(0, "all") };
    let open = anchor.anchor.accept(&tenant(), open, None).await.unwrap().measurement.id;
    let filled = async {
        let mut accepted = Vec::new();
        loop {
            match anchor.anchor.accept(&tenant(), request(100, "all"), None).await {
                Ok(done) => accepted.push(done.measurement.id),
                Err(problem) => break (accepted, problem),
            }
        }
    };
    let (accepted, problem) = filled.await;
    assert_eq!((problem.status, &*problem.reason), (503, "storage-full"));
    assert!(problem.hint.is_some_and(|hint| hint.contains("ledger.max_bytes")));
    // There is room again for what the measurements that ran did not need after all.
    let mut appended = 0;
    let problem = loop {
        let inputs = vec![mmn_schema::dispatch::Input::Target("192.0.2.1".to_owned())];
        match anchor.anchor.append(&tenant(), open, inputs).await {
            Ok(_) => appended += 1,
            Err(problem) => break problem,
        }
    };
    assert_eq!((problem.status, &*problem.reason), (503, "storage-full"));
    assert!(!accepted.is_empty());
    for id in accepted {
        assert_eq!(anchor.done(id).await.ledger.ok, 100);
    }
    anchor.anchor.close(&tenant(), open).await.unwrap();
    assert_eq!(anchor.done(open).await.ledger.accepted, appended);
}

#[tokio::test]
async fn a_full_store_refuses_new_work_and_forgets_nothing() {
    let server = TestServer::start().await;
    let small = |config: &mut mmn_anchor::Config| {
        config.results.max_bytes = 200_000;
        config.results.max_age_s = 3;
    };
    let anchor = TestAnchor::start_with(&server, "a1", small).await;
    let _module = FakeModule::start(&server, "x", "noop-1", Behaviour::default()).await;
    anchor.offers("x", "noop").await;
    // More than there is room for: what finds none waits until results have expired.
    let id = anchor.anchor.accept(&tenant(), request(4000, "all"), None).await.unwrap().measurement.id;
    let refused = eventually(|| async {
        anchor
            .anchor
            .accept(&tenant(), request(1, "all"), None)
            .await
            .err()
            .filter(|problem| problem.status == 503)
    });
    assert_eq!(refused.await.reason, "storage-full");
    let done = anchor.done(id).await;
    assert_eq!(done.ledger.ok, 4000);
    eventually(|| async { anchor.anchor.accept(&tenant(), request(1, "all"), None).await.ok() }).await;
    // An expired result shows as expired.
    eventually(|| async { (anchor.measurement(id).await.ledger.expired > 0).then_some(()) }).await;
}

#[tokio::test]
async fn who_has_not_announced_themselves_yet_is_not_denied() {
    let server = TestServer::start().await;
    let anchor = TestAnchor::start(&server).await;
    let problem = anchor.anchor.accept(&tenant(), request(1, "all"), None).await.unwrap_err();
    assert_eq!(problem.status, 422, "nobody was there before: {problem}");
    let module = FakeModule::start(&server, "x", "noop-1", Behaviour::default()).await;
    anchor.offers("x", "noop").await;
    let first = anchor.anchor.accept(&tenant(), request(1, "all"), None).await.unwrap().measurement.id;
    anchor.done(first).await;
    module.crash().await;
    anchor.crash().await;
    let next = TestAnchor::start(&server).await;
    let problem = next.anchor.accept(&tenant(), request(1, "all"), None).await.unwrap_err();
    assert_eq!((problem.status, &*problem.reason), (503, "not-ready"), "{problem}");
    let _module = FakeModule::start(&server, "x", "noop-2", Behaviour::default()).await;
    next.offers("x", "noop").await;
    let second = next.anchor.accept(&tenant(), request(1, "all"), None).await.unwrap().measurement.id;
    assert_eq!(next.done(second).await.ledger.ok, 1);
}
