//! Two instances that are started again one after another while they have their hands full.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::large_futures,
    reason = "what fails here fails the test, with its reason; a test's future lives once"
)]

mod common;

use std::collections::{BTreeMap, BTreeSet};

use common::place::start_with;
use common::{Anchor, Heard, enrol};
use mmn_bus::testing::TestServer;
use mmn_schema::announce::Role;
use mmn_schema::control::{NodeAnswer, NodeOrder};
use mmn_schema::dispatch::{Receipt, TaskBatch};
use mmn_schema::id::{BootId, InstanceId, MeasurementId, VpId};
use mmn_schema::outcome::Outcome;
use mmn_schema::subject::{Prefix, filter};
use serde_json::json;

/// Batches out to each instance at a time.
const AT_A_TIME: usize = 4;

/// What an anchor knows of its work: a measurement has one batch of three tasks.
#[derive(Default)]
struct Work {
    there: BTreeMap<InstanceId, BootId>,
    out: BTreeMap<MeasurementId, (InstanceId, TaskBatch)>,
    declined: Vec<TaskBatch>,
    ended: BTreeMap<MeasurementId, BTreeSet<u64>>,
    /// Lives that began.
    lives: usize,
}

impl Work {
    async fn dispatch(&mut self, anchor: &mut Anchor, vp: &VpId, more: bool) {
        let there: Vec<InstanceId> = self.there.keys().cloned().collect();
        for instance in there {
            while self.out.values().filter(|(with, _)| *with == instance).count() < AT_A_TIME {
                let mut batch = match self.declined.pop() {
                    Some(batch) => batch,
                    None if more => anchor.batch(json!({ "does": "wait" }), &["a", "b", "c"]),
                    None => break,
                };
                anchor.seq += 1;
                batch.seq = anchor.seq;
                self.out.insert(batch.measurement, (instance.clone(), batch.clone()));
                anchor.dispatch_at(vp, &instance, batch).await;
            }
        }
    }

    fn take_back(&mut self, which: impl Fn(&InstanceId, &TaskBatch) -> bool) {
        let (back, out) = std::mem::take(&mut self.out)
            .into_iter()
            .partition::<BTreeMap<_, _>, _>(|(_, (i, b))| which(i, b));
        self.out = out;
        self.declined.extend(back.into_values().map(|(_, batch)| batch));
    }

    async fn hear(&mut self, anchor: &Anchor, vp: &VpId, heard: Heard) {
        match heard {
            Heard::Announced(announcement) => match announcement.role {
                Role::Module(_) | Role::Known(_) => {
                    let former = self.there.insert(announcement.instance, announcement.boot);
                    self.lives += usize::from(former != Some(announcement.boot));
                }
                Role::Bye => {
                    self.there.remove(&announcement.instance);
                    // What was on its way when it left was never begun.
                    self.take_back(|with, _| *with == announcement.instance);
                }
                Role::Node(_) => {}
            },
            Heard::Results(measurement, results) => {
                let ended = self.ended.entry(measurement).or_default();
                for record in &results.records {
                    assert_eq!(record.outcome, Outcome::Ok, "{record:?}");
                    assert!(ended.insert(record.index), "{measurement} {} ended twice", record.index);
                }
                if ended.len() == 3 {
                    self.out.remove(&measurement).expect("it was out");
                }
                anchor.sync_at(vp, &results.instance, results.seq, false, false).await;
            }
            Heard::Received(_, seq, receipt) => {
                // A goodbye may have been read before it.
                if !matches!(receipt, Some(Receipt::Accepted { .. })) {
                    self.take_back(|_, batch| batch.seq == seq);
                }
            }
            Heard::Synced => {}
        }
    }
}

#[tokio::test]
async fn a_rolling_restart_under_load_loses_and_repeats_nothing() {
    let server = TestServer::start().await;
    let mut anchor = Anchor::start(&server).await;
    enrol(&server, &anchor).await;
    let collected = filter::receipts(&Prefix::default(), &anchor.id);
    let mut receipts = anchor.bus.client().subscribe(collected).await.unwrap();
    let (node, _) = start_with(&server, |config| {
        let manifest = "builtin = \"notes\"\ninstances = 2\nconcurrency = { note = 4 }\n";
        std::fs::write(config.dir.join("modules.d/notes.toml"), manifest).unwrap();
    })
    .await;
    let (vp, mut work, mut ordered) = (node.vp.clone(), Work::default(), false);
    // Two lives, two more by the order, and some work for the last.
    let mut last = None;
    while last.is_none_or(|last| work.ended.len() < last + 20)
        || !work.out.is_empty()
        || !work.declined.is_empty()
    {
        let more = last.is_none_or(|last| work.ended.len() < last + 20);
        work.dispatch(&mut anchor, &vp, more).await;
        let heard = anchor.anything(&mut receipts).await;
        work.hear(&anchor, &vp, heard).await;
        if !ordered && work.lives == 2 && work.ended.len() >= 10 {
            ordered = true;
            let order = NodeOrder::Restart { name: "notes".to_owned(), instance: None };
            assert!(matches!(node.order(&anchor, order).await, NodeAnswer::Done { .. }));
        }
        if last.is_none() && work.lives == 4 {
            last = Some(work.ended.len());
        }
    }
    assert!(work.ended.values().all(|ended| ended.len() == 3));
    node.end().await;
}
