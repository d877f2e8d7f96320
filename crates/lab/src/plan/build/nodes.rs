//! Routers, vantage points and hosts.

use std::net::IpAddr;

use mmn_probe::time::Nanos;

use super::Build;
use crate::ids::{Id as _, LinkId, NatId, NodeId, WayId};
use crate::plan::units::every;
use crate::plan::{
    Addresses, Balancing, Host, IcmpLimit, IpIds, Link, Manners, Nat, Node, NodeKind, Ports, Vp, file,
};

/// What an access line takes where nothing is said.
const ACCESS: Nanos = Nanos(100_000);

impl Build<'_> {
    pub(super) fn router(&mut self, number: usize, at: usize, router: &file::Router) {
        let item = format!("[[router]] {number} \"{}\"", router.name);
        let addresses = self.addresses(at, &item, &router.addr.0);
        let city = self.city_of(at, &item, router.city.as_deref());
        let manners = Manners {
            silent: router.silent,
            hidden: router.hidden,
            balancing: balancing(router.lb),
            ip_id: ip_ids(router.ipid),
            ip_id_pps: router.ipid_pps,
            icmp_limit: self.icmp_limit(at, &item, router.icmp_pps, router.icmp_burst),
            icmp_delay: self.duration(
                Some(at),
                &format!("{item}: icmp_delay_ms"),
                router.icmp_delay_ms,
                Nanos::ZERO,
            ),
            mpls: router.mpls.clone(),
            quote: router.quote,
            too_big: router.too_big,
            ttl: router.ttl.unwrap_or(255),
            echo: router.echo.unwrap_or(true),
            timestamp: false,
            clock_ahead_ms: 0,
            ports: Ports::default(),
        };
        self.check_manners(at, &item, &manners);
        let nat = router.nat.as_ref().and_then(|nat| self.nat(at, &item, nat));
        let node = Node {
            name: router.name.as_str().into(),
            kind: NodeKind::Router,
            addresses,
            city,
            asn: router.asn,
            leaving: Vec::new(),
            manners,
            nat,
        };
        let id = self.node(at, &item, node);
        self.own(at, &item, addresses, id, None);
        if let Some(nat) = nat {
            let outside = Addresses { v4: Some(self.plan.nats[nat].outside), v6: None };
            if outside.v4 != addresses.v4 {
                self.own(at, &item, outside, id, None);
            }
        }
    }

    fn nat(&mut self, at: usize, item: &str, nat: &file::Nat) -> Option<NatId> {
        let IpAddr::V4(outside) = nat.outside else {
            self.problems
                .add(Some(at), format!("{item}: nat translates IPv4 alone; outside is an IPv4 address"));
            return None;
        };
        let inside: Vec<_> = nat.inside.0.iter().map(|prefix| prefix.0).collect();
        if inside.is_empty() || inside.iter().any(|prefix| prefix.contains(outside.into())) {
            let what = "nat: inside is one or more prefixes, and outside lies in none of them";
            self.problems.add(Some(at), format!("{item}: {what}"));
        }
        Some(self.plan.nats.push(Nat { outside, inside }))
    }

    pub(super) fn vp(&mut self, number: usize, at: usize, vp: &file::Vp) {
        let item = format!("[[vp]] {number} \"{}\"", vp.name);
        let addresses = self.addresses(at, &item, &vp.addr.0);
        let city = self.city_of(at, &item, vp.city.as_deref());
        let manners = Manners { timestamp: true, ..leaf_manners() };
        let kind = NodeKind::Vp(crate::ids::VpId::new(self.plan.vps.len()));
        let node = Node {
            name: vp.name.as_str().into(),
            kind,
            addresses,
            city,
            asn: vp.asn,
            leaving: Vec::new(),
            manners,
            nat: None,
        };
        let node = self.leaf(at, &item, node, &vp.at, &[vp.up.or(vp.path()), vp.down.or(vp.path())]);
        self.own(at, &item, addresses, node, None);
        self.plan.vps.push(Vp { node, tags: vp.tags.iter().map(|tag| tag.as_str().into()).collect() });
    }

    pub(super) fn host(&mut self, number: usize, at: usize, host: &file::Host) {
        let item = format!("[[host]] {number} \"{}\"", host.name);
        let addresses = self.addresses(at, &item, &host.addr.0);
        let sorted = |ports: &[u16]| {
            let mut ports = ports.to_vec();
            ports.sort_unstable();
            ports.dedup();
            ports
        };
        let manners = Manners {
            silent: host.silent,
            ip_id: ip_ids(host.ipid),
            ip_id_pps: host.ipid_pps,
            icmp_limit: self.icmp_limit(at, &item, host.icmp_pps, host.icmp_burst),
            icmp_delay: self.duration(
                Some(at),
                &format!("{item}: icmp_delay_ms"),
                host.icmp_delay_ms,
                Nanos::ZERO,
            ),
            quote: host.quote,
            ttl: host.ttl.unwrap_or(64),
            echo: host.echo.unwrap_or(true),
            timestamp: host.timestamp,
            clock_ahead_ms: host.clock_ahead_ms,
            ports: Ports {
                tcp: sorted(&host.tcp),
                udp: sorted(&host.udp),
                udp_silent: sorted(&host.udp_silent),
                filtered_all: host.filtered.all,
                filtered: sorted(&host.filtered.ports),
                rejected: sorted(&host.rejected),
                service_udp: Vec::new(),
                service_tcp: Vec::new(),
            },
            ..leaf_manners()
        };
        self.check_manners(at, &item, &manners);
        let kind = NodeKind::Host(crate::ids::HostId::new(self.plan.hosts.len()));
        let node = Node {
            name: host.name.as_str().into(),
            kind,
            addresses,
            city: None,
            asn: None,
            leaving: Vec::new(),
            manners,
            nat: None,
        };
        let node =
            self.leaf(at, &item, node, &host.at, &[host.up.or(host.path()), host.down.or(host.path())]);
        if host.anycast {
            self.shared.extend(addresses.iter().map(|address| (address, node)));
        } else {
            self.own(at, &item, addresses, node, None);
        }
        let prefixes: Vec<_> = host.prefix.0.iter().map(|prefix| prefix.0).collect();
        for prefix in &prefixes {
            if let Err(other) = self.plan.owners.add_prefix(*prefix, node) {
                let what = format!("{item}: {prefix} is the prefix of {} already", self.plan.name(other));
                self.problems.add(Some(at), what);
            }
        }
        self.plan.hosts.push(Host { node, prefixes });
    }

    fn node(&mut self, at: usize, item: &str, node: Node) -> NodeId {
        let name = node.name.clone();
        let id = self.plan.nodes.push(node);
        let added = self.node_names.add(&name, id);
        self.found(at, item, added);
        id
    }

    /// A node that hangs on a router, with the paths up to it and down from it.
    fn leaf(&mut self, at: usize, item: &str, node: Node, router: &str, paths: &[file::Path; 2]) -> NodeId {
        if node.addresses.iter().next().is_none() {
            self.problems.add(Some(at), format!("{item}: addr is empty"));
        }
        let found = self.node_names.find(router);
        let router = self.found(at, item, found);
        let is_router = |id: NodeId| self.plan.nodes[id].kind == NodeKind::Router;
        if let Some(other) = router.filter(|id| !is_router(*id)) {
            let what = format!("{item}: at = \"{}\" is no router", self.plan.name(other));
            self.problems.add(Some(at), what);
        }
        let (city, asn) = match router {
            Some(router) => (self.plan.nodes[router].city, self.plan.nodes[router].asn),
            None => (None, None),
        };
        let addresses = node.addresses;
        let node = Node { city: node.city.or(city), asn: node.asn.or(asn), ..node };
        let leaf = self.node(at, item, node);
        let Some(router) = router else { return leaf };
        let link = self.plan.links.push(Link { a: leaf, b: router, metric: 1, down: Vec::new() });
        self.ways(at, item, link, paths, [Addresses::default(), addresses], Some(ACCESS));
        leaf
    }

    pub(super) fn city_of(
        &mut self,
        at: usize,
        item: &str,
        name: Option<&str>,
    ) -> Option<crate::ids::CityId> {
        let found = self.city_names.find(name?);
        self.found(at, item, found)
    }

    fn icmp_limit(
        &mut self,
        at: usize,
        item: &str,
        pps: Option<f64>,
        burst: Option<u32>,
    ) -> Option<IcmpLimit> {
        if pps.is_none() && burst.is_some() {
            self.problems.add(Some(at), format!("{item}: icmp_burst takes icmp_pps"));
        }
        let every = every(pps?);
        if every.is_none() || burst == Some(0) {
            self.problems.add(Some(at), format!("{item}: icmp_pps and icmp_burst are positive"));
        }
        every.map(|every| IcmpLimit { every, burst: burst.unwrap_or(1) })
    }

    fn check_manners(&mut self, at: usize, item: &str, manners: &Manners) {
        if manners.mpls.len() > 16 || manners.mpls.iter().any(|label| *label >= 1 << 20) {
            self.problems.add(Some(at), format!("{item}: mpls is at most 16 labels below 1048576"));
        }
        if manners.quote.is_some_and(|quote| !(8..=1280).contains(&quote)) {
            self.problems.add(Some(at), format!("{item}: quote is 8 to 1280 octets"));
        }
        if manners.ttl == 0 {
            self.problems.add(Some(at), format!("{item}: ttl is 1 to 255"));
        }
    }

    pub(super) fn leave(&mut self, node: NodeId, way: WayId) {
        self.plan.nodes[node].leaving.push(way);
    }
}

