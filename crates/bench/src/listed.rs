//! From a module's connection to its place in the API's list: the time of a hot plug.

use std::time::Duration;

use anyhow::Context;
use data_encoding::BASE64URL_NOPAD;
use mmn_bus::connect::Connect;
use mmn_bus::identity::{Creds, Keyset, Role, Seed, UserRequest};
use mmn_schema::announce::{Announcement, JWT_HEADER, ModuleInfo, Role as Announcer, SIGNATURE_HEADER};
use mmn_schema::id::{BootId, InstanceId, VpId};
use mmn_schema::subject::{Prefix, Subject};
use mmn_schema::time::Timestamp;

use crate::report::{Report, ms, quantile};
use crate::up::Up;
use crate::{clock, http, nats};

const MODULES: usize = 50;

/// Connects modules one after another, each with credentials of its own, and asks the API until each is listed.
pub(crate) fn modules(up: &Up, report: &mut Report) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let vps = up.get("/api/v1/vps")?;
    let vp: VpId = serde_json::from_value(vps["items"][0]["vantage_point"]["id"].clone()).context("no VP")?;
    let mut samples = Vec::new();
    for number in 0..MODULES {
        samples.push(runtime.block_on(one(up, &vp, number))?);
    }
    report.at_most(
        "connected module to listed by the API, p95",
        "ms",
        ms(quantile(&mut samples, 0.95)),
        100.0,
    );
    report.note("published system: 2,000 to 3,000 ms");
    Ok(())
}

async fn one(up: &Up, vp: &VpId, number: usize) -> anyhow::Result<Duration> {
    let instance: InstanceId = format!("bench-{number}").parse()?;
    let keys = Keyset::open(&up.data().join("keys"), &Prefix::default())?;
    let seed = Seed::new_user();
    let now_s = clock::wall().as_secs();
    let jwt = keys.issuer(Role::Module).user(&UserRequest {
        name: instance.as_str(),
        vps: &[vp.as_str()],
        public_key: seed.public_key(),
        issued_at_s: now_s,
        expires_at_s: Some(now_s + 600),
    })?;
    let creds = up.data().join(format!("bench-{number}.creds"));
    Creds { jwt: jwt.clone(), seed: seed.clone() }.write(&creds)?;

    let announcement = Announcement {
        schema: mmn_schema::VERSION,
        vp: vp.clone(),
        instance: instance.clone(),
        boot: BootId(1),
        version: "0".to_owned(),
        started_at: Timestamp::default(),
        role: Announcer::Module(ModuleInfo {
            module: "bench".to_owned(),
            kinds: Vec::new(),
            credits: Some(1),
            simulated: false,
            digest: None,
        }),
    };
    let payload = serde_json::to_vec(&announcement)?;
    let mut headers = mmn_bus::async_nats::HeaderMap::new();
    headers.insert(JWT_HEADER, jwt.as_str());
    headers.insert(SIGNATURE_HEADER, BASE64URL_NOPAD.encode(&seed.sign(&payload)?).as_str());
    let mut api = http::Connection::open(&up.api, &up.token)?;

    let bus = Connect::new(nats::url(up.data())?, creds, instance.as_str()).open().await?;
    let connected = clock::now();
    let subject = Subject::Announce.on(&Prefix::default());
    bus.client().publish_with_headers(subject, headers, payload.into()).await?;
    bus.client().flush().await?;
    loop {
        let (status, body) = api.request("GET", "/api/v1/modules", None)?;
        anyhow::ensure!(status == 200, "GET /api/v1/modules: {status}");
        if String::from_utf8_lossy(&body).contains(instance.as_str()) {
            let took = clock::now() - connected;
            bus.close().await;
            return Ok(took);
        }
        anyhow::ensure!(clock::now() - connected < Duration::from_secs(10), "{instance} was never listed");
    }
}
