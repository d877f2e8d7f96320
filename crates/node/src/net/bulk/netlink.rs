//! What the kernel says of routes, neighbours and links (`rtnetlink(7)`), asked by hand: a question is answered within
//! the call, and needs no privilege.
//!
//! Reading is plain slicing and survives any bytes.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    os::fd::{AsFd, OwnedFd},
};

use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, bind, netlink, recv, send, socket_with,
};

/// A socket to ask on.
#[derive(Debug)]
pub(super) struct Asker {
    socket: OwnedFd,
    buffer: Vec<u8>,
    asked: u32,
}

/// A socket that hears of changes.
#[derive(Debug)]
pub(super) struct Listener {
    socket: OwnedFd,
    buffer: Vec<u8>,
}

/// The route to a target.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Route {
    /// `RTN_*`: unicast is 1.
    pub(super) kind: u8,
    pub(super) link: Option<u32>,
    pub(super) gateway: Option<IpAddr>,
    pub(super) source: Option<IpAddr>,
    pub(super) mtu: Option<u32>,
    /// It has several next hops, is tunnelled, or is otherwise more than this.
    pub(super) complex: bool,
}

/// A neighbour.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Neighbour {
    /// `NUD_*`.
    pub(super) state: u16,
    pub(super) address: Option<[u8; 6]>,
}

/// An interface.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Link {
    /// `ARPHRD_*`: Ethernet is 1.
    pub(super) hardware: u16,
    /// `IFF_*`.
    pub(super) flags: u32,
    pub(super) mtu: u32,
}

/// A destination that routes or rules tell apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Prefix {
    /// IPv4 as IPv4-mapped.
    pub(super) address: u128,
    /// 96 more for IPv4.
    pub(super) bits: u8,
}

/// What has changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Changes {
    /// Routes, rules or links.
    pub(super) routes: bool,
    /// Neighbours.
    pub(super) neighbours: bool,
}

impl Asker {
    pub(super) fn open() -> io::Result<Self> {
        let socket = open(SocketFlags::CLOEXEC, 0)?;
        Ok(Self { socket, buffer: vec![0; BUFFER_BYTES], asked: 0 })
    }