/// What a host does where nothing is said.
fn leaf_manners() -> Manners {
    Manners {
        silent: false,
        hidden: false,
        balancing: Balancing::PerFlow,
        ip_id: IpIds::Shared,
        ip_id_pps: 0,
        icmp_limit: None,
        icmp_delay: Nanos::ZERO,
        mpls: Vec::new(),
        quote: None,
        too_big: true,
        ttl: 64,
        echo: true,
        timestamp: false,
        clock_ahead_ms: 0,
        ports: Ports::default(),
    }
}

const fn balancing(lb: file::Lb) -> Balancing {
    match lb {
        file::Lb::PerFlow => Balancing::PerFlow,
        file::Lb::PerPacket => Balancing::PerPacket,
        file::Lb::PerDestination => Balancing::PerDestination,
    }
}

const fn ip_ids(ipid: file::IpId) -> IpIds {
    match ipid {
        file::IpId::Shared => IpIds::Shared,
        file::IpId::Separate => IpIds::Separate,
        file::IpId::Random => IpIds::Random,
        file::IpId::Zero => IpIds::Zero,
        file::IpId::Constant => IpIds::Constant,
    }
}

/// The ways of a link are numbered after it.
pub(super) fn ways_of(link: LinkId) -> [WayId; 2] {
    [WayId::new(link.index() * 2), WayId::new(link.index() * 2 + 1)]
}
