//! What each role may do and what it may not, tried against a real server with its credentials.
//!
//! A refused publish succeeds in the client library, and only an event tells; so each attempt is
//! followed by a barrier, which the server answers after it has judged the attempt, and a witness
//! with all rights looks whether anything came through.

#![expect(clippy::unwrap_used, reason = "a test that can not go on has failed")]

use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use mmn_bus::async_nats::{self, HeaderMap, jetstream::stream};
use mmn_bus::connect::{Bus, BusEvent, Connect};
use mmn_bus::identity::permissions::POOL_QUEUE;
use mmn_bus::identity::{self, Role};
use mmn_bus::testing::TestServer;
use mmn_schema::id::{InstanceId, KindName, MeasurementId, VpId};
use mmn_schema::subject::{Log, Prefix, Subject, filter};
use tokio::sync::broadcast;

const HANG: Duration = Duration::from_secs(30);

/// A connection that tries things, and the server's words about them.
struct Tester {
    bus: Bus,
    events: broadcast::Receiver<BusEvent>,
}

impl Tester {
    fn new(bus: Bus) -> Self {
        let events = bus.events();
        Self { bus, events }
    }

    /// Was the last attempt refused?
    async fn judged(&mut self) -> bool {
        self.bus.barrier().await.unwrap();
        // The events of a connection reach us through a task of the library: a refused attempt at
        // a subject that nobody may use marks the end of what came before.
        let mark = "$SYS.mark";
        self.bus.client().publish(mark, Bytes::new()).await.unwrap();
        let mut refused = false;
        loop {
            let event = tokio::time::timeout(HANG, self.events.recv()).await;
            match event.unwrap().unwrap() {
                BusEvent::PermissionViolation(words) if words.contains(mark) => return refused,
                BusEvent::PermissionViolation(_) => refused = true,
                _ => {}
            }
        }
    }

    async fn may_publish(&mut self, subject: &str) -> bool {
        let client = self.bus.client();
        client.publish(subject.to_owned(), "x".into()).await.unwrap();
        !self.judged().await
    }

    async fn may_subscribe(&mut self, subject: &str) -> bool {
        let client = self.bus.client();
        let _subscription = client.subscribe(subject.to_owned()).await.unwrap();
        !self.judged().await
    }

    async fn may_join(&mut self, subject: &str, queue: &str) -> bool {
        let client = self.bus.client();
        let _subscription = client.queue_subscribe(subject.to_owned(), queue.to_owned()).await.unwrap();
        !self.judged().await
    }
}

async fn check(tester: &mut Tester, publish: &[(&str, bool)], subscribe: &[(&str, bool)]) {
    for (subject, may) in publish {
        assert_eq!(tester.may_publish(subject).await, *may, "publish {subject}");
    }
    for (subject, may) in subscribe {
        assert_eq!(tester.may_subscribe(subject).await, *may, "subscribe {subject}");
    }
}

