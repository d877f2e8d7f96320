//! Datagrams to and from one peer with the kernel's stamps, and with every ICMP error that concerns them.
//!
//! An ordinary connected UDP socket hears of a closed port alone, and stamps nothing. This one asks for software
//! stamps of transmission and reception, and for all errors (`IP_RECVERR`). It needs no privilege. Pacing and
//! policy are the caller's.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    os::fd::{AsFd, BorrowedFd},
};

use mmn_probe::time::Stamp;
use socket2::{Domain, Protocol, SockAddr, Socket, Type};
use tokio::io::{Interest, unix::AsyncFd};

use super::{
    control::{self, Beside},
    network::Network,
    simulated::UniversePeer,
    stamps::{self, kernel_stamp, user_stamp},
    sys,
};
use crate::clock;

/// A UDP port that is connected to one peer.
#[derive(Debug)]
pub struct UdpPeer {
    way: Way,
}

#[derive(Debug)]
enum Way {
    Socket(Box<Connected>),
    /// Of a vantage point in a world within this process.
    Universe(Box<UniversePeer>),
}

impl UdpPeer {
    /// Opens a port to `peer` in a network, from an address and port of the system's choice. Must be called within a
    /// runtime.
    pub fn connect(network: &Network, peer: SocketAddr) -> io::Result<Self> {
        let way = match network {
            Network::Universe(universe, vp) => Way::Universe(Box::new(universe.peer(*vp, peer)?)),
            Network::Own | Network::Lab(_) => Way::Socket(Box::new(Connected::open(network, peer)?)),
        };
        Ok(Self { way })
    }

    /// Sends a datagram and says when it left: by the kernel's stamp where it is there at once, as it is unless
    /// the packet has to wait for the device. Fails with an earlier datagram's error when there is one.
    pub async fn send(&self, datagram: &[u8]) -> io::Result<Stamp> {
        match &self.way {
            Way::Socket(socket) => socket.send(datagram).await,
            Way::Universe(peer) => peer.send(datagram),
        }
    }

    /// Waits for a datagram: its length and when it came. What is longer than the buffer is cut. Fails as soon
    /// as an ICMP error says that a datagram did not arrive.
    pub async fn receive(&self, buffer: &mut [u8]) -> io::Result<(usize, Stamp)> {
        match &self.way {
            Way::Socket(socket) => socket.receive(buffer).await,
            Way::Universe(peer) => peer.receive(buffer).await,
        }
    }

    /// The local end.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        match &self.way {
            Way::Socket(socket) => socket.local_addr(),
            Way::Universe(peer) => Ok(peer.local_addr()),
        }
    }
}

/// A socket of the system's.
#[derive(Debug)]
struct Connected {
    socket: AsyncFd<Socket>,
}

