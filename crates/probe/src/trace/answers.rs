//! What an answer tells of its hop, and of the end of the path.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use crate::packet::{Packet, Ttl};
use crate::time::{Instant, Nanos};

use super::account::{Errand, Hop};
use super::record::{Fate, Meaning, Reply, Said, Stop};
use super::shape::{SentAs, Verdict};
use super::{LEAST_STEP, LONGEST_STEP, Rare, Trace};

impl Trace {
    pub(super) fn packet(&mut self, packet: &Packet<'_>) {
        let Some(index) = usize::try_from(packet.probe.0).ok().filter(|index| *index < self.entries.len())
        else {
            self.unasked.unknown = self.unasked.unknown.saturating_add(1);
            return;
        };
        let Some(entry) = self.entries.get(index) else { return };
        let (Some(sent), Some(identity)) = (entry.sent(), entry.identity()) else {
            self.unasked.unknown = self.unasked.unknown.saturating_add(1);
            return;
        };
        let sent_as = SentAs {
            look: self.look(packet.probe, entry),
            source: self.source,
            identity,
            ip_id: entry.ip_id,
            bytes: entry.bytes,
        };
        let Verdict::Ours { verified, altered } =
            self.spec.shape.judge(&self.key, self.target, &sent_as, packet)
        else {
            self.unasked.foreign = self.unasked.foreign.saturating_add(1);
            return;
        };
        let number = u16::try_from(self.replies.len() + 1).ok().and_then(std::num::NonZeroU16::new);
        let Some(entry) = self.entries.get_mut(index) else { return };
        if entry.reply.is_some() || number.is_none() {
            entry.duplicates = entry.duplicates.saturating_add(1);
            return;
        }
        let was_open = entry.fate.is_none();
        let took = packet.stamp.at.saturating_since(sent.at);
        entry.fate = Some(if took > self.spec.timeout { Fate::Late } else { Fate::Answered });
        entry.reply = number;
        let (ttl, errand) = (entry.ttl, entry.errand);
        let reply = Reply::new(packet, verified, altered);
        let (meaning, from) = (reply.means(self.target, self.spec.shape.method), reply.from);
        let said = reply.said;
        if self.replies.capacity() == self.replies.len() {
            self.replies.reserve_exact(4);
        }
        self.replies.push(reply);
        if was_open {
            self.open -= 1;
        }
        match errand {
            Errand::Path => {}
            Errand::Mtu => {
                if let Some(search) = &mut self.search {
                    search.answered(packet.probe, meaning, said, from);
                }
                return;
            }
            Errand::LastDitch => return,
            Errand::Backward => {
                self.answered_backward(ttl, was_open, meaning, from, packet.stamp.at);
                return;
            }
        }
        self.step = Nanos((took.0 / 4).clamp(LEAST_STEP.0, LONGEST_STEP.0));
        self.hop_answered(ttl, was_open, meaning, said, from);
        if meaning == Meaning::Hop {
            self.met(ttl, from, packet.stamp.at);
        }
    }

    fn hop_answered(&mut self, ttl: Ttl, was_open: bool, meaning: Meaning, said: Said, from: IpAddr) {
        let reply = u16::try_from(self.replies.len()).unwrap_or(0);
        let first = self.spec.first_hop.0;
        let Some(hop) = self.hops.get_mut(usize::from(ttl.0 - first)) else { return };
        hop.open -= u8::from(was_open);
        let is_first = hop.reply == 0;
        if is_first {
            hop.reply = reply;
        }
        self.highest = self.highest.max(ttl.0);
        if self.spec.certainty.is_some()
            && let Some(census) = self.rare().censuses.get_mut(usize::from(ttl.0 - first))
        {
            census.answered(from);
        }
        match (meaning, said) {
            (Meaning::Reached, _) => {
                self.reached = Some(self.reached.map_or(ttl, |reached| reached.min(ttl)));
            }
            (Meaning::Unreachable, Said::Error { kind, code, .. }) => {
                self.bar(ttl, Stop::Unreachable { kind, code });
            }
            (Meaning::Error | Meaning::TooBig, Said::Error { kind, code, .. }) => {
                self.bar(ttl, Stop::Icmp { kind, code });
            }
            _ if is_first => self.look_for_loop(ttl, from),
            _ => {}
        }
    }

