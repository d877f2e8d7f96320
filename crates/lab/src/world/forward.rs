//! What befalls a packet on a way: it may be lost, doubled, held back, wait for its turn, be too big.

use mmn_probe::time::{Instant, Nanos};

use super::chance::{For, below, draw};
use super::fragment::cut;
use super::head::{Head, settle};
use super::pool::Slot;
use super::state::State;
use crate::ids::{Id as _, WayId};
use crate::plan::{Plan, Way};
use crate::truth::{Fate, Origin, Told, Why};

impl State {
    /// Whether a packet is no bigger than a way allows.
    pub(super) fn fits(&self, slot: Slot, way: WayId) -> bool {
        let mtu = usize::try_from(self.ways[way].mtu).unwrap_or(usize::MAX);
        self.pool.bytes(slot).len() <= mtu
    }

    /// Sends a packet that fits on its way.
    pub(super) fn send(&mut self, plan: &Plan, slot: Slot, id: WayId) {
        let state = &self.ways[id];
        let (to, delay) = (state.to, state.delay);
        if !state.plain {
            return self.send_through_weather(plan, slot, id);
        }
        let packet = self.pool.of_mut(slot);
        packet.due = packet.due + delay;
        packet.node = to;
        packet.via = Some(id);
        let due = packet.due;
        self.wheel.add(slot, due);
    }

    fn send_through_weather(&mut self, plan: &Plan, slot: Slot, id: WayId) {
        let (way, state) = (&plan.ways[id], &mut self.ways[id]);
        let packet = self.pool.of_mut(slot);
        let now = packet.due;
        let since = Nanos(now.saturating_since(self.start).0);
        if plan.links[way.link].down.iter().any(|(from, until)| (*from..*until).contains(&since)) {
            return self.end(slot, Fate::LinkDown(way.link));
        }
        let mut leaves = now;
        if let Some(rate) = way.bits_per_s {
            let start = now.max(state.busy_until);
            if start.saturating_since(now) > way.queue {
                return self.end(slot, Fate::QueueFull(id));
            }
            leaves = start + sending_time(packet.bytes.len(), rate);
            state.busy_until = leaves;
        }
        let number = state.count;
        state.count += 1;
        let place = u64::try_from(id.index()).unwrap_or(0);
        let chance = |what: For| draw(plan.seed, what, place, number);
        if way.loss.happens(chance(For::Loss)) {
            return self.end(slot, Fate::Lost(id));
        }
        let due = arrival(way, &mut state.last, leaves, &chance);
        packet.due = due;
        packet.node = way.to;
        packet.via = Some(id);
        self.wheel.add(slot, due);
        if way.duplicate.happens(chance(For::Duplicate)) {
            self.double(slot, id, now, due);
        }
    }

    /// The same packet again, right behind it.
    fn double(&mut self, slot: Slot, way: WayId, now: Instant, due: Instant) {
        let original = self.pool.of(slot).clone();
        let Some(record) = self.truth.of(original.id).copied() else { return };
        let look = record.look;
        let copy = self.truth.add(Origin::Copy(way), Some(original.id), now, look);
        let twin = self.pool.take();
        *self.pool.of_mut(twin) = original;
        self.pool.of_mut(twin).id = copy;
        self.wheel.add(twin, due);
    }

    /// A packet is bigger than a way allows: it is cut to pieces if it may be, or its sender is told.
    pub(super) fn too_big(&mut self, plan: &Plan, slot: Slot, way: WayId) {
        let packet = self.pool.of_mut(slot);
        let (node, via, now) = (packet.node, packet.via, packet.due);
        settle(&mut packet.bytes, packet.ttl);
        let mtu = self.ways[way].mtu;
        let Some(head) = Head::read(&packet.bytes) else { return self.end(slot, Fate::Malformed) };
        if !head.dont_fragment {
            let size = usize::try_from(mtu).unwrap_or(usize::MAX);
            let Some(pieces) = cut(&packet.bytes, &head, size) else {
                return self.end(slot, Fate::Malformed);
            };
            let (cause, ttl) = (packet.id, packet.ttl);
            self.end(slot, Fate::Fragmented(node));
            for piece in pieces {
                let Some(head) = Head::read(&piece) else { continue };
                let twin = self.pool.take();
                self.pool.of_mut(twin).bytes.extend_from_slice(&piece);
                self.enter(plan, twin, &head, node, now, Origin::Fragment(node), Some(cause));
                let packet = self.pool.of_mut(twin);
                packet.via = via;
                packet.ttl = if via.is_some() && !plan.nodes[node].manners.hidden { ttl - 1 } else { ttl };
                let translated =
                    via.is_none() || plan.nodes[node].nat.is_none() || self.translate_out(plan, twin);
                if translated {
                    self.send(plan, twin, way);
                }
            }
            return;
        }
        let told = match via {
            // Who made it knows by himself.
            None => Told::No(Why::NoAnswerDue),
            Some(_) if !plan.nodes[node].manners.too_big => Told::No(Why::Silent),
            Some(via) => self.report(plan, slot, &head, via, super::error::Trouble::TooBig(mtu)),
        };
        self.end(slot, Fate::TooBig(way, told));
    }
}

/// When a packet arrives that leaves at an instant. It overtakes others only where it is drawn that it is held back.
fn arrival(way: &Way, last: &mut Instant, leaves: Instant, chance: &dyn Fn(For) -> u64) -> Instant {
    let mut due = leaves + way.delay;
    if way.jitter > Nanos::ZERO {
        due = due + Nanos(below(chance(For::Jitter), way.jitter.0.saturating_add(1)));
    }
    if way.reorder.happens(chance(For::Reorder)) {
        return due + way.reorder_by;
    }
    *last = due.max(*last);
    *last
}

/// How long it takes to send so many octets.
fn sending_time(octets: usize, bits_per_s: u64) -> Nanos {
    let bits = u128::try_from(octets).unwrap_or(0) * 8 * 1_000_000_000;
    Nanos(u64::try_from(bits / u128::from(bits_per_s.max(1))).unwrap_or(u64::MAX))
}
