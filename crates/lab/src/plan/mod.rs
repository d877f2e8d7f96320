//! What a world is made of, as a TOML file says it.
//!
//! [`Plan::parse`] reads a file, gives numbers to names and checks that everything fits together. A plan does not
//! change: worlds and drivers share it. Routers have the first [`NodeId`]s; vantage points and hosts are leaves that
//! hang on one router each.
//!
//! Begin with [`Plan`], then [`Way`] for what befalls packets on a link and [`Manners`] for what nodes do with them.
//! The format is described in `docs/guides/lab.md`; the types of the file itself are in `file.rs`.

mod build;
mod error;
mod file;
mod geography;
mod names;
mod owners;
mod services;
mod units;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use mmn_probe::time::Nanos;

pub use self::error::{PlanError, Problem};
pub use self::geography::great_circle_km;
pub use self::owners::{Owner, Prefix};
pub use self::services::{
    Broken, Certificate, Content, DnsServer, Page, Record, RecordData, RecordType, Serial, Web, Zone,
};
pub use self::units::Odds;
use crate::ids::{AnycastId, CityId, HostId, LinkId, NatId, NodeId, Table, VpId, WayId, ZoneId};

/// A world on paper.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Plan {
    /// What every draw comes from.
    pub seed: u64,
    /// How long after a link fails or recovers routers know of it.
    pub converge: Nanos,
    /// Where things stand.
    pub cities: Table<CityId, City>,
    /// All nodes: first the routers, then the vantage points, then the hosts.
    pub nodes: Table<NodeId, Node>,
    /// How many of the nodes are routers.
    pub routers: usize,
    /// All links, those to leaves among them.
    pub links: Table<LinkId, Link>,
    /// The directions of all links: link *n* has the ways *2n* (from a to b) and *2n + 1*.
    pub ways: Table<WayId, Way>,
    /// Vantage points.
    pub vps: Table<VpId, Vp>,
    /// Hosts.
    pub hosts: Table<HostId, Host>,
    /// Translating routers.
    pub nats: Table<NatId, Nat>,
    /// Groups of hosts that share an address.
    pub anycasts: Table<AnycastId, Vec<NodeId>>,
    /// Zones of the DNS.
    pub zones: Table<ZoneId, Zone>,
    /// Name servers and resolvers.
    pub dns: Vec<DnsServer>,
    /// Web servers.
    pub webs: Vec<Web>,
    owners: owners::Owners,
}

/// A place on Earth.
#[derive(Clone, Debug, PartialEq)]
pub struct City {
    /// Its name in the file.
    pub name: Box<str>,
    /// Degrees north.
    pub latitude: f64,
    /// Degrees east.
    pub longitude: f64,
    /// ISO 3166-1 alpha-2 code.
    pub country: Option<Box<str>>,
    /// Two letters: AF, AN, AS, EU, NA, OC, SA.
    pub continent: Option<Box<str>>,
}

/// An address of each family, as far as there is one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Addresses {
    /// IPv4.
    pub v4: Option<Ipv4Addr>,
    /// IPv6.
    pub v6: Option<Ipv6Addr>,
}

impl Addresses {
    /// The address of the family of another one.
    pub fn like(&self, other: IpAddr) -> Option<IpAddr> {
        if other.is_ipv4() { self.v4.map(IpAddr::V4) } else { self.v6.map(IpAddr::V6) }
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = IpAddr> + use<> {
        self.v4.map(IpAddr::V4).into_iter().chain(self.v6.map(IpAddr::V6))
    }
}

/// What packets arrive at.
#[derive(Clone, Debug)]
pub struct Node {
    /// Its name in the file.
    pub name: Box<str>,
    /// What it is.
    pub kind: NodeKind,
    /// Its own addresses, beside those of its interfaces.
    pub addresses: Addresses,
    /// Where it stands.
    pub city: Option<CityId>,
    /// The autonomous system that it belongs to.
    pub asn: Option<u32>,
    /// The ways that leave it, in the order of the file.
    pub leaving: Vec<WayId>,
    /// What it does with packets.
    pub manners: Manners,
    /// The translator that it is.
    pub nat: Option<NatId>,
}

/// What a node is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NodeKind {
    /// It forwards.
    Router,
    /// Packets leave the world here, and enter.
    Vp(VpId),
    /// It answers.
    Host(HostId),
}

/// What a node does with packets that are for it or end at it, and how it forwards.
#[derive(Clone, Debug, PartialEq)]
#[expect(clippy::struct_excessive_bools, reason = "each is a trait of its own")]
pub struct Manners {
    /// Whether it forwards and says nothing at all.
    pub silent: bool,
    /// Whether it forwards without touching the TTL: inside a tunnel that does not show.
    pub hidden: bool,
    /// How it chooses among equal next hops.
    pub balancing: Balancing,
    /// How it numbers its IPv4 packets.
    pub ip_id: IpIds,
    /// By how many numbers a second its counters run by themselves: what it sends to others.
    pub ip_id_pps: u32,
    /// How many ICMP messages it makes at most.
    pub icmp_limit: Option<IcmpLimit>,
    /// How long it takes to make one.
    pub icmp_delay: Nanos,
    /// The label stack with which packets come to it, that it puts into its errors (RFC 4950), top first.
    pub mpls: Vec<u32>,
    /// How many octets of a packet after its IP header it quotes; as many as RFC 1812 and RFC 4443 allow where absent.
    pub quote: Option<u16>,
    /// Whether it tells that a packet was too big.
    pub too_big: bool,
    /// The TTL or hop limit of what it sends.
    pub ttl: u8,
    /// Whether it answers echo requests.
    pub echo: bool,
    /// Whether it answers ICMP timestamp requests.
    pub timestamp: bool,
    /// By how many milliseconds its clock is ahead, in timestamp replies.
    pub clock_ahead_ms: i32,
    /// Its ports.
    pub ports: Ports,
}

