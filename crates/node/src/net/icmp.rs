//! Echo sockets: datagram ("ping") sockets for ordinary users, raw sockets for who may open them.
//!
//! Both send and receive ICMP echo for one address family, without blocking, with the kernel's software stamps
//! of transmission and reception and with the TTL of what arrives. They differ in who owns the identifier: on
//! a datagram socket the kernel gives one identifier per socket and hands over only its replies, with errors
//! in the error queue; on a raw socket the identifiers are ours, a filter keeps away what is not for them, and
//! errors arrive as packets.
//!
//! A socket can be opened by one process and used by another: see [`EchoSocket::describe`] and
//! [`EchoSocket::from_passed`].

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd},
};

use mmn_probe::{
    packet::{Message, Quote, Report, Ttl},
    time::Utc,
    wire::{
        self,
        heard::{self, Checksums, Clues, Heard, Protocol},
        icmp::{Family, IcmpErrorKind},
    },
};
use serde::{Deserialize, Serialize};
use socket2::{Domain, SockAddr, Socket, Type};

use super::{
    control::{self, Header},
    filter::{self, Selectors},
    network::Network,
    stamps, sys,
};

/// How a socket was opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// A datagram ICMP socket, which needs an open `net.ipv4.ping_group_range` and no privilege.
    Datagram,
    /// A raw socket, which needs `CAP_NET_RAW`.
    Raw,
}

/// A range of ICMP identifiers, never empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "(u16, u16)", into = "(u16, u16)")]
pub struct IdRange {
    first: u16,
    last: u16,
}

/// A range of identifiers that does not exist.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no range of identifiers: {count} from {first}")]
pub struct IdRangeError {
    first: u16,
    count: u16,
}

impl IdRange {
    /// `count` identifiers from `first` on; at least one, and none above 65,535.
    pub fn new(first: u16, count: u16) -> Result<Self, IdRangeError> {
        let last = count.checked_sub(1).and_then(|more| first.checked_add(more));
        last.map(|last| Self { first, last }).ok_or(IdRangeError { first, count })
    }

    /// The lowest identifier.
    pub const fn first(self) -> u16 {
        self.first
    }

    /// The highest identifier.
    pub const fn last(self) -> u16 {
        self.last
    }

    /// Whether this identifier is within.
    pub const fn contains(self, id: u16) -> bool {
        self.first <= id && id <= self.last
    }

    /// How many probes can be told apart at a time: identifiers times sequence numbers.
    pub fn capacity(self) -> u64 {
        (u64::from(self.last - self.first) + 1) << 16
    }
}

impl TryFrom<(u16, u16)> for IdRange {
    type Error = IdRangeError;

    fn try_from((first, count): (u16, u16)) -> Result<Self, IdRangeError> {
        Self::new(first, count)
    }
}

impl From<IdRange> for (u16, u16) {
    fn from(range: IdRange) -> Self {
        (range.first, range.last - range.first + 1)
    }
}

/// What a process must know about a socket that another one opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Description {
    /// Whether it speaks IPv6, else IPv4.
    pub v6: bool,
    /// How it was opened.
    pub mode: Mode,
    /// The identifiers that are its own: first and count.
    pub ids: IdRange,
}

