//! From the types of the file to a plan: names become numbers, and what does not fit together is told.

mod nodes;
mod paths;
mod web;
mod zones;

use std::net::IpAddr;

use mmn_probe::time::Nanos;

use super::error::Problems;
use super::names::Names;
use super::owners::Owners;
use super::units::millis;
use super::{Addresses, City, Host, Link, Nat, Node, NodeKind, Owner, Plan, PlanError, Vp, Way, file};
use crate::ids::{AnycastId, CityId, HostId, LinkId, NatId, NodeId, Table, VpId, WayId, ZoneId};

/// The most nodes, and links: a world of a thousand vantage points has some thousand.
const MOST: usize = 1_000_000;

impl Plan {
    /// Reads a plan. `name` is the name of the file, for what is wrong with it.
    pub fn parse(name: &str, text: &str) -> Result<Self, PlanError> {
        let mut problems = Problems::new(name, text);
        let file = match toml::from_str::<file::File>(text) {
            Ok(file) => file,
            Err(error) => {
                let first = error.message().lines().next().unwrap_or("no TOML").to_owned();
                problems.add(error.span().map(|span| span.start), first);
                problems.finish()?;
                return Err(PlanError { problems: Vec::new() });
            }
        };
        let plan = Build::new(problems).run(&file)?;
        Ok(plan)
    }
}

/// A plan under way.
struct Build<'t> {
    problems: Problems<'t>,
    stretch: f64,
    city_names: Names<CityId>,
    node_names: Names<NodeId>,
    zone_names: Names<ZoneId>,
    /// Hosts that may share their addresses, with them.
    shared: Vec<(IpAddr, NodeId)>,
    plan: Plan,
}

impl<'t> Build<'t> {
    fn new(problems: Problems<'t>) -> Self {
        Self {
            problems,
            stretch: 1.0,
            city_names: Names::new("city"),
            node_names: Names::new("router"),
            zone_names: Names::new("zone"),
            shared: Vec::new(),
            plan: Plan {
                seed: 0,
                converge: Nanos::ZERO,
                cities: Table::<CityId, City>::default(),
                nodes: Table::<NodeId, Node>::default(),
                routers: 0,
                links: Table::<LinkId, Link>::default(),
                ways: Table::<WayId, Way>::default(),
                vps: Table::<VpId, Vp>::default(),
                hosts: Table::<HostId, Host>::default(),
                nats: Table::<NatId, Nat>::default(),
                anycasts: Table::<AnycastId, Vec<NodeId>>::default(),
                zones: Table::default(),
                dns: Vec::new(),
                webs: Vec::new(),
                owners: Owners::default(),
            },
        }
    }

    fn run(mut self, file: &file::File) -> Result<Plan, PlanError> {
        if file.router.len() + file.vp.len() + file.host.len() > MOST || file.link.len() > MOST {
            self.problems.add(None, format!("more than {MOST} nodes or links"));
            self.problems.finish()?;
            return Ok(self.plan);
        }
        self.plan.seed = file.seed;
        self.stretch = file.stretch.unwrap_or(1.0);
        if !(1.0..=100.0).contains(&self.stretch) {
            self.problems.add(None, "stretch: a cable is 1 to 100 times as long as the distance");
        }
        self.plan.converge = self.duration(None, "converge_ms", file.converge_ms, Nanos::ZERO);
        for (name, city) in &file.city {
            self.city(name, city.span().start, city.get_ref());
        }
        for (number, router) in file.router.iter().enumerate() {
            self.router(number + 1, router.span().start, router.get_ref());
        }
        self.plan.routers = self.plan.nodes.len();
        for (number, vp) in file.vp.iter().enumerate() {
            self.vp(number + 1, vp.span().start, vp.get_ref());
        }
        for (number, host) in file.host.iter().enumerate() {
            self.host(number + 1, host.span().start, host.get_ref());
        }
        self.share();
        for (number, link) in file.link.iter().enumerate() {
            self.link(number + 1, link.span().start, link.get_ref());
        }
        for (number, zone) in file.zone.iter().enumerate() {
            self.zone(number + 1, zone.span().start, zone.get_ref());
        }
        for (number, dns) in file.dns.iter().enumerate() {
            self.dns(number + 1, dns.span().start, dns.get_ref());
        }
        for (number, web) in file.web.iter().enumerate() {
            self.web(number + 1, web.span().start, web.get_ref());
        }
        self.problems.finish()?;
        Ok(self.plan)
    }

