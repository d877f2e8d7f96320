//! The module in Python is plugged in while others run, works, and leaves in order.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::large_futures,
    reason = "what fails here fails the test, with its reason; a test's future lives once"
)]

mod common;

use std::path::Path;

use common::place::{Node, is, module, start};
use common::{Anchor, enrol, soon};
use mmn_bus::testing::TestServer;
use mmn_schema::announce::{InputShape, InstanceState, ModuleState};
use mmn_schema::body::Body;
use mmn_schema::control::{Control, Controlled};
use mmn_schema::dispatch::{Input, Receipt, Task};
use mmn_schema::encoding::Encoding;
use mmn_schema::outcome::{Outcome, code};
use mmn_schema::subject::{Prefix, Subject};
use serde_json::json;

fn plug_in(node: &Node) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let python = root.join(".cache/venv/bin/python");
    assert!(python.exists(), "{} is not there: scripts/python-env.sh makes it", python.display());
    let example = root.join("examples/echo-module-python");
    let modules = node.dir.join("modules.d");
    std::fs::copy(example.join("echo.py"), modules.join("echo.py")).unwrap();
    let manifest = std::fs::read_to_string(example.join("echo.toml")).unwrap();
    let manifest = manifest.replace("python3", python.to_str().unwrap());
    node.drop_manifest("echo", &manifest);
}

#[tokio::test]
async fn a_module_without_any_code_of_ours_is_plugged_in() {
    let mut server = TestServer::start().await;
    let mut anchor = Anchor::start(&server).await;
    enrol(&server, &anchor).await;
    let (node, _) = start(&server).await;
    let before = anchor.node_that(|info| is(info, "notes", ModuleState::Running)).await;
    let (notes, _) = anchor.module().await;
    plug_in(&node);
    let (echo, info) = anchor.module().await;
    assert_eq!((info.module.as_str(), info.credits), ("echo", None));
    let kind = &info.kinds[0];
    assert_eq!((kind.name.as_str(), kind.input), ("echo", InputShape::Nothing));
    anchor.heartbeat_that(|beat| beat.boot == echo.boot && beat.state == InstanceState::Ready).await;

    anchor.encoding = Encoding::Json;
    let mut batch = anchor.batch(json!({ "text": "hello" }), &[]);
    batch.kind = "echo".parse().unwrap();
    batch.seq = 0;
    batch.tasks = vec![Task { index: 0, attempt: 0, input: Input::Nothing }];
    let pool = || Subject::Pool(node.vp.clone(), "echo".parse().unwrap());
    let receipt: Receipt = anchor.request(pool(), &batch).await;
    assert!(
        matches!(&receipt, Receipt::Accepted { instance, .. } if *instance == echo.instance),
        "{receipt:?}"
    );
    let results = anchor.results().await;
    assert_eq!((results.boot, results.seq), (echo.boot, 1));
    assert_eq!(results.records[0].outcome, Outcome::Ok);
    assert_eq!(results.records[0].body.to_json().unwrap(), json!({ "text": "hello" }));

    batch.params = Body::from_json(json!({ "colour": "red" })).unwrap();
    let receipt: Receipt = anchor.request(pool(), &batch).await;
    assert!(
        matches!(&receipt, Receipt::Refused { reason, .. } if reason.code == code::PARAMETERS),
        "{receipt:?}"
    );
    let garbage = pool().on(&Prefix::default());
    anchor.bus.client().publish(garbage, "{".into()).await.unwrap();
    anchor.heartbeat_that(|beat| beat.boot == echo.boot && beat.load.garbage == 1).await;

    let quote =
        Control::Quote { kind: batch.kind.clone(), params: Body::null(), inputs: vec![Input::Nothing] };
    let ctl = Subject::Ctl(node.vp.clone(), echo.instance.clone());
    let answer: Controlled = anchor.request(ctl.clone(), &quote).await;
    assert!(
        matches!(&answer, Controlled::Refused { reason } if reason.code == code::UNSUPPORTED),
        "{answer:?}"
    );
    let cancel = Control::Cancel { epoch: anchor.epoch, measurement: batch.measurement, indices: None };
    assert_eq!(anchor.request::<_, Controlled>(ctl, &cancel).await, Controlled::Done { tasks: 0 });

    // It says again what it is on each connection and on request.
    server.server().restart().await.unwrap();
    anchor.connected_again().await;
    anchor.heartbeat_that(|beat| beat.boot == echo.boot).await;
    anchor.discover().await;
    while anchor.module().await.0.instance != echo.instance {}

    std::fs::remove_file(node.dir.join("modules.d/echo.toml")).unwrap();
    anchor.bye(&echo.instance).await;
    let after = anchor.node_that(|info| module(info, "echo").is_none()).await;
    assert_eq!(module(&after, "notes"), module(&before, "notes"));
    anchor.discover().await;
    assert_eq!(anchor.module().await.0.boot, notes.boot);
    soon(node.end()).await;
}