    /// The route that a packet to `target` takes now; an error where there is none.
    pub(super) fn route(&mut self, target: IpAddr) -> io::Result<Route> {
        let (family, octets) = parts(target);
        let bits = u8::try_from(octets.len() * 8).unwrap_or(0);
        // What would be matched comes without the choice among several: both are asked.
        let mut body = vec![family, bits, 0, 0, 0, 0, 0, 0];
        body.extend(RTM_F_FIB_MATCH.to_ne_bytes());
        attribute(&mut body, RTA_DST, &octets);
        let entry = self.one(RTM_GETROUTE, &body, RTM_NEWROUTE, read_route)?;
        let mut body = vec![family, bits, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        attribute(&mut body, RTA_DST, &octets);
        let chosen = self.one(RTM_GETROUTE, &body, RTM_NEWROUTE, read_route)?;
        Ok(Route { complex: chosen.complex || entry.complex, mtu: chosen.mtu.or(entry.mtu), ..chosen })
    }

    /// A neighbour, where the kernel knows it.
    pub(super) fn neighbour(&mut self, link: u32, address: IpAddr) -> io::Result<Option<Neighbour>> {
        let (family, octets) = parts(address);
        let mut body = vec![family, 0, 0, 0];
        body.extend(link.to_ne_bytes());
        body.extend([0; 4]);
        attribute(&mut body, NDA_DST, &octets);
        match self.one(RTM_GETNEIGH, &body, RTM_NEWNEIGH, read_neighbour) {
            Ok(found) => Ok(Some(found)),
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// An interface.
    pub(super) fn link(&mut self, index: u32) -> io::Result<Link> {
        let mut body = vec![0; 4];
        body.extend(index.to_ne_bytes());
        body.extend([0; 8]);
        self.one(RTM_GETLINK, &body, RTM_NEWLINK, read_link)
    }

    /// Every destination that the routes and rules of all tables name. More than `most` of them are an error.
    pub(super) fn prefixes(&mut self, most: usize) -> io::Result<Vec<Prefix>> {
        let mut found = Vec::new();
        for family in [AF_INET, AF_INET6] {
            for (ask, answer) in [(RTM_GETROUTE, RTM_NEWROUTE), (RTM_GETRULE, RTM_NEWRULE)] {
                let body = [family, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
                self.ask(ask, NLM_F_DUMP, &body)?;
                self.hear(answer, |body| {
                    found.extend(read_prefix(body));
                    if found.len() > most { Err(io::Error::from(io::ErrorKind::OutOfMemory)) } else { Ok(()) }
                })?;
            }
        }
        Ok(found)
    }

    fn one<T>(&mut self, ask: u16, body: &[u8], answer: u16, read: fn(&[u8]) -> Option<T>) -> io::Result<T> {
        self.ask(ask, NLM_F_ACK, body)?;
        let mut found = None;
        self.hear(answer, |body| {
            found = read(body);
            Ok(())
        })?;
        found.ok_or_else(|| io::Error::from(io::ErrorKind::InvalidData))
    }

    fn ask(&mut self, kind: u16, flags: u16, body: &[u8]) -> io::Result<()> {
        self.asked = self.asked.wrapping_add(1);
        let length = u32::try_from(HEADER_BYTES + body.len()).map_err(io::Error::other)?;
        let mut message = Vec::with_capacity(HEADER_BYTES + body.len());
        message.extend(length.to_ne_bytes());
        message.extend(kind.to_ne_bytes());
        message.extend((NLM_F_REQUEST | flags).to_ne_bytes());
        message.extend(self.asked.to_ne_bytes());
        message.extend([0; 4]);
        message.extend(body);
        send(&self.socket, &message, SendFlags::empty())?;
        Ok(())
    }

    /// Reads the answer to its end.
    fn hear(&mut self, wanted: u16, mut each: impl FnMut(&[u8]) -> io::Result<()>) -> io::Result<()> {
        loop {
            let (length, _) = recv(&self.socket, &mut self.buffer[..], RecvFlags::empty())?;
            for (kind, number, body) in messages(self.buffer.get(..length).unwrap_or_default()) {
                // What is left of a question that was given up.
                if number != self.asked {
                    continue;
                }
                match kind {
                    NLMSG_DONE => return Ok(()),
                    NLMSG_ERROR => {
                        let errno = array(body, 0).map_or(libc::EPROTO, |code| -i32::from_ne_bytes(code));
                        return if errno == 0 { Ok(()) } else { Err(io::Error::from_raw_os_error(errno)) };
                    }
                    kind if kind == wanted => each(body)?,
                    _ => {}
                }
            }
        }
    }
}

impl Listener {
    pub(super) fn open() -> io::Result<Self> {
        let socket = open(SocketFlags::CLOEXEC | SocketFlags::NONBLOCK, GROUPS)?;
        Ok(Self { socket, buffer: vec![0; BUFFER_BYTES] })
    }

    /// What has changed since it was last asked.
    pub(super) fn changes(&mut self) -> Changes {
        let mut changes = Changes::default();
        // What is left is heard next time.
        for _ in 0..MOST_AT_A_TIME {
            match recv(&self.socket, &mut self.buffer[..], RecvFlags::DONTWAIT) {
                Ok((length, _)) => {
                    for (kind, _, _) in messages(self.buffer.get(..length).unwrap_or_default()) {
                        match kind {
                            RTM_NEWNEIGH | RTM_DELNEIGH => changes.neighbours = true,
                            _ => changes.routes = true,
                        }
                    }
                }
                // Some were missed.
                Err(rustix::io::Errno::NOBUFS) => changes = Changes { routes: true, neighbours: true },
                Err(_) => break,
            }
        }
        changes
    }
}

fn open(flags: SocketFlags, groups: u32) -> io::Result<OwnedFd> {
    let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, None)?;
    bind(socket.as_fd(), &netlink::SocketAddrNetlink::new(0, groups))?;
    Ok(socket)
}

fn parts(address: IpAddr) -> (u8, Vec<u8>) {
    match address {
        IpAddr::V4(v4) => (AF_INET, v4.octets().to_vec()),
        IpAddr::V6(v6) => (AF_INET6, v6.octets().to_vec()),
    }
}

fn attribute(body: &mut Vec<u8>, kind: u16, value: &[u8]) {
    let length = u16::try_from(4 + value.len()).unwrap_or(u16::MAX);
    body.extend(length.to_ne_bytes());
    body.extend(kind.to_ne_bytes());
    body.extend(value);
    body.resize(body.len().next_multiple_of(4), 0);
}

/// The messages of a datagram: type, sequence number, and what follows the header.
fn messages(mut bytes: &[u8]) -> impl Iterator<Item = (u16, u32, &[u8])> {
    std::iter::from_fn(move || {
        let length = u32::from_ne_bytes(array(bytes, 0)?) as usize;
        let kind = u16::from_ne_bytes(array(bytes, 4)?);
        let number = u32::from_ne_bytes(array(bytes, 8)?);
        let body = bytes.get(HEADER_BYTES..length)?;
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, number, body))
    })
}

/// The attributes behind a fixed part.
fn attributes(body: &[u8], fixed: usize) -> impl Iterator<Item = (u16, &[u8])> {
    let mut bytes = body.get(fixed..).unwrap_or_default();
    std::iter::from_fn(move || {
        let length = usize::from(u16::from_ne_bytes(array(bytes, 0)?));
        // The upper two bits say how the value is written.
        let kind = u16::from_ne_bytes(array(bytes, 2)?) & 0x3fff;
        let value = bytes.get(4..length)?;
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, value))
    })
}

