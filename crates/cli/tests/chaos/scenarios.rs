//! What happens in an operator's day, one thing at a time: restarts in order, slow clients, a full store.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use mmn_client::Followed;
use mmn_schema::api::{Health, MeasurementState, ModuleView};
use mmn_schema::control::{NodeAnswer, NodeOrder};
use mmn_schema::id::BootId;

use crate::load::{self, Ask, Asked, bulk};
use crate::net::{LONG, Trouble};
use crate::world::{ANCHOR, Common, PLACES, World};
use crate::{block_on, kind, verdict};

/// What the load of a scenario must have come to.
async fn all_is_well(world: &World, all: &[Asked]) {
    let mut wrong = verdict::judge(world, all).await;
    wrong.extend(world.complaints());
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The lives of the instances at a vantage point.
async fn lives(world: &World, place: &str) -> Vec<BootId> {
    let page = world.net.ask(Duration::ZERO, async |client| client.modules(None).await).await.unwrap();
    let there = |it: &ModuleView| it.vp_name.as_deref() == Some(place) && it.health == Health::Healthy;
    page.items.into_iter().filter(there).map(|it| it.boot).collect()
}

#[test]
fn a_rolling_restart_of_modules_hurts_nothing() {
    block_on(async {
        let common = Common::make();
        let world = Arc::new(World::start(&common, 1).await);
        let work = Ask::new("work", bulk("left", 600, 100), Duration::ZERO);
        let work = tokio::task::spawn_local(work.run(Arc::clone(&world)));
        let before = lives(&world, "left").await;
        assert_eq!(before.len(), 2);
        let order = NodeOrder::Restart { name: kind::NAME.to_owned(), instance: None };
        let answer = world.net.ask(Duration::ZERO, async |client| client.order("left", &order).await).await;
        assert!(matches!(answer, Ok(NodeAnswer::Done { .. })), "{answer:?}");
        let renewed = async {
            loop {
                let now = lives(&world, "left").await;
                if now.len() == 2 && now.iter().all(|boot| !before.contains(boot)) {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        tokio::time::timeout(LONG, renewed).await.expect("both run again");
        let all = work.await.unwrap().unwrap();
        all_is_well(&world, &all).await;
        let ledger = &all[0].ledger;
        assert_eq!((ledger.lost, ledger.refused, ledger.superseded), (0, 0, 0), "{ledger:?}");
        world.stop().await;
    });
}

#[test]
fn anchors_hand_over_in_order_and_nothing_suffers() {
    block_on(async {
        let common = Common::make();
        let world = Arc::new(World::start(&common, 2).await);
        let work = Ask::new("work", bulk("left, right", 600, 150), Duration::ZERO);
        let work = tokio::task::spawn_local(work.run(Arc::clone(&world)));
        let singles = load::singles(Arc::clone(&world), Duration::from_secs(3));
        let singles = tokio::task::spawn_local(singles);
        for _ in 0..2 {
            tokio::time::sleep(Duration::from_millis(500)).await;
            let active = world.net.active().await.expect("one is active");
            let anchor = &world.anchors[active];
            let _busy = anchor.busy.lock().await;
            anchor.end().await.unwrap();
            let taken = async {
                while world.net.active().await != Some(1 - active) {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            };
            tokio::time::timeout(LONG, taken).await.expect("the other one takes over");
            anchor.start();
            let standing_by = async {
                // It answers, and says that it stands by.
                while !matches!(world.net.once(active, Duration::ZERO, async |client| client.ready().await).await,
                    Err(Trouble::Unheard(why)) if why.contains("standing by") || why.contains("can't take work"))
                {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            };
            tokio::time::timeout(LONG, standing_by).await.expect("it stands by");
        }
        let mut all = work.await.unwrap().unwrap();
        all.extend(singles.await.unwrap().unwrap());
        all_is_well(&world, &all).await;
        // What an instance has sent to the former one and not heard to be kept comes again: that is no loss.
        let spared = |asked: &Asked| asked.ledger.lost + asked.ledger.refused == 0;
        assert!(all.iter().all(spared), "{:?}", all.iter().map(|asked| &asked.ledger).collect::<Vec<_>>());
        world.stop().await;
    });
}

/// The most memory that a process has had, in KiB.
fn peak_kib(world: &World, anchor: usize) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", world.anchors[anchor].pid())).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[test]
fn a_slow_client_slows_only_itself() {
    const INPUTS: usize = 12_000;
    block_on(async {
        let common = Common::make();
        // Nobody is to take over because a machine is busy.
        let calm = ANCHOR.replace("term_ms = 1000", "term_ms = 20000");
        let world = Arc::new(World::start_with(&common, 3, &calm, None).await);
        let active = world.net.active().await.expect("one is active");
        let request = bulk("left", INPUTS, 0);
        let big = Ask::new("big", request, Duration::ZERO).run(Arc::clone(&world)).await.unwrap();
        let id = big[0].id;
        let before = peak_kib(&world, active);

        // Readers that ask for everything and then take nothing: over the WebSocket, and over HTTP.
        let client = world.net.client(active);
        let mut stuck = Vec::new();
        for _ in 0..20 {
            let mut follow = client.follow(id, None);
            let Followed::Records(first) = follow.next().await.unwrap() else { panic!("it has records") };
            stuck.push((follow, first));
        }
        let host = client.url().trim_start_matches("http://").to_owned();
        let path = format!("/api/v1/measurements/{id}/results?format=ndjson&follow=1");
        let ask = format!(
            "GET {path} HTTP/1.1\r\nhost: {host}\r\nauthorization: Bearer {}\r\nconnection: close\r\n\r\n",
            world.token
        );
        let mut deaf: Vec<TcpStream> = (0..20).map(|_| TcpStream::connect(&host).unwrap()).collect();
        for reader in &mut deaf {
            reader.write_all(ask.as_bytes()).unwrap();
        }

        // Others are served meanwhile.
        let mut all = Ask::new("other", bulk("left, right", 500, 1), Duration::ZERO)
            .run(Arc::clone(&world))
            .await
            .unwrap();
        all.extend(load::singles(Arc::clone(&world), Duration::from_secs(1)).await.unwrap());
        assert!(all.len() > 2 && all.iter().all(|asked| asked.ledger.closes()));
        let more = peak_kib(&world, active) - before;
        assert!(more < 48 * 1024, "40 readers that read nothing cost {more} KiB");

        // None of them has lost anything.
        for (mut follow, mut records) in stuck.drain(..2) {
            while let Followed::Records(more) = follow.next().await.unwrap() {
                records.extend(more);
            }
            assert_eq!(records.len(), INPUTS);
        }
        let reader = deaf.pop().unwrap();
        let lines = tokio::task::spawn_blocking(move || lines(reader)).await.unwrap();
        assert_eq!(lines, INPUTS);
        all.extend(big);
        all_is_well(&world, &all).await;
        world.stop().await;
    });
}

/// How many records an HTTP answer holds.
fn lines(mut reader: TcpStream) -> usize {
    let mut text = String::new();
    reader.read_to_string(&mut text).unwrap();
    text.matches("\"task\":\"").count()
}

#[test]
fn a_full_store_under_fault_refuses_and_forgets_nothing() {
    block_on(async {
        let small =
            ANCHOR.replace("[results]\nmax_bytes = 67108864", "[results]\nmax_bytes = 400000\nmax_age_s = 4");
        let common = Common::make();
        let world = Arc::new(World::start_with(&common, 4, &small, None).await);
        // More than there is room for: what finds none waits until results have expired.
        let request = bulk("left, right", 2000, 1);
        let big = tokio::task::spawn_local(accepted(Arc::clone(&world), request));
        let id = big.await.unwrap();
        let full = async {
            loop {
                let one = bulk("left", 1, 0);
                let measure = mmn_client::Measure::new(&one);
                let active = world.net.preferred();
                match tokio::time::timeout(LONG, world.net.client(active).measure(&measure)).await {
                    Ok(Err(error)) if error.problem().is_some_and(|it| it.reason == "storage-full") => return,
                    _ => tokio::time::sleep(Duration::from_millis(20)).await,
                }
            }
        };
        tokio::time::timeout(LONG, full).await.expect("new work is refused");
        for round in 0..3 {
            let active = world.net.active().await.unwrap_or_else(|| world.net.preferred());
            let process = [&world.anchors[active], &world.server, &world.nodes[0]][round];
            let _busy = process.busy.lock().await;
            process.kill().await;
            process.start();
            tokio::time::sleep(Duration::from_millis(700)).await;
        }
        let over = async {
            loop {
                let now =
                    world.net.ask(Duration::ZERO, async |client| client.measurement(id).await).await.unwrap();
                assert!(now.ledger.closes());
                if now.state == MeasurementState::Done {
                    return now.ledger;
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        };
        let ledger = tokio::time::timeout(LONG, over).await.expect("all of it ends");
        assert_eq!(
            (ledger.accepted, ledger.ok, ledger.failed, ledger.pending),
            (4000, 3600, 400, 0),
            "{ledger:?}"
        );
        let taken = async {
            while world.net.active().await.is_none() {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        tokio::time::timeout(LONG, taken).await.expect("there is room again");
        let complaints = world.complaints();
        assert!(complaints.is_empty(), "{complaints:?}");
        assert_eq!(PLACES.len(), world.nodes.len());
        world.stop().await;
    });
}

async fn accepted(
    world: Arc<World>,
    request: mmn_schema::api::MeasurementRequest,
) -> mmn_schema::id::MeasurementId {
    let measure = mmn_client::Measure::new(&request);
    let asked = world.net.ask(Duration::ZERO, async |client| client.measure(&measure).await).await;
    asked.unwrap().id
}
