//! The doors: what is accepted and refused, planned and listed, appended and watched; and what is dropped.

mod common;

use async_nats::HeaderMap;
use common::module::{Behaviour, FakeModule, kind};
use common::{LONG, TestAnchor, eventually, request, tenant, viewer, vp};
use mmn_anchor::PageRequest;
use mmn_bus::testing::TestServer;
use mmn_schema::api::{Budget, Measurement, MeasurementState};
use mmn_schema::dispatch::Input;
use mmn_schema::encoding::{CONTENT_TYPE, Encoding};
use mmn_schema::enrol::{EnrolAnswer, EnrolRequest};
use mmn_schema::id::MeasurementId;
use mmn_schema::outcome::{Outcome, code};
use mmn_schema::subject::{Prefix, Subject};

#[tokio::test]
async fn each_wrong_field_is_pointed_at() {
    let server = TestServer::start().await;
    let anchor = TestAnchor::start(&server).await;
    let _module = FakeModule::start(&server, "x", "noop-1", Behaviour::default()).await;
    anchor.offers("x", "noop").await;
    let mut wrong = request(1, "name:nowhere");
    wrong.params = Some([("count".to_owned(), 9.into())].into());
    wrong.inputs.push(Input::Target(String::new()));
    wrong.inputs.push(Input::Nothing);
    wrong.label = Some("x".repeat(201));
    let problem = anchor.anchor.accept(&tenant(), wrong, None).await.unwrap_err();
    let pointers: Vec<_> = problem.errors.iter().map(|error| error.pointer.as_str()).collect();
    assert_eq!(pointers, ["/params/count", "/inputs/1", "/inputs/2", "/label", "/from"]);
    let mut unknown = request(1, "all");
    unknown.kind = "nope".parse().unwrap();
    let problem = anchor.anchor.accept(&tenant(), unknown, None).await.unwrap_err();
    assert_eq!((problem.status, problem.errors[0].pointer.as_str()), (422, "/kind"));
    let mut dear = request(10, "all");
    dear.budget = Some(Budget { max_tasks: None, max_packets: Some(29) });
    let problem = anchor.anchor.accept(&tenant(), dear.clone(), None).await.unwrap_err();
    assert_eq!((problem.status, problem.reason.as_str()), (422, "over-budget"));
    dear.budget = Some(Budget { max_tasks: Some(10), max_packets: Some(30) });
    anchor.anchor.accept(&tenant(), dear, None).await.unwrap();
}

#[tokio::test]
async fn too_many_pending_tasks_are_refused() {
    let server = TestServer::start().await;
    let anchor = TestAnchor::start_with(&server, "a1", |config| config.limits.max_pending_tasks = 10).await;
    let held = Behaviour { prompt: false, ..Behaviour::default() };
    let module = FakeModule::start(&server, "x", "noop-1", held).await;
    anchor.offers("x", "noop").await;
    let id = anchor.anchor.accept(&tenant(), request(8, "all"), None).await.unwrap().measurement.id;
    let problem = anchor.anchor.accept(&tenant(), request(3, "all"), None).await.unwrap_err();
    assert_eq!((problem.status, problem.reason.as_str()), (429, "saturated"));
    assert_eq!(anchor.anchor.limits().await.unwrap().pending_tasks, 8);
    module.answer();
    anchor.done(id).await;
    anchor.anchor.accept(&tenant(), request(3, "all"), None).await.unwrap();
}

#[tokio::test]
async fn a_plan_says_what_it_costs_and_who_refuses() {
    let server = TestServer::start().await;
    let anchor = TestAnchor::start(&server).await;
    let _able = FakeModule::start(&server, "x", "noop-1", Behaviour::default()).await;
    let unable = Behaviour { unavailable: true, ..Behaviour::default() };
    let _unable = FakeModule::start(&server, "y", "noop-2", unable).await;
    anchor.offers("x", "noop").await;
    eventually(|| async { (anchor.anchor.vps().await.ok()?.len() == 2).then_some(()) }).await;
    let plan = anchor.anchor.plan(&tenant(), request(10, "all")).await.unwrap();
    assert_eq!((plan.tasks, plan.refused, plan.packets), (20, 10, Some(30)));
    let refused = plan.vps.iter().find(|planned| planned.vp == vp("y")).unwrap();
    assert_eq!(refused.refusals[0].reason.code, code::UNSUPPORTED);
    // Nobody is skipped silently.
    let done = anchor.anchor.accept_and_wait(&tenant(), request(10, "all"), None, LONG).await.unwrap();
    let ledger = done.measurement.ledger;
    assert_eq!((ledger.ok, ledger.refused), (10, 10));
    assert_eq!(ledger.reasons[&Outcome::Refused][code::UNSUPPORTED], 10);
}