/// How a router chooses among equal next hops.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Balancing {
    /// By addresses, protocol, the first four octets above IP, and the IPv6 flow label.
    #[default]
    PerFlow,
    /// By lot for each packet.
    PerPacket,
    /// By destination.
    PerDestination,
}

/// How a node numbers its IPv4 packets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum IpIds {
    /// One counter.
    #[default]
    Shared,
    /// One counter for each interface.
    Separate,
    /// By lot.
    Random,
    /// Always 0.
    Zero,
    /// Always the same, not 0.
    Constant,
}

/// A token bucket for ICMP.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct IcmpLimit {
    /// Time for one message.
    pub every: Nanos,
    /// How many may come at once.
    pub burst: u32,
}

/// What is behind the ports of a node. Lists are sorted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ports {
    /// TCP ports that take connections.
    pub tcp: Vec<u16>,
    /// UDP ports that send back what they get.
    pub udp: Vec<u16>,
    /// UDP ports that take everything and say nothing.
    pub udp_silent: Vec<u16>,
    /// Whether packets to any port are dropped, but to those above.
    pub filtered_all: bool,
    /// Ports of TCP and UDP at which packets are dropped.
    pub filtered: Vec<u16>,
    /// Ports of TCP and UDP at which they are, and the sender is told that it is prohibited.
    pub rejected: Vec<u16>,
    /// UDP ports of a service that the lab plays.
    pub service_udp: Vec<u16>,
    /// TCP ports of a service that the lab plays.
    pub service_tcp: Vec<u16>,
}

/// Two nodes with a line between them.
#[derive(Clone, Debug, PartialEq)]
pub struct Link {
    /// One end.
    pub a: NodeId,
    /// The other.
    pub b: NodeId,
    /// What it costs routers to use it.
    pub metric: u32,
    /// When it is down: from, until, since the world began.
    pub down: Vec<(Nanos, Nanos)>,
}

/// One direction of a link.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Way {
    /// Its link.
    pub link: LinkId,
    /// Where it begins.
    pub from: NodeId,
    /// Where it ends.
    pub to: NodeId,
    /// The addresses of the interface at its end: where errors about packets that came this way come from.
    pub entrance: Addresses,
    /// How long every packet takes.
    pub delay: Nanos,
    /// How much longer a packet may take, evenly from nothing to this. It never overtakes for it.
    pub jitter: Nanos,
    /// How many packets are lost.
    pub loss: Odds,
    /// How many arrive twice.
    pub duplicate: Odds,
    /// How many are held back so that later ones may overtake.
    pub reorder: Odds,
    /// For how long these are held back.
    pub reorder_by: Nanos,
    /// How many bits pass in a second; without limit where absent.
    pub bits_per_s: Option<u64>,
    /// How long a packet may have to wait for its turn before it is dropped.
    pub queue: Nanos,
    /// The largest packet, in octets.
    pub mtu: u32,
}

impl Way {
    /// Whether all that befalls a packet is its delay.
    pub fn is_plain(&self) -> bool {
        self.jitter == Nanos::ZERO
            && self.loss.is_never()
            && self.duplicate.is_never()
            && self.reorder.is_never()
            && self.bits_per_s.is_none()
    }
}

/// A vantage point.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vp {
    /// Its node.
    pub node: NodeId,
    /// Words to choose it by.
    pub tags: Vec<Box<str>>,
}

/// A host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    /// Its node.
    pub node: NodeId,
    /// Prefixes whose every address is its own.
    pub prefixes: Vec<Prefix>,
}

/// What a translating router does (RFC 3022).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Nat {
    /// The address that the outside sees.
    pub outside: Ipv4Addr,
    /// Whose packets are translated.
    pub inside: Vec<Prefix>,
}

impl Plan {
    /// Whose an address is.
    pub fn owner(&self, address: IpAddr) -> Option<Owner> {
        self.owners.of(address)
    }

    /// A node by its name.
    pub fn node(&self, name: &str) -> Option<NodeId> {
        self.nodes.pairs().find(|(_, node)| *node.name == *name).map(|(id, _)| id)
    }

    /// A vantage point by its name.
    pub fn vp(&self, name: &str) -> Option<VpId> {
        match self.nodes[self.node(name)?].kind {
            NodeKind::Vp(vp) => Some(vp),
            _ => None,
        }
    }

    /// The name of a node.
    pub fn name(&self, node: NodeId) -> &str {
        &self.nodes[node].name
    }

    /// The node of a vantage point.
    pub fn vp_node(&self, vp: VpId) -> &Node {
        &self.nodes[self.vps[vp].node]
    }

    /// The way back of a way.
    pub fn opposite(&self, way: WayId) -> WayId {
        use crate::ids::Id as _;
        WayId::new(way.index() ^ 1)
    }

    /// The address from which a node speaks of packets that came by this way.
    pub fn entrance(&self, way: WayId, like: IpAddr) -> Option<IpAddr> {
        let way = &self.ways[way];
        way.entrance.like(like).or_else(|| self.nodes[way.to].addresses.like(like))
    }
}
