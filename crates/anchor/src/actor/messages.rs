//! Messages of NATS: read, believed or dropped, and passed on to what they are about.

use std::time::Duration;

use async_nats::{Message, StatusCode};
use mmn_schema::announce::{Announcement, Heartbeat, InstanceState, ModuleInfo, ModuleState, Role};
use mmn_schema::dispatch::{Receipt, Synced};
use mmn_schema::encoding::{self, CONTENT_TYPE, DecodeError, Encoding};
use mmn_schema::outcome::{Outcome, code};
use mmn_schema::skim::Skimmed;
use mmn_schema::subject::Subject;
use serde::de::DeserializeOwned;

use super::circuits::Ends;
use super::retry::{Nothing, broken};
use super::{About, Actor, unix_s};
use crate::clock;
use crate::dispatch::lane::{LaneId, SlotId};
use crate::registry::Sink;
use crate::registry::instance::Slot;
use crate::registry::proof::Unbelieved;

impl Actor {
    pub(super) fn on_result_message(&mut self, message: &Message) {
        let subject = message.subject.as_str();
        match Subject::parse(&self.shared.prefix, subject) {
            Ok(Subject::Res(vp, kind, id)) => match Skimmed::read(content_type(message), &message.payload) {
                Ok(batch) => {
                    let mut ends = Ends::default();
                    for record in &batch.records {
                        let broke = broken(record.outcome, record.reason.as_deref()).is_some();
                        ends.add(record.last, record.outcome, broke);
                    }
                    if self.observe(&vp, &kind, (&batch.instance, batch.boot), ends) {
                        self.on_results(&vp, &kind, id, batch);
                    }
                }
                Err(error) => {
                    self.drop_garbage("res", subject, &error);
                    self.blame(&vp, Some(&kind), None, 1);
                }
            },
            Ok(Subject::Synced(vp, instance)) => match read::<Synced>(message) {
                Ok(synced) if synced.instance == instance => self.on_synced(&vp, &synced),
                Ok(_) => self.drop_garbage("res", subject, &"it names another instance"),
                Err(error) => {
                    self.drop_garbage("res", subject, &error);
                    self.blame(&vp, None, Some(&instance), 1);
                }
            },
            _ => self.drop_garbage("res", subject, &"no subject of results"),
        }
    }

    pub(super) fn on_heartbeat_message(&mut self, message: &Message) {
        let subject = message.subject.as_str();
        let Ok(Subject::Hb(vp, instance)) = Subject::parse(&self.shared.prefix, subject) else {
            return self.drop_garbage("hb", subject, &"no subject of a heartbeat");
        };
        let heartbeat = match read::<Heartbeat>(message) {
            Ok(heartbeat) => heartbeat,
            Err(error) => {
                self.drop_garbage("hb", subject, &error);
                return self.blame(&vp, None, Some(&instance), 1);
            }
        };
        let (now, at) = (clock::now(), clock::wall());
        if let Some(point) = self.registry.vps.get_mut(&vp)
            && let Some(node) =
                point.node.as_mut().filter(|node| node.name == instance && node.boot == heartbeat.boot)
        {
            node.liveness.beat(now, heartbeat.state, self.registry.bounds);
            node.meter.beat(&heartbeat.load, now);
            point.seen_at = at;
            return;
        }
        let known =
            self.registry.find(&vp, &instance).and_then(|slot| self.registry.instances.get_mut(&slot));
        match known {
            Some(known) if known.boot == heartbeat.boot => {
                if !known.may_beat(now) {
                    *self.counters.flood_total.entry("hb").or_default() += 1;
                    return;
                }
                known.hear(now, at);
                known.beat(heartbeat, now, self.registry.bounds);
                self.dirty.extend(known.lanes.iter().copied());
                if let Some(vp) = self.registry.vps.get_mut(&vp) {
                    vp.seen_at = at;
                }
            }
            // Somebody whose announcement was missed.
            _ => self.miss(instance),
        }
    }

    pub(super) fn on_announcement_message(&mut self, message: &Message) {
        let now_s = unix_s(clock::wall());
        match self.verifier.announcement(message, now_s, clock::now()) {
            Ok((announcement, encoding)) => self.on_announcement(announcement, encoding),
            Err(Unbelieved::TooMany(whose)) => {
                *self.counters.flood_total.entry("announce").or_default() += 1;
                self.unheard = Some(clock::now());
                for (vp, instance) in whose {
                    if let Some(slot) = self.registry.find(&vp, &instance)
                        && let Some(it) = self.registry.instances.get_mut(&slot)
                    {
                        it.excess.add(clock::now(), 1);
                    }
                }
            }
            Err(Unbelieved::Garbage(why)) => self.drop_garbage("announce", message.subject.as_str(), &why),
        }
    }