#[tokio::test]
async fn a_module_does_its_own_work_and_nothing_else() {
    let server = TestServer::start().await;
    let anchor = server.anchor("a1").await;
    anchor
        .ensure_stream(&stream::Config {
            name: "LOG".into(),
            subjects: vec!["mmn.v1.log.>".into()],
            ..stream::Config::default()
        })
        .await
        .unwrap();
    let other = server.module("i2", &["vp1"]).await;
    let other_inbox = format!("_INBOX.{}.x", other.user());
    let others_inboxes = format!("_INBOX.{}.>", other.user());
    let anchors_inboxes = format!("_INBOX.{}.>", anchor.user());

    let mut module = Tester::new(server.module("i1", &["vp1"]).await);
    let own_inboxes = format!("_INBOX.{}.>", module.bus.user());
    let own_inbox = format!("_INBOX.{}.x", module.bus.user());
    check(
        &mut module,
        &[
            ("mmn.modules.announce", true),
            ("mmn.v1.hb.vp1.i1", true),
            ("mmn.v1.res.vp1.ping.msm1", true),
            (&own_inbox, true),
            // Those of other instances and VPs.
            ("mmn.v1.hb.vp1.i2", false),
            ("mmn.v1.hb.vp2.i1", false),
            ("mmn.v1.res.vp2.ping.msm1", false),
            (&other_inbox, false),
            // What anchors and nodes say.
            ("mmn.modules.discover", false),
            ("mmn.v1.task.vp1.ping.i1", false),
            ("mmn.v1.task.vp1.ping.i2", false),
            ("mmn.v1.pool.vp1.ping", false),
            ("mmn.v1.pool.any.ping", false),
            ("mmn.v1.rcpt.vp1.i2.anchor-1.7", false),
            ("mmn.v1.rcpt.vp2.i1.anchor-1.7", false),
            ("mmn.v1.ctl.vp1.i1", false),
            ("mmn.v1.node.vp1", false),
            ("mmn.v1.enrol.vp1", false),
            ("mmn.v1.evt.alarm", false),
            ("mmn.v1.log.accepted", false),
            ("mmn.v2.res.vp1.ping.msm1", false),
            ("other.modules.announce", false),
            // NATS itself.
            ("$JS.API.STREAM.LIST", false),
            ("$JS.API.STREAM.DELETE.LOG", false),
            ("$JS.API.STREAM.MSG.GET.LOG", false),
            ("$JS.API.DIRECT.GET.LOG", false),
            ("$JS.API.CONSUMER.CREATE.LOG", false),
            ("$JS.ACK.LOG.x.1.1.1.1.1", false),
            ("$KV.leases.m1", false),
            ("$SRV.PING", false),
            ("$SYS.REQ.SERVER.PING", false),
        ],
        &[
            ("mmn.modules.discover", true),
            ("mmn.v1.task.vp1.*.i1", true),
            ("mmn.v1.task.vp1.ping.i1", true),
            ("mmn.v1.ctl.vp1.i1", true),
            ("$SRV.PING", true),
            ("$SRV.PING.ping", true),
            ("$SRV.INFO.ping.id", true),
            ("$SRV.STATS.ping", true),
            (&own_inboxes, true),
            ("mmn.v1.task.vp1.*.i2", false),
            ("mmn.v1.task.vp1.*.*", false),
            ("mmn.v1.task.vp1.>", false),
            ("mmn.v1.task.vp2.*.i1", false),
            ("mmn.v1.ctl.vp1.i2", false),
            ("mmn.v1.ctl.vp1.*", false),
            ("mmn.v1.hb.>", false),
            ("mmn.v1.res.vp1.>", false),
            ("mmn.v1.node.vp1", false),
            ("mmn.v1.enrol.vp1", false),
            ("mmn.v1.log.>", false),
            ("mmn.modules.announce", false),
            ("mmn.>", false),
            (">", false),
            ("_INBOX.>", false),
            (&others_inboxes, false),
            (&anchors_inboxes, false),
            ("$KV.>", false),
            ("$JS.API.>", false),
            ("$SYS.>", false),
            ("$SRV.>", false),
            ("mmn.v1.pool.vp2.ping", false),
            ("mmn.v1.pool.*.ping", false),
        ],
    )
    .await;
    assert!(module.may_join("mmn.v1.pool.vp1.*", POOL_QUEUE).await);
    assert!(module.may_join("mmn.v1.pool.any.ping", POOL_QUEUE).await);
    assert!(!module.may_join("mmn.v1.pool.vp2.ping", POOL_QUEUE).await);
    // Nothing of it reached the log.
    let mut log = anchor.jetstream().get_stream("LOG").await.unwrap();
    assert_eq!(log.info().await.unwrap().state.messages, 0);
}

#[tokio::test]
async fn the_rights_are_those_of_the_contracts_subjects() {
    let prefix = Prefix::default();
    let vp = VpId::derive("UNODE", "main");
    let instance: InstanceId = "i1".parse().unwrap();
    let kind: KindName = "ping".parse().unwrap();
    let msm = MeasurementId::new(1_800_000_000_000, &[7; 10]);
    let (vp_id, instance_id) = (vp.to_string(), instance.to_string());
    let server = TestServer::start().await;
    let mut module = Tester::new(server.module(&instance_id, &[&vp_id]).await);
    let (hb, announce) = (Subject::Hb(vp.clone(), instance.clone()), Subject::Announce);
    for subject in [
        &announce,
        &hb,
        &Subject::Res(vp.clone(), kind.clone(), msm),
        &Subject::Synced(vp.clone(), instance.clone()),
        &Subject::Receipt(vp.clone(), instance.clone(), "anchor-1".parse().unwrap(), 7),
    ] {
        assert!(module.may_publish(&subject.on(&prefix)).await, "{subject:?}");
    }
    for subject in [
        Subject::Discover,
        Subject::Task(vp.clone(), kind.clone(), instance.clone()),
        Subject::Pool(vp.clone(), kind.clone()),
        Subject::PoolAny(kind.clone()),
        Subject::Ctl(vp.clone(), instance.clone()),
    ] {
        assert!(module.may_subscribe(&subject.on(&prefix)).await, "{subject:?}");
    }
    assert!(!module.may_publish(&Subject::Log(Log::Res, msm).on(&prefix)).await);

    let mut node = Tester::new(server.node("n1", &[&vp_id]).await);
    for subject in [&announce, &hb, &Subject::Enrol(vp.clone()), &Subject::Evt("module".into())] {
        assert!(node.may_publish(&subject.on(&prefix)).await, "{subject:?}");
    }
    for subject in [Subject::Discover, Subject::Node(vp.clone())] {
        assert!(node.may_subscribe(&subject.on(&prefix)).await, "{subject:?}");
    }
    assert!(node.may_subscribe(&filter::heartbeats_of(&prefix, &vp)).await);
}

