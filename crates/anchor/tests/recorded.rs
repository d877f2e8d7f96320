//! A module that speaks nothing but the recorded messages of version 1, with ids put in and fields of a later version
//! besides, works with this anchor.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "what fails in a helper fails the test that calls it"
)]

mod common;

use std::path::Path;

use async_nats::{Client, HeaderMap, Message};
use common::{TestAnchor, eventually, request, tenant, vp};
use data_encoding::BASE64URL_NOPAD;
use futures::StreamExt;
use mmn_bus::connect::Connect;
use mmn_bus::identity::{CREDS, Creds};
use mmn_bus::testing::TestServer;
use mmn_schema::announce::{JWT_HEADER, SIGNATURE_HEADER};
use mmn_schema::api::{Health, MeasurementRequest};
use mmn_schema::dispatch::ToInstance;
use mmn_schema::encoding::{CONTENT_TYPE, Encoding};
use mmn_schema::subject::{Prefix, Subject, filter};
use serde_json::{Value, json};

const INSTANCE: &str = "packet-old1";
const BOOT: u64 = 77;

/// A recorded message, as its sender wrote it, with other values at the given places.
fn recorded(name: &str, changes: &[(&str, Value)]) -> Value {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../contract/v1/recorded");
    let text = std::fs::read_to_string(dir.join(format!("{name}.json"))).unwrap();
    let mut message = serde_json::from_str::<Value>(&text).unwrap()["json"].take();
    for (pointer, value) in changes {
        // What is not there is added.
        let (parent, field) = pointer.rsplit_once('/').unwrap();
        message.pointer_mut(parent).unwrap()[field] = value.clone();
    }
    message
}

struct Old {
    client: Client,
    creds: Creds,
}

impl Old {
    async fn say(&self, subject: String, message: &Value, more: &[(&str, String)]) {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, Encoding::Json.content_type());
        for (name, value) in more {
            headers.insert(*name, value.as_str());
        }
        let payload = serde_json::to_vec(message).unwrap();
        self.client.publish_with_headers(subject, headers, payload.into()).await.unwrap();
    }

    async fn announce(&self) {
        let announcement = recorded(
            "Announcement.module",
            &[
                ("/vp", json!(vp("x"))),
                ("/instance", json!(INSTANCE)),
                ("/boot", json!(BOOT)),
                // Able, and newer than any reader of version 1.
                ("/role/module/kinds/0/unavailable", Value::Null),
                ("/schema", json!("1.9")),
                ("/later", json!({ "a": [1] })),
                ("/role/module/later", json!("b")),
                ("/role/module/kinds/0/later", json!(true)),
            ],
        );
        let payload = serde_json::to_vec(&announcement).unwrap();
        let signature = BASE64URL_NOPAD.encode(&self.creds.seed.sign(&payload).unwrap());
        let proof = [(JWT_HEADER, self.creds.jwt.to_string()), (SIGNATURE_HEADER, signature)];
        self.say(Subject::Announce.on(&Prefix::default()), &announcement, &proof).await;
    }

    /// Takes a batch, and answers each task of it with the recorded final record.
    async fn work(&self, message: Message) {
        let batch = match Encoding::of(None, &message.payload).unwrap().decode(&message.payload).unwrap() {
            ToInstance::Tasks(batch) => batch,
            ToInstance::Sync(_) => return,
        };
        let own = [("/accepted/instance", json!(INSTANCE)), ("/accepted/boot", json!(BOOT))];
        let receipt =
            recorded("Receipt.accepted", &[own[0].clone(), own[1].clone(), ("/accepted/later", json!(1))]);
        self.say(message.reply.unwrap().to_string(), &receipt, &[]).await;
        let whole = recorded("ResultBatch.two", &[]);
        let records: Vec<Value> = batch
            .tasks
            .iter()
            .map(|task| {
                let mut record = whole["records"][0].clone();
                record["index"] = json!(task.index);
                record["attempt"] = json!(task.attempt);
                record["later"] = json!("of the record");
                record["body"]["later"] = json!({ "of": "the body" });
                record["summary"]["later_ns"] = json!(5);
                record
            })
            .collect();
        let results = recorded(
            "ResultBatch.two",
            &[
                ("/instance", json!(INSTANCE)),
                ("/boot", json!(BOOT)),
                ("/anchor", json!(batch.anchor)),
                ("/epoch", json!(batch.epoch)),
                ("/seq", json!(1)),
                ("/records", json!(records)),
                ("/later", json!(null)),
            ],
        );
        let subject = Subject::Res(vp("x"), batch.kind, batch.measurement).on(&Prefix::default());
        self.say(subject, &results, &[]).await;
    }
}

#[tokio::test]
async fn recorded_messages_drive_this_anchor_and_what_is_newer_passes_through() {
    let server = TestServer::start().await;
    let anchor = TestAnchor::start(&server).await;
    let dir = server.module_dir(INSTANCE, &[vp("x").as_str()]);
    let bus = Connect::new(server.url(), dir.join(CREDS), INSTANCE).open().await.unwrap();
    let old = Old { client: bus.client().clone(), creds: Creds::read(&dir.join(CREDS)).unwrap() };
    let prefix = Prefix::default();
    let tasks = filter::tasks(&prefix, &vp("x"), &INSTANCE.parse().unwrap());
    let mut tasks = old.client.subscribe(tasks).await.unwrap();
    bus.barrier().await.unwrap();
    old.announce().await;
    anchor.offers("x", "ping").await;

    let heartbeat = recorded(
        "Heartbeat.full",
        &[("/boot", json!(BOOT)), ("/load/later", json!(3)), ("/later", json!([]))],
    );
    old.say(Subject::Hb(vp("x"), INSTANCE.parse().unwrap()).on(&prefix), &heartbeat, &[]).await;
    let beat =
        eventually(|| async { anchor.anchor.modules().await.ok()?.into_iter().next()?.heartbeat }).await;
    assert_eq!((beat.seq, beat.load.rss_bytes), (3, Some(9_000_000)));

    let wanted = MeasurementRequest { kind: "ping".parse().unwrap(), ..request(3, "all") };
    let id = anchor.anchor.accept(&tenant(), wanted, None).await.unwrap().measurement.id;
    let worker = tokio::spawn(async move {
        while let Some(message) = tasks.next().await {
            old.work(message).await;
        }
    });
    assert_eq!(anchor.done(id).await.ledger.ok, 3);
    for result in anchor.each(id).await {
        let result = serde_json::to_value(&result).unwrap();
        assert_eq!(result["body"]["later"], json!({ "of": "the body" }), "{result}");
        assert_eq!(result["summary"]["later_ns"], 5);
        assert_eq!(result["body"]["raw"], "AP8-");
        assert_eq!((&result["duration_ns"], &result["instance"]), (&json!(20_300_000), &json!(INSTANCE)));
    }
    let view = anchor.anchor.modules().await.unwrap().remove(0);
    assert_eq!((view.health, view.credits), (Health::Healthy, Some(64)));
    worker.abort();
}
