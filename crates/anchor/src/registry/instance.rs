//! What is known of one instance, and of a pool of instances that grant no credits.

use std::time::Instant;

use mmn_schema::announce::{Announcement, Heartbeat, KindInfo, ModuleInfo};
use mmn_schema::api::Health;
use mmn_schema::encoding::Encoding;
use mmn_schema::id::{BootId, InstanceId, VpId};
use mmn_schema::time::Timestamp;

use crate::dispatch::holding::Holding;
use crate::dispatch::inbound::Inbound;
use crate::dispatch::lane::LaneId;
use crate::health::{Bounds, Liveness};

/// What is out somewhere.
#[derive(Debug)]
pub(crate) struct Slot {
    pub(crate) holding: Holding,
}

impl Slot {
    pub(crate) fn new(first_seq: u64) -> Self {
        Self { holding: Holding::new(first_seq) }
    }
}

/// The instances of a kind at a vantage point that grant no credits.
#[derive(Debug)]
pub(crate) struct Pool {
    pub(crate) slot: Slot,
}

impl Pool {
    pub(crate) fn new(first_seq: u64) -> Self {
        Self { slot: Slot::new(first_seq) }
    }
}

/// One instance in one life.
#[derive(Debug)]
pub(crate) struct Instance {
    pub(crate) id: InstanceId,
    pub(crate) vp: VpId,
    pub(crate) boot: BootId,
    pub(crate) module: String,
    pub(crate) version: String,
    pub(crate) kinds: Vec<KindInfo>,
    pub(crate) lanes: Vec<LaneId>,
    pub(crate) credits: Option<u32>,
    /// The encoding that it speaks.
    pub(crate) encoding: Encoding,
    pub(crate) liveness: Liveness,
    pub(crate) health: Health,
    pub(crate) heartbeat: Option<Heartbeat>,
    pub(crate) seen_at: Timestamp,
    pub(crate) slot: Slot,
    pub(crate) inbound: Inbound,
    /// It said that it is full, and nothing was heard of it since.
    pub(crate) full: bool,
    /// A result message of it is missing: it shall send again what is not acknowledged.
    pub(crate) missing: bool,
    /// Whether it has answered a sync of this anchor.
    pub(crate) settled: bool,
    /// When notes were last compared.
    pub(crate) synced: Option<Instant>,
    /// Until when it is given nothing, so that it can first say what it holds.
    pub(crate) hold_until: Option<Instant>,
}

impl Instance {
    pub(crate) fn new(
        announcement: &Announcement,
        info: ModuleInfo,
        encoding: Encoding,
        lanes: Vec<LaneId>,
        first_seq: u64,
        now: Instant,
        at: Timestamp,
    ) -> Self {
        Self {
            id: announcement.instance.clone(),
            vp: announcement.vp.clone(),
            boot: announcement.boot,
            module: info.module,
            version: announcement.version.clone(),
            kinds: info.kinds,
            lanes,
            credits: info.credits,
            encoding,
            liveness: Liveness::announced(now),
            health: Health::Starting,
            heartbeat: None,
            seen_at: at,
            slot: Slot::new(first_seq),
            inbound: Inbound::default(),
            full: false,
            missing: false,
            settled: false,
            synced: None,
            hold_until: None,
        }
    }

    /// The same life has announced itself again.
    pub(crate) fn again(
        &mut self,
        announcement: &Announcement,
        info: ModuleInfo,
        encoding: Encoding,
        lanes: Vec<LaneId>,
        now: Instant,
        at: Timestamp,
    ) {
        self.version.clone_from(&announcement.version);
        self.module = info.module;
        self.kinds = info.kinds;
        self.credits = info.credits;
        self.encoding = encoding;
        self.lanes = lanes;
        self.hear(now, at);
    }

    /// Something was heard of it.
    pub(crate) fn hear(&mut self, now: Instant, at: Timestamp) {
        self.liveness.hear(now, None);
        self.seen_at = at;
        self.full = false;
    }

    /// Whether it is given new work.
    pub(crate) fn takes_work(&self, now: Instant, bounds: Bounds) -> bool {
        self.liveness.takes_work(now, bounds) && self.hold_until.is_none_or(|until| now >= until)
    }

    /// Whether it is neither gone nor given up.
    pub(crate) fn is_there(&self, now: Instant, bounds: Bounds) -> bool {
        !matches!(self.liveness.judge(now, bounds).0, Health::Lost | Health::Stopped)
    }

    /// How many more tasks it can hold.
    pub(crate) fn room(&self, credits: u32) -> usize {
        if self.full { 0 } else { (credits as usize).saturating_sub(self.slot.holding.len()) }
    }
}
