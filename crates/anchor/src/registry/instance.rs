//! What is known of one instance, and of a pool of instances that grant no credits.

use std::time::{Duration, Instant};

use mmn_schema::announce::{Announcement, Heartbeat, InstanceState, KindInfo, ModuleInfo};
use mmn_schema::api::{CircuitState, Health};
use mmn_schema::encoding::Encoding;
use mmn_schema::id::{BootId, InstanceId, VpId};
use mmn_schema::time::Timestamp;

use crate::breaker::Breaker;
use crate::dispatch::holding::Holding;
use crate::dispatch::inbound::Inbound;
use crate::dispatch::lane::{LaneId, Lanes};
use crate::health::{Bounds, Evidence, Liveness, Wrong};
use crate::meter::{Recent, Tokens};
use crate::usage::Meter;

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
#[expect(clippy::struct_excessive_bools, reason = "they say different things, which hold in any combination")]
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
    /// Since when it is so.
    pub(crate) since: Timestamp,
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
    /// Its circuit.
    pub(crate) breaker: Breaker,
    /// What it held was given to others when it fell silent.
    pub(crate) withdrawn: bool,
    /// When it was asked whether it is there, having fallen silent.
    pub(crate) probed: Option<Instant>,
    /// Since when it takes nothing though it holds little.
    pub(crate) clogged: Option<Instant>,
    /// Messages of it that could not be read or believed.
    pub(crate) garbage: Recent,
    /// Messages that it could not read, by its own count.
    pub(crate) unread: Recent,
    /// Final records of tasks that were not out to it, of this anchor's term.
    pub(crate) unasked: Recent,
    /// Announcements and heartbeats of it that were left unread, because there were too many.
    pub(crate) excess: Recent,
    /// While it floods, its results are read as far as there are tokens.
    pub(crate) flooding: Option<Tokens>,
    /// Its heartbeats are read as far as there are tokens.
    pub(crate) beats: Tokens,
    /// What it says that it uses.
    pub(crate) meter: Meter,
}

/// Garbage of so many messages in the last seconds is more than an accident: it counts as a failure, each second.
pub(crate) const MUCH_GARBAGE: u64 = 200;
/// So many final records that nobody asked for are a flood.
const MANY_FINALS: u64 = 5000;
/// So many announcements or heartbeats too many are.
const MANY_EXCESS: u64 = 20;
/// How many heartbeats are read in a second, and at once.
const BEATS_PER_S: f64 = 20.0;
const BEATS_BURST: f64 = 40.0;
/// For so long an instance may take nothing while it holds little.
const CLOGGED: Duration = Duration::from_secs(5);

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
            since: at,
            heartbeat: None,
            seen_at: at,
            slot: Slot::new(first_seq),
            inbound: Inbound::default(),
            full: false,
            missing: false,
            settled: false,
            synced: None,
            hold_until: None,
            breaker: Breaker::default(),
            withdrawn: false,
            probed: None,
            clogged: None,
            garbage: Recent::default(),
            unread: Recent::default(),
            unasked: Recent::default(),
            excess: Recent::default(),
            flooding: None,
            beats: Tokens::full(now, BEATS_BURST),
            meter: Meter::default(),
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
        self.withdrawn = false;
        self.probed = None;
    }

    /// A heartbeat has come. Whether it is to be read: they are not, when there are far too many.
    pub(crate) fn may_beat(&mut self, now: Instant) -> bool {
        let read = self.beats.take(now, BEATS_PER_S, BEATS_BURST);
        if !read {
            self.excess.add(now, 1);
        }
        read
    }

    /// What a heartbeat says.
    pub(crate) fn beat(&mut self, heartbeat: Heartbeat, now: Instant, bounds: Bounds) {
        self.liveness.beat(now, heartbeat.state, bounds);
        let load = heartbeat.load;
        self.meter.beat(&load, now);
        let before = self.heartbeat.as_ref().map_or(load.garbage, |before| before.load.garbage);
        self.unread.add(now, load.garbage.saturating_sub(before));
        // It does not forget results as fast as it makes them, or is stuck.
        let held = load.running.saturating_add(load.queued);
        let little = self.credits.is_some_and(|credits| held < credits / 2);
        let clogged = load.free == 0 && little && heartbeat.state == InstanceState::Ready;
        self.clogged = clogged.then(|| self.clogged.unwrap_or(now));
        self.heartbeat = Some(heartbeat);
    }

    /// Takes down how it is. Gives how it was.
    pub(crate) fn turn(&mut self, health: Health, at: Timestamp) -> Health {
        if health != self.health {
            self.since = at;
        }
        std::mem::replace(&mut self.health, health)
    }

    /// How it is, and why it is thought to be so.
    pub(crate) fn judge(&self, lanes: &Lanes, now: Instant, bounds: Bounds) -> (Health, Evidence) {
        match self.liveness.judge(now, bounds) {
            (Health::Healthy, evidence) => match self.wrong(lanes, now) {
                Some(wrong) => (Health::Degraded, Evidence::Wrong(wrong)),
                None => (Health::Healthy, evidence),
            },
            other => other,
        }
    }

    fn wrong(&self, lanes: &Lanes, now: Instant) -> Option<Wrong> {
        let of_kinds = self.lanes.iter().filter_map(|&lane| lanes.get(lane)).map(|lane| lane.breaker.state());
        if !self.breaker.is_closed() {
            return Some(Wrong::Circuit(self.breaker.state()));
        }
        if let Some(state) = of_kinds.filter(|state| *state != CircuitState::Closed).min() {
            return Some(Wrong::KindCircuit(state));
        }
        if let Some(count) = self.flood(now) {
            return Some(Wrong::Flood(count));
        }
        let (garbage, unread) = (self.garbage.count(now), self.unread.count(now));
        if garbage > 0 {
            return Some(Wrong::Garbage(garbage));
        }
        if unread > 0 {
            return Some(Wrong::Unread(unread));
        }
        let clogged = self.clogged.map(|since| now.saturating_duration_since(since));
        if let Some(time) = clogged.filter(|time| *time >= CLOGGED) {
            return Some(Wrong::Clogged(time));
        }
        self.kinds.iter().any(|kind| kind.unavailable.is_some()).then_some(Wrong::Unavailable)
    }

    /// How many messages it has sent more than it should, when they are many.
    pub(crate) fn flood(&self, now: Instant) -> Option<u64> {
        let finals = self.unasked.count(now);
        let room = MANY_FINALS + 4 * u64::from(self.credits.unwrap_or_default());
        let excess = self.excess.count(now);
        let flood = finals > room || excess > MANY_EXCESS;
        flood.then_some(finals + excess)
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
