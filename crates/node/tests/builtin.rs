//! The modules of mmn itself, as a node runs them: sockets that were passed, limits that are shared, a policy that holds.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::large_futures,
    reason = "what fails here fails the test, with its reason; a test's future lives once"
)]

mod common;

use std::collections::BTreeMap;

use common::place::{Node, start_with};
use common::{Anchor, enrol};
use mmn_bus::testing::TestServer;
use mmn_node::Builtin;
use mmn_node::policy::Policy;
use mmn_schema::dispatch::{Input, Receipt, Record, Task, ToInstance};
use mmn_schema::id::InstanceId;
use mmn_schema::outcome::{Outcome, code};
use mmn_schema::subject::Subject;
use serde_json::{Value, json};

async fn perform(
    anchor: &mut Anchor,
    node: &Node,
    instance: &InstanceId,
    kind: &str,
    params: Value,
    target: &str,
) -> Record {
    let mut batch = anchor.batch(params, &[]);
    batch.kind = kind.parse().unwrap();
    batch.tasks = vec![Task { index: 0, attempt: 0, input: Input::Target(target.to_owned()) }];
    let subject = Subject::Task(node.vp.clone(), batch.kind.clone(), instance.clone());
    let receipt: Receipt = anchor.request(subject, &ToInstance::Tasks(batch)).await;
    assert!(matches!(receipt, Receipt::Accepted { .. }), "{receipt:?}");
    anchor.records(1).await.remove(0)
}

/// The instances of the three modules, once all that they offer has passed its self-test.
async fn instances(anchor: &mut Anchor) -> BTreeMap<String, InstanceId> {
    let mut instances = BTreeMap::new();
    while instances.len() < 3 {
        let (announcement, info) = anchor.module().await;
        let unavailable =
            || info.kinds.iter().filter_map(|kind| Some((&kind.name, kind.unavailable.as_ref()?)));
        for (kind, why) in unavailable() {
            assert_eq!(why.reason.detail.as_deref(), Some("its self-test is under way"), "{kind}: {why:?}");
        }
        if unavailable().next().is_none() {
            instances.insert(info.module, announcement.instance);
        }
    }
    instances
}

#[tokio::test]
async fn they_measure_within_the_sites_policy() {
    let server = TestServer::start().await;
    let mut anchor = Anchor::start(&server).await;
    enrol(&server, &anchor).await;
    let (node, _) = start_with(&server, |config| {
        config.builtins = Builtin::all_of(mmn_modules::KINDS);
        config.policy = Policy { allow_loopback: true, ..Policy::default() };
    })
    .await;
    // The sample was written with what the node was told, and a person can go on from there.
    let policy = std::fs::read_to_string(node.dir.join("policy.toml")).unwrap();
    assert!(Policy::from_toml(&policy).unwrap().allow_loopback);

    let instances = instances(&mut anchor).await;
    let packet = instances["packet"].clone();
    for target in ["127.0.0.1", "::1", "localhost"] {
        let record = perform(&mut anchor, &node, &packet, "ping", json!({ "count": 1 }), target).await;
        assert_eq!((record.outcome, record.answered), (Outcome::Ok, Some(true)), "{target}: {record:?}");
        assert!(record.summary.contains_key("rtt_min_ns"), "{record:?}");
    }
    let record = perform(&mut anchor, &node, &packet, "ping", json!({}), "10.0.0.1").await;
    assert_eq!((record.outcome, &*record.reason.unwrap().code), (Outcome::Refused, code::POLICY));

    // Nobody listens on the port: the kernel says so.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let http = instances["http"].clone();
    let url = format!("http://127.0.0.1:{port}/");
    let record = perform(&mut anchor, &node, &http, "http", json!({}), &url).await;
    assert_eq!((record.outcome, &*record.reason.unwrap().code), (Outcome::Failed, code::CONNECTION_REFUSED));
    node.end().await;
}

/// What each process may hold of capabilities, by the sets of `/proc/PID/status`; a bit each. Nothing else is allowed.
const NET_RAW: u64 = 1 << 13;
const NODE: [(&str, u64); 5] =
    [("CapInh", 0), ("CapPrm", NET_RAW), ("CapEff", NET_RAW), ("CapBnd", NET_RAW), ("CapAmb", 0)];
const MODULE: [(&str, u64); 5] =
    [("CapInh", 0), ("CapPrm", 0), ("CapEff", 0), ("CapBnd", NET_RAW), ("CapAmb", 0)];

#[tokio::test]
async fn no_process_may_do_more_than_is_on_the_list() {
    let server = TestServer::start().await;
    let mut anchor = Anchor::start(&server).await;
    enrol(&server, &anchor).await;
    let (node, _) = start_with(&server, |config| {
        config.builtins = Builtin::all_of(mmn_modules::KINDS);
        config.policy = Policy { allow_loopback: true, ..Policy::default() };
    })
    .await;
    let modules = instances(&mut anchor).await;
    // The node runs on this thread; whoever runs a node of its own runs it on the only one.
    within(&std::fs::read_to_string("/proc/thread-self/status").unwrap(), &NODE, "the node");
    let own = format!("MMN_VP={}", node.vp);
    let mut seen = 0;
    for process in std::fs::read_dir("/proc").unwrap().flatten() {
        let environment = std::fs::read(process.path().join("environ")).unwrap_or_default();
        if !environment.split(|byte| *byte == 0).any(|word| word == own.as_bytes()) {
            continue;
        }
        seen += 1;
        for thread in std::fs::read_dir(process.path().join("task")).unwrap().flatten() {
            let status = std::fs::read_to_string(thread.path().join("status")).unwrap();
            within(&status, &MODULE, &process.path().display().to_string());
        }
    }
    assert_eq!(seen, modules.len());
    // It has what takes a privilege to be opened all the same.
    let packet = modules["packet"].clone();
    for lane in ["raw", "precise"] {
        let params = json!({ "count": 1, "lane": lane });
        let record = perform(&mut anchor, &node, &packet, "ping", params, "127.0.0.1").await;
        assert_eq!((record.outcome, record.answered), (Outcome::Ok, Some(true)), "{record:?}");
        assert_eq!(record.body.to_json().unwrap()["conditions"]["lane"], lane);
    }
    let record =
        perform(&mut anchor, &node, &packet, "ping", json!({ "lane": "unprivileged" }), "127.0.0.1").await;
    assert_eq!((record.outcome, &*record.reason.unwrap().code), (Outcome::Failed, code::UNPRIVILEGED));
    node.end().await;
}

fn within(status: &str, allowed: &[(&str, u64)], who: &str) {
    for (set, allowed) in allowed {
        let line = status.lines().find_map(|line| line.strip_prefix(set)?.strip_prefix(':')).unwrap();
        let held = u64::from_str_radix(line.trim(), 16).unwrap();
        assert_eq!(held & !allowed, 0, "{who}: {set} is {held:#x}");
    }
}
