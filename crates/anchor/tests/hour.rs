//! A vantage point is cut off for an hour, by a clock that the test moves on.
#![expect(clippy::unwrap_used, reason = "what fails in a helper fails the test that calls it")]

mod common;

use std::time::Duration;

use common::module::{Behaviour, FakeModule};
use common::{TestAnchor, eventually, request, tenant};
use mmn_bus::testing::TestServer;
use mmn_schema::api::{Health, MeasurementRequest, ModuleView};
use mmn_schema::outcome::{Outcome, code};
use mmn_schema::time::Span;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// By how much the clock is moved at a time: less than what makes an instance suspect that is heard at each step.
const STEP: Duration = Duration::from_secs(5);

/// A way to the server that can be cut: what is open is closed, and nothing new comes about.
async fn way(to: String) -> (String, watch::Sender<bool>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("nats://{}", listener.local_addr().unwrap());
    let (cut, is_cut) = watch::channel(false);
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let (to, mut is_cut) = (to.clone(), is_cut.clone());
            tokio::spawn(async move {
                if *is_cut.borrow_and_update() {
                    return;
                }
                let Ok(mut server) = TcpStream::connect(to.trim_start_matches("nats://")).await else {
                    return;
                };
                tokio::select! {
                    _ = tokio::io::copy_bidirectional(&mut client, &mut server) => {}
                    _ = is_cut.wait_for(|cut| *cut) => {}
                }
            });
        }
    });
    (url, cut)
}

async fn view(anchor: &TestAnchor, module: &FakeModule) -> ModuleView {
    let views = anchor.anchor.modules().await.unwrap();
    views.into_iter().find(|view| view.instance == module.instance).unwrap()
}

/// Lets time pass, in which this module is heard as it should be.
async fn pass(anchor: &TestAnchor, heard: &FakeModule, time: Duration) {
    let steps = u32::try_from(time.as_nanos() / STEP.as_nanos()).unwrap();
    for _ in 0..steps {
        mmn_anchor::advance(STEP);
        let before = view(anchor, heard).await;
        assert_eq!(before.health, Health::Healthy, "{}", before.evidence);
        let seq = before.heartbeat.map_or(0, |beat| beat.seq);
        heard.beat();
        eventually(|| async {
            let now = view(anchor, heard).await.heartbeat?.seq;
            (now > seq).then_some(())
        })
        .await;
    }
}

fn within(deadline: Duration, tasks: usize, from: &str) -> MeasurementRequest {
    let millis = u64::try_from(deadline.as_millis()).unwrap();
    MeasurementRequest { deadline: Some(Span::from_millis(millis)), ..request(tasks, from) }
}

#[tokio::test]
async fn a_vantage_point_that_is_cut_off_for_an_hour_comes_back_to_true_accounts() {
    let server = TestServer::start().await;
    let anchor = TestAnchor::start_with(&server, "a1", |config| {
        // Timers go on in real time: so does the lease.
        config.lease.term_ms = 24 * 3_600_000;
        // Fewer and longer steps.
        config.liveness.suspect_ms = 8000;
        config.liveness.lost_ms = 20_000;
        config.liveness.lost_most_ms = 45_000;
    })
    .await;
    let (url, cut) = way(server.url()).await;
    let held = Behaviour { prompt: false, credits: Some(8), ..Behaviour::default() };
    let away = FakeModule::start_over(&server, url, ["away", "away"], "noop-away", held).await;
    let quiet = Behaviour { heartbeats: false, ..Behaviour::default() };
    let home = FakeModule::start(&server, "home", "noop-home", quiet).await;
    anchor.offers("away", "noop").await;
    anchor.offers("home", "noop").await;

    // Each has tasks that the instance holds when the way is cut, and tasks that wait; together they use up its credits.
    let at = common::vp("away").to_string();
    let minute = anchor.anchor.accept(&tenant(), within(Duration::from_mins(1), 4, &at), None).await.unwrap();
    let minute = minute.measurement.id;
    away.given(4).await;
    let hour = anchor.anchor.accept(&tenant(), within(Duration::from_hours(1), 6, &at), None).await.unwrap();
    let hour = hour.measurement.id;
    away.given(8).await;
    let late = anchor.anchor.accept(&tenant(), within(Duration::from_mins(1), 3, &at), None).await.unwrap();
    let late = late.measurement.id;

    cut.send_replace(true);
    pass(&anchor, &home, Duration::from_secs(50)).await;
    let gone = view(&anchor, &away).await;
    assert_eq!(gone.health, Health::Lost, "{}", gone.evidence);
    assert!(gone.evidence.contains("not heard") || gone.evidence.contains("listens"), "{}", gone.evidence);

    // Whoever is there goes on all the while.
    let elsewhere = common::vp("home").to_string();
    let meanwhile = anchor.anchor.accept(&tenant(), request(50, &elsewhere), None).await.unwrap();
    assert_eq!(anchor.done(meanwhile.measurement.id).await.ledger.ok, 50);

    pass(&anchor, &home, Duration::from_mins(2)).await;
    let ended = anchor.done(minute).await.ledger;
    assert_eq!((ended.lost, ended.accepted), (4, 4));
    assert_eq!(ended.reasons[&Outcome::Lost][code::INSTANCE_LOST], 4, "an instance had them");
    let ended = anchor.done(late).await.ledger;
    assert_eq!((ended.lost, ended.accepted), (3, 3));
    assert_eq!(ended.reasons[&Outcome::Lost][code::NO_INSTANCE], 3, "nobody ever had them");
    assert_eq!(anchor.measurement(hour).await.ledger.pending, 6, "they have time left");

    pass(&anchor, &home, Duration::from_mins(55)).await;
    assert_eq!(anchor.measurement(hour).await.ledger.pending, 6);

    // It comes back in the same life, with everything that it took an hour ago.
    cut.send_replace(false);
    away.answer();
    let done = anchor.done(hour).await.ledger;
    assert_eq!((done.ok, done.lost), (6, 0), "{done:?}");
    anchor.each(hour).await;
    for (id, tasks) in [(minute, 4), (late, 3)] {
        let ledger = anchor.measurement(id).await.ledger;
        assert_eq!((ledger.lost, ledger.ok, ledger.accepted), (tasks, 0, tasks), "what has ended has ended");
        assert!(anchor.each(id).await.iter().all(|record| record.outcome == Outcome::Lost));
    }
    eventually(|| async { (view(&anchor, &away).await.health == Health::Healthy).then_some(()) }).await;
    let next = anchor.anchor.accept(&tenant(), request(20, &at), None).await.unwrap().measurement.id;
    assert_eq!(anchor.done(next).await.ledger.ok, 20);
}