    fn on_announcement(&mut self, mut announcement: Announcement, encoding: Encoding) {
        let (now, at) = (clock::now(), clock::wall());
        let role = std::mem::replace(&mut announcement.role, Role::Bye);
        let (vp, instance) = (announcement.vp.clone(), announcement.instance.clone());
        let about = About { vp: Some(&vp), instance: Some(&instance), measurement: None };
        match role {
            Role::Module(info) => self.on_module(&announcement, info, encoding, about),
            Role::Known(known) => match self.registry.kinds.recall(known) {
                Some(info) => self.on_module(&announcement, info, encoding, about),
                // It was another anchor that knew them.
                None => self.miss(instance),
            },
            Role::Node(info) => {
                let name = info.vantage_point.name.clone();
                // Of a module that waits to be started again no process is there.
                let ended: Vec<SlotId> = info
                    .modules
                    .iter()
                    .filter(|module| module.state == ModuleState::Backoff)
                    .flat_map(|module| &module.instances)
                    .filter_map(|instance| self.registry.find(&vp, instance))
                    .collect();
                if self.registry.node(&announcement, *info, now, at) {
                    self.event("vp-joined", about, name);
                }
                for slot in ended {
                    if self.registry.instances.get_mut(&slot).is_some_and(|it| it.liveness.ended()) {
                        self.give_up(slot);
                    }
                }
            }
            Role::Bye => self.on_bye(&announcement, about),
        }
    }

    fn on_module(
        &mut self,
        announcement: &Announcement,
        info: ModuleInfo,
        encoding: Encoding,
        about: About<'_>,
    ) {
        let (now, at) = (clock::now(), clock::wall());
        let Announcement { vp, instance, .. } = announcement;
        let module = info.module.clone();
        let former = self.registry.find(vp, instance).map(|slot| (slot, self.held_by(slot)));
        let joined = self.registry.join(announcement, info, encoding, now, at);
        if let Some((slot, held)) = former
            && held > 0
            && joined.anew
        {
            self.fail_at_all(slot, now);
        }
        self.give_back(joined.returned, Some(instance), Nothing::Lost("the instance began a new life"));
        if joined.anew {
            self.sync_fresh(joined.slot, now);
            self.event("module-joined", about, format!("{module} at {vp}"));
        }
        if let Some(instance) = self.registry.instances.get(&joined.slot) {
            self.dirty.extend(instance.lanes.iter().copied());
        }
    }

    /// How many tasks are out to an instance.
    fn held_by(&self, slot: SlotId) -> usize {
        self.registry.instances.get(&slot).map_or(0, |it| it.slot.holding.len())
    }

    fn on_bye(&mut self, announcement: &Announcement, about: About<'_>) {
        let now = clock::now();
        if let Some(slot) = self.registry.find(&announcement.vp, &announcement.instance) {
            let same = self.registry.instances.get_mut(&slot).filter(|it| it.boot == announcement.boot);
            if let Some(instance) = same {
                instance.liveness.bye();
                instance.turn(mmn_schema::api::Health::Stopped, clock::wall());
                let returned = self.registry.part(slot);
                self.give_back(returned, Some(&announcement.instance), Nothing::Lost("the instance left"));
                self.event("module-left", about, "it said goodbye".to_owned());
            }
        } else if let Some(vp) = self.registry.vps.get_mut(&announcement.vp)
            && let Some(node) = vp.node.as_mut().filter(|node| node.name == announcement.instance)
        {
            node.liveness.bye();
            self.event("vp-left", about, "its node said goodbye".to_owned());
        }
        self.registry.refresh(&announcement.vp, now);
    }

    /// A receipt, or the server's word that nobody listens.
    pub(super) fn on_receipt_message(&mut self, message: &Message) {
        let subject = message.subject.as_str();
        let Some((sink, seq)) = self.receipted(subject) else {
            if message.status == Some(StatusCode::NO_RESPONDERS) {
                self.on_no_listener(subject);
            }
            return;
        };
        if message.status == Some(StatusCode::NO_RESPONDERS) {
            return self.on_nobody(sink, seq);
        }
        let receipt = match read::<Receipt>(message) {
            Ok(receipt) => receipt,
            Err(error) => return self.drop_garbage("receipt", subject, &error),
        };
        let Some(slot) = self.slot(sink) else { return };
        let now = clock::wall();
        match receipt {
            Receipt::Accepted { instance, .. } => {
                let taker = matches!(sink, Sink::Pool(_)).then_some(&instance);
                slot.holding.acknowledge(seq, taker, now);
                self.heard(sink);
            }
            Receipt::Busy { instance, .. } => {
                let returned = slot.holding.take_back(seq);
                self.heard(sink);
                if let Sink::Instance(slot) = sink
                    && let Some(it) = self.registry.instances.get_mut(&slot)
                {
                    it.full = true;
                }
                self.give_back(returned, Some(&instance), Nothing::Busy);
            }
            Receipt::Refused { instance, reason } => {
                let returned = slot.holding.take_back(seq);
                if matches!(&*reason.code, code::DRAINING | code::STALE_EPOCH | code::SATURATED) {
                    if let Sink::Instance(slot) = sink
                        && let Some(it) = self.registry.instances.get_mut(&slot)
                    {
                        if reason.code == code::DRAINING {
                            it.liveness.hear(clock::now(), Some(InstanceState::Draining));
                        }
                        it.full = true;
                    }
                    self.give_back(returned, Some(&instance), Nothing::Declined(&reason));
                } else {
                    // It declines them for good.
                    self.end_returned(returned, Outcome::Refused, &reason);
                }
            }
        }
    }

