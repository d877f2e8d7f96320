//! Which ways lead to a router: for each destination the equal-cost next hops of all routers, made when first asked for.
//!
//! Vantage points and hosts hang on one router each and share its table. When a link fails or recovers, tables are made
//! anew as soon as routers know of it.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use mmn_probe::time::{Instant, Nanos};

use crate::ids::{Id as _, NodeId, Table, WayId};
use crate::plan::{NodeKind, Plan};

/// The routes of a world.
#[derive(Debug)]
pub(super) struct Routes {
    /// By the router that they lead to.
    tables: Table<NodeId, Option<Box<Routing>>>,
    /// Of every node.
    homes: Table<NodeId, Option<Home>>,
    /// When routers learn of a change, from now on, the next one last.
    changes: Vec<Instant>,
    /// When the tables are those of another time; never where nothing changes any more.
    good_until: Instant,
    start: Instant,
}

/// The router on which a leaf hangs, with the ways between.
#[derive(Clone, Copy, Debug)]
pub(super) struct Home {
    pub(super) router: NodeId,
    pub(super) up: WayId,
    pub(super) down: WayId,
}

/// All next hops towards one router.
#[derive(Debug)]
struct Routing {
    /// By router; [`u64::MAX`] where there is no way.
    distances: Vec<u64>,
    /// Where the hops of a router begin, and one more.
    first: Vec<u32>,
    hops: Vec<WayId>,
}

impl Routes {
    pub(super) fn new(plan: &Plan, start: Instant) -> Self {
        let homes = plan.nodes.iter().map(|node| {
            let up = *node.leaving.first().filter(|_| node.kind != NodeKind::Router)?;
            Some(Home { router: plan.ways[up].to, up, down: plan.opposite(up) })
        });
        let mut changes: Vec<_> = plan
            .links
            .iter()
            .flat_map(|link| link.down.iter().flat_map(|(from, until)| [*from, *until]))
            .map(|since| start + since + plan.converge)
            .collect();
        changes.sort_unstable_by_key(|at| Reverse(*at));
        changes.dedup();
        let tables = Table::new((0..plan.routers).map(|_| None).collect());
        let good_until = changes.last().copied().unwrap_or(Instant(u64::MAX));
        Self { tables, homes: Table::new(homes.collect()), changes, good_until, start }
    }

    /// The router on which a leaf hangs; nothing for routers.
    pub(super) fn home(&self, node: NodeId) -> Option<Home> {
        self.homes[node]
    }

    /// Forgets tables that do not hold any more.
    pub(super) fn refresh(&mut self, now: Instant) {
        if now < self.good_until {
            return;
        }
        while self.changes.last().is_some_and(|at| *at <= now) {
            self.changes.pop();
        }
        self.good_until = self.changes.last().copied().unwrap_or(Instant(u64::MAX));
        for index in 0..self.tables.len() {
            self.tables[NodeId::new(index)] = None;
        }
    }

    /// The ways on which a router sends what is for another router; none where there is no way.
    pub(super) fn hops(&mut self, plan: &Plan, from: NodeId, to: NodeId, now: Instant) -> &[WayId] {
        let routing = self.routing(plan, to, now);
        let bounds = routing.first.get(from.index()..from.index() + 2);
        let Some(&[begin, end]) = bounds else { return &[] };
        let index = |number: u32| usize::try_from(number).unwrap_or(usize::MAX);
        routing.hops.get(index(begin)..index(end)).unwrap_or_default()
    }

    /// How far it is from a router to another; nothing where there is no way.
    pub(super) fn distance(&mut self, plan: &Plan, from: NodeId, to: NodeId, now: Instant) -> Option<u64> {
        let distance = self.routing(plan, to, now).distances.get(from.index()).copied();
        distance.filter(|distance| *distance != u64::MAX)
    }

    fn routing(&mut self, plan: &Plan, to: NodeId, now: Instant) -> &Routing {
        let start = self.start;
        self.tables[to].get_or_insert_with(|| {
            // What routers know at `now` happened so long before.
            let known = Nanos(now.saturating_since(start).0.saturating_sub(plan.converge.0));
            Box::new(Routing::towards(plan, to, known))
        })
    }
}

impl Routing {
    /// Dijkstra's algorithm from the destination; metrics are the same in both directions.
    fn towards(plan: &Plan, to: NodeId, known: Nanos) -> Self {
        let mut distances = vec![u64::MAX; plan.routers];
        let mut near = BinaryHeap::new();
        let far = |distances: &[u64], node: NodeId| distances.get(node.index()).copied().unwrap_or(u64::MAX);
        if let Some(own) = distances.get_mut(to.index()) {
            *own = 0;
            near.push(Reverse((0_u64, to)));
        }
        while let Some(Reverse((distance, node))) = near.pop() {
            if distance > far(&distances, node) {
                continue;
            }
            for (next, metric) in neighbours(plan, node, known).map(|(_, next, metric)| (next, metric)) {
                let through = distance.saturating_add(metric);
                if let Some(known) = distances.get_mut(next.index()).filter(|known| through < **known) {
                    *known = through;
                    near.push(Reverse((through, next)));
                }
            }
        }
        let (mut first, mut hops) = (Vec::with_capacity(plan.routers + 1), Vec::new());
        let count = |hops: &[WayId]| u32::try_from(hops.len()).unwrap_or(u32::MAX);
        for (node, distance) in (0..plan.routers).map(NodeId::new).zip(distances.iter().copied()) {
            first.push(count(&hops));
            if distance != u64::MAX && node != to {
                let shortest = neighbours(plan, node, known)
                    .filter(|(_, next, metric)| far(&distances, *next).saturating_add(*metric) == distance);
                hops.extend(shortest.map(|(way, _, _)| way));
            }
        }
        first.push(count(&hops));
        Self { distances, first, hops }
    }
}

/// The routers to which a node has links that are up, in the order of the file.
fn neighbours(plan: &Plan, node: NodeId, known: Nanos) -> impl Iterator<Item = (WayId, NodeId, u64)> {
    plan.nodes[node].leaving.iter().filter_map(move |&way| {
        let (to, link) = (plan.ways[way].to, &plan.links[plan.ways[way].link]);
        let is_up = !link.down.iter().any(|(from, until)| (*from..*until).contains(&known));
        (to.index() < plan.routers && is_up).then_some((way, to, u64::from(link.metric)))
    })
}
