//! Datagrams to and from one peer, within the site's limits, with the kernel's stamps.

use std::io;
use std::net::SocketAddr;
use std::rc::Rc;

use futures::FutureExt;
use mmn_kit::{Datagrams, Failure, LocalBoxFuture, Received, code};
use mmn_probe::time::{Instant, Stamp};

use super::{Held, Site, add, errors};
use crate::clock;
use crate::net::udp::UdpPeer;

/// Headers of IPv6 and UDP.
pub(super) const HEADER_BYTES: u64 = 48;

/// A socket that is connected to one peer: what others send is not seen.
#[derive(Debug)]
pub(super) struct Peer {
    socket: UdpPeer,
    site: Rc<Site>,
    to: SocketAddr,
    deadline: Instant,
    held: Held,
}

impl Peer {
    /// Opens a socket to a peer that was checked. What the limits hold back is added to `held`.
    pub(super) fn open(
        site: Rc<Site>,
        peer: SocketAddr,
        deadline: Instant,
        held: Held,
    ) -> Result<Self, Failure> {
        let socket = UdpPeer::connect(site.network(), peer)
            .map_err(|error| errors::failure(&error, format_args!("a socket to {peer}")))?;
        Ok(Self { socket, site, to: peer, deadline, held })
    }
}

impl Datagrams for Peer {
    fn send<'a>(&'a self, datagram: &'a [u8]) -> LocalBoxFuture<'a, Result<Stamp, Failure>> {
        async move {
            let bytes = u64::try_from(datagram.len()).unwrap_or(u64::MAX).saturating_add(HEADER_BYTES);
            let began = clock::monotonic();
            let paced = self.site.pace(self.to.ip(), 1, bytes, self.deadline).await;
            add(&self.held, began);
            paced?;
            let sent = self.socket.send(datagram).await;
            sent.map_err(|error| errors::failure(&error, format_args!("send to {}", self.to)))
        }
        .boxed_local()
    }

    fn receive<'a>(&'a self, buffer: &'a mut [u8]) -> LocalBoxFuture<'a, Result<Received, Failure>> {
        async move {
            let remaining = self.deadline.saturating_since(clock::monotonic());
            match tokio::time::timeout(remaining.into(), self.socket.receive(buffer)).await {
                Ok(Ok((bytes, stamp))) => Ok(Received { bytes, stamp }),
                Ok(Err(error)) => Err(errors::failure(&error, format_args!("answer of {}", self.to))),
                Err(_) => Err(Failure::failed(code::TIMEOUT, format_args!("no answer of {}", self.to))),
            }
        }
        .boxed_local()
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }
}
