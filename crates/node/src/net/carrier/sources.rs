//! From which of this host's addresses packets go: the system's choice by destination, remembered for a moment.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    os::fd::AsFd,
};

use mmn_probe::{
    packet::SendFailure,
    time::{Instant, Nanos},
    wire::icmp::Family,
};
use rustix::net::{connect, connect_unspec};
use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use crate::net::{
    carrier::{Refusal, refusal},
    filter,
    network::Network,
};

/// Addresses of this host.
#[derive(Debug)]
pub(super) struct Sources {
    network: Network,
    /// Connected to each destination in turn, which asks the system for the way and sends nothing.
    socket: Socket,
    remembered: Vec<Option<Remembered>>,
    /// The last address that was asked for and is this host's.
    own: Option<(IpAddr, Instant)>,
}

#[derive(Clone, Copy, Debug)]
struct Remembered {
    destination: IpAddr,
    source: IpAddr,
    until: Instant,
}

impl Sources {
    pub(super) fn new(family: Family, network: &Network) -> io::Result<Self> {
        let socket = steady(family, network)?;
        Ok(Self { network: network.clone(), socket, remembered: vec![None; PLACES], own: None })
    }

    /// The source of packets to `destination`: `wanted`, if it is this host's, else the system's choice.
    pub(super) fn find(
        &mut self,
        destination: IpAddr,
        wanted: Option<IpAddr>,
        now: Instant,
    ) -> Result<IpAddr, SendFailure> {
        if let Some(wanted) = wanted {
            return self.check(wanted, destination, now);
        }
        let place = self.remembered.get_mut(place(destination));
        if let Some(Some(known)) = &place
            && known.destination == destination
            && known.until > now
        {
            return Ok(known.source);
        }
        let source = ask(&self.socket, destination)?;
        if let Some(place) = place {
            *place = Some(Remembered { destination, source, until: now + MEMORY });
        }
        Ok(source)
    }

    /// An address of this host can be bound to.
    fn check(&mut self, wanted: IpAddr, destination: IpAddr, now: Instant) -> Result<IpAddr, SendFailure> {
        if self.own.is_some_and(|(own, until)| own == wanted && until > now) {
            return Ok(wanted);
        }
        if wanted.is_ipv4() != destination.is_ipv4() || wanted.is_multicast() || wanted.is_unspecified() {
            return Err(SendFailure::Source);
        }
        let bound = datagrams(Family::of(wanted), &self.network)
            .and_then(|socket| socket.bind(&SockAddr::from(SocketAddr::new(wanted, 0))));
        bound.map_err(|_| SendFailure::Source)?;
        self.own = Some((wanted, now + MEMORY));
        Ok(wanted)
    }
}

fn ask(socket: &Socket, destination: IpAddr) -> Result<IpAddr, SendFailure> {
    // What was found for the last destination would bind the socket to that source.
    let asked = connect_unspec(socket.as_fd())
        .and_then(|()| connect(socket.as_fd(), &SocketAddr::new(destination, DISCARD)))
        .map_err(io::Error::from);
    asked.map_err(|error| match refusal(&error) {
        Refusal::Failed(reason) => reason,
        Refusal::Busy | Refusal::NoKey => SendFailure::Overrun,
    })?;
    let found = socket.local_addr().ok().and_then(|address| address.as_socket());
    found.map(|address| address.ip()).filter(|address| !address.is_unspecified()).ok_or(SendFailure::NoRoute)
}

/// A socket that keeps its port: one that the system has chosen would be given back and chosen anew for each destination,
/// which takes most of the time.
fn steady(family: Family, network: &Network) -> io::Result<Socket> {
    let any: IpAddr = match family {
        Family::V4 => Ipv4Addr::UNSPECIFIED.into(),
        Family::V6 => Ipv6Addr::UNSPECIFIED.into(),
    };
    let bound = |port| {
        let socket = datagrams(family, network)?;
        // Nobody sends to it.
        socket.attach_filter(&filter::nothing())?;
        socket.bind(&SockAddr::from(SocketAddr::new(any, port)))?;
        io::Result::Ok(socket)
    };
    for _ in 0..ATTEMPTS {
        let chosen = bound(0)?.local_addr()?.as_socket().map_or(0, |address| address.port());
        if let Ok(socket) = bound(chosen) {
            return Ok(socket);
        }
    }
    datagrams(family, network)
}

/// Another process may take the port in between.
const ATTEMPTS: u32 = 4;

fn datagrams(family: Family, network: &Network) -> io::Result<Socket> {
    let domain = match family {
        Family::V4 => Domain::IPV4,
        Family::V6 => Domain::IPV6,
    };
    network.socket(domain, Type::DGRAM, Some(Protocol::UDP))
}

fn place(destination: IpAddr) -> usize {
    let bits = match destination {
        IpAddr::V4(address) => u64::from(Ipv4Addr::to_bits(address)),
        IpAddr::V6(address) => {
            let bits = Ipv6Addr::to_bits(address);
            u64::try_from(bits >> 64).unwrap_or(0) ^ u64::try_from(bits & u128::from(u64::MAX)).unwrap_or(0)
        }
    };
    // Fibonacci hashing: the top bits depend on all.
    usize::try_from(bits.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56).unwrap_or(0) % PLACES
}

const PLACES: usize = 256;
/// How long the system's choice is believed.
const MEMORY: Nanos = Nanos::from_secs(1);
/// Routes don't depend on ports.
const DISCARD: u16 = 9;
