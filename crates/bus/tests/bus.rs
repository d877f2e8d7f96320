//! The connection against a real server: barrier, expiry, restart, JetStream.

#![expect(clippy::expect_used, reason = "a test that can not go on has failed")]

use std::time::Duration;

use async_nats::jetstream::stream;
use bytes::Bytes;
use futures::StreamExt;
use mmn_bus::async_nats;
use mmn_bus::connect::{Bus, BusEvent, Connect, Link};
use mmn_bus::identity::{self, Creds, Role, Seed};
use mmn_bus::jetstream::{Bucket, KeptError};
use mmn_bus::testing::TestServer;

/// Far beyond what anything here takes; only a hang reaches it.
const HANG: Duration = Duration::from_secs(30);

async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(HANG, future).await.expect("no hang")
}

async fn up(bus: &Bus, at_least: u64) {
    let mut link = bus.link();
    soon(link.wait_for(|link| matches!(link, Link::Up { generation } if *generation >= at_least)))
        .await
        .expect("the connection is open");
}

#[tokio::test]
async fn after_the_barrier_a_subscription_stands() {
    let server = TestServer::start().await;
    let anchor = server.anchor("a1").await;
    let module = server.module("i1", &["vp1"]).await;
    for round in 0..200 {
        let mut tasks = module.client().subscribe(format!("mmn.v1.task.vp1.k{round}.i1")).await.unwrap();
        module.barrier().await.unwrap();
        anchor.client().publish(format!("mmn.v1.task.vp1.k{round}.i1"), "task".into()).await.unwrap();
        assert_eq!(soon(tasks.next()).await.unwrap().payload, "task");
    }
}

#[tokio::test]
async fn a_request_is_answered_and_an_absent_module_is_noticed_at_once() {
    let server = TestServer::start().await;
    let anchor = server.anchor("a1").await;
    let module = server.module("i1", &["vp1"]).await;
    let mut tasks = module.client().subscribe("mmn.v1.task.vp1.ping.i1").await.unwrap();
    module.barrier().await.unwrap();
    let client = module.client().clone();
    let answering = tokio::spawn(async move {
        let task = tasks.next().await.unwrap();
        client.publish(task.reply.unwrap(), "taken".into()).await.unwrap();
    });
    let ask = |subject: &'static str| anchor.client().request(subject, Bytes::new());
    assert_eq!(soon(ask("mmn.v1.task.vp1.ping.i1")).await.unwrap().payload, "taken");
    answering.await.unwrap();
    let absent = soon(ask("mmn.v1.task.vp1.ping.i2")).await.unwrap_err();
    assert_eq!(absent.kind(), async_nats::RequestErrorKind::NoResponders);
}

#[tokio::test]
async fn expired_credentials_reconnect_calmly_and_renewed_ones_serve() {
    let server = TestServer::start().await;
    let seed = Seed::new_user();
    let path = server.dir().join("short.creds");
    let creds =
        |lifetime_s: Option<u64>| server.creds_of(seed.clone(), Role::Module, "i1", &["vp1"], lifetime_s);
    creds(Some(1)).write(&path).unwrap();
    let bus = Connect::new(server.url(), &path, "i1").open().await.unwrap();
    let mut discover = bus.client().subscribe("mmn.modules.discover").await.unwrap();
    let mut events = bus.events();
    // The end of the first, then attempts that are refused and held off.
    let mut refused = 0;
    while refused < 2 {
        match soon(events.recv()).await.unwrap() {
            BusEvent::Disconnected | BusEvent::ClientError(_) => refused += 1,
            _ => {}
        }
    }
    creds(None).write(&path).unwrap();
    let anchor = server.anchor("a1").await;
    // Connections that were refused may have counted as up for a moment: ask until one stays.
    while bus.barrier().await.is_err() {}
    anchor.client().publish("mmn.modules.discover", "who".into()).await.unwrap();
    assert_eq!(soon(discover.next()).await.unwrap().payload, "who");
    let mut count = 0;
    while events.try_recv().is_ok() {
        count += 1;
    }
    assert!(count < 20, "{count} events: a hot loop");
}