/// Why a socket could not be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The system does not let this process open such a socket.
    #[error("the system does not permit a {mode:?} socket")]
    NotPermitted {
        /// What was tried.
        mode: Mode,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The kernel does not speak this address family.
    #[error("the kernel does not speak {family:?}")]
    NoFamily {
        /// Which.
        family: Family,
    },
    /// Any other refusal.
    #[error("cannot {step}")]
    System {
        /// What was being done.
        step: &'static str,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

/// A socket that sends echo requests and receives what comes back.
#[derive(Debug)]
pub struct EchoSocket {
    /// Where it is; what belongs to it is opened there, too.
    network: Network,
    socket: Socket,
    family: Family,
    mode: Mode,
    ids: IdRange,
}

impl From<EchoSocket> for OwnedFd {
    fn from(socket: EchoSocket) -> Self {
        socket.socket.into()
    }
}

impl EchoSocket {
    /// Opens a socket. A raw socket takes the identifiers `ids`; a datagram socket gets one from the kernel.
    pub fn open(family: Family, mode: Mode, ids: IdRange) -> Result<Self, OpenError> {
        Self::open_in(&Network::Own, family, mode, ids)
    }

    /// The same in a network.
    pub fn open_in(network: &Network, family: Family, mode: Mode, ids: IdRange) -> Result<Self, OpenError> {
        let socket = create(network, family, mode)?;
        let ids = match mode {
            Mode::Raw => {
                let (own, none) = (Selectors::new(Some(ids)), Selectors::new(None));
                let program = filter::program(family, Protocol::Icmp, &own, &none);
                socket.attach_filter(&program).map_err(system("attach a filter"))?;
                ids
            }
            Mode::Datagram => bind(&socket, family).map_err(system("bind the socket"))?,
        };
        let opened = Self { network: network.clone(), socket, family, mode, ids };
        opened.configure().map_err(system("set the socket's options"))?;
        Ok(opened)
    }

    /// Opens a raw socket where this process may, else a datagram socket. The error is that of the latter.
    pub fn open_best(family: Family, ids: IdRange) -> Result<Self, OpenError> {
        Self::open(family, Mode::Raw, ids).or_else(|_| Self::open(family, Mode::Datagram, ids))
    }

    /// Takes over a socket that another process opened in a network and described.
    pub fn from_passed(network: &Network, fd: OwnedFd, description: Description) -> io::Result<Self> {
        let socket = Socket::from(fd);
        socket.set_nonblocking(true)?;
        let family = if description.v6 { Family::V6 } else { Family::V4 };
        let (network, mode, ids) = (network.clone(), description.mode, description.ids);
        Ok(Self { network, socket, family, mode, ids })
    }

    /// What [`EchoSocket::from_passed`] needs besides the descriptor.
    pub fn describe(&self) -> Description {
        Description { v6: self.family == Family::V6, mode: self.mode, ids: self.ids }
    }

    /// Its address family.
    pub const fn family(&self) -> Family {
        self.family
    }

    /// The network that it is in.
    pub(super) const fn network(&self) -> &Network {
        &self.network
    }

    /// How it was opened.
    pub const fn mode(&self) -> Mode {
        self.mode
    }

    /// Its identifiers.
    pub const fn ids(&self) -> IdRange {
        self.ids
    }

    /// Asks for stamps: of reception always, of transmission when `transmit` is set. Setting them anew starts
    /// the numbers of transmit stamps from 0.
    pub fn set_stamps(&self, transmit: bool) -> io::Result<()> {
        stamps::request(self.as_fd(), transmit)
    }

    /// Sends an echo request, which begins with its ICMP header. On a datagram socket the kernel writes its own
    /// identifier and the checksum.
    pub(super) fn send(&self, destination: IpAddr, header: &Header<'_>, request: &[u8]) -> io::Result<()> {
        let to = SockAddr::from(SocketAddr::new(destination, 0));
        let control = control::encode(self.family == Family::V6, header);
        sys::send(self.as_fd(), request, Some(&to), &control)
    }

    /// Says whether routers and this host may fragment what is sent from now on.
    pub(super) fn set_dont_fragment(&self, dont: bool) -> io::Result<()> {
        let (level, name, value) = match (self.family, dont) {
            (Family::V4, true) => (libc::IPPROTO_IP, libc::IP_MTU_DISCOVER, libc::IP_PMTUDISC_PROBE),
            (Family::V4, false) => (libc::IPPROTO_IP, libc::IP_MTU_DISCOVER, libc::IP_PMTUDISC_DONT),
            (Family::V6, dont) => (libc::IPPROTO_IPV6, libc::IPV6_DONTFRAG, dont.into()),
        };
        sys::set_option(self.as_fd(), level, name, value)
    }

    /// How many packets the system has dropped so far because the socket's buffer was full.
    pub(super) fn dropped(&self) -> io::Result<u32> {
        sys::dropped(self.as_fd())
    }

    /// Takes the next packet, or nothing when there is none.
    pub fn receive<'b>(&self, buffer: &'b mut Buffer) -> io::Result<Option<Received<'b>>> {
        let received = sys::receive(self.as_fd(), 0, &mut buffer.data, &mut buffer.control);
        let Some(lengths) = would_block(received)? else { return Ok(None) };
        let (data, beside) = buffer.filled(lengths);
        Ok(Some(self.read(data, lengths.from, &beside).map_or(Received::Foreign, Received::Packet)))
    }

    /// Takes the next entry of the error queue, or nothing when there is none.
    pub fn receive_error<'b>(&self, buffer: &'b mut Buffer) -> io::Result<Option<Received<'b>>> {
        let received = sys::receive(self.as_fd(), libc::MSG_ERRQUEUE, &mut buffer.data, &mut buffer.control);
        let Some(lengths) = would_block(received)? else { return Ok(None) };
        let (data, beside) = buffer.filled(lengths);
        Ok(Some(self.read_queued(data, lengths.from, &beside).unwrap_or(Received::Foreign)))
    }

    /// Takes the error that the socket holds, if any: the next call would fail with it.
    pub fn take_error(&self) -> io::Result<Option<io::Error>> {
        self.socket.take_error()
    }

    fn configure(&self) -> io::Result<()> {
        self.socket.set_nonblocking(true)?;
        let fd = self.as_fd();
        let (level, ttl, errors) = match self.family {
            Family::V4 => (libc::IPPROTO_IP, libc::IP_RECVTTL, libc::IP_RECVERR),
            Family::V6 => (libc::IPPROTO_IPV6, libc::IPV6_RECVHOPLIMIT, libc::IPV6_RECVERR),
        };
        sys::set_option(fd, level, ttl, 1)?;
        match self.family {
            Family::V4 => sys::set_option(fd, level, libc::IP_RECVTOS, 1)?,
            Family::V6 => sys::set_option(fd, level, libc::IPV6_RECVTCLASS, 1)?,
        }
        match self.mode {
            Mode::Datagram => sys::set_option(fd, level, errors, 1)?,
            Mode::Raw if self.family == Family::V6 => {
                // Unreachable, too big, time exceeded, parameter problem, echo reply (RFC 4443).
                sys::set_icmp6_filter(fd, &[1, 2, 3, 4, 129])?;
            }
            Mode::Raw => {}
        }
        sys::set_option(fd, libc::SOL_SOCKET, libc::SO_RXQ_OVFL, 1)?;
        if sys::set_option(fd, libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, RECEIVE_BUFFER_BYTES).is_err() {
            sys::set_option(fd, libc::SOL_SOCKET, libc::SO_RCVBUF, RECEIVE_BUFFER_BYTES)?;
        }
        self.set_stamps(false)
    }

    fn read<'b>(
        &self,
        data: &'b [u8],
        from: Option<IpAddr>,
        beside: &control::Beside,
    ) -> Option<Arrival<'b>> {
        let heard = match (self.mode, self.family) {
            // A raw IPv4 socket gives the IP header, too.
            (Mode::Raw, Family::V4) => heard::packet(data, Checksums::Raw),
            _ => heard::transport(Protocol::Icmp, data, from?, beside.ttl.map(Ttl), beside.tos),
        };
        let heard = heard.ok().filter(|heard| self.ids.contains(heard.clues.selector))?;
        Some(Arrival { heard, stamp: beside.stamp, dropped: beside.dropped })
    }

    /// An entry of the error queue: `to` is where the packet went.
    fn read_queued<'b>(
        &self,
        data: &'b [u8],
        to: Option<IpAddr>,
        beside: &control::Beside,
    ) -> Option<Received<'b>> {
        let error = beside.error?;
        let protocol = match error.origin {
            control::ORIGIN_TIMESTAMPING => {
                return Some(Received::Transmitted { number: error.data, stamp: beside.stamp? });
            }
            control::ORIGIN_ICMP => wire::PROTOCOL_ICMP,
            control::ORIGIN_ICMP6 => wire::PROTOCOL_ICMPV6,
            _ => return None,
        };
        let kind = IcmpErrorKind::from_wire(self.family, error.icmp_type, error.code, error.info)?;
        // The queue gives the quoted request from its ICMP header on.
        let (clues, quote) = heard::quoted_transport(protocol, data).ok()?;
        let report = Report {
            kind,
            icmp_type: error.icmp_type,
            code: error.code,
            quote: Quote { destination: to, ..quote },
            extensions: &[],
        };
        let heard = Heard {
            from: error.offender?,
            to: None,
            ttl: beside.ttl.map(Ttl),
            tos: beside.tos,
            ip_id: None,
            ip_options: &[],
            bytes: data.len(),
            // The socket has but one identifier, whatever the kernel quotes.
            clues: Clues { selector: self.ids.first(), destination: to, ..clues },
            message: Message::Error(report),
        };
        Some(Received::Packet(Arrival { heard, stamp: beside.stamp, dropped: beside.dropped }))
    }
}

