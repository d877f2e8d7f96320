//! Links, addresses and routes by netlink (`rtnetlink(7)`): requests that are acknowledged one by one.
//!
//! A [`Netlink`] stays with the network namespace in which it was opened, wherever its thread goes.

use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, sendto, socket_with};

/// A connection to the part of the kernel that keeps links.
#[derive(Debug)]
pub(crate) struct Netlink {
    socket: OwnedFd,
    number: u32,
}

/// One end of a pair of links.
#[derive(Clone, Copy, Debug)]
pub(crate) struct End<'a> {
    /// Its number; free in its namespace.
    pub(crate) index: u32,
    /// Its name.
    pub(crate) name: &'a str,
    /// Its Ethernet address.
    pub(crate) mac: [u8; 6],
}

impl Netlink {
    /// Opens one to the network namespace of the calling thread.
    pub(crate) fn open() -> io::Result<Self> {
        let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, None)?;
        Ok(Self { socket, number: 0 })
    }

    /// Makes two links that are one wire, without ARP: one here, the other in the namespace `there`.
    pub(crate) fn add_pair(
        &mut self,
        here: End<'_>,
        far: End<'_>,
        there: BorrowedFd<'_>,
        mtu: u32,
    ) -> io::Result<()> {
        let mut message = Message::new(RTM_NEWLINK, CREATE);
        message.link(here.index, IFF_NOARP, IFF_NOARP);
        message.end(here, mtu);
        message.nested(IFLA_LINKINFO, |info| {
            info.attribute(IFLA_INFO_KIND, b"veth");
            info.nested(IFLA_INFO_DATA, |data| {
                data.nested(VETH_INFO_PEER, |peer| {
                    peer.link(far.index, IFF_NOARP, IFF_NOARP);
                    peer.end(far, mtu);
                    peer.attribute(IFLA_NET_NS_FD, &there.as_raw_fd().to_ne_bytes());
                });
            });
        });
        self.ask(message)
    }

    /// Brings a link up.
    pub(crate) fn up(&mut self, index: u32) -> io::Result<()> {
        let mut message = Message::new(RTM_NEWLINK, 0);
        message.link(index, IFF_UP, IFF_UP);
        self.ask(message)
    }

    /// Gives a link an address that is its alone, at once: it is not asked whether somebody else has it.
    pub(crate) fn add_address(&mut self, index: u32, address: IpAddr) -> io::Result<()> {
        let (family, octets) = family_of(address);
        let mut message = Message::new(RTM_NEWADDR, CREATE);
        message.bytes.extend([family, bits(&octets), 0, 0]);
        message.bytes.extend(index.to_ne_bytes());
        message.attribute(IFA_LOCAL, &octets);
        message.attribute(IFA_ADDRESS, &octets);
        message.attribute(IFA_FLAGS, &IFA_F_NODAD.to_ne_bytes());
        self.ask(message)
    }

    /// Sends everything of this address's family out by a link: packets of at most `mtu` octets, and from this address if
    /// it is the link's.
    pub(crate) fn add_default_route(
        &mut self,
        index: u32,
        source: IpAddr,
        is_own: bool,
        mtu: u32,
    ) -> io::Result<()> {
        let (family, octets) = family_of(source);
        let scope = if source.is_ipv4() { RT_SCOPE_LINK } else { RT_SCOPE_UNIVERSE };
        let mut message = Message::new(RTM_NEWROUTE, CREATE);
        message.bytes.extend([family, 0, 0, 0, RT_TABLE_MAIN, RTPROT_STATIC, scope, RTN_UNICAST, 0, 0, 0, 0]);
        message.attribute(RTA_OIF, &index.to_ne_bytes());
        if is_own {
            message.attribute(RTA_PREFSRC, &octets);
        }
        message.nested(RTA_METRICS, |metrics| metrics.attribute(RTAX_MTU, &mtu.to_ne_bytes()));
        self.ask(message)
    }

    /// Takes a prefix for this host's own (`AnyIP`): every address in it.
    pub(crate) fn add_local_prefix(&mut self, network: IpAddr, length: u8) -> io::Result<()> {
        let (family, octets) = family_of(network);
        let mut message = Message::new(RTM_NEWROUTE, CREATE);
        let head =
            [family, length, 0, 0, RT_TABLE_LOCAL, RTPROT_STATIC, RT_SCOPE_HOST, RTN_LOCAL, 0, 0, 0, 0];
        message.bytes.extend(head);
        message.attribute(RTA_DST, &octets);
        message.attribute(RTA_OIF, &LOOPBACK.to_ne_bytes());
        self.ask(message)
    }

    fn ask(&mut self, mut message: Message) -> io::Result<()> {
        self.number = self.number.wrapping_add(1);
        message.finish(self.number);
        let kernel = SocketAddrNetlink::new(0, 0);
        sendto(self.socket.as_fd(), &message.bytes, SendFlags::empty(), &kernel)?;
        let mut reply = [0; 4096];
        loop {
            let (received, _) = recv(self.socket.as_fd(), &mut reply, RecvFlags::empty())?;
            match answer(reply.get(..received).unwrap_or_default(), self.number) {
                Some(0) => return Ok(()),
                Some(code) => return Err(Errno::from_raw_os_error(-code).into()),
                None => {}
            }
        }
    }
}

/// The number of the loopback interface, in every namespace.
pub(crate) const LOOPBACK: u32 = 1;

/// What an acknowledgement of request `number` says: an error, negative, or 0.
fn answer(reply: &[u8], number: u32) -> Option<i32> {
    let kind = u16::from_ne_bytes(*reply.get(4..)?.first_chunk()?);
    let answered = u32::from_ne_bytes(*reply.get(8..)?.first_chunk()?);
    (kind == NLMSG_ERROR && answered == number)
        .then(|| reply.get(16..)?.first_chunk().map(|code| i32::from_ne_bytes(*code)))?
}