impl Connected {
    fn open(network: &Network, peer: SocketAddr) -> io::Result<Self> {
        let socket = network.socket(Domain::for_address(peer), Type::DGRAM, Some(Protocol::UDP))?;
        socket.set_nonblocking(true)?;
        let (any, level, errors): (IpAddr, _, _) = match peer {
            SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED.into(), libc::IPPROTO_IP, libc::IP_RECVERR),
            SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED.into(), libc::IPPROTO_IPV6, libc::IPV6_RECVERR),
        };
        socket.bind(&SockAddr::from(SocketAddr::new(any, 0)))?;
        socket.connect(&SockAddr::from(peer))?;
        sys::set_option(socket.as_fd(), level, errors, 1)?;
        stamps::request(socket.as_fd(), true)?;
        Ok(Self { socket: sys::watch(socket, Interest::READABLE | Interest::WRITABLE | Interest::ERROR)? })
    }

    async fn send(&self, datagram: &[u8]) -> io::Result<Stamp> {
        loop {
            // Stamps of earlier datagrams must not be taken for this one's.
            if let Some(error) = self.take_errors().1 {
                return Err(error);
            }
            let before = clock::both();
            match sys::send(self.fd(), datagram, None, &[]) {
                Ok(()) => {
                    let (stamp, error) = self.take_errors();
                    if let Some(error) = error {
                        return Err(error);
                    }
                    return Ok(stamp.filter(|stamp| stamp.at >= before.at).unwrap_or(user_stamp(before)));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.socket.ready(Interest::WRITABLE).await?.clear_ready();
                }
                Err(error) => return Err(error),
            }
        }
    }

    async fn receive(&self, buffer: &mut [u8]) -> io::Result<(usize, Stamp)> {
        let mut space = [0; CONTROL_BYTES];
        loop {
            let mut ready = self.socket.ready(Interest::READABLE | Interest::ERROR).await?;
            match sys::receive(self.fd(), 0, buffer, &mut space) {
                Ok(lengths) => {
                    let now = clock::both();
                    let beside = decode(&space, lengths.control);
                    let stamp = beside.stamp.and_then(|utc| kernel_stamp(now, utc));
                    return Ok((lengths.data, stamp.unwrap_or(user_stamp(now))));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    if let Some(error) = self.take_errors().1 {
                        return Err(error);
                    }
                    ready.clear_ready();
                }
                Err(error) => {
                    self.take_errors();
                    return Err(error);
                }
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        let address = self.socket.get_ref().local_addr()?;
        address.as_socket().ok_or_else(|| io::Error::from(io::ErrorKind::Unsupported))
    }

    fn fd(&self) -> BorrowedFd<'_> {
        self.socket.get_ref().as_fd()
    }

    /// Empties the error queue: the last transmit stamp, and the first error of the network.
    fn take_errors(&self) -> (Option<Stamp>, Option<io::Error>) {
        let (mut stamp, mut error) = (None, None);
        let mut quoted = [0; 64];
        let mut space = [0; CONTROL_BYTES];
        while let Ok(lengths) = sys::receive(self.fd(), libc::MSG_ERRQUEUE, &mut quoted, &mut space) {
            let beside = decode(&space, lengths.control);
            let Some(entry) = beside.error else { continue };
            if entry.origin == control::ORIGIN_TIMESTAMPING {
                stamp = beside.stamp.and_then(|utc| kernel_stamp(clock::both(), utc)).or(stamp);
            } else if error.is_none() {
                error = Some(io::Error::from_raw_os_error(entry.errno));
            }
        }
        (stamp, error)
    }
}

fn decode(space: &[u8], length: usize) -> Beside {
    control::decode(space.get(..length).unwrap_or_default())
}

const CONTROL_BYTES: usize = 256;

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;

    use mmn_probe::time::StampSource;

    use super::*;
    use crate::net::testing::{in_namespace, kernel_stamps, require_root, router};

    #[tokio::test]
    async fn datagrams_are_stamped_by_the_kernel_both_ways() {
        let _stamps = kernel_stamps();
        for address in ["127.0.0.1:0", "[::1]:0"] {
            let server = UdpSocket::bind(address).unwrap();
            let peer = UdpPeer::connect(&Network::Own, server.local_addr().unwrap()).unwrap();
            let sent = peer.send(b"question").await.unwrap();
            let mut question = [0; 20];
            let (_, from) = server.recv_from(&mut question).unwrap();
            assert_eq!(from, peer.local_addr().unwrap());
            server.send_to(b"answer", from).unwrap();
            let mut answer = [0; 20];
            let (length, came) = peer.receive(&mut answer).await.unwrap();
            assert_eq!(&answer[..length], b"answer");
            assert_eq!((sent.source, came.source), (StampSource::Kernel, StampSource::Kernel), "{address}");
            assert!(came.at > sent.at);
        }
    }

    #[tokio::test]
    async fn a_closed_port_is_told() {
        let port = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let peer = UdpPeer::connect(&Network::Own, port).unwrap();
        let outcome = match peer.send(b"anybody?").await {
            Ok(_) => peer.receive(&mut [0; 20]).await.map(|_| ()),
            Err(error) => Err(error),
        };
        assert_eq!(outcome.unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
    }

    #[test]
    fn an_unreachable_host_is_told() {
        require_root("an_unreachable_host_is_told");
        in_namespace(|| {
            let _router = router();
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            for target in ["192.0.2.7:53", "[2001:db8:2::7]:53"] {
                let error = runtime.block_on(async {
                    let peer = UdpPeer::connect(&Network::Own, target.parse().unwrap()).unwrap();
                    match peer.send(b"anybody?").await {
                        Ok(_) => peer.receive(&mut [0; 20]).await.unwrap_err(),
                        Err(error) => error,
                    }
                });
                let unreachable = [libc::EHOSTUNREACH, libc::ENETUNREACH].map(Some);
                assert!(unreachable.contains(&error.raw_os_error()), "{target}: {error}");
            }
        });
    }
}