#[tokio::test]
async fn a_pool_is_resolved_at_dispatch() {
    let server = TestServer::start().await;
    let anchor = TestAnchor::start(&server).await;
    let held = Behaviour { prompt: false, credits: Some(1), ..Behaviour::default() };
    let full = FakeModule::start(&server, "x", "noop-1", held).await;
    anchor.offers("x", "noop").await;
    let id = anchor.anchor.accept(&tenant(), request(1, "all"), None).await.unwrap().measurement.id;
    full.given(1).await;
    let free = FakeModule::start(&server, "y", "noop-2", Behaviour::default()).await;
    anchor.offers("y", "noop").await;
    let mut any = request(5, "all");
    any.from = None;
    let done = anchor.anchor.accept_and_wait(&tenant(), any, None, LONG).await.unwrap().measurement;
    assert_eq!((done.ledger.accepted, done.ledger.ok), (5, 5));
    assert_eq!((full.tasks(), free.tasks()), (1, 5));
    full.answer();
    anchor.done(id).await;
}

#[tokio::test]
async fn inputs_are_appended_within_credits_until_it_is_closed() {
    let server = TestServer::start().await;
    let anchor = TestAnchor::start_with(&server, "a1", |config| config.limits.open_inputs = 64).await;
    let _module = FakeModule::start(&server, "x", "noop-1", Behaviour::default()).await;
    anchor.offers("x", "noop").await;
    let mut open = request(0, "all");
    open.open = true;
    let accepted = anchor.anchor.accept(&tenant(), open, None).await.unwrap().measurement;
    assert_eq!(accepted.state, MeasurementState::Open);
    let id = accepted.id;
    let mut credits = anchor.anchor.input_credits(&tenant(), id).await.unwrap();
    let (mut appended, mut free) = (0, 0);
    while appended < 1000 {
        free += credits.next().await.unwrap();
        let inputs: Vec<_> = (0..free).map(|n| Input::Target(format!("t{n}"))).collect();
        let answer = anchor.anchor.append(&tenant(), id, inputs).await.unwrap();
        assert_eq!((answer.first, answer.tasks), (appended, free.into()));
        appended += u64::from(free);
        free = 0;
    }
    let many = vec![Input::Target("t".to_owned()); 65];
    assert_eq!(anchor.anchor.append(&tenant(), id, many).await.unwrap_err().status, 429);
    anchor.anchor.close(&tenant(), id).await.unwrap();
    assert_eq!(anchor.anchor.append(&tenant(), id, Vec::new()).await.unwrap_err().status, 409);
    assert_eq!(anchor.done(id).await.ledger.ok, appended);
}

#[tokio::test]
async fn the_list_goes_from_memory_into_the_ledger() {
    let server = TestServer::start().await;
    let few = |config: &mut mmn_anchor::Config| config.ledger.closed_in_memory = 5;
    let anchor = TestAnchor::start_with(&server, "a1", few).await;
    let _module = FakeModule::start(&server, "x", "noop-1", Behaviour::default()).await;
    anchor.offers("x", "noop").await;
    let mut made: Vec<MeasurementId> = Vec::new();
    for _ in 0..17 {
        let accepted = anchor.anchor.accept_and_wait(&tenant(), request(1, "all"), None, LONG).await.unwrap();
        made.push(accepted.measurement.id);
    }
    let list = async |anchor: &TestAnchor| {
        let (mut all, mut after) = (Vec::<Measurement>::new(), None);
        loop {
            let page = PageRequest { after, limit: 4, ..PageRequest::default() };
            let page = anchor.anchor.measurements(&viewer(), page).await.unwrap();
            assert!(page.items.len() <= 4);
            all.extend(page.items);
            after = page.next;
            if after.is_none() {
                return all.into_iter().map(|measurement| measurement.id).collect::<Vec<_>>();
            }
        }
    };
    // The last ends are written behind.
    let mut sorted = made.clone();
    sorted.sort_unstable();
    eventually(|| async {
        let mut listed = list(&anchor).await;
        listed.sort_unstable();
        (listed == sorted).then_some(())
    })
    .await;
    assert_eq!(anchor.measurement(made[0]).await.ledger.ok, 1);
    anchor.stop().await.unwrap();
    let anchor = TestAnchor::start_with(&server, "a1", few).await;
    let mut listed = list(&anchor).await;
    listed.sort_unstable();
    assert_eq!(listed, sorted);
    let numbers = anchor.measurement(made[16]).await.number;
    assert_eq!(numbers, 17);
}

