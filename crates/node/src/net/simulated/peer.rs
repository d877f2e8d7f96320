//! Datagrams of a vantage point to and from one peer, through a world.

use std::{
    cell::RefCell,
    collections::VecDeque,
    io,
    net::{IpAddr, SocketAddr},
    os::fd::OwnedFd,
    sync::Arc,
};

use mmn_lab::ids::VpId;
use mmn_probe::{
    packet::{Body, Identity, Message, Probe, ProbeId, UdpTag},
    time::{Instant, Stamp, StampSource, Utc},
    wire::{
        heard::{self, Checksums, Protocol},
        icmp::IcmpErrorKind,
        probe::encode,
    },
};
use tokio::io::{Interest, unix::AsyncFd};

use super::{Inbox, Universe};
use crate::{clock, net::sys};

/// A port of a vantage point that speaks with one peer.
#[derive(Debug)]
pub(in crate::net) struct UniversePeer {
    universe: Universe,
    vp: VpId,
    inbox: Arc<Inbox>,
    watched: AsyncFd<Arc<OwnedFd>>,
    local: SocketAddr,
    peer: SocketAddr,
    /// What was taken and not asked for yet.
    taken: RefCell<VecDeque<(Instant, Box<[u8]>)>>,
}

/// What a peer's port listens to: all else is not kept for it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Conversation {
    port: u16,
    peer: SocketAddr,
}

impl Conversation {
    /// Whether a packet belongs to it: a datagram of the peer's, or an error about one to it.
    pub(super) fn has(&self, packet: &[u8]) -> bool {
        let Ok(heard) = heard::packet(packet, Checksums::Unchecked) else { return false };
        let clues = heard.clues;
        let ours = clues.protocol == Protocol::Udp && clues.selector == self.port;
        let with = clues.destination.unwrap_or(heard.from);
        ours && with == self.peer.ip() && clues.far_port.is_none_or(|port| port == self.peer.port())
    }
}

impl UniversePeer {
    pub(super) fn new(universe: Universe, vp: VpId, port: u16, peer: SocketAddr) -> io::Result<Self> {
        let own = universe.addresses(vp).into_iter().find(|own| own.is_ipv4() == peer.is_ipv4());
        let own: IpAddr = own.ok_or_else(|| io::Error::from_raw_os_error(libc::ENETUNREACH))?;
        let inbox = universe.inbox(vp, Some(Conversation { port, peer }))?;
        let watched = sys::watch(Arc::clone(&inbox.event), Interest::READABLE)?;
        let local = SocketAddr::new(own, port);
        Ok(Self { universe, vp, inbox, watched, local, peer, taken: RefCell::default() })
    }

    /// Sends a datagram, and says when it left.
    pub(in crate::net) fn send(&self, datagram: &[u8]) -> io::Result<Stamp> {
        let (payload, port) = (datagram.to_vec(), self.peer.port());
        let body = Body::Udp { port, payload, tag: UdpTag::Ports };
        let probe = Probe::new(ProbeId(0), self.peer.ip(), body);
        let identity = Identity { selector: self.local.port(), tag: 1 };
        let now = clock::both();
        let mut packet = Vec::new();
        encode(&probe, identity, self.local.ip(), now.wall, &mut packet)
            .map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
        self.universe.inject(now.at, self.vp, &packet);
        Ok(Stamp { at: now.at, utc: now.wall, source: StampSource::Simulated })
    }

    /// Waits for a datagram: its length and when it came. What is longer than the buffer is cut. Fails as soon as an ICMP
    /// error says that a datagram did not arrive.
    pub(in crate::net) async fn receive(&self, buffer: &mut [u8]) -> io::Result<(usize, Stamp)> {
        loop {
            let next = self.taken.borrow_mut().pop_front();
            let Some((due, packet)) = next else {
                let mut ready = self.watched.readable().await?;
                let came = self.inbox.take();
                if came.is_empty() {
                    ready.clear_ready();
                }
                self.taken.borrow_mut().extend(came);
                continue;
            };
            let Ok(heard) = heard::packet(&packet, Checksums::Unchecked) else { continue };
            match heard.message {
                Message::Udp { payload, .. } => {
                    let length = payload.len().min(buffer.len());
                    let (to, from) = (buffer.get_mut(..length), payload.get(..length));
                    to.zip(from).into_iter().for_each(|(to, from)| to.copy_from_slice(from));
                    return Ok((length, stamp(due)));
                }
                Message::Error(report) => return Err(io::Error::from_raw_os_error(errno(report.kind))),
                _ => {}
            }
        }
    }

    /// The local end.
    pub(in crate::net) const fn local_addr(&self) -> SocketAddr {
        self.local
    }
}

fn stamp(due: Instant) -> Stamp {
    let now = clock::both();
    let age = i64::try_from(now.at.saturating_since(due).0).unwrap_or(i64::MAX);
    Stamp { at: due, utc: Utc(now.wall.0.saturating_sub(age)), source: StampSource::Simulated }
}

/// As Linux tells it (`icmp(7)`).
const fn errno(kind: IcmpErrorKind) -> libc::c_int {
    match kind {
        IcmpErrorKind::PortUnreachable => libc::ECONNREFUSED,
        IcmpErrorKind::NetUnreachable => libc::ENETUNREACH,
        IcmpErrorKind::TooBig { .. } => libc::EMSGSIZE,
        _ => libc::EHOSTUNREACH,
    }
}