fn read_route(body: &[u8]) -> Option<Route> {
    let mut route = Route { kind: *body.get(7)?, ..Route::default() };
    for (kind, value) in attributes(body, 12) {
        match kind {
            RTA_OIF => route.link = array(value, 0).map(u32::from_ne_bytes),
            RTA_GATEWAY => route.gateway = address(value),
            RTA_PREFSRC => route.source = address(value),
            RTA_METRICS => {
                let mtu = attributes(value, 0).find(|(kind, _)| *kind == RTAX_MTU);
                route.mtu = mtu.and_then(|(_, value)| array(value, 0)).map(u32::from_ne_bytes);
            }
            RTA_MULTIPATH | RTA_VIA | RTA_ENCAP | RTA_NH_ID => route.complex = true,
            _ => {}
        }
    }
    Some(route)
}

fn read_neighbour(body: &[u8]) -> Option<Neighbour> {
    let state = u16::from_ne_bytes(array(body, 8)?);
    let address = attributes(body, 12).find(|(kind, _)| *kind == NDA_LLADDR);
    Some(Neighbour { state, address: address.and_then(|(_, value)| value.try_into().ok()) })
}

fn read_link(body: &[u8]) -> Option<Link> {
    let hardware = u16::from_ne_bytes(array(body, 2)?);
    let flags = u32::from_ne_bytes(array(body, 8)?);
    let mtu = attributes(body, 16).find(|(kind, _)| *kind == IFLA_MTU).and_then(|(_, value)| array(value, 0));
    Some(Link { hardware, flags, mtu: u32::from_ne_bytes(mtu?) })
}

/// Reads any bytes as everything that they could be.
#[cfg(any(test, feature = "fuzzing"))]
pub(in crate::net) fn read(bytes: &[u8]) {
    for (_, _, body) in messages(bytes) {
        let _ = (read_route(body), read_neighbour(body), read_link(body), read_prefix(body));
    }
}

/// A route's or rule's destination: both messages have family and length in the first two octets, and the address in
/// the attribute of the same number.
fn read_prefix(body: &[u8]) -> Option<Prefix> {
    let (family, bits) = (*body.first()?, *body.get(1)?);
    let destination =
        attributes(body, 12).find(|(kind, _)| *kind == RTA_DST).and_then(|(_, value)| address(value));
    let (address, bits) = match (family, destination) {
        (AF_INET, Some(IpAddr::V4(v4))) => (v4.to_ipv6_mapped().to_bits(), bits.checked_add(96)?),
        (AF_INET, None) => (Ipv4Addr::UNSPECIFIED.to_ipv6_mapped().to_bits(), 96),
        (AF_INET6, Some(IpAddr::V6(v6))) => (v6.to_bits(), bits),
        (AF_INET6, None) => (0, 0),
        _ => return None,
    };
    (bits <= 128).then_some(Prefix { address, bits })
}

fn address(value: &[u8]) -> Option<IpAddr> {
    if let Ok(four) = <[u8; 4]>::try_from(value) {
        return Some(Ipv4Addr::from(four).into());
    }
    <[u8; 16]>::try_from(value).ok().map(|octets| Ipv6Addr::from(octets).into())
}

fn array<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..)?.first_chunk().copied()
}

/// Room for one datagram of a dump.
const BUFFER_BYTES: usize = 64 * 1024;
const MOST_AT_A_TIME: usize = 64;

