//! A node whose site allows packet sockets: very many targets in bulk, and what can't go that way beside them.
//!
//! The test runs itself again in a network namespace of its own, next to one that answers for 10.9.0.0/16. It needs root.
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
use std::process::{Child, Command};

use common::place::{Node, start_with};
use common::{Anchor, enrol, soon};
use mmn_bus::testing::TestServer;
use mmn_node::Builtin;
use mmn_schema::control::{Control, Controlled};
use mmn_schema::dispatch::{Input, Receipt, Record, Task, TaskBatch, ToInstance};
use mmn_schema::id::InstanceId;
use mmn_schema::outcome::{Outcome, code};
use mmn_schema::subject::Subject;
use serde_json::{Value, json};

const INSIDE: &str = "MMN_TEST_INSIDE";

/// Runs the test of this name in a namespace of its own; says whether this is the one inside.
fn is_inside(test: &str) -> bool {
    if std::env::var_os(INSIDE).is_some() {
        return true;
    }
    let status = Command::new("unshare")
        .arg("-n")
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .env(INSIDE, "yes")
        .status()
        .unwrap();
    assert!(status.success(), "{test} needs root, and unshare of util-linux");
    false
}

fn run(command: &str) {
    let mut words = command.split(' ');
    let output = Command::new(words.next().unwrap()).args(words).output().unwrap();
    assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
}

/// The namespace that answers; it lives as long as its only process does.
struct FarEnd(Child);

impl FarEnd {
    fn new() -> Self {
        run("ip link set lo up");
        let child = Command::new("unshare").args(["-n", "sleep", "100"]).spawn().unwrap();
        let far = Self(child);
        let own = std::fs::read_link("/proc/self/ns/net").unwrap();
        let theirs = format!("/proc/{}/ns/net", far.0.id());
        while std::fs::read_link(&theirs).is_ok_and(|theirs| theirs == own) {
            std::thread::yield_now();
        }
        let inside = format!("nsenter -n -t {}", far.0.id());
        run("ip link add va type veth peer name vb");
        run(&format!("ip link set vb netns {}", far.0.id()));
        run("ip addr add 10.77.0.1/24 dev va");
        run("ip link set va up");
        for command in [
            "ip link set lo up",
            "ip addr add 10.77.0.2/24 dev vb",
            "ip link set vb address 02:00:00:00:00:02",
            "ip link set vb up",
            "ip route add local 10.9.0.0/16 dev lo",
            "ip route add blackhole 198.51.100.0/24",
        ] {
            run(&format!("{inside} {command}"));
        }
        run("ip route add default via 10.77.0.2");
        far
    }
}

