//! Which interface of this host has an address, and how large a packet its link takes.
//!
//! Asked of the system at most once in a while: addresses move seldom.
#![expect(unsafe_code, reason = "what the system tells of interfaces has no safe interface")]

use std::{
    cell::RefCell,
    ffi::CStr,
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    os::fd::AsRawFd,
    ptr,
};

use mmn_probe::{
    conditions::Interface,
    time::{Instant, Nanos},
};
use socket2::{Domain, Socket, Type};

use super::network::Network;

/// The interfaces by their addresses, as far as they are remembered.
#[derive(Debug)]
pub(crate) struct Interfaces {
    network: Network,
    known: RefCell<Option<Known>>,
}

#[derive(Debug)]
struct Known {
    until: Instant,
    interfaces: Vec<(IpAddr, Interface)>,
}

impl Interfaces {
    /// Those of a network.
    pub(crate) fn new(network: Network) -> Self {
        Self { network, known: RefCell::default() }
    }

    /// The interface that has an address; nothing where none has it, or the system does not tell.
    pub(crate) fn of(&self, address: IpAddr, now: Instant) -> Option<Interface> {
        let mut known = self.known.borrow_mut();
        if known.as_ref().is_none_or(|known| known.until <= now) {
            *known = Some(Known { until: now + MEMORY, interfaces: list(&self.network).unwrap_or_default() });
        }
        known.as_ref()?.interfaces.iter().find(|(own, _)| *own == address).map(|(_, interface)| *interface)
    }
}

/// How long what the system said is believed.
const MEMORY: Nanos = Nanos::from_secs(10);

/// Every address with its interface.
fn list(network: &Network) -> io::Result<Vec<(IpAddr, Interface)>> {
    let socket = network.socket(Domain::IPV4, Type::DGRAM, None)?;
    let Some(interface) = network.interface() else { return own(&socket) };
    let mut name = [0; libc::IFNAMSIZ];
    name.iter_mut().zip(interface.bytes()).for_each(|(to, from)| *to = from);
    let interface = mtu(&socket, &name).map(|mtu| Interface { name, mtu });
    Ok(network.addresses().into_iter().flatten().filter_map(|address| Some((address, interface?))).collect())
}

/// Those of this process's network.
fn own(socket: &Socket) -> io::Result<Vec<(IpAddr, Interface)>> {
    let mut first: *mut libc::ifaddrs = ptr::null_mut();
    // SAFETY: `first` is a place for a pointer, which is set on success and freed below.
    if unsafe { libc::getifaddrs(&raw mut first) } != 0 {
        return Err(io::Error::last_os_error());
    }
    let mut found = Vec::new();
    let mut next = first;
    while !next.is_null() {
        // SAFETY: not null, so an entry of the list that getifaddrs(3) made, which lives until it is freed.
        let entry = unsafe { &*next };
        // SAFETY: of such an entry.
        let of = unsafe { (address(entry.ifa_addr), name(entry.ifa_name)) };
        if let (Some(address), Some(name)) = of
            && let Some(mtu) = mtu(socket, &name)
        {
            found.push((address, Interface { name, mtu }));
        }
        next = entry.ifa_next;
    }
    // SAFETY: what getifaddrs(3) gave, once; nothing above borrows from it any more.
    unsafe { libc::freeifaddrs(first) };
    Ok(found)
}

/// The IP address that an entry holds.
///
/// # Safety
///
/// `at` must be null, or point to a socket address as long as its family's.
unsafe fn address(at: *const libc::sockaddr) -> Option<IpAddr> {
    if at.is_null() {
        return None;
    }
    // SAFETY: not null; every socket address begins with its family. What follows is as long as that says, and may be
    // aligned anyhow.
    unsafe {
        match i32::from((*at).sa_family) {
            libc::AF_INET => {
                let address = ptr::read_unaligned(at.cast::<libc::sockaddr_in>());
                Some(Ipv4Addr::from(address.sin_addr.s_addr.to_ne_bytes()).into())
            }
            libc::AF_INET6 => {
                let address = ptr::read_unaligned(at.cast::<libc::sockaddr_in6>());
                Some(Ipv6Addr::from(address.sin6_addr.s6_addr).into())
            }
            _ => None,
        }
    }
}

/// The name of an entry's interface, filled up with zeros; nothing where it is too long for one.
///
/// # Safety
///
/// `at` must be null, or point to a text that a zero ends.
unsafe fn name(at: *const libc::c_char) -> Option<[u8; libc::IFNAMSIZ]> {
    if at.is_null() {
        return None;
    }
    // SAFETY: as the caller promises.
    let text = unsafe { CStr::from_ptr(at) }.to_bytes();
    let mut name = [0; libc::IFNAMSIZ];
    name.get_mut(..text.len()).filter(|_| text.len() < libc::IFNAMSIZ)?.copy_from_slice(text);
    Some(name)
}

/// The MTU of an interface, in octets (`SIOCGIFMTU`, `netdevice(7)`).
fn mtu(socket: &Socket, name: &[u8; libc::IFNAMSIZ]) -> Option<u32> {
    // SAFETY: a structure of integers and of a union of them, of which all bits zero is one.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(name) {
        *to = from.cast_signed();
    }
    // SAFETY: the descriptor is the socket's; the request is one of this call's, and outlives it.
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCGIFMTU, &raw mut request) };
    // SAFETY: what SIOCGIFMTU sets; before that it was zero, which is a number, too.
    let mtu = unsafe { request.ifr_ifru.ifru_mtu };
    u32::try_from(mtu).ok().filter(|mtu| result == 0 && *mtu > 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::testing::{in_namespace, require_root};

    #[test]
    fn an_address_has_its_interface() {
        require_root("an_address_has_its_interface");
        let (v4, v6, none) = in_namespace(|| {
            let interfaces = Interfaces::new(Network::Own);
            let of = |text: &str| interfaces.of(text.parse().unwrap(), Instant(5));
            (of("127.0.0.1"), of("::1"), of("192.0.2.1"))
        });
        let loopback = v4.unwrap();
        assert_eq!((loopback.name(), loopback.mtu), ("lo", 65_536));
        assert_eq!((v6, none), (Some(loopback), None));
    }
}
