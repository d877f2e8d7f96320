//! What ends say of those they came from: failures open circuits, successes close them, and floods are seen.

use std::time::Instant;

use mmn_schema::id::{BootId, InstanceId, KindName, VpId};
use mmn_schema::outcome::Outcome;

use super::{About, Actor};
use crate::breaker::{Change, Rules};
use crate::clock;
use crate::config::ms;
use crate::dispatch::lane::{LaneId, SlotId};
use crate::meter::Tokens;
use crate::registry::circuits::Tripped;
use crate::registry::instance::MUCH_GARBAGE;

/// Results of an instance that floods are read as far as there are tokens: messages in a second, and at once.
const RESULTS_PER_S: f64 = 500.0;
const RESULTS_BURST: f64 = 1000.0;

/// What the records of one message say.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Ends {
    /// Final records.
    finals: u32,
    /// Those of tasks that were performed, whatever the network answered.
    well: u32,
    /// Those of tasks at which the module broke.
    broke: u32,
}

impl Ends {
    /// A record; `broke`: it says that the module did.
    pub(super) fn add(&mut self, last: bool, outcome: Outcome, broke: bool) {
        if last {
            self.finals += 1;
            self.broke += u32::from(broke);
            self.well += u32::from(!broke && matches!(outcome, Outcome::Ok | Outcome::Failed));
        }
    }
}

impl Actor {
    /// Records have come. Whether their message is to be read on: not, when its instance sends far too many.
    pub(super) fn observe(
        &mut self,
        vp: &VpId,
        kind: &KindName,
        (instance, boot): (&InstanceId, BootId),
        ends: Ends,
    ) -> bool {
        let now = clock::now();
        let Some(slot) = self.registry.find(vp, instance) else {
            return true;
        };
        let Some(it) = self.registry.instances.get_mut(&slot).filter(|it| it.boot == boot) else {
            return true;
        };
        if it.flood(now).is_some() {
            let tokens = it.flooding.get_or_insert_with(|| Tokens::full(now, RESULTS_BURST));
            if !tokens.take(now, RESULTS_PER_S, RESULTS_BURST) {
                *self.counters.flood_total.entry("res").or_default() += 1;
                // What was its own is asked for again when notes are compared.
                it.missing = true;
                return false;
            }
        }
        let lanes = &mut self.registry.lanes;
        let lane =
            it.lanes.iter().copied().find(|&lane| lanes.get(lane).is_some_and(|lane| lane.kind == *kind));
        if let Some(lane) = lane.and_then(|lane| lanes.get_mut(lane)) {
            lane.load.ended(ends.finals.into());
        }
        let tripped = self.registry.succeeded(slot, lane, ends.well, now);
        self.on_tripped(tripped);
        for _ in 0..ends.broke {
            self.fail(slot, lane.as_slice(), now);
        }
        true
    }

    /// An attempt failed for a reason of the instance's own.
    pub(super) fn fail(&mut self, slot: SlotId, lanes: &[LaneId], now: Instant) {
        let config = &self.config.breaker;
        let rules = Rules {
            failures: config.failures,
            recent: config.recent,
            pause: ms(config.pause_ms),
            pause_most: ms(config.pause_most_ms),
        };
        let luck = self.retries.luck();
        let tripped = self.registry.failed(slot, lanes, now, &rules, luck);
        self.on_tripped(tripped);
    }

    /// The same, at all its kinds of which tasks came back.
    pub(super) fn fail_at_all(&mut self, slot: SlotId, now: Instant) {
        let lanes = self.registry.instances.get(&slot).map(|it| it.lanes.clone()).unwrap_or_default();
        self.fail(slot, &lanes, now);
    }

    /// Time has passed: some circuits let a trial through.
    pub(super) fn half_open(&mut self, now: Instant) {
        let tripped = self.registry.half_open(now);
        self.on_tripped(tripped);
        // Else what waits there would wait for its deadline.
        self.dirty.extend(self.registry.unheard(now));
    }

    /// Who sends garbage all the time fails, each second.
    pub(super) fn fail_for_garbage(&mut self, now: Instant) {
        let instances = self.registry.instances.iter();
        let much =
            instances.filter(|(_, it)| it.garbage.count(now) >= MUCH_GARBAGE || it.flood(now).is_some());
        let slots: Vec<SlotId> = much.map(|(&slot, _)| slot).collect();
        for slot in slots {
            self.fail(slot, &[], now);
        }
    }

    /// Messages on a subject of a kind could not be read or believed: they are of this instance, or else of one of
    /// those that perform it there.
    pub(super) fn blame(
        &mut self,
        vp: &VpId,
        kind: Option<&KindName>,
        instance: Option<&InstanceId>,
        count: u64,
    ) {
        let now = clock::now();
        if let Some(slot) = instance.and_then(|instance| self.registry.find(vp, instance)) {
            if let Some(it) = self.registry.instances.get_mut(&slot) {
                it.garbage.add(now, count);
            }
            return;
        }
        let lane = kind.and_then(|kind| self.registry.lanes.find(vp, kind));
        let slots = match (lane.and_then(|lane| self.registry.lanes.get(lane)), self.registry.vps.get(vp)) {
            (Some(lane), _) if !lane.slots.is_empty() => lane.slots.clone(),
            (_, Some(vp)) => vp.slots.clone(),
            _ => return,
        };
        for slot in slots {
            if let Some(it) = self.registry.instances.get_mut(&slot) {
                it.garbage.add(now, count);
            }
        }
    }

    /// So many records were of tasks that are not this vantage point's.
    pub(super) fn drop_strangers(&mut self, vp: &VpId, kind: &KindName, instance: &InstanceId, count: u64) {
        for _ in 0..count {
            self.drop_garbage("res", vp.as_str(), &"a record of a task that is not this vantage point's");
        }
        if count > 0 {
            self.blame(vp, Some(kind), Some(instance), count);
        }
    }

    fn on_tripped(&mut self, tripped: Vec<Tripped>) {
        for Tripped { vp, instance, kind, change, lanes } in tripped {
            let whose = match (&instance, &kind) {
                (Some(instance), _) => instance.to_string(),
                (None, Some(kind)) => format!("{kind} at {vp}"),
                (None, None) => vp.to_string(),
            };
            let (event, text) = match change {
                Change::Opened(pause) => {
                    let of = if instance.is_some() { "instance" } else { "kind" };
                    *self.counters.breakers_opened_total.entry(of).or_default() += 1;
                    let text = format!(
                        "too many attempts of {whose} failed: it gets nothing for {} ms",
                        pause.as_millis()
                    );
                    ("breaker-open", text)
                }
                Change::HalfOpened => ("breaker-half-open", format!("{whose} gets one task as a trial")),
                Change::Closed => ("breaker-closed", format!("{whose} works again")),
            };
            self.event(event, About { vp: Some(&vp), instance: instance.as_ref(), measurement: None }, text);
            self.dirty.extend(lanes);
        }
    }
}