/// A request under way: a `nlmsghdr`, a header of its kind, attributes.
struct Message {
    bytes: Vec<u8>,
}

impl Message {
    fn new(kind: u16, flags: u16) -> Self {
        let mut bytes = vec![0; 4];
        bytes.extend(kind.to_ne_bytes());
        bytes.extend((NLM_F_REQUEST | NLM_F_ACK | flags).to_ne_bytes());
        bytes.extend([0; 8]);
        Self { bytes }
    }

    /// A `struct ifinfomsg`.
    fn link(&mut self, index: u32, flags: u32, change: u32) {
        self.bytes.extend([0; 4]);
        for field in [index, flags, change] {
            self.bytes.extend(field.to_ne_bytes());
        }
    }

    fn end(&mut self, end: End<'_>, mtu: u32) {
        let name: Vec<u8> = end.name.bytes().chain([0]).collect();
        self.attribute(IFLA_IFNAME, &name);
        self.attribute(IFLA_ADDRESS, &end.mac);
        self.attribute(IFLA_MTU, &mtu.to_ne_bytes());
    }

    fn attribute(&mut self, kind: u16, value: &[u8]) {
        self.nested(kind, |attribute| attribute.bytes.extend(value));
    }

    /// An attribute whose length is known when it is written.
    fn nested(&mut self, kind: u16, write: impl FnOnce(&mut Self)) {
        let start = self.bytes.len();
        self.bytes.extend([0; 2]);
        self.bytes.extend(kind.to_ne_bytes());
        write(self);
        // Attributes of these requests have some dozen octets.
        let length = u16::try_from(self.bytes.len() - start).unwrap_or(u16::MAX);
        self.put(start, &length.to_ne_bytes());
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }

    fn finish(&mut self, number: u32) {
        let length = u32::try_from(self.bytes.len()).unwrap_or(u32::MAX);
        self.put(0, &length.to_ne_bytes());
        self.put(8, &number.to_ne_bytes());
    }

    fn put(&mut self, at: usize, value: &[u8]) {
        if let Some(place) = self.bytes.get_mut(at..at + value.len()) {
            place.copy_from_slice(value);
        }
    }
}

fn family_of(address: IpAddr) -> (u8, Vec<u8>) {
    match address {
        IpAddr::V4(address) => (AF_INET, address.octets().into()),
        IpAddr::V6(address) => (AF_INET6, address.octets().into()),
    }
}

fn bits(octets: &[u8]) -> u8 {
    if octets.len() == 4 { 32 } else { 128 }
}

// The protocol of the socket, `NETLINK_ROUTE`, is 0: that of none.
// `linux/netlink.h`, `linux/rtnetlink.h`, `linux/if_link.h`, `linux/if_addr.h`, `linux/veth.h`.
const NLM_F_REQUEST: u16 = 1;
const NLM_F_ACK: u16 = 4;
const CREATE: u16 = 0x400 | 0x200;
const NLMSG_ERROR: u16 = 2;
const RTM_NEWLINK: u16 = 16;
const RTM_NEWADDR: u16 = 20;
const RTM_NEWROUTE: u16 = 24;
const IFF_UP: u32 = 1;
const IFF_NOARP: u32 = 0x80;
const IFLA_ADDRESS: u16 = 1;
const IFLA_IFNAME: u16 = 3;
const IFLA_MTU: u16 = 4;
const IFLA_LINKINFO: u16 = 18;
const IFLA_NET_NS_FD: u16 = 28;
const IFLA_INFO_KIND: u16 = 1;
const IFLA_INFO_DATA: u16 = 2;
const VETH_INFO_PEER: u16 = 1;
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const IFA_FLAGS: u16 = 8;
const IFA_F_NODAD: u32 = 2;
const RTA_DST: u16 = 1;
const RTA_OIF: u16 = 4;
const RTA_PREFSRC: u16 = 7;
const RTA_METRICS: u16 = 8;
const RTAX_MTU: u16 = 2;
const RT_TABLE_MAIN: u8 = 254;
const RT_TABLE_LOCAL: u8 = 255;
const RTPROT_STATIC: u8 = 4;
const RT_SCOPE_UNIVERSE: u8 = 0;
const RT_SCOPE_LINK: u8 = 253;
const RT_SCOPE_HOST: u8 = 254;
const RTN_UNICAST: u8 = 1;
const RTN_LOCAL: u8 = 2;
const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_are_padded_and_nested() {
        let mut message = Message::new(RTM_NEWLINK, CREATE);
        message.nested(7, |outer| outer.attribute(3, &[9, 8, 7]));
        message.finish(5);
        let number = |at: usize| u32::from_ne_bytes(*message.bytes[at..].first_chunk().unwrap());
        assert_eq!((number(0), number(8)), (28, 5));
        assert_eq!(message.bytes[20..], [7_u16.to_ne_bytes(), 3_u16.to_ne_bytes(), [9, 8], [7, 0]].concat());
        assert_eq!(message.bytes[16..18], 12_u16.to_ne_bytes());
    }

    #[test]
    fn only_acknowledgements_of_the_request_count() {
        let mut reply = vec![0; 20];
        reply[4..6].copy_from_slice(&NLMSG_ERROR.to_ne_bytes());
        reply[8..12].copy_from_slice(&7_u32.to_ne_bytes());
        reply[16..20].copy_from_slice(&(-17_i32).to_ne_bytes());
        assert_eq!(answer(&reply, 7), Some(-17));
        assert_eq!(answer(&reply, 8), None);
        assert_eq!(answer(&reply[..18], 7), None);
        assert_eq!(answer(&[], 7), None);
    }
}
