//! Source ports of UDP probes, kept from others: an ordinary socket is bound to each that is in use, and drops all that
//! comes. So the kernel answers no reply with *port unreachable*, and no other program sends from the port.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

use mmn_probe::{packet::SendFailure, wire::icmp::Family};
use rustc_hash::FxHashMap;
use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use crate::net::filter;

#[derive(Debug)]
pub(super) struct Guards {
    family: Family,
    /// Nothing where the process may have no more descriptors: then the port is used all the same.
    sockets: FxHashMap<u16, Option<Socket>>,
}

impl Guards {
    pub(super) fn new(family: Family) -> Self {
        Self { family, sockets: FxHashMap::default() }
    }

    /// Keeps a port. It may be another program's.
    pub(super) fn keep(&mut self, port: u16) -> Result<(), SendFailure> {
        if self.sockets.contains_key(&port) {
            return Ok(());
        }
        let socket = match bind(self.family, port) {
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

fn bind(family: Family, port: u16) -> io::Result<Socket> {
    let (domain, any): (_, IpAddr) = match family {
        Family::V4 => (Domain::IPV4, Ipv4Addr::UNSPECIFIED.into()),
        Family::V6 => (Domain::IPV6, Ipv6Addr::UNSPECIFIED.into()),
    };
    let socket = Socket::new(domain, Type::DGRAM, Some(Protocol::UDP))?;
    if family == Family::V6 {
        socket.set_only_v6(true)?;
    }
    socket.attach_filter(&filter::nothing())?;
    socket.bind(&SockAddr::from(SocketAddr::new(any, port)))?;
    Ok(socket)
}
