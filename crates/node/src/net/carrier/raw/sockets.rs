//! The sockets of the raw and the precise lane for one address family: opened by who may, used by who was given them.

use std::{
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

use mmn_probe::wire::{heard::Protocol, icmp::Family};
use serde::{Deserialize, Serialize};
use socket2::{Domain, SockFilter, SockRef, Socket, Type};

use crate::net::{
    carrier::raw::{fragments, receive},
    filter::{self, Selectors},
    icmp::{IdRange, Mode, OpenError},
    network::Network,
    stamps, sys,
};

/// What a process must know about sockets that another one opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RawDescription {
    /// Whether they speak IPv6, else IPv4.
    pub v6: bool,
    /// The ICMP identifiers that are its own: first and count.
    pub ids: IdRange,
    /// The source ports of UDP and TCP that are its own: first and count.
    pub ports: IdRange,
}

/// The sockets; all need `CAP_NET_RAW` to be opened, and nothing to be used.
#[derive(Debug)]
pub struct RawSockets {
    /// Where they are; what belongs to them is opened there, too.
    pub(super) network: Network,
    pub(super) description: RawDescription,
    /// They receive, with filters for the ranges: ICMP, UDP, TCP.
    pub(super) receive: [OwnedFd; 3],
    /// They send whole packets: many at a time, and such that are stamped.
    pub(super) send: [OwnedFd; 2],
    /// It sees fragments of IPv6 before they are put together. Some systems have none.
    pub(super) fragments: Option<OwnedFd>,
}

/// How many descriptors they are.
pub const RAW_DESCRIPTORS: usize = 5;

impl RawSockets {
    /// Opens them in this process's network.
    pub fn open(family: Family, ids: IdRange, ports: IdRange) -> Result<Self, OpenError> {
        Self::open_in(&Network::Own, family, ids, ports)
    }

    /// Opens them in a network.
    pub fn open_in(
        network: &Network,
        family: Family,
        ids: IdRange,
        ports: IdRange,
    ) -> Result<Self, OpenError> {
        let receive = |protocol| -> Result<OwnedFd, OpenError> {
            let socket = create(network, family, number(family, protocol))?;
            let configured = socket
                .attach_filter(&filter(family, protocol, ids, ports))
                .and_then(|()| configure(&socket, family, protocol));
            configured.map_err(|source| OpenError::System { step: "set a raw socket's options", source })?;
            receive::close(socket.as_fd(), family);
            Ok(socket.into())
        };
        let send = || -> Result<OwnedFd, OpenError> {
            let socket = create(network, family, libc::IPPROTO_RAW)?;
            let configured = configure_sender(&socket, family);
            configured
                .map_err(|source| OpenError::System { step: "set a sending socket's options", source })?;
            Ok(socket.into())
        };
        Ok(Self {
            network: network.clone(),
            description: RawDescription { v6: family == Family::V6, ids, ports },
            receive: [receive(Protocol::Icmp)?, receive(Protocol::Udp)?, receive(Protocol::Tcp)?],
            send: [send()?, send()?],
            fragments: (family == Family::V6).then(|| open_fragments(network, ids)).flatten(),
        })
    }

    /// Takes over sockets that another process opened and described, in the order of [`RawSockets::descriptors`].
    pub fn from_passed(descriptors: [OwnedFd; RAW_DESCRIPTORS], description: RawDescription) -> Self {
        let [icmp, udp, tcp, many, stamped] = descriptors;
        Self {
            network: Network::Own,
            description,
            receive: [icmp, udp, tcp],
            send: [many, stamped],
            fragments: None,
        }
    }

    /// Adds the socket that sees fragments to those of IPv6, as [`RawSockets::fragments`] gave it.
    pub fn add_fragments(&mut self, socket: OwnedFd) {
        if self.family() == Family::V6 {
            self.fragments = Some(socket);
        }
    }

