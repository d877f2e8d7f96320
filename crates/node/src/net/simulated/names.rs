//! Names of a plan to addresses, for who has no resolver to ask: nothing of it leaves this process.

use std::net::{IpAddr, SocketAddr};

use mmn_lab::{
    ids::VpId,
    plan::{Plan, RecordData},
};

/// The addresses of a vantage point.
pub(in crate::net) fn addresses(plan: &Plan, vp: VpId) -> impl Iterator<Item = IpAddr> + use<'_> {
    let node = plan.vps.at(vp).and_then(|vp| plan.nodes.at(vp.node));
    node.into_iter().flat_map(|node| node.addresses.iter())
}

/// The servers that resolve names, as `resolv.conf(5)` would name them.
pub(in crate::net) fn servers(plan: &Plan) -> Vec<SocketAddr> {
    let hosts =
        plan.dns.iter().filter(|server| server.recursive).filter_map(|server| plan.hosts.at(server.host));
    let nodes = hosts.filter_map(|host| plan.nodes.at(host.node));
    let mut servers: Vec<_> =
        nodes.flat_map(|node| node.addresses.iter()).map(|to| (to, DNS).into()).collect();
    servers.dedup();
    servers.truncate(MOST_SERVERS);
    servers
}

/// The addresses of a host, a vantage point or a router by its name, or else those that the zones have.
pub(in crate::net) fn resolve(plan: &Plan, name: &str) -> Vec<IpAddr> {
    of_nodes(plan, name).unwrap_or_else(|| in_zones(plan, name.strip_suffix('.').unwrap_or(name), 0))
}

/// The addresses of a host, a vantage point or a router by its name; nothing where none has it.
pub(in crate::net) fn of_nodes(plan: &Plan, name: &str) -> Option<Vec<IpAddr>> {
    let name = name.strip_suffix('.').unwrap_or(name);
    let node = plan.nodes.iter().find(|node| node.name.eq_ignore_ascii_case(name))?;
    Some(node.addresses.iter().collect())
}

/// What the PTR records of a name say in the zones. Aliases are followed a few times.
pub(in crate::net) fn pointers(plan: &Plan, reverse: &str) -> Vec<String> {
    let whole = |name: &str| name.strip_suffix('.').unwrap_or(name).to_owned();
    let mut asked = reverse.to_owned();
    for _ in 0..=MOST_ALIASES {
        let pointer =
            |data: &RecordData| if let RecordData::Ptr(name) = data { Some(whole(name)) } else { None };
        let found: Vec<String> = records(plan, &asked).filter_map(pointer).collect();
        let alias = records(plan, &asked).find_map(|data| match data {
            RecordData::Cname(target) => Some(whole(target)),
            _ => None,
        });
        match alias {
            Some(alias) if found.is_empty() => asked = alias,
            _ => return found,
        }
    }
    Vec::new()
}

/// What the zones have of a name.
fn records<'a>(plan: &'a Plan, name: &str) -> impl Iterator<Item = &'a RecordData> {
    let records = plan.zones.iter().flat_map(|zone| &zone.records);
    let own = records.filter(move |record| {
        let owner = record.name.strip_suffix('.').unwrap_or(&record.name);
        owner.eq_ignore_ascii_case(name)
    });
    own.map(|record| &record.data)
}

/// Aliases are followed a few times.
fn in_zones(plan: &Plan, name: &str, depth: u8) -> Vec<IpAddr> {
    let mut addresses = Vec::new();
    for data in records(plan, name) {
        match data {
            RecordData::A(address) => addresses.push(IpAddr::V4(*address)),
            RecordData::Aaaa(address) => addresses.push(IpAddr::V6(*address)),
            RecordData::Cname(target) if depth < MOST_ALIASES => {
                let target = target.strip_suffix('.').unwrap_or(target);
                addresses.extend(in_zones(plan, target, depth + 1));
            }
            _ => {}
        }
    }
    addresses
}

const MOST_ALIASES: u8 = 8;
const DNS: u16 = 53;
/// The C library uses no more.
const MOST_SERVERS: usize = 3;