#[tokio::test]
async fn garbage_on_every_subject_is_counted_and_dropped() {
    let server = TestServer::start().await;
    let anchor = TestAnchor::start(&server).await;
    let module = FakeModule::start(&server, "x", "noop-1", Behaviour::default()).await;
    anchor.offers("x", "noop").await;
    let bus = server.anchor("garbage").await;
    let prefix = Prefix::default();
    let id = MeasurementId::new(1, &[0; 10]);
    let instance = module.instance.clone();
    let subjects = [
        Subject::Announce.on(&prefix),
        Subject::Hb(vp("x"), instance.clone()).on(&prefix),
        Subject::Res(vp("x"), kind(), id).on(&prefix),
        Subject::Synced(vp("x"), instance).on(&prefix),
        Subject::Enrol(vp("x")).on(&prefix),
        "mmn.v1.res.a.b.c".to_owned(),
        "mmn.v1.hb.a.b".to_owned(),
    ];
    let payloads: [&[u8]; 5] = [b"", b"{", b"{}", b"\xff\xff\xff", b"[[[[[[[["];
    for subject in &subjects {
        for payload in payloads {
            bus.client().publish(subject.clone(), payload.into()).await.unwrap();
        }
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, "text/html");
        bus.client().publish_with_headers(subject.clone(), headers, "{}".into()).await.unwrap();
    }
    bus.barrier().await.unwrap();
    let expected = (subjects.len() * 6) as u64;
    eventually(|| async {
        let counts = anchor.anchor.metrics().await.garbage_total;
        (counts.values().sum::<u64>() == expected).then_some(())
    })
    .await;
    let done = anchor.anchor.accept_and_wait(&tenant(), request(1, "all"), None, LONG).await.unwrap();
    assert_eq!(done.measurement.ledger.ok, 1);
}

#[tokio::test]
async fn a_node_enrols_a_module() {
    let server = TestServer::start().await;
    let anchor = TestAnchor::start(&server).await;
    let node = server.node("node-1", &[vp("x").as_str()]).await;
    let seed = mmn_bus::identity::Seed::new_user();
    let ask = EnrolRequest { instance: "noop-1".parse().unwrap(), public_key: seed.public_key().to_string() };
    let subject = Subject::Enrol(vp("x")).on(&Prefix::default());
    let payload = Encoding::Json.encode(&ask).unwrap();
    let answer = node.client().request(subject.clone(), payload.into()).await.unwrap();
    let EnrolAnswer::Enrolled { jwt } = Encoding::Json.decode(&answer.payload).unwrap() else {
        panic!("{answer:?}");
    };
    let claims = server.keys().trust().verify_user(&jwt, mmn_bus::testing::now_s()).unwrap();
    assert_eq!((claims.name.as_str(), claims.vps), ("noop-1", vec![vp("x").to_string()]));
    let wrong = EnrolRequest { public_key: "UABC".to_owned(), ..ask };
    let payload = Encoding::Json.encode(&wrong).unwrap();
    let answer = node.client().request(subject, payload.into()).await.unwrap();
    assert!(matches!(Encoding::Json.decode(&answer.payload).unwrap(), EnrolAnswer::Refused { .. }));
    drop(anchor);
}

#[tokio::test]
async fn an_announcement_counts_only_when_its_signer_may_make_it() {
    let server = TestServer::start().await;
    let anchor = TestAnchor::start(&server).await;
    // Signed well, by a module of another vantage point.
    let _foreign = FakeModule::start_as(&server, "x", "y", "noop-1", Behaviour::default()).await;
    eventually(|| async { anchor.anchor.metrics().await.garbage_total.get("announce").copied() }).await;
    assert!(anchor.anchor.modules().await.unwrap().is_empty());
}

#[tokio::test]
async fn what_happens_is_told_to_watchers() {
    let server = TestServer::start().await;
    let anchor = TestAnchor::start(&server).await;
    let mut events = anchor.anchor.events();
    let module = FakeModule::start(&server, "x", "noop-1", Behaviour::default()).await;
    anchor.offers("x", "noop").await;
    anchor.anchor.accept_and_wait(&tenant(), request(1, "all"), None, LONG).await.unwrap();
    module.bye();
    let mut kinds = Vec::new();
    while kinds.last().is_none_or(|last| last != "module-left") {
        kinds.push(tokio::time::timeout(LONG, events.recv()).await.expect("it comes").unwrap().kind.clone());
    }
    assert_eq!(kinds, ["module-joined", "measurement-accepted", "measurement-done", "module-left"]);
}
