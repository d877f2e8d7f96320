//! A node that a test holds by the hand: it says what it is told to, and shows that it is alive.

use async_nats::HeaderMap;
use data_encoding::BASE64URL_NOPAD;
use mmn_bus::connect::{Bus, Connect};
use mmn_bus::identity::{CREDS, Creds};
use mmn_bus::testing::TestServer;
use mmn_schema::announce::{
    Announcement, Heartbeat, InstanceState, JWT_HEADER, Load, ModuleState, ModuleStatus, NodeInfo, Role,
    SIGNATURE_HEADER,
};
use mmn_schema::encoding::{CONTENT_TYPE, Encoding};
use mmn_schema::id::{BootId, InstanceId, VpId};
use mmn_schema::subject::{Prefix, Subject};
use mmn_schema::time::Timestamp;
use mmn_schema::vp::{Location, PolicySummary, VantagePoint};
use tokio::task::JoinHandle;

pub struct FakeNode {
    bus: Bus,
    creds: Creds,
    vp: VpId,
    name: InstanceId,
    boot: BootId,
    beats: JoinHandle<()>,
}

impl FakeNode {
    pub async fn start(server: &TestServer, vp_name: &str, name: &str) -> Self {
        let vp = super::vp(vp_name);
        let dir = server.node_dir(name, &[vp.as_str()]);
        let bus = Connect::new(server.url(), dir.join(CREDS), name).open().await.unwrap();
        let creds = Creds::read(&dir.join(CREDS)).unwrap();
        let boot = BootId(rand::random::<u32>().into());
        let beats = tokio::spawn(beat(bus.clone(), vp.clone(), name.parse().unwrap(), boot));
        let node = Self { bus, creds, vp, name: name.parse().unwrap(), boot, beats };
        node.tell(&[], ModuleState::Running).await;
        node
    }

    /// Says how its module is, and of which instances it consists.
    pub async fn tell(&self, instances: &[&str], state: ModuleState) {
        let module = ModuleStatus {
            module: "noop".to_owned(),
            instances: instances.iter().map(|instance| instance.parse().unwrap()).collect(),
            state,
            restarts: 1,
            detail: Some("exit status: 1".to_owned()),
        };
        let info = NodeInfo {
            vantage_point: VantagePoint {
                id: self.vp.clone(),
                name: "here".to_owned(),
                location: Location::default(),
                asn: None,
                as_name: None,
                addresses: Vec::new(),
                tags: Vec::new(),
                simulated: false,
            },
            policy: PolicySummary {
                max_pps: 1,
                max_bps: 1,
                max_pps_per_target: 1,
                allow: Vec::new(),
                deny: Vec::new(),
                deny_kinds: Vec::new(),
                allow_packet_sockets: false,
            },
            modules: vec![module],
        };
        let announcement = Announcement {
            schema: mmn_schema::VERSION,
            vp: self.vp.clone(),
            instance: self.name.clone(),
            boot: self.boot,
            version: "0".to_owned(),
            started_at: Timestamp::default(),
            role: Role::Node(Box::new(info)),
        };
        let payload = Encoding::Cbor.encode(&announcement).unwrap();
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, Encoding::Cbor.content_type());
        headers.insert(JWT_HEADER, self.creds.jwt.as_str());
        let signature = self.creds.seed.sign(&payload).unwrap();
        headers.insert(SIGNATURE_HEADER, BASE64URL_NOPAD.encode(&signature).as_str());
        let subject = Subject::Announce.on(&Prefix::default());
        self.bus.client().publish_with_headers(subject, headers, payload.into()).await.unwrap();
    }

    /// It is not heard any more.
    pub fn fall_silent(&self) {
        self.beats.abort();
    }
}

impl Drop for FakeNode {
    fn drop(&mut self) {
        self.beats.abort();
    }
}

async fn beat(bus: Bus, vp: VpId, name: InstanceId, boot: BootId) {
    let mut interval = tokio::time::interval(std::time::Duration::from_millis(100));
    for seq in 1.. {
        interval.tick().await;
        let heartbeat = Heartbeat {
            boot,
            seq,
            sent_at: Timestamp::default(),
            interval_ms: 100,
            state: InstanceState::Ready,
            load: Load::default(),
            clock: None,
        };
        let subject = Subject::Hb(vp.clone(), name.clone()).on(&Prefix::default());
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, Encoding::Cbor.content_type());
        let payload = Encoding::Cbor.encode(&heartbeat).unwrap();
        bus.client().publish_with_headers(subject, headers, payload.into()).await.unwrap();
    }
}