    fn city(&mut self, name: &str, at: usize, city: &file::City) {
        if !(-90.0..=90.0).contains(&city.lat) || !(-180.0..=180.0).contains(&city.lon) {
            self.problems
                .add(Some(at), format!("city \"{name}\": lat is -90 to 90, lon -180 to 180 degrees"));
        }
        let id = self.plan.cities.push(City {
            name: name.into(),
            latitude: city.lat,
            longitude: city.lon,
            country: city.country.as_deref().map(Into::into),
            continent: city.continent.as_deref().map(Into::into),
        });
        if let Err(wrong) = self.city_names.add(name, id) {
            self.problems.add(Some(at), wrong);
        }
    }

    /// What was found, or a note of what is wrong with an item.
    fn found<T>(&mut self, at: usize, item: &str, found: Result<T, String>) -> Option<T> {
        match found {
            Ok(found) => Some(found),
            Err(wrong) => {
                self.problems.add(Some(at), format!("{item}: {wrong}"));
                None
            }
        }
    }

    fn duration(&mut self, at: Option<usize>, what: &str, ms: Option<f64>, default: Nanos) -> Nanos {
        let Some(ms) = ms else { return default };
        millis(ms).unwrap_or_else(|| {
            self.problems.add(at, format!("{what} = {ms}: 0 to a day"));
            default
        })
    }

    /// At most one address of each family.
    fn addresses(&mut self, at: usize, item: &str, list: &[IpAddr]) -> Addresses {
        let mut addresses = Addresses::default();
        for address in list {
            let taken = match address {
                IpAddr::V4(v4) => addresses.v4.replace(*v4).is_some(),
                IpAddr::V6(v6) => addresses.v6.replace(*v6).is_some(),
            };
            if taken {
                self.problems.add(Some(at), format!("{item}: one address of each family"));
            }
            if address.is_unspecified() || address.is_multicast() {
                self.problems.add(Some(at), format!("{item}: {address} is no unicast address"));
            }
        }
        addresses
    }

    /// Gives addresses to a node.
    fn own(&mut self, at: usize, item: &str, addresses: Addresses, node: NodeId, way: Option<WayId>) {
        for address in addresses.iter() {
            if let Err(Owner::Node(other, _)) = self.plan.owners.add(address, Owner::Node(node, way)) {
                let other = self.plan.name(other);
                let what = format!("{item}: {address} is the address of {other} already");
                self.problems.add(Some(at), what);
            }
        }
    }

    /// Hosts of one shared address become a group.
    fn share(&mut self) {
        let mut shared = std::mem::take(&mut self.shared);
        shared.sort_by_key(|(address, node)| (*address, *node));
        for group in shared.chunk_by(|one, other| one.0 == other.0) {
            let Some((address, _)) = group.first() else { continue };
            let id = self.plan.anycasts.push(group.iter().map(|(_, node)| *node).collect());
            if self.plan.owners.add(*address, Owner::Anycast(id)).is_err() {
                let what = format!("{address} is shared, but also the address of one that does not share it");
                self.problems.add(None, what);
            }
        }
    }

    fn host_of(&mut self, at: usize, item: &str, name: &str) -> Option<HostId> {
        let found = self.node_names.find(name);
        let node = self.found(at, item, found)?;
        let NodeKind::Host(host) = self.plan.nodes[node].kind else {
            self.problems.add(Some(at), format!("{item}: \"{name}\" is no host"));
            return None;
        };
        Some(host)
    }
}
