//! A world in network namespaces: any program can live in it, and time is real.
//!
//! Each vantage point is a network namespace with one link, its addresses and a default route. The other ends of all
//! links are in one namespace more, where one packet socket hears what the kernel sends and when it did, and brings what
//! the world gives out (`driver.rs`). What hosts serve over TCP comes from servers in one network more (`servers.rs`),
//! which are real, too. It takes root, or a user namespace ([`crate::able`]).
//!
//! Nothing of it outlives the process: namespaces go when nobody is in them and nobody holds them.
//!
//! Begin with [`Namespaces::make`], which must be called while the process has one thread, then `driver.rs`.

pub(crate) mod certificates;
pub mod driver;
pub(crate) mod inner;
pub mod lateness;
mod search;
pub(crate) mod servers;
mod stamps;

use std::os::fd::{AsFd, OwnedFd};

pub(crate) use self::search::Search;
pub use self::search::{FateRow, Found, MOST, MOST_CAME, RecordRow, TruthQuery, What};
use crate::able::{Refused, Step};
use crate::ids::{Id as _, Table, VpId};
use crate::plan::{Addresses, Plan};
use crate::sys::netlink::{End, LOOPBACK, Netlink};
use crate::sys::packets::{NEAR_MAC, PacketSocket};
use crate::sys::{ethernet, spaces};

/// The networks of a world.
#[derive(Debug)]
pub struct Namespaces {
    user: Option<OwnedFd>,
    vps: Table<VpId, OwnedFd>,
    servers: Option<OwnedFd>,
    socket: PacketSocket,
    /// The longest packet that any link carries.
    longest: usize,
    has_v6: bool,
}

impl Namespaces {
    /// Makes the networks of a plan, and moves the calling thread into that of the world. The process must have one
    /// thread; those that it starts later are in the world's network, too.
    pub fn make(plan: &Plan) -> Result<Self, Refused> {
        let leaves: Vec<_> = plan.vps.pairs().map(|(vp, _)| Leaf::of(plan, vp)).collect();
        let user = enter()?;
        let made = Made::new(&leaves, servers_mtu(plan))?;
        Ok(Self {
            user,
            servers: made.servers,
            vps: Table::new(made.networks),
            socket: made.socket,
            longest: leaves.iter().map(|leaf| leaf.mtu).max().unwrap_or(MTU).try_into().unwrap_or(0),
            has_v6: made.has_v6,
        })
    }

    /// Parts of it: what a driver needs, and what stays with those who hand out sockets.
    pub(crate) fn split(self) -> (driver::Line, Spaces) {
        let line = driver::Line { socket: self.socket, longest: self.longest };
        (line, Spaces { user: self.user, vps: self.vps, servers: self.servers, has_v6: self.has_v6 })
    }
}

/// The namespaces alone.
#[derive(Debug)]
pub(crate) struct Spaces {
    pub(crate) user: Option<OwnedFd>,
    pub(crate) vps: Table<VpId, OwnedFd>,
    pub(crate) servers: Option<OwnedFd>,
    pub(crate) has_v6: bool,
}

/// Goes the whole way with one vantage point, and leaves it at that. For a process of its own.
pub(crate) fn try_out() -> Result<(), Refused> {
    let addresses = Addresses { v4: Some([198, 18, 0, 1].into()), v6: None };
    let leaf = Leaf { place: 0, addresses, mtu: MTU, up_mtu: MTU };
    enter()?;
    Made::new(&[leaf], None).map(drop)
}

/// Enters a user namespace where that is needed.
fn enter() -> Result<Option<OwnedFd>, Refused> {
    if spaces::is_privileged() {
        return Ok(None);
    }
    let ids = spaces::ids();
    spaces::unshare_user().map_err(Refused::at(Step::User))?;
    spaces::map_ids(ids).map_err(Refused::at(Step::Ids))?;
    spaces::user().map(Some).map_err(Refused::at(Step::User))
}

/// What a vantage point needs.
#[derive(Clone, Copy, Debug)]
struct Leaf {
    place: u32,
    addresses: Addresses,
    /// The longest packet in either direction.
    mtu: u32,
    /// The longest packet that it may send.
    up_mtu: u32,
}

impl Leaf {
    fn of(plan: &Plan, vp: VpId) -> Self {
        let node = plan.vp_node(vp);
        let up = node.leaving.first().copied();
        let up_mtu = up.map_or(MTU, |way| plan.ways[way].mtu);
        let down_mtu = up.map_or(MTU, |way| plan.ways[plan.opposite(way)].mtu);
        let place = u32::try_from(vp.index()).unwrap_or(u32::MAX);
        Self {
            place,
            addresses: node.addresses,
            mtu: up_mtu.max(down_mtu).clamp(LEAST_MTU, MOST_MTU),
            up_mtu,
        }
    }
}

/// The longest packet that servers may send; nothing where there are none.
fn servers_mtu(plan: &Plan) -> Option<u32> {
    let serve = |node: &&crate::plan::Node| !node.manners.ports.service_tcp.is_empty();
    let ways = plan.nodes.iter().filter(serve).filter_map(|node| node.leaving.first());
    ways.map(|way| plan.ways[*way].mtu.clamp(LEAST_MTU, MTU)).min()
}

struct Made {
    networks: Vec<OwnedFd>,
    servers: Option<OwnedFd>,
    socket: PacketSocket,
    has_v6: bool,
}

