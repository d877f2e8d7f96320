//! The moving parts of a world, and the way of a packet through a node.

use std::net::IpAddr;

use mmn_probe::time::{Instant, Nanos, Utc};

use super::chance::{For, draw};
use super::fragment::Assembly;
use super::head::{Head, settle};
use super::limit::Bucket;
use super::nat::Mappings;
use super::pool::{Pool, Slot};
use super::route::Routes;
use super::wheel::Wheel;
use super::{Delivery, Port, ServiceSide, flow};
use crate::ids::{Id as _, NatId, NodeId, Table, WayId};
use crate::plan::{Balancing, IpIds, NodeKind, Owner, Plan};
use crate::truth::{Fate, Look, Origin, PacketId, Truth};

/// All that changes.
#[derive(Debug)]
pub(super) struct State {
    pub(super) start: Instant,
    /// Civil time at instant 0.
    pub(super) civil: Utc,
    pub(super) services: ServiceSide,
    pub(super) vps_answer: bool,
    pub(super) pool: Pool,
    pub(super) wheel: Wheel,
    pub(super) routes: Routes,
    pub(super) ways: Table<WayId, WayState>,
    pub(super) nodes: Table<NodeId, NodeState>,
    pub(super) nats: Table<NatId, Mappings>,
    pub(super) truth: Truth,
    pub(super) events: u64,
    out: Vec<Delivery>,
    /// What is written before it has a packet of its own.
    pub(super) scratch: Vec<u8>,
}

/// A way at work, with what of the plan is needed for every packet.
#[derive(Clone, Copy, Debug)]
pub(super) struct WayState {
    pub(super) to: NodeId,
    pub(super) mtu: u32,
    pub(super) delay: Nanos,
    /// Whether all that befalls a packet is the delay.
    pub(super) plain: bool,
    /// How many packets took it: numbers the draws.
    pub(super) count: u64,
    /// When the last one arrives, of those that keep their order.
    pub(super) last: Instant,
    /// Until when it is busy with sending.
    pub(super) busy_until: Instant,
    /// How many IPv4 packets had the number of the interface at its end.
    ids: u64,
}

/// A node at work, with what of the plan is needed for every packet.
#[derive(Debug)]
pub(super) struct NodeState {
    /// Whether it is a router that does nothing but forward by flows.
    plain: bool,
    is_router: bool,
    hidden: bool,
    pub(super) bucket: Bucket,
    /// How many IPv4 packets it has numbered.
    ids: u64,
    /// How many packets it has balanced by lot.
    lots: u64,
    pub(super) assembly: Option<Box<Assembly>>,
}

impl State {
    pub(super) fn new(plan: &Plan, start: Instant, truth: Truth) -> Self {
        let ways = plan.ways.iter().map(|way| WayState {
            to: way.to,
            mtu: way.mtu,
            delay: way.delay,
            plain: way.is_plain() && plan.links[way.link].down.is_empty(),
            count: 0,
            last: Instant(0),
            busy_until: Instant(0),
            ids: 0,
        });
        let nodes = plan.nodes.iter().map(|node| NodeState {
            plain: node.kind == NodeKind::Router
                && !node.manners.hidden
                && node.nat.is_none()
                && node.manners.balancing == Balancing::PerFlow,
            is_router: node.kind == NodeKind::Router,
            hidden: node.manners.hidden,
            bucket: Bucket::default(),
            ids: 0,
            lots: 0,
            assembly: None,
        });
        Self {
            start,
            civil: Utc(0),
            services: ServiceSide { udp: true, tcp: true },
            vps_answer: false,
            pool: Pool::default(),
            wheel: Wheel::new(start),
            routes: Routes::new(plan, start),
            ways: Table::new(ways.collect()),
            nodes: Table::new(nodes.collect()),
            nats: Table::new(plan.nats.iter().map(|_| Mappings::default()).collect()),
            truth,
            events: 0,
            out: Vec::new(),
            scratch: Vec::new(),
        }
    }

