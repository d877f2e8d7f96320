//! UDP and TCP of an ordinary user: sockets that everybody may open, and what the system tells of their fate.
//!
//! [`UdpCarrier`] has a socket for each flow, bound to its source port; errors come by its error queue. [`TcpCarrier`] has
//! one for each probe: a connection that is reset as soon as it is there. What such sockets can't do (other flags than a
//! SYN's, numbers and IP options of our choice) is [`SendFailure::Unprivileged`](mmn_probe::packet::SendFailure).
//!
//! Where a router quotes no payload, the system shows nothing that tells the datagrams of one flow apart: of those one at
//! a time is under way to a port of a target.

mod flow;
mod tcp;
#[cfg(test)]
mod tests;
mod udp;

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    os::fd::{AsFd, OwnedFd},
    sync::Arc,
};

use mmn_probe::{
    packet::{Quote, Report},
    wire::icmp::{Family, IcmpErrorKind},
};
use rustix::{
    buffer::spare_capacity,
    event::{
        Timespec,
        epoll::{self, CreateFlags, Event, EventData, EventFlags},
    },
};
use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use super::Order;
use crate::net::{
    control::{Extended, ORIGIN_ICMP, ORIGIN_ICMP6},
    icmp::IdRange,
    network::Network,
    sys,
};

pub use self::{tcp::TcpCarrier, udp::UdpCarrier};

/// Many sockets behind one descriptor.
#[derive(Debug)]
struct Watch {
    epoll: Arc<OwnedFd>,
}

impl Watch {
    fn new() -> io::Result<Self> {
        Ok(Self { epoll: Arc::new(epoll::create(CreateFlags::CLOEXEC)?) })
    }

    /// Watches a socket until it is closed.
    fn add(&self, socket: &Socket, token: u64, writable: bool) -> io::Result<()> {
        let mut flags = EventFlags::IN | EventFlags::ERR;
        flags.set(EventFlags::OUT, writable);
        Ok(epoll::add(&*self.epoll, socket, EventData::new_u64(token), flags)?)
    }

    /// The tokens of those that have something, up to a bound; what still has something is told again. Only when this
    /// tells of none will the descriptor that is watched be readable anew.
    fn ready(&self, tokens: &mut Vec<u64>) {
        let mut events: Vec<Event> = Vec::with_capacity(MOST_READY);
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        if epoll::wait(&*self.epoll, spare_capacity(&mut events), Some(&now)).is_ok() {
            tokens.extend(events.iter().map(|event| event.data.u64()));
        }
    }
}

/// How many sockets are read before others get their turn.
const MOST_READY: usize = 64;

/// A socket of an ordinary user that hears of all errors of the network, bound to an address and a port.
fn open(
    network: &Network,
    kind: Type,
    family: Family,
    source: Option<IpAddr>,
    port: u16,
) -> io::Result<Socket> {
    let (domain, any, level, errors, detailed): (_, IpAddr, _, _, _) = match family {
        Family::V4 => (
            Domain::IPV4,
            Ipv4Addr::UNSPECIFIED.into(),
            libc::IPPROTO_IP,
            libc::IP_RECVERR,
            IP_RECVERR_RFC4884,
        ),
        Family::V6 => (
            Domain::IPV6,
            Ipv6Addr::UNSPECIFIED.into(),
            libc::IPPROTO_IPV6,
            libc::IPV6_RECVERR,
            IPV6_RECVERR_RFC4884,
        ),
    };
    let protocol = if kind == Type::STREAM { Protocol::TCP } else { Protocol::UDP };
    let socket = network.socket(domain, kind, Some(protocol))?;
    socket.set_nonblocking(true)?;
    if family == Family::V6 {
        socket.set_only_v6(true)?;
    }
    let fd = socket.as_fd();
    sys::set_option(fd, level, errors, 1)?;
    // Older kernels don't know it, and tell of no extensions.
    let _ = sys::set_option(fd, level, detailed, 1);
    if kind == Type::STREAM {
        // The same port serves flows to different targets.
        socket.set_reuse_address(true)?;
    }
    socket.bind(&SockAddr::from(SocketAddr::new(source.unwrap_or(any), port)))?;
    Ok(socket)
}

// `linux/in.h`, `linux/in6.h`: entries of the error queue tell where an extension structure begins.
const IP_RECVERR_RFC4884: libc::c_int = 26;
const IPV6_RECVERR_RFC4884: libc::c_int = 31;

/// Whether this host may fragment what leaves, and routers what passes them; either way the size of packets is ours.
fn set_fragmenting(socket: &Socket, family: Family, dont_fragment: bool) -> io::Result<()> {
    let (level, name, [probe, dont]) = match family {
        Family::V4 => {
            (libc::IPPROTO_IP, libc::IP_MTU_DISCOVER, [libc::IP_PMTUDISC_PROBE, libc::IP_PMTUDISC_DONT])
        }
        Family::V6 => (
            libc::IPPROTO_IPV6,
            libc::IPV6_MTU_DISCOVER,
            [libc::IPV6_PMTUDISC_PROBE, libc::IPV6_PMTUDISC_DONT],
        ),
    };
    sys::set_option(socket.as_fd(), level, name, if dont_fragment { probe } else { dont })
}

/// Where a probe's flow is in the range of ports; or what its machine says.
fn selector(ports: IdRange, order: &Order<'_>) -> u16 {
    let flow = order.probe.flow;
    flow.selector.unwrap_or_else(|| {
        let count = u32::from(ports.last() - ports.first()) + 1;
        let offset = (u32::from(order.base) + u32::from(flow.number)) % count;
        ports.first().wrapping_add(u16::try_from(offset).unwrap_or(0))
    })
}

/// The ICMP error that an entry of an error queue tells, with this of the probe quoted; nothing for other entries.
fn report<'a>(error: &Extended, quote: Quote<'a>, extensions: &'a [u8]) -> Option<Report<'a>> {
    let family = match error.origin {
        ORIGIN_ICMP => Family::V4,
        ORIGIN_ICMP6 => Family::V6,
        _ => return None,
    };
    let (icmp_type, code) = (error.icmp_type, error.code);
    let kind = IcmpErrorKind::from_wire(family, icmp_type, code, error.info)?;
    Some(Report { kind, icmp_type, code, quote, extensions })
}

/// Where in the data of an error queue's entry an extension structure begins (`struct sock_ee_data_rfc4884`: a length
/// and flags that say whether it holds); 0 where there is none.
const fn extension_offset(error: &Extended) -> usize {
    let [low, high, flags, _] = error.data.to_ne_bytes();
    if flags == 0 { u16::from_ne_bytes([low, high]) as usize } else { 0 }
}

/// The octets of an ICMP error that quotes so much above an IP header without options.
const fn error_bytes(family: Family, above: usize) -> usize {
    let header = match family {
        Family::V4 => 20,
        Family::V6 => 40,
    };
    8 + header + above
}

/// How far a round trip may be off here where the kernel stamps both ways: see docs/guides/precision.md.
const STAMPED_ERROR_NS: u64 = 100_000;
/// The same where this process stamps both.
const UNSTAMPED_ERROR_NS: u64 = 500_000;