impl Made {
    fn new(leaves: &[Leaf], servers_mtu: Option<u32>) -> Result<Self, Refused> {
        let world = spaces::unshare_network().map_err(Refused::at(Step::Network))?;
        let mut far = Netlink::open().map_err(Refused::at(Step::Netlink))?;
        // Absent where the kernel has no IPv6: then there is nothing to keep quiet either.
        let has_v6 = std::fs::write("/proc/sys/net/ipv6/conf/default/disable_ipv6", "1").is_ok();
        let socket = PacketSocket::open().map_err(Refused::at(Step::Packets))?;
        let mut networks = Vec::with_capacity(leaves.len());
        for leaf in leaves {
            let network = spaces::unshare_network().map_err(Refused::at(Step::Network))?;
            set_up(leaf, &world, has_v6)?;
            far.up(link_of(leaf.place)).map_err(Refused::at(Step::Link))?;
            networks.push(network);
        }
        let mut servers = None;
        if let Some(mtu) = servers_mtu {
            let network = spaces::unshare_network().map_err(Refused::at(Step::Network))?;
            set_up_servers(mtu, &world, has_v6)?;
            far.up(SERVERS_LINK).map_err(Refused::at(Step::Link))?;
            servers = Some(network);
        }
        spaces::enter_network(&world).map_err(Refused::at(Step::Network))?;
        Ok(Self { networks, servers, socket, has_v6 })
    }
}

/// Sets up the network of a vantage point, in which the calling thread is.
fn set_up(leaf: &Leaf, world: &OwnedFd, has_v6: bool) -> Result<(), Refused> {
    let far_name = format!("vp{}", leaf.place);
    let mut near = connect(&far_name, link_of(leaf.place), leaf.mtu, world, has_v6)?;
    for address in leaf.addresses.iter().filter(|address| has_v6 || address.is_ipv4()) {
        near.add_address(NEAR, address).map_err(Refused::at(Step::Address))?;
        let mtu = if address.is_ipv4() { leaf.up_mtu } else { leaf.up_mtu.max(1_280) };
        near.add_default_route(NEAR, address, true, mtu).map_err(Refused::at(Step::Route))?;
    }
    Ok(())
}

/// Sets up the network of the servers, in which the calling thread is.
fn set_up_servers(mtu: u32, world: &OwnedFd, has_v6: bool) -> Result<(), Refused> {
    let mut near = connect("servers", SERVERS_LINK, mtu, world, has_v6)?;
    // What tells a sender that its packets are too big tells the world's host, and that one can't tell the server.
    let _ = std::fs::write("/proc/sys/net/ipv4/tcp_mtu_probing", "1");
    for (network, length) in inner::PREFIXES.into_iter().filter(|(network, _)| has_v6 || network.is_ipv4()) {
        near.add_local_prefix(network, length).map_err(Refused::at(Step::Address))?;
        near.add_default_route(NEAR, network, false, mtu).map_err(Refused::at(Step::Route))?;
    }
    Ok(())
}

/// Connects the network of the calling thread to the world's by a wire, whose end there has this name and number.
fn connect(name: &str, link: u32, mtu: u32, world: &OwnedFd, has_v6: bool) -> Result<Netlink, Refused> {
    quiet(has_v6);
    let mut near = Netlink::open().map_err(Refused::at(Step::Netlink))?;
    near.up(LOOPBACK).map_err(Refused::at(Step::Link))?;
    let here = End { index: NEAR, name: INTERFACE, mac: NEAR_MAC };
    let far = End { index: link, name, mac: FAR_MAC };
    near.add_pair(here, far, world.as_fd(), mtu).map_err(Refused::at(Step::Link))?;
    ethernet::send_as_on_a_wire(INTERFACE).map_err(Refused::at(Step::Offloads))?;
    near.up(NEAR).map_err(Refused::at(Step::Link))?;
    Ok(near)
}

/// Has the network of the calling thread say nothing by itself, and lets everybody in it send echo requests. What the
/// kernel doesn't know it doesn't do either.
fn quiet(has_v6: bool) {
    let group = spaces::ids().1;
    let range = if group == 0 { "0 2147483647".to_owned() } else { format!("{group} {group}") };
    let _ = std::fs::write("/proc/sys/net/ipv4/ping_group_range", range);
    if has_v6 {
        for (name, value) in [
            ("accept_ra", "0"),
            ("autoconf", "0"),
            ("dad_transmits", "0"),
            ("router_solicitations", "0"),
            ("addr_gen_mode", "1"),
        ] {
            let _ = std::fs::write(format!("/proc/sys/net/ipv6/conf/default/{name}"), value);
        }
    }
}

/// Whose packets come by this link.
pub(crate) fn vp_of(link: u32, vps: usize) -> Option<VpId> {
    let place = usize::try_from(link.checked_sub(FIRST_LINK)?).ok()?;
    (place < vps).then(|| VpId::new(place))
}

/// The link to the vantage point at this place.
pub(crate) const fn link_of(place: u32) -> u32 {
    FIRST_LINK.saturating_add(place)
}

/// Whether the kernel sends to this address what is nobody's business in a world: multicast and broadcast.
pub(crate) fn is_to_many(packet: &[u8]) -> bool {
    match packet.first().map(|first| first >> 4) {
        Some(4) => packet.get(16).is_some_and(|first| *first >= 224),
        Some(6) => packet.get(24) == Some(&0xff),
        _ => true,
    }
}

const NEAR: u32 = 2;
/// The name of the interface that each vantage point has in its network.
pub const INTERFACE: &str = "eth0";
const FAR_MAC: [u8; 6] = [2, 0, 0, 0, 0, 2];
const FIRST_LINK: u32 = 10;
/// The link to the servers.
pub(crate) const SERVERS_LINK: u32 = 5;
const MTU: u32 = 1_500;
/// What IPv4 asks of every link (RFC 791, section 3.2), and what the kernel takes.
const LEAST_MTU: u32 = 68;
const MOST_MTU: u32 = 65_535;
