//! Comparing notes with an instance: what it holds, and which of its results have come.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use mmn_schema::dispatch::{Sync, Synced, ToInstance};
use mmn_schema::id::VpId;
use mmn_schema::subject::Subject;

use super::Actor;
use super::retry::Nothing;
use crate::clock;
use crate::config::ms;
use crate::dispatch::lane::SlotId;

/// For how long an instance that was there before this anchor is given nothing until it has said what it holds.
const HOLD: Duration = Duration::from_millis(300);
/// How often one that is silent is asked whether it is there.
const PROBE: Duration = Duration::from_secs(1);
/// How soon notes are compared again when something is missing.
const AGAIN: Duration = Duration::from_millis(50);

impl Actor {
    /// An instance is new to this anchor: it drops what former terms have queued there, sends its results again, and
    /// says what it still holds.
    pub(super) fn sync_fresh(&mut self, slot: SlotId, now: Instant) {
        let recovered = self.running.values().any(|running| running.durable);
        if let Some(instance) = self.registry.instances.get_mut(&slot)
            && recovered
        {
            instance.hold_until = Some(now + HOLD);
        }
        self.send_sync(slot, now, true, true);
    }

    /// Something is missing: notes are compared at once, but not all the time.
    pub(super) fn sync_soon(&mut self, slot: SlotId, now: Instant) {
        let Some(instance) = self.registry.instances.get_mut(&slot) else {
            return;
        };
        // If not now, then with the next sync.
        instance.missing = true;
        if instance.synced.is_none_or(|at| now.saturating_duration_since(at) >= AGAIN) {
            self.send_sync(slot, now, true, false);
        }
    }

    /// Compares notes with every instance that holds tasks, or could forget results.
    pub(super) fn sync_all(&mut self, now: Instant) {
        let every = ms(self.config.dispatch.sync_ms);
        let due: Vec<(SlotId, bool, bool)> = self
            .registry
            .instances
            .iter()
            .filter(|(_, it)| it.credits.is_some() && it.is_there(now, self.registry.bounds))
            .filter(|(_, it)| it.slot.holding.len() > 0 || it.inbound.is_news() || it.missing || !it.settled)
            .filter(|(_, it)| it.synced.is_none_or(|at| now.saturating_duration_since(at) >= every))
            .map(|(&slot, it)| (slot, !it.settled || it.missing, !it.settled))
            .collect();
        for (slot, resend, fresh) in due {
            self.send_sync(slot, now, resend, fresh);
        }
    }

    /// Says to every instance which of its results are kept, unless it knows.
    pub(super) fn tell_what_is_kept(&mut self, now: Instant) {
        let news =
            self.registry.instances.iter().filter(|(_, it)| it.credits.is_some() && it.inbound.is_news());
        for slot in news.map(|(&slot, _)| slot).collect::<Vec<_>>() {
            self.send_sync(slot, now, false, false);
        }
    }

    fn send_sync(&mut self, slot: SlotId, now: Instant, resend: bool, fresh: bool) {
        let Some(instance) = self.registry.instances.get_mut(&slot) else {
            return;
        };
        let Some(kind) = instance.kinds.first().map(|kind| kind.name.clone()) else {
            return;
        };
        if instance.credits.is_none() {
            return;
        }
        instance.synced = Some(now);
        let sync = Sync {
            anchor: self.id.clone(),
            epoch: self.epoch,
            seq: instance.slot.holding.last(),
            ack: instance.inbound.tell(),
            resend,
            fresh,
        };
        let subject = Subject::Task(instance.vp.clone(), kind, instance.id.clone()).on(&self.shared.prefix);
        let encoding = instance.encoding;
        // Nobody replies. If nobody listens either, the server says so.
        let reply = format!("{}.s{}.{}", self.inbox, slot.0, instance.boot.0);
        self.send(subject, Some(reply), encoding, &ToInstance::Sync(sync));
    }

    /// An instance has fallen silent: is it connected at all? If it is at work, it answers.
    pub(super) fn probe(&mut self, slot: SlotId, now: Instant) {
        let Some(instance) = self.registry.instances.get_mut(&slot) else {
            return;
        };
        if instance.credits.is_some()
            && instance.probed.is_none_or(|at| now.saturating_duration_since(at) >= PROBE)
        {
            instance.probed = Some(now);
            let resend = instance.missing || !instance.settled;
            let fresh = !instance.settled;
            self.send_sync(slot, now, resend, fresh);
        }
    }

    pub(super) fn on_synced(&mut self, vp: &VpId, synced: &Synced) {
        let (now, at) = (clock::now(), clock::wall());
        let Some(slot) = self.registry.find(vp, &synced.instance) else {
            return self.miss(synced.instance.clone());
        };
        let Some(instance) = self.registry.instances.get_mut(&slot) else {
            return;
        };
        if synced.anchor != self.id || synced.boot != instance.boot {
            return;
        }
        instance.hear(now, at);
        instance.hold_until = None;
        self.dirty.extend(instance.lanes.iter().copied());
        if !instance.inbound.settle(synced.high) {
            return self.sync_soon(slot, now);
        }
        instance.missing = false;
        let held: HashSet<_> = synced
            .held
            .iter()
            .flat_map(|held| held.indices.iter().map(|&index| (held.measurement, index)))
            .collect();
        if !instance.settled {
            instance.settled = true;
            // What it holds from a former term need not run twice.
            for batch in &synced.held {
                let Some(running) = self.running.get_mut(&batch.measurement) else { continue };
                let mut mine: Vec<u64> = batch.indices.clone();
                mine.retain(|&index| running.account.take(index));
                if !mine.is_empty() {
                    instance.slot.holding.adopt(batch.measurement, vp, mine, now, at);
                }
            }
        }
        let lost = instance.slot.holding.compare(synced.seq, &held, at);
        let name = instance.id.clone();
        // What was never acknowledged may never have arrived.
        let (had, never): (Vec<_>, Vec<_>) =
            lost.into_iter().partition(|task| task.dispatched.acknowledged_at.is_some());
        self.give_back(had, Some(&name), Nothing::Lost("the instance does not hold it and sent no result"));
        self.give_back(never, Some(&name), Nothing::Undelivered("it did not arrive at the instance"));
    }
}