    /// The socket that sees fragments, to be passed, too.
    pub fn fragments(&self) -> Option<BorrowedFd<'_>> {
        self.fragments.as_ref().map(AsFd::as_fd)
    }

    /// What [`RawSockets::from_passed`] needs besides the descriptors.
    pub const fn describe(&self) -> RawDescription {
        self.description
    }

    /// The descriptors, to be passed.
    pub fn descriptors(&self) -> [BorrowedFd<'_>; RAW_DESCRIPTORS] {
        let ([icmp, udp, tcp], [many, stamped]) = (&self.receive, &self.send);
        [icmp.as_fd(), udp.as_fd(), tcp.as_fd(), many.as_fd(), stamped.as_fd()]
    }

    /// Opens the socket that receives ICMP and gives it: a module of an earlier version sends echo requests by it, and knows nothing of
    /// closed ones. So it is open until its owner closes it.
    pub fn opened_icmp(&self) -> BorrowedFd<'_> {
        let [icmp, ..] = &self.receive;
        receive::open(icmp.as_fd(), self.family());
        icmp.as_fd()
    }

    /// Nobody has them any more. Each socket that is open costs the host a copy of each packet of its protocol.
    pub fn close(&self) {
        let all = self.receive.iter().chain(&self.fragments);
        all.for_each(|socket| receive::close(socket.as_fd(), self.family()));
    }

    /// Their address family.
    pub const fn family(&self) -> Family {
        if self.description.v6 { Family::V6 } else { Family::V4 }
    }

    /// The same sockets by other descriptors.
    pub fn try_clone(&self) -> io::Result<Self> {
        let ([icmp, udp, tcp], [many, stamped]) = (&self.receive, &self.send);
        Ok(Self {
            network: self.network.clone(),
            description: self.description,
            receive: [icmp.try_clone()?, udp.try_clone()?, tcp.try_clone()?],
            send: [many.try_clone()?, stamped.try_clone()?],
            fragments: self.fragments.as_ref().map(OwnedFd::try_clone).transpose()?,
        })
    }

    /// Makes them as good as new for the next who uses them: the filters are those of the ranges, and nothing waits.
    pub fn renew(&self) -> io::Result<()> {
        let RawDescription { ids, ports, .. } = self.description;
        for (socket, protocol) in self.receive.iter().zip(receive::PROTOCOLS) {
            SockRef::from(socket).attach_filter(&filter(self.family(), protocol, ids, ports))?;
            receive::close(socket.as_fd(), self.family());
            empty(socket.as_fd(), 0)?;
        }
        if let Some(socket) = &self.fragments {
            SockRef::from(socket).attach_filter(&filter::fragments(&Selectors::new(Some(ids))))?;
            receive::close(socket.as_fd(), self.family());
            empty(socket.as_fd(), 0)?;
        }
        for socket in &self.send {
            empty(socket.as_fd(), libc::MSG_ERRQUEUE)?;
        }
        Ok(())
    }
}

/// Opens the socket that sees fragments; without it a lane does all else.
fn open_fragments(network: &Network, ids: IdRange) -> Option<OwnedFd> {
    let socket = create(network, Family::V6, fragments::PROTOCOL).ok()?;
    fragments::configure(&socket, &filter::fragments(&Selectors::new(Some(ids)))).ok()?;
    Some(socket.into())
}

fn filter(family: Family, protocol: Protocol, ids: IdRange, ports: IdRange) -> Vec<SockFilter> {
    filter::program(family, protocol, &Selectors::new(Some(ids)), &Selectors::new(Some(ports)))
}

fn empty(socket: BorrowedFd<'_>, flags: libc::c_int) -> io::Result<()> {
    let mut data = [0; 64];
    let mut control = [0; 64];
    loop {
        match sys::receive(socket, flags | libc::MSG_DONTWAIT, &mut data, &mut control) {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error),
        }
    }
}

