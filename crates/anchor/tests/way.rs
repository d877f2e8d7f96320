//! The way of a measurement through the anchor: accepted, dispatched, measured, kept, closed, read.

mod common;

use common::module::{Behaviour, FakeModule};
use common::{LONG, TestAnchor, request, tenant, viewer, vp};
use mmn_anchor::{RollupAsk, Viewer};
use mmn_bus::testing::TestServer;
use mmn_schema::api::MeasurementState;
use mmn_schema::outcome::Outcome;

#[tokio::test]
async fn one_task_goes_all_the_way() {
    let server = TestServer::start().await;
    let anchor = TestAnchor::start(&server).await;
    let module = FakeModule::start(&server, "x", "noop-1", Behaviour::default()).await;
    anchor.offers("x", "noop").await;
    let accepted = anchor.anchor.accept_and_wait(&tenant(), request(1, "all"), None, LONG).await.unwrap();
    let measurement = accepted.measurement;
    assert!(!accepted.existing);
    assert_eq!(measurement.state, MeasurementState::Done);
    assert_eq!((measurement.ledger.ok, measurement.ledger.answered), (1, 1));
    let results = measurement.results.unwrap();
    assert_eq!(results.len(), 1);
    assert_eq!(results[0].vp, Some(vp("x")));
    assert_eq!(results[0].instance.as_ref(), Some(&module.instance));
    assert_eq!(anchor.results(measurement.id, None).await, results);
    let trace = anchor.anchor.trace(&viewer(), results[0].task).await.unwrap();
    let hops: Vec<_> = trace.hops.iter().map(|hop| hop.hop.as_str()).collect();
    assert_eq!(
        hops,
        ["accepted", "dispatched", "acknowledged", "started", "ended", "received", "kept", "closed"]
    );
    assert_eq!(trace.outcome, Some(Outcome::Ok));
    let rollups = anchor.anchor.rollups(&viewer(), measurement.id, RollupAsk::default()).await.unwrap();
    assert_eq!(rollups.len(), 1);
    assert_eq!(rollups[0].numbers["rtt_min_ns"].count, 1);
}

#[tokio::test]
async fn a_private_measurement_is_its_tenants_alone() {
    let server = TestServer::start().await;
    let anchor = TestAnchor::start(&server).await;
    let _module = FakeModule::start(&server, "x", "noop-1", Behaviour::default()).await;
    anchor.offers("x", "noop").await;
    let mut public = request(1, "all");
    public.visibility = mmn_schema::api::Visibility::Public;
    let other = Viewer::Tenant("other".parse().unwrap());
    for (request, visible) in [(request(1, "all"), false), (public, true)] {
        let accepted = anchor.anchor.accept_and_wait(&tenant(), request, None, LONG).await.unwrap();
        let id = accepted.measurement.id;
        for viewer in [&other, &Viewer::Public] {
            assert_eq!(anchor.anchor.measurement(viewer, id).await.is_ok(), visible);
            assert_eq!(anchor.anchor.reader(viewer, id, None).await.is_ok(), visible);
            assert_eq!(anchor.anchor.rollups(viewer, id, RollupAsk::default()).await.is_ok(), visible);
        }
    }
}

#[tokio::test]
async fn an_idempotency_key_leads_to_one_measurement() {
    let server = TestServer::start().await;
    let anchor = TestAnchor::start(&server).await;
    let module = FakeModule::start(&server, "x", "noop-1", Behaviour::default()).await;
    anchor.offers("x", "noop").await;
    let key = Some("k".to_owned());
    let first = anchor.anchor.accept(&tenant(), request(2, "all"), key.clone()).await.unwrap();
    let second = anchor.anchor.accept(&tenant(), request(2, "all"), key.clone()).await.unwrap();
    assert_eq!((first.existing, second.existing), (false, true));
    assert_eq!(first.measurement.id, second.measurement.id);
    let problem = anchor.anchor.accept(&tenant(), request(3, "all"), key.clone()).await.unwrap_err();
    assert_eq!((problem.status, problem.reason.as_str()), (422, "idempotency-key"));
    anchor.done(first.measurement.id).await;
    anchor.stop().await.unwrap();
    // Nothing that ended stays in memory: the key leads into the store.
    let forgetful = |config: &mut mmn_anchor::Config| config.ledger.closed_in_memory = 0;
    let anchor = TestAnchor::start_with(&server, "a1", forgetful).await;
    anchor.offers("x", "noop").await;
    let third = anchor.anchor.accept(&tenant(), request(2, "all"), key).await.unwrap();
    assert_eq!((third.existing, third.measurement.id), (true, first.measurement.id));
    assert_eq!(module.tasks(), 2);
}

#[tokio::test]
async fn a_hundred_thousand_tasks_go_through_and_a_reader_resumes_anywhere() {
    let server = TestServer::start().await;
    let anchor = TestAnchor::start(&server).await;
    let _one = FakeModule::start(&server, "x", "noop-1", Behaviour::default()).await;
    let _two = FakeModule::start(&server, "y", "noop-2", Behaviour::default()).await;
    anchor.offers("x", "noop").await;
    anchor.offers("y", "noop").await;
    let accepted = anchor.anchor.accept(&tenant(), request(50_000, "all"), None).await.unwrap();
    let id = accepted.measurement.id;
    let all = anchor.results(id, None).await;
    let mut indices: Vec<u64> = all.iter().map(|record| record.task.index).collect();
    indices.sort_unstable();
    assert_eq!(indices, (0..100_000).collect::<Vec<_>>());
    assert!(all.windows(2).all(|pair| pair[0].cursor < pair[1].cursor));
    for at in [0, 1, 255, 70_000, 99_998] {
        let rest = anchor.results(id, all[at].cursor).await;
        assert_eq!(rest.len(), all.len() - at - 1);
        assert_eq!(rest.first().map(|record| record.task), Some(all[at + 1].task));
    }
    let done = anchor.done(id).await;
    assert_eq!((done.ledger.ok, done.ledger.pending), (100_000, 0));
}
