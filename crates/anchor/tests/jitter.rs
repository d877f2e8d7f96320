//! A network that is slow and uneven for five minutes, by a clock that the test moves on: nobody is taken for gone.
#![expect(clippy::unwrap_used, reason = "what fails in a helper fails the test that calls it")]

mod common;

use std::time::Duration;

use common::module::{Behaviour, FakeModule};
use common::{TestAnchor, eventually, request, tenant};
use mmn_bus::testing::TestServer;
use mmn_schema::api::{Health, ModuleView};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

async fn view(anchor: &TestAnchor, module: &FakeModule) -> ModuleView {
    let views = anchor.anchor.modules().await.unwrap();
    views.into_iter().find(|view| view.instance == module.instance).unwrap()
}

/// When heartbeats arrive in five minutes, in milliseconds: one is sent each half second, in order over one connection,
/// each is up to 500 ms on its way, and a tenth of the writes takes a second, for which the next ones wait.
fn arrivals(seed: u64) -> Vec<u64> {
    let mut random = StdRng::seed_from_u64(seed);
    let (mut written, mut arrived) = (0, 0);
    let arrive = (1..=600).map(|beat: u64| {
        written = written.max(beat * 500);
        if random.random_range(0..10) == 0 {
            written += 1000;
        }
        arrived = arrived.max(written + random.random_range(0..=500));
        arrived
    });
    arrive.collect()
}

#[tokio::test]
async fn five_minutes_of_jitter_and_stalls_make_nobody_lost() {
    let server = TestServer::start().await;
    // Timers go on in real time: so does the lease.
    let anchor = TestAnchor::start_with(&server, "a1", |config| config.lease.term_ms = 24 * 3_600_000).await;
    let mut events = anchor.anchor.events();
    let uneven = Behaviour { heartbeats: false, ..Behaviour::default() };
    let module = FakeModule::start(&server, "x", "noop-1", uneven).await;
    anchor.offers("x", "noop").await;
    let (mut now, mut seq, mut worst) = (0, 0, Duration::ZERO);
    for (count, at) in (0..).zip(arrivals(20_261_122)) {
        worst = worst.max(Duration::from_millis(at - now));
        // At its longest silence, too, it is there.
        while now < at {
            let step = (at - now).min(50);
            mmn_anchor::advance(Duration::from_millis(step));
            now += step;
            let view = view(&anchor, &module).await;
            assert_ne!(view.health, Health::Lost, "after {now} ms: {}", view.evidence);
        }
        module.beat();
        seq += 1;
        eventually(|| async { (view(&anchor, &module).await.heartbeat?.seq >= seq).then_some(()) }).await;
        if count % 100 == 50 {
            let id = anchor.anchor.accept(&tenant(), request(20, "all"), None).await.unwrap().measurement.id;
            assert_eq!(anchor.done(id).await.ledger.ok, 20);
        }
    }
    assert!(
        now > 300_000 && worst > Duration::from_millis(1500),
        "it was uneven: {worst:?} at most in {now} ms"
    );
    while let Ok(event) = events.try_recv() {
        assert!(!event.kind.ends_with("lost"), "{event:?}");
    }
}