#[tokio::test]
async fn a_creds_file_of_somebody_else_is_not_used() {
    let server = TestServer::start().await;
    let dir = server.module_dir("i1", &["vp1"]);
    let path = dir.join(identity::CREDS);
    let bus = Connect::new(server.url(), &path, "i1").open().await.unwrap();
    let before = Creds::read(&path).unwrap();
    server.creds(Role::Module, "i2", &["vp1"], None).write(&path).unwrap();
    let mut events = bus.events();
    bus.reconnect().await;
    loop {
        if let BusEvent::ClientError(_) = soon(events.recv()).await.unwrap() {
            break;
        }
    }
    before.write(&path).unwrap();
    up(&bus, 2).await;
    soon(bus.barrier()).await.unwrap();
}

#[tokio::test]
async fn the_server_comes_back_on_its_port_with_its_store() {
    let mut server = TestServer::start().await;
    let anchor = server.anchor("a1").await;
    let config = stream::Config {
        name: "LOG".into(),
        subjects: vec!["mmn.v1.log.>".into()],
        ..stream::Config::default()
    };
    anchor.ensure_stream(&config).await.unwrap();
    let kept = |bus: Bus, id: &'static str| async move {
        bus.publish_kept("mmn.v1.log.x", None, Bytes::from_static(b"1"), id).await
    };
    let first = soon(kept(anchor.clone(), "one")).await.unwrap();
    assert_eq!((first.sequence, first.duplicate), (1, false));

    let url = server.url();
    server.server().kill().await.unwrap();
    assert!(server.server().has_ended());
    // Asked while the server is away, kept once it is back.
    let waiting = tokio::spawn(kept(anchor.clone(), "two"));
    server.server().restart().await.unwrap();
    assert_eq!(server.url(), url);
    assert_eq!(soon(waiting).await.unwrap().unwrap().sequence, 2);
    let again = soon(kept(anchor.clone(), "two")).await.unwrap();
    assert_eq!((again.sequence, again.duplicate), (2, true));
}

#[tokio::test]
async fn a_full_stream_says_so() {
    let server = TestServer::start().await;
    let anchor = server.anchor("a1").await;
    let mut config = stream::Config {
        name: "FULL".into(),
        subjects: vec!["mmn.v1.log.full".into()],
        max_messages: 1,
        discard: stream::DiscardPolicy::New,
        ..stream::Config::default()
    };
    anchor.ensure_stream(&config).await.unwrap();
    let publish = |id: &'static str| {
        let anchor = anchor.clone();
        async move { anchor.publish_kept("mmn.v1.log.full", None, Bytes::new(), id).await }
    };
    soon(publish("1")).await.unwrap();
    assert!(matches!(soon(publish("2")).await, Err(KeptError::Full(_))));
    // Asked for more room, the stream is updated.
    config.max_messages = 2;
    anchor.ensure_stream(&config).await.unwrap();
    soon(publish("2")).await.unwrap();
}

#[tokio::test]
async fn a_bucket_is_made_once_and_compares_and_swaps() {
    let server = TestServer::start().await;
    let anchor = server.anchor("a1").await;
    let bucket = Bucket { max_age: Some(Duration::from_secs(60)), ..Bucket::new("leases") };
    let store = anchor.ensure_bucket(&bucket).await.unwrap();
    let revision = store.create("m1", "a1".into()).await.unwrap();
    assert!(store.create("m1", "a2".into()).await.is_err());
    let again = anchor.ensure_bucket(&bucket).await.unwrap();
    again.update("m1", "a2".into(), revision).await.unwrap();
    assert!(again.update("m1", "a3".into(), revision).await.is_err());
    let mut watch = store.watch_with_history("m1").await.unwrap();
    assert_eq!(soon(watch.next()).await.unwrap().unwrap().value, "a2");
}

#[tokio::test]
async fn a_connection_may_wait_for_the_server() {
    let mut server = TestServer::start().await;
    let dir = server.module_dir("i1", &["vp1"]);
    server.server().kill().await.unwrap();
    let mut connect = Connect::new(server.url(), dir.join(identity::CREDS), "i1");
    assert!(connect.clone().open().await.is_err());
    connect.wait_for_server = true;
    let bus = connect.open().await.unwrap();
    server.server().restart().await.unwrap();
    up(&bus, 1).await;
    soon(bus.barrier()).await.unwrap();
}