    /// Which batch of whom a receipt is for. None for an answer to an order, for which nobody waits.
    fn receipted(&self, subject: &str) -> Option<(Sink, u64)> {
        if let Ok(Subject::Receipt(vp, instance, _, seq)) = Subject::parse(&self.shared.prefix, subject) {
            return Some((Sink::Instance(self.registry.find(&vp, &instance)?), seq));
        }
        let (whose, seq) = subject.strip_prefix(&self.inbox)?.strip_prefix('.')?.split_once('.')?;
        let lane = whose.strip_prefix('p')?.parse().ok()?;
        Some((Sink::Pool(LaneId::of(lane)), seq.parse().ok()?))
    }

    /// Something was heard of an instance.
    fn heard(&mut self, sink: Sink) {
        if let Sink::Instance(slot) = sink
            && let Some(instance) = self.registry.instances.get_mut(&slot)
        {
            instance.hear(clock::now(), clock::wall());
        }
    }

    fn slot(&mut self, sink: Sink) -> Option<&mut Slot> {
        match sink {
            Sink::Instance(slot) => self.registry.instances.get_mut(&slot).map(|instance| &mut instance.slot),
            Sink::Pool(lane) => self.registry.pools.get_mut(&lane).map(|pool| &mut pool.slot),
        }
    }

    /// Nobody listens on the subject of a sync.
    fn on_no_listener(&mut self, subject: &str) {
        let rest = subject.strip_prefix(&self.inbox).and_then(|rest| rest.strip_prefix(".s"));
        let Some((slot, boot)) = rest.and_then(|rest| rest.split_once('.')) else {
            return;
        };
        let (Ok(slot), Ok(boot)) = (slot.parse(), boot.parse::<u64>()) else {
            return;
        };
        let slot = SlotId(slot);
        if self.registry.instances.get(&slot).is_some_and(|it| it.boot.0 == boot) {
            self.on_deaf(slot);
        }
    }

    /// Nobody listens for an instance: it is dead. But just after the anchor's own connection was made, it may be on
    /// its way.
    fn on_deaf(&mut self, slot: SlotId) {
        let now = clock::now();
        let early = now.saturating_duration_since(self.linked) < ON_THE_WAY;
        let Some(instance) = self.registry.instances.get_mut(&slot) else {
            return;
        };
        if early {
            instance.hold_until = Some(now + HOLD_BACK);
        } else {
            instance.liveness.no_responders();
            self.give_up(slot);
        }
    }

    /// The connection was made, or is lost.
    pub(super) fn on_link(&mut self) {
        let now = clock::now();
        if self.shared.is_connected() {
            self.linked = now;
            // While it was away nobody could be heard.
            for instance in self.registry.instances.values_mut() {
                instance.liveness.excuse(now);
            }
            for vp in self.registry.vps.values_mut() {
                if let Some(node) = &mut vp.node {
                    node.liveness.excuse(now);
                }
            }
        }
        self.discover();
    }

    /// Nobody listens on the subject of a batch.
    fn on_nobody(&mut self, sink: Sink, seq: u64) {
        match sink {
            Sink::Instance(slot) => {
                let Some(instance) = self.registry.instances.get_mut(&slot) else {
                    return;
                };
                let (undelivered, name) = (instance.slot.holding.take_back(seq), instance.id.clone());
                self.on_deaf(slot);
                self.give_back(undelivered, Some(&name), Nothing::Undelivered(UNHEARD));
            }
            Sink::Pool(lane) => {
                let returned = self.slot(sink).map(|slot| slot.holding.take_back(seq)).unwrap_or_default();
                // The instances of a pool are found dead by their silence; until then their work waits.
                for slot in self.registry.lanes.get(lane).map(|lane| lane.slots.clone()).unwrap_or_default() {
                    let instance = self.registry.instances.get_mut(&slot).filter(|it| it.credits.is_none());
                    if let Some(instance) = instance {
                        instance.liveness.no_responders();
                        self.give_up(slot);
                    }
                }
                self.give_back(returned, None, Nothing::Undelivered(UNHEARD));
            }
        }
    }
}

const UNHEARD: &str = "nobody listens on the instance's subject";
/// For how long after the anchor has connected those who are not there yet may be on their way.
const ON_THE_WAY: Duration = Duration::from_secs(1);
/// For how long such a one is given nothing.
const HOLD_BACK: Duration = Duration::from_millis(100);

fn read<T: DeserializeOwned>(message: &Message) -> Result<T, DecodeError> {
    encoding::decode(content_type(message), &message.payload)
}

fn content_type(message: &Message) -> Option<&str> {
    message.headers.as_ref()?.get(CONTENT_TYPE).map(async_nats::HeaderValue::as_str)
}
