//! The lab: the file of a plan, and packets and requests as strangers send them into a world.

use std::sync::{Arc, LazyLock};

use mmn_lab::ids::{HostId, Id as _, VpId};
use mmn_lab::plan::Plan;
use mmn_lab::service::Services;
use mmn_lab::truth::Fate;
use mmn_lab::world::{Port, World};
use mmn_probe::time::Instant;

/// A file. What is no plan says where it is wrong; what is one runs.
pub(crate) fn plan(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    match Plan::parse("plan", text) {
        Err(error) => assert!(!error.problems.is_empty() && error.to_string().starts_with("plan")),
        Ok(plan) => {
            let _ = mmn_lab::draw::svg(&plan);
            let _ = World::new(Arc::new(plan));
        }
    }
}

static PLAN: LazyLock<Arc<Plan>> = LazyLock::new(|| {
    let plan = Plan::parse("chain.toml", include_str!("../../../examples/lab/chain.toml"));
    Arc::new(plan.unwrap_or_else(|error| panic!("{error}")))
});

/// Packets, each behind an octet that says how long it is, all at one instant. Each has one fate in the end.
pub(crate) fn packets(mut bytes: &[u8]) {
    let mut world = World::new(PLAN.clone());
    world.set_vps_answer(true);
    while let Some((length, rest)) = bytes.split_first() {
        let (packet, rest) = rest.split_at(rest.len().min(usize::from(*length)));
        world.inject(Instant(0), Port::Vp(VpId::new(0)), packet);
        bytes = rest;
    }
    let mut out = Vec::new();
    while let Some(next) = world.next_at() {
        world.poll(next, &mut out);
        out.clear();
    }
    assert!(world.truth().records().all(|record| record.fate != Fate::UnderWay));
}

/// A DNS query, and a request for a page.
pub(crate) fn request(bytes: &[u8]) {
    let mut services = Services::new(PLAN.clone(), Instant(0));
    let host = HostId::new(0);
    if let Some(response) = services.dns(Instant(0), host, bytes, 512) {
        assert!(response.bytes.len() >= 12 && response.bytes.len() <= 4_096);
    }
    let _ = services.http(host, true, bytes);
    let _ = services.packet(Instant(0), host, bytes);
}