impl AsFd for EchoSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl AsRawFd for EchoSocket {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}

/// Room for one packet and what the kernel says beside it. One serves any number of sockets.
#[derive(Debug)]
pub struct Buffer {
    data: Box<[u8]>,
    control: Box<[u8]>,
}

impl Default for Buffer {
    fn default() -> Self {
        Self { data: vec![0; 65_536].into(), control: vec![0; 512].into() }
    }
}

impl Buffer {
    fn filled(&self, lengths: sys::Lengths) -> (&[u8], control::Beside) {
        let beside = control::decode(self.control.get(..lengths.control).unwrap_or_default());
        (self.data.get(..lengths.data).unwrap_or_default(), beside)
    }
}

/// What a socket gave.
#[derive(Clone, Copy, Debug)]
#[expect(clippy::large_enum_variant, reason = "one at a time, and never kept")]
pub enum Received<'b> {
    /// A packet with an identifier of ours.
    Packet(Arrival<'b>),
    /// The stamp of a packet that has left.
    Transmitted {
        /// Its number among those sent on the socket since stamps were asked for.
        number: u32,
        /// When.
        stamp: Utc,
    },
    /// Something that is none of our business.
    Foreign,
}

/// A packet that arrived and carries an identifier of the socket.
#[derive(Clone, Copy, Debug)]
pub struct Arrival<'b> {
    /// What it says; of an error from an error queue the length is the quote's.
    pub heard: Heard<'b>,
    /// The kernel's stamp of its reception, where there is one.
    pub stamp: Option<Utc>,
    /// How many packets the socket has dropped so far because its buffer was full, where the kernel says.
    pub dropped: Option<u32>,
}

