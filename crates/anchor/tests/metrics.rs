//! What operators are told: counts that add up, also over a take-over, and readers that fall behind.

mod common;

use common::module::{Behaviour, FakeModule};
use common::{TestAnchor, eventually, request, tenant, viewer};
use mmn_anchor::{Metrics, Next};
use mmn_bus::testing::TestServer;
use mmn_schema::outcome::Outcome;

fn held() -> Behaviour {
    Behaviour { prompt: false, ..Behaviour::default() }
}

fn ended(metrics: &Metrics) -> u64 {
    metrics.tasks_ended_reasons.values().sum()
}

#[tokio::test]
async fn what_ended_before_a_take_over_is_counted_once() {
    let server = TestServer::start().await;
    let first = TestAnchor::start(&server).await;
    let _prompt = FakeModule::start(&server, "x", "noop-1", Behaviour::default()).await;
    let slow = FakeModule::start(&server, "y", "noop-2", held()).await;
    first.offers("x", "noop").await;
    first.offers("y", "noop").await;
    let id = first.anchor.accept(&tenant(), request(5, "all"), None).await.unwrap().measurement.id;
    let before = eventually(|| async {
        let metrics = first.anchor.metrics().await;
        (ended(&metrics) == 5).then_some(metrics)
    })
    .await;
    slow.given(5).await;
    assert_eq!((before.kinds["noop"].pending, before.kinds["noop"].ended_total), (5, 5));
    assert_eq!((before.tasks_pending, before.result_latency.count()), (5, 5));
    assert_eq!(before.measurement_duration.count(), 0);
    assert!(before.write_latency.count() > 0 && before.write_latency.sum() > std::time::Duration::ZERO);
    assert!(before.standing.ready && before.standing.nats_connected);
    first.crash().await;

    let second = TestAnchor::start_with(&server, "a2", |_| {}).await;
    let between = second.anchor.metrics().await;
    assert_eq!((ended(&between), between.kinds["noop"].pending), (0, 5));
    slow.answer();
    assert_eq!(second.done(id).await.ledger.ok, 10);
    let after = second.anchor.metrics().await;
    assert_eq!(after.tasks_ended_reasons[&(Outcome::Ok, "")], 5);
    assert_eq!((after.kinds["noop"].pending, after.kinds["noop"].ended_total), (0, 5));
    assert_eq!((after.measurement_duration.count(), after.result_latency.count()), (1, 5));
    assert_eq!(after.epoch, 2);
}

#[tokio::test]
async fn a_reader_that_falls_behind_is_seen_until_it_has_caught_up() {
    let server = TestServer::start().await;
    let anchor = TestAnchor::start(&server).await;
    let _module = FakeModule::start(&server, "x", "noop-1", Behaviour::default()).await;
    anchor.offers("x", "noop").await;
    let open = mmn_schema::api::MeasurementRequest { open: true, ..request(1, "all") };
    let id = anchor.anchor.accept(&tenant(), open, None).await.unwrap().measurement.id;
    let mut reader = anchor.anchor.reader(&viewer(), id, None).await.unwrap();
    let mut read = 0;
    while let Next::Records(records) = reader.next(1000).await.unwrap() {
        read += records.len();
        if read == 1 {
            // While it does nothing far more is kept than is held for it, a message for each of these.
            for number in 1..=64 {
                let input = mmn_schema::dispatch::Input::Target(format!("t{number}"));
                anchor.anchor.append(&tenant(), id, vec![input]).await.unwrap();
                eventually(|| async { (anchor.measurement(id).await.ledger.ok > number).then_some(()) })
                    .await;
            }
            anchor.anchor.close(&tenant(), id).await.unwrap();
            anchor.done(id).await;
        }
    }
    assert_eq!(read, 65);
    let standing = anchor.anchor.metrics().await.standing;
    assert!(standing.readers_lagged_total >= 1, "{standing:?}");
    assert_eq!(standing.readers_behind, 0, "{standing:?}");
}
