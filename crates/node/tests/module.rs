//! A module against a real server and an anchor that does what the test says.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::large_futures,
    reason = "what fails here fails the test, with its reason; a test's future lives once"
)]

mod common;

use common::kinds::{FICKLE, GATE, KINDS, PASSES};
use common::{Anchor, Said, plain, read, soon, vp};
use futures::StreamExt;
use mmn_bus::testing::TestServer;
use mmn_node::module::{Kind, ModuleArgs, ModuleError};
use std::collections::BTreeMap;

use mmn_schema::announce::{InstanceState, KindsDigest, Role};
use mmn_schema::body::Body;
use mmn_schema::control::{Control, Controlled};
use mmn_schema::dispatch::{Held, Input, Receipt, TaskBatch};
use mmn_schema::encoding::Encoding;
use mmn_schema::id::{Epoch, InstanceId};
use mmn_schema::outcome::{Outcome, code};
use mmn_schema::subject::{Prefix, Subject, filter};
use serde_json::json;
use tokio::task::{JoinHandle, LocalSet};
use tokio_util::sync::CancellationToken;

struct Module {
    instance: InstanceId,
    shutdown: CancellationToken,
    task: JoinHandle<Result<(), ModuleError>>,
}

fn start(server: &TestServer, name: &str) -> Module {
    start_with(server, name, KINDS)
}