#[tokio::test]
async fn the_replies_of_one_reach_nobody_else() {
    let server = TestServer::start().await;
    let anchor = server.anchor("a1").await;
    let module = server.module("i1", &["vp1"]).await;
    let mut tasks = module.client().subscribe("mmn.v1.task.vp1.ping.i1").await.unwrap();
    module.barrier().await.unwrap();
    let asking = tokio::spawn({
        let client = anchor.client().clone();
        async move { client.request("mmn.v1.task.vp1.ping.i1", Bytes::new()).await.unwrap() }
    });
    let task = tokio::time::timeout(HANG, tasks.next()).await.unwrap().unwrap();
    let reply = task.reply.unwrap();
    assert!(reply.starts_with(&format!("_INBOX.{}.", anchor.user())));
    // Another module that has learned the reply subject may neither answer nor listen.
    let mut other = Tester::new(server.module("i2", &["vp1"]).await);
    assert!(!other.may_publish(&reply).await);
    assert!(!other.may_subscribe(&reply).await);
    module.client().publish(reply, "mine".into()).await.unwrap();
    assert_eq!(asking.await.unwrap().payload, "mine");
}

#[tokio::test]
async fn a_module_answers_in_parts_and_serves_as_a_nats_service() {
    let server = TestServer::start().await;
    let anchor = server.anchor("a1").await;
    let module = server.module("i1", &["vp1"]).await;
    let mut pings = module.client().subscribe("$SRV.PING").await.unwrap();
    module.barrier().await.unwrap();
    let inbox = anchor.client().new_inbox();
    let mut answers = anchor.client().subscribe(inbox.clone()).await.unwrap();
    anchor.client().publish_with_reply("$SRV.PING", inbox, Bytes::new()).await.unwrap();
    let reply = pings.next().await.unwrap().reply.unwrap();
    for part in 0..16_u8 {
        let payload = Bytes::copy_from_slice(&[part]);
        module.client().publish(reply.clone(), payload).await.unwrap();
    }
    for part in 0..16_u8 {
        let answer = tokio::time::timeout(HANG, answers.next()).await.unwrap();
        assert_eq!(answer.unwrap().payload[0], part);
    }
    let mut module = Tester::new(module);
    assert!(!module.may_publish(&reply).await, "the 17th");
}

#[tokio::test]
async fn one_connection_may_serve_several_vps() {
    let server = TestServer::start().await;
    let mut module = Tester::new(server.module("i1", &["vpA", "vp-b", "vp_c"]).await);
    check(
        &mut module,
        &[
            ("mmn.v1.hb.vpA.i1", true),
            ("mmn.v1.hb.vp-b.i1", true),
            ("mmn.v1.res.vp_c.ping.m", true),
            ("mmn.v1.hb.vpa.i1", false),
            ("mmn.v1.hb.vpd.i1", false),
        ],
        &[("mmn.v1.task.vpA.*.i1", true), ("mmn.v1.ctl.vp_c.i1", true), ("mmn.v1.task.vpD.*.i1", false)],
    )
    .await;
}

#[tokio::test]
async fn without_a_vp_there_is_no_right_to_any() {
    let server = TestServer::start().await;
    let dir = server.module_dir("i1", &[]);
    let connect = Connect::new(server.url(), dir.join(identity::CREDS), "i1");
    // A server may refuse such a user outright, or let it in without these rights.
    let Ok(bus) = connect.open().await else {
        return;
    };
    let mut module = Tester::new(bus);
    check(
        &mut module,
        &[("mmn.v1.hb.vp1.i1", false), ("mmn.v1.res.vp1.x.y", false), ("mmn.v1.res..x.y", false)],
        &[("mmn.v1.task.vp1.*.i1", false), ("mmn.>", false)],
    )
    .await;
}

