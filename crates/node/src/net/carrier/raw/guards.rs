//! Source ports of UDP probes, kept from others: an ordinary socket is bound to each that is in use, and drops all that
//! comes. So the kernel answers no reply with *port unreachable*, and no other program sends from the port.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

use mmn_probe::{packet::SendFailure, wire::icmp::Family};
use rustc_hash::FxHashMap;
use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use crate::net::{filter, network::Network};

#[derive(Debug)]
pub(super) struct Guards {
    network: Network,
    family: Family,
    /// Nothing where the process may have no more descriptors: then the port is used all the same.
    sockets: FxHashMap<u16, Option<Socket>>,
}

impl Guards {
    pub(super) fn new(family: Family, network: &Network) -> Self {
        Self { network: network.clone(), family, sockets: FxHashMap::default() }
    }

    /// Keeps a port. It may be another program's.
    pub(super) fn keep(&mut self, port: u16) -> Result<(), SendFailure> {
        if self.sockets.contains_key(&port) {
            return Ok(());
        }
        let socket = match bind(&self.network, self.family, port) {
            Ok(socket) => Some(socket),
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => return Err(SendFailure::InUse),
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                return Err(SendFailure::NotPermitted);
            }
            Err(_) => None,
        };
        self.sockets.insert(port, socket);
        Ok(())
    }

    /// Leaves a port to others.
    pub(super) fn leave(&mut self, port: u16) {
        self.sockets.remove(&port);
    }
}

/// A port that is held for nothing but to tell others so: a mark of a whole range.
#[derive(Debug)]
pub struct PortFlag(#[expect(dead_code, reason = "it holds the port until it is dropped")] Option<Socket>);

impl PortFlag {
    /// Holds a port of a network; nothing where another process has it.
    pub fn set(network: &Network, port: u16) -> Option<Self> {
        match bind(network, Family::V4, port) {
            Ok(socket) => Some(Self(Some(socket))),
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => None,
            // No descriptor left, say: nothing that another process is to blame for.
            Err(_) => Some(Self(None)),
        }
    }
}

fn bind(network: &Network, family: Family, port: u16) -> io::Result<Socket> {
    let (domain, any): (_, IpAddr) = match family {
        Family::V4 => (Domain::IPV4, Ipv4Addr::UNSPECIFIED.into()),
        Family::V6 => (Domain::IPV6, Ipv6Addr::UNSPECIFIED.into()),
    };
    let socket = network.socket(domain, Type::DGRAM, Some(Protocol::UDP))?;
    if family == Family::V6 {
        socket.set_only_v6(true)?;
    }
    socket.attach_filter(&filter::nothing())?;
    socket.bind(&SockAddr::from(SocketAddr::new(any, port)))?;
    Ok(socket)
}