fn create(network: &Network, family: Family, protocol: libc::c_int) -> Result<Socket, OpenError> {
    let domain = match family {
        Family::V4 => Domain::IPV4,
        Family::V6 => Domain::IPV6,
    };
    network.socket(domain, Type::RAW, Some(protocol.into())).map_err(|source| match source.raw_os_error() {
        Some(libc::EPERM | libc::EACCES) => OpenError::NotPermitted { mode: Mode::Raw, source },
        Some(libc::EAFNOSUPPORT) => OpenError::NoFamily { family },
        _ => OpenError::System { step: "open a raw socket", source },
    })
}

const fn number(family: Family, protocol: Protocol) -> libc::c_int {
    match (protocol, family) {
        (Protocol::Icmp, Family::V4) => libc::IPPROTO_ICMP,
        (Protocol::Icmp, Family::V6) => libc::IPPROTO_ICMPV6,
        (Protocol::Udp, _) => libc::IPPROTO_UDP,
        (Protocol::Tcp, _) => libc::IPPROTO_TCP,
    }
}

fn configure(socket: &Socket, family: Family, protocol: Protocol) -> io::Result<()> {
    socket.set_nonblocking(true)?;
    let fd = socket.as_fd();
    match family {
        Family::V4 => {
            sys::set_option(fd, libc::IPPROTO_IP, libc::IP_RECVTTL, 1)?;
            // What is sent by this socket is sent so that the kernel may fragment it.
            sys::set_option(fd, libc::IPPROTO_IP, libc::IP_MTU_DISCOVER, libc::IP_PMTUDISC_DONT)?;
        }
        Family::V6 => {
            sys::set_option(fd, libc::IPPROTO_IPV6, libc::IPV6_RECVHOPLIMIT, 1)?;
            sys::set_option(fd, libc::IPPROTO_IPV6, libc::IPV6_RECVTCLASS, 1)?;
            if protocol == Protocol::Icmp {
                // Unreachable, too big, time exceeded, parameter problem, echo reply (RFC 4443).
                sys::set_icmp6_filter(fd, &[1, 2, 3, 4, 129])?;
            }
        }
    }
    sys::set_option(fd, libc::SOL_SOCKET, libc::SO_RXQ_OVFL, 1)?;
    if sys::set_option(fd, libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, RECEIVE_BUFFER_BYTES).is_err() {
        sys::set_option(fd, libc::SOL_SOCKET, libc::SO_RCVBUF, RECEIVE_BUFFER_BYTES)?;
    }
    stamps::request(fd, false)
}

fn configure_sender(socket: &Socket, family: Family) -> io::Result<()> {
    socket.set_nonblocking(true)?;
    let fd = socket.as_fd();
    // Without it a packet that the device's queue has no room for would seem to have left.
    let (level, errors) = match family {
        Family::V4 => (libc::IPPROTO_IP, libc::IP_RECVERR),
        Family::V6 => (libc::IPPROTO_IPV6, libc::IPV6_RECVERR),
    };
    sys::set_option(fd, level, errors, 1)?;
    // A packet that may not be fragmented goes out as large as the device takes it, whatever the kernel has heard of the
    // path: finding that out is ours.
    let (discover, probing) = match family {
        Family::V4 => (libc::IP_MTU_DISCOVER, libc::IP_PMTUDISC_PROBE),
        Family::V6 => (libc::IPV6_MTU_DISCOVER, libc::IPV6_PMTUDISC_PROBE),
    };
    sys::set_option(fd, level, discover, probing)?;
    // It receives nothing: packets of protocol 255 there are none, but who knows.
    socket.attach_filter(&filter::nothing())?;
    if sys::set_option(fd, libc::SOL_SOCKET, libc::SO_SNDBUFFORCE, SEND_BUFFER_BYTES).is_err() {
        sys::set_option(fd, libc::SOL_SOCKET, libc::SO_SNDBUF, SEND_BUFFER_BYTES)?;
    }
    Ok(())
}

/// Room for some 40,000 small replies where the system allows it: it counts about 768 octets for each.
const RECEIVE_BUFFER_BYTES: libc::c_int = 32 << 20;
const SEND_BUFFER_BYTES: libc::c_int = 4 << 20;