/// Room for some 4,000 small replies where the system allows it (a datagram takes about 768 octets of it).
const RECEIVE_BUFFER_BYTES: libc::c_int = 4 << 20;

fn create(network: &Network, family: Family, mode: Mode) -> Result<Socket, OpenError> {
    let (domain, protocol) = match family {
        Family::V4 => (Domain::IPV4, socket2::Protocol::ICMPV4),
        Family::V6 => (Domain::IPV6, socket2::Protocol::ICMPV6),
    };
    let kind = match mode {
        Mode::Datagram => Type::DGRAM,
        Mode::Raw => Type::RAW,
    };
    network.socket(domain, kind, Some(protocol)).map_err(|source| match source.raw_os_error() {
        Some(libc::EPERM | libc::EACCES) => OpenError::NotPermitted { mode, source },
        Some(libc::EAFNOSUPPORT) => OpenError::NoFamily { family },
        _ => OpenError::System { step: "open the socket", source },
    })
}

/// Binds a datagram socket to no address in particular, which makes the kernel choose its identifier.
fn bind(socket: &Socket, family: Family) -> io::Result<IdRange> {
    let any: IpAddr = match family {
        Family::V4 => Ipv4Addr::UNSPECIFIED.into(),
        Family::V6 => Ipv6Addr::UNSPECIFIED.into(),
    };
    socket.bind(&SockAddr::from(SocketAddr::new(any, 0)))?;
    let id = socket.local_addr()?.as_socket().map_or(0, |address| address.port());
    IdRange::new(id, 1).map_err(io::Error::other)
}

fn system(step: &'static str) -> impl FnOnce(io::Error) -> OpenError {
    move |source| OpenError::System { step, source }
}

fn would_block<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests;
