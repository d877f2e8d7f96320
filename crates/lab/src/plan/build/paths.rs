//! Links between routers, and the ways of all links.

use mmn_probe::time::Nanos;

use super::Build;
use super::nodes::ways_of;
use crate::ids::{LinkId, NodeId};
use crate::plan::geography::cable_delay;
use crate::plan::units::megabits;
use crate::plan::{Addresses, Link, NodeKind, Odds, Way, file};

/// The MTU of a link where nothing is said, in octets.
const MTU: u32 = 1_500;
/// How long packets wait for their turn at most where nothing is said.
const QUEUE: Nanos = Nanos::from_millis(100);
/// For how long packets are held back where nothing is said.
const REORDER_BY: Nanos = Nanos::from_millis(10);

impl Build<'_> {
    pub(super) fn link(&mut self, number: usize, at: usize, link: &file::Link) {
        let item = format!("[[link]] {number} \"{}\" - \"{}\"", link.a, link.b);
        let (a, b) = (self.node_names.find(&link.a), self.node_names.find(&link.b));
        let (a, b) = (self.found(at, &item, a), self.found(at, &item, b));
        let (Some(a), Some(b)) = (a, b) else { return };
        for node in [a, b] {
            if self.plan.nodes[node].kind != NodeKind::Router {
                let what = format!(
                    "{item}: \"{}\" is no router; vps and hosts hang on theirs by at",
                    self.plan.name(node)
                );
                return self.problems.add(Some(at), what);
            }
        }
        if a == b || link.metric == Some(0) {
            self.problems.add(Some(at), format!("{item}: it joins two routers, and its metric is not 0"));
        }
        let entrances =
            [self.addresses(at, &item, &link.b_addr.0), self.addresses(at, &item, &link.a_addr.0)];
        let down = self.times_down(at, &item, &link.down);
        let by_distance = self.by_distance(at, &item, a, b, link.stretch);
        let path = link.path();
        let paths = [link.ab.or(path), link.ba.or(path)];
        let id = self.plan.links.push(Link { a, b, metric: link.metric.unwrap_or(1), down });
        self.ways(at, &item, id, &paths, entrances, by_distance);
        for (way, addresses) in ways_of(id).into_iter().zip(entrances) {
            let node = self.plan.ways[way].to;
            let own = self.plan.nodes[node].addresses;
            let new = Addresses {
                v4: addresses.v4.filter(|v4| own.v4 != Some(*v4)),
                v6: addresses.v6.filter(|v6| own.v6 != Some(*v6)),
            };
            self.own(at, &item, new, node, Some(way));
        }
    }

    /// Adds both ways of a link. `entrances` are the addresses at their ends, `delay` what they take where nothing is said.
    pub(super) fn ways(
        &mut self,
        at: usize,
        item: &str,
        link: LinkId,
        paths: &[file::Path; 2],
        entrances: [Addresses; 2],
        delay: Option<Nanos>,
    ) {
        let (a, b) = (self.plan.links[link].a, self.plan.links[link].b);
        for (((from, to), path), entrance) in [(a, b), (b, a)].into_iter().zip(paths).zip(entrances) {
            if path.delay_ms.is_none() && delay.is_none() {
                let what = "give delay_ms, or a city to both routers";
                self.problems.add(Some(at), format!("{item}: how long does it take? {what}"));
            }
            let mut odds = |name: &str, value: Option<f64>| {
                let odds = value.map_or(Some(Odds::NEVER), Odds::new);
                if odds.is_none() {
                    self.problems.add(Some(at), format!("{item}: {name} is a probability from 0 to 1"));
                }
                odds.unwrap_or_default()
            };
            let (loss, duplicate) = (odds("loss", path.loss), odds("dup", path.dup));
            let reorder = odds("reorder", path.reorder);
            let mut ms = |name: &str, value: Option<f64>, default: Nanos| {
                self.duration(Some(at), &format!("{item}: {name}"), value, default)
            };
            let delay = ms("delay_ms", path.delay_ms, delay.unwrap_or_default());
            let jitter = ms("jitter_ms", path.jitter_ms, Nanos::ZERO);
            let reorder_by = ms("reorder_ms", path.reorder_ms, REORDER_BY);
            let mtu = path.mtu.unwrap_or(MTU);
            let bits_per_s = path.mbps.and_then(megabits);
            let queue = match (path.queue_packets, bits_per_s) {
                // So many packets of the largest size.
                (Some(packets), Some(rate)) => {
                    let bits = u128::from(packets) * u128::from(mtu) * 8 * 1_000_000_000;
                    Nanos(u64::try_from(bits / u128::from(rate.max(1))).unwrap_or(u64::MAX))
                }
                _ => ms("queue_ms", path.queue_ms, QUEUE),
            };
            if path.mbps.is_some() && bits_per_s.is_none() {
                self.problems.add(Some(at), format!("{item}: mbps is positive"));
            }
            if path.mbps.is_none() && (path.queue_ms.is_some() || path.queue_packets.is_some()) {
                self.problems.add(Some(at), format!("{item}: a queue takes mbps; nothing waits without"));
            }
            if !(68..=65_535).contains(&mtu) {
                self.problems.add(Some(at), format!("{item}: mtu is 68 to 65535 octets"));
            }
            let way = Way {
                link,
                from,
                to,
                entrance,
                delay,
                jitter,
                loss,
                duplicate,
                reorder,
                reorder_by,
                bits_per_s,
                queue,
                mtu,
            };
            let way = self.plan.ways.push(way);
            self.leave(from, way);
        }
    }

    fn by_distance(
        &mut self,
        at: usize,
        item: &str,
        a: NodeId,
        b: NodeId,
        stretch: Option<f64>,
    ) -> Option<Nanos> {
        let stretch = stretch.unwrap_or(self.stretch);
        if !(1.0..=100.0).contains(&stretch) {
            self.problems.add(Some(at), format!("{item}: stretch is 1 to 100"));
        }
        let (a, b) = (self.plan.nodes[a].city?, self.plan.nodes[b].city?);
        // Within a city, too, a line has some length.
        cable_delay(&self.plan.cities[a], &self.plan.cities[b], stretch).map(|delay| delay.max(WITHIN_CITY))
    }

    fn times_down(&mut self, at: usize, item: &str, down: &[file::Down]) -> Vec<(Nanos, Nanos)> {
        let mut times: Vec<(Nanos, Nanos)> = Vec::new();
        for file::Down { from_s, to_s } in down {
            let mut time =
                |s: f64| self.duration(Some(at), &format!("{item}: down"), Some(s * 1e3), Nanos::ZERO);
            let (from, until) = (time(*from_s), time(*to_s));
            if from >= until || times.last().is_some_and(|last| last.1 > from) {
                self.problems
                    .add(Some(at), format!("{item}: down is from earlier to later, one after the other"));
            }
            times.push((from, until));
        }
        times
    }
}

const WITHIN_CITY: Nanos = Nanos(50_000);