fn start_with(server: &TestServer, name: &str, kinds: &[&'static dyn mmn_kit::Registered]) -> Module {
    let vp = vp();
    let creds = server.module_dir(name, &[vp.as_str()]).join(mmn_bus::identity::CREDS);
    let instance: InstanceId = name.parse().unwrap();
    let args = ModuleArgs {
        module: "notes".to_owned(),
        urls: vec![server.url()],
        creds,
        tls: mmn_bus::connect::Tls::default(),
        prefix: Prefix::default(),
        vp,
        instance: instance.clone(),
        kinds: kinds.iter().copied().map(Kind::from).collect(),
        simulated: false,
        heartbeat: mmn_node::module::HEARTBEAT,
        node: None,
    };
    let shutdown = CancellationToken::new();
    let task = tokio::task::spawn_local(mmn_node::module::run(args, shutdown.clone()));
    Module { instance, shutdown, task }
}

impl Module {
    async fn end(self) {
        self.shutdown.cancel();
        soon(self.task).await.unwrap().unwrap();
    }
}

/// Runs a test with a server, an anchor, and a module that has announced itself.
async fn scene(test: impl AsyncFnOnce(&mut TestServer, &mut Anchor, Module)) {
    LocalSet::new()
        .run_until(async {
            let mut server = TestServer::start().await;
            let mut anchor = Anchor::start(&server).await;
            let module = start(&server, "notes-1");
            let (announcement, _) = anchor.module().await;
            assert_eq!(announcement.instance, module.instance);
            test(&mut server, &mut anchor, module).await;
        })
        .await;
}

fn accepted(receipt: &Receipt) {
    assert!(matches!(receipt, Receipt::Accepted { .. }), "{receipt:?}");
}

fn refused(receipt: &Receipt) -> &str {
    match receipt {
        Receipt::Refused { reason, .. } => &reason.code,
        other => panic!("not refused: {other:?}"),
    }
}

fn release(tasks: usize) {
    GATE.with(|gate| gate.add_permits(tasks));
}

#[tokio::test]
async fn a_task_is_taken_performed_and_answered() {
    scene(async |_, anchor, module| {
        let batch = anchor.batch(plain(), &["a", "b"]);
        let msm = batch.measurement;
        accepted(&anchor.send(&module.instance, batch).await);
        let (subject, said) = anchor.said().await;
        assert_eq!(subject, Subject::Res(vp(), "note".parse().unwrap(), msm));
        let Said::Results(results) = said else { panic!("{said:?}") };
        assert_eq!((results.seq, results.epoch, results.anchor.as_str()), (1, Epoch(1), "a1"));
        assert_eq!(results.records.len(), 2);
        for (record, target) in results.records.iter().zip(["a", "b"]) {
            assert_eq!((record.outcome, record.last, record.answered), (Outcome::Ok, true, Some(true)));
            assert_eq!(record.body.to_json().unwrap(), json!({ "text": target }));
        }
        anchor.nothing_was_said().await;
        module.end().await;
    })
    .await;
}

#[tokio::test]
async fn a_receipt_is_left_out_after_all_results_of_its_batch() {
    scene(async |_, anchor, module| {
        let collected = filter::receipts(&Prefix::default(), &anchor.id);
        let mut receipts = anchor.bus.client().subscribe(collected).await.unwrap();
        anchor.bus.barrier().await.unwrap();
        let quick = anchor.batch(plain(), &["a"]);
        anchor.dispatch(&module.instance, quick).await;
        assert_eq!(anchor.records(1).await.len(), 1);
        let slow = anchor.batch(json!({ "does": "hold" }), &["x"]);
        let seq = slow.seq;
        anchor.dispatch(&module.instance, slow).await;
        let message = soon(receipts.next()).await.unwrap();
        let subject = Subject::parse(&Prefix::default(), &message.subject).unwrap();
        assert_eq!(subject, Subject::Receipt(vp(), module.instance.clone(), anchor.id.clone(), seq));
        accepted(&read(&message));
        release(1);
        anchor.records(1).await;
        // What is refused has no results: its receipt comes in any case.
        let wrong = anchor.batch(json!({ "does": 7 }), &["x"]);
        anchor.dispatch(&module.instance, wrong).await;
        assert_eq!(refused(&read(&soon(receipts.next()).await.unwrap())), code::PARAMETERS);
        module.end().await;
    })
    .await;
}

#[tokio::test]
async fn a_module_says_what_it_is_whenever_it_is_asked_or_connects_again() {
    scene(async |server, anchor, module| {
        anchor.discover().await;
        let (announcement, info) = anchor.module().await;
        let boot = announcement.boot;
        assert_eq!(info.module, "notes");
        assert_eq!(info.kinds[0].name.as_str(), "note");
        assert!(info.kinds[0].unavailable.is_none());
        assert_eq!(info.credits, Some(64 + 16));
        let before = anchor.heartbeat_that(|_| true).await.seq;
        server.server().restart().await.unwrap();
        anchor.connected_again().await;
        // Before it has announced itself again it sends none.
        anchor.heartbeat_that(|beat| beat.seq > before).await;
        anchor.discover().await;
        let (again, _) = anchor.module().await;
        assert_eq!((again.boot, &again.instance), (boot, &module.instance));
        accepted(&anchor_send(anchor, &module).await);
        module.end().await;
    })
    .await;
}

#[tokio::test]
async fn what_an_anchor_knows_of_its_kinds_a_module_does_not_repeat() {
    scene(async |_, anchor, module| {
        anchor.ask(&[], None).await;
        let (first, info) = anchor.module().await;
        let digest = info.digest.unwrap();
        assert_eq!(digest, KindsDigest::of(&info.kinds));
        anchor.ask(std::slice::from_ref(&digest), None).await;
        let again = anchor.announcement().await.0;
        let Role::Known(known) = again.role else { panic!("{again:?}") };
        assert_eq!((again.boot, &known.kinds, known.credits), (first.boot, &digest, info.credits));
        assert_eq!((known.module, known.unavailable), (info.module, BTreeMap::new()));
        // It is not asked; then it is, by an anchor that knows other kinds.
        anchor.ask(&[digest], Some(&[&"somebody-1".parse().unwrap()])).await;
        let other = KindsDigest::of(&[]);
        anchor.ask(&[other], Some(&[&"somebody-1".parse().unwrap(), &module.instance])).await;
        assert!(matches!(anchor.announcement().await.0.role, Role::Module(full) if full.kinds == info.kinds));
        module.end().await;
    })
    .await;
}

async fn anchor_send(anchor: &mut Anchor, module: &Module) -> Receipt {
    let batch = anchor.batch(plain(), &["x"]);
    anchor.send(&module.instance, batch).await
}

#[tokio::test]
async fn heartbeats_carry_the_load() {
    scene(async |_, anchor, module| {
        let batch = anchor.batch(json!({ "does": "hold" }), &["x"; 70]);
        accepted(&anchor.send(&module.instance, batch).await);
        let beat = anchor.heartbeat_that(|beat| beat.load.running > 0).await;
        assert_eq!((beat.load.running, beat.load.queued, beat.load.free), (64, 6, 10));
        assert_eq!(beat.state, InstanceState::Ready);
        assert!(beat.load.rss_bytes.is_some() && beat.load.cpu_ns.is_some() && beat.clock.is_some());
        release(70);
        assert_eq!(anchor.records(70).await.len(), 70);
        anchor.heartbeat_that(|beat| beat.load.done == 70 && beat.load.free == 80).await;
        module.end().await;
    })
    .await;
}

#[tokio::test]
async fn what_is_beyond_its_credits_is_declined_at_once() {
    scene(async |_, anchor, module| {
        let batch = anchor.batch(json!({ "does": "hold" }), &["x"; 80]);
        accepted(&anchor.send(&module.instance, batch).await);
        let receipt = anchor_send(anchor, &module).await;
        assert_eq!(receipt, Receipt::Busy { instance: module.instance.clone(), free: 0 });
        release(80);
        anchor.records(80).await;
        accepted(&anchor_send(anchor, &module).await);
        module.end().await;
    })
    .await;
}

#[tokio::test]
async fn refusals_say_why() {
    scene(async |_, anchor, module| {
        let send = async |anchor: &mut Anchor, change: &dyn Fn(&mut TaskBatch)| {
            let mut batch = anchor.batch(plain(), &["x"]);
            change(&mut batch);
            anchor.send(&module.instance, batch).await
        };
        let params = |text: serde_json::Value| Body::from_json(text).unwrap();
        let wrong = params(json!({ "does": "answer", "colour": "red" }));
        assert_eq!(refused(&send(anchor, &|batch| batch.params = wrong.clone()).await), code::PARAMETERS);
        assert_eq!(refused(&send(anchor, &|batch| batch.tasks.clear()).await), code::PARAMETERS);
        let other = send(anchor, &|batch| batch.kind = "ping".parse().unwrap()).await;
        assert_eq!(refused(&other), code::UNSUPPORTED);
        accepted(&send(anchor, &|batch| batch.epoch = Epoch(5)).await);
        assert_eq!(refused(&send(anchor, &|batch| batch.epoch = Epoch(4)).await), code::STALE_EPOCH);
        module.end().await;
    })
    .await;
}

#[tokio::test]
async fn a_cancelled_task_ends_as_cancelled_and_only_once() {
    scene(async |_, anchor, module| {
        let batch = anchor.batch(json!({ "does": "hold" }), &["x"; 66]);
        let (epoch, measurement) = (anchor.epoch, batch.measurement);
        accepted(&anchor.send(&module.instance, batch.clone()).await);
        let order = Control::Cancel { epoch, measurement, indices: Some(vec![0, 65]) };
        assert_eq!(anchor.control(&module.instance, order).await, Controlled::Done { tasks: 2 });
        let records = anchor.records(2).await;
        assert!(records.iter().all(|record| record.outcome == Outcome::Cancelled && record.last));
        let order = Control::Cancel { epoch, measurement, indices: None };
        assert_eq!(anchor.control(&module.instance, order).await, Controlled::Done { tasks: 64 });
        assert_eq!(anchor.records(64).await.len(), 64);
        // What was on its way when the measurement was called off ends as well.
        accepted(&anchor.send(&module.instance, batch).await);
        assert!(anchor.records(66).await.iter().all(|record| record.outcome == Outcome::Cancelled));
        anchor.nothing_was_said().await;
        module.end().await;
    })
    .await;
}

#[tokio::test]
async fn a_kind_that_panics_harms_nobody() {
    scene(async |_, anchor, module| {
        let holding = anchor.batch(json!({ "does": "hold" }), &["x"]);
        accepted(&anchor.send(&module.instance, holding).await);
        let breaking = anchor.batch(json!({ "does": "panic" }), &["x"; 3]);
        accepted(&anchor.send(&module.instance, breaking).await);
        for record in anchor.records(3).await {
            let reason = record.reason.unwrap();
            assert_eq!((record.outcome, &*reason.code), (Outcome::Failed, code::INTERNAL));
            assert!(reason.detail.unwrap().contains("as asked"));
        }
        release(1);
        assert_eq!(anchor.records(1).await[0].outcome, Outcome::Ok);
        module.end().await;
    })
    .await;
}

#[tokio::test]
async fn a_deadline_that_passes_ends_the_task() {
    scene(async |_, anchor, module| {
        let mut batch = anchor.batch(json!({ "does": "hold" }), &["x"; 70]);
        batch.deadline_ns = 1_000_000;
        accepted(&anchor.send(&module.instance, batch).await);
        let records = anchor.records(70).await;
        for record in records {
            assert_eq!((record.outcome, &*record.reason.unwrap().code), (Outcome::Lost, code::DEADLINE));
        }
        module.end().await;
    })
    .await;
}

#[tokio::test]
async fn what_was_not_kept_is_sent_again() {
    scene(async |_, anchor, module| {
        for _ in 0..3 {
            accepted(&anchor_send(anchor, &module).await);
        }
        let first: Vec<_> = [anchor.results().await, anchor.results().await, anchor.results().await].into();
        assert_eq!(first.iter().map(|batch| batch.seq).collect::<Vec<_>>(), [1, 2, 3]);
        anchor.sync(&module.instance, 1, true, false).await;
        assert_eq!(anchor.results().await, first[1]);
        assert_eq!(anchor.results().await, first[2]);
        let synced = anchor.synced().await;
        assert_eq!((synced.seq, synced.high, synced.free), (anchor.seq, 3, 80));
        assert!(synced.held.is_empty());
        anchor.sync(&module.instance, 3, true, false).await;
        anchor.synced().await;
        module.end().await;
    })
    .await;
}

#[tokio::test]
async fn notes_are_compared_after_the_results() {
    scene(async |_, anchor, module| {
        let holding = anchor.batch(json!({ "does": "hold" }), &["x", "y"]);
        let measurement = holding.measurement;
        accepted(&anchor.send(&module.instance, holding).await);
        anchor.sync(&module.instance, 0, false, false).await;
        let held = anchor.synced().await.held;
        assert_eq!(held, [Held { measurement, indices: vec![0, 1] }]);
        release(2);
        anchor.records(2).await;
        anchor.sync(&module.instance, 0, false, false).await;
        assert!(anchor.synced().await.held.is_empty());
        module.end().await;
    })
    .await;
}

#[tokio::test]
async fn a_new_term_drops_what_waits_and_inherits_what_is_owed() {
    scene(async |server, anchor, module| {
        accepted(&anchor_send(anchor, &module).await);
        anchor.results().await;
        let holding = anchor.batch(json!({ "does": "hold" }), &["x"; 70]);
        accepted(&anchor.send(&module.instance, holding).await);
        let mut other = Anchor::named(server, "a2", 2).await;
        other.sync(&module.instance, 0, false, true).await;
        // What the former anchor had not kept is the new one's.
        let inherited = other.results().await;
        assert_eq!((inherited.anchor.as_str(), inherited.seq, inherited.epoch), ("a2", 1, Epoch(1)));
        // So is what was being performed; what waited goes.
        let held: usize = other.synced().await.held.iter().map(|held| held.indices.len()).sum();
        assert_eq!(held, 64);
        assert_eq!(refused(&anchor_send(anchor, &module).await), code::STALE_EPOCH);
        release(64);
        let mut records = 0;
        while records < 64 {
            let results = other.results().await;
            assert_eq!((results.anchor.as_str(), results.epoch), ("a2", Epoch(1)));
            records += results.records.len();
        }
        other.nothing_was_said().await;
        module.end().await;
    })
    .await;
}

#[tokio::test]
async fn results_survive_the_restart_of_the_server() {
    scene(async |server, anchor, module| {
        let holding = anchor.batch(json!({ "does": "hold" }), &["x"; 3]);
        accepted(&anchor.send(&module.instance, holding).await);
        server.server().kill().await.unwrap();
        release(3);
        server.server().restart().await.unwrap();
        anchor.connected_again().await;
        anchor.heartbeat_that(|beat| beat.load.done == 3).await;
        anchor.sync(&module.instance, 0, true, false).await;
        let mut indices = std::collections::BTreeSet::new();
        loop {
            match anchor.said().await.1 {
                Said::Results(batch) => indices.extend(batch.records.iter().map(|record| record.index)),
                Said::Synced(_) if indices.len() == 3 => break,
                Said::Synced(_) => anchor.sync(&module.instance, 0, true, false).await,
            }
        }
        module.end().await;
    })
    .await;
}

#[tokio::test]
async fn a_drained_module_finishes_and_says_goodbye() {
    scene(async |_, anchor, module| {
        let holding = anchor.batch(json!({ "does": "hold" }), &["x"]);
        accepted(&anchor.send(&module.instance, holding).await);
        assert_eq!(anchor.control(&module.instance, Control::Drain).await, Controlled::Done { tasks: 1 });
        anchor.heartbeat_that(|beat| beat.state == InstanceState::Draining && beat.load.free == 0).await;
        assert_eq!(refused(&anchor_send(anchor, &module).await), code::DRAINING);
        release(1);
        assert_eq!(anchor.records(1).await.len(), 1);
        anchor.bye(&module.instance).await;
        soon(module.task).await.unwrap().unwrap();
    })
    .await;
}

#[tokio::test]
async fn garbage_is_counted_and_dropped() {
    scene(async |_, anchor, module| {
        let task = Subject::Task(vp(), "note".parse().unwrap(), module.instance.clone());
        let ctl = Subject::Ctl(vp(), module.instance.clone());
        let pool = Subject::Pool(vp(), "note".parse().unwrap());
        for subject in [task, ctl, pool] {
            let subject = subject.on(&Prefix::default());
            for payload in [&b""[..], b"{", b"{\"tasks\":{}}", b"\xff\xff\x00", &[0x9b; 64]] {
                anchor.bus.client().publish(subject.clone(), payload.to_vec().into()).await.unwrap();
            }
        }
        anchor.heartbeat_that(|beat| beat.load.garbage == 15).await;
        accepted(&anchor_send(anchor, &module).await);
        module.end().await;
    })
    .await;
}

#[tokio::test]
async fn a_quote_sends_nothing_and_names_refusals() {
    scene(async |_, anchor, module| {
        let order = Control::Quote {
            kind: "note".parse().unwrap(),
            params: Body::null(),
            inputs: ["1.1.1.1", "10.0.0.1", "name.example"].map(|t| Input::Target(t.to_owned())).to_vec(),
        };
        let Controlled::Quoted(quote) = anchor.control(&module.instance, order).await else { panic!() };
        assert_eq!((quote.packets, quote.bytes), (4, 200));
        assert_eq!(quote.refused.len(), 1);
        assert_eq!((quote.refused[0].input, &*quote.refused[0].reason.code), (1, code::POLICY));
        module.end().await;
    })
    .await;
}

#[tokio::test]
async fn the_pool_is_for_those_without_credits() {
    scene(async |_, anchor, module| {
        anchor.encoding = Encoding::Json;
        let mut batch = anchor.batch(plain(), &["x"]);
        (batch.seq, batch.epoch) = (0, Epoch(0));
        let kind = batch.kind.clone();
        let receipt: Receipt = anchor.request(Subject::Pool(vp(), kind.clone()), &batch).await;
        accepted(&receipt);
        assert_eq!(anchor.records(1).await[0].body.to_json().unwrap(), json!({ "text": "x" }));
        let receipt: Receipt = anchor.request(Subject::PoolAny(kind), &batch).await;
        accepted(&receipt);
        anchor.records(1).await;
        module.end().await;
    })
    .await;
}

#[tokio::test]
async fn a_module_is_a_service_of_nats() {
    scene(async |_, anchor, module| {
        let client = anchor.bus.client();
        let ask = async |subject: String| {
            let reply = soon(client.request(subject, "".into())).await.unwrap();
            serde_json::from_slice::<serde_json::Value>(&reply.payload).unwrap()
        };
        let ping = ask("$SRV.PING".to_owned()).await;
        assert_eq!(ping["type"], "io.nats.micro.v1.ping_response");
        assert_eq!((&ping["name"], &ping["id"]), (&json!("mmn-notes"), &json!("notes-1")));
        assert_eq!(ping["metadata"]["kinds"], "note");
        assert_eq!(ping["metadata"]["vp"], vp().as_str());
        let info = ask("$SRV.INFO.mmn-notes.notes-1".to_owned()).await;
        assert_eq!(info["endpoints"][0]["name"], "note");
        let stats = ask("$SRV.STATS.mmn-notes".to_owned()).await;
        assert_eq!(stats["endpoints"][0]["num_requests"], 0);
        module.end().await;
    })
    .await;
}

#[tokio::test]
async fn every_address_passes_the_sites_policy() {
    scene(async |_, anchor, module| {
        for (does, target, code) in [
            ("resolve", "10.0.0.1", code::POLICY),
            ("resolve", "localhost", code::POLICY),
            ("connect", "127.0.0.1:9", code::POLICY),
            ("resolve", "a..b", code::UNRESOLVABLE),
        ] {
            let batch = anchor.batch(json!({ "does": does }), &[target]);
            accepted(&anchor.send(&module.instance, batch).await);
            let record = anchor.records(1).await.remove(0);
            assert_eq!(record.reason.unwrap().code, code, "{does} {target}");
        }
        let batch = anchor.batch(json!({ "does": "resolve" }), &["[2606:4700::1111]"]);
        accepted(&anchor.send(&module.instance, batch).await);
        assert_eq!(anchor.records(1).await[0].body.to_json().unwrap(), json!({ "text": "2606:4700::1111" }));
        module.end().await;
    })
    .await;
}

#[tokio::test]
async fn large_results_travel_in_several_messages() {
    scene(async |_, anchor, module| {
        let batch = anchor.batch(json!({ "does": "large" }), &["x"; 8]);
        accepted(&anchor.send(&module.instance, batch).await);
        let records = anchor.records(8).await;
        assert!(records.iter().all(|record| record.body.cbor().len() > 300_000));
        module.end().await;
    })
    .await;
}

#[tokio::test]
async fn what_has_not_passed_its_self_test_gets_no_work() {
    LocalSet::new()
        .run_until(async {
            let server = TestServer::start().await;
            let mut anchor = Anchor::start(&server).await;
            let module = start_with(&server, "fickle-1", FICKLE);
            let code_of = |info: &mmn_schema::announce::ModuleInfo| {
                info.kinds[0].unavailable.as_ref().map(|unavailable| unavailable.reason.clone())
            };
            let failed = loop {
                let reason = code_of(&anchor.module().await.1).expect("it has not passed");
                assert_eq!(reason.code, code::SELF_TEST);
                if reason.detail.as_ref().is_some_and(|detail| detail.contains("not today")) {
                    break reason;
                }
            };
            assert_eq!(anchor.heartbeat_that(|_| true).await.state, InstanceState::Starting);
            let send = async |anchor: &mut Anchor| {
                let mut batch = anchor.batch(json!({}), &["127.0.0.1:9"]);
                batch.kind = "fickle".parse().unwrap();
                anchor.send(&module.instance, batch).await
            };
            let receipt = send(&mut anchor).await;
            assert!(matches!(&receipt, Receipt::Refused { reason, .. } if *reason == failed), "{receipt:?}");
            PASSES.with(|passes| passes.set(true));
            while code_of(&anchor.module().await.1).is_some() {}
            anchor.heartbeat_that(|beat| beat.state == InstanceState::Ready).await;
            // The site's policy refuses what the self-test was allowed.
            accepted(&send(&mut anchor).await);
            let record = anchor.records(1).await.remove(0);
            assert_eq!((record.outcome, &*record.reason.unwrap().code), (Outcome::Refused, code::POLICY));
            module.end().await;
        })
        .await;
}

#[tokio::test]
async fn it_does_not_leave_before_its_results_are_kept() {
    scene(async |_, anchor, module| {
        accepted(&anchor_send(anchor, &module).await);
        anchor.records(1).await;
        let instance = module.instance.clone();
        module.shutdown.cancel();
        // It takes nothing new, and stays.
        anchor.heartbeat_that(|beat| beat.state == InstanceState::Draining).await;
        assert_eq!(refused(&anchor_send(anchor, &module).await), code::DRAINING);
        assert!(!module.task.is_finished());
        anchor.sync(&instance, 1, false, false).await;
        anchor.bye(&instance).await;
        soon(module.task).await.unwrap().unwrap();
    })
    .await;
}