#[tokio::test]
async fn a_node_speaks_for_its_vps_alone() {
    let server = TestServer::start().await;
    let mut node = Tester::new(server.node("n1", &["vp1", "vp2"]).await);
    check(
        &mut node,
        &[
            ("mmn.modules.announce", true),
            ("mmn.v1.hb.vp1.node", true),
            ("mmn.v1.hb.vp2.node", true),
            ("mmn.v1.enrol.vp1", true),
            ("mmn.v1.evt.module", true),
            ("mmn.v1.hb.vp3.node", false),
            ("mmn.v1.enrol.vp3", false),
            ("mmn.v1.res.vp1.ping.m", false),
            ("mmn.v1.task.vp1.ping.i1", false),
            ("mmn.v1.node.vp1", false),
            ("mmn.v1.log.x", false),
            ("$JS.API.STREAM.LIST", false),
            ("$KV.leases.m1", false),
        ],
        &[
            ("mmn.modules.discover", true),
            ("mmn.v1.node.vp1", true),
            ("mmn.v1.node.vp3", false),
            ("mmn.v1.enrol.vp1", false),
            ("mmn.v1.task.vp1.*.*", false),
            ("mmn.v1.evt.*", false),
            ("mmn.>", false),
            ("_INBOX.>", false),
            ("$SYS.>", false),
        ],
    )
    .await;
}

#[tokio::test]
async fn an_anchor_enrols_a_modules_key_for_a_node() {
    let server = TestServer::start().await;
    let dir = server.anchor_dir("a1");
    let (issuer, trust) = identity::Issuer::open_anchor(&dir).unwrap();
    assert_eq!(issuer.role(), Role::Module);
    let connect = Connect::new(server.url(), dir.join(identity::CREDS), "a1");
    let anchor = connect.open().await.unwrap();
    let node = server.node("n1", &["vp1"]).await;
    let mut requests = anchor.client().subscribe("mmn.v1.enrol.*").await.unwrap();
    anchor.barrier().await.unwrap();

    let seed = identity::Seed::new_user();
    let asking = tokio::spawn({
        let (client, key) = (node.client().clone(), seed.public_key().to_string());
        async move { client.request("mmn.v1.enrol.vp1", key.into()).await.unwrap() }
    });
    let request = requests.next().await.unwrap();
    let key = String::from_utf8(request.payload.to_vec()).unwrap();
    let jwt = issuer
        .user(&identity::UserRequest {
            name: "i1",
            vps: &["vp1"],
            public_key: &key.parse().unwrap(),
            issued_at_s: mmn_bus::testing::now_s(),
            expires_at_s: Some(mmn_bus::testing::now_s() + 3600),
        })
        .unwrap();
    let answer = jwt.to_string();
    anchor.client().publish(request.reply.unwrap(), answer.into()).await.unwrap();
    let answer = asking.await.unwrap().payload;
    let jwt: identity::Jwt = std::str::from_utf8(&answer).unwrap().parse().unwrap();
    let claims = trust.verify_user(jwt.as_str(), mmn_bus::testing::now_s()).unwrap();
    assert_eq!((claims.role, claims.name.as_str()), (Role::Module, "i1"));

    let dir = server.dir().join("enrolled");
    identity::write_module(&dir, &identity::Creds { jwt, seed }).unwrap();
    let connect = Connect::new(server.url(), dir.join(identity::CREDS), "i1");
    let mut module = Tester::new(connect.open().await.unwrap());
    assert!(module.may_publish("mmn.v1.hb.vp1.i1").await);
    assert!(!module.may_publish("mmn.v1.hb.vp1.i2").await);
}

#[tokio::test]
async fn an_anchor_has_the_log_but_not_the_server() {
    let server = TestServer::start().await;
    let module = server.module("i1", &["vp1"]).await;
    let modules_inboxes = format!("_INBOX.{}.>", module.user());
    let mut anchor = Tester::new(server.anchor("a1").await);
    check(
        &mut anchor,
        &[
            ("mmn.v1.log.accepted", true),
            ("mmn.v1.task.vp1.ping.i1", true),
            ("$SRV.INFO", true),
            ("$KV.leases.m1", true),
            ("$SYS.REQ.SERVER.PING", false),
            ("other.v1.log.x", false),
        ],
        &[
            ("mmn.>", true),
            ("$JS.EVENT.ADVISORY.>", true),
            (&modules_inboxes, false),
            ("_INBOX.>", false),
            ("$SYS.>", false),
            (">", false),
        ],
    )
    .await;
}

#[tokio::test]
async fn strangers_are_refused() {
    let server = TestServer::start().await;
    // Nobody, and somebody of another network.
    assert!(async_nats::connect(server.url()).await.is_err());
    let elsewhere = TestServer::start().await;
    let dir = elsewhere.anchor_dir("a1");
    let connect = Connect::new(server.url(), dir.join(identity::CREDS), "a1");
    assert!(connect.open().await.is_err());
    // A signing key may not sign for what it was not made for: rights come from the account.
    let module = server.module("i1", &["vp1"]).await;
    let mut headers = HeaderMap::new();
    headers.insert("Nats-Msg-Id", "1");
    let written = module.publish_kept("mmn.v1.log.x", Some(headers), Bytes::new(), "1");
    assert!(
        tokio::time::timeout(Duration::from_millis(300), written).await.is_err(),
        "nobody acknowledges it"
    );
}
