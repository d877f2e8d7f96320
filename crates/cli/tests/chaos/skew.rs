//! Clocks that are a year wrong. These tests want `MMN_FAKETIME`, the path of libfaketime: `scripts/check-skew.sh`.

use std::sync::Arc;
use std::time::Duration;

use mmn_schema::api::ModuleView;

use crate::load::{Ask, bulk};
use crate::world::{ANCHOR, Common, Skew, World};
use crate::{block_on, verdict};

const YEAR_NS: i64 = 365 * 24 * 3600 * 1_000_000_000;
/// By so much a clock that is right may differ from another one in a test.
const HOUR_NS: i64 = 3600 * 1_000_000_000;

/// Runs a network in which the clocks of `whose` are `by` ahead, and measures from both vantage points. `ahead` years is
/// by how much what the vantage point says of its time differs from the anchor's.
fn measures(number: usize, whose: &'static [&'static str], by: &'static str, ahead: i64) {
    let Ok(library) = std::env::var("MMN_FAKETIME") else { return };
    block_on(async {
        let common = Common::make();
        let skew = Skew { whose, library, by };
        let world = Arc::new(World::start_with(&common, number, ANCHOR, Some(&skew)).await);
        let work = Ask::new("work", bulk("left, right", 200, 20), Duration::ZERO);
        let all = work.run(Arc::clone(&world)).await.unwrap();
        let mut wrong = verdict::judge(&world, &all).await;
        wrong.extend(world.complaints());
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
        assert_eq!((all[0].ledger.ok, all[0].ledger.failed), (360, 40));

        // The times in a result are what its vantage point's clock said.
        let accepted =
            world.net.ask(Duration::ZERO, async |client| client.measurement(all[0].id).await).await;
        let accepted = accepted.unwrap().accepted_at.unix_ns();
        let mut seen = [0, 0];
        for record in &all[0].read {
            let right = record.vp_name.as_deref() == Some("right");
            seen[usize::from(right)] += 1;
            let wrong = if whose.contains(&"right") && !right { 0 } else { ahead };
            let off = record.started_at.unwrap().unix_ns() - accepted - wrong * YEAR_NS;
            assert!(off.abs() < HOUR_NS, "off by {off} ns at {:?}", record.vp_name);
            assert!(record.duration_ns.unwrap() < 60_000_000_000);
        }
        assert_eq!(seen, [200, 200]);

        // Whoever is killed is found out by the anchor's own clock, and is back; nobody else is suspect meanwhile.
        let children = world.nodes[1].children();
        crate::process::signal(children[0], rustix::process::Signal::KILL);
        let again = Ask::new("again", bulk("right", 50, 5), Duration::ZERO);
        let again = again.run(Arc::clone(&world)).await.unwrap();
        assert_eq!(again[0].ledger.accepted, again[0].ledger.ok + again[0].ledger.failed);
        let page = world.net.ask(Duration::ZERO, async |client| client.modules(None).await).await.unwrap();
        let left = |it: &&ModuleView| it.vp_name.as_deref() == Some("left");
        assert!(page.items.iter().filter(left).all(|it| it.evidence.contains("heard")), "{:?}", page.items);
        world.stop().await;
    });
}

#[test]
fn a_vantage_point_a_year_ahead_works() {
    measures(10, &["right"], "+365d", 1);
}

#[test]
fn a_vantage_point_a_year_behind_works() {
    measures(11, &["right"], "-365d", -1);
}

#[test]
fn anchors_a_year_ahead_work() {
    measures(12, &["first", "second"], "+365d", -1);
}