    /// A router of the path has answered: one of a stop set ends the trace, or spares it the way back.
    fn met(&mut self, ttl: Ttl, from: IpAddr, at: Instant) {
        let spec = Arc::clone(&self.spec);
        let Some(tree) = &spec.doubletree else { return };
        if tree.stops_forward(from) {
            self.bar(ttl, Stop::GlobalStopSet);
            let global = &mut self.rare().global_stop;
            if global.is_none_or(|(before, _)| ttl < before) {
                *global = Some((ttl, from));
            }
        }
        if self.was_met_before(from, at) && ttl == spec.first_hop {
            self.rare().local_stop.get_or_insert((ttl, from));
        }
    }

    /// Notes a router in the local stop set. Whether other traces had met it.
    fn was_met_before(&self, from: IpAddr, at: Instant) -> bool {
        let Some(set) = self.spec.doubletree.as_ref().and_then(|tree| tree.local.as_ref()) else {
            return false;
        };
        let own = self.replies.iter().filter(|reply| reply.from == from).nth(1).is_some();
        let source = self.source.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
        set.meet(source, from, at) && !own
    }

    fn answered_backward(&mut self, ttl: Ttl, was_open: bool, meaning: Meaning, from: IpAddr, at: Instant) {
        let reply = u16::try_from(self.replies.len()).unwrap_or(0);
        let known = meaning == Meaning::Hop && self.was_met_before(from, at);
        if meaning == Meaning::Reached {
            self.reached = Some(self.reached.map_or(ttl, |reached| reached.min(ttl)));
        }
        let rare = self.rare();
        if known {
            rare.local_stop.get_or_insert((ttl, from));
        }
        if let Some(back) = rare.backward.as_mut().and_then(|back| back.at(ttl)) {
            back.hop.open -= u8::from(was_open);
            back.hop.reply = back.hop.reply.max(reply);
            back.census.answered(from);
        }
    }

    pub(super) fn rare(&mut self) -> &mut Rare {
        self.rare.get_or_insert_default()
    }

    fn bar(&mut self, ttl: Ttl, stop: Stop) {
        if self.barred.is_none_or(|(barred, _)| ttl < barred) {
            self.barred = Some((ttl, stop));
        }
    }

    /// A router that is met again, with another one between, is a loop. The same one at neighbouring TTLs is none: some
    /// forward a packet whose TTL has run out.
    fn look_for_loop(&mut self, ttl: Ttl, from: IpAddr) {
        let here = usize::from(ttl.0 - self.spec.first_hop.0);
        let address =
            |hop: &Hop| self.replies.get(usize::from(hop.reply).wrapping_sub(1)).map(|reply| reply.from);
        let between = |low: usize, high: usize| {
            self.hops
                .get(low + 1..high)
                .is_some_and(|hops| hops.iter().filter_map(address).any(|other| other != from))
        };
        let same: Vec<usize> =
            (0..self.hops.len()).filter(|at| self.hops.get(*at).and_then(address) == Some(from)).collect();
        // Answers come in any order: the loop ends at the higher of the two.
        let end = same
            .iter()
            .filter(|at| **at != here)
            .filter(|at| between((**at).min(here), (**at).max(here)))
            .map(|at| (*at).max(here))
            .min();
        if let Some(end) = end
            && self.spec.loops > 0
        {
            self.loops_seen = self.loops_seen.saturating_add(1);
            if self.loops_seen >= self.spec.loops {
                let end =
                    Ttl(self.spec.first_hop.0 + u8::try_from(end).unwrap_or(u8::MAX - self.spec.first_hop.0));
                self.bar(end, Stop::Loop);
            }
        }
    }
}