    pub(super) fn inject(&mut self, plan: &Plan, now: Instant, port: Port, bytes: &[u8]) -> PacketId {
        let node = match port {
            Port::Vp(vp) => plan.vps[vp].node,
            Port::Service(host) => plan.hosts[host].node,
        };
        let Some(head) = Head::read(bytes) else {
            let nobody = IpAddr::from([0; 4]);
            let look = Look {
                source: nobody,
                destination: nobody,
                protocol: None,
                selector: 0,
                far: 0,
                ip_id: None,
                ttl: 0,
                bytes: u32::try_from(bytes.len()).unwrap_or(u32::MAX),
            };
            let id = self.truth.add(Origin::Injected(port), None, now, look);
            self.truth.end(id, now, Fate::Malformed);
            return id;
        };
        if self.wheel.len() >= super::MOST_UNDER_WAY {
            let id = self.truth.add(Origin::Injected(port), None, now, head.look(bytes));
            self.truth.end(id, now, Fate::WorldFull);
            return id;
        }
        let slot = self.pool.take();
        self.pool.of_mut(slot).bytes.extend_from_slice(bytes.get(..head.total).unwrap_or_default());
        let id = self.enter(plan, slot, &head, node, now, Origin::Injected(port), None);
        if self.pool.of(slot).target == Some(node) {
            self.wheel.add(slot, now);
        } else {
            self.depart(plan, slot);
        }
        id
    }

    /// Lets events come until `limit`, or until the end of an instant at which something was delivered.
    pub(super) fn run(&mut self, plan: &Plan, mut limit: Instant, one: bool, out: &mut Vec<Delivery>) {
        while let Some(slot) = self.wheel.take(limit) {
            self.arrive(plan, slot);
            if one && !self.out.is_empty() {
                limit = self.wheel.present();
            }
        }
        out.append(&mut self.out);
    }

    /// Makes a packet whose bytes are written known to all: it is at `node` at `now`.
    #[expect(clippy::too_many_arguments, reason = "where, when, why and what a packet is")]
    pub(super) fn enter(
        &mut self,
        plan: &Plan,
        slot: Slot,
        head: &Head,
        node: NodeId,
        now: Instant,
        origin: Origin,
        cause: Option<PacketId>,
    ) -> PacketId {
        let bytes = self.pool.bytes(slot);
        let (look, flow) = (head.look(bytes), flow::number(head, bytes));
        let id = self.truth.add(origin, cause, now, look);
        let target = self.whose(plan, head.destination, node, now);
        let packet = self.pool.of_mut(slot);
        packet.id = id;
        packet.due = now;
        packet.flow = flow;
        packet.node = node;
        packet.via = None;
        packet.target = target;
        packet.ttl = head.ttl;
        id
    }

    /// The node that packets from `from` to an address come to.
    pub(super) fn whose(
        &mut self,
        plan: &Plan,
        address: IpAddr,
        from: NodeId,
        now: Instant,
    ) -> Option<NodeId> {
        match plan.owner(address)? {
            Owner::Node(node, _) => Some(node),
            Owner::Anycast(group) => {
                self.routes.refresh(now);
                let own = self.routes.home(from).map_or(from, |home| home.router);
                let routes = &mut self.routes;
                let near = plan.anycasts[group].iter().filter_map(|&site| {
                    let home = routes.home(site)?.router;
                    Some((routes.distance(plan, own, home, now)?, site))
                });
                near.min().map(|(_, site)| site)
            }
        }
    }

    /// A packet comes to a node: the event that is counted.
    fn arrive(&mut self, plan: &Plan, slot: Slot) {
        self.events += 1;
        let packet = self.pool.of(slot);
        let node = packet.node;
        if packet.target == Some(node) {
            self.local(plan, slot);
        } else if packet.via.is_none() {
            self.depart(plan, slot);
        } else if self.nodes[node].is_router {
            self.forward(plan, slot);
        } else {
            self.end(slot, Fate::NoRoute(node, crate::truth::Told::No(crate::truth::Why::NoAnswerDue)));
        }
    }

    /// A router passes a packet on (RFC 1812, section 5.2).
    fn forward(&mut self, plan: &Plan, slot: Slot) {
        let packet = self.pool.of(slot);
        let (node, ttl) = (packet.node, packet.ttl);
        let hidden = self.nodes[node].hidden;
        if ttl <= 1 && !hidden {
            return self.expire(plan, slot);
        }
        let Some(way) = self.choose(plan, slot) else { return self.lose_way(plan, slot) };
        if !self.fits(slot, way) {
            return self.too_big(plan, slot, way);
        }
        if !hidden {
            self.pool.of_mut(slot).ttl = ttl - 1;
        }
        if !self.nodes[node].plain && plan.nodes[node].nat.is_some() && !self.translate_out(plan, slot) {
            return;
        }
        self.send(plan, slot, way);
    }