impl Drop for FarEnd {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn policy(dir: &Path, allow: bool) {
    let text = format!(
        "max_pps = 100000\nmax_bps = \"1Gbit/s\"\nmax_pps_per_target = 1000\nallow_loopback = true\n\
         allow = [\"10.9.0.0/16\", \"198.51.100.0/24\"]\nallow_packet_sockets = {allow}\n"
    );
    std::fs::write(dir.join("new"), text).unwrap();
    std::fs::rename(dir.join("new"), dir.join("policy.toml")).unwrap();
}

fn batch(anchor: &mut Anchor, params: Value, targets: &[String]) -> TaskBatch {
    let mut batch = anchor.batch(params, &[]);
    batch.kind = "ping".parse().unwrap();
    batch.tasks = (0..)
        .zip(targets)
        .map(|(index, target)| Task { index, attempt: 0, input: Input::Target(target.clone()) })
        .collect();
    batch
}

async fn send(anchor: &Anchor, node: &Node, instance: &InstanceId, batch: TaskBatch) -> Receipt {
    let subject = Subject::Task(node.vp.clone(), batch.kind.clone(), instance.clone());
    anchor.request(subject, &ToInstance::Tasks(batch)).await
}

fn lane(record: &Record) -> String {
    record.body.to_json().unwrap()["conditions"]["lane"].as_str().unwrap_or_default().to_owned()
}

#[tokio::test]
async fn very_many_targets_go_in_bulk_and_the_rest_beside_them() {
    if !is_inside("very_many_targets_go_in_bulk_and_the_rest_beside_them") {
        return;
    }
    let _far = FarEnd::new();
    let server = TestServer::start().await;
    let mut anchor = Anchor::start(&server).await;
    enrol(&server, &anchor).await;
    let (node, _) = start_with(&server, |config| {
        config.builtins = Builtin::all_of(mmn_modules::KINDS);
        policy(&config.dir, true);
    })
    .await;
    // With the packet sockets it can hold many times as much.
    let instance = loop {
        let (announcement, info) = anchor.module().await;
        if info.module == "packet" && info.credits.is_some_and(|credits| credits > 100_000) {
            break announcement.instance;
        }
    };

    let mut targets: Vec<String> =
        (0..3_000).map(|number| format!("10.9.{}.{}", number / 250, number % 250 + 1)).collect();
    targets.extend(["127.0.0.1", "localhost", "198.51.100.7", "10.200.0.1"].map(str::to_owned));
    let params = json!({ "count": 1, "timeout": "1s" });
    let all = batch(&mut anchor, params, &targets);
    let receipt = send(&anchor, &node, &instance, all).await;
    assert!(matches!(receipt, Receipt::Accepted { .. }), "{receipt:?}");
    let mut records = anchor.records(targets.len()).await;
    records.sort_by_key(|record| record.index);
    let mut in_bulk = 0;
    for (index, record) in records.iter().enumerate().take(3_000) {
        assert_eq!(record.index, u64::try_from(index).unwrap());
        assert_eq!((record.outcome, record.answered), (Outcome::Ok, Some(true)), "{record:?}");
        in_bulk += usize::from(lane(record) == "bulk");
    }
    // The first one made the kernel find its neighbour.
    assert!(in_bulk >= 2_990, "{in_bulk} of 3,000 in bulk");
    let body = records[1_000].body.to_json().unwrap();
    assert_eq!((&body["target"], &body["address"]), (&json!(targets[1_000]), &json!(targets[1_000])));
    assert_eq!(body["conditions"]["stamps"], json!({ "sent": "user", "received": "kernel" }));
    for near in [3_000, 3_001] {
        assert_eq!((records[near].outcome, records[near].answered), (Outcome::Ok, Some(true)));
        assert_ne!(lane(&records[near]), "bulk");
    }
    assert_eq!((records[3_002].outcome, records[3_002].answered), (Outcome::Ok, Some(false)));
    assert_eq!(records[3_002].body.to_json().unwrap()["replies"][0]["status"], "timed_out");
    assert_eq!(&*records[3_003].reason.as_ref().unwrap().code, code::POLICY);

    // What is called off ends at once.
    let silent: Vec<String> = (1..200).map(|last| format!("198.51.100.{last}")).collect();
    let all = batch(&mut anchor, json!({ "count": 1, "timeout": "10m" }), &silent);
    let measurement = all.measurement;
    assert!(matches!(send(&anchor, &node, &instance, all).await, Receipt::Accepted { .. }));
    let order = Control::Cancel { epoch: anchor.epoch, measurement, indices: None };
    let called_off: Controlled =
        anchor.request(Subject::Ctl(node.vp.clone(), instance.clone()), &order).await;
    assert_eq!(called_off, Controlled::Done { tasks: 199 });
    assert!(anchor.records(199).await.iter().all(|record| record.outcome == Outcome::Cancelled));

    // The site changes its mind. Who wants that lane and no other is told.
    policy(&node.dir, false);
    let refused = async {
        loop {
            let one = batch(&mut anchor, json!({ "count": 1, "lane": "bulk" }), &targets[..1]);
            match send(&anchor, &node, &instance, one).await {
                Receipt::Refused { reason, .. } => return reason,
                _ => assert_eq!(anchor.records(1).await.len(), 1),
            }
        }
    };
    let reason = soon(refused).await;
    assert_eq!(&*reason.code, code::POLICY);
    assert!(reason.to_string().contains("allow_packet_sockets"), "{reason}");
    let all = batch(&mut anchor, json!({ "count": 1 }), &targets[..100]);
    assert!(matches!(send(&anchor, &node, &instance, all).await, Receipt::Accepted { .. }));
    assert!(anchor.records(100).await.iter().all(|record| lane(record) != "bulk"));
    node.end().await;
}