// `linux/netlink.h`, `linux/rtnetlink.h`, `linux/if_link.h`, `linux/neighbour.h`.
const HEADER_BYTES: usize = 16;
const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const NLM_F_REQUEST: u16 = 1;
const NLM_F_ACK: u16 = 4;
const NLM_F_DUMP: u16 = 0x300;
const RTM_NEWLINK: u16 = 16;
const RTM_GETLINK: u16 = 18;
const RTM_NEWROUTE: u16 = 24;
const RTM_GETROUTE: u16 = 26;
const RTM_NEWNEIGH: u16 = 28;
const RTM_DELNEIGH: u16 = 29;
const RTM_GETNEIGH: u16 = 30;
const RTM_NEWRULE: u16 = 32;
const RTM_GETRULE: u16 = 34;
const RTM_F_FIB_MATCH: u32 = 0x2000;
const RTA_DST: u16 = 1;
const RTA_OIF: u16 = 4;
const RTA_GATEWAY: u16 = 5;
const RTA_PREFSRC: u16 = 7;
const RTA_METRICS: u16 = 8;
const RTA_MULTIPATH: u16 = 9;
const RTA_VIA: u16 = 18;
const RTA_ENCAP: u16 = 22;
const RTA_NH_ID: u16 = 30;
const RTAX_MTU: u16 = 2;
const NDA_DST: u16 = 1;
const NDA_LLADDR: u16 = 2;
const IFLA_MTU: u16 = 4;
/// Links, neighbours, routes and rules of both families: bit n-1 for each group n.
const GROUPS: u32 = 1 << 0 | 1 << 2 | 1 << 6 | 1 << 7 | 1 << 10 | 1 << 18;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::net::testing::{in_namespace, ip, require_root, router};

    #[test]
    fn the_kernel_tells_routes_neighbours_and_links() {
        require_root("the_kernel_tells_routes_neighbours_and_links");
        in_namespace(|| {
            let _router = router();
            let mut listener = Listener::open().unwrap();
            let mut asker = Asker::open().unwrap();
            let far: IpAddr = "203.0.113.9".parse().unwrap();
            let route = asker.route(far).unwrap();
            assert_eq!((route.kind, route.complex), (1, false));
            assert_eq!(route.gateway, Some("10.77.0.2".parse().unwrap()));
            assert_eq!(route.source, Some("10.77.0.1".parse().unwrap()));
            let link = asker.link(route.link.unwrap()).unwrap();
            assert_eq!((link.hardware, link.mtu), (1, 1_500));
            let v6 = asker.route("2001:db8:99::1".parse().unwrap()).unwrap();
            assert_eq!(v6.gateway, Some("2001:db8:77::2".parse().unwrap()));
            assert_eq!(asker.route("127.0.0.1".parse().unwrap()).unwrap().kind, 2);
            ip("neigh replace 10.77.0.2 lladdr 02:00:00:00:00:02 dev va");
            let found = asker.neighbour(route.link.unwrap(), route.gateway.unwrap()).unwrap().unwrap();
            assert_eq!(found.address, Some([2, 0, 0, 0, 0, 2]));
            assert_eq!(asker.neighbour(route.link.unwrap(), far).unwrap(), None);
            assert!(listener.changes().neighbours);
            assert!(!listener.changes().routes);
            ip("route add 203.0.113.0/24 via 10.77.0.2");
            assert!(listener.changes().routes);
            let prefixes = asker.prefixes(1_000).unwrap();
            let here = |text: &str, bits| {
                let address = text.parse::<Ipv4Addr>().unwrap().to_ipv6_mapped().to_bits();
                prefixes.contains(&Prefix { address, bits })
            };
            assert!(here("203.0.113.0", 120) && here("10.77.0.0", 120) && here("0.0.0.0", 96));
            assert!(here("10.77.0.1", 128) && !here("203.0.113.9", 128));
            assert!(asker.prefixes(3).is_err());
            // The rest of that answer confuses nobody.
            assert_eq!(asker.route(far).unwrap().gateway, route.gateway);
            ip("route add unreachable 192.0.2.0/24");
            assert!(asker.route("192.0.2.1".parse().unwrap()).is_err());
        });
    }

    proptest! {
        #[test]
        fn survives_anything(bytes in prop::collection::vec(any::<u8>(), 0..300), length in 0_u32..200) {
            let mut bytes = bytes;
            if let Some(first) = bytes.first_chunk_mut() {
                *first = length.to_ne_bytes();
            }
            read(&bytes);
        }
    }
}