    /// A packet leaves the node that made it.
    pub(super) fn depart(&mut self, plan: &Plan, slot: Slot) {
        let node = self.pool.of(slot).node;
        let way = match self.routes.home(node) {
            Some(home) => Some(home.up),
            None => self.choose(plan, slot),
        };
        match way {
            None => self.lose_way(plan, slot),
            Some(way) if !self.fits(slot, way) => self.too_big(plan, slot, way),
            Some(way) => self.send(plan, slot, way),
        }
    }

    /// The way by which a router sends a packet.
    fn choose(&mut self, plan: &Plan, slot: Slot) -> Option<WayId> {
        let packet = self.pool.of(slot);
        let (node, target, now) = (packet.node, packet.target?, packet.due);
        self.routes.refresh(now);
        let mut to = target;
        if let Some(home) = self.routes.home(target) {
            if home.router == node {
                return Some(home.down);
            }
            to = home.router;
        }
        let hops = self.routes.hops(plan, node, to, now);
        if let [only] = hops {
            return Some(*only);
        }
        let place = u64::try_from(node.index()).unwrap_or(0);
        let number = match plan.nodes[node].manners.balancing {
            Balancing::PerFlow => draw(plan.seed, For::Flow, place, packet.flow),
            Balancing::PerDestination => {
                let destination =
                    Head::read(&packet.bytes).map_or(0, |head| flow::destination(head.destination));
                draw(plan.seed, For::Flow, place, destination)
            }
            Balancing::PerPacket => {
                let state = &mut self.nodes[node];
                state.lots += 1;
                draw(plan.seed, For::Balance, place, state.lots)
            }
        };
        let count = u64::try_from(hops.len()).unwrap_or(0);
        let chosen = super::chance::below(number, count);
        hops.get(usize::try_from(chosen).unwrap_or(0)).copied()
    }

    /// Brings a packet out of the world.
    pub(super) fn deliver(&mut self, slot: Slot, port: Port) {
        let packet = self.pool.of_mut(slot);
        settle(&mut packet.bytes, packet.ttl);
        let (id, due) = (packet.id, packet.due);
        self.truth.end(id, due, Fate::Delivered(port));
        self.out.push(Delivery { port, id, due, slot });
    }

    /// A packet meets its fate, and its place is free.
    pub(super) fn end(&mut self, slot: Slot, fate: Fate) {
        let packet = self.pool.of(slot);
        self.truth.end(packet.id, packet.due, fate);
        self.pool.free(slot);
    }

    /// The identification of an IPv4 packet that a node makes, at the interface at the end of `via`.
    pub(super) fn ip_id(&mut self, plan: &Plan, node: NodeId, via: Option<WayId>, now: Instant) -> u16 {
        let manners = &plan.nodes[node].manners;
        let place = u64::try_from(node.index()).unwrap_or(0);
        let start = |place: u64| draw(plan.seed, For::IpId, place, 0);
        let elapsed = u128::from(now.saturating_since(self.start).0) * u128::from(manners.ip_id_pps);
        let by_itself = u64::try_from(elapsed / 1_000_000_000).unwrap_or(0);
        let number = match (manners.ip_id, via) {
            (IpIds::Zero, _) => 0,
            (IpIds::Constant, _) => start(place) | 1,
            (IpIds::Separate, Some(way)) => {
                let state = &mut self.ways[way];
                state.ids += 1;
                let interface = u64::try_from(way.index()).unwrap_or(0) + (1 << 32);
                start(interface).wrapping_add(state.ids).wrapping_add(by_itself)
            }
            (kind, _) => {
                let state = &mut self.nodes[node];
                state.ids += 1;
                if kind == IpIds::Random {
                    draw(plan.seed, For::IpId, place, state.ids)
                } else {
                    start(place).wrapping_add(state.ids).wrapping_add(by_itself)
                }
            }
        };
        u16::try_from(number & 0xffff).unwrap_or(0)
    }
}
